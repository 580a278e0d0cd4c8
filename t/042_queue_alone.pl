# Mode queue, seckill_submit() and seckill_submit_many() work only in a SELECT of
# its own: a statement that could fail after the order is committed, or holds
# locks that the worker may need, is refused, in each protocol, and no order is
# made.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use TortureSession;

my $node = seckill_node('alone', conf => "seckill.queue_idle_time = '1 h'\n");
add_item($node, 1, 10000);
$node->safe_psql('postgres', <<'EOC');
CREATE TABLE log (outcome text);
CREATE TABLE fired (id bigint);
CREATE TABLE users AS SELECT 1000 + i AS id FROM generate_series(1, 3) i;
CREATE VIEW offers AS SELECT id, (seckill_buy(1, id, 'queue')).outcome FROM users;

-- a function in SQL that is inlined is a part of the statement; others are not
CREATE FUNCTION inlined(u bigint) RETURNS seckill_outcome LANGUAGE sql
	AS $$ SELECT (seckill_buy(1, u, 'queue')).outcome $$;
CREATE FUNCTION in_sql(u bigint) RETURNS seckill_outcome LANGUAGE sql
	AS $$ SELECT outcome FROM seckill_buy(1, u, 'queue') $$;
CREATE FUNCTION as_owner(u bigint) RETURNS seckill_outcome LANGUAGE sql SECURITY DEFINER
	AS $$ SELECT (seckill_buy(1, u, 'queue')).outcome $$;
CREATE FUNCTION in_from(u bigint) RETURNS SETOF seckill_outcome LANGUAGE sql
	AS $$ SELECT outcome FROM seckill_buy(1, u, 'queue') $$;
CREATE FUNCTION in_plpgsql(u bigint) RETURNS seckill_outcome LANGUAGE plpgsql
	AS $$ BEGIN RETURN (SELECT outcome FROM seckill_buy(1, u, 'queue')); END $$;
CREATE FUNCTION in_expression(u bigint) RETURNS text LANGUAGE plpgsql
	AS $$ BEGIN RETURN seckill_buy(1, u, 'queue'); END $$;
CREATE FUNCTION in_loop(u bigint) RETURNS text LANGUAGE plpgsql
	AS $$ DECLARE r record; BEGIN FOR r IN SELECT outcome FROM seckill_buy(1, u, 'queue') LOOP RETURN r.outcome; END LOOP; END $$;
CREATE FUNCTION caught(u bigint) RETURNS text LANGUAGE plpgsql
	AS $$ BEGIN PERFORM seckill_buy(1, u, 'queue'); RETURN 'made'; EXCEPTION WHEN division_by_zero THEN RETURN 'caught'; END $$;
CREATE FUNCTION submits(u bigint) RETURNS text LANGUAGE plpgsql
	AS $$ BEGIN RETURN outcome FROM seckill_submit(1, u); END $$;
CREATE FUNCTION submits_many(u bigint) RETURNS text LANGUAGE plpgsql
	AS $$ BEGIN RETURN outcome FROM seckill_submit_many('{1}', ARRAY[u]); END $$;
CREATE FUNCTION submits_many_in_from(u bigint) RETURNS SETOF seckill_outcome LANGUAGE sql
	AS $$ SELECT outcome FROM seckill_submit_many('{1}', ARRAY[u]) $$;
CREATE PROCEDURE proc(u bigint) LANGUAGE plpgsql
	AS $$ BEGIN PERFORM seckill_buy(1, u, 'queue'); END $$;
CREATE PROCEDURE proc_commits(u bigint) LANGUAGE plpgsql
	AS $$ BEGIN INSERT INTO log VALUES ('x'); COMMIT; PERFORM seckill_buy(1, u, 'queue'); END $$;
CREATE PROCEDURE proc_sql(u bigint) LANGUAGE sql
	AS $$ SELECT seckill_buy(1, u, 'queue') $$;
CREATE FUNCTION trigger_buys() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN PERFORM seckill_buy(1, NEW.id, 'queue'); RETURN NEW; END $$;
CREATE TRIGGER buys BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION trigger_buys();
CREATE TABLE late (id bigint);
CREATE CONSTRAINT TRIGGER buys AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION trigger_buys();
EOC

