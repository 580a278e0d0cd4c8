# The worst that an application does around the calls: rows of other tables that
# reference items and orders, triggers that catch the errors of purchases,
# pipelines, many calls in one statement, functions with a false PARALLEL label.
package TortureShop;

use strict;
use warnings;
use TortureAdmin qw(change_item tamper save_form);

# The weight of each action.  SHOP restricts the actions to those that it names.
my %weight = (
	buy_with_cart => 5, browse => 3, complain => 3, buy_in_pipeline => 4, queue_in_pipeline => 3,
	queue_inside => 2, buy_again => 2, buy_in_one_statement => 5, call_in_parallel => 3, save_form => 4,
	change_item => 3, tamper => 2, use_request_again => 2, buy_at_commit => 2, buy_by_cursor => 2, buy_in_two_phases => 3);
my @kinds = map { ($_) x $weight{$_} } defined $ENV{SHOP} ? split(/ /, $ENV{SHOP}) : sort keys %weight;

#
# Tables, triggers and functions
#

# The trigger function meddle() acts on a tenth of the changes, in any process.  It
# catches its errors; a gift is another order in the same transaction.
my $schema = <<'EOC';
CREATE TABLE public.cart (item_id bigint REFERENCES seckill.items, user_id bigint);
CREATE TABLE public.refunds (item_id bigint, order_id bigint, user_id bigint,
	FOREIGN KEY (item_id, order_id) REFERENCES seckill.orders);
CREATE TABLE public.wishes (item_id bigint, user_id bigint, mode seckill_mode);
CREATE TABLE public.crowd AS SELECT 1 AS n;

CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$
DECLARE
	dice double precision := random();
BEGIN
	BEGIN
		IF dice < 0.2 THEN
			PERFORM seckill_buy(777, 1);
		ELSIF dice < 0.4 THEN
			PERFORM seckill_buy(6, 1, 'queue');
		ELSIF dice < 0.8 THEN
			PERFORM set_config('lock_timeout', '1ms', true);
			PERFORM seckill_buy(1 + floor(random() * 8)::bigint, 1001,
				(enum_range('optimistic'::seckill_mode, 'cache'))[1 + floor(random() * 5)]);
			PERFORM seckill_book(9, 1001, 0, 6, 2, (enum_range('optimistic'::seckill_mode, 'cache'))[1 + floor(random() * 5)]);
			RAISE 'undone';
		ELSIF TG_OP = 'INSERT' THEN
			PERFORM seckill_buy(6, -NEW.order_id, 'cache');
		END IF;
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	RETURN NULL;
END
$$;
-- a purchase when its transaction commits
CREATE FUNCTION public.grant_wish() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 / (outcome = 'sold')::int FROM seckill_buy(NEW.item_id, NEW.user_id, NEW.mode);
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER wishes AFTER INSERT ON public.wishes DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION public.grant_wish();

-- the first purchase is undone, the second stands
CREATE FUNCTION public.buy_again(item bigint, buyer bigint, first seckill_mode, second seckill_mode,
	OUT outcome seckill_outcome, OUT order_id bigint) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM seckill_buy(item, buyer, first);
		RAISE 'undone';
	EXCEPTION WHEN OTHERS THEN
		SELECT b.outcome, b.order_id INTO outcome, order_id FROM seckill_buy(item, buyer, second) b;
	END;
END
$$;

