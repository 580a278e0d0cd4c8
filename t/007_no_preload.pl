# Without shared_preload_libraries: the row modes work, mode cache raises an
# error with a hint, and an earlier lease is settled.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('plain');
add_item($node, 1, 10);
$node->safe_psql('postgres', <<'EOC');
SELECT seckill_prewarm(1);
SELECT seckill_buy(1, 0, 'cache');
EOC
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;

foreach my $call (q{seckill_buy(1, 1, 'cache')}, q{seckill_buy(1, 1, 'queue')},
	'seckill_submit(1, 1)', 'seckill_result(1)', 'seckill_prewarm(1)',
	'seckill_submit_many(ARRAY[1], ARRAY[1])', 'seckill_result_many(ARRAY[1])',
	q{seckill_buy_items(ARRAY[1], ARRAY[1], 'cache')},
	'seckill_recall(1)')
{
	my ($rc, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  55000: /, "$call is refused");
	like($err, qr/HINT:  Add seckill to shared_preload_libraries/, 'with a hint');
}
is($node->safe_psql('postgres', 'SELECT state, available, unsettled FROM seckill_item(1)'),
	'on_sale|0|10', 'the units left of the lease are not known');
# rates and waiters are counted in shared memory only
$node->safe_psql('postgres', 'UPDATE seckill.items SET user_rate = 0.00001, user_burst = 1, max_waiters = 1');
foreach my $mode (qw(auto optimistic retry pessimistic advisory))
{
	is($node->safe_psql('postgres', "SELECT outcome FROM seckill_buy(1, 1, '$mode')"),
		'sold', "$mode sells");
}
is($node->safe_psql('postgres', 'SELECT string_agg(mode::text, $$ $$ ORDER BY order_id) FROM seckill.orders'),
	'cache retry optimistic retry pessimistic advisory', 'auto is retry');
is($node->safe_psql('postgres', 'SELECT stock, leased, cached, sold, state FROM seckill.stock'),
	'4|0||6|on_sale', 'the old lease is settled');
crowd($node, 50, 1,
	map { "SELECT outcome FROM seckill_buy(1, :client_id, '$_');\n" }
	  qw(auto retry pessimistic advisory));
is($node->safe_psql('postgres', 'SELECT sold, stock FROM seckill_audit(1)'),
	'10|0', 'all sold');
check_audit($node, 'without the library preloaded');

is($node->safe_psql('postgres', 'SELECT seckill_restock(1, 3), seckill_set_available(1, 2), seckill_restock(1, -1)'),
	'3|-1|1', 'units are put on sale and taken off without a cache');
is($node->safe_psql('postgres', 'SELECT state, available, unsettled FROM seckill_item(1)'), 'on_sale|1|0', 'and are seen');
is($node->safe_psql('postgres', q{SELECT seckill_put_item(2, '{"stock": 1}'), seckill_put_item(2, '{"title": "x"}')}),
	't|f', 'items are created and changed without a cache');
check_audit($node, 'after restocks');

my ($rc, $out, $err) = $node->psql('postgres', q{SHOW seckill.max_items});
like($err, qr/unrecognized configuration parameter/, 'settings of the cache do not exist');

$node->stop;
done_testing();
