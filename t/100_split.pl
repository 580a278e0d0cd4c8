# One item over several nodes: shares, users and their nodes, the last units, what
# comes back, "sold out" on all nodes, and what is refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use SplitTest;
use Test::More;

needs_contrib('dblink');

my @nodes = start_nodes(4);

is(sql(1, <<'EOC'), '', 'nobody may call anything unless it is granted');
SELECT d.objid::regprocedure FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND d.deptype = 'e'
	JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE x.extname = 'seckill_cluster' AND has_function_privilege('public', p.oid, 'EXECUTE')
EOC

cmp_ok(scalar @{ users($_) }, '>', 120, "users of node $_") foreach 1 .. 3;
is(sql(1, q{SELECT seckill_split_node('{1,2,3}', 42) = 1 + get_byte(sha256(int8send(42)), 0) * 3 / 256}), 't',
	'an application can compute the node of a user');

# What cannot be split
sql(1, <<'EOC');
SELECT seckill_put_item(1, '{"stock": 30, "per_user_limit": 2, "pay_within": "1 hour"}');
SELECT seckill_put_item(3, '{"stock": 0, "legs": 3}');
SELECT seckill_put_item(4, '{"stock": 5}'); SELECT seckill_buy(4, 1);
EOC
fails(1, 'CALL seckill_split(3, ARRAY[1, 2])', qr/item 3 cannot be split over nodes/, 'seats');
fails(1, 'CALL seckill_split(4, ARRAY[1, 2])', qr/item 4 has orders/, 'orders');
fails(1, 'CALL seckill_split(5, ARRAY[1, 2])', qr/item 5 does not exist/, 'no item');
fails(1, "CALL seckill_split(1, '$_')", qr/nodes must be the numbers/, "nodes $_")
  foreach '{2,1}', '{1}', '{1,1}', '{1,9}', '{}';
is(sql(1, q{SELECT string_agg(place, ',') FROM seckill.items}), '', 'items are sold as before');
is(sql(2, 'SELECT count(*) FROM seckill.items'), '0', 'no share is left behind');
sql(1, "CALL seckill_split(1, '{1,2,3}')");
sql(1, "CALL seckill_split(1, '{1,2,3}')");
is(sql($_, 'SELECT split_over, stock, supplied FROM seckill.items WHERE item_id = 1'), '{1,2,3}|' . ($_ == 1 ? '30|30' : '0|0'), "share of node $_")
  foreach 1 .. 3;

# Each user has a node.
is(sql(1, "SELECT outcome FROM seckill_buy(1, ${\users(2)->[0]}, '$_')"), 'moved', "another node's user: $_")
  foreach qw(optimistic retry pessimistic advisory cache queue auto);
is(answer(2, "SELECT outcome FROM seckill_buy_many(1, ARRAY[${\users(2)->[0]}, ${\users(3)->[0]}]) ORDER BY 1"), "sold\nmoved", 'in a list');
shift @{ users(2) };

# Each mode sells on each node what is elsewhere.
foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
{
	is(buy($_, 1, $mode, 1), 'sold', "$mode on node $_") foreach 1 .. 3;
}
like(audit(1), qr/^30\|8\|22\|0\|(?:ok|in transit)$/, 'nothing is made or lost');

# The last units, wherever they are, and for a purchase of several.
is(buy(3, 1, 'cache', 2), 'sold', 'two units');
is(buy($_, 1, 'retry', 2), 'sold', 'two units of several nodes') foreach 2, 1, 3;
is(buy($_, 1, $_ == 2 ? 'cache' : 'queue', 1), 'sold_out', "all are sold: node $_") foreach 1 .. 3;
is(audit(1), '30|0|30|0|ok', 'and all is counted');

# What comes back on one node is sold on another one.
foreach my $to (1 .. 3)
{
	foreach my $from (grep { $_ != $to } 1 .. 3)
	{
		my $order = sql($from, q{SELECT order_id FROM seckill.orders WHERE item_id = 1 AND state = 'pending' AND quantity = 1 LIMIT 1});

		is(sql($from, "SELECT seckill_cancel(1, $order)"), 'cancelled', "cancelled on node $from");
		is(buy($to, 1, 'cache', 1), 'sold', "and sold on node $to");
		is(buy($_, 1, 'pessimistic', 1), 'sold_out', "and not on node $_") foreach 1 .. 3;
	}
}
my $order = sql(2, 'SELECT order_id FROM seckill.orders WHERE item_id = 1 LIMIT 1');
fails(1, "SELECT seckill_confirm(1, $order)", qr/order \d+ of item 1 is on another node/, 'an order of another node');

