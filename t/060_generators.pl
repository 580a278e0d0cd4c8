# Generators: a second implementation, written from docs/scenarios.md, agrees
# with them on random arguments; and what is promised of chance holds for fixed
# seeds.
use strict;
use warnings;

use Digest::SHA qw(sha256);
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $inputs = 500;    # of each generator

#
# The stream
#

sub stream
{
	my ($seed, $kind) = @_;
	return { prefix => "$seed$kind\0", block => 0, words => [] };
}

sub word
{
	my ($s) = @_;

	push @{ $s->{words} },
	  unpack('Q>4', sha256($s->{prefix} . pack('N', $s->{block}++)))
	  unless @{ $s->{words} };
	return shift @{ $s->{words} };
}

sub uniform
{
	my ($s, $n) = @_;
	my $word;

	return 0 if $n == 1;
	my $excess = (~0 % $n + 1) % $n;    # 2^64 mod n
	do { $word = word($s) } while $excess > 0 && $word > ~0 - $excess;
	return $word % $n;
}

#
# The generators
#

sub divide
{
	my ($total, $shares, $min, $max, $seed) = @_;
	my $s = stream($seed, 'seckill_divide_amount');
	my $left = $total;
	my @amounts;

	use integer;
	$max //= $total - ($shares - 1) * $min;
	foreach my $n (reverse 2 .. $shares)
	{
		my ($mean, $fraction) = (2 * $left / $n, 2 * $left % $n);
		my $is_near_min = $mean + ($fraction > 0 ? 1 : 0) <= $min + $max;
		$mean++ if $fraction > 0 && uniform($s, $n) < $fraction;
		my ($low, $high) = $is_near_min ? ($min, $mean - $min) : ($mean - $max, $max);
		push @amounts, $low + uniform_number($s, $high - $low + 1);
		$left -= $amounts[-1];
	}
	push @amounts, $left;
	foreach my $i (reverse 1 .. $shares - 1)
	{
		my $j = uniform_number($s, $i + 1);
		@amounts[ $i, $j ] = @amounts[ $j, $i ];
	}
	return join ',', @amounts;
}

# "use integer" has signed words: outside of it they are what they should be.
sub uniform_number
{
	no integer;
	return uniform(@_);
}

