-- Items with seats: what a booking answers, what it writes, and what is refused.
\set VERBOSITY terse
INSERT INTO seckill.items (item_id, stock, legs) VALUES (1, 0, 5);
INSERT INTO seckill.seats (item_id, seat, block, car)
SELECT 1, g, (g - 1) / 4, (g - 1) / 8 FROM generate_series(1, 16) g;
SELECT * FROM seckill_audit_seats();

-- best fit: the second trip fits behind the first, the third before it
SELECT outcome, seats, seat_legs FROM seckill_book(1, 42, 0, 2, mode => 'pessimistic');
SELECT outcome, seats, seat_legs FROM seckill_book(1, 42, 2, 5, mode => 'advisory');
SELECT outcome, seats, seat_legs FROM seckill_book(1, 43, 1, 3, mode => 'pessimistic');
SELECT outcome, seats, seat_legs FROM seckill_book(1, 43, 0, 1, mode => 'cache');
SELECT outcome, seats, seat_legs FROM seckill_book(1, 43, 3, 5);

-- any mode: one of the best
SELECT m, b.outcome, array_length(b.seats, 1), b.seat_legs
FROM unnest('{optimistic,retry}'::seckill_mode[]) m,
    LATERAL seckill_book(1, 44, 0, 5, mode => m) b;
SELECT * FROM seckill_audit_seats();
SELECT DISTINCT item_id, quantity, mode, lease_id, state, limited FROM seckill.orders ORDER BY mode;

-- parties: one block, else one car, else anywhere
INSERT INTO seckill.items (item_id, stock, legs) VALUES (2, 0, 2);
INSERT INTO seckill.seats (item_id, seat, block, car)
SELECT 2, g, (g - 1) / 3, (g - 1) / 6 FROM generate_series(1, 12) g;
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 1, seats => '{2}');
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 3);
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 3, together => 'need');
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 3);
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 3, together => 'need');
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 2, together => 'any');
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 3);
SELECT outcome, seats FROM seckill_book(2, 1, 0, 2, 1);

-- a change of seat instead of a refusal
INSERT INTO seckill.items (item_id, stock, legs) VALUES (3, 0, 3);
INSERT INTO seckill.seats (item_id, seat) SELECT 3, g FROM generate_series(1, 2) g;
SELECT outcome, seats FROM seckill_book(3, 1, 0, 1, seats => '{1}');
SELECT outcome, seats FROM seckill_book(3, 1, 2, 3, seats => '{2}');
SELECT outcome, seats FROM seckill_book(3, 2, 0, 3);
SELECT outcome, seats, seat_legs FROM seckill_book(3, 2, 0, 3, max_changes => 1, together => 'need');
SELECT outcome, seats, seat_legs FROM seckill_book(3, 2, 0, 3, max_changes => 1);
SELECT * FROM seckill_free_seats(3);
SELECT * FROM seckill_audit_seats(3);

-- seats by name; one that is not free
SELECT outcome, seats FROM seckill_book(1, 45, 0, 2, 2, seats => ARRAY[16, 15]);
SELECT outcome, seats FROM seckill_book(1, 45, 2, 5, 2, seats => ARRAY[15, 16]);
SELECT outcome, seats FROM seckill_book(1, 45, 1, 3, 2, seats => ARRAY[14, 16]);
SELECT seat, state FROM seckill_seat_map(1, 1, 3) WHERE seat > 13;

-- a request: the same trip is the same order, another one is a mistake
SELECT order_id AS first FROM seckill_book(1, 46, 0, 1, 2, request_id => '11111111-1111-4111-8111-111111111111') \gset
SELECT outcome, order_id = :first AS same, array_length(seats, 1), seat_legs
FROM seckill_book(1, 46, 0, 1, 2, request_id => '11111111-1111-4111-8111-111111111111');
SELECT outcome FROM seckill_book(1, 46, 0, 2, 2, request_id => '11111111-1111-4111-8111-111111111111');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM seckill_book(1, 46, 0, 1, 2, seats => '{1,2}', request_id => '11111111-1111-4111-8111-111111111111');
\echo :LAST_ERROR_SQLSTATE

-- limits count seats; a window
UPDATE seckill.items SET per_user_limit = 3 WHERE item_id = 1;
SELECT outcome FROM seckill_book(1, 47, 0, 1, 2);
SELECT outcome FROM seckill_book(1, 47, 0, 1, 2);
SELECT outcome FROM seckill_book(1, 47, 0, 1, 1);
UPDATE seckill.items SET ends_at = '2000-01-01' WHERE item_id = 1;
SELECT outcome FROM seckill_book(1, 48, 0, 1);
UPDATE seckill.items SET ends_at = NULL WHERE item_id = 1;

