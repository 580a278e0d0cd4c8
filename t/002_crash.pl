# Crash during a sale: no answered order is lost or doubled, and the first buyer
# settles the units of the lost cache.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('crash', conf => "fsync = on\nseckill.lease_units = 500\n");
my $supply = 1_000_000_000;

add_item($node, 1, $supply);
foreach my $round (1 .. 3)
{
	my $before = $node->safe_psql('postgres', 'SELECT sold FROM seckill_audit(1)');
	my $wait = start_crowd($node, 20,
		map { "SELECT outcome FROM seckill_buy(1, :client_id, '$_');\n" }
		  qw(cache cache cache pessimistic));

	$node->poll_query_until('postgres',
		"SELECT sold > $before + 1000 FROM seckill_audit(1)");
	$node->stop('immediate');
	my $answered = $wait->();
	$node->start;

	check_audit($node, "after crash $round, before a settle");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill_cache()'),
		0, 'the cache is empty');
	my ($sold, $leased) = split /\|/, $node->safe_psql('postgres', <<'EOC');
SELECT a.sold, i.leased FROM seckill_audit(1) a, seckill.items i
EOC
	cmp_ok($sold - $before, '>=', $answered, "all $answered answered orders are there");
	cmp_ok($leased, '>', 0, 'a lease was open');

	# each round another kind of call settles
	my $settle = (
		q{SELECT outcome FROM seckill_buy(1, 1, 'cache')},
		q{SELECT seckill_recall(1) > 0},
		q{SELECT seckill_prewarm(1, 10)})[ $round - 1 ];
	is($node->safe_psql('postgres', $settle), ('sold', 't', 10)[ $round - 1 ],
		"settled by $settle");
	check_audit($node, "settled $round");
	check_cache($node, "settled $round");
}

# a row mode settles when the row is short
$node->safe_psql('postgres', 'SELECT seckill_recall(1)');
foreach my $mode (qw(optimistic retry pessimistic advisory))
{
	$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, stock) VALUES (2, 5)
ON CONFLICT (item_id) DO UPDATE SET stock = items.stock + 5;
SELECT seckill_prewarm(2);
EOC
	$node->stop('immediate');
	$node->start;
	is(buy_rest($node, 2, $mode), 5, "$mode finds the units of a lost lease");
	check_audit($node, "settled by $mode");
}

$node->stop;
done_testing();
