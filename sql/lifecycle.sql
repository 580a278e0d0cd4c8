-- The life of an order: pending, confirmed, cancelled, expired.
-- Expiry by the maintenance worker is tested in t/: here no order is due.
INSERT INTO seckill.items (item_id, stock, pay_within)
VALUES (1, 10, '1 hour'), (2, 3, NULL), (3, 2, '1 day 30 minutes');

-- every mode makes pending orders of an item with pay_within
SELECT m.mode, b.outcome FROM (VALUES ('optimistic'::seckill_mode), ('retry'),
    ('pessimistic'), ('advisory'), ('cache'), ('auto')) m(mode),
    LATERAL seckill_buy(1, 7, m.mode) b;
SELECT outcome FROM seckill_buy(1, 7, 'queue');
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[8, 9], 'cache');
SELECT s.outcome, r.outcome FROM seckill_submit(1, 10) s, LATERAL seckill_result(s.ticket, '60 s') r;
SELECT outcome FROM seckill_buy(2, 7);
SELECT outcome FROM seckill_buy(3, 7);
SELECT item_id, state, pay_by - created_at BETWEEN pay_within AND pay_within + '1 minute' AS in_time, count(*)
FROM seckill.orders JOIN seckill.items USING (item_id) GROUP BY 1, 2, 3 ORDER BY 1;
SELECT item_id, sold, pending FROM seckill.stock ORDER BY 1;

-- confirm and cancel, repeated: a late call gets the state or an error
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (1, 3, '1 hour'), (2, 3, NULL);
SELECT order_id AS a FROM seckill_buy(1, 1, 'cache') \gset
SELECT order_id AS b FROM seckill_buy(1, 2, 'pessimistic', 2) \gset
SELECT order_id AS c FROM seckill_buy(2, 3, 'queue') \gset
SELECT outcome FROM seckill_buy(1, 3, 'cache');
SELECT outcome FROM seckill_buy(1, 3, 'retry');
\set VERBOSITY terse
SELECT seckill_confirm(1, :a), seckill_confirm(2, :c);
SELECT seckill_confirm(1, :a);
-- (without the message, which contains the order_id)
DO $$ BEGIN
    PERFORM seckill_cancel(item_id, order_id) FROM seckill.orders WHERE user_id = 1;
EXCEPTION WHEN SQLSTATE 'SK001' THEN RAISE NOTICE 'is confirmed';
END $$;
SELECT seckill_cancel(1, :b);
SELECT seckill_cancel(1, :b);
DO $$ BEGIN
    PERFORM seckill_confirm(item_id, order_id) FROM seckill.orders WHERE user_id = 2;
EXCEPTION WHEN SQLSTATE 'SK002' THEN RAISE NOTICE 'was cancelled';
END $$;
SELECT seckill_cancel(1, :a, refund => true), seckill_cancel(2, :c, true);
SELECT item_id, user_id, quantity, state FROM seckill.orders ORDER BY 1, 2;
SELECT * FROM seckill_audit();

-- the units are on sale at once, in every mode
SELECT m.mode, b.outcome FROM (VALUES ('cache'::seckill_mode), ('advisory'), ('optimistic'), ('cache')) m(mode),
    LATERAL seckill_buy(1, 4, m.mode) b;
SELECT seckill_cancel(1, max(order_id)) FROM seckill.orders WHERE item_id = 1 AND state = 'pending';
SELECT outcome FROM seckill_buy(1, 5, 'queue');
SELECT seckill_cancel(1, max(order_id)) FROM seckill.orders WHERE item_id = 1 AND state = 'pending';
SELECT outcome FROM seckill_buy(1, 5, 'retry', 2);
SELECT outcome FROM seckill_buy(1, 5, 'cache', 1);
SELECT * FROM seckill_audit(1);

-- in one transaction with the purchase, and rolled back
BEGIN;
SELECT seckill_cancel(1, max(order_id)) FROM seckill.orders WHERE item_id = 1 AND state = 'pending';
SELECT outcome, order_id AS d FROM seckill_buy(1, 6, 'cache') \gset
SELECT :'outcome', seckill_confirm(1, :d);
SAVEPOINT s;
SELECT seckill_cancel(1, :d, true);
SELECT outcome FROM seckill_buy(1, 7, 'pessimistic');
ROLLBACK TO s;
SELECT outcome FROM seckill_buy(1, 7, 'cache');
COMMIT;
SELECT state, sum(quantity) FROM seckill.orders WHERE item_id = 1 GROUP BY 1 ORDER BY 1;
SELECT * FROM seckill_audit(1);

-- limits count live orders
INSERT INTO seckill.items (item_id, stock, pay_within, per_user_limit) VALUES (4, 10, '1 hour', 1);
SELECT outcome, order_id AS e FROM seckill_buy(4, 1, 'cache') \gset
SELECT outcome FROM seckill_buy(4, 1, 'cache');
SELECT seckill_cancel(4, :e);
SELECT outcome, order_id AS f FROM seckill_buy(4, 1, 'queue') \gset
SELECT :'outcome', seckill_confirm(4, :f);
SELECT outcome FROM seckill_buy(4, 1, 'retry');
-- a limit that is set later counts them as well
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (5, 10, '1 hour');
SELECT seckill_cancel(5, order_id) FROM seckill_buy(5, 1);
SELECT outcome FROM seckill_buy(5, 2);
UPDATE seckill.items SET per_user_limit = 1 WHERE item_id = 5;
SELECT u, outcome FROM (VALUES (1), (2)) v(u), LATERAL seckill_buy(5, u);

