-- Lotteries: a pool of prizes, a commitment before the sale, its seed after it.
\set SHOW_CONTEXT never
CREATE VIEW books AS
SELECT item_id, prize, promised, units, given, burnt, unsold, closed, difference FROM seckill_audit_values();
-- the commitment as anybody computes it
CREATE FUNCTION recompute(item bigint, first integer, last integer, seed bytea, prizes integer[], amounts bigint[])
RETURNS bytea LANGUAGE sql AS $$
    WITH given AS (
        SELECT first + n::integer - 1 AS unit, coalesce(p, 0) AS prize, coalesce(a, 0) AS amount
        FROM unnest(prizes, amounts) WITH ORDINALITY v(p, a, n)
        WHERE p IS NOT NULL OR a IS NOT NULL)
    SELECT sha256(int4send(octet_length(seed)) || seed || int4send(first) || int4send(last)
        || int4send((SELECT count(*)::integer FROM given))
        || coalesce((SELECT string_agg(int4send(unit) || int4send(prize) || int8send(amount), '' ORDER BY unit) FROM given), '')
        || coalesce((SELECT string_agg(int4send(prize) || int8send(coalesce(amount, 0)) || sha256(convert_to(title, 'UTF8')), ''
            ORDER BY prize) FROM seckill.prizes WHERE item_id = item AND prize IN (SELECT prize FROM given)), ''))
$$;

INSERT INTO seckill.items (item_id, stock, numbered) VALUES (1, 0, true);
INSERT INTO seckill.prizes (item_id, prize, title, amount, quantity) VALUES
    (1, 1, 'a car', 2000000, 1), (1, 2, 'a cup', 500, 3), (1, 3, 'not in this pool', NULL, NULL);
SELECT * FROM seckill_add_units(1, prizes => seckill_deal_prizes(12, '{1,3}', seed => sha256('a seed')), seed => sha256('a seed'));
SELECT item_id, first_unit, last_unit, revealed_at, seed,
    commitment = recompute(1, 1, 12, sha256('a seed'), seckill_deal_prizes(12, '{1,3}', seed => sha256('a seed')), NULL) AS right
FROM seckill.public_commitments ORDER BY first_unit;
-- blanks have no row
SELECT count(*) FROM seckill.units WHERE item_id = 1;
SELECT * FROM books;

-- ten draws in one call
SELECT count(*), count(prize) FROM seckill_claim_many(1, array_fill(42, '{10}'), 'cache') WHERE outcome = 'sold';
SELECT * FROM books;

-- what a commitment covers does not change
UPDATE seckill.prizes SET title = 'a key ring' WHERE prize = 1;
UPDATE seckill.prizes SET quantity = 2 WHERE prize = 3;
DELETE FROM seckill.prizes;
UPDATE seckill.commitments SET seed = '';
DELETE FROM seckill.commitments;
TRUNCATE seckill.commitments;
TRUNCATE seckill.prizes;
TRUNCATE seckill.items, seckill.orders, seckill.units;
UPDATE seckill.units SET prize = 1;
-- prizes of other items, and new ones, are nobody's business
INSERT INTO seckill.prizes (item_id, prize, title) VALUES (2, 1, 'a bicycle');
UPDATE seckill.prizes SET title = 'a bike' WHERE item_id = 2;
INSERT INTO seckill.prizes (item_id, prize, title) VALUES (1, 4, 'a hat');
-- a prize of a commitment must be described
SELECT seckill_add_units(1, prizes => '{4,5}', seed => sha256('another seed'));
SELECT * FROM seckill_add_units(1, prizes => '{4,NULL}', amounts => '{3,2}', seed => sha256('another seed'));

-- reveal: when the sale is over and nothing can come back
SELECT * FROM seckill_reveal(1);
SELECT outcome FROM seckill_claim(1, 43, 'cache');
UPDATE seckill.items SET ends_at = now() WHERE item_id = 1;
SELECT * FROM seckill_reveal(1);
SELECT units FROM seckill_close(1);
SELECT r.first_unit, r.last_unit, r.seed IN (sha256('a seed'), sha256('another seed')) AS seed, unchanged,
    r.commitment = p.commitment AS published
FROM seckill_reveal(1) r JOIN seckill.public_commitments p ON p.first_unit = r.first_unit ORDER BY 1;
SELECT first_unit, p.commitment = recompute(1, first_unit, last_unit, p.seed,
    CASE first_unit WHEN 1 THEN seckill_deal_prizes(12, '{1,3}', seed => p.seed) ELSE '{4,NULL}' END,
    CASE first_unit WHEN 1 THEN NULL::bigint[] ELSE '{3,2}' END) AS right
FROM seckill.public_commitments p ORDER BY first_unit;
-- again: the same
SELECT count(*) FROM seckill_reveal(1) WHERE unchanged;
-- nothing is sold after that
UPDATE seckill.items SET ends_at = NULL WHERE item_id = 1;
SELECT seckill_put_item(1, '{"ends_at": "2100-01-01"}');
SELECT seckill_restock(1, 1);
SELECT seckill_set_available(1, 1);
SELECT seckill_add_units(1, prizes => '{1}');
UPDATE seckill.items SET title = 'over' WHERE item_id = 1;
SELECT * FROM seckill_close(1);
SELECT seckill_cancel(1, order_id, true) FROM seckill.orders WHERE item_id = 1 ORDER BY order_id LIMIT 1;
SELECT units FROM seckill_close(1);
SELECT * FROM books;

