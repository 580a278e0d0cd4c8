# A bug leaves units on hold without a holder: the next waiter returns them within
# a second, in every mode, and counts orders to find the units sold.  A build with
# fault points (src/base/fault.h) skips steps to simulate the bugs.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use TortureFaults;

my $node = TortureFaults::faulty_node('lost', "seckill.max_items = 200\n");
my $item = 0;

# Steps skipped when a transaction ends: its units are not returned; the
# published holder stays; or both.  The last also leaves the refiller's lock mark.
my @bugs = ('units given back', 'holder hidden', '*');

# A new item with units of which 4 are lost, by a transaction that sold them or
# was rolled back; of a session that stays, if one is given.
sub lose_units
{
	my ($bug, $end, $session) = @_;

	$item++;
	my $sql = <<"EOC";
INSERT INTO seckill.items (item_id, stock) VALUES ($item, 12);
SELECT seckill_prewarm($item, 10);
SELECT fault_arm(pg_backend_pid()::text, '$bug', 0, 'skip');
BEGIN;
SELECT seckill_buy($item, 1, 'cache', 4);
$end;
SELECT fault_arm('', '', 0, 'none');
EOC

	$session ? $session->query_safe($sql) : $node->safe_psql('postgres', $sql);
	return;
}

# The answer of a statement, or the SQLSTATE of its error.
sub call
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET statement_timeout = '2min'; SET lock_timeout = '1min';\n$sql");

	return $err =~ /(?:ERROR|FATAL):\s+(\S+):/ ? $1 : $out;
}

sub check
{
	my ($message) = @_;

	check_audit($node, $message);
	check_cache($node, $message);
	return;
}

foreach my $bug (@bugs)
{
	foreach my $end ('COMMIT', 'ROLLBACK')
	{
		my $name = "$bug, $end";
		my $left = $end eq 'COMMIT' ? 8 : 12;

		foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
		{
			lose_units($bug, $end);
			is(call("SELECT outcome FROM seckill_buy($item, 2, '$mode', $left + 1)"),
				'sold_out', "$name: $mode does not sell more than there is");
			is(call("SELECT outcome FROM seckill_buy($item, 2, '$mode', $left)"),
				'sold', "$name: $mode sells the units left");
			is(call("SELECT outcome FROM seckill_buy($item, 2, '$mode')"),
				'sold_out', "$name: $mode sells no more");
		}

		lose_units($bug, $end);
		is(call("SELECT string_agg(outcome::text, ' ') FROM seckill_buy_many($item, array_fill(5::bigint, ARRAY[$left + 1]), 'pessimistic')"),
			'sold ' x $left . 'sold_out', "$name: many");
		lose_units($bug, $end);
		is(call("SELECT seckill_recall($item)"), $left - 2, "$name: recall");
		is(call("SELECT seckill_prewarm($item)"), $left, "$name: prewarm finds all");
		lose_units($bug, $end);
		is(call("SELECT seckill_prewarm($item)"), $bug eq 'holder hidden' ? 2 : $left, "$name: prewarm");
		is(call("SELECT outcome FROM seckill_buy($item, 2, 'cache', $left)"), 'sold', "$name: and then a sale");
		lose_units($bug, $end);
		is(call("SELECT seckill_restock($item, -$left - 1)"), 'SK004', "$name: no more is taken off sale than there is");
		is(call("SELECT seckill_restock($item, -$left)"), 0, "$name: the units left are taken off sale");
		lose_units($bug, $end);
		is(call("SELECT seckill_set_available($item, 5)"), 5 - $left, "$name: so many left");
		is(call("SELECT outcome FROM seckill_buy($item, 2, 'cache', 6)"), 'sold_out', "$name: and no more");
		is(call("SELECT outcome FROM seckill_buy($item, 2, 'cache', 5)"), 'sold', "$name: nor less");
		lose_units($bug, $end);
		is(call("DELETE FROM seckill.items WHERE item_id = $item RETURNING 'gone'"),
			$end eq 'COMMIT' ? '23503' : 'gone', "$name: DELETE");
		call("SELECT seckill_recall($item)");
		check($name);
	}
}

