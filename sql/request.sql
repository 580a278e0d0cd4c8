-- Idempotent retries: a request_id makes one order.
INSERT INTO seckill.items (item_id, stock) SELECT n, 3 FROM generate_series(1, 7) n;
CREATE TEMP TABLE modes (item, mode) AS
VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'),
    (4, 'advisory'), (5, 'cache'), (6, 'auto');
\set r1 '\'00000000-0000-0000-0000-000000000001\''
\set r2 '\'00000000-0000-0000-0000-000000000002\''

-- called twice: one order and the same answer, in every mode
SELECT m.mode, count(DISTINCT b.order_id) AS orders, min(b.outcome), max(b.outcome)
FROM modes m CROSS JOIN generate_series(1, 2) n
    CROSS JOIN LATERAL seckill_buy(m.item, 7, m.mode, 1 + 0 * n, :r1) b
GROUP BY m.mode ORDER BY m.mode;
SELECT outcome, order_id AS o FROM seckill_buy(7, 7, 'queue', 1, :r1) \gset
SELECT outcome, order_id = :o AS same FROM seckill_buy(7, 7, 'queue', 1, :r1);
SELECT item_id, count(*), sum(quantity) FROM seckill.orders GROUP BY 1 ORDER BY 1;
-- also in another mode and by ticket
SELECT m.mode, b.outcome, b.order_id = :o AS same
FROM modes m CROSS JOIN LATERAL seckill_buy(7, 7, m.mode, 1, :r1) b ORDER BY m.mode;
SELECT outcome, ticket AS t FROM seckill_submit(7, 7, 1, :r1) \gset
SELECT outcome, order_id = :o AS same FROM seckill_result(:t, '60 s');

-- the answer stays when the item is sold out or its sale has ended
SELECT outcome FROM seckill_buy(7, 8, 'queue', 2);
SELECT outcome FROM seckill_buy(7, 8, 'queue');
SELECT outcome, order_id = :o AS same FROM seckill_buy(7, 7, 'cache', 1, :r1);
UPDATE seckill.items SET ends_at = '-infinity' WHERE item_id = 7;
SELECT outcome, order_id = :o AS same FROM seckill_buy(7, 7, 'queue', 1, :r1);
SELECT outcome, ticket AS t FROM seckill_submit(7, 7, 1, :r1) \gset
SELECT outcome, order_id = :o AS same FROM seckill_result(:t, '60 s');
SELECT outcome FROM seckill_buy(7, 7, 'queue', 1, :r2);

-- a refusal makes no order: the same request_id can retry
SELECT outcome FROM seckill_buy(1, 7, 'cache', 9, :r2);
SELECT outcome FROM seckill_buy(1, 7, 'cache', 1, :r2);
-- request_ids of different items are independent
SELECT outcome FROM seckill_buy(6, 7, 'cache', 1, :r2);
SELECT count(*) FROM seckill.orders WHERE request_id = :r2;

-- a request rolled back is unknown
BEGIN;
SELECT outcome FROM seckill_buy(2, 7, 'cache', 1, :r2);
ROLLBACK;
SELECT count(*) FROM seckill.orders WHERE item_id = 2;

-- many: the same request_id twice in the array, and one used before
SELECT b.user_id, b.outcome, b.order_id = o.order_id AS as_before,
    b.order_id = first_value(b.order_id) OVER () AS as_first
FROM seckill_buy_many(3, ARRAY[9, 9, 7, 9], 'cache',
        ARRAY[:r2, :r2, :r1, NULL]::uuid[]) b(user_id, outcome, order_id)
    JOIN (SELECT order_id FROM seckill.orders WHERE item_id = 3 AND request_id = :r1) o(order_id) ON true;
SELECT count(*) FROM seckill.orders WHERE item_id = 3;
-- in one batch of the queue
UPDATE seckill.items SET stock = 9 WHERE item_id = 4;
SELECT array_agg(s.ticket ORDER BY n) AS tickets
FROM unnest(ARRAY[:r2, :r2, :r1]::uuid[]) WITH ORDINALITY u(r, n),
    LATERAL seckill_submit(4, 7, 1, u.r) s \gset
