-- What bad_input.sh and t/031_bad_input.pl share: random calls of every function
-- with valid and invalid arguments, one after the other in subtransactions.
--
-- torture.torment(n, dml) makes n calls; with dml, changes of the tables, too.
-- The SQLSTATEs and outcomes are in torture.answers; none may begin with XX.
CREATE EXTENSION IF NOT EXISTS seckill;

CREATE SCHEMA torture;

CREATE TABLE torture.answers (
	state	text,			-- SQLSTATE, or 00000
	n		bigint,
	call	text,			-- one of them
	message	text);

CREATE FUNCTION torture.one_of(VARIADIC list text[]) RETURNS text LANGUAGE sql VOLATILE
RETURN list[1 + floor(random() * cardinality(list))::integer];

CREATE FUNCTION torture.item() RETURNS text LANGUAGE sql VOLATILE
RETURN CASE WHEN random() < 0.85 THEN quote_literal(1 + floor(random() * 6))
	ELSE torture.one_of('NULL', '0', '-1', '404', '9223372036854775807', '-9223372036854775808',
		'9223372036854775808', '''x''', '1.5', 'NULL::text') END;

CREATE FUNCTION torture.people() RETURNS text LANGUAGE sql VOLATILE
RETURN CASE WHEN random() < 0.7 THEN quote_literal(floor(random() * 20))
	ELSE torture.one_of('NULL', '-1', '9223372036854775807', '-9223372036854775808', '''''', '1e30') END;

CREATE FUNCTION torture.mode() RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('''optimistic''', '''retry''', '''pessimistic''', '''advisory''', '''cache''', '''cache''',
	'''auto''', '''none''', '''queue''', 'NULL', '''x''', '''Cache''', '''''');

CREATE FUNCTION torture.number() RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('1', '1', '1', '2', '3', '0', '-1', 'NULL', '2147483647', '-2147483648', '2147483648', '''NaN''');

CREATE FUNCTION torture.request() RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('NULL', 'NULL', quote_literal(md5((random() * 50)::integer::text)),
	'''00000000-0000-0000-0000-000000000000''', '''ffffffff-ffff-ffff-ffff-ffffffffffff''', '''x''');

CREATE FUNCTION torture.token(item text, who text) RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('NULL', 'NULL', '''''', format('seckill_token(%s, %s)', item, who),
	format('seckill_token(%s, %s, ''-1 s'')', item, who), 'repeat(''0'', 80)', 'repeat(''ab'', 5000)',
	'''é''''"\ ''', 'repeat(''f'', 79) || ''é''', 'E''\n\t\x7f''', 'chr(1114111)');

CREATE FUNCTION torture.period() RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('NULL', '''0''', '''1 ms''', '''-1 s''', '''5 ms''', '''178000000 years''', '''-178000000 years''',
	'''infinity''', '''-infinity''', '''2147483647 days 2147483647 months''', '''x''', '''1 us''');

CREATE FUNCTION torture.instant() RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('NULL', 'NULL', 'NULL', '''infinity''', '''-infinity''', '''4714-11-24 00:00:00+00 BC''',
	'''294276-12-31 23:59:59.999999+00''', 'now()', 'now() + ''1 s''', '''x''');

CREATE FUNCTION torture.list(element text, type text) RETURNS text LANGUAGE sql VOLATILE
RETURN torture.one_of('NULL', '''{}''', 'ARRAY[NULL]::' || type, format('ARRAY[%s]::%s', element, type),
	format('ARRAY[%s,%s]::%s', element, element, type), format('ARRAY[%s,%s]::%s', element, element, type),
	format('ARRAY[[%s],[%s]]::%s', element, element, type), format('(''[5:6]={NULL,NULL}'')::%s', type),
	format('array_fill(%s::%s, ARRAY[%s])', element, left(type, -2), torture.one_of('3', '3', '40', '2, 2', '0', '2000')));

CREATE FUNCTION torture.any_call() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	item text := torture.item();
	who text := torture.people();
