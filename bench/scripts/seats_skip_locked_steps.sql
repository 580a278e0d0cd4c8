BEGIN;
SELECT coalesce((
    SELECT seat FROM rival.seats
    WHERE item_id = :item
        AND taken & ((1::bigint << (:to::int - :from::int)) - 1 << :from::int) = 0
    ORDER BY taken DESC
    LIMIT 1
    FOR UPDATE SKIP LOCKED), 0) AS seat \gset
\if :seat > 0
UPDATE rival.seats
SET taken = taken | ((1::bigint << (:to::int - :from::int)) - 1 << :from::int)
WHERE item_id = :item AND seat = :seat;
INSERT INTO rival.orders (item_id, user_id, quantity, mode, seats, seat_legs)
VALUES (:item, :user, 1, 'pessimistic', ARRAY[:seat::int], ARRAY[:to::bigint])
RETURNING order_id;
\endif
COMMIT;
