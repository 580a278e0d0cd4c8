-- seckill_buy_items: purchases of several items in one call.
INSERT INTO seckill.items (item_id, stock) SELECT n, 3 FROM generate_series(1, 3) n;

-- one row per element, in array order; within an item the first elements are served first
SELECT b.n, b.item_id, b.user_id, b.outcome, b.order_id IS NOT NULL AS has_order
FROM seckill_buy_items(ARRAY[3, 1, 3, 2, 1, 3, 1], ARRAY[31, 11, 32, 21, 12, 33, 13], 'cache', ARRAY[1, 2, 3, 3, 2, 2, 1])
    WITH ORDINALITY b(item_id, user_id, outcome, order_id, n)
ORDER BY b.n;
SELECT item_id, array_agg(user_id || ' ' || quantity ORDER BY order_id) FROM seckill.orders GROUP BY 1 ORDER BY 1;
SELECT item_id, supplied, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- in every mode: one unit each without quantities; the answers are those of single calls
SET seckill.allow_unsafe = on;
INSERT INTO seckill.items (item_id, stock) SELECT n, 2 FROM generate_series(1, 14) n;
SELECT m.mode, array_agg(b.item_id || ' ' || b.user_id || ' ' || b.outcome ORDER BY b.n) AS answers
FROM unnest(enum_range(NULL::seckill_mode)) WITH ORDINALITY m(mode, i)
    CROSS JOIN LATERAL seckill_buy_items(ARRAY[2 * m.i, 2 * m.i - 1, 2 * m.i, 2 * m.i], ARRAY[4, 3, 2, 1], m.mode)
        WITH ORDINALITY b(item_id, user_id, outcome, order_id, n)
WHERE m.mode NOT IN ('queue', 'auto')
GROUP BY m.mode ORDER BY m.mode;
SELECT item_id, array_agg(user_id ORDER BY order_id), min(mode) AS mode FROM seckill.orders GROUP BY item_id ORDER BY item_id;
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
RESET seckill.allow_unsafe;
SELECT count(*) FROM seckill_buy_items('{}', '{}');
TRUNCATE seckill.items, seckill.orders;

-- an item that does not exist: only its elements, whatever else they have
INSERT INTO seckill.items (item_id, stock) SELECT n, 100 FROM generate_series(1, 4) n;
UPDATE seckill.items SET starts_at = 'infinity' WHERE item_id = 3;
UPDATE seckill.items SET ends_at = '-infinity' WHERE item_id = 4;
SELECT seckill_stat_reset();
SELECT item_id, user_id, outcome, order_id IS NOT NULL AS has_order
FROM seckill_buy_items(ARRAY[404, 1, -1, 2, 404, 3, 4], ARRAY[1, 2, 3, 4, 5, 6, 7], 'cache',
    request_ids => ARRAY[gen_random_uuid(), NULL, NULL, gen_random_uuid(), NULL, NULL, NULL]);
SELECT item_id, mode, calls, sold, not_started, ended, unknown_item, units FROM seckill.stat_items ORDER BY 1, 2;
SELECT count(*) FROM seckill_cache() WHERE item_id IN (-1, 404);
-- nor can seats be bought as units
INSERT INTO seckill.items (item_id, stock, legs) VALUES (5, 0, 2);
SELECT item_id, outcome FROM seckill_buy_items('{5,1,5}', '{1,2,3}', 'cache', '{1,1,2}');
SELECT item_id, outcome FROM seckill_buy_items('{5,1}', '{1,2}', 'retry');
SELECT item_id, outcome, ticket IS NOT NULL AS has_ticket FROM seckill_submit_many('{5,404}', '{1,2}',
    request_ids => ARRAY[gen_random_uuid(), gen_random_uuid()]);
SELECT outcome FROM seckill_buy_many(5, '{1,2}');
-- it is created
INSERT INTO seckill.items (item_id, stock) VALUES (404, 1);
SELECT item_id, outcome FROM seckill_buy_items(ARRAY[404, 404], ARRAY[1, 2], 'retry');
SELECT item_id, outcome FROM seckill_buy_items(ARRAY[404], ARRAY[1], 'cache');
TRUNCATE seckill.items, seckill.orders;

-- limits and requests are those of each item
INSERT INTO seckill.items (item_id, stock, per_user_limit) VALUES (1, 100, 2), (2, 100, NULL);
\set r1 '\'00000000-0000-0000-0000-000000000001\''
\set r2 '\'00000000-0000-0000-0000-000000000002\''
SELECT item_id, user_id, outcome
FROM seckill_buy_items(ARRAY[1, 2, 1, 2, 1], ARRAY[7, 7, 7, 7, 8], 'cache', ARRAY[1, 3, 2, 3, 2]);
-- the same request twice, for another item, for another user, for another quantity
SELECT b.n, b.item_id, b.user_id, b.outcome,
    b.order_id = first_value(b.order_id) OVER (PARTITION BY b.item_id ORDER BY b.n) AS as_first
FROM seckill_buy_items(ARRAY[2, 1, 2, 2, 2, 1], ARRAY[9, 9, 9, 10, 9, 9], 'cache', ARRAY[1, 1, 1, 1, 2, 1],
        ARRAY[:r1, :r1, :r1, :r1, :r1, :r2]::uuid[])
        WITH ORDINALITY b(item_id, user_id, outcome, order_id, n)