BEGIN
	CASE floor(random() * 22)
		WHEN 0, 1, 2, 3 THEN
			RETURN format('SELECT * FROM seckill_buy(%s, %s, %s, %s, %s, %s)', item, who,
				torture.mode(), torture.number(), torture.request(), torture.token(item, who));
		WHEN 4 THEN
			RETURN format('SELECT seckill_buy(%s, %s)', item, who);
		WHEN 5, 6 THEN
			RETURN format('SELECT count(*) FROM seckill_buy_many(%s, %s, %s, %s, %s)', item,
				torture.list(who, 'bigint[]'), torture.mode(), torture.list(torture.request(), 'uuid[]'),
				torture.list(torture.token(item, who), 'text[]'));
		WHEN 7 THEN
			RETURN torture.one_of(
				format('SELECT count(*) FROM seckill_buy_many(%s, %s, quantities => %s)', item,
					torture.list(who, 'bigint[]'), torture.list(torture.number(), 'bigint[]')),
				format('SELECT count(*) FROM seckill_buy_items(%s, %s, %s, %s, %s, %s)',
					torture.list(item, 'bigint[]'), torture.list(who, 'bigint[]'), torture.mode(),
					torture.list(torture.number(), 'bigint[]'), torture.list(torture.request(), 'uuid[]'),
					torture.list(torture.token(item, who), 'text[]')),
				format('SELECT count(*) FROM seckill_submit_many(%s, %s, %s, %s, %s)',
					torture.list(item, 'bigint[]'), torture.list(who, 'bigint[]'),
					torture.list(torture.number(), 'bigint[]'), torture.list(torture.request(), 'uuid[]'),
					torture.list(torture.token(item, who), 'text[]')),
				format('SELECT count(*) FROM seckill_result_many(%s, %s)', torture.list(item, 'bigint[]'), torture.period()));
		WHEN 8 THEN
			RETURN format('SELECT * FROM seckill_submit(%s, %s, %s, %s, %s)', item, who,
				torture.number(), torture.request(), torture.token(item, who));
		WHEN 9 THEN
			RETURN format('SELECT * FROM seckill_result(%s, %s)',
				torture.one_of(item, item, (random() * 1e6)::bigint::text), torture.period());
		WHEN 10 THEN
			RETURN format('SELECT seckill_token(%s, %s, %s)', item, who, torture.period());
		WHEN 11, 12 THEN
			RETURN format('SELECT seckill_confirm(%s, %s)', item,
				torture.one_of(who, (random() * 1000)::integer::text));
		WHEN 13 THEN
			RETURN format('SELECT seckill_cancel(%s, %s, %s)', item,
				torture.one_of(who, (random() * 1000)::integer::text), torture.one_of('NULL', 'true', 'true', 'false'));
		WHEN 14 THEN
			RETURN format('SELECT seckill_prewarm(%s, %s)', item, torture.number());
		WHEN 15 THEN
			RETURN format('SELECT seckill_recall(%s)', item);
		WHEN 16 THEN
			RETURN format('SELECT count(*) FROM seckill_audit(%s)', item);
		WHEN 20 THEN
			RETURN format('SELECT seckill_%s(%s, %s)', torture.one_of('restock', 'restock', 'set_available', 'order'),
				item, torture.number());
		WHEN 21 THEN
			RETURN format('SELECT * FROM seckill_item(%s)', item);
		WHEN 17 THEN
			RETURN 'SELECT count(*) FROM ' || torture.one_of('seckill_cache()', 'seckill_stat_items()',
				'seckill_stat_worker()', 'seckill_stat_reset()', 'seckill.stock', 'seckill.stat_items',
				'seckill.stat_worker', 'seckill_items_changed()', 'seckill_truncated()', 'seckill_orders_guard()');
		WHEN 18 THEN
			RETURN format('SET LOCAL %s = %s', torture.one_of('seckill.default_mode', 'seckill.max_retries',
					'seckill.lease_units', 'seckill.hot_rate', 'seckill.allow_unsafe', 'seckill.token_key', 'seckill.x'),
				torture.one_of('DEFAULT', '0', '1', '2147483647', '-1', '''cache''', '''optimistic''', '''x'''));
		ELSE
			RETURN torture.one_of(format('SELECT seckill_buy(%s)', item), 'SELECT seckill_items_delete()',
				format('SELECT (seckill_buy(%s, %s)).* FROM generate_series(1, 3)', item, who),
				format('SELECT seckill_buy(token => %s, user_id => %s, item_id => %s)', torture.token(item, who), who, item),
				format('SELECT seckill_buy(i, %s, m) FROM generate_series(1, 6) i, unnest(enum_range(NULL::seckill_mode)) m WHERE m NOT IN (''none'', ''queue'')', who),
				format('SELECT seckill_confirm(%s, order_id) FROM seckill_buy(%s, %s)', item, item, who));
	END CASE;
END
$$;