-- a pending order, and one that is paid too late
INSERT INTO seckill.items (item_id, stock, numbered, pay_within) VALUES (3, 0, true, '1 hour');
INSERT INTO seckill.prizes (item_id, prize, title) VALUES (3, 1, 'a prize');
SELECT added FROM seckill_add_units(3, prizes => '{1,NULL,1}', seed => sha256('a third seed'));
SELECT outcome, unit, prize FROM seckill_claim(3, 1, 'retry');
SELECT outcome, unit, prize FROM seckill_claim(3, 2, 'retry');
SELECT units FROM seckill_close(3);
SELECT seckill_reveal(3);
SELECT seckill_confirm(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 1;
SET session_replication_role = replica;
UPDATE seckill.orders SET state = 'expired', unit = NULL WHERE item_id = 3 AND user_id = 2;
UPDATE seckill.items SET stock = 1, numbers = '{[2,3)}' WHERE item_id = 3;
SET session_replication_role = origin;
SELECT seckill_reveal(3);
SELECT units FROM seckill_close(3);
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (3, 'infinity', 1);
SELECT seckill_reveal(3);
DELETE FROM seckill.releases;
SELECT unchanged FROM seckill_reveal(3);
-- a number that comes back is known: a late payment does not get it
SELECT seckill_cancel(3, order_id, true) FROM seckill.orders WHERE item_id = 3 AND user_id = 1;
SELECT stock, numbers FROM seckill.items WHERE item_id = 3;
SELECT seckill_confirm(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 2;

-- one value changed behind the triggers: the reveal says which commitment
SET session_replication_role = replica;
UPDATE seckill.units SET prize = 2 WHERE item_id = 1 AND prize = 1;
SET session_replication_role = origin;
SELECT first_unit, unchanged FROM seckill_reveal(1);
-- and so for a title, and a blank that gets a value
SET session_replication_role = replica;
UPDATE seckill.units SET prize = 1 WHERE item_id = 1 AND unit = (SELECT place FROM unnest(seckill_deal_prizes(12, '{1,3}',
    seed => sha256('a seed'))) WITH ORDINALITY p(prize, place) WHERE prize = 1);
SET session_replication_role = origin;
SELECT first_unit, unchanged FROM seckill_reveal(1);
SET session_replication_role = replica;
UPDATE seckill.prizes SET title = 'a key ring' WHERE item_id = 1 AND prize = 4;
SET session_replication_role = origin;
SELECT first_unit, unchanged FROM seckill_reveal(1);
INSERT INTO seckill.units (item_id, unit, prize) VALUES (3, 2, 1);
SELECT first_unit, unchanged FROM seckill_reveal(3);

-- the commitment of a pool of blanks, and one of amounts
INSERT INTO seckill.items (item_id, stock, numbered) VALUES (4, 0, true);
SELECT * FROM seckill_add_units(4, prizes => '{NULL,NULL}', seed => sha256('blanks'));
SELECT * FROM seckill_add_units(4, amounts => seckill_divide_amount(100, 4, seed => sha256('shares')), seed => sha256('shares'));
SELECT first_unit, p.commitment = recompute(4, first_unit, p.last_unit, c.seed, CASE first_unit WHEN 1 THEN '{NULL,NULL}'::integer[] END,
    CASE first_unit WHEN 3 THEN seckill_divide_amount(100, 4, seed => sha256('shares')) END) AS right
FROM seckill.public_commitments p JOIN seckill.commitments c USING (item_id, first_unit) WHERE item_id = 4 ORDER BY first_unit;
-- bytes of the seed cannot be shown as a value, nor the other way round
SELECT count(DISTINCT recompute(4, f, 2, s, p, NULL)) FROM (VALUES
    (1, sha256('x') || '\x00000001000000010000000000000000'::bytea, '{NULL,1}'::integer[]),
    (1, sha256('x'), '{1,1}')) v(f, s, p);

-- an item takes its prizes and commitments with it
DELETE FROM seckill.items WHERE item_id = 4;
SELECT count(*) FROM seckill.commitments WHERE item_id = 4;

-- misuse
SELECT seckill_reveal(NULL);
SELECT seckill_reveal(404);
INSERT INTO seckill.items (item_id, stock) VALUES (5, 1);
SELECT seckill_reveal(5);
INSERT INTO seckill.items (item_id, stock, numbered, ends_at) VALUES (6, 0, true, now());
SELECT count(*) FROM seckill_reveal(6);

-- secrets: a buyer and a monitor see neither codes nor seeds
CREATE ROLE regress_player;
GRANT USAGE ON SCHEMA seckill TO regress_player;
GRANT SELECT ON seckill.public_commitments, seckill.prizes TO regress_player;
SET ROLE regress_player;
SELECT count(*), count(seed) FROM seckill.public_commitments;
SELECT count(*) FROM seckill.commitments;
SELECT count(*) FROM seckill.units;
SELECT seckill_reveal(1);
SELECT seckill_close(1);
SELECT seckill_add_units(1, '{x}');
SELECT seckill_redeem(1, 'x', 1);
SELECT seckill_release(1, 1);
SELECT seckill_audit_values(1);
SELECT seckill_unit(1, 1);
RESET ROLE;
GRANT pg_monitor TO regress_player;
SET ROLE regress_player;
SELECT count(*) > 0 AS some FROM seckill_audit_values();
SELECT count(*) FROM seckill.envelopes;
SELECT count(*) FROM seckill.units;
SELECT count(*) FROM seckill.commitments;
RESET ROLE;
DROP OWNED BY regress_player;
DROP ROLE regress_player;

DROP VIEW books;
DROP FUNCTION recompute(bigint, integer, integer, bytea, integer[], bigint[]);
TRUNCATE seckill.items, seckill.orders, seckill.units, seckill.prizes, seckill.commitments;
