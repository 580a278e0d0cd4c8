# What the tests of split items share: some nodes, of which the first three sell an
# item, their users, purchases and the audit.
package SplitTest;

use strict;
use warnings;
use Exporter 'import';
use ClusterTest;
use SeckillTest;

our @EXPORT = qw(start_nodes sql fails users buy audit);

my @nodes;
my %users;

# Start so many nodes; returns them.
sub start_nodes
{
	my ($n) = @_;

	@nodes = map { cluster_node("node$_") } 1 .. $n;
	join_nodes(@nodes);
	push @{ $users{ (split /\|/)[0] } }, (split /\|/)[1]
	  foreach split /\n/, sql(1, q{SELECT seckill_split_node('{1,2,3}', u), u FROM generate_series(1, 600) u});
	return @nodes;
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

# A purchase of a new user of a node; "busy" says that the answer is not known yet.
# Returns the outcome, or outcome and order_id.
sub buy
{
	my ($node, $item, $mode, $quantity) = @_;
	my $user = shift @{ $users{$node} };
	my $answer;

	for (1 .. 20)
	{
		$answer = sql($node, "SELECT outcome, order_id FROM seckill_buy($item, $user, '$mode', $quantity)");
		last if $answer !~ /^busy/;
	}
	return wantarray ? split(/\|/, $answer) : $answer =~ s/\|.*//r;
}

# The audit of the cluster, read as a router reads it.
sub audit
{
	my ($item) = @_;
	my $numbers = join ',', 1 .. @nodes;
	my @readings = map {
		'[' . join(',', map { sql($_, "SELECT to_jsonb(a) FROM seckill_node_audit($item) a") || () } 1 .. @nodes) . ']'
	} 1 .. 2;

	return sql(1, "SELECT supplied, available, sold, difference, verdict FROM seckill.judge(\$\$$readings[0]\$\$, \$\$$readings[1]\$\$, '{$numbers}')");
}

1;
