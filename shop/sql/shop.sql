-- The shop's own tables, roles and grants.  Run by psql as a superuser.

\set ON_ERROR_STOP on

CREATE EXTENSION seckill;

CREATE SCHEMA shop;

COMMENT ON SCHEMA shop IS 'what the shop keeps besides items and orders';

CREATE TABLE shop.users (
    user_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 40),
    created_at  timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE shop.users IS 'buyers; the demo makes one at each login';

CREATE TABLE shop.goods (
    item_id     bigint PRIMARY KEY REFERENCES seckill.items,
    title_en    text NOT NULL,
    title_zh    text NOT NULL,
    text_en     text NOT NULL DEFAULT '',
    text_zh     text NOT NULL DEFAULT '',
    picture     text NOT NULL,
    amount      bigint NOT NULL CHECK (amount >= 0),
    path        text NOT NULL DEFAULT 'lane' CHECK (path IN ('lane', 'queue')),
    kind        text NOT NULL DEFAULT 'item'
                CHECK (kind IN ('item', 'envelope', 'draw', 'coupon', 'seats'))
);

COMMENT ON TABLE shop.goods IS 'what the pages show of an item';
COMMENT ON COLUMN shop.goods.picture IS 'a file of pages/';
COMMENT ON COLUMN shop.goods.amount IS 'price of one unit, in fen';
COMMENT ON COLUMN shop.goods.kind IS 'what its page shows of a unit: nothing, an amount, a prize, a code, or seats on a map';
COMMENT ON COLUMN shop.goods.path IS 'how purchases are merged: lane, or queue for strict order of arrival over all instances';

-- Losing this table in a crash lets a solution be used again within its two
-- minutes, which gives its user another pass for the same item, no more.
CREATE UNLOGGED TABLE shop.used_challenges (
    nonce       text PRIMARY KEY,
    expires_at  timestamptz NOT NULL
);

COMMENT ON TABLE shop.used_challenges IS 'proofs of work that have been turned into a pass';

CREATE TABLE shop.payments (
    payment_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    item_id     bigint NOT NULL,
    order_id    bigint NOT NULL,
    amount      bigint NOT NULL,
    state       text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'confirmed', 'refund', 'refunded')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (item_id, order_id) REFERENCES seckill.orders
);

-- An order is paid once; money that comes again goes back.
CREATE UNIQUE INDEX payments_order ON shop.payments (item_id, order_id)
    WHERE state = 'confirmed';
CREATE INDEX payments_of_order ON shop.payments (item_id, order_id, created_at);
CREATE INDEX payments_refund ON shop.payments (created_at)
    WHERE state = 'refund';

COMMENT ON TABLE shop.payments IS 'payments begun at the provider';
COMMENT ON COLUMN shop.payments.state IS 'open, confirmed (the order has it), refund (to be sent back), refunded';

-- The orders of a user, whatever their state.  The extension has no such index,
-- and pg_dump does not dump this one: create it again after a restore.
CREATE INDEX shop_orders_user ON seckill.orders (user_id, item_id);

-- Turn a proof of work into a pass; NULL if it was used before.
CREATE FUNCTION shop.make_pass(nonce text, item bigint, buyer bigint, valid_for interval)
RETURNS text
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    WITH used AS (
        INSERT INTO shop.used_challenges AS u (nonce, expires_at)
        VALUES (make_pass.nonce, now() + '5 minutes')
        ON CONFLICT DO NOTHING
        RETURNING u.nonce)
    SELECT seckill_token(item, buyer, valid_for) FROM used;
END;

COMMENT ON FUNCTION shop.make_pass(text, bigint, bigint, interval) IS
'token for a proof of work that is used for the first time, otherwise NULL';

-- The provider says that a payment has come.  Whatever it is too late or too
-- much for goes back.  Repeating the call changes nothing.
CREATE FUNCTION shop.settle_payment(payment uuid, OUT state text, OUT order_state text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    p shop.payments;
BEGIN
    SELECT * INTO p FROM shop.payments WHERE payment_id = payment FOR UPDATE;
    IF p.state = 'open' THEN
        BEGIN
            order_state := seckill_confirm(p.item_id, p.order_id);
        EXCEPTION WHEN SQLSTATE 'SK002' THEN
            order_state := 'cancelled';
        END;
        -- seckill_confirm has locked the order: another payment of it is
        -- settled before or after this one
        p.state := CASE WHEN order_state = 'confirmed' AND NOT EXISTS (
                SELECT FROM shop.payments o
                WHERE (o.item_id, o.order_id) = (p.item_id, p.order_id)
                    AND o.state = 'confirmed')
            THEN 'confirmed' ELSE 'refund' END;
        UPDATE shop.payments SET state = p.state WHERE payment_id = payment;
    END IF;
    state := p.state;
END
$$;

COMMENT ON FUNCTION shop.settle_payment(uuid) IS
'confirm the order of a payment that has come, or mark the payment for a refund; state is NULL if there is no such payment';

--
-- Roles.  The service is a buyer that also makes passes, confirms and cancels.
--

CREATE ROLE seckill_buyer;
GRANT EXECUTE ON FUNCTION
    seckill_mode(text),
    seckill_buy(bigint, bigint, seckill_mode, bigint, uuid, text),
    seckill_buy_many(bigint, bigint[], seckill_mode, uuid[], text[], bigint[]),
    seckill_buy_items(bigint[], bigint[], seckill_mode, bigint[], uuid[], text[]),
    seckill_submit(bigint, bigint, bigint, uuid, text),
    seckill_submit_many(bigint[], bigint[], bigint[], uuid[], text[]),
    seckill_result(bigint, interval),
    seckill_result_many(bigint[], interval),
    seckill_claim(bigint, bigint, seckill_mode, uuid, text),
    seckill_claim_many(bigint, bigint[], seckill_mode, uuid[], text[]),
    seckill_unit(bigint, bigint),
    seckill_book(bigint, bigint, bigint, bigint, bigint, seckill_mode, text, bigint, bigint[], uuid, text),
    seckill_seat_map(bigint, bigint, bigint),
    seckill_item(bigint),
    seckill_order(bigint, bigint)
    TO seckill_buyer;

CREATE ROLE shop_web LOGIN CONNECTION LIMIT 60 IN ROLE seckill_buyer;
GRANT EXECUTE ON FUNCTION
    seckill_token(bigint, bigint, interval),
    seckill_confirm(bigint, bigint),
    seckill_cancel(bigint, bigint, boolean)
    TO shop_web;
GRANT USAGE ON SCHEMA seckill, shop TO shop_web;
GRANT SELECT ON seckill.orders, seckill.seats TO shop_web;
GRANT SELECT ON shop.goods TO shop_web;
GRANT SELECT, INSERT ON shop.users TO shop_web;
GRANT SELECT, INSERT, UPDATE ON shop.payments TO shop_web;
GRANT SELECT, INSERT, DELETE ON shop.used_challenges TO shop_web;

-- A transaction pooler does not carry SET over: the role has the bounds.
ALTER ROLE shop_web SET statement_timeout = '3s';
ALTER ROLE shop_web SET lock_timeout = '1s';
ALTER ROLE shop_web SET idle_in_transaction_session_timeout = '5s';
