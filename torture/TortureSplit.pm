# A sale that is split over three nodes, whose servers and processes are killed,
# frozen and cut off from each other.
package TortureSplit;

use strict;
use warnings;
use Exporter 'import';
use Time::HiRes qw(time sleep);
use TortureParts 'seed';
use TortureSplitSale qw(pick processes start_again);

our @EXPORT = qw(torture_split);
our @EXPORT_OK = qw(arm);

# Fault points of exchanges, with the process that passes them: the share worker, or
# the session that serves one of another node.
my %steps = (
	'units given' => 'session', 'promise made' => 'both', 'answer applied' => 'both', 'share locked' => 'both',
	'ask begun' => 'worker', 'task done' => 'worker', 'ask ended' => 'worker');

sub freeze
{
	my ($self, $node, @pids) = @_;
	my $time = 0.05 + rand 0.9;

	return if !@pids;
	kill STOP => @pids;
	$self->in_background($node, sub { sleep $time; kill CONT => @pids });
	return;
}

# Arm a fault; a session that serves another node is known by its query.
sub arm
{
	my ($self, $node) = @_;
	my $step = pick(keys %steps);
	my $who = $steps{$step} eq 'both' ? pick('session', 'worker') : $steps{$step};
	my $action = pick($step eq 'ask ended' ? () : 'error', 'late', 'kill');
	my $victim = $who eq 'worker' ? "'seckill share worker'"
	  : q{(SELECT pid::text FROM pg_stat_activity WHERE query LIKE '%seckill_sync%' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1)};

	$self->on_node($node, "SELECT fault_arm($victim, '$step', " . (1 + int rand 3) . ", '$action')");
	$self->{armed}{"$step, $who, $action"}++;
	return;
}

sub terminate
{
	my ($self, $node, $which) = @_;
	return $self->on_node($node, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE $which");
}

my %disturbances = (
	'immediate stop' => sub { my ($self, $node) = @_; $self->in_background($node, sub { $node->stop('immediate', fail_ok => 1); start_again($node) }) },
	'kill -9' => sub { my ($self, $node) = @_; $self->in_background($node, sub { $node->kill9; start_again($node) }) },
	'crash of a process' => sub { my ($self, $node) = @_; my @pids = processes($node, qr/postgres: /); kill KILL => pick(@pids) if @pids },
	'frozen server' => sub { my ($self, $node) = @_; freeze($self, $node, processes($node)) },
	'frozen share worker' => sub { my ($self, $node) = @_; freeze($self, $node, processes($node, qr/seckill share worker/)) },
	'share worker ended' => sub { terminate(@_, q{backend_type = 'seckill share worker'}) },
	'connection cut' => sub { terminate(@_, q{query LIKE '%seckill_sync%' AND pid <> pg_backend_pid()}) },
	'fault' => \&arm);

sub disturb
{
	my ($self) = @_;
	my %away = map { ($_->name => 1) } values %{ $self->{children} };
	my @there = grep { !$away{ $_->name } } @{ $self->{nodes} };
	my $what = rand() < 0.4 ? 'fault' : pick(keys %disturbances);

	return if !@there;
	$self->{disturbed}{$what}++;
	$disturbances{$what}->($self, pick(@there));
	return;
}


# seconds of the sale, number of sessions of each node, whether an item has numbered units
sub torture_split
{
	my (%params) = @_;
	my $end;
	my $round = 0;

	seed();
	my $self = TortureSplitSale->new(name => 'node', clients => $params{clients}, numbered => $params{numbered});
	$end = time + $params{seconds};
	while (time < $end)
	{
		$self->work(0.3);
		$self->reap;
		disturb($self) if $round % 4 != 3;
		next if $round++ % 4 != 1;
		# all nodes must be there
		for (1 .. 20)
		{
			$self->reap;
			last if !%{ $self->{children} } && $self->audit;
			$self->work(0.1);
		}
	}
	$self->end;
	return;
}

1;
