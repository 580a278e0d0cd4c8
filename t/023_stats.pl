# Statistics under load agree with pgbench and with the tables, and do not survive
# a crash or the reuse of a cache entry.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('stats', conf => <<'EOC');
seckill.lease_units = 50
seckill.queue_size = 100
seckill.queue_idle_time = 10min
seckill.allow_unsafe = on
seckill.token_key = 'secret'
EOC

sub sql
{
	return $node->safe_psql('postgres', shift);
}

# The counters of an item, summed over its modes.
sub total
{
	my ($item, $counters) = @_;
	my $sums = join ', ', map { "sum($_)" } split /, /, $counters;

	return sql("SELECT $sums FROM seckill.stat_items WHERE item_id = $item");
}

# 64 clients, every mode, one item that sells out, some roll back
my ($clients, $times) = (64, 30);
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);
add_item($node, 1, 1000);
crowd($node, $clients, $times,
	map { "SELECT outcome FROM seckill_buy(1, :client_id, '$_');\n" } @modes);
is(total(1, 'calls'), $clients * $times, 'every transaction is a call');
is(total(1, 'sold + sold_out + conflict'), $clients * $times, 'every call has an outcome');
is(total(1, 'units, sold'), sql('SELECT sold, sold FROM seckill_audit(1)'),
	'units counted as sold are those of orders');
is(sql('SELECT mode, units FROM seckill.stat_items WHERE units > 0 ORDER BY mode'),
	sql('SELECT mode, sum(quantity) FROM seckill.orders GROUP BY 1 ORDER BY 1'),
	'in the modes that sold them');
cmp_ok(total(1, 'refills'), '>', 0, 'the cache was refilled');
is(sql('SELECT refills FROM seckill.stat_worker'), total(1, 'refills'), 'which the database knows, too');
is(sql(q{SELECT bool_and(total_time > 0 AND max_time <= total_time AND wait_time <= total_time) FROM seckill.stat_items}),
	't', 'times agree');
is(sql('SELECT decided >= batches AND batches > 0 AND starts > 0 AND backlog = 0 FROM seckill.stat_worker'),
	't', 'the worker is counted');

# waits, rolled-back calls and nested calls are counted
add_item($node, 2, 1_000_000);
crowd($node, $clients, 10, "SELECT outcome FROM seckill_buy(2, :client_id, 'pessimistic');\n", <<'EOC', <<'EOC');
BEGIN;
SELECT outcome FROM seckill_buy(2, :client_id, 'pessimistic');
ROLLBACK;
EOC
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM seckill_buy_many(2, ARRAY[1, 2, 3], 'pessimistic');
ROLLBACK TO s;
COMMIT;
EOC
is(total(2, 'calls - sold'), 0, 'calls that are rolled back are calls');
is(total(2, 'units'), total(2, 'calls'), 'units of calls that are rolled back are counted');
cmp_ok(total(2, 'units'), '>', sql('SELECT sold FROM seckill_audit(2)'), 'more units are counted than orders have');
cmp_ok(total(2, 'waits'), '>', 0, 'waits are counted');
cmp_ok(total(2, 'wait_time'), '>', 0, 'the time of waits is counted');

# a full ring; decisions without a waiter are not counted as calls
add_item($node, 3, 150);
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe('BEGIN; SELECT 1 FROM seckill.items WHERE item_id = 3 FOR UPDATE');
sql('SELECT count(*) FROM generate_series(1, 130) n, seckill_submit(3, n)');
is(total(3, 'calls, queued, busy, sold, units'), '130|100|30|0|0', 'busy');
is(sql('SELECT backlog FROM seckill.stat_worker'), 100, 'the backlog shows');
$node->poll_query_until('postgres', 'SELECT deferred > 0 FROM seckill.stat_worker');
is(sql('SELECT pid FROM seckill.stat_worker'), worker_pid($node), 'the pid of the worker shows');
$holder->query_safe('COMMIT');
ok($node->poll_query_until('postgres', 'SELECT backlog = 0 FROM seckill.stat_worker'), 'the backlog is decided');
is(total(3, 'calls, queued, busy, sold, units'), '130|100|30|100|100', 'decisions are outcomes, not calls');
crowd($node, $clients, 5, "SELECT outcome FROM seckill_submit(3, 1);\n",
	"SELECT outcome FROM seckill_buy(3, 1, 'queue');\n");
ok($node->poll_query_until('postgres', 'SELECT backlog = 0 FROM seckill.stat_worker'), 'again');
is(total(3, 'calls, units'), (130 + $clients * 5) . '|150', 'mixed with calls that wait');
is(total(3, 'sold + sold_out + busy'), 130 + $clients * 5, 'each call is decided once, or busy');

# a token
add_item($node, 4, 1);
sql('UPDATE seckill.items SET require_token = true WHERE item_id = 4');
sql(q{SELECT seckill_buy(4, 1); SELECT seckill_buy(4, 1, 'queue'); SELECT seckill_submit(4, 1); SELECT seckill_buy(4, 1, 'cache', token => seckill_token(4, 1))});
is(sql('SELECT mode, calls, sold, denied FROM seckill.stat_items WHERE item_id = 4 ORDER BY mode'),
	"cache|1|1|0\nqueue|2|0|2\nauto|1|0|1", 'denied');