ORDER BY b.n;
-- retried as a whole
SELECT item_id, user_id, outcome FROM seckill_buy_items(ARRAY[2, 1, 2, 2, 2, 1], ARRAY[9, 9, 9, 10, 9, 9], 'retry',
    ARRAY[1, 1, 1, 1, 2, 1], ARRAY[:r1, :r1, :r1, :r1, :r1, :r2]::uuid[]);
SELECT item_id, user_id, quantity, request_id IS NOT NULL AS request FROM seckill.orders ORDER BY 1, 2, 3;
SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
TRUNCATE seckill.items, seckill.orders;

-- more items than one transaction can hold units of, the rest from their rows; a savepoint, caught errors
INSERT INTO seckill.items (item_id, stock) SELECT n, 2 FROM generate_series(1, 300) n;
BEGIN;
SELECT outcome, count(*), count(DISTINCT order_id)
FROM seckill_buy_items(ARRAY(SELECT generate_series(300, 1, -1)), ARRAY(SELECT generate_series(1, 300)), 'cache') GROUP BY 1;
SELECT mode, count(*) FROM seckill.orders GROUP BY 1 ORDER BY 1;
SAVEPOINT s;
SELECT outcome, count(*)
FROM seckill_buy_items(ARRAY(SELECT generate_series(1, 300)), ARRAY(SELECT generate_series(1, 300)), 'retry',
    array_fill(2::bigint, ARRAY[300])) GROUP BY 1;
SELECT outcome, count(*)
FROM seckill_buy_items(ARRAY(SELECT generate_series(255, 300)), ARRAY(SELECT generate_series(255, 300)), 'retry') GROUP BY 1;
ROLLBACK TO s;
DO $$
BEGIN
    PERFORM seckill_buy_items('{1,2,3}', '{7,7,7}', 'cache', '{1,1,0}');
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE NOTICE '%', SQLERRM;
END
$$;
DO $$
BEGIN
    PERFORM seckill_buy_items('{298,299,300}', '{7,7,7}', 'pessimistic');
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    NULL;
END
$$;
COMMIT;
SELECT count(*), sum(quantity) FROM seckill.orders;
SELECT sum(supplied), sum(sold), count(*) FILTER (WHERE difference <> 0) AS wrong FROM seckill_audit();
BEGIN;
SELECT outcome, count(*) FROM seckill_buy_items('{5,4,3,2,1}', '{1,1,1,1,1}') GROUP BY 1;
ROLLBACK;
SELECT count(*) FROM seckill.orders;
TRUNCATE seckill.items, seckill.orders;

-- units with numbers are sold one by one: an element that asks for several is refused, alone
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 5, true);
INSERT INTO seckill.items (item_id, stock) VALUES (2, 5);
SELECT m.mode, array_agg(b.outcome ORDER BY b.n) AS outcomes
FROM (VALUES ('cache'::seckill_mode), ('retry')) m(mode)
    CROSS JOIN LATERAL seckill_buy_items('{2,1,1,2}', '{1,1,2,2}', m.mode, '{2,1,2,1}') WITH ORDINALITY b(i, u, outcome, o, n)
GROUP BY 1 ORDER BY 1;
SELECT user_id, outcome FROM seckill_buy_many(1, '{1,2}', 'pessimistic', quantities => '{2147483647,1}');
SELECT user_id, outcome, ticket IS NOT NULL AS has_ticket FROM seckill_submit_many('{1,1,1}', '{11,12,13}', '{2,1,3}',
    ARRAY[NULL, NULL, gen_random_uuid()]) AS s(item_id, user_id, outcome, ticket);
SELECT outcome FROM seckill_buy(1, 14, 'queue');
SELECT item_id, user_id, quantity FROM seckill.orders ORDER BY item_id, order_id;
SELECT item_id, supplied, sold, difference FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders, seckill.units;

-- a trigger that refuses one order undoes all
INSERT INTO seckill.items (item_id, stock) SELECT n, 3 FROM generate_series(1, 3) n;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING MESSAGE = 'not for this user';
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON seckill.orders FOR EACH ROW WHEN (NEW.user_id = 13) EXECUTE FUNCTION refuse();
SELECT seckill_buy_items('{1,2,3}', '{11,12,13}', 'cache');
\echo :LAST_ERROR_SQLSTATE
SELECT item_id, outcome FROM seckill_buy_items('{3,2,1}', '{11,12,14}', 'cache');
SELECT item_id, supplied, sold, difference FROM seckill_audit();
DROP FUNCTION refuse() CASCADE;

-- misuse changes nothing
SELECT seckill_buy_items(NULL, '{1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,NULL}', '{1,1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,2}', '{1,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,2}', '{1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{{1,2},{3,4}}', '{1,2,3,4}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1}', '{1}', 'queue');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1}', '{1}', 'none');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,2}', '{1,2}', 'cache', '{1,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,2}', '{1,2}', 'cache', '{1,2147483648}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,2}', '{1,2}', 'cache', NULL, ARRAY[gen_random_uuid()]);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy_items('{1,2}', '{1,2}', 'cache', tokens => '{a,b,c}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM seckill.orders;
TRUNCATE seckill.items, seckill.orders;

-- a driver that leaves the types to the server
PREPARE items AS SELECT outcome FROM seckill_buy_items($1, $2, $3, $4, $5, $6);
PREPARE many AS SELECT outcome FROM seckill_buy_many($1, $2, $3);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name IN ('items', 'many') ORDER BY 1;
EXECUTE items ('{1,2}', '{1,2}', 'cache', NULL, NULL, NULL);
DEALLOCATE ALL;
TRUNCATE seckill.items, seckill.orders;
