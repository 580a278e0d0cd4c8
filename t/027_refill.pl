# Many buyers find the cache empty while other transactions lock the row again
# and again: one buyer must become the refiller.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $clients = 150;
my $times = 100;
my $node = seckill_node('refill', conf => 'seckill.lease_units = 100');

add_item($node, 1, 2 * $clients * $times);
my $locker = start_crowd($node, 1, <<'EOC');
BEGIN;
SELECT FROM seckill.items WHERE item_id = 1 FOR UPDATE;
\sleep 20 ms
COMMIT;
\sleep 5 ms
EOC

# a livelock shows as statements that are cancelled
$node->append_conf('postgresql.conf', "statement_timeout = 60s\n");
$node->reload;
crowd($node, $clients, $times, "SELECT outcome FROM seckill_buy(1, 1, 'cache');\n");
is($node->safe_psql('postgres', 'SELECT sold FROM seckill_audit(1)'),
	$clients * $times, 'all buyers have bought');
check_audit($node, 'after the crowd');
check_cache($node, 'after the crowd');

$node->stop('immediate');
$locker->();
done_testing();
