# Split items at the edges: what an administrator must not do to one share, late
# payments of several units, a share worker that is alone, and nodes that come back
# from an older copy.
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
use Time::HiRes qw(time sleep);

needs_contrib('dblink');

my @nodes = start_nodes(3);


my $next_item = 0;

sub split_item
{
	my ($stock) = @_;
	my $item = ++$next_item;

	sql(1, qq{SELECT seckill_put_item($item, '{"stock": $stock, "pay_within": "1 hour"}')});
	sql(1, "CALL seckill_split($item, '{1,2,3}')");
	return $item;
}

# What is not for one share alone
my $item = split_item(10);
fails(2, $_, qr/split over nodes, cannot have seats/, $_)
  foreach qq{SELECT seckill_put_item($item, '{"legs": 3}')}, "UPDATE seckill.items SET legs = 3 WHERE item_id = $item";
fails(2, "INSERT INTO seckill.releases (item_id, release_at, units) VALUES ($item, now(), 5)", qr/this is not its home/, 'a release');
sql(1, "INSERT INTO seckill.releases (item_id, release_at, units) VALUES ($item, now(), 2)");
await_releases($nodes[0], $item, 1, 'a release at home');
fails(2, 'TRUNCATE seckill.items, seckill.orders', qr/cannot truncate items or orders/, 'TRUNCATE');
fails(1, 'TRUNCATE seckill.orders', qr/cannot truncate items or orders/, 'TRUNCATE of orders');
is(audit($item), '12|12|0|0|ok', 'nothing has changed');

# A late payment of two units on a node while one is left somewhere else: it is told
# so, and is not told to retry for ever.
$item = split_item(4);
sql($_, qq{SELECT seckill_put_item($item, '{"pay_within": "1 ms"}')}) foreach 1 .. 3;
my (undef, $late) = buy(3, $item, 'cache', 2);
$nodes[2]->poll_query_until('postgres', "SELECT state = 'expired' FROM seckill.orders WHERE order_id = $late") or die 'it does not expire';
sql($_, qq{SELECT seckill_put_item($item, '{"pay_within": null}')}) foreach 1 .. 3;
sql(1, "CALL seckill_gather($item, 1)");
is(answer(3, "SELECT seckill_confirm($item, $late)"), 'expired', 'a late payment of more than there is');
is(buy(2, $item, 'retry', 1), 'sold', 'the unit is sold elsewhere');

# Whoever returns a unit in a transaction that goes on for long: no promise is made
# meanwhile, so others are busy, and are not told "sold out".
$item = split_item(2);
my (undef, $order) = buy(2, $item, 'cache', 1);
is(buy(1, $item, 'cache', 1), 'sold', 'the last unit');
is(buy(3, $item, 'cache', 1), 'sold_out', 'which it was');
my $session = $nodes[1]->background_psql('postgres', on_error_stop => 1);
$session->query_safe("BEGIN; SELECT seckill_cancel($item, $order);");
foreach my $mode (qw(cache retry pessimistic queue))
{
	is(sql($_, "SET seckill.move_wait = '300ms'; SELECT outcome FROM seckill_buy($item, ${\users($_)->[0]}, '$mode')"),
		'busy', "a return is under way: node $_, $mode")
	  foreach 1, 3;
}
$session->query_safe('COMMIT;');
$session->quit;
is(buy(3, $item, 'cache', 1), 'sold', 'then it is sold elsewhere');
is(audit($item), '2|0|2|0|ok', 'and is counted');

