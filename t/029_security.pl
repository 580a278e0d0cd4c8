# What others plant is not used, and nobody gets more than he was granted.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $top = "$FindBin::RealBin/..";

#
# By the text: every operator and function is schema-qualified.
#

# What has parentheses and is no function.
my %grammar = map { $_ => 1 } qw(
  all and any as by check coalesce enum exists filter from function greatest
  in index into key lateral not on op operator or select table using values view
  when where);

# The unqualified operators and functions of some SQL.  Comments, strings and
# quoted names say nothing; what is left is tokens.
sub unqualified
{
	my $sql = lc shift;
	my @found;

	$sql =~ s{ /\*.*?\*/ | --[^\n]* | \$(\w*)\$.*?\$\g1\$ | '(?:[^']|'')*' }{ '' }gsx;
	$sql =~ s/"(?:[^"]|"")*"/ name /g;
	$sql =~ s/\@extschema\@/ext/g;
	$sql =~ s/\$\d+/ arg /g;
	$sql =~ s/\boperator\s*\(\s*pg_catalog\s*\.\s*[-+*\/<>=~!@#%^&|`?]+\s*\)/ op /g;

	# operators that the grammar makes of an unqualified name
	push @found, $1
	  while $sql =~ /\b(not\s+in|in(?=\s*\(\s*(?!out\b))|between|i?like|similar\s+to|nullif|natural|case\s+(?!when\b)\w+|using(?=\s*\())/g;

	# UPDATE ... SET column = and SET parameter =, up to the next keyword
	$sql =~ s{\bset\s+(?=[\w.]+\s*=)(.*?)(?=\bwhere\b|\bfrom\b|\breturning\b|\bbegin\b|;|$)}{
		join ', ', map { s/^\s*[\w.]+\s*=//r } split /,/, $1 }gse;
	# the star of SELECT and of a name, and casts
	$sql =~ s/(\bselect\s+|\.)\*/$1 star/g;
	$sql =~ s/=>|::|\bwith\s*\(\s*fillfactor\s*=\s*\d+\s*\)/ /g;
	push @found, $1 while $sql =~ m{([-+*/<>=~!@#%^&|`?]+)}g;
	# what is created, altered or named is no call
	$sql =~ s/\b(table|index|view|function|into|on|as)\s+[\w.]+\s*\(/$1 (/g;
	while ($sql =~ /((?:\w+\s*\.\s*)?)\b(\w+)\s*\(/g)
	{
		push @found, "$2()" if $1 eq '' && !$grammar{$2};
	}
	return @found;
}

# the scan itself finds what is wrong
is_deeply([ unqualified($_->[0]) ], [ $_->[1] ], "found: $_->[0]")
  foreach (
	[ 'SELECT a = b', '=' ],
	[ 'UPDATE t SET a = b + 1 WHERE c', '+' ],
	[ 'UPDATE t SET a = b WHERE c = 1', '=' ],
	[ 'SELECT a OPERATOR(pg_catalog.=) b AND c>=d', '>=' ],
	[ 'SELECT a OPERATOR(public.=) b', '=' ],
	[ 'SELECT now()', 'now()' ],
	[ 'SELECT x /* = */ -- <' . "\n < 'a=b'", '<' ],
	[ 'SELECT a IN (1, 2)', 'in' ],
	[ 'SELECT a FROM b JOIN c USING (d)', 'using' ],
	[ 'SELECT CASE a WHEN 1 THEN 2 END', 'case a' ],
	[ 'SELECT pg_catalog.sum(f(1))', 'f()' ],
	[ 'SELECT a BETWEEN 1 AND 2', 'between' ]);

# The SQL of the ledger is strings, some of them macros of one line or more.
sub ledger_statements
{
	my $text = slurp_file("$top/src/ledger.c");
	my $string = qr/"(?:[^"\\]|\\.)*"/;
	my %macro;

	$text =~ s/\\\n/ /g;
	$macro{$1} = $2
	  while $text =~ /^#define\s+(\w+)[ \t]+((?:$string|\w+|\s)*?$string(?:$string|\w+|[ \t])*)$/mg;
	my ($table) = $text =~ /^static const Statement statements\[PLANS\] = \{\n(.*?)^\};/ms;
	my $names = join '|', sort { length $b <=> length $a } keys %macro;
	1 while $table =~ s/\b($names)\b(?=(?:[^"]*"[^"]*")*[^"]*$)/$macro{$1}/g;
	return map { join ' ', map { s/^"|"$//gr } /($string)/g }
	  split /^\s*\[PLAN_/m, $table;
}

my @statements = grep { /\S/ } ledger_statements();
cmp_ok(scalar @statements, '>=', 30, 'the statements of the ledger are found');
is(scalar(grep { /^(?:SELECT|UPDATE|INSERT|WITH) / } @statements),
	scalar @statements, 'each is a statement');
is_deeply([ unqualified($_) ], [], "qualified: $_") foreach @statements;

my $script = slurp_file("$top/seckill--1.0.sql");
$script =~ s/^\\echo.*$//m;
is_deeply([ unqualified($script) ], [], 'the script is qualified');
unlike(slurp_file($_), qr/SPI_(?:prepare|execute|exec|cursor_open)\w*\s*\(/,
	"$_ has no SQL")
  foreach grep { !/ledger\.c$/ } glob("$top/src/*.c $top/*.c");

done_testing();
