# Scheduled releases: units are on sale at their time, once, whoever is in the
# way.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('releases', conf => <<'EOC');
seckill.lease_units = 20
seckill.naptime = 1s
log_min_messages = debug1
max_prepared_transactions = 5
EOC
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql
{
	my ($text, $db) = @_;
	return $node->safe_psql($db // 'postgres', $text);
}

# Plan a release for so long after now.
sub plan_release
{
	my ($item, $units, $after) = @_;
	sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES ($item, clock_timestamp() + interval '$after', $units)");
	return;
}

sub outcomes
{
	my ($item, $user) = @_;
	return join ' ', map { sql("SELECT outcome FROM seckill_buy($item, $user, '$_')") } @modes;
}

my $none = join ' ', ('sold_out') x @modes;
my $all = join ' ', ('sold') x @modes;

# a release in each of these modes' way: refused before, sold after
add_item($node, 1, 0);
is(outcomes(1, 1), $none, 'nothing is on sale');
is(outcomes(1, 1), $none, 'which the cache knows');
plan_release(1, 3, '1 hour');
plan_release(1, 7, '2 hours');
is(sql('SELECT supplied, difference FROM seckill_audit(1)'), '0|0', 'what is planned is not supplied');
is(sql('SELECT planned FROM seckill.stock WHERE item_id = 1'), 10, 'but shown');
sql("UPDATE seckill.releases SET release_at = clock_timestamp() + '1 s' WHERE units = 7");
await_releases($node, 1, 1, 'a release is done');
is(sql('SELECT count(*) FROM seckill.releases WHERE done_at < release_at'), 0, 'not before its time');
is(outcomes(1, 1), $all, 'every mode sells its units');
is(outcomes(1, 1), $none, 'and no others');
ok($node->poll_query_until('postgres', 'SELECT releases = 1 FROM seckill.stat_worker'), 'it is counted');
is(sql('SELECT supplied, stock, planned FROM seckill.stock JOIN seckill.items USING (item_id, stock)'), '7|0|3', 'and supplied');
$node->wait_for_log(qr/done 1 releases of 1 items/);

# moved forward and back by hand
sql('UPDATE seckill.releases SET release_at = now() WHERE item_id = 1 AND done_at IS NULL');
await_releases($node, 1, 2, 'a release whose time was moved to now');
is(sql('SELECT stock FROM seckill.items WHERE item_id = 1'), 3, 'it has its units');
sql(<<'EOC');
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, clock_timestamp() + interval '3 s', 5);
UPDATE seckill.releases SET release_at = 'infinity' WHERE done_at IS NULL;
EOC
plan_release(1, 1, '3 s');
await_releases($node, 1, 3, 'a later one');
is(sql('SELECT stock, planned FROM seckill.stock WHERE item_id = 1'), '4|5', 'a postponed one is not done');
sql('DELETE FROM seckill.releases WHERE done_at IS NULL');

# what is rolled back is not done, what nobody announces is
add_item($node, 2, 0);
sql("BEGIN; INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, now(), 1); ROLLBACK");
sql("BEGIN; SAVEPOINT s; INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, now(), 2); ROLLBACK TO s; COMMIT");
sql("BEGIN; INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, now(), 4); PREPARE TRANSACTION 'x'");
sql("COMMIT PREPARED 'x'");
await_releases($node, 2, 1, 'a release of a prepared transaction');
is(sql('SELECT stock FROM seckill.items WHERE item_id = 2'), 4, 'and no other');
sql("ALTER TABLE seckill.releases DISABLE TRIGGER releases_change");
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, '-infinity', 8), (2, now(), 16)");
await_releases($node, 2, 3, 'releases that no trigger has announced');
sql("ALTER TABLE seckill.releases ENABLE ALWAYS TRIGGER releases_change");

# many in one batch and more
sql('INSERT INTO seckill.items (item_id, stock) SELECT n, 0 FROM generate_series(1001, 1300) n');
sql("INSERT INTO seckill.releases (item_id, release_at, units) SELECT n, clock_timestamp() + interval '500 ms', m FROM generate_series(1001, 1300) n, generate_series(1, 3) m");
ok( $node->poll_query_until('postgres',
		'SELECT count(*) = 900 FROM seckill.releases WHERE item_id > 1000 AND done_at IS NOT NULL'),
	'three releases of each of 300 items');
