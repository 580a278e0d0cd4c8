# 500 sessions open one envelope of 100 shares at the same moment, in all modes:
# 100 get one, and their wallets have the amount of the envelope.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use Test::More;
use TortureNumbers;

envelope_crowd();
done_testing();