-- payment, cancel, exchange in one transaction
INSERT INTO seckill.items (item_id, stock, legs, pay_within) VALUES (4, 0, 2, '1 hour');
INSERT INTO seckill.seats (item_id, seat) SELECT 4, g FROM generate_series(1, 2) g;
SELECT order_id AS a FROM seckill_book(4, 1, 0, 2) \gset
SELECT order_id AS b FROM seckill_book(4, 2, 0, 2) \gset
SELECT outcome FROM seckill_book(4, 3, 0, 1);
SELECT outcome FROM seckill_book(4, 3, 0, 1);
SELECT seckill_confirm(4, :a);
SELECT seckill_cancel(4, :b), seckill_cancel(4, :b);
SELECT outcome, seats FROM seckill_book(4, 3, 0, 1);
BEGIN;
SELECT seckill_cancel(4, :a, true);
SELECT outcome, seats FROM seckill_book(4, 1, 1, 2);
SELECT outcome, seats FROM seckill_book(4, 1, 0, 2);
SAVEPOINT s;
SELECT outcome, seats FROM seckill_book(4, 1, 0, 1);
ROLLBACK TO s;
COMMIT;
SELECT * FROM seckill_audit_seats(4);
SELECT seat, taken FROM seckill.seats WHERE item_id = 4 ORDER BY seat;
BEGIN;
SELECT outcome, seats FROM seckill_book(4, 9, 0, 2);
ROLLBACK;
SELECT * FROM seckill_free_seats(4);

-- a trip that is known to be sold out, and a seat that this transaction returns
SELECT outcome FROM seckill_book(4, 9, 0, 2);
SELECT outcome FROM seckill_book(4, 9, 0, 2, seats => '{2}');
BEGIN;
SELECT count(seckill_cancel(4, order_id, true)) FROM seckill.orders
WHERE item_id = 4 AND state IN ('pending', 'confirmed');
SELECT outcome, seats FROM seckill_book(4, 9, 0, 2);
ROLLBACK;
SELECT outcome FROM seckill_book(4, 9, 0, 2);

-- one look at the table proves every trip that is sold out, for any party; a
-- return ends that
INSERT INTO seckill.items (item_id, stock, legs) VALUES (9, 0, 3);
INSERT INTO seckill.seats (item_id, seat) SELECT 9, s FROM generate_series(1, 2) s;
SELECT outcome FROM seckill_book(9, 1, 1, 3, 2);
CREATE FUNCTION looks() RETURNS bigint LANGUAGE sql
    AS $$SELECT pg_stat_get_xact_numscans('seckill.seats_pkey'::regclass)$$;
SELECT looks() AS before, (seckill_book(9, 2, 0, 3)).outcome, looks() AS behind \gset
SELECT :'outcome', :behind > :before AS has_looked;
SELECT looks() AS before, (seckill_book(9, 2, 1, 2)).outcome AS shorter,
    (seckill_book(9, 2, 1, 3, 2)).outcome AS party,
    (seckill_book(9, 2, 0, 3, max_changes => 2)).outcome AS changes, looks() AS behind \gset
SELECT :'shorter', :'party', :'changes', :behind > :before AS has_looked;
SELECT outcome FROM seckill_book(9, 3, 0, 1, 2);
SELECT seckill_cancel(9, order_id, refund => true) FROM seckill.orders WHERE item_id = 9 AND user_id = 1;
SELECT outcome FROM seckill_book(9, 4, 1, 2, 2);
DROP FUNCTION looks();
-- what only this transaction sees is no proof; the first call loads the map
INSERT INTO seckill.seats (item_id, seat) VALUES (9, 3);
SELECT outcome FROM seckill_book(9, 5, 1, 2, 2);
BEGIN;
DELETE FROM seckill.seats WHERE item_id = 9 AND seat = 3;
SELECT outcome FROM seckill_book(9, 5, 0, 3);
ROLLBACK;
SELECT outcome FROM seckill_book(9, 5, 0, 3);
DELETE FROM seckill.orders WHERE item_id = 9;
DELETE FROM seckill.items WHERE item_id = 9;

-- staff takes seats off sale and puts them back
SELECT outcome, order_id AS block FROM seckill_block_seats(1, '{13,14}', 3, 5) \gset
SELECT :'outcome';
SELECT outcome FROM seckill_block_seats(1, '{14}');
SELECT user_id, quantity, state, seats, seat_legs FROM seckill.orders WHERE order_id = :block;
SELECT seckill_cancel(1, :block, true);
SELECT outcome FROM seckill_block_seats(1, '{13}', 3);

