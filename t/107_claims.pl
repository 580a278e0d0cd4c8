# A batch of the queue claims its users and requests while nobody else has
# locked any, and locks them one by one otherwise.  Orders are written to the
# indexes that they belong into, whatever indexes there are.

use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('claims', streaming => 1, conf => <<'EOC');
max_prepared_transactions = 0
seckill.queue_idle_time = '10min'
EOC

sub sql_of { return $node->safe_psql(@_); }

sub sql { return sql_of('postgres', shift); }

# Start a statement in the background; returns a function that waits for its
# end and returns what it has printed, errors included.
sub start_sql
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ],
		'>', \$out, '2>', \$err);

	return sub {
		$run->finish;
		chomp $out;
		return $out . $err;
	};
}

# A session that stays open; returns a function that runs a statement in it.
sub session
{
	my ($in, $out) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>&1', IPC::Run::timeout(300));

	return sub {
		my ($sql) = @_;

		return $run->kill_kill if !defined $sql;
		$out = '';
		$in .= "$sql;\n\\echo done\n";
		$run->pump until $out =~ /^done$/m;
		return $out =~ s/done\n$//r =~ s/\n$//r;
	};
}

# Let commits wait for a standby that is not there, or no more.
sub set_standby
{
	my ($names) = @_;

	sql("ALTER SYSTEM SET synchronous_standby_names = '$names'");
	$node->reload;
	return;
}

# Submit purchases in one call; returns their tickets.
sub submit
{
	my ($item, $users, $requests) = @_;
	my $n = @$users;
	my $ids = $requests ? sprintf(q{ARRAY['%s']::uuid[]}, join(q{','}, @$requests)) : 'NULL';

	return split /\n/, sql(sprintf 'SELECT ticket FROM seckill_submit_many(%s, %s, NULL, %s)',
		"array_fill($item, ARRAY[$n])", "'{" . join(',', @$users) . "}'", $ids);
}

sub results
{
	return join ' ', map { sql("SELECT outcome FROM seckill_result($_, '20 s')") } @_;
}

sub request_id { return sprintf '00000000-0000-0000-0000-%012d', shift; }

my $locks = q{SELECT count(*) FILTER (WHERE objsubid = 1523 AND granted), count(*) FILTER (WHERE objsubid = 1523 AND NOT granted),
	count(*) FILTER (WHERE objsubid IN (1518, 1519)) FROM pg_locks WHERE locktype = 'advisory'};

sub await_locks
{
	my ($batch, $waiting, $others, $what) = @_;

	ok($node->poll_query_until('postgres', "$locks", "$batch|$waiting|$others"), $what)
	  or diag(sql($locks));
	return;
}

add_item($node, $_, 1000000) foreach 1 .. 9;
sql('UPDATE seckill.items SET per_user_limit = 1 WHERE item_id IN (1, 2, 3, 5)');
is(sql("SELECT outcome FROM seckill_buy(9, 1, 'queue')"), 'sold', 'there is a worker');
is(sql("SELECT outcome FROM seckill_buy($_, 1, 'cache')"), 'sold', "and a lease of item $_") foreach 1 .. 3;

sql('CREATE DATABASE other');
sql_of('other', q{CREATE EXTENSION seckill; INSERT INTO seckill.items (item_id, stock, per_user_limit) VALUES (1, 1000, 1)});
is(sql_of('other', "SELECT outcome FROM seckill_buy(1, 1, '$_')"), $_ eq 'cache' ? 'sold' : 'limit_reached', "another database, $_") foreach qw(cache queue);

