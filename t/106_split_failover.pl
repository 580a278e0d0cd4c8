# A short form of torture/split-failover.pl: nodes of a split sale fail, and their standbys
# take over.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use ClusterTest;
use Test::More;
use TortureSplitFailover;

needs_contrib('dblink');
torture_split_failover(synchronous => 2, asynchronous => 3, clients => 10);
done_testing();
