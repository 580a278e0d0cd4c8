# The choice of seats, without a server: the same answers as a plain rule on
# random maps; on synthetic lines, best fit sells at least as much as first fit,
# and all when passengers may change seats.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my $program = PostgreSQL::Test::Utils::tempdir() . '/seat_fit';

system_or_bail($ENV{CC} // 'cc', '-O2', "-I$top/src", '-o', $program,
	"$FindBin::RealBin/seat_fit.c");

my ($out, $err) = ('', '');

ok(IPC::Run::run([ $program, 'check', 100000 ], '>', \$out, '2>', \$err), 'random maps');
is($out . $err, "100000 maps\n", 'the plain rule agrees');

ok(IPC::Run::run([ $program, 'lines' ], '>', \$out), 'synthetic lines');
my @lines = map { [ split / *\| */ ] } grep { /^\| \d/ } split /\n/, $out;
cmp_ok(scalar @lines, '>=', 20, 'lines');
foreach my $line (@lines)
{
	my (undef, $size, $trips, $random, $first, $best, $changes) = map { s/ %$//r } @$line;

	cmp_ok($best, '>=', $first, "$size, $trips: best fit against first fit");
	cmp_ok($first, '>', $random, "$size, $trips: first fit against random");
	is($changes, '100.00', "$size, $trips: with changes");
}
note($out);

done_testing();
