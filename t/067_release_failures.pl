# Scheduled releases are done exactly once: crashes, a promotion, other
# databases, a restored dump, DROP EXTENSION, a clock that is set.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('releases', streaming => 1, conf => <<'EOC');
seckill.lease_units = 20
seckill.naptime = 1s
restart_after_crash = on
EOC
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql
{
	my ($text, $db, $on) = @_;
	return ($on // $node)->safe_psql($db // 'postgres', $text);
}

# Wait until so many releases are undone.
sub await_left
{
	my ($left, $message, $db, $on) = @_;
	ok( ($on // $node)->poll_query_until($db // 'postgres',
			"SELECT count(*) = $left FROM seckill.releases WHERE done_at IS NULL"),
		$message);
	return;
}

# Each item has the units of its done releases, no more and no less.
sub check_once
{
	my ($message, $db, $on) = @_;
	is(sql(<<'EOC', $db, $on), '', "each once: $message");
SELECT i.item_id, i.supplied, r.units
FROM seckill.items i, LATERAL (
	SELECT coalesce(sum(units), 0) AS units FROM seckill.releases r
	WHERE r.item_id = i.item_id AND done_at IS NOT NULL) r
WHERE i.supplied <> r.units
EOC
	check_audit($on // $node, $message, $db);
	return;
}

# crashes while releases are due all the time, and buyers are there
sql('INSERT INTO seckill.items (item_id, stock) SELECT n, 0 FROM generate_series(1, 20) n');
foreach my $round (1 .. 6)
{
	my $stop = start_crowd($node, 16, map { "\\set i random(1, 20)\nSELECT outcome FROM seckill_buy(:i, 1, '$_');\n" } @modes);
	my $done = sql('SELECT count(*) FROM seckill.releases WHERE done_at IS NOT NULL');

	sql("INSERT INTO seckill.releases (item_id, release_at, units) SELECT n % 20 + 1, clock_timestamp() + n * interval '2 ms', 1 + n % 3 FROM generate_series(1, 1500) n");
	ok( $node->poll_query_until('postgres', "SELECT count(*) > $done + 50 * $round FROM seckill.releases WHERE done_at IS NOT NULL"),
		"releases are done, round $round");
	$node->stop($round % 2 ? 'immediate' : 'fast');
	$stop->();
	$node->start;
	check_once("after stop $round");
}
await_left(0, 'those that were due while the server was down are done');
is(sql('SELECT count(*), sum(supplied) FROM seckill.items'), '20|' . 6 * 3000, 'all units are supplied');
check_once('after all crashes');

# the worker is killed: the server restarts
sql("INSERT INTO seckill.releases (item_id, release_at, units) SELECT n % 20 + 1, clock_timestamp() + n * interval '5 ms', 1 FROM generate_series(1, 1000) n");
my $pid = '';
foreach (1 .. 1800)
{
	$pid = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'});
	last if $pid ne '';
}
kill 'KILL', $pid;
# a connection may break while the server restarts
my $left = '';
foreach (1 .. 1800)
{
	$left = eval { sql('SELECT count(*) FROM seckill.releases WHERE done_at IS NULL') } // '';
	last if $left eq '0';
	select undef, undef, undef, 0.1;
}
is($left, 0, 'all are done after that');
like(slurp_file($node->logfile), qr/terminated by signal 9/, 'it was killed');
check_once('after a kill');

# a promotion, with releases that were due before and come due after
my $standby = seckill_standby($node);
# those of one item wait for its row, so that some are left for the standby
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id = 1 FOR UPDATE');
sql("INSERT INTO seckill.releases (item_id, release_at, units) SELECT n % 20 + 1, clock_timestamp() + n * interval '10 ms', 1 FROM generate_series(1, 400) n");
ok($node->poll_query_until('postgres', 'SELECT count(*) < 300 FROM seckill.releases WHERE done_at IS NULL'), 'some are done');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(sql("SELECT count(*) > 0 FROM seckill.releases WHERE done_at IS NULL", 'postgres', $standby), 't', 'the standby does none');
$node->stop('immediate');
$standby->promote;
await_left(0, 'the new primary does the rest', 'postgres', $standby);
check_once('after a promotion', 'postgres', $standby);
is(sql('SELECT sum(supplied) FROM seckill.items', 'postgres', $standby), 6 * 3000 + 1400, 'all units are supplied');
$standby->stop;
$node->start;
await_left(0, 'so does the old one, for itself');

# two databases, at the same time
sql('CREATE DATABASE other');
sql('CREATE EXTENSION seckill; INSERT INTO seckill.items (item_id, stock) SELECT n, 0 FROM generate_series(1, 20) n', 'other');
sql("INSERT INTO seckill.releases (item_id, release_at, units) SELECT n % 20 + 1, clock_timestamp() + n * interval '5 ms', 1 FROM generate_series(1, 200) n", $_)
  foreach qw(postgres other);
await_left(0, "all are done in database $_", $_) foreach qw(postgres other);
check_once("database $_", $_) foreach qw(postgres other);

# a dump with releases that are done, overdue and planned
sql("INSERT INTO seckill.items (item_id, stock) VALUES (30, 0), (31, 0)", 'other');
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (30, now(), 5), (31, 'infinity', 6)", 'other');
await_left(1, 'one is done', 'other');
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (30, clock_timestamp() + '3 s', 7)", 'other');
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', 'other' ], 'a dump');
await_left(1, 'it is due after the dump', 'other');
sql('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-j', 2, '-d', 'restored', $dump ], 'is restored');
await_left(1, 'what is overdue is done', 'restored');
check_once('restored', 'restored');
is(sql('SELECT item_id, supplied FROM seckill.items WHERE item_id >= 30 ORDER BY 1', 'restored'), "30|12\n31|0", 'what was done is not done again');
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (31, now(), 1)", 'restored');
await_left(1, 'the numbers of releases go on', 'restored');

# dropped with planned releases, and created again
sql('DROP EXTENSION seckill CASCADE; CREATE EXTENSION seckill', 'restored');
sql("INSERT INTO seckill.items (item_id, stock) VALUES (1, 0); INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, now(), 1)", 'restored');
await_left(0, 'releases after DROP EXTENSION', 'restored');
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, clock_timestamp() + '300 ms', 1)", 'restored');
sql('TRUNCATE seckill.items, seckill.orders, seckill.units, seckill.releases', 'restored');
sql("INSERT INTO seckill.items (item_id, stock) VALUES (1, 0); INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, clock_timestamp() + '500 ms', 2)", 'restored');
await_left(0, 'releases after TRUNCATE', 'restored');
check_once('truncated', 'restored');
sql('DROP DATABASE restored');
$node->stop;

# a clock that is set: forward, what is overdue by it is done; back, what is done
# stays done, and what is ahead waits
SKIP:
{
	skip 'this system cannot preload a clock', 8 if $^O ne 'linux';
	$node = clock_node('clock', conf => "seckill.naptime = 1s\n");
	sql('INSERT INTO seckill.items (item_id, stock) VALUES (1, 0)');
	sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, clock_timestamp() + '1 hour', 1), (1, clock_timestamp() + '5 hours', 2)");
	set_clock(7200);
	await_left(1, 'the clock is set forward');
	is(sql('SELECT stock FROM seckill.items'), 1, 'by two hours');
	set_clock(-86_400);
	sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, clock_timestamp() + '300 ms', 4)");
	await_left(1, 'the clock is set back');
	is(sql('SELECT stock FROM seckill.items'), 5, 'what was done is not done again');
	set_clock(0);
	sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, clock_timestamp() + '300 ms', 8)");
	await_left(1, 'the clock is right again');
	is(sql('SELECT stock FROM seckill.items'), 13, 'and one waits for its time');
	check_once('after the clock was set');
	$node->stop;
}
done_testing();
