-- Statistics: each call is counted once, in its mode, under its outcome.
CREATE TEMP VIEW counted AS
SELECT item_id, mode, calls,
    (SELECT string_agg(key || ' ' || value, ', ')
     FROM jsonb_each_text(to_jsonb(s) - '{item_id,mode,calls,wait_time,total_time,max_time,stats_reset}'::text[])
     WHERE value <> '0') AS counters,
    total_time > 0 AND max_time BETWEEN 0.999 * total_time / calls AND total_time AS timed
FROM seckill.stat_items s;
-- a decision of the worker is counted before it is visible
CREATE FUNCTION decided(ticket bigint) RETURNS seckill_outcome LANGUAGE sql AS
$$SELECT outcome FROM seckill_result(ticket, '60 s')$$;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 100);
SELECT seckill_stat_reset();
SELECT * FROM counted;

-- every mode sells
SET seckill.allow_unsafe = on;
SELECT outcome FROM seckill_buy(1, 1, 'none');
RESET seckill.allow_unsafe;
SELECT outcome FROM seckill_buy(1, 1, 'optimistic');
SELECT outcome FROM seckill_buy(1, 1, 'retry', 2);
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
SELECT outcome FROM seckill_buy(1, 1, 'advisory', 3);
SELECT outcome FROM seckill_buy(1, 1, 'queue');
SELECT outcome FROM seckill_buy(1, 1);
SELECT * FROM counted ORDER BY mode;
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'cache', 4);
SELECT * FROM counted WHERE mode = 'cache';
-- a prewarmed item is hot, so mode auto sells it from the cache
SELECT seckill_recall(1) > 0 AS recalled;
SELECT seckill_prewarm(1, 20);
SELECT outcome FROM seckill_buy(1, 1);
SELECT * FROM counted WHERE mode IN ('cache', 'auto');
SELECT sum(units) = (SELECT sum(quantity) FROM seckill.orders) AS units_are_orders
FROM seckill.stat_items;

-- every refusal; conflict is in specs/stat_race.spec, busy and denied in
-- t/023_stats.pl
SELECT seckill_stat_reset();
INSERT INTO seckill.items (item_id, stock, starts_at, ends_at, per_user_limit) VALUES
    (2, 1, 'infinity', NULL, NULL), (3, 1, NULL, '-infinity', NULL),
    (4, 9, NULL, NULL, 1), (6, 0, NULL, NULL, NULL);
SELECT outcome FROM seckill_buy(2, 1);
SELECT outcome FROM seckill_buy(2, 1, 'cache');
SELECT outcome FROM seckill_buy(2, 1, 'queue');
SELECT outcome FROM seckill_submit(2, 1);
SELECT outcome FROM seckill_buy(3, 1, 'pessimistic');
SELECT outcome FROM seckill_buy(4, 1, 'retry');
SELECT outcome FROM seckill_buy(4, 1, 'retry');
SELECT outcome FROM seckill_buy(4, 1);
SELECT outcome FROM seckill_buy(4, 1, 'queue');
SELECT outcome FROM seckill_buy(6, 1, 'optimistic');
SELECT outcome FROM seckill_buy(6, 1, 'optimistic');
SELECT outcome FROM seckill_buy(6, 1);
SELECT outcome FROM seckill_submit(6, 1);
SELECT * FROM counted ORDER BY item_id, mode;

-- a call that raises an error is not counted, a call rolled back is
SELECT seckill_stat_reset();
\set VERBOSITY terse
SELECT seckill_buy(404, 1);
SELECT seckill_buy(1, 1, 'cache', 0);
SELECT seckill_buy(1, NULL);
BEGIN;
SELECT seckill_submit(1, 1);
ROLLBACK;
\set VERBOSITY default
SELECT * FROM counted;
BEGIN;
SELECT outcome FROM seckill_buy(1, 1, 'cache');
ROLLBACK;
SELECT * FROM counted;

-- many: each element is a call
SELECT seckill_stat_reset();
INSERT INTO seckill.items (item_id, stock, per_user_limit) VALUES (7, 3, 2), (8, 5, NULL);
SELECT outcome, count(*) FROM seckill_buy_many(7, ARRAY[1, 1, 1, 2, 3], 'cache') GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM seckill_buy_many(7, '{}', 'cache');
SELECT * FROM counted;

