# A router in PL/Proxy: every call goes to the node that sells the item, also when the
# item has moved; what cannot be routed fails, and the audit covers all nodes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

needs_contrib('dblink');
needs_contrib('plproxy');

my @nodes = map { cluster_node("node$_") } 1 .. 2;
join_nodes(@nodes);
my $router = make_router(@nodes);

sub routed
{
	return $router->safe_psql('postgres', $_[0]);
}

sub node_of
{
	return routed("SELECT node_no FROM seckill.cluster_items WHERE item_id = $_[0]");
}

# Move an item to the other node.
sub move
{
	my ($item) = @_;
	my $from = node_of($item);
	my $to = 3 - $from;

	$nodes[ $to - 1 ]->safe_psql('postgres', "CALL seckill_move($item, $from)");
	return;
}

# Every function of the extension that clients call has a namesake of the same
# signature, but for the type's schema.
my $signatures = <<'EOC';
SELECT p.oid::regprocedure || ' ' || pg_get_function_result(p.oid) FROM pg_proc p
WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'seckill\_%' AND prorettype <> 'trigger'::regtype
EOC
my @mine = split /\n/, $nodes[0]->safe_psql('postgres', "$signatures
	AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
		WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND x.extname = 'seckill')
	AND seckill.routing(p.oid) IS NOT NULL ORDER BY 1");
is_deeply([ split /\n/, routed("$signatures ORDER BY 1") ], \@mine, 'functions of the router');
cmp_ok(scalar @mine, '>=', 35, 'there are some');
is($nodes[0]->safe_psql('postgres', "$signatures
	AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
		WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND x.extname = 'seckill')
	AND seckill.routing(p.oid) = 'none' AND pronargs > 0 AND proargnames[1] ~ 'item|ticket' AND proname !~ 'audit'"),
	'', 'what has an item is routed');

# Items are spread, and found again.
routed(qq{SELECT seckill_put_item(i, '{"stock": 100, "per_user_limit": 3, "pay_within": "1 hour"}') FROM generate_series(1, 20) i});
is(routed('SELECT count(DISTINCT node_no) FROM seckill.cluster_items'), 2, 'both nodes have items');
is(routed(q{SELECT seckill_put_item(1, '{"title": "tea"}')}), 'f', 'an item that exists is changed');
my ($one) = map { routed("SELECT min(item_id) FROM seckill.cluster_items WHERE node_no = $_") } 1;
my ($two) = map { routed("SELECT min(item_id) FROM seckill.cluster_items WHERE node_no = $_") } 2;

# Nobody may call anything unless it is granted, here and on the node.
my ($grants) = slurp_file("$FindBin::RealBin/../docs/scale.md") =~ /```sql\n(GRANT USAGE ON SCHEMA seckill, .*?)```/s;
$_->safe_psql('postgres', 'CREATE ROLE app LOGIN') foreach $router, @nodes;
sql_fails($router, "SET ROLE app; SELECT seckill_buy($one, 5000)", qr/permission denied for function seckill_buy/, 'a role without grants');
routed($grants);
is(routed('SELECT count(*) FROM pg_proc WHERE has_function_privilege(\'app\', oid, \'EXECUTE\') AND pronamespace = \'public\'::regnamespace AND proname LIKE \'seckill%\''),
	3, 'grants on the router');
sql_fails($router, "SET ROLE app; SELECT seckill_buy($one, 5000)", qr/permission denied for function seckill_buy|no node that answers/, 'a role without grants on the node');
$_->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION seckill_buy, seckill_whereis TO app') foreach @nodes;
is(routed("SET ROLE app; SELECT outcome FROM seckill_buy($one, 5000)"), 'sold', 'a role with both');
sql_fails($router, "SET ROLE app; SELECT seckill_restock($one, 1)", qr/permission denied for function seckill_restock/, 'and no more');

