# What the tests of several nodes share: servers that have joined, moves, and the
# laws of an item that moves.
package ClusterTest;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

our @EXPORT = qw(needs_contrib cluster_node join_nodes make_router sql_fails one_seller check_moves);

# Skip the test if the installation lacks dblink.
sub needs_contrib
{
	my ($name) = @_;
	chomp(my $share = `${\($ENV{PG_CONFIG} // 'pg_config')} --sharedir`);

	plan skip_all => "$name is not installed" unless -e "$share/extension/$name.control";
	return;
}

# A server with the extension, which has not joined.
sub cluster_node
{
	my ($name, %params) = @_;
	my $node = seckill_node($name, %params,
		conf => "seckill.token_key = 'key of the shop'\nwal_level = replica\n" . ($params{conf} // ''));

	$node->safe_psql('postgres', 'CREATE EXTENSION seckill_cluster CASCADE');
	return $node;
}

# Give the nodes the numbers 1, 2 ... and tell each of the others.
sub join_nodes
{
	my @nodes = @_;

	foreach my $i (1 .. @nodes)
	{
		$nodes[ $i - 1 ]->safe_psql('postgres', "SELECT seckill_join($i)");
	}
	foreach my $i (1 .. @nodes)
	{
		foreach my $j (grep { $_ != $i } 1 .. @nodes)
		{
			my $server = $nodes[ $j - 1 ]->connstr('postgres');

			$nodes[ $i - 1 ]->safe_psql('postgres', "SELECT seckill_add_node($j, \$\$$server\$\$)");
		}
	}
	return;
}

# A server that is a router of these nodes, made from the catalog of the first.
sub make_router
{
	my @nodes = @_;
	my $router = PostgreSQL::Test::Cluster->new('router');
	my $list = join ', ', map { '$$' . $_->connstr('postgres') . '$$' } @nodes;
	my $script = $nodes[0]->basedir . '/router.sql';

	$router->init;
	$router->append_conf('postgresql.conf', "max_connections = 200\n");
	$router->start;
	append_to_file($script, $nodes[0]->safe_psql('postgres', "SELECT seckill_router(ARRAY[$list])"));
	$router->command_ok([ 'psql', '-qX', '-f', $script, $router->connstr('postgres') ], 'a router is made');
	return $router;
}

# A statement fails with this message.
sub sql_fails
{
	my ($node, $sql, $message, $name) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $sql);

	like($error, $message, $name);
	return;
}

# Exactly one of the nodes sells the item, or stops its sale; returns it.
sub one_seller
{
	my ($item, @nodes) = @_;
	my @sellers = grep {
		$_->safe_psql('postgres', "SELECT place FROM seckill_whereis($item)") =~ /^(?:here|moving)$/
	} @nodes;

	is(scalar @sellers, 1, "one node sells item $item");
	return $sellers[0];
}

# What has gone from one node is what has come to another.
sub check_moves
{
	my ($message, @nodes) = @_;
	my %rows;

	foreach my $node (@nodes)
	{
		$rows{$_}++ foreach split /\n/, $node->safe_psql('postgres',
			"SELECT item_id, move_id, hop, orders, units, contents FROM seckill.moves WHERE state IN ('gone', 'forgotten', 'here')");
	}
	is(join("\n", grep { $rows{$_} != 2 } sort keys %rows), '', "moves: $message");
	return;
}

1;
