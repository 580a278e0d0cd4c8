-- The items of the demo.  Run by psql with the variables starts_in (seconds), stock
-- and pay_within (seconds).

\set ON_ERROR_STOP on

INSERT INTO seckill.items (item_id, title, stock, starts_at, ends_at,
    per_user_limit, pay_within, require_token, user_rate, user_burst)
VALUES
    (1, 'phone', :stock, now() + :starts_in * interval '1 second',
        now() + :starts_in * interval '1 second' + interval '1 day',
        1, :pay_within * interval '1 second', true, 2, 10),
    (2, 'tea', :stock, now() + :starts_in * interval '1 second',
        now() + :starts_in * interval '1 second' + interval '1 day',
        2, :pay_within * interval '1 second', true, 2, 10);

-- Scenarios: units that differ.  What each is worth is decided before the sale, by
-- a seed that nobody knows; publish a hash of it, and itself afterwards.
INSERT INTO seckill.items (item_id, title, stock, numbered, legs, starts_at,
    per_user_limit, pay_within, reveal_on, require_token, user_rate, user_burst)
SELECT item_id, title, CASE WHEN legs IS NULL THEN :stock ELSE 0 END, legs IS NULL, legs,
    now() + :starts_in * interval '1 second', 1,
    CASE WHEN legs IS NULL THEN NULL ELSE :pay_within * interval '1 second' END,
    'pending', true, 2, 10
FROM (VALUES (3, 'envelope', NULL), (4, 'draw', NULL), (5, 'coupon', NULL), (6, 'hall', 1))
    AS i (item_id, title, legs);

-- 8.88 yuan for each on average
INSERT INTO seckill.units (item_id, unit, amount)
SELECT 3, u.unit, u.amount
FROM unnest(seckill_divide_amount(888 * :stock, :stock, seed => uuid_send(gen_random_uuid())))
    WITH ORDINALITY AS u (amount, unit);

-- one in 100 is a first prize, one in 20 a second
INSERT INTO seckill.units (item_id, unit, prize)
SELECT 4, u.unit, u.prize
FROM unnest(seckill_deal_prizes(:stock, ARRAY[:stock / 100, :stock / 20],
    seed => uuid_send(gen_random_uuid()))) WITH ORDINALITY AS u (prize, unit)
WHERE u.prize IS NOT NULL;

INSERT INTO seckill.units (item_id, unit, code)
SELECT 5, u.unit, u.code
FROM unnest(seckill_make_codes(:stock)) WITH ORDINALITY AS u (code, unit);

INSERT INTO seckill.seats (item_id, seat, block, car, label)
SELECT 6, 6 * r + s, r, r / 4, chr(65 + r) || s
FROM generate_series(0, 7) AS r, generate_series(1, 6) AS s;

INSERT INTO shop.goods
VALUES
    (1, 'Phone', '手机', 'One for each customer, at half the price.',
        '半价，每人限购一台。', 'phone.svg', 199900, 'lane', 'item'),
    (2, 'Spring tea', '明前茶', 'Two tins for each customer, served strictly in order of arrival.',
        '每人限购两罐，严格按先后顺序。', 'tea.svg', 18800, 'queue', 'item'),
    (3, 'Red envelope', '拼手气红包', 'How much is in it? One for each.',
        '金额随机，每人一个。', 'envelope.svg', 0, 'lane', 'envelope'),
    (4, 'Lucky draw', '幸运抽奖', 'One draw for each, from a deck that was dealt before.',
        '奖池已预先排定，每人一次。', 'draw.svg', 0, 'lane', 'draw'),
    (5, 'Coupon', '优惠券', 'Each has a code of its own.',
        '每张券码各不相同。', 'coupon.svg', 0, 'lane', 'coupon'),
    (6, 'Concert', '音乐会', 'Pick a seat on the map.',
        '请在座位图上选座。', 'seats.svg', 38000, 'lane', 'seats');
