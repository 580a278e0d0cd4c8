# Citus as the router: it delegates each kind of call to the node that sells the item;
# what it does not delegate fails.  Needs Citus.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

needs_contrib('dblink');
needs_contrib('citus');

# A server with both libraries; Citus must be the first.
sub citus_node
{
	my ($name, $library) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = '${\($library // 'citus, seckill')}'
max_connections = 100
max_wal_senders = 20
max_replication_slots = 20
max_worker_processes = 40
client_min_messages = error
citus.local_hostname = '${\$node->host}'
seckill.token_key = 'key of the shop'
EOC
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	return $node;
}

my @nodes = map { citus_node($_) } qw(coordinator worker1 worker2);
my $citus = $nodes[0];

sub sql
{
	return $citus->safe_psql('postgres', $_[0]);
}

sub add_worker
{
	my ($node) = @_;

	sql("SELECT citus_add_node('${\$node->host}', ${\$node->port})");
	return;
}

sql("SELECT citus_set_coordinator_host('${\$citus->host}', ${\$citus->port})");
add_worker($nodes[1]);
sql('CREATE EXTENSION seckill_cluster CASCADE');
sql_fails($nodes[1], 'SELECT seckill_distribute()', qr/not the coordinator/, 'not on a worker');
my $functions = sql('SELECT seckill_distribute()');
cmp_ok($functions, '>=', 20, "$functions functions are delegated");
is(sql('SELECT seckill_distribute()'), $functions, 'again');

# Each kind of call, alone in its statement, from each node
sql(qq{SELECT seckill_put_item($_, '{"stock": 100, "per_user_limit": 3, "pay_within": "1 hour"}')}) foreach 1 .. 12;
is(sql('SELECT count(*), count(DISTINCT item_id) FROM seckill.cluster_items'), '12|12', 'items are made once');
my $item = sql('SELECT max(item_id) FROM seckill.cluster_items WHERE node_no = 2');
my $request = '11111111-1111-1111-1111-111111111111';
my $user = 0;
foreach my $node (@nodes[ 0, 1 ])
{
	my $name = $node->name;
	my $order;

	foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
	{
		$user++;
		is($node->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, $user, '$mode')"), 'sold', "$mode from $name");
	}
	$order = $node->safe_psql('postgres', "SELECT order_id FROM seckill_buy($item, 99, 'cache', 1, '$request')");
	is($order >> 40, 2, "an order of its node from $name");
	is($node->safe_psql('postgres', "SELECT order_id FROM seckill_buy($item, 99, 'cache', 1, '$request')"), $order, "a request from $name");
	is($node->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, 99, 'retry', 3)"), 'limit_reached', "a limit from $name");
	is($node->safe_psql('postgres', "PREPARE p AS SELECT outcome FROM seckill_buy(\$1, \$2); EXECUTE p($item, ${\(1000 + $user)})"), 'sold', "prepared from $name");
	is($node->safe_psql('postgres', "SELECT count(*) FROM seckill_buy_many($item, ARRAY[200 + $user, 300 + $user])"), 2, "many from $name");
	like($node->safe_psql('postgres', "SELECT outcome, ticket >> 40 FROM seckill_submit($item, 400 + $user)"), qr/^queued\|2$/, "a ticket from $name");
	is($node->safe_psql('postgres', "SELECT seckill_confirm($item, $order)"), 'confirmed', "paid from $name");
	is($node->safe_psql('postgres', "SELECT state FROM seckill_order($item, $order)"), 'confirmed', "an order from $name");
	is($node->safe_psql('postgres', "SELECT state FROM seckill_item($item)"), 'on_sale', "an item from $name");
	cmp_ok($node->safe_psql('postgres', "SELECT seckill_restock($item, 1)"), '>', 50, "restocked from $name");
	is($node->safe_psql('postgres', qq{SELECT seckill_put_item($item, '{"title": "$name"}')}), 'f', "changed from $name");
	like($node->safe_psql('postgres', "SELECT seckill_token($item, 1)"), qr/^[0-9a-f]{80}$/, "a token from $name");
}
is(sql("SELECT DISTINCT verdict FROM cluster_audit()"), 'ok', 'audit');
is(sql('SELECT count(*) FROM seckill.cluster_orders WHERE node_no <> order_id >> 40'), 0, 'orders are where they were made');
is(sql("SELECT sum(sold) = (SELECT count(*) FROM seckill.cluster_orders) FROM seckill.cluster_stock"), 't', 'views agree');

