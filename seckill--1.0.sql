/* seckill--1.0.sql: tables, types, functions and views of the extension */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION seckill" to load this file. \quit

--
-- Types
--

CREATE TYPE @extschema@.seckill_mode AS ENUM (
    'none', 'optimistic', 'retry', 'pessimistic', 'advisory', 'cache', 'queue',
    'auto');

COMMENT ON TYPE @extschema@.seckill_mode IS
'concurrency control of one purchase: none (unsafe), optimistic, retry, pessimistic, advisory, cache, queue (decided in batches by the queue worker), auto';

-- Implicit casts from text and varchar: a driver that declares the type of its
-- parameters sends a mode as one of these, and PostgreSQL resolves a function
-- call with implicit casts only.  There is no implicit cast from seckill_mode
-- to text, so comparing two modes never picks a text operator.
CREATE FUNCTION @extschema@.seckill_mode(label text)
RETURNS @extschema@.seckill_mode AS 'MODULE_PATHNAME'
LANGUAGE C STRICT STABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_mode(text) IS
'the mode with this label; implements the casts from text and varchar';

CREATE CAST (text AS @extschema@.seckill_mode)
    WITH FUNCTION @extschema@.seckill_mode(text) AS IMPLICIT;

COMMENT ON CAST (text AS @extschema@.seckill_mode) IS
'lets a caller pass a mode as text';

CREATE CAST (varchar AS @extschema@.seckill_mode)
    WITH FUNCTION @extschema@.seckill_mode(text) AS IMPLICIT;

COMMENT ON CAST (varchar AS @extschema@.seckill_mode) IS
'lets a caller pass a mode as varchar';

CREATE TYPE @extschema@.seckill_outcome AS ENUM (
    'sold', 'sold_out', 'conflict', 'not_started', 'ended', 'queued', 'busy',
    'limit_reached', 'denied', 'rate_limited', 'request_reused',
    'unknown_item', 'seat_taken', 'moved');

COMMENT ON TYPE @extschema@.seckill_outcome IS
'answer to a purchase: sold, sold_out, conflict (lost a race against another buyer: retry), not_started, ended, queued (not decided yet), busy (the queue is full, or too many calls wait for the item: retry later), limit_reached (the quantity would exceed per_user_limit), denied (no valid token), rate_limited (the user calls too often), request_reused (the request_id was used for another purchase), unknown_item (no such item), seat_taken (a seat that the booking names is not free), moved (the item is sold on another node); request_reused and unknown_item are errors in calls that make one purchase';

CREATE TYPE @extschema@.seckill_redeem_outcome AS ENUM (
    'redeemed', 'used', 'expired', 'unknown', 'rate_limited');

COMMENT ON TYPE @extschema@.seckill_redeem_outcome IS
'answer to seckill_redeem(): redeemed, used (the user has redeemed it before), expired (the order of the user is no longer live), unknown (the user has no such code), rate_limited (the user calls too often)';

CREATE TYPE @extschema@.seckill_order_state AS ENUM (
    'pending', 'confirmed', 'cancelled', 'expired');

COMMENT ON TYPE @extschema@.seckill_order_state IS
'state of an order: pending (to be paid before pay_by), confirmed, cancelled, expired (not paid in time); pending and confirmed orders are live and keep their units, the others have returned them';

--
-- Tables
--

CREATE SCHEMA seckill;

COMMENT ON SCHEMA seckill IS 'items and orders of flash sales';

CREATE FUNCTION @extschema@.seckill_count(numbers int8multirange)
RETURNS bigint AS 'MODULE_PATHNAME'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_count(int8multirange) IS
'how many numbers a set has';

CREATE FUNCTION @extschema@.seckill_own_numbers(
    item_id     bigint,
    split_over  integer[],
    known       bigint)
RETURNS int8multirange AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT STABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_own_numbers(bigint, integer[], bigint) IS
'for audits: the numbers that this node has of an item, whose row has so many; all of them, unless the item is split over nodes';

CREATE FUNCTION @extschema@.seckill_check_numbers(
    numbered    boolean,
    numbers     int8multirange,
    off_sale    int8multirange,
    stock       integer)
RETURNS boolean AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_check_numbers(boolean, int8multirange, int8multirange, integer) IS
'constraint of seckill.items: true if stock and numbers of an item agree, otherwise an error';

-- The bounds of settings are domains: a domain is checked when a setting is
-- written, a CHECK of the table is parsed anew by each purchase from the row.
CREATE DOMAIN seckill.per_user_limit AS integer
    CHECK (VALUE OPERATOR(pg_catalog.>) 0);

CREATE DOMAIN seckill.limit_window AS interval
    CHECK (VALUE OPERATOR(pg_catalog.>) '0'
           AND VALUE OPERATOR(pg_catalog.<=) '1 year');

CREATE DOMAIN seckill.pay_within AS interval
    CHECK (VALUE OPERATOR(pg_catalog.>) '0'
           AND VALUE OPERATOR(pg_catalog.<=) '1 year');

CREATE DOMAIN seckill.user_rate AS real
    CHECK (VALUE OPERATOR(pg_catalog.>=) 0
           AND VALUE OPERATOR(pg_catalog.<) 'Infinity');

CREATE DOMAIN seckill.user_burst AS integer
    CHECK (VALUE OPERATOR(pg_catalog.>) 0);

CREATE DOMAIN seckill.max_waiters AS integer
    CHECK (VALUE OPERATOR(pg_catalog.>=) 0);

COMMENT ON DOMAIN seckill.per_user_limit IS 'for the column of seckill.items: a positive number';
COMMENT ON DOMAIN seckill.limit_window IS 'for the column of seckill.items: a positive interval of at most a year';
COMMENT ON DOMAIN seckill.pay_within IS 'for the column of seckill.items: a positive interval of at most a year';
COMMENT ON DOMAIN seckill.user_rate IS 'for the column of seckill.items: a number from 0 on, not infinite';
COMMENT ON DOMAIN seckill.user_burst IS 'for the column of seckill.items: a positive number';
COMMENT ON DOMAIN seckill.max_waiters IS 'for the column of seckill.items: a number from 0 on';

-- Every purchase from the row updates it.  The fillfactor leaves room for HOT
-- updates, and no column that a purchase changes is indexed.
CREATE TABLE seckill.items (
    item_id     bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    title       text,
    stock       integer     NOT NULL,
    version     bigint      NOT NULL DEFAULT 0,
    leased      integer     NOT NULL DEFAULT 0,
    lease_id    bigint,
    supplied    bigint      NOT NULL,
    starts_at   timestamptz,
    ends_at     timestamptz,
    per_user_limit seckill.per_user_limit,
    limit_window seckill.limit_window,
    require_token boolean   NOT NULL DEFAULT false,
    pay_within  seckill.pay_within,
    user_rate   seckill.user_rate,
    user_burst  seckill.user_burst,
    max_waiters seckill.max_waiters,
    seal        bigint,
    numbered    boolean     NOT NULL DEFAULT false,
    numbers     int8multirange,
    off_sale    int8multirange,
    reveal_on   @extschema@.seckill_order_state NOT NULL DEFAULT 'confirmed',
    legs        integer,
    -- most items have no legs, and a purchase of theirs compares the stock only
    CONSTRAINT items_stock_check
        CHECK (stock OPERATOR(pg_catalog.>=) 0 AND
               (legs IS NULL OR
                stock OPERATOR(pg_catalog.=) 0 AND NOT numbered AND
                legs OPERATOR(pg_catalog.>=) 1 AND
                legs OPERATOR(pg_catalog.<=) 63)),
    place       text        CHECK (place OPERATOR(pg_catalog.=) ANY ('{moving,arriving,gone}')),
    split_over  integer[],
    CONSTRAINT items_lease_check
        CHECK (leased OPERATOR(pg_catalog.=) 0 OR
               leased OPERATOR(pg_catalog.>) 0 AND lease_id IS NOT NULL),
    CONSTRAINT items_numbers_check
        CHECK (@extschema@.seckill_check_numbers(numbered, numbers, off_sale, stock)),
    CONSTRAINT items_window_check
        CHECK (starts_at OPERATOR(pg_catalog.<) ends_at)
) WITH (fillfactor = 25);

