# LIVES orders with told codes die, and no code is told twice; 500 sessions open
# one envelope, in each mode and in all; CODES generated codes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use Test::More;
use TortureNumbers;

my @modes = qw(optimistic retry pessimistic advisory cache auto queue);

told_codes(lives => $ENV{LIVES} || 100_000, clients => 32);
envelope_crowd(modes => [ [@modes], map { [$_] } @modes ]);
generated_codes(codes => $ENV{CODES} || 1_000_000);
done_testing();
