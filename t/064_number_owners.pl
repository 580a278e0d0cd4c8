# Units with numbers where each table has an owner of its own and row security is
# forced, and rows of items that come by COPY, upserts, forms and replication.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('owners', conf => "log_min_error_statement = panic\nseckill.queue_idle_time = 200\nseckill.lease_units = 2\n");
my @tables = qw(items orders units prizes commitments releases seats);
my $all = join ', ', map { "seckill.$_" } @tables;

sub sql
{
	my ($text) = @_;
	return $node->safe_psql('postgres', $text);
}

sub fails
{
	my ($text, $state, $what) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$text");

	like($err, qr/ERROR:\s+$state/, $what);
	return;
}


#
# Every call, with an owner for each table
#

foreach my $table (@tables)
{
	sql(<<"EOC");
CREATE ROLE ${table}_owner;
GRANT USAGE ON SCHEMA seckill TO ${table}_owner;
ALTER TABLE seckill.$table OWNER TO ${table}_owner;
ALTER TABLE seckill.$table ENABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.$table FORCE ROW LEVEL SECURITY;
EOC
}

sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock, numbered, pay_within, reveal_on) VALUES (1, 20, true, '1 hour', 'pending');
INSERT INTO seckill.prizes (item_id, prize, title) VALUES (1, 1, 'a prize');
EOC
is(sql(q{SELECT added, first_unit FROM seckill_add_units(1, prizes => '{1,1}', amounts => '{1,2}', seed => sha256('seed'))}), '2|21', 'units are added, and committed to');
is(sql(q{SELECT added, first_unit FROM seckill_add_units(1, '{a,b,c,d}')}), '4|23', 'with codes');
is(sql(q{SELECT added, array_length(duplicates, 1) FROM seckill_add_units(1, '{d,e}')}), '1|1', 'with codes that are there already');
foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
{
	like(sql("SELECT outcome, unit FROM seckill_claim(1, 1, '$mode')"), qr/^sold\|\d+$/, "$mode");
}
is(sql(q{SELECT count(*) FROM seckill_claim_many(1, array_fill(2, '{20}'), 'cache') WHERE code IS NOT NULL}), 5, 'codes are told');
check_numbers($node, 'claims');
is(sql(q{SELECT outcome FROM seckill_redeem(1, 'a', 2)}), 'redeemed', 'one is redeemed');
is(sql(q{SELECT seckill_release(1, order_id) FROM seckill.orders WHERE unit = 23}), 'pending', 'and released');
is(sql(q{SELECT string_agg(DISTINCT seckill_cancel(1, order_id)::text, ' ') FROM seckill.orders WHERE unit IN (1, 2, 23)}), 'cancelled', 'orders are cancelled');
is(sql('SELECT stock + unsold, burnt FROM seckill_audit(1)'), '2|1', 'a code is burnt');
sql('UPDATE seckill.orders SET pay_by = now() WHERE unit IN (3, 4, 24)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM seckill.orders WHERE state = 'expired'}), 'orders expire');
is(sql(q{SELECT string_agg(s, ' ' ORDER BY s) FROM (SELECT seckill_confirm(1, order_id)::text s FROM seckill.orders WHERE state = 'expired') o}),
	'confirmed confirmed expired', 'and are paid late');
sql('SELECT seckill_recall(1)');
sql('DELETE FROM seckill.orders WHERE order_id IN (SELECT order_id FROM seckill.orders WHERE unit > 4 ORDER BY 1 LIMIT 2)');
check_numbers($node, 'deleted orders');
sql(q{INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, now(), 3)});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM seckill.releases WHERE done_at IS NOT NULL'), 'a release is done');
$node->stop('immediate');
$node->start;
sql('SELECT seckill_prewarm(1, 2), seckill_restock(1, -1), seckill_set_available(1, 2)');
sql(q{SELECT seckill_confirm(1, order_id) FROM seckill.orders WHERE state = 'pending'});
like(sql('SELECT units FROM seckill_close(1)'), qr/^[12]$/, 'the sale is closed');
is(sql('SELECT bool_and(unchanged) FROM seckill_reveal(1)'), 't', 'and revealed');
check_numbers($node, 'the end');
like($node->safe_psql('postgres', 'SELECT count(*) FROM seckill_audit_values(1)'), qr/^\d+$/, 'values are audited');
fails("TRUNCATE seckill.$_", '(55000|23503)', "$_ are not truncated alone") foreach qw(items orders units commitments);
sql("TRUNCATE $all");
sql(q{INSERT INTO seckill.items (item_id, stock, numbered) VALUES (2, 3, true); INSERT INTO seckill.units (item_id, unit, code) VALUES (2, 1, 'x');
	SELECT seckill_prewarm(2, 2); DELETE FROM seckill.items});
