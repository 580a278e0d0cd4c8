\set from random(1, :units)
WITH unit AS (
    SELECT item_id, unit_id FROM rival.units
    WHERE item_id = :item AND unit_id >= :from
    ORDER BY unit_id
    LIMIT 1
    FOR UPDATE SKIP LOCKED),
taken AS (
    DELETE FROM rival.units u USING unit
    WHERE u.item_id = unit.item_id AND u.unit_id = unit.unit_id
    RETURNING u.item_id)
INSERT INTO rival.orders (item_id, user_id, quantity, mode)
SELECT item_id, :user::bigint, 1, 'pessimistic' FROM taken
RETURNING order_id;
