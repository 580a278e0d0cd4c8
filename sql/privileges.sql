-- A role with EXECUTE on seckill_buy can buy without privileges on the tables.
CREATE ROLE regress_buyer;
CREATE ROLE regress_stranger;
GRANT EXECUTE ON FUNCTION seckill_buy(bigint, bigint, seckill_mode, bigint, uuid, text) TO regress_buyer;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 6);

SET ROLE regress_buyer;
SELECT outcome FROM seckill_buy(1, 1, 'optimistic');
SELECT outcome FROM seckill_buy(1, 2, 'retry');
SELECT outcome FROM seckill_buy(1, 3, 'pessimistic');
SELECT outcome FROM seckill_buy(1, 4, 'advisory');
SELECT outcome FROM seckill_buy(1, 5, 'cache');
SELECT current_user;
SELECT stock FROM seckill.items;
UPDATE seckill.items SET stock = 100;
SELECT * FROM seckill.orders;
INSERT INTO seckill.orders (item_id, user_id, quantity, mode) VALUES (1, 1, 1, 'retry');
SELECT * FROM seckill.stock;
SELECT seckill_prewarm(1);
SELECT seckill_recall(1);
SELECT * FROM seckill_audit();
SELECT * FROM seckill_cache();
SELECT * FROM seckill.stat_items;
SELECT * FROM seckill_stat_items();
SELECT * FROM seckill_stat_worker();
SELECT seckill_stat_reset();
SELECT outcome FROM seckill_buy(1, 6, 'none');
SET seckill.allow_unsafe = on;
-- an error inside a call restores the role
SELECT outcome FROM seckill_buy(404, 6);
SELECT current_user;

SET ROLE regress_stranger;
SELECT outcome FROM seckill_buy(1, 7, 'cache');
-- which items are hot is one answer for all
SET seckill.hot_rate = 0;
RESET ROLE;

-- saved plans survive a change of role
SELECT outcome FROM seckill_buy(1, 8, 'cache');
SET ROLE regress_buyer;
SELECT outcome FROM seckill_buy(1, 9, 'cache');
RESET ROLE;
SELECT * FROM seckill_audit();

-- row security on the tables does not apply to the extension
ALTER TABLE seckill.items ENABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.items FORCE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY;
UPDATE seckill.items SET stock = stock + 2;
SET ROLE regress_buyer;
SELECT outcome FROM seckill_buy(1, 10, 'pessimistic');
SELECT outcome FROM seckill_buy(1, 11, 'cache');
RESET ROLE;
ALTER TABLE seckill.items NO FORCE ROW LEVEL SECURITY;
ALTER TABLE seckill.items DISABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders DISABLE ROW LEVEL SECURITY;

-- names and operators planted in the caller's search_path are not used
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.always(bigint, bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR hostile.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.always);
CREATE TABLE hostile.items (item_id bigint, stock integer);
CREATE FUNCTION hostile.sum(integer) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
INSERT INTO seckill.items (item_id, stock) VALUES (2, 1);
\c
SET search_path = hostile, pg_catalog, public;
SELECT outcome FROM seckill_buy(2, 1, 'retry');
SELECT outcome FROM seckill_buy(2, 1, 'pessimistic');
SELECT item_id, supplied, sold, difference FROM seckill_audit();
RESET search_path;
DROP SCHEMA hostile CASCADE;

-- pg_monitor can read the views, and nothing else
CREATE ROLE regress_monitor IN ROLE pg_monitor;
SET ROLE regress_monitor;
SELECT count(*) FROM seckill.stock;
SELECT count(*) FROM seckill_audit();
SELECT count(*) > 0 AS some FROM seckill_cache();
SELECT count(*) > 0 AS some FROM seckill.stat_items;
SELECT count(*) FROM seckill.stat_worker;
SELECT seckill_stat_reset();
SELECT seckill_buy(2, 1);
SELECT seckill_recall(2);
SELECT count(*) FROM seckill.orders;
UPDATE seckill.items SET stock = 100;
RESET ROLE;
DROP ROLE regress_monitor;

TRUNCATE seckill.items, seckill.orders;
REVOKE EXECUTE ON FUNCTION seckill_buy(bigint, bigint, seckill_mode, bigint, uuid, text) FROM regress_buyer;
DROP ROLE regress_buyer;
DROP ROLE regress_stranger;
