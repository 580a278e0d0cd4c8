# max_waiters, the cap on calls in the row modes: exact, and released however a
# call ends.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('max_waiters', conf => "seckill.hot_rate = 1000000\n");

sub sql
{
	return $node->safe_psql('postgres', shift);
}

my %buyer;
foreach my $n (1 .. 20)
{
	$buyer{$n} = $node->background_psql('postgres', on_error_stop => 0);
	$buyer{$n}->query("SET application_name = 'buyer $n'");
}
my $holder = $node->background_psql('postgres', on_error_stop => 0);
sql('CREATE TABLE answers (outcome seckill_outcome)');

# An item with its own max_waiters.
my $item = 0;

sub next_item
{
	my ($cap) = @_;

	add_item($node, ++$item, 100);
	sql("UPDATE seckill.items SET max_waiters = $cap WHERE item_id = $item");
	return;
}

# Lock the row by plain SQL.
sub hold
{
	sql('DELETE FROM answers');
	$holder->query("BEGIN; SELECT FROM seckill.items WHERE item_id = $item FOR UPDATE");
	return;
}

# Start buyers with a query that returns outcomes, without waiting for them.
sub start
{
	my ($query, @who) = @_;

	$buyer{$_}->query_until(qr//, "INSERT INTO answers $query;\n") foreach @who;
	return;
}

sub start_mode
{
	my ($mode, @who) = @_;

	start("SELECT outcome FROM seckill_buy($item, 1, '$mode')", @who);
	return;
}

my $waiters = q{FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'buyer %'};

# Wait until this many calls wait and this many got "busy".
sub await
{
	my ($waiting, $busy, $message) = @_;

	ok( $node->poll_query_until('postgres',
			"SELECT (SELECT count(*) $waiters), (SELECT count(*) FROM answers), (SELECT count(*) FROM answers WHERE outcome = 'busy')",
			"$waiting|$busy|$busy"),
		"$message: $waiting wait, $busy busy");
	return;
}

sub waiting
{
	return map { /(\d+)/ } split /\n/, sql("SELECT application_name $waiters");
}

# Buyers that do not wait.
sub idle
{
	my %waiting = map { $_ => 1 } waiting();
	return sort { $a <=> $b } grep { !$waiting{$_} } keys %buyer;
}

# Unlock the row; all waiters get an answer, and it is not "busy".
sub release
{
	my ($served, $message) = @_;

	$holder->query('ROLLBACK');
	$_->query('SELECT 1') foreach values %buyer;
	is(sql("SELECT count(*) FROM answers WHERE outcome <> 'busy'"), $served, "$message: $served are served");
	return;
}

# the cap is exact, in every row mode, again and again
foreach my $mode (qw(optimistic retry pessimistic advisory auto))
{
	next_item(3);
	foreach my $round (1 .. 2)
	{
		hold();
		start_mode($mode, 1 .. 20);
		await(4, 16, "$mode, round $round");
		release(4, "$mode, round $round");
	}
}
is(sql(q{SELECT count(DISTINCT mode) || ' ' || bool_and(quantity = 1) FROM seckill.orders}),
	'4 true', 'auto was retry');

# all row modes share the cap, and a list is one call
next_item(3);
hold();
start_mode('optimistic', 1);
start_mode('retry', 2);
start_mode('pessimistic', 3);
await(3, 0, 'one of each mode');
start("SELECT outcome FROM seckill_buy_many($item, ARRAY[1, 2, 3, 4, 5], 'advisory')", 4);
await(4, 0, 'a list with them');
start("SELECT outcome FROM seckill_buy_many($item, ARRAY[1, 2], 'advisory')", 5);
start_mode('auto', 6);
await(4, 3, 'no room');
release(8, 'lists and single calls');

# the cache continues to sell, except units that it leaves to a row mode
next_item(3);
sql("SELECT seckill_prewarm($item, 50)");
sql('INSERT INTO seckill.items (item_id, stock) SELECT n, 1 FROM generate_series(1001, 1254) n');
hold();
start_mode('advisory', 1 .. 5);
await(4, 1, 'waiters at the row');
is(sql("SELECT outcome FROM seckill_buy($item, 1, 'cache')"), 'sold', 'the cache is not capped');
is(sql(<<"EOC"), "254\nbusy", 'advisory for want of a place to hold is');
BEGIN;
SELECT count(*) FROM generate_series(1001, 1254) n, LATERAL seckill_buy(n, 1, 'cache') WHERE outcome = 'sold';
SELECT outcome FROM seckill_buy($item, 1, 'cache');
ROLLBACK;
EOC
release(4, 'beside the cache');

# cancelled
next_item(3);
hold();
start_mode('pessimistic', 1 .. 20);
await(4, 16, 'before two are cancelled');
sql("SELECT pg_cancel_backend(pid) $waiters ORDER BY pid LIMIT 2");
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 $waiters"), 'two are left');
sql('DELETE FROM answers');
start_mode('retry', idle());
await(4, 16, 'two new calls wait');
release(4, 'after a cancel');

# terminated
hold();
start_mode('retry', 1 .. 20);
await(4, 16, 'before all are terminated');
my @victims = waiting();
sql("SELECT pg_terminate_backend(pid) $waiters");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 $waiters"), 'none is left');
foreach my $n (@victims)
{
	my $gone = delete $buyer{$n};
	eval { $gone->quit };
}
is(scalar keys %buyer, 16, '16 buyers live');
sql('DELETE FROM answers');
start_mode('advisory', keys %buyer);
await(4, 12, 'four new calls wait');
release(4, 'after a termination');

# timed out in a savepoint of a transaction that continues
my ($patient) = delete $buyer{(sort { $a <=> $b } keys %buyer)[0]};
hold();
$patient->query("BEGIN; SET LOCAL lock_timeout = '10ms'");
foreach my $mode (qw(optimistic retry pessimistic advisory retry))
{
	$patient->query('SAVEPOINT s');
	$patient->query("SELECT * FROM seckill_buy($item, 1, '$mode')");
	like($patient->{stderr}, qr/canceling statement due to lock timeout/, "$mode timed out");
	$patient->{stderr} = '';
	$patient->query('ROLLBACK TO s');
}
is( $patient->query(<<"EOC"), '5 timed out', 'timed out in exception blocks');
CREATE FUNCTION pg_temp.try() RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	n int := 0;
BEGIN
	FOR i IN 1 .. 5 LOOP
		BEGIN
			PERFORM seckill_buy($item, 1, 'pessimistic');
		EXCEPTION WHEN lock_not_available THEN
			n := n + 1;
		END;
	END LOOP;
	RETURN n || ' timed out';
END
\$\$;
SELECT pg_temp.try();
EOC
start_mode('advisory', keys %buyer);
await(4, 11, 'while that transaction continues');
release(4, 'beside that transaction');
$patient->query('COMMIT');

# a buyer that has not committed is no longer counted
sql('DELETE FROM answers');
is($patient->query("BEGIN; SELECT outcome FROM seckill_buy($item, 1, 'advisory')"), 'sold', 'a buyer has bought and not committed');
start_mode('retry', keys %buyer);
await(4, 11, 'behind that buyer');
$patient->query('COMMIT');
release(4, 'behind that buyer');

# the setting applies to items without max_waiters; 0 is no cap
sql("UPDATE seckill.items SET max_waiters = NULL WHERE item_id = $item");
hold();
start_mode('retry', keys %buyer);
await(15, 0, 'no setting');
release(15, 'no setting');
$node->append_conf('postgresql.conf', 'seckill.max_waiters = 1');
$node->reload;
foreach my $session (values %buyer)
{
	until ($session->query('SHOW seckill.max_waiters') eq '1') { }
}
hold();
start_mode('retry', keys %buyer);
await(2, 13, 'the setting');
release(2, 'the setting');
sql("UPDATE seckill.items SET max_waiters = 0 WHERE item_id = $item");
hold();
start_mode('retry', keys %buyer);
await(15, 0, 'an item without a cap');
release(15, 'an item without a cap');

check_audit($node, 'capped');
check_cache($node, 'capped');

$_->quit foreach values %buyer, $patient, $holder;
$node->stop;
done_testing();
