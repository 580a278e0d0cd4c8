-- The stock cache: prewarm, recall, restock, savepoints, the sold-out flag.
INSERT INTO seckill.items (item_id, stock) VALUES (1, 10);
SELECT seckill_prewarm(1, 4);
SELECT stock, leased, cached, held, sold FROM seckill.stock;
SELECT seckill_prewarm(1);
SELECT seckill_prewarm(1);
SELECT stock, leased, cached, held, sold FROM seckill.stock;
SELECT seckill_recall(1);
SELECT seckill_recall(1);
SELECT stock, leased, lease_id, supplied FROM seckill.items;

-- in a transaction that rolls back
BEGIN;
SELECT seckill_prewarm(1, 6);
SELECT stock, leased, cached, held FROM seckill.stock;
ROLLBACK;
SELECT stock, leased, cached, held FROM seckill.stock;
SELECT seckill_prewarm(1, 6);
BEGIN;
SELECT seckill_recall(1);
ROLLBACK;
SELECT * FROM seckill_audit();
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT stock + cached AS left_over, held, sold FROM seckill.stock;
SELECT difference FROM seckill_audit(1);

-- recall while this transaction holds units
BEGIN;
SELECT outcome FROM seckill_buy(1, 2, 'cache');
SELECT seckill_recall(1);
SELECT leased, cached, held FROM seckill.stock;
ROLLBACK;
SELECT stock + cached AS left_over, held FROM seckill.stock;
BEGIN;
SELECT outcome FROM seckill_buy(1, 2, 'cache');
SELECT seckill_recall(1);
COMMIT;
SELECT difference FROM seckill_audit(1);
TRUNCATE seckill.items, seckill.orders;

-- ROLLBACK TO SAVEPOINT returns the units that the level took
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);
SELECT seckill_prewarm(1);
BEGIN;
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SAVEPOINT a;
SELECT outcome FROM seckill_buy(1, 2, 'cache');
SAVEPOINT b;
SELECT outcome FROM seckill_buy(1, 3, 'cache');
SELECT outcome FROM seckill_buy(1, 4, 'cache');
SELECT cached, held FROM seckill.stock;
ROLLBACK TO b;
SELECT cached, held FROM seckill.stock;
RELEASE a;
SELECT cached, held FROM seckill.stock;
SELECT outcome FROM seckill_buy(1, 5, 'cache');
COMMIT;
SELECT cached, held, sold, state FROM seckill.stock;
SELECT user_id FROM seckill.orders ORDER BY user_id;
TRUNCATE seckill.items, seckill.orders;

-- buying from an uncommitted lease of the same transaction, at several levels
SET seckill.lease_units = 5;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 7);
BEGIN;
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT stock, leased, cached, held FROM seckill.stock;
SAVEPOINT a;
SELECT outcome FROM seckill_buy(1, 2, 'cache', 3);
SELECT stock, leased, cached, held FROM seckill.stock;
ROLLBACK TO a;
SELECT stock, leased, cached, held FROM seckill.stock;
SELECT outcome FROM seckill_buy(1, 3, 'cache', 6);
SELECT stock, leased, cached, held FROM seckill.stock;
SELECT outcome FROM seckill_buy(1, 4, 'cache');
COMMIT;
SELECT stock, cached, held, sold, state FROM seckill.stock;
SELECT * FROM seckill_audit();
RESET seckill.lease_units;
TRUNCATE seckill.items, seckill.orders;

-- an error caught inside a function is a savepoint, too
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2);
SELECT seckill_prewarm(1);
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        BEGIN
            PERFORM seckill_buy(1, i, 'cache');
            RAISE EXCEPTION 'changed my mind';
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
    PERFORM seckill_buy(1, 101, 'cache');
END
$$;
SELECT cached, held, sold FROM seckill.stock;
TRUNCATE seckill.items, seckill.orders;

-- sold out is answered from memory; a restock clears the flag at once
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 2, 'cache');
SELECT sold_out FROM seckill_cache();
UPDATE seckill.items SET stock = stock + 1;
SELECT sold_out FROM seckill_cache();
SELECT outcome FROM seckill_buy(1, 3, 'optimistic');
SELECT outcome FROM seckill_buy(1, 4, 'pessimistic');
SELECT sold_out FROM seckill_cache();
BEGIN;
UPDATE seckill.items SET stock = stock + 1;
SELECT outcome FROM seckill_buy(1, 5, 'cache');
SELECT outcome FROM seckill_buy(1, 6, 'cache');
SELECT sold_out FROM seckill_cache();
ROLLBACK;
SELECT outcome FROM seckill_buy(1, 7, 'cache');

