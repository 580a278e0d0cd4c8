-- The rivals: plain SQL on tables of the shape that the extension has.
-- Run in a scratch database that has the extension.

DROP SCHEMA IF EXISTS rival CASCADE;
CREATE SCHEMA rival;

CREATE TABLE rival.items (LIKE seckill.items INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
    WITH (fillfactor = 25);
ALTER TABLE rival.items ALTER COLUMN supplied DROP NOT NULL;
CREATE TABLE rival.orders (LIKE seckill.orders INCLUDING ALL);

-- One row for each unit that is not sold.  A sale deletes its row: an UPDATE
-- that marks it would write a second version and a second index entry.
CREATE TABLE rival.units (
    item_id bigint NOT NULL,
    unit_id bigint NOT NULL,
    PRIMARY KEY (item_id, unit_id)
);

-- Codes of coupons that are not sold, and numbers that no two orders have.
CREATE TABLE rival.codes (
    item_id bigint NOT NULL,
    unit integer NOT NULL,
    code text NOT NULL,
    PRIMARY KEY (item_id, unit),
    UNIQUE (item_id, code)
);
CREATE SEQUENCE rival.unit;

-- Prizes with odds in thousandths, for a draw that throws dice.
CREATE TABLE rival.prizes (
    item_id bigint NOT NULL,
    prize integer NOT NULL,
    odds integer NOT NULL,
    stock integer NOT NULL,
    PRIMARY KEY (item_id, prize)
);

-- Seats of trains.
CREATE TABLE rival.seats (
    item_id bigint NOT NULL,
    seat integer NOT NULL,
    taken bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (item_id, seat)
) WITH (fillfactor = 50);

-- Carts: a transaction inserts a row before it buys.  For the extension and for
-- the rivals, with a foreign key to the items and without.
CREATE TABLE rival.cart (item_id bigint NOT NULL REFERENCES rival.items, user_id bigint NOT NULL);
CREATE TABLE rival.cart_no_key (item_id bigint NOT NULL, user_id bigint NOT NULL);
CREATE TABLE rival.our_cart (item_id bigint NOT NULL REFERENCES seckill.items, user_id bigint NOT NULL);
CREATE TABLE rival.our_cart_no_key (item_id bigint NOT NULL, user_id bigint NOT NULL);

-- for_update_call: one call that locks the row, updates it and writes the order
CREATE FUNCTION rival.buy_for_update(item bigint, buyer bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    left_over integer;
    bought bigint;
BEGIN
    SELECT stock INTO left_over FROM rival.items WHERE item_id = item FOR UPDATE;
    IF left_over < 1 THEN
        RETURN NULL;
    END IF;
    UPDATE rival.items SET stock = stock - 1, version = version + 1
        WHERE item_id = item;
    INSERT INTO rival.orders (item_id, user_id, quantity, mode)
        VALUES (item, buyer, 1, 'pessimistic')
        RETURNING order_id INTO bought;
    RETURN bought;
END
$$;

-- advisory_call: one call that takes an advisory lock before it updates the row
CREATE FUNCTION rival.buy_advisory(item bigint, buyer bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    bought bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(item);
    UPDATE rival.items SET stock = stock - 1, version = version + 1
        WHERE item_id = item AND stock >= 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO rival.orders (item_id, user_id, quantity, mode)
        VALUES (item, buyer, 1, 'advisory')
        RETURNING order_id INTO bought;
    RETURN bought;
END
$$;

-- odds: one call that throws dice, takes a unit of the prize and writes the
-- order; if the prize is gone, the draw is a blank
CREATE FUNCTION rival.draw(item bigint, buyer bigint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    dice integer := floor(random() * 1000);
    won integer;
BEGIN
    SELECT p.prize INTO won FROM (
            SELECT prize, sum(odds) OVER (ORDER BY prize) AS upto
            FROM rival.prizes WHERE item_id = item) p
        WHERE dice < p.upto ORDER BY p.upto LIMIT 1;
    IF won IS NOT NULL THEN
        UPDATE rival.prizes SET stock = stock - 1
            WHERE item_id = item AND prize = won AND stock > 0;
        IF NOT FOUND THEN
            won := NULL;
        END IF;
    END IF;
    INSERT INTO rival.orders (item_id, user_id, quantity, mode)
        VALUES (item, buyer, 1, 'pessimistic');
    RETURN won;
END
$$;

-- seats_line: one call that takes the turn of the train, chooses the fullest seat
-- that is free for the trip, takes it and writes the order
CREATE FUNCTION rival.book_in_turn(item bigint, buyer bigint, from_stop integer, to_stop integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    legs bigint := (1::bigint << (to_stop - from_stop)) - 1 << from_stop;
    chosen integer;
BEGIN
    PERFORM pg_advisory_xact_lock(item);
    SELECT seat INTO chosen FROM rival.seats
        WHERE item_id = item AND taken & legs = 0
        ORDER BY taken DESC LIMIT 1;
    IF chosen IS NOT NULL THEN
        UPDATE rival.seats SET taken = taken | legs WHERE item_id = item AND seat = chosen;
        INSERT INTO rival.orders (item_id, user_id, quantity, mode, seats, seat_legs)
            VALUES (item, buyer, 1, 'pessimistic', ARRAY[chosen], ARRAY[legs]);
    END IF;
    RETURN chosen;
END
$$;

-- seats_skip_locked_call: one call that locks the fullest seat that is free for the
-- trip and that nobody else has locked, takes it and writes the order
CREATE FUNCTION rival.book_skip_locked(item bigint, buyer bigint, from_stop integer, to_stop integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    legs bigint := (1::bigint << (to_stop - from_stop)) - 1 << from_stop;
    chosen integer;
BEGIN
    SELECT seat INTO chosen FROM rival.seats
        WHERE item_id = item AND taken & legs = 0
        ORDER BY taken DESC LIMIT 1
        FOR UPDATE SKIP LOCKED;
    IF chosen IS NOT NULL THEN
        UPDATE rival.seats SET taken = taken | legs WHERE item_id = item AND seat = chosen;
        INSERT INTO rival.orders (item_id, user_id, quantity, mode, seats, seat_legs)
            VALUES (item, buyer, 1, 'pessimistic', ARRAY[chosen], ARRAY[legs]);
    END IF;
    RETURN chosen;
END
$$;

-- counter_call: one call that decrements the counter and writes no order
CREATE FUNCTION rival.take_one(item bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE rival.items SET stock = stock - 1
        WHERE item_id = item AND stock >= 1;
    RETURN FOUND;
END
$$;
