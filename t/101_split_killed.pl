# A short form of torture/split.pl: a sale that is split over three nodes goes on
# while servers and processes are killed, frozen and cut off from each other.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use ClusterTest;
use Test::More;
use TortureSplit;

needs_contrib('dblink');
torture_split(numbered => 1, seconds => 20, clients => 12);
done_testing();
