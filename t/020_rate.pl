# Rates: exact under a crowd, bounded memory, tokens, reload, refill, crash.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $slow = 0.00001;		# nothing refills while this runs
my $node = seckill_node('rate', conf => "seckill.user_burst = 5\n");

sub sql
{
	return $node->safe_psql('postgres', shift);
}

# Give settings values, and wait until a new session has them.
sub set_all
{
	my (%values) = @_;

	$node->append_conf('postgresql.conf',
		join('', map { "$_ = '$values{$_}'\n" } sort keys %values));
	$node->reload;
	foreach my $name (grep { !/token_key/ } sort keys %values)
	{
		ok( $node->poll_query_until('postgres',
				"SELECT current_setting('$name', true) = '$values{$name}'"),
			"$name is $values{$name}");
	}
	return;
}

# What so many calls in a row answer, by outcome.
sub calls
{
	my ($n, $item, $user, $mode) = @_;

	return sql(<<"EOC");
SELECT string_agg(n || ' ' || outcome, ', ' ORDER BY outcome)
FROM (SELECT outcome, count(*) AS n
	FROM generate_series(1, $n) i, LATERAL seckill_buy($item, $user, '$mode', 1 + 0 * i)
	GROUP BY outcome) s
EOC
}

sub orders
{
	my ($item, $user) = @_;
	return sql("SELECT count(*) FROM seckill.orders WHERE item_id = $item AND user_id = $user");
}

# no rate at first; then one, without a restart and in a session that is there
add_item($node, $_, 100000) for 1 .. 3;
is(calls(50, 1, 1, 'cache'), '50 sold', 'no rate');
my $session = $node->background_psql('postgres');
set_all('seckill.user_rate' => $slow);
is(calls(7, 1, 1, 'cache'), '5 sold, 2 rate_limited', 'a rate');
is(calls(7, 2, 1, 'retry'), '7 rate_limited', 'for all items together');
is($session->query('SELECT outcome FROM seckill_buy(3, 1)'), 'rate_limited', 'for an old session');
$session->quit;
is($node->safe_psql('template1', 'CREATE EXTENSION seckill; INSERT INTO seckill.items VALUES (1, NULL, 10); SELECT outcome FROM seckill_buy(1, 1)'),
	'sold', 'but not for another database');

# an item with its own rate: its calls count separately
sql("UPDATE seckill.items SET user_rate = $slow, user_burst = 2 WHERE item_id = 2");
is(calls(5, 2, 1, 'pessimistic'), '2 sold, 3 rate_limited', 'an item with a rate of its own');
is(calls(3, 2, 2, 'advisory'), '2 sold, 1 rate_limited', 'an item with a rate of its own, another user');
is(calls(7, 1, 2, 'advisory'), '5 sold, 2 rate_limited', 'the calls for other items are not used up');
sql('UPDATE seckill.items SET user_rate = 0, user_burst = NULL WHERE item_id = 2');
is(calls(20, 2, 1, 'cache'), '20 sold', 'an item without a rate');
sql('UPDATE seckill.items SET user_rate = NULL, user_burst = 3 WHERE item_id = 2');
is(calls(20, 2, 3, 'cache'), '3 sold, 17 rate_limited', 'an item with a burst of its own');

# one user in many sessions: exactly the burst passes
my $user = 100;
foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
{
	$user++;
	crowd($node, 64, 2, "SELECT outcome FROM seckill_buy(1, $user, '$mode');\n");
	is(orders(1, $user), 5, "$mode: 5 of 128 calls")
	  unless $mode eq 'optimistic';
	is(calls(1, 1, $user, $mode), '1 rate_limited', "$mode: none is left");
}
cmp_ok(orders(1, 101), '<=', 5, 'optimistic: conflicts count, too');
crowd($node, 64, 2, map { "SELECT outcome FROM seckill_buy(1, 110, '$_');\n" }
	  qw(retry pessimistic advisory cache queue auto));
is(orders(1, 110), 5, 'all modes: 5 of 128 calls');
crowd($node, 64, 2,
	"SELECT count(*) FROM seckill_buy_many(3, ARRAY[111, 111], 'advisory');\n",
	"SELECT outcome FROM seckill_submit(3, 111);\n");
ok( $node->poll_query_until('postgres',
		'SELECT count(*) = 5 FROM seckill.orders WHERE user_id = 111'),
	'lists and tickets: 5 of them');
is($node->safe_psql('postgres', <<'EOC'), '', 'no others come behind');
SELECT r FROM seckill_submit(3, 112) s, LATERAL seckill_result(s.ticket, '60 s') r WHERE r.outcome <> 'sold';
EOC
is(orders(3, 111), 5, 'still 5');

# a call without a valid token is not counted against a user
sql('UPDATE seckill.items SET require_token = true WHERE item_id = 3');
# (the key is not shown, the setting after it is)
set_all('seckill.token_key' => 'secret', 'test.key' => 'set');
is(calls(20, 3, 200, $_), '20 denied', "$_: denied is not limited")
  foreach qw(optimistic cache queue);
is(sql("SELECT count(*) FROM generate_series(1, 20) i, LATERAL seckill_submit(3, 200, 1 + 0 * i) s WHERE s.outcome = 'denied'"),
	20, 'submit: denied is not limited');
