-- The life of an order: pending, confirmed, cancelled, expired.
-- What expires by itself is in t/: here nothing is due.
INSERT INTO seckill.items (item_id, stock, pay_within)
VALUES (1, 10, '1 hour'), (2, 3, NULL), (3, 2, '1 day 30 minutes');

-- every mode makes pending orders of an item with pay_within
SELECT m.mode, b.outcome FROM (VALUES ('optimistic'::seckill_mode), ('retry'),
    ('pessimistic'), ('advisory'), ('cache'), ('auto')) m(mode),
    LATERAL seckill_buy(1, 7, m.mode) b;
SELECT outcome FROM seckill_buy(1, 7, 'queue');
SELECT user_id, outcome FROM seckill_buy_many(1, ARRAY[8, 9], 'cache');
SELECT s.outcome, r.outcome FROM seckill_submit(1, 10) s, LATERAL seckill_result(s.ticket, '10 s') r;
SELECT outcome FROM seckill_buy(2, 7);
SELECT outcome FROM seckill_buy(3, 7);
SELECT item_id, state, pay_by - created_at BETWEEN pay_within AND pay_within + '1 minute' AS in_time, count(*)
FROM seckill.orders JOIN seckill.items USING (item_id) GROUP BY 1, 2, 3 ORDER BY 1;
SELECT item_id, sold, pending FROM seckill.stock ORDER BY 1;

-- confirm and cancel, and again: who comes late is told
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
-- (without the message, which has the number of the order)
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
-- and a limit that comes later as well
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (5, 10, '1 hour');
SELECT seckill_cancel(5, order_id) FROM seckill_buy(5, 1);
SELECT outcome FROM seckill_buy(5, 2);
UPDATE seckill.items SET per_user_limit = 1 WHERE item_id = 5;
SELECT u, outcome FROM (VALUES (1), (2)) v(u), LATERAL seckill_buy(5, u);

-- a request names its order, whatever has become of it; the clock goes on
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (6, 10, '1 hour');
SELECT order_id AS g FROM seckill_buy(6, 1, 'cache', request_id => '00000000-0000-0000-0000-000000000001') \gset
SELECT pay_by AS by FROM seckill.orders WHERE order_id = :g \gset
SELECT outcome, order_id = :g AS same FROM seckill_buy(6, 1, 'queue', request_id => '00000000-0000-0000-0000-000000000001');
SELECT pay_by = :'by' AS same FROM seckill.orders WHERE order_id = :g;
SELECT seckill_cancel(6, :g);
SELECT outcome, order_id = :g AS same FROM seckill_buy(6, 1, 'retry', request_id => '00000000-0000-0000-0000-000000000001');
SELECT count(*) FROM seckill.orders WHERE item_id = 6;

-- a lease that is settled later has its cancelled orders counted once
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

-- more time to pay is the operator's to give
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

-- one that keeps the row as it was, changes something else, or other orders
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

-- the archive: orders of closed leases may go, the dead ones leave no trace
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
DELETE FROM seckill.orders WHERE item_id = 7 AND state = 'cancelled';
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
SELECT sum(held) AS held FROM seckill.stock;
TRUNCATE seckill.items, seckill.orders;

-- an order is found by its key, not among the pending ones, of which there are
-- few when the plan is made
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
