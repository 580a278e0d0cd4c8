# Unpaid orders expire and their units are on sale again, even if processes end
# or the server crashes.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node(
	'expiry',
	streaming => 1,
	conf => <<'EOC');
seckill.lease_units = 20
seckill.naptime = 1s
track_commit_timestamp = on
log_min_messages = debug1
max_prepared_transactions = 5
EOC
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql
{
	my ($text, $db, $on) = @_;
	return ($on // $node)->safe_psql($db // 'postgres', $text);
}

# An item whose orders have so long to be paid; SECKILL_SLOWNESS times as long
# where purchases take longer.
sub add_paid_item
{
	my ($item, $stock, $within) = @_;
	my $slowness = $ENV{SECKILL_SLOWNESS} // 1;
	sql("INSERT INTO seckill.items (item_id, stock, pay_within) VALUES ($item, $stock, interval '$within' * $slowness)");
	return;
}

# Wait until so many orders of an item are in a state, or more.
sub await_state
{
	my ($item, $state, $n, $message, $on) = @_;
	ok( ($on // $node)->poll_query_until('postgres',
			"SELECT count(*) >= $n FROM seckill.orders WHERE item_id = $item AND state = '$state'"),
		$message);
	return;
}

# every mode; orders expire when they are due, after all are pending
add_paid_item(1, 10, '1 hour');
sql("SELECT seckill_buy(1, 1, '$_')") foreach @modes;
sql("SELECT seckill_buy_many(1, ARRAY[2, 3, 4], 'cache')");
is(sql("SELECT outcome FROM seckill_buy(1, 5, 'cache')"),
	'sold_out', 'sold out while they are pending');
sql("UPDATE seckill.orders SET pay_by = clock_timestamp() + '300 ms' WHERE item_id = 1");
await_state(1, 'expired', 10, 'orders of all modes expire');
is(sql(<<'EOC'), 't', 'none before its time');
SELECT bool_and(pg_xact_commit_timestamp(xmin) >= pay_by) FROM seckill.orders WHERE item_id = 1
EOC
note('longest delay, in s: ' . sql(<<'EOC'));
SELECT max(pg_xact_commit_timestamp(xmin) - pay_by) FROM seckill.orders WHERE item_id = 1
EOC
is(sql('SELECT stock, sold FROM seckill_audit(1)'), '10|0', 'all units are returned');
# counted and logged after the commit
ok($node->poll_query_until('postgres', 'SELECT expired_orders = 10 AND expiry_batches > 0 FROM seckill.stat_worker'), 'and counted');
$node->wait_for_log(qr/expired \d+ orders of 1 items/);
sql("UPDATE seckill.items SET pay_within = '300 ms' WHERE item_id = 1");
is(sql("SELECT outcome FROM seckill_buy(1, 5, '$_')"), 'sold', "and sold by $_")
  foreach @modes;
await_state(1, 'expired', 17, 'orders of the next buyers expire');
check_audit($node, 'after expiry');

# late payment: a unit is taken again, or the order stays expired
add_paid_item(2, 1, '300 ms');
my $late = sql("SELECT order_id FROM seckill_buy(2, 1, 'cache')");
await_state(2, 'expired', 1, 'an order expires');
is(sql("SELECT seckill_confirm(2, $late)"), 'confirmed', 'late payment takes the unit');
is(sql("SELECT seckill_confirm(2, $late)"), 'confirmed', 'twice is once');
is(sql('SELECT stock, sold FROM seckill_audit(2)'), '0|1', 'one unit is sold');
is(sql("SELECT seckill_cancel(2, $late, true)"), 'cancelled', 'and given back');
my $second = sql("SELECT order_id FROM seckill_buy(2, 2, 'retry')");
await_state(2, 'expired', 1, 'another expires');
sql("UPDATE seckill.items SET pay_within = '1 hour' WHERE item_id = 2");
is(sql("SELECT outcome FROM seckill_buy(2, 3, 'cache')"), 'sold', 'its unit is sold');
is(sql("SELECT seckill_confirm(2, $second)"),
	'expired', 'late payment for a unit that is sold');
sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id = 2 AND user_id = 3');
await_state(2, 'expired', 2, 'the third expires as well');
sql("UPDATE seckill.items SET per_user_limit = 1, pay_within = NULL WHERE item_id = 2");
is(sql("SELECT outcome FROM seckill_buy(2, 2, 'cache')"), 'sold', 'the second user buys again');
sql('UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 2');
is(sql("SELECT seckill_confirm(2, $second)"),
	'expired', 'late payment by a user at the limit');
sql("UPDATE seckill.items SET per_user_limit = 2, ends_at = now() WHERE item_id = 2");
is(sql("SELECT seckill_confirm(2, $second)"),
	'confirmed', 'late payment when the sale is over, with a unit left');
is(sql("SELECT outcome FROM seckill_buy(2, 2, 'cache')"), 'ended', 'no purchase is');
check_audit($node, 'after late payments');

# late payment with the units in the lease that sold the order
add_paid_item(12, 1, '300 ms');
my $leased = sql("SELECT order_id FROM seckill_buy(12, 1, 'cache')");
await_state(12, 'expired', 1, 'an order of a lease expires');
is(sql('SELECT seckill_prewarm(12)'), 1, 'its unit is leased again');
is(sql("SELECT seckill_confirm(12, $leased)"),
	'confirmed', 'late payment takes it from the lease');
check_audit($node, 'after late payment from a lease');
check_cache($node, 'after late payment from a lease');
is(sql("SELECT outcome FROM seckill_buy(12, 2, 'cache')"), 'sold_out', 'nothing is left');
is(sql("SELECT seckill_cancel(12, $leased, true), seckill_recall(12)"), 'cancelled|0', 'and given back');
is(sql('SELECT stock, unsold, sold FROM seckill_audit(12)'), '1|0|0', 'to the row');

# a locked order and a locked row do not delay other orders; the locked ones are due
# once they are locked
add_paid_item(3, 5, '1 s');
add_paid_item(4, 5, '1 hour');
add_paid_item(5, 5, '300 ms');
my $holder = $node->background_psql('postgres');
$holder->query_safe(<<'EOC');
BEGIN;
SELECT order_id AS paid FROM seckill_buy(3, 1, 'retry') \gset
COMMIT;
BEGIN;
SELECT seckill_confirm(3, :paid);
SELECT FROM seckill.items WHERE item_id = 4 FOR UPDATE;
EOC
sql("SELECT seckill_buy(3, 2, 'cache')");
sql("SELECT seckill_prewarm(3)");
sql("SELECT seckill_buy(5, 2, 'queue')");
await_state(3, 'expired', 1, 'an order expires beside one that is locked');
await_state(5, 'expired', 1, 'an order of another item expires');
$holder->query_safe('ROLLBACK; BEGIN; SELECT FROM seckill.items WHERE item_id = 4 FOR UPDATE;');
await_state(3, 'expired', 2, 'the order expires after the lock is released');
sql("UPDATE seckill.items SET pay_within = '300 ms' WHERE item_id = 5");
$holder->query_safe("SELECT seckill_buy(4, 1, 'retry'); COMMIT; BEGIN; SELECT FROM seckill.items WHERE item_id = 4 FOR UPDATE;");
sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id = 4');
sql("SELECT seckill_buy(5, 3, 'retry')");
await_state(5, 'expired', 2, 'an order expires beside a locked row');
is(sql('SELECT state FROM seckill.orders WHERE item_id = 4'),
	'pending', 'the order of the locked row stays pending');
$holder->query_safe('COMMIT;');
await_state(4, 'expired', 1, 'it expires when the row is unlocked');

# nor do more orders of a locked row than a batch holds
add_paid_item(20, 2000, '1 hour');
$holder->query_safe(<<'EOC');
SELECT count(*) FROM seckill_buy_many(20, ARRAY(SELECT generate_series(1, 1500)), 'retry');
BEGIN;
SELECT FROM seckill.items WHERE item_id = 20 FOR UPDATE;
EOC
sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id = 20');
sql("SELECT seckill_buy(5, 4, 'retry')");
await_state(5, 'expired', 3, 'an order expires beside many of a locked row');
is(sql("SELECT count(*) FROM seckill.orders WHERE item_id = 20 AND state = 'pending'"),
	1500, 'the orders of the locked row stay pending');
$holder->query_safe('COMMIT;');
await_state(20, 'expired', 1500, 'they expire when the row is unlocked');

# more waiters for the item lock than the first wait of the maintenance worker allows
add_paid_item(21, 1000000, '1 s');
local $ENV{PGAPPNAME} = 'crowd';
my $stop = start_crowd($node, 40, <<'EOC');
BEGIN;
SELECT outcome FROM seckill_buy(21, 1, 'pessimistic');
\sleep 15 ms
COMMIT;
EOC
ok( $node->poll_query_until('postgres',
		"SELECT count(*) > 0 FROM seckill.orders WHERE item_id = 21 AND state = 'expired'"),
	'orders expire behind many waiters');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crowd' AND pid <> pg_backend_pid()");
$stop->();

# an order that cannot expire does not delay the others
sql(<<'EOC');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'order of user % stays', NEW.user_id;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON seckill.orders
FOR EACH ROW WHEN (NEW.user_id = 13 AND NEW.state = 'expired') EXECUTE FUNCTION refuse();
EOC
add_paid_item(6, 50, '300 ms');
sql('SELECT seckill_buy_many(6, ARRAY(SELECT generate_series(1, 30)))');
await_state(6, 'expired', 29, 'all but one expire');
is(sql('SELECT user_id FROM seckill.orders WHERE item_id = 6 AND state = $$pending$$'),
	'13', 'the order whose trigger raises an error stays pending');
$node->wait_for_log(qr/could not be expired: order of user 13 stays/);
sql('DROP TRIGGER refuse ON seckill.orders');

# an order that a trigger keeps pending does not return its units
sql(<<'EOC');
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
CREATE TRIGGER keep BEFORE UPDATE ON seckill.orders
FOR EACH ROW WHEN (NEW.user_id = 14 AND NEW.state = 'expired') EXECUTE FUNCTION keep();
EOC
sql('SELECT seckill_buy_many(6, ARRAY[14, 31])');
await_state(6, 'expired', 30, 'all but the kept order expire');
$node->wait_for_log(qr/could not be expired: order of item 6 was not updated/);
sql('DROP TRIGGER keep ON seckill.orders');

# many orders that cannot expire: no delay, and the log is not flooded
sql(<<'EOC');
CREATE TRIGGER refuse BEFORE UPDATE ON seckill.orders
FOR EACH ROW WHEN (NEW.item_id = 22 AND NEW.state = 'expired') EXECUTE FUNCTION refuse();
EOC
add_paid_item(22, 2000, '300 ms');
my $offset = -s $node->logfile;
sql('SELECT seckill_buy_many(22, ARRAY(SELECT generate_series(1, 1500)))');
$node->wait_for_log(qr/expiry of all orders of item 22 is deferred/, $offset);
sql("UPDATE seckill.items SET pay_within = '300 ms' WHERE item_id = 5; SELECT seckill_buy(5, 5, 'retry')");
await_state(5, 'expired', 4, 'orders of others expire');
my $failures = () = slurp_file($node->logfile, $offset) =~ /could not be expired/g;
cmp_ok($failures, '<', 10, 'few failures are logged');
sql('DROP TRIGGER refuse ON seckill.orders');
sql('SELECT seckill_cancel(item_id, order_id) FROM seckill.orders WHERE item_id = 22');
sql('SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 6 AND user_id = 14');
sql('SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 6 AND user_id = 13');
check_audit($node, 'after the failure');

# pay_by moved back and forward
add_paid_item(7, 5, '1 hour');
sql("SELECT seckill_buy(7, 1, 'cache')");
sql("UPDATE seckill.orders SET pay_by = now() WHERE item_id = 7");
await_state(7, 'expired', 1, 'an operator sets an earlier pay_by');

# orders of a prepared transaction are not announced
add_paid_item(8, 5, '300 ms');
sql("BEGIN; SELECT seckill_buy(8, 1, 'advisory'); PREPARE TRANSACTION 'x'");
sql("COMMIT PREPARED 'x'");
await_state(8, 'expired', 1, 'an order of a prepared transaction');

# maintenance worker and launcher are terminated during a sale
add_paid_item(9, 100, '200 ms');
my $answered = start_crowd($node, 20,
	map { "\\set u random(1, 1000)\nSELECT outcome FROM seckill_buy(9, :u, '$_');\n" } @modes);
foreach my $round (1 .. 10)
{
	my $count = sql('SELECT count(*) FROM seckill.orders WHERE item_id = 9');

	ok( $node->poll_query_until('postgres',
			"SELECT count(*) > $count + 100 FROM seckill.orders WHERE item_id = 9"),
		"units are sold again and again, round $round");
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'");
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill launcher'")
	  if $round % 3 == 0;
}

# orders pending at a crash expire after the restart
$node->stop('immediate');
$answered->();
$node->start;
check_audit($node, 'after the crash');
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM seckill.orders WHERE state = 'pending' AND item_id = 9"),
	'orders expire after a crash without any call');
