-- Calls on one item: create and change it, restock, read it and its orders.

-- a new item needs its stock, everything else has a default
SELECT seckill_put_item(1, '{"stock": 10}');
SELECT seckill_put_item(2, '{"title": "phone", "stock": 3, "starts_at": "2020-01-01 00:00:00+00",
    "ends_at": "infinity", "per_user_limit": 2, "require_token": true, "pay_within": "15 minutes",
    "user_rate": 2.5, "user_burst": 5, "max_waiters": 0}');
SELECT item_id, title, stock, supplied, starts_at AT TIME ZONE 'UTC' AS starts_at, ends_at, per_user_limit,
    require_token, pay_within, user_rate, user_burst, max_waiters
FROM seckill.items ORDER BY item_id;

-- only the settings given are changed; null resets one
SELECT seckill_put_item(2, '{"title": "telephone", "per_user_limit": 1}');
SELECT seckill_put_item(2, '{}');
SELECT title, per_user_limit, require_token, pay_within, max_waiters FROM seckill_item(2);
SELECT seckill_put_item(2, '{"title": null, "starts_at": null, "ends_at": null, "per_user_limit": null,
    "require_token": null, "pay_within": null, "user_rate": null, "user_burst": null, "max_waiters": null}');
SELECT * FROM seckill_item(2);
-- a new limit applies at once, and counts earlier orders
SELECT outcome FROM seckill_buy(2, 7, 'cache', 2);
SELECT seckill_put_item(2, '{"per_user_limit": 2}');
SELECT outcome FROM seckill_buy(2, 7, 'cache');
SELECT seckill_put_item(2, '{"ends_at": "2020-01-01"}');
SELECT outcome FROM seckill_buy(2, 8, 'cache');