-- a retry with a request_id is answered "sold" and sells no units
SELECT seckill_stat_reset();
\set r '\'00000000-0000-0000-0000-000000000001\'::uuid'
\set q '\'00000000-0000-0000-0000-000000000002\'::uuid'
SELECT outcome FROM seckill_buy_many(8, ARRAY[1, 1, 2], 'retry', ARRAY[:r, :r, NULL]);
SELECT outcome FROM seckill_buy(8, 1, 'retry', 1, :r);
SELECT outcome FROM seckill_buy(8, 1, 'queue', 1, :r);
SELECT outcome FROM seckill_buy(8, 1, 'queue', 1, :q);
SELECT ticket AS t FROM seckill_submit(8, 1, 1, :q) \gset
SELECT decided(:t);
SELECT * FROM counted ORDER BY mode;
SELECT sum(units) = (SELECT sum(quantity) FROM seckill.orders WHERE item_id = 8) AS units_are_orders
FROM seckill.stat_items;

-- the queue: the caller counts its call, the worker a decision without a waiter
SELECT seckill_stat_reset();
SELECT ticket AS t FROM seckill_submit(8, 1, 2) \gset
SELECT decided(:t);
SELECT ticket AS t FROM seckill_submit(8, 1) \gset
SELECT decided(:t);
SELECT * FROM counted;
SELECT backlog, batches, decided, failed, settles, refills FROM seckill.stat_worker;
SELECT outcome FROM seckill_buy(1, 1, 'queue', 3);
SELECT pid = (SELECT a.pid FROM pg_stat_activity a
        WHERE backend_type = 'seckill queue worker' AND datname = current_database()) AS pid_is_his,
    batches, decided
FROM seckill.stat_worker;
-- an error
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'user % is banned', NEW.user_id;
END
$$;
CREATE TRIGGER poison BEFORE INSERT ON seckill.orders
    FOR EACH ROW WHEN (NEW.user_id = 666) EXECUTE FUNCTION poison();
\set VERBOSITY terse
SELECT seckill_buy(1, 666, 'queue');
SELECT seckill_buy(1, 666, 'retry');
\set VERBOSITY default
SELECT batches, decided, failed FROM seckill.stat_worker;
SELECT * FROM counted ORDER BY item_id, mode;

-- a purchase inside a purchase: each is counted
DROP TRIGGER poison ON seckill.orders;
CREATE OR REPLACE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM seckill_buy(10, NEW.user_id, 'cache');
    RETURN NEW;
END
$$;
CREATE TRIGGER poison BEFORE INSERT ON seckill.orders
    FOR EACH ROW WHEN (NEW.item_id = 9) EXECUTE FUNCTION poison();
INSERT INTO seckill.items (item_id, stock) VALUES (9, 10), (10, 10);
SELECT seckill_stat_reset();
SELECT outcome FROM seckill_buy(9, 1, 'retry');
SELECT * FROM counted ORDER BY item_id, mode;
DROP TRIGGER poison ON seckill.orders;
DROP FUNCTION poison();

-- refills and settles
SELECT seckill_stat_reset();
INSERT INTO seckill.items (item_id, stock) VALUES (11, 30);
SET seckill.lease_units = 10;
SELECT b.outcome, count(*) FROM generate_series(1, 3) n, seckill_buy(11, n, 'cache') b GROUP BY 1;
SELECT seckill_recall(11);
SELECT refills, settles, settled_units, expired_orders, expiry_batches, prewarms FROM seckill.stat_worker;
SELECT * FROM counted;
RESET seckill.lease_units;

-- reset
SELECT stats_reset AS before FROM seckill.stat_worker \gset
SELECT stats_reset AS item_before FROM seckill.stat_items WHERE item_id = 11 \gset
SELECT seckill_stat_reset();
SELECT * FROM counted;
SELECT stats_reset > :'before' AS later, batches, decided, failed, settles, refills FROM seckill.stat_worker;
SELECT outcome FROM seckill_buy(11, 1, 'retry');
SELECT stats_reset > :'item_before' AS later, total_time > 0 AS timed FROM seckill.stat_items;

DROP FUNCTION decided(bigint);
TRUNCATE seckill.items, seckill.orders;
