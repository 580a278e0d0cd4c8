# A short form of PARTS=numbers make torture: orders with told codes die in all
# ways, and no code is told for two orders.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureNumbers;

told_codes(lives => 2000, clients => 16);
done_testing();
