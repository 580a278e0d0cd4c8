# Commitments: an implementation in Perl, written from docs/scenarios.md, agrees
# on random values; a dump has them; what is promised of shares, prizes and codes
# holds for fixed seeds.
use strict;
use warnings;

use Digest::SHA qw(sha256 sha256_hex);
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $inputs = 1000;
my $node = seckill_node('commitments', conf => 'log_statement = none');

srand($ENV{SEED} // 21);

#
# The commitment
#

sub commitment
{
	my ($seed, $first, $prizes, $amounts, $described) = @_;
	my $last = $first + @$prizes - 1;
	my @values = grep { defined $prizes->[$_] || defined $amounts->[$_] } 0 .. $#$prizes;
	my %used = map { $prizes->[$_] => 1 } grep { defined $prizes->[$_] } @values;
	my $bytes = pack('N', length $seed) . $seed . pack('NNN', $first, $last, scalar @values);

	$bytes .= pack('NNq>', $first + $_, $prizes->[$_] // 0, $amounts->[$_] // 0) foreach @values;
	$bytes .= pack('Nq>', $_, $described->{$_}{amount} // 0) . sha256($described->{$_}{title})
	  foreach sort { $a <=> $b } keys %used;
	return sha256_hex($bytes);
}

sub array
{
	my ($type, @values) = @_;
	return "'{" . join(',', map { $_ // 'NULL' } @values) . "}'::$type\[]";
}

# Titles in UTF-8; the fourth has two bytes for one character.
my %described = (
	1 => { title => 'a car', amount => 2_000_000 },
	2 => { title => 'a cup' },
	3 => { title => '' },
	4 => { title => "caf\xc3\xa9", amount => 0 });
my (@calls, @expected);

$node->safe_psql('postgres', 'INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 0, true);'
	  . join '', map { sprintf "INSERT INTO seckill.prizes (item_id, prize, title, amount) VALUES (1, %d, '%s', %s);",
		$_, $described{$_}{title}, $described{$_}{amount} // 'NULL' } sort keys %described);
my $first = 1;
foreach (1 .. $inputs)
{
	my $n = 1 + int(rand(rand() < 0.9 ? 6 : 60));
	my $seed = join '', map { chr(int(rand(256))) } 1 .. 16 + int(rand(20));
	my @prizes = map { rand() < 0.4 ? undef : 1 + int(rand(4)) } 1 .. $n;
	my @amounts = map { rand() < 0.4 ? undef : int(10**rand(15)) } 1 .. $n;
	my ($no_prizes, $no_amounts) = rand() < 0.2 ? (1, 0) : rand() < 0.2 ? (0, 1) : (0, 0);

	@prizes = (undef) x $n if $no_prizes;
	@amounts = (undef) x $n if $no_amounts;
	push @calls, sprintf q{SELECT first_unit FROM seckill_add_units(1, prizes => %s, amounts => %s, seed => '\x%s');},
	  $no_prizes ? 'NULL' : array('integer', @prizes), $no_amounts ? 'NULL' : array('bigint', @amounts), unpack('H*', $seed);
	push @expected, "$first|" . commitment($seed, $first, \@prizes, \@amounts, \%described);
	$first += $n;
}
$node->safe_psql('postgres', join "\n", @calls);
my $all = q{SELECT first_unit, encode(commitment, 'hex') FROM seckill.public_commitments ORDER BY first_unit};
my @made = split /\n/, $node->safe_psql('postgres', $all);

is(scalar @made, $inputs, 'commitments were made');
is(scalar(grep { $made[$_] ne $expected[$_] } 0 .. $inputs - 1), 0, 'both implementations agree')
  or diag("$calls[0]\n$made[0]\n$expected[0]");

# a list without salt could be guessed; with the seed it cannot: the same values
# have another commitment each time
$node->safe_psql('postgres', q{INSERT INTO seckill.items (item_id, stock, numbered) VALUES (2, 0, true);
SELECT seckill_add_units(2, amounts => '{1}', seed => uuid_send(gen_random_uuid())) FROM generate_series(1, 50)});
is($node->safe_psql('postgres', 'SELECT count(DISTINCT commitment) FROM seckill.public_commitments WHERE item_id = 2'),
	50, 'equal values have different commitments');

# a dump has them, and the reveal in the copy finds the values unchanged
my $file = $node->basedir . '/dump.sql';
$node->safe_psql('postgres', 'SELECT seckill_close(1)');
$node->command_ok([ 'pg_dump', '-f', $file, 'postgres' ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', $file ], 'is restored');
is(join("\n", grep { !/^\d+\|$/ } (split /\n/, $node->safe_psql('copy', "$all"))[ 0 .. 2 ]),
	join("\n", (split /\n/, $node->safe_psql('postgres', $all))[ 0 .. 2 ]), 'with the same commitments');
is($node->safe_psql('copy', 'SELECT count(*) FILTER (WHERE unchanged), count(*) FROM seckill_reveal(1)'),
	"$inputs|$inputs", 'which are revealed there: all values are unchanged');
is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.public_commitments WHERE seed IS NOT NULL'), 0, 'and stay secret here');
check_audit($node, 'the copy', 'copy');

# one bit of one value, changed by a superuser: the reveal says which commitment
my ($unit, $where) = split /\|/, $node->safe_psql('copy', 'SELECT unit, first_unit FROM seckill.units u JOIN seckill.commitments c'
	  . ' ON c.item_id = u.item_id AND unit BETWEEN first_unit AND last_unit WHERE u.item_id = 1 AND amount > 0 OFFSET 700 LIMIT 1');
$node->safe_psql('copy', "SET session_replication_role = replica; UPDATE seckill.units SET amount = amount # 1 WHERE item_id = 1 AND unit = $unit");
is($node->safe_psql('copy', 'SELECT first_unit FROM seckill_reveal(1) WHERE NOT unchanged'), $where, 'a changed bit is found');

#
# Chance, with fixed seeds
#

# the sums and bounds of known bugs: a share that is negative, a maximum that is
# exceeded, a last share that gets what rounding has left
is($node->safe_psql('postgres', <<'SQL'), 't|t|t', 'sums and bounds of cases that went wrong elsewhere');
SELECT (SELECT sum(a) = 100 AND min(a) >= 5 AND max(a) <= 6 FROM unnest(seckill_divide_amount(100, 18, even => true)) a),
	(SELECT bool_and(s = 2000 AND low >= 1 AND high <= 500) FROM generate_series(1, 500) i,
		LATERAL (SELECT sum(a) s, min(a) low, max(a) high
			FROM unnest(seckill_divide_amount(2000, 100, max_share => 500, seed => sha256(i::text::bytea))) a) x),
	(SELECT bool_and(s = 100 AND low >= 1) FROM generate_series(1, 500) i,
		LATERAL (SELECT sum(a) s, min(a) low
			FROM unnest(seckill_divide_amount(100, 18, seed => sha256(i::text::bytea))) a) x)
SQL

# random totals, shares and bounds
is($node->safe_psql('postgres', <<'SQL'), 0, 'every sum is exact, and no share is out of bounds');
SELECT count(*)
FROM (SELECT i, 1 + (h[1] % 40)::integer AS shares, (h[2] % 5)::bigint AS low, (h[3] % 1000)::bigint AS width, h[4] AS more
	FROM generate_series(1, 100000) i,
		LATERAL (SELECT array_agg(abs(('x' || substr(md5(i || '-' || k), 1, 15))::bit(60)::bigint)) AS h FROM generate_series(1, 4) k) x) v,
	LATERAL (SELECT low * shares + more % (width * shares + 1) AS total) t,
	LATERAL (SELECT sum(a) AS s, min(a) AS least, max(a) AS most
		FROM unnest(seckill_divide_amount(total, shares, low, low + width, seed => sha256(i::text::bytea))) a) d
WHERE s <> total OR least < low OR most > low + width
SQL

# 10,000 in 10: the mean of each place, where the best share is (chi square, 9
# degrees of freedom: 27.9 at 0.1 %), and the first and last place vary alike
my ($off, $chi, $ratio) = split /\|/, $node->safe_psql('postgres', <<'SQL');
WITH drawn AS MATERIALIZED (
	SELECT i, place, amount FROM generate_series(1, 100000) i,
		unnest(seckill_divide_amount(10000, 10, seed => sha256(('e' || i)::bytea))) WITH ORDINALITY a(amount, place)),
places AS (SELECT place, avg(amount) AS mean, variance(amount) AS v FROM drawn GROUP BY 1),
best AS (SELECT place, count(*) AS n FROM (SELECT DISTINCT ON (i) i, place FROM drawn ORDER BY i, amount DESC, place) b GROUP BY 1)
SELECT (SELECT max(abs(mean - 1000) / sqrt(v / 100000)) FROM places), (SELECT sum((n - 10000) ^ 2 / 10000) FROM best),
	(SELECT max(v) FILTER (WHERE place = 10) / max(v) FILTER (WHERE place = 1) FROM places)
SQL
cmp_ok($off, '<', 4, 'the mean of each place is right within four standard errors');
cmp_ok($chi, '<', 27.9, 'the best share is in each place alike');
cmp_ok(abs($ratio - 1), '<', 0.03, 'the last place varies as the first');

# a pool without spread: places of a 1-in-10 pool (chi square, 9 degrees of freedom), and
# of 20 places (19 degrees: 43.8 at 0.1 %)
my ($ten, $twenty) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT (SELECT sum((n - 10000) ^ 2 / 10000.0) FROM (SELECT place, count(*) AS n FROM generate_series(1, 100000) i,
		unnest(seckill_deal_prizes(10, '{1}', false, sha256(('t' || i)::bytea))) WITH ORDINALITY p(prize, place)
		WHERE prize = 1 GROUP BY 1) a),
	(SELECT sum((n - 25000) ^ 2 / 25000.0) FROM (SELECT place, count(*) AS n FROM generate_series(1, 100000) i,
		unnest(seckill_deal_prizes(20, '{2,3}', false, sha256(('u' || i)::bytea))) WITH ORDINALITY p(prize, place)
		WHERE prize IS NOT NULL GROUP BY 1) a)
SQL
cmp_ok($ten, '<', 27.9, 'each place of ten wins alike');
cmp_ok($twenty, '<', 43.8, 'and of twenty');

# 1,000 random pools: the quantities are exact
is($node->safe_psql('postgres', <<'SQL'), 0, 'the quantities of all pools are exact');
SELECT count(*) FROM (
	SELECT i, array_agg((('x' || substr(md5(i || ':' || k), 1, 6))::bit(24)::integer % 30) ORDER BY k) AS quantities
	FROM generate_series(1, 1000) i, generate_series(1, 5) k GROUP BY i) q,
	LATERAL (SELECT sum(x) AS all_prizes FROM unnest(quantities) x) s,
	LATERAL (SELECT array_agg(coalesce(n, 0) ORDER BY k) AS dealt FROM generate_series(1, 5) k
		LEFT JOIN (SELECT prize, count(*)::integer AS n
			FROM unnest(seckill_deal_prizes(greatest(all_prizes::integer, 1) + i % 40, quantities, i % 2 = 0, sha256(i::text::bytea))) prize
			GROUP BY 1) d ON prize = k) g
WHERE dealt <> quantities
SQL

# 200,000 codes in two calls: none twice, and each character as often (chi
# square, 30 degrees of freedom: 59.7 at 0.1 %).  They are random anew each time:
# the bound is at one in a million.
$node->safe_psql('postgres', 'CREATE TABLE codes AS SELECT unnest(seckill_make_codes(100000)) AS code FROM generate_series(1, 2)');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT code) FROM codes'), 200000, 'all codes are different');
cmp_ok($node->safe_psql('postgres', <<'SQL'), '<', 88, 'each character is as often');
SELECT sum((n - s / 31.0) ^ 2 / (s / 31.0)) FROM (SELECT count(*) AS n, sum(count(*)) OVER () AS s
	FROM codes TABLESAMPLE SYSTEM (50) REPEATABLE (1), unnest(string_to_array(replace(code, '-', ''), NULL)) c GROUP BY c) x
SQL
# they are imported, and a second time none is
is($node->safe_psql('postgres', <<'SQL'), "100000|0\n0|100000", 'codes are imported once');
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (3, 0, true);
SELECT added, cardinality(duplicates) FROM (SELECT array_agg(code) AS all_codes FROM (SELECT code FROM codes LIMIT 100000) c) x,
	seckill_add_units(3, all_codes);
SELECT added, cardinality(duplicates) FROM (SELECT array_agg(code) AS all_codes FROM (SELECT code FROM codes LIMIT 100000) c) x,
	seckill_add_units(3, all_codes);
SQL
$node->safe_psql('postgres', q{SELECT seckill_add_units(3, ARRAY['secret-code-1', 'secret-code-1'])});
$node->safe_psql('postgres', q{SELECT seckill_add_units(3, ARRAY['secret-code-1', 'secret-code-2'])});
unlike(slurp_file($node->logfile), qr/secret-code|Key \(item_id, code\)/, 'no code is in the log');
check_audit($node, 'at the end');
$node->stop;
done_testing();
