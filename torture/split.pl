# A sale split over three nodes, for SPLIT_SECONDS, whose servers and processes are
# killed, frozen and cut off from each other.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureSplit;

torture_split(numbered => 1, seconds => $ENV{SPLIT_SECONDS} || 1200, clients => 20);
done_testing();
