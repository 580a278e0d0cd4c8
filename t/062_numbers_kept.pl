# Numbers outlast what happens to tables: a dump with an open lease, old orders
# that are archived in mid-sale, expiry in bulk, a batch of the queue with many
# items, and a lost lease with a million orders.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use Time::HiRes 'time';

my $node = seckill_node('kept', conf => "fsync = off\nautovacuum = off\nseckill.lease_units = 50\n");

sub sql
{
	my ($text, $db) = @_;
	return $node->safe_psql($db // 'postgres', $text);
}

sub item
{
	my ($item, $stock, $columns) = @_;

	sql("INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($item, $stock, true)");
	sql("UPDATE seckill.items SET $columns WHERE item_id = $item") if $columns;
	return;
}


#
# Dump and restore, with a lease, burnt and free numbers, and numbers off sale
#

item(1, 100, q{reveal_on = 'pending'});
sql(<<'EOC');
INSERT INTO seckill.units (item_id, unit, code, amount) SELECT 1, n, CASE WHEN n % 2 = 0 THEN 'c' || n END, n FROM generate_series(1, 100) n;
SELECT seckill_prewarm(1, 60);
BEGIN;
SELECT seckill_claim_many(1, array_fill(1, '{20}'), 'cache');
COMMIT;
SELECT seckill_claim_many(1, array_fill(2, '{20}'), 'pessimistic');
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE unit IN (1, 2, 61, 62);
SELECT seckill_restock(1, -3);
SELECT seckill_restock(1, 5);
EOC
check_numbers($node, 'a sale');
my $audit = sql('SELECT * FROM seckill_audit()');
like($audit, qr/^1\|102\|\d+\|40\|36\|102\|0\|2\|/, 'a lease is open, and two numbers are burnt');
my $place = 'SELECT numbers, off_sale, leased, (SELECT range_agg(int8range(unit, unit + 1)) FROM seckill.orders) FROM seckill.items';
my $places = sql($place);
my %ways = (plain => [ [], 'psql' ], custom => [ ['-Fc'], 'pg_restore' ]);
foreach my $db (sort keys %ways)
{
	my ($dump, $restore) = @{ $ways{$db} };
	my $file = $node->basedir . "/$db.dump";

	$node->command_ok([ 'pg_dump', @$dump, '-f', $file, 'postgres' ], "$db: dump");
	sql("CREATE DATABASE $db TEMPLATE template0");
	$node->command_ok($restore eq 'psql' ? [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $db, '-f', $file ]
		: [ 'pg_restore', '-e', '-d', $db, $file ], "$db: restore");
	is(sql('SELECT * FROM seckill_audit()', $db), $audit, "$db: the audit is the same");
	is(sql($place, $db), $places, "$db: and so is each number");
	is(sql('SELECT count(*), sum(amount) FROM seckill.units', $db), '100|5050', "$db: units are restored");
	# of 105 numbers 36 are in live orders, 2 burnt, 3 off sale
	is(sql(q{SELECT count(*), count(DISTINCT unit) FROM seckill_claim_many(1, array_fill(3, '{200}'), 'cache') WHERE outcome = 'sold'}, $db),
		'64|64', "$db: what is left is sold");
	is(sql('SELECT count(*) FROM (SELECT unit FROM seckill.orders WHERE unit IN (2, 62)) o', $db), 2, "$db: no burnt number again");
	check_numbers($node, $db, $db);
}


#
# Old orders are archived while a sale runs, also from an item with a lost lease
#

item(2, 600);
sql(q{CREATE TABLE archive AS SELECT * FROM seckill.orders LIMIT 0});
crowd(
	$node, 20, 30,
	q{SELECT seckill_claim(2, 1, (ARRAY['cache', 'retry', 'pessimistic', 'queue'])[1 + floor(random() * 3)])},
	q{SELECT seckill_claim(2, 2, 'cache')},
	q{WITH gone AS (DELETE FROM seckill.orders o USING seckill.items i WHERE (o.item_id, i.item_id) = (2, 2)
		AND o.order_id IN (SELECT order_id FROM seckill.orders WHERE item_id = 2 AND lease_id IS NULL ORDER BY order_id LIMIT 3 FOR UPDATE SKIP LOCKED) RETURNING o.*)
	  INSERT INTO archive SELECT * FROM gone},
	'SELECT seckill_recall(2)');
check_numbers($node, 'archived in a sale');
cmp_ok(sql('SELECT count(*) FROM archive'), '>', 0, 'orders are in the archive');
is(sql('SELECT supplied + seckill_count(off_sale) FROM seckill.items WHERE item_id = 2'), 600, 'their numbers are off sale');
sql('SELECT seckill_prewarm(2, 10)') if sql('SELECT stock FROM seckill.items WHERE item_id = 2') > 0;
$node->stop('immediate');
$node->start;
sql('WITH gone AS (DELETE FROM seckill.orders WHERE item_id = 2 AND lease_id IS NULL RETURNING *) INSERT INTO archive SELECT * FROM gone');
sql('SELECT seckill_recall(2)');
sql('WITH gone AS (DELETE FROM seckill.orders WHERE item_id = 2 RETURNING *) INSERT INTO archive SELECT * FROM gone');
sql(q{SELECT seckill_claim_many(2, array_fill(3, '{600}'), 'retry')});
check_numbers($node, 'archived after a crash');
is(sql('SELECT count(*), count(DISTINCT unit) FROM (SELECT unit FROM archive UNION ALL SELECT unit FROM seckill.orders WHERE item_id = 2) o'),
	'600|600', 'each number was sold once');


#
# Expiry in bulk, with codes that were told and without
#

item(3, 3000, q{pay_within = '1 hour', reveal_on = 'pending'});
item(4, 3000, q{pay_within = '1 hour'});
sql(q{INSERT INTO seckill.units (item_id, unit, code) SELECT i, n, 'e' || n FROM generate_series(1, 3000, 3) n, unnest('{3,4}'::bigint[]) i});
foreach my $item (3, 4)
{
	sql("SELECT seckill_claim_many($item, array_fill(1, '{2500}'), '$_')") foreach $item == 3 ? 'cache' : 'advisory';
}
sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id IN (3, 4)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 5000 FROM seckill.orders WHERE item_id IN (3, 4) AND state = 'expired'}), '5000 orders expire');
is(sql('SELECT item_id, burnt, stock + unsold FROM seckill_audit() WHERE item_id IN (3, 4) ORDER BY 1'), "3|834|2166\n4|0|3000",
	'a third of the numbers of one item are burnt, none of the other');
