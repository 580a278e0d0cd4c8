# Failover: the primary fails during a sale, its standby is promoted, and the
# clients connect to it; then the next standby is made.  With a synchronous standby
# no answer may be lost.  With an asynchronous one, the lost transactions must be
# exactly those at the end of the primary's WAL.
package TortureFailover;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use TortureLoad;
use TortureParts qw(seed torture_node report tell_findings pid_of);
use TortureShop;

our @EXPORT = qw(torture_failover);

# How the primary ends.  "alive": the standby is promoted before that.
my @ends = qw(kill immediate fast alive);

# Strikes against processes of the extension just before the failover.
my @states = qw(none none terminate_queue_worker terminate_maintenance_worker
  freeze_queue_worker freeze_maintenance_worker);

# How an asynchronous standby falls behind.
my @lags = qw(none cut walsender pause freeze);

#
# Nodes
#

my $nodes = 0;

# Make a standby, now and then while the crowd works.
sub make_standby
{
	my ($load) = @_;
	my $primary = $load->{node};
	my $standby = PostgreSQL::Test::Cluster->new('node' . ++$nodes);
	my @command = ('pg_basebackup', '-D', $standby->data_dir, '-h', $primary->host, '-p',
		$primary->port, '--checkpoint', 'fast', '--no-sync');
	my $out = '';
	my $run = IPC::Run::start(\@command, '>&', \$out);

	if (rand() < 0.3)
	{
		$load->open_sessions;
		$load->work(sub { $run->pump_nb; !$run->pumpable });
	}
	$run->finish or die "pg_basebackup: $out\n";
	$standby->append_conf('postgresql.conf',
		'port = ' . $standby->port . "\nunix_socket_directories = '" . $standby->host . "'");
	$standby->enable_streaming($primary);
	$standby->start;
	await($load->control, 'the standby to stream',
		"SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
	return $standby;
}

# Wait until a query answers true.
sub await
{
	my ($session, $what, $sql) = @_;
	my $end = time + 120;

	until ($session->value($sql) eq 't')
	{
		die "waited too long for $what\n" if time > $end;
		sleep 0.02;
	}
	return;
}

# Switch synchronous replication on or off.
sub set_synchronous
{
	my ($load, $names) = @_;
	my $control = $load->control;

	$control->ask("ALTER SYSTEM SET synchronous_standby_names = '$names'");
	$control->ask('SELECT pg_reload_conf()');
	return if $names eq '';
	await($control, 'the standby to be synchronous',
		"SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'");

	# it is the checkpointer who tells the others
	$control->ask('CHECKPOINT');
	return;
}

# The server has ended; its processes may take a moment.
sub note_end
{
	my ($node, $pid) = @_;
	my $end = time + 120;

	while (kill(0, $pid))
	{
		die 'the server does not end: ' . $node->name . "\n" if time > $end;
		sleep 0.02;
	}
	$node->{_pid} = undef;
	return;
}

#
# Strikes
#

# Strike a process of the extension.  Returns the pid to continue afterwards.
sub disturb
{
	my ($load, $state) = @_;
	my ($how, $whom) = split(/_/, $state, 2);
	my $pid = defined $whom ? pid_of($load, $whom) : undef;
	my $end = time + rand(0.1);

	return unless defined $pid;
	kill($how eq 'freeze' ? 'STOP' : 'TERM', $pid);
	$load->work(sub { time > $end });
	return $how eq 'freeze' ? $pid : undef;
}

# Make the standby fall behind.  Returns the pid to continue afterwards.
sub lag
{
	my ($load, $standby, $lag) = @_;
	my $pid;
	my $next = 0;
	my $end = time + rand(0.6);
	my $cut = $lag eq 'walsender' ? 'SELECT pg_terminate_backend(pid) FROM pg_stat_replication' : 'SELECT';

	if ($lag eq 'cut')
	{
		$standby->safe_psql('postgres', "ALTER SYSTEM SET primary_conninfo = ''");
		$standby->reload;
	}
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()') if $lag eq 'pause';
	if ($lag eq 'freeze')
	{
		$pid = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
		kill('STOP', $pid) if $pid;
	}
	$load->work(
		sub {
			return 1 if time > $end;
			return 0 if time < $next;
			$next = time + rand(0.1);
			$load->control->ask($cut);
			return 0;
		});
	return $pid || undef;
}

sub promote
{
	my ($standby, $times) = @_;
	my $started = time;

	$standby->promote;
	push @$times, time - $started;
	return;
}

# Stop the primary and promote the standby, in either order; the clients notice
# when their sessions are lost.
sub fail_over
{
	my ($load, $standby, $end, $frozen, $times) = @_;
	my $old = $load->{node};
	my $pid = $old->{_pid};
	my %signal = (kill => 'KILL', immediate => 'QUIT', fast => 'INT');
	my $how = $end eq 'alive' ? (qw(kill immediate fast))[ rand 3 ] : $end;
	my $wake = sub { kill('CONT', $_) foreach grep { defined $_ } @$frozen };
	my $until = time + rand(0.1);

	$load->work(sub { time > $until });
	if ($end eq 'alive')
	{
		$wake->();
		promote($standby, $times);
		$until = time + rand(0.3);
		$load->work(sub { time > $until });
	}
	kill($signal{$how}, $pid);
	$wake->();
	if ($end ne 'alive' && rand() < 0.5)
	{
		promote($standby, $times);
		$load->lose(120);
	}
	else
	{
		$load->lose(120);
		promote($standby, $times) unless $end eq 'alive';
	}
	note_end($old, $pid);
	return;
}

#
# Lost transactions
#

# Triggers log each change of an order and of the supply, with its transaction and
# server.
sub keep_history
{
	my ($load) = @_;

	$load->control->ask(<<'EOC');
CREATE TABLE public.history (n bigint GENERATED ALWAYS AS IDENTITY,
	node text DEFAULT current_setting('cluster_name'), xid xid8 DEFAULT pg_current_xact_id(),
	item_id bigint, order_id bigint, what text, units integer);
CREATE FUNCTION public.note_order() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	INSERT INTO public.history (item_id, order_id, what, units)
	VALUES (NEW.item_id, NEW.order_id, concat_ws(' ', NEW.user_id, NEW.request_id, NEW.state), NEW.quantity);
	RETURN NULL;
END $$;
CREATE FUNCTION public.note_supply() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	INSERT INTO public.history (item_id, units) VALUES (NEW.item_id, NEW.supplied - OLD.supplied);
	RETURN NULL;
END $$;
CREATE TRIGGER history AFTER INSERT OR UPDATE ON seckill.orders
	FOR EACH ROW EXECUTE FUNCTION public.note_order();
CREATE TRIGGER history AFTER UPDATE ON seckill.items
	FOR EACH ROW WHEN (OLD.supplied <> NEW.supplied) EXECUTE FUNCTION public.note_supply()
EOC
	return;
}

# Check that the log agrees with the tables.
sub check_history
{
	my ($load) = @_;

	$load->finding('on ' . $load->{node}->name . ", order $_->[1] of item $_->[0] is not as its history says")
	  foreach @{ $load->control->ask(<<'EOC') };
SELECT item_id, order_id
FROM (SELECT DISTINCT ON (item_id, order_id) * FROM public.history WHERE order_id IS NOT NULL
	ORDER BY item_id, order_id, n DESC) h
FULL JOIN seckill.orders o USING (item_id, order_id)
WHERE (h.what, h.units) IS DISTINCT FROM (concat_ws(' ', o.user_id, o.request_id, o.state), o.quantity)
EOC
	foreach my $row (@{ $load->control->ask(<<'EOC') })
SELECT item_id, supplied, coalesce((SELECT sum(units) FROM public.history h WHERE h.item_id = i.item_id AND order_id IS NULL), 0)
FROM seckill.items i
EOC
	{
		my ($item, $supplied, $restocked) = @$row;

		$load->finding('on ' . $load->{node}->name . ", item $item: $supplied supplied, $restocked restocked")
		  if $supplied != TortureLoad->first_stock($item) + $restocked;
		$load->{supply}{$item} = [ $supplied, $supplied ];
	}
	return;
}

# The changes made on a server, according to the log of the current server.
sub read_history
{
	my ($load, $name) = @_;
	return $load->control->ask(<<"EOC");
SELECT n, xid, item_id, order_id, what, units FROM public.history WHERE node = '$name' ORDER BY n
EOC
}

sub lsn
{
	my ($text) = @_;
	my ($high, $low) = split(m{/}, $text);
	return hex($high) * 2**32 + hex($low);
}

# Timeline of a promoted server, and the position at which it forked.
sub timeline
{
	my ($node) = @_;
	my ($newest) = reverse sort glob($node->data_dir . '/pg_wal/*.history');

	return (1, undef) unless defined $newest;
	my @lines = grep { /^\d/ } split(/\n/, slurp_file($newest));
	my ($file) = $newest =~ /([0-9A-F]+)\.history$/;
	return (hex($file), (split(/\s+/, $lines[-1]))[1]);
}

# The WAL position of each commit of a stopped server.
sub read_commits
{
	my ($node, $from) = @_;
	my ($timeline) = timeline($node);
	my ($out, $err) = ('', '');
	my %commit;

	# it ends with an error at the end of the WAL
	IPC::Run::run([ 'pg_waldump', '-p', $node->data_dir . '/pg_wal', '-t', $timeline,
			'-s', $from, '-r', 'Transaction' ], '>', \$out, '2>', \$err);
	while ($out =~ /tx:\s+(\d+), lsn: ([0-9A-F\/]+),.*desc: COMMIT(?:_PREPARED (\d+))?/g)
	{
		$commit{ $3 // $1 } = lsn($2);
	}
	die "no commits in the WAL: $err\n" unless %commit;
	return \%commit;
}

# Restart the old primary without clients and compare: the new primary has exactly
# the transactions committed before it forked from the old WAL.  Drop the answers
# of later transactions from the log of the clients.
sub check_suffix
{
	my ($load, $old, $new, $from, $done) = @_;
	my $commits = read_commits($old, $from);
	my (undef, $left) = timeline($new);
	my (%kept, %lost, %moves, %state);

	$old->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$old->start;
	$load->move_to($old);
	$load->check;
	check_history($load);
	foreach my $row (@{ read_history($load, $old->name) })
	{
		my ($n, $xid, $item, $order, $what) = @$row;
		my $at = $commits->{$xid};
		my ($state) = defined $order ? $what =~ /(\w+)$/ : ();

		$load->finding("transaction $xid has no commit in the WAL") unless defined $at;
		$done->{changes}++;
		if (defined $at && $at < lsn($left))
		{
			$kept{$n} = join(' ', map { $_ // '' } @$row);
			$state{$order} = $state if defined $order;
			next;
		}
		$done->{'changes lost'}++;
		next unless defined $order;
		if (!exists $state{$order} && !$load->{before}{$order})
		{
			my ($user) = split(/ /, $what);

			$lost{$order} = 1;
			$load->{deals}{$user}{answer} = 'none' if exists $load->{deals}{$user};
		}
		$moves{$order} = $state{$order} // $load->{before}{$order};
	}
	$old->stop('immediate');
	$load->move_to($new);
	$done->{'orders lost'} += keys %lost;
	$done->{'of these told'} += $load->forget(\%lost, \%moves);
	compare_history($load, $old->name, \%kept);
	check_history($load);
	return;
}

sub compare_history
{
	my ($load, $name, $kept) = @_;

	foreach my $row (@{ read_history($load, $name) })
	{
		my $want = delete $kept->{ $row->[0] } // 'nothing';
		my $have = join(' ', map { $_ // '' } @$row);

		$load->finding("the new primary has: $have, should have: $want") if $have ne $want;
	}
	$load->finding("the new primary has not: $_") foreach values %$kept;
	return;
}

#
# Rounds
#

# Measure how long a promoted server takes to recover by itself.
sub settle
{
	my ($load, $times) = @_;
	my $started = time;

	$load->check_life;
	push @$times, time - $started;
	return;
}

sub failover_round
{
	my ($load, $kind, $done) = @_;
	my $old = $load->{node};
	my $from = (timeline($old))[1] // $load->control->value('SELECT pg_current_wal_insert_lsn()');
	my $standby = make_standby($load);
	my ($state, $end) = ($states[ rand @states ], $ends[ rand @ends ]);
	my $lag = $kind eq 'asynchronous' ? $lags[ rand @lags ] : 'none';
	my $until = time + 0.1 + rand(0.5);

	set_synchronous($load, '*') if $kind eq 'synchronous';
	$load->open_sessions;
	$load->work(sub { time > $until });
	my @frozen = (lag($load, $standby, $lag), disturb($load, $state));
	fail_over($load, $standby, $end, \@frozen, $done->{promotion});
	$done->{$_}++ foreach "primary: $end", "process: $state", $kind eq 'asynchronous' ? "standby: $lag" : ();
	$load->check_log;
	$load->move_to($standby);
	TortureShop::roll_back_prepared($load);
	set_synchronous($load, '') if $kind eq 'synchronous';

	# of a standby that was cut off; the next one would have it, too
	$load->control->ask('ALTER SYSTEM RESET primary_conninfo') if $lag eq 'cut';
	settle($load, $done->{settle});
	check_suffix($load, $old, $standby, $from, $done) if $kind eq 'asynchronous';
	$load->check;
	$load->ask_again($kind eq 'asynchronous' ? 12 : 6);
	remember_orders($load) if $kind eq 'asynchronous';
	$old->clean_node;
	return "$end, $state, $lag";
}

# The states of all orders that a server has inherited.
sub remember_orders
{
	my ($load) = @_;
	$load->{before} = { map { @$_ } @{ $load->control->ask('SELECT order_id, state FROM seckill.orders') } };
	return;
}

sub start_sale
{
	my ($load, $kind) = @_;

	$load->control->ask('TRUNCATE public.history') if $kind eq 'asynchronous';
	$load->restart_sale;
	$load->{before} = {};
	return;
}

sub failover_rounds
{
	my ($load, $kind, $rounds) = @_;
	my $sold = $load->{count}{sold};
	my $started = time;
	my %done = (promotion => [], settle => []);

	foreach my $round (1 .. $rounds)
	{
		my $what = eval { failover_round($load, $kind, \%done) };

		die $@ if $@ eq "interrupted\n";
		$load->finding("$kind round $round: $@") unless defined $what;
		tell_findings($load, "in $kind round $round, " . ($what // 'failed'));
		return unless defined $what;
		diag(sprintf('failover: %d of %d %s rounds, %d sold, %d s', $round, $rounds, $kind,
				$load->{count}{sold} - $sold, time - $started))
		  if $round % 10 == 0;
		next unless $round % 5 == 0 || $round == $rounds;
		$load->close_sale;
		tell_findings($load, "at the end of a sale, $kind round $round");
		start_sale($load, $kind);
	}
	report_rounds(\%done, $kind, $rounds, $load->{count}{sold} - $sold);
	return;
}

sub report_rounds
{
	my ($done, $kind, $rounds, $sold) = @_;

	diag(sprintf('%-24s %10d', "$kind rounds", $rounds));
	diag(sprintf('%-24s %10d', 'answered sold', $sold));
	foreach my $what (qw(promotion settle))
	{
		my @times = sort { $a <=> $b } @{ $done->{$what} };

		diag(sprintf('%-24s %10.2f s, at most %.2f s', "$what, median", $times[ @times / 2 ], $times[-1]));
	}
	diag(sprintf('%-24s %10d', $_, $done->{$_})) foreach grep { !ref $done->{$_} } sort keys %$done;
	return;
}

# So many rounds of each kind.
sub torture_failover
{
	my (%params) = @_;

	seed();
	# nothing here ends the operating system
	my $node = torture_node('node0', streaming => 1, conf => <<'EOC');
shared_buffers = 32MB
wal_keep_size = 512MB
wal_receiver_status_interval = 1s
fsync = off
EOC
	my $load = TortureLoad->new($node, clients => $params{clients} // 64);

	failover_rounds($load, 'synchronous', $params{synchronous}) if $params{synchronous};
	if ($params{asynchronous} && !@{ $load->{findings} })
	{
		keep_history($load);
		start_sale($load, 'asynchronous');
		failover_rounds($load, 'asynchronous', $params{asynchronous});
	}
	report($load, 'failover');
	$load->{node}->stop;
	return;
}

1;
