# The maintenance worker prewarms items ahead of the opening of their sale, also
# after a restart; and effects of an UPDATE of starts_at, ends_at and stock.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('opening', conf => <<'EOC');
seckill.lease_units = 20
seckill.open_ahead = 1h
EOC

sub sql
{
	return $node->safe_psql('postgres', shift);
}

sub await_lease
{
	my ($item, $cached, $message) = @_;
	ok( $node->poll_query_until('postgres',
			"SELECT cached = $cached FROM seckill.stock WHERE item_id = $item"),
		$message);
	return;
}

sub outcome
{
	my ($item, $mode) = @_;
	return sql("SELECT outcome FROM seckill_buy($item, 1, '$mode')");
}

# starts_at within open_ahead, later, NULL
sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock, starts_at) VALUES
	(1, 100, now() + '10 minutes'), (2, 5, now() + '20 minutes'),
	(3, 100, now() + '3 hours'), (4, 100, NULL), (5, 100, now() - interval '1 hour');
EOC
await_lease(1, 20, 'an item that is about to open has a lease');
await_lease(2, 5, 'a small item has leased all its units');
is(sql('SELECT auto_mode FROM seckill.stock WHERE item_id = 1'),
	'cache', 'the item will be sold from the cache');
is(sql('SELECT count(*) FROM seckill.items WHERE leased > 0'), 2, 'no other has');
ok($node->poll_query_until('postgres', 'SELECT prewarms = 2 FROM seckill.stat_worker'), 'both are counted');
is(outcome(1, 'auto'), 'not_started', 'no unit is sold before the opening');

# starts_at moved to within open_ahead, and out of it
sql("UPDATE seckill.items SET starts_at = now() + '30 minutes' WHERE item_id = 3");
await_lease(3, 20, 'a sale moved up is prewarmed');
sql("UPDATE seckill.items SET starts_at = now() + '5 hours' WHERE item_id = 1");
is(outcome(1, 'cache'), 'not_started', 'a sale is postponed');

# opened, ended, restocked, by plain UPDATE
sql('UPDATE seckill.items SET starts_at = now() WHERE item_id IN (1, 2, 3)');
is(outcome(1, $_), 'sold', "$_ sells after the opening")
  foreach qw(auto cache queue pessimistic);
is(outcome(2, 'cache'), 'sold', 'a small one') foreach 1 .. 5;
is(outcome(2, 'cache'), 'sold_out', 'is sold out');
sql('UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 2');
is(outcome(2, 'cache'), 'sold', 'restocked');
sql('UPDATE seckill.items SET ends_at = now() WHERE item_id = 1');
is(outcome(1, 'cache'), 'ended', 'an early end');
check_audit($node, 'after the sales');

# a locked row is prewarmed once it is unlocked
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id = 4 FOR NO KEY UPDATE');
$holder->query_safe("UPDATE seckill.items SET starts_at = now() + '10 minutes' WHERE item_id = 4");
sql("INSERT INTO seckill.items (item_id, stock, starts_at) VALUES (6, 100, now() + '10 minutes')");
await_lease(6, 20, 'an item beside a locked one is prewarmed');
$holder->query_safe('COMMIT; BEGIN; SELECT FROM seckill.items WHERE item_id = 4 FOR UPDATE');
$holder->query_safe('COMMIT');
await_lease(4, 20, 'the locked item is prewarmed later');

# an item that cannot be prewarmed does not stop the others
sql(<<'EOC');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'no lease of %', NEW.item_id;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON seckill.items
FOR EACH ROW WHEN (NEW.item_id = 10 AND NEW.leased > 0) EXECUTE FUNCTION refuse();
INSERT INTO seckill.items (item_id, stock, starts_at)
SELECT i, 100, now() + '10 minutes' FROM generate_series(10, 11) i;
EOC
await_lease(11, 20, 'an item after one that cannot be prewarmed is prewarmed');
$node->wait_for_log(qr/item 10 could not be prepared for its opening: no lease of 10/);
sql('DROP TRIGGER refuse ON seckill.items; DELETE FROM seckill.items WHERE item_id IN (10, 11)');

# after a crash, leases are made again
sql("UPDATE seckill.items SET starts_at = now() + '1 hour' WHERE item_id = 6");
$node->stop('immediate');
$node->start;
await_lease(4, 20, 'a lease is made again after a crash');
check_audit($node, 'after the crash');

# no prewarm if the default mode sells from the row, nor if open_ahead is 0
my $spare = 90;

# Two orders that expire one after the other: the maintenance worker has run once.
sub await_turn
{
	foreach (1, 2)
	{
		$spare++;
		sql("INSERT INTO seckill.items (item_id, stock, pay_within) VALUES ($spare, 1, '10 ms')");
		sql("SELECT seckill_buy($spare, 1, 'retry')");
		ok( $node->poll_query_until('postgres',
				"SELECT state = 'expired' FROM seckill.orders WHERE item_id = $spare"),
			'the maintenance worker is running');
	}
	return;
}

$node->append_conf('postgresql.conf', "seckill.default_mode = pessimistic\n");
$node->restart;
sql("INSERT INTO seckill.items (item_id, stock, starts_at) VALUES (7, 100, now() + '10 minutes')");
await_turn();
$node->append_conf('postgresql.conf',
	"seckill.default_mode = auto\nseckill.open_ahead = 0\n");
$node->restart;
sql("UPDATE seckill.items SET starts_at = now() + '20 hours' WHERE item_id = 7");
sql("INSERT INTO seckill.items (item_id, stock, starts_at) VALUES (8, 100, now() + '10 minutes')");
await_turn();
is(sql('SELECT sum(leased) FROM seckill.items WHERE item_id IN (7, 8)'),
	0, 'no lease where none is wanted');

$node->stop;
done_testing();
