# Limits in a rolling window under load: one user in many sessions, and a clock
# that is set.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

plan skip_all => 'this system cannot preload a clock' if $^O ne 'linux';

my $hour = 3600;
my $node = clock_node('window', conf => "seckill.lease_units = 20\nseckill.naptime = 1s\n");
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql { return $node->safe_psql('postgres', shift); }

sub sold { return sql("SELECT sold FROM seckill_audit($_[0])"); }

# The most units that a user has in one window, as the times are recorded.
sub most
{
	my ($item, $window) = @_;
	return sql(<<"EOC");
SELECT max(units) FROM seckill.orders o, LATERAL (
	SELECT sum(quantity) AS units FROM seckill.orders w
	WHERE w.item_id = o.item_id AND w.user_id = o.user_id
		AND w.state IN ('pending', 'confirmed') AND w.created_at >= o.created_at
		AND w.created_at < o.created_at + interval '$window') s
WHERE item_id = $item AND state IN ('pending', 'confirmed')
EOC
}

# one user, 64 calls, limit one: one unit, and one more after the window
my $item = 0;
foreach my $mode (@modes)
{
	$item++;
	set_clock(0);
	sql("INSERT INTO seckill.items (item_id, stock, per_user_limit, limit_window) VALUES ($item, 100, 1, '1 hour')");
	my $call = "SELECT outcome FROM seckill_buy($item, 7, '$mode');\n";
	my $sale = $mode eq 'optimistic' ? sub {
		crowd($node, 64, 1, $call);
		sql($call);
	} : sub { crowd($node, 64, 1, $call) };

	$sale->();
	is(sold($item), 1, "$mode: one unit");
	set_clock($hour / 2);
	$sale->();
	is(sold($item), 1, "$mode: no other one in the window");
	set_clock($hour + 600);
	$sale->();
	is(sold($item), 2, "$mode: one more after it");
	is(most($item, '1 hour'), 1, "$mode: each window has one");
}

# the clock is set back: orders that are ahead by less than the window count
$item++;
set_clock(0);
sql("INSERT INTO seckill.items (item_id, stock, per_user_limit, limit_window) VALUES ($item, 100, 1, '1 hour')");
my $try = sub { return sql("SELECT outcome FROM seckill_buy($item, 7, '$_[0]')") };
is($try->('cache'), 'sold', 'an order');
set_clock(-$hour / 2);
is($try->($_), 'limit_reached', "$_: none, the clock set back by half the window") foreach @modes;
set_clock(-2 * $hour);
is($try->('queue'), 'sold', 'one, set back by more');
is($try->($_), 'limit_reached', "$_: not two") foreach @modes;
set_clock(-$hour / 2);
is($try->($_), 'limit_reached', "$_: none between the two") foreach @modes;
set_clock($hour + 600);
is($try->('retry'), 'sold', 'and one after both');
is(most($item, '1 hour'), 1, 'each window has one');
set_clock(0);

# all modes and quantities, rollbacks and cancels, while the clock jumps
$item++;
sql("INSERT INTO seckill.items (item_id, stock, per_user_limit, limit_window) VALUES ($item, 100000, 3, '10 minutes')");
my $stop = start_crowd($node, 24, (map { <<"EOC" } grep { $_ ne 'queue' } @modes), <<"EOC");
\\set u random(1, 8)
\\set n random(1, 2)
\\set end random(1, 3)
BEGIN;
SELECT outcome FROM seckill_buy($item, :u, '$_', :n);
\\if :end = 1
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
\\set u random(1, 8)
SELECT outcome FROM seckill_buy($item, :u, 'queue');
SELECT seckill_cancel($item, (SELECT max(order_id) FROM seckill.orders WHERE item_id = $item AND user_id = :u), true);
EOC
foreach my $jump (300, -200, 700, 100, 1500, -1000, 2000, 1990, 2500)
{
	my $orders = sql("SELECT count(*) FROM seckill.orders WHERE item_id = $item");

	set_clock($jump);
	ok($node->poll_query_until('postgres', "SELECT count(*) > $orders + 4 FROM seckill.orders WHERE item_id = $item"),
		"units are sold, the clock set to $jump s");
}
is(most($item, '10 minutes'), 3, 'no window has more than the limit');
$node->stop('immediate');
$stop->();
set_clock(0);
{
	local $ENV{LD_PRELOAD} = preload_clock();
	$node->start;
}
is(most($item, '10 minutes'), 3, 'nor after a crash');
check_audit($node, 'at the end');
$node->stop;
done_testing();
