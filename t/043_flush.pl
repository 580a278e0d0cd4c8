# A caller with synchronous_commit on gets no answer that rests on an
# asynchronous commit before that is on disk: the server is stopped immediately
# after the answer.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('flush', conf => <<'EOC');
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
full_page_writes = off
bgwriter_lru_maxpages = 0
autovacuum = off
seckill.queue_idle_time = '1 h'
EOC
add_item($node, 1, 1000);
$node->safe_psql('postgres', q{INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (2, 1000, '1 hour')});

sub request
{
	my ($n) = @_;
	return sprintf('00000000-0000-4000-8000-%012d', $n);
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

# A purchase that is not on disk yet is retried.
my $n = 0;
sub check_retry
{
	my ($first, $retry, $setting) = @_;

	$n++;
	my $request = request($n);
	$retry =~ s/REQUEST/$request/;
	# what the server does when it has just started is done
	$node->safe_psql('postgres', 'SELECT outcome FROM seckill_buy(1, 99)');
	my $order = $node->safe_psql('postgres',
		"SET synchronous_commit = off; SELECT order_id FROM seckill_buy(1, 7, '$first', 1, '$request')");
	is($node->safe_psql('postgres', "SET synchronous_commit = $setting; SELECT outcome, order_id FROM $retry"),
		"sold|$order", "$first, $retry: the retry is answered");
	crash();
	is($node->safe_psql('postgres', "SELECT order_id FROM seckill.orders WHERE request_id = '$request'"),
		$order, "$first, $retry: its order is there");
	return;
}
check_retry('pessimistic', "seckill_buy(1, 7, '$_', 1, 'REQUEST')", 'on') foreach qw(pessimistic optimistic cache auto);
check_retry('cache', "seckill_buy(1, 7, 'advisory', 1, 'REQUEST')", $_) foreach qw(local remote_write);
check_retry('cache', q{seckill_buy_many(1, '{7}', 'cache', '{REQUEST}')}, 'on');
# an answer of the queue is on disk, whatever synchronous_commit is
check_retry('cache', q{seckill_buy(1, 7, 'queue', 1, 'REQUEST')}, 'off');
# also without the worker, if the item is known to be sold out
add_item($node, 3, 1);
my $order = $node->safe_psql('postgres', <<"EOC");
SELECT FROM seckill_buy(1, 99);
SET synchronous_commit = off;
SELECT order_id FROM seckill_buy(3, 7, 'cache', 1, '${\ request(99) }');
EOC
is($node->safe_psql('postgres', 'SELECT outcome FROM seckill_buy(3, 8)'), 'sold_out', 'the last unit is sold');
is($node->safe_psql('postgres', "SET synchronous_commit = off; SELECT outcome, order_id FROM seckill_buy(3, 7, 'queue', 1, '${\ request(99) }')"),
	"sold|" . $order =~ s/\s//gr, 'its retry is answered without the worker');
crash();
is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders WHERE item_id = 3'), 1, 'its order is there');
# the state of an order
sub check_state
{
	my ($first, $again, $answer, $state) = @_;
	my $order = $node->safe_psql('postgres', 'SELECT order_id FROM seckill_buy(2, 7)');

	$node->safe_psql('postgres', "SET synchronous_commit = off; SELECT seckill_$first(2, $order)");
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT seckill_$again(2, $order)");
	like($out . $err, qr/\b$answer\b/, "$first, $again: the answer");
	crash();
	is($node->safe_psql('postgres', "SELECT state FROM seckill.orders WHERE item_id = 2 AND order_id = $order"),
		$state, "$first, $again: the order is so after a crash");
	return;
}
check_state('confirm', 'confirm', 'confirmed', 'confirmed');
check_state('cancel', 'cancel', 'cancelled', 'cancelled');
check_state('cancel', 'confirm', 'SK002', 'cancelled');
check_state('confirm', 'cancel', 'SK001', 'confirmed');

# an item that exists
$node->safe_psql('postgres', q{SET synchronous_commit = off; SELECT seckill_put_item(4, '{"stock": 1}')});
my ($rc, $out, $err) = $node->psql('postgres', qq{\\set VERBOSITY verbose\nSELECT seckill_put_item(4, '{"stock": 1}')});
like($err, qr/ERROR:  42710: /, 'an item created again exists');
crash();
is($node->safe_psql('postgres', 'SELECT available FROM seckill_item(4)'), 1, 'also after a crash');

$node->safe_psql('postgres', q{SET synchronous_commit = off; SELECT seckill_put_item(5, '{"stock": 1}')});
is($node->safe_psql('postgres', q{SELECT seckill_put_item(5, '{}')}), 'f', 'asked for without a setting, an item is there');
crash();
is($node->safe_psql('postgres', 'SELECT available FROM seckill_item(5)'), 1, 'also after a crash');

# a frozen order, whose xid is no longer in the commit log
$node->safe_psql('postgres', 'VACUUM FREEZE seckill.orders');
is($node->safe_psql('postgres', "SELECT outcome FROM seckill_buy(1, 7, 'cache', 1, '${\ request(1) }')"),
	'sold', 'a retry of a frozen order');
check_audit($node, 'at the end');
$node->stop;
done_testing();
