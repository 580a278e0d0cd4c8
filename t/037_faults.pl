# A short form of make torture: every call fails at each of its steps.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureFaults;

torture_faults(actions => ['error'], contexts => 1);
done_testing();
