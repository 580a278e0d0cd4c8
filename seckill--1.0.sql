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
'concurrency control of one purchase: none (unsafe), optimistic, retry, pessimistic, advisory, cache, queue (decided in batches by a worker), auto';

-- For drivers that declare the type of what they send.  A call is resolved by
-- implicit casts only.  No implicit cast leads from the type to text, so no
-- operator of text is a candidate where a mode is compared.
CREATE FUNCTION @extschema@.seckill_mode(label text)
RETURNS @extschema@.seckill_mode AS 'MODULE_PATHNAME'
LANGUAGE C STRICT STABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_mode(text) IS
'the mode with this label; behind the casts from text and varchar';

CREATE CAST (text AS @extschema@.seckill_mode)
    WITH FUNCTION @extschema@.seckill_mode(text) AS IMPLICIT;

COMMENT ON CAST (text AS @extschema@.seckill_mode) IS
'lets a caller give a mode as text';

CREATE CAST (varchar AS @extschema@.seckill_mode)
    WITH FUNCTION @extschema@.seckill_mode(text) AS IMPLICIT;

COMMENT ON CAST (varchar AS @extschema@.seckill_mode) IS
'lets a caller give a mode as varchar';

CREATE TYPE @extschema@.seckill_outcome AS ENUM (
    'sold', 'sold_out', 'conflict', 'not_started', 'ended', 'queued', 'busy',
    'limit_reached', 'denied', 'rate_limited', 'request_reused');

COMMENT ON TYPE @extschema@.seckill_outcome IS
'answer to a purchase: sold, sold_out, conflict (lost against another buyer, try again), not_started, ended, queued (not decided yet), busy (the queue is full, or too many wait for the item: try later), limit_reached (the user has as many units as the item allows), denied (no valid token), rate_limited (the user calls too often), request_reused (the request_id was used for another purchase; an error, except in seckill_buy_many)';

CREATE TYPE @extschema@.seckill_order_state AS ENUM (
    'pending', 'confirmed', 'cancelled', 'expired');

COMMENT ON TYPE @extschema@.seckill_order_state IS
'life of an order: pending (to be paid until pay_by), confirmed, cancelled, expired (not paid in time); the first two are live and keep their units, the others have given them back';

--
-- Tables
--

CREATE SCHEMA seckill;

COMMENT ON SCHEMA seckill IS 'items and orders of flash sales';

-- Every purchase from the row updates it: room for HOT updates, and no index
-- on a column that a purchase changes.
CREATE TABLE seckill.items (
    item_id     bigint      PRIMARY KEY,
    title       text,
    stock       integer     NOT NULL CHECK (stock OPERATOR(pg_catalog.>=) 0),
    version     bigint      NOT NULL DEFAULT 0,
    leased      integer     NOT NULL DEFAULT 0
                            CHECK (leased OPERATOR(pg_catalog.>=) 0),
    lease_id    bigint,
    supplied    bigint      NOT NULL,
    starts_at   timestamptz,
    ends_at     timestamptz,
    per_user_limit integer  CHECK (per_user_limit OPERATOR(pg_catalog.>) 0),
    require_token boolean   NOT NULL DEFAULT false,
    pay_within  interval    CHECK (pay_within OPERATOR(pg_catalog.>) '0'
                                   AND pay_within OPERATOR(pg_catalog.<=) '1 year'),
    user_rate   real        CHECK (user_rate OPERATOR(pg_catalog.>=) 0
                                   AND user_rate OPERATOR(pg_catalog.<) 'Infinity'),
    user_burst  integer     CHECK (user_burst OPERATOR(pg_catalog.>) 0),
    max_waiters integer     CHECK (max_waiters OPERATOR(pg_catalog.>=) 0),
    CONSTRAINT items_lease_check
        CHECK (leased OPERATOR(pg_catalog.=) 0 OR lease_id IS NOT NULL),
    CONSTRAINT items_window_check
        CHECK (starts_at OPERATOR(pg_catalog.<) ends_at)
) WITH (fillfactor = 25);

