# A seat map that is wrong: a build with fault points sets and clears bits of it
# at random under load.  Still no leg of a seat is sold twice, and nobody is
# refused while a seat is free.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use TortureFaults;

my $node = TortureFaults::faulty_node('wrong', "seckill.max_items = 100\n");

$node->safe_psql('postgres', <<'EOC');
CREATE TABLE refused (item bigint, f integer, t integer, mode text);
CREATE VIEW wrongly AS
SELECT DISTINCT r.*, s.seat FROM refused r JOIN seckill.seats s ON s.item_id = r.item
WHERE s.taken & (((1::bigint << (r.t - r.f)) - 1) << r.f) = 0;
EOC

foreach my $item (1 .. 3)
{
	$node->safe_psql('postgres', <<"EOC");
INSERT INTO seckill.items (item_id, stock, legs) VALUES ($item, 0, 6);
INSERT INTO seckill.seats (item_id, seat) SELECT $item, s FROM generate_series(1, 120) s;
EOC
	# this session makes the map wrong each time it asks for two seats, unless the
	# trip is known to be sold out: a random one seldom is before all are
	my $saboteur = $node->background_psql('postgres', on_error_stop => 0);
	$saboteur->query_safe(q{SELECT fault_arm(pg_backend_pid()::text, '*', 0, 'skip')});
	my @cmd = ('pgbench', '-n', '-c', 32, '-j', 2, '-M', 'prepared', '-t', 60,
		'-h', $node->host, '-p', $node->port);
	foreach my $mode (qw(cache cache retry queue))
	{
		# also a fast crowd takes some time
		my $file = $node->basedir . "/book.$item.$mode." . int(rand(1e9));

		append_to_file($file, <<"EOC");
\\set f random(0, 5)
\\set t random(:f + 1, 6)
SELECT outcome FROM seckill_book($item, :client_id, :f, :t, mode => '$mode') \\gset
\\sleep 2 ms
INSERT INTO refused SELECT $item, :f, :t, '$mode' WHERE :outcome = 'sold_out';
EOC
		push @cmd, '-f', $file;
	}
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ @cmd, 'postgres' ], '>', \$out, '2>', \$err);
	my $sabotages = 0;

	while ($run->pumpable && $sabotages < 2000)
	{
		my $from = int(rand(6));
		my $to = $from + 1 + int(rand(6 - $from));

		$saboteur->query_safe("SELECT outcome FROM seckill_book($item, 0, $from, $to, 2, 'cache')");
		$sabotages++;
		$run->pump_nb;
	}
	$run->finish;
	like($out, qr/actually processed: (\d+)\/\g1\b/, "item $item: all calls are answered") or diag($err);
	cmp_ok($sabotages, '>', 10, 'while the map was made wrong');
	check_seats($node, "item $item, under load");
	$saboteur->query_safe(
		"SELECT count(*) FROM generate_series(1, 100) n, LATERAL seckill_book($item, n, 0, 6, 20, 'cache', 'need')");
	$saboteur->query_safe(q{SELECT fault_arm('', '', 0, 'none')});
	$saboteur->quit;
	check_seats($node, "item $item");
	is($node->safe_psql('postgres', 'SELECT * FROM wrongly LIMIT 5'),
		'', "item $item: nobody was refused while a seat was free");

	# what is left is sold to the last leg
	$node->safe_psql('postgres',
		"SELECT count(*) FROM generate_series(1, 120) n, generate_series(0, 5) f, LATERAL seckill_book($item, n, f, f + 1, mode => 'cache')");
	is($node->safe_psql('postgres', "SELECT taken = seat_legs FROM seckill_audit_seats($item)"),
		't', "item $item: sold to the last leg");
}
# a hall of which the map calls about half of the seats taken: all are sold
foreach my $mode (qw(cache queue))
{
	my $item = $mode eq 'cache' ? 11 : 12;

	$node->safe_psql('postgres', <<"EOC");
INSERT INTO seckill.items (item_id, stock, legs) VALUES ($item, 0, 1);
INSERT INTO seckill.seats (item_id, seat) SELECT $item, s FROM generate_series(1, 16) s;
SELECT count(*) FROM seckill_free_seats($item);
SELECT fault_arm(pg_backend_pid()::text, '*', 0, 'skip');
SELECT count(*) FROM generate_series(1, 200) n, LATERAL seckill_book($item, n, 0, 1, 17, 'cache');
SELECT fault_arm('', '', 0, 'none');
EOC
	cmp_ok($node->safe_psql('postgres', "SELECT seats FROM seckill_free_seats($item)"),
		'<', 16, "$mode: the map is wrong");
	is(join(' ', map { $node->safe_psql('postgres', "SELECT outcome FROM seckill_book($item, $_, 0, 1, mode => '$mode')") } 1 .. 17),
		join(' ', ('sold') x 16, 'sold_out'), "$mode: all seats are sold, and no more");
	check_seats($node, "wrong hall, $mode");
}

note($node->safe_psql('postgres', 'SELECT map_loads, map_corrections, seats_missed FROM seckill.stat_worker'));
cmp_ok($node->safe_psql('postgres', 'SELECT map_corrections FROM seckill.stat_worker'),
	'>', 0, 'seats were corrected');

$node->stop;
done_testing();
