-- Argument types that drivers declare: a mode as text or varchar, a quantity as bigint.
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1000);

-- any type that a driver sends
SELECT outcome FROM seckill_buy(1, 1, 'cache'::text);
SELECT outcome FROM seckill_buy(1, 1, 'cache'::varchar);
SELECT outcome FROM seckill_buy(1, 1, 'cache'::varchar(10), 1::bigint);
SELECT outcome FROM seckill_buy(1, 1, 'cache'::text, 1::smallint);
SELECT outcome FROM seckill_buy(1::integer, 1::smallint, 'cache', 1::integer, NULL::uuid, NULL::varchar);
SELECT outcome FROM seckill_buy(item_id => 1, user_id => 1, quantity => 1::bigint, mode => 'cache'::text);
SELECT outcome FROM seckill_buy(1, 1, (jsonb '{"mode": "cache"}') ->> 'mode');
SELECT outcome FROM seckill_buy_many(1, '{1,2}', 'cache'::text);
SELECT seckill_prewarm(1, 1::bigint), seckill_prewarm(1, 1::smallint);

-- the server infers the types of undeclared parameters
PREPARE untyped AS SELECT outcome FROM seckill_buy($1, $2, $3, $4, $5, $6);
PREPARE typed(bigint, bigint, text, bigint, uuid, text) AS SELECT outcome FROM seckill_buy($1, $2, $3, $4, $5, $6);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name IN ('typed', 'untyped') ORDER BY name;
EXECUTE untyped (1, 1, 'cache', 1, NULL, NULL);
EXECUTE typed (1, 1, 'cache', 1, NULL, NULL);
SET plan_cache_mode = force_generic_plan;
EXECUTE typed (1, 1, 'retry', 1, NULL, NULL);
EXECUTE typed (1, 1, 'chache', 1, NULL, NULL);
EXECUTE typed (1, 1, NULL, 1, NULL, NULL);
EXECUTE typed (1, 1, 'cache', 4294967297, NULL, NULL);
RESET plan_cache_mode;
DEALLOCATE ALL;

-- variables and columns: assignment casts
DO $$
DECLARE
    m text := 'cache';
    mode seckill_mode := m;
    n bigint := 2;
BEGIN
    PERFORM seckill_buy(1, 1, m, n), seckill_buy(1, 1, mode, n);
END
$$;
CREATE TABLE wishes (mode seckill_mode);
INSERT INTO wishes SELECT m FROM unnest('{retry,cache}'::text[]) m;
\copy wishes from stdin
advisory
\.
\copy wishes from stdin
chache
\.
\copy (SELECT mode FROM wishes ORDER BY mode) to stdout

-- unknown labels
SELECT seckill_buy(1, 1, 'chache'::text);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'Cache'::varchar);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, ''::text);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'chache');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, NULL::text);
\echo :LAST_ERROR_SQLSTATE
-- each label
SELECT m FROM unnest(enum_range(NULL::seckill_mode)) m WHERE m::text::seckill_mode = m;

-- comparisons of modes use the operators and indexes of enums
SELECT DISTINCT mode FROM wishes WHERE mode = 'cache' OR mode IN ('retry', 'queue') OR mode > 'queue' ORDER BY mode;
SELECT * FROM wishes WHERE mode = 'chache';
\set VERBOSITY terse
SELECT * FROM wishes WHERE mode = 'cache'::text;
\set VERBOSITY default
SELECT count(*) FROM wishes WHERE mode = 'cache'::text::seckill_mode;
CREATE INDEX ON wishes (mode);
CREATE VIEW wished AS SELECT * FROM wishes WHERE mode <> 'none';
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM wished WHERE mode = 'cache';
EXPLAIN (COSTS OFF) SELECT * FROM wishes ORDER BY mode;
RESET enable_seqscan;
SELECT count(*) FROM seckill.orders WHERE mode = 'cache' AND state = 'confirmed';
SELECT auto_mode IN ('cache', 'retry') AS is_mode, pg_typeof(auto_mode) FROM seckill.stock;

-- no operator or function of text has become ambiguous
SELECT 'a'::text = 'a'::varchar AS eq, 'a' || 'b'::text AS cat, upper('a'::varchar) AS up,
    length('a'::text) AS len, to_jsonb('a'::text) AS json, concat('a'::text, 'retry'::seckill_mode) AS con,
    coalesce(NULL, 'a'::text) AS coal, 'x: ' || 'retry'::seckill_mode AS mixed, min('a'::varchar) AS least;

-- a view keeps the cast, also when it is made again from its definition
CREATE VIEW sale AS SELECT b.outcome FROM (VALUES ('cache'::text)) v(m), seckill_buy(1, 1, v.m) b;
DO $$
BEGIN
    EXECUTE 'CREATE VIEW restored_sale AS ' || pg_get_viewdef('sale'::regclass);
END
$$;
TABLE sale;
TABLE restored_sale;
DROP VIEW sale, restored_sale, wished;
DROP TABLE wishes;

-- the casts are the extension's
SELECT pg_describe_object(classid, objid, objsubid) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid = 'pg_cast'::regclass
    AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'seckill')
ORDER BY 1;

SELECT * FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
