# Crowds at units with values: an envelope, codes and a prize pool in all modes
# at once, with rollbacks, closes, redeems against expiry, and a crash.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('values', conf => 'seckill.naptime = 1s');
my @modes = qw(retry pessimistic advisory cache auto);
my $laws = q{SELECT count(*) FROM seckill_audit() a LEFT JOIN seckill_audit_values() v USING (item_id)
WHERE a.difference <> 0 OR a.twice <> '{}' OR a.missing <> 0 OR a.foreign_numbers <> '{}' OR a.double_sold <> 0
	OR v.difference <> 0 OR v.amount_difference <> 0};

sub laws
{
	is($node->safe_psql('postgres', $laws), 0, "the laws hold: $_[0]");
	return;
}

#
# One envelope of 100 shares and 200 users: 100 get one, the wallet has the total
#

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE wallet (user_id bigint, amount bigint);
INSERT INTO seckill.items (item_id, stock, numbered, per_user_limit) VALUES (1, 0, true, 1);
SELECT seckill_add_units(1, amounts => seckill_divide_amount(100000, 100, seed => sha256('an envelope')));
SQL
crowd($node, 100, 3, map { <<"SQL" } @modes);
\\set user random(1, 200)
\\set undo random(1, 3)
BEGIN;
WITH got AS (SELECT * FROM seckill_claim(1, :user, '$_'))
INSERT INTO wallet SELECT :user, amount FROM got WHERE outcome = 'sold';
\\if :undo = 1
ROLLBACK;
\\else
COMMIT;
\\endif
SQL
laws('an envelope');
is($node->safe_psql('postgres', <<'SQL'), 't|t', 'each share moved with its order');
SELECT (SELECT sum(amount) FROM wallet) = given, (SELECT count(*) FROM wallet) = taken FROM seckill.envelopes
SQL
is($node->safe_psql('postgres', 'SELECT max(n) FROM (SELECT count(*) AS n FROM wallet GROUP BY user_id) x'), 1, 'nobody has two');
$node->safe_psql('postgres', q{WITH rest AS (SELECT * FROM seckill_close(1)) INSERT INTO wallet SELECT 0, amount FROM rest});
is($node->safe_psql('postgres', 'SELECT sum(amount) FROM wallet'), 100000, 'and with the rest it is the total');

#
# Close against open, refunds and other closes: the wallet has the total
#

$node->safe_psql('postgres', <<'SQL');
TRUNCATE wallet;
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (2, 0, true);
SELECT seckill_add_units(2, amounts => seckill_divide_amount(50000, 500, seed => sha256('another one')));
SQL
{
	local $SeckillTest::max_tries = 20;
	crowd($node, 40, 6, (map { <<"SQL" } @modes), <<'SQL', <<'SQL');
\\set user random(1, 100000)
BEGIN;
WITH got AS (SELECT * FROM seckill_claim(2, :user, '$_'))
INSERT INTO wallet SELECT :user, amount FROM got WHERE outcome = 'sold';
COMMIT;
SQL
BEGIN;
WITH o AS (SELECT order_id, unit FROM seckill.orders WHERE item_id = 2 AND state = 'confirmed' ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),
	back AS (SELECT u.amount, seckill_cancel(2, o.order_id, true) FROM o JOIN seckill.units u ON u.item_id = 2 AND u.unit = o.unit)
INSERT INTO wallet SELECT -1, -amount FROM back;
COMMIT;
SQL
BEGIN;
WITH rest AS (SELECT * FROM seckill_close(2)) INSERT INTO wallet SELECT 0, amount FROM rest WHERE amount > 0;
COMMIT;
SQL
}
laws('closes');
$node->safe_psql('postgres', q{WITH rest AS (SELECT * FROM seckill_close(2)) INSERT INTO wallet SELECT 0, amount FROM rest});
is($node->safe_psql('postgres', 'SELECT sum(amount) FROM wallet'), 50000, 'each share was given or told, once');

#
# Codes: redeemed once, never told twice, against expiry, cancel and release
#

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE told (user_id bigint, code text);
CREATE TABLE used (code text, n integer);
CREATE FUNCTION try_cancel(id bigint) RETURNS seckill_order_state LANGUAGE plpgsql AS $$
BEGIN
	RETURN seckill_cancel(3, id, true);
