# Two nodes whose moves can be stopped at each statement of each step, see
# src/base/fault.h; and the laws of an item that was to be moved from node 1 to 2.
package MoveFaults;

use strict;
use warnings;
use Exporter 'import';
use FindBin;
use lib "$FindBin::RealBin/../torture";
use ClusterTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use Time::HiRes qw(sleep);
use TortureFaults;

our @EXPORT = qw(faulty_nodes points arm disarm has_struck new_sale start_mover run_mover move_sale step_of_move
  note_sale check_sales no_open_moves steps_passed some sweep sweep_passes);

# The steps of a move, in SQL and on both sides.
my @functions = qw(seckill_move seckill.connect seckill.try_step seckill.move_in seckill.move_end
  seckill.delete_item_rows seckill.item_contents seckill.item_rows seckill_move_out seckill_move_release
  seckill_move_cancel seckill_move_state seckill_move_forget seckill.tend_moves);

# What drives a move, here and on the other node.
my $mover = 'mover';

my @nodes;
my $item = 0;

# What is to be checked.
my @noted;

# Put a fault point behind each statement of a function, named after it and numbered.
sub with_faults
{
	my ($definition) = @_;
	my ($name) = $definition =~ /(?:FUNCTION|PROCEDURE) \w+\.(\w+)/ or die $definition;
	my ($head, $body) = $definition =~ /^(.*?\$(?:function|procedure)\$\n?)(.*)$/s or die $definition;
	my ($n, $depth, $statement, $begun, $result) = (0, 0, '', 0, '');
	my $point = sub { sprintf q{%s public.fault_pass('%s %d');}, $_[0], $name, ++$n };

	# what the maintenance worker does on the other node is not what a driver does
	$body =~ s/(seckill\.connect\(connection, m\.peer\);)/$1 PERFORM seckill.remote_run(connection, 'SET application_name = tender');/;
	return $head . $point->('SELECT') . "\n$body" if $definition =~ /LANGUAGE sql/;
	foreach my $line (split /\n/, $body)
	{
		$result .= "$line\n";
		if (!$begun)
		{
			next unless $line =~ /^BEGIN$/;
			$begun = 1;
			$result .= '	' . $point->('PERFORM') . "\n";
			next;
		}
		$statement .= "$line\n";
		$depth += () = $line =~ /[(\[]/g;
		$depth -= () = $line =~ /[)\]]/g;
		next unless $line =~ /;\s*$/ && $depth == 0;
		$result .= '	' . $point->('PERFORM') . "\n"
		  unless $statement =~ /(?:^|\b(?:THEN|ELSE|LOOP|BEGIN))\s+(?:RETURN(?! QUERY| NEXT)|RAISE)\b[^;]*;\s*$/;
		$statement = '';
	}
	return $head . $result =~ s/\n\z//r;
}

# The fault points in these functions.
sub points
{
	my $node = $nodes[0];

	return map { $node->safe_psql('postgres', "SELECT pg_get_functiondef('$_'::regproc)") =~ /fault_pass\('([^']+)'\)/g } @_;
}