is( sql('SELECT stock + unsold, sold FROM seckill_audit(9)'), '100|0',
	'all units are returned');

# the same after promotion
add_paid_item(10, 5, '1500 ms');
my $standby = seckill_standby($node);
sql("SELECT seckill_buy(10, 1, 'cache')");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is( sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'seckill launcher'",
		'postgres', $standby),
	0, 'there is no launcher on a standby');
$node->stop('immediate');
$standby->promote;
await_state(10, 'expired', 1, 'orders expire after a promotion', $standby);
check_audit($standby, 'after the promotion');
$standby->stop;
$node->start;

# other databases: with and without the extension, and dropped with orders
sql('CREATE DATABASE other');
sql("CREATE EXTENSION seckill; INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (1, 5, '300 ms')", 'other');
sql("SELECT seckill_buy(1, 1, 'cache')", 'other');
ok( $node->poll_query_until('other', "SELECT state = 'expired' FROM seckill.orders"),
	'orders of another database expire');
sql("UPDATE seckill.items SET pay_within = '10 s'; SELECT seckill_buy(1, 2, 'cache')", 'other');
sql(<<'EOC', 'other');
INSERT INTO seckill.orders (item_id, user_id, quantity, mode, state, pay_by)
SELECT 1, 3, 1, 'retry', 'pending', clock_timestamp() + n * interval '300 ms' FROM generate_series(0, 300) n;
UPDATE seckill.items SET pay_within = '1 ms';
SELECT seckill_buy(1, 4, 'cache');
EOC
ok( $node->poll_query_until('other', "SELECT count(*) > 2 FROM seckill.orders WHERE user_id = 3 AND state = 'expired'"),
	'orders are due all the time');
sql('ALTER DATABASE other RENAME TO another');
sql('CREATE DATABASE copy TEMPLATE another');
sql("SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");
sql('ALTER DATABASE another SET TABLESPACE elsewhere');
sql('DROP DATABASE another');
add_paid_item(11, 5, '300 ms');
sql("SELECT seckill_buy(11, 1, 'cache')");
await_state(11, 'expired', 1, 'expiry continues after DROP DATABASE');
sql("UPDATE seckill.items SET pay_within = '2 s' WHERE item_id = 11; SELECT seckill_buy(11, 1, 'cache')");
sql('DROP EXTENSION seckill CASCADE; CREATE EXTENSION seckill');
add_paid_item(1, 5, '300 ms');
sql("SELECT seckill_buy(1, 1, 'cache')");
await_state(1, 'expired', 1, 'expiry continues after DROP EXTENSION');

$node->stop;
done_testing();
