-- seckill_buy_many: many users in one purchase.
SET seckill.allow_unsafe = on;
INSERT INTO seckill.items (item_id, stock) SELECT n, 3 FROM generate_series(1, 8) n;

-- the first elements buy, in every mode; one row per element, in array order
SELECT m.mode, b.user_id, b.outcome, b.order_id IS NOT NULL AS has_order
FROM unnest(enum_range(NULL::seckill_mode)) WITH ORDINALITY m(mode, item)
    CROSS JOIN LATERAL seckill_buy_many(m.item, ARRAY[15, 14, 13, 12, 11], m.mode)
        WITH ORDINALITY b(user_id, outcome, order_id, n)
WHERE m.mode <> 'queue'
ORDER BY m.mode, b.n;
SELECT item_id, array_agg(user_id ORDER BY order_id), min(mode) AS mode
FROM seckill.orders GROUP BY item_id ORDER BY item_id;
SELECT item_id, supplied, stock, unsold, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
RESET seckill.allow_unsafe;

-- units of row and lease together
INSERT INTO seckill.items (item_id, stock) SELECT n, 6 FROM generate_series(1, 5) n;
SELECT DISTINCT seckill_prewarm(n, 4) FROM generate_series(1, 5) n;
SELECT m.mode, count(*) FILTER (WHERE b.outcome = 'sold') AS sold,
    count(*) FILTER (WHERE b.outcome = 'sold_out') AS sold_out
FROM (VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'),
        (4, 'advisory'), (5, 'cache')) m(item, mode)
    CROSS JOIN LATERAL seckill_buy_many(m.item, ARRAY[1, 2, 3, 4, 5, 6, 7, 8], m.mode) b
GROUP BY m.mode ORDER BY m.mode;
SELECT item_id, supplied, stock, unsold, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- quantities: each in turn gets its units if the earlier ones leave enough, in every mode
INSERT INTO seckill.items (item_id, stock) SELECT n, 7 FROM generate_series(1, 7) n;
SELECT DISTINCT seckill_prewarm(n, 4) FROM generate_series(3, 7) n;
SET seckill.allow_unsafe = on;
SELECT m.mode, array_agg(b.outcome ORDER BY b.n) AS outcomes
FROM (VALUES (1, 'none'::seckill_mode), (2, 'retry'), (3, 'optimistic'), (4, 'retry'), (5, 'pessimistic'),
        (6, 'advisory'), (7, 'cache')) m(item, mode)
    CROSS JOIN LATERAL seckill_buy_many(m.item, ARRAY[11, 12, 13, 14, 15, 16], m.mode,
            quantities => ARRAY[3, 8, 2147483647, 3, 2, 1])
        WITH ORDINALITY b(user_id, outcome, order_id, n)
GROUP BY m.item, m.mode ORDER BY m.item;
SELECT item_id, array_agg(user_id || ' ' || quantity ORDER BY order_id) FROM seckill.orders GROUP BY 1 ORDER BY 1;
SELECT item_id, supplied, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
RESET seckill.allow_unsafe;

-- what the first one wants is not there, what a later one wants is
INSERT INTO seckill.items (item_id, stock) SELECT n, 2 FROM generate_series(1, 5) n;
SELECT m.mode, array_agg(b.outcome ORDER BY b.n) AS outcomes
FROM (VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'), (4, 'advisory'), (5, 'cache')) m(item, mode)
    CROSS JOIN LATERAL seckill_buy_many(m.item, ARRAY[1, 2, 3], m.mode, quantities => ARRAY[3, 4, 2])
        WITH ORDINALITY b(user_id, outcome, order_id, n)
GROUP BY m.item, m.mode ORDER BY m.item;
TRUNCATE seckill.items, seckill.orders;

-- more units than an int4 in all; in a transaction that has leased and bought before
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2147483647);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[1, 2, 3], 'cache', quantities => ARRAY[2147483647, 2147483647, 1]);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[1, 2, 3], 'retry', quantities => ARRAY[2147483647, 2147483647, 1]);
SELECT item_id, supplied, stock, unsold, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 10);
BEGIN;
SELECT outcome FROM seckill_buy(1, 1, 'cache', 2);
SAVEPOINT s;
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[1, 2, 3, 4], 'cache', quantities => ARRAY[5, 5, 2, 2]);
ROLLBACK TO s;
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[1, 2, 3, 4], 'cache', quantities => ARRAY[6, 5, 2, 2]);
COMMIT;
SELECT array_agg(quantity ORDER BY order_id) FROM seckill.orders;
SELECT item_id, supplied, stock + unsold AS left, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- quantities count against the limit of the user, and belong to the request
INSERT INTO seckill.items (item_id, stock, per_user_limit) VALUES (1, 100, 4);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[7, 7, 8, 7, 7], 'cache', quantities => ARRAY[2, 3, 4, 1, 1]);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[9, 9, 9], 'cache',
    array_fill('00000000-0000-0000-0000-000000000009'::uuid, ARRAY[3]), quantities => ARRAY[2, 1, 2]);
SELECT user_id, quantity FROM seckill.orders ORDER BY order_id;
TRUNCATE seckill.items, seckill.orders;

-- more users than units in a lease; a refusal of all
SET seckill.lease_units = 7;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000);
SELECT outcome, count(*), count(DISTINCT order_id)
FROM seckill_buy_many(1, ARRAY(SELECT generate_series(1, 1200)), 'cache') GROUP BY 1 ORDER BY 1;
SELECT user_id, outcome, order_id FROM seckill_buy_many(1, ARRAY[5, 6]);
RESET seckill.lease_units;
SELECT item_id, supplied, stock, unsold, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- a user in the array twice buys twice; an empty array buys nothing
INSERT INTO seckill.items (item_id, stock) VALUES (1, 10);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[5, 5, 6]);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[]::bigint[]);
SELECT count(*) FROM seckill.orders;

-- in the caller's transaction
BEGIN;
SELECT count(*) FROM seckill_buy_many(1, ARRAY[1, 2, 3], 'cache');
ROLLBACK;
SELECT count(*) FROM seckill.orders;
SELECT item_id, supplied, stock + unsold AS unsold, sold, difference FROM seckill_audit();

-- misuse changes nothing
SELECT seckill_buy_many(NULL, ARRAY[1]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1, NULL]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1], NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[[1, 2], [3, 4]]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1, 2], quantities => ARRAY[1]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1, 2], quantities => ARRAY[[1, 2]]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1, 2], quantities => ARRAY[1, NULL]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1, 2], quantities => ARRAY[1, 0]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1, 2], quantities => ARRAY[1, 2147483648]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1], 'queue');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1], 'none');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(404, ARRAY[1]);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM seckill.orders;

-- more orders than are written at once: requests and limits find all of them
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock, per_user_limit) VALUES (1, 150, 1);
CREATE TEMP TABLE calls AS
SELECT array_agg(u ORDER BY u) AS users, array_agg(lpad(u::text, 32, '0')::uuid ORDER BY u) AS requests
FROM generate_series(1, 200) u;
SELECT outcome, count(*), count(DISTINCT order_id) FROM calls, seckill_buy_many(1, users, 'pessimistic', requests) GROUP BY 1 ORDER BY 1;
SELECT outcome, count(*), count(DISTINCT order_id) FROM calls, seckill_buy_many(1, users, 'cache', requests) GROUP BY 1 ORDER BY 1;
SELECT seckill_restock(1, 100);
SELECT outcome, count(*) FROM calls, seckill_buy_many(1, users, 'cache') GROUP BY 1 ORDER BY 1;
TRUNCATE seckill.items, seckill.orders;
