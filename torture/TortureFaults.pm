# Injected faults: every call, in every form of transaction, fails at each fault
# point that it passes, one after the other.  Afterwards everything must be as if
# the call had not been made, and the item must sell to its last unit.
#
# The server is separate and has a build with fault points, see src/base/fault.h.
package TortureFaults;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use Time::HiRes qw(time sleep);
use TortureLoad;
use TortureParts qw(disturb_crowd seed);
use TortureSession;

our @EXPORT = qw(torture_faults torture_faults_at_random);
our @EXPORT_OK = qw(install_faulty make_fault_functions);

my $supply = 12;

# A call that passes more fault points than this does not end.
my $most_passes = 300;

# Each fault uses a new item; after this number of items the tables are truncated.
my $items_kept = 50;

# Seconds that anything may take.  Less than a row is deferred that fails alone, and
# than the longest backoff of the maintenance worker: neither may happen here.
my $patience = 30;


#
# The build and its server
#

# An installation of PostgreSQL beside the real one, for a build of its own: the
# server finds its files from where its program is.  One serves all tests of a run.
sub install_faulty
{
	my $dir = "$PostgreSQL::Test::Utils::tmp_check/faults";
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
	my @dirs = map { chomp(my $path = `$pg_config --$_`); $path } qw(bindir pkglibdir sharedir);
	my $make = "make -C $dir/source -s WITH_FAULTS=1 with_llvm=no PG_CONFIG=$pg_config";

	return $dir . dirname($dirs[0]) if -e "$dir/complete";
	mkdir $_ foreach $dir, "$dir/source";
	system_or_bail('cp', '-r', '--parents', @dirs, $dir);
	system_or_bail('cp', '-r', qw(Makefile seckill.c src), glob('*.control'), glob('*--1.0.sql'), "$dir/source");
	system_or_bail("{ $make clean && $make && $make DESTDIR=$dir install; } >$dir/log 2>&1");
	append_to_file("$dir/complete", '');
	return $dir . dirname($dirs[0]);
}

# The functions that arm a fault on a server with that build.
sub make_fault_functions
{
	my ($node) = @_;

	$node->safe_psql('postgres', <<'EOC');
CREATE FUNCTION fault_arm(text, text, integer, text) RETURNS void
	AS '$libdir/seckill', 'seckill_fault_arm' LANGUAGE C STRICT;
CREATE FUNCTION fault_struck() RETURNS text
	AS '$libdir/seckill', 'seckill_fault_struck' LANGUAGE C STRICT;
CREATE FUNCTION fault_disarm() RETURNS text
	AS '$libdir/seckill', 'seckill_fault_disarm' LANGUAGE C STRICT;
EOC
	return;
}

