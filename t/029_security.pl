# Objects that another user plants in the search_path are not used, and no role
# gets more than its grants.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $top = "$FindBin::RealBin/..";

#
# Static: every operator and function in the SQL texts is schema-qualified.
#

# Words that take parentheses and are no functions.
my %grammar = map { $_ => 1 } qw(
  all and any as by check coalesce enum exists filter from function greatest
  in index into join key lateral not on op operator or select table unique using values view
  when where);

# The unqualified operators and functions of some SQL.  Comments, strings and
# quoted names are dropped; the rest are tokens.
sub unqualified
{
	my $sql = lc shift;
	my @found;

	$sql =~ s{ /\*.*?\*/ | --[^\n]* | \$(\w*)\$.*?\$\g1\$ | '(?:[^']|'')*' }{ '' }gsx;
	$sql =~ s/"(?:[^"]|"")*"/ name /g;
	$sql =~ s/\@extschema\@/ext/g;
	$sql =~ s/\$\d+/ arg /g;
	$sql =~ s/\boperator\s*\(\s*pg_catalog\s*\.\s*[-+*\/<>=~!@#%^&|`?]+\s*\)/ op /g;

	# operators that the grammar makes of an unqualified name
	push @found, $1
	  while $sql =~ /\b(not\s+in|in(?=\s*\(\s*(?!out\b))|between|i?like|similar\s+to|nullif|natural|case\s+(?!when\b)\w+|using(?=\s*\())/g;

	# UPDATE ... SET column = and SET parameter =, up to the next keyword
	$sql =~ s{\bset\s+(?=[\w.]+\s*=)(.*?)(?=\bwhere\b|\bfrom\b|\breturning\b|\bbegin\b|;|$)}{
		join ', ', map { s/^\s*[\w.]+\s*=//r } split /,/, $1 }gse;
	# the star of SELECT and of a name, and casts
	$sql =~ s/(\bselect\s+|\.|\bcount\s*\()\*/$1 star/g;
	$sql =~ s/=>|::|\bwith\s*\(\s*fillfactor\s*=\s*\d+\s*\)/ /g;
	push @found, $1 while $sql =~ m{([-+*/<>=~!@#%^&|`?]+)}g;
	# an object that is created, altered or named is not called
	$sql =~ s/\bcreate\s+cast\b//g;
	$sql =~ s/\b(table|index|view|function|into|on|as)\s+[\w.]+\s*\(/$1 (/g;
	while ($sql =~ /((?:\w+\s*\.\s*)?)\b(\w+)\s*\(/g)
	{
		push @found, "$2()" if $1 eq '' && !$grammar{$2};
	}
	return @found;
}

# the scan itself detects a violation
is_deeply([ unqualified($_->[0]) ], [ $_->[1] ], "found: $_->[0]")
  foreach (
	[ 'SELECT a = b', '=' ],
	[ 'UPDATE t SET a = b + 1 WHERE c', '+' ],
	[ 'UPDATE t SET a = b WHERE c = 1', '=' ],
	[ 'SELECT a OPERATOR(pg_catalog.=) b AND c>=d', '>=' ],
	[ 'SELECT a OPERATOR(public.=) b', '=' ],
	[ 'SELECT now()', 'now()' ],
	[ 'SELECT x /* = */ -- <' . "\n < 'a=b'", '<' ],
	[ 'SELECT a IN (1, 2)', 'in' ],
	[ 'SELECT a FROM b JOIN c USING (d)', 'using' ],
	[ 'SELECT CASE a WHEN 1 THEN 2 END', 'case a' ],
	[ 'SELECT pg_catalog.sum(f(1))', 'f()' ],
	[ 'SELECT a BETWEEN 1 AND 2', 'between' ]);

# Statements are strings behind .sql, some of them macros of one line or more.
sub statements
{
	my $text = join '', map { slurp_file($_) } sort glob("$top/src/table/*.[ch]");
	my $string = qr/"(?:[^"\\]|\\.)*"/;
	my %macro;

	$text =~ s/\\\n/ /g;
	$macro{$1} = $2
	  while $text =~ /^#define\s+(\w+)[ \t]+((?:$string|\w+|\s)*?$string(?:$string|\w+|[ \t])*)$/mg;
	my $names = join '|', sort { length $b <=> length $a } keys %macro;
	my @sql = $text =~ /^\t\.sql = ((?:$string|\w+|\s)+)(?:,|\n\};)/mg;
	foreach (@sql)
	{
		1 while s/\b($names)\b(?=(?:[^"]*"[^"]*")*[^"]*$)/$macro{$1}/g;
	}
	return map { join ' ', map { s/^"|"$//gr } /($string)/g } @sql;
}

my @statements = grep { /\S/ } statements();
cmp_ok(scalar @statements, '>=', 30, 'the statements are found');
is(scalar(grep { /^(?:SELECT|UPDATE|INSERT|DELETE|WITH) / } @statements),
	scalar @statements, 'each is a statement');
is_deeply([ unqualified($_) ], [], "qualified: $_") foreach @statements;

my $script = slurp_file("$top/seckill--1.0.sql");
$script =~ s/^\\echo.*$//m;
is_deeply([ unqualified($script) ], [], 'the script is qualified');
unlike(slurp_file($_), qr/SPI_(?:prepare|execute|exec|cursor_open)\w*\s*\(/,
	"$_ has no SQL")
  foreach grep { !m{/table/} } glob("$top/src/*.c $top/src/*/*.c $top/*.c");

#
# Dynamic: a schema that is first in every search_path has a trap
# for each operator and function of PostgreSQL and of the extension.
#

my $node = seckill_node('security',
	conf => "seckill.token_key = 'sesame'\nseckill.queue_idle_time = 100\nseckill.open_ahead = 1h\n");

# Plant the traps in a schema of shop.  Operators of types given by name.
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<'EOC');
CREATE SCHEMA traps;
CREATE FUNCTION traps.trap(schema text, name text, args oid[], result oid)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql IMMUTABLE AS %L',
		schema, name,
		(SELECT string_agg(a::regtype::text, ', ' ORDER BY n) FROM unnest(args) WITH ORDINALITY u(a, n)),
		result::regtype, format('BEGIN RAISE EXCEPTION ''planted: %%'', %L; END', name));
END
$$;
CREATE FUNCTION traps.trap_operator(schema text, name text, l oid, r oid, result oid)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	called text := format('%s_%s_%s', name, l, r);
BEGIN
	PERFORM traps.trap(schema, called, CASE WHEN l = 0 THEN ARRAY[r] ELSE ARRAY[l, r] END, result);
	EXECUTE format('CREATE OPERATOR %I.%s (%s RIGHTARG = %s, FUNCTION = %I.%I)', schema, name,
		CASE WHEN l <> 0 THEN format('LEFTARG = %s,', l::regtype) END, r::regtype, schema, called);
END
$$;
-- returns how many there are
CREATE FUNCTION traps.plant(schema text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	planted integer := 0;
	o record;
BEGIN
	EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', schema);
	FOR o IN SELECT * FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace LOOP
		BEGIN
			PERFORM traps.trap_operator(schema, o.oprname, o.oprleft, o.oprright, o.oprresult);
			planted := planted + 1;
		EXCEPTION WHEN OTHERS THEN	-- types that PL/pgSQL cannot have
		END;
	END LOOP;
	FOR o IN SELECT * FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
		AND proname IN ('sum', 'count', 'max', 'min', 'unnest', 'now', 'clock_timestamp', 'nextval', 'int8', 'int4',
			'text', 'interval', 'timestamptz', 'float4', 'float8', 'numeric', 'bool', 'array_agg',
			'int8eq', 'int4eq', 'int8inc', 'enum_eq', 'timestamptz', 'numeric_int8', 'int4_sum', 'length') LOOP
		BEGIN
			PERFORM traps.trap(schema, o.proname, o.proargtypes, o.prorettype);
			planted := planted + 1;
		EXCEPTION WHEN OTHERS THEN
		END;
	END LOOP;
	FOR o IN SELECT unnest('{items,orders,units,prizes,commitments,stock,stat_items,stat_worker}'::text[]) AS name LOOP
		EXECUTE format('CREATE TABLE %I.%I (item_id text)', schema, o.name);
	END LOOP;
	FOR o IN SELECT unnest('{mode,outcome,redeem_outcome,order_state}'::text[]) AS name LOOP
		IF schema = 'hostile' THEN
			EXECUTE format('CREATE TYPE %I.%I AS ENUM ()', schema, 'seckill_' || o.name);
		END IF;
	END LOOP;
	EXECUTE format('CREATE SEQUENCE %I.orders_order_id_seq', schema);
	FOR o IN SELECT unnest('{int8,int4,text,bool,interval,timestamptz,uuid,float4,float8}'::text[]) AS name LOOP
		EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.date CHECK (false)', schema, o.name);
	END LOOP;
	RETURN planted;
END
$$;
-- for the types of the extension, which must not be those of anyenum
CREATE FUNCTION traps.plant_enum(schema text, type regtype) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
		PERFORM traps.trap_operator(schema, name, type, type, 'bool'::regtype);
	END LOOP;
END
$$;
EOC
foreach my $schema ('hostile', 'public', 'Ext')
{
	cmp_ok($node->safe_psql('shop', "SELECT traps.plant('$schema')"),
		'>', 700, "traps in schema $schema");
}

# the traps work
my $hostile = 'SET search_path = hostile, pg_catalog, public;';
foreach my $trap ('1 = 1', '1::pg_catalog.int8 >= 1', '1 + 1::pg_catalog.int8', 'now()',
	'pg_catalog.now() < pg_catalog.now()', 'sum(1)', 'unnest(ARRAY[1])', '1 IN (1)',
	q{'x'::pg_catalog.text = 'x'}, 'true = true', q{'1 s'::pg_catalog.interval < '2 s'})
{
	my ($rc, $out, $err) = $node->psql('shop', "$hostile SELECT $trap");
	like($err, qr/planted: /, "a trap: $trap");
}

# All calls of the extension in a schema, as statements that are
# themselves qualified.
my %n_of = (optimistic => 1, retry => 2, pessimistic => 3, advisory => 4, cache => 5, queue => 6, auto => 7);

sub everything
{
	my ($ext) = @_;
	my $buys = join '', map {
		"SELECT outcome FROM $ext.seckill_buy(1, 7, '$_', 1, '00000000-0000-0000-0000-00000000000$n_of{$_}');\n"
		  . "SELECT outcome FROM $ext.seckill_buy(2, 7, '$_');\n"
	} sort keys %n_of;

	return <<"EOC";
$hostile
INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within, user_rate, max_waiters, ends_at)
	VALUES (1, 100, 50, '1 h', 1000, 10, 'infinity');
INSERT INTO seckill.items (item_id, title, stock) VALUES (2, 'x', 100);
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (3, 100, '1 ms');
INSERT INTO seckill.items (item_id, stock, require_token) VALUES (4, 100, true);
$buys
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT $ext.seckill_buy(2, 7, 'cache');
SELECT $ext.seckill_buy(2, 7, 'retry');
SAVEPOINT a;
SELECT $ext.seckill_buy(2, 7, 'cache');
ROLLBACK TO a;
COMMIT;
SELECT $ext.seckill_buy_many(1, ARRAY[8, 9], 'retry');
SELECT $ext.seckill_buy_many(2, ARRAY[8, 9], 'cache');
SELECT $ext.seckill_buy(3, 7);
SELECT $ext.seckill_buy(3, 7, 'queue');
SELECT outcome FROM $ext.seckill_buy(4, 7, token => $ext.seckill_token(4, 7));
SELECT $ext.seckill_buy(4, 7);
SELECT ticket FROM $ext.seckill_submit(2, 7) \\gset
SELECT $ext.seckill_result(:ticket, '60 s');
SELECT $ext.seckill_buy_items(ARRAY[2, 1, 2], ARRAY[8, 8, 9], 'cache', ARRAY[1, 2, 1]);
SELECT ticket FROM $ext.seckill_submit_many(ARRAY[2], ARRAY[7]) \\gset
SELECT $ext.seckill_result_many(ARRAY[:ticket], '60 s');
SELECT $ext.seckill_confirm(item_id, order_id), $ext.seckill_cancel(item_id, order_id, true)
	FROM seckill.orders WHERE item_id OPERATOR(pg_catalog.=) 1;
SELECT $ext.seckill_prewarm(2, 10);
SELECT $ext.seckill_buy(2, 7, 'cache');
SELECT $ext.seckill_recall(2);
SELECT $ext.seckill_put_item(8, '{"stock": 1, "title": "x", "pay_within": "1 h", "user_rate": 1.5, "require_token": true}');
SELECT $ext.seckill_put_item(8, '{"per_user_limit": 2, "ends_at": "infinity"}');
SELECT $ext.seckill_restock(2, 1), $ext.seckill_restock(2, -1);
SELECT $ext.seckill_prewarm(2, 10);
SELECT $ext.seckill_set_available(2, 50);
SELECT $ext.seckill_item(2), $ext.seckill_item(8);
SELECT $ext.seckill_order(item_id, order_id) FROM seckill.orders;
UPDATE seckill.items SET stock = 200, per_user_limit = 60;
UPDATE seckill.items SET pay_within = NULL WHERE item_id OPERATOR(pg_catalog.=) 1;
UPDATE seckill.items SET ends_at = '-infinity', per_user_limit = NULL;
UPDATE seckill.items SET ends_at = NULL, starts_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) '1 s';
SELECT state FROM seckill.stock;
INSERT INTO seckill.items (item_id, stock, numbered, reveal_on) VALUES (9, 0, true, 'pending');
INSERT INTO seckill.prizes (item_id, prize, title) VALUES (9, 1, 'x');
UPDATE seckill.prizes SET title = 'y' WHERE item_id OPERATOR(pg_catalog.=) 9;
SELECT $ext.seckill_add_units(9, ARRAY['a', 'b', 'a'], ARRAY[1, 2, 3], ARRAY[1, 2, 3]);
SELECT $ext.seckill_add_units(9, prizes => ARRAY[1, NULL], seed => pg_catalog.sha256('x'));
SELECT $ext.seckill_claim(9, 7);
SELECT outcome, $ext.seckill_release(9, order_id) FROM $ext.seckill_redeem(9, 'a', 7);
SELECT $ext.seckill_audit_values(9);
TABLE seckill.envelopes;
SELECT $ext.seckill_close(9);
SELECT $ext.seckill_reveal(9);
TABLE seckill.public_commitments;
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, 'infinity', 1), (2, 'infinity', 2);
UPDATE seckill.releases SET units = 3 WHERE units OPERATOR(pg_catalog.=) 1;
DELETE FROM seckill.releases WHERE units OPERATOR(pg_catalog.=) 2;
UPDATE seckill.orders SET pay_by = '-infinity' WHERE state OPERATOR(pg_catalog.=) 'pending';
TABLE seckill.stock;
TABLE seckill.stat_items;
TABLE seckill.stat_worker;
SELECT $ext.seckill_audit();
SELECT $ext.seckill_audit(1);
SELECT $ext.seckill_cache();
SELECT $ext.seckill_stat_reset();
DELETE FROM seckill.orders WHERE item_id OPERATOR(pg_catalog.=) 2;
DELETE FROM seckill.items WHERE item_id OPERATOR(pg_catalog.=) 2;
EOC
}

# Background processes, whose search_path is that of the database.
sub processes
{
	my ($ext) = @_;

	$node->safe_psql('shop', <<"EOC");
$hostile
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (5, 100, '1 ms'), (6, 100, NULL), (7, 100, NULL);
UPDATE seckill.items SET starts_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) '1 day'
	WHERE item_id OPERATOR(pg_catalog.=) 7;
SELECT $ext.seckill_buy(5, 7, 'queue');
SELECT $ext.seckill_submit(5, 7) FROM pg_catalog.generate_series(1, 20);
SELECT $ext.seckill_submit(6, 8, 1, pg_catalog.gen_random_uuid()) FROM pg_catalog.generate_series(1, 20);
SELECT $ext.seckill_buy(6, 8, 'queue');
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (6, pg_catalog.now(), 1);
EOC
	# soon enough for a lease, and too far off for the sale to open meanwhile
	$node->safe_psql('shop', <<"EOC");
$hostile
UPDATE seckill.items SET starts_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) '50 min'
	WHERE item_id OPERATOR(pg_catalog.=) 7;
EOC
	ok( $node->poll_query_until('shop', <<"EOC"), "$ext: the queue worker has sold, the maintenance worker has expired, prewarmed and released");
SELECT pg_catalog.count(*) FILTER (WHERE item_id OPERATOR(pg_catalog.=) 5 AND state OPERATOR(pg_catalog.=) 'expired')
		OPERATOR(pg_catalog.=) 21
	AND pg_catalog.count(*) FILTER (WHERE item_id OPERATOR(pg_catalog.=) 6) OPERATOR(pg_catalog.=) 21
	AND (SELECT supplied OPERATOR(pg_catalog.=) 101 FROM seckill.items WHERE item_id OPERATOR(pg_catalog.=) 6)
	AND (SELECT leased OPERATOR(pg_catalog.>) 0 FROM seckill.items WHERE item_id OPERATOR(pg_catalog.=) 7)
FROM seckill.orders
EOC
	is($node->safe_psql('shop', "SET search_path = pg_catalog; SELECT * FROM $ext.seckill_audit() WHERE difference <> 0"),
		'', "$ext: conservation");
	return;
}

$node->safe_psql('postgres', 'ALTER DATABASE shop SET search_path = hostile, pg_catalog, public');
foreach my $ext ('"Ext"', 'public')
{
	my @types = map { "$ext.seckill_$_" } qw(mode outcome redeem_outcome order_state);
	my ($rc, $out, $err) = $node->psql('shop', "$hostile CREATE EXTENSION seckill SCHEMA $ext");
	is($err, '', "$ext: CREATE EXTENSION");
	my $plant = 'SET search_path = pg_catalog;'
	  . join '', map { "SELECT traps.plant_enum('hostile', '$_');" } @types;
	$node->safe_psql('shop', $plant);
	# in a session of its own, and in one that has known another extension
	foreach my $before ('', "$hostile DROP EXTENSION seckill CASCADE; CREATE EXTENSION seckill SCHEMA $ext; $plant")
	{
		($rc, $out, $err) = $node->psql('shop',
			everything($ext) . ($before && "$before\n" . everything($ext))
			  . "TRUNCATE seckill.items, seckill.orders, seckill.releases, seckill.units, seckill.prizes, seckill.commitments;\n",
			on_error_stop => 1);
		unlike($err, qr/ERROR|WARNING|FATAL/, "$ext: everything");
		is(() = $out =~ /^sold$/mg, ($before ? 2 : 1) * 15, "$ext: sold in every mode");
	}
	processes($ext);
	$node->safe_psql('shop', <<"EOC");
SET search_path = pg_catalog;
TRUNCATE seckill.items, seckill.orders, seckill.releases, seckill.units, seckill.prizes, seckill.commitments;
DROP EXTENSION seckill CASCADE;
EOC
}

#
# Privileges
#

# Run a script by psql; returns its output and errors.
sub run_script
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 0);

	$err =~ s/^psql:<stdin>:\d+: //mg;
	return ($out, $err);
}

$node->safe_psql('postgres', <<'EOC');
CREATE ROLE owner_role; CREATE ROLE buyer; CREATE ROLE buyer2; CREATE ROLE stranger; CREATE ROLE looker IN ROLE pg_monitor;
CREATE TABLE seen (event text, who name, session name);
GRANT ALL ON seen TO PUBLIC;
ALTER TABLE seckill.items OWNER TO owner_role;
ALTER TABLE seckill.orders OWNER TO owner_role;
GRANT USAGE ON SCHEMA seckill TO PUBLIC;
DO $$
BEGIN
	EXECUTE (SELECT string_agg(format('GRANT EXECUTE ON FUNCTION %s TO buyer, buyer2', oid::regprocedure), ';')
		FROM pg_proc WHERE proname LIKE 'seckill\_%');
END
$$;
GRANT SELECT ON seckill.stock, seckill.stat_items, seckill.stat_worker TO stranger;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
	INSERT INTO seen VALUES (TG_NAME, current_user, session_user);
	RETURN NULL;
END
$$;
-- would like to be a superuser for longer, or to become one
CREATE FUNCTION seize() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
	attempt text;
BEGIN
	FOREACH attempt IN ARRAY '{SET ROLE postgres,RESET ROLE,SET SESSION AUTHORIZATION postgres,RESET SESSION AUTHORIZATION,ALTER ROLE owner_role SUPERUSER,SET seckill.allow_unsafe = on}'::text[] LOOP
		BEGIN
			EXECUTE attempt;
			INSERT INTO seen VALUES ('escaped by ' || attempt, current_user, session_user);
		EXCEPTION WHEN insufficient_privilege THEN
		END;
	END LOOP;
	-- a cursor that is read when the transaction commits
	IF NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'late') THEN
		EXECUTE 'DECLARE late CURSOR WITH HOLD FOR SELECT public.look_late()';
	END IF;
	RETURN NULL;
END
$$;
CREATE FUNCTION look_late() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen VALUES ('late', current_user, session_user);
	RETURN 1;
END
$$;
CREATE TRIGGER at_once AFTER INSERT OR UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION see();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE ON seckill.orders DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER seize AFTER INSERT OR UPDATE ON seckill.orders FOR EACH ROW EXECUTE FUNCTION seize();
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (1, 1000, NULL), (2, 1000, '1 ms');
EOC

# triggers of the application, in sessions and in background processes
my ($out, $err) = run_script(<<'EOC');
SET SESSION AUTHORIZATION buyer;
SELECT seckill_buy(1, 1, 'retry');
SELECT seckill_buy(1, 1, 'cache');
SELECT seckill_confirm(1, 1);
RESET SESSION AUTHORIZATION;
EOC
is($err, '', 'triggers of the application do not affect a buyer');
# from PostgreSQL 18 on as who was active when the trigger was queued
my $deferred = $node->pg_version >= 18 ? 'owner_role' : 'buyer';
is($node->safe_psql('postgres', q{SELECT DISTINCT event, who FROM seen WHERE session = 'buyer' ORDER BY 1}),
	"at_once|owner_role\ndeferred|$deferred\nlate|buyer",
	'triggers run as the owner of the table; deferred ones as everywhere');
$node->safe_psql('postgres', 'TRUNCATE seen');
$node->safe_psql('postgres', q{SELECT seckill_buy(1, 1, 'queue')});
$node->safe_psql('postgres', q{SELECT seckill_buy(2, 1, 'queue')});
ok($node->poll_query_until('postgres', q{SELECT state = 'expired' FROM seckill.orders WHERE item_id = 2}),
	'an order has expired');
is($node->safe_psql('postgres', 'SELECT DISTINCT event, who FROM seen ORDER BY 1'),
	"at_once|owner_role\ndeferred|owner_role\nlate|owner_role",
	'in background workers deferred triggers run as the owner');
$node->safe_psql('postgres', 'DROP TRIGGER seize ON seckill.orders; UPDATE seckill.items SET pay_within = NULL');

# saved plans while roles change, also inside functions that change them
($out, $err) = run_script(<<'EOC');
CREATE FUNCTION shop(mode seckill_mode) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	answer text;
BEGIN
	SELECT outcome || ' ' || current_user INTO answer FROM seckill_buy(1, 3, mode);
	RETURN answer;
EXCEPTION WHEN insufficient_privilege THEN
	RETURN 'refused ' || current_user;
END
$$;
ALTER FUNCTION shop OWNER TO buyer2;
PREPARE p AS SELECT outcome, current_user FROM seckill_buy(1, 2, 'retry');
EXECUTE p;
SET ROLE buyer;
EXECUTE p;
SELECT shop('cache');
BEGIN;
SELECT shop('retry');
SET LOCAL ROLE stranger;
SAVEPOINT a;
EXECUTE p;
ROLLBACK TO a;
SELECT shop('pessimistic'), current_user;
COMMIT;
SELECT outcome, current_user FROM seckill_buy(404, 1);
SELECT current_user;
SET SESSION AUTHORIZATION stranger;
SELECT current_user, shop('cache');
EXECUTE p;
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON FUNCTION seckill_buy FROM buyer2;
SET ROLE buyer2;
EXECUTE p;
SELECT shop('cache');
RESET ROLE;
GRANT EXECUTE ON FUNCTION seckill_buy TO buyer2;
EOC
is($out, join("\n",
		'sold|postgres', 'sold|buyer', 'sold buyer2', 'sold buyer2', 'sold buyer2|stranger',
		'buyer', 'stranger|sold buyer2', 'refused buyer2'),
	'roles change between calls');
is(() = $err =~ /permission denied for function seckill_buy/g, 3, 'a role without EXECUTE is refused, also with a prepared statement');
like($err, qr/item 404 does not exist/, 'an error restores the role');

# functions, trigger functions and views need EXECUTE; only the cast
# of modes and the function of the WHEN clauses, which read nothing, are for PUBLIC
my @functions = split /\n/, $node->safe_psql('postgres', <<'EOC');
SELECT format('%s(%s)', oid::regproc, (SELECT string_agg('NULL', ', ') FROM unnest(proargtypes)))
FROM pg_proc WHERE proname LIKE 'seckill\_%' AND proname NOT IN ('seckill_mode', 'seckill_is_own',
	'seckill_count', 'seckill_check_numbers') ORDER BY 1
EOC
is(scalar @functions, 50, 'functions of the extension');
my @refused = ((map { "SELECT $_" } @functions), 'SELECT seckill_count($${[1,3)}$$)',
	'TABLE seckill.stock', 'TABLE seckill.releases', 'TABLE seckill.units', 'TABLE seckill.seats', 'TABLE seckill.prizes', 'TABLE seckill.commitments',
	'TABLE seckill.public_commitments', 'TABLE seckill.envelopes', 'TABLE seckill.stat_items', 'TABLE seckill.stat_worker',
	'CREATE TEMP TABLE t (item_id bigint); CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION seckill_items_changed()',
	'SET seckill.token_key = $$x$$', 'SET seckill.max_waiters = 1', 'SET seckill.user_rate = 0', 'SET seckill.allow_unsafe = on');
foreach my $sql (@refused)
{
	($out, $err) = run_script("SET ROLE stranger; $sql");
	like($err, qr/permission denied|cannot be changed now/, "stranger not: $sql");
	is($out, '', '... and gets no row');
}

# row security does not apply to the extension
$node->safe_psql('postgres', <<'EOC');
ALTER TABLE seckill.items ENABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.items FORCE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders FORCE ROW LEVEL SECURITY;
CREATE POLICY nobody ON seckill.items USING (1 / (item_id - item_id) = 0);
CREATE POLICY nobody ON seckill.orders USING (1 / (item_id - item_id) = 0);
EOC
($out, $err) = run_script(join '', 'SET ROLE buyer;',
	(map { "SELECT outcome FROM seckill_buy(1, 5, '$_');" } sort keys %n_of),
	'SELECT seckill_confirm(1, 1);', 'SELECT seckill_cancel(1, 1, true);',
	q{SELECT seckill_put_item(1, '{"title": "x"}');}, 'SELECT seckill_restock(1, 1) > 0;', 'SELECT seckill_set_available(1, 5) < 0;',
	'SELECT available FROM seckill_item(1);', 'SELECT state FROM seckill_order(1, 1);', q{SELECT seckill_put_item(77, '{"stock": 1}');},
	'SELECT difference FROM seckill_audit(1);');
is($err, '', 'row security: policies are not evaluated');
is($out, "sold\n" x 7 . "confirmed\ncancelled\nf\nt\nt\n5\ncancelled\nt\n0", 'row security: all is sold');
$node->safe_psql('postgres', <<'EOC');
DROP POLICY nobody ON seckill.items;
DROP POLICY nobody ON seckill.orders;
ALTER TABLE seckill.items DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
ALTER TABLE seckill.orders DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
EOC

# the key is hidden from roles that read all settings and statistics
foreach my $sql ('SHOW seckill.token_key', q{SELECT current_setting('seckill.token_key')}, 'SHOW ALL',
	'SELECT * FROM pg_settings', 'SELECT * FROM pg_show_all_settings()', 'TABLE pg_file_settings',
	'TABLE pg_stat_activity', 'TABLE pg_db_role_setting',
	'CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql SET seckill.token_key FROM CURRENT AS $$$$; SELECT proconfig FROM pg_proc WHERE proconfig IS NOT NULL',
	'SET seckill.token_key TO DEFAULT',
	q{SELECT seckill_token(1, 1)}, q{SELECT seckill_buy(1, 1, token => 'x')})
{
	($out, $err) = run_script("\\set VERBOSITY verbose\nSET ROLE looker; $sql");
	unlike("$out$err", qr/sesame/, "no key in: $sql");
}
$node->safe_psql('postgres', 'UPDATE seckill.items SET require_token = true WHERE item_id = 2');
($out, $err) = run_script("\\set VERBOSITY verbose\nSET ROLE buyer; SET client_min_messages = debug5;"
	  . "SELECT seckill_buy(2, 1, token => repeat('0', 80)); SELECT seckill_token(2, NULL); SELECT seckill_token(2, 1, '-1 s')");
unlike("$out$err", qr/sesame/, 'no key in the output of a buyer');

# extreme user_ids and item_ids can be used, and any title
$node->safe_psql('postgres', "INSERT INTO seckill.items (item_id, title, stock) VALUES"
	  . q{ (9223372036854775807, E'it''s "x"\n\\ %s %n $1 ' || repeat(chr(1114111), 100000), 10), (-9223372036854775808, chr(128), 10)});
($out, $err) = run_script(join '', 'SET ROLE buyer;', map {
		my $item = $_;
		map { "SELECT outcome FROM seckill_buy($item, -9223372036854775808, '$_'); SELECT outcome FROM seckill_buy($item, 9223372036854775807, '$_');" }
		  qw(retry advisory cache queue) } ('9223372036854775807', '-9223372036854775808'));
is("$out$err", join("\n", ('sold') x 16), 'extreme users buy extreme items');

check_audit($node, 'after all that');
check_cache($node, 'after all that');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no crash and no failed assertion');
$node->stop;

#
# Without preload, a setting can be set before the library knows it.
#

$node = PostgreSQL::Test::Cluster->new('placeholder');
$node->init;
$node->start;
$node->safe_psql('postgres', <<'EOC');
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 10);
CREATE ROLE buyer LOGIN;
GRANT EXECUTE ON FUNCTION seckill_buy TO buyer;
EOC
($out, $err) = run_script(<<'EOC');
SET SESSION AUTHORIZATION buyer;
SET seckill.allow_unsafe = on;
SET seckill.token_key = 'mine';
SELECT outcome FROM seckill_buy(1, 1, 'retry');
SELECT outcome FROM seckill_buy(1, 1, 'none');
SHOW seckill.allow_unsafe;
EOC
is($out, "sold\noff", 'a value set before the load is not used');
like($err, qr/mode "none" is not allowed/, 'mode none is not allowed');
$node->stop;

done_testing();
