BEGIN;
SELECT stock FROM rival.items WHERE item_id = :item FOR UPDATE;
UPDATE rival.items SET stock = stock - 1, version = version + 1 WHERE item_id = :item;
INSERT INTO rival.orders (item_id, user_id, quantity, mode) VALUES (:item, :user, 1, 'pessimistic') RETURNING order_id;
COMMIT;
