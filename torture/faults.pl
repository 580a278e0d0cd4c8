# Every call fails at each of its fault points: with an error, with the end of its
# session, and with a crash of the server.  Then FAULTS faults and delays hit a
# crowd at random.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureFaults;

torture_faults(error => 5, fatal => 1, kill => 1);
torture_faults_at_random(faults => $ENV{FAULTS} || 10000);
done_testing();
