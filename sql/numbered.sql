-- Units with numbers: every mode sells each number once, and says what it is
-- worth.

CREATE VIEW places AS
SELECT i.item_id, stock, leased, numbers, off_sale,
    (SELECT range_agg(int8range(unit, unit + 1) ORDER BY unit)
     FROM seckill.orders o WHERE o.item_id = i.item_id AND unit IS NOT NULL) AS ordered
FROM seckill.items i;

CREATE VIEW audit AS
SELECT item_id, difference, burnt, twice, missing, foreign_numbers, double_sold
FROM seckill_audit();

-- an item has the numbers from 1 on; values are written before the sale
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 6, true);
INSERT INTO seckill.units VALUES (1, 1, 'A-1', NULL, NULL), (1, 2, NULL, 7, NULL), (1, 3, NULL, NULL, 250),
    (1, 4, 'A-4', 2, 0);
SELECT * FROM places;

-- each mode
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 11, 'optimistic');
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 12, 'retry');
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 13, 'pessimistic');
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 14, 'advisory');
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 15, 'cache');
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 16, 'queue');
SELECT outcome, unit, code, prize, amount FROM seckill_claim(1, 17, 'auto');
SELECT user_id, mode, unit, quantity FROM seckill.orders ORDER BY order_id;
SELECT * FROM places;
SELECT * FROM audit;

-- seckill_buy() sells them, too, and seckill_unit() tells the rest
SELECT seckill_restock(1, 2);
SELECT outcome FROM seckill_buy(1, 18, 'cache');
SELECT outcome FROM seckill_buy_many(1, '{19,20}', 'cache');
SELECT u.* FROM seckill.orders o, seckill_unit(o.item_id, o.order_id) u ORDER BY order_id;

-- what does not suit
SELECT outcome FROM seckill_buy(1, 21, 'retry', 2);
SELECT outcome FROM seckill_buy_many(1, '{21}', 'retry', quantities => '{2}');
SET seckill.allow_unsafe = on;
SELECT outcome FROM seckill_claim(1, 21, 'none');
RESET seckill.allow_unsafe;
INSERT INTO seckill.items (item_id, stock) VALUES (2, 5);
SELECT outcome FROM seckill_claim(2, 21);
SELECT outcome FROM seckill_claim_many(2, '{21}');
SELECT outcome FROM seckill_claim(99, 21);
SELECT seckill_unit(99, 1);
SELECT seckill_unit(1, 0);
SELECT seckill_unit(NULL, 1);

-- a list takes the numbers in order, in each mode
SELECT seckill_restock(1, 8);
SELECT user_id, outcome, unit FROM seckill_claim_many(1, '{31,32}', 'cache');
SELECT user_id, outcome, unit FROM seckill_claim_many(1, '{33,34}', 'pessimistic');
SELECT user_id, outcome, unit FROM seckill_claim_many(1, '{35,36}', 'retry');
SELECT user_id, outcome, unit FROM seckill_claim_many(1, '{37,38,39}', 'cache');
SELECT * FROM places WHERE item_id = 1;
SELECT * FROM audit;

-- a request gets its unit again, from every function and mode
SELECT seckill_restock(1, 1);
SELECT outcome, unit FROM seckill_claim(1, 41, 'cache', '00000000-0000-0000-0000-000000000041');
SELECT outcome, unit FROM seckill_claim(1, 41, 'retry', '00000000-0000-0000-0000-000000000041');
SELECT outcome, unit FROM seckill_claim(1, 41, 'queue', '00000000-0000-0000-0000-000000000041');
SELECT outcome, unit FROM seckill_claim_many(1, '{41,41}', 'cache',
    '{00000000-0000-0000-0000-000000000041,00000000-0000-0000-0000-000000000041}');

-- row modes sell what the cache has, and the other way round
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (3, 4, true);
SELECT seckill_prewarm(3, 3);
SELECT * FROM places WHERE item_id = 3;
SELECT unit FROM seckill_claim_many(3, '{1,2}', 'pessimistic');
SELECT * FROM places WHERE item_id = 3;
SELECT seckill_recall(3);
SELECT * FROM places WHERE item_id = 3;
SELECT unit FROM seckill_claim(3, 3, 'cache');
SELECT * FROM audit WHERE item_id = 3;