-- misuse: unknown names, wrong types
SELECT seckill_put_item(3, '{"title": "new"}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"stock": 5}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"colour": "red"}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"supplied": 5}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"per_user_limit": "2"}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"per_user_limit": 1.5}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"require_token": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"pay_within": 15}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"title": {"en": "phone"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(3, '{"stock": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"starts_at": "soon"}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(3, '{"stock": 3000000000}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT seckill_put_item(3, '{"stock": -1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"per_user_limit": 0}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '{"starts_at": "2030-01-02", "ends_at": "2030-01-01"}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
SELECT seckill_put_item(1, '["stock"]');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, '7');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(NULL, '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM seckill.items;

-- restock: from the row alone, from row and cache, too many units
SELECT seckill_restock(1, 5);
SELECT seckill_restock(1, -7);
SELECT seckill_prewarm(1, 6);
SELECT seckill_restock(1, 0);
SELECT seckill_restock(1, -4);
SELECT cached, held FROM seckill_cache() WHERE item_id = 1;
SELECT seckill_restock(1, -5);
\echo :LAST_ERROR_SQLSTATE
SELECT available FROM seckill_item(1);
SELECT seckill_restock(1, -4);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT state, available FROM seckill_item(1);
-- the sold-out flag follows the units
SELECT seckill_restock(1, 2);
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT state, available FROM seckill_item(1);
SELECT * FROM seckill_audit(1);
-- rolled back
BEGIN;
SELECT seckill_restock(1, -1);
SAVEPOINT s;
SELECT seckill_restock(1, 9);
ROLLBACK TO s;
SELECT available FROM seckill_item(1);
ROLLBACK;
SELECT available FROM seckill_item(1);

-- seckill_set_available()
SELECT seckill_set_available(1, 20);
SELECT seckill_prewarm(1, 15);
SELECT outcome FROM seckill_buy(1, 1, 'cache', 3);
SELECT seckill_set_available(1, 17);
SELECT state, available FROM seckill_item(1);
SELECT seckill_set_available(1, 4);
SELECT outcome FROM seckill_buy(1, 1, 'cache', 5);
SELECT outcome FROM seckill_buy(1, 1, 'cache', 4);
SELECT seckill_set_available(1, 0);
SELECT outcome FROM seckill_buy(1, 1, 'retry');
-- in a transaction that has bought and leased units itself
BEGIN;
SELECT seckill_restock(1, 10);
SELECT outcome FROM seckill_buy(1, 1, 'cache', 2);
SELECT seckill_set_available(1, 5);
SELECT available FROM seckill_item(1);
COMMIT;
SELECT available FROM seckill_item(1);
BEGIN;
SELECT seckill_prewarm(1, 4);
SAVEPOINT s;
SELECT seckill_set_available(1, 1);
SELECT available FROM seckill_item(1);
ROLLBACK TO s;
SELECT available FROM seckill_item(1);
SELECT seckill_set_available(1, 2);
COMMIT;
SELECT available FROM seckill_item(1);
SELECT cached, held FROM seckill_cache() WHERE item_id = 1;
SELECT outcome FROM seckill_buy(1, 1, 'advisory', 2);
SELECT * FROM seckill_audit(1);

-- the lease of a lost cache: unsettled when read, settled by a restock
SET session_replication_role = replica;
UPDATE seckill.items SET leased = 5, lease_id = 4711 WHERE item_id = 1;
UPDATE seckill.items SET supplied = supplied + 5 WHERE item_id = 1;
RESET session_replication_role;
SELECT state, available, unsettled FROM seckill_item(1);
SELECT seckill_restock(1, 0);
SELECT state, available, unsettled FROM seckill_item(1);
SELECT * FROM seckill_audit(1);

-- misuse
SELECT seckill_restock(404, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_restock(NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_restock(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_restock(1, 2147483647);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_restock(1, -2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_restock(1, 9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_set_available(404, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_set_available(NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_set_available(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_set_available(1, -1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_set_available(1, 2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_item(404);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_item(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM seckill_audit(1);
-- the greatest number of units, 12 of them sold
SELECT seckill_set_available(1, 2147483636);
SELECT seckill_set_available(1, 2147483635);
SELECT seckill_restock(1, -2147483635);

-- states, as in the view
SELECT seckill_put_item(n, jsonb_build_object('stock', n % 2, 'starts_at', s, 'ends_at', e))
FROM (VALUES (11, NULL, NULL), (12, NULL, NULL), (13, 'infinity', NULL), (14, NULL, '-infinity')) v(n, s, e);
SELECT item_id, s.state, i.state, i.available FROM seckill.stock s, LATERAL seckill_item(item_id) i
WHERE s.item_id > 10 ORDER BY item_id;

-- reading an order, with and without the privilege
SELECT seckill_put_item(11, '{"pay_within": "1 hour"}');
SELECT outcome, order_id AS o FROM seckill_buy(11, 42, 'pessimistic', 1, '00000000-0000-0000-0000-000000000042') \gset
SELECT user_id, quantity, state, created_at <= now() AS past, pay_by - created_at < interval '61 minutes' AS soon, mode, request_id
FROM seckill_order(11, :o);
SELECT seckill_cancel(11, :o);
SELECT state FROM seckill_order(11, :o);
SELECT seckill_order(12, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_order(11, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_order(NULL, 1);
\echo :LAST_ERROR_SQLSTATE

-- roles without rights on the tables
CREATE ROLE regress_office;
GRANT EXECUTE ON FUNCTION seckill_put_item(bigint, jsonb), seckill_restock(bigint, bigint),
    seckill_set_available(bigint, bigint), seckill_item(bigint), seckill_order(bigint, bigint) TO regress_office;
SET ROLE regress_office;
SELECT seckill_put_item(21, '{"stock": 1}');
SELECT seckill_put_item(21, '{"title": "by the office"}');
SELECT seckill_restock(21, 1);
SELECT seckill_set_available(21, 3);
SELECT title, available FROM seckill_item(21);
SELECT state FROM seckill_order(11, :o);
SELECT stock FROM seckill.items;
RESET ROLE;
REVOKE ALL ON FUNCTION seckill_put_item(bigint, jsonb), seckill_restock(bigint, bigint),
    seckill_set_available(bigint, bigint), seckill_item(bigint), seckill_order(bigint, bigint) FROM regress_office;
SET ROLE regress_office;
SELECT seckill_put_item(21, '{}');
SELECT seckill_restock(21, 1);
SELECT seckill_set_available(21, 3);
SELECT seckill_item(21);
SELECT seckill_order(11, :o);
RESET ROLE;
DROP ROLE regress_office;

-- read-only transactions can read, and nothing else
BEGIN READ ONLY;
SELECT state, available FROM seckill_item(21);
SELECT state FROM seckill_order(11, :o);
SELECT seckill_put_item(21, '{}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT seckill_restock(21, 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT seckill_set_available(21, 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- a trigger that skips the row
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER skip BEFORE INSERT OR UPDATE ON seckill.items FOR EACH ROW EXECUTE FUNCTION skip();
SELECT seckill_put_item(22, '{"stock": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT seckill_put_item(21, '{"title": "skipped"}');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER skip ON seckill.items;
DROP FUNCTION skip();

SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
TRUNCATE seckill.items, seckill.orders;
