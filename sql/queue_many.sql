-- seckill_submit_many and seckill_result_many: many purchases into the queue, many answers out of it.
INSERT INTO seckill.items (item_id, stock, starts_at, ends_at, per_user_limit) VALUES
    (1, 5, NULL, NULL, NULL), (2, 5, 'infinity', NULL, NULL), (3, 5, NULL, '-infinity', NULL),
    (4, 0, NULL, NULL, NULL), (5, 10, NULL, NULL, 2);
SELECT outcome FROM seckill_buy(4, 1, 'cache');
SELECT seckill_stat_reset();

-- a row per element, in array order; an element that is refused has no ticket and fails no other
SELECT n, item_id, user_id, outcome, ticket IS NOT NULL AS has_ticket,
    ticket - min(ticket) OVER () AS position
FROM seckill_submit_many(ARRAY[1, 404, 2, 1, 3, 4, 1, 5, 5, 1], ARRAY[11, 1, 2, 12, 3, 4, 13, 51, 51, 14],
        ARRAY[3, 1, 1, 3, 1, 1, 1, 1, 2, 1]) WITH ORDINALITY s(item_id, user_id, outcome, ticket, n)
ORDER BY n;
SELECT outcome FROM seckill_buy(1, 99, 'queue');
SELECT outcome FROM seckill_buy(5, 99, 'queue', 3);
SELECT item_id, user_id, quantity, mode FROM seckill.orders ORDER BY item_id, order_id;
SELECT item_id, mode, calls, sold, sold_out, not_started, ended, queued, limit_reached, unknown_item, units
FROM seckill.stat_items ORDER BY 1, 2;

-- many answers, in the order of the tickets asked for
UPDATE seckill.items SET stock = 6 WHERE item_id = 1;
SELECT array_agg(ticket) AS tickets, max(ticket) AS last
FROM seckill_submit_many(array_fill(1::bigint, ARRAY[6]), ARRAY[21, 22, 23, 24, 25, 26], ARRAY[2, 9, 2, 1, 2, 1]) \gset
SELECT outcome FROM seckill_result(:last, '60 s');
SELECT r.n, r.outcome, o.user_id, o.quantity, r.sqlstate, r.message
FROM seckill_result_many(:'tickets') WITH ORDINALITY r(ticket, outcome, order_id, sqlstate, message, n)
    LEFT JOIN seckill.orders o ON o.item_id = 1 AND o.order_id = r.order_id
ORDER BY r.n;
SELECT ticket = :last AS last, outcome FROM seckill_result_many(ARRAY[:last, :last], '60 s');
SELECT count(*) FROM seckill_result_many('{}', '1 hour');
SELECT count(*) FROM seckill_submit_many('{}', '{}');

-- requests: one order each; another use of one is the outcome of its ticket only
UPDATE seckill.items SET stock = 9 WHERE item_id = 1;
SELECT array_agg(ticket) AS tickets, max(ticket) AS last, array_agg(DISTINCT outcome) AS outcomes
FROM seckill_submit_many(array_fill(1::bigint, ARRAY[5]), ARRAY[31, 32, 31, 31, 33], ARRAY[1, 1, 2, 1, 1],
    array_fill('00000000-0000-0000-0000-000000000001'::uuid, ARRAY[4]) || ARRAY[NULL::uuid]) \gset
\echo :outcomes
SELECT outcome FROM seckill_result(:last, '60 s');
SELECT outcome, order_id = first_value(order_id) OVER () AS as_first, sqlstate FROM seckill_result_many(:'tickets');
-- submitted again as a whole
SELECT array_agg(ticket) AS tickets, max(ticket) AS last
FROM seckill_submit_many(array_fill(1::bigint, ARRAY[4]), ARRAY[31, 32, 31, 31], ARRAY[1, 1, 2, 1],
    array_fill('00000000-0000-0000-0000-000000000001'::uuid, ARRAY[4])) \gset
SELECT outcome FROM seckill_result(:last, '60 s');
SELECT array_agg(outcome) FROM seckill_result_many(:'tickets');
SELECT user_id, quantity FROM seckill.orders WHERE user_id BETWEEN 31 AND 33 ORDER BY order_id;

-- an error in the worker, a number that is no ticket and one that is forgotten: answers of their tickets
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'user % is banned', NEW.user_id USING ERRCODE = 'UX001';
END
$$;
CREATE TRIGGER poison BEFORE INSERT ON seckill.orders FOR EACH ROW WHEN (NEW.user_id = 666) EXECUTE FUNCTION poison();
SELECT array_agg(ticket) AS tickets, max(ticket) AS last
FROM seckill_submit_many('{1,1,1}', '{41,666,42}') \gset
SELECT outcome FROM seckill_result(:last, '60 s');
SELECT sqlstate FROM seckill_result_many((:'tickets'::bigint[])[2:2], '60 s');
SELECT outcome, order_id IS NOT NULL AS has_order, sqlstate, message
FROM seckill_result_many(:'tickets' || '{-1,5,9223372036854775807}'::bigint[]);
DROP FUNCTION poison() CASCADE;

-- in a transaction, after the purchases have been decided
BEGIN READ ONLY;
SELECT count(*) FROM seckill_result_many(:'tickets') WHERE outcome = 'sold';
COMMIT;

-- misuse: nothing is queued
SELECT seckill_submit_many(NULL, '{1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{1,NULL}', '{1,1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{1,1}', '{1,1}', '{1,0}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{1,1}', '{1,1}', '{1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{{1},{1}}', '{1,1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{1,1}', '{1,1}', NULL, '{NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit_many('{1,1}', '{1,1}', tokens => '{a}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result_many(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result_many('{5,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_result_many('{{5},{5}}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
BEGIN;
SELECT seckill_submit_many('{1}', '{1}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT seckill_submit_many('{1}', '{1}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE TABLE kept AS SELECT * FROM seckill_submit_many('{1}', '{1}');
\echo :LAST_ERROR_SQLSTATE
DO $$
BEGIN
    PERFORM seckill_submit_many('{1}', '{1}');
EXCEPTION WHEN active_sql_transaction THEN
    RAISE NOTICE 'refused in a subtransaction';
END
$$;
\set VERBOSITY default
SELECT outcome FROM seckill_buy(1, 98, 'queue');
SELECT count(*) FROM seckill.orders WHERE user_id = 1;

-- a driver that leaves the types to the server
PREPARE submit AS SELECT outcome FROM seckill_submit_many($1, $2, $3, $4, $5);
PREPARE result AS SELECT outcome FROM seckill_result_many($1, $2);
PREPARE single AS SELECT outcome FROM seckill_result($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY 1;
DEALLOCATE ALL;
SELECT item_id, supplied, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
