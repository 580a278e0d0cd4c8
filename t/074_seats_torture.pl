# A short form of torture/seats.pl: bookings of every kind with crashes, of which a
# log is kept outside the server.  Its replay finds what is planted: seats that are
# free while they are sold, and seats that are taken while nobody has them.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use SeckillTest;
use Test::More;
use Time::HiRes 'time';
use TortureLoad;
use TortureParts;
use TortureSeats;

torture_seats(calls => 5000, clients => 32, trains => [ 5, 24, 8 ], seconds => 2, sale => 5000);

my $node = seckill_node('planted', conf => "deadlock_timeout = 100ms\nmax_locks_per_transaction = 256\n");

# Change some rows of seats by hand, again and again; returns what is found.
sub findings_of
{
	my ($set, $where) = @_;
	my $load = TortureLoad->new($node, clients => 16, seats => 1);
	my $end = time + 2;
	my $count = $load->{count};
	my $next = 0;
	# a slow machine needs longer
	my $enough = sub { time > $end && ($count->{calls} > 500 || time > $end + 300) };

	$load->control->ask('SET session_replication_role = replica');
	$load->open_sessions;
	$load->work(sub {
		return $enough->() if time < $next;
		$next = time + 0.02;
		$load->control->ask(<<"EOC");
UPDATE seckill.seats s SET taken = $set
FROM (SELECT item_id, seat FROM seckill.seats WHERE $where ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED) r
WHERE s.item_id = r.item_id AND s.seat = r.seat
EOC
		return $enough->();
	});
	$load->finish(120);
	$load->check;
	$node->safe_psql('postgres', 'DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE EXTENSION seckill');
	note(join ', ', map { "$_: $count->{$_}" } sort keys %$count);
	return join("\n", @{ $load->{findings} });
}

my $found = findings_of('0', 'taken <> 0');
like($found, qr/leg \d+ of seat \d+ is sold twice/, 'the replay finds legs that are sold twice');
like($found, qr/two live orders have legs/, 'and so does the look at the orders');
like(findings_of('255', 'taken = 0'), qr/refused, with seats free/, 'the replay finds wrong refusals');

$node->stop;
done_testing();