sub faulty_node
{
	my ($name, $conf) = @_;
	my $node = seckill_node($name, install_path => install_faulty(), conf => <<'EOC' . ($conf // ''));
restart_after_crash = on
log_min_error_statement = panic
log_statement = none
deadlock_timeout = 100ms
seckill.lease_units = 4
seckill.max_items = 20
seckill.queue_idle_time = 100ms
seckill.open_ahead = 120s
max_locks_per_transaction = 256
EOC

	make_fault_functions($node);
	$node->safe_psql('postgres', <<'EOC');
-- a call that is tried again when it fails
CREATE FUNCTION tried(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	BEGIN
		EXECUTE call INTO answer;
	EXCEPTION WHEN SQLSTATE 'SKF00' THEN
		EXECUTE call INTO answer;
	END;
	RETURN answer;
END
$$;

-- a purchase that fails
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'refused';
END
$$;

-- what is wrong with an item that has seats
CREATE FUNCTION wrong_seats(item bigint, supply integer, mode seckill_mode) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got record;
BEGIN
	IF EXISTS (SELECT FROM seckill_seat_map(item) WHERE state = 'held') THEN
		RETURN 'seats are still held';
	END IF;
	PERFORM seckill_book(item, u, 0, 1, mode => wrong_seats.mode) FROM generate_series(1001, 1000 + supply) u;
	SELECT * INTO got FROM seckill_audit_seats(item);
	IF got.sold_twice <> 0 OR got.different <> 0 THEN
		RETURN format('%s seats are sold twice, %s are different', got.sold_twice, got.different);
	ELSIF got.sold <> got.seats OR got.seats <> supply THEN
		RETURN format('%s of %s seats are sold', got.sold, got.seats);
	END IF;
	RETURN '';
END
$$;

-- what is wrong with an item: it is sold to its last unit
CREATE FUNCTION wrong(item bigint, supply integer, mode seckill_mode) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got record;
BEGIN
	SELECT * INTO got FROM seckill.stock WHERE item_id = item;
	IF NOT FOUND THEN
		RETURN '';
	ELSIF (SELECT legs FROM seckill.items WHERE item_id = item) IS NOT NULL THEN
		RETURN wrong_seats(item, supply, mode);
	ELSIF got.held <> 0 THEN
		RETURN format('%s units are still held', got.held);
	END IF;
	PERFORM seckill_buy_many(item, array_agg(u), mode) FROM generate_series(1001, 1000 + supply) u HAVING count(*) > 0;
	SELECT * INTO got FROM seckill_audit() WHERE item_id = item;
	IF got.difference <> 0 THEN
		RETURN format('the difference is %s', got.difference);
	ELSIF got.missing <> 0 OR got.double_sold <> 0 OR NOT isempty(got.twice) OR NOT isempty(got.foreign_numbers) THEN
		RETURN format('numbers: %s', got);
	ELSIF got.unsold <> 0 THEN
		RETURN format('%s units cannot be sold', got.unsold);
	END IF;
	SELECT sum(quantity) AS sold INTO got FROM seckill.orders
	WHERE item_id = item AND (state IN ('pending', 'confirmed') OR unit IS NOT NULL);
	RETURN CASE WHEN got.sold <> supply THEN format('%s of %s units are sold', got.sold, supply) ELSE '' END;
END
$$;
EOC
	# calls of a node that has joined others take one lock more
	$node->safe_psql('postgres', 'CREATE EXTENSION seckill_cluster CASCADE; SELECT seckill_join(1)');
	return $node;
}


#
# Calls.  Each has the columns of its item, the statements before the call, the
# call, which must have no effect if it fails, and a query that is true once the
# call is done.
#

my @row_modes = qw(optimistic retry pessimistic advisory);
my @modes = (@row_modes, 'cache', 'auto');

# Where the units are that are bought.
my %places = (
	row => { columns => q{per_user_limit = 3, pay_within = '1 hour'}, quantity => 2,
		request => q{'11111111-1111-1111-1111-111111111111'} },
	leased => { before => [ 'SELECT seckill_prewarm($item, 12)' ], quantity => 11 },
	split => { before => [ 'SELECT seckill_prewarm($item, 10)' ], quantity => 11 },
	dead => { before => [ lose_lease() ], quantity => 4 },
	stale => { before => [ 'SELECT seckill_prewarm($item, 5)', lose_lease() ], quantity => 2 });

# The row has the lease of a lost cache, as after a crash.
sub lose_lease
{
	return q{SET session_replication_role = replica;
UPDATE seckill.items SET stock = 2, leased = 10, lease_id = 4711,
	numbers = CASE WHEN numbered THEN '{[11,13)}'::int8multirange END WHERE item_id = $item;
SET session_replication_role = origin};
}

sub purchases
{
	my (@list);

	foreach my $mode (@modes)
	{
		foreach my $name (sort keys %places)
		{
			my $place = $places{$name};
			my $request = $place->{request} // 'NULL';

			push @list, { %$place, name => "$mode, $name",
				call => "SELECT outcome FROM seckill_buy(\$item, 1, '$mode', $place->{quantity}, $request)",
				done => "SELECT count(*) = 1 FROM seckill.orders WHERE item_id = \$item AND user_id = 1 AND quantity = $place->{quantity}" };
		}
	}
	return @list;
}

sub lists
{
	my $many = 'SELECT count(*) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6';
	my $fit = 'SELECT sum(quantity) = 12 FROM seckill.orders WHERE item_id = $item AND user_id < 6';

	return map { (
		{ name => "list, $_", columns => 'per_user_limit = 1', done => $many,
			call => "SELECT count(*) FROM seckill_buy_many(\$item, '{1,2,3,4,5}', '$_')" },
		# more than there is, and no more than fits is sold
		{ name => "long list, $_", before => [ 'SELECT seckill_prewarm($item, 5)' ], done => $fit,
			call => "SELECT count(*) FROM seckill_buy_many(\$item, '{1,2,3,4,5}', '$_', quantities => '{5,13,6,2,1}')" },
		{ name => "items, $_", done => $many,
			call => "SELECT count(*) FROM seckill_buy_items(ARRAY[\$item, -1, \$item, \$item, \$item, \$item], '{1,6,2,3,4,5}', '$_')" }) }
	  @modes;
}

sub by_hand
{
	my $order = q{SELECT seckill_buy($item, 1, 'retry', 3)};
	my $number = '(SELECT order_id FROM seckill.orders WHERE item_id = $item AND user_id = 1)';
	my $state = 'SELECT state = $expected FROM seckill.orders WHERE item_id = $item AND user_id = 1';
	my $overdue = 'UPDATE seckill.orders SET pay_by = now() WHERE item_id = $item';
	my $is = sub { $state =~ s/\$expected/'$_[0]'/r };

	return (
		{ name => 'prewarm', call => 'SELECT seckill_prewarm($item, 5)',
			done => 'SELECT leased = 5 FROM seckill.items WHERE item_id = $item' },
		{ name => 'recall', before => [ 'SELECT seckill_prewarm($item, 5)' ],
			call => 'SELECT seckill_recall($item)',
			done => 'SELECT leased = 0 FROM seckill.items WHERE item_id = $item' },
		{ name => 'recall of a dead lease', before => [ lose_lease() ],
			call => 'SELECT seckill_recall($item)',
			done => 'SELECT leased = 0 FROM seckill.items WHERE item_id = $item' },
		{ name => 'confirm', columns => q{pay_within = '1 hour'}, before => [$order],
			call => "SELECT seckill_confirm(\$item, $number)", done => $is->('confirmed') },
		{ name => 'late confirm', columns => q{pay_within = '1 ms', per_user_limit = 4}, before => [$order],
			await => $is->('expired'),
			call => "SELECT seckill_confirm(\$item, $number)", done => $is->('confirmed') },
		{ name => 'cancel', columns => q{pay_within = '1 hour'}, before => [$order],
			call => "SELECT seckill_cancel(\$item, $number)", done => $is->('cancelled') },
		{ name => 'refund', before => [ 'SELECT seckill_prewarm($item, 12)', $order ],
			call => "SELECT seckill_cancel(\$item, $number, true)", done => $is->('cancelled') },
		{ name => 'restock', more => 5, before => [ 'SELECT seckill_prewarm($item, 12)' ],
			call => 'UPDATE seckill.items SET stock = stock + 5 WHERE item_id = $item RETURNING 1',
			done => 'SELECT supplied = 17 FROM seckill.items WHERE item_id = $item' },
		{ name => 'create', call => q{SELECT seckill_put_item(-$item, '{"stock": 5}')},
			done => 'SELECT count(*) = 1 FROM seckill.items WHERE item_id = -$item' },
		{ name => 'change', call => q{SELECT seckill_put_item($item, '{"title": "x", "per_user_limit": 100}')},
			done => q{SELECT title = 'x' FROM seckill.items WHERE item_id = $item} },
		{ name => 'restock by call', more => 5, before => [ 'SELECT seckill_prewarm($item, 12)' ],
			call => 'SELECT seckill_restock($item, 5)',
			done => 'SELECT supplied = 17 FROM seckill.items WHERE item_id = $item' },
		{ name => 'units off sale', more => -4, before => [ 'SELECT seckill_prewarm($item, 10)' ],
			call => 'SELECT seckill_restock($item, -4)',
			done => 'SELECT supplied = 8 FROM seckill.items WHERE item_id = $item' },
		{ name => 'units of a dead lease off sale', more => -4, before => [ lose_lease() ],
			call => 'SELECT seckill_restock($item, -4)',
			done => 'SELECT supplied = 8 FROM seckill.items WHERE item_id = $item' },
		{ name => 'set available', more => -5, before => [ 'SELECT seckill_prewarm($item, 10)' ],
			call => 'SELECT seckill_set_available($item, 7)',
			done => 'SELECT stock = 7 FROM seckill.items WHERE item_id = $item' },
		{ name => 'write off', more => -3, before => [$order],
			call => 'WITH gone AS (DELETE FROM seckill.orders WHERE item_id = $item RETURNING quantity)'
				. ' SELECT seckill_write_off($item, sum(quantity)::bigint) FROM gone',
			done => 'SELECT supplied = 9 FROM seckill.items WHERE item_id = $item' },
		{ name => 'move out and back', before => [ 'SELECT seckill_prewarm($item, 10)', $order ],
			call => 'SELECT seckill_move_out($item, 2, gen_random_uuid()), seckill_move_cancel($item)',
			done => q{SELECT count(*) = 1 FROM seckill.moves WHERE item_id = $item AND state = 'cancelled'} },
		{ name => 'look', call => 'SELECT available FROM seckill_item($item)' },
		{ name => 'first limit', before => [$order],
			call => 'UPDATE seckill.items SET per_user_limit = 3 WHERE item_id = $item RETURNING 1',
			done => 'SELECT limited FROM seckill.orders WHERE item_id = $item AND user_id = 1' },
		{ name => 'plan', call => q{INSERT INTO seckill.releases (item_id, release_at, units) VALUES ($item, 'infinity', 5) RETURNING 1},
			done => 'SELECT planned = 5 FROM seckill.stock WHERE item_id = $item' },
		{ name => 'delete', before => [ 'SELECT seckill_prewarm($item, 12)',
				q{INSERT INTO seckill.releases (item_id, release_at, units) VALUES ($item, 'infinity', 5)} ],
			call => 'DELETE FROM seckill.items WHERE item_id = $item RETURNING 1',
			done => 'SELECT count(*) = 0 FROM seckill.items WHERE item_id = $item' },
		{ name => 'truncate', before => [ 'SELECT seckill_prewarm($item, 12)', $order ],
			call => 'TRUNCATE seckill.items, seckill.orders, seckill.releases, seckill.seats, seckill.units, seckill.prizes, seckill.commitments',
			done => 'SELECT count(*) = 0 FROM seckill.items' });
}

# Calls for an item with seats.
sub seats
{
	my $is = sub { "SELECT state = '$_[0]' FROM seckill.orders WHERE item_id = \$item AND user_id = 1" };
	my $order = q{SELECT seckill_book($item, 1, 0, 1, 3)};
	my $number = '(SELECT order_id FROM seckill.orders WHERE item_id = $item AND user_id = 1)';
	my $bought = 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1 AND array_length(seats, 1) = quantity';
	my @list = (
		{ name => 'named seats', done => $bought,
			call => q{SELECT outcome FROM seckill_book($item, 1, 0, 1, 2, seats => '{3,4}')} },
		{ name => 'block seats', done => $bought =~ s/user_id = 1/user_id = 0/r,
			call => q{SELECT outcome FROM seckill_block_seats($item, '{3,4}')} },
		{ name => 'confirm of seats', columns => q{pay_within = '1 hour'}, before => [$order],
			call => "SELECT seckill_confirm(\$item, $number)", done => $is->('confirmed') },
		{ name => 'late confirm of seats', columns => q{pay_within = '1 ms', per_user_limit = 4}, before => [$order],
			await => $is->('expired'),
			call => "SELECT seckill_confirm(\$item, $number)", done => $is->('confirmed') },
		{ name => 'refund of seats', before => [$order],
			call => "SELECT seckill_cancel(\$item, $number, true)", done => $is->('cancelled') },
		{ name => 'free seats', before => [$order], call => 'SELECT count(*) FROM seckill_free_seats($item)' },
		{ name => 'seat map', before => [$order], call => 'SELECT count(*) FROM seckill_seat_map($item)' },
		{ name => 'change of a seat', before => [$order],
			call => q{UPDATE seckill.seats SET label = 'x' WHERE item_id = $item AND seat = 1 RETURNING 1},
			done => q{SELECT label = 'x' FROM seckill.seats WHERE item_id = $item AND seat = 1} },
		{ name => 'new seat', more => 1,
			call => 'INSERT INTO seckill.seats (item_id, seat) VALUES ($item, 13) RETURNING 1',
			done => 'SELECT count(*) = 13 FROM seckill.seats WHERE item_id = $item' },
		{ name => 'change of legs', call => 'UPDATE seckill.items SET legs = 2 WHERE item_id = $item RETURNING 1',
			done => 'SELECT legs = 2 FROM seckill.items WHERE item_id = $item' },
		{ name => 'delete with seats',
			call => 'DELETE FROM seckill.items WHERE item_id = $item RETURNING 1',
			done => 'SELECT count(*) = 0 FROM seckill.items WHERE item_id = $item' });

	foreach my $mode (@modes)
	{
		push @list, { name => "seats, $mode", columns => q{per_user_limit = 3, pay_within = '1 hour'},
			call => "SELECT outcome FROM seckill_book(\$item, 1, 0, 1, 2, '$mode', request_id => '11111111-1111-1111-1111-111111111111')",
			done => $bought };
		# seats that the map shows as held, or does not show
		push @list, { name => "seats, $mode, $_ of another", end => $_,
			other => sprintf(q{SELECT seckill_book($item, 99, 0, 1, 11, '%s')}, $_ eq 'COMMIT' ? 'retry' : 'cache'),
			call => "SELECT outcome FROM seckill_book(\$item, 1, 0, 1, 2, '$mode')", done => $bought }
		  foreach qw(COMMIT ROLLBACK);
	}
	return map { +{ %$_, legs => 1 } } @list;
}

# Calls for units with numbers and values.
sub numbered
{
	my $values = q{INSERT INTO seckill.units (item_id, unit, code, amount) SELECT $item, n, 'c' || n, n FROM generate_series(1, 12) n};
	my $claim = q{SELECT seckill_claim($item, 1, 'retry')};
	my $sold = 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1 AND unit IS NOT NULL';
	my $five = 'SELECT count(*) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6 AND unit IS NOT NULL';
	my $order = '(SELECT order_id FROM seckill.orders WHERE item_id = $item AND user_id = 1)';
	my $redeem = q{SELECT outcome FROM seckill_redeem($item, 'c1', 1)};
	my $is_redeemed = 'SELECT redeemed_at IS NOT NULL FROM seckill.orders WHERE item_id = $item AND user_id = 1';
	my $prize = q{INSERT INTO seckill.prizes (item_id, prize, title) VALUES ($item, 1, 'x')};
	my $add = q{SELECT added FROM seckill_add_units($item, prizes => '{1,NULL,1}', seed => sha256('x'))};
	my $pending = q{reveal_on = 'pending', pay_within = '1 hour'};

	return (
		(map { { name => "claim, $_", numbered => 1, before => [$values], done => $sold,
			call => "SELECT outcome FROM seckill_claim(\$item, 1, '$_')" } } @modes),
		(map { { name => "claim of the lease, $_", numbered => 1, before => [ 'SELECT seckill_prewarm($item, 12)' ], done => $five,
			call => "SELECT count(*) FROM seckill_claim_many(\$item, '{1,2,3,4,5}', '$_')" } } @modes),
		(map { { name => "claim of a dead lease, $_", numbered => 1, before => [ lose_lease() ], done => $five,
			call => "SELECT count(*) FROM seckill_claim_many(\$item, '{1,2,3,4,5}', '$_')" } } qw(retry pessimistic cache)),
		(map { { name => "claim of row and lease, $_", numbered => 1, before => [ 'SELECT seckill_prewarm($item, 10)' ], done => $five,
			call => "SELECT count(*) FROM seckill_claim_many(\$item, '{1,2,3,4,5}', '$_')" } } qw(retry advisory)),
		(map { { name => "claim, $_ of a hold", numbered => 1, before => [ 'SELECT seckill_prewarm($item, 12)' ], done => $sold,
			other => q{SELECT seckill_claim_many($item, array_fill(99, '{12}'), 'cache')}, end => $_,
			call => q{SELECT outcome FROM seckill_claim($item, 1, 'cache')} } } qw(COMMIT ROLLBACK)),
		{ name => 'refund of a number', numbered => 1, before => [$claim], call => "SELECT seckill_cancel(\$item, $order, true)",
			done => q{SELECT state = 'cancelled' AND unit IS NULL FROM seckill.orders WHERE item_id = $item AND user_id = 1} },
		{ name => 'refund of a code', numbered => 1, before => [ $values, $claim ], call => "SELECT seckill_cancel(\$item, $order, true)",
			done => q{SELECT state = 'cancelled' AND unit = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1} },
		{ name => 'late payment of a number', numbered => 1, columns => q{pay_within = '1 ms'}, before => [$claim],
			await => q{SELECT state = 'expired' FROM seckill.orders WHERE item_id = $item AND user_id = 1},
			call => "SELECT seckill_confirm(\$item, $order)",
			done => q{SELECT state = 'confirmed' AND unit IS NOT NULL FROM seckill.orders WHERE item_id = $item AND user_id = 1} },
		{ name => 'recall of numbers', numbered => 1, before => [ 'SELECT seckill_prewarm($item, 5)' ],
			call => 'SELECT seckill_recall($item)', done => 'SELECT leased = 0 FROM seckill.items WHERE item_id = $item' },
		{ name => 'recall, numbers held', numbered => 1, before => [ 'SELECT seckill_prewarm($item, 12)' ],
			other => q{SELECT seckill_claim_many($item, '{98,99}', 'cache')}, end => 'ROLLBACK',
			call => 'SELECT seckill_recall($item)', done => 'SELECT leased = 2 FROM seckill.items WHERE item_id = $item' },
		{ name => 'numbers off sale', numbered => 1, more => -4, before => [ 'SELECT seckill_prewarm($item, 10)' ],
			call => 'SELECT seckill_restock($item, -4)', done => 'SELECT supplied = 8 FROM seckill.items WHERE item_id = $item' },
		{ name => 'delete with numbers', numbered => 1, before => [ $values, 'SELECT seckill_prewarm($item, 12)' ],
			call => 'DELETE FROM seckill.items WHERE item_id = $item RETURNING 1',
			done => 'SELECT count(*) = 0 FROM seckill.units WHERE item_id = $item' },
		{ name => 'numbers put on sale', numbered => 1, more => 5, call => 'SELECT seckill_restock($item, 5)',
			done => 'SELECT supplied = 17 FROM seckill.items WHERE item_id = $item' },
		{ name => 'numbers set', numbered => 1, more => -5, before => [ 'SELECT seckill_prewarm($item, 10)' ],
			call => 'SELECT seckill_set_available($item, 7)', done => 'SELECT stock = 7 FROM seckill.items WHERE item_id = $item' },
		{ name => 'orders with numbers deleted', numbered => 1, more => -1, before => [$claim],
			call => 'DELETE FROM seckill.orders WHERE item_id = $item RETURNING 1',
			done => 'SELECT supplied = 11 FROM seckill.items WHERE item_id = $item' },
		{ name => 'units added', numbered => 1, more => 3, call => q{SELECT added FROM seckill_add_units($item, '{a,b,a,c}')},
			done => 'SELECT supplied = 15 FROM seckill.items WHERE item_id = $item' },
		{ name => 'units for later', numbered => 1, call => q{SELECT added FROM seckill_add_units($item, '{a}', release_at => 'infinity')},
			done => 'SELECT count(*) = 1 FROM seckill.releases WHERE item_id = $item' },
		{ name => 'commitment', numbered => 1, more => 3, before => [$prize], call => $add,
			done => 'SELECT count(*) = 1 FROM seckill.commitments WHERE item_id = $item' },
		{ name => 'close', numbered => 1, more => -12, before => [ $values, 'SELECT seckill_prewarm($item, 5)' ],
			call => 'SELECT units FROM seckill_close($item)', done => 'SELECT ends_at IS NOT NULL FROM seckill.items WHERE item_id = $item' },
		{ name => 'close, units held', numbered => 1, more => -12, before => [ $values, 'SELECT seckill_prewarm($item, 12)' ],
			other => q{SELECT seckill_claim($item, 99, 'cache')}, end => 'ROLLBACK',
			call => 'SELECT units FROM seckill_close($item)', done => 'SELECT ends_at IS NOT NULL FROM seckill.items WHERE item_id = $item' },
		{ name => 'reveal', numbered => 1, stock => 0, before => [ $prize, $add, 'SELECT seckill_close($item)' ],
			call => 'SELECT unchanged FROM seckill_reveal($item)',
			done => 'SELECT revealed_at IS NOT NULL FROM seckill.commitments WHERE item_id = $item' },
		{ name => 'redeem', numbered => 1, columns => $pending, before => [ $values, $claim ], call => $redeem, done => $is_redeemed },
		{ name => 'release of a code', numbered => 1, columns => $pending, before => [ $values, $claim, $redeem ],
			call => "SELECT seckill_release(\$item, $order)", done => $is_redeemed =~ s/IS NOT NULL/IS NULL/r },
		{ name => 'cancel of a told code', numbered => 1, columns => $pending, before => [ $values, $claim ],
			call => "SELECT seckill_cancel(\$item, $order)",
			done => q{SELECT state = 'cancelled' FROM seckill.orders WHERE item_id = $item AND user_id = 1} });
}

# Calls that wait for another transaction, which ends as soon as they wait.
sub meetings
{
	my $holds = q{SELECT seckill_buy($item, 99, 'cache', 2)};
	my @list = ({ name => 'delete, units held', before => [ 'SELECT seckill_prewarm($item, 12)' ],
			other => $holds, end => 'ROLLBACK',
			call => 'DELETE FROM seckill.items WHERE item_id = $item RETURNING 1',
			done => 'SELECT count(*) = 0 FROM seckill.items WHERE item_id = $item' },
		{ name => 'recall, units held', before => [ 'SELECT seckill_prewarm($item, 12)' ],
			other => $holds, end => 'ROLLBACK', call => 'SELECT seckill_recall($item)',
			done => 'SELECT leased = 2 FROM seckill.items WHERE item_id = $item' },
		{ name => 'set available, units held', before => [ 'SELECT seckill_prewarm($item, 12)' ], more => -5,
			other => $holds, end => 'ROLLBACK', call => 'SELECT seckill_set_available($item, 7)',
			done => 'SELECT stock = 7 FROM seckill.items WHERE item_id = $item' },
		{ name => 'units off sale, units held', before => [ 'SELECT seckill_prewarm($item, 12)' ], more => -11,
			other => $holds, end => 'ROLLBACK', call => 'SELECT seckill_restock($item, -11)',
			done => 'SELECT supplied = 1 FROM seckill.items WHERE item_id = $item' });

	foreach my $mode (@modes)
	{
		foreach my $end (qw(COMMIT ROLLBACK))
		{
			push @list, { name => "$mode, $end of a refill", other => $holds, end => $end,
				call => "SELECT outcome FROM seckill_buy(\$item, 1, '$mode', 10)",
				done => 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1' };
			push @list, { name => "$mode, $end of a hold", other => $holds, end => $end,
				before => [ 'SELECT seckill_prewarm($item, 12)' ],
				call => "SELECT outcome FROM seckill_buy(\$item, 1, '$mode', 12)",
				done => 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1' };
		}
	}
	return @list;
}

# Calls on an item that is split over nodes, of which there is one.
sub shares
{
	my $split = q{SELECT seckill_split_set($item, '{1}')};
	my $order = q{SELECT seckill_buy($item, 1, 'retry', 3)};
	my $bought = 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1';

	return (
		{ name => 'split', call => $split, done => q{SELECT split_over = '{1}' FROM seckill.items WHERE item_id = $item} },
		{ name => 'lock of a share', before => [ $split, 'SELECT seckill_prewarm($item, 12)' ],
			call => 'SELECT free FROM seckill_share_lock($item)' },
		{ name => 'purchase of a share', before => [ $split, 'SELECT seckill_prewarm($item, 5)' ], done => $bought,
			call => q{SELECT outcome FROM seckill_buy($item, 1, 'cache', 12)} },
		{ name => 'short share', before => [$split], done => $bought,
			call => q{SELECT outcome FROM seckill_buy($item, 1, 'cache', 13)} },
		{ name => 'refund to a share', before => [ $split, $order ],
			call => 'SELECT seckill_cancel($item, (SELECT order_id FROM seckill.orders WHERE item_id = $item), true)',
			done => q{SELECT state = 'cancelled' FROM seckill.orders WHERE item_id = $item AND user_id = 1} });
}

# Calls of the queue, which are statements of their own.
sub queued
{
	my $request = q{'22222222-2222-2222-2222-222222222222'};
	my @list = map {
		my $place = $places{$_};

		+{ %$place, name => "queue, $_",
			call => "SELECT outcome FROM seckill_buy(\$item, 1, 'queue', $place->{quantity}, $request)",
			done => 'SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 1' }
	} sort keys %places;

	push @list, { name => 'queue, seats', legs => 1, done => $list[0]{done},
		call => "SELECT outcome FROM seckill_book(\$item, 1, 0, 1, 2, 'queue', request_id => $request)" };
	push @list, { name => 'submit', done => $list[0]{done},
		call => "SELECT r.outcome FROM seckill_submit(\$item, 1, 1, $request) s, LATERAL seckill_result(s.ticket, '$patience s') r" };
	push @list, { name => 'submit many', done => $list[0]{done},
		call => "SELECT r.outcome FROM seckill_submit_many(ARRAY[\$item], ARRAY[1], ARRAY[1], ARRAY[$request]::uuid[]) s,"
		  . " LATERAL seckill_result_many(ARRAY[s.ticket], '$patience s') r" };
	return @list;
}


#
# Contexts: the ways in which a call is made.  Each returns 1 if the call is done,
# 0 if it is not, undef if there was no answer.
#

my %context = (
	top => \&call, block => \&in_block, savepoint => \&in_savepoint,
	exception => \&in_exception, execute => \&in_execute, prepared => \&in_prepared);

# Send a statement; the transaction that it waits for ends once it waits.
sub try
{
	my ($self, $sql) = @_;
	my $victim = $self->{victim};
	my $end = time + 2 * $patience;

	$victim->query($sql);
	until ($victim->wait($self->{other_ends} ? 0.01 : 2 * $patience))
	{
		last if $victim->{lost};
		die "stuck: $sql\n" if time > $end || !$self->{other_ends};
		$self->end_other if $self->waits($victim);
	}
	die "$victim->{error} $victim->{message}: $sql\n"
	  if $victim->{error} && $victim->{error} !~ /^(SKF00|0A000|57P01)$/;
	return if $victim->{lost};
	return $victim->{error} ? 0 : 1;
}

# Does the session wait for the other transaction?  A lock of anybody else is soon
# free, and no reason to end that one.
sub waits
{
	my ($self, $session) = @_;
	my $control = $self->{control};

	$control->query("SELECT $self->{other}{pid} = ANY (pg_blocking_pids($session->{pid}))");
	$control->wait($patience);
	return (($control->row)[0] // 'f') eq 't';
}

sub end_other
{
	my ($self) = @_;
	my $end = delete $self->{other_ends} or return;

	# the server may be gone by now
	$self->{other}->query($end);
	$self->{other}->wait($patience);
	return;
}

# Make a call; returns 0 also if it was refused.
sub call
{
	my ($self, $sql) = @_;
	my $done = $self->try($sql);

	return $done unless $done;
	return ($self->{victim}->row)[0] =~ /^(sold_out|conflict|busy|limit_reached)$/ ? 0 : 1
	  if $self->{victim}->row;
	return 1;
}

# End a transaction block: its calls are done if the COMMIT is.
sub end_block
{
	my ($self, $done, $end) = @_;

	return unless defined $done;
	my $ended = $self->try($done ? $end // 'COMMIT' : 'ROLLBACK');
	return defined $ended ? $done && $ended : undef;
}

sub in_block
{
	my ($self, $call) = @_;

	$self->try('BEGIN') or return;
	return $self->end_block($self->call($call));
}

# Retry a failed call in the same transaction.
sub in_two_tries
{
	my ($self, $call) = @_;

	$self->try('BEGIN; SAVEPOINT s') or return;
	my $done = $self->call($call);
	if (defined $done && $self->{victim}{error})
	{
		$self->try('ROLLBACK TO s') or return;
		$done = $self->call($call);
	}
	$self->try('RELEASE s') or return if $done;
	return $done;
}

sub in_savepoint
{
	my ($self, $call) = @_;
	return $self->end_block($self->in_two_tries($call));
}

sub in_exception
{
	my ($self, $call) = @_;
	return $self->call("SELECT tried(\$call\$$call\$call\$)");
}

sub in_execute
{
	my ($self, $call) = @_;

	$self->try("PREPARE call AS $call") or return;
	my $done = $self->call('EXECUTE call');

	$done = $self->call('EXECUTE call') if defined $done && $self->{victim}{error};
	$self->try('DEALLOCATE call') or return if defined $done;
	return $done;
}

# PREPARE is refused if the transaction holds units; otherwise it is committed
# later.
sub in_prepared
{
	my ($self, $call) = @_;
	my $done = $self->end_block($self->in_two_tries($call), q{PREPARE TRANSACTION 'fault'});

	$self->{control}->ask(q{COMMIT PREPARED 'fault'}) if $done;
	return $done;
}


#
# One fault
#

sub new
{
	my ($class, $node) = @_;
	my $self = bless { node => $node, item => 0, struck => {}, faults => 0, findings => [] }, $class;

	$self->meet;
	return $self;
}

# Open a session as soon as the server accepts it.
sub open_session
{
	my ($self) = @_;
	my $end = time + 60;

	while (time < $end)
	{
		my $session = TortureSession->open($self->{node});

		return $session if $session && $session->wait($patience) && !$session->{error};
		sleep 0.02;
	}
	die "the server does not answer\n";
}

# Reopen lost sessions.
sub meet
{
	my ($self) = @_;

	foreach my $who (qw(control victim other))
	{
		$self->{$who} = $self->open_session if !$self->{$who} || $self->{$who}{lost};
	}
	$self->{control}->ask("SET lock_timeout = '$patience s'");
	return;
}

# Wait until the server has restarted after a crash.
sub meet_again
{
	my ($self) = @_;

	delete $self->{other_ends};
	foreach my $who (qw(control other))
	{
		my $end = time + $patience;

		until ($self->{$who}{lost})
		{
			die "$who survives a crash\n" if time > $end;
			$self->{$who}->query('SELECT 1');
			$self->{$who}->wait($patience);
		}
	}
	$self->meet;
	return;
}

sub ask
{
	my ($self, $sql) = @_;
	return $self->{control}->ask($sql =~ s/\$item/$self->{item}/gr);
}

sub is_true
{
	my ($self, $sql) = @_;
	return ($self->ask($sql)->[0][0] // 'f') eq 't' ? 1 : 0;
}

sub await
{
	my ($self, $sql) = @_;
	my $end = time + $patience;

	until ($self->is_true($sql))
	{
		die "timed out: $sql\n" if time > $end;
		sleep 0.005;
	}
	return;
}

# Wait for the end of transactions of the extension's processes.  What they have
# committed is visible before the cache is told, and their locks are released after.
sub await_processes
{
	my ($self) = @_;

	$self->await(<<'EOC');
SELECT count(*) = 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'transactionid' AND l.granted AND a.backend_type LIKE 'seckill %'
EOC
	return;
}

# A new item, ready for a call.
sub set_up
{
	my ($self, $case) = @_;
	my ($columns, @values) = ('');

	$self->ask(q{SELECT seckill_split_set(item_id, '{}') FROM seckill.items WHERE split_over IS NOT NULL});
	$self->ask('TRUNCATE seckill.items, seckill.orders, seckill.releases, seckill.seats, seckill.units, seckill.prizes, seckill.commitments') if ++$self->{item} % $items_kept == 0;
	$self->ask(sprintf 'INSERT INTO seckill.items (item_id, stock, legs, numbered) VALUES ($item, %s, %s)',
		$case->{legs} ? "0, $case->{legs}" : ($case->{stock} // $supply) . ', NULL', $case->{numbered} ? 'true' : 'false');
	$self->ask("INSERT INTO seckill.seats (item_id, seat) SELECT \$item, s FROM generate_series(1, $supply) s")
	  if $case->{legs};
	$self->ask("UPDATE seckill.items SET $case->{columns} WHERE item_id = \$item") if $case->{columns};
	$self->ask($_) foreach @{ $case->{before} // [] };
	if ($case->{await})
	{
		$self->await($case->{await});
		$self->await_processes;
	}
	return unless $case->{other};
	$self->{other}->ask('BEGIN');
	$self->{other}->ask($case->{other} =~ s/\$item/$self->{item}/r);
	$self->{other_ends} = $case->{end};
	return;
}

# Have orders written directly, or by SQL: then a trigger refuses those of user 666.
sub write_orders
{
	my ($self, $directly) = @_;

	$self->ask('DROP TRIGGER IF EXISTS refuse ON seckill.orders');
	$self->ask('CREATE TRIGGER refuse BEFORE INSERT ON seckill.orders FOR EACH ROW WHEN (NEW.user_id = 666) EXECUTE FUNCTION refuse()')
	  unless $directly;
	return;
}

sub arm
{
	my ($self, $victim, $step, $pass, $action) = @_;
	$self->ask("SELECT fault_arm('$victim', \$\$$step\$\$, $pass, '$action')");
	return;
}

# Disarm the fault; returns the fault point where it struck, or undef.
sub disarm
{
	my ($self) = @_;
	my $step = $self->ask('SELECT fault_disarm()')->[0][0];

	return unless defined $step;
	$self->{struck}{$step}++;
	$self->{faults}++;
	return $step;
}

sub finding
{
	my ($self, $where, $what) = @_;

	push @{ $self->{findings} }, "$where: $what";
	diag("FINDING $where: $what");
	return;
}

# Check the laws, with the call done or not.
sub check
{
	my ($self, $case, $done, $where) = @_;
	my $mode = $modes[ $self->{item} % @modes ];
	my $is_done = $case->{done} ? $self->is_true($case->{done}) : $done;
	my $units = ($case->{stock} // $supply) + ($is_done ? $case->{more} // 0 : 0);

	$self->finding($where, 'it was told to be ' . ($done ? 'done' : 'not done') . ', and is not so')
	  if defined $done && $is_done != $done;
	my $wrong = $self->ask("SELECT wrong(\$item, $units, '$mode')")->[0][0];
	$self->finding($where, $wrong) if $wrong;
	return if $self->{victim}{lost};
	$self->finding($where, 'the session still has locks')
	  if $self->is_true("SELECT count(*) > 0 FROM pg_locks WHERE pid = $self->{victim}{pid} AND locktype <> 'virtualxid'");
	return;
}

# Make a call with a fault at its n-th fault point; false if it passes fewer.
sub strike
{
	my ($self, $case, $context, $pass, $action) = @_;
	my $where = "$case->{name}, $context, pass $pass";
	my $call;

	$self->set_up($case);
	$call = $case->{call} =~ s/\$item/$self->{item}/gr;
	$self->arm($self->{victim}{pid}, '*', $pass, $action);
	my $done = $context{$context}->($self, $call);
	my $step;

	if ($action eq 'kill' && $self->{victim}{lost})
	{
		$self->meet_again;
		$step = 'unknown';
		$self->{faults}++;
	}
	else
	{
		$step = $self->disarm;
		$self->end_other;
		$self->meet;
	}
	# a buyer of the queue asks again
	$done = $self->call($call)
	  if $case->{name} =~ /^(queue|submit)/ && (!defined $done || !$done);
	$self->check($case, $done, $where . (defined $step ? " ($step)" : ''));
	return defined $step;
}

# All fault points of a call, in one context.
sub strike_all
{
	my ($self, $case, $context, $action) = @_;
	my $pass = 1;

	$pass++ while $pass < $most_passes && $self->strike($case, $context, $pass, $action);
	$self->finding("$case->{name}, $context", 'it does not end') if $pass == $most_passes;
	return;
}


#
# Faults in the background processes.  Their work is done by the next process, or
# the buyer gets the error.
#

# Five buyers at once, and one whose purchase always fails.  A buyer that gets the
# error of a fault retries.
sub serve_together
{
	my ($self, $form) = @_;
	my %asked = map { ($_ => sprintf($form, $self->{item}, $_, $_)) } 1 .. 5;
	my @sessions = @{ $self->{crowd} };

	$self->{other}->query(sprintf($form, $self->{item}, 666, 666));
	$sessions[ $_ - 1 ]->query($asked{$_}) foreach 1 .. 5;
	$self->{other}->wait($patience) or die "a buyer of the queue is stuck\n";
	$self->finding('queue', 'a purchase that fails: ' . ($self->{other}{error} // 'does not'))
	  unless ($self->{other}{error} // '') =~ /^(P0001|SKF00)$/;
	foreach my $n (1 .. 5)
	{
		my $session = $sessions[ $n - 1 ];

		$session->wait($patience) or die "a buyer of the queue is stuck\n";
		$session->ask($asked{$n}) if ($session->{error} // '') eq 'SKF00';
		my ($outcome) = $session->row;
		$self->finding('queue', "buyer $n: " . ($outcome // "$session->{error} $session->{message}"))
		  unless ($outcome // '') eq 'sold';
	}
	return;
}

sub buy_together
{
	return serve_together($_[0],
		q{SELECT outcome FROM seckill_buy(%d, %d, 'queue', 1, '33333333-3333-3333-3333-%012d')});
}

sub book_together
{
	return serve_together($_[0],
		q{SELECT outcome FROM seckill_book(%d, %d, 0, 1, mode => 'queue', request_id => '33333333-3333-3333-3333-%012d')});
}

# A statement that makes orders, which are due at one moment then: an order that is
# due alone, and so fails alone, is deferred.
sub overdue
{
	my ($sql) = @_;
	return sub { $_[0]->ask("$sql; UPDATE seckill.orders SET pay_by = now() WHERE item_id = \$item") };
}

my %due = (
	seats => { name => 'five bookings', victim => 'queue worker', act => \&book_together, legs => 1,
		done => 'SELECT count(*) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6' },
	seat_expiry => { name => 'expiry of seats', victim => 'maintenance worker', columns => q{pay_within = '1 ms'}, legs => 1,
		act => overdue(q{SELECT seckill_book($item, u, 0, 1) FROM generate_series(1, 5) u}),
		done => q{SELECT count(*) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6 AND state = 'expired'} },
	queue => { name => 'five buyers', victim => 'queue worker', act => \&buy_together,
		done => 'SELECT count(*) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6' },
	expiry => { name => 'expiry', victim => 'maintenance worker', columns => q{pay_within = '1 ms'},
		act => overdue(q{SELECT seckill_buy_many($item, '{1,2,3,4,5}', 'cache')}),
		done => q{SELECT count(*) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6 AND state = 'expired'} },
	numbers => { name => 'five claims', victim => 'queue worker', numbered => 1,
		act => sub { serve_together($_[0], q{SELECT outcome FROM seckill_claim(%d, %d, 'queue', '33333333-3333-3333-3333-%012d')}) },
		done => 'SELECT count(unit) = 5 FROM seckill.orders WHERE item_id = $item AND user_id < 6' },
	number_expiry => { name => 'expiry of codes', victim => 'maintenance worker', numbered => 1,
		columns => q{pay_within = '1 ms', reveal_on = 'pending'},
		before => [ q{INSERT INTO seckill.units (item_id, unit, code) SELECT $item, n, 'c' || n FROM generate_series(1, 2) n} ],
		act => overdue(q{SELECT seckill_claim_many($item, '{1,2,3,4,5}', 'cache')}),
		done => q{SELECT count(*) = 5 AND count(unit) = 2 FROM seckill.orders WHERE item_id = $item AND user_id < 6 AND state = 'expired'} },
	release => { name => 'release', victim => 'maintenance worker', more => 6,
		act => sub { $_[0]->ask(q{INSERT INTO seckill.releases (item_id, release_at, units) SELECT $item, now(), n FROM generate_series(1, 3) n}) },
		done => 'SELECT count(*) = 3 FROM seckill.releases WHERE item_id = $item AND done_at IS NOT NULL' },
	ask => { name => 'ask', victim => 'share worker', before => [ q{SELECT seckill_split_set($item, '{1}')} ],
		act => sub { $_[0]->ask(q{SELECT seckill_buy($item, 1, 'cache', 13)}) }, done => 'SELECT true' },
	opening => { name => 'opening', victim => 'maintenance worker', may_fail => 1,
		act => sub { $_[0]->ask(q{UPDATE seckill.items SET starts_at = now() + '60 s' WHERE item_id = $item}) },
		done => 'SELECT leased > 0 FROM seckill.items WHERE item_id = $item' });

# Wait for a maintenance worker to succeed: failures in a row raise its backoff.
sub let_expire
{
	my ($self) = @_;

	$self->ask(q{UPDATE seckill.items SET pay_within = '1 ms', starts_at = NULL WHERE item_id = $item});
	$self->ask(q{SELECT seckill_buy($item, 7, 'retry')});
	$self->await(q{SELECT count(*) = 1 FROM seckill.orders WHERE item_id = $item AND user_id = 7 AND state = 'expired'});
	return;
}

# The fault strikes while the processes work, or at a fault point of their idle
# loop.
sub strike_process
{
	my ($self, $case, $victim, $step, $pass, $action) = @_;
	my $where = "$victim, $case->{name}, $step, pass $pass";

	$self->set_up($case);
	# one that is named may be at the start of a process
	$self->await("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'seckill $victim'")
	  if $step ne '*' && $victim ne 'launcher';
	$self->arm("seckill $victim", $step, $pass, $action);
	eval { $case->{act}->($self); 1 } or $self->finding($where, $@);
	eval { $self->await($step eq '*' || $case->{may_fail} ? "SELECT fault_struck() IS NOT NULL OR ($case->{done})"
			: 'SELECT fault_struck() IS NOT NULL'); 1 }
	  or $self->finding($where, 'the step is not passed');
	my $struck = $self->disarm;
	eval { $self->await($case->{done}); 1 } or $self->finding($where, 'it is not done')
	  unless $case->{may_fail} && defined $struck;
	eval { $self->let_expire; 1 } or $self->finding($where, 'no order expires')
	  if $case->{may_fail} && defined $struck;
	$self->ask('UPDATE seckill.items SET pay_within = NULL, starts_at = NULL WHERE item_id = $item');
	$self->await_processes;
	$self->check($case, undef, $where);
	return defined $struck;
}

# The fault points in these source files that have not struck yet.
sub untried_steps
{
	my ($self, @files) = @_;
	my %steps;

	foreach my $file (@files)
	{
		$steps{$_} = 1 foreach slurp_file($file) =~ /SECKILL_FAULT\("([^"]+)"\)/g;
	}
	return grep { !$self->{struck}{$_} } sort keys %steps;
}

# A maintenance worker that fails after its releases, as it reads overdue orders, has
# worked: the next one does not start later each time.
sub strike_after_work
{
	my ($self, $action) = @_;

	$self->strike_process($due{release}, 'maintenance worker', 'due rows read', 2, $action) foreach 1 .. 8;
	return;
}

# First each fault point by its number in the order of execution, which can vary;
# then those that were missed, by name.
sub strike_processes
{
	my ($self, $action) = @_;

	@{ $self->{crowd} } = map { $self->open_session } 1 .. 5;
	foreach my $name (qw(queue seats numbers expiry seat_expiry number_expiry release opening ask))
	{
		my $case = $due{$name};
		my $victim = $case->{victim};
		my $pass = 1;

		$pass++ while $pass < $most_passes && $self->strike_process($case, $victim, '*', $pass, $action);
		$self->finding($name, 'it does not end') if $pass == $most_passes;
	}
	$self->strike_process($due{queue}, 'queue worker', $_, 1, $action)
	  foreach $self->untried_steps('src/sale/decide.c', 'src/worker/queue_worker.c');
	$self->strike_process($due{seats}, 'queue worker', $_, 1, $action)
	  foreach $self->untried_steps('src/sale/book_batch.c');
	$self->strike_process($due{ /opening/ ? 'opening' : 'expiry' }, 'maintenance worker', $_, 1, $action)
	  foreach $self->untried_steps('src/worker/due_work.c', 'src/worker/maintenance.c');
	$self->strike_process($due{expiry}, 'launcher', $_, 1, $action)
	  foreach $self->untried_steps('src/worker/launcher.c');
	$self->strike_after_work($action);
	return;
}


#
# The parts
#

# A fault for any session after a random time.
sub strike_anybody
{
	my ($load, $done) = @_;
	my $dice = rand();
	my @busy = grep { $_->{busy} && !$_->{lost} && $_->{pid} } @{ $load->{sessions} };
	my $victim = $dice < 0.6 && @busy ? $busy[ rand @busy ]{pid}
	  : 'seckill ' . ($dice < 0.85 ? 'queue worker' : $dice < 0.98 ? 'maintenance worker' : 'launcher');
	my $action = (qw(error error error fatal late))[ rand 5 ];
	my $pass = $action eq 'late' ? -5 : 1 + int(rand(30));

	my $struck = $load->control->ask('SELECT fault_disarm()')->[0][0];
	$done->{$struck}++ if defined $struck;
	$load->control->ask("SELECT fault_arm('$victim', '*', $pass, '$action')");
	return defined $struck ? 1 : 0;
}

# Disarm the last fault.
sub strike_nobody
{
	my ($load, $done) = @_;
	my $struck = $load->control->ask('SELECT fault_disarm()')->[0][0];

	$done->{$struck}++ if defined $struck;
	return;
}

# Random faults while many sessions do everything at once.  An order whose expiry
# has failed alone is deferred for a minute (src/worker/due_work.c).
sub torture_faults_at_random
{
	my (%params) = @_;

	seed();
	my $node = faulty_node('random_faults', "seckill.max_items = 4\n");
	my $load = TortureLoad->new($node, clients => $params{clients} // 64, deferral => 60);
	disturb_crowd($load, 'faults', $params{faults}, \&strike_anybody, \&strike_nobody);
	$node->stop;
	return;
}

# The number of contexts, by action, in which each call is tried in addition to a
# statement of its own.
sub torture_faults
{
	my (%params) = @_;
	my @contexts = grep { $_ ne 'top' } sort keys %context;
	my $node = faulty_node('faults');
	my $self = __PACKAGE__->new($node);
	my $started = time;
	my $turn = 0;
	my $writes = 0;

	foreach my $action (sort keys %params)
	{
		foreach my $case (purchases(), lists(), by_hand(), numbered(), meetings(), seats())
		{
			my @in = @contexts[ map { $turn++ % @contexts } 1 .. $params{$action} ];

			@in = grep { /^(block|savepoint)$/ } @in if $case->{name} eq 'truncate';
			foreach my $context ('top', @in)
			{
				$self->write_orders($writes++ % 2);
				$self->strike_all($case, $context, $action);
			}
		}
		$self->strike_all($_, 'top', $action) foreach queued(), shares();
		$self->write_orders(0);
		$self->strike_processes($action) unless $action eq 'kill';
		diag(sprintf('%s: %d faults, %d s', $action, $self->{faults}, time - $started));
	}
	diag(sprintf('%-36s %6d', $_, $self->{struck}{$_})) foreach sort keys %{ $self->{struck} };
	is(join("\n", @{ $self->{findings} }), '', 'everything is as if the call had not been');
	# those of exchanges need other nodes: TortureSplit.pm tries them
	is(join(', ', $self->untried_steps('seckill.c', grep { !/share_sql/ } glob('src/*.c src/*/*.c'))), '', 'every step was tried');
	check_audit($node, 'after all faults');
	$node->stop;
	return;
}

1;
