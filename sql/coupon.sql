-- Coupons: codes imported, redeemed once, released.
CREATE VIEW audit AS
SELECT item_id, supplied, stock, unsold, sold, burnt, difference, twice, missing, foreign_numbers, double_sold
FROM seckill_audit();
CREATE VIEW coupons AS
SELECT item_id, user_id, state, unit, redeemed_at IS NOT NULL AS redeemed, redeemed_from FROM seckill.orders ORDER BY order_id;

INSERT INTO seckill.items (item_id, stock, numbered, reveal_on, pay_within) VALUES (1, 0, true, 'pending', '1 hour');

-- import: codes that are there already, or twice, are reported and left out
SELECT * FROM seckill_add_units(1, '{a,b,c,b}');
SELECT * FROM seckill_add_units(1, '{c,d,d,a,e}');
SELECT * FROM seckill_add_units(1, '{a,b}');
SELECT * FROM seckill_add_units(1, '{}');
SELECT unit, code FROM seckill.units WHERE item_id = 1 ORDER BY unit;
SELECT * FROM audit;

-- in mid-sale, beside a lease
SELECT outcome, unit, code FROM seckill_claim(1, 1, 'cache');
SELECT * FROM seckill_add_units(1, '{f,g}');
BEGIN;
SELECT added FROM seckill_add_units(1, '{h}');
SELECT outcome, unit, code FROM seckill_claim(1, 99, 'cache');
ROLLBACK;
SELECT * FROM audit;

-- misuse
SELECT seckill_add_units(NULL, '{x}');
SELECT seckill_add_units(1);
SELECT seckill_add_units(1, '{x,NULL}');
SELECT seckill_add_units(1, ARRAY['x', '']);
SELECT seckill_add_units(1, ARRAY[repeat('x', 201)]);
SELECT seckill_add_units(1, '{{x},{y}}');
SELECT seckill_add_units(1, '{x,y}', '{1}');
SELECT seckill_add_units(1, prizes => '{0}');
SELECT seckill_add_units(1, amounts => '{1,-1}');
SELECT seckill_add_units(1, '{x}', seed => sha256('a seed'));
SELECT seckill_add_units(1, prizes => '{1}', seed => '\x00');
SELECT seckill_add_units(404, '{x}');
INSERT INTO seckill.items (item_id, stock) VALUES (2, 5);
SELECT seckill_add_units(2, '{x}');
INSERT INTO seckill.units (item_id, unit, code) VALUES (1, 9, 'by hand');
SELECT seckill_add_units(1, '{x}');
SELECT seckill_add_units(1, '{"by hand"}');
SELECT seckill_restock(1, 2);
SELECT first_unit FROM seckill_add_units(1, '{x}');
-- as many as an item can have
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (3, 2147483647, true);
SELECT seckill_add_units(3, '{x}');
DELETE FROM seckill.items WHERE item_id = 3;
-- a code can come with a prize and an amount, and without
SELECT * FROM seckill_add_units(1, '{y,NULL,NULL}', '{1,2,NULL}', '{5,NULL,NULL}');
SELECT unit, code, prize, amount FROM seckill.units WHERE item_id = 1 AND unit > 10 ORDER BY unit;

-- redeem: once, by its buyer
SELECT * FROM seckill_redeem(1, 'a', 2);
SELECT outcome, state FROM seckill_redeem(1, 'a', 1);
SELECT outcome, state FROM seckill_redeem(1, 'a', 1);
SELECT * FROM coupons;
-- unknown, for sale, another user's: one answer
SELECT * FROM seckill_redeem(1, 'zzz', 1);
SELECT * FROM seckill_redeem(1, 'b', 1);
SELECT * FROM seckill_redeem(1, 'a', 3);

-- release: pending again, and redeemable
SELECT seckill_release(1, order_id) FROM seckill.orders WHERE item_id = 1;
SELECT seckill_release(1, order_id) FROM seckill.orders WHERE item_id = 1;
SELECT * FROM coupons;
SELECT outcome, state FROM seckill_redeem(1, 'a', 1);
-- an order that was confirmed before stays confirmed
SELECT seckill_release(1, order_id), seckill_confirm(1, order_id) FROM seckill.orders WHERE item_id = 1;
SELECT outcome, state FROM seckill_redeem(1, 'a', 1);
SELECT * FROM coupons;
SELECT seckill_release(1, order_id) FROM seckill.orders WHERE item_id = 1;
SELECT * FROM coupons;

