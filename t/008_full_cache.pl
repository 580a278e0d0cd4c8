# A cache with fewer entries than items: entries in use are not evicted, other
# items are sold from their rows, and no unit is lost.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('full',
	conf => "seckill.max_items = 2\nseckill.lease_units = 3\n");
$node->safe_psql('postgres',
	'INSERT INTO seckill.items (item_id, stock) SELECT n, 40 FROM generate_series(1, 5) n');
$node->safe_psql('postgres', 'SELECT seckill_prewarm(n, 5) FROM generate_series(1, 2) n');

my ($rc, $out, $err) =
  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT seckill_prewarm(3)");
like($err, qr/53400: the stock cache is full.*HINT: /s, 'no entry for a third item');
is( $node->safe_psql('postgres',
		q{SELECT outcome FROM seckill_buy(3, 1, 'cache'); SELECT outcome FROM seckill_buy(3, 1); SELECT string_agg(mode::text, ' ' ORDER BY order_id) FROM seckill.orders}),
	"sold\nsold\nadvisory retry",
	'its row sells instead');
is($node->safe_psql('postgres', 'SELECT sum(cached) FROM seckill.stock'),
	10, 'the two leases are untouched');

# entries are evicted under load
crowd($node, 40, 50, map { <<"EOC" } qw(cache auto optimistic pessimistic advisory retry));
\\set item random(1, 5)
\\set end random(1, 3)
BEGIN;
SELECT outcome FROM seckill_buy(:item, :client_id, '$_');
\\if :end = 1
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
is(buy_rest($node, $_, 'cache') . ' left', '0 left', "item $_ is sold out")
  for grep { $node->safe_psql('postgres', "SELECT sold = 40 FROM seckill_audit($_)") eq 't' } 1 .. 5;
buy_rest($node, $_, 'auto') for 1 .. 5;
is($node->safe_psql('postgres', 'SELECT count(*), min(sold), max(sold) FROM seckill_audit()'),
	'5|40|40', 'every unit is sold');
check_audit($node, 'small cache');
check_cache($node, 'small cache');

$node->stop;
done_testing();