# another database has its own counters
sql('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION seckill');
is($node->safe_psql('other', 'SELECT count(*) FROM seckill.stat_items'), 0, 'databases are apart');
add_item($node, 5, 1);
$node->safe_psql('other', q{INSERT INTO seckill.items (item_id, stock) VALUES (5, 9); SELECT seckill_buy(5, 1, 'retry')});
is($node->safe_psql('other', 'SELECT item_id, calls FROM seckill.stat_items'), '5|1', 'it has its own');
$node->safe_psql('other', 'SELECT seckill_stat_reset()');
is($node->safe_psql('other', 'SELECT count(*) FROM seckill.stat_items'), 0, 'and resets its own');
cmp_ok(total(1, 'calls'), '>', 0, 'only');

# the slot of a dropped database is reused
my $rows = 0;
foreach my $n (1 .. 35)
{
	sql('DROP DATABASE IF EXISTS passing');
	sql('CREATE DATABASE passing WITH TEMPLATE other');
	$rows += $node->safe_psql('passing', 'SELECT count(*) FROM seckill.stat_worker');
}
is($rows, 35, 'each of more databases than there is room for has been counted');

# pg_monitor can read the views without privileges on the tables
sql('CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
is( $node->safe_psql('postgres',
		'SELECT count(*) FROM seckill.stat_items WHERE item_id = 2; SELECT count(*) FROM seckill.stat_worker',
		extra_params => [ '-U', 'watcher' ]),
	"1\n1", 'pg_monitor reads');
check_audit($node, 'before the crash');

# the starts of workers are logged
my $log = slurp_file($node->logfile);
like($log, qr/LOG:  seckill queue worker started in database \d+\n/, 'a start is logged');
unlike($log, qr/Starts that failed/, 'no failed start is logged');
sql(q{UPDATE seckill.items SET stock = stock + 5 WHERE item_id = 3; SELECT seckill_buy(3, 1, 'queue')});
my $starts = sql('SELECT starts FROM seckill.stat_worker');
my $logged = () = slurp_file($node->logfile) =~ /seckill queue worker started/g;
sql('SELECT pg_terminate_backend(' . worker_pid($node) . ', 60000)');
sql(q{SELECT seckill_buy(3, 1, 'queue')});
is(sql('SELECT starts FROM seckill.stat_worker'), $starts + 1, 'a restart is counted');
my $again = () = slurp_file($node->logfile) =~ /seckill queue worker started/g;
is($again, $logged + 1, 'the next start is logged');

# a crash resets the counters
sql('SELECT seckill_prewarm(2, 10)');
$node->stop('immediate');
$node->start;
is(sql('SELECT count(*) FROM seckill.stat_items'), 0, 'zero after a crash');
is(sql('SELECT starts, batches, decided, refills, settles FROM seckill.stat_worker'), '0|0|0|0|0', 'all of it');
is(sql('SELECT seckill_recall(2)'), 10, 'the lease is settled');
is(sql('SELECT settles, settled_units FROM seckill.stat_worker'), '1|10', 'which is counted');

# a cache with one entry: its counters start at zero with each item
$node->append_conf('postgresql.conf', "seckill.max_items = 1\n");
$node->restart;
sql('UPDATE seckill.items SET stock = 100, require_token = false');
sql(q{SELECT seckill_buy(1, 1, 'retry'); SELECT seckill_buy(1, 1, 'retry')});
is(sql('SELECT item_id, mode, calls, units FROM seckill.stat_items'), '1|retry|2|2', 'the first item');
sql(q{SELECT seckill_buy(2, 1, 'retry')});
is(sql('SELECT item_id, mode, calls, units FROM seckill.stat_items'), '2|retry|1|1', 'the second has its place');
sql(q{SELECT seckill_buy(1, 1, 'retry')});
is(sql('SELECT item_id, mode, calls, units FROM seckill.stat_items'), '1|retry|1|1', 'the first again, from zero');

# no entry is available
sql('SELECT seckill_prewarm(1)');
sql(q{SELECT seckill_buy(2, 1, 'retry', 2); SELECT seckill_buy(3, 1, 'cache'); SELECT seckill_buy(3, 2, 'queue')});
is(sql('SELECT item_id, mode, calls, units FROM seckill.stat_items WHERE item_id IS NULL ORDER BY mode'),
	"|retry|1|2\n|advisory|1|1\n|queue|1|1", 'items without an entry are counted together');
check_audit($node, 'at the end');

# without the library preloaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is(sql(q{SELECT outcome FROM seckill_buy(2, 1, 'retry')}), 'sold', 'a call without shared memory');
is(sql('SELECT count(*) FROM seckill.stat_items'), 0, 'is not counted');
is(sql('SELECT count(*) FROM seckill.stat_worker'), 0, 'nor is anything else');
is(sql('SELECT seckill_stat_reset()'), '', 'reset does nothing');

$node->stop;
done_testing();
