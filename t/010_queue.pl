# The queue is first come, first served: orders are numbered in the order of
# their tickets, and no purchase is sold after one that was refused.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('queue', conf => "seckill.queue_batch = 50\nseckill.queue_idle_time = 10min\n");
my $setup = 'CREATE TABLE tickets (item_id bigint, user_id bigint, outcome seckill_outcome, ticket bigint)';
$node->safe_psql('postgres', $setup);

# The tickets of some items against their orders: those sold, those out of
# order, those sold after a refusal, those whose answer is not their order;
# and the orders.  All must be decided before: a statement that waits for an
# answer does not see the order, which is younger than its snapshot.
sub verdict
{
	my ($db, $items) = @_;
	$node->safe_psql($db, <<"EOC");
SELECT count(r) FROM tickets t, seckill_result(t.ticket, '60 s') r
WHERE t.item_id IN ($items) AND t.outcome = 'queued'
EOC
	return $node->safe_psql($db, <<"EOC");
WITH answers AS MATERIALIZED (
	SELECT t.*, r.outcome AS answer, r.order_id
	FROM tickets t, seckill_result(t.ticket) r
	WHERE t.item_id IN ($items) AND t.outcome = 'queued'),
compared AS (
	SELECT a.*, o.user_id AS buyer,
		lag(a.order_id) OVER (ORDER BY a.ticket) AS before,
		bool_or(answer = 'sold_out') OVER (PARTITION BY item_id ORDER BY a.ticket) AS late
	FROM answers a LEFT JOIN seckill.orders o USING (item_id, order_id))
SELECT count(*) FILTER (WHERE answer = 'sold'),
	count(*) FILTER (WHERE order_id < before),
	count(*) FILTER (WHERE late AND answer = 'sold'),
	count(*) FILTER (WHERE answer NOT IN ('sold', 'sold_out')
		OR (answer = 'sold') <> (buyer IS NOT DISTINCT FROM user_id)),
	(SELECT count(*) FROM seckill.orders WHERE item_id IN ($items))
FROM compared
EOC
}

my $submit = <<'EOC';
\set user random(1, 1000000000)
SELECT outcome, ticket FROM seckill_submit(:item, :user) \gset
INSERT INTO tickets VALUES (:item, :user, :outcome, nullif(:ticket, '')::bigint);
EOC

# more than enough of three items; more buyers than units of a fourth
add_item($node, $_, 2000) for (1 .. 3, 6, 7);
add_item($node, 4, 300);
crowd($node, 40, 50, "\\set item random(1, 3)\n$submit");
is(verdict('postgres', '1, 2, 3'), '2000|0|0|0|2000',
	'over all items, orders are numbered as tickets');
is($node->safe_psql('postgres', 'SELECT max(ticket) - min(ticket), count(DISTINCT ticket) FROM tickets'),
	'1999|2000', 'tickets have no gaps and no duplicates');
crowd($node, 40, 30, "\\set item 4\n$submit");
is(verdict('postgres', '4'), '300|0|0|0|300', 'the first callers get the units');

# buyers that wait: none gets "sold out" while a unit is left
add_item($node, 5, 500);
$node->safe_psql('postgres', 'CREATE TABLE answers (item_id bigint, outcome seckill_outcome)');
crowd($node, 60, 10,
	"SELECT outcome FROM seckill_buy(5, :client_id, 'queue') \\gset\nINSERT INTO answers VALUES (5, :outcome);\n");
is($node->safe_psql('postgres', 'SELECT outcome, count(*) FROM answers GROUP BY 1 ORDER BY 1'),
	"sold\n500\nsold_out\n100" =~ s/(sold|sold_out)\n/$1|/gr, 'each gets the right answer');
is($node->safe_psql('postgres', 'SELECT sold FROM seckill_audit(5)'), 500, 'each sold has its order');

# two databases have a queue and a worker each
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', "CREATE EXTENSION seckill; $setup; INSERT INTO seckill.items (item_id, stock) VALUES (1, 2000)");
my $other = $node->background_psql('shop');
$other->query_until(qr/go/, <<'EOC');
\echo go
SELECT array_agg(n ORDER BY ticket) AS users, array_agg(outcome ORDER BY ticket) AS outcomes, array_agg(ticket ORDER BY ticket) AS tickets
FROM generate_series(1, 1000) n, seckill_submit(1, n) \gset
INSERT INTO tickets SELECT 1, * FROM unnest(:'users'::bigint[], :'outcomes'::seckill_outcome[], :'tickets'::bigint[]);
EOC
crowd($node, 20, 50, "\\set item random(6, 7)\n$submit");
$other->query_safe('SELECT 1');
is(verdict('shop', '1'), '1000|0|0|0|1000', 'the other database has an order of its own');
is(verdict('postgres', '6, 7'), '1000|0|0|0|1000', 'the first database has an order of its own');
$node->safe_psql($_, q{SELECT seckill_buy(1, 1, 'queue')}) for ('shop', 'postgres');
isnt(worker_pid($node, 'shop'), worker_pid($node), 'two workers');
$other->quit;

foreach my $db ('postgres', 'shop')
{
	check_audit($node, $db, $db);
	check_cache($node, $db, $db);
}
$node->stop;
done_testing();
