# Purchases of a split item that need units of another node, where transactions are
# more than one statement: prepared ones, savepoints, snapshots that are too old,
# triggers that are off, pipelines, cancels and timeouts, a full stock cache, a second
# database, row level security.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use SplitTest;
use Test::More;

needs_contrib('dblink');

my @nodes = start_nodes(3);
my @row_modes = qw(optimistic retry pessimistic advisory);
my $item = 0;

# A new item, all of whose units are at home.
sub split_item
{
	my ($stock) = @_;

	$item++;
	sql(1, qq{SELECT seckill_put_item($item, '{"stock": $stock, "pay_within": "1 hour"}')});
	sql(1, "CALL seckill_split($item, '{1,2,3}')");
	return $item;
}

# Call a function of the outcome until it is known; $run returns outcomes.
sub until_known
{
	my ($run) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my $outcome = 'busy';

	$outcome = $run->() while $outcome =~ /busy/ && time < $end;
	return $outcome;
}

# A user of a node, who has not bought.
sub user
{
	my ($node) = @_;
	return shift @{ users($node) };
}


sub settled
{
	my ($numbers, $name) = @_;
	my $audit = '';
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $end)
	{
		last if ($audit = audit($item)) =~ /^\Q$numbers\E\|0\|(?:ok|in transit)$/;
	}
	like($audit, qr/^\Q$numbers\E\|0\|(?:ok|in transit)$/, $name);
	check_cache($_, $name) foreach @nodes;
	return;
}

