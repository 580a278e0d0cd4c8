# Many clients that do everything at once with a few small items, the log of their
# answers, and the laws that log and tables must obey whatever happens to processes
# and server.
package TortureLoad;

use strict;
use warnings;
use Digest::MD5 'md5_hex';
use IO::Select;
use Time::HiRes qw(time sleep);
use TortureAdmin;
use TortureSeats;
use TortureSession;
use TortureShop;

my @row_modes = qw(optimistic retry pessimistic advisory cache auto);
my @modes = (@row_modes, 'queue');

# stock, limit, pay_within of each item; the sixth is never sold out.  The units of
# the last two have numbers, and every other number has a code.
my %items = (
	1 => [ 200, 3, "'700 ms'" ],
	2 => [ 200, 1, "'300 ms'" ],
	3 => [ 200, 5, 'NULL' ],
	4 => [ 200, 'NULL', "'500 ms'" ],
	5 => [ 50, 2, "'1 s'" ],
	6 => [ 1000000, 'NULL', 'NULL' ],
	7 => [ 200, 'NULL', "'500 ms'" ],
	8 => [ 200, 4, 'NULL' ]);
my $deep = 6;
my $first_numbered = 7;

# Seconds in which what is due must have been done: less than seckill.naptime, when it
# would be found without an announcement.
my $soon = 45;

# clients: number of sessions; timeouts: do they set short timeouts?  seats: the share
# of bookings in what they do.
sub new
{
	my ($class, $node, %params) = @_;
	my $self = bless {
		node => $node, clients => $params{clients}, timeouts => $params{timeouts}, deferral => $params{deferral},
		share_of_seats => $params{seats} // 0.12,
		sessions => [], findings => [], epoch => 0, log_offset => {}, next_user => 1_000_000,
		count => { map { ($_ => 0) } qw(sold refused unknown found asked told booked full calls) },
		errors => {},
	}, $class;

	$self->{control} = $self->connect;
	TortureShop::set_up($self);
	$self->restart_sale;
	return $self;
}

# Report a broken law, each once.
sub finding
{
	my ($self, $text) = @_;
	push @{ $self->{findings} }, $text unless $self->{told_before}{$text}++;
	return;
}

# A session with a server that may be just starting.
sub connect
{
	my ($self) = @_;
	my $end = time + 120;

	while (time < $end)
	{
		my $session = TortureSession->open($self->{node});

		return $session if $session && $session->wait(30);
		sleep 0.02;
	}
	die "the server does not answer\n";
}

sub control
{
	my ($self) = @_;

	$self->{control} = $self->connect if $self->{control}{lost};
	return $self->{control};
}

# Connect to another server.  Keep the log of answers, but drop the rows that forms
# have read: the new server may have other rows of the same version.
sub move_to
{
	my ($self, $node) = @_;

	$self->{node} = $node;
	$self->{forms} = [];
	$self->{control} = $self->connect;
	return;
}

# Units that an item starts with.
sub first_stock
{
	my ($class, $item) = @_;
	return exists $items{$item} ? $items{$item}[0] : 0;
}

# A random item.
sub any_item
{
	return 1 + int(rand(keys %items));
}

# A random item whose units are counted.
sub counted_item
{
	my $item = any_item();

	return $item == $deep ? 1 : $item;
}

sub is_numbered
{
	my ($item) = @_;
	return exists $items{$item} && $item >= $first_numbered;
}

