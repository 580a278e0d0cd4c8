# A move without its driver: the maintenance workers, which end it, fail at each statement,
# and so do the rollback and the deletion of the rows that were left.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use MoveFaults;
use Test::More;

needs_contrib('dblink');

my ($one, $two) = faulty_nodes("seckill.move_timeout = '60s'\n", hasty => 1);
my $worker = 'seckill maintenance worker';

# Wait until the worker of a node has struck, or has ended the move.
sub await_worker
{
	my ($node, $sale) = @_;

	# it may be down by now
	eval { $node->psql('postgres', 'SELECT seckill_wake_maintenance(clock_timestamp())') };
	has_struck($node, "SELECT count(*) = 0 FROM seckill.moves WHERE item_id = $sale AND state IN ('moving', 'arriving')");
	return;
}

# The steps that the worker of a node passes, with all faults.
sub sweep_worker
{
	my ($node, $name, $functions, %case) = @_;
	my @steps = sweep($node, $name, 'error', [ points(@$functions) ], %case, victim => $worker, may_miss => 1);

	cmp_ok(scalar @steps, '>=', 4, "$name: " . @steps . ' steps');
	sweep($node, $name, $_, [ some(@steps) ], %case, victim => $worker) foreach qw(fatal kill);
	return;
}

# The driver is gone after step 3, 2 or 1.
sweep_worker($two, 'step 4 by the worker', [qw(seckill.tend_moves seckill.connect seckill.move_end)],
	before => sub { step_of_move($_[0], $_) foreach 1, 2 },
	act => sub { step_of_move($_[0], 3); await_worker($two, $_[0]); return 2 });
sweep_worker($two, 'drop by the worker', [qw(seckill.tend_moves seckill.move_end seckill.delete_item_rows)],
	before => sub { step_of_move($_[0], $_) foreach 1, 2 },
	act => sub { $one->safe_psql('postgres', "SELECT seckill_move_cancel($_[0])"); await_worker($two, $_[0]); return 1 });
$one->safe_psql('postgres', $_) foreach q{ALTER SYSTEM SET seckill.move_timeout = '1s'}, 'SELECT pg_reload_conf()';
sweep_worker($one, 'rollback by the worker', [qw(seckill.tend_moves seckill_move_cancel)],
	may_miss => 1, before => sub { step_of_move($_[0], 1) },
	act => sub { await_worker($one, $_[0]); return 1 });

# Rollback by hand, unless the worker is faster
my %rollback = (may_miss => 1, before => sub { step_of_move($_[0], 1) },
	act => sub { run_mover($one, "SELECT seckill_move_cancel($_[0])"); return 1 });
my @steps = steps_passed($one, 'rollback', %rollback);
sweep($one, 'rollback', $_, [ some(@steps) ], %rollback) foreach qw(fatal kill);
$one->safe_psql('postgres', $_) foreach 'ALTER SYSTEM RESET seckill.move_timeout', 'SELECT pg_reload_conf()';

# Step 5
my @gone;
my %forget = (before => sub { step_of_move($_[0], $_) foreach 1 .. 4; push @gone, $_[0] },
	act => sub { run_mover($one, "SELECT seckill_move_forget($_[0])"); return 2 });
@steps = steps_passed($one, 'step 5', %forget);
sweep($one, 'step 5', $_, [ some(@steps) ], %forget) foreach qw(fatal kill);
$one->safe_psql('postgres', "SELECT seckill_move_forget($_)") foreach @gone;
is($one->safe_psql('postgres', "SELECT DISTINCT w.place, w.peer FROM unnest(ARRAY[${\join ',', @gone}]) i, seckill_whereis(i) w"),
	'gone|2', 'signposts stay');
is($one->safe_psql('postgres', "SELECT count(*) FROM seckill.orders WHERE item_id IN (${\join ',', @gone})"), 0, 'and no rows');
no_open_moves('at the end');
$_->stop foreach $one, $two;
done_testing();
