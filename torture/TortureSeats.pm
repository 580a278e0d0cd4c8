# Bookings of seats among what the clients do: in all modes, parties, with changes,
# of named seats, in transactions of every kind, paid, cancelled, exchanged and
# expired.  Each answer is noted with the times when its call was sent and when it
# came.  The replay of these notes, in the order of time, is outside the server and
# shows two things: no leg of a seat had two orders that were surely live, and
# nobody was refused for whom enough seats were surely free during the whole call.
package TortureSeats;

use strict;
use warnings;
use Digest::MD5 'md5_hex';
use Time::HiRes 'time';

# seats, legs, limit, pay_within in seconds or NULL of each train or hall, beside
# the items of TortureLoad
my %trains = (
	9 => [ 24, 6, 4, 0.5 ],
	10 => [ 30, 1, 'NULL', 0.7 ],
	11 => [ 24, 9, 'NULL', 'NULL' ]);

my $block_size = 5;

# Let there be trains of so many seats and legs instead.
sub use_trains
{
	my ($number, $seats, $legs) = @_;
	my @pay = (1, 'NULL', 2, 'NULL', 3);

	%trains = map { (100 + $_ => [ $seats, $legs, $_ % 5 == 1 ? 30 : 'NULL', $pay[ $_ % 5 ] ]) } 1 .. $number;
	return;
}

# Seats that an expiry, or the commit of a prepared transaction, has returned may be
# refused for a second more (PROOF_LASTS of src/shmem/seat_choice.c).
my $grace = 1.2;

# The weight of each action.
my %weight = (
	book => 46, book_named => 6, book_in_block => 6, book_in_two_phases => 2, book_and_buy => 4, exchange => 4,
	move => 26, block_seats => 2, look => 4);
my @kinds = map { ($_) x $weight{$_} } sort keys %weight;

my @together = (('prefer') x 7, 'need', 'need', 'any');
my @quantities = ((1) x 6, 2, 2, 3, 4);
my @changes = ((0) x 6, 1, 1, 2, 3);

# Statements of the clients that take locks of several calls may deadlock.
my $several = '/* several */ ';

sub is_train
{
	my ($item) = @_;
	return exists $trains{$item};
}

sub any_train
{
	my @list = sort keys %trains;
	return $list[ rand @list ];
}

sub limit
{
	my ($item) = @_;
	return $trains{$item}[2];
}

# The statements that put the trains on sale.
sub insert_statements
{
	return join('; ', map
		{
			my ($seats, $legs, $limit, $pay) = @{ $trains{$_} };
			my $pay_within = $pay eq 'NULL' ? 'NULL' : "'$pay s'";

			"INSERT INTO seckill.items (item_id, stock, legs, per_user_limit, pay_within) VALUES ($_, 0, $legs, $limit, $pay_within); "
			  . "INSERT INTO seckill.seats (item_id, seat, block, car) SELECT $_, s, (s - 1) / $block_size, (s - 1) / 20 FROM generate_series(1, $seats) s"
		} sort keys %trains);
}

# A new sale begins.
sub restart
{
	my ($load) = @_;

	$load->{seats} = {
		bookings => {},		# order id -> booking that was answered
		unknown => [],		# bookings that were not answered
		recent => [],		# [item, order id]
		asked => {},		# request id -> when it was first sent
		pending => {},		# order id -> booking that may expire
		events => [],		# [time, what, booking, more], not replayed yet
		next_poll => 0,
		taken => {},		# item -> [ leg -> bits of places that orders may have ]
		count => {},		# item -> [ leg -> [ place -> number of such orders ] ]
		owner => {},		# item -> [ leg -> [ place -> order that surely has it ] ]
		released => {},		# item -> [ [time, place, legs], ... ]
	};
	foreach my $item (keys %trains)
	{
		my ($seats, $legs) = @{ $trains{$item} };

		$load->{seats}{taken}{$item} = [ map { "\0" x int(($seats + 7) / 8) } 1 .. $legs ];
		$load->{seats}{count}{$item} = [ map { [ (0) x $seats ] } 1 .. $legs ];
		$load->{seats}{owner}{$item} = [ map { [] } 1 .. $legs ];
		$load->{seats}{released}{$item} = [];
	}
	return;
}