# PREPARE TRANSACTION
split_item(8);
my $n = 0;
foreach my $mode (@row_modes)
{
	my $user = user(2);
	my $sold = until_known(sub {
		my $outcome = sql(2, "BEGIN; SELECT outcome FROM seckill_buy($item, $user, '$mode', 2); PREPARE TRANSACTION 'p'") =~ s/\n.*//sr;

		sql(2, "ROLLBACK PREPARED 'p'") if $outcome eq 'busy';
		return $outcome;
	});

	is($sold, 'sold', "$mode with units of another node, prepared");
	if ($sold ne 'sold') { sql(2, "ROLLBACK PREPARED 'p'"); next; }
	is(sql(1, "SET seckill.move_wait = '200ms'; SELECT outcome FROM seckill_buy($item, ${\users(1)->[0]}, 'retry', 8)"), 'busy',
		'its units may come back, so nothing is sold out');
	sql(2, ($n++ % 2 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p'");
}
my ($rc, $out, $err) = $nodes[1]->psql('postgres', "BEGIN; SELECT outcome FROM seckill_buy($item, ${\user(2)}, 'cache'); PREPARE TRANSACTION 'p'");
like($err, qr/cannot prepare a transaction that holds units/, 'units of the cache are not prepared');
settled('8|4|4', 'after prepared transactions');

# Savepoints that are rolled back: the units are for sale again, here and elsewhere.
split_item(3);
foreach my $mode (@row_modes, 'cache')
{
	my $user = user(2);
	my $got = until_known(sub { sql(2, <<"EOC") =~ s/\n/ /gr });
BEGIN; SAVEPOINT a; SELECT outcome FROM seckill_buy($item, $user, '$mode'); ROLLBACK TO a;
SELECT count(*) FROM seckill.orders WHERE item_id = $item; COMMIT;
EOC
	is($got, 'sold 0', "$mode in a savepoint that is rolled back");
}
is(until_known(sub { sql(2, "BEGIN; SAVEPOINT a; SELECT FROM seckill_buy($item, ${\users(2)->[0]}, 'cache'); ROLLBACK TO a;"
		. " SELECT outcome FROM seckill_buy($item, ${\users(2)->[0]}, 'cache'); COMMIT") =~ s/.*\n//sr }), 'sold', 'then bought in the same transaction');
my $caught = until_known(sub { sql(3, <<"EOC") });
DO \$\$ BEGIN
	BEGIN PERFORM outcome FROM seckill_buy($item, ${\users(3)->[0]}, 'cache', 2); RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END;
END \$\$;
SELECT outcome FROM seckill_buy($item, ${\users(3)->[0]}, 'cache', 2);
EOC
is($caught, 'sold', 'an error that is caught returns the units');
settled('3|0|3', 'after savepoints');
is(buy($_, $item, 'cache', 1), 'sold_out', "all are sold: node $_") foreach 1 .. 3;

# Snapshots: the units arrive after the snapshot was taken.
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	split_item(7);
	foreach my $mode (@row_modes, 'cache', 'auto')
	{
		my $user = user(2);
		my $tries = 0;
		my $outcome = until_known(sub {
			my (undef, $outcome, $error) = $nodes[1]->psql('postgres',
				"BEGIN ISOLATION LEVEL $level; SELECT 'snapshot'; SELECT outcome FROM seckill_buy($item, $user, '$mode'); COMMIT");
			return $outcome =~ s/.*\n//sr if !$error;
			like($error, qr/could not serialize/, "$level, $mode: an error to retry");
			return 'busy';
		});
		is($outcome, 'sold', "$level, $mode");
	}
	is(until_known(sub { my (undef, $o, $e) = $nodes[2]->psql('postgres',
			"BEGIN ISOLATION LEVEL $level; SELECT outcome FROM seckill_buy($item, ${\users(3)->[0]}, 'cache'); COMMIT"); $e ? 'busy' : $o }),
		'sold', "$level: the last unit on another node");
	settled('7|0|7', "after $level");
	is(buy(1, $item, 'retry', 1), 'sold_out', "$level: all are sold");
}

# Triggers that are off, as on a replica
split_item(2);
is(until_known(sub { sql(2, "SET session_replication_role = replica; SELECT outcome FROM seckill_buy($item, ${\users(2)->[0]}, 'cache', 2)") }),
	'sold', 'session_replication_role = replica');
is(buy(3, $item, 'cache', 1), 'sold_out', 'all are sold');
my $order = sql(2, "SELECT order_id FROM seckill.orders WHERE item_id = $item");
is(sql(2, "SET session_replication_role = replica; SELECT seckill_cancel($item, $order)"), 'cancelled', 'cancelled without triggers');
is(buy(3, $item, 'cache', 2), 'sold', 'and sold elsewhere');
settled('2|0|2', 'without triggers');

# A pipeline is one transaction: what it has bought keeps locks that the exchange needs.
split_item(30);
foreach my $mode ('cache', 'retry')
{
	my $user = user(2);
	my $script = $nodes[1]->basedir . "/pipeline.$mode.sql";

	append_to_file($script, "\\startpipeline\n" . "SELECT outcome FROM seckill_buy($item, $user, '$mode', 3);\n" x 3 . "\\endpipeline\n");
	$nodes[1]->command_ok([ qw(pgbench -n -M extended -c 1 -t 5 -h), $nodes[1]->host, '-p', $nodes[1]->port, '-f', $script, 'postgres' ],
		"pipelines: $mode");
}
my $sold = sql(2, "SELECT coalesce(sum(quantity), 0) FROM seckill.orders WHERE item_id = $item");
cmp_ok($sold, '>=', 9, 'they have bought');
settled('30|' . (30 - $sold) . "|$sold", 'after pipelines');
is(buy(3, $item, 'retry', 30 - $sold), 'sold', 'the rest is sold elsewhere') if $sold < 30;

# Whoever waits for its share can be cancelled, in time and at once, and leaves nothing.
split_item(2);
my $home = $nodes[0]->background_psql('postgres', on_error_stop => 1);
$home->query_safe("BEGIN; SELECT FROM seckill.items WHERE item_id = $item FOR UPDATE;");
foreach my $mode (@row_modes, 'cache')
{
	my $user = user(2);
	my $wait = "SET seckill.move_wait = '30s';";

	fails(2, "$wait SET statement_timeout = '300ms'; SELECT seckill_buy($item, $user, '$mode')", qr/due to statement timeout/, "statement_timeout: $mode");
	foreach my $end ('cancel', 'terminate')
	{
		my ($stdin, $stdout, $stderr) = ('', '', '');
		my $psql = IPC::Run::start([ qw(psql -XAtq -d), $nodes[1]->connstr('postgres') . q{ application_name='waits'}, '-c', $wait,
			'-c', "SELECT outcome FROM seckill_buy($item, $user, '$mode')" ], '<', \$stdin, '>', \$stdout, '2>', \$stderr);

		$nodes[1]->poll_query_until('postgres',
			q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waits' AND wait_event_type = 'Extension'}) or die "$mode does not wait";
		sql(2, "SELECT pg_${end}_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
		$psql->finish;
		like($stderr, qr/due to user request|due to administrator command/, "pg_${end}_backend: $mode");
		$nodes[1]->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'waits'}) or die;
	}
}
is(sql(2, "SELECT count(*) FROM seckill.orders WHERE item_id = $item"), '0', 'no order is left');
is(sql(2, "SELECT coalesce(sum(held), 0) FROM seckill.stock WHERE item_id = $item"), '0', 'and nothing on hold');
$home->query_safe('COMMIT;');
$home->quit;
is(buy(2, $item, 'cache', 2), 'sold', 'then the units come');
settled('2|0|2', 'after cancels');

# A second database has shares of its own of items of the same numbers.
foreach my $i (0, 1)
{
	$nodes[$i]->safe_psql('postgres', 'CREATE DATABASE two');
	$nodes[$i]->safe_psql('two', 'CREATE EXTENSION seckill_cluster CASCADE; SELECT seckill_join(' . ($i + 1) . ')');
}
foreach my $i (0, 1)
{
	my $server = $nodes[ 1 - $i ]->connstr('two');
	$nodes[$i]->safe_psql('two', 'SELECT seckill_add_node(' . (2 - $i) . ", \$\$$server\$\$)");
}
split_item(1);
$nodes[0]->safe_psql('two', qq{SELECT seckill_put_item($item, '{"stock": 4}'); CALL seckill_split($item, '{1,2}')});
my $stranger = $nodes[0]->safe_psql('two', q{SELECT u FROM generate_series(1, 100) u WHERE seckill_split_node('{1,2}', u) = 2 LIMIT 1});
my $in_two = sub { my ($q) = @_; until_known(sub { $nodes[1]->safe_psql('two', "SELECT outcome FROM seckill_buy($item, $stranger, 'cache', $q)") }) };
is(buy(2, $item, 'cache', 1), 'sold', 'the only unit here');
is(buy(2, $item, 'cache', 1), 'sold_out', 'which it was');
is($in_two->(3), 'sold', 'the item of the same number in another database has units');
is($in_two->(2), 'sold_out', 'until it has fewer');
is(buy(2, $item, 'cache', 1), 'sold_out', 'which is nothing to this one');
is($in_two->(1), 'sold', 'nor this to that one');
$_->safe_psql('postgres', 'DROP DATABASE two WITH (FORCE)') foreach @nodes[ 0, 1 ];

# Row level security does not apply to the extension, on any node.
split_item(6);
foreach my $i (1 .. 3)
{
	sql($i, <<'EOC');
CREATE ROLE shop; GRANT ALL ON SCHEMA seckill TO shop; GRANT ALL ON ALL TABLES IN SCHEMA seckill TO shop;
ALTER TABLE seckill.items OWNER TO shop; ALTER TABLE seckill.orders OWNER TO shop;
ALTER TABLE seckill.items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY nobody ON seckill.items USING (1 / (item_id - item_id) = 0);
CREATE POLICY nobody ON seckill.orders USING (1 / (item_id - item_id) = 0);
EOC
}
foreach my $mode (@row_modes, 'cache', 'queue')
{
	is(buy(2, $item, $mode, 1), 'sold', "FORCE ROW LEVEL SECURITY: $mode");
}
is(buy(3, $item, 'cache', 1), 'sold_out', 'FORCE ROW LEVEL SECURITY: all are sold');
settled('6|0|6', 'row level security');
foreach my $i (1 .. 3)
{
	sql($i, <<'EOC');
DROP POLICY nobody ON seckill.items; DROP POLICY nobody ON seckill.orders;
ALTER TABLE seckill.items DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY, OWNER TO CURRENT_USER;
ALTER TABLE seckill.orders DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY, OWNER TO CURRENT_USER;
EOC
}

# A stock cache that is full: the item is sold from its row, without an entry that could
# remember that it is sold out.
$_->append_conf('postgresql.conf', "seckill.max_items = 1\n") foreach @nodes;
$_->restart foreach @nodes;
sql($_, q{SELECT seckill_put_item(1000, '{"stock": 10}'); SELECT seckill_prewarm(1000, 5)}) foreach 1 .. 3;
split_item(9);
foreach my $mode (@row_modes, 'cache', 'queue', 'auto')
{
	is(buy(2, $item, $mode, 1), 'sold', "a full stock cache: $mode");
}
is(buy(3, $item, 'cache', 2), 'sold', 'a full stock cache: the last units');
foreach my $mode (@row_modes, 'cache', 'queue')
{
	is(buy($_, $item, $mode, 1), 'sold_out', "a full stock cache: node $_, $mode") foreach 1 .. 3;
}
$order = sql(2, "SELECT order_id FROM seckill.orders WHERE item_id = $item LIMIT 1");
is(sql(2, "SELECT seckill_cancel($item, $order)"), 'cancelled', 'a full stock cache: cancelled');
is(buy(3, $item, 'cache', 1), 'sold', 'and sold elsewhere');
settled('9|0|9', 'a full stock cache');

check_audit($_, 'at the end') foreach @nodes;
$_->stop foreach @nodes;
done_testing();
