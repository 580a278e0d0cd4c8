# No slot is left for a background worker, or the maintenance worker fails:
# callers get an error, the log is not flooded, and due work is done in the end.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('no_slots', conf => <<'EOC');
max_worker_processes = 1
max_logical_replication_workers = 0
seckill.naptime = 1s
EOC
my @databases = qw(one two three postgres);
my $message = 'no background worker is left to expire orders';

my $start = time;
foreach my $db (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db; ") if $db ne 'postgres';
	$node->safe_psql($db, <<'EOC');
CREATE EXTENSION IF NOT EXISTS seckill;
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (1, 10, '10 ms');
SELECT seckill_buy(1, 1, 'cache');
EOC
}
$node->wait_for_log(qr/$message/);
my $first = time;
$node->poll_query_until('postgres', "SELECT extract(epoch FROM clock_timestamp()) > $first + 5")
  or die 'the clock stands still';
my $lines = () = slurp_file($node->logfile) =~ /$message/g;
cmp_ok($lines, '<=', 2 + (time - $start) / 60, 'the log has one message per minute');

foreach my $call (q{seckill_buy(1, 1, 'queue')}, 'seckill_submit(1, 1)',
	'seckill_submit_many(ARRAY[1, 1], ARRAY[1, 2])')
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  53400: no background worker is left for the queue/, "who calls $call is told");
}

$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;
foreach my $db (@databases)
{
	ok($node->poll_query_until($db, q{SELECT state = 'expired' FROM seckill.orders}),
		"orders of $db expire when there is a place");
	check_audit($node, $db, $db);
}

# a maintenance worker that fails is restarted with a growing backoff
my $offset = -s $node->logfile;
$start = time;
$node->safe_psql('postgres', <<'EOC');
BEGIN;
SELECT seckill_buy(1, 2, 'retry');
ALTER TABLE seckill.orders RENAME pay_by TO renamed;
COMMIT;
EOC
my $failed = qr/"seckill maintenance worker" \(PID \d+\) exited with exit code 1/;
$node->wait_for_log($failed, $offset);
$first = time;
$node->poll_query_until('postgres', "SELECT extract(epoch FROM clock_timestamp()) > $first + 10")
  or die 'the clock stands still';
$lines = () = slurp_file($node->logfile, $offset) =~ /$failed/g;
# each after twice the time of the one before, from a second on
cmp_ok($lines, '<=', 3 + log(1 + time - $start) / log(2), 'failures are rare');
$node->safe_psql('postgres', 'ALTER TABLE seckill.orders RENAME renamed TO pay_by');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM seckill.orders WHERE state = 'expired'}),
	'the order expires in the end');
$node->stop;
done_testing();
