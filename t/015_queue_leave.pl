# Buyers that are cancelled, timed out or terminated before the decision withdraw
# their purchase; and an item is deleted, or its sale ends or starts, while
# purchases of it wait.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('leave');
my $holder = $node->background_psql('postgres');

# what keeps a purchase of item 1 waiting: its row is locked, its last unit held
my %hold = (
	row => 'SELECT FROM seckill.items WHERE item_id = 1 FOR UPDATE',
	unit => q{SELECT seckill_prewarm(1); COMMIT; BEGIN; SELECT seckill_buy(1, 0, 'cache')});

# Start buyers of the queue, in their order; returns them.
sub buyers
{
	my ($n, $settings) = @_;
	my @buyers;

	foreach my $user (1 .. $n)
	{
		my $buyer = $node->background_psql('postgres', on_error_stop => 0);
		$buyer->query_until(qr/go/, <<"EOC");
SET application_name = 'buyer'; $settings;
\\echo go
SELECT outcome FROM seckill_buy(1, $user, 'queue');
\\q
EOC
		push @buyers, $buyer;
		# those with a timeout of their own may be gone by now
		$node->poll_query_until('postgres', "SELECT backlog = $user FROM seckill.stat_worker") or die "buyer $user is not in the queue"
		  if $settings eq '';
	}
	await_worker_lock($node, $n) if $settings eq '';
	return @buyers;
}

# What they were told.
sub answers
{
	my @said;

	foreach my $buyer (@_)
	{
		$buyer->{run}->finish;
		push @said, $buyer->{stdout} . $buyer->{stderr};
	}
	return join "\n", @said;
}

sub restart_sale
{
	my ($stock) = @_;
	$node->safe_psql('postgres', <<"EOC");
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock) VALUES (1, $stock);
EOC
	return;
}

sub orders
{
	# one more purchase, decided after all that may be left of the others
	my $ticket = $node->safe_psql('postgres', 'SELECT ticket FROM seckill_submit(1, 99)');
	$node->safe_psql('postgres', "SELECT seckill_result($ticket, '60 s')") if $ticket ne '';
	return $node->safe_psql('postgres',
		'SELECT coalesce(string_agg(user_id::text, $$ $$ ORDER BY user_id), $$none$$) FROM seckill.orders');
}

my @ways = (
	[ 'timed out', q{SET statement_timeout = '100ms'}, '' ],
	[ 'cancelled', '', 'pg_cancel_backend(pid)' ],
	[ 'terminated', '', 'pg_terminate_backend(pid, 60000)' ]);
foreach my $hold (sort keys %hold)
{
	foreach my $way ($hold eq 'row' ? @ways : $ways[1])
	{
		my ($name, $settings, $call) = @$way;

		restart_sale($hold eq 'unit' ? 1 : 10);
		$holder->query_safe("BEGIN; $hold{$hold}");
		my @buyers = buyers(3, $settings);
		$node->safe_psql('postgres', "SELECT $call FROM pg_stat_activity WHERE application_name = 'buyer' AND query ~ 'buy'")
		  if $call ne '';
		my $said = answers(@buyers);
		is(() = $said =~ /ERROR:  canceling statement|FATAL:  terminating connection/g, 3,
			"$hold: all are $name");
		unlike($said, qr/WARNING/, 'in time');
		$holder->query_safe('ROLLBACK');
		is(orders(), 99, 'none of them has an order');
		check_audit($node, "$hold, $name");
		check_cache($node, "$hold, $name");
	}
}

# one leaves, one fails, the others are sold to
$node->safe_psql('postgres', <<'EOC');
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'user % is banned', NEW.user_id;
END
$$;
EOC
foreach my $leaver (1, 2)
{
	my $banned = $leaver % 4 + 1;

	restart_sale(10);
	$node->safe_psql('postgres', "CREATE TRIGGER poison BEFORE INSERT ON seckill.orders FOR EACH ROW WHEN (NEW.user_id = $banned) EXECUTE FUNCTION poison()");
	$holder->query_safe("BEGIN; $hold{row}");
	my @buyers = buyers(4, '');
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'buyer' AND query LIKE '%(1, $leaver,%'");
	my $left = answers($buyers[$leaver - 1]);
	$holder->query_safe('ROLLBACK');
	is(answers(@buyers) =~ s/psql:\S+ //gr =~ s/\nCONTEXT: .*//gr =~ s/\n+/ /gr,
		join('', map { $_ == $leaver ? 'ERROR:  canceling statement due to user request ' : $_ == $banned ? "ERROR:  user $_ is banned " : 'sold ' } 1 .. 4),
		"$leaver leaves, $banned fails");
	is(orders(), join(' ', (grep { $_ != $leaver && $_ != $banned } 1 .. 4), 99), 'the others have orders');
	check_audit($node, "$leaver left");
	$node->safe_psql('postgres', 'DROP TRIGGER poison ON seckill.orders');
}

# the item goes, or its window, while buyers wait
my @events = (
	[ 'DELETE FROM seckill.items', qr/^(\s*psql:\S+ ERROR:  item 1 does not exist\nCONTEXT: .*\s*){3}$/, 'none' ],
	[ 'UPDATE seckill.items SET ends_at = now()', qr/^(ended\s*){3}$/, 'none' ],
	[ q{UPDATE seckill.items SET starts_at = now() + '1 h'}, qr/^(not_started\s*){3}$/, 'none' ],
	[ 'UPDATE seckill.items SET stock = 2', qr/^((sold|sold_out)\s*){3}$/, '1 2' ],
	[ 'UPDATE seckill.items SET stock = stock + 1', qr/^(sold\s*){3}$/, '1 2 3 99' ]);
foreach my $event (@events)
{
	my ($change, $expected, $orders) = @$event;

	restart_sale(3);
	$holder->query_safe("BEGIN; $change");
	my @buyers = buyers(3, '');
	$holder->query_safe('COMMIT');
	like(answers(@buyers), $expected, "told the truth after: $change");
	my $have = $change =~ /DELETE/
	  ? $node->safe_psql('postgres', q{SELECT CASE count(*) WHEN 0 THEN 'none' END FROM seckill.orders})
	  : orders();
	is($have, $orders, "orders after: $change");
	check_audit($node, $change);
}
$holder->quit;

$node->stop;
done_testing();