my $user = 0;
my $made = 0;

sub orders
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders');
}

# The answers of a script, and whether it has made orders.
sub check
{
	my ($name, $orders, $sql) = @_;
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n" . $sql);

	$made += $orders;
	if ($orders > 0)
	{
		is($err, '', "$name: no error");
	}
	else
	{
		like($err, qr/ERROR:  25001:/, "$name: refused");
	}
	is(orders(), $made, "$name: $orders orders");
	return;
}

# statements that are allowed
check('select list', 1, "SELECT seckill_buy(1, 1, 'queue')");
check('a field', 1, "SELECT (seckill_buy(1, 1, 'queue')).outcome");
check('FROM', 1, "SELECT * FROM seckill_buy(1, 1, 'queue')");
check('InitPlan', 1, "SELECT (SELECT outcome FROM seckill_buy(1, 1, 'queue')), now()");
check('CTE', 1, "WITH b AS MATERIALIZED (SELECT * FROM seckill_buy(1, 1, 'queue')) SELECT * FROM b");
check('LATERAL', 3, "SELECT b.* FROM users, LATERAL seckill_buy(1, users.id, 'queue') b");
check('view', 3, 'SELECT * FROM offers');
check('WHERE', 1, "SELECT 1 FROM (VALUES (1)) v WHERE (seckill_buy(1, 1, 'queue')).outcome = 'sold'");
check('EXECUTE', 2, "PREPARE p AS SELECT seckill_buy(1, \$1, 'queue'); EXECUTE p(1); EXECUTE p(2)");
check('extended protocol', 1, "SELECT seckill_buy(1, \$1, 'queue') \\bind 1 \\g\n")
  if $node->safe_psql('postgres', 'SHOW server_version_num') >= 160000;
check('inlined function', 1, 'SELECT inlined(1)');
check('default mode', 1, "SET seckill.default_mode = 'queue'; SELECT seckill_buy(1, 1)");

# transaction blocks, explicit and implicit
check('block', 0, "BEGIN; SELECT seckill_buy(1, 1, 'queue'); COMMIT");
check('submit in a block', 0, 'BEGIN; SELECT seckill_submit(1, 1); COMMIT');
check('submit many in a block', 0, "BEGIN; SELECT seckill_submit_many('{1}', '{1}'); COMMIT");
check('submit many, simple query of two', 0, "SELECT seckill_submit_many('{1}', '{1}')\\; SELECT 1");
check('savepoint', 0, "BEGIN; SAVEPOINT s; SELECT seckill_buy(1, 1, 'queue'); COMMIT");
check('simple query of two', 0, "SELECT seckill_buy(1, 1, 'queue')\\; SELECT 1");
check('simple query of two, last', 0, "SELECT 1\\; SELECT seckill_buy(1, 1, 'queue')");
check('cursor', 0, "BEGIN; DECLARE c CURSOR FOR SELECT seckill_buy(1, 1, 'queue'); FETCH c; COMMIT");
check('cursor that is held', 0, "DECLARE c CURSOR WITH HOLD FOR SELECT seckill_buy(1, 1, 'queue')");

# functions
check($_, 0, "SELECT $_(1)") foreach qw(in_sql as_owner in_plpgsql in_expression in_loop caught submits submits_many);
check($_, 0, "SELECT * FROM $_(1)") foreach qw(in_from submits_many_in_from);
check($_, 0, "CALL $_(1)") foreach qw(proc proc_commits proc_sql);
check('DO', 0, "DO \$\$BEGIN PERFORM seckill_buy(1, 1, 'queue'); RAISE EXCEPTION 'x'; END\$\$");
check('trigger', 0, 'INSERT INTO fired VALUES (1)');
check('deferred trigger', 0, 'INSERT INTO late VALUES (1)');