EXCEPTION WHEN SQLSTATE 'SK003' THEN
	RETURN 'expired';
END
$$;
INSERT INTO seckill.items (item_id, stock, numbered, reveal_on, pay_within) VALUES (3, 0, true, 'pending', '300 ms');
SELECT seckill_add_units(3, codes => seckill_make_codes(600));
SQL
{
	local $SeckillTest::max_tries = 20;
	crowd($node, 40, 6, (map { <<"SQL" } @modes), <<'SQL', <<'SQL', <<'SQL');
\\set user random(1, 1000)
WITH got AS (SELECT * FROM seckill_claim(3, :user, '$_'))
INSERT INTO told SELECT :user, code FROM got WHERE outcome = 'sold';
SQL
WITH one AS (SELECT * FROM told ORDER BY random() LIMIT 1),
	try AS (SELECT one.code, r.outcome FROM one, seckill_redeem(3, one.code, one.user_id) r)
INSERT INTO used SELECT code, 1 FROM try WHERE outcome = 'redeemed';
SQL
WITH o AS (SELECT order_id, unit FROM seckill.orders WHERE item_id = 3 AND redeemed_at IS NOT NULL ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),
	back AS (SELECT u.code, seckill_release(3, o.order_id) AS state FROM o JOIN seckill.units u ON u.item_id = 3 AND u.unit = o.unit)
INSERT INTO used SELECT code, -1 FROM back WHERE state IN ('pending', 'expired');
SQL
WITH o AS MATERIALIZED (SELECT order_id FROM seckill.orders WHERE item_id = 3 AND state IN ('pending', 'confirmed') ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
SELECT try_cancel(order_id) FROM o;
SQL
}
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM seckill.orders WHERE item_id = 3 AND state = 'pending'}),
	'what is not redeemed has expired');
laws('coupons');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT code) FROM told'), 0, 'no code was told twice');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT code FROM used GROUP BY code HAVING sum(n) > 1) x'), 0, 'none was used twice');
is($node->safe_psql('postgres', <<'SQL'), 0, 'used is what the orders say');
SELECT count(*) FROM (SELECT code, sum(n) AS n FROM used GROUP BY 1) x
	FULL JOIN (SELECT u.code, (o.redeemed_at IS NOT NULL)::integer AS n FROM seckill.orders o JOIN seckill.units u USING (item_id, unit)
		WHERE item_id = 3) y USING (code)
WHERE coalesce(x.n, 0) <> coalesce(y.n, 0)
SQL

#
# A prize pool and a crash: every prize is given once, all draws can be made
#

$node->safe_psql('postgres', <<'SQL');
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (4, 0, true);
INSERT INTO seckill.prizes (item_id, prize, title, quantity) VALUES (4, 1, 'a car', 1), (4, 2, 'a cup', 40);
SELECT seckill_add_units(4, prizes => seckill_deal_prizes(20000, '{1,40}', seed => sha256('a pool of prizes')), seed => sha256('a pool of prizes'));
SQL
my $pool = start_crowd($node, 30, map { "SELECT outcome FROM seckill_claim_many(4, array_fill(:client_id::bigint, '{3}'), '$_') WHERE outcome = 'sold';" } @modes);
ok($node->poll_query_until('postgres', 'SELECT count(*) > 100 FROM seckill.orders WHERE item_id = 4'), 'draws are made');
$node->stop('immediate');
$pool->();
$node->start;
laws('after a crash');
$node->safe_psql('postgres', q{SELECT count(*) FROM seckill_claim_many(4, array_fill(1, '{20000}'), 'cache') WHERE outcome = 'sold'});
laws('all draws made');
is($node->safe_psql('postgres', 'SELECT prize, promised, units, given FROM seckill_audit_values(4) ORDER BY 1'),
	"1|1|1|1\n2|40|40|40", 'prizes are exact');
$node->safe_psql('postgres', 'SELECT seckill_close(4)');
is($node->safe_psql('postgres', 'SELECT unchanged FROM seckill_reveal(4)'), 't', 'and as they were committed to');

$node->stop;
done_testing();
