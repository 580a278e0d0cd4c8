# A router crashes, with a purchase on its way, at each statement of a move, which waits
# meanwhile.  The move does not need the router, and the purchase is made once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use IPC::Run;
use MoveFaults;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

needs_contrib('dblink');
needs_contrib('plproxy');

my ($one, $two) = faulty_nodes("seckill.move_wait = '30s'\nseckill.move_timeout = '60s'\n");
my $router = make_router($one, $two);

# Send a statement to the router, and wait until it is on its way, or done.
sub send_to_router
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $client = IPC::Run::start([ 'psql', '-XAtq', '-d', $router->connstr('postgres') . ' application_name=client', '-c', $sql ],
		'>', \$out, '2>', \$err);
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $end)
	{
		$client->pump_nb if $client->pumpable;
		last if !$client->pumpable || $router->safe_psql('postgres',
			q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'client' AND query LIKE '%seckill%'});
		sleep 0.01;
	}
	return $client;
}

# The statements of a function that are passed in a move that succeeds.
sub passed
{
	my ($node, @functions) = @_;

	return grep {
		my $sale = new_sale();

		arm($node, $_, 1, 'late');
		move_sale($sale) or die 'no move';
		defined disarm($node);
	} points(@functions);
}

foreach my $case (
	[ 'destination', $two, passed($two, qw(seckill_move seckill.move_in seckill.move_end)) ],
	[ 'source', $one, passed($one, qw(seckill_move_out seckill_move_release)) ])
{
	my ($name, $node, @steps) = @$case;
	my @wrong;

	cmp_ok(scalar @steps, '>', 5, "${\scalar @steps} steps on the $name");
	foreach my $step (some(@steps))
	{
		my $sale = new_sale();
		my $buy = "SELECT outcome FROM seckill_buy($sale, 7, 'cache', 1, md5('$sale 7')::uuid)";

		$router->safe_psql('postgres', "SELECT seckill_item($sale)");
		arm($node, $step, 1, 'wait');
		my $move = start_mover($two, "CALL seckill_move($sale, 1)");
		has_struck($node, 'SELECT false');
		my $client = send_to_router($buy);
		$router->stop('immediate');
		$client->finish;
		$router->start;
		disarm($node);
		push @wrong, "$step: no move" unless $move->finish;
		my $outcome = $router->safe_psql('postgres', $buy);
		push @wrong, "$step: $outcome" if $outcome ne 'sold';
		note_sale($sale, 2, $step, 7);
	}
	is(join(', ', @wrong), '', "$name: moves succeed, and the purchase");
	check_sales("router crashed at each step of the $name");
}
is($router->safe_psql('postgres', 'SELECT DISTINCT verdict FROM cluster_audit()'), 'ok', 'audit');
no_open_moves('at the end');
$_->stop foreach $router, $one, $two;
done_testing();
