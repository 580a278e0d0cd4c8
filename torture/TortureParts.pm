# The parts of the torture: each runs its load, prints its progress and a table of
# what it did, and returns the broken laws.
package TortureParts;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use Time::HiRes qw(time sleep);
use TortureLoad;

# a run that is interrupted stops its server
$SIG{INT} = $SIG{TERM} = sub { die "interrupted\n" };

our @EXPORT = qw(torture_crash torture_interrupts torture_seats);
our @EXPORT_OK = qw(disturb_crowd seed torture_node report tell_findings pid_of);

my %process = (
	queue_worker => 'seckill queue worker',
	maintenance_worker => 'seckill maintenance worker',
	launcher => 'seckill launcher', backend => 'client backend');

# Print the seed; it reproduces the random numbers of the clients, not the races of
# the server.
sub seed
{
	my $seed = $ENV{SEED} || int(rand(2**31));

	srand($seed);
	diag("SEED=$seed");
	return;
}

sub torture_node
{
	my ($name, %params) = @_;
	return seckill_node($name, streaming => $params{streaming}, conf => <<'EOC' . ($params{conf} // ''));
restart_after_crash = on
fsync = on
commit_delay = 3000
commit_siblings = 1
log_statement = none
log_min_error_statement = panic
seckill.lease_units = 30
seckill.hot_rate = 20
max_locks_per_transaction = 256
deadlock_timeout = 100ms
EOC
}

sub report
{
	my ($load, $name) = @_;
	my $count = $load->{count};

	diag(sprintf('%-24s %10d', @$_)) foreach (
		[ 'answered sold', $count->{sold} ],
		[ 'refused', $count->{refused} ],
		[ 'codes told', $count->{told} ],
		[ 'bookings sold', $count->{booked} ],
		[ 'bookings refused', $count->{full} ],
		[ 'calls for seats', $count->{calls} ],
		[ 'unknown', $count->{unknown} ],
		[ 'unknown, but sold', $count->{found} ],
		[ 'unknown, asked again', $count->{asked} ],
		map { [ "error $_", $load->{errors}{$_} ] } sort keys %{ $load->{errors} });
	diag(sprintf('%-24s %10d', 'findings', scalar @{ $load->{findings} }));
	cmp_ok($count->{sold}, '>', 0, "$name: something was sold");
	is(join("\n", @{ $load->{findings} }), '', "$name: the laws hold");
	return;
}

# Print the findings that have come since the last call.
sub tell_findings
{
	my ($load, $where) = @_;
	my $told = $load->{told} // 0;
	my $findings = $load->{findings};

	diag("FINDING $where: $findings->[$_]") foreach $told .. $#$findings;
	$load->{told} = @$findings;
	return;
}

# The pid of a random process of a kind; undef if there is none.
sub pid_of
{
	my ($load, $kind) = @_;
	my $pids = $load->control->ask(<<"EOC");
SELECT pid FROM pg_stat_activity
WHERE backend_type = '$process{$kind}' AND pid <> pg_backend_pid()
EOC

	return @$pids ? $pids->[ rand @$pids ][0] : undef;
}

#
# Crashes
#

my @kills = qw(kill_backend kill_queue_worker kill_maintenance_worker
  kill_launcher kill_postmaster immediate terminate_queue_worker
  terminate_maintenance_worker terminate_launcher);

# Choose the process to strike; a backend if no process of the kind is running.
sub choose_victim
{
	my ($load) = @_;
	my $kind = $kills[ rand @kills ];
	my ($how, $whom) = split(/_/, $kind, 2);

	return ($kind, 'QUIT', $load->{node}{_pid}) if $kind eq 'immediate';
	return ($kind, 'KILL', $load->{node}{_pid}) if $whom eq 'postmaster';
	my $pid = pid_of($load, $whom);
	if (!defined $pid)
	{
		($kind, $pid) = ("${how}_backend", pid_of($load, 'backend'));
	}
	return ($kind, $how eq 'kill' ? 'KILL' : 'TERM', $pid);
}

# Start a server whose processes may still be ending.
sub start_again
{
	my ($load, $postmaster) = @_;
	my $end = time + 120;

	while (time < $end)
	{
		sleep 0.1;
		next if kill(0, $postmaster);

		# unless told, the module takes the old pid file for a running server
		$load->{node}{_pid} = undef;
		return if $load->{node}->start(fail_ok => 1);
	}
	die "the server does not start\n";
}

# One crash: a sale of at most so many seconds, a strike, and the checks afterwards.
sub crash_cycle
{
	my ($load, $most) = @_;
	my $end;

	$load->open_sessions;
	$end = time + 0.05 + rand($most);
	$load->work(sub { time > $end });
	my ($kind, $signal, $pid) = choose_victim($load);

	# the choice took a moment: let the crowd be at work again
	$end = time + rand(0.05);
	$load->work(sub { time > $end && kill($signal, $pid) >= 0 });
	if ($kind =~ /^terminate/)
	{
		$end = time + 0.2;
		$load->work(sub { time > $end });
		$load->finish(120);
	}
	else
	{
		$load->lose(120);
		$load->{control}{lost} = 1;
		start_again($load, $pid) if $kind =~ /postmaster|immediate/;
	}
	$load->check;
	$load->ask_again(20);
	$load->check_life;
	return $kind;
}

sub torture_crash
{
	my (%params) = @_;
	my $cycles = $params{cycles};
	my $started = time;
	my %done;

	seed();
	my $node = torture_node('crash');
	my $load = TortureLoad->new($node, clients => $params{clients} // 64);
	foreach my $cycle (1 .. $cycles)
	{
		my $kind = eval { crash_cycle($load, 0.5) };

		die $@ if $@ eq "interrupted\n";
		$load->finding("cycle $cycle: $@") unless defined $kind;
		$done{ $kind // 'failed' }++;
		tell_findings($load, "in cycle $cycle, " . ($kind // 'failed'));
		last unless defined $kind;
		diag(sprintf('crash: %d of %d cycles, %d sold, %d unknown, %d s',
				$cycle, $cycles, @{ $load->{count} }{qw(sold unknown)}, time - $started))
		  if $cycle % 20 == 0;
		next unless $cycle % 20 == 0 || $cycle == $cycles;
		$load->close_sale;
		tell_findings($load, "at the end of a sale, cycle $cycle");
		$load->restart_sale;
	}
	diag(sprintf('%-24s %10d', $_, $done{$_})) foreach sort keys %done;
	report($load, 'crash');
	$node->stop;
	return;
}

#
# Interrupts
#

# Cancel or terminate a process: mostly a client, sometimes one of the extension.
sub interrupt
{
	my ($load, $done) = @_;
	my $how = rand() < 0.6 ? 'cancel' : 'terminate';
	my $dice = rand();
	my $whom = $dice < 0.9 ? 'client' : $dice < 0.96 ? 'queue_worker' : $dice < 0.99 ? 'maintenance_worker' : 'launcher';
	my $pid;

	if ($whom eq 'client')
	{
		my @busy = grep { $_->{busy} && !$_->{lost} && $_->{pid} } @{ $load->{sessions} };

		$pid = @busy ? $busy[ rand @busy ]{pid} : undef;
	}
	else
	{
		$pid = pid_of($load, $whom);
	}
	return 0 unless defined $pid;
	$load->control->ask("SELECT pg_${how}_backend($pid)");
	$done->{"$how $whom"}++;
	return 1;
}

# Let the clients of a load work until disturb has succeeded the wanted number of
# times; disturb gets the load and a table to count in, and returns success.
# calm, if given, gets the same, and is called before the laws are checked.
sub disturb_crowd
{
	my ($load, $name, $wanted, $disturb, $calm) = @_;
	my $started = time;
	my ($sent, %done) = (0);

	while ($sent < $wanted)
	{
		my $part = $wanted - $sent < 1000 ? $wanted : $sent + 1000;
		my $next = 0;

		$load->open_sessions;
		$load->work(
			sub {
				return $sent >= $part if time < $next;
				$next = time + rand(0.02);
				$sent += $disturb->($load, \%done);
				return $sent >= $part;
			}, 1);
		$load->finish(120);
		$calm->($load, \%done) if $calm;
		$load->check;
		$load->ask_again(200);
		$load->check_life;
		$load->close_sale;
		tell_findings($load, "after $sent $name");
		diag(sprintf('%s: %d of %d, %d sold, %d unknown, %d s',
				$name, $sent, $wanted, @{ $load->{count} }{qw(sold unknown)}, time - $started));
		$load->restart_sale;
	}
	diag(sprintf('%-24s %10d', $_, $done{$_})) foreach sort keys %done;
	report($load, $name);
	return;
}

sub torture_interrupts
{
	my (%params) = @_;

	seed();
	my $node = torture_node('interrupts');
	my $load = TortureLoad->new($node, clients => $params{clients} // 64, timeouts => 1);
	disturb_crowd($load, 'interrupts', $params{interrupts}, \&interrupt);
	$node->stop;
	return;
}

#
# Seats
#

# Bookings of seats by many clients, until so many calls are answered, with a crash
# every few seconds, and interrupts.
sub torture_seats
{
	my (%params) = @_;
	my $started = time;
	my ($cycle, $sale_began, %done) = (0, 0);

	seed();
	TortureSeats::use_trains(@{ $params{trains} });
	my $node = torture_node('seats', conf => "seckill.queue_batch = 200\n");
	my $load = TortureLoad->new($node, clients => $params{clients}, seats => 1);
	my $count = $load->{count};
	until ($count->{calls} >= $params{calls})
	{
		my $kind = eval { crash_cycle($load, $params{seconds}) };

		die $@ if $@ eq "interrupted\n";
		$cycle++;
		$load->finding("cycle $cycle: $@") unless defined $kind;
		$done{ $kind // 'failed' }++;
		tell_findings($load, "in cycle $cycle, " . ($kind // 'failed'));
		last unless defined $kind;
		next if $count->{calls} - $sale_began < $params{sale} && $count->{calls} < $params{calls};
		$load->close_sale;
		tell_findings($load, "at the end of a sale, cycle $cycle");
		diag(sprintf('seats: %d of %d calls, %d crashes, %d s', $count->{calls}, $params{calls}, $cycle, time - $started));
		$load->restart_sale;
		$sale_began = $count->{calls};
	}
	diag(sprintf('%-24s %10d', $_, $done{$_})) foreach sort keys %done;
	report($load, 'seats');
	$node->stop;
	return;
}

1;
