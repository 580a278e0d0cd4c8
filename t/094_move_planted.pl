# Each check of a move has a purpose: without it the move goes wrong, and the audit of
# the cluster, or the orders, show it.  Every error that a move can have is planted:
# the destination sells without asking, or when another move of the item is over; the
# source is rolled back too late, releases a copy of another move or one that differs,
# takes an id twice, or goes on selling; a copy replaces an item that is sold, or comes late.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

needs_contrib('dblink');
needs_contrib('plproxy');

my @nodes = map { cluster_node($_, conf => "seckill.move_timeout = '1h'\n") } qw(one two three);
my ($one, $two, $three) = @nodes;
join_nodes(@nodes);
my $router = make_router(@nodes);
my $item = 0;
my $connect = "SELECT seckill.connect('c', 1)";

sub sql
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# Replace a text of a function by another one on all nodes; returns what undoes it.
sub plant
{
	my ($function, $from, $to) = @_;
	my $text = sql($one, "SELECT pg_get_functiondef('$function'::regproc)");
	my $planted = $text;

	is($planted =~ s/\Q$from\E/$to/, 1, "planted in $function");
	sql($_, $planted) foreach @nodes;
	return sub { sql($_, $text) foreach @nodes };
}

# A new item on node 1 with an order, and the id of its move.
sub new_item
{
	$item++;
	sql($one, qq{SELECT seckill_put_item($item, '{"stock": 10}'); SELECT seckill_buy($item, 1, 'cache')});
	return sprintf 'cccccccc-0000-0000-0000-%012d', $item;
}

