-- An item is deleted by a trigger in the middle of a call that changes it: refused.
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
