-- Outcomes, quantities, and modes mixed on one item, for each mode that works
-- in the caller's transaction.
SET seckill.allow_unsafe = on;
CREATE TEMP TABLE modes (mode seckill_mode);
INSERT INTO modes
SELECT unnest(enum_range(NULL::seckill_mode));
DELETE FROM modes WHERE mode = 'queue';

-- two units, three buyers, in every mode
INSERT INTO seckill.items (item_id, title, stock)
SELECT row_number() OVER (ORDER BY mode), 'item of ' || mode, 2 FROM modes;
CREATE TEMP VIEW item_of AS
SELECT m.mode, i.item_id
FROM modes m JOIN seckill.items i ON i.title = 'item of ' || m.mode;

SELECT o.mode, n, b.outcome, b.order_id IS NOT NULL AS has_order
FROM item_of o
    CROSS JOIN generate_series(1, 3) n
    CROSS JOIN LATERAL seckill_buy(o.item_id, n, o.mode) b
ORDER BY o.mode, n;
SELECT i.title, q.mode AS sold_by, count(*), sum(quantity)
FROM seckill.orders q JOIN seckill.items i USING (item_id)
GROUP BY 1, 2 ORDER BY 1;
SELECT item_id, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- quantities: all or nothing
INSERT INTO seckill.items (item_id, title, stock)
SELECT row_number() OVER (ORDER BY mode), 'item of ' || mode, 10 FROM modes;
SELECT o.mode, q.n, b.outcome
FROM item_of o
    CROSS JOIN (VALUES (1, 7), (2, 4), (3, 3), (4, 1)) q(turn, n)
    CROSS JOIN LATERAL seckill_buy(o.item_id, 1, o.mode, q.n) b
ORDER BY o.mode, q.turn;
SELECT item_id, sold, difference FROM seckill_audit();
SELECT outcome FROM seckill_buy(1, 1, 'retry', 2147483647);
TRUNCATE seckill.items, seckill.orders;

-- every mode can sell a unit that another mode left on the row or in the cache
INSERT INTO seckill.items (item_id, stock)
SELECT n, 2 FROM generate_series(1, 36) n;
WITH pair AS (
    SELECT row_number() OVER (ORDER BY a.mode, b.mode) AS item_id,
        a.mode AS first, b.mode AS second
    FROM modes a, modes b
    WHERE a.mode <> 'none' AND b.mode <> 'none'
)
SELECT p.first, p.second, a.outcome, b.outcome, c.outcome
FROM pair p
    CROSS JOIN LATERAL seckill_buy(p.item_id, 1, p.first) a
    CROSS JOIN LATERAL seckill_buy(p.item_id, 2, p.second) b
    CROSS JOIN LATERAL seckill_buy(p.item_id, 3, p.first) c
ORDER BY p.item_id;
SELECT count(*) FILTER (WHERE difference = 0 AND sold = 2) AS right,
    count(*) AS items
FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- a purchase that needs the last units of both row and lease
INSERT INTO seckill.items (item_id, stock) VALUES (1, 4), (2, 4), (3, 4), (4, 4), (5, 4);
SELECT seckill_prewarm(n, 2) FROM generate_series(1, 5) n;
SELECT item_id, stock, leased FROM seckill.items ORDER BY 1;
SELECT outcome FROM seckill_buy(1, 1, 'optimistic', 3);
SELECT outcome FROM seckill_buy(2, 1, 'retry', 3);
SELECT outcome FROM seckill_buy(3, 1, 'pessimistic', 3);
SELECT outcome FROM seckill_buy(4, 1, 'advisory', 3);
SELECT outcome FROM seckill_buy(5, 1, 'cache', 3);
SELECT item_id, supplied, stock, unsold, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- mode auto: the mode that it chooses, and the mode that sold
INSERT INTO seckill.items (item_id, stock) VALUES (1, 9);
SELECT auto_mode FROM seckill.stock;
SELECT outcome FROM seckill_buy(1, 1);
SET seckill.default_mode = 'advisory';
SELECT outcome FROM seckill_buy(1, 2);
SELECT outcome FROM seckill_buy(1, 3, 'auto');
SELECT outcome FROM seckill_buy(1, 4, 'pessimistic');
RESET seckill.default_mode;
-- hot: by the rate of calls, or by a prewarm; mode auto never chooses the queue
SET seckill.hot_rate = 1;
SELECT outcome FROM seckill_buy(1, 5);
SELECT auto_mode FROM seckill.stock;
SELECT outcome FROM seckill_buy(1, 6);
RESET seckill.hot_rate;
INSERT INTO seckill.items (item_id, stock) VALUES (2, 9);
SELECT seckill_prewarm(2);
SELECT item_id, cached, auto_mode FROM seckill.stock ORDER BY 1;
SELECT outcome FROM seckill_buy(2, 7);
SELECT user_id, mode FROM seckill.orders ORDER BY order_id;
TRUNCATE seckill.items, seckill.orders;
RESET seckill.allow_unsafe;
