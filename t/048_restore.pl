# A dump lacks the triggers and other objects that the application has added to
# the tables, and a restore with --disable-triggers changes the state of triggers:
# the statements of docs/operations.md find and repair both.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('restore', conf => 'wal_level = logical');

# The queries of the document: the list of what is on the tables, and the
# triggers in a wrong state.
my $document = slurp_file("$FindBin::RealBin/../docs/operations.md");
my ($list) = $document =~ /```sql\n(WITH tables AS .*?)```/s;
my ($triggers) = $document =~ /```sql\n(SELECT format\('ALTER TABLE %s ENABLE .*?)```/s;
ok($list && $triggers, 'the document has both queries');

sub lines
{
	my ($db, $query) = @_;
	return split /\n/, $node->safe_psql($db, $query);
}

# The lines that the source has and the database lacks, as by grep -vxFf.
sub missing
{
	my ($db, @source) = @_;
	my %has = map { $_ => 1 } lines($db, $list);

	return grep { !$has{$_} } @source;
}

sub fresh_database
{
	my ($db, $extension) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->safe_psql($db, 'CREATE EXTENSION seckill') if $extension;
	return;
}

sub run_dump
{
	my ($file, @args) = @_;
	$node->command_ok([ 'pg_dump', @args, '-f', $file, 'postgres' ], "pg_dump @args");
	return;
}

$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (stock) VALUES (10);
SELECT seckill_prewarm(1, 6);
SELECT seckill_buy(1, 1, 'cache', 2);
EOC
fresh_database('bare', 1);
my @bare = lines('bare', $list);
is(join("\n", lines('postgres', $list)), join("\n", @bare), 'unchanged tables have the same list');
is(join("\n", lines('bare', $triggers)), '', 'their triggers are in the right state');


#
# Triggers after --disable-triggers
#

my $file = $node->basedir . '/data.sql';
run_dump($file, '-a', '--disable-triggers');
fresh_database('filled', 1);
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', 'filled', '-f', $file ], 'it is restored');
my @repair = lines('filled', $triggers);
is( join("\n", sort @repair),
	join("\n", (map { "ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_$_;" } qw(delete insert truncate update)),
		'ALTER TABLE seckill.releases ENABLE ALWAYS TRIGGER releases_change;',
		map { "ALTER TABLE seckill.seats ENABLE ALWAYS TRIGGER seats_$_;" } qw(delete insert truncate update)),
	'triggers that were ALWAYS are ordinary');
is(join("\n", sort(missing('filled', @bare))), join("\n", sort @repair), 'the list shows the same triggers');

# a session that replays a restock announces it only with the trigger as it was
is($node->safe_psql('filled', q{SELECT count(*) FILTER (WHERE outcome = 'sold') FROM generate_series(1, 10) n, seckill_buy(1, n, 'cache')}),
	8, 'all units are sold');
is($node->safe_psql('filled', q{SELECT outcome FROM seckill_buy(1, 9, 'cache')}), 'sold_out', 'which memory knows from now on');
my $replay = <<'EOC';
SET session_replication_role = replica;
UPDATE seckill.items SET stock = stock + 5, supplied = supplied + 5 WHERE item_id = 1;
SELECT sold_out FROM seckill_cache();
EOC
is($node->safe_psql('filled', $replay), 't', 'a restock that is replayed is not announced');
$node->safe_psql('filled', join "\n", @repair);
is(join("\n", lines('filled', $triggers)), '', 'repaired');
is(join("\n", missing('filled', @bare)), '', 'nothing is missing');
is($node->safe_psql('filled', $replay), 'f', 'and it is announced');
check_audit($node, 'filled', 'filled');

$node->safe_psql('filled', <<'EOC');
ALTER TABLE seckill.items DISABLE TRIGGER USER;
ALTER TABLE seckill.orders DISABLE TRIGGER USER;
ALTER TABLE seckill.units DISABLE TRIGGER USER;
ALTER TABLE seckill.prizes DISABLE TRIGGER USER;
ALTER TABLE seckill.commitments DISABLE TRIGGER USER;
ALTER TABLE seckill.releases DISABLE TRIGGER USER;
ALTER TABLE seckill.seats DISABLE TRIGGER USER;
EOC
@repair = lines('filled', $triggers);
is(scalar @repair, 21, 'all disabled triggers show');
$node->safe_psql('filled', join "\n", @repair);
is(join("\n", missing('filled', @bare), lines('filled', $triggers)), '', 'and are enabled as before');


#
# Objects that the application has added to the tables
#

