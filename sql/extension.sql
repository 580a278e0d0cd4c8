-- The extension's objects: creation, comments, dump settings, re-creation.
CREATE EXTENSION seckill;
SELECT extname, extversion, extnamespace::regnamespace FROM pg_extension WHERE extname = 'seckill';

-- every object has a comment
SELECT pg_describe_object(classid, objid, objsubid) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass
    AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'seckill')
    AND deptype = 'e'
    AND classid <> 'pg_type'::regclass
    AND obj_description(objid, classid::regclass::name) IS NULL
    AND NOT (classid = 'pg_class'::regclass
        AND (SELECT relkind FROM pg_class WHERE oid = objid) = 'S');

-- every column has a comment
SELECT attrelid::regclass, attname
FROM pg_attribute
WHERE attrelid IN ('seckill.items'::regclass, 'seckill.orders'::regclass,
        'seckill.stock'::regclass, 'seckill.stat_items'::regclass,
        'seckill.stat_worker'::regclass)
    AND attnum > 0 AND NOT attisdropped
    AND col_description(attrelid, attnum) IS NULL;

-- a dump includes the rows and the sequences
SELECT c.oid::regclass, c.relkind
FROM pg_extension e, unnest(e.extconfig) AS t(oid)
    JOIN pg_class c USING (oid)
WHERE e.extname = 'seckill'
ORDER BY 1;

-- PUBLIC can execute only the functions of a cast and of a WHEN clause
SELECT p.oid::regprocedure
FROM pg_proc p
    JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'seckill')
    AND d.deptype = 'e'
    AND has_function_privilege('public', p.oid, 'EXECUTE');
SELECT has_schema_privilege('public', 'seckill', 'USAGE') AS usage,
    has_table_privilege('public', 'seckill.items', 'SELECT, INSERT, UPDATE, DELETE') AS items,
    has_table_privilege('public', 'seckill.orders', 'SELECT, INSERT, UPDATE, DELETE') AS orders;

-- tables in their own schema, functions in the schema of CREATE EXTENSION
DROP EXTENSION seckill;
CREATE SCHEMA shop;
CREATE EXTENSION seckill SCHEMA shop;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 5);
SELECT outcome FROM shop.seckill_buy(1, 1, 'cache');
SELECT outcome FROM shop.seckill_buy(1, 1, 'pessimistic');

-- a session sees nothing of the dropped extension in the new one
DROP EXTENSION seckill;
DROP SCHEMA shop;
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT * FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
