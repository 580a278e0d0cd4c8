# A sale that is split over three nodes: the crowd, and the laws that the sale must
# obey, whatever happens to the servers.
#
# One process is the crowd.  Its log of calls and answers, with their times, is
# outside the servers.  The build has fault points, see src/base/fault.h.
#
# "sold_out" is checked by that log.  A unit is surely not sold at a time if it was
# supplied by an answer before, and is in no order, as far as can be: an order has
# its units from the beginning of the first call with its request, until a cancel of
# it was answered, or it was seen to have expired.  Calls that have made no order
# have had no unit for good.  So if that number was not less than what a call has
# asked for, from its beginning to its answer, then "sold_out" was not true.
package TortureSplitSale;

use strict;
use warnings;
use Exporter 'import';
use ClusterTest;
use Digest::MD5 'md5_hex';
use Digest::SHA 'sha256';
use IO::Select;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use TortureFaults qw(install_faulty make_fault_functions);
use TortureSession;

our @EXPORT_OK = qw(pick processes start_again);

my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

# What a sale is to show.  Servers of a debug build may take longer for a round of calls than the
# 200 ms for which a node promises that nothing appears: during the crowd they answer "busy" then.
my @wanted = ('buy sold', 'cancel cancelled', $ENV{SECKILL_SLOWNESS} ? () : 'buy sold_out');

# stock, limit and pay_within of each item; with numbered, there is a third one, whose
# units have numbers and codes
my @numbered = (30, 'NULL', "'900 ms'");
my %items = (1 => [ 40, 3, "'600 ms'" ], 2 => [ 30, 'NULL', 'NULL' ]);

# The node that sells to a user: 1, 2 or 3.
sub node_of
{
	my ($user) = @_;
	return 1 + int(ord(sha256(pack 'q>', $user)) * 3 / 256);
}

sub pick { return $_[ rand @_ ] }

sub new_node
{
	my ($name, $streaming) = @_;
	my $node = cluster_node($name, install_path => install_faulty(), streaming => $streaming, conf => <<'EOC');
restart_after_crash = on
log_min_error_statement = panic
log_statement = none
deadlock_timeout = 100ms
seckill.lease_units = 4
seckill.hot_rate = 20
seckill.move_wait = '300ms'
wal_retrieve_retry_interval = 100ms
EOC

	make_fault_functions($node);
	return $node;
}

sub finding
{
	my ($self, $text) = @_;
	push @{ $self->{findings} }, $text unless $self->{told}{$text}++;
	return;
}


#
# The crowd
#

sub make_request
{
	my ($self) = @_;
	my $hex = md5_hex("$self->{seed} " . ++$self->{requests});

	return $hex =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/r;
}

# A call to buy; a request without an answer is often asked again.
sub buy
{
	my ($self, $n) = @_;
	my $open = $self->{unanswered}{$n};
	my $call;

	if (%$open && rand() < 0.3)
	{
		$call = { %{ (values %$open)[0] } };
	}
	else
	{
		my $user = pick(@{ $self->{users}{$n} });

		$call = { kind => 'buy', item => pick(1, 1, 2, ($items{3} ? (3, 3) : ())), user => $user, quantity => rand() < 0.85 ? 1 : 2,
			request => $self->make_request };
		$call->{quantity} = 1 if $call->{item} == 3;
	}
	my $sql = "SELECT outcome, order_id FROM seckill_buy($call->{item}, $call->{user}, '"
	  . pick(@modes) . "', $call->{quantity}, '$call->{request}')";

	$open->{ $call->{request} } = $call;
	$self->{first}{ $call->{request} } //= time;
	return ($call, $sql);
}

# A purchase that is rolled back, after a while: it holds units meanwhile.
sub hold
{
	my ($self, $n) = @_;
	my $call = { kind => 'hold', item => pick(keys %items), quantity => 1, user => pick(@{ $self->{users}{$n} }) };

	return ($call, "BEGIN; SELECT outcome, 0 FROM seckill_buy($call->{item}, $call->{user}, '"
		  . pick(grep { $_ ne 'queue' } @modes) . "'); SELECT pg_sleep(0.03) FROM pg_backend_pid(); ROLLBACK");
}

