# A random sale: all modes, limits, retried requests, payments, cancels,
# expiries, restocks, rollbacks.  Then the laws are checked over the whole tables.
# It runs for SECKILL_SECONDS, and again until there are enough answers to check.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $seconds = $ENV{SECKILL_SECONDS} // 10;
my $node = seckill_node('random', conf => <<'EOC');
seckill.lease_units = 30
seckill.hot_rate = 20
seckill.naptime = 1h
max_locks_per_transaction = 256
deadlock_timeout = 100ms
EOC

sub sql
{
	return $node->safe_psql('postgres', shift);
}

# items: with and without limit, with and without payment
sql(<<'EOC');
INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within)
VALUES (1, 200, 3, '700 ms'), (2, 200, 1, '300 ms'), (3, 200, 5, NULL),
	(4, 200, NULL, '500 ms'), (5, 1000000, NULL, NULL), (6, 50, 2, '1 s');

-- what buyers were told
CREATE TABLE answers (item_id bigint, user_id bigint, request_id uuid, order_id bigint);

-- confirm or cancel, whoever was first; sometimes cancel what is confirmed
CREATE FUNCTION move(what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	o record;
BEGIN
	SELECT item_id, order_id INTO o FROM seckill.orders
	WHERE order_id >= (SELECT max(order_id) - 3000 * random() ^ 3 FROM seckill.orders)
	ORDER BY order_id LIMIT 1;
	IF what = 'confirm' THEN
		PERFORM seckill_confirm(o.item_id, o.order_id);
	ELSIF o.order_id IS NOT NULL THEN
		PERFORM seckill_cancel(o.item_id, o.order_id, what = 'refund');
	END IF;
EXCEPTION WHEN SQLSTATE 'SK001' OR SQLSTATE 'SK002' OR SQLSTATE 'SK003'
	OR null_value_not_allowed THEN
END $$;
EOC

# a retry asks for as many as before
my $draw = "\\set i random(1, 6)\n\\set u random(1, 60)\n\\set r random(1, 40)\n\\set n 1 + :r % 2\n";
my $request = "md5(:i || ',' || :u || ',' || :r)::uuid";
my $note = "INSERT INTO answers SELECT :i, :u, $request, :order_id WHERE :order_id > 0;\n";
my @modes = qw(optimistic retry pessimistic advisory cache auto);
my @scripts;

# each mode: with a request, whose answer is recorded after its commit
push @scripts, map { <<"EOC" } @modes, 'queue';
$draw
SELECT coalesce(order_id, 0) AS order_id
FROM seckill_buy(:i, :u, '$_', :n, $request) \\gset
$note
EOC

# in transactions with ROLLBACK TO SAVEPOINT
push @scripts, map { <<"EOC" } @modes;
$draw
\\set end random(1, 4)
BEGIN;
SELECT outcome FROM seckill_buy(:i, :u, '$_', :n);
SAVEPOINT s;
SELECT outcome FROM seckill_buy(:i, :u, '$_', :n, $request);
\\if :end = 1
ROLLBACK TO s;
\\endif
\\if :end = 2
ROLLBACK;
\\else
COMMIT;
\\endif
EOC

push @scripts, (
	"${draw}SELECT outcome FROM seckill_submit(:i, :u, :n, $request);\n",
	"${draw}SELECT outcome FROM seckill_buy_many(:i, ARRAY[:u, :u + 1, :u + 7], 'cache', ARRAY[CASE WHEN :n = 1 THEN $request END, NULL, NULL]);\n",
	"SELECT move('confirm');\n",
	"SELECT move('cancel');\n",
	"SELECT move('refund');\n",
	"${draw}BEGIN; SELECT move('refund'); SELECT outcome FROM seckill_buy(:i, :u, 'cache'); SELECT move('confirm'); COMMIT;\n",
	"\\set i random(1, 6)\nUPDATE seckill.items SET stock = stock + 1 WHERE item_id = :i;\n",
	"\\set i random(1, 6)\nSELECT seckill_restock(:i, 2);\n",
	"\\set i random(1, 6)\n\\set n random(0, 5)\nSELECT seckill_set_available(:i, :n);\n",
	"\\set i random(1, 6)\nSELECT state, available FROM seckill_item(:i);\n",
	"\\set i random(1, 6)\nSELECT seckill_recall(:i);\n",
	"\\set i random(1, 6)\nSELECT seckill_prewarm(:i, 20);\n");

my @files = map {
	my $file = $node->basedir . "/random.$_.sql";
	append_to_file($file, $scripts[$_]);
	('-f', $file);
} 0 .. $#scripts;
foreach my $run (1 .. 20)
{
	my ($out, $err) = ('', '');

	ok( IPC::Run::run([
				'pgbench', '-n', '-c', 40, '-j', 2, '-T', $seconds, '--max-tries', 0,
				'-h', $node->host, '-p', $node->port, @files, 'postgres' ],
			'>', \$out, '2>', \$err),
		'the sale runs') or diag($err);
	like($out, qr/number of failed transactions: 0 /, 'no transaction has failed');
	note($out =~ /(number of transactions actually processed: \d+)/);
	last if sql('SELECT count(*) FROM answers') > 100;
}
note(sql('SELECT state, count(*) FROM seckill.orders GROUP BY 1 ORDER BY 1'));

# all purchases are decided: the queue is empty, and no order is overdue
ok( $node->poll_query_until('postgres', <<'EOC'), 'unpaid orders have expired');
SELECT count(*) = 0 FROM seckill.orders WHERE state = 'pending'
EOC
is(sql("SELECT outcome <> 'queued' FROM seckill_buy(5, 1000, 'queue')"),
	't', 'the queue is empty');

check_audit($node, 'after the random sale');
check_cache($node, 'after the random sale');
is(sql(<<'EOC'), '', 'no user has more than the limit');
SELECT item_id, user_id, sum(quantity)
FROM seckill.orders JOIN seckill.items USING (item_id)
WHERE state IN ('pending', 'confirmed')
GROUP BY 1, 2, per_user_limit HAVING sum(quantity) > per_user_limit
EOC
is(sql(<<'EOC'), '', 'no request has two orders');
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
SELECT item_id, request_id FROM seckill.orders WHERE request_id IS NOT NULL
GROUP BY 1, 2 HAVING count(*) > 1
EOC
cmp_ok(sql('SELECT count(*) FROM answers'), '>', 100, 'many were told that they have an order');
is(sql(<<'EOC'), '', 'and they have it');
SELECT a.* FROM answers a LEFT JOIN seckill.orders o
	ON (o.item_id, o.user_id, o.request_id, o.order_id) = (a.item_id, a.user_id, a.request_id, a.order_id)
WHERE o.order_id IS NULL
EOC
foreach my $item (1, 2, 3, 4, 6)
{
	my $left = sql("SELECT stock + unsold FROM seckill_audit($item)");

	sql("UPDATE seckill.items SET per_user_limit = NULL, pay_within = NULL WHERE item_id = $item");
	is(buy_rest($node, $item, 'auto'), $left, "item $item: the units left are on sale");
}
check_audit($node, 'at the end');

$node->stop;
done_testing();
