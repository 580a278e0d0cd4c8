# The primary fails during a sale and its standby is promoted, FAILOVERS times with
# a synchronous standby and ASYNC_FAILOVERS times (default: FAILOVERS) with an
# asynchronous one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureFailover;

my $rounds = $ENV{FAILOVERS} // 100;

torture_failover(synchronous => $rounds, asynchronous => $ENV{ASYNC_FAILOVERS} // $rounds);
done_testing();