# Every kind of call; then the item moves, and the same again.
my $request = '11111111-1111-1111-1111-111111111111';
foreach my $round (1 .. 3)
{
	my $u = $round * 100;

	my $n = 0;
	foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
	{
		$n++;
		is(routed("SELECT outcome FROM seckill_buy($one, $u + $n, '$mode')"), 'sold', "$mode in round $round");
	}
	is(routed("SELECT order_id = (SELECT order_id FROM seckill.cluster_orders WHERE request_id = '$request')
		FROM seckill_buy($one, 1, 'cache', 2, '$request')"), 't', "a request in round $round");
	is(routed("SELECT outcome FROM seckill_buy($one, 1, '$_', 2)"), 'limit_reached', "a limit: $_ in round $round")
	  foreach qw(cache queue);
	is(routed("SELECT string_agg(user_id || ' ' || outcome, ',') FROM seckill_buy_many($one, ARRAY[$u + 21, 1, $u + 22], 'cache', NULL, NULL, ARRAY[1, 2, 1])"),
		"${\($u + 21)} sold,1 limit_reached,${\($u + 22)} sold", "many in round $round");
	is(routed("SELECT string_agg(outcome::text, ',') FROM seckill_buy_items(ARRAY[$one, $one], ARRAY[$u + 23, 1], 'cache', ARRAY[1, 2])"),
		'sold,limit_reached', "items in round $round");
	is(routed("SELECT r.outcome FROM seckill_submit($one, $u + 24) s, seckill_result(s.ticket, '60 s') r"), 'sold', "a ticket in round $round");
	is(routed("SELECT string_agg(item_id || ' ' || outcome, ',') FROM seckill_submit_many(ARRAY[$two, $one, 404, $two], ARRAY[$u + 1, $u + 25, 1, $u + 2])"),
		"$two queued,$one queued,404 unknown_item,$two queued", "submissions in their order in round $round");
	is(routed("SELECT string_agg(r.outcome::text, ',') FROM seckill_result_many((SELECT array_agg(s.ticket)
			FROM seckill_submit_many(ARRAY[$two, $one], ARRAY[$u + 3, $u + 26]) s), '60 s') r") =~ /sold/, 1,
		"results of two nodes in round $round");
	my $order = routed("SELECT order_id FROM seckill.cluster_orders WHERE item_id = $one AND user_id = $u + 1");
	is(routed("SELECT seckill_confirm($one, $order)"), 'confirmed', "paid in round $round");
	is(routed("SELECT state FROM seckill_order($one, $order)"), 'confirmed', "an order in round $round");
	is(routed("SELECT seckill_cancel($one, $order, true)"), 'cancelled', "refunded in round $round");
	is(routed("SELECT seckill_restock($one, 0) IS NOT NULL, (SELECT available = seckill_restock($one, 0) FROM seckill_item($one))"),
		't|t', "units in round $round");
	like(routed("SELECT seckill_token($one, 1)"), qr/^[0-9a-f]{80}$/, "a token in round $round");
	is(routed("SELECT seckill_recall($one) >= 0, seckill_prewarm($one, 5)"), 't|5', "lease in round $round");
	is(routed('SELECT DISTINCT verdict FROM cluster_audit()'), 'ok', "audit in round $round");
	move($one);
	is(routed('SELECT DISTINCT verdict FROM cluster_audit()'), 'ok', "audit after round $round");
}
check_moves('of a routed item', @nodes);

# Old placements: each kind of call finds the item after a move by itself.
foreach my $call (
	"SELECT seckill_confirm($two, order_id) FROM seckill.cluster_orders WHERE item_id = $two AND user_id = 101",
	"SELECT seckill_item($two)",
	"SELECT seckill_restock($two, 1)",
	qq{SELECT seckill_put_item($two, '{"title": "x"}')},
	"SELECT outcome FROM seckill_submit($two, 7)",
	"SELECT outcome FROM seckill_buy($two, 8, 'queue')",
	"SELECT outcome FROM seckill_buy_many($two, ARRAY[9, 10])",
	"SELECT outcome FROM seckill_submit_many(ARRAY[$two], ARRAY[12])",
	"SELECT outcome FROM seckill_buy_items(ARRAY[$two], ARRAY[11])")
{
	move($two);
	my $answer = routed($call);

	ok($answer ne '' && $answer !~ /moved|busy|unknown/, "after a move: $call") or diag($answer);
}
$nodes[ node_of($two) == 1 ? 1 : 0 ]->safe_psql('postgres', "SELECT seckill_move_forget($two)");
move($two);
$nodes[ node_of($two) == 1 ? 1 : 0 ]->safe_psql('postgres', "SELECT seckill_move_forget($two)");
is(routed("SELECT outcome FROM seckill_buy($two, 30, '$_')"), 'sold', "a node that knows the item no more: $_") foreach qw(cache queue);

# What cannot be routed fails loudly.
my ($a, $b) = (routed('SELECT min(item_id) FROM seckill.cluster_items WHERE node_no = 1'),
	routed('SELECT min(item_id) FROM seckill.cluster_items WHERE node_no = 2'));
foreach (
	[ "SELECT seckill_buy_items(ARRAY[$a, $b], ARRAY[50, 50])", qr/the items are sold on several nodes.*HINT:  One call buys on one node/s ],
	[ 'SELECT seckill_cache()', qr/seckill_cache\(\) cannot be routed.*HINT:  Call it on a node/s ],
	[ 'SELECT seckill_audit()', qr/seckill_audit\(\) cannot be routed/ ],
	[ 'SELECT seckill_result(5)', qr/ticket 5 is of no node.*HINT/s ],
	[ 'SELECT seckill_result_many(ARRAY[5])', qr/ticket 5 is of no node.*HINT/s ],
	[ 'SELECT seckill_buy(NULL, 1)', qr/item_id must not be null/ ],
	[ 'SELECT seckill_buy(404, 1)', qr/item 404 does not exist/ ],
	[ "SELECT seckill_buy($a, NULL)", qr/user_id must not be null/ ],
	[ 'SELECT seckill_submit_many(ARRAY[1, 2], ARRAY[1])', qr/elements|length/ ],
	[ 'SELECT seckill_confirm(404, 1)', qr/order 1 of item 404 does not exist|item 404 does not exist/ ])
{
	my ($call, $message) = @$_;

	sql_fails($router, $call, $message, $call);
}
is(routed("SELECT count(*) FROM seckill.cluster_orders WHERE user_id = 50"), 0, 'and nothing was bought');

# A node that is down: its items fail, the others are sold; no item is taken for unknown.
$nodes[1]->stop;
is(routed("SELECT outcome FROM seckill_buy($a, 60)"), 'sold', 'the other node sells');
sql_fails($router, "SELECT seckill_buy($b, 60)", qr/connect|connection|socket/i, 'its own items fail');
routed('TRUNCATE seckill.placement');
is(routed("SELECT outcome FROM seckill_buy($a, 61)"), 'sold', 'an item of the other node is found');
sql_fails($router, "SELECT seckill_buy($b, 61)", qr/no node that answers sells item $b/, 'others are not called unknown');
sql_fails($router, q{SELECT seckill_put_item(999, '{"stock": 1}')}, qr/no node that answers sells item 999/, 'and no item is made twice');
$nodes[1]->start;
ok($router->poll_query_until('postgres', "SELECT outcome = 'sold' FROM seckill_buy($b, 62)"), 'it is back');

# A crowd while the item moves to and fro: each buyer was told the truth.
routed(q{SELECT seckill_put_item(1000, '{"stock": 1500, "per_user_limit": 2, "pay_within": "1 hour"}');
	CREATE TABLE told (user_id bigint, request_id uuid, outcome text, order_id bigint)});
my ($out, $err) = ('', '');
my $script = $router->basedir . '/crowd.sql';
append_to_file($script, <<'EOC');
\set u random(1, 2000)
INSERT INTO told SELECT :u, q, b.outcome, b.order_id FROM gen_random_uuid() q, seckill_buy(1000, :u, 'auto', 1, q) b;
EOC
my $crowd = IPC::Run::start([ 'pgbench', '-n', '-c', 16, '-t', 200, '-f', $script, $router->connstr('postgres') ],
	'>', \$out, '2>', \$err);
foreach my $n (300, 700, 1100)
{
	$router->poll_query_until('postgres', "SELECT count(*) >= $n FROM seckill.cluster_orders WHERE item_id = 1000")
	  or die 'no sale';
	move(1000);
}
ok($crowd->finish, 'the crowd was served') or diag($err);
is(routed(q{SELECT count(*) FROM told WHERE outcome = 'sold'}), 1500, 'all units are sold');
is(routed(q{SELECT count(*) FROM told t FULL JOIN (SELECT * FROM seckill.cluster_orders WHERE item_id = 1000) o
	USING (order_id, user_id, request_id) WHERE (t.outcome = 'sold' OR t.outcome IS NULL) AND (o.order_id IS NULL OR t.user_id IS NULL)}),
	0, 'each answer is an order, and each order was answered');
is(routed('SELECT max(n) FROM (SELECT sum(quantity) n FROM seckill.cluster_orders WHERE item_id = 1000 GROUP BY user_id) x'), 2, 'limits');
is(routed('SELECT sold, available, difference, verdict FROM cluster_audit(1000)'), '1500|0|0|ok', 'audit');
check_moves('in a crowd', @nodes);

# The router is killed during a sale and a move: it keeps no truth.
routed(q{SELECT seckill_put_item(2000, '{"stock": 100000, "per_user_limit": 50}'); TRUNCATE told});
my $hot = $router->basedir . '/hot.sql';
append_to_file($hot, slurp_file($script) =~ s/1000, :u/2000, :u/r);
$crowd = IPC::Run::start([ 'pgbench', '-n', '-c', 16, '-T', 600, '-f', $hot, $router->connstr('postgres') ],
	'>', \$out, '2>', \$err);
$router->poll_query_until('postgres', 'SELECT count(*) >= 200 FROM told') or die 'no sale';
my $from = node_of(2000);
my $mover = IPC::Run::start([ 'psql', '-XAtq', '-d', $nodes[ 2 - $from ]->connstr('postgres'), '-c', "CALL seckill_move(2000, $from)" ]);
$router->stop('immediate');
$crowd->finish;
$router->start;
ok($mover->finish, 'the move does not need the router');
routed('TRUNCATE seckill.placement');
is(routed("SELECT outcome FROM seckill_buy(2000, 5000, '$_')"), 'sold', "the router is back: $_") foreach qw(cache queue);
is(routed(q{SELECT count(*) FROM told t LEFT JOIN seckill.cluster_orders o USING (order_id, user_id, request_id)
	WHERE t.outcome = 'sold' AND o.item_id IS DISTINCT FROM 2000}), 0, 'every order that was told is there');
is(routed('SELECT count(*) - count(DISTINCT request_id) FROM seckill.cluster_orders WHERE item_id = 2000 AND request_id IS NOT NULL'), 0, 'each request once');
is(routed('SELECT difference, verdict FROM cluster_audit(2000)'), '0|ok', 'audit');
is(node_of(2000), 3 - $from, 'it has moved');

# The audit finds what is wrong.
my $item = routed('SELECT max(item_id) FROM seckill.cluster_items WHERE item_id < 1000');
my $node = $nodes[ node_of($item) - 1 ];
my $peer = $nodes[ 2 - node_of($item) ];
$node->safe_psql('postgres', "SET session_replication_role = replica; UPDATE seckill.items SET stock = stock + 1 WHERE item_id = $item");
is(routed("SELECT verdict FROM cluster_audit($item)"), 'units made or lost', 'a unit too many');
$node->safe_psql('postgres', "SET session_replication_role = replica; UPDATE seckill.items SET stock = stock - 1 WHERE item_id = $item");
move($item);
$node->safe_psql('postgres', "SET session_replication_role = replica; UPDATE seckill.items SET place = NULL WHERE item_id = $item");
is(routed("SELECT verdict FROM cluster_audit($item)"), 'sold on two nodes', 'an item on two nodes');
$node->safe_psql('postgres', "SET session_replication_role = replica; UPDATE seckill.items SET place = 'gone' WHERE item_id = $item");
$peer->safe_psql('postgres', "UPDATE seckill.moves SET contents = 'other' WHERE item_id = $item AND state = 'here'");
is(routed("SELECT verdict FROM cluster_audit($item)"), 'a move has changed it', 'a copy that was not the same');
$peer->safe_psql('postgres', "DELETE FROM seckill.moves WHERE item_id = $item");
is(routed("SELECT verdict FROM cluster_audit($item)"), 'lost in a move', 'an item that never arrived');

# A split item: each user and each order meets its node, and lists are taken apart.  Units of
# the other node are waited for.
foreach my $node (@nodes)
{
	$node->safe_psql('postgres', q{ALTER SYSTEM SET seckill.move_wait = '60s'});
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('seckill.move_wait') = '1min'}) or die 'move_wait is not set';
}
routed(q{SELECT seckill_put_item(200, '{"stock": 40, "per_user_limit": 1, "pay_within": "1 hour"}')});
my $home = node_of(200);
is(routed("SELECT outcome FROM seckill_submit(200, 1)"), 'queued', 'the router knows where it is');
$nodes[ $home - 1 ]->poll_query_until('postgres', 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = 200') or die 'no order';
routed(q{SELECT seckill_put_item(201, '{"stock": 40, "per_user_limit": 1, "pay_within": "1 hour"}')});
$home = node_of(201);
my $other = 3 - $home;
routed('SELECT available FROM seckill_item(201)');
$nodes[ $home - 1 ]->safe_psql('postgres', "CALL seckill_split(201, ARRAY[$home, $other])");
is(routed(qq{SELECT count(*) FROM generate_series(1, 20) u, seckill_buy(201, u, '$_->[0]') b WHERE outcome = '$_->[1]'}), 20, "$_->[0]: $_->[1]")
  foreach [ 'cache', 'sold' ], [ 'retry', 'limit_reached' ];
# whoever has bought keeps locks, so in a list "busy" may stand for "sold out"
is(routed(q{SELECT string_agg(outcome || n, ' ') FROM (SELECT replace(outcome::text, 'sold_out', 'busy') AS outcome, count(*) AS n FROM
	seckill_buy_many(201, ARRAY(SELECT generate_series(11, 60)::bigint)) GROUP BY 1 ORDER BY 1) o}), 'busy20 limit_reached10 sold20', 'a list');
is(routed(q{SELECT count(DISTINCT node_no) || ' ' || count(*) FROM seckill.cluster_orders WHERE item_id = 201}), '2 40', 'orders of both nodes');
is(routed(q{SELECT count(*) FROM (SELECT item_id, order_id FROM seckill.cluster_orders WHERE item_id = 201) o WHERE seckill_confirm(o.item_id, o.order_id) = 'confirmed'}),
	40, 'each order is confirmed where it is');
is(routed('SELECT supplied, available, sold, difference, verdict FROM cluster_audit(201)'), '40|0|40|0|ok', 'the audit has both shares');
routed('SELECT seckill_restock(201, 3)');
is(routed(q{SELECT count(*) FROM generate_series(101, 110) u, seckill_buy(201, u, 'queue') b WHERE outcome = 'sold'}), 3, 'units put on sale at home');
is(routed(q{SELECT string_agg(outcome::text, ' ') FROM seckill_submit_many(ARRAY_FILL(201::bigint, ARRAY[2]), ARRAY[111, 112])}) =~ s/queued|sold_out//gr, ' ', 'submissions');

# Numbered units of a split item: claims of users of both nodes, and their codes.
routed(q{SELECT seckill_put_item(202, '{"stock": 0, "numbered": true, "per_user_limit": 1, "reveal_on": "pending", "pay_within": "1 hour"}')});
routed(q{SELECT seckill_add_units(202, ARRAY(SELECT 'code-' || n FROM generate_series(1, 30) n), NULL, ARRAY(SELECT n * 10 FROM generate_series(1, 30) n))});
$home = node_of(202);
$other = 3 - $home;
$nodes[ $home - 1 ]->safe_psql('postgres', "CALL seckill_split(202, ARRAY[$home, $other])");
is(routed(q{SELECT count(*) FROM generate_series(1, 8) u, seckill_claim(202, u, 'cache') c WHERE outcome = 'sold' AND code = 'code-' || unit}), 8, 'claims');
# whoever has bought keeps locks, so in a list some may be "busy": ask again
my $answer;
for (1 .. 20)
{
	$answer = routed(q{SELECT string_agg(user_id || coalesce(' ' || (code = 'code-' || unit AND amount = unit * 10), ''), ', ')
		FROM seckill_claim_many(202, ARRAY[21, 1, 22], 'cache', ARRAY['11111111-1111-1111-1111-111111111121', NULL, '11111111-1111-1111-1111-111111111122']::uuid[])});
	last if $answer =~ /21 .*22 /;
}
is($answer, '21 true, 1, 22 true', 'in the order of the list');
for (1 .. 20)
{
	$answer = routed(q{SELECT string_agg(DISTINCT outcome::text, ' ') FROM seckill_claim_many(202, ARRAY(SELECT generate_series(6, 20)::bigint), 'retry')});
	last if $answer eq 'limit_reached';
}
is($answer, 'limit_reached', 'a list of claims');
is(routed(q{SELECT count(DISTINCT node_no) || ' ' || count(DISTINCT unit) FROM seckill.cluster_orders WHERE item_id = 202}), '2 22', 'numbers of both nodes');
is(routed(q{SELECT count(DISTINCT code) FROM (SELECT item_id, order_id FROM seckill.cluster_orders WHERE item_id = 202) o, seckill_unit(o.item_id, o.order_id)}),
	22, 'each code is told where it is');
is(routed(q{SELECT count(*) FROM (SELECT item_id, order_id, user_id FROM seckill.cluster_orders WHERE item_id = 202) o,
	seckill_unit(o.item_id, o.order_id) n, seckill_redeem(o.item_id, n.code, o.user_id) r WHERE r.outcome = 'redeemed'}), 22, 'and redeemed there');
is(routed('SELECT supplied, available, sold, difference, verdict FROM cluster_audit(202)') =~ s/in transit/ok/r, '30|8|22|0|ok', 'each number is at one node');

# Monitoring: each verdict has its metric.
my ($query) = slurp_file("$FindBin::RealBin/../monitoring/seckill_router_exporter.yml") =~ /query_name: cluster_audit\n    query: \|\n(.*?)\n\n/s;
my %items = map { split /\|/ } split /\n/, routed($query);
is($items{'lost in a move'}, 1, 'the collector shows what the audit finds');
my ($judge) = slurp_file("$FindBin::RealBin/../seckill_cluster--1.0.sql") =~ /CREATE FUNCTION seckill.judge\((.*?)COMMENT ON FUNCTION/s;
my %verdicts = map { $_ => 1 } $judge =~ /(?:THEN|ELSE) '([a-z ]+)'/g;
is_deeply([ sort keys %items ], [ sort keys %verdicts ], 'and knows all verdicts');

$_->stop foreach $router, @nodes;
done_testing();
