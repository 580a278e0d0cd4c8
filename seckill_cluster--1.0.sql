/* seckill_cluster--1.0.sql: several servers that sell for one shop */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION seckill_cluster" to load this file. \quit

--
-- Nodes.  A node's number is the range of its sequences, see src/base/node.h.
--

CREATE TABLE seckill.nodes (
    node_no     integer PRIMARY KEY
        CHECK (node_no OPERATOR(pg_catalog.>=) 1 AND node_no OPERATOR(pg_catalog.<=) 2047),
    server      text NOT NULL
);

COMMENT ON TABLE seckill.nodes IS 'the other nodes of the shop; written by seckill_add_node()';
COMMENT ON COLUMN seckill.nodes.node_no IS 'its number';
COMMENT ON COLUMN seckill.nodes.server IS 'how to reach it: a foreign server of dblink_fdw, or a connection string';

-- One row on each of the two nodes of a move.  The rows stay: they lead to where
-- an item is, and no move_id is ever used again.
CREATE TABLE seckill.moves (
    item_id     bigint      NOT NULL,
    move_id     uuid        NOT NULL,
    hop         integer     NOT NULL,
    direction   text        NOT NULL
        CHECK (direction OPERATOR(pg_catalog.=) ANY ('{out,in}')),
    peer        integer     NOT NULL,
    state       text        NOT NULL
        CHECK (state OPERATOR(pg_catalog.=) ANY ('{moving,gone,cancelled,arriving,here,dropped,forgotten}')),
    orders      bigint,
    units       bigint,
    contents    text,
    started_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    changed_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (item_id, move_id)
);

CREATE INDEX moves_open ON seckill.moves (started_at)
    WHERE state OPERATOR(pg_catalog.=) ANY ('{moving,arriving}');

COMMENT ON INDEX seckill.moves_open IS 'moves that have not ended';
COMMENT ON TABLE seckill.moves IS 'moves of items from and to this node, also those that have ended';
COMMENT ON COLUMN seckill.moves.item_id IS 'the item';
COMMENT ON COLUMN seckill.moves.move_id IS 'the move, on both nodes';
COMMENT ON COLUMN seckill.moves.hop IS 'number of moves of the item up to this one';
COMMENT ON COLUMN seckill.moves.direction IS 'out of this node, or in';
COMMENT ON COLUMN seckill.moves.peer IS 'number of the other node';
COMMENT ON COLUMN seckill.moves.state IS 'out: moving, gone, cancelled, or forgotten once the rows are deleted here; in: arriving, here, dropped';
COMMENT ON COLUMN seckill.moves.orders IS 'orders moved';
COMMENT ON COLUMN seckill.moves.units IS 'units of those of them that are live';
COMMENT ON COLUMN seckill.moves.contents IS 'checksum of all rows moved';
COMMENT ON COLUMN seckill.moves.started_at IS 'time when the move began';
COMMENT ON COLUMN seckill.moves.changed_at IS 'time of the last change of state';

-- One row on each of the two nodes for each item that is split over them.  The totals
-- only grow, so that a message may be lost, late or repeated: what was sent and not
-- received is on its way.  The rows stay when the item is gone.
--
-- If units have numbers, a total is a position in a stream of them: transit are the last
-- of those that were sent, until the other node tells that it has them.  Only then others
-- are sent, so a message has either nothing new or exactly these.  Each number is at home,
-- unless it is among the numbers of one of the channels there.
CREATE TABLE seckill.channels (
    item_id     bigint  NOT NULL,
    peer        integer NOT NULL,
    sent        bigint  NOT NULL DEFAULT 0,
    received    bigint  NOT NULL DEFAULT 0,
    peer_incarnation bigint NOT NULL DEFAULT 0,
    transit int8multirange NOT NULL DEFAULT '{}',
    numbers int8multirange NOT NULL DEFAULT '{}',
    state       text    NOT NULL DEFAULT 'open'
        CHECK (state OPERATOR(pg_catalog.=) ANY ('{open,closing,closed,left out}')),
    confirmed   bigint  NOT NULL DEFAULT 0,
    sent_at     timestamptz,
    PRIMARY KEY (item_id, peer)
);

COMMENT ON TABLE seckill.channels IS 'units of split items that were sent to and received from other nodes';
COMMENT ON COLUMN seckill.channels.item_id IS 'the item';
COMMENT ON COLUMN seckill.channels.peer IS 'number of the other node';
COMMENT ON COLUMN seckill.channels.sent IS 'units ever sent to it';
COMMENT ON COLUMN seckill.channels.received IS 'units ever received from it';
COMMENT ON COLUMN seckill.channels.peer_incarnation IS 'incarnation of the other node, as far as it is known here';
COMMENT ON COLUMN seckill.channels.transit IS 'of units with numbers: those sent last, until the other node tells that it has them';
COMMENT ON COLUMN seckill.channels.numbers IS 'of units with numbers: at home, those that the other node has, sold ones included, and those on their way to it and from it; on another node, those that this node has';
COMMENT ON COLUMN seckill.channels.state IS 'on home: open; closing: the other node gets no more units, by seckill_unsplit(); closed: it has no share any more; left out: by seckill_split_without()';
COMMENT ON COLUMN seckill.channels.confirmed IS 'units sent of which the other node has told that it has them';
COMMENT ON COLUMN seckill.channels.sent_at IS 'time since which units were sent and not confirmed; that of the last ones, if all are';

-- Raised whenever this node comes back from an older copy, so that other nodes
-- can tell its former lives.
CREATE TABLE seckill.incarnation (
    incarnation bigint  NOT NULL DEFAULT 1,
    homes_on    bigint,
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton)
);

INSERT INTO seckill.incarnation DEFAULT VALUES;

COMMENT ON TABLE seckill.incarnation IS 'one row: the incarnation of this node';
COMMENT ON COLUMN seckill.incarnation.incarnation IS 'rises with each seckill_rejoin()';
COMMENT ON COLUMN seckill.incarnation.homes_on IS 'the timeline on which seckill_rejoin() has found out, for items whose home this node is, which numbers other nodes have; NULL: none, or it has ended';
COMMENT ON COLUMN seckill.incarnation.singleton IS 'true, so that there is one row';

-- The one case in which more is sold than there was: a copy of a node has lost a
-- restock or a cancellation whose units had left it.
CREATE TABLE seckill.shortfalls (
    item_id     bigint      NOT NULL,
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    units       bigint      NOT NULL
);

COMMENT ON TABLE seckill.shortfalls IS 'units of split items that are missing after a restore from an older copy';
COMMENT ON COLUMN seckill.shortfalls.item_id IS 'the item';
COMMENT ON COLUMN seckill.shortfalls.at IS 'time of the rejoin that has found them missing';
COMMENT ON COLUMN seckill.shortfalls.units IS 'how many';

SELECT pg_catalog.pg_extension_config_dump('seckill.nodes', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.channels', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.shortfalls', '');
SELECT pg_catalog.pg_extension_config_dump('seckill.moves', '');

--
-- Functions in C
--

CREATE FUNCTION @extschema@.seckill_set_place(
    item_id     bigint,
    from_place  text,
    to_place    text)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_set_place(bigint, text, text) IS
'for the steps of a move: change where an item is sold (here, moving, arriving, gone); stops the sale of one that is sold here';

CREATE FUNCTION @extschema@.seckill_lock_arrival(item_id bigint)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_lock_arrival(bigint) IS
'for the steps of a move, on the destination: take turns until the end of the transaction';

CREATE FUNCTION @extschema@.seckill_wake_maintenance(at timestamptz)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_wake_maintenance(timestamptz) IS
'have the maintenance worker look at this time';

CREATE FUNCTION @extschema@.seckill_key_fingerprint()
RETURNS text AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_key_fingerprint() IS
'checksum of seckill.token_key, which must be the same on all nodes';

CREATE FUNCTION @extschema@.seckill_split_node(nodes integer[], user_id bigint)
RETURNS integer AS 'MODULE_PATHNAME'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.seckill_split_node(integer[], bigint) IS
'the node that sells an item, which is split over these nodes, to a user';

CREATE FUNCTION @extschema@.seckill_split_set(item_id bigint, nodes integer[])
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_split_set(bigint, integer[]) IS
'for seckill_split(): write over which nodes an item is split; an empty array: it is not';

CREATE FUNCTION @extschema@.seckill_share_state(
    item_id     bigint,
    OUT now     bigint,
    OUT silent  boolean,
    OUT proved_until bigint,
    OUT smallest integer,
    OUT grants  boolean)
AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_state(bigint) IS
'for the steps of an exchange: the monotonic clock in microseconds; has this node started too recently to promise anything; until when all units are known to be at home; the fewest units that a buyer here waits for; may home send units';

CREATE FUNCTION @extschema@.seckill_share_lock(
    item_id     bigint,
    OUT free    integer,
    OUT vacant  boolean)
AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_lock(bigint) IS
'for the steps of an exchange: lock a share and put its units on the row; their number, and whether no transaction holds others';

CREATE FUNCTION @extschema@.seckill_share_add(
    item_id     bigint,
    units       integer,
    numbers     int8multirange DEFAULT '{}')
RETURNS int8multirange AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_add(bigint, integer, int8multirange) IS
'for the steps of an exchange: add units to a locked share, with their numbers if they have some; a negative number takes units, and their numbers are returned';

CREATE FUNCTION @extschema@.seckill_share_rejoin(
    item_id     bigint,
    numbers     int8multirange,
    lost        int8multirange)
RETURNS integer AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_rejoin(bigint, int8multirange, int8multirange) IS
'for seckill_rejoin(): this node has these numbers of a locked share and no others; orders and releases with others end, numbers that are lost are off sale; returns how many orders have ended';

CREATE FUNCTION @extschema@.seckill_share_forget(item_id bigint, numbers int8multirange)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_forget(bigint, int8multirange) IS
'for the steps of an exchange: delete the values of numbers that this node does not have any more';

CREATE FUNCTION @extschema@.seckill_share_promise(item_id bigint, from_time bigint)
RETURNS boolean AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_promise(bigint, bigint) IS
'for the steps of an exchange: promise that no unit appears in a locked, empty share for the length of a promise from a time on; false if this node has started too recently';

CREATE FUNCTION @extschema@.seckill_share_prove(item_id bigint, round_began bigint)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_prove(bigint, bigint) IS
'for the steps of an exchange, on home: all units are here, as the other nodes have promised in a round that began at a time';

CREATE FUNCTION @extschema@.seckill_share_certify(item_id bigint, asked_at bigint, length bigint)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_certify(bigint, bigint, bigint) IS
'for the steps of an exchange: the item is sold out on all nodes, as home has promised for so many microseconds to a question asked at a time';

CREATE FUNCTION @extschema@.seckill_share_want(item_id bigint, units integer)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_want(bigint, integer) IS
'for the steps of an exchange, on home: another node waits for units';

CREATE FUNCTION @extschema@.seckill_share_keep(item_id bigint, ms integer)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_share_keep(bigint, integer) IS
'for seckill_gather(), on home: send no units for so many milliseconds';

CREATE FUNCTION @extschema@.seckill_channel_count(
    item_id     bigint,
    peer        integer,
    is_round    boolean,
    granted     boolean,
    succeeded   boolean,
    error       text)
RETURNS void AS 'MODULE_PATHNAME'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.seckill_channel_count(bigint, integer, boolean, boolean, boolean, text) IS
'for the steps of an exchange: count a call between this node and another one';

CREATE FUNCTION @extschema@.seckill_stat_channels(
    OUT item_id bigint,
    OUT peer    integer,
    OUT rounds  bigint,
    OUT asks    bigint,
    OUT grants  bigint,
    OUT failures bigint,
    OUT last_success timestamptz,
    OUT last_failure timestamptz,
    OUT last_error text)
RETURNS SETOF record AS 'MODULE_PATHNAME'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.seckill_stat_channels() IS
'counters of the exchanges of split items with other nodes, since the server has started';

CREATE VIEW seckill.stat_channels AS
SELECT c.item_id, c.peer, c.state, c.sent, c.received, c.sent OPERATOR(pg_catalog.-) c.confirmed AS unconfirmed,
    CASE WHEN c.sent OPERATOR(pg_catalog.>) c.confirmed THEN c.sent_at END AS unconfirmed_since,
    coalesce(s.rounds, 0) AS rounds, coalesce(s.asks, 0) AS asks, coalesce(s.grants, 0) AS grants,
    coalesce(s.failures, 0) AS failures, s.last_success, s.last_failure, s.last_error
FROM seckill.channels c LEFT JOIN @extschema@.seckill_stat_channels() s
    ON s.item_id OPERATOR(pg_catalog.=) c.item_id AND s.peer OPERATOR(pg_catalog.=) c.peer;

COMMENT ON VIEW seckill.stat_channels IS 'one row for each item that is split and other node: units exchanged, and counters since the server has started';
COMMENT ON COLUMN seckill.stat_channels.item_id IS 'the item';
COMMENT ON COLUMN seckill.stat_channels.peer IS 'number of the other node';
COMMENT ON COLUMN seckill.stat_channels.state IS 'state of the channel, on home: open, closing, closed, left out';
COMMENT ON COLUMN seckill.stat_channels.sent IS 'units ever sent to it';
COMMENT ON COLUMN seckill.stat_channels.received IS 'units ever received from it';
COMMENT ON COLUMN seckill.stat_channels.unconfirmed IS 'units sent of which it has not told yet that it has them; it does so with the next exchange';
COMMENT ON COLUMN seckill.stat_channels.unconfirmed_since IS 'time since when; NULL: there are none';
COMMENT ON COLUMN seckill.stat_channels.rounds IS 'calls of home to another node';
COMMENT ON COLUMN seckill.stat_channels.asks IS 'calls of another node to home';
COMMENT ON COLUMN seckill.stat_channels.grants IS 'calls that got units of this node';
COMMENT ON COLUMN seckill.stat_channels.failures IS 'calls from here to which it did not answer';
COMMENT ON COLUMN seckill.stat_channels.last_success IS 'time of the last exchange';
COMMENT ON COLUMN seckill.stat_channels.last_failure IS 'time of the last call that failed';
COMMENT ON COLUMN seckill.stat_channels.last_error IS 'its error';

--
-- This node
--

CREATE FUNCTION @extschema@.seckill_node(
    OUT node_no     integer,
    OUT state       text)
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN s.node BETWEEN 1 AND 2047 THEN s.node END::integer,
        CASE WHEN s.node NOT BETWEEN 1 AND 2047 THEN 'alone'
            WHEN pg_is_in_recovery() THEN 'standby'
            WHEN s.timeline = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
                THEN 'open'
            ELSE 'closed'
        END
    FROM (SELECT seqmin >> 40 AS node, seqstart & ((1::bigint << 40) - 1) AS timeline
          FROM pg_sequence
          WHERE seqrelid = 'seckill.orders_order_id_seq'::regclass) s
$$;

COMMENT ON FUNCTION @extschema@.seckill_node() IS
'number of this node, and its state: alone (it has not joined), open, closed (it was promoted or restored, and sells nothing before seckill_rejoin()), standby';

