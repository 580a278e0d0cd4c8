# Processes and the server are killed during a sale, CYCLES times.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureParts;

torture_crash(cycles => $ENV{CYCLES} || 1000);
done_testing();
