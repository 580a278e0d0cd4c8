# A short form of make torture: the server and its processes are killed during a
# sale, and sessions are cancelled, terminated and timed out.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureParts;

torture_crash(cycles => 20, clients => 32);
torture_interrupts(interrupts => 200, clients => 32);
done_testing();