# What is not delegated fails, and makes nothing.
foreach (
	"SELECT seckill_buy($item, g) FROM generate_series(501, 502) g",
	"BEGIN; SELECT * FROM seckill_buy($item, 503); COMMIT",
	"SELECT (SELECT outcome FROM seckill_buy($item, 504)), (SELECT outcome FROM seckill_buy($item, 505))")
{
	sql_fails($citus, $_, qr/item $item belongs to node 2, and this is node 1.*HINT:  Citus delegates/s, $_);
}
my @calls = split /\n/, sql(<<"EOC");
SELECT format('SELECT * FROM %s(%s)', p.oid::regproc,
	(SELECT string_agg(CASE
		WHEN a.n = 1 THEN '$item'
		WHEN a.name = 'from_stop' THEN '0'
		WHEN format_type(a.type, NULL) LIKE '%[]' THEN format('ARRAY[1]::%s', format_type(a.type, NULL))
		WHEN a.type = 'jsonb'::regtype THEN '''{"title": "x"}'''
		WHEN a.type IN ('bigint'::regtype, 'integer'::regtype) THEN '1'
		WHEN a.type = 'text'::regtype THEN '''x'''
		ELSE 'DEFAULT' END, ', ' ORDER BY a.n)
	 FROM unnest(p.proargtypes::oid[], p.proargnames) WITH ORDINALITY a (type, name, n)
	 WHERE a.n <= greatest(p.pronargs - p.pronargdefaults, CASE p.proname WHEN 'seckill_add_units' THEN 2 ELSE 1 END)))
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension x ON x.oid = d.refobjid
WHERE x.extname = 'seckill' AND seckill.routing(p.oid) = 'item_id' AND p.proname NOT IN ('seckill_token', 'seckill_submit')
EOC
cmp_ok(scalar @calls, '>=', 20, 'calls on one item');
sql_fails($citus, "BEGIN; $_; COMMIT", qr/item $item (?:belongs to node 2|does not exist)|of item $item does not exist/, "not delegated: $_") foreach @calls;
my $other = sql(q{SELECT min(i) FROM generate_series(100, 200) i, pg_dist_placement p
	WHERE p.shardid = get_shard_id_for_distribution_column('seckill.routes', i::bigint) AND p.groupid = 1});
sql_fails($citus, qq{SELECT seckill_put_item(g, '{"stock": 1}') FROM generate_series($other, $other) g},
	qr/item $other belongs to node 2, and this is node 1.*HINT:  Citus delegates/s, 'an item is not made where calls never come');
is(sql('SELECT count(*) FROM seckill.cluster_orders WHERE user_id BETWEEN 501 AND 505'), 0, 'nothing was bought');

# A node is added: items stay, and it gets new ones.
add_worker($nodes[2]);
sql('SELECT seckill_distribute()');
is($nodes[2]->safe_psql('postgres', 'SELECT * FROM seckill_node()'), '3|open', 'the new node has a number');
my $before = sql('SELECT string_agg(item_id || \' \' || node_no, \',\' ORDER BY item_id) FROM seckill.cluster_items');
sql('SELECT rebalance_table_shards()');
is(sql('SELECT string_agg(item_id || \' \' || node_no, \',\' ORDER BY item_id) FROM seckill.cluster_items'), $before, 'no item has moved');
is(sql('SELECT * FROM seckill_stranded()'), '', 'a rebalance strands none');
cmp_ok(sql(q{SELECT count(*) FROM pg_dist_placement p JOIN pg_dist_shard s USING (shardid) WHERE s.logicalrelid = 'seckill.routes'::regclass AND p.groupid = 2}),
	'>', 0, 'but shards without items have moved');
is(sql("SELECT outcome FROM seckill_buy($item, 600)"), 'sold', 'and calls find their items');

