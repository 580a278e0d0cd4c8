# What an operator does with split items: go on without a node that is lost, watch the
# exchanges, end a split whose home is restarted meanwhile, drop the extension, promote
# standbys.
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

my @nodes = start_nodes(3, streaming => 1);
my $item = 0;
my $last = 0;

sub split_item
{
	my ($stock) = @_;

	$item = ++$last;
	sql(1, qq{SELECT seckill_put_item($item, '{"stock": $stock, "pay_within": "1 hour"}')});
	sql(1, "CALL seckill_split($item, '{1,2,3}')");
	return $item;
}

# A purchase of a user of one node on another.
sub buy_for
{
	my ($node, $of, $quantity, $of_item) = @_;
	my $outcome = answer($node, sprintf q{SELECT outcome FROM seckill_buy(%s, %s, 'auto', %s)}, $of_item // $item, users($of)->[0], $quantity // 1);

	shift @{ users($of) } if $outcome eq 'sold';
	return $outcome;
}

sub is_left_out
{
	my ($node, $of_item, $name) = @_;
	ok($nodes[ $node - 1 ]->poll_query_until('postgres', "SELECT split_over = '{1,2,1}' FROM seckill.items WHERE item_id = $of_item"), $name);
	return;
}

# What a role that watches the server is told of a channel.
sub watched
{
	my ($node, $what, $peer) = @_;
	return $nodes[ $node - 1 ]->safe_psql('postgres', "SELECT $what FROM seckill.stat_channels WHERE item_id = $item AND peer = $peer",
		extra_params => [ '-U', 'watcher' ]);
}

# The queries of a file of monitoring/, by name.
sub queries
{
	my ($file) = @_;
	my $text = slurp_file("$FindBin::RealBin/../monitoring/$file") =~ s/.*^queries:\n//msr;
	return map { /^(\w+)\n    query: \|\n(.*)/s ? ($1, $2) : () } split /^  - query_name: /m, $text;
}

sql($_, 'CREATE ROLE watcher LOGIN IN ROLE pg_monitor') foreach 1 .. 3;

# A node is lost.
my ($sold_there, $rejoined, $unsplit) = map { split_item(30) } 1 .. 3;
$item = $sold_there;
my (undef, $order) = buy(3, $sold_there, 'cache', 2);
ok($order, 'node 3 has a share');
is(buy(3, $rejoined, 'cache', 2), 'sold', 'and one of another item');
is(buy(3, $unsplit, 'cache', 2), 'sold', 'and one of a third');
fails(2, "SELECT seckill_split_without($item, 3)", qr/this is not the home of item $item/, 'not elsewhere than at home');
fails(1, "SELECT seckill_split_without($item, $_)", qr/node $_ has no share of item $item/, "not node $_") foreach 1, 4;
fails(1, "SELECT seckill_split_without(99, 3)", qr/this is not the home of item 99/, 'no such item');
fails(1, "SELECT seckill_split_without($item, 3)", qr/node 3 answers.*HINT:  Only a node that is lost/s, 'not one that answers');
is(sql(1, "SELECT split_over FROM seckill.items WHERE item_id = $item"), '{1,2,3}', 'nothing has changed');
$nodes[2]->stop('immediate');
my $out = sql(1, "SELECT sent - received FROM seckill.channels WHERE item_id = $item AND peer = 3");
cmp_ok($out, '>', 2, 'units are there');
is(buy(2, $item, 'cache', 30 - $out), 'sold', 'the others sell what they have');
is(sql($_, "SET seckill.move_wait = '300ms'; SELECT outcome FROM seckill_buy($item, ${\users($_)->[0]})"), 'busy', "then node $_ is busy") foreach 1, 2;
is(watched(1, "failures > 0 AND last_error <> '' AND last_failure > now() - interval '1 min' AND last_success < last_failure AND grants > 0 AND asks > 0", 3),
	't', 'the statistics say that it does not answer');
my $messages = () = slurp_file($nodes[0]->logfile) =~ /units of item $item may be on a node that does not answer/g;
ok($messages > 0 && watched(1, "failures > $messages", 3) eq 't', 'the log says so, but not at each call');
is(watched(1, "failures = 0 AND last_error IS NULL AND last_success IS NOT NULL AND rounds > 0", 2), 't', 'and that the other one does');
is(watched(2, "asks > 0 AND rounds > 0 AND sent + received > 0", 1), 't', 'which counts, too');
is(sql(1, "SELECT seckill_split_without($item, 3)"), $out, 'home goes on without the node');
is(sql(1, "SELECT seckill_split_without($item, 3)"), $out, 'which can be repeated');
is(sql(1, "SELECT split_over FROM seckill.items WHERE item_id = $item"), '{1,2,1}', 'home has its users');
is(buy($_, $item, $_ == 1 ? 'queue' : 'cache', 1), 'sold_out', "sold out within reach: node $_") foreach 1, 2;
is(buy_for(1, 3), 'sold_out', 'for users of the node that is lost, too');
is(audit($item, 1, 2), '30|0|' . (30 - $out) . '|0|stranded', 'the audit shows its units');
is_left_out(2, $item, 'the other nodes get to know it');
sql(1, "SELECT seckill_restock($item, 1)");
is(buy_for(1, 3), 'sold', 'its users buy at home');
is(sql(1, "SELECT seckill_split_without($_, 3) > 0"), 't', "item $_ goes on without it, too") foreach $rejoined, $unsplit;
sql(1, "CALL seckill_unsplit($unsplit)");
like(audit($unsplit, 1, 2), qr/^(\d+)\|\1\|0\|0\|ok$/, 'an item is sold at home alone');

# The routers are made again without the node.
SKIP:
{
	chomp(my $share = `${\($ENV{PG_CONFIG} // 'pg_config')} --sharedir`);
	skip 'plproxy is not installed', 1 unless -e "$share/extension/plproxy.control";
	my $router = make_router(@nodes[ 0, 1 ]);

	ok($router->poll_query_until('postgres', "SELECT outcome = 'sold' FROM seckill_buy($rejoined, ${\users($_)->[0]})"), "a router serves users of node $_")
	  foreach 1 .. 3;
	is($router->safe_psql('postgres', "SELECT verdict FROM cluster_audit($rejoined)"), 'stranded', 'and shows what is stranded');

	# units whose receiver died before they arrived
	my %query = queries('seckill_router_exporter.yml');
	my $call = sql(2, "SELECT format('SELECT given.sent FROM seckill_sync($rejoined, 2, %s, %s, %s, 3, 1, false, %s) given', own_incarnation, sent, received, peer_incarnation)"
		. " FROM seckill.channels, seckill.own_incarnation() WHERE item_id = $rejoined");
	like($router->safe_psql('postgres', $query{in_transit}), qr/^0\|0/, 'nothing is in transit');
	sql(1, $call);
	sql(1, "UPDATE seckill.channels SET sent_at = now() - interval '2 min' WHERE item_id = $rejoined AND peer = 2");
	like($router->safe_psql('postgres', $query{in_transit}), qr/^([1-9]\d*)\|(?:1[2-9]\d)/, 'units in transit, and for how long');
	$item = $rejoined;
	is(watched(1, "unconfirmed > 0 AND unconfirmed_since < now() - interval '1 min'", 2), 't', 'home waits for their arrival');
	is(buy(2, $rejoined, 'retry', 6), 'sold', 'they arrive');
	ok($router->poll_query_until('postgres', "SELECT units = 0 FROM ($query{in_transit}) q"), 'nothing is in transit any more');
	like($router->safe_psql('postgres', $query{cluster_audit}), qr/^stranded\|2$/m, 'the verdicts');
	$item = $sold_there;
	$router->stop;
}

# It comes back, and sells nothing.
$nodes[2]->start;
is(buy_for(3, 3), 'moved', 'the node comes back, and has no users any more');
is_left_out(3, $item, 'as home says');
is(buy_for(3, 3, 1, $unsplit), 'moved', 'nor of an item that is split no more');
is(sql(3, "SELECT split_over FROM seckill.items WHERE item_id = $unsplit"), '{1}', 'which home alone sells');
is(sql(3, "SELECT seckill_confirm($item, $order)"), 'confirmed', 'its orders are there');
sql(1, "CALL seckill_gather($item)");
is(audit($item), '31|' . ($out - 2) . '|' . (33 - $out) . '|0|ok', 'its units come home');
is(sql(3, "SELECT stock + unsold FROM seckill_audit($item)"), '0', 'all of them');
is(buy_for(1, 3, $out - 2), 'sold', 'and are sold');
is(buy($_, $item, 'cache', 1), 'sold_out', "all are sold: node $_") foreach 1, 2;
sql(3, 'SELECT seckill_node_restored()');
is(sql(3, "SELECT outcome FROM seckill_buy($rejoined, ${\users(3)->[0]})"), 'busy', 'one that is restored is closed');
sql(3, 'CALL seckill_rejoin()');
is_left_out(3, $rejoined, 'and learns from home when it rejoins');
is(buy_for(3, 3, 1, $rejoined), 'moved', 'so it does not sell either');
sql(1, "CALL seckill_gather($rejoined)");
like(audit($rejoined), qr/^30\|\d+\|\d+\|0\|ok$/, 'its units come home, too');

# All others are lost.
split_item(6);
is(buy($_, $item, 'cache', 1), 'sold', "node $_ has a share") foreach 2, 3;
my $reach = sql(1, "SELECT stock + unsold FROM seckill_audit($item)");
$_->stop('immediate') foreach @nodes[ 1, 2 ];
sql(1, "SELECT seckill_split_without($item, $_)") foreach 2, 3;
is(sql(1, "SELECT split_over FROM seckill.items WHERE item_id = $item"), '{1,1,1}', 'home is alone');
is(buy_for(1, 1 + $_ % 3), 'sold', 'and sells to all users') foreach 1 .. $reach;
is(buy_for(1, $_), 'sold_out', "until it is sold out: users of node $_") foreach 1 .. 3;
$_->start foreach @nodes[ 1, 2 ];
sql(1, "CALL seckill_gather($item)");
like(audit($item), qr/^6\|\d+\|\d+\|0\|ok$/, 'they come back: units of both come home');

# As seckill_unsplit() does: in one session, as a promise may have ended before a slow
# server has made its connections.
sub close_shares
{
	return sql(1, "SELECT EXISTS (SELECT FROM generate_series(1, 1000) n
		WHERE n > 0 AND seckill_share_keep($item, 1000) IS NOT NULL AND seckill.close_shares($item))");
}

# The end of a split: a restart of home does not forget that no unit may leave it.
split_item(5);
is(buy(2, $item, 'cache', 1), 'sold', 'node 2 has a share');
sql(1, "CALL seckill_gather($item)");
my $sent = sql(1, "SELECT sent FROM seckill.channels WHERE item_id = $item AND peer = 2");
is(close_shares(), 't', 'the shares are about to be dropped');
$nodes[0]->restart;
is(sql(2, "SET seckill.move_wait = '500ms'; SELECT outcome FROM seckill_buy($item, ${\users(2)->[0]})"), 'busy', 'home keeps its units');
is(sql(1, "SELECT sent FROM seckill.channels WHERE item_id = $item AND peer = 2"), $sent, 'and sends none');
fails(1, "CALL seckill_unsplit($item)", qr/node 2 still has orders or units of item $item/, 'node 2 has an order');
is(buy(2, $item, 'cache', 1), 'sold', 'so the sale goes on');
is(close_shares(), 't', 'once more');
sql(1, "CALL seckill_split($item, '{1,2,3}')");
is(buy(3, $item, 'cache', 1), 'sold', 'or by seckill_split()');

# What is split is not dropped, by whatever way.
foreach my $drop ('DROP EXTENSION seckill_cluster', 'DROP EXTENSION seckill_cluster CASCADE', 'DROP EXTENSION seckill CASCADE',
	'DROP EXTENSION dblink CASCADE', 'DROP SCHEMA seckill CASCADE', 'DROP SCHEMA public CASCADE')
{
	fails(2, $drop, qr/cannot drop (?:extension seckill_cluster|seckill.items) while items are split over nodes|because extension seckill requires it/, "$drop is refused");
}
my (undef, undef, $error) = $nodes[0]->psql('postgres', "\\set VERBOSITY verbose\nDROP EXTENSION seckill_cluster");
like($error, qr/55000: cannot drop.*DETAIL:.*HINT:  CALL seckill_unsplit\(\)/s, 'with a hint');
sql(2, 'CREATE SCHEMA s CREATE TABLE items (); DROP SCHEMA s CASCADE; CREATE TEMP TABLE items ()');
$nodes[1]->safe_psql('postgres', 'CREATE DATABASE two');
$nodes[1]->safe_psql('two', 'CREATE EXTENSION seckill_cluster CASCADE; DROP EXTENSION seckill_cluster; DROP EXTENSION seckill; CREATE EXTENSION seckill_cluster CASCADE; DROP EXTENSION seckill CASCADE');
is(buy(2, $item, 'cache', 1), 'sold', 'the sale goes on');

# Every query of the collector of a node
my %query = queries('seckill_node_exporter.yml');
foreach my $name (sort keys %query)
{
	my (undef, $rows, $error) = $nodes[0]->psql('postgres', $query{$name}, extra_params => [ '-U', 'watcher' ]);
	is($error, '', "query $name runs");
	isnt($rows, '', 'and has rows');
}

# Standbys are promoted: one of a server that says that none of its commits is lost, and
# one that may have lost some.
is(sql(1, "SELECT string_agg(seckill.is_followed(h, 2)::text, ' ' ORDER BY n) FROM unnest(ARRAY[E'1\\t0/3000\\tbefore 2026-01-01\\n2\\t0/4000\\tno recovery target specified\\n',"
	. " E'2\\t0/4000\\tno recovery target specified\\n\\n3\\t0/5000\\tat restore point \"x\"\\n', E'1\\t0/3000\\tno recovery target specified\\n', '']) WITH ORDINALITY u (h, n)"),
	'true false false false', 'only what ended with the last record is without loss');
split_item(40);
is(buy($_, $item, 'cache', 1), 'sold', "node $_ has a share") foreach 1 .. 3;
foreach my $n (2, 3)
{
	my $standby = seckill_standby($nodes[ $n - 1 ], "standby$n");
	my $node = $nodes[ $n - 1 ];

	$standby->append_conf('postgresql.conf', "seckill.lossless = on\n") if $n == 2;
	$standby->reload;
	is(buy($n, $item, 'cache', 1), 'sold', "node $n sells");
	$node->wait_for_catchup($standby);
	$node->stop('immediate');
	$standby->promote;
	sql($_, "SELECT seckill_add_node($n, \$\$${\$standby->connstr('postgres')}\$\$)") foreach grep { $_ != $n } 1 .. 3;
	if ($n == 2)
	{
		ok($standby->poll_query_until('postgres', q{SELECT state = 'open' FROM seckill_node()}), 'without loss: it opens by itself');
		$nodes[1] = $standby;
		SplitTest::replace_node(2, $standby);
	}
	else
	{
		is($standby->safe_psql('postgres', "SELECT state FROM seckill_node()"), 'closed', 'with loss, perhaps: it is closed');
		is($standby->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, ${\users(3)->[0]})"), 'busy', 'and sells nothing');
		$standby->safe_psql('postgres', q{ALTER SYSTEM SET seckill.lossless = on}); $standby->reload;
		ok($standby->poll_query_until('postgres', q{SELECT state = 'open' FROM seckill_node()}), 'the setting opens it later, too');
		SplitTest::replace_node(3, $standby);
		sql(3, 'SELECT seckill_node_restored()');
		sql(3, 'SELECT seckill_wake_maintenance(now())');
		ok($standby->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'}), 'the worker looks');
		is(sql(3, q{SELECT state FROM seckill_node()}), 'closed', 'but not one that was restored');
		sql(3, 'CALL seckill_rejoin()');
		$nodes[2] = $standby;
	}
	is(buy($n, $item, 'cache', 1), 'sold', "the standby of node $n sells");
}
sql(1, "CALL seckill_gather($item)");
is(audit($item), '40|33|7|0|ok', 'nothing is lost');

check_audit($_, 'at the end') foreach @nodes;
$_->stop('immediate') foreach @nodes;
done_testing();