-- rollback, and rollback to a savepoint: the same number comes next
BEGIN;
SELECT unit FROM seckill_claim(3, 4, 'cache');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT unit FROM seckill_claim(3, 4, 'cache');
ROLLBACK TO s;
SELECT unit FROM seckill_claim(3, 5, 'cache');
COMMIT;
SELECT outcome, unit FROM seckill_claim(3, 6, 'cache');

-- numbers that this transaction has leased itself
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (4, 9, true);
BEGIN;
SELECT unit FROM seckill_claim(4, 1, 'cache');
SAVEPOINT s;
SELECT unit FROM seckill_claim_many(4, '{2,3}', 'cache');
ROLLBACK TO s;
SELECT unit FROM seckill_claim_many(4, '{2,3}', 'cache');
SAVEPOINT t;
SELECT unit FROM seckill_claim(4, 4, 'cache');
RELEASE t;
COMMIT;
SELECT cached, held FROM seckill.stock WHERE item_id = 4;
SELECT unit FROM seckill_claim_many(4, '{5,6,7,8,9,10}', 'cache');
BEGIN;
SELECT seckill_restock(4, 3);
SAVEPOINT s;
SELECT unit FROM seckill_claim(4, 11, 'cache');
ROLLBACK TO s;
SELECT unit FROM seckill_claim(4, 11, 'cache');
ROLLBACK;
SELECT outcome FROM seckill_claim(4, 12, 'cache');
SELECT * FROM audit WHERE item_id = 4;

-- a cancelled order returns its number, but for a code that was told
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE item_id = 1 AND unit IN (1, 2) ORDER BY unit;
SELECT user_id, state, unit FROM seckill.orders WHERE item_id = 1 AND user_id IN (11, 12) ORDER BY order_id;
SELECT stock, numbers FROM places WHERE item_id = 1;
SELECT * FROM audit WHERE item_id = 1;
SELECT u.* FROM seckill.orders o, seckill_unit(o.item_id, o.order_id) u WHERE o.item_id = 1 AND user_id IN (11, 12)
    ORDER BY order_id;
SELECT outcome, unit, prize FROM seckill_claim(1, 51, 'cache');

-- values are told when the order is confirmed, or at once
INSERT INTO seckill.items (item_id, stock, numbered, pay_within) VALUES (5, 4, true, '1 hour');
INSERT INTO seckill.units SELECT 5, n, 'C-' || n, n, n * 100 FROM generate_series(1, 4) n;
SELECT outcome, unit, code, prize, amount FROM seckill_claim(5, 1, 'cache');
SELECT seckill_confirm(5, order_id) FROM seckill.orders WHERE item_id = 5;
SELECT u.* FROM seckill.orders o, seckill_unit(5, o.order_id) u WHERE o.item_id = 5;
SELECT outcome, unit, code FROM seckill_claim(5, 2, 'retry');
SELECT seckill_cancel(5, order_id) FROM seckill.orders WHERE item_id = 5 AND user_id = 2;
SELECT unit FROM seckill.orders WHERE item_id = 5 AND user_id = 2;
UPDATE seckill.items SET reveal_on = 'pending' WHERE item_id = 5;
SELECT outcome, unit, code FROM seckill_claim(5, 3, 'retry');
SELECT seckill_cancel(5, order_id) FROM seckill.orders WHERE item_id = 5 AND user_id = 3;
SELECT unit FROM seckill.orders WHERE item_id = 5 AND user_id = 3;
SELECT * FROM audit WHERE item_id = 5;
UPDATE seckill.items SET reveal_on = 'confirmed' WHERE item_id = 5;
UPDATE seckill.items SET reveal_on = 'expired' WHERE item_id = 5;

-- numbers that are not on sale any more
SELECT seckill_restock(5, -1);
SELECT seckill_set_available(5, 3);
SELECT seckill_set_available(5, 1);
SELECT * FROM places WHERE item_id = 5;
DELETE FROM seckill.orders WHERE item_id = 5 AND user_id = 3;
SELECT * FROM places WHERE item_id = 5;
SELECT * FROM audit WHERE item_id = 5;
SELECT seckill_write_off(5, 1);