is(sql('SELECT DISTINCT stock, supplied FROM seckill.items WHERE item_id > 1000'), '6|6', 'each once');
note('last of 900, in s: ' . sql('SELECT max(done_at - release_at) FROM seckill.releases WHERE item_id > 1000'));

# a locked row of an item, a locked release, and a locked table
add_item($node, $_, 0) foreach 3 .. 5;
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id = 3 FOR UPDATE;');
plan_release(3, 1, '100 ms') foreach 1 .. 150;
plan_release(4, 1, '300 ms');
await_releases($node, 4, 1, 'a release beside a locked row');
sql("INSERT INTO seckill.orders (item_id, user_id, quantity, mode, state, pay_by) VALUES (3, 1, 1, 'cache', 'pending', now())");
my $locked = sql("SELECT clock_timestamp() + '4 s'");
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (4, '$locked', 1)");
await_releases($node, 4, 2, 'one while an order and releases wait for a locked row');
note('delay beside a locked row, in s: ' . sql("SELECT done_at - release_at FROM seckill.releases WHERE release_at = '$locked'"));
is(sql('SELECT count(*) FROM seckill.releases WHERE item_id = 3 AND done_at IS NOT NULL'), 0, 'those of the locked row wait');
$holder->query_safe('COMMIT;');
await_releases($node, 3, 150, 'and are done when it is unlocked');
$holder->query_safe("BEGIN; INSERT INTO seckill.releases (item_id, release_at, units) VALUES (5, 'infinity', 1); COMMIT; BEGIN; SELECT FROM seckill.releases WHERE item_id = 5 FOR UPDATE;");
plan_release(5, 2, '100 ms');
await_releases($node, 5, 1, 'one beside a locked release');
$holder->query_safe('UPDATE seckill.releases SET release_at = now() WHERE units = 1 AND item_id = 5;');
plan_release(5, 2, '100 ms');
await_releases($node, 5, 2, 'and another');
$holder->query_safe('COMMIT;');
await_releases($node, 5, 3, 'the locked one is done when it is unlocked');
$holder->query_safe('BEGIN; LOCK TABLE seckill.releases;');
sql("INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (6, 5, '100 ms'); SELECT seckill_buy(6, 1, 'retry')");
ok($node->poll_query_until('postgres', "SELECT state = 'expired' FROM seckill.orders WHERE item_id = 6"),
	'an order expires while the table of releases is locked');
$holder->query_safe('ROLLBACK;');
$holder->quit;

# a crowd in mode pessimistic stands at the item
add_item($node, 7, 1_000_000);
local $ENV{PGAPPNAME} = 'crowd';
my $stop = start_crowd($node, 40, <<'EOC');
BEGIN;
SELECT outcome FROM seckill_buy(7, 1, 'pessimistic');
\sleep 15 ms
COMMIT;
EOC
ok($node->poll_query_until('postgres', 'SELECT count(*) > 5 FROM seckill.orders WHERE item_id = 7'), 'a crowd');
plan_release(7, 1, '10 ms');
await_releases($node, 7, 1, 'a release behind many waiters');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crowd' AND pid <> pg_backend_pid()");
$stop->();

# triggers of the application's: one that raises, on the item and on a release,
# and one that keeps a release undone
sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock) VALUES (11, 0), (12, 0), (13, 0);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_ARGV[0] = 'keep' THEN RETURN OLD; END IF;
	RAISE 'no more of item %', NEW.item_id;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON seckill.items
FOR EACH ROW WHEN (NEW.item_id = 11) EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE UPDATE ON seckill.releases
FOR EACH ROW WHEN (NEW.units = 13) EXECUTE FUNCTION refuse();
CREATE TRIGGER keep BEFORE UPDATE ON seckill.releases
FOR EACH ROW WHEN (NEW.units = 14) EXECUTE FUNCTION refuse('keep');
INSERT INTO seckill.releases (item_id, release_at, units)
SELECT n, clock_timestamp() + '300 ms', units FROM (VALUES (11, 1), (12, 13), (12, 14), (12, 2), (13, 3)) v (n, units);
EOC
await_releases($node, 13, 1, 'a release beside those whose triggers raise errors');
await_releases($node, 12, 1, 'one of an item with others that fail');
is(sql('SELECT item_id, stock FROM seckill.items WHERE item_id IN (11, 12, 13) ORDER BY 1'), "11|0\n12|2\n13|3", 'only they have their units');
$node->wait_for_log(qr/release \d+ of item 11 could not be done: no more of item 11/);
$node->wait_for_log(qr/release \d+ of item 12 could not be done: no more of item 12/);
$node->wait_for_log(qr/release \d+ of item 12 could not be done: release of item 12 was not updated/);
my $offset = -s $node->logfile;
sql('INSERT INTO seckill.releases (item_id, release_at, units) SELECT 11, now(), 1 FROM generate_series(1, 300)');
plan_release(13, 1, '500 ms');
$node->wait_for_log(qr/release of all units of item 11 is deferred/, $offset);
await_releases($node, 13, 2, 'a release beside many that fail');
my $failures = () = slurp_file($node->logfile, $offset) =~ /could not be done/g;
cmp_ok($failures, '<', 10, 'few failures are logged');
sql('DROP TRIGGER refuse ON seckill.items; DROP TRIGGER refuse ON seckill.releases; DROP TRIGGER keep ON seckill.releases');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'});
await_releases($node, 11, 301, 'all are done by a new worker');
await_releases($node, 12, 3, 'all are done by a new worker');