sub deal
{
	my ($draws, $quantities, $spread, $seed) = @_;
	my $s = stream($seed, 'seckill_deal_prizes');
	my @order = sort { $quantities->[$a] <=> $quantities->[$b] || $a <=> $b } 0 .. $#$quantities;
	my @places = (undef) x $draws;

	if ($spread)
	{
		foreach my $prize (@order)
		{
			my $q = $quantities->[$prize];
			foreach my $j (0 .. $q - 1)
			{
				my $start = int($draws * $j / $q);
				my $place = $start + uniform($s, int($draws * ($j + 1) / $q) - $start);
				$place = ($place + 1) % $draws while defined $places[$place];
				$places[$place] = $prize + 1;
			}
		}
	}
	else
	{
		my @won = map { ($_ + 1) x $quantities->[$_] } @order;
		@places[ 0 .. $#won ] = @won;
		foreach my $i (0 .. $#won)
		{
			my $other = $i + uniform($s, $draws - $i);
			@places[ $i, $other ] = @places[ $other, $i ];
		}
	}
	return join ',', map { $_ // 'NULL' } @places;
}

#
# Random arguments
#

my $node = seckill_node('generators');
srand($ENV{SEED} // 20);

sub random_seed
{
	return join '', map { chr(int(rand(256))) } 1 .. 16 + int(rand(20));
}

# Run expressions in one session; each result is a line.
sub evaluate
{
	return split /\n/, $node->safe_psql('postgres', join("\n", map { "SELECT $_;" } @_));
}

my (@calls, @expected);
foreach (1 .. $inputs)
{
	my $shares = 1 + int(rand(rand() < 0.5 ? 12 : 300));
	my $min = int(rand(rand() < 0.5 ? 3 : 1000));
	my $spread = int(rand(rand() < 0.3 ? 2 : 1_000_000));
	my $total = $shares * $min + int(rand($shares * $spread + 1));
	my $max = rand() < 0.3 ? undef : $min + $spread;
	my $seed = random_seed();

	push @calls, sprintf q{array_to_string(seckill_divide_amount(%d, %d, %d, %s, seed => '\x%s'), ',')},
	  $total, $shares, $min, $max // 'NULL', unpack('H*', $seed);
	push @expected, divide($total, $shares, $min, $max, $seed);
}
my @got = evaluate(@calls);
is(scalar @got, $inputs, 'amounts were divided');
is(scalar(grep { $got[$_] ne $expected[$_] } 0 .. $inputs - 1), 0, 'both implementations divide alike')
  or diag((map { "$calls[$_]\n" } grep { $got[$_] ne $expected[$_] } 0 .. $inputs - 1)[0]);

@calls = @expected = ();
foreach (1 .. $inputs)
{
	my @quantities = map { int(rand(20)) } 1 .. int(rand(6));
	my $sum = 0;
	$sum += $_ foreach @quantities;
	my $draws = $sum + int(rand(rand() < 0.3 ? 1 : 300)) || 1;
	my $spread = rand() < 0.5 ? 1 : 0;
	my $seed = random_seed();

	push @calls, sprintf q{array_to_string(seckill_deal_prizes(%d, '{%s}', %s, '\x%s'), ',', 'NULL')},
	  $draws, join(',', @quantities), $spread ? 'true' : 'false', unpack('H*', $seed);
	push @expected, deal($draws, \@quantities, $spread, $seed);
}
@got = evaluate(@calls);
is(scalar @got, $inputs, 'prizes were dealt');
is(scalar(grep { $got[$_] ne $expected[$_] } 0 .. $inputs - 1), 0, 'both implementations deal alike')
  or diag((map { "$calls[$_]\n" } grep { $got[$_] ne $expected[$_] } 0 .. $inputs - 1)[0]);

#
# Chance, with fixed seeds: the bounds are five standard errors or more
#

# 13 in 10 shares: each place gets 1.3 on the average, and every place varies
# alike.
my ($worst, $widest, $narrowest) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT max(abs(mean - 1.3)), max(deviation), min(deviation)
FROM (SELECT place, avg(amount) AS mean, stddev(amount) AS deviation
    FROM generate_series(1, 100000) i,
        unnest(seckill_divide_amount(13, 10, seed => sha256(i::text::bytea))) WITH ORDINALITY a(amount, place)
    GROUP BY place) s
SQL
cmp_ok($worst, '<', 0.01, 'the mean of every place is that of all');
cmp_ok($widest - $narrowest, '<', 0.02, 'and every place varies alike');

# the best share is as likely in each place
my ($fewest, $most) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT min(n), max(n) FROM (
    SELECT place, count(*) AS n
    FROM (SELECT DISTINCT ON (i) i, place
        FROM generate_series(1, 100000) i,
            unnest(seckill_divide_amount(100000, 5, seed => sha256(i::text::bytea))) WITH ORDINALITY a(amount, place)
        ORDER BY i, amount DESC) best
    GROUP BY place) s
SQL
cmp_ok($fewest, '>', 19350, 'no place seldom has the best share');
cmp_ok($most, '<', 20650, 'and none has it often');

# after any number of draws of a spread pool: near the even line
my ($all, $one) = split /\|/, $node->safe_psql('postgres', <<'SQL');
WITH given AS (
    SELECT i, place, prize
    FROM generate_series(1, 200) i,
        unnest(seckill_deal_prizes(1000, '{3,10,40,100,300}', true, sha256(i::text::bytea))) WITH ORDINALITY p(prize, place)),
line AS (
    SELECT i, place, k AS prize,
        count(*) FILTER (WHERE prize = k) OVER w - place * q / 1000.0 AS off,
        count(prize) OVER w - place * 453 / 1000.0 AS off_all
    FROM given, (VALUES (1, 3), (2, 10), (3, 40), (4, 100), (5, 300)) v(k, q)
    WINDOW w AS (PARTITION BY i, k ORDER BY place))
SELECT max(abs(off_all)), max(abs(off)) FROM line
SQL
cmp_ok($all, '<', 6, 'prizes in all are near the even line: less than one more than there are kinds');
cmp_ok($one, '<', 10, 'and so is each kind: less than twice as many as there are kinds');

# without spread every place is as likely
my ($rarest, $commonest) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT min(n), max(n) FROM (
    SELECT place, count(prize) AS n
    FROM generate_series(1, 100000) i,
        unnest(seckill_deal_prizes(20, '{2,3}', false, sha256(i::text::bytea))) WITH ORDINALITY p(prize, place)
    GROUP BY place) s
SQL
cmp_ok($rarest, '>', 24300, 'no place seldom wins');
cmp_ok($commonest, '<', 25700, 'and none often');

$node->stop;
done_testing();
