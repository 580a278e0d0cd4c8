# Seats through a crash, a promotion, a dump, prepared transactions, and with too
# little memory for the maps: there is nothing to settle.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

# memory for the map of one train, or of several halls
my $node = seckill_node('primary', streaming => 1, conf => <<'EOC');
fsync = on
seckill.seat_memory = 20kB
EOC

sub sql
{
	my ($sql, $db, $server) = @_;
	return ($server // $node)->safe_psql($db // 'postgres', $sql);
}

sub add_train
{
	my ($item, $seats, $legs) = @_;

	sql(<<"EOC");
INSERT INTO seckill.items (item_id, stock, legs) VALUES ($item, 0, $legs);
INSERT INTO seckill.seats (item_id, seat) SELECT $item, s FROM generate_series(1, $seats) s;
EOC
	return;
}

sub book
{
	my ($arguments, $db, $server) = @_;
	return sql("SELECT outcome FROM seckill_book($arguments)", $db, $server);
}

#
# Crashes
#

add_train(1, 900, 5);
foreach my $round (1 .. 2)
{
	my $before = sql('SELECT count(*) FROM seckill.orders');

	# most seats come back, so that a fast machine does not sell them all
	my $wait = start_crowd($node, 20, map { <<"EOC" } qw(cache cache retry queue));
\\set f random(0, 4)
\\set kept random(1, 50)
SELECT order_id FROM seckill_book(1, :client_id, :f, :f + 1, mode => '$_') WHERE outcome = 'sold' \\gset
\\if :kept > 1
SELECT seckill_cancel(1, :order_id, true);
\\endif
EOC

	$node->poll_query_until('postgres', "SELECT count(*) > $before + 500 FROM seckill.orders");
	$node->stop('immediate');
	my $answered = $wait->();
	$node->start;

	check_seats($node, "after crash $round");
	cmp_ok(sql('SELECT count(*) FROM seckill.orders') - $before,
		'>=', $answered, "all $answered answered bookings are there");
	is(book('1, 1, 0, 5'), 'sold', 'the map is read again');
}

#
# Prepared transactions
#

add_train(2, 3, 2);
sql("BEGIN; SELECT seckill_book(2, 1, 0, 2, mode => 'cache'); PREPARE TRANSACTION 'a'");
sql("BEGIN; SELECT seckill_book(2, 1, 0, 2, mode => 'pessimistic'); PREPARE TRANSACTION 'b'");
is(sql(q{SET lock_timeout = '5s'; SELECT outcome FROM seckill_book(2, 1, 0, 2)}),
	'sold', 'prepared seats are not tried');
sql(q{COMMIT PREPARED 'a'});
check_seats($node, 'prepared and committed');
sql(q{ROLLBACK PREPARED 'b'});
is(book('2, 1, 0, 2'), 'sold', 'a prepared seat that is rolled back is sold');
is(book('2, 1, 0, 2'), 'sold_out', 'and then none is left');
is(book('2, 1, 0, 2'), 'sold_out', 'as is known');
sql(q{BEGIN; SELECT seckill_cancel(2, max(order_id), true) FROM seckill.orders WHERE item_id = 2; PREPARE TRANSACTION 'c'});
sql(q{COMMIT PREPARED 'c'});
ok($node->poll_query_until('postgres', q{SELECT outcome = 'sold' FROM seckill_book(2, 1, 0, 2)}),
	'a seat that a prepared transaction returns is found');
check_seats($node, 'prepared');

#
# Eviction: each map drives another out
#

add_train($_, 200, 10) foreach 11 .. 20;
crowd($node, 20, 50, map { <<"EOC" } qw(cache retry));
\\set i random(11, 20)
\\set f random(0, 9)
SELECT outcome FROM seckill_book(:i, :client_id, :f, 10, mode => '$_');
EOC
check_seats($node, 'little memory');
cmp_ok(sql('SELECT map_loads FROM seckill.stat_worker'), '>', 10, 'maps were loaded again');
add_train(21, 2000, 10);
is(book("21, 1, 0, 1, mode => 'cache'"), 'sold', 'no room for the map');
is(sql('SELECT mode FROM seckill.orders WHERE item_id = 21'), 'advisory', 'advisory sells');

#
# Another database, a dump
#

sql('CREATE DATABASE other TEMPLATE template0');
$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/dump', $node->connstr('postgres') ], 'dump');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump', $node->connstr('other') ],
	'restore');
is(sql('SELECT * FROM seckill_audit_seats()', 'other'), sql('SELECT * FROM seckill_audit_seats()'),
	'a dump has the seats');
is(book('12, 1, 9, 10', 'other'), 'sold', 'the other database sells');
is(book('2, 1, 0, 1', 'other'), 'sold_out', 'a seat that was sold before the dump is taken');
check_seats($node, 'after a restore', 'other');
check_seats($node, 'beside it');

#
# A standby and its promotion
#

my $standby = seckill_standby($node);
add_train(31, 2, 1);
is(book('31, 1, 0, 1'), 'sold', 'primary');
$node->wait_for_catchup($standby);
is(sql('SELECT seats FROM seckill_free_seats(31)', 'postgres', $standby), 1, 'standby shows what is free');
is(sql("SELECT string_agg(state, ',' ORDER BY seat) FROM seckill_seat_map(31)", 'postgres', $standby),
	'taken,free', 'and the map');
is(book('31, 1, 0, 1'), 'sold', 'primary again');
$node->wait_for_catchup($standby);
is(sql('SELECT seats FROM seckill_free_seats(31)', 'postgres', $standby), 0, 'standby shows the change');
my ($rc, $out, $err) = $standby->psql('postgres', 'SELECT seckill_book(31, 1, 0, 1)');
like($err, qr/cannot execute seckill_book\(\) during recovery/, 'a standby does not book');
$node->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(book('31, 1, 0, 1', 'postgres', $standby), 'sold_out', 'promoted');
is(book('12, 1, 9, 10', 'postgres', $standby), 'sold', 'promoted server sells');
check_seats($standby, 'after a promotion');

#
# No memory for maps
#

$standby->append_conf('postgresql.conf', "seckill.seat_memory = 0\n");
$standby->restart;
is(book('13, 1, 9, 10', 'postgres', $standby), 'sold', 'no maps');
is(sql('SELECT mode FROM seckill.orders ORDER BY order_id DESC LIMIT 1', 'postgres', $standby),
	'advisory', 'advisory sells');
is(book("13, 1, 9, 10, mode => 'queue'", 'postgres', $standby), 'sold', 'queue without maps');
is(sql('SELECT count(*) FROM seckill_free_seats(13)', 'postgres', $standby), 55, 'free seats');
check_seats($standby, 'without maps');

# and no library
$standby->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$standby->restart;
is(book("13, 1, 9, 10, mode => '$_'", 'postgres', $standby), 'sold', "not preloaded: $_")
  foreach qw(auto optimistic retry pessimistic advisory);
check_seats($standby, 'not preloaded');

$standby->stop;
done_testing();
