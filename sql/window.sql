-- The sale window: checked at the time of the call, also by the cache.
INSERT INTO seckill.items (item_id, title, stock, starts_at, ends_at) VALUES
    (1, 'open', 5, NULL, NULL),
    (2, 'upcoming', 5, now() + interval '1 day', now() + interval '2 days'),
    (3, 'ended', 5, now() - interval '2 days', now() - interval '1 day'),
    (4, 'on sale', 5, now() - interval '1 day', now() + interval '1 day'),
    (5, 'nothing', 0, now() - interval '1 day', now() + interval '1 day');
SELECT title, m, (seckill_buy(item_id, 1, m)).outcome
FROM seckill.items, unnest('{optimistic,retry,pessimistic,advisory,cache}'::seckill_mode[]) m
ORDER BY item_id, m;
SELECT title, stock, leased, cached, held, sold, state FROM seckill.stock ORDER BY item_id;

-- a change applies from its commit on
BEGIN;
UPDATE seckill.items SET starts_at = now() - interval '1 day' WHERE item_id = 2;
SELECT outcome FROM seckill_buy(2, 1, 'cache');
ROLLBACK;
SELECT outcome FROM seckill_buy(2, 1, 'cache');
UPDATE seckill.items SET starts_at = now() - interval '1 day' WHERE item_id = 2;
SELECT outcome FROM seckill_buy(2, 1, 'cache');
UPDATE seckill.items SET ends_at = now() WHERE item_id = 2;
SELECT outcome FROM seckill_buy(2, 1, 'cache');
UPDATE seckill.items SET ends_at = NULL, starts_at = NULL WHERE item_id = 2;
SELECT outcome FROM seckill_buy(2, 1, 'cache');

-- the clock is read at the call, not at the start of the transaction
BEGIN;
INSERT INTO seckill.items (item_id, stock, starts_at)
VALUES (6, 5, clock_timestamp());
SELECT now() < starts_at AS begun_before, (seckill_buy(6, 1, 'retry')).outcome
FROM seckill.items WHERE item_id = 6;
ROLLBACK;

-- a window that can never be open
\set VERBOSITY terse
INSERT INTO seckill.items (item_id, stock, starts_at, ends_at)
VALUES (7, 5, 'today', 'yesterday');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
TRUNCATE seckill.items, seckill.orders;
