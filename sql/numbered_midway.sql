-- Units with numbers, and triggers of the application's that act on the item while
-- a call of the extension's is at work on it.  Numbers are on their way then: dealt
-- and not in an order yet, or given up and not on the row yet.

SET synchronous_commit = off;
\set VERBOSITY terse
CREATE TABLE act (event text, call text);
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    todo text;
BEGIN
    DELETE FROM act WHERE event = format('%s %s of %s', lower(tg_when), lower(tg_op), tg_table_name) RETURNING call INTO todo;
    IF todo IS NOT NULL THEN
        EXECUTE todo USING NEW.item_id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER act_before BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION act();
CREATE TRIGGER act_after AFTER INSERT OR UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION act();
CREATE TRIGGER act_before BEFORE UPDATE ON seckill.items FOR EACH ROW EXECUTE FUNCTION act();
CREATE TRIGGER act_after AFTER UPDATE ON seckill.items FOR EACH ROW EXECUTE FUNCTION act();

-- Three numbers are sold, the first one's code was told; three are left: on the
-- row, two of them in the cache, or two of them in a lease that no cache knows.
CREATE PROCEDURE set_up(item bigint, place text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seckill.items (item_id, stock, numbered) VALUES (item, 6, true);
    INSERT INTO seckill.units (item_id, unit, code) VALUES (item, 1, 'told');
    PERFORM seckill_claim_many(item, '{1,2,3}', 'retry');
    PERFORM seckill_prewarm(item, 2) WHERE place <> 'row';
    COMMIT;
    IF place = 'lost' THEN
        SET LOCAL session_replication_role = replica;
        UPDATE seckill.items SET lease_id = 4711 WHERE item_id = item;
        COMMIT;
    END IF;
END
$$;

-- What is wrong with the item; NULL: nothing.
CREATE FUNCTION wrong(item bigint) RETURNS text LANGUAGE sql AS $$
SELECT audit::text FROM seckill_audit(item) audit
WHERE (difference, missing, double_sold) <> (0, 0, 0) OR NOT (isempty(twice) AND isempty(foreign_numbers))
$$;

-- Make a call while a trigger makes another; returns the SQLSTATE, or the broken
-- law.  What is left can be bought, and settled.
CREATE FUNCTION meet(item bigint, own text, at text, other text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text = 'done';
BEGIN
    INSERT INTO act VALUES (at, other);
    BEGIN
        EXECUTE own USING item;
    EXCEPTION WHEN OTHERS THEN
        answer := sqlstate;
    END;
    DELETE FROM act;
    IF wrong(item) IS NOT NULL THEN
        RETURN 'broken: ' || wrong(item);
    END IF;
    PERFORM seckill_claim_many(item, array_agg(n), 'cache') FROM generate_series(11, 30) n;
    PERFORM seckill_recall(item);
    RETURN coalesce('broken in the end: ' || wrong(item), (SELECT 'not sold out' FROM seckill.items WHERE item_id = item AND stock > 0), answer);
END
$$;

CREATE TABLE met AS
SELECT 100 + row_number() OVER () AS item, place, own.name AS own, own.call AS own_call, event, other.name AS other,
    other.call AS other_call, NULL::text AS answer
FROM unnest('{row,leased,lost}'::text[]) place,
    (VALUES ('retry', 'SELECT seckill_claim($1, 5, ''retry'')'),
        ('pessimistic', 'SELECT seckill_claim($1, 5, ''pessimistic'')'),
        ('cache', 'SELECT seckill_claim($1, 5, ''cache'')'),
        ('list', 'SELECT seckill_claim_many($1, ''{5,6}'', ''advisory'')'),
        ('cancel', 'SELECT seckill_cancel($1, max(order_id), true) FROM seckill.orders WHERE item_id = $1')) own (name, call),
    unnest('{before insert of orders,after insert of orders,after update of orders,before update of items,after update of items}'::text[]) event,
    (VALUES ('buy', 'SELECT seckill_buy($1, 8, ''cache'')'),
        ('buy locked', 'SELECT seckill_buy($1, 8, ''pessimistic'')'),
        ('buy all', 'SELECT seckill_buy_many($1, ''{8,9,10,11,12,13}'', ''cache'')'),
        ('cancel', 'SELECT seckill_cancel($1, order_id, true) FROM seckill.orders WHERE item_id = $1 AND user_id = 2'),
        ('recall', 'SELECT seckill_recall($1)'),
        ('prewarm', 'SELECT seckill_prewarm($1, 1)'),
        ('off sale', 'SELECT seckill_restock($1, -1)'),
        ('available', 'SELECT seckill_set_available($1, 1)'),
        ('delete', 'DELETE FROM seckill.items WHERE item_id = $1')) other (name, call);
DO $$
DECLARE
    m record;
BEGIN
    FOR m IN SELECT * FROM met ORDER BY item LOOP
        CALL set_up(m.item, m.place);
        UPDATE met SET answer = meet(m.item, m.own_call, m.event, m.other_call) WHERE item = m.item;
        COMMIT;
    END LOOP;
END
$$;
SELECT event, other, string_agg(answer || ' ' || n, ', ' ORDER BY answer) AS answers
FROM (SELECT event, other, answer, count(*) AS n FROM met GROUP BY 1, 2, 3) m GROUP BY 1, 2 ORDER BY 1, 2;
SELECT place, own, event, other, answer FROM met WHERE answer ~ '^(XX|broken|not)' LIMIT 20;
DROP TRIGGER act_before ON seckill.orders;
DROP TRIGGER act_after ON seckill.orders;
DROP TRIGGER act_before ON seckill.items;
DROP TRIGGER act_after ON seckill.items;

-- a trigger that keeps the number of an order that gives it up
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.unit = OLD.unit;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep BEFORE UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 2, true);
SELECT unit FROM seckill_claim(1, 1, 'retry');
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE item_id = 1;
DROP TRIGGER keep ON seckill.orders;
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE item_id = 1;
SELECT stock, sold, difference, twice, missing FROM seckill_audit(1);

-- a trigger that keeps an item that is deleted: its units and releases stay, too
CREATE FUNCTION keep_item() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON seckill.items FOR EACH ROW EXECUTE FUNCTION keep_item();
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (2, 2, true);
INSERT INTO seckill.units (item_id, unit, code) VALUES (2, 1, 'a'), (2, 2, 'b');
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, 'infinity', 3);
DELETE FROM seckill.items WHERE item_id = 2;
SELECT count(*) FROM seckill.units WHERE item_id = 2;
SELECT count(*) FROM seckill.releases WHERE item_id = 2;
DROP TRIGGER keep ON seckill.items;
DELETE FROM seckill.items WHERE item_id = 2;
SELECT count(*) FROM seckill.units WHERE item_id = 2;
SELECT count(*) FROM seckill.releases WHERE item_id = 2;

-- an item made anew in the transaction that has units of the old one
BEGIN;
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (3, 3, true);
SELECT seckill_prewarm(3, 3);
SAVEPOINT s;
DELETE FROM seckill.items WHERE item_id = 3;
INSERT INTO seckill.items (item_id, stock) VALUES (3, 3);
SELECT outcome FROM seckill_buy(3, 1, 'cache');
ROLLBACK TO s;
SELECT outcome, unit FROM seckill_claim(3, 1, 'cache');
COMMIT;
SELECT stock, unsold, sold, difference, missing FROM seckill_audit(3);

DROP TABLE act, met;
DROP PROCEDURE set_up(bigint, text);
DROP FUNCTION act(), wrong(bigint), meet(bigint, text, text, text), keep(), keep_item();
TRUNCATE seckill.items, seckill.orders, seckill.units, seckill.releases;
