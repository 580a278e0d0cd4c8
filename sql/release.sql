-- Scheduled releases: what can be written by hand, and what is refused.  Their
-- times are far in the future; t/066_releases.pl lets them come.
INSERT INTO seckill.items (item_id, stock) VALUES (1, 0), (2, 5);
INSERT INTO seckill.releases (item_id, release_at, units)
VALUES (1, '2200-01-01 08:00+00', 10), (1, '2200-01-01 10:00+00', 20), (2, 'infinity', 7);
SELECT item_id, stock, planned, next_release AT TIME ZONE 'UTC' AS next_release, state FROM seckill.stock ORDER BY 1;

-- planned units are not supplied
SELECT item_id, supplied, difference FROM seckill_audit();
SELECT outcome FROM seckill_buy(1, 1, 'cache');
SELECT outcome FROM seckill_buy(1, 1, 'queue');

-- a release that is not done is the administrator's
UPDATE seckill.releases SET release_at = release_at + interval '1 hour', units = units + 1 WHERE item_id = 1;
UPDATE seckill.releases SET item_id = 1, release_at = '2200-01-01 12:00+00' WHERE item_id = 2;
DELETE FROM seckill.releases WHERE units = 21;
SELECT item_id, release_at AT TIME ZONE 'UTC' AS release_at, units, first_unit, done_at
FROM seckill.releases ORDER BY release_at;
MERGE INTO seckill.releases r USING (VALUES (1, 7, 8)) v (item_id, was, units)
ON r.item_id = v.item_id AND r.units = v.was
WHEN MATCHED THEN UPDATE SET units = v.units;
SELECT item_id, planned FROM seckill.stock ORDER BY 1;

-- done_at is the extension's
\set VERBOSITY terse
UPDATE seckill.releases SET done_at = now();
\echo :LAST_ERROR_SQLSTATE
-- except in a row that is restored: it moves no units
INSERT INTO seckill.releases (item_id, release_id, release_at, units, done_at)
VALUES (1, 1000, '2020-01-01', 5, '2020-01-01');
SELECT item_id, stock, planned FROM seckill.stock ORDER BY 1;
UPDATE seckill.releases SET units = 6 WHERE release_id = 1000;
\echo :LAST_ERROR_SQLSTATE
UPDATE seckill.releases SET done_at = NULL WHERE release_id = 1000;
DELETE FROM seckill.releases WHERE release_id = 1000;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM seckill.releases;
TRUNCATE seckill.releases;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE seckill.items, seckill.orders;
\echo :LAST_ERROR_SQLSTATE
-- an error that is caught leaves nothing
BEGIN;
SAVEPOINT s;
DELETE FROM seckill.releases WHERE release_id = 1000;
ROLLBACK TO s;
DELETE FROM seckill.releases WHERE release_id <> 1000;
ROLLBACK;
SELECT count(*) FROM seckill.releases;

-- values
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, 'infinity', 0);
INSERT INTO seckill.releases (item_id, release_at, units, first_unit) VALUES (1, 'infinity', 1, 0);
INSERT INTO seckill.releases (item_id, units) VALUES (1, 1);
\set VERBOSITY default

-- DELETE of an item deletes its releases, done or not; a rollback restores them
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, 'infinity', 3);
BEGIN;
DELETE FROM seckill.items WHERE item_id = 1;
SELECT item_id, units FROM seckill.releases ORDER BY 1, 2;
ROLLBACK;
SELECT item_id, count(*) FROM seckill.releases GROUP BY 1 ORDER BY 1;
DELETE FROM seckill.items WHERE item_id = 1;
SELECT item_id, units FROM seckill.releases ORDER BY 1, 2;

-- COPY, and a replication worker
COPY seckill.releases (item_id, release_at, units) FROM stdin;
2	2200-01-01 00:00+00	1
2	2200-01-02 00:00+00	2
\.
SET session_replication_role = replica;
UPDATE seckill.releases SET done_at = '2021-01-01' WHERE units = 2;
DELETE FROM seckill.releases WHERE units = 2;
RESET session_replication_role;
SELECT count(*) FROM seckill.releases;

-- rights: administrators write, pg_monitor reads, buyers do neither
CREATE ROLE regress_release_monitor IN ROLE pg_monitor;
CREATE ROLE regress_release_admin;
GRANT USAGE ON SCHEMA seckill TO regress_release_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON seckill.releases TO regress_release_admin;
CREATE ROLE regress_release_buyer;
GRANT USAGE ON SCHEMA seckill TO regress_release_buyer;
SET ROLE regress_release_monitor;
SELECT count(*) FROM seckill.releases;
SELECT planned FROM seckill.stock;
DELETE FROM seckill.releases;
SET ROLE regress_release_buyer;
SELECT count(*) FROM seckill.releases;
SET ROLE regress_release_admin;
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, 'infinity', 4);
DELETE FROM seckill.releases WHERE units = 4;
RESET ROLE;
REVOKE ALL ON seckill.releases FROM regress_release_admin;
REVOKE USAGE ON SCHEMA seckill FROM regress_release_admin, regress_release_buyer;
DROP ROLE regress_release_monitor, regress_release_admin, regress_release_buyer;

SELECT count(*) FROM seckill_audit() WHERE difference <> 0;
TRUNCATE seckill.items, seckill.orders, seckill.releases;
