# Failovers of the nodes of a split sale: the home or another node fails in the middle of it,
# at times both, and their standbys take over.  With synchronous standbys nothing may be lost.  With
# asynchronous ones the log of the crowd, which is outside the servers, tells what was
# lost: it must be the last that the node has answered, and the books of the other
# nodes must be right without it.  What was sold from lost units is in seckill.shortfalls,
# to the unit: at the end of the sale as many are sold as were supplied, and those.
package TortureSplitFailover;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use TortureFaults 'install_faulty';
use TortureParts 'seed';
use TortureSplit 'arm';
use TortureSplitSale qw(pick processes);

our @EXPORT = qw(torture_split_failover);

# How the primary ends.  "alive": its standby is promoted before that, and the synchronous standby
# that it lacks then keeps it from changing anything.
my %ends = (kill => 'KILL', immediate => 'QUIT', fast => 'INT');

# How an asynchronous standby falls behind.
my @lags = qw(cut freeze cut none cut);

my $standbys = 0;


#
# Standbys
#

sub make_standby
{
	my ($self, $n, $synchronous) = @_;
	my $primary = $self->{nodes}[ $n - 1 ];
	my $standby = PostgreSQL::Test::Cluster->new("node${n}_" . ++$standbys, install_path => install_faulty());

	$self->during(
		$standby,
		'pg_basebackup',
		sub {
			system_or_bail('pg_basebackup', '-D', $standby->data_dir, '-h', $primary->host, '-p', $primary->port, '--checkpoint', 'fast', '--no-sync');
			$standby->append_conf('postgresql.conf', 'port = ' . $standby->port . "\nunix_socket_directories = '" . $standby->host . "'");
			$standby->enable_streaming($primary);
			$standby->start;
		});
	set_synchronous($self, $n, '*') if $synchronous;
	await($self, $primary, $synchronous ? "sync_state = 'sync'" : "state = 'streaming'");
	check_silence($self, $standby);
	return $standby;
}

sub set_synchronous
{
	my ($self, $n, $names) = @_;

	$self->{nodes}[ $n - 1 ]->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '$names'");
	$self->{nodes}[ $n - 1 ]->reload;
	return;
}

# Wait for a primary's standby, which starts at its own pace; the primary may be at a restart after a fault.
sub await
{
	my ($self, $primary, $state) = @_;
	my $end = time + 120;

	for (;;)
	{
		my $got = $self->on_node($primary, "SELECT count(*) FROM pg_stat_replication WHERE $state");

		return if $got && $got->[0][0] == 1;
		die "the standby does not stream\n" if time > $end;
		$self->work(0.1);
	}
}

# What a standby is asked about a split item, before it has been promoted, must not count
# as the silence in which promises of its primary pass.
sub check_silence
{
	my ($self, $standby) = @_;
	my $got = $self->on_node($standby, 'SELECT bool_and(s.silent) FROM seckill.items i, seckill_share_state(i.item_id) s');

	$self->finding('a standby has begun its silence') if $got && $got->[0][0] ne 't';
	return;
}

# Have an asynchronous standby fall behind; returns what undoes that when it is promoted.
sub lag
{
	my ($self, $standby, $lag) = @_;
	my $pid;

	if ($lag eq 'cut')
	{
		$standby->safe_psql('postgres', "ALTER SYSTEM SET primary_conninfo = ''");
		$standby->reload;
	}
	elsif ($lag eq 'freeze')
	{
		$pid = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
		kill STOP => $pid if $pid;
	}
	return sub { kill CONT => $pid if $pid };
}


#
# Failover
#

# End a primary; no process of it is left.
sub end_primary
{
	my ($self, $v, $end) = @_;
	my $node = $v->{old};
	my $until = time + 120;
	my @pids;

	# a process that has crashed may be starting the server anew
	$node->_update_pid(-1);
	@pids = processes($node);
	kill $ends{$end} => $node->{_pid};
	$v->{wake}->();
	while (@pids = grep { kill 0 => $_ } @pids)
	{
		die $node->name . " does not end\n" if time > $until;
		sleep 0.01;
	}
	$node->{_pid} = undef;
	return;
}

# The primaries of these nodes end, each in its way, and their standbys are promoted.
sub replace
{
	my ($self, $end, $victims) = @_;

	foreach my $v (@$victims)
	{
		arm($self, $v->{old}) if rand() < 0.5;
	}
	$self->work(rand 0.3);
	foreach my $v (@$victims)
	{
		my $standby = $v->{standby};
		my $promote = sub { $standby->promote };

		check_silence($self, $standby);
		if ($v->{alive})
		{
			$self->during($standby, 'the promotion', $promote);
			$self->work(rand 0.3);
			end_primary($self, $v, $end);
		}
		else
		{
			end_primary($self, $v, $end);
			$self->work(rand 0.1);
			$self->during($standby, 'the promotion', $promote);
		}
		$self->{nodes}[ $v->{n} - 1 ] = $standby;
		tell_addresses($self, $v->{n});
	}
	return;
}

