# What docs/operations.md tells to run is what sql/variants.sql tests.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my ($block) = slurp_file("$top/docs/operations.md") =~ /^## A limit over several items\n.*?```sql\n(.*?)```/ms;

ok(defined $block, 'a limit over several items is documented');
cmp_ok(index(slurp_file("$top/sql/variants.sql"), $block // 'nothing'), '>=', 0, 'as it is tested');
done_testing();
