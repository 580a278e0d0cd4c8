# Merge lanes: many sessions send arrays of purchases of several items, in
# random order, in several modes, with retries and foreign requests among them.
# No call deadlocks, no buyer fails another, and what was answered is so.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('lanes', conf => <<'EOC');
seckill.lease_units = 50
deadlock_timeout = 100ms
max_locks_per_transaction = 256
EOC
sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock, per_user_limit)
	SELECT n, 400, CASE WHEN n % 3 = 0 THEN 2 END FROM generate_series(1, 8) n;
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (9, 300, true);
CREATE TABLE answers (item_id bigint, user_id bigint, quantity bigint, request_id uuid, mode text,
	outcome seckill_outcome, order_id bigint);
-- a call for many: what it asks for, and what it is told
CREATE FUNCTION lane(mode text, size integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	items bigint[];
	users bigint[];
	quantities bigint[];
	requests uuid[];
BEGIN
	SELECT array_agg(CASE WHEN r[1] < 0.02 THEN 404 ELSE 1 + floor(r[1] * 9) END),
		array_agg(u), array_agg(1 + floor(r[3] ^ 3 * 4)),
		array_agg(CASE WHEN r[2] < 0.7 THEN md5(floor(r[2] * 3000)::text)::uuid END)
	INTO items, users, quantities, requests
	FROM (SELECT ARRAY[random(), random(), random()] AS r, (random() * 200)::bigint AS u
		FROM generate_series(1, size) n OFFSET 0) x;
	INSERT INTO answers
	SELECT a.item_id, a.user_id, quantities[a.n], requests[a.n], mode, a.outcome, a.order_id
	FROM seckill_buy_items(items, users, mode::seckill_mode, quantities, requests)
		WITH ORDINALITY a(item_id, user_id, outcome, order_id, n);
END
$$;
EOC
crowd($node, 12, 40,
	(map { "SELECT lane('$_', 1 + (random() * 30)::integer);\n" } qw(cache cache advisory retry auto pessimistic)),
	"SELECT outcome FROM seckill_buy(1 + :client_id % 8, 1000 + :client_id, 'cache');\n",
	"SELECT outcome FROM seckill_buy(1 + :client_id % 9, 1000 + :client_id, 'pessimistic');\n",
	"SELECT outcome FROM seckill_buy_many(1 + :client_id % 8, ARRAY[2000, 2001, 2002], 'cache', quantities => ARRAY[3, 1, 2]);\n");

unlike(slurp_file($node->logfile), qr/deadlock|40P01|ERROR/, 'no deadlock and no error');
is(sql(<<'EOC'), '', 'each order that was answered is there, and is that of its buyer');
SELECT a.* FROM answers a LEFT JOIN seckill.orders o USING (item_id, order_id)
WHERE a.outcome = 'sold' AND (o.user_id, o.quantity) IS DISTINCT FROM (a.user_id, a.quantity)
	OR a.request_id IS NOT NULL AND a.outcome = 'sold' AND o.request_id <> a.request_id
EOC
is(sql(q{SELECT DISTINCT outcome FROM answers WHERE item_id = 404}), 'unknown_item', 'an item that does not exist is said so');
is(sql(q{SELECT count(*) FROM answers WHERE item_id <> 404 AND outcome IN ('unknown_item', 'conflict')}), 0,
	'and no other');
cmp_ok(sql(q{SELECT count(*) FROM answers WHERE outcome = 'request_reused'}), '>', 20, 'foreign requests were among them');
is(sql(<<'EOC'), 0, 'no request has two orders');
SELECT count(*) FROM (SELECT FROM seckill.orders WHERE request_id IS NOT NULL
	GROUP BY item_id, request_id HAVING count(*) > 1) x
EOC
is(sql(<<'EOC'), 0, 'no user has more than the limit');
SELECT count(*) FROM (SELECT FROM seckill.orders o JOIN seckill.items i USING (item_id) WHERE per_user_limit IS NOT NULL
	GROUP BY item_id, user_id HAVING sum(quantity) > 2) x
EOC
is(sql(q{SELECT count(*) FROM seckill.orders WHERE item_id = 9 AND quantity <> 1}), 0, 'numbered units are sold one by one');
is(sql(q{SELECT count(DISTINCT mode) FROM seckill.orders}), 4, 'four modes have sold');
cmp_ok(sql(q{SELECT count(*) FROM answers WHERE outcome = 'sold_out'}), '>', 100, 'sold out was met');
is(sql(q{SELECT count(*) FROM seckill.stock WHERE stock + coalesce(cached, 0) > 0 AND item_id NOT IN (3, 6)}), 0,
	'items without a limit are sold to the last unit');
check_audit($node, 'after merged calls');
check_cache($node, 'after merged calls');

# a buyer who waits for the last units of one item does not hold up those that
# others wait for: the list holds nothing while it waits
sql('TRUNCATE seckill.items, seckill.orders, seckill.units');
add_item($node, 1, 10);
add_item($node, 2, 10);
sql('SELECT seckill_prewarm(1), seckill_prewarm(2)');
my ($holder, $list) = map { $node->background_psql('postgres') } 1, 2;
$holder->query_safe(q{BEGIN; SELECT seckill_buy(2, 1, 'cache', 6)});
$list->query_until(qr/asked/, "\\echo asked\nSELECT string_agg(outcome::text, ' ' ORDER BY n)"
	  . " FROM seckill_buy_items('{2,1,2}', '{2,2,3}', 'cache', '{5,1,3}') WITH ORDINALITY a(i, u, outcome, o, n);\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}), 'a call waits for the second item');
is(sql(q{SELECT outcome FROM seckill_buy(2, 4, 'cache', 4)}), 'sold', 'and holds nothing of it');
is(sql(q{SELECT outcome FROM seckill_buy(1, 4, 'cache', 9)}), 'sold', 'the first item is on sale');
$holder->query_safe('ROLLBACK');
like($list->query_safe('SELECT 1'), qr/^sold sold sold_out$/m, 'units that come back are sold in array order');
is(sql('SELECT item_id, sum(quantity) FROM seckill.orders GROUP BY 1 ORDER BY 1'), "1|10\n2|9", 'no unit is lost');

# a server that is killed in the middle: whole calls, or nothing of them
sql(<<'EOC');
TRUNCATE seckill.items, seckill.orders, seckill.units;
INSERT INTO seckill.items (item_id, stock) SELECT n, 1000000000 FROM generate_series(1, 5) n;
EOC
my $wait = start_crowd($node, 8, map { <<"EOC" } qw(cache retry));
SELECT count(*) FROM seckill_buy_items('{5,4,3,2,1}', array_fill((random() * 1e15)::bigint, ARRAY[5]), '$_', '{1,2,3,1,2}');
EOC
$node->poll_query_until('postgres', 'SELECT count(*) > 2000 FROM seckill.orders');
$node->stop('immediate');
$wait->();
$node->start;
is(sql(<<'EOC'), '', 'after a crash each call is whole');
SELECT user_id FROM seckill.orders GROUP BY user_id
HAVING array_agg(item_id || ' ' || quantity ORDER BY item_id) <> '{1 2,2 1,3 3,4 2,5 1}'
EOC
is(sql(q{SELECT count(*) FROM seckill_buy_items('{1,2,3,4,5}', '{1,1,1,1,1}', 'cache') WHERE outcome = 'sold'}), 5,
	'leases of the lost cache are settled');
check_audit($node, 'after a crash');
check_cache($node, 'after a crash');
$node->stop;
done_testing();