# All nodes learn the new address of one, and it learns those of all: it may have lost them.
sub tell_addresses
{
	my ($self, $n) = @_;
	my @nodes = @{ $self->{nodes} };

	foreach my $i (1 .. 3)
	{
		foreach my $j (grep { $_ != $i && ($i == $n || $_ == $n) } 1 .. 3)
		{
			my $end = time + 120;

			until ($self->on_node($nodes[ $i - 1 ],
					"UPDATE seckill.nodes SET server = \$\$${\$nodes[ $j - 1 ]->connstr('postgres')}\$\$ WHERE node_no = $j RETURNING 1"))
			{
				# at the same time another one fails
				last if $self->{failing}{$i};
				die "node $i is not there\n" if time > $end;
				$self->work(0.1);
			}
		}
	}
	return;
}

# Open a promoted node.
sub open_node
{
	my ($self, $v, $how) = @_;
	my $node = $self->{nodes}[ $v->{n} - 1 ];
	my $end = time + 120;

	until ($self->on_node($node, $how))
	{
		if (time > $end)
		{
			my (undef, undef, $error) = $node->psql('postgres', $how);

			die "node $v->{n} cannot be opened: $error\n";
		}
		$self->work(0.1);
	}
	# it is silent for a while yet
	$v->{opened} = time + 0.25;
	return;
}


#
# What was lost
#

# Compare the log of the crowd with a node that was promoted.  Forget what was lost, for
# the law of "sold_out", too: until the node was opened, the units were not free.
sub forget_lost
{
	my ($self, $v, $synchronous) = @_;
	my $node = $self->{nodes}[ $v->{n} - 1 ];
	my %there = map { my ($id, @order) = split /\|/; ($id => \@order) }
	  split /\n/, $node->safe_psql('postgres', 'SELECT order_id, state, request_id FROM seckill.orders');
	my %request = map { ($_->[1] => 1) } values %there;
	my ($kept, $lost) = ([ 0, 'nothing' ], [ 9e99, 'nothing' ]);
	my %lost = (orders => 0, cancels => 0, restocks => 0);

	# commits of one node are lost from a moment on
	my $judge = sub {
		my ($what, $is_there, $sent, $told) = @_;

		$kept = [ $sent, $what ] if $is_there && $sent > $kept->[0];
		$lost = [ $told, $what ] if !$is_there && $told < $lost->[0];
		$lost{$what}++ if !$is_there;
		return $is_there;
	};

	foreach my $id (grep { $_ >> 40 == $v->{n} } keys %{ $self->{sold} })
	{
		my $call = $self->{sold}{$id};
		my $from = $self->{first}{ $call->{request} };

		next if $judge->('orders', exists $there{$id}, $from, $call->{told});
		push @{ $self->{gone} }, { %$call, from => $from, to => $v->{opened} };
		delete $self->{$_}{$id} foreach qw(sold freed cancelled);
		delete $self->{live}{ $v->{n} }{$id};
	}
	# a purchase without an answer may have had units, too
	foreach my $call (values %{ $self->{unanswered}{ $v->{n} } })
	{
		push @{ $self->{gone} }, { %$call, from => $self->{first}{ $call->{request} }, to => $v->{opened} }
		  if !$request{ $call->{request} };
	}
	foreach my $id (grep { $_ >> 40 == $v->{n} } keys %{ $self->{cancelled} })
	{
		my $call = $self->{cancelled}{$id};

		next if $judge->('cancels', $there{$id}[0] eq 'cancelled', @$call{qw(from told)});
		$self->{live}{ $v->{n} }{$id} = $self->{sold}{$id} if $self->{sold}{$id};
		delete $self->{$_}{$id} foreach qw(cancelled first_cancel);
	}
	foreach my $id (grep { $_ >> 40 == $v->{n} } keys %{ $self->{freed} })
	{
		delete $self->{freed}{$id} if !$there{$id} || $there{$id}[0] !~ /^(?:cancelled|expired)$/;
	}
	forget_restocks($self, $judge, $node) if $v->{n} == 1;
	$self->{count}{"lost $_"} += $lost{$_} foreach keys %lost;
	$self->finding("node $v->{n} has lost $lost->[1], told at $lost->[0], and has kept $kept->[1] that were asked for later, at $kept->[0]")
	  if $lost->[0] < $kept->[0];
	$self->finding("node $v->{n} has lost: " . join(', ', map { "$lost{$_} $_" } sort keys %lost))
	  if $synchronous && grep { $_ } values %lost;
	return;
}

sub forget_restocks
{
	my ($self, $judge, $node) = @_;
	my %there = map { ($_ => 1) } split /\n/, $node->safe_psql('postgres', 'SELECT id FROM public.restocks');

	foreach my $list (values %{ $self->{supplied} })
	{
		@$list = grep { $judge->('restocks', exists $there{ $_->[3] }, $_->[2], $_->[0]) } @$list;
	}
	return;
}