COMMENT ON TABLE seckill.items IS 'items on sale, one row per item; written by plain INSERT, UPDATE, DELETE and COPY, which cannot set version, leased, lease_id, supplied and seal';
COMMENT ON COLUMN seckill.items.item_id IS 'primary key, by default from a sequence; cannot be changed';
COMMENT ON COLUMN seckill.items.title IS 'free text, not used by the extension';
COMMENT ON COLUMN seckill.items.stock IS 'units neither sold nor leased; restock with SET stock = stock + n';
COMMENT ON COLUMN seckill.items.version IS 'number of changes of this row by purchases, leases, settles and restocks; the optimistic modes compare it; maintained by the extension';
COMMENT ON COLUMN seckill.items.leased IS 'units moved to the stock cache under lease_id and not returned to stock; maintained by the extension';
COMMENT ON COLUMN seckill.items.lease_id IS 'fencing token of the open lease; maintained by the extension';
COMMENT ON COLUMN seckill.items.supplied IS 'units ever put on sale, less those written off; seckill_audit() compares with it; maintained by the extension';
COMMENT ON COLUMN seckill.items.seal IS 'checksum of item_id, lease_id and supplied, which tells a row restored from a dump; maintained by the extension';
COMMENT ON COLUMN seckill.items.numbered IS 'does each unit have a number?  Cannot be changed';
COMMENT ON COLUMN seckill.items.numbers IS 'numbers of the units in stock; NULL: the units are alike; maintained by the extension';
COMMENT ON COLUMN seckill.items.off_sale IS 'numbers that are not on sale: not released yet, withdrawn by seckill_close(), or of deleted orders; NULL: the units are alike; maintained by the extension';
COMMENT ON COLUMN seckill.items.reveal_on IS 'state of an order, pending or confirmed, from which the buyer is told what the unit is worth';
COMMENT ON COLUMN seckill.items.legs IS 'legs of a trip, 1 to 63, for an item that sells the seats of seckill.seats by seckill_book(); an event has 1; NULL: the item has units, not seats';
COMMENT ON COLUMN seckill.items.place IS 'NULL: sold here; moving or arriving: not sold while it is moved between nodes; gone: sold on another node; maintained by the extension';
COMMENT ON COLUMN seckill.items.split_over IS 'numbers of the nodes that sell this item, each a share of its units; the first is its home; NULL: one node sells it; maintained by the extension';
COMMENT ON COLUMN seckill.items.starts_at IS 'time when the sale opens; NULL: already open';
COMMENT ON COLUMN seckill.items.ends_at IS 'time when the sale ends; NULL: never';
COMMENT ON COLUMN seckill.items.require_token IS 'does a purchase need a token from seckill_token()?';
COMMENT ON COLUMN seckill.items.per_user_limit IS 'units that one user can buy; NULL: no limit';
COMMENT ON COLUMN seckill.items.limit_window IS 'only orders of this time back count against per_user_limit; NULL: all orders do';
COMMENT ON COLUMN seckill.items.pay_within IS 'time to pay: orders are pending, and expire if not confirmed within it; NULL: orders are confirmed at once';
COMMENT ON COLUMN seckill.items.user_rate IS 'calls per second that one user can make for this item; 0: no limit; NULL: seckill.user_rate';
COMMENT ON COLUMN seckill.items.user_burst IS 'calls that one user can make for this item in one burst; NULL: seckill.user_burst';
COMMENT ON COLUMN seckill.items.max_waiters IS 'calls that can wait for the item at once in the row modes; 0: no limit; NULL: seckill.max_waiters';

-- The maintenance worker skips items that are not sold here.
CREATE INDEX items_elsewhere ON seckill.items (item_id)
    WHERE place IS NOT NULL;

COMMENT ON INDEX seckill.items_elsewhere IS 'items that are not sold here';

-- The maintenance worker looks up which sales open next.
CREATE INDEX items_starts_at ON seckill.items (starts_at)
    WHERE starts_at IS NOT NULL;

COMMENT ON INDEX seckill.items_starts_at IS 'items by the opening of their sale';

-- No foreign key to items: every purchase would take its FOR KEY SHARE lock on
-- the hot row.  A trigger on items prevents the deletion of an item that has
-- orders instead.
CREATE TABLE seckill.orders (
    item_id     bigint      NOT NULL,
    order_id    bigint      GENERATED BY DEFAULT AS IDENTITY,
    user_id     bigint      NOT NULL,
    quantity    integer     NOT NULL CHECK (quantity OPERATOR(pg_catalog.>) 0),
    mode        @extschema@.seckill_mode NOT NULL,
    lease_id    bigint,
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    request_id  uuid,
    limited     boolean     NOT NULL DEFAULT false,
    state       @extschema@.seckill_order_state NOT NULL DEFAULT 'confirmed',
    pay_by      timestamptz,
    unit        integer,
    redeemed_at timestamptz,
    seats       integer[],
    seat_legs   bigint[],
    redeemed_from @extschema@.seckill_order_state,
    PRIMARY KEY (item_id, order_id)
);

-- Partial indexes: an order has an entry only in those that it needs.
CREATE INDEX orders_user ON seckill.orders (item_id, user_id, created_at)
    WHERE limited;
CREATE UNIQUE INDEX orders_request ON seckill.orders (item_id, request_id)
    WHERE request_id IS NOT NULL;

-- The last guard of numbered units: no number has two orders.
CREATE UNIQUE INDEX orders_unit ON seckill.orders (item_id, unit)
    WHERE unit IS NOT NULL;

CREATE INDEX orders_pay_by ON seckill.orders (pay_by)
    WHERE state OPERATOR(pg_catalog.=) 'pending';

COMMENT ON INDEX seckill.orders_user IS 'orders of a user that count against per_user_limit, by the time that limit_window compares';
COMMENT ON INDEX seckill.orders_request IS 'at most one order per request_id of an item';
COMMENT ON INDEX seckill.orders_unit IS 'at most one order per number of an item';
COMMENT ON INDEX seckill.orders_pay_by IS 'pending orders by the time when they expire';

COMMENT ON TABLE seckill.orders IS 'successful purchases, one row each, written in the transaction that buys';
COMMENT ON COLUMN seckill.orders.item_id IS 'the item bought';
COMMENT ON COLUMN seckill.orders.order_id IS 'number of the order, from one sequence for all items; may have gaps';
COMMENT ON COLUMN seckill.orders.user_id IS 'the buyer, numbered by the application';
COMMENT ON COLUMN seckill.orders.quantity IS 'units bought';
COMMENT ON COLUMN seckill.orders.mode IS 'concurrency control that sold the order';
COMMENT ON COLUMN seckill.orders.lease_id IS 'lease that the units came from; NULL: they came from the row';
COMMENT ON COLUMN seckill.orders.request_id IS 'idempotency key of the call that made the order; a repeated call with it gets this order';
COMMENT ON COLUMN seckill.orders.limited IS 'does the order count against per_user_limit?  True for a live order of an item that had a limit when it was bought or got one later';
COMMENT ON COLUMN seckill.orders.state IS 'pending, confirmed, cancelled or expired; changed by seckill_confirm(), seckill_cancel() and the maintenance worker';
COMMENT ON COLUMN seckill.orders.pay_by IS 'time when the order expires if it is still pending; NULL: never';
COMMENT ON COLUMN seckill.orders.unit IS 'number of the unit that the order has; NULL: the units are alike, or the order has returned its unit.  An order that is not live and has a unit keeps it for good, because its code was told';
COMMENT ON COLUMN seckill.orders.redeemed_at IS 'time when the code of the unit was redeemed by seckill_redeem(); NULL: it was not, or was released';
COMMENT ON COLUMN seckill.orders.seats IS 'seats booked, ascending; NULL: the item has units';
COMMENT ON COLUMN seckill.orders.seat_legs IS 'for each of seats the legs booked, a bit for each leg';
COMMENT ON COLUMN seckill.orders.redeemed_from IS 'state of the order before its code was redeemed, to which seckill_release() returns it; NULL: it is not redeemed';
COMMENT ON COLUMN seckill.orders.created_at IS 'start of the transaction that bought the order';

-- What numbered units are worth.  Codes are secrets: no role is granted
-- anything on this table.  There is no foreign key to items, because it would
-- lock the hot row.
CREATE TABLE seckill.units (
    item_id     bigint      NOT NULL,
    unit        integer     NOT NULL CHECK (unit OPERATOR(pg_catalog.>) 0),
    code        text        CHECK (code OPERATOR(pg_catalog.<>) ''),
    prize       integer     CHECK (prize OPERATOR(pg_catalog.>) 0),
    amount      bigint      CHECK (amount OPERATOR(pg_catalog.>=) 0),
    PRIMARY KEY (item_id, unit),
    CONSTRAINT units_code_key UNIQUE (item_id, code)
);

COMMENT ON TABLE seckill.units IS 'what numbered units are worth, written before they are sold; a unit without a row is a blank';
COMMENT ON COLUMN seckill.units.item_id IS 'the item';
COMMENT ON COLUMN seckill.units.unit IS 'the number of the unit';
COMMENT ON COLUMN seckill.units.code IS 'coupon code, told to the buyer';
COMMENT ON COLUMN seckill.units.prize IS 'number of the prize that the unit wins';
COMMENT ON COLUMN seckill.units.amount IS 'amount that the unit is worth, in the smallest coin';

-- What the prizes are.  Prizes and commitments have no foreign key to items, as
-- orders have none: DELETE of an item deletes them in a trigger.
CREATE TABLE seckill.prizes (
    item_id     bigint      NOT NULL,
    prize       integer     NOT NULL CHECK (prize OPERATOR(pg_catalog.>) 0),
    title       text        NOT NULL,
    amount      bigint      CHECK (amount OPERATOR(pg_catalog.>=) 0),
    quantity    integer     CHECK (quantity OPERATOR(pg_catalog.>) 0),
    PRIMARY KEY (item_id, prize)
);

COMMENT ON TABLE seckill.prizes IS 'what the prizes of units are, for people; written by plain SQL, and fixed once a commitment covers them';
COMMENT ON COLUMN seckill.prizes.item_id IS 'the item';
COMMENT ON COLUMN seckill.prizes.prize IS 'number of the prize, as in seckill.units';
COMMENT ON COLUMN seckill.prizes.title IS 'what it is';
COMMENT ON COLUMN seckill.prizes.amount IS 'what it is worth, in the smallest coin';
COMMENT ON COLUMN seckill.prizes.quantity IS 'how many there are; seckill_audit_values() shows it beside the number of units';

-- The seed is a secret until revealed_at: no role is granted anything on this
-- table.  The view public_commitments shows the rest.
CREATE TABLE seckill.commitments (
    item_id     bigint      NOT NULL,
    first_unit  integer     NOT NULL,
    last_unit   integer     NOT NULL,
    commitment  bytea       NOT NULL,
    seed        bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    revealed_at timestamptz,
    PRIMARY KEY (item_id, first_unit)
);

