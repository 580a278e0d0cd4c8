# Dump and restore with an open lease: items, orders and the order sequence
# come along, the lease is settled in the new database.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('dump');
$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, title, stock, ends_at) VALUES
	(1, 'leased', 10, NULL), (2, 'sold from the row', 10, 'infinity');
SELECT seckill_prewarm(1, 6);
SELECT seckill_buy(1, n, 'cache') FROM generate_series(1, 4) n;
SELECT seckill_buy(2, n, 'pessimistic') FROM generate_series(1, 4) n;
UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 2;
INSERT INTO seckill.items (item_id, stock, pay_within) VALUES (3, 10, '1 hour');
SELECT seckill_buy_many(3, ARRAY[1, 2, 3], 'cache');
SELECT seckill_confirm(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 1;
SELECT seckill_cancel(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 2;
INSERT INTO seckill.items (item_id, stock) VALUES (4, 10);
CREATE TABLE wishes (user_id integer, mode text);
INSERT INTO wishes VALUES (1, 'cache'), (2, 'advisory');
CREATE VIEW sale AS SELECT b.* FROM wishes w, seckill_buy(4, w.user_id, w.mode) b;
EOC
my $orders = 'SELECT * FROM seckill.orders WHERE item_id = 3 ORDER BY order_id';
my $pending = $node->safe_psql('postgres', $orders);
my $audit = $node->safe_psql('postgres', 'SELECT * FROM seckill_audit()');
my $last = $node->safe_psql('postgres', 'SELECT max(order_id) FROM seckill.orders');

foreach my $format ('plain', 'custom')
{
	my $file = $node->basedir . "/dump.$format";
	my $db = "restored_$format";

	$node->command_ok([ 'pg_dump', '-F', $format, '-f', $file, 'postgres' ],
		"$format dump");
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->command_ok(
		$format eq 'plain'
		? [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $db, '-f', $file ]
		: [ 'pg_restore', '-e', '-d', $db, $file ],
		"$format restore");
	is($node->safe_psql($db, 'SELECT * FROM seckill_audit()'),
		$audit, 'the audit is the same');
	is($node->safe_psql($db, 'SELECT supplied FROM seckill.items ORDER BY item_id'),
		"10\n11\n10\n10", 'units supplied are restored, not counted again');
	is( $node->safe_psql($db,
			q{SELECT count(*) FILTER (WHERE outcome = 'sold'), min(order_id) FROM generate_series(1, 10) n, seckill_buy(1, n, 'cache')}),
		'6|' . ($last + 1),
		'what is left is sold, under new numbers');
	is($node->safe_psql($db, $orders), $pending, 'orders are as they were');
	is($node->safe_psql($db, 'SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 3'),
		'confirmed', 'and are paid there');
	is($node->safe_psql($db, 'SELECT outcome FROM sale'), "sold\nsold", 'a view that gives modes as text buys');
	check_audit($node, 'restored', $db);
	check_cache($node, 'restored', $db);
}
is($node->safe_psql('postgres', 'SELECT stock + cached FROM seckill.stock WHERE item_id = 1'),
	6, 'the source goes on with its lease');

$node->stop;
done_testing();