# Drop answers from the log: orders, by id, and states of orders, replaced by the
# state given, if any.  The buyers of the orders will retry.  Returns how many of
# the orders were in the log.
sub forget
{
	my ($self, $orders, $moves) = @_;
	my $requests = $self->{requests};
	my @told = grep { defined } map { delete $self->{orders}{$_} } keys %$orders;

	push @{ $self->{open} }, grep { defined $_->{request} } @told;
	foreach my $code (grep { $orders->{ $self->{codes}{$_} } } keys %{ $self->{codes} })
	{
		delete $self->{codes}{$code};
	}
	delete $self->{numbers}{$_} foreach keys %$orders;
	delete $requests->{$_} foreach grep { $orders->{ $requests->{$_} } } keys %$requests;
	@{ $self->{recent} } = grep { !$orders->{ $_->[1] } } @{ $self->{recent} };
	foreach my $order (keys %$moves)
	{
		my $state = $moves->{$order};

		delete $self->{moves}{$order};
		$self->{moves}{$order} = $state if ($state // '') =~ /confirmed|cancelled/;
	}
	delete $self->{moves}{$_} foreach keys %$orders;
	TortureSeats::forget($self, $orders, $moves);
	$_->{answer} = 'unknown' foreach grep { !$_->{orders} } values %{ $self->{deals} };
	return scalar @told;
}

# Empty the tables and the log, while no session is busy.
sub restart_sale
{
	my ($self) = @_;
	my $values = join(', ', map { "($_, " . join(', ', @{ $items{$_} }) . ')' } sort keys %items);

	$self->control->ask(<<"EOC");
TRUNCATE seckill.items, seckill.orders, seckill.releases, seckill.seats, seckill.units, seckill.prizes, seckill.commitments,
	public.cart, public.refunds, public.wishes;
INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within, numbered, reveal_on)
SELECT item, stock, per_user, pay::interval, item >= $first_numbered, CASE WHEN item >= $first_numbered THEN 'pending' ELSE 'confirmed' END::seckill_order_state
FROM (VALUES $values) i (item, stock, per_user, pay);
INSERT INTO seckill.units (item_id, unit, code)
SELECT item_id, n, item_id || ' ' || n FROM seckill.items, generate_series(1, 9999, 2) n WHERE numbered
EOC
	$self->control->ask(TortureSeats::insert_statements());
	$self->{epoch}++;
	$self->{orders} = {};		# order id -> what was sold
	$self->{codes} = {};		# code -> order id that it was told with
	$self->{numbers} = {};		# order id -> number that was told with a code
	$self->{recent} = [];		# [item, order id]
	$self->{requests} = {};		# request id -> order id that was answered
	$self->{deals} = {};		# user -> what a user who does nothing else did
	$self->{moves} = {};		# order id -> state that was answered
	$self->{open} = [];			# purchases with a request that were not answered
	TortureAdmin::restart($self);
	TortureSeats::restart($self);
	$self->{supply} = { map { ($_ => [ $items{$_}[0], $items{$_}[0] ]) } keys %items };
	return;
}

#
# Actions.  Each has a query, or the statements of a pipeline, and a function for
# the answer: rows, an error, or neither if there was none.
#

sub draw
{
	my ($self) = @_;
	my $item = any_item();
	my $user = 1 + int(rand(60));
	my $request = rand() < 0.7 ? $self->request($item, $user) : undef;

	return { item => $item, user => $user, request => $request };
}

sub request
{
	my ($self, $item, $user) = @_;
	my $hex = md5_hex(join(',', $self->{epoch}, $item, $user, int(rand(40))));

	return join('-', unpack('A8 A4 A4 A4 A12', $hex));
}

# A retry asks for as many as before.
sub quantity_of
{
	my ($buyer) = @_;
	my $request = $buyer->{request};

	return 1 if is_numbered($buyer->{item});
	return 1 + (defined $request ? hex(substr($request, 0, 1)) % 2 : int(rand(2)));
}

sub quoted
{
	my ($text) = @_;
	return defined $text ? "'$text'" : 'NULL';
}

sub next_action
{
	my ($self) = @_;
	my $dice = rand();

	TortureShop::settle_doubts($self);
	return $self->set_timeout if $self->{timeouts} && rand() < 0.1;
	return TortureSeats::next_action($self) if rand() < $self->{share_of_seats};
	return TortureShop::next_action($self) if rand() < 0.3;
	return $self->claim($modes[ rand @modes ]) if $dice < 0.1;
	return $self->claim_many if $dice < 0.13;
	return $self->buy($modes[ rand @modes ]) if $dice < 0.5;
	return $self->submit if $dice < 0.57;
	return $self->submit_many if $dice < 0.6;
	return $self->buy_many if $dice < 0.66;
	return $self->buy_items if $dice < 0.7;
	return $self->buy_pair if $dice < 0.77;
	return $self->move if $dice < 0.92;
	return $self->restock if $dice < 0.96;
	return $self->plain(sprintf('SELECT seckill_recall(%d)', any_item())) if $dice < 0.98;
	return $self->plain(sprintf('SELECT seckill_prewarm(%d, 20)', any_item()));
}

sub row_mode
{
	return $row_modes[ rand @row_modes ];
}

sub plain
{
	my ($self, $sql) = @_;
	return { sql => $sql, done => sub { } };
}

