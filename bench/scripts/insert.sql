INSERT INTO rival.orders (item_id, user_id, quantity, mode) VALUES (:item, :user, 1, 'cache') RETURNING order_id;
