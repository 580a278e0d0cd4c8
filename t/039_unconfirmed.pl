# A synchronous standby is down: an order that it has not confirmed is answered
# "sold" to no caller, whatever ends the wait, and to no retry.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $primary = seckill_node('primary', streaming => 1, conf => "autovacuum = off\nseckill.queue_idle_time = '1h'\n");
add_item($primary, $_, 100) foreach 1 .. 3;
my $standby = seckill_standby($primary);
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$primary->reload;
is($primary->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}),
	'sold', 'the queue sells with a standby');

$standby->stop;

# Start a call in the background; returns a function that waits for the answer
# of the caller.
sub start_call
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $primary->connstr('postgres'), '-c', $sql ],
		'>', \$out, '2>', \$err);

	return sub {
		$run->finish;
		return ($out, $err);
	};
}

# Wait until this many processes wait for the standby.
sub await_sync
{
	my ($n) = @_;

	ok( $primary->poll_query_until('postgres',
			"SELECT count(*) = $n FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
		"$n wait for the standby");
	return;
}

# the worker is cancelled or terminated while it waits
foreach my $how (qw(cancel terminate))
{
	my $wait = start_call(q{SELECT outcome FROM seckill_buy(1, 2, 'queue')});

	await_sync(1);
	$primary->safe_psql('postgres', "SELECT pg_${how}_backend(" . worker_pid($primary) . ')');
	my ($out, $err) = $wait->();
	unlike($out, qr/sold/, "worker, $how: the buyer is not told sold");
	like($err, qr/ERROR:.*not confirmed by a standby/, 'the caller gets an error: not confirmed by a standby');
}

# a ticket gives the same answer
my ($outcome, $ticket) = split(/\|/,
	$primary->safe_psql('postgres', 'SELECT outcome, ticket FROM seckill_submit(1, 3)'));
await_sync(1);
$primary->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($primary) . ')');
my (undef, undef, $error) = $primary->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT * FROM seckill_result($ticket, '1 min')");
like($error, qr/ERROR:  40003:/, 'the ticket gives the error');

# buyers are terminated while they wait; their orders are committed, but not at the
# standby
sub start_retry
{
	my ($item, $mode) = @_;
	my $request = '00000000-0000-4000-8000-000000000001';

	return start_call("SELECT outcome FROM seckill_buy($item, 4, '$mode', 1, '$request')");
}
my @waits = map { start_retry($_, 'cache') } 1 .. 3;
await_sync(3);
$primary->safe_psql('postgres', <<'EOC');
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'
EOC
$_->() foreach @waits;
is($primary->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders WHERE user_id = 4'),
	3, 'the orders are committed');
@waits = (start_retry(1, 'advisory'), start_retry(2, 'cache'), start_retry(3, 'queue'));
await_sync(3);
$standby->start;
is(join('', map { ($_->())[0] } @waits), "sold\n" x 3,
	'retries are told when the standby has them');

is($primary->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}),
	'sold', 'the queue continues');
check_audit($primary, 'at the end');
check_cache($primary, 'at the end');
$standby->stop;
$primary->stop;
done_testing();
