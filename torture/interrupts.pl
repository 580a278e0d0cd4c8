# Sessions and processes are cancelled, terminated and timed out, INTERRUPTS times.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureParts;

torture_interrupts(interrupts => $ENV{INTERRUPTS} || 10000);
done_testing();