is(sql("SELECT string_agg(outcome::text, ' ') FROM seckill_buy_many(3, ARRAY[200, 200, 200, 200, 200, 200])"),
	'denied denied denied denied denied denied', 'many: denied is not limited');
is(sql(<<'EOC'), 'sold sold sold sold sold rate_limited rate_limited', 'all calls are left to the user');
SELECT string_agg(b.outcome::text, ' ' ORDER BY i)
FROM generate_series(1, 7) i,
	LATERAL seckill_buy(3, 200, 'cache', 1 + 0 * i, NULL, seckill_token(3, 200)) b
EOC
is(calls(1, 3, 200, 'cache'), '1 denied', 'without a token the user is denied as before');
is(sql(<<'EOC'), 'denied sold sold sold sold sold rate_limited denied', 'many: each user has a separate rate');
SELECT string_agg(b.outcome::text, ' ' ORDER BY b.ordinality)
FROM (SELECT seckill_token(3, 201) AS t) s,
	LATERAL seckill_buy_many(3, array_fill(201::bigint, ARRAY[8]), 'cache', NULL,
		ARRAY[NULL, t, t, t, t, t, t, NULL]) WITH ORDINALITY b
EOC
# before the sale: the same
sql("UPDATE seckill.items SET starts_at = 'infinity' WHERE item_id = 3");
is(calls(20, 3, 202, 'cache'), '20 not_started', 'not started, without a token');
is(sql(<<'EOC'), 'not_started not_started not_started not_started not_started rate_limited', 'and with one');
SELECT string_agg(b.outcome::text, ' ' ORDER BY i)
FROM generate_series(1, 6) i,
	LATERAL seckill_buy(3, 202, 'cache', 1 + 0 * i, NULL, seckill_token(3, 202)) b
EOC

# a reload changes the rate: a user without calls left gets new ones at the new rate
is(calls(1, 1, 101, 'cache'), '1 rate_limited', 'used up under the old rate');
set_all('seckill.user_rate' => 20);
ok( $node->poll_query_until('postgres',
		q{SELECT outcome = 'sold' FROM seckill_buy(1, 101, 'cache')}),
	'a greater rate admits the user soon');
# however often a user calls: the burst, then the rate
is(sql(<<'EOC'), 't|t', 'refilled at the rate');
SET statement_timeout = '180s';
WITH RECURSIVE t0 AS MATERIALIZED (SELECT clock_timestamp() AS t),
calls AS (
	SELECT 0 AS n, 0 AS sold, t0.t AS at FROM t0
	UNION ALL
	SELECT n + 1, sold + (b.outcome = 'sold')::int, clock_timestamp()
	FROM calls, LATERAL seckill_buy(1, 300, 'cache', 1 + 0 * n) b
	WHERE calls.sold < 15)
SELECT max(sold) <= 5 + 20 * extract(epoch FROM max(at) - min(at)) + 1, max(n) > 15
FROM calls
EOC
check_audit($node, 'rates');
check_cache($node, 'rates');

# a crash loses the rates, and nothing else
set_all('seckill.user_rate' => $slow);
is(calls(6, 1, 400, 'retry'), '5 sold, 1 rate_limited', 'before the crash');
$node->stop('immediate');
$node->start;
is(calls(6, 1, 400, 'retry'), '5 sold, 1 rate_limited', 'a full burst after the crash');
is(orders(1, 400), 10, 'with all orders');
sql(q{ALTER SYSTEM SET restart_after_crash = on});
$node->reload;
is(calls(6, 1, 401, 'retry'), '5 sold, 1 rate_limited', 'before a backend is killed');
$session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query('SELECT pg_backend_pid()');
kill 'KILL', $pid;
ok( $node->poll_query_until('postgres',
		q{SELECT outcome = 'sold' FROM seckill_buy(1, 401, 'cache')}),
	'a full burst after the crash of a backend');
is(calls(6, 1, 401, 'cache'), '4 sold, 2 rate_limited', 'then the rate applies');
eval { $session->quit };

# fewer slots than users: no user with calls left is refused
$node->append_conf('postgresql.conf', "seckill.max_users = 20\n");
$node->restart;
is(sql(<<'EOC'), '5000 sold', 'each of 5000 users has a call');
SELECT count(*) || ' ' || min(outcome)
FROM generate_series(1001, 6000) u, LATERAL seckill_buy(1, u, 'cache')
EOC
is(sql(<<'EOC'), '1000 sold', 'and another');
SELECT count(*) || ' ' || min(outcome)
FROM generate_series(1001, 2000) u, LATERAL seckill_buy(1, u, 'cache')
EOC
is(calls(7, 1, 7000, 'cache'), '5 sold, 2 rate_limited', 'a user alone is limited there');
sql(q{SELECT count(*) FROM generate_series(1, 500) u, LATERAL seckill_buy(1, 8000 + u, 'cache') b});
is(calls(1, 1, 7000, 'cache'), '1 rate_limited', 'the user with the most calls is evicted last');
check_audit($node, 'a small table');
check_cache($node, 'a small table');

$node->stop;
done_testing();
