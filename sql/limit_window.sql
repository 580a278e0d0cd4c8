-- Limits per user in a rolling window.
INSERT INTO seckill.items (item_id, stock, per_user_limit, limit_window)
SELECT n, 100, 2, '1 hour' FROM generate_series(1, 9) n;
CREATE TEMP TABLE modes (item, mode) AS
VALUES (1, 'optimistic'::seckill_mode), (2, 'retry'), (3, 'pessimistic'),
    (4, 'advisory'), (5, 'cache'), (6, 'auto');

-- an order as an earlier purchase left it
CREATE FUNCTION pg_temp.past(item bigint, buyer bigint, age interval, units integer DEFAULT 1)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO seckill.orders (item_id, user_id, quantity, mode, limited, created_at)
    VALUES (item, buyer, units, 'cache', true, now() - age);
    SELECT seckill_write_off(item, -units);
$$;

-- the edge: an order as old as the window does not count, a younger one does,
-- in every mode
BEGIN;
SELECT count(pg_temp.past(n, 7, '1 hour', 2)) FROM generate_series(1, 6) n;
SELECT m.mode, b.outcome FROM modes m CROSS JOIN LATERAL seckill_buy(m.item, 7, m.mode, 2) b ORDER BY 1;
SELECT count(pg_temp.past(n, 8, '59:59.999999', 1)) FROM generate_series(1, 6) n;
SELECT m.mode, b.outcome FROM modes m CROSS JOIN LATERAL seckill_buy(m.item, 8, m.mode, 2) b ORDER BY 1;
SELECT m.mode, b.outcome FROM modes m CROSS JOIN LATERAL seckill_buy(m.item, 8, m.mode, 1) b ORDER BY 1;
SELECT m.mode, b.outcome FROM modes m CROSS JOIN LATERAL seckill_buy(m.item, 8, m.mode, 1) b ORDER BY 1;
-- orders of after the window's middle, as when the clock was set back
SELECT count(pg_temp.past(n, 9, '-59:59.999999', 1)) FROM generate_series(1, 6) n;
SELECT m.mode, b.outcome FROM modes m CROSS JOIN LATERAL seckill_buy(m.item, 9, m.mode, 2) b ORDER BY 1;
SELECT count(pg_temp.past(n, 10, '-1 hour', 1)) FROM generate_series(1, 6) n;
SELECT m.mode, b.outcome FROM modes m CROSS JOIN LATERAL seckill_buy(m.item, 10, m.mode, 2) b ORDER BY 1;
COMMIT;

-- many: each user has a window of its own
SELECT pg_temp.past(1, 21, '2 hours', 2), pg_temp.past(1, 22, '30 minutes', 1);
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[21, 22, 22, 21, 21, 23], 'cache');

-- the queue
SELECT pg_temp.past(7, 7, '2 hours', 2);
SELECT outcome FROM seckill_buy(7, 7, 'queue', 2);
SELECT outcome FROM seckill_buy(7, 7, 'queue');
SELECT pg_temp.past(7, 8, '30 minutes', 2), pg_temp.past(7, 9, '-2 hours', 2);
SELECT array_agg(s.ticket ORDER BY n) AS tickets
FROM unnest(ARRAY[8, 9, 9, 9, 8]) WITH ORDINALITY u(id, n),
    LATERAL seckill_submit(7, u.id) s \gset
SELECT string_agg(r.outcome::text, ', ' ORDER BY n)
FROM unnest(:'tickets'::bigint[]) WITH ORDINALITY s(ticket, n),
    LATERAL seckill_result(s.ticket, '60 s') r;

-- a longer window counts older orders at once; none counts all; no limit, none
SELECT outcome FROM seckill_buy(7, 7, 'cache');
SELECT pg_temp.past(8, 7, '3 hours', 2), pg_temp.past(8, 8, '300 days', 2);
SELECT seckill_put_item(8, '{"limit_window": "2 hours"}');
SELECT outcome FROM seckill_buy(8, 7, 'cache', 2);
SELECT seckill_put_item(8, '{"limit_window": "4 hours", "per_user_limit": 5}');
SELECT outcome FROM seckill_buy(8, 7, 'cache');
SELECT outcome FROM seckill_buy(8, 7, 'cache');
SELECT seckill_put_item(8, '{"limit_window": "1 microsecond"}');
SELECT outcome FROM seckill_buy(8, 7, 'retry', 5);
SELECT outcome FROM seckill_buy(8, 8, 'cache', 2);
UPDATE seckill.items SET limit_window = NULL, per_user_limit = 4 WHERE item_id = 8;
SELECT outcome FROM seckill_buy(8, 8, 'cache');
UPDATE seckill.items SET per_user_limit = NULL, limit_window = '1 hour' WHERE item_id = 8;
SELECT outcome FROM seckill_buy(8, 8, 'cache');
-- and a limit that is set again counts the orders made without one
UPDATE seckill.items SET per_user_limit = 1 WHERE item_id = 8;
SELECT outcome FROM seckill_buy(8, 8, 'cache');
SELECT per_user_limit, limit_window FROM seckill_item(8);

-- late payment: the order stands at the time when it was made
CREATE FUNCTION pg_temp.unpaid(item bigint, buyer bigint, age interval)
RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO seckill.orders (item_id, user_id, quantity, mode, state, pay_by, created_at)
    VALUES (item, buyer, 2, 'cache', 'expired', now() - age, now() - age) RETURNING order_id;
$$;
SELECT pg_temp.past(9, 7, '3 hours'), pg_temp.past(9, 8, '3 hours'), pg_temp.past(9, 9, '3 hours');
SELECT pg_temp.unpaid(9, 7, '2 hours 1 minute') AS order_id \gset
SELECT seckill_confirm(9, :order_id) AS before_its_window;
SELECT pg_temp.unpaid(9, 8, '2 hours 59 minutes') AS order_id \gset
SELECT seckill_confirm(9, :order_id) AS just_after;
SELECT pg_temp.unpaid(9, 9, '3 hours 59 minutes') AS order_id \gset
SELECT seckill_confirm(9, :order_id) AS just_before;
SELECT pg_temp.unpaid(9, 9, '4 hours 1 minute') AS order_id \gset
SELECT seckill_confirm(9, :order_id) AS long_before;

-- cancelled ones do not count
SELECT outcome, order_id FROM seckill_buy(9, 30, 'cache', 2) \gset
SELECT outcome FROM seckill_buy(9, 30, 'cache');
SELECT seckill_cancel(9, :order_id, true);
SELECT outcome FROM seckill_buy(9, 30, 'cache', 2);

-- the index serves it
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT quantity FROM seckill.orders
WHERE item_id = 1 AND user_id = 7 AND limited AND created_at > now() - interval '1 hour';
COMMIT;

SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
SELECT sum(held) AS held FROM seckill.stock;

-- values
\set VERBOSITY terse
UPDATE seckill.items SET limit_window = '0' WHERE item_id = 1;
UPDATE seckill.items SET limit_window = '-1 hour' WHERE item_id = 1;
UPDATE seckill.items SET limit_window = '366 days' WHERE item_id = 1;
SELECT seckill_put_item(1, '{"limit_window": 3600}');
SELECT seckill_put_item(1, '{"limit_window": "soon"}');
\set VERBOSITY default
SELECT seckill_put_item(1, '{"limit_window": null}');
TRUNCATE seckill.items, seckill.orders;
