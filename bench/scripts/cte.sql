WITH taken AS (
    UPDATE rival.items SET stock = stock - 1, version = version + 1
    WHERE item_id = :item AND stock >= 1
    RETURNING item_id)
INSERT INTO rival.orders (item_id, user_id, quantity, mode)
SELECT item_id, :user::bigint, 1, 'pessimistic' FROM taken
RETURNING order_id;
