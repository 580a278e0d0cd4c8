# The queue worker is terminated, cancelled and killed during a sale: each call
# that got "sold" has an order, no other has one, and no call hangs.
# SECKILL_KILLS is the number of strikes.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $kills = $ENV{SECKILL_KILLS} || 20;
my $node = seckill_node('worker', conf => <<'EOC');
restart_after_crash = on
seckill.queue_size = 2000
seckill.queue_batch = 20
EOC

$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, stock) SELECT n, 1000000 FROM generate_series(1, 3) n;
CREATE TABLE answers (item_id bigint, user_id bigint, outcome seckill_outcome, order_id bigint);
CREATE TABLE tickets (item_id bigint, user_id bigint, outcome seckill_outcome, ticket bigint);
CREATE TABLE results (LIKE tickets, answer seckill_outcome, order_id bigint, error text);
CREATE FUNCTION result_of(ticket bigint, OUT answer seckill_outcome, OUT order_id bigint, OUT error text)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT r.outcome, r.order_id INTO answer, order_id FROM seckill_result(ticket, '60 s') r;
EXCEPTION WHEN query_canceled OR object_not_in_prerequisite_state THEN
	error := SQLSTATE;
END
$$;
EOC
my $pick = "\\set item random(1, 3)\n\\set user random(1, 1000000000)\n";
my $submit = $pick . <<'EOC';
SELECT outcome, ticket FROM seckill_submit(:item, :user) \gset
INSERT INTO tickets VALUES (:item, :user, :outcome, nullif(:ticket, '')::bigint);
EOC
my $buy = $pick . <<'EOC';
SELECT outcome, order_id FROM seckill_buy(:item, :user, 'queue') \gset
INSERT INTO answers VALUES (:item, :user, :outcome, nullif(:order_id, '')::bigint);
EOC

# Run the scripts, as often as it takes, while the worker is disturbed.
sub disturb
{
	my ($call, @scripts) = @_;
	my ($out, $err) = ('', '');
	my @cmd = SeckillTest::crowd_command($node, 20, [ '-t', 50 ], @scripts);
	my ($done, $errors) = (0, '');

	while ($done < $kills)
	{
		my $run = IPC::Run::start(\@cmd, '>', \$out, '2>', \$err);

		while ($run->pumpable && $done < $kills)
		{
			$node->safe_psql('postgres', sprintf($call, worker_pid($node)));
			$done++;
			$run->pump_nb;
		}
		$run->finish;
		$errors .= $1 while $err =~ /(.*ERROR.*\n)/g;
		$node->safe_psql('postgres', <<'EOC');
INSERT INTO results SELECT t.*, r.* FROM tickets t LEFT JOIN result_of(t.ticket) r ON true;
TRUNCATE tickets;
EOC
	}
	return $errors;
}

# orders that were not answered, answers without their order
sub differences
{
	return $node->safe_psql('postgres', <<'EOC');
WITH answered AS (
	SELECT item_id, user_id, order_id FROM answers WHERE outcome = 'sold'
	UNION ALL
	SELECT item_id, user_id, order_id FROM results WHERE answer = 'sold'),
ordered AS (SELECT item_id, user_id, order_id FROM seckill.orders)
SELECT (SELECT count(*) FROM (TABLE ordered EXCEPT ALL TABLE answered) x),
	(SELECT count(*) FROM (TABLE answered EXCEPT ALL TABLE ordered) x)
EOC
}

is(disturb('SELECT pg_terminate_backend(%d, 60000)', $buy, $submit, $submit), '',
	"no caller notices $kills terminated workers");
is(differences(), '0|0', 'orders are answers');
is($node->safe_psql('postgres', q{SELECT count(*) FROM answers WHERE outcome NOT IN ('sold', 'busy')}),
	0, 'every waiting call is sold');
is($node->safe_psql('postgres', q{SELECT count(*) FROM results WHERE outcome <> 'busy' AND answer IS DISTINCT FROM 'sold'}),
	0, 'every ticket is sold');
check_audit($node, 'terminated');

# a cancelled worker passes the error to one purchase at most
is(disturb('SELECT pg_cancel_backend(%d)', $submit), '',
	"no submission notices $kills cancelled workers");
is(differences(), '0|0', 'orders are answers');
is($node->safe_psql('postgres', q{SELECT count(*) FROM results WHERE answer IS NULL AND outcome <> 'busy' AND error <> '57014'}),
	0, 'every call that is not sold gets an error');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM results WHERE error IS NOT NULL'),
	'<=', $kills, 'no more errors than cancels');
check_audit($node, 'cancelled');

# killed with a full ring
foreach my $round (1 .. 2)
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders');
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	$holder->query_safe('BEGIN; SELECT 1 FROM seckill.items WHERE item_id = 1 FOR UPDATE');
	my $ticket = $node->safe_psql('postgres', <<'EOC');
SELECT max(ticket) FILTER (WHERE outcome = 'queued') FROM generate_series(1, 2010) n, seckill_submit(1, n)
HAVING count(*) FILTER (WHERE outcome = 'busy') >= 10
EOC
	like($ticket, qr/^\d+$/, 'the ring is full');
	await_worker_lock($node, 20);
	my $log = -s $node->logfile;
	kill 'KILL', worker_pid($node);
	$node->wait_for_log(qr/all server processes terminated/, $log);
	$holder->{run}->finish;
	ok($node->poll_query_until('postgres', 'SELECT 1', '1'), 'the server is back');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders'), $before,
		'undecided purchases are lost');
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT seckill_result($ticket)");
	like($err, qr/ERROR:  55000: ticket $ticket is no longer remembered/, 'the ticket is unknown');
	is($node->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}),
		'sold', 'a new worker serves');
	check_audit($node, "killed, $round");
}
check_cache($node, 'at the end');

# timeouts of clients do not apply to the worker
SKIP:
{
	skip 'no transaction_timeout', 4
	  if $node->safe_psql('postgres', 'SHOW server_version_num') < 170000;
	$node->safe_psql('postgres', $_) foreach q{SELECT seckill_buy(2, 1, 'queue')},
	  q{ALTER DATABASE postgres SET transaction_timeout = '20 ms'};
	kill 'TERM', worker_pid($node);
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	$holder->query_safe('SET transaction_timeout = 0');
	$holder->query_safe('BEGIN; SELECT 1 FROM seckill.items WHERE item_id = 2 FOR UPDATE');
	my $ticket = $node->safe_psql('postgres', 'SET transaction_timeout = 0; SELECT ticket FROM seckill_submit(2, 1)');
	await_worker_lock($node, 1) foreach 1, 2;
	$holder->quit;
	is($node->safe_psql('postgres', "SET transaction_timeout = 0; SELECT outcome FROM seckill_result($ticket, '60 s')"),
		'sold', 'the worker sells');
	ok(!$node->log_contains('transaction timeout'), 'no transaction timed out');
}

$node->stop;
done_testing();
