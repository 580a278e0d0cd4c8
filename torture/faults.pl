# Every call fails at each of its steps: with an error, with its session, and
# with the server.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureFaults;

torture_faults(actions => [ 'error', 'fatal', 'kill' ], contexts => 5);
done_testing();