CREATE FUNCTION public.queue_and_fail(item bigint, buyer bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM seckill_buy(item, buyer, 'queue');
	RAISE 'undone';
END
$$;
CREATE FUNCTION public.queue_and_divide(item bigint, buyer bigint) RETURNS integer LANGUAGE sql AS $$
	SELECT seckill_buy(item, buyer, 'queue');
	SELECT 1 / 0;
$$;
CREATE PROCEDURE public.queue_in_procedure(item bigint, buyer bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM seckill_buy(item, buyer, 'queue');
	RAISE 'undone';
END
$$;

-- not safe at all
CREATE FUNCTION public.safe_call(call text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE call INTO answer;
	RETURN answer;
END
$$
EOC

sub set_up
{
	my ($load) = @_;
	my $control = $load->control;

	$control->ask($schema);
	TortureAdmin::set_up($load);
	$load->{in_doubt} = [];		# users of transactions that may be prepared
	return;
}

#
# Actions, see TortureLoad
#

sub next_action
{
	my ($load) = @_;
	my $kind = $kinds[ rand @kinds ];

	return defined $kind ? __PACKAGE__->can($kind)->($load) : $load->buy($load->row_mode);
}

sub item
{
	return TortureLoad::any_item();
}

# Some items in ascending order, so that transactions do not deadlock.
sub items
{
	my ($most) = @_;
	my %some = map { (item() => 1) } 1 .. $most;

	return sort { $a <=> $b } keys %some;
}

# A purchase that is answered with its item, or, with must, an error unless sold.
sub purchase
{
	my ($item, $user, $mode, $must) = @_;
	my $or_fail = $must ? ", 1 / (outcome = 'sold')::int" : '';

	return "SELECT outcome, order_id, $item$or_fail FROM seckill_buy($item, $user, '$mode')";
}

sub must_buy
{
	my ($load, $item, $user) = @_;
	return purchase($item, $user, $load->row_mode, 1);
}

# Five purchases, each for a row of a query.
sub one_by_one
{
	my ($item, $user, $mode) = @_;
	return "SELECT (b).outcome, (b).order_id, $item"
	  . " FROM (SELECT seckill_buy($item, $user, '$mode') b FROM generate_series(1, 5) OFFSET 0) s";
}

sub cart_row
{
	my ($item, $user) = @_;
	return "INSERT INTO public.cart (item_id, user_id) VALUES ($item, $user)";
}

# Sometimes the transaction has a snapshot of its own: 40001 is to be expected.
sub perhaps_isolated
{
	my $level = ('SERIALIZABLE', 'REPEATABLE READ')[ rand 2 ];
	return rand() < 0.2 ? "SET TRANSACTION ISOLATION LEVEL $level" : ();
}

# A delay, so that others wait for the holds of a transaction.
sub perhaps_sleep
{
	return rand() < 0.4 ? sprintf('SELECT pg_sleep(%.3f)', rand(0.05)) : ();
}

# An answer of purchases, which have three columns or more, to a user who has
# a deal.
sub bought
{
	my ($load, $session, $user, $n) = @_;
	my @rows = grep { @$_ >= 3 } @{ $session->{rows} };

	return $load->count_unknown($n) if $session->{lost};
	$load->dealt($session, $user);
	if ($session->{error})
	{
		$load->{count}{refused} += $n;
		return;
	}
	my @sold = grep { $_->[0] eq 'sold' } @rows;

	$load->sold({ item => $_->[2], user => $user }, $_->[1]) foreach @sold;
	$load->{count}{refused} += @rows - @sold;
	$load->{deals}{$user}{orders} //= @sold;
	return;
}

# A row of a child table, and a purchase.
sub buy_with_cart
{
	my ($load) = @_;
	my $user = $load->deal(1, 1);
	my $item = item();
	my @statements = (cart_row($item, $user), must_buy($load, $item, $user));

	@statements = reverse @statements if rand() < 0.3;
	return {
		sql => join('; ', perhaps_isolated(), @statements, perhaps_sleep()),
		done => sub { bought($load, $_[0], $user, 1) } };
}

# Rows of a child table that reference items, for a while.
sub browse
{
	my ($load) = @_;
	my @items = items(3);
	my $user = $load->deal(0, scalar @items);

	return {
		sql => join('; ', (map { cart_row($_, $user) } @items), perhaps_sleep()),
		done => sub { $load->dealt($_[0], $user) } };
}

# A row that references an order, with or without a refund.
sub complain
{
	my ($load) = @_;
	my $recent = $load->{recent};

	return browse($load) unless @$recent;
	my ($item, $order) = @{ $recent->[ rand @$recent ] };
	my $user = $load->deal(0, 1);
	my $refund = rand() < 0.5;
	my @statements = ("INSERT INTO public.refunds VALUES ($item, $order, $user)", perhaps_sleep());

	push @statements, "SELECT seckill_cancel($item, $order, true)" if $refund;
	return {
		sql => join('; ', @statements),
		done => sub {
			my ($session) = @_;

			$load->dealt($session, $user);
			$load->{moves}{$order} = 'cancelled' if $refund && !$session->{lost} && !$session->{error};
			return;
		} };
}

# Purchases with one Sync after the last are one transaction.
sub buy_in_pipeline
{
	my ($load) = @_;
	my @items = items(4);
	my $user = $load->deal(scalar @items, 1);
	my @statements = (perhaps_isolated(), (map { must_buy($load, $_, $user) } @items), cart_row($items[-1], $user));

	push @statements, 'SELECT 1 / 0' if rand() < 0.3;
	return {
		pipeline => \@statements,
		sql => join('; ', @statements),
		done => sub { bought($load, $_[0], $user, scalar @items) } };
}

# Mode queue commits at once: it can only be the first of a pipeline, and what
# follows is another transaction.
sub queue_in_pipeline
{
	my ($load) = @_;
	my @items = items(3);
	my $user = $load->deal(scalar @items, 0);
	my $buyer = { item => item(), user => $load->deal(1, 0) };
	my @before = ([], [], ['SELECT 1'], ['SELECT pg_advisory_xact_lock(4711)'], [ cart_row($items[0], $user) ]);
	my @statements = @{ $before[ rand @before ] };
	my $first = !@statements;

	$load->{deals}{$user}{rows} = 1 if "@statements" =~ /INSERT/;
	push @statements, rand() < 0.3 ? "SELECT outcome, ticket FROM seckill_submit($buyer->{item}, $buyer->{user})"
	  : "SELECT outcome, order_id FROM seckill_buy($buyer->{item}, $buyer->{user}, 'queue')";
	@items = () if !$first && rand() < 0.3;
	$load->{deals}{$user}{orders} = @items;
	push @statements, map { must_buy($load, $_, $user) } @items;
	return {
		pipeline => \@statements,
		sql => join('; ', @statements),
		done => sub {
			my ($session) = @_;

			bought($load, $session, $user, scalar @items);
			return $first ? queued_first($load, $session, $buyer) : refused_by_queue($load, $session, $buyer);
		} };
}

# A call that must fail: it has made nothing, also if the session was lost.
sub refused_by_queue
{
	my ($load, $session, $buyer) = @_;

	$load->{deals}{ $buyer->{user} }{answer} = 'none';
	return if $session->{lost};
	$load->finding("mode queue was accepted, or refused with the wrong error: " . ($session->{message} // 'none'))
	  unless ($session->{error} // '') =~ /^(25001|22012|57014|57P|40|55P03|SKF00)/;
	return;
}

# The first statement of a pipeline has its own answer, whatever happens to the
# rest.
sub queued_first
{
	my ($load, $session, $buyer) = @_;
	my $deal = $load->{deals}{ $buyer->{user} };
	my $answers = $session->{answers};
	my ($outcome, $id) = @$answers ? @{ $answers->[0][0] // [] } : ();

	return if $session->{lost};
	if (!defined $outcome)
	{
		$deal->{answer} = 'none' if ($session->{error} // '') eq '25001';
		return;
	}
	return $load->result($id, $buyer) if $outcome eq 'queued';
	$deal->{answer} = $outcome eq 'sold' ? 'whole' : 'none';
	$load->sold($buyer, $id) if $outcome eq 'sold';
	return;
}

# Mode queue inside a statement that fails afterwards: there is no order.
sub queue_inside
{
	my ($load) = @_;
	my $buyer = { item => item(), user => $load->deal(1, 0) };
	my $arguments = "($buyer->{item}, $buyer->{user})";
	my @forms = (
		"DO 'BEGIN PERFORM seckill_buy($buyer->{item}, $buyer->{user}, ''queue''); RAISE ''undone''; END'",
		"SELECT public.queue_and_fail$arguments",
		"SELECT public.queue_and_divide$arguments",
		"CALL public.queue_in_procedure$arguments");

	return {
		sql => $forms[ rand @forms ],
		done => sub { refused_by_queue($load, $_[0], $buyer) } };
}

sub buy_again
{
	my ($load) = @_;
	my $item = item();
	my $user = $load->deal(1, 0);
	my ($first, $second) = map { $load->row_mode } 1, 2;

	return {
		sql => "SELECT outcome, order_id, $item, 1 / (outcome = 'sold')::int FROM public.buy_again($item, $user, '$first', '$second')",
		done => sub { bought($load, $_[0], $user, 1) } };
}

# A deferred trigger buys the wishes of a transaction at its commit.
sub buy_at_commit
{
	my ($load) = @_;
	my @items = items(2);
	my $user = $load->deal(scalar @items, scalar @items);
	my $rows = join(', ', map { sprintf("($_, $user, '%s')", rand() < 0.05 ? 'queue' : $load->row_mode) } @items);

	return {
		sql => "INSERT INTO public.wishes VALUES $rows",
		done => sub {
			my ($session) = @_;

			return $load->count_unknown(scalar @items) if $session->{lost};
			$load->dealt($session, $user);
			$load->{count}{ $session->{error} ? 'refused' : 'sold' } += @items;
			return;
		} };
}

# A cursor that is held buys as its transaction commits; a portal with a limit
# buys for the rows that are fetched.
sub buy_by_cursor
{
	my ($load) = @_;
	my $item = item();
	my $user = $load->deal(undef, 0);
	my $many = one_by_one($item, $user, $load->row_mode);

	return { pipeline => [ [ $many, 1 + int(rand(4)) ] ], sql => $many, done => sub { bought($load, $_[0], $user, 1) } }
	  if rand() < 0.5;
	$load->{deals}{$user}{orders} = 1;
	return {
		sql => "DECLARE c$user CURSOR WITH HOLD FOR " . must_buy($load, $item, $user),
		done => sub {
			my ($session) = @_;

			return $load->count_unknown(1) if $session->{lost};
			$load->dealt($session, $user);
			return $load->{count}{refused}++ && undef if $session->{error};
			return { sql => "FETCH ALL FROM c$user", done => sub { fetched($load, $_[0], $user) } };
		} };
}

sub fetched
{
	my ($load, $session, $user) = @_;
	my (undef, $order, $item) = $session->row;

	$load->sold({ item => $item, user => $user }, $order) if defined $order;
	return $session->{lost} ? undef : $load->plain('CLOSE ALL');
}

# Prepared transactions survive their sessions and a crash of the server.
sub buy_in_two_phases
{
	my ($load) = @_;
	my $item = item();
	my $user = $load->deal(1, 1);
	my $mode = (qw(optimistic retry pessimistic advisory))[ rand 4 ];

	return {
		sql => join('; ', 'BEGIN', purchase($item, $user, $mode, 1), cart_row($item, $user), "PREPARE TRANSACTION '$user'"),
		# a gift has units of the cache
		expects => qr/^0A000/,
		done => sub {
			my ($session) = @_;

			return push(@{ $load->{in_doubt} }, $user) && undef if $session->{lost};
			return decide($load, $user) unless $session->{error};
			$load->{deals}{$user}{answer} = 'none';
			return $load->plain('ROLLBACK');
		} };
}

# The second phase.
sub decide
{
	my ($load, $user) = @_;
	my $commit = rand() < 0.7;

	return {
		sql => ($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$user'",
		done => sub {
			my ($session) = @_;

			return push(@{ $load->{in_doubt} }, $user) && undef if $session->{lost} || $session->{error};
			decided($load, $user, $commit);
			return;
		} };
}

# A prepared transaction was committed or rolled back.  Its order, if unpaid, is
# found within seckill.naptime.
sub decided
{
	my ($load, $user, $commit) = @_;

	$load->{deals}{$user}{answer} = $commit ? 'whole' : 'none';
	$load->{unannounced} = 1 if $commit;
	return;
}

# Another session ends the prepared transactions of lost sessions.
sub settle_doubts
{
	my ($load) = @_;
	my $doubts = $load->{in_doubt};

	return unless @$doubts;
	my %prepared = map { $_->[0] => 1 } @{ $load->control->ask('SELECT gid FROM pg_prepared_xacts') };
	foreach my $user (grep { $prepared{$_} } splice(@$doubts))
	{
		my $commit = rand() < 0.5;

		$load->control->ask(($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$user'");
		decided($load, $user, $commit);
	}
	return;
}

# The clients connect to another server: roll back its prepared transactions.
# Answers about them were those of the server before.
sub roll_back_prepared
{
	my ($load) = @_;

	@{ $load->{in_doubt} } = ();
	$load->control->ask("ROLLBACK PREPARED '$_->[0]'")
	  foreach @{ $load->control->ask('SELECT gid FROM pg_prepared_xacts') };
	return;
}

# Many calls in one statement.
sub buy_in_one_statement
{
	my ($load) = @_;
	my @items = items(3);
	my $user = $load->deal(undef, 0);
	my ($item) = @items;
	my $mode = $load->row_mode;
	my $ctes = join(', ', map { "b$_ AS MATERIALIZED (" . purchase($_, $user, $load->row_mode) . ')' } @items);
	my $all = join(' UNION ALL ', map { "SELECT * FROM b$_" } @items);
	my @forms = (
		one_by_one($item, $user, $mode),
		"SELECT outcome, order_id, i FROM unnest(ARRAY[" . join(', ', @items) . "]) i, seckill_buy(i, $user, '$mode')",
		"WITH $ctes $all",
		"WITH b (outcome, order_id, item) AS MATERIALIZED (" . purchase($item, $user, $mode) . '), '
		  . "c AS (INSERT INTO public.cart (item_id, user_id) SELECT item, $user FROM b WHERE outcome = 'sold' RETURNING 1) "
		  . 'SELECT b.*, 1 / count(*) FROM b, c GROUP BY 1, 2, 3');
	my $form = int(rand(@forms));

	@{ $load->{deals}{$user} }{qw(orders rows)} = (1, 1) if $form == 3;
	return {
		sql => $forms[$form],
		done => sub {
			my ($session) = @_;

			bought($load, $session, $user, scalar @items);

			# not sold: the last form has no rows then
			$load->{deals}{$user}{answer} = 'none' if $form == 3 && !$session->{lost} && !@{ $session->{rows} };
			return;
		} };
}

# A call in a parallel worker, or in the leader if no worker is available.
sub call_in_parallel
{
	my ($load) = @_;
	my $item = item();
	my $user = $load->deal(1, 0);
	my $buy = purchase($item, $user, rand() < 0.2 ? 'queue' : $load->row_mode, 1);
	my @calls = ($buy, $buy, $buy, "SELECT seckill_prewarm($item, 20)", "SELECT seckill_recall($item)",
		"SELECT count(*) FROM seckill_buy_many($item, '{1, 2, 3}', '" . $load->row_mode . "')",
		"SELECT seckill_submit($item, 1)");
	my $call = $calls[ rand @calls ] =~ s/'/''/gr;
	my @settings = map { "SET LOCAL $_" } 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0',
	  'min_parallel_table_scan_size = 0', 'parallel_leader_participation = off', 'max_parallel_workers = 2';
	my @statements = (@settings, rand() < 0.5 ? 'SELECT pg_current_xact_id()' : (),
		"SELECT public.safe_call('$call') FROM public.crowd WHERE n = 1");

	push @statements, 'SELECT 1 / 0' if rand() < 0.3;
	$load->{deals}{$user}{orders} = 0 if $call !~ /seckill_buy\(/;
	return {
		sql => join('; ', @statements),
		done => sub { $load->dealt($_[0], $user) } };
}

# A request of an order, for another quantity or another user.
sub use_request_again
{
	my ($load) = @_;
	my ($item, $order) = @{ $load->{recent}[ rand @{ $load->{recent} } ] // [] };
	my $buyer = defined $order ? $load->{orders}{$order} : undef;
	my $user = $load->deal(0, 0);

	return browse($load) unless defined $buyer && defined $buyer->{request} && !TortureLoad::is_numbered($item);
	my $request = "'$buyer->{request}'";
	my $mode = rand() < 0.3 ? 'queue' : $load->row_mode;
	my $list_mode = $load->row_mode;
	my @statements = (
		"SELECT outcome FROM seckill_buy($item, $buyer->{user}, '$mode', 3, $request)",
		"SELECT outcome FROM seckill_buy($item, $user, '$mode', request_id => $request)",
		"SELECT outcome FROM seckill_buy_many($item, ARRAY[$user], '$list_mode', ARRAY[$request]::uuid[])");
	my $sql = $statements[ rand @statements ];
	return {
		sql => $sql,
		expects => qr/^22023/,
		done => sub {
			my ($session) = @_;
			my ($outcome) = $session->row;

			$load->dealt($session, $user);
			$load->finding("$outcome: $sql") if ($outcome // 'request_reused') ne 'request_reused';
			return;
		} };
}

#
# Laws
#

# user -> rows of child tables
sub rows_of_users
{
	my ($load) = @_;
	return { map { @$_ } @{ $load->control->ask(<<'EOC') } };
SELECT user_id, count(*) FROM (SELECT user_id FROM public.cart UNION ALL SELECT user_id FROM public.refunds
	UNION ALL SELECT user_id FROM public.wishes) c
GROUP BY user_id
EOC
}

sub check
{
	my ($load) = @_;
	my $control = $load->control;

	TortureAdmin::check($load);
	$load->finding("order $_->[0] of item $_->[1] has a refund and is not there") foreach @{ $control->ask(<<'EOC') };
SELECT order_id, item_id FROM public.refunds EXCEPT SELECT order_id, item_id FROM seckill.orders
EOC
	$load->finding("$_->[0] is a gift for an order that is not there") foreach @{ $control->ask(<<'EOC') };
SELECT -user_id FROM seckill.orders WHERE user_id < 0 EXCEPT SELECT order_id FROM seckill.orders
EOC
	return;
}

1;
