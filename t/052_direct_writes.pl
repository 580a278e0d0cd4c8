# Orders and items are written without SQL only where nothing on the table asks
# for it.  What an application adds in mid-sale takes effect at once, and is not
# passed by.

use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('direct', conf => 'wal_level = logical');

sub sql { return $node->safe_psql('postgres', shift); }

# Orders, and rows of items, that were written or locked by SQL.
sub writes { return sql('SELECT sql_writes FROM seckill.stat_worker'); }

my $user = 0;

# Buy in each way that writes orders and rows; return how many statements that
# took.
sub buy
{
	my $before = writes();

	$user++;
	sql('SELECT seckill_recall(1)');    # so that mode cache leases
	is(sql("SELECT outcome FROM seckill_buy(1, $user, '$_')"), 'sold', $_)
	  foreach qw(cache queue retry pessimistic advisory);
	is(sql("SELECT count(*) FROM seckill_buy_many(1, '{$user,$user}', 'cache') WHERE outcome = 'sold'"),
		2, 'buy_many');
	return writes() - $before;
}

# In each round of buy() orders are written six times.  Rows of items are locked
# by the recall; locked and written in cache, queue and pessimistic; and written
# in retry and advisory.
my $orders = 6;
my $items = 9;

# With what the statement makes, orders or items are written by SQL; without it
# they are written directly again.
sub needs_sql
{
	my ($what, $make, $drop, $statements) = @_;

	note $what;
	sql($make);
	is(buy(), $statements // $orders, "$what: by SQL");
	sql($drop);
	is(buy(), 0, "$what is gone: directly");
	return;
}

sql('INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000000)');
is(buy(), 0, 'the tables as they were made: directly');
is(sql('SELECT count(*), count(DISTINCT order_id), sum(quantity), min(state::text) FROM seckill.orders'),
	'7|7|7|confirmed', 'orders are complete');
is(sql('SELECT bool_and(created_at <= clock_timestamp()) FROM seckill.orders'), 't', 'created_at');

sql('CREATE TABLE seen (order_id bigint)');
sql(q{CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN INSERT INTO public.seen VALUES (NEW.order_id); RETURN NEW; END'});
foreach my $when ('BEFORE', 'AFTER')
{
	my $before = sql('SELECT count(*) FROM seen');

	needs_sql("$when ROW",
		"CREATE TRIGGER t $when INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION see()",
		'DROP TRIGGER t ON seckill.orders');
	is(sql('SELECT count(*) FROM seen') - $before, 7, "$when ROW: every order was seen");
}
needs_sql('disabled trigger',
	'CREATE TRIGGER t AFTER INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION see();
	 ALTER TABLE seckill.orders DISABLE TRIGGER t',
	'DROP TRIGGER t ON seckill.orders');
sql(q{CREATE FUNCTION count_all() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN INSERT INTO public.seen SELECT order_id FROM fresh; RETURN NULL; END'});
needs_sql('STATEMENT with a transition table',
	'CREATE TRIGGER t AFTER INSERT ON seckill.orders REFERENCING NEW TABLE AS fresh
	 FOR EACH STATEMENT EXECUTE FUNCTION count_all()',
	'DROP TRIGGER t ON seckill.orders');
sql('CREATE TABLE buyers (user_id bigint PRIMARY KEY);
	INSERT INTO buyers SELECT n FROM generate_series(1, 1000) n');
needs_sql('foreign key',
	'ALTER TABLE seckill.orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES buyers',
	'ALTER TABLE seckill.orders DROP CONSTRAINT f');
needs_sql('deferrable constraint',
	'ALTER TABLE seckill.orders ADD CONSTRAINT u UNIQUE (order_id) DEFERRABLE INITIALLY DEFERRED',
	'ALTER TABLE seckill.orders DROP CONSTRAINT u');
needs_sql('CHECK',
	'ALTER TABLE seckill.orders ADD CONSTRAINT c CHECK (user_id > 0)',
	'ALTER TABLE seckill.orders DROP CONSTRAINT c');
needs_sql('another CHECK by the same name',
	'ALTER TABLE seckill.orders DROP CONSTRAINT orders_quantity_check, ADD CONSTRAINT orders_quantity_check CHECK (quantity > -5)',
	'ALTER TABLE seckill.orders DROP CONSTRAINT orders_quantity_check, ADD CONSTRAINT orders_quantity_check CHECK (quantity OPERATOR(pg_catalog.>) 0)');
needs_sql('column with a default',
	'ALTER TABLE seckill.orders ADD note integer DEFAULT 7',
	'ALTER TABLE seckill.orders DROP note');
needs_sql('generated column',
	'ALTER TABLE seckill.orders ADD twice integer GENERATED ALWAYS AS (quantity * 2) STORED',
	'ALTER TABLE seckill.orders DROP twice');
sql('CREATE DOMAIN must AS integer NOT NULL DEFAULT 3');
needs_sql('column of a domain',
	'ALTER TABLE seckill.orders ADD d must',
	'ALTER TABLE seckill.orders DROP d');
needs_sql('another default of created_at',
	q{ALTER TABLE seckill.orders ALTER created_at SET DEFAULT '2001-01-01'},
	'ALTER TABLE seckill.orders ALTER created_at SET DEFAULT now()');
is(sql(q{SELECT count(*) FROM seckill.orders WHERE created_at = '2001-01-01'}), 7, 'it was used');
needs_sql('rule',
	'CREATE RULE r AS ON INSERT TO seckill.orders DO ALSO INSERT INTO seen VALUES (NEW.order_id)',
	'DROP RULE r ON seckill.orders');
needs_sql('setting off',
	'ALTER SYSTEM SET seckill.direct_writes = off; SELECT pg_reload_conf()',
	'ALTER SYSTEM RESET seckill.direct_writes; SELECT pg_reload_conf()',
	$orders + $items);

# what is on the items
sql('CREATE TABLE moved (units integer)');
sql(q{CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN INSERT INTO public.moved VALUES (OLD.stock - NEW.stock); RETURN NEW; END'});
foreach my $when ('BEFORE', 'AFTER')
{
	sql('TRUNCATE moved');
	my $stock = sql('SELECT stock FROM seckill.items');
	needs_sql("$when ROW of items",
		"CREATE TRIGGER t $when UPDATE ON seckill.items FOR EACH ROW EXECUTE FUNCTION watch()",
		'DROP TRIGGER t ON seckill.items', $items);
	is(sql('SELECT count(*) FROM moved'), 6, "$when ROW: every update was seen");
}
sql(q{CREATE SCHEMA other; CREATE FUNCTION other.seckill_is_own() RETURNS boolean LANGUAGE sql AS 'SELECT false'});
needs_sql('a condition that only looks like ours',
	'CREATE TRIGGER t AFTER UPDATE ON seckill.items FOR EACH ROW WHEN (NOT other.seckill_is_own())
	 EXECUTE FUNCTION watch()',
	'DROP TRIGGER t ON seckill.items', $items);
sql(q{CREATE FUNCTION watch_all() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN INSERT INTO public.moved SELECT stock FROM fresh; RETURN NULL; END'});
needs_sql('STATEMENT of items with a transition table',
	'CREATE TRIGGER t AFTER UPDATE ON seckill.items REFERENCING NEW TABLE AS fresh
	 FOR EACH STATEMENT EXECUTE FUNCTION watch_all()',
	'DROP TRIGGER t ON seckill.items', $items);
needs_sql('rule of items',
	'CREATE RULE r AS ON UPDATE TO seckill.items DO ALSO INSERT INTO moved VALUES (NEW.stock)',
	'DROP RULE r ON seckill.items', $items);
sql('CREATE TABLE titles (title text PRIMARY KEY)');
needs_sql('foreign key of items',
	'ALTER TABLE seckill.items ADD CONSTRAINT f FOREIGN KEY (title) REFERENCES titles',
	'ALTER TABLE seckill.items DROP CONSTRAINT f', $items);
needs_sql('CHECK of items',
	'ALTER TABLE seckill.items ADD CONSTRAINT c CHECK (stock > 10)',
	'ALTER TABLE seckill.items DROP CONSTRAINT c', $items);
needs_sql('another CHECK of items by the same name',
	'ALTER TABLE seckill.items DROP CONSTRAINT items_window_check,
	 ADD CONSTRAINT items_window_check CHECK (starts_at <= ends_at)',
	'ALTER TABLE seckill.items DROP CONSTRAINT items_window_check,
	 ADD CONSTRAINT items_window_check CHECK (starts_at OPERATOR(pg_catalog.<) ends_at)', $items);
needs_sql('the same CHECK of items, not validated',
	'ALTER TABLE seckill.items DROP CONSTRAINT items_window_check,
	 ADD CONSTRAINT items_window_check CHECK (starts_at OPERATOR(pg_catalog.<) ends_at) NOT VALID',
	'ALTER TABLE seckill.items VALIDATE CONSTRAINT items_window_check', $items);
needs_sql('generated column of items',
	'ALTER TABLE seckill.items ADD twice bigint GENERATED ALWAYS AS (stock * 2::bigint) STORED',
	'ALTER TABLE seckill.items DROP twice', $items);
needs_sql('a key with a column that sales change',
	'ALTER TABLE seckill.items ADD CONSTRAINT k UNIQUE (item_id, stock)',
	'ALTER TABLE seckill.items DROP CONSTRAINT k', $items);
needs_sql('a constraint dropped',
	'ALTER TABLE seckill.items DROP CONSTRAINT items_lease_check',
	'ALTER TABLE seckill.items ADD CONSTRAINT items_lease_check CHECK
	 (leased OPERATOR(pg_catalog.=) 0 OR leased OPERATOR(pg_catalog.>) 0 AND lease_id IS NOT NULL)', $items);

# what is written directly all the same
sql('CREATE TABLE cart (item_id bigint REFERENCES seckill.items);
	INSERT INTO cart VALUES (1)');
is(buy(), 0, 'a foreign key that refers to items: directly');
like(($node->psql('postgres', 'SELECT seckill_recall(1); DELETE FROM seckill.orders; DELETE FROM seckill.items'))[2], qr/violates foreign key/,
	'and it holds');
sql('DROP TABLE cart');
sql('ALTER TABLE seckill.items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
is(buy(), 0, 'row security, forced: directly');
sql('ALTER TABLE seckill.items DISABLE ROW LEVEL SECURITY; ALTER TABLE seckill.orders DISABLE ROW LEVEL SECURITY');
sql(q{ALTER TABLE seckill.items ALTER title SET STORAGE EXTERNAL;
	UPDATE seckill.items SET title = repeat('long ', 10000);
	ALTER TABLE seckill.items ADD late integer DEFAULT 7, ADD gone integer;
	ALTER TABLE seckill.items DROP gone});
is(buy(), 0, 'a long title and other columns: directly');
is(sql(q{SELECT title = repeat('long ', 10000), late FROM seckill.items}), 't|7', 'they are kept');

# logical replication
sql(q{SELECT pg_create_logical_replication_slot('s', 'test_decoding'); ALTER TABLE seckill.items REPLICA IDENTITY FULL;
	UPDATE seckill.items SET title = 'short'});
is(buy(), 0, 'replica identity FULL: directly');
is(sql(q{SELECT count(*) FROM pg_logical_slot_get_changes('s', NULL, NULL)
	WHERE data ~ '^table seckill.items: UPDATE: old-key: .*stock.integer.:[0-9]+.* new-tuple: .*stock.integer.:[0-9]+'}),
	7, 'the changes are decoded');
sql(q{SELECT pg_drop_replication_slot('s'); ALTER TABLE seckill.items REPLICA IDENTITY NOTHING;
	CREATE PUBLICATION p FOR TABLE seckill.items});
like(($node->psql('postgres', "SELECT seckill_buy(1, 1, '$_')"))[2], qr/cannot update table "items"/,
	"$_: items are published without an identity")
  foreach qw(retry pessimistic);
sql('DROP PUBLICATION p; ALTER TABLE seckill.items REPLICA IDENTITY DEFAULT');
is(buy(), 0, 'not published: directly');

# what is refused by SQL is refused
sql('TRUNCATE seckill.items, seckill.orders');
sql('INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000000000)');
sql('ALTER TABLE seckill.orders ALTER request_id SET NOT NULL');
like(($node->psql('postgres', "SELECT seckill_buy(1, 1, 'cache')"))[2], qr/null value in column "request_id"/,
	'a column that must not be NULL');
sql('ALTER TABLE seckill.orders ALTER request_id DROP NOT NULL');
sql('CREATE ROLE owner; ALTER TABLE seckill.orders OWNER TO owner; REVOKE INSERT ON seckill.orders FROM owner;
	GRANT USAGE ON SCHEMA seckill TO owner; GRANT INSERT ON seen TO owner');
like(($node->psql('postgres', "SELECT seckill_buy(1, 1, 'cache')"))[2], qr/permission denied for table orders/,
	'an owner that may not insert');
sql('GRANT INSERT ON seckill.orders TO owner');
is(buy(), 0, 'and that may again: directly');
sql('ALTER TABLE seckill.items OWNER TO owner; GRANT USAGE ON SEQUENCE seckill.orders_order_id_seq TO owner;
	GRANT INSERT ON moved TO owner; REVOKE UPDATE ON seckill.items FROM owner');
like(($node->psql('postgres', "SELECT seckill_buy(1, 1, '$_')"))[2], qr/permission denied for table items/,
	"$_: an owner that may not update")
  foreach qw(retry pessimistic);
sql('GRANT UPDATE ON seckill.items TO owner');
is(buy(), 0, 'and that may again: directly');

# all indexes have all orders
sql('ALTER TABLE seckill.orders ADD plain text');
sql('CREATE FUNCTION half(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$SELECT $1 / 2$$;
	GRANT EXECUTE ON FUNCTION half(bigint) TO owner;
	CREATE INDEX by_half ON seckill.orders (half(user_id)) WHERE half(user_id) % 2 = 0;
	CREATE INDEX by_time ON seckill.orders USING brin (created_at);
	CREATE UNIQUE INDEX once ON seckill.orders (order_id)');
is(buy(), 0, 'a column that may be NULL, and indexes: directly');
sql('CREATE EXTENSION amcheck');
sql("SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = 'seckill.orders'::regclass AND amname = 'btree'");
like(($node->psql('postgres', 'CREATE UNIQUE INDEX one_each ON seckill.orders (user_id) WHERE user_id = 4242;
	SELECT seckill_buy_many(1, \'{4242,4242}\', \'cache\')'))[2], qr/unique constraint "one_each"/,
	'a unique index refuses');
is(sql('SELECT count(*) FROM seckill.orders WHERE user_id = 4242'), 0, 'and nothing is left');
sql('DROP INDEX seckill.one_each');
sql('CREATE INDEX by_half_stock ON seckill.items (half(stock));
	CREATE INDEX by_stock ON seckill.items (stock, item_id) WHERE stock % 2 = 0;
	CREATE INDEX by_range ON seckill.items USING brin (stock)');
is(buy(), 0, 'indexes of what sales change: directly');
sql("SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = 'seckill.items'::regclass AND amname = 'btree'");
is(sql('SET enable_seqscan = off; SELECT item_id FROM seckill.items WHERE half(stock) = (SELECT stock / 2 FROM seckill.items WHERE item_id = 1)'),
	1, 'an index of an expression has the new row');
sql('DROP INDEX seckill.by_half_stock');

# a crowd buys while the table changes
my ($out, $err) = ('', '');
my $script = SeckillTest::script_file($node, <<'EOC');
\set user random(1, 1000)
\set mode random(1, 5)
SELECT seckill_buy(1, :user, (ARRAY['cache','retry','pessimistic','advisory','queue']::seckill_mode[])[:mode]);
EOC
local $ENV{PGAPPNAME} = 'crowd';
my $crowd = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 2, '-T', 600, '-h', $node->host, '-p', $node->port,
		'-f', $script, 'postgres' ], '>', \$out, '2>', \$err);
sql('TRUNCATE seen');
my $first = sql('BEGIN; LOCK seckill.orders IN SHARE ROW EXCLUSIVE MODE;
	CREATE TRIGGER t AFTER INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION see();
	SELECT coalesce(max(order_id), 0) FROM seckill.orders; COMMIT');
sql('TRUNCATE moved');
my $stock = sql('BEGIN; LOCK seckill.items IN SHARE ROW EXCLUSIVE MODE;
	CREATE TRIGGER t AFTER UPDATE ON seckill.items FOR EACH ROW EXECUTE FUNCTION watch();
	SELECT stock FROM seckill.items; COMMIT');
foreach my $round (1 .. 3)
{
	sql("CREATE INDEX CONCURRENTLY late_$round ON seckill.orders (user_id, order_id)");
	sql("ALTER TABLE seckill.orders ADD late_$round integer DEFAULT $round");
	sql("CREATE UNIQUE INDEX CONCURRENTLY last_$round ON seckill.orders (order_id, item_id)");
	sql("ALTER TABLE seckill.orders DROP late_$round");
}
ok($node->poll_query_until('postgres', "SELECT count(*) > 100 FROM moved"), 'rows are changed');
is(sql('BEGIN; LOCK seckill.items IN ACCESS EXCLUSIVE MODE; DROP TRIGGER t ON seckill.items;
	SELECT stock + (SELECT sum(units) FROM moved) FROM seckill.items; COMMIT'),
	$stock, 'the trigger has seen every change of the row since it was made');
foreach my $round (1 .. 3)
{
	sql("CREATE INDEX CONCURRENTLY items_late_$round ON seckill.items (stock, item_id)");
	sql("ALTER TABLE seckill.items ADD late_$round integer DEFAULT $round");
	sql("CREATE INDEX CONCURRENTLY items_last_$round ON seckill.items (version)");
	sql("ALTER TABLE seckill.items DROP late_$round");
}
ok($node->poll_query_until('postgres', "SELECT count(*) > 100 FROM seen"), 'orders are made');
sql(q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'crowd' AND pid <> pg_backend_pid()});
$crowd->finish;
await_queue($node);
unlike($err, qr/ERROR/, 'no call of the crowd has failed');
is(sql("SELECT count(*) FROM seckill.orders WHERE order_id > $first"), sql('SELECT count(*) FROM seen'),
	'the trigger has seen every order since it was made');
sql("SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	JOIN pg_am a ON a.oid = c.relam
	WHERE i.indrelid IN ('seckill.orders'::regclass, 'seckill.items'::regclass) AND amname = 'btree'");
pass('all indexes have all orders and items');
is(sql('SELECT difference FROM seckill_audit(1)'), 0, 'conservation');

$node->stop;
done_testing();