# Limits and requests are those of one node.
my $user = shift @{ users(2) };
sql(1, 'SELECT seckill_restock(1, 5)');
my $request = '11111111-1111-1111-1111-111111111111';
my $first = answer(2, "SELECT * FROM seckill_buy(1, $user, 'cache', 2, '$request')");
like($first, qr/^sold\|/, 'a request');
is(sql(2, "SELECT * FROM seckill_buy(1, $user, '$_', 2, '$request')"), $first, "gets its order: $_") foreach qw(retry queue);
is(sql(2, "SELECT outcome FROM seckill_buy(1, $user, '$_')"), 'limit_reached', "the limit: $_") foreach qw(retry queue cache);
is(sql(1, "SELECT outcome FROM seckill_buy(1, $user, '$_', 2, '$request')"), 'moved', "not on another node: $_") foreach qw(retry queue);

# Units are put on sale at home.
fails(2, $_, qr/this is not its home/, $_) foreach 'SELECT seckill_restock(1, 5)', 'SELECT seckill_set_available(1, 5)',
	'UPDATE seckill.items SET stock = stock + 5 WHERE item_id = 1';
fails(1, 'SELECT seckill_set_available(1, 5)', qr/units of item 1 may be on other nodes/, 'how many are left is known at home only');
fails(1, q{UPDATE seckill.items SET split_over = NULL WHERE item_id = 1}, qr/split_over of an item cannot be changed by hand/, 'by hand');
fails(3, 'CALL seckill_gather(1)', qr/this is not the home of item 1/, 'seckill_gather elsewhere');
fails(2, 'CALL seckill_move(1, 1)', qr/split over nodes and is not moved/, 'it is not moved');
fails(1, 'DELETE FROM seckill.items WHERE item_id = 1', qr/item 1 is split over nodes/, 'it is not deleted');
sql(1, 'CALL seckill_gather(1, 7)');
like(audit(1), qr/\|7\|\d+\|0\|ok$/, 'all units at home, and their number set');
is(sql($_, 'SELECT available FROM seckill_item(1)'), $_ == 1 ? 7 : 0, "on node $_") foreach 1 .. 3;
is(buy(2, 1, 'queue', 1), 'sold', 'and it sells on');

# A late payment gets units of other nodes, or is told that there are none.
sql($_, q{SELECT seckill_put_item(1, '{"pay_within": "1 ms"}')}) foreach 1 .. 3;
is(buy(3, 1, 'cache', 1), 'sold', 'an order that expires');
$nodes[2]->poll_query_until('postgres', q{SELECT count(*) = 1 FROM seckill.orders WHERE item_id = 1 AND state = 'expired'}) or die 'it does not expire';
sql($_, q{SELECT seckill_put_item(1, '{"pay_within": null}')}) foreach 1 .. 3;
sql(1, 'CALL seckill_gather(1, 1)');
my $late = sql(3, q{SELECT order_id FROM seckill.orders WHERE item_id = 1 AND state = 'expired'});
is(answer(3, "SELECT seckill_confirm(1, $late)"), 'confirmed', 'a late payment');
sql(3, "SELECT seckill_cancel(1, $late, true)");
like(audit(1), qr/\|1\|\d+\|0\|(?:ok|in transit)$/, 'is undone');

# The end: orders go to an archive, then one node has it alone.
fails(1, 'CALL seckill_unsplit(1)', qr/still has orders or units of item 1/, 'shares have orders');
sql($_, 'SELECT seckill_recall(1); WITH gone AS (DELETE FROM seckill.orders WHERE item_id = 1 RETURNING quantity, state)'
	. q{ SELECT seckill_write_off(1, (SELECT coalesce(sum(quantity), 0)::bigint FROM gone WHERE state IN ('pending', 'confirmed')))}) foreach 2, 3;
sql(1, 'CALL seckill_unsplit(1)');
is(sql($_, 'SELECT count(*) FROM seckill.items WHERE item_id = 1'), $_ == 1 ? 1 : 0, "item on node $_") foreach 1 .. 3;
is(sql(1, "SELECT outcome FROM seckill_buy(1, ${\users(2)->[0]}, 'cache')"), 'sold', 'it is sold at home alone');
check_audit($_, 'at the end') foreach @nodes;
$_->stop foreach @nodes;
done_testing();
