-- A limit over several items, as in docs/operations.md, and an order that is
-- cancelled in part.
CREATE TABLE variants (item_id bigint PRIMARY KEY, product_id bigint NOT NULL);
CREATE TABLE bought (
    product_id bigint, user_id bigint, units integer NOT NULL CHECK (units <= 2),
    PRIMARY KEY (product_id, user_id));
CREATE FUNCTION count_bought() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    change integer := CASE WHEN NEW.state IN ('pending', 'confirmed') THEN NEW.quantity ELSE 0 END
        - CASE WHEN OLD.state IN ('pending', 'confirmed') THEN OLD.quantity ELSE 0 END;
BEGIN
    INSERT INTO bought AS b
    SELECT product_id, NEW.user_id, change FROM variants WHERE item_id = NEW.item_id
    ON CONFLICT (product_id, user_id) DO UPDATE SET units = b.units + EXCLUDED.units;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_bought AFTER INSERT OR UPDATE OF state ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION count_bought();

INSERT INTO seckill.items (item_id, stock) VALUES (1, 10), (2, 10), (3, 3);
INSERT INTO variants VALUES (1, 7), (2, 7);
\set VERBOSITY terse
SELECT outcome, order_id AS o FROM seckill_buy(1, 42, 'cache') \gset
SELECT outcome FROM seckill_buy(2, 42, 'retry');
SELECT outcome FROM seckill_buy(1, 42, 'pessimistic');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM seckill_buy(2, 42, 'cache');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM seckill_buy(2, 42, 'queue');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM seckill_buy(2, 43, 'queue', 2);
-- an order that is no longer live does not count
SELECT seckill_cancel(1, :o, true);
SELECT outcome FROM seckill_buy(2, 42, 'queue');
SELECT * FROM bought ORDER BY user_id;
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
DROP TRIGGER count_bought ON seckill.orders;
DROP FUNCTION count_bought();
DROP TABLE variants, bought;

-- returning one unit of three: cancel and buy two, in one transaction
SELECT outcome, order_id AS o FROM seckill_buy(3, 42, 'cache', 3) \gset
SELECT outcome FROM seckill_buy(3, 43);
BEGIN;
SELECT seckill_cancel(3, :o, refund => true);
SELECT outcome FROM seckill_buy(3, 42, 'cache', 2);
COMMIT;
SELECT order_id = :o AS first, quantity, state FROM seckill.orders WHERE item_id = 3 ORDER BY order_id;
SELECT available FROM seckill_item(3);
SELECT * FROM seckill_audit(3);
TRUNCATE seckill.items, seckill.orders;