# the same with units that have numbers: those that are left are settled by the
# numbers of orders
foreach my $bug (@bugs)
{
	foreach my $end ('COMMIT', 'ROLLBACK')
	{
		my $name = "numbers, $bug, $end";
		my $left = $end eq 'COMMIT' ? 8 : 12;
		my $claims = sub { "SELECT count(DISTINCT unit) FROM seckill_claim_many($item, array_fill(2::bigint, ARRAY[$_[1]]), '$_[0]')" };
		my $lose = sub {
			$item++;
			$node->safe_psql('postgres', <<"EOC");
INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($item, 12, true);
SELECT seckill_prewarm($item, 10);
SELECT fault_arm(pg_backend_pid()::text, '$bug', 0, 'skip');
BEGIN;
SELECT seckill_claim_many($item, '{1,1,1,1}', 'cache');
$end;
SELECT fault_arm('', '', 0, 'none');
EOC
		};

		foreach my $mode (qw(optimistic retry pessimistic advisory cache auto))
		{
			$lose->();
			is(call($claims->($mode, $left + 1)), $left, "$name: $mode sells the numbers left");
		}
		$lose->();
		is(call("SELECT outcome FROM seckill_claim($item, 2, 'queue')"), 'sold', "$name: the queue") foreach 1 .. $left;
		is(call("SELECT outcome FROM seckill_claim($item, 2, 'queue')"), 'sold_out', "$name: the queue sells no more");
		$lose->();
		is(call("SELECT seckill_recall($item)"), $left - 2, "$name: recall");
		$lose->();
		is(call("SELECT seckill_restock($item, -$left - 1)"), 'SK004', "$name: no more is taken off sale than there is");
		is(call("SELECT seckill_restock($item, -$left)"), 0, "$name: the numbers left are taken off sale");
		$lose->();
		is(call("SELECT seckill_set_available($item, 5)"), 5 - $left, "$name: so many left");
		is(call($claims->('cache', 6)), 5, "$name: and no more");
		check_numbers($node, $name);
		check($name);
	}
}

# a list in mode cache finds the lost units
lose_units('units given back', 'ROLLBACK');
is(call("SELECT count(*) FILTER (WHERE outcome = 'sold') FROM seckill_buy_many($item, array_fill(5::bigint, ARRAY[13]), 'cache')"),
	12, 'a list in mode cache gets all');

# a transaction takes a unit, and then finds that others are lost
lose_units('units given back', 'ROLLBACK');
foreach my $second ("seckill_buy($item, 5, 'cache', 9)", "seckill_restock($item, -9)", "seckill_set_available($item, 9)")
{
	is(call("BEGIN; SELECT FROM seckill_buy($item, 5, 'cache'); SELECT $second; COMMIT"),
		'55000', "a transaction that has units of the item is told so by $second");
}
is(call("SELECT seckill_recall($item)"), 10, 'recall repairs, as the hint says');
is(call("BEGIN; SELECT FROM seckill_buy($item, 5, 'cache', 2); SELECT outcome FROM seckill_buy($item, 5, 'cache', 9); COMMIT") =~ s/\s//gr,
	'sold', 'the lost units are returned and sold');

# the place of a session that stays shows a transaction that has ended
my $loser = $node->background_psql('postgres');
foreach my $bug (@bugs)
{
	lose_units($bug, 'ROLLBACK', $loser);
	is(call("SELECT seckill_recall($item)"), 10, "$bug, the session stays: recall");
	lose_units($bug, 'ROLLBACK', $loser);
	is(call("SELECT seckill_prewarm($item)"), $bug eq 'holder hidden' ? 2 : 12, "$bug, the session stays: prewarm");
	is(call("SELECT outcome FROM seckill_buy($item, 2, 'cache', 12)"), 'sold', "$bug, the session stays: purchase after that");
	check("$bug, the session stays");
}
$loser->quit;

# a purchase waits for a real holder, and finds the lost units after that has ended
lose_units('units given back', 'ROLLBACK');
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT seckill_buy($item, 3, 'cache', 2)");
my ($out, $err) = ('', '');
my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
		"SELECT outcome FROM seckill_buy($item, 4, 'cache', 11)" ],
	'>', \$out, '2>', \$err);
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"),
	'a holder that is alive is waited for');
$holder->query_safe('ROLLBACK');
$run->finish;
is($out, "sold\n", 'then the lost units are found');
$holder->quit;

# the refiller's mark is lost, and many buyers call
lose_units('*', 'COMMIT');
$node->safe_psql('postgres', <<"EOC");
UPDATE seckill.items SET stock = stock + 500 WHERE item_id = $item;
SELECT fault_arm(pg_backend_pid()::text, 'units given back', 0, 'skip');
BEGIN;
SELECT seckill_buy($item, 1, 'cache', 20);
COMMIT;
SELECT fault_arm('', '', 0, 'none');
EOC
crowd($node, 16, 40, "SELECT outcome FROM seckill_buy($item, :client_id, 'cache');\n");
is(call("SELECT sum(quantity) FROM seckill.orders WHERE item_id = $item"),
	512, 'a crowd buys the units left, to the last one') or diag(call("SELECT * FROM seckill_audit($item)"));
check('at the end');
like(slurp_file($node->logfile), qr/WARNING:  4 units of item 1 were on hold for no transaction/,
	'the log tells');
$node->stop;
done_testing();
