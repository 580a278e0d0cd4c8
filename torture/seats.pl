# CALLS calls for the seats of five trains by 200 clients: bookings in all modes, of
# parties, with changes, payments, cancels, exchanges, expiry, and a crash every few
# seconds.  The log of the answers is replayed outside the server.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureParts;

torture_seats(calls => $ENV{SEAT_CALLS} || 1_000_000, clients => 200, trains => [ 5, 200, 20 ], seconds => 24, sale => 40_000);
done_testing();
