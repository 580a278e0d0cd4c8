# The roles of docs/operations.md have the privileges that they need, and no
# others.  The GRANTs are read from the document.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('roles', conf => "seckill.token_key = 'secret'\n");
my $text = slurp_file("$FindBin::RealBin/../docs/operations.md");
my ($grants) = $text =~ /^## Privileges\n.*?^```sql\n(.*?)^```$/ms
  or die 'no GRANTs in the document';

# the GRANTs suffice if default privileges give nothing to PUBLIC
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION seckill_mode, seckill_is_own FROM PUBLIC');
$node->safe_psql('postgres', $grants);
$node->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, stock) VALUES (1, 100);
INSERT INTO seckill.items (item_id, stock, legs) VALUES (7, 0, 2);
INSERT INTO seckill.seats (item_id, seat) SELECT 7, s FROM generate_series(1, 100) s;
CREATE ROLE stranger;
EOC

# Run a statement as a role.
sub as_role
{
	my ($role, $sql) = @_;
	return $node->psql('postgres', "SET ROLE $role; $sql", on_error_stop => 1);
}

sub may
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = as_role($role, $sql);

	is($err, '', "$role: $sql");
	return;
}

sub may_not
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = as_role($role, $sql);

	like($err,
		qr/permission denied|must be superuser|cannot be changed now/,
		"$role not: $sql");
	return;
}

my @buying = (
	(map { "SELECT seckill_buy(1, 1, '$_')" }
		qw(optimistic retry pessimistic advisory cache queue auto)),
	"SELECT seckill_buy(1, 1, 'cache'::text)",
	'SELECT * FROM seckill_buy_many(1, ARRAY[1, 2])',
	'SELECT * FROM seckill_buy_items(ARRAY[1, 404], ARRAY[1, 2])',
	"SELECT r.* FROM seckill_submit_many(ARRAY[1], ARRAY[2]) s, seckill_result_many(ARRAY[s.ticket], '60 s') r",
	(map { "SELECT seckill_book(7, 1, 0, 1, 1, '$_')" }
		qw(optimistic retry pessimistic advisory cache queue auto)),
	"SELECT seckill_result(ticket, '60 s') FROM seckill_submit(1, 1)");
my @looking = ('SELECT * FROM seckill_free_seats(7)', 'SELECT * FROM seckill_seat_map(7)',
	'SELECT * FROM seckill_item(1)', 'SELECT seckill_order(1, 1)');
my @operating = (
	'INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within) VALUES (2, 10, 3, $$1 h$$)',
	'UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 2',
	'UPDATE seckill.items SET per_user_limit = 4 WHERE item_id = 1',
	q{SELECT seckill_put_item(2, '{"title": "x"}')},
	'SELECT seckill_restock(2, 5)', 'SELECT seckill_set_available(2, 5)',
	q{INSERT INTO seckill.seats (item_id, seat) VALUES (7, 101)},
	q{UPDATE seckill.seats SET label = '1A' WHERE item_id = 7 AND seat = 101},
	q{DELETE FROM seckill.seats WHERE item_id = 7 AND seat = 101},
	q{SELECT seckill_block_seats(7, '{99}')},
	'SELECT seckill_prewarm(2)',
	'SELECT seckill_recall(2)',
	'DELETE FROM seckill.items WHERE item_id = 2',
	'SELECT seckill_cancel(item_id, order_id, true) FROM seckill.orders LIMIT 1',
	'SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE state = $$confirmed$$ LIMIT 1',
	"SELECT seckill_token(1, 1)");
my @watching = (
	'SELECT * FROM seckill.stock', 'SELECT * FROM seckill_audit()', 'SELECT * FROM seckill_audit_seats()',
	'SELECT * FROM seckill_cache()');
my @statistics = (
	'SELECT * FROM seckill.stat_items', 'SELECT * FROM seckill.stat_worker');
my @nobody = (
	'UPDATE seckill.orders SET state = $$confirmed$$',
	'INSERT INTO seckill.orders (item_id, user_id, quantity, mode) VALUES (1, 1, 1, $$retry$$)',
	'DELETE FROM seckill.orders', 'TRUNCATE seckill.items, seckill.orders',
	"SET seckill.token_key = 'x'", 'SET seckill.allow_unsafe = on',
	'SHOW seckill.token_key', 'SELECT seckill_stat_reset()');

may('seckill_buyer', $_) foreach @buying, @looking;
may_not('seckill_buyer', $_)
  foreach @operating, @watching, @statistics, @nobody, 'SELECT * FROM seckill.orders';

may('seckill_operator', $_) foreach @operating, @watching, @looking;
may_not('seckill_operator', $_) foreach @buying, @statistics, @nobody;

may('seckill_monitor', $_) foreach @watching, @statistics;
may_not('seckill_monitor', $_)
  foreach @buying, @operating, @looking, 'SELECT * FROM seckill.orders',
  grep { !/SHOW/ } @nobody;
is($node->safe_psql('postgres',
		'SET ROLE seckill_monitor; SHOW seckill.token_key'),
	'********', 'pg_read_all_settings does not show the key');

may_not('stranger', $_)
  foreach @buying, @operating, @looking, @watching, @statistics, @nobody;

check_audit($node, 'after all calls');
$node->stop;
done_testing();
