-- Mode queue, seckill_submit and seckill_result: outcomes and misuse.
INSERT INTO seckill.items (item_id, stock, starts_at, ends_at) VALUES
    (1, 5, NULL, NULL), (2, 5, 'infinity', NULL), (3, 5, NULL, '-infinity'),
    (4, 0, NULL, NULL), (5, 10, NULL, NULL);

SELECT outcome, order_id IS NOT NULL AS has_order FROM seckill_buy(1, 1, 'queue');
SELECT outcome, order_id FROM seckill_buy(2, 1, 'queue');
SELECT outcome, order_id FROM seckill_buy(3, 1, 'queue');
SELECT outcome, order_id FROM seckill_buy(4, 1, 'queue');
-- all or nothing
SELECT outcome FROM seckill_buy(1, 2, 'queue', 5);
SELECT outcome FROM seckill_buy(1, 3, 'queue', 3);
SELECT outcome FROM seckill_buy(1, 4, 'queue', 1);
SELECT outcome FROM seckill_buy(1, 5, 'queue', 1);
SELECT user_id, quantity, mode, lease_id FROM seckill.orders ORDER BY order_id;

-- units that the row lacks come from the lease
SELECT seckill_prewarm(5, 8);
SELECT outcome FROM seckill_buy(5, 1, 'queue', 1);
SELECT outcome FROM seckill_buy(5, 2, 'queue', 5);
SELECT outcome FROM seckill_buy(5, 3, 'queue', 5);
SELECT outcome FROM seckill_buy(5, 4, 'queue', 4);
SELECT outcome FROM seckill_buy(5, 5, 'queue');
SELECT item_id, stock, leased, cached, held, sold FROM seckill.stock WHERE item_id = 5;
-- a restock is on sale at once
UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 5;
SELECT outcome FROM seckill_buy(5, 6, 'queue');
SELECT outcome FROM seckill_buy(5, 7, 'queue');

-- a ticket and its outcome
UPDATE seckill.items SET stock = stock + 2 WHERE item_id = 1;
SELECT outcome, ticket IS NOT NULL AS has_ticket, ticket AS t FROM seckill_submit(1, 10) \gset
\echo :outcome :has_ticket
SELECT outcome, order_id AS o FROM seckill_result(:t, '60 s') \gset
SELECT :'outcome' AS outcome, user_id, mode FROM seckill.orders WHERE item_id = 1 AND order_id = :o;
SELECT outcome, order_id = :o AS same FROM seckill_result(:t);
SELECT outcome, ticket AS t2 FROM seckill_submit(1, 11, 3) \gset
\echo :outcome
SELECT outcome, order_id FROM seckill_result(:t2, '60 s');
SELECT :t2 - :t AS apart;
SELECT outcome, ticket FROM seckill_submit(2, 1);
SELECT outcome, ticket FROM seckill_submit(4, 1);

-- concurrent purchases get order numbers in the order of their tickets
INSERT INTO seckill.items (item_id, stock) VALUES (6, 600);
SELECT array_agg(s.ticket ORDER BY n) AS tickets
FROM generate_series(1, 600) n, LATERAL seckill_submit(6, n) s \gset
SELECT r.outcome, count(*), min(n), max(n)
FROM unnest(:'tickets'::bigint[]) WITH ORDINALITY s(ticket, n),
    LATERAL seckill_result(s.ticket, '60 s') r
GROUP BY 1 ORDER BY 1;
SELECT count(*), bool_and(ok) FROM (
    SELECT user_id = row_number() OVER (ORDER BY order_id) AS ok
    FROM seckill.orders WHERE item_id = 6) o;

-- misuse
SELECT seckill_buy(404, 1, 'queue');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(404, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(1, 1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(1, 1, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result(-1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result(9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result(5);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
BEGIN;
SELECT seckill_buy(1, 1, 'queue');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
SELECT seckill_submit(1, 1);
ROLLBACK;
BEGIN READ ONLY;
SELECT seckill_submit(1, 1);
ROLLBACK;
WITH x AS MATERIALIZED (INSERT INTO seckill.items (item_id, stock) VALUES (7, 1) RETURNING item_id)
SELECT seckill_buy(1, 1, 'queue') FROM x;
DO $$
BEGIN
    PERFORM seckill_buy(1, 1, 'queue');
EXCEPTION WHEN active_sql_transaction THEN
    RAISE NOTICE 'refused in a subtransaction';
END
$$;
\set VERBOSITY default
SET seckill.default_mode = 'queue';
SELECT outcome FROM seckill_buy(6, 1);
SELECT seckill_buy_many(6, ARRAY[1]);
RESET seckill.default_mode;

-- an error in the worker is raised by the call of its purchase
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'user % is banned', NEW.user_id USING ERRCODE = 'UX001';
END
$$;
CREATE TRIGGER poison BEFORE INSERT ON seckill.orders
    FOR EACH ROW WHEN (NEW.user_id = 666) EXECUTE FUNCTION poison();
UPDATE seckill.items SET stock = 10 WHERE item_id = 6;
\set SHOW_CONTEXT never
SELECT seckill_buy(6, 666, 'queue');
\echo :LAST_ERROR_SQLSTATE
SELECT array_agg(s.ticket ORDER BY n) AS tickets
FROM unnest(ARRAY[1, 666, 2, 3]) WITH ORDINALITY x(u, n), LATERAL seckill_submit(6, u) s \gset
SELECT n, r.outcome
FROM unnest(:'tickets'::bigint[]) WITH ORDINALITY s(ticket, n),
    LATERAL seckill_result(s.ticket, '60 s') r
WHERE n <> 2 ORDER BY n;
SELECT seckill_result((:'tickets'::bigint[])[2], '60 s');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER poison ON seckill.orders;
DROP FUNCTION poison();
SELECT item_id, supplied, sold, difference FROM seckill_audit();

-- the worker is visible in pg_stat_activity
SELECT backend_type, datname, application_name FROM pg_stat_activity
WHERE backend_type = 'seckill queue worker' AND datname = current_database();
SET seckill.queue_size = 5;
TRUNCATE seckill.items, seckill.orders;
