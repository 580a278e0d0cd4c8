# Limits per user and idempotent retries under load: one user in many sessions,
# all modes mixed with rollbacks, and a crash.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

# without prepared transactions, so that batches can claim users and requests
my $node = seckill_node('limits', conf => "seckill.lease_units = 20\nmax_prepared_transactions = 0\n");
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql
{
	return $node->safe_psql('postgres', shift);
}

# one user, 64 sessions, limit one
my $item = 0;
foreach my $mode (@modes)
{
	$item++;
	add_item($node, $item, 100);
	sql("UPDATE seckill.items SET per_user_limit = 1 WHERE item_id = $item");
	crowd($node, 64, 1, "SELECT outcome FROM seckill_buy($item, 7, '$mode');\n");
	my $sold = sql("SELECT sold FROM seckill_audit($item)");
	if ($mode eq 'optimistic')
	{
		cmp_ok($sold, '<=', 1, "$mode: the user does not buy twice");
	}
	else
	{
		is($sold, 1, "$mode: the user buys one unit");
	}
}

# twenty users, all modes, quantities, rollbacks
add_item($node, 20, 1000);
sql('UPDATE seckill.items SET per_user_limit = 3 WHERE item_id = 20');
crowd($node, 60, 20,
	"\\set u random(1, 20)\n\\set n random(1, 2)\nSELECT outcome FROM seckill_buy(20, :u, 'queue', :n);\n",
	"\\set u random(1, 20)\nSELECT outcome FROM seckill_submit(20, :u);\n",
	map { <<"EOC" } grep { $_ ne 'queue' } @modes);
\\set u random(1, 20)
\\set n random(1, 2)
\\set end random(1, 3)
BEGIN;
\\if :end = 1
SAVEPOINT s;
SELECT outcome FROM seckill_buy(20, :u, '$_', :n);
ROLLBACK TO s;
\\endif
SELECT outcome FROM seckill_buy(20, :u, '$_', :n);
\\if :end = 2
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
is( sql('SELECT count(*) FROM (SELECT FROM seckill.orders WHERE item_id = 20 GROUP BY user_id HAVING sum(quantity) > 3) s'),
	0, 'no user exceeds the limit');
foreach my $mode (qw(cache queue retry))
{
	sql("SELECT seckill_buy(20, $_, '$mode')") for 1 .. 20;
}
is(sql('SELECT min(n), max(n), count(*) FROM (SELECT sum(quantity) AS n FROM seckill.orders WHERE item_id = 20 GROUP BY user_id) s'),
	'3|3|20', 'every user gets as much as the limit allows');

# forty requests, retried many times
my $request = q{('00000000-0000-0000-0000-' || lpad(:r::text, 12, '0'))::uuid};
add_item($node, 30, 1000);
sql('UPDATE seckill.items SET per_user_limit = 1 WHERE item_id = 30');
crowd($node, 60, 20,
	"\\set r random(1, 40)\nSELECT outcome FROM seckill_buy(30, :r, 'queue', 1, $request);\n",
	"\\set r random(1, 40)\nSELECT outcome FROM seckill_submit(30, :r, 1, $request);\n",
	"\\set r random(1, 40)\nSELECT outcome FROM seckill_buy_many(30, ARRAY[:r, :r]::bigint[], 'cache', ARRAY[$request, $request]);\n",
	map { <<"EOC" } grep { $_ ne 'queue' } @modes);
\\set r random(1, 40)
\\set end random(1, 3)
BEGIN;
SELECT outcome FROM seckill_buy(30, :r, '$_', 1, $request);
\\if :end = 1
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
sql("SELECT seckill_buy(30, r, 'retry', 1, " . $request =~ s/:r::/r::/r . ') FROM generate_series(1, 40) r');
is(sql('SELECT count(*), count(DISTINCT request_id), count(DISTINCT user_id) FROM seckill.orders WHERE item_id = 30'),
	'40|40|40', 'one order for each request');
await_queue($node);
my $orders = sql('SELECT string_agg(order_id::text, $$ $$ ORDER BY user_id) FROM seckill.orders WHERE item_id = 30');
check_audit($node, 'after the crowds');
check_cache($node, 'after the crowds');

# a crash loses no request
$node->stop('immediate');
$node->start;
foreach my $mode (@modes)
{
	is( sql("SELECT string_agg(b.order_id::text, ' ' ORDER BY r) FROM generate_series(1, 40) r, LATERAL seckill_buy(30, r, '$mode', 1, "
			  . $request =~ s/:r::/r::/r . ') b'),
		$orders, "$mode: the same orders after a crash");
}
is(sql("SELECT outcome FROM seckill_buy(20, 1, 'cache')"), 'limit_reached', 'the limit holds after a crash');
check_audit($node, 'after a crash');

$node->stop;
done_testing();
