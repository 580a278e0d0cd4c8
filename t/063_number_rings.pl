# The rings of numbers: there are fewer than items, one is full, one is taken from
# another item, and numbers that lie scattered over a long set.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node(
	'rings',
	conf => <<'EOC');
autovacuum = off
log_min_error_statement = panic
seckill.max_numbered_items = 1
seckill.max_items = 10
seckill.queue_idle_time = 200
seckill.open_ahead = 1h
EOC

sub sql
{
	my ($text) = @_;
	return $node->safe_psql('postgres', $text);
}

sub item
{
	my ($item, $stock, $columns) = @_;

	sql("INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($item, $stock, true)");
	sql("UPDATE seckill.items SET $columns WHERE item_id = $item") if $columns;
	return;
}

sub check
{
	my ($what) = @_;

	check_numbers($node, $what);
	is(sql('SELECT count(*) FROM seckill.orders JOIN seckill.items USING (item_id) WHERE numbered AND unit IS NULL AND state = \'confirmed\''),
		0, "$what: no order lacks a number");
	return;
}

sub modes
{
	my ($item) = @_;
	return sql("SELECT string_agg(DISTINCT mode::text, ' ') FROM seckill.orders WHERE item_id = $item");
}


#
# One ring for two items
#

item($_, 30) foreach 1, 2;
is(sql(q{SELECT outcome, unit FROM seckill_claim(1, 1, 'cache')}), 'sold|1', 'the first item has the ring');
is(sql(q{SELECT outcome, unit FROM seckill_claim(2, 1, 'cache')}), 'sold|1', 'the second item sells, too');
is(modes(1) . ', ' . modes(2), 'cache, advisory', 'from its row');
my ($code, $out, $err) = $node->psql('postgres', 'SELECT seckill_prewarm(2, 5)');
like($err, qr/too many items with numbered units.*max_numbered_items/s, 'it cannot be prewarmed');
sql('SELECT seckill_recall(1)');
is(sql(q{SELECT outcome, unit FROM seckill_claim(2, 2, 'cache')}), 'sold|2', 'an item without units in memory gives its ring away');
is(modes(2), 'advisory cache', 'to the second one');
is(sql('SELECT outcome, unit FROM seckill_claim_many(1, \'{2,3}\', \'cache\')'), "sold|2\nsold|3", 'the first one sells from its row now');
check('two items');

# A transaction that has sold all that it leased itself has nothing on sale or on
# hold; a savepoint brings it back.
item($_, 3) foreach 3, 4;
sql('SELECT seckill_recall(2)');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN; SELECT seckill_prewarm(3, 3); SAVEPOINT s');
is($session->query(q{SELECT string_agg(unit::text, ' ') FROM seckill_claim_many(3, '{1,2,3}', 'cache')}), '1 2 3', 'a transaction sells what it has leased');
is(sql(q{SELECT string_agg(unit::text, ' ') FROM seckill_claim_many(4, '{1,2}', 'cache')}), '1 2', 'another item sells meanwhile');
is($session->query(q{ROLLBACK TO s; SELECT unit FROM seckill_claim(3, 9, 'cache')}), '1', 'back to a savepoint, the numbers are still known');
$session->query_safe('COMMIT');
is(sql(q{SELECT string_agg(unit::text, ' ') FROM seckill_claim_many(3, '{1,2}', 'cache')}), '2 3', 'and are on sale after the commit');
is(sql(q{SELECT mode FROM seckill.orders WHERE item_id = 3 AND unit = 3}), 'cache', 'from the cache');
check('a savepoint');

# the same item, in one transaction
item($_, 3) foreach 5, 6;
is(sql(<<'EOC'), '1 2', 'a transaction does not take the ring from itself');
BEGIN;
SELECT FROM seckill_prewarm(5, 3);
SAVEPOINT s;
SELECT FROM seckill_claim_many(5, '{1,2,3}', 'cache');
SELECT FROM seckill_claim_many(6, '{1,2}', 'cache');
ROLLBACK TO s;
SELECT string_agg(unit::text, ' ') FROM seckill_claim_many(5, '{1,2}', 'cache');
COMMIT
EOC
check('one transaction');
sql('SELECT seckill_recall(5)');

