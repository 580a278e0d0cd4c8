# Dump and restore with an open lease, in every format of pg_dump, and the copy
# of a database: items, orders and sequences are restored, and the new database
# settles the lease.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('dump');
$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (title, stock, ends_at) VALUES
	('leased', 10, NULL), ('sold from the row', 10, 'infinity');
SELECT seckill_prewarm(1, 6);
SELECT seckill_buy(1, n, 'cache') FROM generate_series(1, 4) n;
SELECT seckill_buy(2, n, 'pessimistic') FROM generate_series(1, 4) n;
UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 2;
INSERT INTO seckill.items (stock, pay_within) VALUES (10, '1 hour');
SELECT seckill_buy_many(3, ARRAY[1, 2, 3], 'cache');
SELECT seckill_confirm(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 1;
SELECT seckill_cancel(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 2;
INSERT INTO seckill.items (stock) VALUES (10);
CREATE TABLE wishes (user_id integer, mode text);
INSERT INTO wishes VALUES (1, 'cache'), (2, 'advisory');
CREATE VIEW sale AS SELECT b.* FROM wishes w, seckill_buy(4, w.user_id, w.mode) b;
EOC
my $orders = 'SELECT * FROM seckill.orders WHERE item_id = 3 ORDER BY order_id';
my $pending = $node->safe_psql('postgres', $orders);
my $audit = $node->safe_psql('postgres', 'SELECT * FROM seckill_audit()');
my $last = $node->safe_psql('postgres', 'SELECT max(order_id) FROM seckill.orders');

# Restore into a new database in one way.
sub restore
{
	my ($db, $dump, $restore, $extension) = @_;
	my $file = $node->basedir . "/$db.dump";

	$node->command_ok([ 'pg_dump', @$dump, '-f', $file, 'postgres' ], "$db: dump");
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->safe_psql($db, 'CREATE EXTENSION seckill') if $extension;
	$node->command_ok(
		$restore eq 'psql'
		? [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $db, '-f', $file ]
		: [ @$restore, '-e', '-d', $db, $file ],
		"$db: restore");
	return;
}

my %ways = (
	plain => [ [], 'psql' ],
	inserts => [ ['--inserts'], 'psql' ],
	column_inserts => [ ['--column-inserts'], 'psql' ],
	upserts => [ [ '--rows-per-insert=2', '--on-conflict-do-nothing' ], 'psql' ],
	custom => [ ['-Fc'], ['pg_restore'] ],
	parallel => [ ['-Fd'], [ 'pg_restore', '-j2' ] ],
	data_only => [ [ '-a', '-T', 'wishes' ], 'psql', 1 ],
	data_only_custom => [ [ '-a', '-T', 'wishes', '-Fc' ], [ 'pg_restore', '-a' ], 1 ],
	no_triggers => [ [ '-a', '-T', 'wishes', '--disable-triggers' ], 'psql', 1 ],
	copied => []);

foreach my $db (sort keys %ways)
{
	if (@{ $ways{$db} })
	{
		restore($db, @{ $ways{$db} });
	}
	else
	{
		$node->safe_psql('template1', "CREATE DATABASE $db TEMPLATE postgres");
	}
	is($node->safe_psql($db, 'SELECT * FROM seckill_audit()'),
		$audit, "$db: the audit is the same");
	is($node->safe_psql($db, 'SELECT supplied FROM seckill.items ORDER BY item_id'),
		"10\n11\n10\n10", 'units supplied are restored, not counted again');
	is( $node->safe_psql($db,
			q{SELECT count(*) FILTER (WHERE outcome = 'sold'), min(order_id) FROM generate_series(1, 10) n, seckill_buy(1, n, 'cache')}),
		'6|' . ($last + 1),
		'the units left are sold, with new order numbers');
	is($node->safe_psql($db, $orders), $pending, 'orders are as they were');
	is($node->safe_psql($db, 'SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 3'),
		'confirmed', 'restored orders can be confirmed');
	is($node->safe_psql($db, 'SELECT outcome FROM sale'), "sold\nsold", 'a view that gives modes as text buys')
	  unless $ways{$db}[2];
	is($node->safe_psql($db, 'INSERT INTO seckill.items (stock) VALUES (1) RETURNING item_id'),
		5, 'a new item gets the next number');
	check_audit($node, $db, $db);
	check_cache($node, $db, $db);
}
is($node->safe_psql('postgres', 'SELECT stock + cached FROM seckill.stock WHERE item_id = 1'),
	6, 'the source continues with its lease');

$node->stop;
done_testing();
