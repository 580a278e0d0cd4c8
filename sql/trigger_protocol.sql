-- Trigger functions work in the triggers of the extension only: any other
-- use is an error, on any table.
CREATE TABLE other (a text, item_id text);
INSERT INTO other VALUES ('a', '1');
CREATE TABLE twin (LIKE seckill.items INCLUDING DEFAULTS);
INSERT INTO twin (item_id, stock, supplied) VALUES (1, 1, 1);
CREATE VIEW face AS SELECT * FROM twin;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 5), (2, 5);
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, 'infinity', 1);

-- Fire a function by every event and timing, for each row and statement.
CREATE FUNCTION fire(tab text, fn text) RETURNS TABLE (way text, answer text) LANGUAGE plpgsql AS $$
DECLARE
    events CONSTANT text[][] := ARRAY[
        ['INSERT', format('INSERT INTO %s SELECT (jsonb_populate_record(t, ''{"item_id": 3}'')).* FROM %1$s t LIMIT 1', tab)],
        ['UPDATE', format('UPDATE %s SET item_id = item_id', tab)],
        ['DELETE', format('DELETE FROM %s WHERE item_id::text = %L', tab, CASE tab WHEN 'seckill.items' THEN 2 ELSE 1 END)],
        ['TRUNCATE', CASE WHEN tab LIKE 'seckill.%' THEN 'TRUNCATE seckill.items, seckill.orders, seckill.releases' ELSE 'TRUNCATE ' || tab END]];
    moment text;
    level text;
    i int;
BEGIN
    FOREACH moment IN ARRAY ARRAY['BEFORE', 'AFTER', 'INSTEAD OF'] LOOP
        FOREACH level IN ARRAY ARRAY['ROW', 'STATEMENT'] LOOP
            FOR i IN 1 .. 4 LOOP
                way := format('%s %s ON %s FOR EACH %s', moment, events[i][1], tab, level);
                BEGIN
                    EXECUTE format('CREATE TRIGGER aaa %s EXECUTE FUNCTION %I()', way, fn);
                    EXECUTE events[i][2];
                    answer := 'done';
                    RAISE EXCEPTION 'undo' USING ERRCODE = 'UUUUU';
                EXCEPTION WHEN SQLSTATE 'UUUUU' THEN
                    RETURN NEXT;
                WHEN wrong_object_type OR syntax_error OR feature_not_supported OR duplicate_object THEN
                    NULL;       -- there is no such trigger
                WHEN OTHERS THEN
                    answer := SQLSTATE;
                    RETURN NEXT;
                END;
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;
CREATE VIEW trigger_functions AS
SELECT p.proname::text AS fn FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND p.prorettype = 'trigger'::regtype
    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'seckill');
SELECT fn, tab, count(*), string_agg(DISTINCT answer, ', ') AS answers
FROM trigger_functions,
    unnest('{other,twin,face}'::text[]) tab, fire(tab, fn)
WHERE tab <> 'face' OR way LIKE 'INSTEAD OF%'    -- others do not fire on a view
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT fn, tab, count(*) AS refused
FROM trigger_functions,
    unnest('{seckill.items,seckill.orders,seckill.releases}'::text[]) tab, fire(tab, fn)
WHERE answer = '39P01'
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT fn, way, answer
FROM trigger_functions,
    unnest('{seckill.items,seckill.orders,seckill.releases}'::text[]) tab, fire(tab, fn)
WHERE answer <> '39P01'
ORDER BY 1, 2;

-- the messages; also deferred, and as an event trigger
CREATE TRIGGER t BEFORE UPDATE ON other EXECUTE FUNCTION seckill_items_changed();
UPDATE other SET a = 'c';
\echo :LAST_ERROR_SQLSTATE
CREATE TRIGGER u AFTER UPDATE ON twin FOR EACH ROW EXECUTE FUNCTION seckill_orders_guard();
UPDATE twin SET stock = 2;
CREATE CONSTRAINT TRIGGER v AFTER DELETE ON twin DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION seckill_items_delete();
DELETE FROM twin;
CREATE TRIGGER w BEFORE TRUNCATE ON twin EXECUTE FUNCTION seckill_truncated();
TRUNCATE twin;
CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION seckill_truncated();
SELECT supplied, sold, difference FROM seckill_audit();

DROP VIEW trigger_functions;
DROP FUNCTION fire(text, text);
DROP VIEW face;
DROP TABLE other, twin;
TRUNCATE seckill.items, seckill.orders, seckill.releases;
