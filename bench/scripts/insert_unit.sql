INSERT INTO rival.orders (item_id, user_id, quantity, mode, unit)
VALUES (:item, :user, 1, 'cache', nextval('rival.unit')) RETURNING order_id;
