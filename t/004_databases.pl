# Cache entries belong to the tables of one database and one CREATE EXTENSION: a
# second database, a copy of a template, drop and re-creation.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('databases', conf => "seckill.max_items = 3\n");

# the same item in two databases
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<'EOC');
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2);
SELECT seckill_prewarm(1);
EOC
add_item($node, 1, 5);
is(buy_rest($node, 1, 'cache'), 5, 'one database sells its own units');
is($node->safe_psql('shop', 'SELECT cached, sold FROM seckill.stock'),
	'2|0', 'the other database has all of its units');

# a copy of a database with an open lease
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE shop');
is($node->safe_psql('copy', 'SELECT cached FROM seckill.stock'),
	'', 'no cache entry has the lease of the copy');
foreach my $db ('shop', 'copy')
{
	is( $node->safe_psql($db,
			q{SELECT string_agg(outcome::text, ' ') FROM generate_series(1, 3) n, seckill_buy(1, n, 'cache')}),
		'sold sold sold_out',
		"$db sells its two units");
	check_audit($node, $db, $db);
	check_cache($node, $db, $db);
}

# entries of dropped databases and extensions are evicted, with units or without
foreach my $round (1 .. 5)
{
	$node->safe_psql('postgres', 'DROP DATABASE copy; ');
	$node->safe_psql('postgres', 'CREATE DATABASE copy');
	$node->safe_psql('copy', <<'EOC');
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 2);
EOC
	is($node->safe_psql('copy', 'SELECT seckill_prewarm(1, 1)'),
		1, "a new database of the same name, $round");
	$node->safe_psql('copy', <<'EOC');
DROP EXTENSION seckill;
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 3);
EOC
	is( $node->safe_psql('copy',
			q{SELECT string_agg(outcome::text, ' ') FROM generate_series(1, 4) n, seckill_buy(1, n, 'cache')}),
		'sold sold sold sold_out',
		"a new extension of the same name, $round");
	is($node->safe_psql('copy', 'SELECT DISTINCT mode FROM seckill.orders'),
		'cache', 'sold from the cache');
	$node->safe_psql('copy', <<'EOC');
UPDATE seckill.items SET stock = stock + 2;
SELECT seckill_prewarm(1);
EOC
}

# an existing session uses the new tables
my $session = $node->background_psql('postgres');
is($session->query(q{SELECT outcome FROM seckill_buy(1, 1, 'cache')}),
	'sold_out', 'sold out in the session');
$node->safe_psql('postgres', <<'EOC');
DROP EXTENSION seckill;
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1);
EOC
is($session->query(q{SELECT outcome FROM seckill_buy(1, 1, 'cache')}),
	'sold', 'sold from the new tables');
is($session->query(q{SELECT outcome FROM seckill_buy(1, 1, 'pessimistic')}),
	'sold_out', 'the new tables are sold out');
$session->quit;
check_audit($node, 'after re-creation');

$node->stop;
done_testing();
