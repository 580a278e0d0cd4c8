-- Columns that only the extension writes: whatever values a statement sends,
-- the conservation law holds.
CREATE TABLE seen (r seckill.items);

-- an ORM saves an object: every column, unchanged
CREATE FUNCTION save(r seckill.items) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE seckill.items SET title = r.title, stock = r.stock, version = r.version,
        leased = r.leased, lease_id = r.lease_id, supplied = r.supplied, seal = r.seal,
        starts_at = r.starts_at, ends_at = r.ends_at, per_user_limit = r.per_user_limit, limit_window = r.limit_window,
        require_token = r.require_token, pay_within = r.pay_within, user_rate = r.user_rate,
        user_burst = r.user_burst, max_waiters = r.max_waiters, legs = r.legs
    WHERE item_id = r.item_id;
    RETURN CASE WHEN FOUND THEN 'saved' ELSE 'gone' END;
EXCEPTION WHEN OTHERS THEN
    RETURN format('%s %s', SQLSTATE, SQLERRM);
END
$$;

-- a stale row, read before a purchase, restock or lease
INSERT INTO seckill.items (item_id, stock) VALUES (1, 100);
CREATE FUNCTION save_after(what text) RETURNS TABLE (change text, answer text, difference bigint)
LANGUAGE plpgsql AS $$
DECLARE
    r seckill.items := (SELECT i FROM seckill.items i WHERE item_id = 1);
BEGIN
    EXECUTE what;
    r.title := 'a title';
    RETURN QUERY SELECT what, save(r), a.difference FROM seckill_audit(1) a;
END
$$;
SELECT s.* FROM unnest(ARRAY[
    'SELECT seckill_buy(1, 1, ''optimistic'')',
    'SELECT seckill_buy(1, 1, ''retry'')',
    'SELECT seckill_buy(1, 1, ''pessimistic'')',
    'SELECT seckill_buy(1, 1, ''advisory'')',
    'UPDATE seckill.items SET stock = stock + 10 WHERE item_id = 1',
    'SELECT seckill_write_off(1, 0)',
    'SELECT seckill_buy(1, 1, ''cache'', 20)',
    'SELECT seckill_buy(1, 1, ''cache'', 20)',
    'SELECT seckill_prewarm(1)',
    'SELECT seckill_recall(1)',
    'SELECT seckill_cancel(1, (SELECT order_id FROM seckill.orders WHERE mode = ''retry''), true)',
    'SELECT 1']) w, save_after(w) s;
SELECT seckill_buy(1, 1, 'queue') IS NOT NULL AS queued;
SELECT stock, supplied, sold, difference FROM seckill_audit();

-- an absolute stock is a restock if nobody has bought
UPDATE seckill.items SET stock = 105 WHERE item_id = 1;
SELECT stock, supplied, sold, difference FROM seckill_audit();

-- an object without concurrent changes
INSERT INTO seen SELECT i FROM seckill.items i;
UPDATE seen SET r.stock = (r).stock + 5, r.title = 'five more';
SELECT save(r) FROM seen;
SELECT save(r) FROM seen;
SELECT title, a.supplied, sold, difference FROM seckill.items JOIN seckill_audit() a USING (item_id);

-- each column by itself
UPDATE seckill.items SET version = version + 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET version = version - 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET leased = leased + 1, lease_id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET lease_id = 0;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET supplied = 0;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.items SET seal = NULL;
\echo :LAST_ERROR_SQLSTATE
-- also with the changes that a purchase makes
UPDATE seckill.items SET stock = stock - 1, version = version + 1;
\echo :LAST_ERROR_SQLSTATE
SELECT supplied, sold, difference FROM seckill_audit();

-- upserts: a row of defaults, the current row, a stale row, the stock alone
CREATE FUNCTION upsert(r seckill.items) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seckill.items SELECT r.*
    ON CONFLICT (item_id) DO UPDATE SET title = excluded.title, stock = excluded.stock,
        version = excluded.version, leased = excluded.leased, lease_id = excluded.lease_id,
        supplied = excluded.supplied, seal = excluded.seal;
    RETURN 'saved';
EXCEPTION WHEN OTHERS THEN
    RETURN format('%s %s', SQLSTATE, SQLERRM);
END
$$;
SELECT upsert((1, 'defaults', 50, 0, 0, NULL, 50, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, 'confirmed', NULL, NULL, NULL));
SELECT upsert(i) FROM seckill.items i;
SELECT upsert(r) FROM seen;
INSERT INTO seckill.items (item_id, stock, supplied, leased) VALUES (1, 60, 0, 3)
ON CONFLICT (item_id) DO UPDATE SET stock = excluded.stock;
INSERT INTO seckill.items (item_id, stock, supplied) VALUES (1, 60, 0) ON CONFLICT DO NOTHING;
SELECT stock, supplied, sold, difference FROM seckill_audit();

-- MERGE
MERGE INTO seckill.items i USING (VALUES (2, 5)) v (id, n) ON i.item_id = v.id
WHEN MATCHED THEN UPDATE SET supplied = 0
WHEN NOT MATCHED THEN INSERT (item_id, stock, version, leased, lease_id, supplied, seal)
    VALUES (id, n, 7, 7, 7, 7, 7);
