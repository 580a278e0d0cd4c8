# A short form of make torture: every call fails at each of its fault points, and
# concurrent calls fail at random ones.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureFaults;

torture_faults(error => 1);
torture_faults_at_random(faults => 100, clients => 32);
done_testing();
