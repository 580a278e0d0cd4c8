-- Generators: amounts, prizes and codes.  t/060_generators.pl compares them with
-- a second implementation.

-- an amount divided evenly: no share is rounded away
SELECT seckill_divide_amount(100, 3, even => true);
SELECT seckill_divide_amount(100, 18, even => true);
SELECT seckill_divide_amount(0, 3, min_share => 0, even => true);

-- by chance: the same seed gives the same shares, another seed others
SELECT seckill_divide_amount(1000, 5, seed => sha256('seed 1'));
SELECT seckill_divide_amount(1000, 5, seed => sha256('seed 1')) =
    seckill_divide_amount(1000, 5, seed => sha256('seed 1')) AS same,
    seckill_divide_amount(1000, 5, seed => sha256('seed 1')) =
    seckill_divide_amount(1000, 5, seed => sha256('seed 2')) AS other;

-- sums and bounds, whatever the arguments
SELECT count(*) AS tried,
    count(*) FILTER (WHERE s.sum <> a.total) AS wrong_sum,
    count(*) FILTER (WHERE s.min < a.low) AS too_small,
    count(*) FILTER (WHERE s.max > coalesce(a.high, a.total)) AS too_large,
    count(*) FILTER (WHERE s.n <> a.shares) AS wrong_number
FROM (
    SELECT i, n AS shares, low, low + spread AS high, n * low + i * 7919 % (n * spread + 1) AS total
    FROM generate_series(1, 60) i, (VALUES (1), (2), (7), (100)) n(n),
        (VALUES (0), (1), (50)) l(low), (VALUES (0), (1), (10), (1000)) h(spread)) a,
    LATERAL (
        SELECT sum(x), min(x), max(x), count(*) AS n
        FROM unnest(seckill_divide_amount(a.total, a.shares, a.low, a.high, seed => sha256(a.i::text::bytea))) x) s;

-- the largest amount
SELECT sum(x) FROM unnest(seckill_divide_amount(1000000000000000, 10000, seed => sha256('large'))) x;

-- what cannot be
SELECT seckill_divide_amount(NULL, 3, even => true);
SELECT seckill_divide_amount(100, 3);
SELECT seckill_divide_amount(100, 3, seed => 'short');
SELECT seckill_divide_amount(2, 3, even => true);
SELECT seckill_divide_amount(100, 3, 1, 33, seed => sha256('seed'));
SELECT seckill_divide_amount(100, 3, 10, 5, even => true);
SELECT seckill_divide_amount(100, 0, even => true);
SELECT seckill_divide_amount(100, 10001, 0, even => true);
SELECT seckill_divide_amount(-1, 3, even => true);
SELECT seckill_divide_amount(1000000000000001, 3, even => true);

-- prizes: as many as there are, the rest are blanks
SELECT seckill_deal_prizes(10, '{1,2}', seed => sha256('seed 1'));
SELECT seckill_deal_prizes(10, '{1,2}', false, sha256('seed 1'));
SELECT seckill_deal_prizes(3, '{1,2}', seed => sha256('seed 1'));
SELECT seckill_deal_prizes(3, '{}', seed => sha256('seed 1'));
SELECT spread, prize, count(*)
FROM (VALUES (true), (false)) s(spread),
    unnest(seckill_deal_prizes(100000, '{1,10,500,30000}', spread, sha256('seed 1'))) prize
GROUP BY 1, 2 ORDER BY 1, 2;

-- what cannot be
SELECT seckill_deal_prizes(2, '{1,2}', seed => sha256('seed'));
SELECT seckill_deal_prizes(2, '{-1}', seed => sha256('seed'));
SELECT seckill_deal_prizes(2, '{1,NULL}', seed => sha256('seed'));
SELECT seckill_deal_prizes(2, '{{1},{1}}', seed => sha256('seed'));
SELECT seckill_deal_prizes(0, '{}', seed => sha256('seed'));
SELECT seckill_deal_prizes(2, '{1}');

-- codes: different, of the pattern, without characters that look alike
SELECT count(DISTINCT code) AS different,
    bool_and(code ~ '^[2-9A-HJKMNP-Z]{4}-[2-9A-HJKMNP-Z]{4}-[2-9A-HJKMNP-Z]{4}$') AS like_pattern
FROM unnest(seckill_make_codes(10000)) code;
SELECT bool_and(code ~ '^SALE-[2-9A-HJKMNP-Z]{11}$') FROM unnest(seckill_make_codes(3, 'SALE-***********')) code;

-- what cannot be
SELECT seckill_make_codes(1, '**********');
SELECT seckill_make_codes(1, 'SALE10');
SELECT seckill_make_codes(0);
SELECT seckill_make_codes(1000001);
SELECT seckill_make_codes(NULL);
SELECT seckill_make_codes(1, repeat('*', 201));
