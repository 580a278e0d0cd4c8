# The ring and the queue worker: a full ring answers "busy" and loses nothing,
# old tickets expire, an idle worker ends and a new one starts, and a LISTENer
# gets one notification per batch.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('ring', conf => <<'EOC');
seckill.queue_size = 8
seckill.queue_batch = 4
seckill.queue_idle_time = 100
EOC
add_item($node, $_, 1000) for 1 .. 3;

# purchases while another transaction has the row locked
my $holder = $node->background_psql('postgres');
sub lock_item { $holder->query_safe("BEGIN; SELECT stock FROM seckill.items WHERE item_id = $_[0] FOR UPDATE"); return; }
sub submit { return $node->safe_psql('postgres', "SELECT ticket FROM generate_series(1, $_[1]) n, seckill_submit($_[0], n)"); }
sub results
{
	return $node->safe_psql('postgres', 'SELECT string_agg(outcome::text, $$ $$) FROM (SELECT r.outcome FROM unnest(ARRAY['
		  . join(',', @_) . "]) t, seckill_result(t, '60 s') r) x");
}

lock_item(1);
my @tickets = split /\n/, submit(1, 8);
await_worker_lock($node, 4);
is($node->safe_psql('postgres', 'SELECT outcome, ticket FROM seckill_submit(1, 9)'),
	'busy|', 'a full ring: seckill_submit() is busy');
is($node->safe_psql('postgres', q{SELECT outcome, order_id FROM seckill_buy(1, 9, 'queue')}),
	'busy|', 'a full ring: seckill_buy() is busy');
is($node->safe_psql('postgres', "SELECT outcome FROM seckill_result($tickets[7])"),
	'queued', 'not decided while the row is locked');
is($node->safe_psql('postgres', "SELECT outcome FROM seckill_result($tickets[7], '1 ms')"),
	'queued', 'not decided after a short wait');
$holder->query_safe('COMMIT');
is(results(@tickets), join(' ', ('sold') x 8), 'what was in the ring is sold');
is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders'), 8, 'and nothing else');

my @later = split /\n/, submit(2, 8);
is(results(@later), join(' ', ('sold') x 8), 'the ring goes round');
my ($rc, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT seckill_result($tickets[0])");
like($err, qr/ERROR:  55000: ticket $tickets[0] is no longer remembered\nHINT:  Look for the order/,
	'old tickets are forgotten');

# deferred purchases do not delay those of other items
lock_item(1);
@tickets = split /\n/, submit(1, 6);
await_worker_lock($node, 4);
is($node->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(2, 9, 'queue')}),
	'sold', 'more purchases deferred than fit in a batch');
is($node->safe_psql('postgres', "SELECT outcome FROM seckill_result($tickets[0])"),
	'queued', 'they are deferred');
$holder->query_safe('COMMIT');
is(results(@tickets), join(' ', ('sold') x 6), 'and sold in the end');

# more buyers than the ring has place for: the answers are the orders
$node->safe_psql('postgres', 'CREATE TABLE answers (outcome seckill_outcome)');
crowd($node, 60, 20,
	"SELECT outcome FROM seckill_buy(3, :client_id, 'queue') \\gset\nINSERT INTO answers VALUES (:outcome);\n");
is($node->safe_psql('postgres', <<'EOC'), 't|t|1200', 'each one sold has an order');
SELECT count(*) FILTER (WHERE outcome = 'sold') = (SELECT count(*) FROM seckill.orders WHERE item_id = 3),
	bool_and(outcome IN ('sold', 'busy')), count(*) FROM answers
EOC

# the idle worker ends, the next buyer has another one started
foreach my $round (1 .. 3)
{
	ok( $node->poll_query_until('postgres',
			q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'seckill queue worker'}),
		'the idle worker ends');
	is($node->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(2, 9, 'queue')}),
		'sold', 'another one serves');
}
$node->safe_psql('postgres', q{ALTER SYSTEM SET seckill.queue_idle_time = 1; SELECT pg_reload_conf()});
crowd($node, 3, 200, <<'EOC');
\set pause random(1, 1500)
SELECT outcome FROM seckill_buy(2, :client_id, 'queue');
\sleep :pause us
SELECT outcome FROM seckill_submit(1, :client_id) \gset
INSERT INTO answers VALUES (:outcome);
\sleep :pause us
EOC
$node->safe_psql('postgres', q{ALTER SYSTEM SET seckill.queue_idle_time = 60000; SELECT pg_reload_conf()});
is(results(submit(1, 1)), 'sold', 'all that was submitted before is decided');
is($node->safe_psql('postgres', <<'EOC'), '0', 'and sold');
SELECT count(*) FILTER (WHERE outcome = 'queued') + 15 -
	(SELECT count(*) FROM seckill.orders WHERE item_id = 1) FROM answers
EOC

# NOTIFY
my $listener = $node->background_psql('postgres');
sub heard
{
	my ($setting) = @_;
	my $text = '';

	# a worker that starts after the postmaster has read the file knows it
	my $log = -s $node->logfile;
	$node->safe_psql('postgres', "ALTER SYSTEM SET seckill.queue_notify = $setting; SELECT pg_reload_conf()");
	$node->wait_for_log(qr/"seckill.queue_notify" changed to "$setting"/, $log);
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($node) . ', 60000)');
	lock_item(2);
	@tickets = split /\n/, submit(2, 3);
	await_worker_lock($node, 3);
	$holder->query_safe('COMMIT');
	results(@tickets);
	$node->safe_psql('postgres', q{NOTIFY seckill_queue, 'end'});
	foreach (1 .. 1000)
	{
		last if $text =~ /"end"/;
		$text .= $listener->query_safe("SELECT") . "\n";
	}
	return join ' ', $text =~ /with payload "(\w+)"/g;
}
$listener->query_safe('LISTEN seckill_queue');
is(heard('1'), "$tickets[-1] end", 'one notice for the batch, of its last ticket');
is(heard('0'), 'end', 'no notice');
$listener->quit;
$holder->quit;

check_audit($node, 'at the end');
check_cache($node, 'at the end');
$node->stop;
done_testing();
