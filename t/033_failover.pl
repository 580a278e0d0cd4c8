# A short form of make torture: the primary ends in mid-sale and its standby is
# promoted, synchronous or not.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureFailover;

torture_failover(synchronous => 2, asynchronous => 2, clients => 16);
done_testing();