# the batch is first
set_standby('nobody');
my ($ticket) = submit(1, [7], [ request_id(1) ]);
await_locks(1, 0, 0, 'the batch has claimed user and request, and locked none');
my $local = 'SET synchronous_commit = local';
my $again = start_sql("$local; SELECT outcome FROM seckill_buy(1, 7, 'cache')");
await_locks(1, 1, 1, 'the same user waits for the batch');
my $retry = start_sql("$local; SELECT outcome || ' ' || order_id FROM seckill_buy(1, 7, 'retry', 1, '" . request_id(1) . q{')});
await_locks(1, 2, 2, 'the same request waits for the batch');
is(sql("SET lock_timeout = '1min'; $local; SELECT outcome FROM seckill_buy(1, 8, 'cache')"), 'sold', 'another user does not wait');
like(start_sql("SET lock_timeout = '10ms'; SELECT outcome FROM seckill_buy(1, 7, 'cache')")->(),
	qr/canceling statement due to lock timeout/, 'lock_timeout ends a wait');
my @next = submit(1, [ 7, 9 ]);
set_standby('');
is($again->(), 'limit_reached', 'then it is told limit_reached');
is($retry->(), 'sold ' . sql('SELECT order_id FROM seckill.orders WHERE user_id = 7'), 'and the retry is told of its order');
is(results($ticket, @next), 'sold limit_reached sold', 'the answers of the queue');

# the buyer is first
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $item = $end eq 'COMMIT' ? 2 : 3;
	my $buyer = session();

	is($buyer->("BEGIN; SELECT outcome FROM seckill_buy($item, 7, 'cache')"), 'sold', 'a purchase that has not ended');
	my @tickets = submit($item, [ 7, 8, 7 ]);
	is(results($tickets[1]), 'sold', 'other users are served by the queue');
	is(sql("SELECT count(*) FROM seckill.orders WHERE item_id = $item AND user_id = 7"), 0, 'its user is not');
	$buyer->($end);
	is(results(@tickets), $end eq 'COMMIT' ? 'limit_reached sold limit_reached' : 'sold sold limit_reached', $end);
	$buyer->();
}

# locks that end before their transaction, and sessions that end without it
my $buyer = session();
$buyer->("BEGIN; SAVEPOINT s; SELECT seckill_buy(1, 20, 'cache'); ROLLBACK TO s");
is(results(submit(1, [20])), 'sold', 'a user whose lock was rolled back to a savepoint');
is($buyer->("SELECT outcome FROM seckill_buy(1, 20, 'cache')"), 'limit_reached', 'and who looks again');
sql(sprintf 'SELECT pg_terminate_backend(%d)', $buyer->('SELECT pg_backend_pid()'));
$buyer->();
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE state LIKE 'idle in%'"), 'it is gone');

# users and requests that a batch has more than once, in all orders
set_standby('nobody');
my @held = submit(9, [1]);
await_locks(0, 0, 0, 'a batch without limit and request claims nothing');
my ($a, $b) = map { request_id($_) } 11, 12;
my @lists;
my $number = 100;
foreach my $list ([ 0, 1, 2 ], [ 0, 2, 1 ], [ 1, 0, 2 ], [ 1, 2, 0 ], [ 2, 0, 1 ], [ 2, 1, 0 ])
{
	$number += 10;
	my ($first, $second) = map { request_id($number + $_) } 1, 2;
	my @users = ($number, $number, $number + 1);
	my @requests = ($first, $second, $first);
	push @lists, [ $list, submit(4, [ @users[@$list] ], [ @requests[@$list] ]), submit(5, [ $number, $number, $number + 1 ]) ];
}
set_standby('');
results(@held);
foreach my $case (@lists)
{
	my ($list, @tickets) = @$case;
	my @got = map {
		my ($status, $out, $err) = $node->psql('postgres', "SELECT outcome FROM seckill_result($_, '20 s')");
		$status == 0 ? $out : $err =~ /(request_id .*|[^\n]*request[^\n]*)/ ? 'reused' : $err
	} @tickets[ 0 .. 2 ];

	# the first use of a request is its order, the other one a mistake
	my %seen;
	my @expected = map { $_ == 1 ? 'sold' : $seen{first}++ ? 'reused' : 'sold' } @$list;
	is("@got", "@expected", "requests in the order @$list");
	is(results(@tickets[ 3 .. 5 ]), 'sold limit_reached sold', 'a user twice');
}

# nobody is counted any more
set_standby('nobody');
($ticket) = submit(1, [30], [ request_id(30) ]);
await_locks(1, 0, 0, 'a batch claims again');

# another database: its worker locks, and nobody there waits for our batch
is(sql_of('other', "$local; SELECT outcome FROM seckill_submit(1, 40, 1, '" . request_id(30) . q{')}), 'queued', 'a purchase in another database');
ok($node->poll_query_until('postgres', "SELECT array_agg(objsubid ORDER BY objsubid) = '{1518,1519}' FROM pg_locks
		WHERE database = (SELECT oid FROM pg_database WHERE datname = 'other') AND locktype = 'advisory'"),
	'its worker locks user and request');
is(sql_of('other', "SET lock_timeout = '1min'; $local; SELECT outcome FROM seckill_buy(1, 30, 'cache')"), 'sold', 'a buyer there does not wait');
set_standby('');
is(results($ticket), 'sold', 'and sells');

# a worker that is terminated in its batch gives up what it has claimed
set_standby('nobody');
($ticket) = submit(1, [31]);
await_locks(1, 0, 0, 'claimed');
sql('SELECT pg_terminate_backend(' . worker_pid($node) . ')');
$again = start_sql("$local; SELECT outcome FROM seckill_buy(1, 31, 'cache')");
is($again->(), 'limit_reached', 'the order was committed, and its user is not waited for');
set_standby('');
is(results(submit(1, [32])), 'sold', 'the next worker sells');

# Orders of each kind, by purchase and by batch, under each set of indexes.
my $user = 1000;

sub check_indexes
{
	my ($what) = @_;
	my @items = (1, 6, 7, 8);

	sql(q{UPDATE seckill.items SET pay_within = '1 h' WHERE item_id = 7});
	foreach my $mode (qw(cache queue retry))
	{
		foreach my $item (@items)
		{
			$user++;
			is(sql("SELECT outcome FROM seckill_buy($item, $user, '$mode')"), 'sold', "$what: $mode, item $item");
			$user++;
			is(sql("SELECT outcome FROM seckill_buy($item, $user, '$mode', 1, gen_random_uuid())"), 'sold', 'with a request');
		}
	}
	# lists in which some orders have a request
	is(sql("SELECT count(*) FROM seckill_buy_many($_, ARRAY[$user + 1, $user + 2], 'cache', ARRAY[NULL, gen_random_uuid()]) WHERE outcome = 'sold'"),
		2, "$what: a list, item $_")
	  foreach @items;
	$user += 2;
	is(results(map { $user += 2; submit($_, [ $user - 1, $user ]) } @items), join(' ', ('sold') x (2 * @items)), 'a batch');
	sql("SELECT bt_index_check(i.indexrelid, true) FROM pg_index i WHERE i.indrelid = 'seckill.orders'::regclass");
	return;
}

sql('CREATE EXTENSION amcheck');
sql('DELETE FROM seckill.items WHERE item_id = 8; INSERT INTO seckill.items (item_id, stock, numbered) VALUES (8, 1000, true)');
check_indexes('the indexes as they were made');
sql(q{DROP INDEX seckill.orders_pay_by; CREATE INDEX orders_pay_by ON seckill.orders (pay_by) WHERE state <> 'pending'});
check_indexes('another predicate by the same name');
sql(q{CREATE INDEX p1 ON seckill.orders (user_id) WHERE NOT limited;
	CREATE INDEX p2 ON seckill.orders (user_id) WHERE request_id IS NULL;
	CREATE INDEX p3 ON seckill.orders (user_id) WHERE limited OR unit IS NOT NULL;
	CREATE INDEX p4 ON seckill.orders (user_id) WHERE state = 'confirmed';
	CREATE INDEX p5 ON seckill.orders (user_id) WHERE seats IS NOT NULL;
	CREATE INDEX p6 ON seckill.orders (user_id) WHERE limited AND request_id IS NOT NULL;
	CREATE INDEX p7 ON seckill.orders (user_id) WHERE state = 'pending'});
check_indexes('more of them');
sql('CREATE INDEX CONCURRENTLY late ON seckill.orders (created_at) WHERE limited; REINDEX INDEX CONCURRENTLY seckill.p7;');
check_indexes('made while selling');

is(sql('SELECT count(*) FROM (SELECT FROM seckill.orders WHERE item_id <= 3 GROUP BY item_id, user_id HAVING sum(quantity) > 1) s'),
	0, 'no user has more than the limit');
is(sql('SELECT count(*) FROM seckill_audit() WHERE difference <> 0'), 0, 'conservation');
$node->stop;
done_testing();
