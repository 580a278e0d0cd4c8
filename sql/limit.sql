-- Limits per user.
INSERT INTO seckill.items (item_id, stock, per_user_limit)
SELECT n, 20, 2 FROM generate_series(1, 8) n;
CREATE TEMP TABLE modes (item, mode) AS
VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'),
    (4, 'advisory'), (5, 'cache'), (6, 'auto');

-- one unit at a time; each user has a separate limit
SELECT m.mode, string_agg(b.outcome::text, ' ' ORDER BY c.n) AS outcomes
FROM modes m CROSS JOIN (VALUES (1, 7), (2, 7), (3, 7), (4, 8)) c(n, buyer)
    CROSS JOIN LATERAL seckill_buy(m.item, c.buyer, m.mode) b
GROUP BY m.mode ORDER BY m.mode;
SELECT outcome FROM seckill_buy(7, 7, 'queue');
SELECT outcome FROM seckill_buy(7, 7, 'queue');
SELECT outcome FROM seckill_buy(7, 7, 'queue');
SELECT outcome FROM seckill_buy(7, 8, 'queue');

-- the limit counts units: a purchase gets all units or none
SELECT outcome FROM seckill_buy(8, 7, 'cache', 3);
SELECT outcome FROM seckill_buy(8, 7, 'queue', 3);
SELECT outcome FROM seckill_buy(8, 7, 'cache', 1);
SELECT outcome FROM seckill_buy(8, 7, 'retry', 2);
SELECT outcome FROM seckill_buy(8, 7, 'queue', 2);
SELECT outcome FROM seckill_buy(8, 7, 'queue', 1);
SELECT outcome FROM seckill_buy(8, 7, 'pessimistic', 1);

-- a statement that has tried another mode must not wait for the worker, which
-- would wait for it
\set VERBOSITY terse
SELECT a.outcome, b.outcome FROM seckill_buy(8, 7, 'cache') a, LATERAL seckill_buy(8, 7, 'queue') b;
\set VERBOSITY default

-- a purchase rolled back does not count
BEGIN;
SELECT outcome FROM seckill_buy(8, 9, 'cache', 2);
SELECT outcome FROM seckill_buy(8, 9, 'cache', 1);
SAVEPOINT s;
SELECT outcome FROM seckill_buy(8, 10, 'cache', 2);
ROLLBACK TO s;
SELECT outcome FROM seckill_buy(8, 10, 'pessimistic', 2);
ROLLBACK;
SELECT outcome FROM seckill_buy(8, 9, 'cache', 2);

-- many: the first elements within the limit of each user
SELECT m.mode, string_agg(b.user_id || ' ' || b.outcome, ', ' ORDER BY b.n)
FROM modes m
    CROSS JOIN LATERAL seckill_buy_many(m.item, ARRAY[8, 9, 8, 9, 9, 7, 10], m.mode)
        WITH ORDINALITY b(user_id, outcome, order_id, n)
GROUP BY m.mode ORDER BY m.mode;
-- in one batch of the queue
SELECT array_agg(s.ticket ORDER BY n) AS tickets
FROM unnest(ARRAY[8, 9, 8, 9, 9, 7, 10]) WITH ORDINALITY u(id, n),
    LATERAL seckill_submit(7, u.id) s \gset
SELECT string_agg(r.outcome::text, ', ' ORDER BY n)
FROM unnest(:'tickets'::bigint[]) WITH ORDINALITY s(ticket, n),
    LATERAL seckill_result(s.ticket, '60 s') r;

-- REPEATABLE READ counts purchases of other transactions
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT outcome FROM seckill_buy(1, 11, 'cache', 2);
SELECT outcome FROM seckill_buy(1, 11, 'cache', 1);
COMMIT;

-- a limit set later counts earlier orders; a limit removed no longer applies
INSERT INTO seckill.items (item_id, stock) VALUES (20, 20);
SELECT outcome FROM seckill_buy(20, 7, 'retry', 5);
UPDATE seckill.items SET per_user_limit = 6 WHERE item_id = 20;
SELECT outcome FROM seckill_buy(20, 7, 'cache', 2);
SELECT outcome FROM seckill_buy(20, 7, 'cache', 1);
SELECT outcome FROM seckill_buy(20, 7, 'cache', 1);
UPDATE seckill.items SET per_user_limit = NULL WHERE item_id = 20;
SELECT outcome FROM seckill_buy(20, 7, 'cache', 1);

SELECT max(sum) AS most FROM (
    SELECT sum(quantity) FROM seckill.orders WHERE item_id < 20 GROUP BY item_id, user_id) s;
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
SELECT sum(held) AS held FROM seckill.stock;
\set VERBOSITY terse
INSERT INTO seckill.items (item_id, stock, per_user_limit) VALUES (21, 1, 0);
\set VERBOSITY default
TRUNCATE seckill.items, seckill.orders;