$node->safe_psql('postgres', <<'EOC');
CREATE ROLE owner;
CREATE ROLE reader;
CREATE SCHEMA shop;
CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE INDEX by_title ON seckill.items (title) WHERE title <> 'it''s';
CREATE TRIGGER note BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION shop.note();
CREATE TRIGGER off AFTER UPDATE OF state ON seckill.orders FOR EACH ROW EXECUTE FUNCTION shop.note();
ALTER TABLE seckill.orders DISABLE TRIGGER off;
ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON seckill.orders TO reader, owner USING (user_id = 1) WITH CHECK (false);
CREATE POLICY every ON seckill.orders AS RESTRICTIVE FOR SELECT USING (true);
ALTER TABLE seckill.orders SET (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 90);
CREATE STATISTICS shop.pairs ON item_id, user_id FROM seckill.orders;
ALTER TABLE seckill.items ADD CONSTRAINT few CHECK (stock < 100000);
ALTER TABLE seckill.items ALTER pay_within SET DEFAULT '15 min';
ALTER TABLE seckill.items REPLICA IDENTITY FULL;
CREATE PUBLICATION sales FOR TABLE seckill.items, seckill.orders;
GRANT SELECT ON seckill.orders TO reader;
GRANT USAGE ON SCHEMA seckill TO owner;
ALTER TABLE seckill.items OWNER TO owner;
ALTER TABLE seckill.orders OWNER TO owner;
EOC
my @own = missing('bare', lines('postgres', $list));
cmp_ok(scalar @own, '>', 14, 'the list has all objects');
run_dump($node->basedir . '/own.sql');
fresh_database('restored');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $node->basedir . '/own.sql' ],
	'without columns it is restored');
# pg_dump of some versions has the membership in publications
my $has_members = slurp_file($node->basedir . '/own.sql') =~ /^ALTER PUBLICATION sales ADD TABLE /m;
my @lost = grep { !$has_members || !/^ALTER PUBLICATION / } @own;
cmp_ok(scalar @lost, '>=', @own - 2, 'a dump has the membership in a publication at most');
is(join("\n", missing('restored', @own)), join("\n", @lost), 'the restored database has none of the others');
is($node->safe_psql('restored', q{SELECT has_table_privilege('reader', 'seckill.orders', 'SELECT')}),
	't', 'except privileges');
$node->safe_psql('restored', join "\n", @lost);
is(join("\n", lines('restored', $list)), join("\n", lines('postgres', $list)), 'the statements add them again');
check_audit($node, 'restored', 'restored');

# with columns; from 18 on the identity must not have a generated one
$node->safe_psql('postgres', <<'EOC');
ALTER TABLE seckill.items REPLICA IDENTITY DEFAULT;
ALTER TABLE seckill.items ADD price numeric(10, 2) NOT NULL DEFAULT 9.99,
	ADD pair text GENERATED ALWAYS AS (title || '/' || item_id) STORED;
ALTER TABLE seckill.orders ADD shipped boolean;
CREATE INDEX by_price ON seckill.items (price);
UPDATE seckill.items SET title = 'phone', price = 5;
UPDATE seckill.orders SET shipped = true;
EOC
my @source = lines('postgres', $list);
$file = $node->basedir . '/columns.dump';
run_dump($file, '-Fc');
fresh_database('failed');
$node->command_fails([ 'pg_restore', '-e', '-d', 'failed', $file ], 'a restore with added columns fails');
fresh_database('sections');
$node->command_ok([ 'pg_restore', '-e', '--section=pre-data', '-d', 'sections', $file ], 'pre-data');
$node->safe_psql('sections', join "\n", grep { / ADD COLUMN / } missing('sections', @source));
$node->command_ok([ 'pg_restore', '-e', '--section=data', '--section=post-data', '-d', 'sections', $file ],
	'data and post-data');
$node->safe_psql('sections', join "\n", missing('sections', @source));
is(join("\n", lines('sections', $list)), join("\n", @source), 'by sections, with the columns first, it is the same');
my $rows = 'SELECT i.*, o.* FROM seckill.items i JOIN seckill.orders o USING (item_id)';
is($node->safe_psql('sections', $rows), $node->safe_psql('postgres', $rows), 'with its rows');
is(buy_rest_in('sections'), 8, 'the rest is sold');
check_audit($node, 'sections', 'sections');

sub buy_rest_in
{
	my ($db) = @_;
	return $node->safe_psql($db,
		q{SELECT count(*) FROM generate_series(1, 12) n, seckill_buy(1, n, 'cache') WHERE outcome = 'sold'});
}

$node->stop;
done_testing();