-- a request_id returns its order in any state; pay_by does not change
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (6, 10, '1 hour');
SELECT order_id AS g FROM seckill_buy(6, 1, 'cache', request_id => '00000000-0000-0000-0000-000000000001') \gset
SELECT pay_by AS by FROM seckill.orders WHERE order_id = :g \gset
SELECT outcome, order_id = :g AS same FROM seckill_buy(6, 1, 'queue', request_id => '00000000-0000-0000-0000-000000000001');
SELECT pay_by = :'by' AS same FROM seckill.orders WHERE order_id = :g;
SELECT seckill_cancel(6, :g);
SELECT outcome, order_id = :g AS same FROM seckill_buy(6, 1, 'retry', request_id => '00000000-0000-0000-0000-000000000001');
SELECT count(*) FROM seckill.orders WHERE item_id = 6;

-- a later settle counts cancelled orders of the lease once
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (7, 10, '1 hour');
SELECT seckill_prewarm(7);
SELECT count(seckill_cancel(7, order_id)) FROM seckill_buy_many(7, ARRAY[1, 2, 3], 'cache');
SELECT outcome FROM seckill_buy(7, 4, 'cache');
SELECT item_id, stock, leased, cached, sold FROM seckill.stock WHERE item_id = 7;
SELECT seckill_recall(7);
SELECT item_id, stock, leased, cached, sold FROM seckill.stock WHERE item_id = 7;

-- misuse
SELECT seckill_confirm(7, NULL);
SELECT seckill_cancel(NULL, 1);
SELECT seckill_cancel(7, 1, NULL);
SELECT seckill_confirm(7, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_cancel(8, 0);
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.orders SET state = 'confirmed' WHERE item_id = 7;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET pay_within = '0' WHERE item_id = 7;
UPDATE seckill.items SET pay_within = '2 years' WHERE item_id = 7;
BEGIN READ ONLY;
SELECT seckill_confirm(7, 1);
ROLLBACK;

-- the operator can change pay_by of a pending order
UPDATE seckill.orders SET pay_by = pay_by + '1 hour' WHERE item_id = 7 AND state = 'pending';

-- a trigger that skips the row: an error, and nothing has changed
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER skip BEFORE UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION skip();
DO $$ BEGIN
    PERFORM seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 7 AND state = 'pending';
EXCEPTION WHEN triggered_action_exception THEN RAISE NOTICE 'not confirmed';
END $$;
DO $$ BEGIN
    PERFORM seckill_cancel(item_id, order_id) FROM seckill.orders WHERE item_id = 7 AND state = 'pending';
EXCEPTION WHEN triggered_action_exception THEN RAISE NOTICE 'not cancelled';
END $$;
DROP TRIGGER skip ON seckill.orders;
DROP FUNCTION skip();

-- triggers that keep the old row, change another column, or change other orders
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_ARGV[0]
        WHEN 'keep' THEN RETURN OLD;
        WHEN 'quantity' THEN NEW.quantity := 2;
        WHEN 'other' THEN
            UPDATE seckill.orders SET state = 'cancelled'
            WHERE item_id = NEW.item_id AND order_id <> NEW.order_id AND state <> 'cancelled';
    END CASE;
    RETURN NEW;
END $$;
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (8, 5, '1 hour');
SELECT outcome FROM seckill_buy_many(8, ARRAY[1, 2], 'retry');
CREATE FUNCTION try_cancel() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM seckill_cancel(item_id, order_id) FROM seckill.orders WHERE (item_id, user_id) = (8, 1);
EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'not cancelled: %', SQLSTATE;
END $$;
CREATE TRIGGER meddle BEFORE UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION meddle('keep');
SELECT try_cancel();
DROP TRIGGER meddle ON seckill.orders;
CREATE TRIGGER meddle BEFORE UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION meddle('quantity');
SELECT try_cancel();
DROP TRIGGER meddle ON seckill.orders;
CREATE TRIGGER meddle AFTER UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION meddle('other');
SELECT try_cancel();
DROP TRIGGER meddle ON seckill.orders;
SELECT stock, sold, difference FROM seckill_audit(8);
DROP FUNCTION meddle(), try_cancel();

-- archive: orders of closed leases can be deleted; the audit does not count dead ones
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
DELETE FROM seckill.orders WHERE item_id = 7 AND state = 'cancelled';
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
SELECT sum(held) AS held FROM seckill.stock;
TRUNCATE seckill.items, seckill.orders;

-- an order is found by its primary key, not by the index of pending orders, which
-- is small when the plan is made
INSERT INTO seckill.orders (item_id, user_id, quantity, mode)
SELECT 1, 2, 1, 'retry' FROM generate_series(1, 5000);
VACUUM ANALYZE seckill.orders;
\c -
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (1, 3, '1 hour');
SELECT order_id AS d FROM seckill_buy(1, 1, 'retry') \gset
BEGIN;
SELECT pg_stat_get_xact_numscans('seckill.orders_pay_by'::regclass) AS before \gset
SELECT seckill_confirm(1, :d);
SELECT pg_stat_get_xact_numscans('seckill.orders_pay_by'::regclass) - :before AS scans;
COMMIT;
TRUNCATE seckill.items, seckill.orders;
