# What the tests of split items share: some nodes, of which the first three sell an
# item, their users, purchases and the audit.
package SplitTest;

use strict;
use warnings;
use Exporter 'import';
use ClusterTest;
use PostgreSQL::Test::Utils;
use SeckillTest;

our @EXPORT = qw(start_nodes sql answer fails users buy audit);

my @nodes;
my %users;

# Start so many nodes, with parameters of cluster_node(); returns them.
sub start_nodes
{
	my ($n, %params) = @_;

	@nodes = map { cluster_node("node$_", %params) } 1 .. $n;
	join_nodes(@nodes);
	push @{ $users{ (split /\|/)[0] } }, (split /\|/)[1]
	  foreach split /\n/, sql(1, q{SELECT seckill_split_node('{1,2,3}', u), u FROM generate_series(1, 600) u});
	return @nodes;
}

# Another server is the node from now on: its standby.
sub replace_node
{
	my ($node, $server) = @_;
	$nodes[ $node - 1 ] = $server;
	return;
}

# Run a statement on a node, by its number.
sub sql
{
	my ($node, $sql) = @_;
	return $nodes[ $node - 1 ]->safe_psql('postgres', $sql);
}

# A statement fails on a node with this message.
sub fails
{
	my ($node, $sql, $message, $name) = @_;
	sql_fails($nodes[ $node - 1 ], $sql, $message, $name);
	return;
}

# The users of a node who have not bought; they are taken from the front.
sub users
{
	my ($node) = @_;
	return $users{$node};
}

# Run a statement on a node, and again as long as the answer is not known yet: then it is
# "busy", or an error that says so.  Returns the answer, or the error.
sub answer
{
	my ($node, $sql) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($out, $error);

	do
	{
		(undef, $out, $error) = $nodes[ $node - 1 ]->psql('postgres', $sql);
	} while (($out =~ /^busy/m || $error =~ /Retry in a moment/) && time < $end);
	return $error =~ /ERROR|FATAL/ ? $error : $out;
}

# A purchase of a new user of a node.  Returns the outcome, or outcome and order_id.
sub buy
{
	my ($node, $item, $mode, $quantity) = @_;
	my $user = shift @{ $users{$node} };
	my $answer = answer($node, "SELECT outcome, order_id FROM seckill_buy($item, $user, '$mode', $quantity)");

	return wantarray ? split(/\|/, $answer) : $answer =~ s/\|.*//r;
}

# The audit of the cluster, read as a router of these nodes reads it, or of all.
sub audit
{
	my ($item, @of) = @_;
	@of = 1 .. @nodes unless @of;
	my $numbers = join ',', @of;
	my @readings = map {
		'[' . join(',', map { sql($_, "SELECT to_jsonb(a) FROM seckill_node_audit($item) a") || () } @of) . ']'
	} 1 .. 2;

	return sql(1, "SELECT supplied, available, sold, difference, verdict FROM seckill.judge(\$\$$readings[0]\$\$, \$\$$readings[1]\$\$, '{$numbers}')");
}

1;
