\set user random(1, 1000000)
BEGIN;
SELECT stock FROM rival.items WHERE item_id = 1 FOR UPDATE;
UPDATE rival.items SET stock = stock - 1, version = version + 1 WHERE item_id = 1;
INSERT INTO rival.orders (item_id, user_id, quantity, mode) VALUES (1, :user, 1, 'pessimistic') RETURNING order_id;
COMMIT;