# an item made anew, with numbers and without
sql('INSERT INTO seckill.items (item_id, stock) VALUES (7, 5)');
sql('SELECT seckill_prewarm(7, 5)');
sql('DELETE FROM seckill.items WHERE item_id = 7');
item(7, 5);
is(sql(q{SELECT string_agg(unit::text, ' ') FROM seckill_claim_many(7, '{1,2}', 'cache')}), '1 2', 'an item made anew has numbers');
sql('SELECT seckill_recall(7)');
sql('DELETE FROM seckill.orders WHERE item_id = 7; DELETE FROM seckill.items WHERE item_id = 7');
sql('INSERT INTO seckill.items (item_id, stock) VALUES (7, 5)');
is(sql(q{SELECT outcome FROM seckill_buy(7, 1, 'cache', 2)}), 'sold', 'an item made anew has none');
is(sql('SELECT count(*) FROM seckill.orders WHERE item_id = 7 AND unit IS NULL AND quantity = 2'), 1, 'its order has none');
sql('SELECT seckill_recall(7)');

# evicted entries give their rings back
sql("INSERT INTO seckill.items (item_id, stock, numbered) SELECT n, 5, true FROM generate_series(100, 139) n");
foreach my $n (100 .. 139)
{
	sql("SELECT seckill_claim($n, 1, 'cache'); SELECT seckill_recall($n)");
}
is(sql(q{SELECT count(*) FROM seckill.orders WHERE item_id >= 100 AND mode = 'cache' AND unit = 1}), 40, 'each of 40 items has had the ring');
check('eviction');

# two items in a crowd take the ring from each other all the time
item($_, 2000) foreach 201, 202;
crowd($node, 16, 50, "SELECT seckill_claim(201, 1, 'cache')", "SELECT seckill_claim(202, 1, 'cache')", 'SELECT seckill_recall(201)', 'SELECT seckill_recall(202)');
check('a crowd');
sql('SELECT seckill_recall(201), seckill_recall(202)');


#
# A full ring
#

item(11, 5000);
is(sql('SELECT seckill_prewarm(11, 5000)'), 1024, 'a ring has 1024 numbers');
is(sql('SELECT seckill_prewarm(11, 5000)'), 0, 'and no room for more');
$session->query_safe('BEGIN');
is($session->query(q{SELECT count(DISTINCT unit) FROM seckill_claim_many(11, array_fill(1, '{1024}'), 'cache')}), 1024, 'a transaction has all of them');
is(sql(q{SELECT outcome, unit FROM seckill_claim(11, 2, 'cache')}), 'sold|1025', 'another one buys from the row');
is($session->query(q{SELECT count(*) FROM seckill_claim_many(11, array_fill(1, '{2000}'), 'cache') WHERE outcome = 'sold'}), 2000, 'and the first one goes on');
is($session->query(q{SELECT string_agg(DISTINCT mode::text, ' ') FROM seckill.orders WHERE item_id = 11}), 'advisory cache', 'from the row');
$session->query_safe('ROLLBACK');
is(sql('SELECT cached, held FROM seckill.stock WHERE item_id = 11'), '1024|0', 'all are back');
is(sql(q{SELECT outcome, unit FROM seckill_claim(11, 2, 'cache')}), 'sold|1', 'in their order');
check('a full ring');

# lists that want more than a ring has, and more than there is
is(sql(q{SELECT count(*) FROM seckill_claim_many(11, array_fill(1, '{1500}'), 'cache') WHERE outcome = 'sold'}), 1500, 'a list longer than the ring');
is(sql(q{SELECT count(DISTINCT unit) FILTER (WHERE outcome = 'sold'), count(*) FILTER (WHERE outcome = 'sold_out')
	FROM seckill_claim_many(11, array_fill(1, '{4000}'), 'cache')}), '3498|502', 'a list longer than the stock');
is(sql('SELECT stock, unsold, sold FROM seckill_audit(11)'), '0|0|5000', 'which sells all');
check('long lists');

# a lease larger than the ring does not make each purchase refill
item(12, 3000);
sql(join(';', 'SET seckill.lease_units = 100000', map { "SELECT seckill_claim(12, $_, 'cache')" } 1 .. 5));
is(sql('SELECT sum(refills) FROM seckill.stat_items WHERE item_id = 12'), 1, 'purchases do not lease one by one');
sql('SELECT seckill_recall(12)');


#
# A row whose numbers lie scattered
#

