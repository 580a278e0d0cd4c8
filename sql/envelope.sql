-- Red envelopes: shares given, what is left is told once.
CREATE VIEW laws AS
SELECT a.item_id, a.difference, a.twice, a.missing, a.foreign_numbers, a.double_sold, v.difference AS values_difference,
    v.amount_difference FROM seckill_audit() a LEFT JOIN seckill_audit_values() v USING (item_id);
CREATE VIEW books AS
SELECT item_id, units, given, burnt, unsold, closed, amount, given_amount, burnt_amount, unsold_amount, closed_amount
FROM seckill_audit_values();

INSERT INTO seckill.items (item_id, stock, numbered, per_user_limit) VALUES (1, 0, true, 1);
SELECT * FROM seckill_add_units(1, amounts => seckill_divide_amount(1000, 6, seed => sha256('six')));
SELECT * FROM seckill.envelopes;
SELECT outcome, unit, amount FROM seckill_claim(1, 1, 'cache');
SELECT outcome, unit, amount FROM seckill_claim(1, 1, 'cache');
SELECT outcome, unit, amount FROM seckill_claim(1, 2, 'retry');
SELECT outcome, unit, amount FROM seckill_claim(1, 3, 'cache');
SELECT item_id, total, shares, taken, given, left_amount, best_order_id = (SELECT order_id FROM seckill.orders o
    JOIN seckill.units u USING (item_id, unit) ORDER BY amount DESC, order_id LIMIT 1) AS best, ended FROM seckill.envelopes;
SELECT * FROM books;

-- close: what is on the row and in the lease is told once
SELECT * FROM seckill_close(1);
SELECT * FROM seckill_close(1);
SELECT total, shares, taken, given, left_amount, ended FROM seckill.envelopes;
SELECT * FROM books;
SELECT outcome FROM seckill_claim(1, 4);
SELECT stock, numbers, off_sale, ends_at <= now() AS ended FROM seckill.items WHERE item_id = 1;
-- a unit that comes back is told by the next close
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE user_id = 2;
SELECT total, shares, taken, given, left_amount FROM seckill.envelopes;
SELECT outcome FROM seckill_claim(1, 4);
SELECT * FROM seckill_close(1);
SELECT * FROM seckill_close(1);
SELECT * FROM books;
SELECT * FROM laws;

-- before the sale, with numbers in a lease, and in the transaction that buys
INSERT INTO seckill.items (item_id, stock, numbered, starts_at, ends_at)
VALUES (2, 0, true, now() + interval '1 day', now() + interval '2 days');
SELECT added FROM seckill_add_units(2, amounts => seckill_divide_amount(100, 4, even => true));
SELECT seckill_prewarm(2, 2);
BEGIN;
SELECT * FROM seckill_close(2);
SELECT starts_at < ends_at AS window, ends_at <= clock_timestamp() AS ended, stock, leased, numbers, off_sale FROM seckill.items WHERE item_id = 2;
ROLLBACK;
SELECT starts_at > now() AS before, stock, leased, numbers, off_sale FROM seckill.items WHERE item_id = 2;
BEGIN;
UPDATE seckill.items SET starts_at = NULL WHERE item_id = 2;
SELECT outcome, amount FROM seckill_claim(2, 1, 'cache');
SAVEPOINT s;
SELECT * FROM seckill_close(2);
ROLLBACK TO s;
SELECT outcome, amount FROM seckill_claim(2, 2, 'cache');
SELECT * FROM seckill_close(2);
COMMIT;
SELECT * FROM laws WHERE item_id = 2;
SELECT * FROM books WHERE item_id = 2;

-- a lost lease is settled by the close
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (3, 0, true);
SELECT added FROM seckill_add_units(3, amounts => '{1,2,4,8,16,32}');
SELECT seckill_prewarm(3, 5);
SELECT outcome, amount FROM seckill_claim_many(3, '{1,2}', 'cache');
SET session_replication_role = replica;
UPDATE seckill.items SET lease_id = 4711 WHERE item_id = 3;
UPDATE seckill.orders SET lease_id = 4711 WHERE item_id = 3;
SET session_replication_role = origin;
SELECT * FROM seckill_close(3);
SELECT * FROM laws WHERE item_id = 3;
SELECT * FROM books WHERE item_id = 3;

-- shares that are released later; a close takes those that are not, too
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (7, 0, true);
SELECT added FROM seckill_add_units(7, amounts => '{1,2}');
SELECT * FROM seckill_add_units(7, amounts => '{4,8,16}', release_at => 'infinity');
SELECT release_at, units, first_unit FROM seckill.releases WHERE item_id = 7;
SELECT total, shares, left_amount FROM seckill.envelopes WHERE item_id = 7;
SELECT * FROM laws WHERE item_id = 7;
SELECT amount FROM seckill_claim_many(7, '{1,2,3}', 'cache');
SELECT first_unit FROM seckill_add_units(7, amounts => '{32}');
SELECT * FROM seckill_close(7);
SELECT * FROM seckill_close(7);
SELECT count(*) FROM seckill.releases WHERE item_id = 7;
SELECT * FROM laws WHERE item_id = 7;
SELECT * FROM books WHERE item_id = 7;

-- two best shares: the first
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (4, 0, true);
SELECT added FROM seckill_add_units(4, amounts => '{5,9,9}');
SELECT amount FROM seckill_claim_many(4, '{1,2,3}', 'retry');
SELECT user_id FROM seckill.envelopes e JOIN seckill.orders o ON o.order_id = e.best_order_id WHERE e.item_id = 4;

-- an amount of units without amounts is 0
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (5, 3, true);
SELECT * FROM seckill_close(5);
SELECT count(*) FROM seckill.envelopes WHERE item_id = 5;

-- misuse
SELECT seckill_close(NULL);
SELECT seckill_close(404);
INSERT INTO seckill.items (item_id, stock) VALUES (6, 1);
SELECT seckill_close(6);
-- totals that cannot be shared
SELECT seckill_divide_amount(5, 6);
SELECT seckill_divide_amount(2000, 100, max_share => 19);

-- a value that no unit has, and one in two places, show in the audit
INSERT INTO seckill.units (item_id, unit, amount) VALUES (5, 4, 7);
SET session_replication_role = replica;
UPDATE seckill.items SET numbers = '{[1,2)}', stock = 1 WHERE item_id = 4;
SET session_replication_role = origin;
SELECT item_id, difference, amount_difference FROM seckill_audit_values() WHERE difference <> 0;

DROP VIEW laws, books;
TRUNCATE seckill.items, seckill.orders, seckill.units;