-- a cancelled order keeps its code, which is dead
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE item_id = 1;
SELECT outcome, state FROM seckill_redeem(1, 'a', 1);
SELECT outcome, state FROM seckill_redeem(1, 'a', 2);
SELECT seckill_release(1, order_id) FROM seckill.orders WHERE item_id = 1;
SELECT * FROM audit WHERE item_id = 1;
-- so does a redeemed one that is refunded
SELECT outcome, unit, code FROM seckill_claim(1, 4, 'retry');
SELECT outcome FROM seckill_redeem(1, 'f', 4);
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE user_id = 4;
SELECT outcome, state FROM seckill_redeem(1, 'f', 4);
SELECT seckill_release(1, order_id) FROM seckill.orders WHERE user_id = 4;
SELECT * FROM coupons;

-- released too late: expired for good
BEGIN;
SELECT outcome, unit, code FROM seckill_claim(1, 6, 'retry');
UPDATE seckill.orders SET pay_by = clock_timestamp() WHERE user_id = 6;
SELECT outcome, state FROM seckill_redeem(1, 'g', 6);
SELECT seckill_release(1, order_id) FROM seckill.orders WHERE user_id = 6;
SELECT outcome, state FROM seckill_redeem(1, 'g', 6);
SELECT seckill_confirm(1, order_id) FROM seckill.orders WHERE user_id = 6;
SELECT * FROM coupons WHERE user_id = 6;
COMMIT;
SELECT * FROM audit WHERE item_id = 1;

-- gift cards: told when they are paid
INSERT INTO seckill.items (item_id, stock, numbered, pay_within) VALUES (4, 0, true, '1 hour');
SELECT added FROM seckill_add_units(4, '{gift,card}');
SELECT outcome, code FROM seckill_claim(4, 1, 'cache');
SELECT outcome, state FROM seckill_redeem(4, 'gift', 1);
SELECT seckill_confirm(4, order_id) FROM seckill.orders WHERE item_id = 4;
SELECT outcome, state FROM seckill_redeem(4, 'gift', 1);
SELECT seckill_release(4, order_id) FROM seckill.orders WHERE item_id = 4;
SELECT * FROM coupons WHERE item_id = 4;
-- an unpaid one goes back on sale, and its code is nobody's
SELECT outcome, code FROM seckill_claim(4, 2, 'cache');
SELECT seckill_cancel(4, order_id) FROM seckill.orders WHERE item_id = 4 AND user_id = 2;
SELECT outcome FROM seckill_redeem(4, 'card', 2);
SELECT outcome, unit FROM seckill_claim(4, 3, 'cache');

-- misuse
SELECT seckill_redeem(NULL, 'a', 1);
SELECT seckill_redeem(1, NULL, 1);
SELECT seckill_redeem(1, 'a', NULL);
SELECT seckill_redeem(404, 'a', 1);
SELECT seckill_redeem(2, 'a', 1);
SELECT seckill_release(1, NULL);
SELECT seckill_release(1, 0);

-- each try counts against the rate of the user
UPDATE seckill.items SET user_rate = 0.001, user_burst = 2, require_token = true WHERE item_id = 4;
SELECT outcome FROM seckill_redeem(4, 'guess 1', 700700);
SELECT outcome FROM seckill_redeem(4, 'guess 2', 700700);
SELECT * FROM seckill_redeem(4, 'guess 3', 700700);
SELECT outcome, state FROM seckill_redeem(4, 'gift', 1);

-- limits in a rolling window: one a day
INSERT INTO seckill.items (item_id, stock, numbered, per_user_limit, limit_window) VALUES (5, 0, true, 1, '1 day');
SELECT added FROM seckill_add_units(5, '{l1,l2,l3}');
SELECT outcome, code FROM seckill_claim(5, 1);
SELECT outcome, code FROM seckill_claim(5, 1);

DROP VIEW audit, coupons;
TRUNCATE seckill.items, seckill.orders, seckill.units;
