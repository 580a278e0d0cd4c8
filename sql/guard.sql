-- Changes by plain SQL: allowed, refused, and followed up by triggers.
INSERT INTO seckill.items (item_id, stock) VALUES (1, 5), (2, 5);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');

-- triggers maintain supplied; purchases do not change it
UPDATE seckill.items SET stock = stock + 10 WHERE item_id = 2;
UPDATE seckill.items SET stock = 3, title = 'three' WHERE item_id = 2;
UPDATE seckill.items SET stock = 4 WHERE item_id = 2;
UPDATE seckill.items SET stock = 3 WHERE item_id = 2;
SELECT item_id, supplied FROM seckill.items ORDER BY 1;
INSERT INTO seckill.items (item_id, stock) VALUES (2, 4)
ON CONFLICT (item_id) DO UPDATE SET stock = items.stock + excluded.stock;
SELECT item_id, supplied, difference FROM seckill_audit();

-- columns that only the extension writes
UPDATE seckill.items SET leased = 0 WHERE item_id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET lease_id = 42 WHERE item_id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET leased = 0, lease_id = NULL, version = version + 1 WHERE item_id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET item_id = 3 WHERE item_id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.orders SET quantity = 2;
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
UPDATE seckill.items SET stock = -1 WHERE item_id = 1;
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE

-- orders of an open lease cannot be deleted
DELETE FROM seckill.orders WHERE mode = 'cache';
\echo :LAST_ERROR_SQLSTATE
TRUNCATE seckill.orders;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE seckill.items;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM seckill.items WHERE item_id = 1;
\echo :LAST_ERROR_SQLSTATE
SELECT item_id, difference FROM seckill_audit();
SELECT seckill_recall(1);
DELETE FROM seckill.orders;
DELETE FROM seckill.items WHERE item_id = 1;

-- a deleted item is unknown at once; inserted again, it is a new item
SELECT outcome FROM seckill_buy(1, 1, 'cache');
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'cache');

-- many leased items deleted in one statement
INSERT INTO seckill.items (item_id, stock) SELECT n, 5 FROM generate_series(10, 309) n;
SELECT count(seckill_prewarm(item_id)) FROM seckill.items WHERE item_id BETWEEN 10 AND 209;
SELECT count(seckill_prewarm(item_id)) FROM seckill.items WHERE item_id >= 210;
BEGIN;
DELETE FROM seckill.items WHERE item_id >= 10;
ROLLBACK;
SELECT outcome FROM seckill_buy(10, 1, 'cache', 5);
SELECT count(*), sum(difference) FROM seckill_audit();
SELECT seckill_recall(10);
DELETE FROM seckill.orders WHERE item_id = 10;
DELETE FROM seckill.items WHERE item_id >= 10;

-- deletion rolled back: the cache still has its units
SELECT seckill_prewarm(2);
BEGIN;
DELETE FROM seckill.items WHERE item_id = 2;
ROLLBACK;
SELECT outcome FROM seckill_buy(2, 1, 'cache');
SELECT * FROM seckill_audit(2);

-- truncation rolled back to a savepoint, then committed around
BEGIN;
SAVEPOINT a;
TRUNCATE seckill.items, seckill.orders;
ROLLBACK TO a;
COMMIT;
SELECT cached, held, sold FROM seckill.stock WHERE item_id = 2;
TRUNCATE seckill.items, seckill.orders;
SELECT * FROM seckill_cache();

-- a user trigger that skips the INSERT of an order: an error, no lost unit
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION swallow();
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'retry');
DROP TRIGGER swallow ON seckill.orders;
DROP FUNCTION swallow();
SELECT item_id, supplied, stock + unsold AS left_over, difference FROM seckill_audit();

-- user triggers on items: a caught error, a change of another item
CREATE TABLE log (n int PRIMARY KEY);
INSERT INTO log VALUES (1);
CREATE FUNCTION audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.item_id = 1 AND NEW.version > OLD.version THEN
        BEGIN
            INSERT INTO log VALUES (1);
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
        UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 2;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_log AFTER UPDATE ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION audit_log();
INSERT INTO seckill.items (item_id, stock) VALUES (2, 1);
SELECT seckill_prewarm(1, 1);
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic', 3);
SELECT item_id, supplied, sold, difference FROM seckill_audit();
DROP TRIGGER audit_log ON seckill.items;
DROP FUNCTION audit_log();
DROP TABLE log;
TRUNCATE seckill.items, seckill.orders;

-- an item replaced and prewarmed in one transaction
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);
SELECT seckill_prewarm(1);
BEGIN;
DELETE FROM seckill.items;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);
SELECT seckill_prewarm(1, 2);
COMMIT;
SELECT stock, cached, held FROM seckill.stock;

-- a transaction truncates the tables and continues to sell
BEGIN;
SELECT outcome FROM seckill_buy(1, 1, 'cache');
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2);
SELECT outcome FROM seckill_buy(1, 2, 'cache');
SELECT seckill_prewarm(1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT stock, cached, held FROM seckill.stock;
BEGIN;
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);
SELECT outcome FROM seckill_buy(1, 2, 'cache');
COMMIT;
UPDATE seckill.items SET stock = stock + 1;
SELECT outcome FROM seckill_buy(1, 2, 'cache');
SELECT * FROM seckill_audit();

-- tables of different owners
CREATE ROLE regress_items;
CREATE ROLE regress_orders;
GRANT USAGE ON SCHEMA seckill TO regress_items, regress_orders;
ALTER TABLE seckill.items OWNER TO regress_items;
ALTER TABLE seckill.orders OWNER TO regress_orders;
SELECT outcome FROM seckill_buy(1, 3, 'cache');
SELECT outcome FROM seckill_buy(1, 4, 'pessimistic');
SELECT seckill_recall(1);
DELETE FROM seckill.items;
-- row security of either owner does not apply
ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders FORCE ROW LEVEL SECURITY;
SET row_security = off;
DELETE FROM seckill.items;
RESET row_security;
ALTER TABLE seckill.orders NO FORCE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders DISABLE ROW LEVEL SECURITY;
DO $$
BEGIN
    EXECUTE format('ALTER TABLE seckill.items OWNER TO %I', current_user);
    EXECUTE format('ALTER TABLE seckill.orders OWNER TO %I', current_user);
END
$$;
REVOKE ALL ON SCHEMA seckill FROM regress_items, regress_orders;
DROP ROLE regress_items, regress_orders;
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);

-- a user trigger that buys: nested calls
CREATE FUNCTION bonus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.item_id < 3 THEN
        PERFORM seckill_buy(NEW.item_id + 1, NEW.user_id, 'cache');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER bonus AFTER INSERT ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION bonus();
INSERT INTO seckill.items (item_id, stock) VALUES (2, 3), (3, 3);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'advisory');
SELECT item_id, sold, difference FROM seckill_audit();
DROP TRIGGER bonus ON seckill.orders;
DROP FUNCTION bonus();
TRUNCATE seckill.items, seckill.orders;
