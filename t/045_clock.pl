# The wall clock is set back and forward: points in time follow the new clock, and
# durations keep their length.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

plan skip_all => 'this system cannot preload a clock' if $^O ne 'linux';

my $day = 86_400;
my $node = clock_node('clock', conf => <<'EOC');
seckill.lease_units = 20
seckill.naptime = 1s
seckill.hot_rate = 20
EOC

sub sql { return $node->safe_psql('postgres', shift); }

sub await
{
	my ($query, $message) = @_;
	ok($node->poll_query_until('postgres', $query), $message);
	return;
}

sub add_paid_item
{
	my ($item, $within) = @_;
	sql("INSERT INTO seckill.items (item_id, stock, pay_within) VALUES ($item, 100, '$within')");
	return;
}

sub outcome { return sql("SELECT outcome FROM seckill_buy($_[0], $_[1], '$_[2]')"); }

# The seconds of processor time that a process has used.
sub used
{
	my ($pid) = @_;
	my @stat = split / /, slurp_file("/proc/$pid/stat") =~ s/.*\) //sr;
	return ($stat[11] + $stat[12]) / 100;
}

is(sql('SELECT abs(extract(epoch FROM clock_timestamp()) - ' . time . ') < 3600'), 't', 'the clock is right at first');

# orders expire after the clock was set either way, with an announcement or not
my $item = 1;
foreach my $offset (-$day, $day, 0, -$day)
{
	set_clock($offset);
	add_paid_item($item, '300 ms');
	sql("BEGIN; SELECT seckill_buy($item, 1, 'retry'); PREPARE TRANSACTION 'x'");
	sql("COMMIT PREPARED 'x'");
	await("SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND state = 'expired'",
		"an order that nobody has announced is found, the clock set to $offset s");
	sql("SELECT seckill_buy($item, 1, '$_')") foreach qw(cache retry queue);
	await("SELECT count(*) = 4 FROM seckill.orders WHERE item_id = $item AND state = 'expired'",
		'and others expire');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'});
	$item++;
}
add_paid_item(10, '12 hours');
is(outcome(10, 1, 'cache'), 'sold', 'an order that is due in half a day');
set_clock(0);
await("SELECT state = 'expired' FROM seckill.orders WHERE item_id = 10",
	'expires when the clock is set forward');

# the wait for a ticket lasts as long as the caller asked
add_item($node, 20, 100);
my $holder = $node->background_psql('postgres');
my $asker = $node->background_psql('postgres');
my $launcher = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'seckill launcher'});
foreach my $offset (-$day, 0)
{
	$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id = 20 FOR UPDATE');
	my $ticket = sql('SELECT ticket FROM seckill_submit(20, 1)');
	my ($start, $used) = (time, used($launcher));
	$asker->query_until(qr/go/, "\\echo go\nSELECT outcome FROM seckill_result($ticket, '6 s');\n");
	await(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%6 s%' AND pid <> pg_backend_pid() AND wait_event_type = 'Extension'},
		'somebody waits');
	set_clock($offset);
	like($asker->query_safe('SELECT 1'), qr/queued/, "until the end, the clock set to $offset s");
	cmp_ok(time - $start, '<', 120, 'the launcher reacts soon');
	cmp_ok(used($launcher) - $used, '<', 0.2 + (time - $start) / 2, 'the launcher sleeps meanwhile');
	$holder->query_safe('COMMIT');
	is(sql("SELECT outcome FROM seckill_result($ticket, '60 s')"), 'sold', 'and is sold to');
}
$_->quit foreach $holder, $asker;

# a sale continues
add_item($node, 21, 1_000_000_000);
my $sold = start_crowd($node, 8, map { "SELECT outcome FROM seckill_buy(21, :client_id, '$_');\n" }
	  qw(optimistic retry pessimistic advisory cache queue auto));
foreach my $round (1 .. 20)
{
	my $n = sql('SELECT count(*) FROM seckill.orders WHERE item_id = 21');
	set_clock($round % 2 ? -$day : $round * 1000);
	await("SELECT count(*) > $n + 20 FROM seckill.orders WHERE item_id = 21", "units are sold, round $round");
}
set_clock(0);

# an item stays hot: one success is enough, as it cools if this takes a second; so it is
# one session
my $mode = '';
my $buyer = $node->background_psql('postgres');
sql("INSERT INTO seckill.items (item_id, stock) VALUES (22, 1000000)");
foreach my $round (1 .. 50)
{
	$buyer->query_safe('SELECT count(seckill_buy(22, n)) FROM generate_series(1, 30) n');
	set_clock($round * $day);
	$buyer->query_safe("SELECT seckill_buy(22, 1000 + $round, 'auto')");
	$mode = sql("SELECT mode FROM seckill.orders WHERE user_id = 1000 + $round");
	last if $mode eq 'cache';
}
is($mode, 'cache', 'a hot item stays hot');
$buyer->quit;
set_clock(0);

# a user neither gains nor loses calls
sql('INSERT INTO seckill.items (item_id, stock, user_rate, user_burst) VALUES (23, 100, 0.001, 3)');
is(outcome(23, 1, 'retry'), 'sold', 'a call of three') foreach 1, 2;
set_clock(-$day);
is(outcome(23, 1, 'retry'), 'sold', 'the third, the clock set back');
is(outcome(23, 1, 'retry'), 'rate_limited', 'no fourth call');
set_clock($day);
is(outcome(23, 1, 'retry'), 'rate_limited', 'no call after the clock is set forward');
set_clock(-$day);

# rules that were not announced are read again
is(outcome(20, 1, 'cache'), 'sold', 'on sale');
sql(q{BEGIN; UPDATE seckill.items SET ends_at = now() - interval '1 day' WHERE item_id = 20; PREPARE TRANSACTION 'x'});
sql("COMMIT PREPARED 'x'");
await("SELECT outcome = 'ended' FROM seckill_buy(20, 1, 'cache')", 'the sale has ended');

# a queue that starts at the same clock time as an earlier one
sub open_queue
{
	my ($user) = @_;
	$node->start;
	set_clock(0, 1_900_000_000);
	my $ticket = sql("SELECT ticket FROM seckill_submit(21, $user)");
	set_clock(0);
	is(sql("SELECT outcome FROM seckill_result($ticket, '60 s')"), 'sold', "user $user has bought");
	return $ticket;
}
set_clock(0);
$node->stop('immediate');
$sold->();
local $ENV{LD_PRELOAD} = preload_clock();
my $old = open_queue(-2);
$node->stop;
my $new = open_queue(-3);
isnt($new, $old, 'the tickets differ');
my ($rc, $out, $err) = $node->psql('postgres', "SELECT seckill_result($old)");
like($err, qr/ticket $old is no longer remembered/, 'an old ticket is unknown');

check_audit($node, 'at the end');
check_cache($node, 'at the end');
$node->stop;
done_testing();