# Lists and tickets: the plain calls fail if the item is elsewhere, those of the cluster
# are routed.
my $mine = sql('SELECT min(i) FROM generate_series(600, 700) i WHERE seckill.route_of(i) = 3');
sql(qq{SELECT seckill_put_item($mine, '{"stock": 100, "per_user_limit": 3}')});
my ($nothing) = split /\n/, sql("SELECT i FROM generate_series(400, 500) i WHERE seckill.route_of(i) = 2 LIMIT 1");
foreach (
	[ "SELECT seckill_buy_items(ARRAY[$mine, $item], ARRAY[511, 511])", qr/item (?:$item|$mine) belongs to node [23].*HINT:.*cluster_buy_items/s ],
	[ "SELECT seckill_submit_many(ARRAY[$mine, $item], ARRAY[512, 512])", qr/item (?:$item|$mine) belongs to node [23].*HINT:.*cluster_submit_many/s ],
	[ "SELECT seckill_submit_many(ARRAY[$nothing], ARRAY[512])", qr/item $nothing belongs to node 2/ ],
	[ "SELECT cluster_buy_items(ARRAY[$mine, $item], ARRAY[513, 513])", qr/sold on several nodes.*HINT:  One call buys on one node/s ],
	[ "SELECT cluster_buy_items(ARRAY[$item, $item], ARRAY[513])", qr/elements|length/ ],
	[ "SELECT cluster_submit_many(ARRAY[$item, $mine], ARRAY[513])", qr/elements|length/ ],
	[ "SELECT cluster_submit_many(NULL, ARRAY[513])", qr/must not be null/ ],
	[ "SELECT cluster_buy_items(ARRAY[NULL, $item], ARRAY[513, 513])", qr/must not be null/ ],
	[ 'SELECT cluster_result(NULL)', qr/ticket must not be null/ ],
	[ 'SELECT cluster_result(5)', qr/node 0 is no node of Citus.*HINT/s ],
	[ 'SELECT cluster_result_many(ARRAY[5])', qr/node 0 is no node of Citus.*HINT/s ])
{
	my ($call, $message) = @$_;

	sql_fails($citus, $call, $message, $call);
}
is(sql('SELECT count(*) FROM seckill.cluster_orders WHERE user_id BETWEEN 511 AND 513'), 0, 'nothing was bought');
my $u = 5000;
foreach my $node (@nodes)
{
	my $name = $node->name;
	my $ask = sub { return $node->safe_psql('postgres', $_[0]) };

	$u += 10;
	foreach ([ $item, 2, $nothing ], [ $mine, 3, $mine ])
	{
		my ($i, $n, $unknown) = @$_;
		my $bought = $ask->("SELECT string_agg(concat_ws(' ', item_id, user_id, outcome, order_id >> 40), ',')
			FROM cluster_buy_items(ARRAY[$i, $unknown, $i], ARRAY[$u, $u, $u + 1], 'cache', ARRAY[1, 9, 9])");

		is($bought, "$i $u sold $n,$unknown $u " . ($unknown == $i ? 'limit_reached' : 'unknown_item') . ",$i ${\($u + 1)} limit_reached",
			"items of node $n from $name");
		is($ask->("SELECT outcome, order_id >> 40 FROM cluster_buy_items(ARRAY[$i], ARRAY[$u + 9], request_ids => ARRAY[md5('$u')::uuid])"),
			"sold|$n", "a request to node $n from $name") foreach 1, 2;
	}
	my @tickets = map { [ split /\|/ ] } split /\n/, $ask->("SELECT item_id, user_id, outcome, ticket >> 40, ticket
		FROM cluster_submit_many(ARRAY[$item, $mine, $nothing, $item], ARRAY[$u + 2, $u + 3, 1, $u + 4], ARRAY[1, 1, 1, 9])");
	is(join(',', map { join ' ', grep { defined } @$_[ 0 .. 3 ] } @tickets),
		"$item ${\($u + 2)} queued 2,$mine ${\($u + 3)} queued 3,$nothing 1 unknown_item,$item ${\($u + 4)} queued 2",
		"submitted from $name, in order");
	my @numbers = map { $tickets[$_][4] } 0, 1, 3;
	is($ask->("SELECT outcome, order_id >> 40 FROM cluster_result($numbers[0], '60 s')"), 'sold|2', "a result from $name");
	is($ask->("SELECT outcome, order_id >> 40 FROM cluster_result($numbers[1], '60 s')"), 'sold|3', "of the other node from $name");
	is($ask->("SELECT cluster_result($numbers[2], '60 s')"), '(limit_reached,)', "a refusal from $name");
	is($ask->("SELECT string_agg(concat_ws(' ', ticket >> 40, outcome), ',') FROM cluster_result_many(ARRAY[${\join ',', @numbers}], '60 s')"),
		'2 sold,3 sold,2 limit_reached', "results of two nodes from $name");
	my $old = $numbers[0] + 1000000;
	is($ask->("SELECT message FROM cluster_result_many(ARRAY[$old])"), "ticket $old is no longer remembered", "an old ticket from $name");
	sql_fails($node, "SELECT cluster_result($old)", qr/is no longer remembered/, "which raises from $name");
	sql_fails($citus, "SELECT seckill_result($numbers[0])", qr/ticket $numbers[0] is of node 2.*HINT:  /s, 'a ticket of another node');
}
is(sql('SELECT count(*) FROM seckill.cluster_orders WHERE user_id >= 5000'), 18, 'orders of lists and tickets');

# They are made as the role of the caller.
$_->safe_psql('postgres', 'DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN END $$') foreach @nodes;
sql_fails($citus, "SET ROLE app; SELECT cluster_buy_items(ARRAY[$item], ARRAY[520])", qr/permission denied for function cluster_buy_items/, 'a role without grants');
sql('GRANT EXECUTE ON FUNCTION cluster_buy_items TO app');
$nodes[1]->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION seckill_buy_items FROM app');
sql_fails($citus, "SET ROLE app; SELECT cluster_buy_items(ARRAY[$item], ARRAY[520])", qr/permission denied for function seckill_buy_items/, 'nor on the node');
$nodes[1]->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION seckill_buy_items TO app');
is(sql("SET ROLE app; SELECT outcome FROM cluster_buy_items(ARRAY[$item], ARRAY[520])"), 'sold', 'a role with both');

# A shard is moved by force: its items are stranded, fail, and are moved.
my ($shard) = sql("SELECT get_shard_id_for_distribution_column('seckill.routes', $item)");
sql("SELECT citus_move_shard_placement($shard, '${\$nodes[1]->host}', ${\$nodes[1]->port}, '${\$nodes[2]->host}', ${\$nodes[2]->port}, 'block_writes')");
like(sql('SELECT item_id, node_no, routed_to FROM seckill_stranded()'), qr/^$item\|2\|3$/m, 'the item is stranded');
sql_fails($citus, "SELECT seckill_buy($item, 601)", qr/item $item does not exist/, 'it is not sold elsewhere');
$nodes[2]->safe_psql('postgres', "CALL seckill_move($_, 2)")
  foreach split /\n/, sql('SELECT item_id FROM seckill_stranded()');
is(sql('SELECT * FROM seckill_stranded()'), '', 'none is stranded after the move');
is(sql("SELECT outcome FROM seckill_buy($item, 99, 'cache', 1, '$request')"), 'sold', 'it is sold there, with its requests');
is(sql("SELECT outcome FROM seckill_buy($item, 601)"), 'sold', 'and to new buyers');
is(sql("SELECT DISTINCT verdict FROM cluster_audit()"), 'ok', 'audit after the move');

# A node is lost, and comes back.
my $session = $citus->background_psql('postgres', on_error_stop => 0);
is($session->query("SELECT outcome FROM cluster_buy_items(ARRAY[$item], ARRAY[605])"), 'sold', 'a session has a connection to it');
$nodes[2]->stop('immediate');
sql_fails($citus, "SELECT seckill_buy($item, 602)", qr/connection|could not/i, 'a node is lost: its items fail');
$nodes[2]->start;
ok($citus->poll_query_until('postgres', "SELECT outcome = 'sold' FROM seckill_buy($item, 603)"), 'it is back');
is(sql("SELECT outcome FROM cluster_buy_items(ARRAY[$item], ARRAY[604])"), 'sold', 'for lists, too');
is($session->query("SELECT outcome FROM cluster_buy_items(ARRAY[$item], ARRAY[606])"), '', 'a connection that was lost fails once');
is($session->query("SELECT outcome FROM cluster_buy_items(ARRAY[$item], ARRAY[606])"), 'sold', 'and is made again');
$session->quit;
is(sql("SELECT DISTINCT verdict FROM cluster_audit()"), 'ok', 'audit at the end');

# A node without the library is refused.
my $bare = citus_node('bare', 'citus');
add_worker($bare);
sql_fails($citus, 'SELECT seckill_distribute()', qr/not preloaded/, 'a node without preload');
$_->stop foreach $bare, @nodes;
done_testing();
