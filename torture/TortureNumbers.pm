# What is promised of codes, envelopes and generators, in numbers that take long:
# told codes whose orders die, a crowd at one envelope, many generated codes.
package TortureNumbers;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

our @EXPORT = qw(told_codes envelope_crowd generated_codes);

my @modes = qw(optimistic retry pessimistic advisory cache auto queue);

#
# Told codes
#

# How a buyer claims a code of an item and notes it; :id is 0 without an order.
sub claim
{
	my ($item, $mode) = @_;
	return <<"EOC";
\\set user random(1, 1000000000)
SELECT coalesce(order_id, 0) AS id, code FROM seckill_claim($item, :user, '$mode') \\gset
\\if :id > 0
INSERT INTO told SELECT $item, :id, c FROM (VALUES (nullif(:code::text, '')), ((seckill_unit($item, :id)).code)) x(c) WHERE c IS NOT NULL;
EOC
}

# The lives of an order: by the number of its item.
my @lives = (
	{
		name => 'told when claimed, cancelled',
		columns => "reveal_on = 'pending', pay_within = '1 hour'",
		life => "SELECT seckill_cancel(:item, :id);\n" },
	{
		name => 'cancelled before it is told, or told when paid, and refunded',
		columns => "pay_within = '1 hour'",
		life => <<'EOC' },
\set way random(1, 3)
\if :way > 1
SELECT seckill_confirm(:item, :id);
INSERT INTO told SELECT :item, :id, code FROM seckill_unit(:item, :id);
\endif
SELECT seckill_cancel(:item, :id, true);
EOC
	{
		name => 'sold, and refunded in the same transaction or later',
		columns => "reveal_on = 'pending'",
		life => "SELECT seckill_cancel(:item, :id, true);\n" },
	{
		name => 'not paid, or paid late by the session that claimed it',
		columns => "reveal_on = 'pending', pay_within = '100 ms'",
		life => <<'EOC' },
\if :late > 0
SELECT (seckill_confirm(:item, :late) = 'confirmed')::integer AS paid \gset
INSERT INTO told SELECT :item, :late, code FROM seckill_unit(:item, :late) WHERE code IS NOT NULL;
\if :paid
SELECT seckill_cancel(:item, :late, true);
\endif
\endif
\set late :id
EOC
	{
		name => 'redeemed, released, cancelled',
		columns => "reveal_on = 'pending', pay_within = '1 hour'",
		life => <<'EOC' });
SELECT outcome FROM seckill_redeem(:item, (SELECT code FROM seckill.orders JOIN seckill.units USING (item_id, unit) WHERE item_id = :item AND order_id = :id), :user);
SELECT seckill_release(:item, :id);
SELECT seckill_cancel(:item, :id);
EOC

# Codes are claimed and told, and their orders die in all ways, so many times.
# The server crashes, and the rest is sold: no code is told for two orders.
sub told_codes
{
	my (%params) = @_;
	my ($lives, $clients) = @params{qw(lives clients)};
	my $rounds = int(1.4 * $lives / $clients) + 1;
	my $codes = int(1.3 * $rounds * $clients / @lives) + 500;
	my $node = seckill_node('codes', conf => "seckill.naptime = 1s\nseckill.lease_units = 50\n");
	my @scripts;

	$node->safe_psql('postgres', 'CREATE TABLE told (item_id bigint, order_id bigint, code text)');
	foreach my $item (1 .. @lives)
	{
		my $life = $lives[ $item - 1 ];

		$node->safe_psql('postgres', <<"EOC");
INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($item, 0, true);
UPDATE seckill.items SET $life->{columns} WHERE item_id = $item;
SELECT added FROM seckill_add_units($item, codes => seckill_make_codes($codes));
EOC
		push @scripts, map { "\\set item $item\n" . claim($item, $_) . $life->{life} . "\\endif\n" } @modes;
	}
	# a claim and its end in one transaction, and one that is rolled back
	push @scripts, "\\set item 3\nBEGIN;\n" . claim(3, $_) . $lives[2]{life} . "\\endif\nCOMMIT;\n",
	  "\\set item 3\nBEGIN;\n" . claim(3, $_) . "\\endif\nROLLBACK;\n"
	  foreach qw(cache advisory);

	local $SeckillTest::max_tries = 10;
	local @SeckillTest::variables = ('-D', 'late=0');
	crowd($node, $clients, $rounds, @scripts);
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM seckill.orders WHERE item_id = 4 AND state = 'pending'}),
		'what is not paid has expired');

	my $dead = $node->safe_psql('postgres', <<'EOC');
SELECT count(DISTINCT (t.item_id, t.order_id)) FROM told t JOIN seckill.orders o USING (item_id, order_id) WHERE state IN ('cancelled', 'expired')
EOC
	cmp_ok($dead, '>=', $lives, "$lives orders with told codes have died");
	$node->stop('immediate');
	$node->start;
	sell_rest($node, $_) foreach 1 .. @lives;
	check_told($node, $codes);
	diag(sprintf '%-24s %10d', 'told codes, then dead', $dead);
	diag(sprintf '%-24s %10d', 'codes', $codes * @lives);
	$node->stop;
	return;
}

# Sell and tell what is left of an item.
sub sell_rest
{
	my ($node, $item) = @_;
	my $sold;

	$node->safe_psql('postgres', "UPDATE seckill.items SET pay_within = NULL WHERE item_id = $item");
	do {
		$sold = $node->safe_psql('postgres', <<"EOC");
WITH got AS (SELECT * FROM seckill_claim_many($item, array_fill(7::bigint, '{2000}'), 'pessimistic') WHERE outcome = 'sold'),
	noted AS (INSERT INTO told SELECT $item, order_id, code FROM got)
SELECT count(*) FROM got;
EOC
	} while ($sold > 0);
	return;
}

