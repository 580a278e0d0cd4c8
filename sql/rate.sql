-- Rates: how often a user may call.  Nothing refills while this runs.
INSERT INTO seckill.items (item_id, stock, user_rate, user_burst)
SELECT n, 100, 0.00001, 3 FROM generate_series(1, 8) n;
CREATE TEMP TABLE modes (item, mode) AS
VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'),
    (4, 'advisory'), (5, 'cache'), (6, 'auto'), (7, 'queue');

-- a burst of calls, in every mode; refused calls change nothing
SELECT m.mode, b.outcome, count(*), count(b.order_id) AS orders
FROM modes m CROSS JOIN generate_series(1, 5) n
    CROSS JOIN LATERAL seckill_buy(m.item, 7, m.mode, 1 + 0 * n) b
WHERE m.mode <> 'queue'
GROUP BY m.mode, b.outcome ORDER BY m.mode, b.outcome;
SELECT outcome, count(*)
FROM generate_series(1, 5) n CROSS JOIN LATERAL seckill_buy(7, 7 + 0 * n, 'queue')
GROUP BY outcome ORDER BY outcome;
SELECT item_id, count(*) FROM seckill.orders WHERE user_id = 7 GROUP BY 1 ORDER BY 1;
-- all kinds of calls count: another mode or quantity, a list, a ticket
SELECT m.mode, b.outcome
FROM modes m CROSS JOIN LATERAL seckill_buy(1, 7, m.mode, 200) b ORDER BY m.mode;
SELECT outcome, ticket FROM seckill_submit(1, 7);
SELECT * FROM seckill_buy_many(1, ARRAY[7]);
-- another user and another item have rates of their own
SELECT outcome FROM seckill_buy(1, 8, 'cache');
SELECT outcome FROM seckill_buy(8, 7, 'cache');

-- each element of a list is a call
SELECT user_id, outcome FROM seckill_buy_many(8, ARRAY[7, 9, 7, 9, 7, 9, 9, 10], 'pessimistic');
-- a ticket is a call
SELECT s.outcome, count(*), count(s.ticket) AS tickets
FROM generate_series(1, 5) n CROSS JOIN LATERAL seckill_submit(8, 11 + 0 * n) s
GROUP BY s.outcome ORDER BY s.outcome;
-- a refusal of any kind is a call
UPDATE seckill.items SET starts_at = 'infinity' WHERE item_id = 6;
SELECT string_agg(b.outcome::text, ' ' ORDER BY n)
FROM generate_series(1, 5) n CROSS JOIN LATERAL seckill_buy(6, 12, 'cache', 1 + 0 * n) b;
UPDATE seckill.items SET starts_at = NULL WHERE item_id = 6;
SELECT string_agg(b.outcome::text, ' ' ORDER BY n)
FROM generate_series(1, 5) n CROSS JOIN LATERAL seckill_buy(6, 13, 'cache', 1000 + 0 * n) b;
SELECT outcome FROM seckill_buy(6, 12, 'cache');
-- a call that is rolled back is a call
BEGIN;
SELECT outcome FROM seckill_buy(6, 14, 'cache');
SAVEPOINT s;
SELECT outcome FROM seckill_buy(6, 14, 'retry');
ROLLBACK TO s;
ROLLBACK;
SELECT outcome FROM seckill_buy(6, 14, 'advisory');
SELECT outcome FROM seckill_buy(6, 14, 'cache');
-- a call that raises an error is not counted
SELECT count(*) FROM generate_series(1, 3) n CROSS JOIN LATERAL seckill_buy(6, 15, 'cache', 0 * n);
SELECT outcome FROM seckill_buy(6, 15, 'cache');

-- a retry gets its order, as often as the rate allows
SELECT string_agg(b.outcome::text, ' ' ORDER BY n), count(DISTINCT b.order_id)
FROM generate_series(1, 4) n
    CROSS JOIN LATERAL seckill_buy(5, 16, 'cache', 1 + 0 * n, '00000000-0000-0000-0000-000000000001') b;