COMMENT ON TABLE seckill.commitments IS 'commitments to what units are worth, made by seckill_add_units() with a seed';
COMMENT ON COLUMN seckill.commitments.item_id IS 'the item';
COMMENT ON COLUMN seckill.commitments.first_unit IS 'the first of the units that it covers';
COMMENT ON COLUMN seckill.commitments.last_unit IS 'the last of them';
COMMENT ON COLUMN seckill.commitments.commitment IS 'SHA-256 of the seed, the values of the units and their prizes, to be published before the sale';
COMMENT ON COLUMN seckill.commitments.seed IS 'the seed of the values, a secret until it is revealed';
COMMENT ON COLUMN seckill.commitments.created_at IS 'start of the transaction that made it';
COMMENT ON COLUMN seckill.commitments.revealed_at IS 'time when seckill_reveal() revealed the seed; NULL: it is a secret';

-- No foreign key to items, as on orders: DELETE of an item deletes its releases
-- in a trigger.
CREATE TABLE seckill.releases (
    item_id     bigint      NOT NULL,
    release_id  bigint      GENERATED BY DEFAULT AS IDENTITY,
    release_at  timestamptz NOT NULL,
    units       integer     NOT NULL CHECK (units OPERATOR(pg_catalog.>) 0),
    first_unit  integer     CHECK (first_unit OPERATOR(pg_catalog.>) 0),
    done_at     timestamptz,
    PRIMARY KEY (item_id, release_id),
    CONSTRAINT releases_numbers_check
        CHECK (first_unit OPERATOR(pg_catalog.+) (units OPERATOR(pg_catalog.-) 1)
               OPERATOR(pg_catalog.>) 0)
);

CREATE INDEX releases_due ON seckill.releases (release_at) WHERE done_at IS NULL;

COMMENT ON INDEX seckill.releases_due IS 'releases to be done, by their time';

COMMENT ON TABLE seckill.releases IS 'units that are put on sale at a time, by the maintenance worker; written by plain INSERT, UPDATE, DELETE and COPY while not done';
COMMENT ON COLUMN seckill.releases.item_id IS 'the item';
COMMENT ON COLUMN seckill.releases.release_id IS 'number of the release, from one sequence for all items; may have gaps';
COMMENT ON COLUMN seckill.releases.release_at IS 'time when the units are put on sale; infinity: not yet known';
COMMENT ON COLUMN seckill.releases.units IS 'units to be put on sale; they count as supplied from then on';
COMMENT ON COLUMN seckill.releases.first_unit IS 'of an item with numbered units: the first of the units, which are consecutive; NULL: units without a number';
COMMENT ON COLUMN seckill.releases.done_at IS 'time when they were put on sale; NULL: not yet; maintained by the extension';

-- The seats of items with legs.  A booking updates the rows of its seats, and
-- not that of the item: the predicate of that UPDATE keeps a leg from being
-- sold twice.  The fillfactor leaves room for HOT updates.
CREATE TABLE seckill.seats (
    item_id     bigint      NOT NULL,
    seat        integer     NOT NULL,
    block       integer     NOT NULL DEFAULT 0,
    car         integer     NOT NULL DEFAULT 0,
    label       text,
    taken       bigint      NOT NULL DEFAULT 0
                            CHECK (taken OPERATOR(pg_catalog.>=) 0),
    PRIMARY KEY (item_id, seat)
) WITH (fillfactor = 50);

COMMENT ON TABLE seckill.seats IS 'seats of items with legs, one row each; rows that are not taken are written by plain INSERT, UPDATE, DELETE and COPY';
COMMENT ON COLUMN seckill.seats.item_id IS 'the item';
COMMENT ON COLUMN seckill.seats.seat IS 'number of the seat; lower numbers are sold first';
COMMENT ON COLUMN seckill.seats.block IS 'seats with consecutive numbers in one block are beside each other';
COMMENT ON COLUMN seckill.seats.car IS 'seats with consecutive numbers in one car, or one part of a hall, are near each other';
COMMENT ON COLUMN seckill.seats.label IS 'what the seat is called; not used by the extension';
COMMENT ON COLUMN seckill.seats.taken IS 'legs that live orders have, a bit for each leg; maintained by the extension';

SELECT pg_catalog.pg_extension_config_dump('seckill.items', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.items_item_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.orders', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.orders_order_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.units', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.prizes', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.commitments', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.releases', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.releases_release_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.seats', '');

--
-- Triggers.  The WHEN clause of items_update is false for the extension's own
-- statements, so a purchase from the row fires no trigger on items.  It is a
-- single function call, because each purchase reads the clause from the catalog
-- cache and compiles it.  Every role that may UPDATE the table needs EXECUTE on
-- the function.
--

CREATE FUNCTION @extschema@.seckill_is_own()
RETURNS boolean AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_is_own() IS
'for the WHEN clause of a trigger: does the extension itself write this row?';

CREATE FUNCTION @extschema@.seckill_items_changed()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_items_changed() IS
'trigger: maintains items.supplied, ignores or refuses changes to columns that only the extension may write, and announces the change to all sessions at commit';

CREATE FUNCTION @extschema@.seckill_items_delete()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_items_delete() IS
'trigger: waits for the holders of the item, refuses to delete an item that has orders, and deletes its releases';

CREATE FUNCTION @extschema@.seckill_orders_guard()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_orders_guard() IS
'trigger: refuses to delete orders of an open lease, and to change an order by hand, except pay_by of a pending order';

CREATE FUNCTION @extschema@.seckill_orders_deleted()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_orders_deleted() IS
'trigger: takes the numbers of deleted orders out of the books of their items';

CREATE FUNCTION @extschema@.seckill_units_guard()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_units_guard() IS
'trigger: refuses to change or delete units or commitments by hand';

CREATE FUNCTION @extschema@.seckill_prizes_guard()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_prizes_guard() IS
'trigger: refuses to change or delete prizes of an item that has commitments';

CREATE FUNCTION @extschema@.seckill_releases_guard()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_releases_guard() IS
'trigger: refuses to change a release that is done, and announces one that is planned to the maintenance worker at commit';

CREATE FUNCTION @extschema@.seckill_truncated()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_truncated() IS
'trigger: refuses to truncate items that have orders or releases, orders of an open lease, or releases of items, unless these tables are truncated together; clears the stock cache at commit';

CREATE FUNCTION @extschema@.seckill_seats_changed()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_seats_changed() IS
'trigger: refuses to change or remove what orders have taken, and announces the change of the seats to all sessions at commit';

CREATE TRIGGER items_insert BEFORE INSERT ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_items_changed();

CREATE TRIGGER items_update AFTER UPDATE ON seckill.items
    FOR EACH ROW WHEN (NOT @extschema@.seckill_is_own())
    EXECUTE FUNCTION @extschema@.seckill_items_changed();

CREATE TRIGGER items_delete BEFORE DELETE ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_items_delete();

CREATE TRIGGER items_deleted AFTER DELETE ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_items_delete();

CREATE TRIGGER items_truncate AFTER TRUNCATE ON seckill.items
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER orders_update AFTER UPDATE ON seckill.orders
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_orders_guard();

CREATE TRIGGER orders_delete AFTER DELETE ON seckill.orders
    FOR EACH ROW WHEN (OLD.lease_id IS NOT NULL)
    EXECUTE FUNCTION @extschema@.seckill_orders_guard();

CREATE TRIGGER orders_deleted AFTER DELETE ON seckill.orders
    REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_orders_deleted();

CREATE TRIGGER units_guard BEFORE UPDATE OR DELETE ON seckill.units
    FOR EACH STATEMENT WHEN (NOT @extschema@.seckill_is_own())
    EXECUTE FUNCTION @extschema@.seckill_units_guard();

CREATE TRIGGER commitments_guard BEFORE UPDATE OR DELETE ON seckill.commitments
    FOR EACH STATEMENT WHEN (NOT @extschema@.seckill_is_own())
    EXECUTE FUNCTION @extschema@.seckill_units_guard();

CREATE TRIGGER prizes_guard BEFORE UPDATE OR DELETE ON seckill.prizes
    FOR EACH ROW WHEN (NOT @extschema@.seckill_is_own())
    EXECUTE FUNCTION @extschema@.seckill_prizes_guard();

CREATE TRIGGER prizes_truncate AFTER TRUNCATE ON seckill.prizes
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER commitments_truncate AFTER TRUNCATE ON seckill.commitments
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER units_truncate AFTER TRUNCATE ON seckill.units
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER orders_truncate AFTER TRUNCATE ON seckill.orders
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER releases_change AFTER INSERT OR UPDATE OR DELETE ON seckill.releases
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_releases_guard();

CREATE TRIGGER releases_truncate AFTER TRUNCATE ON seckill.releases
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER seats_insert AFTER INSERT ON seckill.seats
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_seats_changed();

CREATE TRIGGER seats_update AFTER UPDATE ON seckill.seats
    FOR EACH ROW WHEN (NOT @extschema@.seckill_is_own())
    EXECUTE FUNCTION @extschema@.seckill_seats_changed();

CREATE TRIGGER seats_delete AFTER DELETE ON seckill.seats
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_seats_changed();

CREATE TRIGGER seats_truncate AFTER TRUNCATE ON seckill.seats
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