SELECT r.outcome, count(*), count(DISTINCT r.order_id)
FROM unnest(:'tickets'::bigint[]) s(ticket), LATERAL seckill_result(s.ticket, '60 s') r
GROUP BY 1;
SELECT count(*) FROM seckill.orders WHERE item_id = 4;

-- a retry does not count against the limit
UPDATE seckill.items SET per_user_limit = 1 WHERE item_id = 5;
SELECT outcome FROM seckill_buy(5, 7, 'cache', 1, :r1);
SELECT outcome FROM seckill_buy(5, 7, 'cache', 1, :r2);

-- reusing a request_id for another purchase is an error, in every mode
CREATE FUNCTION error_of(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE call INTO answer;
    RETURN answer;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT m.mode,
    error_of(format('SELECT outcome FROM seckill_buy(7, 8, %L, 1, %L)', m.mode, :r1)) AS other_user,
    error_of(format('SELECT outcome FROM seckill_buy(7, 7, %L, 2, %L)', m.mode, :r1)) AS other_quantity
FROM modes m ORDER BY m.mode;
SELECT outcome FROM seckill_buy(7, 7, 'queue', 2, :r1);
SELECT outcome FROM seckill_buy(7, 8, 'queue', 1, :r1);
\echo :LAST_ERROR_SQLSTATE
SELECT outcome, ticket AS t FROM seckill_submit(7, 7, 2, :r1) \gset
SELECT outcome FROM seckill_result(:t, '60 s');
\echo :LAST_ERROR_SQLSTATE
-- another token or mode does not make it another purchase
SELECT outcome, order_id = :o AS same FROM seckill_buy(7, 7, 'retry', 1, :r1, 'any');
-- nor does an order that is no longer live
UPDATE seckill.items SET ends_at = NULL, stock = 2 WHERE item_id = 7;
SELECT seckill_cancel(7, :o, true);
SELECT outcome, order_id = :o AS same FROM seckill_buy(7, 7, 'cache', 1, :r1);
SELECT outcome FROM seckill_buy(7, 7, 'cache', 2, :r1);
\echo :LAST_ERROR_SQLSTATE

-- in a list it is the outcome of that element only
SELECT b.user_id, b.outcome, b.order_id = o.order_id AS as_before
FROM seckill_buy_many(7, ARRAY[8, 7, 9], 'cache', ARRAY[:r1, :r1, NULL]::uuid[]) b,
    (SELECT order_id FROM seckill.orders WHERE item_id = 7 AND request_id = :r1) o;
-- two users with one request_id: the first buys
SELECT m.mode, array_agg(b.user_id || ' ' || b.outcome) AS answers
FROM (VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'), (4, 'advisory'),
        (5, 'cache'), (6, 'auto')) m(item, mode),
    LATERAL seckill_buy_many(m.item, ARRAY[21, 22, 21], m.mode,
        array_fill('00000000-0000-0000-0000-000000000003'::uuid, ARRAY[3])) b
GROUP BY m.mode ORDER BY m.mode;
SELECT item_id, mode, calls, sold, request_reused FROM seckill.stat_items
WHERE item_id = 7 AND request_reused > 0 ORDER BY mode;

-- also in one batch of the queue; the rest of the batch is not affected
UPDATE seckill.items SET stock = 3 WHERE item_id = 2;
SELECT array_agg(s.ticket ORDER BY n) AS tickets
FROM unnest(ARRAY[31, 32, 31, 33], ARRAY[1, 1, 2, 1],
        array_fill('00000000-0000-0000-0000-000000000004'::uuid, ARRAY[3]) || ARRAY[NULL::uuid])
        WITH ORDINALITY u(user_id, quantity, r, n),
    LATERAL seckill_submit(2, u.user_id, u.quantity, u.r) s \gset
SELECT n, error_of(format('SELECT outcome FROM seckill_result(%s, ''60 s'')', t)) AS answer
FROM unnest(:'tickets'::bigint[]) WITH ORDINALITY u(t, n);
SELECT user_id, quantity FROM seckill.orders WHERE item_id = 2 AND user_id > 30 ORDER BY user_id;
DROP FUNCTION error_of(text);

-- misuse
SELECT seckill_buy(4, 8, 'cache', 1, :r1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_many(4, ARRAY[1, 2], 'cache', ARRAY[gen_random_uuid()]);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
TRUNCATE seckill.items, seckill.orders;
