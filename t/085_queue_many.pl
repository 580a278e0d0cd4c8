# Arrays of purchases in the queue: a full ring makes the rest busy, in order;
# one call waits for the first of many tickets; tickets are answered one by one
# after a cancel, a restart and when they are forgotten.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('queue_many', conf => <<'EOC');
seckill.queue_size = 8
seckill.queue_batch = 4
seckill.token_key = 'a key of some length'
EOC
add_item($node, $_, 1000) for 1 .. 3;
$node->safe_psql('postgres', q{INSERT INTO seckill.items (item_id, stock, require_token, user_rate, user_burst)
	VALUES (4, 1000, true, 0.001, 2)});

sub sql { return $node->safe_psql('postgres', $_[0]); }
my $holder = $node->background_psql('postgres');
sub lock_item { $holder->query_safe("BEGIN; SELECT stock FROM seckill.items WHERE item_id = $_[0] FOR UPDATE"); return; }

# Submit for these users; the outcomes, and the tickets of those queued.
sub submit
{
	my ($items, $users) = @_;
	my @rows = map { [ split /\|/ ] } split /\n/,
	  sql("SELECT outcome, ticket FROM seckill_submit_many(ARRAY[$items], ARRAY[$users])");

	return (join(' ', map { $_->[0] } @rows), map { $_->[1] // () } @rows);
}

# The answers to tickets, by one call.
sub answers
{
	my ($wait, @tickets) = @_;
	return sql("SELECT string_agg(coalesce(outcome::text, sqlstate), ' ' ORDER BY n) FROM seckill_result_many(ARRAY["
		  . join(', ', @tickets) . "], '$wait') WITH ORDINALITY r(ticket, outcome, order_id, sqlstate, message, n)");
}

# The answers once all are there.
sub all_answers
{
	my @tickets = @_;
	my $text = '';

	for (1 .. 1000)
	{
		$text = answers('10 s', @tickets);
		return $text if $text !~ /queued/;
	}
	return $text;
}

# a full ring: the first ones are queued, the rest is busy, whatever the item
lock_item(1);
my ($outcomes, @tickets) = submit('1, 1, 2, 1, 1, 1', '1, 2, 3, 4, 5, 6');
is($outcomes, join(' ', ('queued') x 6), 'there is room for six');
is_deeply([ map { $_ - $tickets[0] } @tickets ], [ 0 .. 5 ], 'tickets ascend in the order of the array');
is(sql("SELECT outcome FROM seckill_result($tickets[2], '60 s')"), 'sold', 'an item whose row is not locked is decided');
my $busy;
($busy, my @more) = submit('1, 404, 1, 1, 3, 404, 3', '7, 1, 8, 9, 10, 1, 11');
is($busy, 'queued unknown_item queued busy busy unknown_item busy', 'the first ones are queued, the rest is busy');
is(sql(q{SELECT outcome FROM seckill_submit(3, 10)}), 'busy', 'the ring is full');
is((submit('3, 3', '10, 11'))[0], 'busy busy', 'also for an array that needs less');
is(answers('1 ms', @tickets[ 0, 1 ], @more), 'queued queued queued queued', 'not decided after a short wait');
is(answers('1 h', @tickets[ 0, 1, 2 ]), 'queued queued sold', 'a call does not wait if one of the tickets is answered');

# one call waits until the first ticket is answered
my $waiter = $node->background_psql('postgres');
$waiter->query_until(qr/asked/, "\\echo asked\nSELECT count(*) FILTER (WHERE outcome = 'sold') > 0, count(*)"
	  . " FROM seckill_result_many(ARRAY[$tickets[0], $tickets[1], $more[0]], '1 h');\n");
ok( $node->poll_query_until('postgres', <<'EOC'), 'a call waits for many tickets');
SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%seckill_result_many%' AND wait_event IS NOT NULL
	AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()
EOC
$holder->query_safe('COMMIT');
like($waiter->query_safe('SELECT 1'), qr/^t\|3$/m, 'and returns with the first answers');
is(all_answers(@tickets, @more), join(' ', ('sold') x 8), 'what was queued is sold');
is(sql('SELECT string_agg(user_id::text, $$ $$ ORDER BY order_id) FROM seckill.orders WHERE item_id = 1'),
	'1 2 4 5 6 7 8', 'in the order of the arrays, and nothing else');
is(sql('SELECT queued, busy FROM seckill.stat_items WHERE item_id = 3'), '0|5', 'busy elements are counted');

# old tickets are forgotten, each by itself
($outcomes, my @later) = submit('2, 2, 2, 2, 2, 2', '1, 2, 3, 4, 5, 6');
is(all_answers(@later), join(' ', ('sold') x 6), 'the ring goes round');
is(all_answers(@tickets, @more), '55000 55000 55000 55000 55000 55000 sold sold', 'some are forgotten, others are not');

# more purchases than the ring has place for: each one is answered
my %open = map { $_ => 1 } 1 .. 100;
my %sold;
for (1 .. 1000)
{
	last unless %open;
	my @users = sort { $a <=> $b } keys %open;
	my ($text, @got) = submit(join(', ', ('3') x @users), join(', ', @users));
	my @words = split / /, $text;
	my ($n) = grep { $words[$_] eq 'busy' } 0 .. $#words;

	$n //= @words;
	die $text if $text !~ /^(queued ?)*(busy ?)*$/;
	my @told = split / /, all_answers(@got);
	$sold{ $users[$_] } = $told[$_] for 0 .. $n - 1;
	delete @open{ @users[ 0 .. $n - 1 ] };
}
is(scalar(grep { $_ eq 'sold' } values %sold), 100, 'a hundred buyers are served by arrays');
is(sql('SELECT count(*), count(DISTINCT user_id) FROM seckill.orders WHERE item_id = 3'), '100|100', 'once each');

# rates and tokens are those of each element
my ($one, $two) = split /\n/, sql('SELECT seckill_token(4, n) FROM generate_series(1, 2) n');
is(sql(<<"EOC"), 'queued denied queued rate_limited queued denied', 'elements are judged one by one');
SELECT string_agg(outcome::text, ' ' ORDER BY n) FROM seckill_submit_many('{4,4,4,4,4,4}', '{1,2,1,1,2,3}',
	tokens => '{$one,$one,$one,$one,$two,NULL}') WITH ORDINALITY s(item_id, user_id, outcome, ticket, n)
EOC
is(sql(<<"EOC"), 'rate_limited denied sold rate_limited sold denied', 'also by a call that buys');
SELECT string_agg(outcome::text, ' ' ORDER BY n) FROM seckill_buy_items('{4,4,4,4,1,4}', '{1,2,2,2,2,3}',
	tokens => '{$one,NULL,$two,$two,NULL,x}') WITH ORDINALITY s(item_id, user_id, outcome, order_id, n)
EOC
sub decided { return $node->poll_query_until('postgres', 'SELECT backlog = 0 FROM seckill.stat_worker'); }
ok(decided(), 'the queue is empty');

# a call is cancelled while it submits or waits: the session goes on
lock_item(2);
($outcomes, @tickets) = submit('2, 2', '21, 22');
my ($rc, $out, $err) = $node->psql('postgres',
	"SET statement_timeout = '50ms';\n\\set VERBOSITY verbose\nSELECT seckill_result_many(ARRAY[$tickets[0]], '1 h');\nSELECT 'alive';");
like($err, qr/ERROR:  57014/, 'a wait can be cancelled');
# a caller that leaves the queue: its ticket is cancelled
my $gone = $tickets[1] + 1;
$node->psql('postgres', "SET statement_timeout = '1s'; \nSELECT seckill_buy(2, 23, 'queue')");
is(answers('0', @tickets, $gone), 'queued queued 57014', 'the ticket of a purchase that was cancelled');
$holder->query_safe('COMMIT');
is(all_answers(@tickets, $gone), 'sold sold 57014', 'the others are sold');

# a worker that is terminated
lock_item(2);
($outcomes, @tickets) = submit('2, 3, 2', '31, 32, 33');
sql('SELECT pg_terminate_backend(' . worker_pid($node) . ')');
$holder->query_safe('COMMIT');
is(all_answers(@tickets), 'sold sold sold', 'the next worker decides the same tickets');

# a restart
lock_item(2);
($outcomes, @tickets) = submit('2, 2', '41, 42');
$node->stop('immediate');
$node->start;
is(answers('1 h', @tickets), '55000 55000', 'tickets from before a crash are forgotten');
is(sql('SELECT count(*) FROM seckill.orders WHERE item_id = 2 AND user_id IN (41, 42)'), 0, 'and were not sold');
is((submit('2, 2', '41, 42'))[0], 'queued queued', 'and can be submitted again');
ok(decided(), 'they are decided');
is(sql('SELECT count(*) FROM seckill.orders WHERE item_id = 2 AND user_id IN (41, 42)'), 2, 'and sold');

# another database has other tickets
sql('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION seckill; INSERT INTO seckill.items (item_id, stock) VALUES (1, 5)');
is($node->safe_psql('other', "SELECT sqlstate FROM seckill_result_many(ARRAY[$tickets[0]], '1 h')"),
	'55000', 'a ticket of another database is unknown');
is($node->safe_psql('other', q{SELECT string_agg(outcome::text, ' ') FROM seckill_submit_many('{1,1}', '{1,2}')}),
	'queued queued', 'which has a queue of its own');

check_audit($node, 'at the end');
check_cache($node, 'at the end');
$node->stop;
done_testing();