# too many units, and an item that does not exist (yet)
add_item($node, 14, 2147483647);
plan_release(14, 1, '0');
$node->wait_for_log(qr/release \d+ of item 14 could not be done: item 14 would have too many units/);
plan_release(15, 5, '0');
$node->wait_for_log(qr/release \d+ of item 15 could not be done: item 15 does not exist/);
sql('UPDATE seckill.items SET stock = 5 WHERE item_id = 14');
add_item($node, 15, 1);
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'});
await_releases($node, $_, 1, "done as soon as that is possible, item $_") foreach 14, 15;

# deleted items
plan_release($_, 5, '300 ms') foreach 1001 .. 1010;
sql('DELETE FROM seckill.items WHERE item_id BETWEEN 1001 AND 1010');
plan_release(1011, 5, '400 ms');
await_releases($node, 1011, 4, 'a release beside those of deleted items');
is(sql('SELECT count(*) FROM seckill.releases WHERE item_id BETWEEN 1001 AND 1010'), 0, 'they are deleted');
add_item($node, 1001, 1);
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; DELETE FROM seckill.items WHERE item_id = 1012;');
plan_release(1012, 7, '0');
plan_release(1011, 7, '0');
await_releases($node, 1011, 5, 'a release beside one whose item is being deleted');
$holder->query_safe('COMMIT;');
$node->wait_for_log(qr/release \d+ of item 1012 could not be done: item 1012 does not exist/);
$holder->quit;
sql('DELETE FROM seckill.releases WHERE item_id = 1012 AND done_at IS NULL');
is(sql('SELECT stock FROM seckill.items WHERE item_id = 1001'), 1, 'a new item has none of them');

# an owner of its own, and row security
sql(<<'EOC');
CREATE ROLE keeper;
ALTER TABLE seckill.releases OWNER TO keeper;
GRANT USAGE ON SCHEMA seckill TO keeper;
ALTER TABLE seckill.releases ENABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.releases FORCE ROW LEVEL SECURITY;
EOC
plan_release(2, 32, '0');
await_releases($node, 2, 4, 'a release of a table with another owner and row security');
sql('ALTER TABLE seckill.releases OWNER TO CURRENT_USER');

# a crowd on a sold-out item sees each release
add_item($node, 20, 0);
$stop = start_crowd($node, 32, map { "\\set u random(1, 1000)\nSELECT outcome FROM seckill_buy(20, :u, '$_');\n" } @modes);
foreach my $round (1 .. 10)
{
	plan_release(20, 10, '100 ms') foreach 1 .. 3;
	ok( $node->poll_query_until('postgres', "SELECT sold = $round * 30 FROM seckill_audit(20)"),
		"units are released and sold, round $round");
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill maintenance worker'})
	  if $round % 2;
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'seckill launcher'})
	  if $round % 3 == 0;
}
note('longest delay under load, in s: ' . sql('SELECT max(done_at - release_at) FROM seckill.releases WHERE item_id = 20'));
$node->stop('immediate');
$stop->();
$node->start;
is(sql('SELECT supplied = (SELECT sum(units) FROM seckill.releases r WHERE r.item_id = 20 AND done_at IS NOT NULL) FROM seckill.items WHERE item_id = 20'),
	't', 'what is done is supplied, after a crash');
sql('SELECT seckill_write_off(3, -1)');    # of an order that nobody has bought
check_audit($node, 'at the end');
check_cache($node, 'at the end');
$node->stop;
done_testing();