COMMENT ON TABLE seckill.items IS 'what is on sale, one row an item; written by plain INSERT, UPDATE, DELETE and COPY';
COMMENT ON COLUMN seckill.items.item_id IS 'the item; never changes';
COMMENT ON COLUMN seckill.items.title IS 'free text for people';
COMMENT ON COLUMN seckill.items.stock IS 'units neither sold nor leased; restock with SET stock = stock + n';
COMMENT ON COLUMN seckill.items.version IS 'number of purchases, leases and settles that changed this row; what the optimistic modes compare';
COMMENT ON COLUMN seckill.items.leased IS 'units moved to the stock cache under lease_id and not given back; written by the extension';
COMMENT ON COLUMN seckill.items.lease_id IS 'fencing token of the open lease; written by the extension';
COMMENT ON COLUMN seckill.items.supplied IS 'units ever put on sale, kept by trigger: what seckill_audit() compares with';
COMMENT ON COLUMN seckill.items.starts_at IS 'sale opens at this time; NULL: open';
COMMENT ON COLUMN seckill.items.ends_at IS 'sale is over from this time on; NULL: never';
COMMENT ON COLUMN seckill.items.require_token IS 'only who has a token from seckill_token() can buy';
COMMENT ON COLUMN seckill.items.per_user_limit IS 'units that one user can buy; NULL: any number';
COMMENT ON COLUMN seckill.items.pay_within IS 'orders are pending, and expire unless confirmed for so long; NULL: orders are confirmed at once';
COMMENT ON COLUMN seckill.items.user_rate IS 'calls a second that one user can make for this item; 0: any number; NULL: seckill.user_rate';
COMMENT ON COLUMN seckill.items.user_burst IS 'calls that one user can make for this item at once; NULL: seckill.user_burst';
COMMENT ON COLUMN seckill.items.max_waiters IS 'calls that can wait in the row modes; 0: any number; NULL: seckill.max_waiters';

-- What is about to open.
CREATE INDEX items_starts_at ON seckill.items (starts_at)
    WHERE starts_at IS NOT NULL;

COMMENT ON INDEX seckill.items_starts_at IS 'items by the opening of their sale';

-- No foreign key to items: its FOR KEY SHARE lock on the hot row would be a
-- convoy of its own.  Triggers guard the deletion of an item instead.
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
    PRIMARY KEY (item_id, order_id)
);

-- Partial: an order pays only for what it has of limit, request and payment.
CREATE INDEX orders_user ON seckill.orders (item_id, user_id) WHERE limited;
CREATE UNIQUE INDEX orders_request ON seckill.orders (item_id, request_id)
    WHERE request_id IS NOT NULL;

CREATE INDEX orders_pay_by ON seckill.orders (pay_by)
    WHERE state OPERATOR(pg_catalog.=) 'pending';

COMMENT ON INDEX seckill.orders_user IS 'what a user has bought of an item that has a limit';
COMMENT ON INDEX seckill.orders_request IS 'one order for each request';
COMMENT ON INDEX seckill.orders_pay_by IS 'pending orders by the end of their time';

COMMENT ON TABLE seckill.orders IS 'successful purchases, one row each, written in the transaction of the buyer';
COMMENT ON COLUMN seckill.orders.item_id IS 'the item bought';
COMMENT ON COLUMN seckill.orders.order_id IS 'number of the order, unique over all items; may have gaps';
COMMENT ON COLUMN seckill.orders.user_id IS 'the buyer, as the application names it';
COMMENT ON COLUMN seckill.orders.quantity IS 'units bought';
COMMENT ON COLUMN seckill.orders.mode IS 'concurrency control that sold the order';
COMMENT ON COLUMN seckill.orders.lease_id IS 'lease that the units came from; NULL: from the row';
COMMENT ON COLUMN seckill.orders.request_id IS 'the request that made the order; the same request asked again gets this order';
COMMENT ON COLUMN seckill.orders.limited IS 'does the order count against the limit of its item: it is live, and the item had one when the order was made, or got one later';
COMMENT ON COLUMN seckill.orders.state IS 'pending, confirmed, cancelled or expired; moved by seckill_confirm(), seckill_cancel() and the keeper';
COMMENT ON COLUMN seckill.orders.pay_by IS 'a pending order expires at this time; NULL: never';
COMMENT ON COLUMN seckill.orders.created_at IS 'start of the transaction that bought';

SELECT pg_catalog.pg_extension_config_dump('seckill.items', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.orders', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.orders_order_id_seq', '');

