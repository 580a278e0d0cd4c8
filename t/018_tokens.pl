# Tokens: valid, forged, of another item or user, expired, fuzzed; key rotation.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('tokens');

sub sql
{
	return $node->safe_psql('postgres', shift);
}

sub set_keys
{
	my ($key, $old_key) = @_;

	$node->append_conf('postgresql.conf',
		"seckill.token_key = '$key'\nseckill.token_old_key = '$old_key'\n"
		  . "test.keys = '$key, $old_key'\n");
	$node->reload;
	# the keys themselves are not shown
	ok( $node->poll_query_until('postgres',
			"SELECT current_setting('test.keys', true) = '$key, $old_key'"),
		'keys are set');
	return;
}

sub buy
{
	my ($item, $user, $token, $mode) = @_;

	$token = defined $token ? "'$token'" : 'NULL';
	$mode //= 'cache';
	return sql("SELECT outcome FROM seckill_buy($item, $user, '$mode', 1, NULL, $token)");
}

add_item($node, 1, 1000);
add_item($node, 2, 1000);
sql('UPDATE seckill.items SET require_token = true');

# without a key every call is an error with a hint
foreach my $call ('seckill_token(1, 7)', 'seckill_buy(1, 7)',
	q{seckill_buy(1, 7, 'queue')}, 'seckill_submit(1, 7)', 'seckill_buy_many(1, ARRAY[7])')
{
	my ($rc, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  55000: there is no key.*HINT: /s, "$call without a key");
}

set_keys('first secret', '');
my $token = sql('SELECT seckill_token(1, 7)');
like($token, qr/^[0-9a-f]{80}$/, 'a token');
foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
{
	is(buy(1, 7, $token, $mode), 'sold', "$mode with a token");
	is(buy(1, 7, undef, $mode), 'denied', "$mode without");
}
is(sql("SELECT outcome FROM seckill_submit(1, 7, 1, NULL, '$token')"), 'queued', 'submit with a token');
is(sql('SELECT outcome FROM seckill_submit(1, 7)'), 'denied', 'submit without');
is(sql("SELECT outcome FROM seckill_submit(1, 7, 1, gen_random_uuid())"), 'denied', 'submit of a request without');
is( sql("SELECT string_agg(outcome::text, ' ') FROM seckill_buy_many(1, ARRAY[7, 8, 7], 'cache', NULL, ARRAY['$token', '$token', NULL])"),
	'sold denied denied', 'many: each user needs a token');
my ($rc, $out, $err) = $node->psql('postgres',
	"SELECT seckill_buy_many(1, ARRAY[7, 8], 'cache', NULL, ARRAY['$token'])");
like($err, qr/as many elements/, 'one token per user');

# foreign, forged, expired
is(buy(1, 8, $token), 'denied', 'token of another user');
is(buy(2, 7, $token), 'denied', 'token for another item');
is(buy(1, 7, uc $token), 'denied', 'upper case');
is(buy(1, 7, $token . '0'), 'denied', 'too long');
is(buy(1, 7, substr($token, 1)), 'denied', 'too short');
is(buy(1, 7, ''), 'denied', 'empty');
is( sql(<<"EOC"), '80 denied', 'with any one digit changed');
SELECT count(*) || ' ' || min(b.outcome)
FROM generate_series(1, 80) n,
	LATERAL seckill_buy(1, 7, 'cache', 1, NULL, overlay('$token' PLACING
		CASE substr('$token', n, 1) WHEN '0' THEN '1' ELSE '0' END FROM n FOR 1)) b
EOC
is( sql(<<'EOC'), '2000 denied', 'and any nonsense');
SELECT count(*) || ' ' || min(b.outcome)
FROM (SELECT CASE n % 4
		WHEN 0 THEN substr(repeat(md5(random()::text), 3), 1, 80)
		WHEN 1 THEN substr(repeat(md5(random()::text), 3), 1, (random() * 90)::int)
		WHEN 2 THEN (SELECT string_agg(chr(1 + (random() * 2000)::int), '') FROM generate_series(1, 80 + 0 * n))
		ELSE repeat(chr(1 + (random() * 120)::int), 80) END AS token
	FROM generate_series(1, 2000) n OFFSET 0) t,
	LATERAL seckill_buy(1, 7, 'cache', 1, NULL, t.token) b
EOC
my $short = sql("SELECT seckill_token(1, 7, '1 microsecond')");
is(buy(1, 7, $short), 'denied', 'expired');
foreach my $interval (q{'0'}, q{'-1 s'}, 'NULL')
{
	($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT seckill_token(1, 7, $interval)");
	like($err, qr/ERROR:  220(23|04): /, "valid for $interval");
}

# "denied" even if the item is sold out: it reveals nothing
sql('UPDATE seckill.items SET stock = 0 WHERE item_id = 2');
is(buy(2, 7, sql('SELECT seckill_token(2, 7)')), 'sold_out', 'sold out with a token') for 1 .. 2;
is(buy(2, 7, undef), 'denied', 'denied without a token');

# a retry needs no token: it buys nothing
my $request = '00000000-0000-0000-0000-000000000001';
is(sql("SELECT outcome FROM seckill_buy(1, 7, 'cache', 1, '$request', '$token')"), 'sold', 'a request');
is(sql("SELECT outcome FROM seckill_buy(1, 7, 'cache', 1, '$request')"), 'sold', 'asked again');
is(sql("SELECT count(*) FROM seckill.orders WHERE request_id = '$request'"), 1, 'one order');

# nor does a request without a token get into the queue before the sale
sql("UPDATE seckill.items SET starts_at = now() + '1 hour' WHERE item_id = 2");
is(sql('SELECT outcome FROM seckill_submit(2, 7, 1, gen_random_uuid())'), 'not_started', 'not queued');
is(sql("SELECT outcome FROM seckill_buy(2, 7, 'queue', 1, gen_random_uuid())"), 'not_started', 'not queued either');

# key rotation
set_keys('second secret', 'first secret');
is(buy(1, 7, $token), 'sold', 'a token made with the old key');
my $new = sql('SELECT seckill_token(1, 7)');
isnt(substr($new, 16), substr($token, 16), 'another key gives another code');
is(buy(1, 7, $new), 'sold', 'a token made with the new key');
set_keys('second secret', '');
is(buy(1, 7, $token), 'denied', 'a token of a removed key');
is(buy(1, 7, $new), 'sold', 'a token of the remaining key');

# privileges on the key and on seckill_token()
sql('CREATE ROLE shop');
foreach my $call ("current_setting('seckill.token_key')", 'seckill_token(1, 7)')
{
	($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET ROLE shop; SELECT $call");
	like($err, qr/ERROR:  42501: /, "$call needs a privilege");
}
($rc, $out, $err) = $node->psql('postgres', q{SET seckill.token_key = 'mine'});
like($err, qr/cannot be changed now/, 'a session cannot set the key');

is(sql("SELECT sold = count FROM seckill_audit(1), (SELECT count(*) FROM seckill.orders WHERE item_id = 1) o"),
	't', 'an order for each unit sold');
check_audit($node, 'tokens');
check_cache($node, 'tokens');

$node->stop;
done_testing();