-- Set the range of a sequence to that of a node.  A value within the range goes
-- on, after a gap if skip is true.
CREATE FUNCTION seckill.set_range(sequence regclass, node_no integer, start bigint, skip boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low bigint := node_no::bigint << 40;
    high bigint := low + (1::bigint << 40) - 1;
    last bigint;
    gap bigint := 1 << 20;
BEGIN
    EXECUTE format('SELECT last_value FROM %s', sequence) INTO last;
    -- two restores from one copy must not come to the same numbers
    IF skip THEN
        gap := gap + 65536 * greatest(extract(epoch FROM clock_timestamp() - (SELECT max(o.created_at) FROM seckill.orders o))::bigint, 0);
    END IF;
    IF last NOT BETWEEN low AND high - (1 << 21) THEN
        last := low;
    ELSIF skip THEN
        last := least(last + coalesce(gap, 1 << 20), high - (1 << 21));
    END IF;
    EXECUTE format('ALTER SEQUENCE %s MINVALUE %s MAXVALUE %s START %s RESTART %s',
                   sequence, low, high, low + start, last + 1);
END
$$;

COMMENT ON FUNCTION seckill.set_range(regclass, integer, bigint, boolean) IS
'set the range of a sequence to that of a node';

-- The timeline that this server writes.
CREATE FUNCTION seckill.timeline()
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
$$;

COMMENT ON FUNCTION seckill.timeline() IS 'the timeline that this server writes';

-- Sequences of numbers that are unique over all nodes.
CREATE FUNCTION seckill.set_ranges(node_no integer, timeline bigint, skip boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- whoever has changed orders without a look at the place of their item
    LOCK TABLE seckill.orders IN SHARE ROW EXCLUSIVE MODE;
    PERFORM seckill.set_range(s.oid, node_no,
                CASE WHEN s.oid = 'seckill.orders_order_id_seq'::regclass THEN timeline ELSE 1 END, skip)
    FROM pg_class s
        JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
            AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
        JOIN seckill.item_tables() t ON t.name = d.refobjid
    WHERE s.relkind = 'S';
END
$$;

COMMENT ON FUNCTION seckill.set_ranges(integer, bigint, boolean) IS
'set the ranges of all sequences to those of a node';

CREATE FUNCTION @extschema@.seckill_join(node_no integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this record;
BEGIN
    IF seckill_join.node_no IS NULL OR seckill_join.node_no NOT BETWEEN 1 AND 2047 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the number of a node must be from 1 to 2047';
    END IF;
    SELECT * INTO this FROM @extschema@.seckill_node();
    IF this.state = 'closed' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s was promoted or restored, and has not been checked against the other nodes', this.node_no),
            HINT = 'CALL seckill_rejoin().';
    ELSIF this.node_no = seckill_join.node_no THEN
        RETURN;
    ELSIF this.node_no IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('this is node %s', this.node_no),
            DETAIL = 'A node keeps its number, because its orders and tickets carry it.',
            HINT = 'A copy of a node that is to be a node of its own begins with an empty database.';
    ELSIF EXISTS (SELECT FROM seckill.nodes n WHERE n.node_no = seckill_join.node_no) THEN
        RAISE unique_violation USING
            MESSAGE = format('%s is the number of another node', seckill_join.node_no),
            HINT = 'See seckill.nodes.';
    END IF;
    PERFORM seckill.set_ranges(seckill_join.node_no, seckill.timeline(), true);
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_join(integer) IS
'give this server its number among the nodes of a shop, 1 to 2047: its orders, tickets and new items are numbered from a range of its own from now on';

--
-- The tables that move with an item, in the order in which they are filled.  The
-- other nodes get and check the rows of exactly these.
--

CREATE FUNCTION seckill.item_tables(OUT name regclass)
RETURNS SETOF regclass
LANGUAGE sql STABLE PARALLEL SAFE ROWS 4 SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ('seckill.items'::regclass), ('seckill.units'), ('seckill.prizes'), ('seckill.commitments'),
        ('seckill.releases'), ('seckill.seats'), ('seckill.orders')
$$;

COMMENT ON FUNCTION seckill.item_tables() IS 'tables whose rows move with their item';

CREATE FUNCTION seckill.item_columns()
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT md5(string_agg(format('%s.%I %s', t.name::text, a.attname, format_type(a.atttypid, a.atttypmod)), ','
                          ORDER BY t.name::text, a.attname))
    FROM seckill.item_tables() t JOIN pg_attribute a ON a.attrelid = t.name
    WHERE a.attnum > 0 AND NOT a.attisdropped
$$;

COMMENT ON FUNCTION seckill.item_columns() IS
'checksum of the columns of these tables, which must be the same on both nodes of a move';

-- The rows of an item as text.  Where the item is sold is not part of them.
CREATE FUNCTION seckill.item_rows(item_table regclass, item_id bigint)
RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET timezone = 'UTC' SET extra_float_digits = 1 SET bytea_output = 'hex'
AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT (to_jsonb(t) - ''place'')::text FROM %s t WHERE t.item_id = $1', item_table)
        USING item_id;
END
$$;

COMMENT ON FUNCTION seckill.item_rows(regclass, bigint) IS 'the rows of an item in a table, as JSON';

CREATE FUNCTION seckill.item_contents(
    item_id     bigint,
    OUT orders  bigint,
    OUT units   bigint,
    OUT contents text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT count(*), coalesce(sum(o.quantity) FILTER (WHERE o.state IN ('pending', 'confirmed')), 0)
    INTO orders, units
    FROM seckill.orders o WHERE o.item_id = item_contents.item_id;

    SELECT md5(string_agg(format('%s %s', t.name::text, s.sum), ',' ORDER BY t.name::text)) INTO contents
    FROM seckill.item_tables() t,
        LATERAL (SELECT coalesce(sum(('x' || substr(md5(r), 1, 15))::bit(60)::bigint::numeric), -1) AS sum
                 FROM seckill.item_rows(t.name, item_contents.item_id) r) s;
END
$$;

COMMENT ON FUNCTION seckill.item_contents(bigint) IS
'number of the orders of an item, units of those that are live, and a checksum of all its rows';

CREATE FUNCTION seckill.delete_item_rows(item_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica
AS $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT name FROM seckill.item_tables() LOOP
        EXECUTE format('DELETE FROM %s t WHERE t.item_id = $1', t) USING item_id;
    END LOOP;
END
$$;

COMMENT ON FUNCTION seckill.delete_item_rows(bigint) IS
'delete the rows of an item that is not sold here';

--
-- Moving an item.  The steps are those of docs/scale.md; each is one transaction
-- on one node, and can be repeated.
--

-- Where an item stands with this node: number of the last move that brought it
-- here, or 0.
CREATE FUNCTION seckill.hop(item_id bigint)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max(m.hop), 0) FROM seckill.moves m
    WHERE m.item_id = hop.item_id AND m.state = 'here'
$$;

COMMENT ON FUNCTION seckill.hop(bigint) IS 'number of the move that brought an item here';

CREATE FUNCTION @extschema@.seckill_whereis(
    item_id     bigint,
    OUT node_no integer,
    OUT place   text,
    OUT hop     integer,
    OUT peer    integer,
    OUT split_over integer[])
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n.node_no, p.place,
        CASE WHEN p.place IN ('here', 'moving') THEN seckill.hop(seckill_whereis.item_id) ELSE m.hop END, m.peer,
        (SELECT i.split_over FROM seckill.items i WHERE i.item_id = seckill_whereis.item_id)
    FROM @extschema@.seckill_node() n
        CROSS JOIN LATERAL (
            SELECT coalesce(
                (SELECT coalesce(i.place, 'here') FROM seckill.items i WHERE i.item_id = seckill_whereis.item_id),
                (SELECT 'gone' FROM seckill.moves o
                 WHERE o.item_id = seckill_whereis.item_id AND o.state = 'forgotten' LIMIT 1)) AS place) p
        LEFT JOIN LATERAL (
            SELECT * FROM seckill.moves v
            WHERE v.item_id = seckill_whereis.item_id
                AND v.state = ANY (CASE p.place WHEN 'gone' THEN '{gone,forgotten}'::text[] ELSE ARRAY[p.place] END)
            ORDER BY v.hop DESC LIMIT 1) m ON true
    WHERE p.place IS NOT NULL
$$;

COMMENT ON FUNCTION @extschema@.seckill_whereis(bigint) IS
'one row if this node knows the item: its place (here, moving, arriving, gone), the number of moves up to there, the node from or to which it was moved last, and the nodes over which it is split; no row otherwise';

-- Step 1, on the source.
CREATE FUNCTION @extschema@.seckill_move_out(
    item_id     bigint,
    to_node     integer,
    move_id     uuid)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    known seckill.moves;
    this record;
    next_hop integer;
BEGIN
    SELECT * INTO this FROM @extschema@.seckill_node();
    IF this.state IS DISTINCT FROM 'open' OR this.node_no = to_node THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('items cannot be moved from this node, which is %s, to node %s',
                             concat_ws(', ', 'node ' || this.node_no, this.state), to_node),
            HINT = 'Nodes get their numbers by seckill_join().';
    END IF;
    SELECT * INTO known FROM seckill.moves m
    WHERE m.item_id = seckill_move_out.item_id AND m.move_id = seckill_move_out.move_id;
    IF known.state IN ('moving', 'gone') AND known.peer = to_node THEN
        RETURN known.hop;
    ELSIF known.state IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('move %s of item %s is %s', move_id, item_id, known.state),
            HINT = 'Begin another move.';
    END IF;
    PERFORM @extschema@.seckill_set_place(item_id, 'here', 'moving');
    next_hop := seckill.hop(item_id) + 1;
    INSERT INTO seckill.moves (item_id, move_id, hop, direction, peer, state)
    VALUES (item_id, move_id, next_hop, 'out', to_node, 'moving');
    PERFORM @extschema@.seckill_wake_maintenance(clock_timestamp() + current_setting('seckill.move_timeout')::interval);
    RETURN next_hop;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_move_out(bigint, integer, uuid) IS
'step 1 of a move, on the source: stop the sale of an item and put all its units on its row; returns the number of the move';

-- Step 3, on the source: the commit that decides.
CREATE FUNCTION @extschema@.seckill_move_release(
    item_id     bigint,
    move_id     uuid,
    orders      bigint,
    units       bigint,
    contents    text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    known seckill.moves;
    own record;
BEGIN
    SELECT * INTO known FROM seckill.moves m
    WHERE m.item_id = seckill_move_release.item_id AND m.move_id = seckill_move_release.move_id
    FOR UPDATE;
    IF known.state IN ('gone', 'forgotten') THEN
        RETURN;
    ELSIF known.state IS DISTINCT FROM 'moving' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('move %s of item %s is %s', move_id, item_id, coalesce(known.state, 'not known')),
            HINT = 'Begin another move.';
    END IF;
    SELECT * INTO own FROM seckill.item_contents(item_id);
    IF (own.orders, own.units, own.contents) IS DISTINCT FROM (orders, units, contents) THEN
        RAISE serialization_failure USING
            MESSAGE = format('the copy of item %s on node %s is not what is here', item_id, known.peer),
            DETAIL = format('There are %s orders of %s live units here, %s of %s in the copy.',
                            own.orders, own.units, orders, units),
            HINT = 'Call seckill_move() again.';
    END IF;
    -- the other node sells as soon as it knows of this
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM @extschema@.seckill_set_place(item_id, 'moving', 'gone');
    UPDATE seckill.moves m
    SET state = 'gone', orders = own.orders, units = own.units, contents = own.contents,
        changed_at = clock_timestamp()
    WHERE m.item_id = known.item_id AND m.move_id = known.move_id;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_move_release(bigint, uuid, bigint, bigint, text) IS
'step 3 of a move, on the source: give the item to the other node, whose copy has these orders, live units and contents';

-- Rollback, on the source, allowed until step 3.
CREATE FUNCTION @extschema@.seckill_move_cancel(item_id bigint, move_id uuid DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    known seckill.moves;
BEGIN
    SELECT * INTO known FROM seckill.moves m
    WHERE m.item_id = seckill_move_cancel.item_id AND m.state = 'moving'
        AND m.move_id = coalesce(seckill_move_cancel.move_id, m.move_id)
    FOR UPDATE;
    IF known.state IS NULL THEN
        RETURN false;
    END IF;
    PERFORM @extschema@.seckill_set_place(item_id, 'moving', 'here');
    UPDATE seckill.moves m SET state = 'cancelled', changed_at = clock_timestamp()
    WHERE m.item_id = known.item_id AND m.move_id = known.move_id;
    RETURN true;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_move_cancel(bigint, uuid) IS
'on the source: sell an item here again that is being moved; false if it is not being moved, or has gone';

-- The state of a move, for the other node.
CREATE FUNCTION @extschema@.seckill_move_state(
    item_id     bigint,
    move_id     uuid,
    OUT state   text,
    OUT hop     integer)
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.state, m.hop FROM seckill.moves m
    WHERE m.item_id = seckill_move_state.item_id AND m.move_id = seckill_move_state.move_id
$$;

COMMENT ON FUNCTION @extschema@.seckill_move_state(bigint, uuid) IS
'state of a move on this node and its number; NULL if it is not known here';

-- dblink, wherever its extension is: these names are resolved now.  A query of
-- another node returns one column, as text.
CREATE FUNCTION seckill.remote(connection text, query text)
RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT d.r FROM dblink(connection, query) AS d (r text);
END;

COMMENT ON FUNCTION seckill.remote(text, text) IS 'rows of a query on another node';

CREATE FUNCTION seckill.remote_run(connection text, command text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT dblink_exec(connection, command);
END;

COMMENT ON FUNCTION seckill.remote_run(text, text) IS 'run a command on another node';

CREATE FUNCTION seckill.remote_open(connection text, server text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT dblink_connect(connection, server);
END;

COMMENT ON FUNCTION seckill.remote_open(text, text) IS 'connect to another node';

CREATE FUNCTION seckill.disconnect(connection text)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT dblink_disconnect(connection) WHERE connection = ANY (dblink_get_connections());
END;

COMMENT ON FUNCTION seckill.disconnect(text) IS 'close a connection to another node, if it is open';

-- A connection to another node.
CREATE FUNCTION seckill.connect(connection text, node_no integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    server text;
    other record;
BEGIN
    SELECT n.server INTO server FROM seckill.nodes n WHERE n.node_no = connect.node_no;
    IF server IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('node %s is not known here', node_no),
            HINT = 'Add it with seckill_add_node().';
    END IF;
    PERFORM seckill.disconnect(connection);
    -- one that is frozen accepts connections, and says nothing
    PERFORM seckill.remote_open(connection, CASE WHEN server LIKE '%=%' AND server NOT LIKE '%://%'
                                                 THEN 'connect_timeout=5 ' || server ELSE server END);
    PERFORM seckill.remote_run(connection, 'SET statement_timeout = 0');
    PERFORM seckill.remote(connection,
        $q$SELECT set_config('search_path', quote_ident(n.nspname) || ', pg_catalog', false)
           FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
           WHERE x.extname = 'seckill_cluster'$q$);
    SELECT * INTO other FROM jsonb_to_record((SELECT r::jsonb FROM seckill.remote(connection,
        $q$SELECT jsonb_build_object('node_no', n.node_no, 'columns', seckill.item_columns())
           FROM seckill_node() n$q$) r)) AS j (node_no integer, columns text);
    IF other.node_no IS DISTINCT FROM connect.node_no THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the server of node %s is %s', node_no,
                             coalesce('node ' || other.node_no, 'no node')),
            HINT = 'See seckill.nodes.';
    ELSIF other.columns IS DISTINCT FROM seckill.item_columns() THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('the tables of node %s have other columns than those of this node', node_no),
            HINT = 'Columns that the application has added must be the same on all nodes.';
    END IF;
END
$$;

COMMENT ON FUNCTION seckill.connect(text, integer) IS 'open a connection of dblink to another node';

-- Step 2, on the destination: copy the rows.  Triggers of the application do not
-- fire, as with replication.
CREATE FUNCTION seckill.move_in(
    connection  text,
    item_id     bigint,
    from_node   integer,
    move_id     uuid,
    hop         integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET session_replication_role = replica SET lock_timeout = '5s'
SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET timezone = 'UTC'
AS $$
DECLARE
    place text;
    other record;
    own record;
    t regclass;
BEGIN
    -- an older driver may have been held up anywhere: what it knows is read again from here on
    PERFORM @extschema@.seckill_lock_arrival(item_id);
    SELECT coalesce(i.place, 'here') INTO place FROM seckill.items i
    WHERE i.item_id = move_in.item_id FOR UPDATE;
    IF place IN ('here', 'moving') THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('item %s is on this node already', item_id);
    END IF;
    PERFORM seckill.remote_run(connection, 'BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    SELECT * INTO other FROM jsonb_to_record((SELECT r::jsonb FROM seckill.remote(connection,
        format('SELECT to_jsonb(m) FROM seckill_move_state(%s, %L) m', item_id, move_id)) r))
        AS j (state text, hop integer);
    IF other.hop IS DISTINCT FROM move_in.hop OR other.state NOT IN ('moving', 'gone') THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('move %s of item %s is %s on node %s', move_id, item_id,
                             coalesce(other.state, 'not known'), from_node);
    END IF;
    PERFORM seckill.delete_item_rows(item_id);
    UPDATE seckill.moves m SET state = 'dropped', changed_at = clock_timestamp()
    WHERE m.item_id = move_in.item_id AND m.state = 'arriving' AND m.move_id <> move_in.move_id;
    FOR t IN SELECT name FROM seckill.item_tables() LOOP
        EXECUTE format('INSERT INTO %s SELECT p.* FROM seckill.remote($1, $2) r,
                        jsonb_populate_record(NULL::%s, r::jsonb || $3) p', t, t)
        USING connection, format('SELECT * FROM seckill.item_rows(%L, %s)', t::text, item_id),
            CASE WHEN t = 'seckill.items'::regclass THEN '{"place": "arriving"}' ELSE '{}' END::jsonb;
    END LOOP;
    PERFORM seckill.remote_run(connection, 'COMMIT');
    SELECT * INTO own FROM seckill.item_contents(item_id);
    INSERT INTO seckill.moves AS m (item_id, move_id, hop, direction, peer, state, orders, units, contents)
    VALUES (item_id, move_id, hop, 'in', from_node, 'arriving', own.orders, own.units, own.contents)
    ON CONFLICT ON CONSTRAINT moves_pkey DO UPDATE
    SET orders = excluded.orders, units = excluded.units, contents = excluded.contents,
        changed_at = excluded.changed_at
    WHERE m.state = 'arriving';
    IF NOT FOUND THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('move %s of item %s has ended', move_id, item_id);
    END IF;
    PERFORM @extschema@.seckill_wake_maintenance(clock_timestamp() + '1 s');
END
$$;

COMMENT ON FUNCTION seckill.move_in(text, bigint, integer, uuid, integer) IS
'step 2 of a move, on the destination: copy the rows of the item, over an open connection';

-- Step 4, on the destination: sell the item, if the source says that it has gone;
-- drop the copy, if the source has cancelled the move.  Returns the state of the
-- move here.
CREATE FUNCTION seckill.move_end(connection text, item_id bigint, move_id uuid)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    known seckill.moves;
    other text;
BEGIN
    PERFORM @extschema@.seckill_lock_arrival(item_id);
    SELECT * INTO known FROM seckill.moves m
    WHERE m.item_id = move_end.item_id AND m.move_id = move_end.move_id FOR UPDATE;
    IF known.state IS DISTINCT FROM 'arriving' THEN
        RETURN known.state;
    END IF;
    other := (SELECT r FROM seckill.remote(connection,
        format('SELECT state FROM seckill_move_state(%s, %L)', item_id, move_id)) r);
    IF other IN ('gone', 'forgotten') THEN
        PERFORM @extschema@.seckill_set_place(item_id, 'arriving', 'here');
        PERFORM @extschema@.seckill_wake_maintenance(clock_timestamp());
        known.state := 'here';
    ELSIF other = 'moving' THEN
        RETURN known.state;
    ELSE
        PERFORM seckill.delete_item_rows(item_id);
        known.state := 'dropped';
    END IF;
    UPDATE seckill.moves m SET state = known.state, changed_at = clock_timestamp()
    WHERE m.item_id = known.item_id AND m.move_id = known.move_id;
    RETURN known.state;
END
$$;

COMMENT ON FUNCTION seckill.move_end(text, bigint, uuid) IS
'step 4 of a move, on the destination: sell the item if it has gone from the source, drop the copy if the move was cancelled there';

-- Run steps 2 and 3, and return the error instead of raising it.
CREATE FUNCTION seckill.try_step(sql text)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE sql;
    RETURN NULL;
EXCEPTION
    WHEN query_canceled THEN
        RAISE;
    WHEN OTHERS THEN
        RETURN SQLERRM;
END
$$;

COMMENT ON FUNCTION seckill.try_step(text) IS 'run a step of a move; returns its error, or NULL';

CREATE PROCEDURE @extschema@.seckill_move(item_id bigint, from_node integer)
LANGUAGE plpgsql
AS $$
DECLARE
    connection text := pg_catalog.format('seckill_move %s', item_id);
    this integer := (SELECT n.node_no FROM @extschema@.seckill_node() n WHERE n.state OPERATOR(pg_catalog.=) 'open');
    id uuid;
    hop integer;
    ended text;
    failed text;
    own record;
BEGIN
    IF this IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'this node has not joined, or was promoted or restored',
            HINT = 'seckill_join() gives it a number. After a failover or a restore, CALL seckill_rejoin().';
    END IF;
    PERFORM seckill.connect(connection, from_node);
    SELECT m.move_id INTO id FROM seckill.moves m
    WHERE m.item_id OPERATOR(pg_catalog.=) seckill_move.item_id AND m.state OPERATOR(pg_catalog.=) 'arriving'
        AND m.peer OPERATOR(pg_catalog.=) from_node;
    IF id IS NOT NULL THEN
        ended := seckill.move_end(connection, item_id, id);
        COMMIT;
        IF ended OPERATOR(pg_catalog.=) 'here' THEN
            PERFORM seckill.disconnect(connection);
            RETURN;
        END IF;
        id := CASE WHEN ended OPERATOR(pg_catalog.=) 'arriving' THEN id END;
    END IF;
    id := coalesce(id, pg_catalog.gen_random_uuid());

    hop := (SELECT r FROM seckill.remote(connection,
        pg_catalog.format('SELECT seckill_move_out(%s, %s, %L)', item_id, this, id)) r);
    COMMIT;
    failed := seckill.try_step(pg_catalog.format('SELECT seckill.move_in(%L, %s, %s, %L, %s)',
                                                 connection, item_id, from_node, id, hop));
    COMMIT;
    IF failed IS NULL THEN
        SELECT m.orders, m.units, m.contents INTO own FROM seckill.moves m
        WHERE m.item_id OPERATOR(pg_catalog.=) seckill_move.item_id AND m.move_id OPERATOR(pg_catalog.=) id;
        failed := seckill.try_step(pg_catalog.format(
            'SELECT seckill.remote(%L, %L)', connection,
            pg_catalog.format('SELECT seckill_move_release(%s, %L, %s, %s, %L)::text',
                              item_id, id, own.orders, own.units, own.contents)));
        COMMIT;
    END IF;
    IF failed IS NOT NULL THEN
        -- if the answer was lost, it may have gone all the same
        PERFORM seckill.connect(connection, from_node);
        PERFORM seckill.remote(connection,
            pg_catalog.format('SELECT seckill_move_cancel(%s, %L)', item_id, id));
        COMMIT;
    END IF;
    ended := seckill.move_end(connection, item_id, id);
    COMMIT;
    PERFORM seckill.disconnect(connection);
    IF ended IS DISTINCT FROM 'here' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('item %s was not moved: %s', item_id, coalesce(failed, ended)),
            DETAIL = pg_catalog.format('It is sold on node %s as before.', from_node);
    END IF;
END
$$;

COMMENT ON PROCEDURE @extschema@.seckill_move(bigint, integer) IS
'on the destination: move an item from another node to this one, while it is on sale; call it again after an error';

-- Step 5, on the source.
CREATE FUNCTION @extschema@.seckill_move_forget(item_id bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place text;
    n bigint;
BEGIN
    SELECT coalesce(i.place, 'here') INTO place FROM seckill.items i
    WHERE i.item_id = seckill_move_forget.item_id FOR UPDATE;
    IF place IS NULL THEN
        RETURN 0;
    ELSIF place <> 'gone' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('item %s is "%s", not "gone"', item_id, place);
    END IF;
    SELECT count(*) INTO n FROM seckill.orders o WHERE o.item_id = seckill_move_forget.item_id;
    PERFORM seckill.delete_item_rows(item_id);
    UPDATE seckill.moves m SET state = 'forgotten', changed_at = clock_timestamp()
    WHERE m.item_id = seckill_move_forget.item_id AND m.state = 'gone';
    RETURN n;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_move_forget(bigint) IS
'step 5 of a move, on the source, after the time that a restore of the destination may need: delete the rows of an item that has gone; returns the number of its orders';

-- For the maintenance worker: end the moves whose driver is gone.  Returns how many
-- are still open.
CREATE FUNCTION seckill.tend_moves()
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m seckill.moves;
    connection text;
    patience interval := current_setting('seckill.move_timeout')::interval;
BEGIN
    FOR m IN SELECT * FROM seckill.moves v WHERE v.state IN ('moving', 'arriving')
             ORDER BY v.started_at LIMIT 100
    LOOP
        BEGIN
            IF m.state = 'moving' THEN
                IF m.started_at + patience <= clock_timestamp() THEN
                    PERFORM @extschema@.seckill_move_cancel(m.item_id, m.move_id);
                END IF;
            ELSIF m.changed_at + '1 s' <= clock_timestamp() THEN
                connection := format('seckill_tend %s', m.item_id);
                PERFORM seckill.connect(connection, m.peer);
                PERFORM seckill.move_end(connection, m.item_id, m.move_id);
                PERFORM seckill.disconnect(connection);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE LOG 'move % of item % waits: %', m.move_id, m.item_id, SQLERRM;
        END;
    END LOOP;
    RETURN (SELECT count(*) FROM seckill.moves v WHERE v.state IN ('moving', 'arriving'));
END
$$;

COMMENT ON FUNCTION seckill.tend_moves() IS
'for the maintenance worker: cancel moves from here that take too long, end moves to here';

--
-- Other nodes
--

CREATE FUNCTION @extschema@.seckill_add_node(node_no integer, server text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    other record;
    own record;
BEGIN
    INSERT INTO seckill.nodes VALUES (seckill_add_node.node_no, seckill_add_node.server)
    ON CONFLICT ON CONSTRAINT nodes_pkey DO UPDATE SET server = excluded.server;
    PERFORM seckill.connect('seckill_add_node', seckill_add_node.node_no);
    SELECT * INTO other FROM jsonb_to_record((SELECT r::jsonb FROM seckill.remote('seckill_add_node',
        $q$SELECT jsonb_build_object('version', extversion, 'key', seckill_key_fingerprint())
           FROM pg_extension WHERE extname = 'seckill'$q$) r)) AS j (version text, key text);
    PERFORM seckill.disconnect('seckill_add_node');
    SELECT extversion AS version, @extschema@.seckill_key_fingerprint() AS key INTO own
    FROM pg_extension WHERE extname = 'seckill';
    IF seckill_add_node.node_no = (SELECT n.node_no FROM @extschema@.seckill_node() n) THEN
        RAISE unique_violation USING
            MESSAGE = format('this is node %s', seckill_add_node.node_no);
    ELSIF other.version <> own.version THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s has version %s of seckill, this node has %s',
                             seckill_add_node.node_no, other.version, own.version),
            HINT = 'All nodes need the same version.';
    ELSIF other.key IS DISTINCT FROM own.key THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s has another seckill.token_key than this node', seckill_add_node.node_no),
            HINT = 'A token must be valid on every node: set the same key.';
    END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_add_node(integer, text) IS
'tell this node of another one, or of its new address: a foreign server of dblink_fdw, or a connection string';

--
-- Items that are split over nodes; docs/design.md has the protocol ("Split items").
--

CREATE FUNCTION seckill.own_incarnation()
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.incarnation FROM seckill.incarnation i
$$;

COMMENT ON FUNCTION seckill.own_incarnation() IS 'incarnation of this node';

-- What numbers are worth travels with them: codes are secrets, and a node has those that
-- it may have to tell.  They are in answers only, never in the text of a query.
CREATE FUNCTION seckill.unit_values(item_id bigint, numbers int8multirange)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(u.unit, u.code, u.prize, u.amount))
    FROM unnest(numbers) r
        JOIN seckill.units u ON u.item_id = unit_values.item_id AND u.unit >= lower(r) AND u.unit < upper(r)
$$;

COMMENT ON FUNCTION seckill.unit_values(bigint, int8multirange) IS
'what numbers of an item are worth, for another node';

CREATE FUNCTION seckill.keep_values(item_id bigint, units jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- home has those of all numbers, also while they are elsewhere
    INSERT INTO seckill.units (item_id, unit, code, prize, amount)
    SELECT keep_values.item_id, (v->>0)::integer, v->>1, (v->>2)::integer, (v->>3)::bigint
    FROM jsonb_array_elements(units) v
    ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM jsonb_array_elements(units) v
                   LEFT JOIN seckill.units u ON u.item_id = keep_values.item_id AND u.unit = (v->>0)::integer
               WHERE (u.unit, u.code, u.prize, u.amount)
                     IS DISTINCT FROM ((v->>0)::integer, v->>1, (v->>2)::integer, (v->>3)::bigint))
    THEN
        RAISE data_corrupted USING
            MESSAGE = format('values of units of item %s are not the same on two nodes', item_id),
            HINT = 'Values of a split item are added on its home, with seckill_add_units().';
    END IF;
END
$$;

COMMENT ON FUNCTION seckill.keep_values(bigint, jsonb) IS
'write what numbers are worth that have come from another node';

-- The other node has all that was sent to it.  Home keeps the values of all numbers.
CREATE FUNCTION seckill.share_arrived(item_id bigint, peer integer, at_home boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c seckill.channels;
BEGIN
    SELECT * INTO c FROM seckill.channels x WHERE x.item_id = share_arrived.item_id AND x.peer = share_arrived.peer;
    IF c.transit = '{}' THEN
        RETURN;
    END IF;
    UPDATE seckill.channels x SET transit = '{}' WHERE x.item_id = share_arrived.item_id AND x.peer = share_arrived.peer;
    IF NOT at_home THEN
        PERFORM @extschema@.seckill_share_forget(item_id, c.transit);
    END IF;
END
$$;

COMMENT ON FUNCTION seckill.share_arrived(bigint, integer, boolean) IS
'the other node has told that it has all numbers that were sent to it';

CREATE FUNCTION seckill.share_receive(
    item_id     bigint,
    peer        integer,
    peer_sent   bigint,
    numbers     int8multirange,
    units       jsonb)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    item record;
    n bigint;
BEGIN
    SELECT share_receive.peer_sent - c.received INTO n FROM seckill.channels c
    WHERE c.item_id = share_receive.item_id AND c.peer = share_receive.peer FOR UPDATE;
    IF n IS NULL OR n <= 0 THEN
        RETURN 0;
    END IF;
    SELECT i.numbered, i.split_over[1] <> share_receive.peer AS home INTO item
    FROM seckill.items i WHERE i.item_id = share_receive.item_id;
    IF NOT item.numbered THEN
        UPDATE seckill.channels c SET received = share_receive.peer_sent
        WHERE c.item_id = share_receive.item_id AND c.peer = share_receive.peer;
        PERFORM @extschema@.seckill_share_add(share_receive.item_id, n::integer);
        RETURN n;
    ELSIF share_receive.numbers IS NULL THEN
        -- a call does not say which: ask for them
        PERFORM @extschema@.seckill_share_want(share_receive.item_id, 1);
        RETURN 0;
    END IF;
    UPDATE seckill.channels c SET received = share_receive.peer_sent,
        numbers = CASE WHEN item.home THEN c.numbers - share_receive.numbers ELSE c.numbers + share_receive.numbers END
    WHERE c.item_id = share_receive.item_id AND c.peer = share_receive.peer;
    IF share_receive.units IS NOT NULL THEN
        PERFORM seckill.keep_values(share_receive.item_id, share_receive.units);
    END IF;
    PERFORM @extschema@.seckill_share_add(share_receive.item_id, n::integer, share_receive.numbers);
    RETURN n;
END
$$;

COMMENT ON FUNCTION seckill.share_receive(bigint, integer, bigint, int8multirange, jsonb) IS
'take into a locked share what another node has sent, by its total; numbers and units: which they are and what they are worth, NULL: not told; returns the number of units';

-- One call between two nodes, on the one that gives.  It answers with totals, and is
-- the same whether the caller gets the answer or not.
CREATE FUNCTION @extschema@.seckill_sync(
    item_id     bigint,
    peer        integer,
    peer_incarnation bigint,
    peer_sent   bigint,
    peer_received bigint,
    wanted      integer,
    at_least    integer,
    everything  boolean,
    known_incarnation bigint,
    OUT incarnation bigint,
    OUT known   bigint,
    OUT sent    bigint,
    OUT received bigint,
    OUT judgement text,
    OUT length  bigint,
    OUT reach   integer,
    OUT numbers int8multirange,
    OUT units   jsonb,
    OUT nodes   integer[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    this record;
    c seckill.channels;
    over integer[];
    numbered boolean;
    share record;
    state record;
    given integer := 0;
    at_once integer;
    lacking bigint;
    taken integer;
BEGIN
    SELECT * INTO this FROM @extschema@.seckill_node();
    SELECT * INTO state FROM @extschema@.seckill_share_state(seckill_sync.item_id);
    IF this.state IS DISTINCT FROM 'open' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s is %s', this.node_no, this.state);
    ELSIF state.silent THEN
        judgement := 'silent';
        RETURN;
    END IF;
    incarnation := seckill.own_incarnation();
    IF NOT EXISTS (SELECT FROM seckill.items i WHERE i.item_id = seckill_sync.item_id) THEN
        -- by seckill_unsplit()
        SELECT x.sent, x.received, x.peer_incarnation, 'none' INTO sent, received, known, judgement
        FROM seckill.channels x WHERE x.item_id = seckill_sync.item_id AND x.peer = seckill_sync.peer;
        RETURN;
    END IF;
    SELECT i.split_over INTO over FROM seckill.items i WHERE i.item_id = seckill_sync.item_id;
    IF over IS NULL AND EXISTS (SELECT FROM seckill.channels x WHERE x.item_id = seckill_sync.item_id
                                    AND x.peer = seckill_sync.peer AND x.state = 'left out')
    THEN
        -- not split any more: a node that was left out has come back
        nodes := ARRAY[this.node_no];
        RETURN;
    END IF;
    SELECT * INTO share FROM @extschema@.seckill_share_lock(seckill_sync.item_id);
    SELECT i.split_over, i.numbered INTO over, numbered FROM seckill.items i WHERE i.item_id = seckill_sync.item_id;
    SELECT * INTO c FROM seckill.channels x
    WHERE x.item_id = seckill_sync.item_id AND x.peer = seckill_sync.peer FOR UPDATE;
    IF NOT FOUND THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('item %s is not split over nodes %s and %s', seckill_sync.item_id, this.node_no, seckill_sync.peer);
    END IF;
    known := c.peer_incarnation;
    IF seckill_sync.peer_incarnation < c.peer_incarnation THEN
        judgement := 'former life';
        RETURN;
    ELSIF seckill_sync.peer_received > c.sent OR seckill_sync.known_incarnation > incarnation THEN
        -- this node has forgotten what it has sent, or a life of its own
        PERFORM @extschema@.seckill_node_restored();
        judgement := 'restored';
        RETURN;
    END IF;
    UPDATE seckill.channels x SET peer_incarnation = seckill_sync.peer_incarnation
    WHERE x.item_id = seckill_sync.item_id AND x.peer = seckill_sync.peer
        AND x.peer_incarnation < seckill_sync.peer_incarnation;
    UPDATE seckill.channels x SET confirmed = seckill_sync.peer_received
    WHERE x.item_id = seckill_sync.item_id AND x.peer = seckill_sync.peer AND x.confirmed < seckill_sync.peer_received;
    IF over[1] = this.node_no THEN
        nodes := over;
        IF c.state = 'left out' THEN
            UPDATE seckill.channels x SET state = 'open'
            WHERE x.item_id = seckill_sync.item_id AND x.peer = seckill_sync.peer;
        END IF;
        -- units of a node that was not asked come in when what was proved without it is over
        IF seckill_sync.peer_sent > c.received
            AND (SELECT s.proved_until > s.now FROM @extschema@.seckill_share_state(seckill_sync.item_id) s)
        THEN
            sent := c.sent;
            received := c.received;
            IF numbered THEN
                numbers := c.transit;
                units := seckill.unit_values(seckill_sync.item_id, numbers);
            END IF;
            RETURN;
        END IF;
    END IF;
    taken := seckill.share_receive(seckill_sync.item_id, seckill_sync.peer, seckill_sync.peer_sent, NULL, NULL);
    share.free := share.free + taken;
    sent := c.sent;
    received := c.received + taken;
    numbers := c.transit;
    IF seckill_sync.peer_received = c.sent THEN
        numbers := '{}';
        PERFORM seckill.share_arrived(seckill_sync.item_id, seckill_sync.peer, over[1] = this.node_no);
    END IF;

    -- Give.  A unit leaves home only for a buyer for whom there are enough: what the other
    -- node lacks, or a part of what is left if that is more.  It leaves another node only if
    -- no buyer there can use it: half of them, so that the last one goes, too.  Units with
    -- numbers: only once the last ones have arrived, and not too many, as they take a place
    -- in the message.
    lacking := seckill_sync.peer_received + seckill_sync.wanted - sent;
    at_once := CASE WHEN numbered THEN 2000 ELSE 2147483647 END;
    IF numbered AND seckill_sync.peer_received <> c.sent THEN
        NULL;
    ELSIF over[1] = this.node_no THEN
        IF seckill_sync.wanted > 0 AND lacking > 0 AND state.grants
            AND c.state = 'open' AND seckill_sync.peer = ANY (over)
        THEN
            IF share.free >= lacking THEN
                given := greatest(lacking, least(share.free / (2 * cardinality(over)), at_once));
            ELSIF share.free > 0 AND share.free >= seckill_sync.peer_received + seckill_sync.at_least - sent THEN
                given := share.free;
            END IF;
        END IF;
    ELSIF seckill_sync.everything THEN
        given := least(share.free, at_once);
    ELSIF state.smallest = 0 OR share.free < state.smallest THEN
        given := least((share.free + 1) / 2, at_once);
    END IF;
    IF given > 0 THEN
        sent := sent + given;
        numbers := coalesce(@extschema@.seckill_share_add(seckill_sync.item_id, -given), '{}');
        UPDATE seckill.channels x SET sent = c.sent + given, transit = seckill_sync.numbers,
            sent_at = CASE WHEN x.sent > x.confirmed THEN x.sent_at ELSE clock_timestamp() END,
            numbers = CASE WHEN over[1] = this.node_no THEN x.numbers + seckill_sync.numbers
                ELSE x.numbers - seckill_sync.numbers END
        WHERE x.item_id = seckill_sync.item_id AND x.peer = seckill_sync.peer;
        share.free := share.free - given;
    END IF;
    IF numbered THEN
        units := seckill.unit_values(seckill_sync.item_id, numbers);
    END IF;

    -- judge
    IF over[1] <> this.node_no THEN
        IF share.free = 0 AND share.vacant AND @extschema@.seckill_share_promise(seckill_sync.item_id, state.now) THEN
            judgement := 'none';
        END IF;
    ELSIF given = 0 AND seckill_sync.wanted > 0 AND lacking > 0 THEN
        SELECT * INTO state FROM @extschema@.seckill_share_state(seckill_sync.item_id);
        IF state.proved_until <= state.now OR NOT share.vacant THEN
            PERFORM @extschema@.seckill_share_want(seckill_sync.item_id, seckill_sync.at_least);
        ELSIF state.grants THEN
            reach := share.free;
            IF share.free = 0 AND @extschema@.seckill_share_promise(seckill_sync.item_id, state.now) THEN
                judgement := 'sold out';
                length := state.proved_until - state.now;
            END IF;
        END IF;
    END IF;
    PERFORM @extschema@.seckill_channel_count(seckill_sync.item_id, seckill_sync.peer, over[1] <> this.node_no, given > 0, true, NULL);
    -- the other node acts on the answer, so what it tells must not be lost
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_sync(bigint, integer, bigint, bigint, bigint, integer, integer, boolean, bigint) IS
'exchange units of a split item with another node, which calls it; for the share worker of that node';

CREATE FUNCTION seckill.is_connected(connection text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT coalesce(connection = ANY (dblink_get_connections()), false);
END;

COMMENT ON FUNCTION seckill.is_connected(text) IS 'is a connection to another node open?';

CREATE FUNCTION seckill.remote_send(connection text, query text)
RETURNS integer
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT dblink_send_query(connection, query);
END;

COMMENT ON FUNCTION seckill.remote_send(text, text) IS 'send a query to another node';

CREATE FUNCTION seckill.remote_is_busy(connection text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT dblink_is_busy(connection) = 1;
END;

COMMENT ON FUNCTION seckill.remote_is_busy(text) IS 'has another node not answered the query that was sent?';

CREATE FUNCTION seckill.remote_result(connection text)
RETURNS SETOF text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT d.r FROM dblink_get_result(connection) AS d (r text);
END;

COMMENT ON FUNCTION seckill.remote_result(text) IS 'the answer to a query that was sent; to be called until it is empty';

-- The connection stays open, for the next ask.
CREATE FUNCTION seckill.share_send(item_id bigint, node_no integer, wanted integer, at_least integer, everything boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    connection text := format('seckill_share %s', node_no);
    c seckill.channels;
BEGIN
    SELECT * INTO c FROM seckill.channels x WHERE x.item_id = share_send.item_id AND x.peer = share_send.node_no;
    FOR i IN 1..2 LOOP
        IF NOT seckill.is_connected(connection) THEN
            PERFORM seckill.connect(connection, node_no);
            PERFORM seckill.remote_run(connection, 'SET statement_timeout = 1000');
        END IF;
        IF seckill.remote_send(connection, format(
            'SELECT to_jsonb(s) FROM seckill_sync(%s, %s, %s, %s, %s, %s, %s, %L, %s) s', share_send.item_id,
            (SELECT n.node_no FROM @extschema@.seckill_node() n), seckill.own_incarnation(), c.sent, c.received,
            share_send.wanted, share_send.at_least, share_send.everything, c.peer_incarnation)) = 1
        THEN
            RETURN NULL;
        END IF;
        -- an ask that was interrupted has left an answer behind
        PERFORM seckill.disconnect(connection);
    END LOOP;
    RETURN 'the connection is lost';
EXCEPTION
    WHEN query_canceled THEN
        RAISE;
    WHEN OTHERS THEN
        PERFORM seckill.disconnect(connection);
        RETURN SQLERRM;
END
$$;

COMMENT ON FUNCTION seckill.share_send(bigint, integer, integer, integer, boolean) IS
'call seckill_sync() on another node, and do not wait for its answer; returns an error, or NULL';

-- A node that is frozen does not answer, and must not hold up this one: the wait is
-- bounded, and can be interrupted.
CREATE FUNCTION seckill.share_answer(node_no integer, failed text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    connection text := format('seckill_share %s', node_no);
    answer jsonb;
    patience integer := 1000;       -- ms, at least
BEGIN
    IF failed IS NOT NULL THEN
        RETURN jsonb_build_object('node', share_answer.node_no, 'error', failed);
    END IF;
    WHILE seckill.remote_is_busy(connection) LOOP
        IF patience = 0 THEN
            PERFORM seckill.disconnect(connection);
            RETURN jsonb_build_object('node', share_answer.node_no, 'error', 'no answer');
        END IF;
        patience := patience - 1;
        PERFORM pg_sleep(0.001);
    END LOOP;
    SELECT r::jsonb || jsonb_build_object('node', share_answer.node_no) INTO answer FROM seckill.remote_result(connection) r;
    PERFORM seckill.remote_result(connection);
    RETURN answer;
EXCEPTION
    WHEN query_canceled THEN
        RAISE;
    WHEN OTHERS THEN
        IF SQLSTATE IN ('55P03', '40001', '40P01') THEN
            PERFORM seckill.remote_result(connection);
            RETURN jsonb_build_object('node', share_answer.node_no, 'judgement', 'locked');
        END IF;
        PERFORM seckill.disconnect(connection);
        RETURN jsonb_build_object('node', share_answer.node_no, 'error', SQLERRM);
END
$$;

COMMENT ON FUNCTION seckill.share_answer(integer, text) IS
'the answer of another node to seckill_sync(), or an error';

CREATE FUNCTION seckill.share_apply(item_id bigint, answer jsonb)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c seckill.channels;
    a record;
    over integer[];
BEGIN
    SELECT * INTO a FROM jsonb_to_record(answer) AS j (node integer, error text, incarnation bigint, known bigint,
        sent bigint, received bigint, judgement text, numbers int8multirange, units jsonb, nodes integer[]);
    SELECT * INTO c FROM seckill.channels x
    WHERE x.item_id = share_apply.item_id AND x.peer = a.node FOR UPDATE;
    IF a.incarnation IS NULL OR a.judgement = 'restored' OR a.incarnation < c.peer_incarnation THEN
        RETURN false;
    END IF;
    -- home decides over which nodes the item is split, and which users they have
    SELECT i.split_over INTO over FROM seckill.items i WHERE i.item_id = share_apply.item_id;
    IF a.nodes IS NOT NULL AND over[1] = a.node AND over <> a.nodes THEN
        PERFORM @extschema@.seckill_split_set(item_id, a.nodes);
    END IF;
    IF a.sent IS NULL THEN
        RETURN false;
    ELSIF a.known > seckill.own_incarnation() OR a.received > c.sent THEN
        -- the other node knows more of this one than it does itself
        PERFORM @extschema@.seckill_node_restored();
        RETURN false;
    END IF;
    UPDATE seckill.channels x SET peer_incarnation = a.incarnation
    WHERE x.item_id = share_apply.item_id AND x.peer = a.node AND x.peer_incarnation < a.incarnation;
    UPDATE seckill.channels x SET confirmed = a.received
    WHERE x.item_id = share_apply.item_id AND x.peer = a.node AND x.confirmed < a.received;
    -- as in seckill_sync(): units of a node that was left out
    IF a.nodes IS NULL AND a.sent > c.received
        AND (SELECT s.proved_until > s.now FROM @extschema@.seckill_share_state(share_apply.item_id) s)
    THEN
        RETURN false;
    END IF;
    IF a.received = c.sent THEN
        PERFORM seckill.share_arrived(item_id, a.node,
            (SELECT i.split_over[1] <> a.node FROM seckill.items i WHERE i.item_id = share_apply.item_id));
    END IF;
    PERFORM seckill.share_receive(item_id, a.node, a.sent, coalesce(a.numbers, '{}'), a.units);
    RETURN true;
END
$$;

COMMENT ON FUNCTION seckill.share_apply(bigint, jsonb) IS
'apply an answer of seckill_sync() to a locked share; false if it is of no use';

CREATE FUNCTION seckill.share_nodes(item_id bigint)
RETURNS integer[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n.node_no || ARRAY(SELECT c.peer FROM seckill.channels c
                              WHERE c.item_id = share_nodes.item_id AND c.state IN ('open', 'closing') ORDER BY c.peer)
    FROM @extschema@.seckill_node() n
$$;

COMMENT ON FUNCTION seckill.share_nodes(bigint) IS
'on home: this node, and the nodes that may have units of a split item, but for those that were left out';

-- On home.  All nodes are asked before the share is locked: no node waits for another
-- while it keeps a lock.
CREATE FUNCTION seckill.share_round(item_id bigint, nodes integer[], everything boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    began bigint := (SELECT s.now FROM @extschema@.seckill_share_state(item_id) s);
    errors text[] := ARRAY(SELECT seckill.share_send(item_id, n, 0, 0, everything) FROM unnest(nodes[2:]) n);
    answers jsonb[] := ARRAY(SELECT seckill.share_answer(n, e) FROM unnest(nodes[2:], errors) u (n, e));
    answer jsonb;
    failed text;
    proved boolean := true;
BEGIN
    PERFORM @extschema@.seckill_share_lock(item_id);
    FOREACH answer IN ARRAY answers LOOP
        -- one message for each time that a node goes away
        IF answer->>'error' IS NOT NULL AND NOT EXISTS (
            SELECT FROM seckill.stat_channels s
            WHERE s.item_id = share_round.item_id AND s.peer = (answer->>'node')::integer
                AND s.last_failure > coalesce(s.last_success, '-infinity'))
        THEN
            failed := coalesce(failed, answer->>'error');
        END IF;
        PERFORM @extschema@.seckill_channel_count(item_id, (answer->>'node')::integer, true, false,
                                                  answer->>'incarnation' IS NOT NULL, answer->>'error');
        -- nothing is on its way if both ends of the channel agree
        proved := proved AND answer->>'judgement' IS NOT DISTINCT FROM 'none'
            AND EXISTS (SELECT FROM seckill.channels c
                        WHERE c.item_id = share_round.item_id AND c.peer = (answer->>'node')::integer
                            AND c.sent = (answer->>'received')::bigint AND c.received = (answer->>'sent')::bigint);
        IF NOT seckill.share_apply(item_id, answer) THEN
            proved := false;
        END IF;
    END LOOP;
    IF proved AND seckill.share_nodes(item_id) = nodes THEN
        PERFORM @extschema@.seckill_share_prove(item_id, began);
        -- it is worth nothing if the round has taken too long
        RETURN (SELECT s.proved_until > s.now FROM @extschema@.seckill_share_state(item_id) s);
    ELSIF failed IS NOT NULL THEN
        RAISE LOG 'units of item % may be on a node that does not answer: %', item_id, failed;
    END IF;
    RETURN false;
END
$$;

COMMENT ON FUNCTION seckill.share_round(bigint, integer[], boolean) IS
'on home: ask all other nodes for their units and take them in; returns whether all units are known to be at home now';

CREATE FUNCTION seckill.share_work(item_id bigint, wanted integer, at_least integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this record;
    nodes integer[];
    share record;
    began bigint;
    answer jsonb;
BEGIN
    SELECT * INTO this FROM @extschema@.seckill_node();
    SELECT i.split_over INTO nodes FROM seckill.items i WHERE i.item_id = share_work.item_id;
    IF nodes IS NULL OR this.state <> 'open' THEN
        RETURN NULL;
    END IF;
    SELECT s.now INTO began FROM @extschema@.seckill_share_state(item_id) s;
    IF nodes[1] <> this.node_no THEN
        answer := seckill.share_answer(nodes[1], seckill.share_send(item_id, nodes[1], wanted, at_least, false));
        PERFORM @extschema@.seckill_channel_count(item_id, nodes[1], false, false,
                                                  answer->>'incarnation' IS NOT NULL, answer->>'error');
        IF answer->>'error' IS NOT NULL THEN
            RAISE connection_exception USING
                MESSAGE = format('node %s does not answer: %s', nodes[1], answer->>'error');
        END IF;
        IF answer->>'incarnation' IS NULL THEN
            IF wanted = 0 THEN
                RAISE lock_not_available USING
                    MESSAGE = format('node %s could not answer now: %s', nodes[1], answer->>'judgement');
            END IF;
            RETURN NULL;
        END IF;
        PERFORM @extschema@.seckill_share_lock(item_id);
        IF NOT seckill.share_apply(item_id, answer) THEN
            RETURN NULL;
        END IF;
        IF answer->>'judgement' = 'sold out' THEN
            PERFORM @extschema@.seckill_share_certify(item_id, began, (answer->>'length')::bigint);
        END IF;
        RETURN (answer->>'reach')::integer;
    END IF;
    -- home that has just started has nothing to ask for
    IF wanted = 0 OR NOT seckill.share_round(item_id, seckill.share_nodes(item_id), false) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO share FROM @extschema@.seckill_share_lock(item_id);
    -- the promises of the others must still count when no unit is on hold here
    IF NOT share.vacant
        OR (SELECT s.proved_until <= s.now FROM @extschema@.seckill_share_state(item_id) s)
    THEN
        RETURN NULL;
    END IF;
    IF share.free = 0 AND @extschema@.seckill_share_promise(item_id, began) THEN
        PERFORM @extschema@.seckill_share_certify(item_id, began, s.proved_until - began)
        FROM @extschema@.seckill_share_state(item_id) s;
    END IF;
    RETURN share.free;
END
$$;

COMMENT ON FUNCTION seckill.share_work(bigint, integer, integer) IS
'for the share worker: exchange units of an item with home, or on home with the other nodes; returns how many units there are on all nodes, or NULL if that was not found out';

CREATE FUNCTION seckill.check_split(item_id bigint, nodes integer[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this record;
BEGIN
    SELECT * INTO this FROM @extschema@.seckill_node();
    IF this.state IS DISTINCT FROM 'open' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('this node is %s', this.state),
            HINT = 'seckill_join() gives it a number. After a failover or a restore, CALL seckill_rejoin().';
    ELSIF nodes IS NULL OR cardinality(nodes) NOT BETWEEN 2 AND 16 OR nodes[1] IS DISTINCT FROM this.node_no
        OR cardinality(nodes) <> (SELECT count(DISTINCT n) FROM unnest(nodes) n)
        OR EXISTS (SELECT FROM unnest(nodes[2:]) n WHERE n NOT IN (SELECT k.node_no FROM seckill.nodes k))
    THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'nodes must be the numbers of 2 to 16 nodes, this one first',
            DETAIL = format('This is node %s, and it knows the nodes %s.', this.node_no,
                            (SELECT string_agg(k.node_no::text, ', ' ORDER BY k.node_no) FROM seckill.nodes k)),
            HINT = 'An item is split on the node that has it, which is its home from then on.';
    ELSIF NOT EXISTS (SELECT FROM seckill.items i WHERE i.item_id = check_split.item_id) THEN
        RAISE undefined_object USING
            MESSAGE = format('item %s does not exist', item_id);
    ELSIF EXISTS (SELECT FROM seckill.orders o WHERE o.item_id = check_split.item_id) THEN
        RAISE feature_not_supported USING
            MESSAGE = format('item %s has orders, and cannot be split over nodes any more', item_id),
            DETAIL = 'Its users would meet another node than the one that knows what they have bought.',
            HINT = 'Split an item before its sale.';
    END IF;
END
$$;

COMMENT ON FUNCTION seckill.check_split(bigint, integer[]) IS 'refuse what seckill_split() cannot do';

-- On another node than home.
CREATE FUNCTION @extschema@.seckill_split_accept(item jsonb, nodes integer[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET timezone = 'UTC'
AS $$
DECLARE
    this record;
    id bigint := (item->>'item_id')::bigint;
    known integer[];
    share int8multirange := (item->>'share')::int8multirange;
    c seckill.channels;
BEGIN
    SELECT * INTO this FROM @extschema@.seckill_node();
    IF this.state IS DISTINCT FROM 'open' OR this.node_no <> ALL (nodes) OR this.node_no = nodes[1] THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s, which is %s, cannot have a share of item %s', this.node_no, this.state, id);
    END IF;
    SELECT i.split_over INTO known FROM seckill.items i WHERE i.item_id = id;
    IF FOUND AND known = nodes THEN
        RETURN;
    ELSIF FOUND THEN
        RAISE duplicate_object USING
            MESSAGE = format('item %s exists on node %s', id, this.node_no),
            HINT = 'An item that is to be split is on its home alone.';
    END IF;
    INSERT INTO seckill.items
    SELECT p.* FROM jsonb_populate_record(NULL::seckill.items, item || '{"stock": 0, "seal": null}') p;
    PERFORM @extschema@.seckill_split_set(id, nodes);
    INSERT INTO seckill.channels (item_id, peer) VALUES (id, nodes[1]) ON CONFLICT DO NOTHING;
    SELECT * INTO c FROM seckill.channels x WHERE x.item_id = id AND x.peer = nodes[1];
    IF c.state = 'closed' THEN
        -- seckill_unsplit() has dropped the share: its numbers were those of deleted orders
        UPDATE seckill.channels x SET state = 'open', numbers = coalesce(share, '{}') WHERE x.item_id = id AND x.peer = nodes[1];
        IF share <> '{}' THEN
            PERFORM @extschema@.seckill_share_rejoin(id, share, share);
        END IF;
    ELSIF c.numbers <> '{}' THEN
        -- a restore has lost the share, and home has told its numbers to seckill_rejoin()
        UPDATE seckill.channels x SET received = x.received + (SELECT sum(upper(r) - lower(r)) FROM unnest(x.numbers) r)
        WHERE x.item_id = id AND x.peer = nodes[1];
        PERFORM @extschema@.seckill_share_rejoin(id, c.numbers, '{}');
    END IF;
    INSERT INTO seckill.prizes
    SELECT p.* FROM jsonb_populate_recordset(NULL::seckill.prizes, item->'prizes') p
    ON CONFLICT DO NOTHING;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_split_accept(jsonb, integer[]) IS
'for seckill_split(), on another node than home: make a share of an item, without units';

CREATE FUNCTION seckill.await_transactions(patience interval)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    running text[] := ARRAY(
        SELECT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid());
    until timestamptz := clock_timestamp() + patience;
BEGIN
    WHILE EXISTS (SELECT FROM pg_locks l
                  WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualtransaction = ANY (running))
    LOOP
        IF clock_timestamp() > until THEN
            RAISE lock_not_available USING
                MESSAGE = 'transactions that began before have not ended',
                HINT = 'See pg_stat_activity. End them, and call it again.';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;

COMMENT ON FUNCTION seckill.await_transactions(interval) IS
'wait until all transactions of this database have ended that run now';

-- The sale of the item has stopped.  A purchase that began before may not know that the
-- item is split, and belongs to any node: wait for its end.
CREATE FUNCTION seckill.split_here(item_id bigint, nodes integer[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM seckill.await_transactions('10 s');
    PERFORM seckill.check_split(item_id, nodes);
    INSERT INTO seckill.channels (item_id, peer)
    SELECT split_here.item_id, n FROM unnest(nodes[2:]) n
    ON CONFLICT ON CONSTRAINT channels_pkey DO UPDATE SET state = 'open';
    PERFORM @extschema@.seckill_set_place(item_id, 'moving', 'here');
    PERFORM @extschema@.seckill_split_set(item_id, nodes);
END
$$;

COMMENT ON FUNCTION seckill.split_here(bigint, integer[]) IS
'for seckill_split(), on home: split an item whose sale has stopped, and go on with its sale';

-- Prizes go along, for people; what numbers are worth comes with the numbers.
CREATE FUNCTION seckill.share_of(item_id bigint, node_no integer)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r::jsonb || jsonb_build_object(
        'share', (SELECT c.numbers FROM seckill.channels c WHERE c.item_id = share_of.item_id AND c.peer = share_of.node_no),
        'prizes', (SELECT coalesce(jsonb_agg(p::jsonb), '[]') FROM seckill.item_rows('seckill.prizes', share_of.item_id) p))
    FROM seckill.item_rows('seckill.items', share_of.item_id) r
$$;

COMMENT ON FUNCTION seckill.share_of(bigint, integer) IS
'an item with its prizes, and the numbers that another node has, for seckill_split_accept() there';

CREATE PROCEDURE @extschema@.seckill_split(item_id bigint, nodes integer[])
LANGUAGE plpgsql
AS $$
DECLARE
    node integer;
    failed text;
    item seckill.items;
BEGIN
    SELECT * INTO item FROM seckill.items i WHERE i.item_id OPERATOR(pg_catalog.=) seckill_split.item_id;
    IF item.split_over IS NULL THEN
        PERFORM seckill.check_split(item_id, nodes);
        UPDATE seckill.channels c SET state = 'open'
        WHERE c.item_id OPERATOR(pg_catalog.=) seckill_split.item_id AND c.peer OPERATOR(pg_catalog.=) ANY (nodes[2:]);
        COMMIT;
    ELSIF item.split_over OPERATOR(pg_catalog.<>) nodes THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('item %s is split over the nodes %s', item_id, item.split_over),
            HINT = 'The nodes of a split item stay as they are. CALL seckill_unsplit() once its sale is over.';
    END IF;
    FOREACH node IN ARRAY nodes[2:] LOOP
        CONTINUE WHEN node OPERATOR(pg_catalog.=) nodes[1];     -- in the place of one that was left out
        PERFORM seckill.connect('seckill_split', node);
        PERFORM seckill.remote('seckill_split', pg_catalog.format('SELECT seckill_split_accept(%L, %L)::text',
            (SELECT seckill.share_of(seckill_split.item_id, node)), nodes));
        PERFORM seckill.disconnect('seckill_split');
    END LOOP;
    IF item.split_over OPERATOR(pg_catalog.=) nodes THEN
        -- a node had lost its share, or seckill_unsplit() has not ended
        UPDATE seckill.channels c SET state = 'open'
        WHERE c.item_id OPERATOR(pg_catalog.=) seckill_split.item_id AND c.state OPERATOR(pg_catalog.=) 'closing';
        RETURN;
    END IF;
    PERFORM @extschema@.seckill_set_place(item_id, coalesce(item.place, 'here'), 'moving');
    COMMIT;
    failed := seckill.try_step(pg_catalog.format('SELECT seckill.split_here(%s, %L)', item_id, nodes));
    IF failed IS NOT NULL THEN
        PERFORM @extschema@.seckill_set_place(item_id, 'moving', 'here');
        COMMIT;
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('item %s was not split: %s', item_id, failed),
            HINT = 'Call seckill_split() again.';
    END IF;
END
$$;

COMMENT ON PROCEDURE @extschema@.seckill_split(bigint, integer[]) IS
'on the node that has an item, before its sale: have several nodes sell it, each a share of its units; nodes: their numbers, this one first; call it again after an error';

CREATE PROCEDURE @extschema@.seckill_gather(item_id bigint, available integer DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    nodes integer[] := (SELECT i.split_over FROM seckill.items i WHERE i.item_id OPERATOR(pg_catalog.=) seckill_gather.item_id);
    until timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) '10 s'::interval;
    gathered boolean;
BEGIN
    IF nodes IS NULL OR nodes[1] IS DISTINCT FROM (SELECT n.node_no FROM @extschema@.seckill_node() n
                                                  WHERE n.state OPERATOR(pg_catalog.=) 'open') THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('this is not the home of item %s', item_id),
            HINT = 'items.split_over names the nodes of an item that is split, its home first.';
    END IF;
    -- those that were left out may be back
    PERFORM seckill.ask_again(item_id);
    LOOP
        PERFORM @extschema@.seckill_share_keep(item_id, 1000);
        gathered := seckill.gather_here(item_id, seckill.share_nodes(item_id), available);
        COMMIT;
        EXIT WHEN gathered;
        IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) until THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = pg_catalog.format('not all units of item %s could be brought home', item_id),
                HINT = 'Nothing is lost. The log says which node does not answer; call it again.';
        END IF;
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
    PERFORM @extschema@.seckill_share_keep(item_id, 0);
END
$$;

COMMENT ON PROCEDURE @extschema@.seckill_gather(bigint, integer) IS
'on the home of a split item: bring all its units home; available: and set how many are left';

CREATE FUNCTION seckill.gather_here(item_id bigint, nodes integer[], available integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT seckill.share_round(item_id, nodes, true) THEN
        RETURN false;
    END IF;
    IF available IS NOT NULL THEN
        PERFORM @extschema@.seckill_set_available(item_id, available);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION seckill.gather_here(bigint, integer[], integer) IS
'for seckill_gather(): bring units home, and set their number if all are here; returns whether they are';

-- Does another node answer?
CREATE FUNCTION seckill.answers(node_no integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM seckill.connect('seckill_answers', node_no);
    PERFORM seckill.disconnect('seckill_answers');
    RETURN true;
EXCEPTION
    WHEN query_canceled THEN
        RAISE;
    WHEN OTHERS THEN
        PERFORM seckill.disconnect('seckill_answers');
        RETURN false;
END
$$;

COMMENT ON FUNCTION seckill.answers(integer) IS 'does another node answer, with its number?';

CREATE FUNCTION seckill.ask_again(item_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    node integer;
BEGIN
    FOR node IN SELECT c.peer FROM seckill.channels c WHERE c.item_id = ask_again.item_id AND c.state = 'left out' LOOP
        IF seckill.answers(node) THEN
            UPDATE seckill.channels c SET state = 'open' WHERE c.item_id = ask_again.item_id AND c.peer = node;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION seckill.ask_again(bigint) IS
'for seckill_gather(), on home: ask the nodes again that were left out, if they answer';

-- The units of the node stay in its channel: they were sold there, or are there, or on
-- their way, and nobody can tell.  Its users are those of home from now on.
CREATE FUNCTION @extschema@.seckill_split_without(item_id bigint, node_no integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    nodes integer[] := (SELECT i.split_over FROM seckill.items i WHERE i.item_id = seckill_split_without.item_id);
    c seckill.channels;
BEGIN
    IF nodes IS NULL OR nodes[1] IS DISTINCT FROM (SELECT n.node_no FROM @extschema@.seckill_node() n WHERE n.state = 'open') THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('this is not the home of item %s', item_id),
            HINT = 'items.split_over names the nodes of an item that is split, its home first. A home that is lost is restored: no other node knows what it has.';
    END IF;
    SELECT * INTO c FROM seckill.channels x
    WHERE x.item_id = seckill_split_without.item_id AND x.peer = seckill_split_without.node_no;
    IF c.state IS NULL OR c.state = 'closed' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('node %s has no share of item %s', node_no, item_id);
    ELSIF c.state = 'left out' THEN
        RETURN c.sent - c.received;
    ELSIF seckill.answers(node_no) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s answers', node_no),
            DETAIL = 'It sells its share of the item, and its users would be those of two nodes.',
            HINT = 'Only a node that is lost is left out. Stop it first, and make sure that it does not start again.';
    END IF;
    PERFORM @extschema@.seckill_share_lock(item_id);
    UPDATE seckill.channels x SET state = 'left out'
    WHERE x.item_id = seckill_split_without.item_id AND x.peer = seckill_split_without.node_no
    RETURNING x.* INTO c;
    SELECT i.split_over INTO nodes FROM seckill.items i WHERE i.item_id = seckill_split_without.item_id;
    PERFORM @extschema@.seckill_split_set(item_id, array_replace(nodes, node_no, nodes[1]));
    RETURN c.sent - c.received;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_split_without(bigint, integer) IS
'on the home of a split item, when another of its nodes is lost for good: go on without it; home gets its users; returns how many units it has had, sold ones among them, which stay off sale';

-- TRUNCATE would leave the totals of units that are not there any more.
CREATE FUNCTION seckill.check_truncate()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM seckill.items i WHERE i.split_over IS NOT NULL) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'cannot truncate items or orders while an item is split over nodes',
            HINT = 'CALL seckill_unsplit() on its home first.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION seckill.check_truncate() IS
'trigger on seckill.items and seckill.orders: refuses TRUNCATE while an item is split over nodes';

CREATE TRIGGER items_split BEFORE TRUNCATE ON seckill.items
    FOR EACH STATEMENT EXECUTE FUNCTION seckill.check_truncate();
CREATE TRIGGER orders_split BEFORE TRUNCATE ON seckill.orders
    FOR EACH STATEMENT EXECUTE FUNCTION seckill.check_truncate();
COMMENT ON TRIGGER items_split ON seckill.items IS 'no TRUNCATE while an item is split over nodes';
COMMENT ON TRIGGER orders_split ON seckill.orders IS 'no TRUNCATE while an item is split over nodes';
ALTER TRIGGER items_split ON seckill.items DEPENDS ON EXTENSION seckill_cluster;
ALTER TRIGGER orders_split ON seckill.orders DEPENDS ON EXTENSION seckill_cluster;

-- On another node than home: delete a share, which has no units and no orders.
CREATE FUNCTION @extschema@.seckill_split_drop(item_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    item seckill.items;
BEGIN
    SELECT * INTO item FROM seckill.items i WHERE i.item_id = seckill_split_drop.item_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    ELSIF item.split_over IS NULL OR item.stock + item.leased > 0
        OR EXISTS (SELECT FROM seckill.orders o WHERE o.item_id = seckill_split_drop.item_id)
    THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('node %s still has orders or units of item %s', (SELECT n.node_no FROM @extschema@.seckill_node() n), item_id),
            HINT = 'Move its orders to an archive there, with seckill_write_off().';
    END IF;
    PERFORM @extschema@.seckill_split_set(item_id, '{}');
    PERFORM @extschema@.seckill_set_place(item_id, 'here', 'gone');
    PERFORM seckill.delete_item_rows(item_id);
    UPDATE seckill.channels c SET transit = '{}', numbers = '{}', state = 'closed' WHERE c.item_id = seckill_split_drop.item_id;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_split_drop(bigint) IS
'for seckill_unsplit(), on another node than home: delete a share that has no units and no orders';

-- For seckill_unsplit(), on home: if all units are here, none leaves any more.  A server
-- that is restarted knows that, too.
CREATE FUNCTION seckill.close_shares(item_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT seckill.share_round(item_id, seckill.share_nodes(item_id), true) THEN
        RETURN false;
    END IF;
    UPDATE seckill.channels c SET state = 'closing' WHERE c.item_id = close_shares.item_id AND c.state = 'open';
    RETURN true;
END
$$;

COMMENT ON FUNCTION seckill.close_shares(bigint) IS
'for seckill_unsplit(), on home: send no units to other nodes any more, if all are here; returns whether they are';

CREATE FUNCTION seckill.drop_share(item_id bigint, node_no integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM seckill.connect('seckill_split', node_no);
    PERFORM seckill.remote('seckill_split', format('SELECT seckill_split_drop(%s)::text', item_id));
    PERFORM seckill.disconnect('seckill_split');
END
$$;

COMMENT ON FUNCTION seckill.drop_share(bigint, integer) IS
'for seckill_unsplit(), on home: delete the share of another node';

CREATE PROCEDURE @extschema@.seckill_unsplit(item_id bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    node integer;
    dropped integer[] := '{}';
    closed boolean;
    failed text;
BEGIN
    CALL @extschema@.seckill_gather(item_id);
    FOR i IN 1..100 LOOP
        PERFORM @extschema@.seckill_share_keep(item_id, 1000);
        closed := seckill.close_shares(item_id);
        COMMIT;
        EXIT WHEN closed;
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
    IF NOT closed THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = pg_catalog.format('not all units of item %s could be brought home', item_id),
            HINT = 'Nothing is lost. The log says which node does not answer; call it again.';
    END IF;
    FOR node IN SELECT c.peer FROM seckill.channels c
                WHERE c.item_id OPERATOR(pg_catalog.=) seckill_unsplit.item_id AND c.state OPERATOR(pg_catalog.=) 'closing'
    LOOP
        failed := seckill.try_step(pg_catalog.format('SELECT seckill.drop_share(%s, %s)', item_id, node));
        EXIT WHEN failed IS NOT NULL;
        dropped := dropped OPERATOR(pg_catalog.||) node;
    END LOOP;
    IF failed IS NOT NULL THEN
        -- the sale goes on, on the nodes that have a share
        UPDATE seckill.channels c SET state = 'open'
        WHERE c.item_id OPERATOR(pg_catalog.=) seckill_unsplit.item_id AND c.state OPERATOR(pg_catalog.=) 'closing'
            AND c.peer OPERATOR(pg_catalog.<>) ALL (dropped);
        COMMIT;
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = failed,
            HINT = 'Move its orders on the other nodes to an archive, with seckill_write_off(), and call seckill_unsplit() again. Or CALL seckill_split() with the same nodes, to sell it there again.';
    END IF;
    PERFORM @extschema@.seckill_share_lock(item_id);
    PERFORM @extschema@.seckill_split_set(item_id, '{}');
    -- numbers of orders that were deleted on the other nodes are off sale here now
    UPDATE seckill.channels c SET transit = '{}', numbers = '{}',
        state = CASE c.state WHEN 'closing' THEN 'closed' ELSE c.state END
    WHERE c.item_id OPERATOR(pg_catalog.=) seckill_unsplit.item_id;
END
$$;

COMMENT ON PROCEDURE @extschema@.seckill_unsplit(bigint) IS
'on the home of a split item whose other shares have no orders any more: sell it on this node alone';

--
-- After a failover or a restore
--

-- What this node knows of moves between it and another one.
CREATE FUNCTION @extschema@.seckill_moves_with(
    node_no     integer,
    OUT item_id bigint,
    OUT move_id uuid,
    OUT hop     integer,
    OUT direction text,
    OUT state   text,
    OUT orders  bigint,
    OUT units   bigint,
    OUT contents text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.item_id, m.move_id, m.hop, m.direction, m.state, m.orders, m.units, m.contents
    FROM seckill.moves m WHERE m.peer = seckill_moves_with.node_no ORDER BY m.item_id, m.hop
$$;

COMMENT ON FUNCTION @extschema@.seckill_moves_with(integer) IS
'moves between this node and another one, as this node knows them';

CREATE FUNCTION @extschema@.seckill_reopen()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (SELECT n.state FROM @extschema@.seckill_node() n) = 'closed' THEN
        PERFORM seckill.set_ranges((SELECT n.node_no FROM @extschema@.seckill_node() n), seckill.timeline(), true);
        UPDATE seckill.incarnation i SET homes_on = NULL WHERE i.homes_on IS NOT NULL;
    END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_reopen() IS
'sell again after the promotion of a standby that has every commit (synchronous replication), without asking the other nodes';

-- Lines of a timeline's history: timeline, place, reason.  A standby that was promoted has
-- followed each to its end.
CREATE FUNCTION seckill.is_followed(history text, since bigint)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(bool_and(l[2] = 'no recovery target specified'), false)
    FROM regexp_matches(history, '^\s*(\d+)\t[^\t]*\t([^\n]*)$', 'gn') l
    WHERE l[1]::bigint >= since
$$;

COMMENT ON FUNCTION seckill.is_followed(text, bigint) IS
'by the history of a timeline: has no recovery to a target ended since a timeline?';

-- For the maintenance worker of a server with seckill.lossless, that was promoted.
CREATE FUNCTION seckill.reopen_lossless()
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    since bigint;
BEGIN
    IF (SELECT n.state FROM @extschema@.seckill_node() n) <> 'closed' THEN
        RETURN false;
    END IF;
    SELECT s.seqstart & ((1::bigint << 40) - 1) INTO since
    FROM pg_sequence s WHERE s.seqrelid = 'seckill.orders_order_id_seq'::regclass;
    -- 0: seckill_node_restored() has closed it
    IF since = 0 OR NOT coalesce(seckill.is_followed(
        pg_read_file(format('pg_wal/%s.history', lpad(upper(to_hex(seckill.timeline())), 8, '0')), 0, 1000000, true), since), false)
    THEN
        RETURN false;
    END IF;
    PERFORM @extschema@.seckill_reopen();
    RETURN true;
END
$$;

COMMENT ON FUNCTION seckill.reopen_lossless() IS
'for the maintenance worker of a server with seckill.lossless: sell again after a promotion, unless it was a restore; returns whether it does';

CREATE FUNCTION @extschema@.seckill_node_restored()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM seckill.set_ranges((SELECT n.node_no FROM @extschema@.seckill_node() n), 0, true);
    UPDATE seckill.incarnation i SET homes_on = NULL WHERE i.homes_on IS NOT NULL;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_node_restored() IS
'after a restore from a copy of the disk, which leaves the timeline as it was: close this node until seckill_rejoin()';

-- Undo what the lost commits have left behind.  The last move of an item from or to this
-- node, among those that any other node knows, says where the item is.
CREATE FUNCTION seckill.follow(item_id bigint, last jsonb)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m record;
    place text;
BEGIN
    SELECT * INTO m FROM jsonb_to_record(last) AS j (node integer, move_id uuid, hop integer, direction text, state text,
        orders bigint, units bigint, contents text);
    IF EXISTS (SELECT FROM seckill.moves v WHERE v.item_id = follow.item_id
               AND (v.hop > m.hop OR v.hop = m.hop AND v.state IN ('gone', 'forgotten', 'here')))
    THEN
        RETURN true;    -- it is known here
    END IF;
    SELECT coalesce(i.place, 'here') INTO place FROM seckill.items i WHERE i.item_id = follow.item_id;
    IF place IN ('here', 'moving') THEN
        PERFORM @extschema@.seckill_set_place(item_id, place, 'gone');
    END IF;
    IF m.direction = 'in' THEN
        -- it has left
        INSERT INTO seckill.moves AS v (item_id, move_id, hop, direction, peer, state, orders, units, contents)
        VALUES (item_id, m.move_id, m.hop, 'out', m.node, CASE WHEN place IS NULL THEN 'forgotten' ELSE 'gone' END,
                m.orders, m.units, m.contents)
        ON CONFLICT ON CONSTRAINT moves_pkey DO UPDATE
        SET state = excluded.state, orders = excluded.orders, units = excluded.units, contents = excluded.contents,
            changed_at = excluded.changed_at;
    ELSIF m.state = 'gone' THEN
        -- it has come: copy it again
        PERFORM seckill.move_in(format('seckill_rejoin %s', m.node), item_id, m.node, m.move_id, m.hop);
        -- the rows there are those that had gone, but for the version of the item
        UPDATE seckill.moves v SET contents = m.contents
        WHERE v.item_id = follow.item_id AND v.move_id = m.move_id AND (v.orders, v.units) = (m.orders, m.units);
    ELSE
        RETURN false;
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION seckill.follow(bigint, jsonb) IS
'after a failover or a restore: follow the last move of an item that other nodes know; false if its rows are nowhere';

-- On another node: the node that calls has a new life, so nothing of its former ones
-- counts any more.  Returns the totals of all channels between the two.
CREATE FUNCTION @extschema@.seckill_hello(
    node_no     integer,
    new_incarnation bigint,
    OUT item_id bigint,
    OUT sent    bigint,
    OUT received bigint,
    OUT split_over integer[],
    OUT incarnation bigint,
    OUT numbered boolean,
    OUT numbers int8multirange,
    OUT kept    int8multirange,
    OUT closed  boolean,
    OUT units   jsonb)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE seckill.channels c SET peer_incarnation = greatest(c.peer_incarnation, seckill_hello.new_incarnation),
        state = CASE WHEN c.state = 'left out' THEN 'open' ELSE c.state END
    WHERE c.peer = seckill_hello.node_no
    RETURNING c.item_id, c.sent, c.received, (SELECT i.split_over FROM seckill.items i WHERE i.item_id = c.item_id),
        seckill.own_incarnation(), (SELECT i.numbered FROM seckill.items i WHERE i.item_id = c.item_id),
        c.numbers, c.numbers - coalesce((SELECT i.numbers FROM seckill.items i WHERE i.item_id = c.item_id), '{}'),
        (SELECT n.state <> 'open' FROM @extschema@.seckill_node() n) AND NOT EXISTS (
            SELECT FROM seckill.incarnation l JOIN seckill.items i ON i.item_id = c.item_id
            WHERE l.homes_on = seckill.timeline() AND i.split_over[1] <> c.peer),
        seckill.unit_values(c.item_id, c.numbers)
$$;

COMMENT ON FUNCTION @extschema@.seckill_hello(integer, bigint) IS
'for seckill_rejoin() of another node: forget its former lives; totals of the units exchanged with it and, if they have numbers, which the other node has at its end of a channel (of those, kept: sold or leased) and what they are worth';

CREATE FUNCTION @extschema@.seckill_known_incarnation(node_no integer)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max(c.peer_incarnation), 0) FROM seckill.channels c WHERE c.peer = seckill_known_incarnation.node_no
$$;

COMMENT ON FUNCTION @extschema@.seckill_known_incarnation(integer) IS
'for seckill_rejoin() of another node: its incarnation, as far as this one knows';

-- The numbers of a restored node.  Those of another node than home are what home says,
-- without those that it has sent and home has not got; home does not answer before it has
-- rejoined itself.  Those of home are all that no other node has.  A node that was restored,
-- too, and has not rejoined, will ask home for its numbers: it gives way to the others, and
-- to orders of home and numbers off sale; of two such nodes, the one that has sold or leased
-- a number goes before the one that has it on its row.
CREATE FUNCTION seckill.rejoin_numbers(item_id bigint, this_node integer, answers jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    item seckill.items := (SELECT i FROM seckill.items i WHERE i.item_id = rejoin_numbers.item_id);
    home boolean := item.split_over[1] = this_node;
    known bigint;               -- home has had the numbers from 1 on
    fixed int8multirange;       -- at home for good
    others int8multirange := '{}';
    own int8multirange;
    lost int8multirange := '{}';
    theirs int8multirange;
    c seckill.channels;
    t record;
    ended integer;
BEGIN
    IF home THEN
        SELECT item.supplied + coalesce(sum(upper(r) - lower(r)), 0) INTO known
        FROM (SELECT unnest(item.off_sale) UNION ALL
              SELECT unnest(x.numbers) FROM seckill.channels x WHERE x.item_id = rejoin_numbers.item_id) n (r);
        SELECT item.off_sale + coalesce(range_agg(int8range(o.unit, o.unit, '[]')), '{}') INTO fixed
        FROM seckill.orders o WHERE o.item_id = rejoin_numbers.item_id AND o.unit IS NOT NULL;
        FOR t IN
            -- turns: nodes that are open; what others have sold; what they have; those that do not know the item
            SELECT n.turn, x.peer, j.sent, j.received, j.numbers, j.kept
            FROM seckill.channels x
                LEFT JOIN jsonb_to_recordset(answers) AS j (node integer, sent bigint, received bigint,
                    numbers int8multirange, kept int8multirange, closed boolean) ON j.node = x.peer
                CROSS JOIN generate_series(0, 3) n (turn)
            WHERE x.item_id = rejoin_numbers.item_id
                AND CASE WHEN j.node IS NULL THEN n.turn = 3 WHEN j.closed THEN n.turn IN (1, 2) ELSE n.turn = 0 END
            ORDER BY n.turn, x.peer
        LOOP
            SELECT * INTO c FROM seckill.channels x WHERE x.item_id = rejoin_numbers.item_id AND x.peer = t.peer;
            theirs := CASE t.turn
                WHEN 0 THEN t.numbers
                WHEN 1 THEN t.kept - others - fixed
                WHEN 2 THEN c.numbers + (t.numbers - others - fixed)
                ELSE c.numbers - others - fixed END;
            IF t.turn IN (1, 2) OR c.sent <= t.received THEN
                c.transit := '{}';
            END IF;
            theirs := theirs + c.transit;
            others := others + theirs;
            UPDATE seckill.channels x SET numbers = theirs, transit = c.transit
            WHERE x.item_id = rejoin_numbers.item_id AND x.peer = t.peer;
        END LOOP;
        own := int8multirange(int8range(1, 1 + greatest(known, coalesce(upper(others) - 1, 0)))) - others;
        lost := own - int8multirange(int8range(1, 1 + known));
    ELSE
        SELECT * INTO t FROM jsonb_to_recordset(answers) AS j (node integer, sent bigint, received bigint,
            numbers int8multirange) WHERE j.node = item.split_over[1];
        SELECT * INTO c FROM seckill.channels x WHERE x.item_id = rejoin_numbers.item_id AND x.peer = t.node;
        IF c.sent <= t.received THEN
            c.transit := '{}';
        END IF;
        own := t.numbers - c.transit;
        UPDATE seckill.channels x SET numbers = own, transit = c.transit
        WHERE x.item_id = rejoin_numbers.item_id AND x.peer = t.node;
        PERFORM @extschema@.seckill_share_forget(rejoin_numbers.item_id,
            int8multirange(int8range(1, 2147483648)) - own - c.transit);
    END IF;
    UPDATE seckill.channels x SET sent = greatest(x.sent, j.received), received = greatest(x.received, j.sent),
        confirmed = greatest(x.confirmed, j.received)
    FROM jsonb_to_recordset(answers) AS j (node integer, sent bigint, received bigint)
    WHERE x.item_id = rejoin_numbers.item_id AND x.peer = j.node;
    PERFORM seckill.keep_values(rejoin_numbers.item_id, j->'units')
    FROM jsonb_array_elements(answers) j WHERE jsonb_typeof(j->'units') = 'array';
    ended := @extschema@.seckill_share_rejoin(rejoin_numbers.item_id, own, lost);
    IF ended > 0 THEN
        RAISE WARNING '% orders of item % had been cancelled or had expired after the copy was made: they are again, as other nodes have their numbers',
            ended, rejoin_numbers.item_id;
    END IF;
END
$$;

COMMENT ON FUNCTION seckill.rejoin_numbers(bigint, integer, jsonb) IS
'for seckill_rejoin(): which numbers of a locked share this node has, by the answers of the others';

-- After a restore: what the others have received was sent, and what they have sent was
-- received, whatever this copy says.  Orders that are lost are on sale again.  If more
-- had left than the copy ever had, the rest is missing, and is shown.
--
-- Two nodes that were restored may each be the home of items with numbers that the other
-- one sells, too.  So each first finds out, in a transaction of its own, which numbers of
-- its items others have (homes), and then asks the homes of other items.
CREATE FUNCTION seckill.rejoin_shares(this_node integer, homes boolean)
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    node integer;
    life bigint := seckill.own_incarnation();
    totals jsonb := '[]';
    answers jsonb;
    their record;
    nodes integer[];
    share record;
    units bigint;
BEGIN
    FOR node IN SELECT n.node_no FROM seckill.nodes n LOOP
        totals := totals || (SELECT coalesce(jsonb_agg(r::jsonb || jsonb_build_object('node', node)), '[]')
                             FROM seckill.remote(format('seckill_rejoin %s', node),
                                 format('SELECT to_jsonb(h) FROM seckill_hello(%s, %s) h', this_node, life)) r);
    END LOOP;
    -- item by item: what one node has got may have come from another one
    FOR their IN
        SELECT t.item_id, max(t.split_over) AS split_over, array_agg(t.node) AS nodes,
            bool_or(t.numbered AND t.split_over IS NOT NULL) AS numbered
        FROM jsonb_to_recordset(totals) AS t (item_id bigint, node integer, split_over integer[], numbered boolean)
        GROUP BY t.item_id
        HAVING NOT homes OR bool_or(t.numbered AND t.split_over[1] = this_node)
        ORDER BY t.item_id
    LOOP
        answers := (SELECT jsonb_agg(t) FROM jsonb_array_elements(totals) t WHERE (t->>'item_id')::bigint = their.item_id);
        IF their.numbered AND their.split_over[1] <> this_node
            AND EXISTS (SELECT FROM jsonb_to_recordset(answers) AS t (node integer, closed boolean)
                        WHERE t.closed AND t.node = their.split_over[1])
        THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('node %s, the home of item %s, is closed', their.split_over[1], their.item_id),
                DETAIL = 'It does not know which numbers are on this node.',
                HINT = format('CALL seckill_rejoin() on node %s first.', their.split_over[1]);
        END IF;
        SELECT i.split_over INTO nodes FROM seckill.items i WHERE i.item_id = their.item_id;
        IF NOT FOUND THEN
            -- split since the copy was made: as if all that was sent had come before
            INSERT INTO seckill.channels (item_id, peer, sent, received)
            SELECT their.item_id, t.node, t.received, t.received
            FROM jsonb_to_recordset(totals) AS t (item_id bigint, node integer, received bigint, split_over integer[])
            WHERE t.item_id = their.item_id AND t.split_over IS NOT NULL
            ON CONFLICT DO NOTHING;
            IF FOUND AND this_node = ANY (their.split_over) THEN
                IF their.numbered THEN
                    UPDATE seckill.channels c SET numbers = t.numbers
                    FROM jsonb_to_recordset(answers) AS t (node integer, numbers int8multirange)
                    WHERE c.item_id = their.item_id AND c.peer = t.node;
                    PERFORM seckill.keep_values(their.item_id, t->'units')
                    FROM jsonb_array_elements(answers) t WHERE jsonb_typeof(t->'units') = 'array';
                END IF;
                RETURN NEXT their.item_id;
            END IF;
            CONTINUE;
        ELSIF nodes IS NULL AND their.split_over[1] = this_node THEN
            INSERT INTO seckill.channels (item_id, peer) SELECT their.item_id, n FROM unnest(their.nodes) n
            ON CONFLICT DO NOTHING;
            PERFORM @extschema@.seckill_split_set(their.item_id, their.split_over);
        ELSIF nodes IS NULL THEN
            CONTINUE;
        ELSIF EXISTS (SELECT FROM unnest(their.nodes) n
                      WHERE n NOT IN (SELECT c.peer FROM seckill.channels c WHERE c.item_id = their.item_id))
        THEN
            RAISE data_corrupted USING
                MESSAGE = format('channels of item %s, which is split over nodes, are missing', their.item_id),
                HINT = 'Restore seckill.channels, too.';
        END IF;
        SELECT * INTO share FROM @extschema@.seckill_share_lock(their.item_id);
        IF NOT share.vacant THEN
            RAISE object_in_use USING
                MESSAGE = format('transactions that have begun before hold units of item %s', their.item_id),
                HINT = 'Call seckill_rejoin() again.';
        END IF;
        PERFORM FROM seckill.channels c WHERE c.item_id = their.item_id FOR UPDATE;
        IF EXISTS (SELECT FROM jsonb_to_recordset(totals) AS t (item_id bigint, node integer, incarnation bigint)
                       JOIN seckill.channels c ON c.item_id = t.item_id AND c.peer = t.node
                   WHERE t.item_id = their.item_id AND t.incarnation < c.peer_incarnation
                       -- with numbers a node cannot have rejoined before its home has
                       AND (NOT their.numbered OR t.node = their.split_over[1]))
        THEN
            RAISE serialization_failure USING
                MESSAGE = 'another node has rejoined meanwhile',
                HINT = 'Call seckill_rejoin() again.';
        END IF;
        IF their.numbered THEN
            PERFORM seckill.rejoin_numbers(their.item_id, this_node, answers);
            IF nodes[1] <> this_node AND nodes <> their.split_over THEN
                PERFORM @extschema@.seckill_split_set(their.item_id, their.split_over);     -- as home says
            END IF;
            CONTINUE;
        END IF;
        SELECT sum(greatest(t.sent - c.received, 0) - greatest(t.received - c.sent, 0)) INTO units
        FROM jsonb_to_recordset(totals) AS t (item_id bigint, node integer, sent bigint, received bigint)
            JOIN seckill.channels c ON c.item_id = t.item_id AND c.peer = t.node
        WHERE t.item_id = their.item_id;
        IF share.free + units < 0 THEN
            INSERT INTO seckill.shortfalls (item_id, units) VALUES (their.item_id, -(share.free + units));
            RAISE WARNING 'item %: % units were sold or sent that this node does not have', their.item_id, -(share.free + units);
            -- supplied, and not there: the audit of this node shows no difference, this table does
            units := -share.free;
        END IF;
        PERFORM @extschema@.seckill_share_add(their.item_id, units::integer);
        UPDATE seckill.channels c SET sent = greatest(c.sent, t.received), received = greatest(c.received, t.sent),
            confirmed = greatest(c.confirmed, t.received)
        FROM jsonb_to_recordset(totals) AS t (item_id bigint, node integer, sent bigint, received bigint)
        WHERE t.item_id = their.item_id AND c.item_id = t.item_id AND c.peer = t.node;
        IF nodes[1] <> this_node AND nodes <> their.split_over THEN
            PERFORM @extschema@.seckill_split_set(their.item_id, their.split_over);     -- as home says
        END IF;
    END LOOP;
    UPDATE seckill.incarnation i SET homes_on = CASE WHEN homes THEN seckill.timeline() END;
END
$$;

COMMENT ON FUNCTION seckill.rejoin_shares(integer, boolean) IS
'for seckill_rejoin(): agree with the other nodes on what was exchanged; homes: of items with numbers whose home this is, and of no others; returns items whose share is lost';

-- Committed before others are told of it: a rejoin that fails, because another node has to
-- rejoin first, must not leave this one behind what they know.
CREATE FUNCTION seckill.begin_life(this_node integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    node integer;
    life bigint := seckill.own_incarnation();
BEGIN
    FOR node IN SELECT n.node_no FROM seckill.nodes n LOOP
        life := greatest(life, (SELECT r::bigint FROM seckill.remote(format('seckill_rejoin %s', node),
            format('SELECT seckill_known_incarnation(%s)::text', this_node)) r));
    END LOOP;
    -- by the clock, as another node may have been restored from a copy that knows less
    UPDATE seckill.incarnation i
    SET incarnation = greatest(life + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
END
$$;

COMMENT ON FUNCTION seckill.begin_life(integer) IS
'for seckill_rejoin(): a new incarnation, higher than all that other nodes know';

CREATE PROCEDURE @extschema@.seckill_rejoin()
LANGUAGE plpgsql
AS $$
DECLARE
    node integer;
    known jsonb := '[]';
    lost bigint[];
    shares bigint[];
    this record;
BEGIN
    SELECT n.node_no, n.state INTO this FROM @extschema@.seckill_node() n;
    IF this.state IS DISTINCT FROM 'closed' THEN
        RETURN;
    END IF;
    -- all must answer, as each may have items that this node counts, too
    FOR node IN SELECT n.node_no FROM seckill.nodes n ORDER BY n.node_no LOOP
        PERFORM seckill.connect(pg_catalog.format('seckill_rejoin %s', node), node);
    END LOOP;
    PERFORM seckill.begin_life(this.node_no);
    COMMIT;
    IF EXISTS (SELECT FROM seckill.items i WHERE i.numbered AND i.split_over[1] OPERATOR(pg_catalog.=) this.node_no) THEN
        PERFORM seckill.rejoin_shares(this.node_no, true);
        COMMIT;
    END IF;
    FOR node IN SELECT n.node_no FROM seckill.nodes n ORDER BY n.node_no LOOP
        known := known OPERATOR(pg_catalog.||) (
            SELECT coalesce(pg_catalog.jsonb_agg(r::pg_catalog.jsonb), '[]')
            FROM seckill.remote(pg_catalog.format('seckill_rejoin %s', node), pg_catalog.format(
                'SELECT to_jsonb(m) || jsonb_build_object(''node'', %s) FROM seckill_moves_with(%s) m
                 WHERE m.state IN (''here'', ''gone'', ''forgotten'')', node, this.node_no)) r);
    END LOOP;
    -- moves before the last one of each item, for the audit
    INSERT INTO seckill.moves (item_id, move_id, hop, direction, peer, state, orders, units, contents)
    SELECT k.item_id, k.move_id, k.hop, CASE k.direction WHEN 'in' THEN 'out' ELSE 'in' END, k.node,
        CASE k.direction WHEN 'in' THEN 'forgotten' ELSE 'here' END, k.orders, k.units, k.contents
    FROM pg_catalog.jsonb_to_recordset(known) AS k (item_id bigint, node integer, move_id pg_catalog.uuid, hop integer,
            direction text, orders bigint, units bigint, contents text)
    WHERE k.hop OPERATOR(pg_catalog.<) (
        SELECT pg_catalog.max(o.hop) FROM pg_catalog.jsonb_to_recordset(known) AS o (item_id bigint, hop integer)
        WHERE o.item_id OPERATOR(pg_catalog.=) k.item_id)
    ON CONFLICT ON CONSTRAINT moves_pkey DO NOTHING;
    lost := ARRAY(
        SELECT l.item_id
        FROM (SELECT DISTINCT ON ((k OPERATOR(pg_catalog.->>) 'item_id')::bigint)
                  (k OPERATOR(pg_catalog.->>) 'item_id')::bigint AS item_id, k
              FROM pg_catalog.jsonb_array_elements(known) k
              ORDER BY (k OPERATOR(pg_catalog.->>) 'item_id')::bigint, (k OPERATOR(pg_catalog.->>) 'hop')::integer DESC) l
        WHERE NOT seckill.follow(l.item_id, l.k));
    shares := ARRAY(SELECT seckill.rejoin_shares(this.node_no, false));
    FOR node IN SELECT n.node_no FROM seckill.nodes n LOOP
        PERFORM seckill.disconnect(pg_catalog.format('seckill_rejoin %s', node));
    END LOOP;
    PERFORM seckill.set_ranges(this.node_no, seckill.timeline(), true);
    COMMIT;
    IF pg_catalog.cardinality(shares) OPERATOR(pg_catalog.>) 0 THEN
        RAISE WARNING USING
            MESSAGE = pg_catalog.format('items were split over this node after the copy was made: %s', shares),
            HINT = 'CALL seckill_split() again on the home of each, with the same nodes.';
    END IF;
    IF pg_catalog.cardinality(lost) OPERATOR(pg_catalog.>) 0 THEN
        RAISE WARNING USING
            MESSAGE = pg_catalog.format('items that had moved to this node are lost: %s', lost),
            DETAIL = 'Their rows were deleted on the node that they came from.';
    END IF;
END
$$;

COMMENT ON PROCEDURE @extschema@.seckill_rejoin() IS
'after a failover or a restore: ask all other nodes which items have come to them, or gone from them to this node, then sell again';

--
-- Audit.  Rows of one node, for a reader that compares those of all nodes.
--

CREATE FUNCTION @extschema@.seckill_node_audit(
    item            bigint DEFAULT NULL,
    OUT node_no     integer,
    OUT item_id     bigint,
    OUT place       text,
    OUT hop         integer,
    OUT supplied    bigint,
    OUT stock       bigint,
    OUT unsold      bigint,
    OUT sold        bigint,
    OUT difference  bigint,
    OUT moves       jsonb,
    OUT split_over  integer[],
    OUT channels    jsonb,
    OUT astray      bigint)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT n.node_no, k.item_id,
        CASE WHEN i.item_id IS NULL THEN 'forgotten' ELSE coalesce(i.place, 'here') END,
        seckill.hop(k.item_id), a.supplied, a.stock, a.unsold, a.sold, a.difference,
        coalesce((SELECT jsonb_agg(jsonb_build_object('move_id', m.move_id, 'hop', m.hop, 'direction', m.direction,
                    'peer', m.peer, 'state', m.state, 'orders', m.orders, 'units', m.units, 'contents', m.contents)
                    ORDER BY m.hop)
                  FROM seckill.moves m WHERE m.item_id = k.item_id), '[]'),
        i.split_over,
        coalesce((SELECT jsonb_agg(jsonb_build_object('peer', c.peer, 'sent', c.sent, 'received', c.received,
                    'transit', c.transit, 'numbers', c.numbers) ORDER BY c.peer)
                  FROM seckill.channels c WHERE c.item_id = k.item_id), '[]'),
        seckill_count(a.twice) + abs(a.missing) + seckill_count(a.foreign_numbers) + a.double_sold
    FROM @extschema@.seckill_node() n
        CROSS JOIN (
            SELECT x.item_id FROM seckill.items x WHERE item IS NULL OR x.item_id = item
            UNION
            SELECT m.item_id FROM seckill.moves m WHERE item IS NULL OR m.item_id = item
            UNION
            SELECT c.item_id FROM seckill.channels c WHERE item IS NULL OR c.item_id = item) k
        LEFT JOIN seckill.items i ON i.item_id = k.item_id
        LEFT JOIN seckill_audit(item) a ON a.item_id = k.item_id
    ORDER BY k.item_id;
END;

COMMENT ON FUNCTION @extschema@.seckill_node_audit(bigint) IS
'seckill_audit() of this node, where each item is sold as this node knows it, and its moves; for cluster_audit() of a router';

-- The audit of all nodes, without a snapshot that spans them.  Each node's numbers are of
-- one snapshot of its own.  The nodes are read twice: an item that a node sells in both
-- readings, by the same number of moves, it has sold all the time between them.  What one
-- node has given away must be what another one has got.
--
-- A split item is the sum of its shares and of what is on its way between them.  Totals
-- only grow, so what was received by the first reading was sent by the second one.
CREATE FUNCTION seckill.judge(first jsonb, second jsonb, nodes integer[])
RETURNS TABLE (item_id bigint, node_no integer, supplied bigint, available bigint, sold bigint, difference bigint, verdict text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $judge$
    WITH a AS (
        SELECT 1 AS reading, r.* FROM jsonb_to_recordset(first) AS r (node_no integer, item_id bigint, place text, hop integer,
            supplied bigint, stock bigint, unsold bigint, sold bigint, difference bigint, moves jsonb,
            split_over integer[], channels jsonb, astray bigint)
        UNION ALL
        SELECT 2, r.* FROM jsonb_to_recordset(second) AS r (node_no integer, item_id bigint, place text, hop integer,
            supplied bigint, stock bigint, unsold bigint, sold bigint, difference bigint, moves jsonb,
            split_over integer[], channels jsonb, astray bigint)
    ), sellers AS (
        SELECT a.item_id, a.node_no, a.hop, count(*) = 2 AS both
        FROM a WHERE a.place IN ('here', 'moving') GROUP BY 1, 2, 3
    ), ends AS (        -- of moves, by the last reading
        SELECT a.item_id, a.node_no, m.*
        FROM a, jsonb_to_recordset(a.moves) AS m (move_id uuid, hop integer, direction text, peer integer, state text,
            orders bigint, units bigint, contents text)
        WHERE a.reading = 2
    ), broken AS (      -- what has come is not what has gone
        SELECT i.item_id FROM ends i JOIN ends o USING (item_id, move_id)
        WHERE i.direction = 'in' AND i.state = 'here' AND o.direction = 'out'
            AND (o.state NOT IN ('gone', 'forgotten')
                 OR (i.orders, i.units, i.contents) IS DISTINCT FROM (o.orders, o.units, o.contents))
    ), lost AS (        -- gone, and never arrived.  The other node is read after this one, in one of the readings
        SELECT o1.item_id FROM a o1, jsonb_to_recordset(o1.moves) AS o (move_id uuid, peer integer, state text)
        WHERE o1.reading = 1 AND o.state IN ('gone', 'forgotten')
            AND o.peer = ANY (nodes)
            AND NOT EXISTS (SELECT FROM ends i WHERE i.move_id = o.move_id AND i.direction = 'in')
    ), split AS (       -- the readings of home
        SELECT a.reading, a.item_id, a.node_no, a.split_over AS over
        FROM a WHERE a.split_over[1] = a.node_no
    ), sums AS (
        SELECT h.reading, h.item_id, h.node_no, sum(a.supplied)::bigint AS supplied, sum(a.stock + a.unsold)::bigint AS available,
            sum(a.sold)::bigint AS sold, sum(a.difference)::bigint AS difference,
            count(a.item_id) FILTER (WHERE a.node_no = ANY (h.over)) = (SELECT count(DISTINCT o) FROM unnest(h.over) o) AS whole,
            bool_or(a.difference <> 0) AS wrong,
            coalesce(sum(a.astray), 0) > 0 AS astray
        FROM split h LEFT JOIN a ON a.item_id = h.item_id AND a.reading = h.reading AND a.split_over[1] = h.node_no
        GROUP BY 1, 2, 3, h.over
    ), links AS (       -- from one node to another
        SELECT a.reading, a.item_id, a.node_no AS node, c.peer, c.sent, c.received, c.transit, c.numbers,
            a.split_over[1] = a.node_no AS home
        FROM a, jsonb_to_recordset(a.channels) AS c (peer integer, sent bigint, received bigint,
            transit int8multirange, numbers int8multirange)
    ), transit AS (
        SELECT g.item_id, coalesce(sum(g.sent - t.received), 0)::bigint AS units,
            coalesce(sum(g.sent - g.received) FILTER (WHERE t.node IS NULL), 0)::bigint AS stranded,
            bool_or(t1.received > g.sent) AS made, bool_or(g1.sent <> g.sent OR t1.received <> t.received) AS moving,
            -- home knows the numbers of the other node, and those on their way
            bool_or(g.home AND g.numbers <> t.numbers + CASE WHEN g.sent > t.received THEN g.transit ELSE '{}' END
                                            + CASE WHEN t.sent > g.received THEN t.transit ELSE '{}' END) AS differ
        FROM links g
            LEFT JOIN links t ON t.reading = 2 AND t.item_id = g.item_id AND t.node = g.peer AND t.peer = g.node
            LEFT JOIN links g1 ON g1.reading = 1 AND g1.item_id = g.item_id AND g1.node = g.node AND g1.peer = g.peer
            LEFT JOIN links t1 ON t1.reading = 1 AND t1.item_id = g.item_id AND t1.node = g.peer AND t1.peer = g.node
        WHERE g.reading = 2 GROUP BY 1
    )
    SELECT z.item_id, z.node_no, z.supplied + t.units + t.stranded, z.available + t.units, z.sold, z.difference,
        CASE
            WHEN NOT z.whole THEN 'a share is missing'
            WHEN z.wrong OR t.made OR f.wrong THEN 'units made or lost'
            WHEN t.moving OR f.sold <> z.sold THEN 'moving'
            WHEN z.astray OR t.differ THEN 'numbers differ'
            WHEN t.units > 0 THEN 'in transit'
            WHEN t.stranded > 0 THEN 'stranded'
            ELSE 'ok'
        END
    FROM sums z JOIN transit t USING (item_id) JOIN sums f ON f.reading = 1 AND f.item_id = z.item_id
    WHERE z.reading = 2
    UNION ALL
    SELECT k.item_id, s.node_no, s.supplied, s.stock + s.unsold, s.sold, s.difference,
        CASE
            WHEN (SELECT count(*) FROM sellers v WHERE v.item_id = k.item_id AND v.both) > 1 THEN 'sold on two nodes'
            WHEN EXISTS (SELECT FROM broken b WHERE b.item_id = k.item_id) THEN 'a move has changed it'
            WHEN EXISTS (SELECT FROM lost l WHERE l.item_id = k.item_id) THEN 'lost in a move'
            WHEN EXISTS (SELECT FROM a d WHERE d.item_id = k.item_id AND d.difference <> 0) THEN 'units made or lost'
            WHEN s.node_no IS NULL OR s.place = 'moving'
                OR (SELECT count(*) FROM sellers v WHERE v.item_id = k.item_id) > 1 THEN 'moving'
            WHEN s.astray > 0 THEN 'numbers differ'
            ELSE 'ok'
        END
    FROM (SELECT DISTINCT a.item_id FROM a WHERE a.item_id NOT IN (SELECT h.item_id FROM split h)) k
        LEFT JOIN LATERAL (SELECT * FROM a WHERE a.item_id = k.item_id AND a.place IN ('here', 'moving')
                           ORDER BY a.reading DESC, a.hop DESC LIMIT 1) s ON true
    ORDER BY 1
$judge$;

COMMENT ON FUNCTION seckill.judge(jsonb, jsonb, integer[]) IS
'verdict on each item, from two readings of seckill_node_audit() on these nodes';

--
-- A router: a database with PL/Proxy that has the functions of the extension, and
-- sends each call to the node that sells the item.  seckill_router() returns the
-- statements that make it, from the catalog of this node.
--

-- How the functions of the extension are routed: by item, by the items of an array,
-- by ticket or tickets, on any node, or not at all.  NULL: not for clients.
CREATE FUNCTION seckill.routing(function regprocedure)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN p.prorettype = 'trigger'::regtype
            OR p.proname IN ('seckill_mode', 'seckill_is_own', 'seckill_count', 'seckill_own_numbers') OR p.proname LIKE 'seckill\_check\_%' THEN NULL
        WHEN p.pronargs > 0 AND p.proargnames[1] IN ('item_id', 'item_ids', 'ticket', 'tickets') THEN p.proargnames[1]
        WHEN p.provolatile = 'i' OR p.proname = 'seckill_make_codes' THEN 'any'
        ELSE 'none'
    END
    FROM pg_proc p WHERE p.oid = function
$$;

COMMENT ON FUNCTION seckill.routing(regprocedure) IS
'argument by which a router sends a call to a node: item_id, item_ids, ticket, tickets; any: to any node; none: it cannot; NULL: not for clients';

-- The statements that make one function of a router.  The first function, in
-- PL/Proxy, runs on a given node.  The second one has the name and the signature of
-- the extension's, chooses the node, and asks again when the item has moved.
CREATE FUNCTION seckill.routed_function(function regprocedure)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $router$
DECLARE
    p pg_proc;
    route text := seckill.routing(function);
    name text;
    arguments text;         -- as declared, with defaults and OUT arguments
    types text;             -- of the IN arguments
    passed text;            -- IN arguments
    numbered text;          -- parameters of the query on the node
    outs text[];            -- names of the columns
    out_types text[];
    result text;
    columns text;
    has_outcome boolean;
    body text;
BEGIN
    SELECT * INTO p FROM pg_proc q WHERE q.oid = function;
    name := quote_ident(p.proname);
    -- types of the extension are in the same schema as the functions
    PERFORM set_config('search_path', (SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE n.oid = p.pronamespace), true);
    arguments := pg_get_function_arguments(p.oid);
    result := pg_get_function_result(p.oid);
    SELECT string_agg(format_type(t.type, NULL), ', ' ORDER BY t.n),
        string_agg(format('$%s', t.n), ', ' ORDER BY t.n),
        string_agg(format('$%s', t.n + 1), ', ' ORDER BY t.n)
    INTO types, passed, numbered
    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY t (type, n);
    SELECT array_agg(quote_ident(p.proargnames[a.n]) ORDER BY a.n), array_agg(format_type(a.type, NULL) ORDER BY a.n)
    INTO outs, out_types
    FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY a (type, mode, n) WHERE a.mode = 'o';
    PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    types := coalesce(types, '');
    passed := coalesce(passed, '');
    has_outcome := 'seckill_outcome' = ANY (out_types);
    IF route = 'none' THEN
        RETURN format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS %3$s LANGUAGE plpgsql AS $$
BEGIN
    RAISE feature_not_supported USING
        MESSAGE = '%1$s() cannot be routed',
        HINT = 'Call it on a node, or read the views seckill.cluster_items, cluster_orders, cluster_stock, cluster_stat_items and cluster_stat_worker, and cluster_audit().';
END
$$;
$f$, name, arguments, result);
    END IF;

    columns := coalesce((SELECT string_agg(format('%s %s', o.name, o.type), ', ' ORDER BY o.n)
                         FROM unnest(outs, out_types) WITH ORDINALITY o (name, type, n)), 'result ' || result);
    body := format($f$
CREATE FUNCTION seckill_remote.%1$s(integer%2$s) RETURNS TABLE (%3$s) LANGUAGE plproxy AS $$
    CLUSTER 'seckill';
    RUN ON $1;
    SELECT * FROM %1$s(%4$s);
$$;
$f$, name, CASE WHEN types <> '' THEN ', ' || types ELSE '' END, columns, numbered);

    -- PL/pgSQL does not allow an IN and an OUT argument of one name
    IF p.proargnames[1:p.pronargs] && outs THEN
        RETURN body || seckill.routed_call(p, 'seckill_remote.' || name || '_routed',
            concat_ws(', ', types, (SELECT string_agg(format('OUT %s %s', o.name, o.type), ', ' ORDER BY o.n)
                                    FROM unnest(outs, out_types) WITH ORDINALITY o (name, type, n))),
            passed, outs, out_types, route, result)
            || format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS %3$s LANGUAGE sql AS $$
    SELECT * FROM seckill_remote.%1$s_routed(%4$s);
$$;
$f$, name, arguments, result, passed);
    END IF;
    IF outs IS NULL THEN
        outs := ARRAY['result'];
        out_types := ARRAY[result];
    END IF;
    RETURN body || CASE
        WHEN route IN ('item_ids', 'tickets') OR p.proname IN ('seckill_buy_many', 'seckill_claim_many') THEN
            seckill.routed_list(p, name, arguments, passed, outs)
        ELSE seckill.routed_call(p, name, arguments, passed, outs, out_types, route, result)
    END;
END
$router$;

COMMENT ON FUNCTION seckill.routed_function(regprocedure) IS 'the statements that make a function of a router';

-- How a router finds the node of a call on an item.  If the item is split, its users and
-- orders have nodes of their own.
CREATE FUNCTION seckill.node_expression(p pg_proc)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN u.at <= p.pronargs THEN format('seckill.node_of($1, $%s)', u.at)
        WHEN o.at <= p.pronargs THEN format('seckill.node_of_order($1, $%s)', o.at)
        ELSE 'seckill.node_of($1)' END
    FROM (SELECT array_position(p.proargnames, 'user_id') AS at) u, (SELECT array_position(p.proargnames, 'order_id') AS at) o
$$;

COMMENT ON FUNCTION seckill.node_expression(pg_proc) IS 'how a router finds the node of a call on an item';

-- A function that is routed by one argument.  All rows are read before the first one is
-- returned, as the call may have to be repeated.
CREATE FUNCTION seckill.routed_call(p pg_proc, name text, arguments text, passed text, outs text[], out_types text[],
                                    route text, result text)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $router$
DECLARE
    node text := CASE route
        WHEN 'item_id' THEN seckill.node_expression(p)
        WHEN 'ticket' THEN 'seckill.node_of_ticket($1)'
        ELSE 'seckill.any_node()' END;
    outcome integer := array_position(outs, 'outcome');
    vars text := (SELECT string_agg(format('v%s %s', n, CASE WHEN p.proretset THEN t || '[]' ELSE t END), '; ' ORDER BY n)
                  FROM unnest(out_types) WITH ORDINALITY o (t, n));
    targets text := (SELECT string_agg('v' || n, ', ' ORDER BY n) FROM generate_subscripts(outs, 1) n);
    reads text := (SELECT string_agg(CASE WHEN p.proretset THEN format('array_agg(r.%s ORDER BY r.ordinality)', o) ELSE 'r.' || o END, ', ' ORDER BY n)
                   FROM unnest(outs) WITH ORDINALITY u (o, n));
    moved text := CASE
        WHEN out_types[outcome] IS DISTINCT FROM 'seckill_outcome' OR route <> 'item_id' THEN NULL
        WHEN p.proretset THEN format('''moved'' = ANY (v%s)', outcome)
        ELSE format('v%s = ''moved''', outcome) END;
    busy text := CASE
        WHEN p.proretset THEN format('v%1$s := array_replace(v%1$s, ''moved'', ''busy'')', outcome)
        ELSE format('v%1$s := ''busy''', outcome) END;
    finish text := CASE
        WHEN p.proretset THEN format('RETURN QUERY SELECT * FROM unnest(%s)', targets)
        WHEN p.proallargtypes IS NULL AND result = 'void' THEN 'RETURN'
        WHEN p.proallargtypes IS NULL THEN 'RETURN v1'
        ELSE (SELECT string_agg(format('%s := v%s', o, n), '; ' ORDER BY n) FROM unnest(outs) WITH ORDINALITY u (o, n)) END;
BEGIN
    RETURN format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS %3$s LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    node integer := %4$s;
    %5$s;
BEGIN
    FOR attempt IN 1..5 LOOP
        BEGIN
            SELECT %6$s INTO %7$s FROM seckill_remote.%15$s(node%8$s) %9$s r;
            EXIT%10$s;
        EXCEPTION%11$s
        END;
%12$s    END LOOP;
    %13$s%14$s;
END
$$;
$f$,
        name, arguments, result, node, vars, reads, targets,
        CASE WHEN passed <> '' THEN ', ' || passed ELSE '' END,
        CASE WHEN p.proretset THEN 'WITH ORDINALITY' ELSE '' END,
        CASE WHEN moved IS NOT NULL THEN format(' WHEN NOT coalesce(%s, false)', moved) ELSE '' END,
        CASE WHEN route = 'item_id' THEN $e$
            WHEN SQLSTATE 'SK005' OR undefined_object THEN
                -- moved, or not known there: perhaps it is elsewhere
                IF attempt = 5 OR (SQLSTATE = '42704' AND seckill.learn($1) = node) THEN
                    RAISE;
                END IF;$e$
        ELSE $e$
            WHEN SQLSTATE 'SK005' THEN
                RAISE;$e$ END,
        CASE WHEN route = 'item_id' THEN format(E'        PERFORM seckill.learn($1);\n        node := %s;\n', node) ELSE '' END,
        CASE WHEN p.proname = 'seckill_put_item' THEN E'PERFORM seckill.learn($1);\n    ' ELSE '' END ||
        CASE WHEN moved IS NOT NULL THEN format(E'IF %s THEN\n        %s;\n    END IF;\n    ', moved, busy) ELSE '' END,
        finish, quote_ident(p.proname));
END
$router$;

COMMENT ON FUNCTION seckill.routed_call(pg_proc, text, text, text, text[], text[], text, text) IS
'the statement that makes a function of a router which is routed by one argument';

-- Functions on arrays of items or tickets, by hand: they differ too much.
CREATE FUNCTION seckill.routed_list(p pg_proc, name text, arguments text, passed text, outs text[])
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $router$
DECLARE
    more_vars text;
    more_set text;
    more_out text;
    quantities boolean;
BEGIN
    IF p.proname IN ('seckill_buy_many', 'seckill_claim_many') THEN
        -- columns after outcome and order_id, and an argument that one of them lacks
        SELECT coalesce(string_agg(format(E'    v%s %s[] := array_fill(NULL::%s, ARRAY[n]);\n', a.n - 1, a.type, a.type), '' ORDER BY a.n), ''),
            coalesce(string_agg(format(' v%s[r.place] := r.%s;', a.n - 1, a.name), '' ORDER BY a.n), ''),
            coalesce(string_agg(format(', v%s', a.n - 1), '' ORDER BY a.n), '')
        INTO more_vars, more_set, more_out
        FROM (SELECT quote_ident(q.name) AS name, format_type(q.type, NULL) AS type, row_number() OVER (ORDER BY q.n) + 1 AS n
              FROM unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY q (name, type, mode, n)
              WHERE q.mode = 'o') a
        WHERE a.n > 4;
        quantities := 'quantities' = ANY (p.proargnames);
        -- what a node has sold stays sold, so only the rest is asked again
        RETURN format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    n integer := cardinality($2);
    part record;
    r record;
    v2 seckill_outcome[] := array_fill(NULL::seckill_outcome, ARRAY[n]);
    v3 bigint[] := array_fill(NULL::bigint, ARRAY[n]);
%4$sBEGIN
    IF n IS NULL OR n = 0 OR array_ndims($2) > 1
        OR coalesce(cardinality(%1$s.request_ids), n) <> n OR coalesce(cardinality(%1$s.tokens), n) <> n%7$s
    THEN
        -- let the node say what is wrong
        RETURN QUERY SELECT * FROM seckill_remote.%1$s(seckill.node_of($1), %3$s);
        RETURN;
    END IF;
    FOR attempt IN 1..5 LOOP
        FOR part IN
            SELECT seckill.node_of($1, u) AS node, array_agg(o::integer ORDER BY o) AS places
            FROM unnest($2) WITH ORDINALITY x (u, o) WHERE v2[o] IS NULL OR v2[o] = 'moved'
            GROUP BY 1 ORDER BY 1
        LOOP
            BEGIN
                FOR r IN
                    SELECT t.*, part.places[t.ordinality] AS place
                    FROM seckill_remote.%1$s(part.node, $1,
                        ARRAY(SELECT %1$s.user_ids[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k), $3,
                        CASE WHEN %1$s.request_ids IS NOT NULL THEN
                            ARRAY(SELECT %1$s.request_ids[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k) END,
                        CASE WHEN %1$s.tokens IS NOT NULL THEN
                            ARRAY(SELECT %1$s.tokens[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k) END%8$s)
                        WITH ORDINALITY t
                LOOP
                    v2[r.place] := r.outcome; v3[r.place] := r.order_id;%5$s
                END LOOP;
            EXCEPTION
                WHEN SQLSTATE 'SK005' OR undefined_object THEN
                    IF attempt = 5 OR (SQLSTATE = '42704' AND seckill.learn($1) = part.node) THEN
                        RAISE;
                    END IF;
            END;
        END LOOP;
        EXIT WHEN NOT coalesce('moved' = ANY (v2), false) AND array_position(v2, NULL) IS NULL;
        PERFORM seckill.learn($1);
    END LOOP;
    RETURN QUERY SELECT * FROM unnest($2, array_replace(v2, 'moved', 'busy'), v3%6$s);
END
$$;
$f$, name, arguments, passed, more_vars, more_set, more_out,
            CASE WHEN quantities THEN format(E'\n        OR coalesce(cardinality(%s.quantities), n) <> n', name) ELSE '' END,
            CASE WHEN quantities THEN format(E',\n                        CASE WHEN %1$s.quantities IS NOT NULL THEN
                            ARRAY(SELECT %1$s.quantities[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k) END', name) ELSE '' END);
    ELSIF p.proname = 'seckill_buy_items' THEN
        RETURN format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    nodes integer[] := ARRAY(SELECT DISTINCT seckill.node_of(i, u) FROM unnest(%1$s.item_ids, %1$s.user_ids) x (i, u)
                             WHERE i IS NOT NULL);
    v1 bigint[]; v2 bigint[]; v3 seckill_outcome[]; v4 bigint[];
BEGIN
    FOR attempt IN 1..5 LOOP
        IF cardinality(nodes) > 1 THEN
            RAISE feature_not_supported USING
                MESSAGE = 'the items are sold on several nodes',
                DETAIL = format('Nodes: %%s.', array_to_string(nodes, ', ')),
                HINT = 'One call buys on one node, as it is one transaction. Make a call for the items of each node, with request_ids, and cancel what was bought if another one fails; or move the items to one node.';
        END IF;
        SELECT array_agg(r.item_id ORDER BY r.ordinality), array_agg(r.user_id ORDER BY r.ordinality),
            array_agg(r.outcome ORDER BY r.ordinality), array_agg(r.order_id ORDER BY r.ordinality)
        INTO v1, v2, v3, v4
        FROM seckill_remote.%1$s(coalesce(nodes[1], seckill.any_node()), %3$s) WITH ORDINALITY r;
        EXIT WHEN NOT coalesce('moved' = ANY (v3) OR 'unknown_item' = ANY (v3), false);
        PERFORM seckill.learn(i) FROM unnest(%1$s.item_ids) i;
        nodes := ARRAY(SELECT DISTINCT seckill.node_of(i, u) FROM unnest(%1$s.item_ids, %1$s.user_ids) x (i, u));
        -- what was bought has been committed
        EXIT WHEN NOT v3 <@ '{moved,unknown_item}' OR 'moved' <> ALL (v3);
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(v1, v2, array_replace(v3, 'moved', 'busy'), v4);
END
$$;
$f$, name, arguments, passed);
    ELSIF p.proname = 'seckill_submit_many' THEN
        RETURN format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    n integer := cardinality(%1$s.item_ids);
    part record;
    v1 bigint[] := array_fill(NULL::bigint, ARRAY[n]); v2 bigint[] := v1; v4 bigint[] := v1;
    v3 seckill_outcome[] := array_fill(NULL::seckill_outcome, ARRAY[n]);
    r record;
    left_over bigint[];
BEGIN
    IF coalesce(cardinality(%1$s.user_ids), -1) <> n OR coalesce(cardinality(%1$s.quantities), n) <> n
        OR coalesce(cardinality(%1$s.request_ids), n) <> n OR coalesce(cardinality(%1$s.tokens), n) <> n
    THEN
        -- let a node say what is wrong
        RETURN QUERY SELECT * FROM seckill_remote.%1$s(seckill.any_node(), %3$s);
        RETURN;
    END IF;
    FOR attempt IN 1..5 LOOP
        FOR part IN
            SELECT seckill.node_of(i, %1$s.user_ids[o]) AS node, array_agg(o::integer ORDER BY o) AS places
            FROM unnest(%1$s.item_ids) WITH ORDINALITY u (i, o) WHERE v3[o] IS NULL OR v3[o] = 'moved'
            GROUP BY 1 ORDER BY 1
        LOOP
            FOR r IN
                SELECT t.*, part.places[t.ordinality] AS place
                FROM seckill_remote.%1$s(part.node,
                    ARRAY(SELECT %1$s.item_ids[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k),
                    ARRAY(SELECT %1$s.user_ids[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k),
                    CASE WHEN %1$s.quantities IS NOT NULL THEN
                        ARRAY(SELECT %1$s.quantities[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k) END,
                    CASE WHEN %1$s.request_ids IS NOT NULL THEN
                        ARRAY(SELECT %1$s.request_ids[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k) END,
                    CASE WHEN %1$s.tokens IS NOT NULL THEN
                        ARRAY(SELECT %1$s.tokens[o] FROM unnest(part.places) WITH ORDINALITY x (o, k) ORDER BY k) END)
                    WITH ORDINALITY t
            LOOP
                v1[r.place] := r.item_id; v2[r.place] := r.user_id; v3[r.place] := r.outcome; v4[r.place] := r.ticket;
            END LOOP;
        END LOOP;
        left_over := ARRAY(SELECT DISTINCT v1[o] FROM generate_series(1, n) o WHERE v3[o] IN ('moved', 'unknown_item'));
        EXIT WHEN left_over = '{}' OR attempt = 5;
        PERFORM seckill.learn(i) FROM unnest(left_over) i;
        EXIT WHEN 'moved' <> ALL (v3);
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(v1, v2, array_replace(v3, 'moved', 'busy'), v4);
END
$$;
$f$, name, arguments, passed);
    ELSIF p.proname = 'seckill_result_many' THEN
        RETURN format($f$
CREATE FUNCTION %1$s(%2$s) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    until timestamptz := clock_timestamp() + %1$s.wait;
    part record;
    r record;
    v1 bigint[]; v2 seckill_outcome[]; v3 bigint[]; v4 text[]; v5 text[];
    slice interval;
BEGIN
    LOOP
        -- each node waits for its own tickets: in turns, so that none is waited for in vain
        slice := greatest(least(until - clock_timestamp(), '20 ms'), '0');
        FOR part IN
            SELECT seckill.node_of_ticket(t) AS node, array_agg(t ORDER BY o) AS tickets, array_agg(o::integer ORDER BY o) AS places
            FROM unnest(%1$s.tickets) WITH ORDINALITY u (t, o) GROUP BY 1 ORDER BY 1
        LOOP
            FOR r IN SELECT t.*, part.places[t.ordinality] AS place
                     FROM seckill_remote.%1$s(part.node, part.tickets, slice) WITH ORDINALITY t
            LOOP
                v1[r.place] := r.ticket; v2[r.place] := r.outcome; v3[r.place] := r.order_id;
                v4[r.place] := r.sqlstate; v5[r.place] := r.message;
            END LOOP;
        END LOOP;
        EXIT WHEN until IS NULL OR clock_timestamp() >= until OR v2 IS NULL
            OR EXISTS (SELECT FROM unnest(v2) o WHERE o IS DISTINCT FROM 'queued');
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(v1, v2, v3, v4, v5);
END
$$;
$f$, name, arguments);
    END IF;
    RAISE feature_not_supported USING MESSAGE = format('%s() has no routing', name);
END
$router$;

COMMENT ON FUNCTION seckill.routed_list(pg_proc, text, text, text, text[]) IS
'the statement that makes a function of a router which is routed by an array';

-- A view over all nodes of a relation of the extension.
CREATE FUNCTION seckill.routed_view(view text, query text, relation regclass)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $router$
    SELECT format($f$
CREATE FUNCTION seckill_remote.%1$s() RETURNS TABLE (node_no integer, %2$s) LANGUAGE plproxy AS $$
    CLUSTER 'seckill';
    RUN ON ALL;
    SELECT n.node_no, %3$s FROM seckill_node() n, %4$s;
$$;
CREATE VIEW seckill.%1$s AS SELECT * FROM seckill_remote.%1$s();
$f$, view,
        string_agg(format('%I %s', a.attname, CASE t.typtype
            WHEN 'm' THEN 'text' WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
            ELSE regexp_replace(format_type(a.atttypid, a.atttypmod), '^.*\.', '') END), ', ' ORDER BY a.attnum),
        string_agg(format(CASE WHEN t.typtype = 'm' THEN 'r.%I::text' ELSE 'r.%I' END, a.attname), ', ' ORDER BY a.attnum), query)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
        AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = relation AND d.deptype = 'e')
$router$;

COMMENT ON FUNCTION seckill.routed_view(text, text, regclass) IS
'the statements that make a view of a router over all nodes';

CREATE FUNCTION @extschema@.seckill_router(servers text[])
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $router$
DECLARE
    parts integer := 1;
    used text := (SELECT s FROM unnest(servers) s WHERE s IS NOT NULL LIMIT 1);
    script text;
BEGIN
    IF used IS NULL OR cardinality(servers) > 2047 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'servers must be the connection strings of nodes 1, 2 and so on',
            HINT = 'NULL stands for a number that no node has.';
    END IF;
    WHILE parts <= cardinality(servers) LOOP
        parts := parts * 2;
    END LOOP;
    -- part i is node i; parts of no node share the connection of another one
    script := format($f$-- A router for seckill, made by seckill_router().  Run it again when a node is added.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS plproxy;
DROP SERVER IF EXISTS seckill CASCADE;
DROP SCHEMA IF EXISTS seckill_remote, seckill CASCADE;
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE ANY ('{seckill\\_%%,cluster\\_audit}') LOOP
        EXECUTE format('DROP FUNCTION %%s CASCADE', f);
    END LOOP;
END
$$;
CREATE SERVER seckill FOREIGN DATA WRAPPER plproxy OPTIONS (%1$s);
CREATE USER MAPPING FOR PUBLIC SERVER seckill;
CREATE SCHEMA seckill;
CREATE SCHEMA seckill_remote;
SET LOCAL search_path = public;
%2$s
CREATE CAST (text AS seckill_mode) WITH INOUT AS IMPLICIT;
CREATE CAST (varchar AS seckill_mode) WITH INOUT AS IMPLICIT;

-- The nodes, and where items are.  The latter are hints: the nodes decide.
CREATE TABLE seckill.nodes (node_no integer PRIMARY KEY);
INSERT INTO seckill.nodes VALUES %3$s;
CREATE TABLE seckill.placement (item_id bigint PRIMARY KEY, node_no integer NOT NULL, split_over integer[]);

CREATE FUNCTION seckill.any_node() RETURNS integer LANGUAGE sql AS
'SELECT node_no FROM seckill.nodes ORDER BY random() LIMIT 1';

CREATE FUNCTION seckill_remote.whereis(integer, bigint)
RETURNS TABLE (node_no integer, place text, hop integer, peer integer, split_over integer[]) LANGUAGE plproxy AS $$
    CLUSTER 'seckill';
    RUN ON $1;
    SELECT * FROM seckill_whereis($2);
$$;

-- Ask all nodes where an item is.  One that nobody knows is made where its hash says,
-- so that all routers that create it meet on one node.
CREATE FUNCTION seckill.learn(item bigint) RETURNS integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    n integer;
    r record;
    best integer;       -- the node that sells it, or else knows best
    best_rank integer := -1;
    split integer[];
    silent text;
    rank integer;
BEGIN
    FOR n IN SELECT node_no FROM seckill.nodes ORDER BY 1 LOOP
        BEGIN
            SELECT * INTO r FROM seckill_remote.whereis(n, item);
            IF r.node_no IS DISTINCT FROM n AND r.place IS NOT NULL THEN
                RAISE 'node %% says that it is node %%', n, r.node_no;
            END IF;
            -- of two that have had it, the one that it came to last
            rank := CASE WHEN r.split_over IS NOT NULL THEN -1 WHEN r.place = 'here' THEN 1000000002
                WHEN r.place = 'moving' THEN 1000000001
                WHEN r.place = 'arriving' THEN 2 * r.hop + 1 WHEN r.place = 'gone' THEN 2 * r.hop END;
            IF rank > best_rank THEN
                split := NULL;
                best_rank := rank;
                best := CASE r.place WHEN 'gone' THEN r.peer ELSE n END;
            END IF;
            IF r.split_over IS NOT NULL AND (r.split_over[1] = n OR best_rank < 1000000001) THEN
                -- any of its nodes knows; the first is its home, which knows best
                split := r.split_over;
                best := split[1];
                best_rank := CASE best WHEN n THEN 1000000002 ELSE 1000000001 END;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            silent := format('node %%s: %%s', n, SQLERRM);
        END;
    END LOOP;
    IF silent IS NOT NULL AND best_rank < 1000000001 THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('no node that answers sells item %%s', item),
            DETAIL = silent, HINT = 'Retry when all nodes are up.';
    END IF;
    IF best IS NULL THEN
        RETURN (SELECT node_no FROM seckill.nodes ORDER BY node_no
                OFFSET get_byte(sha256(int8send(item)), 0) * (SELECT count(*) FROM seckill.nodes) / 256 LIMIT 1);
    END IF;
    INSERT INTO seckill.placement AS p VALUES (item, best, split)
    ON CONFLICT (item_id) DO UPDATE SET node_no = excluded.node_no, split_over = excluded.split_over
    WHERE (p.node_no, p.split_over) IS DISTINCT FROM (excluded.node_no, excluded.split_over);
    RETURN best;
END
$$;

CREATE FUNCTION seckill.node_of(item bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    IF item IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'item_id must not be null';
    END IF;
    SELECT p.node_no INTO n FROM seckill.placement p WHERE p.item_id = item;
    RETURN coalesce(n, seckill.learn(item));
END
$$;

-- The node of a user of an item: as seckill_split_node() says, if the item is split.
CREATE FUNCTION seckill.node_of(item bigint, user_id bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer := seckill.node_of(item);
    split integer[] := (SELECT p.split_over FROM seckill.placement p WHERE p.item_id = item);
BEGIN
    RETURN CASE WHEN split IS NULL OR user_id IS NULL THEN n
        ELSE split[1 + get_byte(sha256(int8send(user_id)), 0) * cardinality(split) / 256] END;
END
$$;

-- The node of an order of an item: the one that made it, if the item is split.
CREATE FUNCTION seckill.node_of_order(item bigint, order_id bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer := seckill.node_of(item);
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM seckill.placement p WHERE p.item_id = item AND p.split_over IS NOT NULL)
            AND order_id >> 40 IN (SELECT o.node_no FROM seckill.nodes o)
        THEN order_id >> 40 ELSE n END;
END
$$;

CREATE FUNCTION seckill.node_of_ticket(ticket bigint) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    IF ticket IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'ticket must not be null';
    ELSIF NOT EXISTS (SELECT FROM seckill.nodes n WHERE n.node_no = ticket >> 40) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('ticket %%s is of no node', ticket),
            HINT = 'Tickets carry the number of their node since it has joined.';
    END IF;
    RETURN ticket >> 40;
END
$$;
$f$,
        (SELECT string_agg(format('p%s %L', i, coalesce(servers[i], used)), ', ' ORDER BY i)
         FROM generate_series(0, parts - 1) i),
        (SELECT string_agg(format(E'DROP TYPE IF EXISTS public.%1$I CASCADE;\nCREATE TYPE %1$I AS ENUM (%2$s);', t.typname,
                (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                 FROM pg_enum e WHERE e.enumtypid = t.oid)), E'\n')
         FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
             JOIN pg_extension x ON x.oid = d.refobjid
         WHERE x.extname = 'seckill' AND t.typtype = 'e'),
        (SELECT string_agg(format('(%s)', i), ', ') FROM generate_subscripts(servers, 1) i WHERE servers[i] IS NOT NULL));

    script := script || (
        SELECT string_agg(seckill.routed_function(p.oid), '' ORDER BY p.proname)
        FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            JOIN pg_extension x ON x.oid = d.refobjid
        WHERE x.extname = 'seckill' AND p.prokind = 'f' AND seckill.routing(p.oid) IS NOT NULL);

    script := script
        || seckill.routed_view('cluster_items', 'seckill.items r WHERE r.place IS NULL OR r.place = ''moving''', 'seckill.items')
        || seckill.routed_view('cluster_orders', 'seckill.orders r JOIN seckill.items i USING (item_id) WHERE i.place IS NULL OR i.place = ''moving''', 'seckill.orders')
        || seckill.routed_view('cluster_stock', 'seckill.stock r JOIN seckill.items i USING (item_id) WHERE i.place IS NULL OR i.place = ''moving''', 'seckill.stock')
        || seckill.routed_view('cluster_stat_items', 'seckill.stat_items r', 'seckill.stat_items')
        || seckill.routed_view('cluster_stat_worker', 'seckill.stat_worker r', 'seckill.stat_worker')
        || seckill.routed_view('cluster_stat_channels', 'seckill.stat_channels r', 'seckill.stat_channels');
    RETURN script || $f$
CREATE FUNCTION seckill_remote.node_audit(integer, bigint)
RETURNS TABLE (node_no integer, item_id bigint, place text, hop integer, supplied bigint, stock bigint, unsold bigint,
    sold bigint, difference bigint, moves jsonb, split_over integer[], channels jsonb, astray bigint) LANGUAGE plproxy AS $$
    CLUSTER 'seckill';
    RUN ON $1;
    SELECT * FROM seckill_node_audit($2);
$$;

$f$ || pg_get_functiondef('seckill.judge'::regproc) || $f$;

CREATE FUNCTION cluster_audit(item bigint DEFAULT NULL, OUT item_id bigint, OUT node_no integer, OUT supplied bigint,
    OUT available bigint, OUT sold bigint, OUT difference bigint, OUT verdict text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    first jsonb := '[]';
    second jsonb := '[]';
    n integer;
BEGIN
    FOR n IN SELECT c.node_no FROM seckill.nodes c ORDER BY 1 LOOP
        first := first || (SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') FROM seckill_remote.node_audit(n, item) a);
    END LOOP;
    FOR n IN SELECT c.node_no FROM seckill.nodes c ORDER BY 1 LOOP
        second := second || (SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') FROM seckill_remote.node_audit(n, item) a);
    END LOOP;
    RETURN QUERY SELECT * FROM seckill.judge(first, second, ARRAY(SELECT c.node_no FROM seckill.nodes c));
END
$$;

-- As on the nodes, nobody may call anything unless it is granted.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA seckill, seckill_remote FROM PUBLIC;
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE ANY ('{seckill\\_%,cluster\\_audit}') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END
$$;
COMMIT;
$f$;
END
$router$;

COMMENT ON FUNCTION @extschema@.seckill_router(text[]) IS
'statements for psql that make a database with PL/Proxy a router: functions of the same names and signatures, and views over all nodes; servers: connection strings of nodes 1, 2 and so on';

--
-- Citus as the router: it delegates a call alone in its statement to the node that has
-- the shard of the item in a routing table.  The tables stay local.  Functions of Citus
-- are called by EXECUTE, as the extension may not be there.
--

-- Run a query of one text on every node; raises an error if one does not answer.
CREATE FUNCTION seckill.on_citus(query text)
RETURNS TABLE (group_id integer, answer text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n record;
    r record;
BEGIN
    FOR n IN EXECUTE 'SELECT DISTINCT ON (d.groupid) d.groupid, d.nodename, d.nodeport FROM pg_catalog.pg_dist_node d
                      WHERE d.isactive AND d.noderole = ''primary'' ORDER BY d.groupid' LOOP
        EXECUTE 'SELECT success, result FROM pg_catalog.master_run_on_worker(ARRAY[$1], ARRAY[$2], ARRAY[$3], false)'
        INTO r USING n.nodename, n.nodeport, query;
        IF NOT r.success THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('node %s:%s: %s', n.nodename, n.nodeport, r.result);
        END IF;
        group_id := n.groupid;
        answer := r.result;
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION seckill.on_citus(text) IS 'run a query of one text on every node of Citus';

-- The number of the node that Citus sends the calls on an item to.
CREATE FUNCTION seckill.route_of(item_id bigint)
RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    node_no integer;
BEGIN
    IF to_regclass('seckill.routes') IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'Citus does not route calls here',
            HINT = 'SELECT seckill_distribute() on the coordinator.';
    END IF;
    EXECUTE 'SELECT p.groupid + 1 FROM pg_catalog.pg_dist_placement p
             WHERE p.shardid = pg_catalog.get_shard_id_for_distribution_column(''seckill.routes'', $1)'
    INTO node_no USING item_id;
    RETURN node_no;
END
$$;

COMMENT ON FUNCTION seckill.route_of(bigint) IS
'number of the node that Citus sends the calls on an item to';

-- A call that is not delegated runs where it was made.  It must not make an item there
-- that calls never reach, and must not call one unknown that is elsewhere.
CREATE FUNCTION seckill.check_route_of(item_id bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here integer;
    there integer := seckill.route_of(item_id);
BEGIN
    EXECUTE 'SELECT groupid + 1 FROM pg_catalog.pg_dist_local_group' INTO here;
    IF here <> there THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('item %s belongs to node %s, and this is node %s', item_id, there, here),
            HINT = 'Citus delegates a call that is alone in its statement and outside a transaction block. Lists: cluster_buy_items(), cluster_submit_many().';
    END IF;
END
$$;

COMMENT ON FUNCTION seckill.check_route_of(bigint) IS
'on a node of Citus: raises an error if calls on the item go to another node';

-- Trigger on items of a node of Citus.
CREATE FUNCTION seckill.check_route()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM seckill.check_route_of(NEW.item_id);
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION seckill.check_route() IS
'trigger on seckill.items of a node of Citus: refuses an item that calls would never reach';

-- For a rebalance: may a shard of the routing table be on a node?  One that has items
-- stays where they are.
CREATE FUNCTION seckill.shard_allowed(shard_id bigint, node_id integer)
RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mine boolean;
    there boolean;
BEGIN
    EXECUTE 'SELECT s.logicalrelid = ''seckill.routes''::regclass,
                    EXISTS (SELECT FROM pg_catalog.pg_dist_placement p JOIN pg_catalog.pg_dist_node d USING (groupid)
                            WHERE p.shardid = $1 AND d.nodeid = $2)
             FROM pg_catalog.pg_dist_shard s WHERE s.shardid = $1'
    INTO mine, there USING shard_id, node_id;
    RETURN NOT coalesce(mine, false) OR there
        OR NOT EXISTS (SELECT FROM seckill.on_citus(format(
            'SELECT count(*)::text FROM seckill.items WHERE (place IS NULL OR place <> ''gone'')
             AND get_shard_id_for_distribution_column(''seckill.routes'', item_id) = %s', shard_id)) a
            WHERE a.answer <> '0');
END
$$;

COMMENT ON FUNCTION seckill.shard_allowed(bigint, integer) IS
'for a rebalance of Citus: a shard of the routing table that has items stays where it is';

CREATE FUNCTION @extschema@.seckill_stranded(
    OUT item_id bigint,
    OUT node_no integer,
    OUT routed_to integer)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE $q$
        SELECT i.id::bigint, a.group_id + 1, p.groupid::integer + 1
        FROM seckill.on_citus('SELECT coalesce(string_agg(item_id::text, '',''), '''') FROM seckill.items WHERE place IS NULL OR place <> ''gone''') a,
            string_to_table(a.answer, ',') AS i (id),
            pg_catalog.pg_dist_placement p
        WHERE i.id <> '' AND p.shardid = pg_catalog.get_shard_id_for_distribution_column('seckill.routes', i.id::bigint)
            AND p.groupid <> a.group_id
        ORDER BY 1$q$;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_stranded() IS
'on Citus: items that are on another node than the one that calls go to; move them there with seckill_move()';

CREATE FUNCTION @extschema@.seckill_distribute()
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n record;
    m record;
    f regprocedure;
    own text;
    ran boolean;
    functions integer := 0;
    place_of_functions text := quote_ident((SELECT s.nspname FROM pg_extension x JOIN pg_namespace s ON s.oid = x.extnamespace
                                            WHERE x.extname = 'seckill_cluster'));
BEGIN
    IF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'Citus is not installed in this database',
            HINT = 'CREATE EXTENSION citus, or use a router with PL/Proxy: seckill_router().';
    END IF;
    EXECUTE 'SELECT groupid FROM pg_catalog.pg_dist_local_group' INTO n;
    IF n.groupid <> 0 THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'this is not the coordinator of Citus', HINT = 'Call seckill_distribute() there.';
    END IF;
    -- the same library, preloaded, and the same key on all nodes
    own := (SELECT x.extversion FROM pg_extension x WHERE x.extname = 'seckill') || ' '
        || coalesce(@extschema@.seckill_key_fingerprint(), 'no key');
    FOR n IN SELECT * FROM seckill.on_citus(format(
        'SELECT coalesce((SELECT x.extversion FROM pg_catalog.pg_extension x WHERE x.extname = ''seckill''), ''nothing'') || '' ''
            || coalesce(%1$s.seckill_key_fingerprint(), ''no key'')
            || CASE WHEN current_setting(''seckill.max_items'', true) IS NULL THEN '' not preloaded'' ELSE '''' END', place_of_functions))
    LOOP
        IF n.answer <> own THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('the node of group %s has %s, the coordinator has %s', n.group_id, n.answer, own),
                HINT = 'All nodes need the same version, preloaded, and the same seckill.token_key.';
        END IF;
    END LOOP;
    IF to_regclass('seckill.routes') IS NULL THEN
        CREATE TABLE seckill.routes (item_id bigint PRIMARY KEY);
        COMMENT ON TABLE seckill.routes IS 'empty: its shards say which node sells which items';
        EXECUTE 'SELECT pg_catalog.create_distributed_table(''seckill.routes'', ''item_id'', colocate_with := ''none'')';
    END IF;
    FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                 JOIN pg_extension x ON x.oid = d.refobjid
             WHERE x.extname = 'seckill' AND seckill.routing(p.oid) = 'item_id' LOOP
        EXECUTE 'SELECT pg_catalog.create_distributed_function($1, ''item_id'', colocate_with := ''seckill.routes'')' USING f;
        functions := functions + 1;
    END LOOP;
    -- numbers, and addresses for moves
    FOR n IN EXECUTE 'SELECT groupid, nodename, nodeport FROM pg_catalog.pg_dist_node WHERE isactive AND noderole = ''primary''' LOOP
        FOR m IN EXECUTE 'SELECT groupid, nodename, nodeport FROM pg_catalog.pg_dist_node WHERE isactive AND noderole = ''primary''
                          ORDER BY groupid <> $1' USING n.groupid LOOP
            EXECUTE 'SELECT success, result FROM pg_catalog.master_run_on_worker(ARRAY[$1], ARRAY[$2], ARRAY[$3], false)' INTO ran, own
            USING n.nodename, n.nodeport, CASE
                WHEN m.groupid = n.groupid THEN format('SELECT %s.seckill_join(%s)::text', place_of_functions, n.groupid + 1)
                ELSE format('INSERT INTO seckill.nodes VALUES (%s, %L) ON CONFLICT (node_no) DO UPDATE SET server = excluded.server RETURNING ''''::text',
                            m.groupid + 1, format('host=%s port=%s dbname=%s', m.nodename, m.nodeport, current_database())) END;
            IF NOT ran THEN
                RAISE object_not_in_prerequisite_state USING
                    MESSAGE = format('node %s:%s: %s', n.nodename, n.nodeport, own);
            END IF;
        END LOOP;
    END LOOP;
    PERFORM seckill.on_citus('DO $do$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = ''seckill.items''::pg_catalog.regclass AND tgname = ''check_route'') THEN
            CREATE TRIGGER check_route BEFORE INSERT ON seckill.items FOR EACH ROW EXECUTE FUNCTION seckill.check_route();
        END IF;
    END $do$');
    EXECUTE $q$
        SELECT pg_catalog.citus_add_rebalance_strategy('seckill', 'citus_shard_cost_1', 'citus_node_capacity_1', 'seckill.shard_allowed', 0)
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_dist_rebalance_strategy WHERE name = 'seckill')$q$;
    EXECUTE $q$SELECT pg_catalog.citus_set_default_rebalance_strategy('seckill')$q$;
    RETURN functions;
END
$$;

COMMENT ON FUNCTION @extschema@.seckill_distribute() IS
'on the coordinator of Citus: have it delegate each call on an item to the node that sells it; call it again after a node was added; returns the number of functions delegated';

-- Rows of all nodes, as JSON.
CREATE FUNCTION seckill.cluster_rows(query text)
RETURNS TABLE (node_no integer, r jsonb)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.group_id + 1, j.r
    FROM seckill.on_citus(format('SELECT coalesce(jsonb_agg(to_jsonb(q)), ''[]'')::text FROM (%s) q', query)) a,
        jsonb_array_elements(a.answer::jsonb) AS j (r)
$$;

COMMENT ON FUNCTION seckill.cluster_rows(text) IS 'rows of a query on all nodes of Citus, as JSON';

CREATE VIEW seckill.cluster_items AS
SELECT c.node_no, i.* FROM seckill.cluster_rows('SELECT * FROM seckill.items WHERE place IS NULL OR place = ''moving''') c,
    LATERAL pg_catalog.jsonb_populate_record(NULL::seckill.items, c.r) i;
COMMENT ON VIEW seckill.cluster_items IS 'on Citus: items of all nodes';

CREATE VIEW seckill.cluster_orders AS
SELECT c.node_no, o.* FROM seckill.cluster_rows('SELECT o.* FROM seckill.orders o JOIN seckill.items i USING (item_id)
    WHERE i.place IS NULL OR i.place = ''moving''') c,
    LATERAL pg_catalog.jsonb_populate_record(NULL::seckill.orders, c.r) o;
COMMENT ON VIEW seckill.cluster_orders IS 'on Citus: orders of all nodes';

CREATE VIEW seckill.cluster_stock AS
SELECT c.node_no, s.* FROM seckill.cluster_rows('SELECT s.* FROM seckill.stock s JOIN seckill.items i USING (item_id)
    WHERE i.place IS NULL OR i.place = ''moving''') c,
    LATERAL pg_catalog.jsonb_populate_record(NULL::seckill.stock, c.r) s;
COMMENT ON VIEW seckill.cluster_stock IS 'on Citus: seckill.stock of all nodes';

CREATE VIEW seckill.cluster_stat_items AS
SELECT c.node_no, s.* FROM seckill.cluster_rows('SELECT * FROM seckill.stat_items') c,
    LATERAL pg_catalog.jsonb_populate_record(NULL::seckill.stat_items, c.r) s;
COMMENT ON VIEW seckill.cluster_stat_items IS 'on Citus: seckill.stat_items of all nodes';

CREATE VIEW seckill.cluster_stat_channels AS
SELECT c.node_no, s.* FROM seckill.cluster_rows('SELECT * FROM seckill.stat_channels') c,
    LATERAL pg_catalog.jsonb_populate_record(NULL::seckill.stat_channels, c.r) s;
COMMENT ON VIEW seckill.cluster_stat_channels IS 'on Citus: seckill.stat_channels of all nodes';

CREATE VIEW seckill.cluster_stat_worker AS
SELECT c.node_no, s.* FROM seckill.cluster_rows('SELECT * FROM seckill.stat_worker') c,
    LATERAL pg_catalog.jsonb_populate_record(NULL::seckill.stat_worker, c.r) s;
COMMENT ON VIEW seckill.cluster_stat_worker IS 'on Citus: seckill.stat_worker of all nodes';

CREATE FUNCTION @extschema@.cluster_audit(
    item            bigint DEFAULT NULL,
    OUT item_id     bigint,
    OUT node_no     integer,
    OUT supplied    bigint,
    OUT available   bigint,
    OUT sold        bigint,
    OUT difference  bigint,
    OUT verdict     text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    query text := format('SELECT * FROM %s.seckill_node_audit(%s)', quote_ident((SELECT s.nspname
        FROM pg_extension x JOIN pg_namespace s ON s.oid = x.extnamespace WHERE x.extname = 'seckill_cluster')),
        coalesce(item::text, 'NULL'));
    first jsonb := (SELECT coalesce(jsonb_agg(c.r), '[]') FROM seckill.cluster_rows(query) c);
    second jsonb := (SELECT coalesce(jsonb_agg(c.r), '[]') FROM seckill.cluster_rows(query) c);
BEGIN
    RETURN QUERY SELECT * FROM seckill.judge(first, second,
        ARRAY(SELECT DISTINCT (c.r->>'n')::integer FROM seckill.cluster_rows('SELECT n.node_no AS n FROM seckill_node() n') c));
END
$$;

COMMENT ON FUNCTION @extschema@.cluster_audit(bigint) IS
'on Citus: the audit of all nodes, a row for each item, with a verdict';

--
-- Calls that Citus cannot delegate, as they have no item of their own: lists of items, and
-- tickets.  Each is made on its node, over a connection that the session keeps.
--

-- A value of a connection string.
CREATE FUNCTION seckill.quote_conninfo(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '''' || replace(replace(value, '\', '\\'), '''', '\''') || ''''
$$;

COMMENT ON FUNCTION seckill.quote_conninfo(text) IS 'a value, quoted for a connection string';

-- Run a query of one column of text on a node of Citus, as the role of the caller, whom
-- Citus would connect in the same way.
CREATE FUNCTION seckill.on_node(node_no integer, query text)
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    role text := coalesce(nullif(current_setting('role'), 'none'), session_user);
    connection text := format('seckill_node %s %s', node_no, role);
    n record;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_node') IS NOT NULL THEN
        EXECUTE 'SELECT d.nodename, d.nodeport FROM pg_catalog.pg_dist_node d
                 WHERE d.groupid = $1 - 1 AND d.isactive AND d.noderole = ''primary''' INTO n USING node_no;
    END IF;
    IF n IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('node %s is no node of Citus', node_no),
            HINT = 'See pg_dist_node: a node is its groupid, plus 1.';
    END IF;
    IF NOT seckill.is_connected(connection) THEN
        PERFORM seckill.remote_open(connection, format('host=%s port=%s dbname=%s user=%s',
            seckill.quote_conninfo(n.nodename), n.nodeport, seckill.quote_conninfo(current_database()), seckill.quote_conninfo(role)));
    END IF;
    RETURN QUERY SELECT seckill.remote(connection, query);
EXCEPTION WHEN connection_exception OR operator_intervention THEN
    -- the next call connects again
    PERFORM seckill.disconnect(connection);
    RAISE;
END
$$;

COMMENT ON FUNCTION seckill.on_node(integer, text) IS 'run a query on a node of Citus, as the role of the caller';

-- The name of a function of seckill.
CREATE FUNCTION seckill.function_name(name text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', s.nspname, name)
    FROM pg_extension x JOIN pg_namespace s ON s.oid = x.extnamespace WHERE x.extname = 'seckill'
$$;

COMMENT ON FUNCTION seckill.function_name(text) IS 'a function of the extension seckill, with its schema';

CREATE FUNCTION @extschema@.cluster_buy_items(
    item_ids    bigint[],
    user_ids    bigint[],
    mode        seckill_mode DEFAULT 'auto',
    quantities  bigint[] DEFAULT NULL,
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    OUT item_id bigint,
    OUT user_id bigint,
    OUT outcome seckill_outcome,
    OUT order_id bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nodes integer[] := ARRAY(SELECT DISTINCT seckill.route_of(i) FROM unnest(item_ids) i WHERE i IS NOT NULL);
    r record;
BEGIN
    IF cardinality(nodes) > 1 THEN
        RAISE feature_not_supported USING
            MESSAGE = 'the items are sold on several nodes',
            DETAIL = format('Nodes: %s.', array_to_string(nodes, ', ')),
            HINT = 'One call buys on one node, as it is one transaction. Make a call for the items of each node, with request_ids, and cancel what was bought if another one fails; or move the items to one node.';
    END IF;
    FOR r IN
        SELECT j.* FROM seckill.on_node(coalesce(nodes[1], seckill.route_of(1)), format(
                'SELECT to_jsonb(r) FROM %s(%L, %L, %L, %L, %L, %L) r', seckill.function_name('seckill_buy_items'),
                item_ids, user_ids, mode, quantities, request_ids, tokens)) a,
            jsonb_to_record(a::jsonb) AS j (item_id bigint, user_id bigint, outcome text, order_id bigint)
    LOOP
        item_id := r.item_id; user_id := r.user_id; outcome := r.outcome; order_id := r.order_id;
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION @extschema@.cluster_buy_items(bigint[], bigint[], seckill_mode, bigint[], uuid[], text[]) IS
'on Citus: seckill_buy_items() on the node of the items, in a transaction there; an error if they are on several nodes';

CREATE FUNCTION @extschema@.cluster_submit_many(
    item_ids    bigint[],
    user_ids    bigint[],
    quantities  bigint[] DEFAULT NULL,
    request_ids uuid[] DEFAULT NULL,
    tokens      text[] DEFAULT NULL,
    OUT item_id bigint,
    OUT user_id bigint,
    OUT outcome seckill_outcome,
    OUT ticket  bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n integer := cardinality(item_ids);
    fit boolean := n > 0 AND array_position(item_ids, NULL) IS NULL AND cardinality(user_ids) = n
        AND coalesce(cardinality(quantities), n) = n AND coalesce(cardinality(request_ids), n) = n
        AND coalesce(cardinality(tokens), n) = n;
    part record;
    r record;
    rows jsonb[];
BEGIN
    FOR part IN
        -- a node says what is wrong with arrays that do not fit
        SELECT seckill.route_of(1) AS node, NULL::integer[] AS places, item_ids AS i, user_ids AS u, quantities AS q,
            request_ids AS k, tokens AS t
        WHERE fit IS NOT TRUE
        UNION ALL
        SELECT seckill.route_of(item_ids[o]), array_agg(o ORDER BY o), array_agg(item_ids[o] ORDER BY o),
            array_agg(user_ids[o] ORDER BY o), CASE WHEN quantities IS NOT NULL THEN array_agg(quantities[o] ORDER BY o) END,
            CASE WHEN request_ids IS NOT NULL THEN array_agg(request_ids[o] ORDER BY o) END,
            CASE WHEN tokens IS NOT NULL THEN array_agg(tokens[o] ORDER BY o) END
        FROM generate_series(1, n) o WHERE fit GROUP BY 1
        ORDER BY 1
    LOOP
        FOR r IN
            SELECT part.places[a.ordinality] AS place, a.answer::jsonb
            FROM seckill.on_node(part.node, format(
                'SELECT to_jsonb(r) FROM %s(%L, %L, %L, %L, %L) r', seckill.function_name('seckill_submit_many'),
                part.i, part.u, part.q, part.k, part.t)) WITH ORDINALITY a (answer, ordinality)
        LOOP
            rows[r.place] := r.answer;
        END LOOP;
    END LOOP;
    FOR r IN
        SELECT j.* FROM unnest(rows) a,
            jsonb_to_record(a) AS j (item_id bigint, user_id bigint, outcome text, ticket bigint)
    LOOP
        item_id := r.item_id; user_id := r.user_id; outcome := r.outcome; ticket := r.ticket;
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION @extschema@.cluster_submit_many(bigint[], bigint[], bigint[], uuid[], text[]) IS
'on Citus: seckill_submit_many(), each element on the node of its item';

CREATE FUNCTION @extschema@.cluster_result(
    ticket      bigint,
    wait        interval DEFAULT NULL,
    OUT outcome seckill_outcome,
    OUT order_id bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF ticket IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'ticket must not be null';
    END IF;
    SELECT j.* INTO outcome, order_id
    FROM seckill.on_node((ticket >> 40)::integer, format(
            'SELECT to_jsonb(r) FROM %s(%s, %L) r', seckill.function_name('seckill_result'), ticket, wait)) a,
        jsonb_to_record(a::jsonb) AS j (outcome text, order_id bigint);
END
$$;

COMMENT ON FUNCTION @extschema@.cluster_result(bigint, interval) IS
'on Citus: seckill_result() on the node of the ticket';

CREATE FUNCTION @extschema@.cluster_result_many(
    tickets     bigint[],
    wait        interval DEFAULT NULL,
    OUT ticket  bigint,
    OUT outcome seckill_outcome,
    OUT order_id bigint,
    OUT sqlstate text,
    OUT message text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    until timestamptz := clock_timestamp() + wait;
    several boolean := (SELECT count(DISTINCT t >> 40) > 1 FROM unnest(tickets) t);
    slice interval := wait;
    part record;
    r record;
    rows jsonb[];
BEGIN
    IF array_position(tickets, NULL) IS NOT NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'ticket must not be null';
    END IF;
    LOOP
        -- each node waits for its own tickets: in turns, so that none is waited for in vain
        IF several THEN
            slice := greatest(least(until - clock_timestamp(), '20 ms'), '0');
        END IF;
        FOR part IN
            SELECT (t >> 40)::integer AS node, array_agg(t ORDER BY o) AS tickets, array_agg(o::integer ORDER BY o) AS places
            FROM unnest(tickets) WITH ORDINALITY u (t, o) GROUP BY 1 ORDER BY 1
        LOOP
            FOR r IN
                SELECT part.places[a.ordinality] AS place, a.answer::jsonb
                FROM seckill.on_node(part.node, format(
                    'SELECT to_jsonb(r) FROM %s(%L, %L) r', seckill.function_name('seckill_result_many'),
                    part.tickets, slice)) WITH ORDINALITY a (answer, ordinality)
            LOOP
                rows[r.place] := r.answer;
            END LOOP;
        END LOOP;
        EXIT WHEN NOT coalesce(several, false) OR until IS NULL OR clock_timestamp() >= until
            OR EXISTS (SELECT FROM unnest(rows) a WHERE a->>'outcome' IS DISTINCT FROM 'queued');
    END LOOP;
    FOR r IN
        SELECT j.* FROM unnest(rows) a, jsonb_to_record(a)
            AS j (ticket bigint, outcome text, order_id bigint, sqlstate text, message text)
    LOOP
        ticket := r.ticket; outcome := r.outcome; order_id := r.order_id; sqlstate := r.sqlstate; message := r.message;
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION @extschema@.cluster_result_many(bigint[], interval) IS
'on Citus: seckill_result_many(), each ticket on its node';

REVOKE ALL ON FUNCTION
    @extschema@.seckill_set_place(bigint, text, text),
    @extschema@.seckill_lock_arrival(bigint),
    @extschema@.seckill_wake_maintenance(timestamptz),
    @extschema@.seckill_key_fingerprint(),
    @extschema@.seckill_node(),
    seckill.set_range(regclass, integer, bigint, boolean),
    seckill.timeline(),
    seckill.set_ranges(integer, bigint, boolean),
    @extschema@.seckill_join(integer),
    seckill.item_tables(),
    seckill.item_columns(),
    seckill.item_rows(regclass, bigint),
    seckill.item_contents(bigint),
    seckill.delete_item_rows(bigint),
    seckill.hop(bigint),
    @extschema@.seckill_whereis(bigint),
    @extschema@.seckill_move_out(bigint, integer, uuid),
    @extschema@.seckill_move_release(bigint, uuid, bigint, bigint, text),
    @extschema@.seckill_move_cancel(bigint, uuid),
    @extschema@.seckill_move_state(bigint, uuid),
    seckill.connect(text, integer),
    seckill.disconnect(text),
    seckill.remote(text, text),
    seckill.remote_run(text, text),
    seckill.remote_open(text, text),
    seckill.move_in(text, bigint, integer, uuid, integer),
    seckill.move_end(text, bigint, uuid),
    seckill.try_step(text),
    @extschema@.seckill_move_forget(bigint),
    seckill.tend_moves(),
    @extschema@.seckill_add_node(integer, text),
    @extschema@.seckill_moves_with(integer),
    @extschema@.seckill_reopen(),
    @extschema@.seckill_node_restored(),
    seckill.follow(bigint, jsonb),
    @extschema@.seckill_node_audit(bigint),
    seckill.routing(regprocedure),
    seckill.routed_function(regprocedure),
    seckill.node_expression(pg_proc),
    seckill.routed_call(pg_proc, text, text, text, text[], text[], text, text),
    seckill.routed_list(pg_proc, text, text, text, text[]),
    seckill.routed_view(text, text, regclass),
    @extschema@.seckill_router(text[]),
    seckill.judge(jsonb, jsonb, integer[]),
    @extschema@.seckill_split_node(integer[], bigint),
    @extschema@.seckill_split_set(bigint, integer[]),
    @extschema@.seckill_share_state(bigint),
    @extschema@.seckill_share_lock(bigint),
    @extschema@.seckill_share_add(bigint, integer, int8multirange),
    @extschema@.seckill_share_rejoin(bigint, int8multirange, int8multirange),
    @extschema@.seckill_share_forget(bigint, int8multirange),
    @extschema@.seckill_share_promise(bigint, bigint),
    @extschema@.seckill_share_prove(bigint, bigint),
    @extschema@.seckill_share_certify(bigint, bigint, bigint),
    @extschema@.seckill_share_want(bigint, integer),
    @extschema@.seckill_share_keep(bigint, integer),
    @extschema@.seckill_channel_count(bigint, integer, boolean, boolean, boolean, text),
    @extschema@.seckill_stat_channels(),
    seckill.is_followed(text, bigint),
    seckill.reopen_lossless(),
    seckill.own_incarnation(),
    seckill.unit_values(bigint, int8multirange),
    seckill.keep_values(bigint, jsonb),
    seckill.share_arrived(bigint, integer, boolean),
    seckill.share_receive(bigint, integer, bigint, int8multirange, jsonb),
    @extschema@.seckill_sync(bigint, integer, bigint, bigint, bigint, integer, integer, boolean, bigint),
    seckill.is_connected(text),
    seckill.remote_send(text, text),
    seckill.remote_is_busy(text),
    seckill.remote_result(text),
    seckill.share_send(bigint, integer, integer, integer, boolean),
    seckill.share_answer(integer, text),
    seckill.share_apply(bigint, jsonb),
    seckill.share_nodes(bigint),
    seckill.share_round(bigint, integer[], boolean),
    seckill.share_work(bigint, integer, integer),
    seckill.check_split(bigint, integer[]),
    @extschema@.seckill_split_accept(jsonb, integer[]),
    seckill.await_transactions(interval),
    seckill.split_here(bigint, integer[]),
    seckill.share_of(bigint, integer),
    seckill.gather_here(bigint, integer[], integer),
    seckill.answers(integer),
    seckill.ask_again(bigint),
    @extschema@.seckill_split_without(bigint, integer),
    seckill.check_truncate(),
    @extschema@.seckill_split_drop(bigint),
    seckill.close_shares(bigint),
    seckill.drop_share(bigint, integer),
    @extschema@.seckill_hello(integer, bigint),
    @extschema@.seckill_known_incarnation(integer),
    seckill.rejoin_numbers(bigint, integer, jsonb),
    seckill.rejoin_shares(integer, boolean),
    seckill.begin_life(integer),
    seckill.on_citus(text),
    seckill.route_of(bigint),
    seckill.check_route_of(bigint),
    seckill.check_route(),
    seckill.shard_allowed(bigint, integer),
    @extschema@.seckill_stranded(),
    @extschema@.seckill_distribute(),
    seckill.cluster_rows(text),
    @extschema@.cluster_audit(bigint),
    seckill.quote_conninfo(text),
    seckill.on_node(integer, text),
    seckill.function_name(text),
    @extschema@.cluster_buy_items(bigint[], bigint[], seckill_mode, bigint[], uuid[], text[]),
    @extschema@.cluster_submit_many(bigint[], bigint[], bigint[], uuid[], text[]),
    @extschema@.cluster_result(bigint, interval),
    @extschema@.cluster_result_many(bigint[], interval)
FROM PUBLIC;
REVOKE ALL ON PROCEDURE
    @extschema@.seckill_move(bigint, integer),
    @extschema@.seckill_split(bigint, integer[]),
    @extschema@.seckill_gather(bigint, integer),
    @extschema@.seckill_unsplit(bigint),
    @extschema@.seckill_rejoin()
FROM PUBLIC;

-- who watches the server
GRANT SELECT ON seckill.stat_channels TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.seckill_stat_channels() TO pg_monitor;
