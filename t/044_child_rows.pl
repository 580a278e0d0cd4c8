# A cart table with a foreign key to items, filled in the buyers' transactions: no
# mode deadlocks, alone or mixed.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('main', conf => <<'EOC');
seckill.lease_units = 5
deadlock_timeout = 10ms
EOC
my @modes = qw(optimistic retry pessimistic advisory cache auto);
my $stock = 10000;

$node->safe_psql('postgres', <<'EOC');
CREATE TABLE cart (item_id bigint REFERENCES seckill.items, user_id bigint);
CREATE TABLE refund (item_id bigint, order_id bigint,
	FOREIGN KEY (item_id, order_id) REFERENCES seckill.orders);
EOC

sub purchase
{
	my ($item, $mode) = @_;
	return <<"EOC";
BEGIN;
INSERT INTO cart VALUES ($item, :client_id);
SELECT outcome FROM seckill_buy($item, :client_id, '$mode');
COMMIT;
EOC
}

foreach my $i (0 .. $#modes)
{
	my $mode = $modes[$i];

	note($mode);
	add_item($node, $i, $stock);
	crowd($node, 6, 200, purchase($i, $mode));
	my ($sold, $carts) = split /\|/,
	  $node->safe_psql('postgres', "SELECT sold, (SELECT count(*) FROM cart WHERE item_id = $i) FROM seckill_audit($i)");
	is($carts, 1200, "$mode: every cart is filled");
	$mode eq 'optimistic'
	  ? cmp_ok($sold, '>', 0, "$mode: sells")
	  : is($sold, 1200, "$mode: every cart is bought");
}

# all modes at one item, with the queue, restocks, refunds of the orders just
# made, and operator calls
add_item($node, 20, $stock);
crowd($node, 12, 100,
	(map { purchase(20, $_) } @modes),
	q{SELECT outcome FROM seckill_buy(20, :client_id, 'queue')},
	q{SELECT seckill_prewarm(20, 5)},
	q{SELECT seckill_recall(20)},
	q{UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 20},
	<<'EOC');
BEGIN;
INSERT INTO cart VALUES (20, :client_id);
SELECT order_id FROM seckill_buy(20, :client_id, 'retry') \gset
INSERT INTO refund VALUES (20, :order_id);
SELECT seckill_cancel(20, :order_id, true);
COMMIT;
EOC
check_audit($node, 'after carts and refunds');
check_cache($node, 'after carts and refunds');
is($node->safe_psql('postgres', "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"), 0, 'no deadlock');
$node->stop;
done_testing();