# Timeouts are mostly long: a session that never gets anything done is no load.
sub set_timeout
{
	my ($self) = @_;
	my $what = rand() < 0.5 ? 'statement_timeout' : 'lock_timeout';
	my $ms = rand() < 0.3 ? 1 + int(rand(30)) : 0;

	return $self->plain("SET $what = $ms");
}

sub buy
{
	my ($self, $mode, $buyer) = @_;

	$buyer //= $self->draw;
	return TortureSeats::book($self, $mode, $buyer) if TortureSeats::is_train($buyer->{item});
	my $quantity = quantity_of($buyer);
	my $request = quoted($buyer->{request});
	return {
		sql => "SELECT outcome, order_id FROM seckill_buy($buyer->{item}, $buyer->{user}, '$mode', $quantity, $request)",
		done => sub { $self->answered($_[0], $mode eq 'queue', $buyer) } };
}

# A buyer of a number.
sub draw_number
{
	my ($self) = @_;
	my $buyer;

	do { $buyer = $self->draw } until is_numbered($buyer->{item});
	return $buyer;
}

sub claim
{
	my ($self, $mode) = @_;
	my $buyer = $self->draw_number;
	my $request = quoted($buyer->{request});

	return {
		sql => "SELECT outcome, order_id, unit, code FROM seckill_claim($buyer->{item}, $buyer->{user}, '$mode', $request)",
		done => sub { $self->answered($_[0], $mode eq 'queue', $buyer) } };
}

# Numbers of a user, perhaps after some that are given back.
sub claim_many
{
	my ($self) = @_;
	my $buyer = $self->draw_number;
	my ($first, $mode) = map { $self->row_mode } 1, 2;
	my $claim = "SELECT outcome, order_id, unit, code FROM seckill_claim_many($buyer->{item}, '{$buyer->{user},$buyer->{user}}', '$mode')";

	delete $buyer->{request};
	return { sql => $claim, done => sub { $self->answered($_[0], 0, $buyer, $buyer) } } if rand() < 0.5;
	return {
		sql => "BEGIN; SAVEPOINT s; SELECT seckill_claim($buyer->{item}, $buyer->{user}, '$first'); ROLLBACK TO s; $claim; COMMIT",
		done => sub {
			my ($session) = @_;

			@{ $session->{rows} } = grep { @$_ == 4 } @{ $session->{rows} };
			$self->answered($session, 0, $buyer, $buyer);
			return $session->{error} && !$session->{lost} ? $self->plain('ROLLBACK') : undef;
		} };
}

