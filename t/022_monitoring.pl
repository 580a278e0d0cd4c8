# The files in monitoring/: every query runs as a role that only has pg_monitor
# and has the columns that its metrics name; the dashboard asks for metrics that
# exist.  The queries on several nodes are run by t/104_split_operations.pl.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $dir = "$FindBin::RealBin/../monitoring";

# Metrics and queries by name.  Reads the subset of YAML that the file is written
# in: one key a line, lists in brackets, queries as indented blocks.
sub read_collector
{
	my ($file) = @_;
	my (%metrics, %queries, $metric, $query);

	foreach my $line (split /\n/, slurp_file("$dir/$file"))
	{
		if ($line =~ /^  - metric_name: (\w+)$/)
		{
			$metric = $metrics{$1} = {};
		}
		elsif ($line =~ /^  - query_name: (\w+)$/)
		{
			$query = $1;
			$queries{$query} = '';
		}
		elsif (defined $query && $line =~ /^      (.*)$/)
		{
			$queries{$query} .= "$1\n";
		}
		elsif (!defined $query && $line =~ /^    (\w+): \[(.*)\]$/)
		{
			$metric->{$1} = [ split /, /, $2 ];
		}
		elsif (!defined $query && $line =~ /^    (\w+): '?(.*?)'?$/)
		{
			$metric->{$1} = $2;
		}
		elsif ($line !~ /^(#.*|\w+:.*|    query: \|)?$/)
		{
			fail("line is understood: $line");
		}
	}
	return (\%metrics, \%queries);
}

my ($metrics, $queries) = read_collector('seckill_exporter.yml');
my $node = seckill_node('monitoring');
add_item($node, 1, 10);
$node->safe_psql('postgres', q{CREATE ROLE watcher LOGIN IN ROLE pg_monitor; SELECT seckill_buy(1, 1, 'cache')});

# the columns of each query
my %columns;
foreach my $name (sort keys %$queries)
{
	my ($rc, $out, $err) = $node->psql('postgres', $queries->{$name},
		extra_params => [ '-U', 'watcher', '-P', 'tuples_only=off', '-P', 'footer=off' ]);
	my ($head, @rows) = split /\n/, $out;

	is($rc, 0, "query $name runs") or diag($err);
	is(scalar(@rows), 1, 'a query returns a row');
	$columns{$name} = { map { $_ => 1 } split /\|/, $head // '' };
}

# each metric is complete, and its columns exist
my %used;
foreach my $name (sort keys %$metrics)
{
	my $metric = $metrics->{$name};
	my $has = $columns{ $metric->{query_ref} // '' };
	my @wants = (@{ $metric->{key_labels} // [] }, @{ $metric->{values} // [] });

	like($name, $metric->{type} eq 'counter' ? qr/^seckill_\w+_total$/ : qr/^seckill_\w+(?<!_total)$/,
		"$name is named as a $metric->{type}");
	ok($metric->{help}, 'has a help text');
	cmp_ok(scalar(@{ $metric->{values} // [] }), '>', 0, 'has a value');
	is(join(' ', grep { !$has->{$_} } @wants), '', 'has all its columns');
	ok(@{ $metric->{values} } == 1 || $metric->{value_label}, 'several values have a label');
	$used{ $metric->{query_ref} } = 1;
}
is(join(' ', sort keys %used), join(' ', sort keys %$queries), 'every query is used');

# every outcome is exported
is( join(' ', @{ $metrics->{seckill_outcomes_total}{values} }),
	$node->safe_psql('postgres', q{SELECT string_agg(o::text, ' ' ORDER BY o) FROM unnest(enum_range(NULL::seckill_outcome)) o}),
	'all outcomes are there');

# the dashboard
my $dashboard = decode_json(slurp_file("$dir/seckill_dashboard.json"));
my %asked;
foreach my $panel (@{ $dashboard->{panels} })
{
	cmp_ok(scalar(@{ $panel->{targets} }), '>', 0, "panel $panel->{title} asks");
	$asked{$_} = 1 foreach map { $_->{expr} =~ /\b(seckill_\w+)/g } @{ $panel->{targets} };
}
foreach my $variable (@{ $dashboard->{templating}{list} })
{
	$asked{$_} = 1 foreach ($variable->{definition} // '') =~ /\b(seckill_\w+)/g;
}
my ($of_nodes) = read_collector('seckill_node_exporter.yml');
is(join(' ', sort keys %asked), join(' ', sort keys %$metrics, keys %$of_nodes), 'the dashboard shows exactly the existing metrics');
check_audit($node, 'at the end');

$node->stop;
done_testing();
