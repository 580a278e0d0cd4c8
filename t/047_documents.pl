# The documents agree with the tests and the sources: sql/variants.sql
# tests the statements of docs/operations.md, links have a target, and
# docs/design.md lists every source file.

use strict;
use warnings;
use File::Basename;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my ($block) = slurp_file("$top/docs/operations.md") =~ /^## A limit over several items\n.*?```sql\n(.*?)```/ms;

ok(defined $block, 'a limit over several items is documented');
cmp_ok(index(slurp_file("$top/sql/variants.sql"), $block // 'nothing'), '>=', 0, 'sql/variants.sql tests it');

# The anchors of a document: its headings, as web sites of repositories make them.
sub anchors
{
	my $text = slurp_file($_[0]) =~ s/^```.*?^```//gmsr;

	return map { lc(s/[^\w\- ]//gr) =~ tr/ /-/r } $text =~ /^#+ +(.*?) *$/mg;
}

foreach my $file (glob("$top/*.md $top/docs/*.md $top/*/README.md $top/src/*/README.md"))
{
	my $text = slurp_file($file) =~ s/^```.*?^```//gmsr;
	my $name = $file =~ s/^\Q$top\E\///r;

	while ($text =~ /\]\(([^)\s#]*)(?:#([^)\s]+))?\)/g)
	{
		my ($path, $anchor) = ($1, $2);
		next if $path =~ /^\w+:/;
		my $target = $path eq '' ? $file : dirname($file) . "/$path";

		ok(-e $target, "link of $name to $path") or next;
		ok((grep { $_ eq $anchor } anchors($target)),
			"link of $name to $path#$anchor")
		  if defined $anchor;
	}
}

# The table of source files, in both directions
my ($source) = slurp_file("$top/docs/design.md") =~ /^## Source\n(.*?)^## /ms;
my %documented =
  map { basename($_) => 1 } ($source // '') =~ /`([\w\/]+\.[ch])`/g;
my @sources = map { basename($_) } glob("$top/*.c $top/src/*.[ch] $top/src/*/*.[ch]");

is_deeply([ grep { /\.c$/ && !$documented{$_} } @sources ],
	[], 'docs/design.md has every source file');
is_deeply([ grep { my $file = $_; !grep { $_ eq $file } @sources }
		sort keys %documented ], [], 'docs/design.md has no other file');
done_testing();
