# Rows of seats and orders of bookings are written without SQL only where nothing
# on the tables asks for it; what an application adds is not passed by.  See
# t/052 for orders and items.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('direct', conf => 'wal_level = logical');

sub sql { return $node->safe_psql('postgres', shift); }

# Book in each way that takes seats; return how many statements that took.
sub book
{
	my $statement = "SELECT sql_writes FROM seckill.stat_worker";
	my $before = sql($statement);

	is(sql("SELECT outcome FROM seckill_book(2, 1, 1, 2, 2, '$_')"), 'sold', "book, $_")
	  foreach qw(cache queue retry pessimistic);
	sql('SELECT seckill_cancel(2, order_id, true) FROM seckill.orders WHERE state = \'confirmed\'');
	return sql($statement) - $before;
}

# With what the statement makes, seats are taken by SQL; without it directly.
sub needs_sql
{
	my ($what, $make, $drop, $statements) = @_;

	note $what;
	sql($make);
	is(book(), $statements // 4, "$what: by SQL");
	sql($drop);
	is(book(), 0, "$what is gone: directly");
	return;
}

sql('INSERT INTO seckill.items (item_id, stock, legs) VALUES (2, 0, 63);
	INSERT INTO seckill.seats (item_id, seat) SELECT 2, s FROM generate_series(1, 20) s');
is(book(), 0, 'the tables as they were made: directly');
is(sql('SELECT count(*), min(array_length(seats, 1)), max(array_length(seats, 1)), sum(seat_legs[2]) FROM seckill.orders'),
	'4|2|2|8', 'orders have the seats');

# what is on the orders and on the seats
sql('CREATE TABLE seen (n bigint)');
sql(q{CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN INSERT INTO public.seen VALUES (1); RETURN NEW; END'});
needs_sql('trigger on orders',
	'CREATE TRIGGER t AFTER INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION see()',
	'DROP TRIGGER t ON seckill.orders');
is(sql('SELECT count(*) FROM seen'), 4, 'every order was seen');
foreach my $when ('BEFORE', 'AFTER')
{
	sql('TRUNCATE seen');
	needs_sql("$when ROW",
		"CREATE TRIGGER t $when UPDATE OF taken ON seckill.seats FOR EACH ROW EXECUTE FUNCTION see()",
		'DROP TRIGGER t ON seckill.seats');
	is(sql('SELECT count(*) FROM seen'), 16, "$when ROW: every seat was seen, taken and returned");
}
needs_sql('rule', 'CREATE RULE r AS ON UPDATE TO seckill.seats DO ALSO INSERT INTO seen VALUES (NEW.seat)',
	'DROP RULE r ON seckill.seats');
needs_sql('foreign key',
	'CREATE TABLE cars (car integer PRIMARY KEY); INSERT INTO cars VALUES (0);
	 ALTER TABLE seckill.seats ADD CONSTRAINT f FOREIGN KEY (car) REFERENCES cars',
	'ALTER TABLE seckill.seats DROP CONSTRAINT f');
needs_sql('CHECK', 'ALTER TABLE seckill.seats ADD CONSTRAINT c CHECK (seat > 0)',
	'ALTER TABLE seckill.seats DROP CONSTRAINT c');
needs_sql('another CHECK by the same name',
	'ALTER TABLE seckill.seats DROP CONSTRAINT seats_taken_check, ADD CONSTRAINT seats_taken_check CHECK (taken > -1)',
	'ALTER TABLE seckill.seats DROP CONSTRAINT seats_taken_check,
	 ADD CONSTRAINT seats_taken_check CHECK (taken OPERATOR(pg_catalog.>=) 0)');
needs_sql('generated column', 'ALTER TABLE seckill.seats ADD twice bigint GENERATED ALWAYS AS (taken / 2) STORED',
	'ALTER TABLE seckill.seats DROP twice');
needs_sql('a key with the column that sales change',
	'ALTER TABLE seckill.seats ADD CONSTRAINT k UNIQUE (item_id, seat, taken)',
	'ALTER TABLE seckill.seats DROP CONSTRAINT k');

# Seats and orders are written in each of the four ways, and mode pessimistic
# locks the item.
sql('ALTER SYSTEM SET seckill.direct_writes = off');
$node->restart;
is(book(), 9, 'setting off: by SQL');
sql('ALTER SYSTEM RESET seckill.direct_writes');
$node->restart;
is(book(), 0, 'setting on: directly');

# what is written directly all the same
sql('CREATE FUNCTION half(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$SELECT $1 / 2$$;
	CREATE INDEX by_half ON seckill.seats (half(taken)) WHERE half(taken) > 0;
	CREATE INDEX by_taken ON seckill.seats USING brin (taken);
	ALTER TABLE seckill.seats ADD late integer DEFAULT 7, ADD gone integer; ALTER TABLE seckill.seats DROP gone;
	ALTER TABLE seckill.seats ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
is(book(), 0, 'indexes, other columns, row security: directly');
is(sql("SELECT outcome FROM seckill_book(2, 1, 0, 5, 2, 'cache')"), 'sold', 'two seats');
is(sql('SET enable_seqscan = off; SELECT count(*), min(late) FROM seckill.seats WHERE half(taken) > 0'), '2|7',
	'an index of an expression has the new rows');
sql('CREATE EXTENSION amcheck');
sql("SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = 'seckill.seats'::regclass AND amname = 'btree'");

# what is refused by SQL is refused
sql('CREATE PUBLICATION p FOR TABLE seckill.seats; ALTER TABLE seckill.seats REPLICA IDENTITY NOTHING');
like(($node->psql('postgres', "SELECT seckill_book(2, 1, 1, 2, 2, '$_')"))[2], qr/cannot update table "seats"/,
	"$_: seats are published without an identity")
  foreach qw(cache queue retry);
sql('DROP PUBLICATION p; ALTER TABLE seckill.seats REPLICA IDENTITY DEFAULT');
sql('CREATE ROLE owner; ALTER TABLE seckill.seats OWNER TO owner; GRANT USAGE ON SCHEMA seckill TO owner;
	REVOKE UPDATE ON seckill.seats FROM owner; GRANT EXECUTE ON FUNCTION half(bigint) TO owner');
like(($node->psql('postgres', "SELECT seckill_book(2, 1, 1, 2, 2, '$_')"))[2], qr/permission denied for table seats/,
	"$_: an owner that may not update")
  foreach qw(cache queue retry);
sql('GRANT UPDATE ON seckill.seats TO owner');
is(book(), 0, 'and that may again: directly');

# other legs of all seats are sold after a transaction has taken its snapshot
foreach my $mode (qw(cache retry))
{
	my $leg = $mode eq 'cache' ? 10 : 20;
	my ($rc, $out, $err) = $node->psql('postgres', <<"EOC");
CREATE EXTENSION IF NOT EXISTS dblink;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM seckill.seats;
SELECT * FROM dblink('host=' || current_setting('unix_socket_directories') || ' port=' || current_setting('port') || ' dbname=postgres',
	'SELECT outcome FROM seckill_book(2, 1, $leg, $leg + 1, 20)') AS b (outcome text);
SELECT seckill_book(2, 1, $leg + 1, $leg + 2, mode => '$mode');
EOC
	is($out, "20\nsold", "$mode: all seats are changed");
	like($err, qr/could not serialize access/, "$mode, REPEATABLE READ: a serialization failure");
}
check_seats($node, 'at the end');

$node->stop;
done_testing();
