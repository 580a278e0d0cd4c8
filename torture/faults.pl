# Every call fails at each of its steps: with an error, with its session, and
# with the server; then a crowd meets FAULTS of them, and processes that are
# late.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureFaults;

torture_faults(error => 5, fatal => 1, kill => 1);
torture_faults_at_random(faults => $ENV{FAULTS} || 10000);
done_testing();
