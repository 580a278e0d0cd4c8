# A node that has lost its last commits, and with them moves of items, sells nothing
# before it has asked the others; then each item has one seller again.
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

my $one = cluster_node('one', streaming => 1);
my $two = cluster_node('two');
join_nodes($one, $two);

sub sql
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub place
{
	my ($node, $item) = @_;
	return sql($node, "SELECT place FROM seckill_whereis($item)");
}

# Items 1 to 3 are on node 1, 4 to 6 on node 2; each has an order.
foreach my $item (1 .. 6)
{
	sql($item < 4 ? $one : $two, qq{SELECT seckill_put_item($item, '{"stock": 10, "per_user_limit": 1}');
		SELECT seckill_buy($item, 1, 'cache', 1, md5('$item')::uuid)});
}

# What the standby has seen: item 3 has been to node 2 and back, item 6 has come and gone.
sql($two, 'CALL seckill_move(3, 1)');
sql($one, 'CALL seckill_move(3, 2)');
sql($one, 'CALL seckill_move(6, 2)');
sql($two, 'CALL seckill_move(6, 1)');
# and it has a share of another one
sql($two, q{SELECT seckill_put_item(7, '{"stock": 10}')});
sql($two, 'CALL seckill_split(7, ARRAY[2, 1])');
my $standby = seckill_standby($one);
$one->wait_for_catchup($standby, 'replay', $one->lsn('write'));
$standby->stop;

# What it has not seen: 1 and 3 go, 4 comes, 6 comes; 2 goes and is sold on, 5 comes and goes.
sql($two, "CALL seckill_move($_, 1)") foreach 1, 2, 3;
sql($one, "CALL seckill_move($_, 2)") foreach 4, 5, 6;
sql($two, 'CALL seckill_move(5, 1)');
sql($two, q{SELECT seckill_buy(2, 2, 'cache')});
sql($one, q{SELECT seckill_buy(4, 2, 'cache')});
# and 1 comes back
sql($one, 'CALL seckill_move(1, 2)');
my $address = sql($two, 'SELECT server FROM seckill.nodes WHERE node_no = 1');
$one->stop('immediate');
$standby->start;
# What it is asked before the promotion is no part of the silence that follows.
my $silence = 'SELECT silent FROM (SELECT pg_sleep(0.3)) s, LATERAL seckill_share_state(7)';
is(sql($standby, $silence), 't', 'a standby is silent') for 1 .. 2;
$standby->promote;
is(sql($standby, 'SELECT silent FROM seckill_share_state(7)'), 't', 'a promoted standby is silent');
is(sql($standby, $silence), 'f', 'for a while');
sql($two, "UPDATE seckill.nodes SET server = \$\$${\$standby->connstr('postgres')}\$\$ WHERE node_no = 1");

is(join(' ', map { place($standby, $_) } 1 .. 3), 'here here here', 'it thinks that it has what has gone');
is(place($standby, 4), '', 'and knows nothing of what has come');
is(sql($standby, "SELECT outcome FROM seckill_buy($_, 3)"), 'busy', "but does not sell item $_") foreach 1 .. 3;
sql_fails($two, 'CALL seckill_move(2, 1)', qr/./, 'no item is taken from it');
sql($standby, 'CALL seckill_rejoin()');
is(sql($standby, 'SELECT state FROM seckill_node()'), 'open', 'it has asked');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 3 FROM seckill.items WHERE item_id IN (1, 4, 6) AND place IS NULL"),
	'what had come is there again');
is(join(' ', map { place($standby, $_) } 1 .. 6), 'here gone gone here gone here', 'places on the promoted node');
is(join(' ', map { place($two, $_) } 1 .. 6), 'gone here here gone here gone', 'places on the other');
foreach my $item (1 .. 6)
{
	my $seller = one_seller($item, $standby, $two);

	is($seller->safe_psql('postgres', "SELECT order_id IS NOT NULL FROM seckill_buy($item, 1, 'cache', 1, md5('$item')::uuid)"), 't', "the request of item $item");
	is($seller->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, 1, 'retry')"), 'limit_reached', "the limit of item $item");
	is($seller->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, 10, 'cache')"), 'sold', "item $item sells");
}
is(sql($two, 'SELECT count(*) FROM seckill.orders WHERE item_id = 2 AND user_id = 2'), 1, 'an order of the other node stays');
is(sql($standby, 'SELECT count(*) FROM seckill.orders WHERE item_id = 4 AND user_id = 2'), 0, 'one that was lost is lost, as on one server');
check_audit($_, 'after the rejoin') foreach $standby, $two;
my $rows = join ' || ', map { "\$\$" . sql($_, 'SELECT jsonb_agg(to_jsonb(a)) FROM seckill_node_audit() a') . "\$\$::jsonb" } $standby, $two;
is(sql($two, "SELECT count(*), string_agg(DISTINCT verdict, ',') FROM seckill.judge($rows, $rows, '{1,2}')"), '7|ok', 'audit of both nodes');

# The other node is restored to an old copy of its disk, on the same timeline.
sql($two, 'SELECT seckill_node_restored()');
is(sql($two, 'SELECT outcome FROM seckill_buy(2, 11)'), 'busy', 'a restored node is closed by hand');
$standby->stop;
sql_fails($two, 'CALL seckill_rejoin()', qr/could not establish connection/, 'and stays so until all others answer');
is(sql($two, 'SELECT outcome FROM seckill_buy(2, 11)'), 'busy', 'it is not open');
$standby->start;
sql($two, 'CALL seckill_rejoin()');
is(sql($two, 'SELECT outcome FROM seckill_buy(2, 11)'), 'sold', 'then it sells');
is(join(' ', map { place($two, $_) } 1 .. 6), 'gone here here gone here gone', 'what it had is there');
$_->stop foreach $standby, $two;
done_testing();
