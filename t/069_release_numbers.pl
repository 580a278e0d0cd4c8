# Releases of numbered units: hidden numbers are on sale from their time on, each
# once, in every mode.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('numbers', conf => <<'EOC');
seckill.lease_units = 20
seckill.naptime = 1s
EOC
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql { return $node->safe_psql('postgres', shift); }

# An item with so many numbers, all of them off sale.
sub add_hidden
{
	my ($item, $n) = @_;
	sql("INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($item, $n, true)");
	sql("SELECT seckill_restock($item, -$n)");
	return;
}

# some of the hidden numbers, in any order; the values are told
add_hidden(1, 20);
sql("INSERT INTO seckill.units (item_id, unit, prize) SELECT 1, n, n FROM generate_series(1, 20) n");
is(sql("SELECT outcome FROM seckill_claim(1, 1, 'cache')"), 'sold_out', 'nothing is on sale');
sql("INSERT INTO seckill.releases (item_id, release_at, units, first_unit) VALUES (1, clock_timestamp() + '300 ms', 3, 11), (1, clock_timestamp() + '300 ms', 4, 5), (1, 'infinity', 12, 9)");
await_releases($node, 1, 2, 'two releases');
is(sql('SELECT stock, numbers, off_sale, supplied FROM seckill.items'), '7|{[5,9),[11,14)}|{[1,5),[9,11),[14,21)}|7', 'their numbers are on sale');
check_numbers($node, 'released');
is( join(' ', map { sql("SELECT outcome || ' ' || unit || ' ' || prize FROM seckill_claim(1, 1, '$_')") } @modes),
	join(' ', map { "sold $_ $_" } 5, 6, 7, 8, 11, 12, 13), 'every mode sells them');
is(sql("SELECT outcome FROM seckill_claim(1, 1, 'cache')"), 'sold_out', 'and no others');

# numbers that are not off sale: it is logged, and others are released
sql("UPDATE seckill.releases SET release_at = now() WHERE done_at IS NULL");
$node->wait_for_log(qr/release \d+ of item 1 could not be done: units of item 1 that are to be released are not off sale/);
is(sql('SELECT stock, supplied FROM seckill.items'), '0|7', 'nothing is released twice');
sql('DELETE FROM seckill.releases WHERE done_at IS NULL');
sql("INSERT INTO seckill.releases (item_id, release_at, units, first_unit) VALUES (1, now(), 2, 1), (1, now(), 2, 2)");
await_releases($node, 1, 3, 'of two with a number in common one');
$node->wait_for_log(qr/release \d+ of item 1 could not be done: units of item 1 that/);
sql('DELETE FROM seckill.releases WHERE done_at IS NULL');
sql("INSERT INTO seckill.items (item_id, stock) VALUES (2, 0); INSERT INTO seckill.releases (item_id, release_at, units, first_unit) VALUES (2, now(), 2, 1)");
$node->wait_for_log(qr/release \d+ of item 2 could not be done: units of item 2/);
sql('DELETE FROM seckill.releases WHERE done_at IS NULL');
check_numbers($node, 'after failures');

# no first number: new ones, as of a restock
sql("INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, now(), 2)");
await_releases($node, 1, 4, 'a release of new units');
like(sql('SELECT numbers FROM seckill.items WHERE item_id = 1'), qr/\[21,23\)\}$/, 'with new numbers');
my ($rc, $out, $err) = $node->psql('postgres', "INSERT INTO seckill.releases (item_id, release_at, units, first_unit) VALUES (1, 'infinity', 2, 2147483647)");
like($err, qr/out of range/, 'numbers end somewhere');

# a release under an open lease whose memory is lost
sql("SELECT seckill_prewarm(1, 2)");
$node->restart;
sql("INSERT INTO seckill.releases (item_id, release_at, units, first_unit) VALUES (1, now(), 2, 14)");
await_releases($node, 1, 5, 'a release beside a lost lease');
check_numbers($node, 'with a lost lease');
sql("SELECT seckill_recall(1)");
check_numbers($node, 'settled');

# a crowd takes a thousand hidden numbers in batches of ten
add_hidden(3, 1000);
my $stop = start_crowd($node, 24, map { "\\set u random(1, 1000)\nSELECT outcome FROM seckill_claim(3, :u, '$_');\n" } @modes);
sql("INSERT INTO seckill.releases (item_id, release_at, units, first_unit) SELECT 3, clock_timestamp() + n * interval '20 ms', 10, 10 * n + 1 FROM generate_series(0, 99) n");
ok($node->poll_query_until('postgres', 'SELECT count(*) > 300 FROM seckill.orders WHERE item_id = 3'), 'a crowd takes them');
$node->stop('immediate');
$stop->();
$node->start;
check_numbers($node, 'after a crash');
$stop = start_crowd($node, 24, map { "\\set u random(1, 1000)\nSELECT outcome FROM seckill_claim(3, :u, '$_');\n" } @modes);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1000 FROM seckill.orders WHERE item_id = 3'), 'all are taken');
$node->stop('fast');
$stop->();
$node->start;
is(sql('SELECT count(DISTINCT unit), min(unit), max(unit) FROM seckill.orders WHERE item_id = 3'), '1000|1|1000', 'each once');
check_numbers($node, 'at the end');
$node->stop;
done_testing();
