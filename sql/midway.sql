-- Triggers on items and orders act in the middle of a call: deleting its item is refused, its units are counted once.
\set SHOW_CONTEXT never
CREATE FUNCTION delete_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM seckill.items WHERE item_id = new.item_id;
    RETURN new;
END $$;
CREATE FUNCTION truncate_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE seckill.items;
    RETURN new;
END $$;

-- after the last unit of the row is sold, before there is an order
CREATE TRIGGER midway AFTER UPDATE ON seckill.items
    FOR EACH ROW WHEN (new.stock = 0) EXECUTE FUNCTION delete_item();
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1);
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
\set VERBOSITY sqlstate
SELECT outcome FROM seckill_buy(1, 1, 'retry');
SELECT outcome FROM seckill_buy(1, 1, 'optimistic');
SELECT outcome FROM seckill_buy(1, 1, 'advisory');
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'queue');
SELECT count(*) FROM seckill_buy_many(1, '{1}', 'pessimistic');
SELECT seckill_restock(1, -1);
SELECT seckill_set_available(1, 0);
SELECT seckill_prewarm(1);
\set VERBOSITY default
SELECT * FROM seckill_audit();
DROP TRIGGER midway ON seckill.items;

-- before the order is written
CREATE TRIGGER midway BEFORE INSERT ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION delete_item();
SELECT outcome FROM seckill_buy(1, 1, 'retry');
\set VERBOSITY sqlstate
SELECT outcome FROM seckill_buy(1, 1, 'optimistic');
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
SELECT outcome FROM seckill_buy(1, 1, 'advisory');
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'queue');
SELECT count(*) FROM seckill_buy_many(1, '{1}', 'cache');
\set VERBOSITY default
SELECT * FROM seckill_audit();
DROP TRIGGER midway ON seckill.orders;

CREATE TRIGGER midway BEFORE INSERT ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION truncate_items();
SELECT outcome FROM seckill_buy(1, 1, 'retry');
\set VERBOSITY sqlstate
SELECT outcome FROM seckill_buy(1, 1, 'optimistic');
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
SELECT outcome FROM seckill_buy(1, 1, 'advisory');
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'queue');
SELECT count(*) FROM seckill_buy_many(1, '{1}', 'cache');
\set VERBOSITY default
SELECT * FROM seckill_audit();
DROP TRIGGER midway ON seckill.orders;

-- another item without a running call can be deleted; this one raises the error
CREATE FUNCTION delete_other() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM seckill.items WHERE item_id = 2;
    BEGIN
        DELETE FROM seckill.items WHERE item_id = 1;
    EXCEPTION WHEN object_in_use THEN
        NULL;
    END;
    RETURN new;
END $$;
INSERT INTO seckill.items (item_id, stock) VALUES (2, 1);
SELECT seckill_restock(1, 1);
CREATE TRIGGER midway BEFORE INSERT ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION delete_other();
SELECT outcome FROM seckill_buy(1, 1, 'cache');
DROP TRIGGER midway ON seckill.orders;
SELECT * FROM seckill_audit();

-- once the call has ended, also by an error that was caught, it can be deleted
SELECT seckill_recall(1);
DELETE FROM seckill.orders;
CREATE TRIGGER midway BEFORE INSERT ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION delete_item();
SELECT seckill_restock(1, 1);
BEGIN;
SAVEPOINT a;
SELECT outcome FROM seckill_buy(1, 1, 'cache');
ROLLBACK TO a;
DELETE FROM seckill.items;
COMMIT;
SELECT * FROM seckill_audit();
DROP TRIGGER midway ON seckill.orders;
DROP FUNCTION delete_item(), delete_other(), truncate_items();

-- units on their way to the cache are found by a trigger: exactly 4 are left
CREATE FUNCTION set_four() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE seckill.items SET title = 'four' WHERE item_id = new.item_id;
    PERFORM seckill_set_available(new.item_id, 4);
    RETURN new;
END $$;
CREATE TRIGGER midway AFTER UPDATE ON seckill.items
    FOR EACH ROW WHEN (new.leased > old.leased AND new.title IS NULL) EXECUTE FUNCTION set_four();
INSERT INTO seckill.items (item_id, stock) VALUES (1, 10), (2, 10), (3, 10);
SELECT seckill_prewarm(1, 6);
SET seckill.lease_units = 6;
SELECT outcome FROM seckill_buy(2, 1, 'cache');
SELECT outcome FROM seckill_buy(3, 1, 'cache', 5);
SELECT item_id, available FROM generate_series(1, 3) item_id, seckill_item(item_id);
SELECT outcome FROM seckill_buy(1, 2, 'cache', 5);
SELECT outcome FROM seckill_buy(1, 2, 'cache', 4);
SELECT * FROM seckill_audit();
DROP TRIGGER midway ON seckill.items;

-- nor can they be bought before they are there
CREATE FUNCTION buy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM seckill_buy(new.item_id, 1, 'cache');
    RETURN new;
END $$;
CREATE TRIGGER midway BEFORE UPDATE ON seckill.items
    FOR EACH ROW WHEN (new.leased > old.leased) EXECUTE FUNCTION buy();
INSERT INTO seckill.items (item_id, stock) VALUES (4, 10);
SELECT seckill_prewarm(4, 6);
SELECT seckill_recall(4);
SELECT seckill_set_available(4, 10);
ALTER TABLE seckill.items DISABLE TRIGGER midway;
SELECT seckill_prewarm(4, 2);
ALTER TABLE seckill.items ENABLE TRIGGER midway;
-- they can be, if the row has the lease already
SELECT outcome FROM seckill_buy(4, 2, 'cache', 3);
SELECT * FROM seckill_audit(4);
DROP TRIGGER midway ON seckill.items;
SELECT outcome FROM seckill_buy(4, 2, 'cache', 6);
SELECT * FROM seckill_audit(4);
RESET seckill.lease_units;
DROP FUNCTION set_four(), buy();
TRUNCATE seckill.items, seckill.orders;