# Two nodes that have joined, with fault points.  Maintenance workers do not wait, if they
# are hasty.
sub faulty_nodes
{
	my ($conf, %params) = @_;
	my $path = TortureFaults::install_faulty();

	@nodes = map {
		cluster_node($_, install_path => $path, conf => <<'EOC' . ($conf // ''))
restart_after_crash = on
seckill.move_timeout = '1s'
seckill.move_wait = '20ms'
EOC
	} qw(one two);
	join_nodes(@nodes);
	foreach my $node (@nodes)
	{
		$node->safe_psql('postgres', <<"EOC");
UPDATE seckill.nodes SET server = server || ' application_name=$mover';
CREATE UNLOGGED TABLE alive AS SELECT 1;
CREATE FUNCTION fault_pass(text) RETURNS void
	AS '\$libdir/seckill', 'seckill_fault_pass' LANGUAGE C STRICT;
EOC
		TortureFaults::make_fault_functions($node);
		$node->safe_psql('postgres', <<'EOC');
-- what is wrong with an item that is sold here, once all of it is sold
CREATE FUNCTION wrong(item bigint, orders integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got record;
	place text;
BEGIN
	SELECT count(*) AS orders, count(DISTINCT request_id) AS requests, count(*) FILTER (WHERE state = 'confirmed') AS paid,
		count(*) FILTER (WHERE state = 'pending' AND pay_by > now()) AS to_pay, min(order_id) FILTER (WHERE state = 'pending') AS next
	INTO got FROM seckill.orders WHERE item_id = item;
	IF (got.orders, got.requests, got.paid, got.to_pay) <> (orders, orders, 1, orders - 1) THEN
		RETURN format('orders: %s', got);
	ELSIF seckill_confirm(item, got.next) <> 'confirmed' THEN
		RETURN 'no payment';
	ELSIF (SELECT order_id FROM seckill_buy(item, 3, 'cache', 1, md5(item || ' 3')::uuid))
		<> (SELECT order_id FROM seckill.orders WHERE item_id = item AND user_id = 3) THEN
		RETURN 'a request is not answered by its order';
	ELSIF (SELECT outcome FROM seckill_buy(item, 3, 'retry', 2)) <> 'limit_reached' THEN
		RETURN 'the limit does not count';
	END IF;
	SELECT count(*) AS n INTO got FROM seckill_buy_many(item, ARRAY(SELECT generate_series(101, 120)::bigint), 'cache')
	WHERE outcome = 'sold';
	IF got.n <> 12 - orders THEN
		RETURN format('%s of %s units are sold', got.n, 12 - orders);
	END IF;
	SELECT * INTO got FROM seckill_audit(item);
	RETURN CASE WHEN got.difference <> 0 OR got.sold <> 12 THEN format('audit: %s', got) ELSE '' END;
END
$$;
EOC
		foreach my $function (@functions)
		{
			my $planted = with_faults($node->safe_psql('postgres', "SELECT pg_get_functiondef('$function'::regproc)"));

			$planted =~ s/'1 s'/'10 ms'/g if $params{hasty};
			$node->safe_psql('postgres', $planted);
		}
	}
	return @nodes;
}

# Arm a fault; a session of anything that drives a move passes the step if no victim is
# named.
sub arm
{
	my ($node, $step, $pass, $action, $victim) = @_;

	$node->safe_psql('postgres', sprintf q{SELECT fault_arm('%s', '%s', %d, '%s')}, $victim // $mover, $step, $pass, $action);
	return;
}

# Wait until the fault has struck, or a query is true; returns whether it has struck.
sub has_struck
{
	my ($node, $query) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $end)
	{
		my ($ret, $out) = eval { $node->psql('postgres', "SELECT fault_struck() IS NOT NULL, ($query)") };

		return 1 if !defined $ret || $ret != 0 || $out =~ /^t/;
		return 0 if $out =~ /t$/;
		sleep 0.02;
	}
	die "neither a fault nor $query";
}

# Wait until the server is up, and disarm its fault.  Returns the step where it has struck,
# or undef; a server that has crashed does not know.
sub disarm
{
	my ($node, $action) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $end)
	{
		# the server may go down at any moment
		my ($ret, $out) = eval { $node->psql('postgres', "SELECT CASE WHEN EXISTS (SELECT FROM alive) THEN fault_struck() ELSE 'a crash' END") };

		if (defined $ret && $ret == 0 && !(($action // '') eq 'kill' && $out ne '' && $out ne 'a crash'))
		{
			# a fault that has not struck yet may do so now
			($ret) = eval { $node->psql('postgres', q{INSERT INTO alive SELECT 1 WHERE NOT EXISTS (SELECT FROM alive); SELECT fault_arm('', '', 0, 'none')}) };
			return $out eq '' ? undef : $out if defined $ret && $ret == 0;
		}
		sleep 0.02;
	}
	die 'the server does not answer';
}

# A sale on node 1 with requests, a limit and payments; returns the item.
sub new_sale
{
	$item++;
	$nodes[0]->safe_psql('postgres', <<"EOC");
SELECT seckill_put_item($item, '{"stock": 12, "per_user_limit": 2, "pay_within": "1 hour"}');
SELECT seckill_buy($item, u, 'cache', 1, md5('$item ' || u)::uuid) FROM generate_series(1, 6) u;
SELECT seckill_confirm($item, min(order_id)) FROM seckill.orders WHERE item_id = $item;
EOC
	return $item;
}

# Run a statement in a session for which faults are armed.
sub start_mover
{
	my ($node, $sql) = @_;
	my ($out, $err) = ('', '');

	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name=$mover", '-c', $sql ],
		'>', \$out, '2>', \$err);
}

sub run_mover
{
	my ($node, $sql) = @_;

	return start_mover($node, $sql)->finish;
}

# Move it to node 2; returns whether it was told that it has moved.
sub move_sale
{
	my ($sale) = @_;

	return run_mover($nodes[1], "CALL seckill_move($sale, 1)");
}

# One step by hand.
sub step_of_move
{
	my ($sale, $n) = @_;
	my ($one, $two) = @nodes;
	my $id = sprintf 'eeeeeeee-0000-0000-0000-%012d', $sale;
	my $connect = "SELECT seckill.connect('c', 1)";

	return $one->safe_psql('postgres', "SELECT seckill_move_out($sale, 2, '$id')") if $n == 1;
	return $two->safe_psql('postgres', "$connect; SELECT seckill.move_in('c', $sale, 1, '$id', 1)") if $n == 2;
	# the destination may be down; the copy is what the source has
	return $one->safe_psql('postgres', "SELECT seckill_move_release($sale, '$id', c.orders, c.units, c.contents) FROM seckill.item_contents($sale) c") if $n == 3;
	return $two->safe_psql('postgres', "$connect; SELECT seckill.move_end('c', $sale, '$id')");
}

# Note an item to be checked by check_sales(): its name in the test, and the node where it
# must be, if that is known; how many orders it has.
sub note_sale
{
	my ($sale, $at, $name, $orders) = @_;

	push @noted, { sale => $sale, at => $at, name => $name, orders => $orders // 6 };
	return;
}

# Rows of a query on a node, by the first column; nothing if it is down.
sub by_item
{
	my ($node, $query) = @_;
	my ($ret, $out) = eval { $node->psql('postgres', $query) };

	return unless defined $ret && $ret == 0;
	return map { /^(\d+)\|(.*)$/ ? ($1 => $2) : () } split /\n/, $out;
}

# Wait until each item noted is sold on one node, and look at all of it.
sub check_sales
{
	my ($name) = @_;
	my $list = join ',', map { $_->{sale} } @noted;
	my $places = "SELECT i, place FROM unnest(ARRAY[$list]) i, seckill_whereis(i)";
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my (@places, @wrong, @stuck);

	while (time < $end)
	{
		@places = map { +{ by_item($_, $places) } } @nodes;
		@stuck = grep { my $sale = $_->{sale}; 1 != grep { ($_->{$sale} // '') eq 'here' } @places } @noted;
		last if !@stuck;
		sleep 0.05;
	}
	@wrong = map { my $sale = $_->{sale}; "$_->{name}: places " . join ' and ', map { $_->{$sale} // 'none' } @places } @stuck;
	foreach my $n (1, 2)
	{
		my %is = map { $_->{sale} => $_ } grep { ($places[ $n - 1 ]{ $_->{sale} } // '') eq 'here' } @noted;
		my $sales = join ',', map { "($_->{sale}, $_->{orders})" } sort { $a->{sale} <=> $b->{sale} } values %is;
		my %found = $sales ? by_item($nodes[ $n - 1 ], "SELECT i, wrong(i, orders) FROM (VALUES $sales) v (i, orders)") : ();

		foreach my $sale (keys %is)
		{
			my $is = $is{$sale};
			my $found = $found{$sale} // 'no answer';

			$found = "it is on node $n" if $is->{at} && $is->{at} != $n;
			push @wrong, "$is->{name}: $found" if $found ne '';
		}
	}
	is(join("\n", @wrong), '', "${\scalar @noted} items are sold on one node, with all orders: $name");
	@noted = ();
	return;
}

# Nothing is left open on any node.
sub no_open_moves
{
	my ($name) = @_;

	foreach my $node (@nodes)
	{
		ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM seckill.moves WHERE state IN ('moving', 'arriving')}),
			"no open move on ${\$node->name} $name");
		check_audit($node, $name);
		check_cache($node, $name);
	}
	check_moves($name, @nodes);
	return;
}

# All of these steps, or one in three to save time, unless MOVE_FAULTS is "all".
sub some
{
	my @list = @_;
	my $first = int(rand(3));

	return @list if ($ENV{MOVE_FAULTS} // '') eq 'all';
	return @list[ grep { $_ % 3 == $first } 0 .. $#list ];
}

# Make an act fail on a node at each of its fault points, with an error.  Returns the
# steps passed, each once.  The act gets a new sale that is prepared, and returns the number
# of the node where the item must be, or undef.
sub steps_passed
{
	my ($node, $name, %case) = @_;
	my (@steps, %passed);

	foreach my $pass (1 .. 300)
	{
		my $sale = new_sale();

		$case{before}->($sale) if $case{before};
		arm($node, '*', $pass, 'error', $case{victim});
		my $at = $case{act}->($sale);
		my $step = disarm($node, 'error');
		note_sale($sale, $at, 'error: ' . ($step // 'none'));
		last unless defined $step;
		push @steps, $step unless $passed{$step}++;
	}
	check_sales("$name, errors at " . @steps . ' steps');
	return @steps;
}

# The same with another fault, at each of these steps.
sub sweep
{
	my ($node, $name, $action, $steps, %case) = @_;
	my (@missed, @passed);

	foreach my $step (@$steps)
	{
		my $sale = new_sale();

		$case{before}->($sale) if $case{before};
		arm($node, $step, 1, $action, $case{victim});
		my $at = $case{act}->($sale);
		defined disarm($node, $action) ? push @passed, $step : push @missed, $step;
		note_sale($sale, $at, "$action: $step");
	}
	$case{may_miss}
	  ? cmp_ok(scalar @passed, '>', 0, "$name, $action: some steps are passed")
	  : is(join(', ', @missed), '', "$name, $action: every step is passed");
	check_sales("$name, $action at " . @passed . ' steps');
	return @passed;
}

# A crash of the server at each pass of a step at which no error may be raised.
sub sweep_passes
{
	my ($node, $name, $step, %case) = @_;

	foreach my $pass (1 .. 300)
	{
		my $sale = new_sale();

		$case{before}->($sale) if $case{before};
		arm($node, $step, $pass, 'kill', $case{victim});
		my $at = $case{act}->($sale);
		my $struck = disarm($node, 'kill');
		note_sale($sale, $at, "$step, pass $pass");
		next if defined $struck;
		cmp_ok($pass, '>', 1, "$name, $step: " . ($pass - 1) . ' passes');
		last;
	}
	check_sales("$name, crash after $step");
	return;
}

1;