-- the map learns of seats that are added, moved and removed
INSERT INTO seckill.items (item_id, stock, legs) VALUES (5, 0, 1);
SELECT outcome FROM seckill_book(5, 1, 0, 1);
INSERT INTO seckill.seats (item_id, seat, block) VALUES (5, 1, 0), (5, 2, 1);
SELECT outcome, seats FROM seckill_book(5, 1, 0, 1, 2, together => 'need');
UPDATE seckill.seats SET block = 0, label = '2A' WHERE item_id = 5 AND seat = 2;
BEGIN;
SELECT outcome, seats FROM seckill_book(5, 1, 0, 1, 2, together => 'need');
SELECT seat, label, state FROM seckill_seat_map(5);
ROLLBACK;
DELETE FROM seckill.seats WHERE item_id = 5 AND seat = 1;
SELECT outcome, seats FROM seckill_book(5, 1, 0, 1);
SELECT outcome, seats FROM seckill_book(5, 1, 0, 1);
SELECT item_id, state FROM seckill.stock ORDER BY 1;
SELECT item_id FROM seckill.stock s, LATERAL seckill_item(item_id) i WHERE s.state <> i.state;

-- settings; a seat item has no units
SELECT seckill_put_item(6, '{"stock": 0, "legs": 63}');
SELECT legs, state, available FROM seckill_item(6);
SELECT seckill_put_item(6, '{"legs": 2}');
INSERT INTO seckill.items (item_id, stock) VALUES (7, 5);
SELECT item_id, difference FROM seckill_audit();

-- misuse
\set VERBOSITY default
SELECT seckill_book(1, 1, 2, 2);
SELECT seckill_book(1, 1, 0, 6);
SELECT seckill_book(1, 1, -1, 2);
SELECT seckill_book(1, 1, 0, 64);
SELECT seckill_book(1, 1, 0, 1, 21);
SELECT seckill_book(1, 1, 0, 1, 0);
SELECT seckill_book(1, 1, 0, 1, together => 'near');
SELECT seckill_book(1, 1, 0, 1, max_changes => 63);
SELECT seckill_book(1, 1, NULL, 1);
SELECT seckill_book(1, 1, 0, NULL);
SELECT seckill_book(1, 1, 0, 1, NULL);
SELECT seckill_book(1, 1, 0, 1, together => NULL);
SELECT seckill_book(1, 1, 0, 1, 2, seats => '{1}');
SELECT seckill_book(1, 1, 0, 1, 2, seats => '{1,1}');
SELECT seckill_book(1, 1, 0, 1, 2, seats => '{1,NULL}');
SELECT seckill_book(1, 1, 0, 1, seats => '{99}');
SELECT seckill_book(1, 1, 0, 1, seats => '{1}', max_changes => 1);
SELECT seckill_book(1, 1, 0, 1, seats => '{1}', mode => 'queue');
SELECT seckill_book(1, 1, 0, 1, mode => 'none');
SELECT seckill_book(7, 1, 0, 1);
SELECT seckill_book(99, 1, 0, 1);
SELECT seckill_buy(1, 1);
SELECT seckill_buy_many(1, '{1,2}');
SELECT seckill_restock(1, 5);
SELECT seckill_set_available(1, 5);
SELECT seckill_claim(1, 1);
SELECT seckill_free_seats(7);
SELECT seckill_seat_map(7);
SELECT seckill_seat_map(1, 3, 2);
SELECT seckill_block_seats(7, '{1}');
SELECT seckill_block_seats(1, '{}');
INSERT INTO seckill.items (item_id, stock, legs) VALUES (8, 1, 2);
INSERT INTO seckill.items (item_id, stock, legs) VALUES (8, 0, 64);
UPDATE seckill.items SET stock = 3 WHERE item_id = 1;
UPDATE seckill.items SET legs = 6 WHERE item_id = 1;
UPDATE seckill.items SET legs = 2 WHERE item_id = 7;
UPDATE seckill.seats SET taken = 0 WHERE item_id = 1 AND seat = 1;
UPDATE seckill.seats SET seat = 100 WHERE item_id = 1 AND seat = 16;
DELETE FROM seckill.seats WHERE item_id = 1 AND seat = 1;
UPDATE seckill.orders SET seats = '{1}' WHERE item_id = 1;
TRUNCATE seckill.items, seckill.orders;
TRUNCATE seckill.seats;
DELETE FROM seckill.items WHERE item_id = 1;
PREPARE named AS SELECT outcome FROM seckill_book(1, 1, 0, 1);
PREPARE typed(integer, bigint) AS SELECT outcome FROM seckill_book($1, $2, $1, $2, $1, 'cache'::text);

SET seckill.allow_unsafe = on;
SELECT outcome, seats FROM seckill_book(5, 1, 0, 1, mode => 'none');
RESET seckill.allow_unsafe;

-- seats go with their item
DELETE FROM seckill.orders WHERE item_id = 5;
DELETE FROM seckill.items WHERE item_id = 5;
SELECT count(*) FROM seckill.seats WHERE item_id = 5;
SELECT * FROM seckill_audit_seats();
TRUNCATE seckill.items, seckill.orders, seckill.seats;