# The extension is dropped: its share worker ends, and does not come back.
my ($one, $two) = @nodes[ 0, 1 ];
foreach my $n (0, 1)
{
	$nodes[$n]->safe_psql('postgres', 'CREATE DATABASE two');
	$nodes[$n]->safe_psql('two', 'CREATE EXTENSION seckill_cluster CASCADE; SELECT seckill_join(' . ($n + 1) . ')');
}
foreach my $n (0, 1)
{
	my $server = $nodes[ 1 - $n ]->connstr('two');
	$nodes[$n]->safe_psql('two', 'SELECT seckill_add_node(' . (2 - $n) . ", \$\$$server\$\$)");
}
$one->safe_psql('two', q{SELECT seckill_put_item(1, '{"stock": 1}')});
$one->safe_psql('two', q{CALL seckill_split(1, '{1,2}')});
my $other = $one->safe_psql('two', q{SELECT u FROM generate_series(1, 100) u WHERE seckill_split_node('{1,2}', u) = 2 LIMIT 1});
ok($two->poll_query_until('two', "SELECT outcome = 'sold' FROM seckill_buy(1, $other)"), 'a second database has items of its own');
my $log = -s $two->logfile;
$two->safe_psql('two', q{SELECT seckill_split_set(1, '{}')});
$two->safe_psql('two', 'DROP EXTENSION seckill CASCADE');
$two->safe_psql('two', q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'seckill share worker' AND datname = 'two'});
ok($two->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'seckill share worker' AND datname = 'two'}),
	'without the extension the share worker ends');
sleep 0.2;
unlike(slurp_file($two->logfile, $log), qr/share worker.*exit code 1.*share worker.*exit code 1/s, 'and is not started again and again');

my @frozen;
END { kill CONT => @frozen }

# A node that is frozen holds up neither the share worker nor its end.
$item = split_item(3);
is(buy(3, $item, 'cache', 1), 'sold', 'node 3 has a share');
sql(1, "CALL seckill_gather($item, 1)");
sql(2, "SELECT seckill_buy($item, ${\users(2)->[0]}, 'retry')");
my $postmaster = slurp_file($nodes[2]->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
@frozen = ($postmaster, map { /(\d+)/ } `ps -o pid= --ppid $postmaster`);
kill STOP => @frozen;
is(sql(1, "SET seckill.move_wait = '300ms'; SELECT outcome FROM seckill_buy($item, ${\users(1)->[0]})"), 'busy', 'it may have units');
my $worker = sql(1, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'seckill share worker' AND datname = 'postgres'});
sql(1, "SELECT pg_terminate_backend($worker)");
ok($nodes[0]->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $worker"), 'the share worker can be ended');
kill CONT => @frozen;
is(buy(1, $item, 'cache', 1), 'sold_out', 'until it goes on');

# Home comes back from an older copy: what it had passed on from one node to another
# is no shortfall.
$item = split_item(10);
is(buy(3, $item, 'cache', 5), 'sold', 'units of node 3');
$nodes[0]->stop('fast');
my $copy = PostgreSQL::Test::Utils::tempdir() . '/copy';
system_or_bail('cp', '-a', $nodes[0]->data_dir, $copy);
$nodes[0]->start;
$order = sql(3, "SELECT order_id FROM seckill.orders WHERE item_id = $item");
sql(3, "SELECT seckill_cancel($item, $order)");
is(buy(2, $item, 'cache', 10), 'sold', 'all units on node 2, by way of home');
$nodes[0]->stop('immediate');
system_or_bail('rm', '-rf', $nodes[0]->data_dir);
system_or_bail('cp', '-a', $copy, $nodes[0]->data_dir);
$nodes[0]->start;
sql(1, 'SELECT seckill_node_restored()');
sql(1, 'CALL seckill_rejoin()');
is(sql(1, 'SELECT count(*) FROM seckill.shortfalls'), '0', 'no shortfall');
is(audit($item), '10|0|10|0|ok', 'and nothing is sold twice');
is(buy($_, $item, 'cache', 1), 'sold_out', "node $_ knows") foreach 1 .. 3;

# The channels are lost, but not the item: that must not make units.
sql(2, "DELETE FROM seckill.channels WHERE item_id = $item; SELECT seckill_node_restored()");
fails(2, 'CALL seckill_rejoin()', qr/channels of item $item, which is split over nodes, are missing/, 'lost channels');
is(sql(2, 'SELECT state FROM seckill_node()'), 'closed', 'the node stays closed');

check_audit($_, 'at the end') foreach @nodes;
$_->stop('immediate') foreach @nodes;
done_testing();