--
-- Triggers.  The WHEN clause never holds for the UPDATE of a purchase from the
-- row, which lowers the stock and raises the version.
--

CREATE FUNCTION @extschema@.seckill_items_changed()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_items_changed() IS
'trigger: keeps items.supplied, refuses changes that only the extension may make, tells every session of the change at commit';

CREATE FUNCTION @extschema@.seckill_items_delete()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_items_delete() IS
'trigger: an item leaves only without orders, after those who hold its units have ended';

CREATE FUNCTION @extschema@.seckill_orders_guard()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_orders_guard() IS
'trigger: the orders of an open lease stay, no order changes its item, quantity, lease or state by hand, and a new pay_by is heeded';

CREATE FUNCTION @extschema@.seckill_truncated()
RETURNS trigger AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_truncated() IS
'trigger: items and orders are truncated together, and the stock cache forgets them at commit';

CREATE TRIGGER items_insert BEFORE INSERT ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_items_changed();

CREATE TRIGGER items_update AFTER UPDATE ON seckill.items
    FOR EACH ROW
    WHEN (NEW.stock OPERATOR(pg_catalog.>) OLD.stock
       OR (OLD.version OPERATOR(pg_catalog.=) NEW.version
           AND OLD.stock OPERATOR(pg_catalog.<>) NEW.stock)
       OR (OLD.leased, OLD.lease_id) IS DISTINCT FROM (NEW.leased, NEW.lease_id)
       OR (OLD.starts_at, OLD.ends_at, OLD.per_user_limit, OLD.require_token,
           OLD.pay_within, OLD.user_rate, OLD.user_burst, OLD.max_waiters)
           IS DISTINCT FROM (NEW.starts_at, NEW.ends_at, NEW.per_user_limit, NEW.require_token,
           NEW.pay_within, NEW.user_rate, NEW.user_burst, NEW.max_waiters)
       OR OLD.item_id OPERATOR(pg_catalog.<>) NEW.item_id)
    EXECUTE FUNCTION @extschema@.seckill_items_changed();

CREATE TRIGGER items_delete BEFORE DELETE ON seckill.items
    FOR EACH ROW EXECUTE FUNCTION @extschema@.seckill_items_delete();

CREATE TRIGGER items_truncate AFTER TRUNCATE ON seckill.items
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

CREATE TRIGGER orders_update AFTER UPDATE ON seckill.orders
    FOR EACH ROW
    WHEN (OLD.item_id OPERATOR(pg_catalog.<>) NEW.item_id
       OR OLD.quantity OPERATOR(pg_catalog.<>) NEW.quantity
       OR OLD.lease_id IS DISTINCT FROM NEW.lease_id
       OR OLD.state OPERATOR(pg_catalog.<>) NEW.state
       OR OLD.pay_by IS DISTINCT FROM NEW.pay_by)
    EXECUTE FUNCTION @extschema@.seckill_orders_guard();

CREATE TRIGGER orders_delete AFTER DELETE ON seckill.orders
    FOR EACH ROW WHEN (OLD.lease_id IS NOT NULL)
    EXECUTE FUNCTION @extschema@.seckill_orders_guard();

CREATE TRIGGER orders_truncate AFTER TRUNCATE ON seckill.orders
    FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.seckill_truncated();

-- The cache must hear of every change, from a replication worker too.
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_insert;
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_update;
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_delete;
ALTER TABLE seckill.items ENABLE ALWAYS TRIGGER items_truncate;

--
-- Buying
--

-- Not STRICT: a NULL is an error, never a silent NULL answer.
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
'buy quantity units of an item for a user with the given concurrency control; order_id is NULL unless sold; a request_id that was used before gets its order again, or an error if that was for another user or quantity';

