# Promotion of a standby during a sale: its cache is empty, every answered order
# is there, and the open lease is settled.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $primary = seckill_node('primary', streaming => 1);
add_item($primary, 1, 1_000_000_000);
my $standby = seckill_standby($primary);
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$primary->reload;

my $wait = start_crowd($primary, 20,
	map { "SELECT outcome FROM seckill_buy(1, :client_id, '$_');\n" }
	  qw(cache cache advisory queue));
$primary->poll_query_until('postgres', 'SELECT sold > 1000 FROM seckill_audit(1)');

# a standby refuses every call and makes no cache entry
foreach my $call ('seckill_buy(1, 1)', q{seckill_buy(1, 1, 'pessimistic')},
	'seckill_prewarm(1)', 'seckill_recall(1)', q{seckill_buy(1, 1, 'queue')},
	'seckill_submit(1, 1)', 'seckill_result(1)', 'seckill_buy_many(1, ARRAY[1])',
	'seckill_buy_items(ARRAY[1], ARRAY[1])', 'seckill_submit_many(ARRAY[1], ARRAY[1])',
	'seckill_result_many(ARRAY[1])', q{seckill_put_item(1, '{}')},
	'seckill_restock(1, 1)', 'seckill_set_available(1, 1)')
{
	my ($rc, $out, $err) =
	  $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/25006: cannot execute seckill_\w+\(\) during recovery/,
		"$call during recovery");
}
is($standby->safe_psql('postgres', 'SELECT count(*) FROM seckill_cache()'),
	0, 'no entry on the standby');
is($standby->safe_psql('postgres', 'SELECT difference FROM seckill_audit(1)'),
	0, 'the audit works on the standby');

# the call has a snapshot of its own, and the sale goes on: stop the replay
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
  or die 'the replay does not stop';
is($standby->safe_psql('postgres', <<'EOC'), 't|t', 'an item can be looked at, its lease is in the memory of the primary');
SELECT available = stock, unsettled = leased
FROM seckill_item(1), LATERAL (SELECT stock, leased FROM seckill.items WHERE item_id = 1) i
EOC
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
is($standby->safe_psql('postgres', 'SELECT (seckill_order(1, min(order_id))).quantity FROM seckill.orders'),
	1, 'an order is replicated');

$primary->stop('immediate');
my $answered = $wait->();
$standby->promote;
check_audit($standby, 'after promotion');
cmp_ok($standby->safe_psql('postgres', 'SELECT sold FROM seckill_audit(1)'),
	'>=', $answered, "all $answered answered orders are there");
# no standby is left to confirm a commit
$standby->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = ''");
$standby->reload;

is($standby->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 1, 'cache')}),
	'sold', 'the new primary sells');
like(slurp_file($standby->logfile), qr/settled item 1: /, 'the new primary has settled the lease');
is($standby->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}),
	'sold', 'its queue sells');
check_audit($standby, 'after settle');
check_cache($standby, 'after settle');

$standby->stop;
done_testing();