-- Only what leaves the law of conservation alone, or is refused.
CREATE FUNCTION torture.any_change() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	item text := torture.item();
BEGIN
	CASE floor(random() * 12)
		WHEN 0 THEN
			RETURN format('UPDATE seckill.items SET stock = stock + %s WHERE item_id = %s', torture.number(), item);
		WHEN 1 THEN
			RETURN format('UPDATE seckill.items SET %s = %s WHERE item_id = %s',
				torture.one_of('per_user_limit', 'leased', 'lease_id', 'user_burst', 'max_waiters', 'item_id', 'version', 'supplied', 'seal'),
				torture.number(), item);
		WHEN 2 THEN
			RETURN format('UPDATE seckill.items SET %s = %s WHERE item_id = %s',
				torture.one_of('starts_at', 'ends_at'), torture.instant(), item);
		WHEN 3 THEN
			RETURN format('UPDATE seckill.items SET pay_within = %s, require_token = %s WHERE item_id = %s',
				torture.period(), torture.one_of('true', 'false', 'NULL'), item);
		WHEN 4 THEN
			RETURN format('UPDATE seckill.items SET starts_at = NULL, ends_at = NULL, require_token = false, per_user_limit = NULL, user_rate = %s, title = %s',
				torture.one_of('NULL', '''NaN''', '''Infinity''', '-1', '0', '1e30'), torture.token('1', '1'));
		WHEN 9, 10 THEN
			RETURN format('SELECT seckill_put_item(%s, %s)', item, torture.one_of('NULL', '''{}''', '''[]''', '''"x"''',
				'''{"stock": 100}''', '''{"stock": -1}''', '''{"stock": 1e30}''', '''{"title": null}''',
				'''{"title": {"a": [1]}}''', '''{"per_user_limit": 1.5}''', '''{"require_token": false, "x": 1}''',
				'''{"user_rate": 1e300}''', '''{"pay_within": "x"}''', '''{"ends_at": "infinity"}''',
				'''{"starts_at": null, "ends_at": null, "pay_within": null}'''));
		WHEN 5 THEN
			RETURN format('DELETE FROM seckill.items WHERE item_id = %s', item);
		WHEN 6 THEN
			RETURN format('INSERT INTO seckill.items (item_id, title, stock, starts_at, pay_within) VALUES (%s, %s, %s, %s, %s)',
				item, torture.token('1', '1'), torture.number(), torture.instant(), torture.period());
		WHEN 7 THEN
			RETURN format('INSERT INTO seckill.items (item_id, stock, version, leased, lease_id, supplied, seal) VALUES (%s, %s, %s, %s, %s, %s, %s)',
				item, torture.number(), torture.number(), torture.number(), torture.number(), torture.number(), torture.number()) ||
				torture.one_of('', ' ON CONFLICT DO NOTHING', ' ON CONFLICT (item_id) DO UPDATE SET stock = excluded.stock, version = excluded.version,'
					' leased = excluded.leased, lease_id = excluded.lease_id, supplied = excluded.supplied, seal = excluded.seal');
		WHEN 8 THEN
			RETURN format('INSERT INTO seckill.items SELECT * FROM seckill.items WHERE item_id = %s'
				' ON CONFLICT (item_id) DO UPDATE SET stock = excluded.stock + %s, version = excluded.version,'
				' leased = excluded.leased, lease_id = excluded.lease_id, supplied = excluded.supplied, seal = excluded.seal',
				item, torture.one_of('0', '1', '-1'));
		ELSE
			RETURN format('UPDATE seckill.orders SET %s WHERE item_id = %s AND user_id = %s',
				torture.one_of('pay_by = ' || torture.instant(), 'quantity = ' || torture.number(), 'state = ''expired''',
					'lease_id = ' || item, 'user_id = user_id', 'order_id = ' || torture.number(), 'limited = NOT limited',
					'mode = ''retry''', 'request_id = NULL', 'created_at = ' || torture.instant()), item, torture.people());
	END CASE;
END
$$;

CREATE PROCEDURE torture.torment(calls integer, dml boolean) LANGUAGE plpgsql AS $$
DECLARE
	call text;
	code text;
	text_of text;
	counts jsonb := '{}';
BEGIN
	FOR i IN 1 .. calls LOOP
		call := CASE WHEN dml AND random() < 0.1 THEN torture.any_change() ELSE torture.any_call() END;
		BEGIN
			EXECUTE call;
			code := '00000';
		EXCEPTION WHEN query_canceled OR OTHERS THEN
			code := SQLSTATE;
			IF code LIKE 'XX%' OR NOT counts ? code THEN
				text_of := SQLERRM;
				INSERT INTO torture.answers VALUES (code, 0, left(call, 1000), text_of);
			END IF;
		END;
		counts := jsonb_set(counts, ARRAY[code], to_jsonb(coalesce((counts ->> code)::bigint, 0) + 1));
		IF random() < 0.03 THEN
			COMMIT;
		ELSIF random() < 0.003 THEN
			ROLLBACK;
		END IF;
	END LOOP;
	INSERT INTO torture.answers SELECT key, value::bigint FROM jsonb_each_text(counts);
	COMMIT;
END
$$;

CREATE ROLE pest;
GRANT USAGE ON SCHEMA torture TO pest;
GRANT SELECT, INSERT ON torture.answers TO pest;
DO $$
BEGIN
	EXECUTE (SELECT string_agg(format('GRANT EXECUTE ON FUNCTION %s TO pest', oid::regprocedure), ';')
		FROM pg_proc WHERE proname LIKE 'seckill\_%');
END
$$;

INSERT INTO seckill.items (item_id, title, stock, per_user_limit, require_token, pay_within, user_rate, max_waiters) VALUES
	(1, 'plain', 1000000, NULL, false, NULL, NULL, NULL),
	(2, E'it''s "new"\nand \\ ' || repeat('漢', 10000), 1000, NULL, false, NULL, NULL, NULL),
	(3, '', 1000000, 100000, false, '1 h', NULL, 5),
	(4, NULL, 1000000, NULL, true, NULL, 1e6, 0),
	(5, 'few', 0, 1, false, '100 ms', 0, NULL),
	(6, 'all', 2147483647, 3, true, '1 year', 100, 1);