SELECT b.user_id, b.outcome
FROM seckill_buy_many(5, ARRAY[17, 17, 17, 17], 'cache',
    ARRAY['00000000-0000-0000-0000-000000000002', NULL, '00000000-0000-0000-0000-000000000002',
        '00000000-0000-0000-0000-000000000003']::uuid[]) b;
SELECT count(*) FROM seckill.orders WHERE item_id = 5 AND user_id = 17;

-- the same request in a list, all refused
SELECT b.user_id, b.outcome, b.order_id
FROM seckill_buy_many(5, ARRAY[17, 17], 'cache',
    ARRAY['00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000002']::uuid[]) b;

-- new settings apply at once: a greater burst, no rate
UPDATE seckill.items SET user_burst = 4 WHERE item_id = 1;
SELECT outcome FROM seckill_buy(1, 7, 'cache');
SELECT outcome FROM seckill_buy(1, 7, 'cache');
UPDATE seckill.items SET user_rate = 0 WHERE item_id = 1;
SELECT outcome, count(*)
FROM generate_series(1, 20) n CROSS JOIN LATERAL seckill_buy(1, 7 + 0 * n, 'cache')
GROUP BY outcome;
-- a smaller burst caps the calls saved up, and grants no new ones
UPDATE seckill.items SET user_rate = 0.00001, user_burst = 1 WHERE item_id = 1;
SELECT outcome FROM seckill_buy(1, 7, 'cache');
-- a setting without a rate, and a burst alone, limit nothing
UPDATE seckill.items SET user_rate = NULL WHERE item_id = 2;
SELECT outcome, count(*)
FROM generate_series(1, 20) n CROSS JOIN LATERAL seckill_buy(2, 7 + 0 * n, 'cache')
GROUP BY outcome;
-- also in the transaction that changes them
BEGIN;
UPDATE seckill.items SET user_rate = 0 WHERE item_id = 3;
SELECT outcome FROM seckill_buy(3, 7, 'pessimistic');
ROLLBACK;
SELECT outcome FROM seckill_buy(3, 7, 'pessimistic');
-- a retry needs no token, but without one it counts against no user
SELECT outcome FROM seckill_buy(5, 20, 'cache', 1, '00000000-0000-0000-0000-000000000004');
UPDATE seckill.items SET require_token = true WHERE item_id = 5;
SELECT outcome, count(*)
FROM generate_series(1, 5) n
    CROSS JOIN LATERAL seckill_buy(5, 20, 'cache', 1 + 0 * n, '00000000-0000-0000-0000-000000000004')
GROUP BY outcome;
UPDATE seckill.items SET require_token = false WHERE item_id = 5;
SELECT string_agg(b.outcome::text, ' ' ORDER BY n)
FROM generate_series(1, 3) n CROSS JOIN LATERAL seckill_buy(5, 20, 'cache', 1 + 0 * n) b;
-- extreme numbers
UPDATE seckill.items SET user_rate = '1e-45', user_burst = 2 WHERE item_id = 4;
SELECT string_agg(b.outcome::text, ' ' ORDER BY n)
FROM generate_series(1, 3) n CROSS JOIN LATERAL seckill_buy(4, 18 + 0 * n, 'cache') b;
UPDATE seckill.items SET user_rate = '3e38', user_burst = 2147483647 WHERE item_id = 4;
SELECT string_agg(b.outcome::text, ' ' ORDER BY n)
FROM generate_series(1, 3) n CROSS JOIN LATERAL seckill_buy(4, 19 + 0 * n, 'cache') b;

-- misuse
\set VERBOSITY terse
UPDATE seckill.items SET user_rate = -1;
UPDATE seckill.items SET user_rate = 'NaN';
UPDATE seckill.items SET user_rate = 'Infinity';
UPDATE seckill.items SET user_burst = 0;
UPDATE seckill.items SET max_waiters = -1;
SET seckill.user_rate = 1;
SET seckill.max_users = 1;
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
TRUNCATE seckill.items, seckill.orders;