# The steps of a move from node 1, to node 2 if nothing else is said.
sub out { my ($id, $to) = @_; return sql($one, "SELECT seckill_move_out($item, ${\($to // 2)}, '$id')"); }
sub in { my ($id, $node) = @_; return sql($node // $two, "$connect; SELECT seckill.move_in('c', $item, 1, '$id', 1)"); }

sub release
{
	my ($id, $node) = @_;
	my ($orders, $units, $contents) = split /\|/,
	  sql($node // $two, "SELECT orders, units, contents FROM seckill.moves WHERE move_id = '$id'");
	return sql($one, "SELECT seckill_move_release($item, '$id', $orders, $units, '$contents')");
}
sub end { my ($id, $node) = @_; return sql($node // $two, "$connect; SELECT seckill.move_end('c', $item, '$id')"); }
sub verdict { return sql($router, "SELECT verdict FROM cluster_audit($item)"); }

# The id of another move of the item.
sub other { return sprintf 'dddddddd-0000-0000-0000-%012d', $item; }
sub cancel { return sql($one, "SELECT seckill_move_cancel($item)"); }

# Make an order on a node; returns its number.
sub buy { my ($node) = @_; return sql($node, "SELECT order_id FROM seckill_buy($item, 7)"); }

sub is_lost
{
	my ($order) = @_;
	return sql($router, "SELECT count(*) = 0 FROM seckill.cluster_orders WHERE item_id = $item AND order_id = $order") eq 't';
}

# A copy that is held up, after it has found that the move is open and the item is not
# here.  Returns what lets it go on and waits for its end.
sub late_copy
{
	my ($id) = @_;
	my $gate = $two->background_psql('postgres');
	my ($out, $err) = ('', '');

	$gate->query_safe('SELECT pg_advisory_lock(4711)');
	my $copy = IPC::Run::start([ 'psql', '-XAtq', '-d', $two->connstr('postgres'), '-c', 'SET test.late = on',
			'-c', "$connect; SELECT seckill.move_in('c', $item, 1, '$id', 1)" ], '>', \$out, '2>', \$err);
	$two->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted")
	  or die 'the copy is not held up';
	return sub {
		$gate->query_safe('SELECT pg_advisory_unlock(4711)');
		$gate->quit;
		$copy->finish or diag($err);
	};
}
my $copies = q{PERFORM seckill.delete_item_rows(item_id);};
my $copies_late = qq{IF current_setting('test.late', true) = 'on' THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; $copies};
my $compares = q{IF (own.orders, own.units, own.contents) IS DISTINCT FROM (orders, units, contents) THEN};

# All steps are made by hand: the maintenance workers leave copies alone for longer, and a
# copy waits for longer.
plant('seckill.move_in', "SET lock_timeout TO '5s'", "SET lock_timeout TO '10min'");
plant('seckill.tend_moves', q{m.changed_at + '1 s'}, q{m.changed_at + '1 h'});

# Nothing is planted: all is well.
my $id = new_item();
out($id), in($id), release($id), end($id);
is(verdict(), 'ok', 'nothing planted');

# The destination sells without asking.
my $undo = plant('seckill.move_end', q{IF other IN ('gone', 'forgotten') THEN}, 'IF true THEN');
$id = new_item();
out($id), in($id), end($id);
sql($one, "SELECT seckill_move_cancel($item)");
is(verdict(), 'sold on two nodes', 'the destination does not ask');
$undo->();

# The source is rolled back after the release.
$undo = plant('seckill_move_cancel', q{m.state = 'moving'}, q{m.state IN ('moving', 'gone')});
my $undo_place = plant('seckill_move_cancel', q{'moving', 'here'}, q{coalesce((SELECT i.place FROM seckill.items i WHERE i.item_id = known.item_id), 'here'), 'here'});
$id = new_item();
out($id), in($id), release($id), end($id);
sql($one, "SELECT seckill_move_cancel($item)");
is(verdict(), 'sold on two nodes', 'a rollback after the release');
$undo_place->();
$undo->();

# The source does not compare the copy with what it has.
$undo = plant('seckill_move_release', $compares, 'IF false THEN');
$id = new_item();
out($id), in($id);
sql($one, "SET session_replication_role = replica; UPDATE seckill.orders SET quantity = 2 WHERE item_id = $item;
	UPDATE seckill.items SET stock = stock - 1 WHERE item_id = $item");
release($id), end($id);
is(verdict(), 'a move has changed it', 'a copy that is not compared');
$undo->();

# A copy replaces an item that is sold.
$undo = plant('seckill.move_in', q{IF place IN ('here', 'moving') THEN}, 'IF false THEN');
my $undo_state = plant('seckill.move_in', q{WHERE m.state = 'arriving';}, ';');
$id = new_item();
out($id), in($id), release($id), end($id);
my $order = sql($two, "SELECT order_id FROM seckill_buy($item, 2)");
in($id);
is(sql($two, "SELECT count(*) FROM seckill.orders WHERE item_id = $item AND order_id = $order"), 0, 'a copy over an active item loses an order');
isnt(verdict(), 'ok', 'and the audit shows it');
$undo_state->();
$undo->();

# The source goes on selling: a second move is not refused, so two nodes get the item.
$undo = plant('seckill_move_out', q{PERFORM public.seckill_set_place(item_id, 'here', 'moving');}, '');
my $undo_gone = plant('seckill_move_release', q{PERFORM public.seckill_set_place(item_id, 'moving', 'gone');}, '');
$id = new_item();
out($id), in($id), release($id), end($id);
is(verdict(), 'sold on two nodes', 'the source does not stop');
$undo_gone->();
$undo->();

# A late copy, with nothing planted but the gate: the next mover waits for it, and then
# does not believe it.
my $undo_gate = plant('seckill.move_in', $copies, $copies_late);
$id = new_item();
out($id);
my $go_on = late_copy($id);
cancel();
$order = buy($one);
out(other());
my ($out, $err) = ('', '');
my $next = IPC::Run::start([ 'psql', '-XAtq', '-d', $two->connstr('postgres'), '-c',
		"$connect; SELECT seckill.move_in('c', $item, 1, '${\other()}', 1)" ], '>', \$out, '2>', \$err);
ok($two->poll_query_until('postgres', "SELECT count(*) >= 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = $item AND NOT granted"),
	'the next copy waits for a late one');
$go_on->();
ok($next->finish, 'and is made then') or diag($err);
is(end($id) =~ s/.*\n//sr, 'dropped', 'the late one is dropped');
release(other()), end(other());
is(verdict() . is_lost($order), 'ok', 'all is well');

# Copies do not take turns: a late one replaces an item that is sold.
$undo = plant('seckill.move_in', 'PERFORM public.seckill_lock_arrival(item_id);', '');
$id = new_item();
out($id);
$go_on = late_copy($id);
cancel();
out(other()), in(other()), release(other()), end(other());
$order = buy($two);
$go_on->();
is(is_lost($order), 1, 'a late copy loses an order');
isnt(verdict(), 'ok', 'and the audit shows it');

# The source takes an id twice, too: so it cannot tell an old copy from the new one.
my $undo_id = plant('seckill_move_out', 'ELSIF known.state IS NOT NULL THEN', 'ELSIF false THEN');
my $undo_insert = plant('seckill_move_out', q{to_node, 'moving');}, q{to_node, 'moving') ON CONFLICT ON CONSTRAINT moves_pkey DO UPDATE SET state = 'moving';});
$id = new_item();
out($id);
$go_on = late_copy($id);
cancel();
$order = buy($one);
out($id), in($id), release($id);
$go_on->();
end($id);
is(is_lost($order), 1, 'an id that is taken twice loses an order');
is(verdict(), 'a move has changed it', 'and the audit shows it');
$_->() foreach $undo_insert, $undo_id, $undo, $undo_gate;

# The source releases the item to one move when the copy is that of another: nobody sells.
$undo = plant('seckill_move_release', 'm.move_id = seckill_move_release.move_id', q{m.state = 'moving'});
my $undo_compare = plant('seckill_move_release', $compares, 'IF false THEN');
$id = new_item();
out($id), in($id);
cancel();
$order = buy($one);
out(other()), release($id);
is(end($id) =~ s/.*\n//sr, 'dropped', 'the destination does not take the copy');
is(verdict(), 'lost in a move', 'a release for another move');
in(other());
is(end(other()) =~ s/.*\n//sr, 'here', 'the rows are still there to be copied');
is(is_lost($order), '', 'with all orders');
$undo_compare->();
$undo->();

# The destination sells when another move of the item is over.
$undo = plant('seckill.move_end', q{format('SELECT state FROM seckill_move_state(%s, %L)', item_id, move_id)},
	q{format('SELECT state FROM seckill.moves WHERE item_id = %s AND state = ''gone''', item_id)});
$id = new_item();
out($id), in($id);
cancel();
out(other(), 3), in(other(), $three), release(other(), $three);
end($id), end(other(), $three);
is(verdict(), 'sold on two nodes', 'the end of another move');
$undo->();

# An item that is gone and was never accepted.
$id = new_item();
out($id), in($id), release($id);
sql($two, "SELECT seckill.delete_item_rows($item); DELETE FROM seckill.moves WHERE move_id = '$id'");
is(verdict(), 'lost in a move', 'a copy that is dropped');
$_->stop foreach $router, @nodes;
done_testing();
