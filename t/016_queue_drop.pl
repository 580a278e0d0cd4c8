# Tables, extensions and databases are dropped while purchases wait in the queue:
# no call hangs, and nothing stays in the ring.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('drop', conf => 'max_worker_processes = 16');

# Lock item 1 and have it bought; returns the holder and the buyers.
sub sale
{
	my ($db, $n) = @_;
	my @sessions = map { $node->background_psql($db, on_error_stop => 0) } 0 .. $n;

	$sessions[0]->query_until(qr/locked/, "BEGIN; SELECT 'locked' FROM seckill.items WHERE item_id = 1 FOR UPDATE;\n");
	$sessions[$_]->query_until(qr/go/, <<"EOC") for 1 .. $n;
SET statement_timeout = '10 min';
\\echo go
SELECT outcome FROM seckill_buy(1, $_, 'queue');
\\q
EOC
	await_worker_lock($node, $n, $db);
	return @sessions;
}

sub end_sale
{
	my ($holder, @buyers) = @_;

	$holder->{stdin} .= "COMMIT;\n\\q\n";
	$_->{run}->finish for $holder, @buyers;
	return map { $_->{stdout} . $_->{stderr} } @buyers;
}

# a statement that would be in the way of a TRUNCATE while it waits is refused
add_item($node, 1, 10);
my ($rc, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT seckill_buy(item_id, 1, 'queue') FROM seckill.items");
like($err, qr/ERROR:  25001: mode "queue" cannot be used by a statement that reads.*\nHINT: /, 'refused');
is($node->safe_psql('postgres', 'SELECT r.outcome FROM seckill.items, seckill_submit(item_id, 1) s, seckill_result(s.ticket, $$60 s$$) r'),
	'sold', 'to submit is not');

# the tables are emptied, the extension goes and comes back
foreach my $round (1 .. 2)
{
	foreach my $change ('TRUNCATE seckill.items, seckill.orders', 'DROP EXTENSION seckill; CREATE EXTENSION seckill')
	{
		my ($holder, @buyers) = sale('postgres', 3);
		my $admin = $node->background_psql('postgres');

		$admin->query_until(qr/go/, "\\echo go\n$change;\n\\echo done\n");
		ok( $node->poll_query_until('postgres',
				q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'}),
			'and who wants the tables');
		await_moment($node,
			q{SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity USING (pid) WHERE backend_type = 'seckill queue worker' AND NOT granted AND locktype = 'relation'},
			'and the worker, behind him');
		my @answers = end_sale($holder, @buyers);
		is(grep(/ERROR:  (item 1 does not exist|relation .* does not exist|could not open relation)/, @answers),
			3, "all are answered: $change")
		  or diag(@answers);
		$admin->query_safe('SELECT 1');
		$admin->quit;
		is($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders'), 0, 'the tables are empty');
		add_item($node, 1, 10);
		is($node->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}), 'sold',
			'the new tables sell');
		check_audit($node, $change);
	}
}

# DROP DATABASE waits until every process has closed its files: also those who
# wait for a row, for the worker, for a ticket or for work
{
	my ($holder, @buyers) = sale('postgres', 3);
	my $waiter = $node->background_psql('postgres');

	$waiter->query_until(qr/go/, <<'EOC');
SELECT ticket FROM seckill_submit(1, 4) \gset
\echo go
SELECT outcome FROM seckill_result(:ticket, '5 min');
\q
EOC
	my $waiting = q{SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^SELECT outcome FROM seckill_(buy|result)'};
	ok($node->poll_query_until('postgres', $waiting, 4), 'four callers wait');
	$node->safe_psql('postgres', $_) foreach 'CREATE DATABASE passing', 'DROP DATABASE passing';
	is($node->safe_psql('postgres', $waiting), 4, 'a database is dropped while all of them wait');
	is(grep({ /^sold$/m } end_sale($holder, @buyers, $waiter)), 4, 'and all are sold to');
}

# a dropped database leaves room for another one's queue, used or in use
sub create_shop
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION seckill');
	$node->safe_psql($db, 'INSERT INTO seckill.items (item_id, stock) VALUES (1, 10)');
	return $node->safe_psql($db, q{SELECT outcome FROM seckill_buy(1, 1, 'queue')});
}

foreach my $round (1 .. 3)
{
	is(create_shop('shop'), 'sold', "a new database sells, $round");
	my @sessions = sale('shop', 2);
	$node->safe_psql('postgres', 'DROP DATABASE shop WITH (FORCE)');
	$_->{run}->finish for @sessions;
	# the holder may be the first to be terminated
	is(grep({ $_->{stdout} . $_->{stderr} =~ /^sold$|FATAL:  terminating connection due to administrator command/m } @sessions[1, 2]),
		2, 'dropped by force with purchases waiting');
}
is(create_shop('shop'), 'sold', 'a new database sells');
$node->safe_psql('postgres', 'DROP DATABASE shop');
pass('dropped plainly, once its worker was idle');

# eight databases have queues
is(create_shop("shop$_"), 'sold', "database $_ sells") for 2 .. 8;
($rc, $out, $err) = (0, '', '');
$node->safe_psql('postgres', 'CREATE DATABASE shop9');
$node->safe_psql('shop9', 'CREATE EXTENSION seckill; INSERT INTO seckill.items (item_id, stock) VALUES (1, 10)');
foreach my $call (q{seckill_buy(1, 1, 'queue')}, 'seckill_submit(1, 1)')
{
	($rc, $out, $err) = $node->psql('shop9', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  53400: too many databases use the queue.*\nHINT: /s, "no queue is left for $call");
}
($rc, $out, $err) = $node->psql('shop9', "\\set VERBOSITY verbose\nSELECT seckill_result(1)");
like($err, qr/ERROR:  55000: ticket 1 is no longer remembered/, 'no ticket is remembered where there is no queue');
is($node->safe_psql('shop9', q{SELECT count(*) FROM seckill.orders}), 0, 'nothing happened');
$node->safe_psql('postgres', 'DROP DATABASE shop8');
is($node->safe_psql('shop9', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}), 'sold', 'until one is dropped');
check_audit($node, 'at the end', $_) for qw(postgres shop2 shop9);

$node->stop;
done_testing();