sub check_told
{
	my ($node, $codes) = @_;

	is($node->safe_psql('postgres', <<'EOC'), 0, 'no code was told for two orders');
SELECT count(*) FROM (SELECT FROM told GROUP BY item_id, code HAVING count(DISTINCT order_id) > 1) twice
EOC
	is($node->safe_psql('postgres', <<"EOC"), 0, 'and none was lost: each was told');
SELECT count(*) FROM (SELECT item_id FROM told GROUP BY item_id HAVING count(DISTINCT code) <> $codes) lost
EOC
	is($node->safe_psql('postgres', <<'EOC'), 0, 'the books count those of dead orders');
SELECT count(*) FROM (SELECT t.item_id, count(DISTINCT t.order_id) AS n
	FROM told t JOIN seckill.orders o USING (item_id, order_id) WHERE state IN ('cancelled', 'expired') GROUP BY 1) d
FULL JOIN seckill_audit() a USING (item_id)
WHERE coalesce(d.n, 0) <> a.burnt
EOC
	check_numbers($node, 'told codes');
	return;
}

#
# Envelopes
#

# So many sessions open one envelope at the same moment, once for each list of
# modes: as many as there are shares get one, and all shares together are the
# amount.
sub envelope_crowd
{
	my (%params) = @_;
	my ($clients, $shares, $total) = (500, 100, 1_000_003);
	my $node = seckill_node('envelope', conf => 'max_connections = ' . ($clients + 20));
	my $item = 0;

	$node->safe_psql('postgres', 'CREATE TABLE wallet (item_id bigint, user_id bigint, amount bigint)');
	foreach my $list (@{ $params{modes} // [ [@modes] ] })
	{
		my $name = @$list > 1 ? 'all modes' : $list->[0];

		$item++;
		$node->safe_psql('postgres', <<"EOC");
INSERT INTO seckill.items (item_id, stock, numbered, per_user_limit) VALUES ($item, 0, true, 1);
SELECT added FROM seckill_add_units($item, amounts => seckill_divide_amount($total, $shares, seed => sha256('envelope $item')));
EOC
		crowd($node, $clients, 2, map { open_envelope($item, $_) } @$list);
		check_envelope($node, $item, $shares, $total, $name);
	}
	$node->stop;
	return;
}

# In mode queue the order is committed by another session, so the amount is moved
# after it; else both are one statement.
sub open_envelope
{
	my ($item, $mode) = @_;

	return <<"EOC" if $mode ne 'queue';
WITH got AS (SELECT * FROM seckill_claim($item, :client_id, '$mode'))
INSERT INTO wallet SELECT $item, :client_id, amount FROM got WHERE outcome = 'sold';
EOC
	return <<"EOC";
SELECT coalesce(amount, 0) AS amount FROM seckill_claim($item, :client_id, 'queue') \\gset
INSERT INTO wallet SELECT $item, :client_id, :amount WHERE :amount > 0;
EOC
}

# Mode optimistic gives up when another is faster: then some are left, and sold.
sub check_envelope
{
	my ($node, $item, $shares, $total, $name) = @_;

	$node->safe_psql('postgres', <<"EOC");
WITH got AS (SELECT * FROM seckill_claim_many($item, ARRAY(SELECT -n FROM generate_series(1, $shares) n), 'pessimistic'))
INSERT INTO wallet SELECT $item, user_id, amount FROM got WHERE outcome = 'sold';
EOC
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT user_id), sum(amount) FROM wallet WHERE item_id = $item"),
		"$shares|$shares|$total", "$name: so many winners have the total");
	is($node->safe_psql('postgres', "SELECT count(*) FROM wallet WHERE item_id = $item AND user_id < 0"),
		0, "$name: no share is left")
	  if $name ne 'optimistic';
	is($node->safe_psql('postgres', <<"EOC"), 0, "$name: the wallet has what the orders say");
SELECT count(*) FROM (SELECT user_id, amount FROM wallet WHERE item_id = $item) w
FULL JOIN (SELECT user_id, amount FROM seckill.orders JOIN seckill.units USING (item_id, unit) WHERE item_id = $item) o USING (user_id, amount)
WHERE w IS NULL OR o IS NULL
EOC
	check_numbers($node, $name);
	return;
}

#
# Codes
#

# So many codes: none twice, and in each place every character as often (chi
# square, 30 degrees of freedom: 88 at one in a million).
sub generated_codes
{
	my (%params) = @_;
	my $calls = $params{codes} / 100_000;
	my $node = seckill_node('generated');

	$node->safe_psql('postgres', "CREATE TABLE codes AS SELECT unnest(seckill_make_codes(100000)) AS code FROM generate_series(1, $calls)");
	is($node->safe_psql('postgres', 'SELECT count(DISTINCT code) FROM codes'), $params{codes}, 'all codes are different');
	is($node->safe_psql('postgres', <<'EOC'), '', 'in each place, each character is as often');
SELECT place, sum((n - s / 31.0) ^ 2 / (s / 31.0)) AS chi, count(*)
FROM (SELECT k AS place, count(*) AS n, sum(count(*)) OVER (PARTITION BY k) AS s
	FROM codes, generate_series(1, 14) k WHERE k % 5 <> 0 GROUP BY k, substr(code, k, 1)) x
GROUP BY place HAVING sum((n - s / 31.0) ^ 2 / (s / 31.0)) >= 88 OR count(*) <> 31
EOC
	$node->stop;
	return;
}

1;