sub submit
{
	my ($self) = @_;
	my $buyer = $self->draw;
	my $quantity = quantity_of($buyer);
	my $request = quoted($buyer->{request});

	return {
		sql => "SELECT outcome, ticket FROM seckill_submit($buyer->{item}, $buyer->{user}, $quantity, $request)",
		done => sub {
			my ($session) = @_;
			my ($outcome, $ticket) = $session->row;

			return $self->answered($session, 1, $buyer) unless ($outcome // '') eq 'queued';
			return $self->result($ticket, $buyer);
		} };
}

# Ask for a ticket, until there is a decision.
sub result
{
	my ($self, $ticket, $buyer) = @_;
	my $asked = 0;
	my $action = { sql => "SELECT outcome, order_id FROM seckill_result($ticket, '5 s')" };

	$action->{done} = sub {
		my ($session) = @_;
		my ($outcome) = $session->row;

		return $self->answered($session, 1, $buyer) unless ($outcome // '') eq 'queued';
		return { %$action } if $asked++ < 6;
		$self->finding("ticket $ticket is not decided");
		return;
	};
	return { %$action };
}

sub buy_many
{
	my ($self) = @_;
	my $first = $self->draw;
	my @buyers = ($first);
	my $mode = $self->row_mode;

	foreach my $step (1, 7)
	{
		my $user = $first->{user} + $step;

		push @buyers, { item => $first->{item}, user => $user,
			request => rand() < 0.5 ? $self->request($first->{item}, $user) : undef };
	}
	my ($items, $users, $quantities, $requests) = arrays(@buyers);

	return {
		sql => "SELECT outcome, order_id FROM seckill_buy_many($first->{item}, $users, '$mode', $requests, NULL, $quantities)",
		done => sub { $self->answered($_[0], 0, @buyers) } };
}

# The arrays of a call for many.
sub arrays
{
	my (@buyers) = @_;
	my $requests = join(', ', map { quoted($_->{request}) } @buyers);

	return ((map { 'ARRAY[' . join(', ', @$_) . ']' } [ map { $_->{item} } @buyers ], [ map { $_->{user} } @buyers ],
			[ map { quantity_of($_) } @buyers ]),
		"ARRAY[$requests]::uuid[]");
}

# Purchases of several buyers and items, as a gateway merges them.
sub buy_items
{
	my ($self) = @_;
	my @buyers = map { $self->draw } 0 .. int(rand(6));
	my $mode = $self->row_mode;
	my ($items, $users, $quantities, $requests) = arrays(@buyers);

	return {
		sql => "SELECT outcome, order_id FROM seckill_buy_items($items, $users, '$mode', $quantities, $requests)",
		done => sub { $self->answered($_[0], 0, @buyers) } };
}

sub submit_many
{
	my ($self) = @_;
	my @buyers = map { $self->draw } 0 .. int(rand(6));
	my ($items, $users, $quantities, $requests) = arrays(@buyers);

	return {
		sql => "SELECT outcome, ticket FROM seckill_submit_many($items, $users, $quantities, $requests)",
		done => sub {
			my ($session) = @_;
			my %buyer;

			return $self->answered($session, 1, @buyers) if $session->{lost} || $session->{error};
			foreach my $n (0 .. $#buyers)
			{
				my ($outcome, $ticket) = @{ $session->{rows}[$n] // [] };

				if (($outcome // '') eq 'queued') { $buyer{$ticket} = $buyers[$n] }
				else { $self->answered({ rows => [ [$outcome] ] }, 1, $buyers[$n]) }
			}
			return $self->result_many(0, %buyer);
		} };
}

# Ask for the tickets of these buyers, until all are decided.
sub result_many
{
	my ($self, $asked, %buyer) = @_;

	return unless %buyer;
	return {
		sql => sprintf(q{SELECT ticket, outcome, order_id, sqlstate FROM seckill_result_many(ARRAY[%s], '5 s')},
			join(', ', sort keys %buyer)),
		done => sub {
			my ($session) = @_;

			return $self->answered($session, 1, values %buyer) if $session->{lost} || $session->{error};
			foreach my $row (@{ $session->{rows} })
			{
				my ($ticket, $outcome, $order, $sqlstate) = @$row;

				next if ($outcome // '') eq 'queued';
				$self->answered({ error => $sqlstate, rows => [ [ $outcome, $order ] ] }, 1, delete $buyer{$ticket});
			}
			return $self->result_many($asked + 1, %buyer) if $asked < 20;
			$self->finding("$_ is not decided") foreach map { "ticket $_" } keys %buyer;
			return;
		} };
}

# A user with a single transaction, which makes this number of orders and rows of
# other tables, or none.  Without a number of orders: any, if the rows exist.
# Returns the user.
sub deal
{
	my ($self, $orders, $rows) = @_;
	my $user = $self->{next_user}++;

	$self->{deals}{$user} = { orders => $orders, rows => $rows, answer => 'unknown' };
	return $user;
}

# The transaction of such a user has been answered, or its session was lost.
sub dealt
{
	my ($self, $session, $user) = @_;

	$self->{deals}{$user}{answer} = $session->{error} ? 'none' : 'whole' unless $session->{lost};
	return;
}

# Two items in one transaction: both or none.  It is slow, so that others wait for
# its units and locks.
sub buy_pair
{
	my ($self) = @_;
	my $user = $self->deal(2, 0);
	my ($mode1, $mode2) = map { $self->row_mode } 1, 2;
	my ($item, $next);

	do { ($item, $next) = (any_item(), any_item()) } until $item < $next;
	my $sleep = rand() < 0.5 ? rand(0.05) : 0;

	return {
		sql => "SELECT a.order_id, b.order_id, 1 / (a.outcome = 'sold' AND b.outcome = 'sold')::int"
		  . " FROM seckill_buy($item, $user, '$mode1') a, seckill_buy($next, $user, '$mode2') b, pg_sleep($sleep)",
		done => sub {
			my ($session) = @_;

			return $self->count_unknown(2) if $session->{lost};
			$self->dealt($session, $user);
			$self->{count}{ $session->{error} ? 'refused' : 'sold' } += 2;
		} };
}

# Payment, cancel or refund of an order in the log.
sub move
{
	my ($self) = @_;
	my $recent = $self->{recent};

	return $self->buy('auto') unless @$recent;
	my ($item, $order) = @{ $recent->[ rand @$recent ] };
	my $sql = rand() < 0.5 ? "SELECT seckill_confirm($item, $order)"
	  : "SELECT seckill_cancel($item, $order, " . (rand() < 0.3 ? 'true' : 'false') . ')';
	return {
		sql => $sql,
		done => sub {
			my ($session) = @_;
			my ($state) = $session->row or return;

			# the last state there is
			return if ($self->{moves}{$order} // '') eq 'cancelled';
			$self->{moves}{$order} = $state unless $state eq 'expired';
			return;
		} };
}

sub restock
{
	my ($self) = @_;
	my $item = counted_item();
	my $units = 1 + int(rand(8));
	my $supply = $self->{supply}{$item};

	return $self->take_off($item, $units) if rand() < 0.3;
	$supply->[1] += $units;
	return {
		sql => rand() < 0.5 || is_numbered($item) ? "SELECT seckill_restock($item, $units)"
		: "UPDATE seckill.items SET stock = stock + $units WHERE item_id = $item",
		done => sub {
			my ($session) = @_;

			return if $session->{lost};
			$session->{error} ? ($supply->[1] -= $units) : ($supply->[0] += $units);
			return;
		} };
}

# Take units off sale, if there are so many.
sub take_off
{
	my ($self, $item, $units) = @_;
	my $supply = $self->{supply}{$item};

	$supply->[0] -= $units;
	return {
		sql => "SELECT seckill_restock($item, -$units)",
		done => sub {
			my ($session) = @_;

			return if $session->{lost};
			$session->{error} ? ($supply->[0] += $units) : ($supply->[1] -= $units);
			return;
		} };
}

sub count_unknown
{
	my ($self, $n) = @_;
	$self->{count}{unknown} += $n;
	return;
}

# Log the answer of a purchase.  After an error of the caller's own transaction
# nothing is sold; after one of a queue call the purchase may be decided.
sub answered
{
	my ($self, $session, $queued, @buyers) = @_;

	if ($session->{lost} || ($queued && $session->{error}))
	{
		$self->count_unknown(scalar @buyers);
		push @{ $self->{open} }, grep { defined $_->{request} } @buyers;
		return;
	}
	if ($session->{error})
	{
		$self->{count}{refused} += @buyers;
		return;
	}
	foreach my $n (0 .. $#buyers)
	{
		my ($outcome, $order, $unit, $code) = @{ $session->{rows}[$n] // [] };

		$outcome //= 'no row';
		if ($outcome eq 'sold')
		{
			$self->sold($buyers[$n], $order);
			$self->told($order, $unit, $code) if defined $code;
		}
		elsif ($outcome =~ /^(sold_out|conflict|busy|limit_reached)$/)
		{
			$self->{count}{refused}++;
		}
		else
		{
			$self->finding("answer $outcome to a purchase of item $buyers[$n]{item}");
		}
	}
	return;
}

sub sold
{
	my ($self, $buyer, $order) = @_;
	my $request = $buyer->{request};

	$self->{count}{sold}++;
	if (defined $request)
	{
		my $before = $self->{requests}{$request} //= $order;

		$self->finding("request $request was answered with orders $before and $order")
		  if $before != $order;
	}
	$self->{orders}{$order} = $buyer;
	push @{ $self->{recent} }, [ $buyer->{item}, $order ];
	splice(@{ $self->{recent} }, 0, 100) if @{ $self->{recent} } > 300;
	return;
}

# A code was told, and is never told with another order.
sub told
{
	my ($self, $order, $unit, $code) = @_;
	my $before = $self->{codes}{$code} //= $order;

	$self->{count}{told}++;
	$self->{numbers}{$order} = $unit;
	$self->finding("code $code was told with orders $before and $order") if $before != $order;
	return;
}

#
# Clients
#

sub open_sessions
{
	my ($self) = @_;
	my $sessions = $self->{sessions};

	@$sessions = grep { !$_->{lost} } @$sessions;
	my @new = grep { defined } map { TortureSession->open($self->{node}) } @$sessions + 1 .. $self->{clients};
	push @$sessions, grep { $_->wait(30) } @new;

	# a server that is just starting refuses some
	push @$sessions, $self->connect while @$sessions < $self->{clients};
	return;
}

# Let the clients work until a function, which is called often, returns true; with
# reopen, lost sessions are reopened.
sub work
{
	my ($self, $over, $reopen) = @_;
	my $sessions = $self->{sessions};

	until ($over->())
	{
		foreach my $session (@$sessions)
		{
			$self->start_action($session, $self->next_action)
			  unless $session->{busy} || $session->{lost};
		}
		last unless $self->receive_some;
		$self->open_sessions if $reopen && grep { $_->{lost} } @$sessions;
	}
	return;
}

sub start_action
{
	my ($self, $session, $action) = @_;

	$session->{action} = $action;
	$action->{pipeline} ? $session->pipeline(@{ $action->{pipeline} }) : $session->query($action->{sql});
	return;
}

# Read the answers that have arrived.  False if all sessions are lost.
sub receive_some
{
	my ($self) = @_;
	my @alive = grep { !$_->{lost} } @{ $self->{sessions} };
	my %of = map { ($_->{socket} => $_) } @alive;

	return 0 unless @alive;
	foreach my $socket (IO::Select->new(map { $_->{socket} } @alive)->can_read(0.02))
	{
		my $session = $of{$socket};

		$session->receive;
		next if $session->{busy} && !$session->{lost};
		my $action = delete $session->{action} or next;
		$self->{errors}{ $session->{error} }++ if $session->{error};
		$self->finding("$session->{error} $session->{message}: $action->{sql}")
		  if $session->{error} && $session->{error} !~ ($action->{expects} // qr/^$/)
		  && $session->{error} =~ /^(XX|42|0A|22(?!012)|23|08P|25P|55000)/;
		my $next = $action->{done}->($session);
		$self->start_action($session, $next) if ref $next && !$session->{lost};
	}
	return 1;
}

# Wait for all answers without sending new queries.
sub finish
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	my @busy;

	while (@busy = grep { $_->{busy} && !$_->{lost} } @{ $self->{sessions} })
	{
		last if time > $end;
		TortureShop::settle_doubts($self);
		$self->receive_some;
	}
	foreach my $session (@busy)
	{
		my $where = $self->control->ask("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = $session->{pid}")->[0];

		$self->finding("stuck after $seconds s: $session->{action}{sql}, waits for "
			  . join(' ', map { $_ // '' } @{ $where // [] }));
	}
	return;
}

# Wait until the server has closed all sessions.
sub lose
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;

	while ($self->receive_some)
	{
		next if time < $end;
		$self->finding("sessions are alive $seconds s after the server's end: "
			  . join(', ', map { $_->{pid} // '?' } grep { !$_->{lost} } @{ $self->{sessions} }));
		last;
	}
	@{ $self->{sessions} } = ();
	return;
}

#
# The laws
#

# The laws that hold whenever no session is busy.
sub check
{
	my ($self) = @_;
	my $control = $self->control;

	TortureShop::settle_doubts($self);
	$self->finding("item $_->[0]: difference $_->[1]")
	  foreach @{ $control->ask('SELECT item_id, difference FROM seckill_audit() WHERE difference <> 0') };
	$self->finding("item $_->[0]: numbers in no place or in two, $_->[1]") foreach @{ $control->ask(<<'EOC') };
SELECT item_id, a FROM seckill_audit() a
WHERE missing <> 0 OR double_sold <> 0 OR NOT isempty(twice) OR NOT isempty(foreign_numbers)
EOC
	$self->check_orders;
	TortureShop::check($self);
	TortureSeats::check($self);
	foreach my $row (@{ $control->ask('SELECT item_id, supplied FROM seckill.items WHERE legs IS NULL') })
	{
		my ($item, $supplied) = @$row;
		my ($least, $most) = @{ $self->{supply}{$item} };

		$self->finding("item $item: $supplied supplied, should be $least to $most")
		  if $supplied < $least || $supplied > $most;
	}
	$self->check_log;
	return;
}

# Read the whole table, not an index of it.
sub check_orders
{
	my ($self) = @_;
	my (%orders, %requests, %made, %live);
	my $rows = $self->control->ask(<<'EOC');
SET LOCAL enable_indexscan = off;
SELECT order_id, item_id, user_id, request_id, quantity, state, unit FROM seckill.orders
EOC

	foreach my $row (@$rows)
	{
		my ($order, $item, $user, $request, $quantity, $state, $unit) = @$row;
		my $told = $self->{numbers}{$order};

		$self->finding("two orders $order") if $orders{$order};
		$orders{$order} = { item => $item, user => $user, request => $request, state => $state };
		$self->finding("order $order of item $item: number $told was told with its code, has " . ($unit // 'none'))
		  if defined $told && ($unit // 0) != $told;
		$self->finding("live order $order of item $item has " . ($unit // 'no') . ' number')
		  if $state =~ /pending|confirmed/ && is_numbered($item) != defined $unit;
		$made{$user}++ if $user >= 1_000_000;
		# user 0 is staff
		$live{$item}{$user} += $quantity if $user && $state =~ /pending|confirmed/;
		next unless defined $request;
		$self->finding("request $request has orders $requests{$request} and $order")
		  if $requests{$request};
		$requests{$request} = $order;
	}
	$self->{found} = \%requests;
	$self->check_answers(\%orders, \%requests);
	$self->check_deals(\%made);
	foreach my $item (keys %live)
	{
		my $limit = TortureSeats::is_train($item) ? TortureSeats::limit($item) : $items{$item}[1];

		next if $limit eq 'NULL';
		$self->finding("item $item: user $_ has $live{$item}{$_} units")
		  foreach grep { $live{$item}{$_} > $limit } keys %{ $live{$item} };
	}
	return;
}

sub check_answers
{
	my ($self, $orders, $requests) = @_;

	while (my ($id, $buyer) = each %{ $self->{orders} })
	{
		my $order = $orders->{$id};
		my @want = map { $buyer->{$_} // '' } qw(item user request);
		my @have = map { $order->{$_} // '' } qw(item user request);

		$self->finding("order $id was sold: @want, is there: @have") if "@want" ne "@have";
	}
	while (my ($id, $state) = each %{ $self->{moves} })
	{
		my $now = $orders->{$id}{state} // 'none';

		$self->finding("order $id was answered to be $state, is $now")
		  if $now ne $state && !($state eq 'confirmed' && $now eq 'cancelled')
		  && $state ne 'pending';
	}
	return;
}

sub check_deals
{
	my ($self, $made) = @_;
	my $rows = TortureShop::rows_of_users($self);

	while (my ($user, $deal) = each %{ $self->{deals} })
	{
		my ($o, $r) = ($made->{$user} // 0, $rows->{$user} // 0);
		my $none = !$o && !$r;
		my $whole = $r == $deal->{rows} && $o == ($deal->{orders} // $o);
		my $answer = $deal->{answer};

		$self->finding("user $user: $answer of " . ($deal->{orders} // 'any') . " orders and $deal->{rows} rows, has $o and $r")
		  unless $answer eq 'none' ? $none : $answer eq 'whole' ? $whole : $none || $whole;
	}
	return;
}

# A kill by us is signal 9, and everything else that is in the log for it.
# A transaction that buys one item once must not deadlock, unless somebody locks
# the key of that item, which rows of other tables refer to.
sub check_log
{
	my ($self) = @_;
	my $deadlock;

	my $file = $self->{node}->logfile;

	open(my $log, '<', $file) or die "log: $!\n";
	seek($log, $self->{log_offset}{$file} // 0, 0);
	while (my $line = <$log>)
	{
		chomp $line;
		if ($line =~ /^\d.* [A-Z]+: / && $line !~ /DETAIL:/)
		{
			$self->finding("log: $deadlock")
			  if defined $deadlock && $deadlock !~ m{generate_series\(1, 5\)|FOR UPDATE|/\* (?:key|several) \*/};
			$deadlock = undef;
		}
		$deadlock .= " $line" if defined $deadlock || $line =~ /deadlock detected/;
		$self->finding("log: $line")
		  if $line =~ /PANIC|TRAP|recalcitrant|AddressSanitizer|terminated by signal (?!9\b)/
		  || $line =~ /ERROR:.*(could not (open|read)|invalid page|unexpected|corrupt)|WARNING:.*(leak|not closed|still referenced)/;
	}
	$self->{log_offset}{$file} = tell($log);
	close($log);
	return;
}

# Retry the requests without an answer: an existing order is the answer.  Call it
# after check.
sub ask_again
{
	my ($self, $most) = @_;
	my $open = $self->{open};
	my %seen;

	$self->{count}{found} += grep
	{
		$self->{found}{ $_->{request} } && !$self->{requests}{ $_->{request} }
		  && !$seen{ $_->{request} }++
	} @$open;
	while (@$open && $most-- > 0)
	{
		my $buyer = splice(@$open, rand @$open, 1);
		my $order = $self->{found}{ $buyer->{request} };
		my $mode = $modes[ rand @modes ];
		my $control = $self->control;
		my $action = $self->buy($mode, $buyer);

		$control->query($action->{sql});
		if (!$control->wait(120))
		{
			$self->finding("no answer to request $buyer->{request} in mode $mode");
			last;
		}
		$self->{count}{asked}++;
		my ($outcome, $answer) = @{ $control->{rows}[0] // [ $control->{message} // 'nothing' ] };

		$self->finding("request $buyer->{request} has order $order, asked again by $mode: $outcome "
			  . ($answer // ''))
		  if $order && ($answer // 0) != $order;
		$action->{done}->($control);
	}
	@$open = ();
	return;
}

# Check that the queue serves and that overdue orders expire, at the latest after
# a deferral of so many seconds.
sub check_life
{
	my ($self) = @_;
	my $control = $self->control;
	my $end = time + $soon;

	TortureShop::settle_doubts($self);
	my ($now) = $control->value('SELECT clock_timestamp()');

	$control->query("SELECT outcome FROM seckill_buy($deep, 999, 'queue')");
	if (!$control->wait($soon))
	{
		$self->finding('the queue does not answer');
		$self->{control} = $self->connect;
		$control = $self->control;
	}
	elsif (($control->{rows}[0][0] // '') ne 'sold')
	{
		$self->finding('the queue answers ' . ($control->{rows}[0][0] // $control->{message}));
	}
	$end += $self->{deferral} // 0;
	$end += 60 if delete $self->{unannounced};
	while ($control->value("SELECT count(*) FROM seckill.orders WHERE state = 'pending' AND pay_by < '$now'"))
	{
		sleep 0.05;
		next if time < $end;
		$self->finding("orders that were overdue at $now are pending");
		last;
	}
	return;
}

# Wait until a query answers 0, for a deferral at the longest and some time more.
sub await_zero
{
	my ($self, $what, $sql) = @_;
	my $end = time + $soon + ($self->{deferral} // 0);
	my $n;

	while ($n = $self->control->value($sql))
	{
		sleep 0.05;
		next if time < $end;
		$self->finding("$what: $n");
		return;
	}
	return;
}

# After the sale: the cache agrees with the tables, and every unit left can be
# bought.
sub close_sale
{
	my ($self) = @_;
	my $control = $self->control;

	$self->await_zero('lock waiters', 'SELECT count(*) FROM pg_locks WHERE NOT granted');
	$self->await_zero('backlog of the queue', 'SELECT backlog FROM seckill.stat_worker');
	$self->await_zero('pending orders', "SELECT count(*) FROM seckill.orders WHERE state = 'pending'");
	$self->await_zero('units held', 'SELECT coalesce(sum(held), 0) FROM seckill.stock');
	$self->check;
	$self->finding("item $_->[0]: unsold $_->[1], cached $_->[2]") foreach @{ $control->ask(<<'EOC') };
SELECT item_id, a.unsold, s.cached FROM seckill_audit() a JOIN seckill.stock s USING (item_id)
WHERE s.cached <> a.unsold
EOC
	$control->ask('UPDATE seckill.items SET per_user_limit = NULL, pay_within = NULL');
	foreach my $item (grep { $_ != $deep } sort keys %items)
	{
		my $left = $control->value("SELECT stock + unsold FROM seckill_audit($item)");
		my $mode = $row_modes[ 1 + rand(@row_modes - 1) ];
		my $sold = $control->value(<<"EOC");
SELECT count(*) FILTER (WHERE outcome = 'sold')
FROM seckill_buy_many($item, ARRAY(SELECT 2000000 + n FROM generate_series(1, $left + 10) n), '$mode')
EOC

		$self->finding("item $item: $left units left, $sold sold by $mode") if $sold != $left;
	}
	TortureSeats::close_sale($self);
	$self->finding("item $_->[0]: difference $_->[1] at the end")
	  foreach @{ $control->ask('SELECT item_id, difference FROM seckill_audit() WHERE difference <> 0') };
	return;
}

1;
