# Orders are written without SQL only where nothing on the table asks for it.
# What an application adds in mid-sale takes effect at once, and is not passed
# by.

use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('direct');

sub sql { return $node->safe_psql('postgres', shift); }

sub inserts { return sql('SELECT sql_inserts FROM seckill.stat_worker'); }

my $user = 0;

# Buy in each way that writes orders; return how many INSERTs that took.
sub buy
{
	my $before = inserts();

	$user++;
	is(sql("SELECT outcome FROM seckill_buy(1, $user, '$_')"), 'sold', $_)
	  foreach qw(cache queue retry pessimistic);
	is(sql("SELECT count(*) FROM seckill_buy_many(1, '{$user,$user}', 'cache') WHERE outcome = 'sold'"),
		2, 'buy_many');
	return inserts() - $before;
}

# With what the statement makes, orders are written by SQL; without it they are
# written directly again.
sub needs_sql
{
	my ($what, $make, $drop) = @_;

	note $what;
	sql($make);
	is(buy(), 5, "$what: by SQL");
	sql($drop);
	is(buy(), 0, "$what is gone: directly");
	return;
}

sql('INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000000)');
is(buy(), 0, 'the tables as they were made: directly');
is(sql('SELECT count(*), count(DISTINCT order_id), sum(quantity), min(state::text) FROM seckill.orders'),
	'6|6|6|confirmed', 'orders are complete');
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
	is(sql('SELECT count(*) FROM seen') - $before, 6, "$when ROW: every order was seen");
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
is(sql(q{SELECT count(*) FROM seckill.orders WHERE created_at = '2001-01-01'}), 6, 'it was used');
needs_sql('rule',
	'CREATE RULE r AS ON INSERT TO seckill.orders DO ALSO INSERT INTO seen VALUES (NEW.order_id)',
	'DROP RULE r ON seckill.orders');
needs_sql('setting off',
	'ALTER SYSTEM SET seckill.direct_writes = off; SELECT pg_reload_conf()',
	'ALTER SYSTEM RESET seckill.direct_writes; SELECT pg_reload_conf()');

# what is refused by SQL is refused
sql('TRUNCATE seckill.items, seckill.orders');
sql('INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000000)');
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

# a crowd buys while the table changes
my ($out, $err) = ('', '');
my $script = SeckillTest::script_file($node, <<'EOC');
\set user random(1, 1000)
\set mode random(1, 3)
SELECT seckill_buy(1, :user, (ARRAY['cache','retry','pessimistic']::seckill_mode[])[:mode]);
EOC
my $crowd = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 2, '-T', 10, '-h', $node->host, '-p', $node->port,
		'-f', $script, 'postgres' ], '>', \$out, '2>', \$err);
sql('TRUNCATE seen');
my $first = sql('BEGIN; LOCK seckill.orders IN SHARE ROW EXCLUSIVE MODE;
	CREATE TRIGGER t AFTER INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION see();
	SELECT coalesce(max(order_id), 0) FROM seckill.orders; COMMIT');
foreach my $round (1 .. 3)
{
	sql("CREATE INDEX CONCURRENTLY late_$round ON seckill.orders (user_id, order_id)");
	sql("ALTER TABLE seckill.orders ADD late_$round integer DEFAULT $round");
	sql("CREATE UNIQUE INDEX CONCURRENTLY last_$round ON seckill.orders (order_id, item_id)");
	sql("ALTER TABLE seckill.orders DROP late_$round");
}
$node->poll_query_until('postgres', "SELECT count(*) > 100 FROM seen");
$crowd->finish;
unlike($err, qr/ERROR/, 'no call of the crowd has failed');
is(sql("SELECT count(*) FROM seckill.orders WHERE order_id > $first"), sql('SELECT count(*) FROM seen'),
	'the trigger has seen every order since it was made');
sql("SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = 'seckill.orders'::regclass AND amname = 'btree'");
pass('all indexes have all orders');
is(sql('SELECT difference FROM seckill_audit(1)'), 0, 'conservation');

$node->stop;
done_testing();
