# Every mode, seckill_submit() and the queue on the same items, with rollbacks,
# savepoints and long transactions that hold rows and units: the conservation law
# holds at every moment, and every unit is sold in the end.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('mixed', conf => <<'EOC');
max_prepared_transactions = 0
seckill.lease_units = 7
seckill.queue_size = 100
seckill.hot_rate = 0
deadlock_timeout = 10ms
EOC
my @modes = qw(optimistic retry pessimistic advisory cache auto);
my $supply = 600;
add_item($node, $_, $supply) for 1 .. 4;
$node->safe_psql('postgres', 'CREATE TABLE answers (item_id bigint, mode text, outcome seckill_outcome, ticket bigint, quantity integer)');

my $pick = "\\set item random(1, 4)\n\\set n random(1, 3)\n\\set end random(1, 6)\n";
my @scripts = ($pick . <<'EOC') x 3;
SELECT outcome FROM seckill_buy(:item, :client_id, 'queue', :n) \gset
INSERT INTO answers VALUES (:item, 'queue', :outcome, NULL, :n);
EOC
push @scripts, ($pick . <<'EOC') x 2;
SELECT outcome, ticket FROM seckill_submit(:item, -1, :n) \gset
INSERT INTO answers VALUES (:item, 'submit', :outcome, nullif(:ticket, '')::bigint, :n);
EOC
# several statements, so that others find it in the way; of those who hold units
# and want more at the end of the sale, one may have to try again
$SeckillTest::max_tries = 100;
push @scripts, $pick . <<"EOC" foreach @modes;
BEGIN;
SAVEPOINT s;
SELECT outcome FROM seckill_buy(:item, :client_id, '$_', :n);
\\if :end = 3
ROLLBACK TO s;
\\endif
SELECT outcome FROM seckill_buy(:item, :client_id, '$_');
SELECT count(*) FROM seckill.orders;
\\if :end <= 2
ROLLBACK;
\\else
COMMIT;
\\endif
EOC
# the conservation law during the sale
push @scripts, "SELECT 1 / (count(*) = 0)::integer FROM seckill_audit() WHERE difference <> 0;\n";
# the administrator
push @scripts, $pick . <<'EOC';
\if :end = 1
UPDATE seckill.items SET stock = stock + 1 WHERE item_id = :item;
\elif :end = 2
SELECT seckill_recall(:item);
\elif :end = 3
SELECT seckill_prewarm(:item, 20);
\endif
EOC

crowd($node, 80, 25, @scripts);
check_audit($node, 'after the crowd');
is($node->safe_psql('postgres', q{SELECT count(*) FROM answers WHERE outcome NOT IN ('sold', 'sold_out', 'queued', 'busy')}),
	0, 'no other answers');

# with a full ring the answer would be "busy"
await_queue($node);
my $buy_rest = 0;
foreach my $item (1 .. 4)
{
	my $answer = $node->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, -2, 'queue')");
	like($answer, qr/^sold(_out)?$/, "item $item: the queue sells or is sold out");
	$buy_rest += buy_rest($node, $item, $_) for 'advisory', 'cache', 'pessimistic';
}
note("$buy_rest units bought afterwards");
is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill_audit() WHERE sold <> supplied OR stock + unsold <> 0'),
	0, 'every unit is sold');
check_audit($node, 'at the end');
check_cache($node, 'at the end');
is($node->safe_psql('postgres', <<'EOC'), '0', 'each waiting caller has exactly the orders it was answered');
SELECT count(*) FROM (
	SELECT item_id, sum(quantity) FROM answers WHERE mode = 'queue' AND outcome = 'sold' GROUP BY 1
	EXCEPT
	SELECT item_id, sum(quantity) FROM seckill.orders WHERE mode = 'queue' AND user_id >= 0 GROUP BY 1) x
EOC

# no slot for a worker: an error, and nothing has changed
$node->append_conf('postgresql.conf', "max_worker_processes = 0\n");
$node->restart;
$node->safe_psql('postgres', 'UPDATE seckill.items SET stock = stock + 3 WHERE item_id = 1');
foreach my $call (q{seckill_buy(1, -3, 'queue')}, 'seckill_submit(1, -3)')
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  53400: no background worker is left for the queue\nHINT:  Raise max_worker_processes/,
		"no worker for $call");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders WHERE user_id = -3'), 0, 'no order');
is(buy_rest($node, 1, 'cache'), 3, 'other modes sell');
check_audit($node, 'without a worker');
check_cache($node, 'without a worker');

$node->stop;
done_testing();
