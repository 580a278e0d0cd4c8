-- Any user can label a function around a call PARALLEL SAFE: still, no call
-- works in a parallel operation, in a worker or in the leader, and nothing
-- stays on hold.
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000);
SELECT seckill_prewarm(1, 500);

CREATE FUNCTION pg_temp.buy(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT outcome::text FROM seckill_buy(1, o::bigint, 'cache', 100) $$;
CREATE FUNCTION pg_temp.buy_row(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT outcome::text FROM seckill_buy(1, o::bigint, 'pessimistic', 100) $$;
CREATE FUNCTION pg_temp.buy_queue(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT outcome::text FROM seckill_buy(1, o::bigint, 'queue', 100) $$;
CREATE FUNCTION pg_temp.buy_many(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT min(outcome)::text FROM seckill_buy_many(1, ARRAY[o::bigint, 2], 'cache') $$;
CREATE FUNCTION pg_temp.buy_items(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT min(outcome)::text FROM seckill_buy_items(ARRAY[1, 2], ARRAY[o::bigint, 2], 'cache') $$;
CREATE FUNCTION pg_temp.submit_many(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT min(outcome)::text FROM seckill_submit_many(ARRAY[1], ARRAY[o::bigint]) $$;
CREATE FUNCTION pg_temp.result_many(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT min(outcome)::text FROM seckill_result_many(ARRAY[o::bigint]) $$;
CREATE FUNCTION pg_temp.submit(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT outcome::text FROM seckill_submit(1, o::bigint) $$;
CREATE FUNCTION pg_temp.result(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT outcome::text FROM seckill_result(o::bigint) $$;
CREATE FUNCTION pg_temp.confirm(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_confirm(1, o::bigint)::text $$;
CREATE FUNCTION pg_temp.cancel(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_cancel(1, o::bigint)::text $$;
CREATE FUNCTION pg_temp.prewarm(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_prewarm(1, o::integer)::text $$;
CREATE FUNCTION pg_temp.recall(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_recall(o::bigint - 1241)::text $$;
CREATE FUNCTION pg_temp.write_off(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_write_off(1, o::bigint)::text $$;

CREATE FUNCTION pg_temp.put_item(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_put_item(o::bigint, '{"stock": 1}')::text $$;
CREATE FUNCTION pg_temp.restock(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_restock(1, o::bigint)::text $$;
CREATE FUNCTION pg_temp.set_available(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT seckill_set_available(1, o::bigint)::text $$;
CREATE FUNCTION pg_temp.item(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT state FROM seckill_item(o::bigint - 1241) $$;
CREATE FUNCTION pg_temp.order(o oid) RETURNS text LANGUAGE sql PARALLEL SAFE
    AS $$ SELECT state::text FROM seckill_order(1, o::bigint) $$;

-- each call by a statement whose plan has a Gather
CREATE PROCEDURE pg_temp.try_all(place text) LANGUAGE plpgsql AS $$
DECLARE
    call text;
BEGIN
    FOREACH call IN ARRAY ARRAY['buy', 'buy_row', 'buy_queue', 'buy_many', 'buy_items', 'submit',
        'submit_many', 'result', 'result_many', 'confirm', 'cancel', 'prewarm', 'recall', 'write_off',
        'put_item', 'restock', 'set_available', 'item', 'order']
    LOOP
        BEGIN
            EXECUTE format('SELECT pg_temp.%I(oid) FROM pg_catalog.pg_proc WHERE oid::text = ''1242''', call);
            RAISE NOTICE '% in a %: not refused', call, place;
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE '% in a %: % %', call, place, SQLSTATE, SQLERRM;
        END;
    END LOOP;
END
$$;

SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;

SET parallel_leader_participation = off;
CALL pg_temp.try_all('worker');
RESET parallel_leader_participation;
SET max_parallel_workers = 0;
CALL pg_temp.try_all('leader');
RESET max_parallel_workers;

-- in a transaction that has an xid, which parallel workers share
SET parallel_leader_participation = off;
\set VERBOSITY terse
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL AS has_xid;
SELECT pg_temp.buy(oid) FROM pg_proc WHERE oid::text = '1242';
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
\set VERBOSITY default
RESET ALL;

SELECT cached, held FROM seckill_cache() WHERE item_id = 1;
SELECT outcome FROM seckill_buy(1, 1, 'cache', 1000);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT * FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;

-- every function that may not run in a parallel operation says so before it looks
-- at its arguments, whatever the label of a function around it
CREATE FUNCTION in_parallel(o text, call text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN
    EXECUTE call;
    RETURN 'done';
END
$$;
CREATE TABLE calls AS
SELECT p.proname AS name, format('SELECT %s(%s)', p.oid::regproc, (SELECT string_agg(format('NULL::%s', format_type(a, NULL)), ', ')
    FROM unnest(p.proargtypes) a)) AS call
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'seckill')
    AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
    AND p.proparallel = 'u' AND p.prorettype <> 'trigger'::regtype;
CREATE PROCEDURE try_calls() LANGUAGE plpgsql AS $$
DECLARE
    c record;
    answer text;
    refused int = 0;
BEGIN
    FOR c IN SELECT * FROM calls ORDER BY name LOOP
        BEGIN
            EXECUTE format('SELECT in_parallel(oid::text, %L) FROM pg_catalog.pg_proc WHERE oid::text = ''1242''', c.call) INTO answer;
        EXCEPTION WHEN OTHERS THEN
            answer := sqlstate;
        END;
        IF answer = '25000' THEN
            refused := refused + 1;
        ELSE
            RAISE NOTICE '%: %', c.name, answer;
        END IF;
    END LOOP;
    RAISE NOTICE 'more than 25 are refused: %', refused > 25;
END
$$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
CALL try_calls();
RESET ALL;
DROP PROCEDURE try_calls();
DROP TABLE calls;
DROP FUNCTION in_parallel(text, text);