#
# Actions, see TortureLoad
#

sub next_action
{
	my ($load) = @_;
	my $kind = $kinds[ rand @kinds ];

	return poll($load) if time > $load->{seats}{next_poll};
	return __PACKAGE__->can($kind)->($load);
}

# A booking of a trip; a request asks for the same trip each time.
sub draw
{
	my ($load, $item) = @_;
	my $user = 1 + int(rand(60));

	$item //= any_train();
	my ($seats, $legs) = @{ $trains{$item} };
	my $request = rand() < 0.3 ? $load->request($item, $user) : undef;
	my $digits = md5_hex($request // rand());
	my @dice = map { hex } unpack('(A4)*', $digits);
	my $from = $dice[0] % $legs;
	my $quantity = $quantities[ $dice[1] % @quantities ];

	return {
		item => $item, user => $user, request => $request,
		from => $from, to => $from + 1 + $dice[2] % ($legs - $from),
		quantity => $quantity, together => $together[ $dice[3] % @together ],
		changes => $changes[ $dice[4] % @changes ],
		dice => \@dice };
}

# Let a booking name its seats.
sub name_seats
{
	my ($booking) = @_;
	my $seats = $trains{ $booking->{item} }[0];
	my %named;

	my ($seat, $step) = @{ $booking->{dice} }[ 5, 6 ];
	$named{ 1 + ($seat + $_ * (1 + $step % 3)) % $seats } = 1 foreach 1 .. $booking->{quantity};
	$booking->{named} = [ sort { $a <=> $b } keys %named ];
	@$booking{qw(quantity changes)} = (scalar keys %named, 0);
	return $booking;
}

sub quoted
{
	my ($text) = @_;
	return defined $text ? "'$text'" : 'NULL';
}

sub call
{
	my ($booking, $mode) = @_;
	my $named = $booking->{named} ? 'ARRAY[' . join(', ', @{ $booking->{named} }) . ']' : 'NULL';

	return "seckill_book($booking->{item}, $booking->{user}, $booking->{from}, $booking->{to}, $booking->{quantity},"
	  . " '$mode', '$booking->{together}', $booking->{changes}, $named, " . quoted($booking->{request}) . ')';
}

sub select_call
{
	my ($booking, $mode) = @_;
	return 'SELECT outcome, order_id, seats, seat_legs FROM ' . call($booking, $mode);
}

sub any_mode
{
	my ($load) = @_;
	return rand() < 0.25 ? 'queue' : $load->row_mode;
}

# A statement of its own, also for a booking that was not answered.
sub book
{
	my ($load, $mode, $booking) = @_;

	$booking //= draw($load);
	$mode //= any_mode($load);
	$mode = $load->row_mode if $booking->{named} && $mode eq 'queue';
	$booking->{mode} = $mode;
	return {
		sql => select_call($booking, $mode),
		done => sub { answered($load, $_[0], $mode eq 'queue', $booking) } };
}

sub book_named
{
	my ($load) = @_;
	my $booking = name_seats(draw($load));

	# the requests of the others have no seats
	$booking->{request} = undef;
	return book($load, undef, $booking);
}

# In a transaction block, perhaps after a booking that is undone; the block may be
# rolled back.
sub book_in_block
{
	my ($load) = @_;
	my $booking = draw($load);
	my ($first, $mode) = map { $load->row_mode } 1, 2;
	$booking->{mode} = $mode;
	my $commits = rand() < 0.7;
	my @undone = ('SAVEPOINT s', 'SELECT ' . call({ %$booking, request => undef }, $first), 'ROLLBACK TO s');

	$booking->{request} = undef;
	return {
		sql => $several . join('; ', 'BEGIN', TortureShop::perhaps_isolated(), rand() < 0.5 ? @undone : (),
			select_call($booking, $mode), TortureShop::perhaps_sleep(), $commits ? 'COMMIT' : 'ROLLBACK'),
		done => sub {
			my ($session) = @_;

			@{ $session->{rows} } = grep { @$_ == 4 } @{ $session->{rows} };
			answered($load, $session, 0, $booking) if $commits;
			return $session->{error} && !$session->{lost} ? $load->plain('ROLLBACK') : undef;
		} };
}

# Seats and a unit in one transaction: both or none.
sub book_and_buy
{
	my ($load) = @_;
	my $booking = draw($load);
	my ($mode1, $mode2) = map { $load->row_mode } 1, 2;
	my $item = TortureLoad::any_item();

	$booking->{request} = undef;
	$booking->{user} = $load->deal(2, 0);
	return {
		sql => $several . "SELECT a.outcome, a.order_id, a.seats, a.seat_legs, 1 / (a.outcome = 'sold' AND b.outcome = 'sold')::int"
		  . ' FROM ' . call($booking, $mode1) . " a, seckill_buy($item, $booking->{user}, '$mode2') b",
		done => sub {
			my ($session) = @_;

			answered($load, $session, 0, $booking);
			$load->dealt($session, $booking->{user});
			return;
		} };
}

# A prepared transaction survives its session and a crash of the server.
sub book_in_two_phases
{
	my ($load) = @_;
	my $booking = draw($load);
	my $mode = $load->row_mode;

	$booking->{request} = undef;
	my $user = $booking->{user} = $load->deal(1, 0);
	return {
		sql => 'BEGIN; ' . select_call($booking, $mode) . "; PREPARE TRANSACTION '$user'",
		# a gift has units of the cache
		expects => qr/^0A000/,
		done => sub {
			my ($session) = @_;
			my ($outcome) = $session->row;

			if ($session->{lost})
			{
				# it may be prepared, with an order or without
				$load->{deals}{$user}{orders} = undef;
				push @{ $load->{in_doubt} }, $user;
				return answered($load, $session, 0, $booking);
			}
			if ($session->{error})
			{
				$load->{deals}{$user}{answer} = 'none';
				return $load->plain('ROLLBACK');
			}
			$load->{deals}{$user}{orders} = 0 if $outcome ne 'sold';
			return decide($load, $session, $booking);
		} };
}

# The second phase.
sub decide
{
	my ($load, $prepared, $booking) = @_;
	my $commit = rand() < 0.7;
	my @rows = @{ $prepared->{rows} };
	my $sent = $prepared->{since};
	my $user = $booking->{user};

	return {
		sql => ($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$user'",
		done => sub {
			my ($session) = @_;

			if ($session->{lost} || $session->{error})
			{
				push @{ $load->{in_doubt} }, $user;
				return answered($load, { lost => 1, since => $sent }, 0, $booking);
			}
			TortureShop::decided($load, $user, $commit);
			answered($load, { rows => \@rows, since => $sent }, 0, $booking) if $commit;
			return;
		} };
}

# Other seats for those of an order, in one transaction.
sub exchange
{
	my ($load) = @_;
	my $recent = $load->{seats}{recent};

	return book($load) unless @$recent;
	my ($item, $order) = @{ $recent->[ rand @$recent ] };
	my $booking = draw($load, $item);

	$booking->{request} = undef;
	my @statements = (select_call($booking, $load->row_mode), "SELECT seckill_cancel($item, $order, true)");

	@statements = reverse @statements if rand() < 0.3;
	return {
		sql => $several . join('; ', @statements),
		done => sub {
			my ($session) = @_;

			# an order that has ended is an error, and nothing is done
			@{ $session->{rows} } = grep { @$_ == 4 } @{ $session->{rows} };
			answered($load, $session, 0, $booking);
			moved($load, $session, $order, 'cancel', 'cancelled');
			return;
		} };
}

# Payment, cancel or refund of an order in the log.
sub move
{
	my ($load) = @_;
	my $recent = $load->{seats}{recent};

	return book($load) unless @$recent;
	my ($item, $order) = @{ $recent->[ rand @$recent ] };
	my $call = rand() < 0.3 ? 'confirm' : 'cancel';

	return {
		sql => "SELECT seckill_$call($item, $order" . ($call eq 'cancel' ? ', true)' : ')'),
		done => sub {
			my ($session) = @_;

			moved($load, $session, $order, $call, $session->row);
			return;
		} };
}

# Seats for staff.
sub block_seats
{
	my ($load) = @_;
	my $booking = name_seats(draw($load));

	@$booking{qw(user request)} = (0, undef);
	return {
		sql => "SELECT outcome, order_id FROM seckill_block_seats($booking->{item}, ARRAY["
		  . join(', ', @{ $booking->{named} }) . "], $booking->{from}, $booking->{to})",
		done => sub {
			my ($session) = @_;
			my $legs = legs($booking);

			# the answer does not repeat the seats
			push @$_, join(',', @{ $booking->{named} }), join(',', map { $legs } @{ $booking->{named} })
			  foreach @{ $session->{rows} };
			answered($load, $session, 0, $booking);
			return;
		} };
}

# What is free.
sub look
{
	my ($load) = @_;
	my $item = any_train();
	my ($seats, $legs) = @{ $trains{$item} };

	return {
		sql => rand() < 0.5 ? "SELECT from_stop, to_stop, seats FROM seckill_free_seats($item)"
		: "SELECT 0, 1, count(*) FROM seckill_seat_map($item, 0, 1)",
		done => sub {
			my ($session) = @_;

			$load->finding("item $item has $_->[2] seats free from $_->[0] to $_->[1]")
			  foreach grep { $_->[2] < 0 || $_->[2] > $seats } @{ $session->{rows} };
			return;
		} };
}

# Which orders are pending?  One that is so no more, and was not paid, has expired.
sub poll
{
	my ($load) = @_;

	$load->{seats}{next_poll} = time + 0.25;
	return {
		sql => q{SELECT order_id FROM seckill.orders WHERE state = 'pending'},
		done => sub {
			my ($session) = @_;
			my $pending = $load->{seats}{pending};
			my %is;

			return if $session->{lost} || $session->{error};
			$is{ $_->[0] } = 1 foreach @{ $session->{rows} };
			foreach my $order (grep { !$is{$_} && $pending->{$_}{done} < $session->{since} } keys %$pending)
			{
				note($load, time + $grace, 'ended', delete $pending->{$order});
			}
			return;
		} };
}


#
# The log
#

sub note
{
	my ($load, @event) = @_;

	push @{ $load->{seats}{events} }, \@event;
	return;
}

sub legs
{
	my ($booking) = @_;
	return (1 << $booking->{to}) - (1 << $booking->{from});
}

# Log the answer of a booking, see answered() of TortureLoad.
sub answered
{
	my ($load, $session, $queued, $booking) = @_;
	my $seats = $load->{seats};
	my $sent = $session->{since};

	$load->{count}{calls}++;
	$seats->{asked}{ $booking->{request} } //= $sent if defined $booking->{request};
	if ($session->{lost} || ($queued && $session->{error}))
	{
		$load->count_unknown(1);
		push @{ $seats->{unknown} }, { %$booking, sent => $sent };
		push @{ $load->{open} }, $booking if defined $booking->{request};
		return;
	}
	if ($session->{error})
	{
		$load->{count}{refused}++;
		return;
	}
	my ($outcome, $order, $numbers, $legs) = @{ $session->{rows}[0] // [] };

	$outcome //= 'no row';
	if ($outcome eq 'sold')
	{
		sold($load, { %$booking, sent => $sent, done => time }, $order, pieces($numbers, $legs));
	}
	elsif ($outcome =~ /^(sold_out|seat_taken)$/ && ($outcome eq 'seat_taken') == defined $booking->{named})
	{
		$load->{count}{refused}++;
		$load->{count}{full}++;
		note($load, time, 'refused', { %$booking, sent => $sent, done => time });
	}
	elsif ($outcome =~ /^(conflict|busy|limit_reached)$/)
	{
		$load->{count}{refused}++;
	}
	else
	{
		$load->finding("answer $outcome to a booking of item $booking->{item}");
	}
	return;
}

# Two arrays as [ [seat, legs], ... ].
sub pieces
{
	my ($numbers, $legs) = @_;
	my @numbers = $numbers =~ /-?\d+/g;
	my @legs = $legs =~ /-?\d+/g;

	return [ map { [ $numbers[$_], $legs[$_] ] } 0 .. $#numbers ];
}

sub text
{
	my ($pieces) = @_;
	return join(' ', map { "$_->[0]:$_->[1]" } @$pieces);
}

# An order was told, perhaps again.
sub sold
{
	my ($load, $booking, $order, $pieces) = @_;
	my $seats = $load->{seats};
	my $before = $seats->{bookings}{$order};

	$load->{count}{booked}++;
	if ($before)
	{
		$load->{count}{sold}++;
		$load->finding("order $order was told to two callers, not of one request")
		  if ($before->{request} // '') ne ($booking->{request} // 'none');
		$load->finding("order $order of item $booking->{item} was told with seats " . text($before->{pieces}) . ' and ' . text($pieces))
		  if text($before->{pieces}) ne text($pieces);
		return;
	}
	$load->sold($booking, $order);
	pop @{ $load->{recent} };
	push @{ $seats->{recent} }, [ $booking->{item}, $order ];
	splice(@{ $seats->{recent} }, 0, 200) if @{ $seats->{recent} } > 600;
	enter($load, $booking, $order, $pieces);
	check_choice($load, $booking, $order);
	note($load, $booking->{done}, 'sure', $booking);
	return;
}

# An order is there: note the time since when it may have been.
sub enter
{
	my ($load, $booking, $order, $pieces) = @_;
	my $seats = $load->{seats};
	my $pay = $booking->{user} == 0 ? 'NULL' : $trains{ $booking->{item} }[3];

	$booking->{order} = $order;
	$booking->{pieces} = $pieces;
	$booking->{done} //= time;
	$booking->{sent} = $seats->{asked}{ $booking->{request} } if defined $booking->{request};
	$seats->{bookings}{$order} = $booking;
	note($load, $booking->{sent}, 'may', $booking);
	return if $pay eq 'NULL';
	$seats->{pending}{$order} = $booking;
	note($load, $booking->{sent} + $pay, 'due', $booking);
	return;
}

# A payment or a cancel was answered.
sub moved
{
	my ($load, $session, $order, $call, $state) = @_;
	my $booking = $load->{seats}{bookings}{$order} or return;
	my $unknown = $session->{lost};

	$load->{count}{calls}++;
	return if $session->{error} && !$unknown;
	if ($call eq 'cancel')
	{
		note($load, $session->{since}, 'doubt', $booking);
		note($load, time, 'cancelled', $booking) unless $unknown;
	}
	elsif ($unknown || $state eq 'confirmed')
	{
		note($load, $session->{since}, 'again', $booking);
		note($load, time, 'paid', $booking) unless $unknown;
	}
	else
	{
		note($load, time, 'ended', $booking);
	}
	return if $unknown || ($load->{moves}{$order} // '') eq 'cancelled';
	$load->{moves}{$order} = $state unless $state eq 'expired';
	return;
}

# Orders were lost in a failover; the states of others are as before it.
sub forget
{
	my ($load, $orders, $moves) = @_;
	my $seats = $load->{seats};

	foreach my $order (keys %$orders)
	{
		my $booking = delete $seats->{bookings}{$order} or next;

		delete $seats->{pending}{$order};
		leave($load, $booking, time);
	}
	@{ $seats->{recent} } = grep { !$orders->{ $_->[1] } } @{ $seats->{recent} };
	foreach my $booking (grep { defined } map { $seats->{bookings}{$_} } keys %$moves)
	{
		@$booking{qw(paid again)} = ();
		hold($load, $booking, 1);
		let_go($load, $booking);
		$booking->{lost_move} = 1;
	}
	return;
}


#
# The replay
#

# Call a function for each leg of the places of a booking.
sub each_leg
{
	my ($booking, $do) = @_;
	my $legs = $trains{ $booking->{item} }[1];

	foreach my $piece (@{ $booking->{pieces} })
	{
		$do->($_, $piece->[0] - 1, $piece->[1]) foreach grep { $piece->[1] >> $_ & 1 } 0 .. $legs - 1;
	}
	return;
}

# The order may be live from now on.
sub hold
{
	my ($load, $booking) = @_;
	my $count = $load->{seats}{count}{ $booking->{item} };
	my $taken = $load->{seats}{taken}{ $booking->{item} };

	return if $booking->{may};
	$booking->{may} = 1;
	each_leg($booking, sub {
		my ($leg, $place) = @_;

		$count->[$leg][$place]++;
		vec($taken->[$leg], $place, 1) = 1;
	});
	return;
}

# The order is live no more.
sub leave
{
	my ($load, $booking, $now) = @_;
	my $count = $load->{seats}{count}{ $booking->{item} };
	my $taken = $load->{seats}{taken}{ $booking->{item} };

	let_go($load, $booking);
	return unless $booking->{may};
	$booking->{may} = 0;
	each_leg($booking, sub {
		my ($leg, $place) = @_;

		vec($taken->[$leg], $place, 1) = 0 unless --$count->[$leg][$place];
	});
	push @{ $load->{seats}{released}{ $booking->{item} } }, map { [ $now, $_->[0] - 1, $_->[1] ] } @{ $booking->{pieces} };
	return;
}

# The order is surely live.
sub have
{
	my ($load, $booking) = @_;
	my $owner = $load->{seats}{owner}{ $booking->{item} };

	return if $booking->{sure};
	$booking->{sure} = 1;
	each_leg($booking, sub {
		my ($leg, $place) = @_;
		my $other = $owner->[$leg][$place];

		$load->finding(sprintf('item %d: leg %d of seat %d is sold twice, with orders %s and %s',
				$booking->{item}, $leg, $place + 1, $other, $booking->{order})) if defined $other;
		$owner->[$leg][$place] = $booking->{order};
	});
	return;
}

# The order is not surely live any more.
sub let_go
{
	my ($load, $booking) = @_;
	my $owner = $load->{seats}{owner}{ $booking->{item} };

	return unless $booking->{sure};
	$booking->{sure} = 0;
	each_leg($booking, sub {
		my ($leg, $place) = @_;

		$owner->[$leg][$place] = undef if ($owner->[$leg][$place] // 0) == $booking->{order};
	});
	return;
}

my %replay = (
	may => \&hold,
	again => sub { my ($load, $booking) = @_; $booking->{again} = 1; hold($load, $booking) },
	sure => sub { my ($load, $booking) = @_; have($load, $booking) unless $booking->{cancelling} || $booking->{was_due} },
	due => sub { my ($load, $booking) = @_; $booking->{was_due} = 1; let_go($load, $booking) unless $booking->{paid} },
	paid => sub { my ($load, $booking) = @_; $booking->{paid} = 1; have($load, $booking) unless $booking->{cancelling} },
	doubt => sub { my ($load, $booking) = @_; $booking->{cancelling} = 1; let_go($load, $booking) },
	cancelled => sub { my ($load, $booking, $now) = @_; leave($load, $booking, $now) },
	ended => sub { my ($load, $booking, $now) = @_; leave($load, $booking, $now) unless $booking->{again} },
	refused => \&judge);
my %rank = (may => 0, again => 0, doubt => 0, due => 0, sure => 1, paid => 1, refused => 2, cancelled => 3, ended => 3);

# Replay what was noted until a time: what may be taken comes before refusals of
# the same moment, what is free after them.
sub replay
{
	my ($load, $until) = @_;
	my $seats = $load->{seats};
	my @later = grep { $_->[0] > $until } @{ $seats->{events} };
	my @events = sort { $a->[0] <=> $b->[0] || $rank{ $a->[1] } <=> $rank{ $b->[1] } }
	  grep { $_->[0] <= $until } @{ $seats->{events} };

	foreach my $event (@events)
	{
		my ($time, $what, $booking) = @$event;

		$replay{$what}->($load, $booking, $time);
	}
	$seats->{events} = \@later;
	$_ = [] foreach values %{ $seats->{released} };
	return;
}

# The places of a train that an order may have had on any of these legs since a
# time, as bits.
sub busy
{
	my ($load, $item, $from, $to, $since) = @_;
	my $seats = $load->{seats};
	my $busy = $seats->{taken}{$item}[$from];
	my $legs = (1 << $to) - (1 << $from);
	my $released = $seats->{released}{$item};

	$busy |= $seats->{taken}{$item}[$_] foreach $from + 1 .. $to - 1;
	for (my $i = $#$released; $i >= 0 && $released->[$i][0] >= $since; $i--)
	{
		vec($busy, $released->[$i][1], 1) = 1 if $released->[$i][2] & $legs;
	}
	return $busy;
}

# A refusal is wrong if enough seats were free during the whole call.
sub judge
{
	my ($load, $booking) = @_;
	my $seats = $trains{ $booking->{item} }[0];
	my $busy = busy($load, @$booking{qw(item from to sent)});
	my $quantity = $booking->{quantity};
	my @free = grep { !vec($busy, $_, 1) } 0 .. $seats - 1;
	my $wrong;

	if ($booking->{named}) { $wrong = !grep { vec($busy, $_ - 1, 1) } @{ $booking->{named} } }
	elsif ($booking->{together} eq 'need') { $wrong = has_block($busy, $seats, $quantity) }
	else { $wrong = @free >= $quantity || ($quantity == 1 && goes_with_changes($load, $booking)) }
	$load->finding("item $booking->{item}: refused, with seats free from $booking->{from} to $booking->{to}: "
		  . join(' ', map { "$_=" . (ref $booking->{$_} ? "@{ $booking->{$_} }" : $booking->{$_}) } grep { defined $booking->{$_} } qw(mode quantity together changes named sent done)))
	  if $wrong;
	return;
}

# Are so many seats free beside each other in a block?
sub has_block
{
	my ($busy, $seats, $quantity) = @_;
	my $run = 0;

	foreach my $place (0 .. $seats - 1)
	{
		$run = 0 if $place % $block_size == 0 || vec($busy, $place, 1);
		$run++ unless vec($busy, $place, 1);
		return 1 if $run >= $quantity;
	}
	return 0;
}

# Can a passenger travel with no more changes than are allowed?  From each stop the
# seat that is free for the longest is best.
sub goes_with_changes
{
	my ($load, $booking) = @_;
	my $seats = $trains{ $booking->{item} }[0];
	my $at = $booking->{from};

	for (my $changes = 0; $changes <= $booking->{changes}; $changes++)
	{
		my $to = $at;

		while ($to < $booking->{to})
		{
			my $busy = busy($load, $booking->{item}, $at, $to + 1, $booking->{sent});

			last unless grep { !vec($busy, $_, 1) } 0 .. $seats - 1;
			$to++;
		}
		return 1 if $to == $booking->{to};
		return 0 if $to == $at;
		$at = $to;
	}
	return 0;
}


#
# Laws
#

# The seats of an order are those that were asked for.
sub check_choice
{
	my ($load, $booking, $order) = @_;
	my ($seats, $legs) = @{ $trains{ $booking->{item} } };
	my ($quantity, $changes) = @$booking{qw(quantity changes)};
	my (@passengers, %places);
	my @pieces = @{ $booking->{pieces} };
	my $who = "order $order of item $booking->{item}: seats " . text(\@pieces);

	each_leg($booking, sub { $passengers[ $_[0] ]++; $places{ $_[1] } = 1 });
	foreach my $leg (0 .. $legs - 1)
	{
		my $want = $leg >= $booking->{from} && $leg < $booking->{to} ? $quantity : 0;

		$load->finding("$who, should be $quantity from $booking->{from} to $booking->{to}")
		  if ($passengers[$leg] // 0) != $want;
	}
	$load->finding("$who, of which there are $seats") if grep { $_->[0] < 1 || $_->[0] > $seats } @pieces;
	$load->finding("$who have too many changes") if @pieces > $quantity * (1 + $changes);
	$load->finding("$who, should be @{ $booking->{named} }")
	  if $booking->{named} && join(' ', map { $_->[0] } @pieces) ne "@{ $booking->{named} }";
	return if $booking->{named} || $booking->{together} ne 'need';
	my @place = sort { $a <=> $b } keys %places;
	$load->finding("$who are not beside each other")
	  if @place != $quantity || $place[-1] - $place[0] != $quantity - 1
	  || int($place[0] / $block_size) != int($place[-1] / $block_size);
	return;
}

# Of a booking that was not answered, the order that it has made, if any.
sub find_unknown
{
	my ($load, $item, $user, $quantity, $request, $pieces) = @_;
	my $unknown = $load->{seats}{unknown};
	my $legs = 0;

	$legs |= $_->[1] foreach @$pieces;
	foreach my $i (0 .. $#$unknown)
	{
		my $booking = $unknown->[$i];

		next if $booking->{item} != $item || $booking->{user} != $user || $booking->{quantity} != $quantity
		  || ($booking->{request} // '') ne ($request // '') || legs($booking) != $legs;
		return splice(@$unknown, $i, 1);
	}
	return;
}

# Compare log and tables while no session is busy, and replay the log.
sub check
{
	my ($load) = @_;
	my $seats = $load->{seats};
	my (%state, %row, %taken, %live);
	my $trains = join(', ', sort keys %trains);
	my $rows = $load->control->ask(<<"EOC");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL enable_indexscan = off;
SELECT item_id, seat, taken FROM seckill.seats;
SELECT item_id, order_id, user_id, quantity, request_id, state, seats, seat_legs FROM seckill.orders
WHERE item_id IN ($trains) ORDER BY order_id;
COMMIT
EOC
	my $now = time;

	$taken{ $_->[0] }{ $_->[1] } = $_->[2] foreach grep { @$_ == 3 } @$rows;
	foreach my $row (grep { @$_ == 8 } @$rows)
	{
		my ($item, $order, $user, $quantity, $request, $state, $numbers, $legs) = @$row;
		my $pieces = pieces($numbers // '', $legs // '');
		my $booking = $seats->{bookings}{$order};

		$state{$order} = $state;
		if (!$booking)
		{
			$booking = find_unknown($load, $item, $user, $quantity, $request, $pieces);
			$load->finding("order $order of item $item: nobody asked for it") unless $booking;
			enter($load, $booking // { item => $item, user => $user, from => 0, to => 1, quantity => $quantity, sent => $now, changes => 0,
					together => 'any' }, $order, $pieces);
		}
		$load->finding("order $order of item $item was told with seats " . text($booking->{pieces}) . ', has ' . text($pieces))
		  if $booking && text($booking->{pieces}) ne text($pieces);
		next unless $state =~ /pending|confirmed/;
		foreach my $piece (@$pieces)
		{
			$load->finding("item $item: two live orders have legs of seat $piece->[0]")
			  if ($live{$item}{ $piece->[0] } // 0) & $piece->[1];
			$live{$item}{ $piece->[0] } |= $piece->[1];
		}
	}
	foreach my $item (keys %taken)
	{
		foreach my $seat (sort { $a <=> $b } keys %{ $taken{$item} })
		{
			my ($is, $should) = ($taken{$item}{$seat}, $live{$item}{$seat} // 0);

			$load->finding("item $item: seat $seat has taken $is, its orders have $should") if $is != $should;
		}
	}
	replay($load, $now);
	settle($load, $_, $state{ $_->{order} } // 'none', $now) foreach values %{ $seats->{bookings} };
	$load->finding("item $_->[0]: audit of seats: $_->[1]") foreach @{ $load->control->ask(<<'EOC') };
SELECT item_id, a FROM seckill_audit_seats() a WHERE sold_twice <> 0 OR different <> 0
EOC
	return;
}

# The state that an order has after all that was noted.
sub settle
{
	my ($load, $booking, $state, $now) = @_;

	if ($state =~ /pending|confirmed/)
	{
		$load->finding("order $booking->{order} of item $booking->{item} is $state, has ended before")
		  unless $booking->{may} || $booking->{lost_move};
		hold($load, $booking);
		@$booking{qw(cancelling lost_move)} = ();
		have($load, $booking) if $state eq 'confirmed';
	}
	else
	{
		leave($load, $booking, $now);
		delete $load->{seats}{pending}{ $booking->{order} };
	}
	return;
}

# At the end of a sale: nothing is held, and every leg that is left can be sold.
sub close_sale
{
	my ($load) = @_;
	my $control = $load->control;

	foreach my $item (sort keys %trains)
	{
		my ($seats, $legs) = @{ $trains{$item} };
		my $mode = $load->row_mode;

		$mode = 'retry' if $mode eq 'optimistic';
		$load->await_zero("seats held of item $item", "SELECT count(*) FROM seckill_seat_map($item) WHERE state = 'held'");
		$control->ask(<<"EOC");
SELECT count(*) FROM generate_series(0, $legs - 1) f, generate_series(1, $seats + 1) n,
	LATERAL seckill_book($item, 2000000 + n, f, f + 1, mode => '$mode')
EOC
		my ($all, $taken, $sold) = @{ $control->ask("SELECT seat_legs, taken, sold FROM seckill_audit_seats($item)")->[0] };

		$load->finding("item $item: of $all legs of seats, $taken are taken and $sold sold by $mode")
		  if $taken != $all || $sold != $all;
	}
	return;
}

1;
