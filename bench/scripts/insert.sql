\set user random(1, 1000000)
INSERT INTO rival.orders (item_id, user_id, quantity, mode) VALUES (1, :user, 1, 'cache') RETURNING order_id;
