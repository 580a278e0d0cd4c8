# Each check of a move has a purpose: without it the move goes wrong, and the audit of
# the cluster, or the orders, show it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

needs_contrib('dblink');
needs_contrib('plproxy');

my ($one, $two) = map { cluster_node($_) } qw(one two);
join_nodes($one, $two);
my $router = make_router($one, $two);
my $item = 0;
my $connect = "SELECT seckill.connect('c', 1)";

sub sql
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# Replace a text of a function by another one on both nodes; returns what undoes it.
sub plant
{
	my ($function, $from, $to) = @_;
	my $text = sql($one, "SELECT pg_get_functiondef('$function'::regproc)");
	my $planted = $text;

	is($planted =~ s/\Q$from\E/$to/, 1, "planted in $function");
	sql($_, $planted) foreach $one, $two;
	return sub { sql($_, $text) foreach $one, $two };
}

# A new item on node 1 with an order, and the id of its move.
sub new_item
{
	$item++;
	sql($one, qq{SELECT seckill_put_item($item, '{"stock": 10}'); SELECT seckill_buy($item, 1, 'cache')});
	return sprintf 'cccccccc-0000-0000-0000-%012d', $item;
}

sub out { my ($id) = @_; return sql($one, "SELECT seckill_move_out($item, 2, '$id')"); }
sub in { my ($id) = @_; return sql($two, "$connect; SELECT seckill.move_in('c', $item, 1, '$id', 1)"); }

sub release
{
	my ($id, $copy) = @_;
	my ($orders, $units, $contents) = split /\|/,
	  $copy // sql($two, "SELECT orders, units, contents FROM seckill.moves WHERE move_id = '$id'");
	return sql($one, "SELECT seckill_move_release($item, '$id', $orders, $units, '$contents')");
}
sub end { my ($id) = @_; return sql($two, "$connect; SELECT seckill.move_end('c', $item, '$id')"); }
sub verdict { return sql($router, "SELECT verdict FROM cluster_audit($item)"); }

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
$undo = plant('seckill_move_release', q{IF (own.orders, own.units, own.contents) IS DISTINCT FROM (orders, units, contents) THEN}, 'IF false THEN');
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

# An item that is gone and was never accepted.
$id = new_item();
out($id), in($id), release($id);
sql($two, "SELECT seckill.delete_item_rows($item); DELETE FROM seckill.moves WHERE move_id = '$id'");
is(verdict(), 'lost in a move', 'a copy that is dropped');
$_->stop foreach $router, $one, $two;
done_testing();