is(sql(q{SELECT count(*) FROM seckill.orders o JOIN seckill.units u USING (item_id, unit) WHERE item_id = 3}), 834, 'the dead orders keep them');
check_numbers($node, 'expiry');
my ($kept, $free) = split /\|/, sql(q{SELECT min(order_id) FILTER (WHERE unit IS NOT NULL), min(order_id) FILTER (WHERE unit IS NULL) FROM seckill.orders WHERE item_id = 3});
is(sql("SELECT seckill_confirm(3, $kept), seckill_confirm(3, $free)"), 'expired|confirmed', 'a late payment does not confirm an order with a burnt number');
like(sql("SELECT unit FROM seckill_unit(3, $free)"), qr/^\d+$/, 'but another one, which gets a number');
is(sql(q{SELECT count(*) FROM seckill_claim_many(3, array_fill(9, '{3000}'), 'cache') c JOIN seckill.units u USING (unit)
	WHERE outcome = 'sold' AND item_id = 3 AND unit <= 2500}), 0, 'no burnt code is sold again');
check_numbers($node, 'after the expiry');


#
# Many items in one batch of the queue
#

sql('INSERT INTO seckill.items (item_id, stock, numbered) SELECT 1000 + n, 20, true FROM generate_series(1, 60) n');
sql('INSERT INTO seckill.items (item_id, stock) SELECT 1060 + n, 20 FROM generate_series(1, 20) n');
sql('SELECT seckill_prewarm(1000 + n, 15) FROM generate_series(1, 30) n');
is(sql(<<'EOC'), '1600|320', 'a batch sells to the last number');
WITH s AS MATERIALIZED (
	SELECT t.* FROM (SELECT array_agg(1000 + i) items, array_agg(u) users FROM generate_series(1, 80) i, generate_series(1, 24) u) a,
		LATERAL seckill_submit_many(items, users) t),
	r AS (SELECT r.* FROM (SELECT array_agg(ticket) t FROM s WHERE outcome = 'queued') a, LATERAL seckill_result_many(t, '1 s') r)
SELECT 1600, 320 FROM (SELECT count(*) FROM r) c
EOC
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1600 FROM seckill.orders WHERE item_id BETWEEN 1001 AND 1080'), 'all are sold');
is(sql('SELECT count(*) FILTER (WHERE n = 20), count(*) FROM (SELECT count(DISTINCT unit) n FROM seckill.orders WHERE item_id BETWEEN 1001 AND 1060 GROUP BY item_id) o'),
	'60|60', 'each item has 20 numbers');
is(sql('SELECT count(*) FROM seckill.orders WHERE item_id BETWEEN 1061 AND 1080 AND unit IS NULL'), 400, 'those of other items have none');
check_numbers($node, 'a batch');


#
# A lost lease of an item with a million orders
#

item(5, 1_000_100);
sql(q{SELECT seckill_prewarm(5, 1000)});
sql(<<'EOC');
SET session_replication_role = replica;
INSERT INTO seckill.orders (item_id, user_id, quantity, mode, unit, lease_id)
SELECT 5, n, 1, 'retry', 1000 + n, CASE WHEN n > 999000 THEN (SELECT lease_id FROM seckill.items WHERE item_id = 5) END FROM generate_series(1, 999000) n;
UPDATE seckill.items SET stock = 100, numbers = '{[1000001,1000101)}' WHERE item_id = 5;
EOC
check_numbers($node, 'a million orders');
$node->stop('immediate');
$node->start;
sql('SELECT count(*) FROM seckill.orders WHERE item_id = 5');
my $start = time;
my $settled = sql('SELECT seckill_recall(5)');
note(sprintf('a lease of an item with a million orders is settled in %.2f s', time - $start));
is($settled, 1000, 'a lost lease is settled');
is(sql('SELECT numbers, leased FROM seckill.items WHERE item_id = 5'), '{[1,1001),[1000001,1000101)}|0', 'and each number is back');
check_numbers($node, 'settled');
$node->stop;
done_testing();
