# A short form of make torture: the primary fails during a sale and its standby,
# synchronous or not, is promoted.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureFailover;

torture_failover(synchronous => 2, asynchronous => 2, clients => 16);
done_testing();