-- an uncommitted change does not set the flag for other sessions
UPDATE seckill.items SET stock = 1;
BEGIN;
SELECT outcome FROM seckill_buy(1, 8, 'pessimistic');
SELECT outcome FROM seckill_buy(1, 9, 'pessimistic');
SELECT sold_out FROM seckill_cache();
ROLLBACK;
SELECT outcome FROM seckill_buy(1, 10, 'cache');
TRUNCATE seckill.items, seckill.orders;

-- nor does a statement whose triggers have not run yet
INSERT INTO seckill.items (item_id, stock) VALUES (1, 5);
SELECT outcome FROM seckill_buy(1, 1, 'retry');
BEGIN;
WITH u AS (UPDATE seckill.items SET stock = 0 RETURNING item_id)
SELECT outcome FROM u, seckill_buy(u.item_id, 2, 'cache');
SELECT sold_out FROM seckill_cache();
ROLLBACK;
BEGIN;
WITH u AS (UPDATE seckill.items SET ends_at = now() RETURNING item_id)
SELECT outcome FROM u, seckill_buy(u.item_id, 3, 'cache');
ROLLBACK;
SELECT outcome FROM seckill_buy(1, 4, 'cache');
TRUNCATE seckill.items, seckill.orders;

-- a lease of all units, rolled back: the row has units for a refill ahead of need
SET seckill.lease_units = 20;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 100);
SELECT seckill_prewarm(1, 20);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
BEGIN;
SELECT seckill_prewarm(1);
ROLLBACK;
SELECT outcome FROM seckill_buy(1, 1, 'cache', 15);
SELECT stock, cached FROM seckill.stock;
RESET seckill.lease_units;
TRUNCATE seckill.items, seckill.orders;

-- many items in one statement, each refilled, also ahead of need
SET seckill.lease_units = 8;
INSERT INTO seckill.items (item_id, stock) SELECT n, 50 FROM generate_series(1, 300) n;
SELECT b.outcome, count(*)
FROM generate_series(1, 300) n, seckill_buy(n, 1, 'cache', 7) b
GROUP BY 1;
SELECT b.outcome, count(*)
FROM generate_series(1, 300) n, seckill_buy(n, 1, 'cache') b
GROUP BY 1;
SELECT sum(sold), sum(difference) FROM seckill_audit();
RESET seckill.lease_units;
TRUNCATE seckill.items, seckill.orders;

-- a transaction has a bounded number of holds; beyond it the row sells
INSERT INTO seckill.items (item_id, stock) SELECT n, 5 FROM generate_series(1, 300) n;
SELECT count(seckill_prewarm(item_id, 3)) FROM seckill.items WHERE item_id <= 200;
SELECT count(seckill_prewarm(item_id, 3)) FROM seckill.items WHERE item_id > 200;
SELECT seckill_recall(300);
BEGIN;
SELECT b.outcome, count(*)
FROM generate_series(1, 300) n, seckill_buy(n, 1, 'cache') b
GROUP BY 1;
SELECT mode, count(*) FROM seckill.orders GROUP BY 1 ORDER BY 1;
SELECT outcome FROM seckill_buy(300, 2, 'pessimistic', 4);
SELECT count(*) FROM generate_series(290, 299) n, seckill_buy(n, 2, 'pessimistic', 3);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*), sum(stock), sum(cached), sum(held) FROM seckill.stock;
TRUNCATE seckill.items, seckill.orders;

-- a BEFORE INSERT trigger on orders recalls the lease of the order
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1), (2, 3);
CREATE FUNCTION recall_it() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM seckill_recall(NEW.item_id); RETURN NEW; END $$;
CREATE TRIGGER recall_it BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION recall_it();
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(2, 1, 'cache', 2);
SELECT outcome FROM seckill_buy(2, 1, 'cache');
DROP TRIGGER recall_it ON seckill.orders;
DROP FUNCTION recall_it();
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(2, 1, 'cache');
SELECT * FROM seckill_audit();
SELECT seckill_recall(item_id) FROM seckill.items ORDER BY item_id;
TRUNCATE seckill.items, seckill.orders;
