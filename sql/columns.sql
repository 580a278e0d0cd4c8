-- Changed tables: the application may add columns of its own; if it changes the
-- columns of the extension, every call raises an error.
INSERT INTO seckill.items (item_id, stock, max_waiters) VALUES (1, 20, 7);
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');

-- columns of the application, added and dropped
ALTER TABLE seckill.items ADD price numeric DEFAULT 9.99, ADD colour text;
ALTER TABLE seckill.orders ADD shipped boolean, ADD note text DEFAULT 'none';
SELECT outcome FROM seckill_buy(1, 1, 'pessimistic');
ALTER TABLE seckill.items DROP price;
ALTER TABLE seckill.orders DROP shipped;
UPDATE seckill.items SET colour = 'red', stock = stock + 1;
UPDATE seckill.orders SET note = 'gift';
SELECT m, outcome FROM unnest('{optimistic,retry,pessimistic,advisory,cache}'::seckill_mode[]) m,
    seckill_buy(1, 1, m);
SELECT supplied, sold, difference FROM seckill_audit();

-- a changed column of the extension: every path that reads the tables
CREATE FUNCTION try(change text) RETURNS TABLE (call text, answer text) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH call IN ARRAY ARRAY['SELECT seckill_buy(1, 1, ''optimistic'')', 'SELECT seckill_buy(1, 1, ''pessimistic'')',
        'SELECT seckill_buy(1, 1, ''cache'', 1, ''00000000-0000-0000-0000-000000000001'')',
        'SELECT seckill_recall(1)', 'SELECT seckill_cancel(1, 1, true)',
        'INSERT INTO seckill.items (item_id, stock) VALUES (2, 1)', 'UPDATE seckill.items SET title = ''new''',
        'DELETE FROM seckill.items', 'UPDATE seckill.orders SET note = ''new''']
    LOOP
        BEGIN
            EXECUTE change;
            EXECUTE call;
            answer := 'done';
            RAISE EXCEPTION 'undo' USING ERRCODE = 'UUUUU';
        EXCEPTION WHEN SQLSTATE 'UUUUU' THEN
            NULL;
        WHEN OTHERS THEN
            answer := format('%s %s', SQLSTATE, SQLERRM);
        END;
        RETURN NEXT;
    END LOOP;
END
$$;
SET client_min_messages = warning;
SELECT answer, count(*) FROM try('SELECT 1') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.items DROP user_rate, ADD user_rate real') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.items DROP version CASCADE, ADD other bigint') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.items DROP max_waiters') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.items RENAME user_burst TO burst') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.items ALTER user_rate TYPE double precision') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.items ALTER user_burst TYPE bigint') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.orders DROP created_at CASCADE') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.orders DROP request_id CASCADE') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.orders ALTER pay_by TYPE timestamp') GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) FROM try('ALTER TABLE seckill.releases RENAME done_at TO done') GROUP BY 1 ORDER BY 1;
RESET client_min_messages;

-- the column changed back
ALTER TABLE seckill.items RENAME user_burst TO burst;
SELECT seckill_buy(1, 1);
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE seckill.items RENAME burst TO user_burst;
SELECT outcome FROM seckill_buy(1, 1);
SELECT supplied, sold, difference FROM seckill_audit();
DROP FUNCTION try(text);
ALTER TABLE seckill.items DROP colour;
ALTER TABLE seckill.orders DROP note;
TRUNCATE seckill.items, seckill.orders;