-- ALWAYS: the cache and the maintenance worker must learn of every change, also
-- of one that a replication worker applies.
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_insert;
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_update;
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_delete;
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_truncate;
ALTER TABLE seckill.releases ENABLE ALWAYS TRIGGER releases_change;
ALTER TABLE seckill.seats ENABLE ALWAYS TRIGGER seats_insert;
ALTER TABLE seckill.seats ENABLE ALWAYS TRIGGER seats_update;
ALTER TABLE seckill.seats ENABLE ALWAYS TRIGGER seats_delete;
ALTER TABLE seckill.seats ENABLE ALWAYS TRIGGER seats_truncate;

--
-- Buying
--

-- CALLED ON NULL INPUT: a NULL argument is an error, never a silent NULL
-- result.
CREATE FUNCTION @extschema@.seckill_buy(
    item_id     bigint,
    user_id     bigint,
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    quantity    bigint DEFAULT 1,
    request_id  uuid DEFAULT NULL,
    token       text DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_buy(bigint, bigint, @extschema@.seckill_mode, bigint, uuid, text) IS
'buy quantity units of an item for a user with the given concurrency control; order_id is NULL unless sold; a request_id that was used before returns its order, or raises an error if the user or quantity differs';

CREATE FUNCTION @extschema@.seckill_buy_many(
    item_id     bigint,
    user_ids    bigint[],
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    quantities  bigint[] DEFAULT NULL,
    OUT user_id bigint,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_buy_many(bigint, bigint[], @extschema@.seckill_mode, uuid[], text[], bigint[]) IS
'buy units of an item for each user of the array, in array order, at the cost of about one purchase; quantities: one unit each if NULL; returns one row per element, in the same order';

-- A name of its own, not an overload: drivers that leave the types of
-- parameters to the server could call neither.
CREATE FUNCTION @extschema@.seckill_buy_items(
    item_ids    bigint[],
    user_ids    bigint[],
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    quantities  bigint[] DEFAULT NULL,
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    OUT item_id bigint,
    OUT user_id bigint,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_buy_items(bigint[], bigint[], @extschema@.seckill_mode, bigint[], uuid[], text[]) IS
'buy, for each element of the arrays, units of an item for a user, at the cost of about one purchase per item; returns one row per element, in array order';

CREATE FUNCTION @extschema@.seckill_claim(
    item_id     bigint,
    user_id     bigint,
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    request_id  uuid DEFAULT NULL,
    token       text DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint,
    OUT unit    integer,
    OUT code    text,
    OUT prize   integer,
    OUT amount  bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_claim(bigint, bigint, @extschema@.seckill_mode, uuid, text) IS
'buy one unit of an item whose units have numbers, and tell its number and, from the state reveal_on of the order on, its code, prize and amount; a request_id that was used before tells the same unit again';

CREATE FUNCTION @extschema@.seckill_claim_many(
    item_id     bigint,
    user_ids    bigint[],
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    OUT user_id bigint,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint,
    OUT unit    integer,
    OUT code    text,
    OUT prize   integer,
    OUT amount  bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_claim_many(bigint, bigint[], @extschema@.seckill_mode, uuid[], text[]) IS
'claim one unit for each user of the array, in array order, at the cost of about one claim; returns one row per element, in the same order';

CREATE FUNCTION @extschema@.seckill_unit(
    item_id     bigint,
    order_id    bigint,
    OUT unit    integer,
    OUT code    text,
    OUT prize   integer,
    OUT amount  bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_unit(bigint, bigint) IS
'the unit of an order and what it is worth, as seckill_claim() tells them; NULL where nothing is told';

CREATE FUNCTION @extschema@.seckill_submit(
    item_id     bigint,
    user_id     bigint,
    quantity    bigint DEFAULT 1,
    request_id  uuid DEFAULT NULL,
    token       text DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT ticket  bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_submit(bigint, bigint, bigint, uuid, text) IS
'put a purchase into the queue without waiting for its decision; returns queued with a ticket for seckill_result(), busy, or a refusal';

CREATE FUNCTION @extschema@.seckill_submit_many(
    item_ids    bigint[],
    user_ids    bigint[],
    quantities  bigint[] DEFAULT NULL,
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    OUT item_id bigint,
    OUT user_id bigint,
    OUT outcome @extschema@.seckill_outcome,
    OUT ticket  bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_submit_many(bigint[], bigint[], bigint[], uuid[], text[]) IS
'put a purchase for each element of the arrays into the queue, in array order; returns one row per element, in the same order: queued with a ticket for seckill_result_many(), busy from the first one on that finds the queue full, or a refusal';

CREATE FUNCTION @extschema@.seckill_result(
    ticket      bigint,
    wait        interval DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_result(bigint, interval) IS
'outcome of a queued purchase, waiting at most wait for its decision (NULL: no wait); queued while it is undecided';

CREATE FUNCTION @extschema@.seckill_result_many(
    tickets     bigint[],
    wait        interval DEFAULT NULL,
    OUT ticket  bigint,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint,
    OUT sqlstate text,
    OUT message text)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_result_many(bigint[], interval) IS
'what is known of each ticket, in array order: its outcome, or the sqlstate and message that seckill_result() raises; if all are queued, waits at most wait for the first decision (NULL: no wait)';

CREATE FUNCTION @extschema@.seckill_token(
    item_id     bigint,
    user_id     bigint,
    valid_for   interval DEFAULT '5 minutes')
RETURNS text AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_token(bigint, bigint, interval) IS
'token with which a user can buy an item that has require_token, valid from now on for valid_for';

--
-- Seats
--

CREATE FUNCTION @extschema@.seckill_book(
    item_id     bigint,
    user_id     bigint,
    from_stop   bigint,
    to_stop     bigint,
    quantity    bigint DEFAULT 1,
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    together    text DEFAULT 'prefer',
    max_changes bigint DEFAULT 0,
    seats       bigint[] DEFAULT NULL,
    request_id  uuid DEFAULT NULL,
    token       text DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint,
    OUT seats   integer[],
    OUT seat_legs bigint[])
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_book(bigint, bigint, bigint, bigint, bigint, @extschema@.seckill_mode, text, bigint, bigint[], uuid, text) IS
'book quantity seats of an item with legs from one stop to another: the given seats, or those that fit best, beside each other if need or prefer says so, with at most max_changes changes of seat for each passenger; returns the seats and their legs';

CREATE FUNCTION @extschema@.seckill_block_seats(
    item_id     bigint,
    seats       bigint[],
    from_stop   bigint DEFAULT 0,
    to_stop     bigint DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_block_seats(bigint, bigint[], bigint, bigint) IS
'take these seats off sale, by an order of user 0; seckill_cancel() with refund puts them back';

CREATE FUNCTION @extschema@.seckill_free_seats(
    item_id     bigint,
    OUT from_stop integer,
    OUT to_stop integer,
    OUT seats   integer)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_free_seats(bigint) IS
'for each pair of stops, the seats that are free all the way';

CREATE FUNCTION @extschema@.seckill_seat_map(
    item_id     bigint,
    from_stop   bigint DEFAULT 0,
    to_stop     bigint DEFAULT NULL,
    OUT seat    integer,
    OUT block   integer,
    OUT car     integer,
    OUT label   text,
    OUT state   text)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_seat_map(bigint, bigint, bigint) IS
'each seat of an item: free between the stops, held by a running transaction, or taken';

--
-- After the purchase
--

CREATE FUNCTION @extschema@.seckill_confirm(
    item_id     bigint,
    order_id    bigint)
RETURNS @extschema@.seckill_order_state AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_confirm(bigint, bigint) IS
'confirm an order that is paid; an expired order is confirmed if units are left for it, and stays expired otherwise; returns the new state';

CREATE FUNCTION @extschema@.seckill_cancel(
    item_id     bigint,
    order_id    bigint,
    refund      boolean DEFAULT false)
RETURNS @extschema@.seckill_order_state AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_cancel(bigint, bigint, boolean) IS
'cancel a pending order, or with refund also a confirmed one, and put its units back on sale; returns the new state';

CREATE FUNCTION @extschema@.seckill_redeem(
    item_id     bigint,
    code        text,
    user_id     bigint,
    OUT outcome @extschema@.seckill_redeem_outcome,
    OUT order_id bigint,
    OUT state   @extschema@.seckill_order_state)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_redeem(bigint, text, bigint) IS
'redeem the code of a unit for the user who bought it, once; confirms a pending order; codes that the user does not have are all unknown';

CREATE FUNCTION @extschema@.seckill_release(
    item_id     bigint,
    order_id    bigint)
RETURNS @extschema@.seckill_order_state AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_release(bigint, bigint) IS
'make the redeemed code of an order redeemable again; an order that was pending is pending again until its pay_by, and expired after that; returns its state';

CREATE FUNCTION @extschema@.seckill_write_off(
    item_id     bigint,
    units       bigint)
RETURNS bigint AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_write_off(bigint, bigint) IS
'subtract from supplied the units of orders that were moved out of the table, which reduces the difference that seckill_audit() shows; returns the new supplied';

--
-- One item
--

CREATE FUNCTION @extschema@.seckill_put_item(
    item_id     bigint,
    settings    jsonb)
RETURNS boolean AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_put_item(bigint, jsonb) IS
'create an item with these settings and its stock, or change only these settings of an existing item (null: reset); true if the item was created';

CREATE FUNCTION @extschema@.seckill_restock(
    item_id     bigint,
    units       bigint)
RETURNS bigint AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_restock(bigint, bigint) IS
'put units of an item on sale or, if negative, take them off sale; returns the units that can be bought afterwards';

CREATE FUNCTION @extschema@.seckill_set_available(
    item_id     bigint,
    units       bigint)
RETURNS bigint AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_set_available(bigint, bigint) IS
'make exactly this number of units available when this transaction commits, after waiting for transactions that hold units; returns the units put on sale or, negative, taken off sale';

CREATE FUNCTION @extschema@.seckill_item(
    item_id     bigint,
    OUT title   text,
    OUT starts_at timestamptz,
    OUT ends_at timestamptz,
    OUT per_user_limit integer,
    OUT limit_window interval,
    OUT require_token boolean,
    OUT pay_within interval,
    OUT user_rate real,
    OUT user_burst integer,
    OUT max_waiters integer,
    OUT numbered boolean,
    OUT reveal_on @extschema@.seckill_order_state,
    OUT legs    integer,
    OUT state   text,
    OUT available bigint,
    OUT unsettled integer)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_item(bigint) IS
'settings of an item, its state (upcoming, on_sale, sold_out, ended), units available on its row and in the stock cache, and an upper bound of the units in an unsettled lease of a lost cache; does not count orders, nor seats, whose items have no number of units available';

CREATE FUNCTION @extschema@.seckill_order(
    item_id     bigint,
    order_id    bigint,
    OUT user_id bigint,
    OUT quantity integer,
    OUT state   @extschema@.seckill_order_state,
    OUT created_at timestamptz,
    OUT pay_by  timestamptz,
    OUT mode    @extschema@.seckill_mode,
    OUT request_id uuid)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_order(bigint, bigint) IS
'the latest committed state of an order, or that of this transaction';

--
-- Units with values
--

CREATE FUNCTION @extschema@.seckill_add_units(
    item_id     bigint,
    codes       text[] DEFAULT NULL,
    prizes      integer[] DEFAULT NULL,
    amounts     bigint[] DEFAULT NULL,
    seed        bytea DEFAULT NULL,
    release_at  timestamptz DEFAULT NULL,
    OUT first_unit integer,
    OUT added   integer,
    OUT duplicates text[])
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_add_units(bigint, text[], integer[], bigint[], bytea, timestamptz) IS
'put units with these codes, prizes and amounts on sale, one for each element of the arrays; codes that are there already are left out and returned; a seed makes a commitment to prizes and amounts; release_at: they are put on sale at that time (NULL: at once)';

CREATE FUNCTION @extschema@.seckill_close(
    item_id     bigint,
    OUT units   integer,
    OUT amount  bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_close(bigint) IS
'end the sale of an item and take the units that are left off sale, after waiting for transactions that hold some; returns their number and the sum of their amounts, each unit once; units that come back later are told by the next call';

CREATE FUNCTION @extschema@.seckill_reveal(
    item_id     bigint,
    OUT first_unit integer,
    OUT last_unit integer,
    OUT commitment bytea,
    OUT seed    bytea,
    OUT unchanged boolean)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_reveal(bigint) IS
'reveal the seeds of an item whose sale is over and that has no unit left and no pending order; unchanged: the values are those that the commitment was made for';

--
-- Moving units between row and stock cache
--

CREATE FUNCTION @extschema@.seckill_prewarm(
    item_id     bigint,
    units       bigint DEFAULT NULL)
RETURNS integer AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_prewarm(bigint, bigint) IS
'lease units (NULL: all) of an item to the stock cache; returns the units leased, which the cache sells once this transaction commits';

CREATE FUNCTION @extschema@.seckill_recall(item_id bigint)
RETURNS integer AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_recall(bigint) IS
'return the units that the stock cache still has of an item to its row; returns their number';

CREATE FUNCTION @extschema@.seckill_cache(
    OUT item_id     bigint,
    OUT lease_id    bigint,
    OUT cached      integer,
    OUT held        integer,
    OUT sold_out    boolean,
    OUT hot         boolean)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_cache() IS
'entries of the stock cache for the items of this database; no rows without shared_preload_libraries';

--
-- Views and statistics
--

CREATE VIEW seckill.stock AS
SELECT i.item_id, i.title, i.stock, i.leased,
    CASE WHEN c.lease_id OPERATOR(pg_catalog.=) i.lease_id THEN c.cached END
        AS cached,
    CASE WHEN c.lease_id OPERATOR(pg_catalog.=) i.lease_id THEN c.held END
        AS held,
    o.sold, o.pending,
    CASE WHEN c.hot THEN 'cache'::@extschema@.seckill_mode ELSE 'retry' END
        AS auto_mode,
    CASE
        WHEN pg_catalog.clock_timestamp() OPERATOR(pg_catalog.<) i.starts_at
            THEN 'upcoming'
        WHEN pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) i.ends_at
            THEN 'ended'
        WHEN i.legs IS NULL AND
             i.stock OPERATOR(pg_catalog.+) (i.leased OPERATOR(pg_catalog.-) o.on_lease)
             OPERATOR(pg_catalog.<=) 0
            THEN 'sold_out'
        WHEN i.legs IS NOT NULL AND NOT EXISTS (
                SELECT FROM seckill.seats s
                WHERE s.item_id OPERATOR(pg_catalog.=) i.item_id
                    AND s.taken OPERATOR(pg_catalog.<>)
                        (9223372036854775807 OPERATOR(pg_catalog.>>)
                            (63 OPERATOR(pg_catalog.-) i.legs)))
            THEN 'sold_out'
        ELSE 'on_sale'
    END AS state,
    r.planned, r.next_release
FROM seckill.items i
    CROSS JOIN LATERAL (
        SELECT coalesce(pg_catalog.sum(q.quantity) FILTER (
                WHERE q.state OPERATOR(pg_catalog.=) ANY ('{pending,confirmed}')), 0)::pg_catalog.int8
                AS sold,
            coalesce(pg_catalog.sum(q.quantity) FILTER (
                WHERE q.state OPERATOR(pg_catalog.=) 'pending'), 0)::pg_catalog.int8
                AS pending,
            coalesce(pg_catalog.sum(q.quantity) FILTER (
                WHERE q.lease_id OPERATOR(pg_catalog.=) i.lease_id), 0)::pg_catalog.int8
                AS on_lease
        FROM seckill.orders q
        WHERE q.item_id OPERATOR(pg_catalog.=) i.item_id) o
    CROSS JOIN LATERAL (
        SELECT coalesce(pg_catalog.sum(p.units), 0)::pg_catalog.int8 AS planned,
            pg_catalog.min(p.release_at) AS next_release
        FROM seckill.releases p
        WHERE p.item_id OPERATOR(pg_catalog.=) i.item_id AND p.done_at IS NULL) r
    LEFT JOIN @extschema@.seckill_cache() c
        ON c.item_id OPERATOR(pg_catalog.=) i.item_id;

COMMENT ON VIEW seckill.stock IS 'where the units of each item are now: on the row, in the cache, held, sold';
COMMENT ON COLUMN seckill.stock.item_id IS 'the item';
COMMENT ON COLUMN seckill.stock.title IS 'its title';
COMMENT ON COLUMN seckill.stock.stock IS 'units on the row: neither sold nor leased';
COMMENT ON COLUMN seckill.stock.leased IS 'units that the open lease took from the row, including those it has sold';
COMMENT ON COLUMN seckill.stock.cached IS 'units of the open lease that the stock cache can sell now; NULL: no open lease in memory';
COMMENT ON COLUMN seckill.stock.held IS 'units on hold: running transactions have taken them from the cache or are leasing them to it; NULL: no open lease in memory';
COMMENT ON COLUMN seckill.stock.sold IS 'units of live orders: confirmed or pending';
COMMENT ON COLUMN seckill.stock.pending IS 'units of pending orders';
COMMENT ON COLUMN seckill.stock.auto_mode IS 'mode that auto would choose now: cache while the item is hot, otherwise retry';
COMMENT ON COLUMN seckill.stock.state IS 'upcoming, on_sale, sold_out (no units left, except those that running transactions hold; no leg of a seat left) or ended';
COMMENT ON COLUMN seckill.stock.planned IS 'units of releases that are not done yet; they are in no other column';
COMMENT ON COLUMN seckill.stock.next_release IS 'time of the first of these releases; NULL: none';

-- The columns from calls to max_time are the values of enum CallStat in
-- src/shmem/stat.h, in its order; among them is one for each outcome, in the
-- order of seckill_outcome.
CREATE FUNCTION @extschema@.seckill_stat_items(
    OUT item_id     bigint,
    OUT mode        @extschema@.seckill_mode,
    OUT calls       bigint,
    OUT sold        bigint,
    OUT sold_out    bigint,
    OUT conflict    bigint,
    OUT not_started bigint,
    OUT ended       bigint,
    OUT queued      bigint,
    OUT busy        bigint,
    OUT limit_reached bigint,
    OUT denied      bigint,
    OUT rate_limited bigint,
    OUT request_reused bigint,
    OUT unknown_item bigint,
    OUT seat_taken  bigint,
    OUT moved       bigint,
    OUT units       bigint,
    OUT retries     bigint,
    OUT refills     bigint,
    OUT waits       bigint,
    OUT wait_time   double precision,
    OUT total_time  double precision,
    OUT max_time    double precision,
    OUT stats_reset timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_stat_items() IS
'calls that were answered, per item of this database and mode; no rows without shared_preload_libraries';

CREATE VIEW seckill.stat_items AS
SELECT * FROM @extschema@.seckill_stat_items();

COMMENT ON VIEW seckill.stat_items IS 'calls that were answered, per item and mode, since the item got its cache entry or the statistics were reset';
COMMENT ON COLUMN seckill.stat_items.item_id IS 'the item; NULL: all items that got no cache entry';
COMMENT ON COLUMN seckill.stat_items.mode IS 'the mode that served the call, or, for calls refused before, the mode asked for';
COMMENT ON COLUMN seckill.stat_items.calls IS 'purchases that were answered; each element of an array is one';
COMMENT ON COLUMN seckill.stat_items.sold IS 'answers "sold", including those that return the order of an earlier call with the same request_id';
COMMENT ON COLUMN seckill.stat_items.sold_out IS 'answers "sold_out"';
COMMENT ON COLUMN seckill.stat_items.conflict IS 'answers "conflict"';
COMMENT ON COLUMN seckill.stat_items.not_started IS 'answers "not_started"';
COMMENT ON COLUMN seckill.stat_items.ended IS 'answers "ended"';
COMMENT ON COLUMN seckill.stat_items.queued IS 'answers "queued" of submissions; the later decision is counted under its own outcome, too';
COMMENT ON COLUMN seckill.stat_items.busy IS 'answers "busy"';
COMMENT ON COLUMN seckill.stat_items.limit_reached IS 'answers "limit_reached"';
COMMENT ON COLUMN seckill.stat_items.denied IS 'answers "denied"';
COMMENT ON COLUMN seckill.stat_items.rate_limited IS 'answers "rate_limited"';
COMMENT ON COLUMN seckill.stat_items.request_reused IS 'answers "request_reused" of calls for many, and tickets whose request_id was used for another purchase';
COMMENT ON COLUMN seckill.stat_items.unknown_item IS 'answers "unknown_item" of calls for many';
COMMENT ON COLUMN seckill.stat_items.seat_taken IS 'answers "seat_taken"';
COMMENT ON COLUMN seckill.stat_items.moved IS 'answers "moved"';
COMMENT ON COLUMN seckill.stat_items.units IS 'units of new orders, including those that were rolled back later';
COMMENT ON COLUMN seckill.stat_items.retries IS 'lost races after which mode retry retried';
COMMENT ON COLUMN seckill.stat_items.refills IS 'refills of the stock cache by these calls';
COMMENT ON COLUMN seckill.stat_items.waits IS 'waits for the item lock, for the refiller, for a holder of units, or for a purchase of the same user or request';
COMMENT ON COLUMN seckill.stat_items.wait_time IS 'total time of these waits, in milliseconds';
COMMENT ON COLUMN seckill.stat_items.total_time IS 'total time from call to answer, without the commit, in milliseconds';
COMMENT ON COLUMN seckill.stat_items.max_time IS 'longest time from call to answer, in milliseconds';
COMMENT ON COLUMN seckill.stat_items.stats_reset IS 'time since which this row has been counting';

-- The columns between backlog and stats_reset are the values of enum
-- SeckillStat in src/shmem/stat.h, in its order.
CREATE FUNCTION @extschema@.seckill_stat_worker(
    OUT pid         integer,
    OUT backlog     bigint,
    OUT starts      bigint,
    OUT batches     bigint,
    OUT decided     bigint,
    OUT deferred    bigint,
    OUT failed      bigint,
    OUT settles     bigint,
    OUT settled_units bigint,
    OUT refills     bigint,
    OUT sql_writes  bigint,
    OUT expired_orders bigint,
    OUT expiry_batches bigint,
    OUT prewarms    bigint,
    OUT releases    bigint,
    OUT map_loads   bigint,
    OUT map_corrections bigint,
    OUT seats_missed bigint,
    OUT stats_reset timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_stat_worker() IS
'counters of the background processes of this database; no row without shared_preload_libraries';

CREATE VIEW seckill.stat_worker AS
SELECT * FROM @extschema@.seckill_stat_worker();

COMMENT ON VIEW seckill.stat_worker IS 'one row: the queue and the background processes of this database';
COMMENT ON COLUMN seckill.stat_worker.pid IS 'process ID of the queue worker; NULL: none is running';
COMMENT ON COLUMN seckill.stat_worker.backlog IS 'undecided purchases in the queue';
COMMENT ON COLUMN seckill.stat_worker.starts IS 'starts of a queue worker';
COMMENT ON COLUMN seckill.stat_worker.batches IS 'transactions in which the queue worker decided purchases';
COMMENT ON COLUMN seckill.stat_worker.decided IS 'purchases that the queue worker decided';
COMMENT ON COLUMN seckill.stat_worker.deferred IS 'times a purchase was deferred to a later batch because it would have had to wait';
COMMENT ON COLUMN seckill.stat_worker.failed IS 'purchases that were answered with an error';
COMMENT ON COLUMN seckill.stat_worker.settles IS 'dead leases, of a lost cache or closed by a recall, that any process has settled';
COMMENT ON COLUMN seckill.stat_worker.settled_units IS 'units that settles returned to their rows';
COMMENT ON COLUMN seckill.stat_worker.refills IS 'refills of the stock cache by buyers';
COMMENT ON COLUMN seckill.stat_worker.sql_writes IS 'times that orders were written, rows of items locked or written, or seats taken, by SQL, because the tables have more than the extension made, or seckill.direct_writes is off';
COMMENT ON COLUMN seckill.stat_worker.expired_orders IS 'orders that expired';
COMMENT ON COLUMN seckill.stat_worker.expiry_batches IS 'transactions in which orders expired';
COMMENT ON COLUMN seckill.stat_worker.prewarms IS 'items prewarmed ahead of the opening of their sale';
COMMENT ON COLUMN seckill.stat_worker.releases IS 'releases whose units the maintenance worker has put on sale';
COMMENT ON COLUMN seckill.stat_worker.map_loads IS 'seat maps that any process has read from the table';
COMMENT ON COLUMN seckill.stat_worker.map_corrections IS 'times that a seat map said less was free than the table, and was corrected';
COMMENT ON COLUMN seckill.stat_worker.seats_missed IS 'times that a chosen seat was taken by the time its row was updated, and another was chosen';
COMMENT ON COLUMN seckill.stat_worker.stats_reset IS 'time since which this row has been counting';

CREATE FUNCTION @extschema@.seckill_stat_reset()
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_stat_reset() IS
'reset all statistics of this database to zero';

-- Both sides of the conservation law, and where each number is, read with one
-- snapshot.  Numbers of a lease that are not sold are in no place that a
-- statement can see, so only their count is compared.
CREATE FUNCTION @extschema@.seckill_audit(
    item            bigint DEFAULT NULL,
    OUT item_id     bigint,
    OUT supplied    bigint,
    OUT stock       bigint,
    OUT unsold      bigint,
    OUT sold        bigint,
    OUT accounted   bigint,
    OUT difference  bigint,
    OUT burnt       bigint,
    OUT twice       int8multirange,
    OUT missing     bigint,
    OUT foreign_numbers int8multirange,
    OUT double_sold bigint)
RETURNS SETOF record
LANGUAGE sql CALLED ON NULL INPUT STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT i.item_id, i.supplied, i.stock,
        i.leased OPERATOR(pg_catalog.-) o.on_lease,
        o.sold,
        a.accounted,
        i.supplied OPERATOR(pg_catalog.-) a.accounted,
        CASE WHEN i.numbered THEN o.burnt END,
        n.twice,
        @extschema@.seckill_count(n.universe OPERATOR(pg_catalog.-) n.found)
            OPERATOR(pg_catalog.-) (i.leased OPERATOR(pg_catalog.-) o.on_lease),
        n.found OPERATOR(pg_catalog.-) n.universe,
        n.double_sold
    FROM seckill.items i
        CROSS JOIN LATERAL (
            SELECT coalesce(pg_catalog.sum(q.quantity) FILTER (
                    WHERE q.state OPERATOR(pg_catalog.=) ANY ('{pending,confirmed}')), 0)::pg_catalog.int8
                    AS sold,
                coalesce(pg_catalog.sum(q.quantity) FILTER (
                    WHERE q.lease_id OPERATOR(pg_catalog.=) i.lease_id), 0)::pg_catalog.int8
                    AS on_lease,
                coalesce(pg_catalog.sum(q.quantity) FILTER (
                    WHERE q.unit IS NOT NULL
                        AND q.state OPERATOR(pg_catalog.<>) ALL ('{pending,confirmed}')), 0)::pg_catalog.int8
                    AS burnt
            FROM seckill.orders q
            WHERE q.item_id OPERATOR(pg_catalog.=) i.item_id) o
        CROSS JOIN LATERAL (
            SELECT i.stock OPERATOR(pg_catalog.+)
                greatest(i.leased OPERATOR(pg_catalog.-) o.on_lease, 0)
                OPERATOR(pg_catalog.+) o.sold OPERATOR(pg_catalog.+) o.burnt
                AS accounted) a
        LEFT JOIN LATERAL (
            SELECT (i.numbers OPERATOR(pg_catalog.*) i.off_sale)
                    OPERATOR(pg_catalog.+) (i.numbers OPERATOR(pg_catalog.*) s.numbers)
                    OPERATOR(pg_catalog.+) (i.off_sale OPERATOR(pg_catalog.*) s.numbers)
                    AS twice,
                i.numbers OPERATOR(pg_catalog.+) i.off_sale
                    OPERATOR(pg_catalog.+) s.numbers AS found,
                @extschema@.seckill_own_numbers(i.item_id, i.split_over,
                    i.supplied OPERATOR(pg_catalog.+)
                        @extschema@.seckill_count(i.off_sale)) AS universe,
                s.double_sold
            FROM (
                SELECT coalesce(pg_catalog.range_agg(pg_catalog.int8range(
                        q.unit, q.unit::pg_catalog.int8, '[]')), '{}') AS numbers,
                    pg_catalog.count(q.unit) OPERATOR(pg_catalog.-)
                        pg_catalog.count(DISTINCT q.unit) AS double_sold
                FROM seckill.orders q
                WHERE q.item_id OPERATOR(pg_catalog.=) i.item_id
                    AND q.unit IS NOT NULL) s) n ON i.numbered
    WHERE i.legs IS NULL
        AND (seckill_audit.item IS NULL
            OR i.item_id OPERATOR(pg_catalog.=) seckill_audit.item)
    ORDER BY i.item_id;
END;

COMMENT ON FUNCTION @extschema@.seckill_audit(bigint) IS
'check of the conservation law, one row per item with units (NULL: all of them): compares supplied with accounted = stock + unsold units of the open lease + units of live orders + burnt; difference must be 0.  Where units have numbers, burnt counts those that dead orders keep because their code was told, twice and foreign_numbers must be empty sets, and missing and double_sold must be 0';

-- The law of seats: a seat has no leg twice, and its row says what its live
-- orders have.  Read with one snapshot.
CREATE FUNCTION @extschema@.seckill_audit_seats(
    item            bigint DEFAULT NULL,
    OUT item_id     bigint,
    OUT seats       bigint,
    OUT seat_legs   bigint,
    OUT taken       bigint,
    OUT sold        bigint,
    OUT sold_twice  bigint,
    OUT different   bigint)
RETURNS SETOF record
LANGUAGE sql CALLED ON NULL INPUT STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT i.item_id,
        a.seats,
        a.seats OPERATOR(pg_catalog.*) i.legs,
        a.taken,
        a.sold,
        a.sold OPERATOR(pg_catalog.-) a.once,
        a.different
    FROM seckill.items i
        CROSS JOIN LATERAL (
            SELECT pg_catalog.count(s.seat) AS seats,
                coalesce(pg_catalog.sum(pg_catalog.bit_count(s.taken::pg_catalog.bit(64))), 0)::pg_catalog.int8
                    AS taken,
                coalesce(pg_catalog.sum(o.sold), 0)::pg_catalog.int8 AS sold,
                coalesce(pg_catalog.sum(pg_catalog.bit_count(o.legs::pg_catalog.bit(64))), 0)::pg_catalog.int8
                    AS once,
                pg_catalog.count(1) FILTER (WHERE coalesce(s.taken, 0)
                    OPERATOR(pg_catalog.<>) coalesce(o.legs, 0)) AS different
            FROM (
                    SELECT t.seat, t.taken
                    FROM seckill.seats t
                    WHERE t.item_id OPERATOR(pg_catalog.=) i.item_id) s
                FULL JOIN (
                    SELECT p.seat, pg_catalog.bit_or(p.legs) AS legs,
                        pg_catalog.sum(pg_catalog.bit_count(p.legs::pg_catalog.bit(64))) AS sold
                    FROM seckill.orders q
                        CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(q.seats),
                            pg_catalog.unnest(q.seat_legs)) AS p(seat, legs)
                    WHERE q.item_id OPERATOR(pg_catalog.=) i.item_id
                        AND q.state OPERATOR(pg_catalog.=) ANY ('{pending,confirmed}')
                    GROUP BY p.seat) o
                ON o.seat OPERATOR(pg_catalog.=) s.seat) a
    WHERE i.legs IS NOT NULL
        AND (seckill_audit_seats.item IS NULL
            OR i.item_id OPERATOR(pg_catalog.=) seckill_audit_seats.item)
    ORDER BY i.item_id;
END;

COMMENT ON FUNCTION @extschema@.seckill_audit_seats(bigint) IS
'check of the seats, one row per item with legs (NULL: all of them): legs of seats that are there, taken, and sold by live orders; legs sold more than once, and seats whose taken is not what their live orders have, must be 0';

-- Where the values of units are: both sides of a law per item and prize.  A unit
-- is on the row, off sale, with an order or, if it is in none of these places, in
-- the lease; one that is in two places, or was never supplied, shows as a
-- difference.
CREATE FUNCTION @extschema@.seckill_audit_values(
    item            bigint DEFAULT NULL,
    OUT item_id     bigint,
    OUT prize       integer,
    OUT promised    integer,
    OUT units       bigint,
    OUT given       bigint,
    OUT burnt       bigint,
    OUT unsold      bigint,
    OUT closed      bigint,
    OUT difference  bigint,
    OUT amount      bigint,
    OUT given_amount bigint,
    OUT burnt_amount bigint,
    OUT unsold_amount bigint,
    OUT closed_amount bigint,
    OUT amount_difference bigint)
RETURNS SETOF record
LANGUAGE sql CALLED ON NULL INPUT STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT i.item_id, v.prize, v.promised, v.units, v.given, v.burnt, v.unsold,
        v.closed,
        v.units OPERATOR(pg_catalog.-) (v.given OPERATOR(pg_catalog.+) v.burnt
            OPERATOR(pg_catalog.+) v.unsold OPERATOR(pg_catalog.+) v.closed),
        v.amount, v.given_amount, v.burnt_amount, v.unsold_amount,
        v.closed_amount,
        v.amount OPERATOR(pg_catalog.-) (v.given_amount
            OPERATOR(pg_catalog.+) v.burnt_amount
            OPERATOR(pg_catalog.+) v.unsold_amount
            OPERATOR(pg_catalog.+) v.closed_amount)
    FROM seckill.items i
        CROSS JOIN LATERAL (
            SELECT @extschema@.seckill_own_numbers(i.item_id, i.split_over,
                    i.supplied OPERATOR(pg_catalog.+)
                        @extschema@.seckill_count(i.off_sale)) AS numbers
            OFFSET 0) d
        CROSS JOIN LATERAL (
            SELECT coalesce(s.prize, p.prize) AS prize,
                p.quantity AS promised,
                coalesce(s.units, 0) AS units,
                coalesce(s.given, 0) AS given,
                coalesce(s.burnt, 0) AS burnt,
                coalesce(s.unsold, 0) AS unsold,
                coalesce(s.closed, 0) AS closed,
                coalesce(s.amount, 0)::pg_catalog.int8 AS amount,
                coalesce(s.given_amount, 0)::pg_catalog.int8 AS given_amount,
                coalesce(s.burnt_amount, 0)::pg_catalog.int8 AS burnt_amount,
                coalesce(s.unsold_amount, 0)::pg_catalog.int8 AS unsold_amount,
                coalesce(s.closed_amount, 0)::pg_catalog.int8 AS closed_amount
            FROM (
                SELECT w.prize,
                    pg_catalog.count(*) AS units,
                    pg_catalog.count(*) FILTER (WHERE w.live) AS given,
                    pg_catalog.count(*) FILTER (WHERE NOT w.live) AS burnt,
                    pg_catalog.count(*) FILTER (WHERE w.on_row OR w.leased) AS unsold,
                    pg_catalog.count(*) FILTER (WHERE w.off) AS closed,
                    pg_catalog.sum(w.amount) AS amount,
                    pg_catalog.sum(w.amount) FILTER (WHERE w.live) AS given_amount,
                    pg_catalog.sum(w.amount) FILTER (WHERE NOT w.live) AS burnt_amount,
                    pg_catalog.sum(w.amount) FILTER (WHERE w.on_row OR w.leased)
                        AS unsold_amount,
                    pg_catalog.sum(w.amount) FILTER (WHERE w.off) AS closed_amount
                FROM (
                    SELECT u.prize, u.amount,
                        o.state OPERATOR(pg_catalog.=) ANY ('{pending,confirmed}')
                            AS live,
                        n.on_row, n.off,
                        NOT n.on_row AND NOT n.off AND o.unit IS NULL
                            AND n.own AS leased
                    FROM seckill.units u
                        CROSS JOIN LATERAL (
                            SELECT i.numbers OPERATOR(pg_catalog.@>)
                                    u.unit::pg_catalog.int8 AS on_row,
                                i.off_sale OPERATOR(pg_catalog.@>)
                                    u.unit::pg_catalog.int8 AS off,
                                d.numbers OPERATOR(pg_catalog.@>)
                                    u.unit::pg_catalog.int8 AS own) n
                        LEFT JOIN seckill.orders o
                            ON o.item_id OPERATOR(pg_catalog.=) u.item_id
                            AND o.unit OPERATOR(pg_catalog.=) u.unit
                    WHERE u.item_id OPERATOR(pg_catalog.=) i.item_id
                        AND (n.own OR i.split_over IS NULL)) w
                GROUP BY w.prize) s
                FULL JOIN (
                    SELECT q.prize, q.quantity
                    FROM seckill.prizes q
                    WHERE q.item_id OPERATOR(pg_catalog.=) i.item_id) p
                    ON p.prize OPERATOR(pg_catalog.=) s.prize) v
    WHERE i.numbered
        AND (seckill_audit_values.item IS NULL
             OR i.item_id OPERATOR(pg_catalog.=) seckill_audit_values.item)
    ORDER BY i.item_id, v.prize;
END;

COMMENT ON FUNCTION @extschema@.seckill_audit_values(bigint) IS
'check of the values of units, one row per item and prize (a prize of NULL: units without one; item NULL: all items): units and their amounts = those of live orders (given) + kept by dead orders because their code was told (burnt) + not sold (unsold) + off sale (closed); difference and amount_difference must be 0; promised is the quantity of seckill.prizes.  Of an item that is split over nodes: the units that this node has';

CREATE VIEW seckill.envelopes AS
SELECT i.item_id,
    CASE WHEN i.split_over IS NULL THEN s.total::pg_catalog.int8 END AS total,
    CASE WHEN i.split_over IS NULL THEN s.shares END AS shares,
    s.taken,
    s.given::pg_catalog.int8 AS given,
    CASE WHEN i.split_over IS NULL THEN s.left_amount::pg_catalog.int8 END
        AS left_amount,
    OPERATOR(pg_catalog.-) s.best[2] AS best_order_id,
    coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) i.ends_at,
             false) AS ended
FROM seckill.items i
    CROSS JOIN LATERAL (
        SELECT pg_catalog.sum(w.amount) AS total,
            pg_catalog.count(*) AS shares,
            pg_catalog.count(*) FILTER (WHERE w.live) AS taken,
            coalesce(pg_catalog.sum(w.amount) FILTER (WHERE w.live), 0) AS given,
            coalesce(pg_catalog.sum(w.amount) FILTER (
                WHERE w.unit IS NULL
                    AND NOT i.off_sale OPERATOR(pg_catalog.@>) w.number), 0)
                AS left_amount,
            pg_catalog.max(ARRAY[w.amount, OPERATOR(pg_catalog.-) w.order_id]) FILTER (WHERE w.live)
                AS best
        FROM (
            SELECT u.amount, u.unit::pg_catalog.int8 AS number, o.unit, o.order_id,
                o.state OPERATOR(pg_catalog.=) ANY ('{pending,confirmed}') AS live
            FROM seckill.units u
                LEFT JOIN seckill.orders o
                    ON o.item_id OPERATOR(pg_catalog.=) u.item_id
                    AND o.unit OPERATOR(pg_catalog.=) u.unit
            WHERE u.item_id OPERATOR(pg_catalog.=) i.item_id
                AND u.amount IS NOT NULL) w) s
WHERE i.numbered AND s.shares OPERATOR(pg_catalog.>) 0;

COMMENT ON VIEW seckill.envelopes IS 'items whose units have amounts: what was taken, what is left, who has the best share';
COMMENT ON COLUMN seckill.envelopes.item_id IS 'the item';
COMMENT ON COLUMN seckill.envelopes.total IS 'sum of all shares; NULL: the item is split over nodes, and this one has some of them';
COMMENT ON COLUMN seckill.envelopes.shares IS 'number of shares; NULL likewise';
COMMENT ON COLUMN seckill.envelopes.taken IS 'shares of live orders';
COMMENT ON COLUMN seckill.envelopes.given IS 'sum of these shares';
COMMENT ON COLUMN seckill.envelopes.left_amount IS 'sum of the shares that are not sold; 0 after seckill_close(); NULL likewise';
COMMENT ON COLUMN seckill.envelopes.best_order_id IS 'live order of the largest share, the first of equal ones; NULL: none is taken';
COMMENT ON COLUMN seckill.envelopes.ended IS 'is the sale over?';

CREATE VIEW seckill.public_commitments AS
SELECT c.item_id, c.first_unit, c.last_unit, c.commitment, c.created_at,
    c.revealed_at,
    CASE WHEN c.revealed_at IS NOT NULL THEN c.seed END AS seed
FROM seckill.commitments c;

COMMENT ON VIEW seckill.public_commitments IS 'commitments to what units are worth, for buyers; a seed is shown once it is revealed';
COMMENT ON COLUMN seckill.public_commitments.item_id IS 'the item';
COMMENT ON COLUMN seckill.public_commitments.first_unit IS 'the first of the units that it covers';
COMMENT ON COLUMN seckill.public_commitments.last_unit IS 'the last of them';
COMMENT ON COLUMN seckill.public_commitments.commitment IS 'SHA-256 of the seed, the values of the units and their prizes';
COMMENT ON COLUMN seckill.public_commitments.created_at IS 'start of the transaction that made it';
COMMENT ON COLUMN seckill.public_commitments.revealed_at IS 'time when the seed was revealed; NULL: it is a secret';
COMMENT ON COLUMN seckill.public_commitments.seed IS 'the seed; NULL: it is a secret';

--
-- Generators.  What numbered units are worth is decided before the sale.
--

CREATE FUNCTION @extschema@.seckill_divide_amount(
    total       bigint,
    shares      integer,
    min_share   bigint DEFAULT 1,
    max_share   bigint DEFAULT NULL,
    even        boolean DEFAULT false,
    seed        bytea DEFAULT NULL)
RETURNS bigint[] AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_divide_amount(bigint, integer, bigint, bigint, boolean, bytea) IS
'divide an amount, in the smallest coin, into shares that add up to it: by chance from a seed, with equal means, or evenly';

CREATE FUNCTION @extschema@.seckill_deal_prizes(
    draws       integer,
    quantities  integer[],
    spread      boolean DEFAULT true,
    seed        bytea DEFAULT NULL)
RETURNS integer[] AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_deal_prizes(integer, integer[], boolean, bytea) IS
'put so many units of each prize into the places of a pool, by chance from a seed; spread: evenly over the pool; NULL is a blank';

CREATE FUNCTION @extschema@.seckill_make_codes(
    n           integer,
    pattern     text DEFAULT '****-****-****')
RETURNS text[] AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_make_codes(integer, text) IS
'n different codes that nobody can guess: each * of the pattern becomes one of 31 characters';

--
-- PUBLIC keeps EXECUTE on seckill_mode(text), seckill_is_own() and
-- seckill_check_numbers() only: a cast, a WHEN clause and a constraint check
-- EXECUTE on their function, and none of the functions gives access to
-- anything.
--

REVOKE ALL ON FUNCTION
    @extschema@.seckill_count(int8multirange),
    @extschema@.seckill_own_numbers(bigint, integer[], bigint),
    @extschema@.seckill_items_changed(),
    @extschema@.seckill_items_delete(),
    @extschema@.seckill_orders_guard(),
    @extschema@.seckill_orders_deleted(),
    @extschema@.seckill_units_guard(),
    @extschema@.seckill_prizes_guard(),
    @extschema@.seckill_releases_guard(),
    @extschema@.seckill_truncated(),
    @extschema@.seckill_seats_changed(),
    @extschema@.seckill_book(bigint, bigint, bigint, bigint, bigint, @extschema@.seckill_mode, text, bigint, bigint[], uuid, text),
    @extschema@.seckill_block_seats(bigint, bigint[], bigint, bigint),
    @extschema@.seckill_free_seats(bigint),
    @extschema@.seckill_seat_map(bigint, bigint, bigint),
    @extschema@.seckill_buy(bigint, bigint, @extschema@.seckill_mode, bigint, uuid, text),
    @extschema@.seckill_buy_many(bigint, bigint[], @extschema@.seckill_mode, uuid[], text[], bigint[]),
    @extschema@.seckill_buy_items(bigint[], bigint[], @extschema@.seckill_mode, bigint[], uuid[], text[]),
    @extschema@.seckill_claim(bigint, bigint, @extschema@.seckill_mode, uuid, text),
    @extschema@.seckill_claim_many(bigint, bigint[], @extschema@.seckill_mode, uuid[], text[]),
    @extschema@.seckill_unit(bigint, bigint),
    @extschema@.seckill_submit(bigint, bigint, bigint, uuid, text),
    @extschema@.seckill_submit_many(bigint[], bigint[], bigint[], uuid[], text[]),
    @extschema@.seckill_result(bigint, interval),
    @extschema@.seckill_result_many(bigint[], interval),
    @extschema@.seckill_token(bigint, bigint, interval),
    @extschema@.seckill_confirm(bigint, bigint),
    @extschema@.seckill_cancel(bigint, bigint, boolean),
    @extschema@.seckill_redeem(bigint, text, bigint),
    @extschema@.seckill_release(bigint, bigint),
    @extschema@.seckill_write_off(bigint, bigint),
    @extschema@.seckill_put_item(bigint, jsonb),
    @extschema@.seckill_restock(bigint, bigint),
    @extschema@.seckill_set_available(bigint, bigint),
    @extschema@.seckill_item(bigint),
    @extschema@.seckill_order(bigint, bigint),
    @extschema@.seckill_add_units(bigint, text[], integer[], bigint[], bytea, timestamptz),
    @extschema@.seckill_close(bigint),
    @extschema@.seckill_reveal(bigint),
    @extschema@.seckill_prewarm(bigint, bigint),
    @extschema@.seckill_recall(bigint),
    @extschema@.seckill_cache(),
    @extschema@.seckill_stat_items(),
    @extschema@.seckill_stat_worker(),
    @extschema@.seckill_stat_reset(),
    @extschema@.seckill_audit(bigint),
    @extschema@.seckill_audit_seats(bigint),
    @extschema@.seckill_audit_values(bigint),
    @extschema@.seckill_divide_amount(bigint, integer, bigint, bigint, boolean, bytea),
    @extschema@.seckill_deal_prizes(integer, integer[], boolean, bytea),
    @extschema@.seckill_make_codes(integer, text)
FROM PUBLIC;

--
-- Monitoring.  A view checks EXECUTE on its functions against the role that
-- queries it, so the functions are granted, too.
--

GRANT USAGE ON SCHEMA seckill TO pg_monitor;
GRANT SELECT ON seckill.stock, seckill.stat_items, seckill.stat_worker, seckill.releases,
    seckill.envelopes, seckill.public_commitments
TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    @extschema@.seckill_cache(),
    @extschema@.seckill_stat_items(),
    @extschema@.seckill_stat_worker(),
    @extschema@.seckill_audit(bigint),
    @extschema@.seckill_audit_seats(bigint),
    @extschema@.seckill_audit_values(bigint)
TO pg_monitor;
