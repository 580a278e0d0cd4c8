# A sale split over three nodes, whose primaries fail and whose standbys take over:
# SPLIT_FAILOVERS times with synchronous standbys, and as often with asynchronous ones, home
# and another node by turns.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureSplitFailover;

my $rounds = $ENV{SPLIT_FAILOVERS} // 40;

torture_split_failover(synchronous => $rounds, asynchronous => $ENV{ASYNC_SPLIT_FAILOVERS} // $rounds, clients => 20);
done_testing();