-- guards
UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 5;
UPDATE seckill.items SET numbers = '{[1,3)}' WHERE item_id = 5;
UPDATE seckill.items SET off_sale = '{}' WHERE item_id = 5;
UPDATE seckill.items SET numbered = false WHERE item_id = 5;
UPDATE seckill.items SET numbered = true WHERE item_id = 2;
UPDATE seckill.orders SET unit = 9 WHERE item_id = 5 AND user_id = 1;
UPDATE seckill.orders SET redeemed_at = now() WHERE item_id = 5 AND user_id = 1;
UPDATE seckill.units SET code = 'x';
DELETE FROM seckill.units;
TRUNCATE seckill.units;
TRUNCATE seckill.orders;
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock, numbered, numbers, off_sale) VALUES (6, 2, true, '{[5,9)}', '{[1,3)}')
    RETURNING numbers, off_sale;
INSERT INTO seckill.items (item_id, stock, numbered, numbers) VALUES (7, 2, false, '{[5,9)}') RETURNING numbers;
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (8, -1, true);
DELETE FROM seckill.items WHERE item_id = 5;
SELECT seckill_recall(5);
DELETE FROM seckill.orders WHERE item_id = 5;
DELETE FROM seckill.items WHERE item_id = 5;
SELECT count(*) FROM seckill.units WHERE item_id = 5;
SELECT seckill_put_item(9, '{"stock": 1, "numbered": true, "reveal_on": "pending"}');
SELECT numbered, reveal_on, available FROM seckill_item(9);
SELECT seckill_put_item(9, '{"numbered": false}');
SELECT seckill_put_item(9, '{"reveal_on": "soon"}');

-- orders that were deleted without the trigger: what is told, and both repairs
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (10, 30, true), (11, 30, true);
SELECT item, outcome, count(*) FROM unnest('{10,11}'::bigint[]) item, seckill_claim_many(item, array_fill(1, '{6}'), 'pessimistic') GROUP BY 1, 2 ORDER BY 1;
SELECT item, outcome, count(*) FROM unnest('{10,11}'::bigint[]) item, seckill_claim_many(item, array_fill(2, '{4}'), 'cache') GROUP BY 1, 2 ORDER BY 1;
SET session_replication_role = replica;
CREATE TEMP TABLE gone AS SELECT * FROM seckill.orders WHERE item_id IN (10, 11) AND user_id = 1 AND unit <= 5;
DELETE FROM seckill.orders o USING gone g WHERE (o.item_id, o.order_id) = (g.item_id, g.order_id);
RESET session_replication_role;
SELECT item_id, supplied, accounted, difference, missing FROM seckill_audit() WHERE item_id IN (10, 11) ORDER BY 1;
SELECT seckill_recall(10);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_recall(11);
SELECT outcome FROM seckill_claim(10, 3, 'retry');
SELECT seckill_write_off(10, 5);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO seckill.orders SELECT * FROM gone WHERE item_id = 10;
SELECT seckill_recall(10);
DELETE FROM seckill.orders o USING gone g WHERE (o.item_id, o.order_id) = (g.item_id, g.order_id);
-- the orders of 11 are lost
BEGIN;
SELECT FROM seckill.items WHERE item_id = 11 FOR NO KEY UPDATE;
INSERT INTO seckill.orders (item_id, user_id, quantity, mode, state, unit, lease_id)
SELECT i.item_id, 0, 1, 'pessimistic', 'cancelled', n, CASE WHEN row_number() OVER () <= a.unsold THEN i.lease_id END
FROM seckill.items i CROSS JOIN seckill_audit(11) a, generate_series(1, i.supplied + seckill_count(i.off_sale)) n
WHERE i.item_id = 11 AND NOT (i.numbers + i.off_sale) @> n
    AND NOT EXISTS (SELECT FROM seckill.orders o WHERE o.item_id = i.item_id AND o.unit = n);
SELECT seckill_recall(11);
DELETE FROM seckill.orders WHERE item_id = 11 AND user_id = 0;
COMMIT;
SELECT item_id, off_sale, numbers FROM seckill.items WHERE item_id IN (10, 11) ORDER BY 1;
SELECT item_id, difference, twice, missing, foreign_numbers FROM seckill_audit() WHERE item_id IN (10, 11) ORDER BY 1;
SELECT seckill_restock(11, 20);
SELECT outcome, count(*), min(unit) FROM seckill_claim_many(11, array_fill(3, '{30}'), 'cache') GROUP BY 1 ORDER BY 1;
SELECT item_id, difference, twice, missing, foreign_numbers FROM seckill_audit(11);

DROP VIEW places, audit;
TRUNCATE seckill.items, seckill.orders, seckill.units;
