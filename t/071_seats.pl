# Seats under load: no leg of a seat is sold twice, whatever the modes; nobody is
# refused while a seat is free; and seats come back.  SEATS_FACTOR multiplies the
# calls.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $factor = $ENV{SEATS_FACTOR} // 1;
my $node = seckill_node('seats', conf => "seckill.queue_batch = 200\n");
my @modes = qw(optimistic retry pessimistic advisory cache cache cache auto);

# Trains from one number to another, each of so many seats and legs.
sub add_trains
{
	my ($from, $to, $seats, $legs, $columns) = @_;

	$node->safe_psql('postgres', <<"EOC");
INSERT INTO seckill.items (item_id, stock, legs) SELECT i, 0, $legs FROM generate_series($from, $to) i;
INSERT INTO seckill.seats (item_id, seat, block, car)
SELECT i, s, s / 5, s / 50 FROM generate_series($from, $to) i, generate_series(1, $seats) s;
EOC
	$node->safe_psql('postgres',
		"UPDATE seckill.items SET $columns WHERE item_id BETWEEN $from AND $to")
	  if $columns;
	return;
}

$node->safe_psql('postgres', <<'EOC');
CREATE TABLE refused (item bigint, f integer, t integer, mode text);
-- the trips that were refused although a seat is free: without cancels, a seat
-- that is free at the end was free before
CREATE VIEW wrongly AS
SELECT DISTINCT r.*, s.seat FROM refused r JOIN seckill.seats s ON s.item_id = r.item
WHERE s.taken & (((1::bigint << (r.t - r.f)) - 1) << r.f) = 0;
EOC

#
# The classic example: one leg, every seat is sold, nobody is refused before
#

add_trains(1, 1, 8000, 1);
crowd($node, 160, 50, map { <<"EOC" } qw(cache auto retry));
SELECT outcome FROM seckill_book(1, :client_id, 0, 1, mode => '$_') \\gset
INSERT INTO refused SELECT 1, 0, 1, :outcome WHERE :outcome <> 'sold';
EOC
is($node->safe_psql('postgres', 'SELECT sold, taken FROM seckill_audit_seats(1)'),
	'8000|8000', 'a hall is sold to the last seat by as many calls');
is($node->safe_psql('postgres', 'SELECT count(*) FROM refused'), 0, 'nobody was refused');
check_seats($node, 'hall');

#
# Trains, all modes at once, with rollbacks and savepoints
#

my $trip = <<'EOC';
\set item random(11, 12)
\set f random(0, 9)
\set t random(:f + 1, 10)
\set end random(1, 6)
EOC
my @scripts = map { <<"EOC" } @modes;
$trip
BEGIN;
\\if :end = 3
SAVEPOINT s;
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, mode => '$_');
ROLLBACK TO s;
\\endif
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, mode => '$_') \\gset
INSERT INTO refused SELECT :item, :f, :t, '$_' WHERE :outcome = 'sold_out';
\\if :end <= 2
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
push @scripts, (<<"EOC") x 2;
$trip
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, mode => 'queue') \\gset
INSERT INTO refused SELECT :item, :f, :t, 'queue' WHERE :outcome = 'sold_out';
EOC
add_trains(11, 12, 200, 10);
{
	# a transaction with a savepoint books twice
	local $SeckillTest::max_tries = 10;
	crowd($node, 100, 40 * $factor, @scripts);
}
check_seats($node, 'mix');
is($node->safe_psql('postgres', 'SELECT * FROM wrongly LIMIT 5'),
	'', 'nobody was refused while a seat was free');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM refused'),
	'>', 0, 'some were refused');

#
# Parties, changes, payment, cancels, exchanges
#

# another process may expire or cancel the order meanwhile
$node->safe_psql('postgres', <<'EOC');
CREATE FUNCTION cancel(item bigint, buyer bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN seckill_cancel(item_id, order_id, true) FROM seckill.orders
	WHERE item_id = item AND user_id = buyer AND state IN ('pending', 'confirmed') LIMIT 1;
EXCEPTION WHEN SQLSTATE 'SK003' THEN
	RETURN 'expired';
END
$$;
CREATE FUNCTION confirm(item bigint, buyer bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN seckill_confirm(item_id, order_id) FROM seckill.orders
	WHERE item_id = item AND user_id = buyer AND state IN ('pending', 'expired') LIMIT 1;
EXCEPTION WHEN SQLSTATE 'SK002' THEN
	RETURN 'cancelled';
END
$$;
EOC
my @lives = map { <<"EOC" } @modes;
\\set item random(21, 25)
\\set f random(0, 19)
\\set t random(:f + 1, 20)
\\set q random(1, 4)
\\set what random(1, 10)
\\if :what <= 5
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, :q, '$_', max_changes => 2);
\\elif :what = 6
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, 2, '$_', seats => ARRAY[:f + 1, :t + 20]);
\\elif :what = 7
SELECT count(*) FROM seckill_free_seats(:item);
\\elif :what = 8
SELECT confirm(:item, :client_id);
\\elif :what = 9
SELECT cancel(:item, :client_id);
\\else
BEGIN;
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, mode => '$_');
SELECT cancel(:item, :client_id);
COMMIT;
\\endif
EOC
push @lives, (<<'EOC') x 2;
\set item random(21, 25)
\set f random(0, 19)
\set t random(:f + 1, 20)
SELECT outcome FROM seckill_book(:item, :client_id, :f, :t, mode => 'queue', max_changes => 1);
EOC
add_trains(21, 25, 100, 20, "pay_within = '200 ms'");
{
	# of calls that lock several orders or seats, some deadlock
	local $SeckillTest::max_tries = 100;
	crowd($node, 100, 40 * $factor, @lives);
}
check_seats($node, 'lives');
ok($node->poll_query_until('postgres',
		q{SELECT NOT EXISTS (SELECT FROM seckill.orders WHERE state = 'pending')}),
	'what is not paid expires');
check_seats($node, 'expired');
note($node->safe_psql('postgres', 'SELECT item_id, taken, seat_legs FROM seckill_audit_seats()'));
note($node->safe_psql('postgres',
	'SELECT map_loads, map_corrections, seats_missed, expired_orders FROM seckill.stat_worker'));

# when all is cancelled, all is free again, also for the map
$node->safe_psql('postgres', <<'EOC');
SELECT count(seckill_cancel(item_id, order_id, true)) FROM seckill.orders
WHERE item_id BETWEEN 21 AND 25 AND state IN ('pending', 'confirmed');
EOC
is($node->safe_psql('postgres', 'SELECT sum(taken), sum(sold) FROM seckill_audit_seats() WHERE item_id > 20'),
	'0|0', 'all seats are back');
is($node->safe_psql('postgres', <<'EOC'), '2000|5', 'and are sold again');
SELECT sum(array_length(b.seats, 1) * 20), count(DISTINCT i)
FROM generate_series(21, 25) i, generate_series(1, 5) n,
	LATERAL seckill_book(i, n, 0, 20, 4, together => 'any') b;
EOC
check_seats($node, 'end');

$node->stop;
done_testing();
