WITH seat AS (
    SELECT item_id, seat FROM rival.seats
    WHERE item_id = :item
        AND taken & ((1::bigint << (:to::int - :from::int)) - 1 << :from::int) = 0
    ORDER BY taken DESC
    LIMIT 1
    FOR UPDATE SKIP LOCKED),
taken AS (
    UPDATE rival.seats s
    SET taken = s.taken | ((1::bigint << (:to::int - :from::int)) - 1 << :from::int)
    FROM seat
    WHERE s.item_id = seat.item_id AND s.seat = seat.seat
    RETURNING s.item_id, s.seat)
INSERT INTO rival.orders (item_id, user_id, quantity, mode, seats, seat_legs)
SELECT item_id, :user::bigint, 1, 'pessimistic', ARRAY[seat], ARRAY[:to::bigint] FROM taken
RETURNING order_id;
