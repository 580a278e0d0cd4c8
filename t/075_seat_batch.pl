# Bookings of one batch of the queue worker: one that is refused because an earlier
# one of the batch has chosen the last seat is sold it if the earlier one misses.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SeckillTest;
use Test::More;

my $node = seckill_node('batch');

$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, stock, legs) SELECT i, 0, 2 FROM generate_series(1, 2) i;
INSERT INTO seckill.seats (item_id, seat) SELECT i, 1 FROM generate_series(1, 2) i;
EOC

# A session that books in mode queue.
sub start_booking
{
	my ($item, $user, $from, $to) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_until(qr/go/, <<"EOC");
\\echo go
SELECT outcome FROM seckill_book($item, $user, $from, $to, mode => 'queue');
\\q
EOC
	$node->poll_query_until('postgres', "SELECT backlog >= $user - 10 FROM seckill.stat_worker");
	return $session;
}

sub users
{
	my ($item) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(user_id::text, ' ' ORDER BY user_id) FROM seckill.orders WHERE item_id = $item");
}

foreach my $end (qw(COMMIT ROLLBACK))
{
	my $item = $end eq 'COMMIT' ? 1 : 2;
	my $clerk = $node->background_psql('postgres');
	my $first = $node->background_psql('postgres');

	# the first leg is held; the worker waits for the item
	$first->query_safe("BEGIN; SELECT outcome FROM seckill_book($item, 1, 0, 1, mode => 'cache')");
	$clerk->query_safe("BEGIN; SELECT 1 FROM seckill.items WHERE item_id = $item FOR UPDATE");
	my @buyers = (start_booking($item, 11, 0, 2), start_booking($item, 12, 1, 2));
	await_worker_lock($node, 2);

	# now it has the item and waits for the seat
	$clerk->query_safe('COMMIT');
	await_moment($node, <<'EOC', 'the worker waits for the seat');
SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE a.backend_type = 'seckill queue worker' AND l.locktype = 'transactionid' AND NOT l.granted
	AND EXISTS (SELECT FROM pg_locks i WHERE i.pid = l.pid AND i.relation = 'seckill.seats'::regclass)
EOC
	$first->query_safe($end);
	$_->{run}->finish foreach @buyers;
	$_->quit foreach $clerk, $first;
	is(users($item), $end eq 'COMMIT' ? '1 12' : '11', "$end: nobody is refused while the seat is free");
}
is($node->safe_psql('postgres', 'SELECT * FROM seckill_audit_seats() WHERE sold_twice <> 0 OR different <> 0'), '', 'audit');

$node->stop;
done_testing();
