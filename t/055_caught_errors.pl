# An application trigger on items or orders tries to buy and catches the error:
# the statement around it still counts as the extension's own, and no unit is lost
# or counted twice.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('main', conf => <<'EOC');
seckill.lease_units = 3
seckill.open_ahead = 0
EOC
my $holder;
my ($item, $events);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Lock the row of item 2.
sub hold
{
	$holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id = 2 FOR UPDATE');
	return;
}

# Run a call that fires the trigger, and check its answer.
sub is_sound
{
	my ($call, $expected, $message) = @_;
	my $before = sql('SELECT count(*) FROM caught');
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT $call");

	is($out, $expected, "$events: $message") or diag($err);
	check_audit($node, "$events: $message");
	return sql('SELECT count(*) FROM caught') - $before;
}

# Wait for the maintenance worker to expire an order.
sub is_expired
{
	my ($order) = @_;
	sql("UPDATE seckill.orders SET pay_by = now() WHERE order_id = $order");
	ok($node->poll_query_until('postgres', "SELECT state = 'expired' FROM seckill.orders WHERE order_id = $order"),
		"$events: an order expires");
	check_audit($node, "$events: expiry");
	return;
}

sub buy
{
	my ($mode) = @_;
	return sql("SELECT order_id FROM seckill_buy($item, 1, '$mode')");
}

sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock) VALUES (2, 100), (3, 100);
CREATE TABLE caught (code text);
CREATE FUNCTION tries() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '10ms' AS $$
DECLARE
	call text;
BEGIN
	FOREACH call IN ARRAY ARRAY[
		$c$seckill_buy(2, 1, 'pessimistic')$c$, $c$seckill_prewarm(2, 1)$c$,
		$c$seckill_buy(3, 1, 'queue')$c$, $c$seckill_buy(999, 1, 'cache')$c$,
		$c$seckill_buy(3, 1, 'retry'), 1 / 0$c$, $c$seckill_buy(3, 1, 'cache', 5), 1 / 0$c$]
	LOOP
		BEGIN
			EXECUTE 'SELECT ' || call;
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO caught VALUES (SQLSTATE);
		END;
	END LOOP;
	RETURN NEW;
END $$;
EOC
hold();

$item = 10;
foreach my $trigger ('BEFORE UPDATE ON seckill.items', 'AFTER UPDATE ON seckill.items',
	'BEFORE INSERT OR UPDATE ON seckill.orders', 'AFTER INSERT OR UPDATE ON seckill.orders')
{
	my ($table) = $trigger =~ /(\S+)$/;
	my $on_items = $table eq 'seckill.items';

	$item++;
	$events = $trigger;
	sql("INSERT INTO seckill.items (item_id, stock, pay_within) VALUES ($item, 100, '1 hour')");
	sql("CREATE TRIGGER a_first $trigger FOR EACH ROW WHEN (NEW.item_id > 10) EXECUTE FUNCTION tries()");

	is_sound("outcome FROM seckill_buy($item, 1, '$_')", 'sold', $_)
	  foreach qw(optimistic retry pessimistic advisory cache queue);
	is_sound("count(*) FROM seckill_buy_many($item, '{1,2,3,4}', 'cache') WHERE outcome = 'sold'", 4, 'many');
	my $caught = is_sound("outcome FROM seckill_buy($item, 1, 'cache', 5)", 'sold', 'refill');
	cmp_ok($caught, '>=', 6, "$events: each call has failed, and the error was caught");

	my ($first, $second) = (buy('retry'), buy('cache'));
	is_sound("seckill_confirm($item, $first)", 'confirmed', 'confirm');
	is_sound("seckill_cancel($item, $first, true)", 'cancelled', 'refund');
	is_sound("seckill_cancel($item, $second)", 'cancelled', 'cancel');
	my $third = buy('cache');
	is_expired($third);
	is_sound("seckill_confirm($item, $third)", 'confirmed', 'late payment');

	is_sound("seckill_restock($item, 5) > 5", 't', 'restock');
	is_sound("seckill_set_available($item, 50) < 0", 't', 'set available');
	is_sound("seckill_put_item($item, '{\"title\": \"x\"}')", 'f', 'change');
	is_sound("seckill_prewarm($item, 4)", 4, 'prewarm');
	is_sound("seckill_recall($item) > 3", 't', 'recall');
	is_sound("seckill_prewarm($item, 4)", 4, 'prewarm again');
	$node->stop('immediate');
	$node->start;
	hold();
	is_sound("outcome FROM seckill_buy($item, 1, 'cache')", 'sold', 'settle');
	is(sql('SELECT settles FROM seckill.stat_worker'), 1, "$events: the lost lease is settled");
	is(sql("SELECT count(*) FROM caught WHERE code NOT IN ('55P03', '25001', '42704', '22012')"), 0,
		"$events: no call has failed otherwise");
	$holder->quit;
	sql("DROP TRIGGER a_first ON $table");
	hold();
	check_cache($node, $events);
}

is(sql('SELECT sold FROM seckill_audit(2)'), 0, 'nothing is sold of the locked item');
is(sql('SELECT sold FROM seckill_audit(3)'), 0, 'nor by calls that were rolled back');
$holder->quit;
$node->stop;
done_testing();