item(21, 6000);
sql(q{SELECT FROM seckill_claim_many(21, array_fill(1, '{6000}'), 'pessimistic')});
sql('SELECT FROM seckill.orders o, seckill_cancel(21, o.order_id, true) WHERE o.item_id = 21 AND o.unit % 3 = 1');
cmp_ok(sql('SELECT pg_column_size(numbers) FROM seckill.items WHERE item_id = 21'), '>', 2000, 'the set is long');
cmp_ok(sql('SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = \'seckill.items\'::regclass'), '>', 0, 'and out of line');
is(sql(q{SELECT outcome, unit FROM seckill_claim(21, 1)}), 'sold|1', 'it is sold');
is(sql(q{SELECT mode FROM seckill.orders WHERE item_id = 21 AND unit = 1 AND state = 'confirmed'}), 'cache', 'from the cache at once');
sql('SELECT seckill_recall(21)');
foreach my $mode (qw(optimistic retry pessimistic advisory cache queue))
{
	like(sql("SELECT outcome, unit % 3 FROM seckill_claim(21, 1, '$mode')"), qr/^sold\|1$/, "$mode sells it");
}
is(sql('SELECT seckill_restock(21, -3)'), 1990, 'some go off sale');
is(sql('SELECT seckill_set_available(21, 1000)'), -990, 'and most of the others');
# it is saved as it was read
is(sql(q{UPDATE seckill.items i SET (title, stock, version, leased, lease_id, supplied, seal, numbered, numbers, off_sale, reveal_on)
	= (SELECT 'saved', r.stock, r.version, r.leased, r.lease_id, r.supplied, r.seal, r.numbered, r.numbers, r.off_sale, r.reveal_on
		FROM jsonb_populate_record(NULL::seckill.items, (SELECT to_jsonb(j) FROM seckill.items j WHERE item_id = 21)) r)
	WHERE item_id = 21 RETURNING title}), 'saved', 'a row with a long set can be saved');
($code, $out, $err) = $node->psql('postgres', q{UPDATE seckill.items SET numbers = numbers - '{[5000,5100)}', stock = seckill_count(numbers - '{[5000,5100)}') WHERE item_id = 21});
like($err, qr/cannot be changed by hand/, 'with another set it cannot');

# background processes read it, too: expiry, queue and opening
sql(q{UPDATE seckill.items SET pay_within = '1 ms' WHERE item_id = 21});
sql(q{SELECT FROM seckill_claim(21, 5, 'queue')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM seckill.orders WHERE item_id = 21 AND user_id = 5 AND state = 'expired' AND unit IS NULL}),
	'an order of it expires');
sql('SELECT seckill_recall(21)');
sql(q{UPDATE seckill.items SET starts_at = now() + '50 min' WHERE item_id = 21});
ok($node->poll_query_until('postgres', 'SELECT leased > 0 FROM seckill.items WHERE item_id = 21'), 'its opening is prepared');
check('scattered numbers');

# lost leases of such a row are settled
$node->stop('immediate');
$node->start;
is(sql('SELECT seckill_recall(21) > 0'), 't', 'its lost lease is settled');
is(sql('SELECT stock FROM seckill.items WHERE item_id = 21'), 1000, 'and all are on the row');
check('a crash');
$session->quit;


#
# More rings than one purchase looks at, and more items than rings
#

sql('UPDATE seckill.items SET starts_at = NULL');
$node->append_conf('postgresql.conf', "seckill.max_numbered_items = 100\nseckill.max_items = 300\n");
$node->restart;
sql('INSERT INTO seckill.items (item_id, stock, numbered) SELECT n, 10, true FROM generate_series(1001, 1110) n');
is(sql('SELECT sum(seckill_prewarm(n, 2)) FROM generate_series(1001, 1100) n'), 200, 'each ring has an owner');
is(sql(q{SELECT outcome FROM seckill_claim(1101, 1, 'cache')}), 'sold', 'an item without a ring sells');
is(modes(1101), 'advisory', 'from its row');
sql('SELECT seckill_recall(1050)');
is(sql('SELECT seckill_prewarm(1102, 2)'), 2, 'a ring that is given up is found at once if an item is prewarmed');
sql('SELECT seckill_recall(1020)');
is(sql(q{SELECT count(*) FROM generate_series(1, 4) n, LATERAL (SELECT outcome FROM seckill_claim(1101, n, 'cache')) c WHERE outcome = 'sold'}),
	4, 'and by one purchase of a few');
is(modes(1101), 'advisory cache', 'which sells from the cache');
check('many rings');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|XX000|terminated by signal/, 'no error in the log');
$node->stop;
done_testing();