CREATE FUNCTION @extschema@.seckill_buy_many(
    item_id     bigint,
    user_ids    bigint[],
    mode        @extschema@.seckill_mode DEFAULT 'auto',
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    OUT user_id bigint,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_buy_many(bigint, bigint[], @extschema@.seckill_mode, uuid[], text[]) IS
'buy one unit of an item for each user of the array, the first ones first, at the cost of one purchase; one row an element, in its order';

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
'put a purchase into the queue and do not wait: queued with a ticket for seckill_result(), busy, or a refusal';

CREATE FUNCTION @extschema@.seckill_result(
    ticket      bigint,
    wait        interval DEFAULT NULL,
    OUT outcome @extschema@.seckill_outcome,
    OUT order_id bigint)
AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_result(bigint, interval) IS
'what became of a purchase in the queue, waiting for the decision for so long (NULL: not at all); queued while there is none';

CREATE FUNCTION @extschema@.seckill_token(
    item_id     bigint,
    user_id     bigint,
    valid_for   interval DEFAULT '5 minutes')
RETURNS text AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_token(bigint, bigint, interval) IS
'token that lets a user try to buy an item with require_token, from now on for so long';

--
-- After the purchase
--

CREATE FUNCTION @extschema@.seckill_confirm(
    item_id     bigint,
    order_id    bigint)
RETURNS @extschema@.seckill_order_state AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_confirm(bigint, bigint) IS
'an order is paid: it is confirmed, also when it has expired, if there are units for it now, else it stays expired; the state it has then';

CREATE FUNCTION @extschema@.seckill_cancel(
    item_id     bigint,
    order_id    bigint,
    refund      boolean DEFAULT false)
RETURNS @extschema@.seckill_order_state AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_cancel(bigint, bigint, boolean) IS
'cancel a pending order, or with refund a confirmed one too, and put its units back on sale; the state it has then';

--
-- The stock cache, by hand
--

CREATE FUNCTION @extschema@.seckill_prewarm(
    item_id     bigint,
    units       bigint DEFAULT NULL)
RETURNS integer AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_prewarm(bigint, bigint) IS
'lease units (NULL: all there are) of an item to the stock cache; returns the units leased, on sale from the cache once this transaction commits';

CREATE FUNCTION @extschema@.seckill_recall(item_id bigint)
RETURNS integer AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_recall(bigint) IS
'give the units that the stock cache still has of an item back to its row; returns their number';

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
'what the stock cache knows of the items of this database; no row without shared_preload_libraries';

--
-- Looking at it
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
        WHEN i.stock OPERATOR(pg_catalog.+) (i.leased OPERATOR(pg_catalog.-) o.on_lease)
             OPERATOR(pg_catalog.<=) 0
            THEN 'sold_out'
        ELSE 'on_sale'
    END AS state
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
    LEFT JOIN @extschema@.seckill_cache() c
        ON c.item_id OPERATOR(pg_catalog.=) i.item_id;

COMMENT ON VIEW seckill.stock IS 'where the units of each item are now';
COMMENT ON COLUMN seckill.stock.item_id IS 'the item';
COMMENT ON COLUMN seckill.stock.title IS 'its title';
COMMENT ON COLUMN seckill.stock.stock IS 'units on the row: not sold, not leased';
COMMENT ON COLUMN seckill.stock.leased IS 'units that the open lease took from the row, those it has sold included';
COMMENT ON COLUMN seckill.stock.cached IS 'units of the open lease that the stock cache can sell now; NULL: no open lease in memory';
COMMENT ON COLUMN seckill.stock.held IS 'units that running transactions have taken from the cache or bring to it; NULL: no open lease in memory';
COMMENT ON COLUMN seckill.stock.sold IS 'units of live orders: confirmed or pending';
COMMENT ON COLUMN seckill.stock.pending IS 'units of pending orders';
COMMENT ON COLUMN seckill.stock.auto_mode IS 'what mode auto would sell the item with now: cache while it is hot, else retry';
COMMENT ON COLUMN seckill.stock.state IS 'upcoming, on_sale, sold_out (nothing left, running transactions aside) or ended';

-- The columns from calls to max_time are what src/stats.c counts, in its order:
-- among them one for each outcome, in the order of the type.
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
'calls that were answered, per item of this database and mode; no row without shared_preload_libraries';

CREATE VIEW seckill.stat_items AS
SELECT * FROM @extschema@.seckill_stat_items();

COMMENT ON VIEW seckill.stat_items IS 'calls that were answered, per item and mode, since the stock cache has known the item, or stats_reset';
COMMENT ON COLUMN seckill.stat_items.item_id IS 'the item; NULL: all that the stock cache had no place for';
COMMENT ON COLUMN seckill.stat_items.mode IS 'the mode that served, or, for calls refused before, that was asked for';
COMMENT ON COLUMN seckill.stat_items.calls IS 'purchases asked for and answered; each element of seckill_buy_many() is one';
COMMENT ON COLUMN seckill.stat_items.sold IS 'answers "sold", also by an order that the same request had made before';
COMMENT ON COLUMN seckill.stat_items.sold_out IS 'answers "sold_out"';
COMMENT ON COLUMN seckill.stat_items.conflict IS 'answers "conflict"';
COMMENT ON COLUMN seckill.stat_items.not_started IS 'answers "not_started"';
COMMENT ON COLUMN seckill.stat_items.ended IS 'answers "ended"';
COMMENT ON COLUMN seckill.stat_items.queued IS 'answers "queued" of seckill_submit(); what is decided later is counted again, as that outcome';
COMMENT ON COLUMN seckill.stat_items.busy IS 'answers "busy"';
COMMENT ON COLUMN seckill.stat_items.limit_reached IS 'answers "limit_reached"';
COMMENT ON COLUMN seckill.stat_items.denied IS 'answers "denied"';
COMMENT ON COLUMN seckill.stat_items.rate_limited IS 'answers "rate_limited"';
COMMENT ON COLUMN seckill.stat_items.request_reused IS 'answers "request_reused" of seckill_buy_many(), and tickets whose request was used for another purchase';
COMMENT ON COLUMN seckill.stat_items.units IS 'units of new orders, those rolled back since included';
COMMENT ON COLUMN seckill.stat_items.retries IS 'lost races after which mode retry tried again';
COMMENT ON COLUMN seckill.stat_items.refills IS 'times that units were leased to the stock cache in a call';
COMMENT ON COLUMN seckill.stat_items.waits IS 'waits in the item''s line, for the refiller, for a holder of units, or for a purchase of the same user or request';
COMMENT ON COLUMN seckill.stat_items.wait_time IS 'time of these waits, in milliseconds';
COMMENT ON COLUMN seckill.stat_items.total_time IS 'time from call to answer, without the commit of the caller, in milliseconds';
COMMENT ON COLUMN seckill.stat_items.max_time IS 'the longest of these times, in milliseconds';
COMMENT ON COLUMN seckill.stat_items.stats_reset IS 'time from which the line counts';

-- The columns between backlog and stats_reset are those of SeckillStat in
-- src/seckill.h, in its order.
CREATE FUNCTION @extschema@.seckill_stat_worker(
    OUT pid         integer,
    OUT backlog     bigint,
    OUT starts      bigint,
    OUT batches     bigint,
    OUT decided     bigint,
    OUT put_off     bigint,
    OUT failed      bigint,
    OUT settles     bigint,
    OUT settled_units bigint,
    OUT refills     bigint,
    OUT expired_orders bigint,
    OUT expiry_batches bigint,
    OUT prewarms    bigint,
    OUT stats_reset timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_stat_worker() IS
'what the background processes of this database have done; no row without shared_preload_libraries';

CREATE VIEW seckill.stat_worker AS
SELECT * FROM @extschema@.seckill_stat_worker();

COMMENT ON VIEW seckill.stat_worker IS 'one row: the queue of this database, and what was done behind the calls';
COMMENT ON COLUMN seckill.stat_worker.pid IS 'process that empties the queue; NULL: there is none now';
COMMENT ON COLUMN seckill.stat_worker.backlog IS 'purchases in the queue that are not decided';
COMMENT ON COLUMN seckill.stat_worker.starts IS 'starts of such a process';
COMMENT ON COLUMN seckill.stat_worker.batches IS 'its transactions that decided something';
COMMENT ON COLUMN seckill.stat_worker.decided IS 'purchases that these decided';
COMMENT ON COLUMN seckill.stat_worker.put_off IS 'times that a purchase was not decided in a batch, as it would have had to wait';
COMMENT ON COLUMN seckill.stat_worker.failed IS 'purchases that were answered with an error';
COMMENT ON COLUMN seckill.stat_worker.settles IS 'leases of a lost or closed cache that were settled, by any process';
COMMENT ON COLUMN seckill.stat_worker.settled_units IS 'units that went back to their rows in this way';
COMMENT ON COLUMN seckill.stat_worker.refills IS 'times that a buyer leased units to the stock cache';
COMMENT ON COLUMN seckill.stat_worker.expired_orders IS 'orders that expired unpaid';
COMMENT ON COLUMN seckill.stat_worker.expiry_batches IS 'transactions in which orders expired';
COMMENT ON COLUMN seckill.stat_worker.prewarms IS 'items prewarmed ahead of their sale';
COMMENT ON COLUMN seckill.stat_worker.stats_reset IS 'time from which the row counts';

CREATE FUNCTION @extschema@.seckill_stat_reset()
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_stat_reset() IS
'set all counters of this database to zero';

-- Both sides of the conservation law.  One statement, so one snapshot.
CREATE FUNCTION @extschema@.seckill_audit(
    item            bigint DEFAULT NULL,
    OUT item_id     bigint,
    OUT supplied    bigint,
    OUT stock       bigint,
    OUT unsold      bigint,
    OUT sold        bigint,
    OUT accounted   bigint,
    OUT difference  bigint)
RETURNS SETOF record
LANGUAGE sql CALLED ON NULL INPUT STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT i.item_id, i.supplied, i.stock,
        i.leased OPERATOR(pg_catalog.-) o.on_lease,
        o.sold,
        a.accounted,
        i.supplied OPERATOR(pg_catalog.-) a.accounted
    FROM seckill.items i
        CROSS JOIN LATERAL (
            SELECT coalesce(pg_catalog.sum(q.quantity) FILTER (
                    WHERE q.state OPERATOR(pg_catalog.=) ANY ('{pending,confirmed}')), 0)::pg_catalog.int8
                    AS sold,
                coalesce(pg_catalog.sum(q.quantity) FILTER (
                    WHERE q.lease_id OPERATOR(pg_catalog.=) i.lease_id), 0)::pg_catalog.int8
                    AS on_lease
            FROM seckill.orders q
            WHERE q.item_id OPERATOR(pg_catalog.=) i.item_id) o
        CROSS JOIN LATERAL (
            SELECT i.stock OPERATOR(pg_catalog.+)
                greatest(i.leased OPERATOR(pg_catalog.-) o.on_lease, 0)
                OPERATOR(pg_catalog.+) o.sold AS accounted) a
    WHERE seckill_audit.item IS NULL
        OR i.item_id OPERATOR(pg_catalog.=) seckill_audit.item
    ORDER BY i.item_id;
END;

COMMENT ON FUNCTION @extschema@.seckill_audit(bigint) IS
'conservation law, one row an item (NULL: all items): supplied against accounted = stock + unsold units of the open lease + units of live orders; difference must be 0';

--
-- Nothing for PUBLIC but seckill_mode(text): a cast asks for EXECUTE on its
-- function, and nobody can buy by naming a mode.
--

REVOKE ALL ON FUNCTION
    @extschema@.seckill_items_changed(),
    @extschema@.seckill_items_delete(),
    @extschema@.seckill_orders_guard(),
    @extschema@.seckill_truncated(),
    @extschema@.seckill_buy(bigint, bigint, @extschema@.seckill_mode, bigint, uuid, text),
    @extschema@.seckill_buy_many(bigint, bigint[], @extschema@.seckill_mode, uuid[], text[]),
    @extschema@.seckill_submit(bigint, bigint, bigint, uuid, text),
    @extschema@.seckill_result(bigint, interval),
    @extschema@.seckill_token(bigint, bigint, interval),
    @extschema@.seckill_confirm(bigint, bigint),
    @extschema@.seckill_cancel(bigint, bigint, boolean),
    @extschema@.seckill_prewarm(bigint, bigint),
    @extschema@.seckill_recall(bigint),
    @extschema@.seckill_cache(),
    @extschema@.seckill_stat_items(),
    @extschema@.seckill_stat_worker(),
    @extschema@.seckill_stat_reset(),
    @extschema@.seckill_audit(bigint)
FROM PUBLIC;

--
-- For monitoring.  The functions of a view are checked against who reads it.
--

GRANT USAGE ON SCHEMA seckill TO pg_monitor;
GRANT SELECT ON seckill.stock, seckill.stat_items, seckill.stat_worker TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    @extschema@.seckill_cache(),
    @extschema@.seckill_stat_items(),
    @extschema@.seckill_stat_worker(),
    @extschema@.seckill_audit(bigint)
TO pg_monitor;
