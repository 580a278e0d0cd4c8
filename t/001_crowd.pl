# The classic example: 200 concurrent buyers, 100 units, in each mode and in a
# mix of all modes with a third of the transactions rolled back.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('crowd', conf => "seckill.lease_units = 30\n");
my %id = (
	optimistic => 1, retry => 2, pessimistic => 3,
	advisory => 4, cache => 5, auto => 6, queue => 9);

foreach my $mode (sort { $id{$a} <=> $id{$b} } keys %id)
{
	my $item = $id{$mode};

	add_item($node, $item, 100);
	crowd($node, 200, 1,
		"SELECT outcome FROM seckill_buy($item, :client_id, '$mode');\n");
	my ($sold, $left, $rows) = split /\|/, $node->safe_psql('postgres', <<"EOC");
SELECT a.sold, a.stock + a.unsold, (SELECT count(*) FROM seckill.orders WHERE item_id = $item)
FROM seckill_audit($item) a
EOC
	is($rows, $sold, "$mode: an order for each unit sold");
	is($sold + $left, 100, "$mode: units sold and left are the supply");
	if ($mode eq 'optimistic')
	{
		cmp_ok($sold, '>', 0, "$mode: at least one sale");
		cmp_ok($sold, '<=', 100, "$mode: no oversell");
	}
	else
	{
		is($sold, 100, "$mode: all sold");
	}
}
check_audit($node, 'after each mode');
check_cache($node, 'after each mode');

# all modes at once, with rollbacks and savepoints
my @scripts = ("SELECT outcome FROM seckill_buy(7, :client_id, 'queue');\n") x 2;
foreach my $mode (grep { $_ ne 'queue' } sort keys %id)
{
	push @scripts, <<"EOC";
\\set end random(1, 6)
BEGIN;
\\if :end = 3
SAVEPOINT s;
SELECT outcome FROM seckill_buy(7, :client_id, '$mode');
ROLLBACK TO s;
\\endif
SELECT outcome FROM seckill_buy(7, :client_id, '$mode');
\\if :end <= 2
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
}
foreach my $lease (1, 7, 1000)
{
	$node->safe_psql('postgres', <<"EOC");
ALTER SYSTEM SET seckill.lease_units = $lease;
SELECT pg_reload_conf();
EOC
	add_item($node, 7, 100);
	crowd($node, 200, 5, @scripts);
	my $late = buy_rest($node, 7, 'cache');
	note("mix with leases of $lease: $late units bought afterwards");
	is($node->safe_psql('postgres', 'SELECT sold FROM seckill_audit(7)'),
		100, "mix with leases of $lease: exactly 100 sold");
	check_audit($node, "mix with leases of $lease");
	check_cache($node, "mix with leases of $lease");
	$node->safe_psql('postgres', 'SELECT seckill_recall(7)');
	is( $node->safe_psql('postgres',
			'SELECT stock, leased, lease_id IS NULL FROM seckill.items WHERE item_id = 7'),
		'0|0|t',
		'no unit is leased after the recall');
	$node->safe_psql('postgres', <<'EOC');
DELETE FROM seckill.orders WHERE item_id = 7;
DELETE FROM seckill.items WHERE item_id = 7;
EOC
}

# a purchase of several units, from memory and row at once
add_item($node, 8, 1000);
crowd($node, 64, 20, map { <<"EOC" } sort keys %id);
\\set n random(1, 4)
SELECT outcome FROM seckill_buy(8, :client_id, '$_', :n);
EOC
is($node->safe_psql('postgres', 'SELECT sold FROM seckill_audit(8)')
	  + buy_rest($node, 8, 'retry'),
	1000, 'quantities: all sold');
check_audit($node, 'quantities');
check_cache($node, 'quantities');

$node->stop;
done_testing();
