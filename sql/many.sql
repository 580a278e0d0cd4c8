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
SELECT seckill_buy_many(1, ARRAY[1], 'queue');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(1, ARRAY[1], 'none');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(404, ARRAY[1]);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM seckill.orders;
TRUNCATE seckill.items, seckill.orders;