sub next_call
{
	my ($self, $n) = @_;
	my $chance = rand;
	my $live = $self->{live}{$n};

	if ($chance < 0.25 && %$live)
	{
		my ($id) = keys %$live;
		my $order = delete $live->{$id};

		# A retried request may bring an order here again.  Any cancel of it may be the one that
		# was carried out, so what counts is when the first was sent.
		return ({ kind => 'cancel', item => $order->{item}, order => $id, from => $self->{first_cancel}{$id} //= time },
			"SELECT seckill_cancel($order->{item}, $id, true)");
	}
	elsif ($chance < 0.256 && $n == 1)
	{
		my $call = { kind => 'restock', item => pick(keys %items), units => 1 + int rand 3 };

		$call->{id} = ++$self->{requests};
		$self->{most}{ $call->{item} } += $call->{units};
		return ($call, "INSERT INTO public.restocks SELECT $call->{id}, $call->{item}, $call->{units} "
			  . "FROM seckill_restock($call->{item}, $call->{units}) RETURNING id");
	}
	elsif ($chance < 0.27)
	{
		my $item = pick(keys %items);

		return ({ kind => 'driver' }, "SELECT seckill.share_work($item, 2, 1)");
	}
	elsif ($chance < 0.32)
	{
		return $self->hold($n);
	}
	return $self->buy($n);
}

# An answer has come, or the session is lost.
sub answered
{
	my ($self, $client) = @_;
	my $s = $client->{session};
	my $call = $client->{call} or return;
	my @row = $s->row;
	my $now = time;

	$self->{count}{ $s->{lost} ? 'lost' : $s->{error} ? "error $s->{error}" : "$call->{kind} " . ($row[0] // '') }++
	  if $call->{kind} ne 'restock';
	$client->{call} = undef;
	if (!@row)
	{
		# an XX000 of dblink or of a fault apart, nothing may fail within
		$self->finding("$call->{kind}: $s->{error} $s->{message}")
		  if $s->{error} && $s->{error} =~ /^XX|^23|^22/ && $s->{message} !~ /fault/;
		return;
	}
	if ($call->{kind} eq 'buy')
	{
		delete $self->{unanswered}{ $client->{n} }{ $call->{request} };
		if ($row[0] eq 'sold')
		{
			$self->{sold}{ $row[1] } //= { %$call, told => $now };
			$self->{live}{ $client->{n} }{ $row[1] } = $call;
		}
	}
	return if $call->{kind} eq 'driver';
	if ($row[0] eq 'sold_out')
	{
		push @{ $self->{sold_out} }, { %$call, from => $client->{since}, to => $now, n => $client->{n} };
	}
	elsif ($call->{kind} eq 'cancel' && $row[0] eq 'cancelled')
	{
		$self->{freed}{ $call->{order} } //= $now;
		$self->{cancelled}{ $call->{order} } //= { %$call, told => $now };
	}
	elsif ($call->{kind} eq 'restock')
	{
		push @{ $self->{supplied}{ $call->{item} } }, [ $now, $call->{units}, $client->{since}, $call->{id} ];
	}
	return;
}

# Let the crowd work for a time.
sub work
{
	my ($self, $seconds, $no_more) = @_;
	my $end = time + $seconds;

	while (time < $end)
	{
		my $select = IO::Select->new;
		my %by;

		foreach my $client (@{ $self->{clients} })
		{
			my $s = $client->{session};

			if (!$s || $s->{lost})
			{
				next if $no_more || time < $client->{again};
				$client->{session} = $s = TortureSession->open($self->{nodes}[ $client->{n} - 1 ]);
				$client->{again} = time + 0.1;
				next if !$s;
			}
			if (!$s->{busy} && !$no_more)
			{
				my ($call, $sql) = $client->{failed} ? (undef, 'ROLLBACK') : $self->next_call($client->{n});

				$client->{failed} = 0;
				$client->{since} = time;
				$client->{call} = $call;
				$s->query($sql);
			}
			next if !$s->{busy};
			$select->add($s->{socket});
			$by{ fileno $s->{socket} } = $client;
		}
		last if $no_more && !$select->count;
		foreach my $socket ($select->can_read(0.02))
		{
			my $client = $by{ fileno $socket };
			my $s = $client->{session};

			$s->receive;
			next if $s->{busy} && !$s->{lost};
			$client->{failed} = 1 if $s->{error};
			$self->answered($client);
		}
	}
	return;
}


#
# Servers
#

# A child process does it, so that the crowd goes on.
sub in_background
{
	my ($self, $node, $do) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		POSIX::_exit(eval { $do->(); 1 } ? 0 : 1);
	}
	$self->{children}{$pid} = $node;
	return $pid;
}

sub reap
{
	my ($self, $wait) = @_;

	foreach my $pid (keys %{ $self->{children} })
	{
		next if waitpid($pid, $wait ? 0 : POSIX::WNOHANG()) == 0;
		$self->{failed}{$pid} = $?;
		(delete $self->{children}{$pid})->_update_pid(-1);
	}
	return;
}

# Do something with a node that takes a while, and let the crowd work meanwhile.
sub during
{
	my ($self, $node, $what, $do) = @_;
	my $pid = $self->in_background($node, $do);

	while ($self->{children}{$pid})
	{
		$self->work(0.1);
		$self->reap;
	}
	die "$what has failed\n" if $self->{failed}{$pid};
	return;
}

sub start_again
{
	my ($node) = @_;

	foreach (1 .. 100)
	{
		$node->_update_pid(-1);
		return if defined $node->{_pid} || $node->start(fail_ok => 1);
		sleep 0.1;
	}
	return;
}

# The processes of a server, or those whose title matches.
sub processes
{
	my ($node, $title) = @_;
	my $postmaster = $node->{_pid} // return;

	return ((defined $title ? () : $postmaster), map { /^\s*(\d+)\s/ } grep { !defined $title || /$title/ } `ps -o pid=,args= --ppid $postmaster`);
}

# Ask a node, if it answers: while servers are frozen soon, else in some time.
sub on_node
{
	my ($self, $node, $sql) = @_;
	my $s = TortureSession->open($node);
	my $patience = $self->{over} ? 60 : 2;

	return eval { $s && $s->wait($patience) ? $s->ask($sql, $patience) : undef };
}


#
# A sale
#

# A new sale on three nodes: number of sessions of each; whether to be ready for standbys;
# whether there is an item with numbered units.
sub new
{
	my ($class, %params) = @_;
	my @nodes = map { new_node("$params{name}$_", $params{streaming}) } 1 .. 3;
	my $self = bless { nodes => \@nodes, findings => [], count => {}, disturbed => {}, children => {}, requests => 0, seed => time . $$,
		unanswered => { 1 => {}, 2 => {}, 3 => {} }, live => { 1 => {}, 2 => {}, 3 => {} }, sold_out => [], supplied => {}, gone => [] }, $class;

	join_nodes(@nodes);
	$items{3} = [@numbered] if $params{numbered};
	$nodes[0]->safe_psql('postgres', 'CREATE TABLE public.restocks (id bigint PRIMARY KEY, item_id bigint, units integer)');
	foreach my $item (sort keys %items)
	{
		my ($stock, $limit, $pay_within) = @{ $items{$item} };

		$nodes[0]->safe_psql('postgres', "INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within, numbered) VALUES ($item, $stock, $limit, $pay_within, $item = 3)");
		$nodes[0]->safe_psql('postgres', "INSERT INTO seckill.units (item_id, unit, code) SELECT 3, n, 'code-' || n FROM generate_series(1, $stock) n") if $item == 3;
		$nodes[0]->safe_psql('postgres', "CALL seckill_split($item, '{1,2,3}')");
		$self->{most}{$item} = $stock;
	}
	push @{ $self->{users}{ node_of($_) } }, $_ foreach 1 .. 300;
	$self->{clients} = [ map { { n => 1 + $_ % 3, again => 0 } } 1 .. 3 * $params{clients} ];
	return $self;
}

# Has it shown all of that?
sub has_shown
{
	my ($self) = @_;
	return !grep { ($self->{count}{$_} // 0) <= 10 } @wanted;
}

# The end of the sale: what is left is sold, the laws are checked, and the nodes stop.
sub end
{
	my ($self) = @_;
	my @nodes = @{ $self->{nodes} };
	my $patience = time + 300;

	$self->reap(1);
	# servers on a slow machine may have recovered for most of the time: they need longer, in peace
	$self->work(0.3) until $self->has_shown || @{ $self->{findings} } || time > $patience;
	$self->{over} = 1;
	$self->work(60, 1);
	foreach my $node (@nodes)
	{
		start_again($node) unless defined $self->on_node($node, 'SELECT 1');
		$node->_update_pid(-1);
		$node->poll_query_until('postgres', 'SELECT true') or $self->finding($node->name . ' does not start');
	}
	foreach my $node (@nodes)
	{
		# nothing was restored unknown to us: a node that finds so has lost count
		my $state = $node->safe_psql('postgres', 'SELECT state FROM seckill_node()');

		$self->finding($node->name . " is $state") if $state ne 'open';
	}
	$self->sell_the_rest if !@{ $self->{findings} };
	$self->check_log;
	diag(sprintf '%-32s %6d', $_, $self->{count}{$_}) foreach sort keys %{ $self->{count} };
	diag(sprintf '%-32s %6d', $_, $self->{disturbed}{$_}) foreach sort keys %{ $self->{disturbed} };
	cmp_ok($self->{count}{$_} // 0, '>', 10, "there was: $_") foreach @wanted;
	diag("FINDING: $_") foreach @{ $self->{findings} };
	is(scalar @{ $self->{findings} }, 0, 'all laws hold');
	$_->stop('immediate') foreach @nodes;
	return;
}


#
# Laws
#

# The audit of the cluster, if all nodes answer twice.  At the same time orders that
# have expired are seen.
sub audit
{
	my ($self, $last) = @_;
	my @readings;

	foreach (1 .. 2)
	{
		my @rows;

		foreach my $node (@{ $self->{nodes} })
		{
			my $got = $self->on_node($node, q{SELECT to_jsonb(a)::text FROM seckill_node_audit() a}) or return;

			push @rows, map { $_->[0] } @$got;
		}
		push @readings, '[' . join(',', @rows) . ']';
	}
	foreach my $node (@{ $self->{nodes} })
	{
		my $got = $self->on_node($node, q{SELECT order_id FROM seckill.orders WHERE state = 'expired'}) or return;
		my $now = time;

		$self->{freed}{ $_->[0] } //= $now foreach @$got;
	}
	my $verdicts = $self->on_node($self->{nodes}[0],
		"SELECT item_id, supplied, available, sold, difference, verdict FROM seckill.judge(\$\$$readings[0]\$\$, \$\$$readings[1]\$\$, '{1,2,3}')")
	  or return;

	foreach my $v (@$verdicts)
	{
		my $short = $self->{short}{ $v->[0] } // 0;
		my $least = $items{ $v->[0] }[0] + $short;
		my $most = $self->{most}{ $v->[0] } + $short;

		$least += $_->[1] foreach @{ $self->{supplied}{ $v->[0] } };
		$self->{count}{"audit $v->[5]"}++;
		$self->finding("audit: @$v") if $v->[4] != 0 || $v->[5] !~ /^(?:ok|moving|in transit)$/ || ($last && $v->[5] ne 'ok');
		$self->finding("audit: @$v, but $least were supplied, and $most at most")
		  if $v->[5] =~ /^(?:ok|in transit)$/ && ($v->[1] < $least || $v->[1] > $most);
	}
	return $verdicts;
}

# What the log says against what there is.
sub check_log
{
	my ($self) = @_;
	my %orders;

	foreach my $n (1 .. 3)
	{
		my $node = $self->{nodes}[ $n - 1 ];

		foreach my $row (split /\n/, $node->safe_psql('postgres', 'SELECT order_id, item_id, user_id, quantity, request_id, state FROM seckill.orders'))
		{
			my ($id, @columns) = split /\|/, $row;

			$self->finding("two orders $id") if $orders{$id};
			$orders{$id} = [@columns];
			$self->finding("order $id of user $columns[1] is on node $n") if node_of($columns[1]) != $n;
		}
		$self->finding("requests twice, node $n") if $node->safe_psql('postgres',
			'SELECT count(*) FROM (SELECT FROM seckill.orders GROUP BY item_id, request_id HAVING count(*) > 1) x') ne '0';
		$self->finding("limit, node $n") if $node->safe_psql('postgres',
			q{SELECT count(*) FROM (SELECT FROM seckill.orders WHERE item_id = 1 AND state IN ('pending', 'confirmed') GROUP BY user_id HAVING sum(quantity) > 3) x}) ne '0';
	}
	foreach my $id (sort keys %{ $self->{sold} })
	{
		my $call = $self->{sold}{$id};
		my $order = $orders{$id};

		$self->finding("order $id was told and is not there")
		  if !$order || "@$order[0 .. 3]" ne "$call->{item} $call->{user} $call->{quantity} $call->{request}";
	}
	foreach my $id (sort keys %{ $self->{cancelled} })
	{
		$self->finding("order $id was cancelled and is $orders{$id}[4]") if $orders{$id}[4] ne 'cancelled';
	}
	$self->check_sold_out(\%orders);
	$self->check_numbers if $items{3};
	return;
}

# A number has one order, and a code one buyer, who is told it on the node of the order.
sub check_numbers
{
	my ($self) = @_;
	my %seen;

	foreach my $node (@{ $self->{nodes} })
	{
		foreach my $row (split /\n/, $node->safe_psql('postgres',
				'SELECT o.unit, n.code FROM seckill.orders o, seckill_unit(3, o.order_id) n WHERE o.item_id = 3 AND o.unit IS NOT NULL'))
		{
			my ($unit, $code) = split /\|/, $row, -1;

			$self->finding("number $unit has two orders") if $seen{$unit}++;
			$self->finding("the code of number $unit is $code") if $code ne '' && $code ne "code-$unit";
			$self->{count}{'codes told'}++ if $code ne '';
		}
	}
	return;
}

sub check_sold_out
{
	my ($self, $orders) = @_;
	my %events = map { ($_ => [ [ 0, $items{$_}[0] ], @{ $self->{supplied}{$_} // [] } ]) } keys %items;

	foreach my $id (keys %$orders)
	{
		my ($item, undef, $quantity, $request) = @{ $orders->{$id} };
		my $first = $self->{first}{$request} // 0;

		push @{ $events{$item} }, [ $first, -$quantity ];
		push @{ $events{$item} }, [ $self->{freed}{$id}, $quantity ] if $self->{freed}{$id};
	}
	foreach my $call (@{ $self->{gone} })
	{
		push @{ $events{ $call->{item} } }, [ $call->{from}, -$call->{quantity} ], [ $call->{to}, $call->{quantity} ];
	}
	foreach my $item (keys %items)
	{
		# at the same time the units that go come first
		my @sorted = sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @{ $events{$item} };
		my $i = 0;
		my $left = 0;

		foreach my $call (sort { $a->{from} <=> $b->{from} } grep { $_->{item} == $item } @{ $self->{sold_out} })
		{
			$left += $sorted[ $i++ ][1] while $i < @sorted && $sorted[$i][0] <= $call->{from};

			my ($least, $now) = ($left, $left);

			for (my $k = $i; $k < @sorted && $sorted[$k][0] <= $call->{to}; $k++)
			{
				$now += $sorted[$k][1];
				$least = $now if $now < $least;
			}
			$self->{count}{'sold_out that had to be'}++ if $least < $call->{quantity};
			$self->finding(sprintf 'sold_out for %d units of item %d on node %d from %.3f to %.3f (%s), and %d were left all the time',
				$call->{quantity}, $item, $call->{n}, $call->{from}, $call->{to}, $call->{kind}, $least)
			  if $least >= $call->{quantity};
		}
	}
	return;
}

# In the end each node sells what is left, wherever it is, and then says so.
sub sell_the_rest
{
	my ($self) = @_;
	my @nodes = @{ $self->{nodes} };
	my %user = (1 => 100_000, 2 => 100_000, 3 => 100_000);

	foreach my $node (@nodes)
	{
		$node->safe_psql('postgres', q{SELECT fault_disarm();
			SELECT seckill_put_item(item_id, '{"pay_within": null}') FROM seckill.items});
		$node->psql('postgres', q{SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE state = 'pending'});
	}
	foreach my $item (sort keys %items)
	{
		my $sold_out = 0;
		my $end = time + 180;

		for (my $n = 1; $sold_out < 3; $n = $n % 3 + 1)
		{
			$user{$n}++ while node_of($user{$n}) != $n;

			my $outcome = $nodes[ $n - 1 ]->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, " . $user{$n}++ . ", 'cache', 1, gen_random_uuid())");

			$sold_out = $outcome eq 'sold_out' ? $sold_out + 1 : $outcome eq 'sold' ? 0 : $sold_out;
			$end = time + 180 if $outcome eq 'sold';
			if (time > $end)
			{
				$self->finding("item $item is not sold to its end: $outcome on node $n");
				last;
			}
		}
	}
	my %supplied = map { ($_ => $items{$_}[0] + ($self->{short}{$_} // 0)) } keys %items;

	$supplied{ $_->[0] } += $_->[1] foreach @{ $self->on_node($nodes[0], 'SELECT item_id, sum(units) FROM public.restocks GROUP BY 1') };
	my $audit = $self->audit(1);

	$self->finding('the nodes do not answer') unless $audit;
	foreach my $v (@{ $audit // [] })
	{
		$self->finding("item $v->[0]: $v->[2] units are left, and nobody sells them") if $v->[2] != 0;
		$self->finding("item $v->[0]: $v->[3] units are sold, and $supplied{$v->[0]} were supplied") if $v->[3] != $supplied{ $v->[0] };
	}
	return;
}

1;
