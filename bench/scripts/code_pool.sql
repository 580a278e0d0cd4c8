\set from random(1, :units)
WITH unit AS (
    SELECT item_id, unit FROM rival.codes
    WHERE item_id = :item AND unit >= :from
    ORDER BY unit
    LIMIT 1
    FOR UPDATE SKIP LOCKED),
taken AS (
    DELETE FROM rival.codes c USING unit
    WHERE c.item_id = unit.item_id AND c.unit = unit.unit
    RETURNING c.item_id, c.unit, c.code)
INSERT INTO rival.orders (item_id, user_id, quantity, mode, unit)
SELECT item_id, :user::bigint, 1, 'pessimistic', unit FROM taken
RETURNING order_id, (SELECT code FROM taken);
