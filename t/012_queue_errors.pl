# A purchase that fails in a trigger, a check or a deferred trigger does not
# affect its batch: its caller gets the error, the others are sold.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('errors', conf => "seckill.queue_idle_time = '1 h'\n");
add_item($node, $_, 100) for 1 .. 4;
$node->safe_psql('postgres', <<'EOC');
CREATE ROLE keeper;
GRANT USAGE ON SCHEMA seckill TO keeper;
ALTER TABLE seckill.orders OWNER TO keeper;
CREATE TABLE fired (who name, user_id bigint);
GRANT INSERT ON fired TO keeper;
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.user_id = 1001 THEN
		RAISE EXCEPTION 'user % is banned', NEW.user_id USING ERRCODE = 'UX001';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER poison BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION poison();
ALTER TABLE seckill.orders ADD CONSTRAINT no_1002 CHECK (user_id <> 1002);
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.user_id = 1003 THEN
		RAISE EXCEPTION 'user % is late', NEW.user_id USING ERRCODE = 'UX003';
	END IF;
	INSERT INTO public.fired VALUES (current_user, NEW.user_id);
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON seckill.orders
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
CREATE FUNCTION result_of(ticket bigint, OUT answer text) LANGUAGE plpgsql AS $$
BEGIN
	SELECT outcome INTO answer FROM seckill_result(ticket, '60 s');
EXCEPTION WHEN OTHERS THEN
	answer := SQLSTATE || ' ' || left(SQLERRM, 40);
END
$$;
EOC

my %error = (
	1001 => 'UX001 user 1001 is banned',
	1002 => '23514 new row for relation "orders" violates c',
	1003 => 'UX003 user 1003 is late');
# All users buy in one batch: it gathers while the worker is stopped.
sub batch
{
	my ($item, @users) = @_;
	my $list = join ',', @users;
	my $worker = worker_pid($node);

	$node->poll_query_until('postgres',
		"SELECT state = 'idle' AND wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = $worker")
	  or die 'the worker is not idle';
	kill 'STOP', $worker;
	my $tickets = $node->safe_psql('postgres', <<"EOC");
SELECT string_agg(ticket::text, ',' ORDER BY n)
FROM unnest(ARRAY[$list]) WITH ORDINALITY u(id, n), seckill_submit($item, id)
EOC
	kill 'CONT', $worker;
	return $node->safe_psql('postgres', <<"EOC");
SELECT string_agg(answer, ', ' ORDER BY n)
FROM unnest(ARRAY[$tickets]) WITH ORDINALITY t(id, n), result_of(id)
EOC
}

$node->safe_psql('postgres', q{SELECT seckill_buy(1, 0, 'queue')});
# each kind of failure, of one item and of several, first, amid and last
foreach my $user (sort keys %error)
{
	foreach my $item ('1', '1 + n % 4')
	{
		is(batch($item, $user, 1, 2, $user, 3, 4, 5, $user),
			join(', ', ($error{$user}), ('sold') x 2, $error{$user}, ('sold') x 3, $error{$user}),
			"user $user fails alone, item $item");
	}
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT seckill_buy(2, $user, 'queue')");
	my ($code, $text) = split / /, $error{$user}, 2;
	like($err, qr/ERROR:  $code: \Q$text\E/, "user $user, who waits, gets the error");
}
is(batch('1 + n % 4', sort keys %error), join(', ', map { $error{$_} } sort keys %error),
	'each gets its own error');
is($node->safe_psql('postgres', 'SELECT count(*), max(user_id) FROM seckill.orders'), '31|5',
	'the other users have orders');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT (who, user_id)), count(*), min(who), max(who) FROM fired'),
	'6|31|keeper|keeper', 'deferred triggers run as the owner of the orders');

# a long message is cut between characters, wherever they begin
$node->safe_psql('postgres', 'CREATE DATABASE shop ENCODING UTF8 TEMPLATE template0');
$node->safe_psql('shop', <<'EOC');
CREATE EXTENSION seckill;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 1);
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '%', repeat('x', NEW.user_id::integer) || repeat(chr(31186), 500);
END
$$;
CREATE TRIGGER poison BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION poison();
EOC
foreach my $user (1 .. 3)
{
	my ($rc, $out, $err) = $node->psql('shop',
		"SET client_encoding = 'GB18030'; SELECT seckill_buy(1, $user, 'queue')");
	like($err, qr/ERROR:  x{$user}(\xc3\xeb){50,}$/m, "the message can be converted, $user");
}
check_audit($node, 'nothing sold', 'shop');

# code in C can raise a code without a message
my $mute = compile_library('mute');
$node->safe_psql('shop', <<"EOC");
DROP TRIGGER poison ON seckill.orders;
CREATE FUNCTION mute() RETURNS trigger LANGUAGE c AS '$mute';
CREATE TRIGGER mute BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION mute();
EOC
foreach my $call (q{seckill_buy(1, 1, 'queue')}, q{seckill_submit(1, 1) s, seckill_result(s.ticket, '60 s')})
{
	my ($rc, $out, $err) = $node->psql('shop', "\\set VERBOSITY verbose\nSELECT * FROM $call");
	like($err, qr/ERROR:  P0001: missing error text/, "the caller of $call gets it");
}
$node->safe_psql('shop', 'DROP TRIGGER mute ON seckill.orders');
is($node->safe_psql('shop', q{SELECT outcome FROM seckill_buy(1, 1, 'queue')}), 'sold', 'the worker lives');

# beyond the number of messages kept, only the SQLSTATE is known
my $failed = $node->safe_psql('postgres',
	q{SELECT string_agg(ticket::text, ',') FROM generate_series(1, 40) n, seckill_submit(3, 1001, n)});
my ($last) = $failed =~ /(\d+)$/;
is($node->safe_psql('postgres', "SELECT result_of($last)"), $error{1001}, 'the last of forty failures');
is($node->safe_psql('postgres', <<"EOC"), "UX001 purchase could not be decided|8\n$error{1001}|32", 'and all');
SELECT answer, count(*) FROM unnest(ARRAY[$failed]) t(id), result_of(id) GROUP BY 1 ORDER BY 1
EOC
$node->safe_psql('postgres', 'DROP TRIGGER poison ON seckill.orders');
is($node->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(2, 1, 'queue')}), 'sold', 'and life goes on');

check_audit($node, 'after errors');
check_cache($node, 'after errors');
$node->stop;
done_testing();
