# Nothing grows or is held without bound: the memory of sessions and background
# processes, the row of an item, and the snapshots, transactions and locks of
# idle or waiting processes.  torture/soak.sh, in make torture, is the long form.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $purchases = 10_000;
# a leak of one byte per purchase allocates 16 bytes at least, 160 kB in all
my $tolerance = 64 * 1024;
my $node = seckill_node(
	'soak', conf => <<'EOC');
fsync = off
autovacuum = off
log_line_prefix = ''
seckill.queue_idle_time = 10min
seckill.queue_size = 20000
EOC
my $ours = q{FROM pg_stat_activity WHERE backend_type LIKE 'seckill %'};

sub sql
{
	my ($text) = @_;
	return $node->safe_psql('postgres', $text);
}

# The pid of a process of the extension, once it has started.
sub pid_of
{
	my ($type) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 $ours AND backend_type = 'seckill $type'")
	  or die "no $type";
	return sql("SELECT pid $ours AND backend_type = 'seckill $type'");
}

# Bytes that a process of the extension uses, as it logs them.
sub used_by
{
	my ($pid) = @_;
	my $seen = -s $node->logfile;
	my $used;

	sql("SELECT pg_log_backend_memory_contexts($pid)");
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $log = slurp_file($node->logfile, $seen);
		($used) = $log =~ /logging memory contexts of PID $pid\n.*?Grand total:.* (\d+) used/s;
		last if defined $used;
		select(undef, undef, undef, 0.1);
	}
	return $used;
}

sub is_flat
{
	my ($before, $after, $what) = @_;
	cmp_ok($after - $before, '<', $tolerance, "$what: flat after $purchases purchases")
	  or diag("$before bytes, then $after");
	return;
}

sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2000000000), (2, 2000000000), (3, 2000000000);
UPDATE seckill.items SET pay_within = '1 ms' WHERE item_id = 2;
UPDATE seckill.items SET pay_within = '1 ms' WHERE item_id = 3;
CREATE PROCEDURE buy(mode seckill_mode, n integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM seckill_buy(1, i, mode, request_id => CASE WHEN i % 10 = 0 THEN gen_random_uuid() END);
		COMMIT;
	END LOOP;
END
$$;
-- Wait until a process waits for a lock, and until that transaction has ended.
CREATE PROCEDURE await_wait(type text) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
		SELECT xact_start INTO began FROM pg_stat_activity
			WHERE backend_type = type AND wait_event_type = 'Lock';
		EXIT WHEN began IS NOT NULL;
	END LOOP;
	LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
		EXIT WHEN EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type = type AND xact_start IS DISTINCT FROM began);
	END LOOP;
	ASSERT clock_timestamp() < began + interval '1 min', 'it waited for too long';
END
$$;
CREATE FUNCTION cannot() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE TRIGGER stuck BEFORE UPDATE ON seckill.orders FOR EACH ROW
	WHEN (NEW.user_id = -1 AND NEW.state = 'expired') EXECUTE FUNCTION cannot();
EOC

# a session, in each mode
my $memory = 'SELECT sum(used_bytes) FROM pg_backend_memory_contexts';
my $session = $node->background_psql('postgres');
foreach my $mode (qw(optimistic retry pessimistic advisory cache auto))
{
	$session->query_safe("CALL buy('$mode', 500); $memory");
	my $before = $session->query_safe($memory);
	$session->query_safe("CALL buy('$mode', $purchases)");
	is_flat($before, $session->query_safe($memory), "session in mode $mode");
}

# the queue: batches of all sizes, by a session and its worker
sub buy_in_queue
{
	my ($n) = @_;

	for (my $size = 1; $n > 0; $size = $size < 500 ? $size + 1 : 500)
	{
		$size = $n if $size > $n;
		$session->query_safe("SELECT max(ticket) AS ticket FROM generate_series(1, $size) n, seckill_submit(1, n) \\gset\n"
			  . 'SELECT count(*) FROM seckill_result(:ticket, $$1 min$$)');
		$n -= $size;
	}
	return;
}
buy_in_queue(1000);
my $worker = pid_of('queue worker');
my @before = ($session->query_safe($memory), used_by($worker));
buy_in_queue($purchases);
is_flat($before[0], $session->query_safe($memory), 'session that submits');
is_flat($before[1], used_by($worker), 'queue worker');
is(pid_of('queue worker'), $worker, 'it is the same worker');

