-- Units supplied: all of them must fit on the row, should they come back.
SELECT seckill_put_item(1, '{"stock": 10}');
SELECT seckill_prewarm(1);
SELECT seckill_restock(1, 2147483647);
\set VERBOSITY terse
UPDATE seckill.items SET stock = 2147483638 WHERE item_id = 1;
SELECT seckill_restock(1, 2147483637);
SELECT seckill_restock(1, 1);
UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 1;
UPDATE seckill.items SET pay_within = '1 hour' WHERE item_id = 1;

-- what is sold can come back
SELECT order_id AS a FROM seckill_buy(1, 1, 'cache', 4) \gset
SELECT order_id AS b FROM seckill_buy(1, 2, 'pessimistic', 2147483630) \gset
SELECT seckill_restock(1, 1);
SELECT seckill_set_available(1, 4);
SELECT seckill_cancel(1, :b);
SELECT seckill_cancel(1, :a);
SELECT seckill_recall(1);
SELECT * FROM seckill_audit();

-- an archive makes room
SELECT order_id AS a FROM seckill_buy(1, 1, 'pessimistic', 2147483600) \gset
SELECT seckill_confirm(1, :a);
DELETE FROM seckill.orders WHERE order_id = :a;
SELECT seckill_restock(1, 10);
SELECT seckill_write_off(1, 2147483600);
SELECT seckill_restock(1, 2147483600);
DELETE FROM seckill.orders;
SELECT supplied, difference FROM seckill_audit();

-- what cannot be written off
SELECT seckill_write_off(1, 2147483647);
SELECT seckill_write_off(1, 9223372036854775807);
SELECT seckill_write_off(1, -9223372036854775808);
SELECT seckill_write_off(1, -10);
SELECT seckill_write_off(1, -9);

-- books that are wrong: a recall that cannot be leaves the lease as it is
TRUNCATE seckill.items, seckill.orders;
SELECT seckill_put_item(1, '{"stock": 10}');
SELECT seckill_prewarm(1);
SELECT seckill_write_off(1, 10);
SELECT seckill_restock(1, 2147483647);
SELECT seckill_recall(1);
SELECT stock, cached, held FROM seckill.stock;
SELECT outcome FROM seckill_buy(1, 1, 'cache', 1);
SELECT seckill_restock(1, -9);
SELECT seckill_recall(1);
SELECT difference FROM seckill_audit();
SELECT seckill_write_off(1, -10);
TRUNCATE seckill.items, seckill.orders;
SELECT seckill_put_item(1, '{"stock": 10}');
\set VERBOSITY default

-- a trigger that skips what counts them
\set SHOW_CONTEXT never
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER skip BEFORE UPDATE ON seckill.items
    FOR EACH ROW WHEN (new.supplied <> old.supplied) EXECUTE FUNCTION skip();
SELECT seckill_restock(1, 1);
\set VERBOSITY sqlstate
SELECT seckill_restock(1, -1);
SELECT seckill_set_available(1, 3);
UPDATE seckill.items SET stock = 3;
SELECT seckill_write_off(1, 1);
DROP TRIGGER skip ON seckill.items;
CREATE TRIGGER skip BEFORE UPDATE ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION skip();
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
SELECT seckill_prewarm(1);
SELECT seckill_put_item(1, '{"title": "x"}');
DROP TRIGGER skip ON seckill.items;
\set VERBOSITY default
SELECT * FROM seckill_audit();

-- nothing is counted of an item that is gone by then
CREATE FUNCTION delete_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM seckill.items WHERE item_id = new.item_id;
    RETURN NULL;
END $$;
CREATE TRIGGER a_first AFTER UPDATE ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION delete_item();
UPDATE seckill.items SET stock = 3;
DROP TRIGGER a_first ON seckill.items;
SELECT * FROM seckill_audit();
DROP FUNCTION skip(), delete_item();