# other commands
check('INSERT', 0, "INSERT INTO log SELECT outcome FROM seckill_buy(1, 1, 'queue')");
check('INSERT, submit many', 0, "INSERT INTO log SELECT outcome FROM seckill_submit_many('{1,1}', '{1,2}')");
check('INSERT RETURNING', 0, "INSERT INTO log VALUES ('x') RETURNING seckill_buy(1, 1, 'queue')");
check('modifying CTE', 0, "WITH i AS (INSERT INTO log VALUES ('x')) SELECT seckill_buy(1, 1, 'queue')");
check('UPDATE', 0, "UPDATE users SET id = id WHERE (seckill_buy(1, id, 'queue')).outcome = 'sold'");
check('CREATE TABLE AS', 0, "CREATE TABLE t AS SELECT outcome FROM seckill_buy(1, 1, 'queue')");
check('CREATE TABLE AS EXECUTE', 0, "PREPARE p AS SELECT outcome FROM seckill_buy(1, 1, 'queue'); CREATE TABLE t AS EXECUTE p");
check('COPY', 0, "COPY (SELECT seckill_buy(1, 1, 'queue')) TO STDOUT");
check('EXPLAIN ANALYZE', 0, "EXPLAIN ANALYZE SELECT seckill_buy(1, 1, 'queue')");
check('statement with an id', 0, "SELECT pg_current_xact_id(), seckill_buy(1, 1, 'queue')");
check('statement with an id, FROM', 0, "SELECT * FROM pg_current_xact_id(), LATERAL seckill_buy(1, 1, 'queue')");

# pipelines: several statements, one Sync
my $patience = $PostgreSQL::Test::Utils::timeout_default;
my $session = TortureSession->open($node);
$session->wait($patience) or die 'no session';

sub pipeline
{
	my ($name, $error, $orders, @statements) = @_;

	$session->pipeline(@statements);
	ok($session->wait($patience), "$name: answered");
	is($session->{error}, $error, "$name: what it is told");
	$made += $orders;
	is(orders(), $made, "$name: $orders orders");
	return;
}
my $buy = q{SELECT outcome FROM seckill_buy(1, 2, 'queue')};
pipeline('pipeline of one', undef, 1, $buy);
pipeline('each is committed at once', undef, 3, $buy, $buy, $buy);
pipeline('the order stands, as the first was committed', '22012', 1, $buy, 'SELECT 1 / 0');
pipeline('not after another statement', '25001', 0, 'SELECT 1', $buy);
pipeline('nor after a write', '25001', 0, q{INSERT INTO log VALUES ('piped')}, $buy);
pipeline('nor submit', '25001', 0, 'SELECT pg_advisory_xact_lock(1)', 'SELECT seckill_submit(1, 2)');
pipeline('nor submit many', '25001', 0, 'SELECT 1', q{SELECT seckill_submit_many('{1}', '{2}')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM log WHERE outcome = 'piped'}), 0, 'what was before it is undone');
pipeline('a write after it', undef, 1, $buy, q{INSERT INTO log VALUES ('after')});

# pgbench, as an application would
my $script = $node->basedir . '/pipeline.sql';
append_to_file($script, <<'EOC');
\startpipeline
SELECT outcome FROM seckill_buy(1, :client_id, 'queue');
SELECT outcome FROM seckill_buy(1, :client_id, 'queue');
\endpipeline
EOC
foreach my $protocol (qw(extended prepared))
{
	command_ok([ 'pgbench', '-n', '-c', 4, '-t', 5, '-M', $protocol, '-h', $node->host, '-p', $node->port, '-f', $script, 'postgres' ],
		"pgbench, $protocol");
	$made += 40;
	is(orders(), $made, "pgbench, $protocol: every order is made");
}
my $mixed = $node->basedir . '/mixed.sql';
append_to_file($mixed, <<'EOC');
\startpipeline
INSERT INTO log VALUES ('mixed');
SELECT outcome FROM seckill_buy(1, :client_id, 'queue');
\endpipeline
EOC
command_fails([ 'pgbench', '-n', '-t', 1, '-M', 'extended', '-h', $node->host, '-p', $node->port, '-f', $mixed, 'postgres' ],
	'pgbench, mixed');
is(orders(), $made, 'pgbench, mixed: no order');

check_audit($node, 'at the end');
$node->stop;
done_testing();