MERGE INTO seckill.items i USING (VALUES (2, 6)) v (id, n) ON i.item_id = v.id
WHEN MATCHED THEN UPDATE SET stock = n, supplied = 0;
\echo :LAST_ERROR_SQLSTATE
MERGE INTO seckill.items i USING (VALUES (2, 6)) v (id, n) ON i.item_id = v.id
WHEN MATCHED THEN UPDATE SET stock = n;

-- INSERT and COPY ignore these columns
INSERT INTO seckill.items (item_id, stock, version, leased, lease_id, supplied, seal)
VALUES (3, 5, -3, 4, 99, 0, 0), (4, 5, NULL, NULL, 99, NULL, NULL);
COPY seckill.items (item_id, stock, version, leased, lease_id, supplied, seal) FROM stdin;
5	5	9	2	98	1000	1
\.
-- a copy of a row with another item_id is a new item
SELECT seckill_prewarm(2, 2);
UPDATE seen SET r = i FROM seckill.items i WHERE item_id = 2;
UPDATE seen SET r.item_id = 6;
INSERT INTO seckill.items SELECT (r).* FROM seen;
SELECT item_id, version, leased, lease_id IS NOT NULL AS has_lease, i.supplied, difference
FROM seckill.items i JOIN seckill_audit() USING (item_id) WHERE item_id > 1 ORDER BY 1;

-- every mode sells these items, and the whole row can be saved afterwards
SELECT item_id, m, outcome FROM seckill.items,
    unnest('{optimistic,retry,pessimistic,advisory,cache}'::seckill_mode[]) m,
    seckill_buy(item_id, 1, m) WHERE item_id = 3;
SELECT item_id, save(i) FROM seckill.items i ORDER BY 1;
SELECT item_id, difference FROM seckill_audit() WHERE difference <> 0;

-- a restored row is inserted unchanged
SELECT seckill_prewarm(4, 3);
UPDATE seen SET r = i FROM seckill.items i WHERE item_id = 4;
DELETE FROM seckill.items WHERE item_id = 4;
INSERT INTO seckill.items SELECT (r).* FROM seen;
SELECT stock, leased, supplied FROM seckill.items WHERE item_id = 4;
SELECT stock, unsold, supplied, difference FROM seckill_audit(4);
SELECT seckill_recall(4);

-- neither the owner nor a superuser can change these columns
CREATE ROLE regress_shop;
GRANT USAGE ON SCHEMA seckill TO regress_shop;
GRANT SELECT, UPDATE ON seckill.items TO regress_shop;
SET ROLE regress_shop;
UPDATE seckill.items SET title = 'his', stock = stock + 1 WHERE item_id = 5;
UPDATE seckill.items SET supplied = supplied + 1 WHERE item_id = 5;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
SELECT title, i.supplied, difference FROM seckill.items i JOIN seckill_audit(5) USING (item_id);

-- orders: the columns that audit, limits, requests and expiry rely on
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (1, 10, '1 hour');
SELECT outcome FROM seckill_buy(1, 1, 'retry', 2, '00000000-0000-0000-0000-000000000001');
CREATE FUNCTION change(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'UPDATE seckill.orders SET ' || what;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT c, change(c) FROM unnest(ARRAY['item_id = 2', 'order_id = 0', 'user_id = 2', 'quantity = 1',
    'mode = ''cache''', 'lease_id = 7', 'created_at = ''today''', 'request_id = NULL',
    'limited = true', 'state = ''confirmed''', 'pay_by = NULL', 'pay_by = ''tomorrow''',
    'user_id = user_id, quantity = quantity, state = state']) c;
SELECT seckill_confirm(item_id, order_id) FROM seckill.orders;
SELECT c, change(c) FROM unnest(ARRAY['pay_by = NULL', 'pay_by = pay_by', 'state = ''expired''']) c;
SELECT supplied, sold, difference FROM seckill_audit();

-- seckill_audit() shows an order inserted by hand
INSERT INTO seckill.orders (item_id, user_id, quantity, mode) VALUES (1, 2, 3, 'retry');
SELECT supplied, sold, difference FROM seckill_audit();
SELECT seckill_write_off(1, difference) FROM seckill_audit(1);
-- and one deleted by hand; an archived order takes its units along
DELETE FROM seckill.orders WHERE user_id = 2;
SELECT supplied, sold, difference FROM seckill_audit();
WITH gone AS (DELETE FROM seckill.orders RETURNING quantity)
SELECT seckill_write_off(1, 3 + sum(quantity)::bigint) FROM gone;
SELECT supplied, sold, difference FROM seckill_audit();
SELECT seckill_write_off(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_write_off(404, 1);
\echo :LAST_ERROR_SQLSTATE

-- item_id from the sequence, and given
INSERT INTO seckill.items (stock) VALUES (1) RETURNING item_id = 1 AS same;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO seckill.items (stock) VALUES (1) RETURNING item_id;
INSERT INTO seckill.items (item_id, stock) VALUES (3, 1);
INSERT INTO seckill.items (stock) VALUES (1);
\echo :LAST_ERROR_SQLSTATE
SELECT setval(pg_get_serial_sequence('seckill.items', 'item_id'), max(item_id)) FROM seckill.items;
INSERT INTO seckill.items (stock) VALUES (1) RETURNING item_id;
SELECT count(*), sum(difference) FROM seckill_audit();

DROP FUNCTION save_after(text), save(seckill.items), upsert(seckill.items), change(text);
DROP TABLE seen;
TRUNCATE seckill.items, seckill.orders;
