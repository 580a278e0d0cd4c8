INSERT INTO rival.orders (item_id, user_id, quantity, mode, seats, seat_legs) VALUES (:item, :user, 1, 'cache', ARRAY[:from::int], ARRAY[:to::bigint]) RETURNING order_id;
