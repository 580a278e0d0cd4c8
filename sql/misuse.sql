-- Misuse: each call raises an error with its SQLSTATE and changes nothing.
INSERT INTO seckill.items (item_id, stock) VALUES (1, 5);

SELECT seckill_buy(404, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(404, 1, 'pessimistic');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'cache', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'cache', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'cache', -1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'cache', -2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'cache', 2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'cache', 9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'queue', 2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(1, 1, 4294967297);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_submit(1, 1, -4294967295);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'magic');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'queue', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_buy(1, 1, 'none');
\echo :LAST_ERROR_SQLSTATE
SET seckill.default_mode = 'none';
SELECT seckill_buy(1, 1);
\echo :LAST_ERROR_SQLSTATE
RESET seckill.default_mode;
SET seckill.default_mode = 'magic';
\echo :LAST_ERROR_SQLSTATE
SET seckill.no_such_setting = 1;
\echo :LAST_ERROR_SQLSTATE

BEGIN READ ONLY;
SELECT seckill_buy(1, 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT seckill_prewarm(1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT seckill_recall(1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

SELECT seckill_prewarm(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_prewarm(404);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_prewarm(1, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_prewarm(1, 2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_recall(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_recall(404);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_items_changed();
\echo :LAST_ERROR_SQLSTATE

-- extremes that are not misuse
INSERT INTO seckill.items (item_id, stock) VALUES
    (-9223372036854775808, 1), (9223372036854775807, 2147483647);
SELECT outcome FROM seckill_buy(-9223372036854775808, -9223372036854775808, 'advisory');
SELECT outcome FROM seckill_buy(9223372036854775807, 9223372036854775807, 'cache', 2147483647);
SELECT outcome FROM seckill_buy(9223372036854775807, 0, 'pessimistic');

-- nothing changed
SELECT * FROM seckill_audit();
TRUNCATE seckill.items, seckill.orders;