is(sql('SELECT count(*) FROM seckill.units'), 0, 'an item is deleted with its units');


#
# Rows that come in other ways than by calls
#

sql(q{INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 10, true)});
sql(q{SELECT seckill_prewarm(1, 4); SELECT seckill_claim_many(1, '{1,2}', 'cache'); SELECT seckill_claim(1, 3, 'pessimistic')});
my $columns = sql(q{SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'seckill.items'::regclass AND attnum > 0 AND NOT attisdropped});
my $set = join ', ', map { "$_ = EXCLUDED.$_" } split /, /, $columns;
my $upsert = "INSERT INTO seckill.items ($columns) SELECT $columns FROM kept ON CONFLICT (item_id) DO UPDATE SET $set";

# a form keeps the row as it was, and saves all of it
sql('CREATE TABLE kept AS SELECT * FROM seckill.items WHERE item_id = 1');
sql("UPDATE kept SET title = 'saved'; $upsert");
is(sql('SELECT title FROM seckill.items'), 'saved', 'a row that has not changed is saved by an upsert');
sql(q{SELECT seckill_claim(1, 4, 'cache')});
sql("UPDATE kept SET title = 'again'; $upsert");
is(sql('SELECT title FROM seckill.items'), 'again', 'also after a purchase from the cache');
sql(q{SELECT seckill_claim(1, 5, 'retry')});
fails($upsert, '40001', 'but not after one from the row');
sql('DELETE FROM kept; INSERT INTO kept SELECT * FROM seckill.items');
fails("UPDATE kept SET stock = stock + 1; $upsert", '55000', 'nor with another stock');
sql('DELETE FROM kept; INSERT INTO kept SELECT * FROM seckill.items');
fails(q{UPDATE kept SET numbers = int8multirange(int8range(100, 100 + stock)); } . $upsert, '55000', 'nor with other numbers');
fails("INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 3, false) ON CONFLICT (item_id) DO UPDATE SET numbered = EXCLUDED.numbered", '0A000', 'nor without numbers');
sql("INSERT INTO seckill.items (item_id, stock) VALUES (1, 3) ON CONFLICT (item_id) DO UPDATE SET title = 'upsert'");
check_numbers($node, 'saves');

# a copy of the row under another number is a new item; so is one with another lease
sql('DELETE FROM kept; INSERT INTO kept SELECT * FROM seckill.items; UPDATE kept SET item_id = 2, stock = 7');
my $file = $node->basedir . '/items';
sql("COPY kept TO '$file'; COPY seckill.items FROM '$file'");
is(sql('SELECT numbers, off_sale, leased, supplied FROM seckill.items WHERE item_id = 2'), '{[1,8)}|{}|0|7', 'COPY makes a new item');
check_numbers($node, 'a copy');

# what a subscriber is told is not counted again
sql(q{SELECT seckill_recall(1)});
my $before = sql('SELECT supplied, off_sale FROM seckill.items WHERE item_id = 1');
my $gone = sql(q{SELECT unit FROM seckill.orders WHERE item_id = 1 AND user_id = 1});
sql(q{SET session_replication_role = replica; DELETE FROM seckill.orders WHERE item_id = 1 AND user_id = 1});
is(sql('SELECT supplied, off_sale FROM seckill.items WHERE item_id = 1'), $before, 'orders that are deleted by replication are not struck off');
sql("SET session_replication_role = replica; UPDATE seckill.items SET version = version + 1, supplied = supplied - 1, off_sale = off_sale + '{[$gone,$gone]}',
	seal = seal # supplied # (supplied - 1) WHERE item_id = 1");
check_numbers($node, 'replication');
is(sql(q{SELECT count(*) FROM seckill_claim_many(1, array_fill(9, '{20}'), 'cache') WHERE outcome = 'sold'}), 5, 'the rest is sold');
check_numbers($node, 'sold out');
$node->stop;
done_testing();
