BEGIN;
INSERT INTO rival.cart_no_key VALUES (:item, :user);
UPDATE rival.items SET stock = stock - 1, version = version + 1 WHERE item_id = :item AND stock >= 1;
INSERT INTO rival.orders (item_id, user_id, quantity, mode) VALUES (:item, :user, 1, 'advisory') RETURNING order_id;
COMMIT;