# Units that were sold and were not there.
sub read_shortfalls
{
	my ($self, $synchronous) = @_;
	my %short;

	foreach my $node (@{ $self->{nodes} })
	{
		my $end = time + 120;
		my $rows;

		until ($rows = $self->on_node($node, 'SELECT item_id, units FROM seckill.shortfalls'))
		{
			die "a node is not there\n" if time > $end;
			$self->work(0.1);
		}
		$short{ $_->[0] } += $_->[1] foreach @$rows;
	}
	$self->{short} = \%short;
	$self->finding('a shortfall, with synchronous standbys') if $synchronous && %short;
	return;
}


#
# Rounds
#

sub failover_round
{
	my ($self, $synchronous, $round, @numbers) = @_;
	my @victims = map { { n => $_, old => $self->{nodes}[ $_ - 1 ], wake => sub { } } } @numbers;
	my $end = pick(keys %ends);
	my $rejoin = !$synchronous || rand() < 0.3;

	$_->{standby} = make_standby($self, $_->{n}, $synchronous) foreach @victims;
	$self->work(0.2 + rand 0.5);
	foreach my $v (@victims)
	{
		my $lag = $synchronous ? 'none' : $lags[ ($round - 1) % @lags ];

		$v->{wake} = lag($self, $v->{standby}, $lag);
		$v->{alive} = $synchronous && @victims == 1 && rand() < 0.3;
		$self->{disturbed}{ $synchronous ? 'synchronous' : "asynchronous, $lag" }++;
		$self->{disturbed}{ "primary: " . ($v->{alive} ? 'alive' : $end) }++;
		$self->{disturbed}{ $v->{n} == 1 ? 'home' : 'another node' }++;
	}
	$self->work(0.1 + rand 0.6) if !$synchronous;
	$self->{failing} = { map { ($_ => 1) } @numbers };
	replace($self, $end, \@victims);
	$self->{failing} = {};
	tell_addresses($self, $_->{n}) foreach @victims;
	$self->{disturbed}{ $rejoin ? 'opened by seckill_rejoin()' : 'opened by seckill_reopen()' }++;
	foreach my $v (rand() < 0.5 ? @victims : reverse @victims)
	{
		open_node($self, $v, $rejoin ? 'CALL seckill_rejoin()' : 'SELECT seckill_reopen()');
	}
	foreach my $v (@victims)
	{
		$self->{nodes}[ $v->{n} - 1 ]->safe_psql('postgres', 'ALTER SYSTEM RESET primary_conninfo');
		forget_lost($self, $v, $synchronous);
		$v->{old}->clean_node;
	}
	read_shortfalls($self, $synchronous);
	return;
}

# The audit must be right, and all nodes open.  Where calls of the audit take long, something is
# sold between any two of its readings: the crowd is held back then.
sub check_round
{
	my ($self) = @_;
	my $begin = time;
	my ($agree, $took);

	do
	{
		my $hold_back = time > $begin + 10;

		sleep 0.1 if $hold_back;
		$self->work(0.1, $hold_back);
		my @states = map { $self->on_node($_, 'SELECT state FROM seckill_node()') } @{ $self->{nodes} };
		my $verdicts = $self->audit;

		$took = time - $begin;
		$agree = $verdicts && !grep({ !$_ || $_->[0][0] ne 'open' } @states) && !grep { $_->[5] eq 'moving' } @$verdicts;
	} until $agree || $took > 120;
	$self->finding('the nodes do not agree after a failover') if !$agree;
	return;
}

sub failover_rounds
{
	my ($self, $synchronous, $rounds) = @_;
	my $name = $synchronous ? 'synchronous' : 'asynchronous';

	foreach my $round (1 .. $rounds)
	{
		# home, another node, home, the other one; now and then two
		my @numbers = $round % 2 ? 1 : 2 + $round / 2 % 2;

		@numbers = (1, 2 + int rand 2) if $round % 7 == 0;
		if (!eval { failover_round($self, $synchronous, $round, @numbers); check_round($self); 1 })
		{
			die $@ if $@ eq "interrupted\n";
			$self->finding("$name round $round, node @numbers: $@");
		}
		diag("$name: $round of $rounds rounds") if $round % 10 == 0;
		last if @{ $self->{findings} };
	}
	return;
}

# rounds with synchronous and asynchronous standbys, number of sessions of each node
sub torture_split_failover
{
	my (%params) = @_;

	seed();
	foreach my $kind (qw(synchronous asynchronous))
	{
		next if !$params{$kind};
		my $self = TortureSplitSale->new(name => substr($kind, 0, 1) . 'node', clients => $params{clients}, streaming => 1);

		failover_rounds($self, $kind eq 'synchronous', $params{$kind});
		$self->end;
		diag("$kind: shortfalls of item $_: $self->{short}{$_}") foreach sort keys %{ $self->{short} };
	}
	return;
}

1;
