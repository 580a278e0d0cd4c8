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

INSERT INTO shop.goods
VALUES
    (1, 'Phone', '手机', 'One for each customer, at half the price.',
        '半价，每人限购一台。', 'phone.svg', 199900, 'lane'),
    (2, 'Spring tea', '明前茶', 'Two tins for each customer, served strictly in order of arrival.',
        '每人限购两罐，严格按先后顺序。', 'tea.svg', 18800, 'queue');