# expiry; an order that cannot expire keeps the maintenance worker running
sub expire
{
	my ($n) = @_;

	$session->query_safe("SELECT count(*) FROM seckill_buy_many(2, ARRAY(SELECT generate_series(1, 1000)::bigint))") for 1 .. $n / 1000;
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM seckill.orders WHERE state = 'pending' AND user_id > 0}),
		"$n orders expire");
	return;
}
sql('SELECT seckill_buy(3, -1)');
expire(2000);
my $maintenance = pid_of('maintenance worker');
my $launcher = pid_of('launcher');
@before = (used_by($maintenance), used_by($launcher));
expire($purchases);
is_flat($before[0], used_by($maintenance), 'maintenance worker');
is_flat($before[1], used_by($launcher), 'launcher');
is(pid_of('maintenance worker'), $maintenance, 'the maintenance worker is the same process');

# the row of an item
cmp_ok(sql(q{SELECT pg_relation_size('seckill.items') / 8192}), '<=', 8, 'the items have few pages');
$session->query_safe('SELECT pg_stat_force_next_flush()');
cmp_ok(sql(q{SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'seckill.items'::regclass}),
	'>', 4 * $purchases, 'after many updates');
is(sql(q{SELECT max(pg_relation_size(indexrelid)) / 8192 FROM pg_index WHERE indrelid = 'seckill.items'::regclass}),
	2, 'an index still has one leaf page');

# idle processes hold nothing
ok($node->poll_query_until('postgres', <<"EOC"), 'idle processes have no transaction, snapshot or lock');
SELECT count(*) = 3 AND bool_and(xact_start IS NULL AND backend_xid IS NULL AND backend_xmin IS NULL
	AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid))
FROM pg_stat_activity a WHERE backend_type LIKE 'seckill %'
EOC
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND coalesce(backend_xid, backend_xmin) IS NOT NULL}),
	0, 'an idle session has no lock');
is(sql("SELECT state FROM pg_stat_activity WHERE pid = $worker"), 'idle', 'the worker is idle');
$session->query_safe('SELECT pg_stat_force_next_flush()');
ok( $node->poll_query_until('postgres',
		q{SELECT n_tup_ins = (SELECT count(*) FROM seckill.orders) FROM pg_stat_user_tables WHERE relid = 'seckill.orders'::regclass}),
	'and has reported what it did');

# a process waits for a locked row in short transactions
sql('SELECT seckill_prewarm(2, 10)');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id IN (1, 2) FOR UPDATE');
sql(q{SELECT seckill_submit(1, 1), seckill_buy(2, 1, 'cache')});
foreach my $type ('queue worker', 'maintenance worker')
{
	is(sql("SET statement_timeout = '3min'; CALL await_wait('seckill $type')"),
		'', "the $type waits for a locked row, with a short timeout");
}
$holder->quit;
ok($node->poll_query_until('postgres', 'SELECT backlog = 0 FROM seckill.stat_worker'), 'the processes continue when the row is unlocked');

# old orders are archived during the sale, as docs/operations.md says
my ($clear_out) = slurp_file("$FindBin::RealBin/../docs/operations.md") =~ /```sql\n(SELECT seckill_recall[^`]*WITH gone[^`]*)```/;
$session->query_safe("SELECT seckill_buy(1, 1, 'cache')");
$session->query_safe($clear_out =~ s/1 day/0 s/r);
is(sql('SELECT count(*) FROM seckill.orders WHERE item_id = 1'), 0, 'old orders are cleared out');
$session->quit;
check_audit($node, 'at the end');

$node->stop;
done_testing();
