# Moving an item between nodes, step by step: what callers see meanwhile, that no
# step can be taken out of order, and that everything moves along.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

needs_contrib('dblink');

# steps by hand may take longer than a driver needs
my $conf = "seckill.move_timeout = '10min'\nseckill.naptime = 1s\n";
my $one = cluster_node('one', conf => $conf);
my $two = cluster_node('two', conf => $conf);
join_nodes($one, $two);

sub sql
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# The contents of an item on a node.
sub contents
{
	my ($node, $item) = @_;
	return sql($node, "SELECT * FROM seckill.item_contents($item)");
}

# Its orders.
sub orders
{
	my ($node, $item) = @_;
	return sql($node, "SELECT o FROM seckill.orders o WHERE item_id = $item ORDER BY order_id");
}

# Each table of the extension that has rows of items moves with them.
is( sql($one, <<'EOC'),
SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension x ON x.oid = d.refobjid
WHERE a.attname = 'item_id' AND x.extname = 'seckill' AND c.relkind = 'r'
EXCEPT SELECT name FROM seckill.item_tables()
EOC
	'', 'seckill.item_tables() has all tables of items');

# An item with everything: a limit, requests, pending, confirmed, expired and
# cancelled orders, a lease, planned releases, and numbers that were told.
my $request = '11111111-1111-1111-1111-111111111111';
sql($one, <<"EOC");
SELECT seckill_put_item(1, '{"stock": 100, "per_user_limit": 3, "pay_within": "1 hour", "title": "tea", "user_rate": 1000.5}');
SELECT seckill_buy(1, 1, 'cache', 2, '$request');
SELECT seckill_buy(1, 2, 'retry');
SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE user_id = 2;
SELECT seckill_buy(1, 3, 'cache');
SELECT seckill_cancel(item_id, order_id) FROM seckill.orders WHERE user_id = 3;
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (1, 'infinity', 7), (1, now() - interval '1 s', 5);
SELECT seckill_put_item(2, '{"stock": 10, "numbered": true}');
INSERT INTO seckill.units (item_id, unit, code) SELECT 2, n, 'code ' || n FROM generate_series(1, 10) n;
SELECT seckill_claim(2, n, 'cache') FROM generate_series(1, 3) n;
SELECT seckill_put_item(8, '{"stock": 0, "legs": 3, "per_user_limit": 4}');
INSERT INTO seckill.seats (item_id, seat) VALUES (8, 1), (8, 2);
SELECT seckill_book(8, 1, 0, 2, 1, 'cache'), seckill_book(8, 2, 0, 3, 1, 'retry');
EOC
$one->poll_query_until('postgres', 'SELECT supplied = 105 FROM seckill_audit(1)') or die 'no release';
my %before = map { $_ => orders($one, $_) } 1, 2, 8;
sql($two, "CALL seckill_move($_, 1)") foreach 1, 2, 8;
is(orders($two, $_), $before{$_}, "item $_ is on the other node") foreach 1, 2, 8;
is(sql($two, "SELECT outcome FROM seckill_book(8, 3, $_, 1, 'cache')"), 'sold_out', "seats are taken: $_") foreach '0, 1', '1, 2';
is(sql($two, "SELECT outcome FROM seckill_book(8, 3, 2, 3, 1, 'cache')"), 'sold', 'and free');
is(sql($one, "SELECT outcome FROM seckill_book(8, 4, 2, 3, 1, '$_')"), 'moved', "seats of an item that is gone: $_")
  foreach qw(cache retry advisory queue);
sql_fails($one, 'SELECT seckill_free_seats(8)', qr/item 8 has moved/, 'which seats are free is not answered');
sql_fails($one, 'INSERT INTO seckill.seats (item_id, seat) VALUES (8, 3)', qr/item 8 has moved/, 'no seat is added');
is(sql($two, "SELECT order_id FROM seckill_buy(1, 1, 'cache', 2, '$request')"),
	sql($one, 'SELECT order_id FROM seckill.orders WHERE item_id = 1 AND user_id = 1'), 'a request gets its order');
is(sql($two, "SELECT outcome FROM seckill_buy(1, 1, '$_', 2)"), 'limit_reached', "the limit counts the orders: $_")
  foreach qw(cache retry queue);
is(sql($two, "SELECT code FROM seckill_claim(2, 4, 'cache')"), 'code 4', 'the next number is sold');
is(sql($two, 'SELECT outcome, count(*) FROM seckill_buy_many(2, ARRAY(SELECT generate_series(11, 20)::bigint)) GROUP BY 1 ORDER BY 1'),
	"sold|6\nsold_out|4", 'and the others, each once');
is(sql($two, 'SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 1 AND user_id = 1'),
	'confirmed', 'a pending order is paid');
check_audit($_, 'after the moves') foreach $one, $two;
check_moves('three items', $one, $two);

# An order that is due after the move expires where the item is; here it does not, while
# others do.
sql($one, <<'EOC');
SELECT seckill_put_item(3, '{"stock": 2, "pay_within": "1 hour"}');
SELECT seckill_buy(3, 1, 'cache');
EOC
sql($two, 'CALL seckill_move(3, 1)');
sql($_, 'SET session_replication_role = replica; UPDATE seckill.orders SET pay_by = now() WHERE item_id = 3') foreach $one, $two;
ok($two->poll_query_until('postgres', "SELECT state = 'expired' FROM seckill.orders WHERE item_id = 3"), 'it expires there');
sql($one, <<'EOC');
SELECT seckill_put_item(9, '{"stock": 2, "pay_within": "1 ms"}');
SELECT seckill_buy(9, 1, 'cache');
EOC
ok($one->poll_query_until('postgres', "SELECT state = 'expired' FROM seckill.orders WHERE item_id = 9"), 'another one expires here');
is(sql($one, 'SELECT state FROM seckill.orders WHERE item_id = 3'), 'pending', 'and not here');

# Every call on an item that is gone answers so, in every mode.
my @calls = split /\n/, sql($one, <<'EOC');
SELECT format('SELECT %I.%I(%s)', n.nspname, p.proname,
	(SELECT string_agg(CASE
		WHEN a.name = 'item_id' THEN CASE WHEN p.proname ~ 'book|seat' THEN '8' ELSE '1' END
		WHEN a.name = 'codes' THEN '''{x}'''
		WHEN a.name = 'from_stop' THEN '0'
		WHEN a.name IN ('units', 'to_stop', 'quantity', 'first_unit', 'last_unit', 'order_id') THEN '1'
		WHEN format_type(a.type, NULL) LIKE '%[]' THEN format('ARRAY[%s]::%s', CASE WHEN format_type(a.type, NULL) = 'bigint[]' THEN '1' ELSE 'NULL' END, format_type(a.type, NULL))
		WHEN a.name = 'settings' THEN '''{"title": "x"}'''
		WHEN a.type = 'bigint'::regtype THEN '1'
		WHEN a.type = 'integer'::regtype THEN '1'
		WHEN a.type = 'text'::regtype THEN '''x'''
		ELSE 'DEFAULT' END, ', ' ORDER BY a.n)
	 FROM unnest(p.proargtypes::oid[], p.proargnames) WITH ORDINALITY a (type, name, n)
	 WHERE a.n <= greatest(p.pronargs - p.pronargdefaults, CASE p.proname WHEN 'seckill_add_units' THEN 2 ELSE 0 END)))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension x ON x.oid = d.refobjid
WHERE x.extname = 'seckill' AND p.proargnames[1] = 'item_id' AND p.pronargs > 0 AND p.proname NOT IN ('seckill_token', 'seckill_own_numbers')
EOC
cmp_ok(scalar @calls, '>=', 14, 'calls on one item');
foreach my $call (@calls)
{
	my ($ret, $out, $err) = $one->psql('postgres', $call);

	ok($out =~ /\bmoved\b/ || $err =~ /item [18] has moved to another node/, "gone: $call") or diag("$out $err");
}
is(sql($one, "SET seckill.allow_unsafe = on; SELECT outcome FROM seckill_buy(1, 9, '$_')"), 'moved', "mode $_")
  foreach qw(none optimistic retry pessimistic advisory cache queue auto);
is(sql($one, "SELECT outcome FROM seckill_buy(1, 1, '$_', 2, '$request')"), 'moved', "a request in mode $_ is not answered from old rows")
  foreach qw(retry cache queue);
is(sql($one, 'SELECT outcome FROM seckill_submit(1, 9)'), 'moved', 'seckill_submit');
is(sql($one, 'SELECT outcome FROM seckill_buy_items(ARRAY[1, 404], ARRAY[1, 1])'), "moved\nunknown_item", 'one item of several');
sql_fails($one, "UPDATE seckill.items SET $_ WHERE item_id = 1", qr/item 1 has moved/, "UPDATE: $_")
  foreach q{title = 'new'}, 'stock = stock + 1', 'ends_at = now()';
sql_fails($one, 'UPDATE seckill.orders SET pay_by = now() WHERE item_id = 3', qr/item 3 has moved/, 'UPDATE of pay_by');
sql_fails($two, q{UPDATE seckill.items SET place = 'gone' WHERE item_id = 1}, qr/place of an item cannot be changed by hand/, 'by hand');
is(sql($one, "INSERT INTO seckill.items (item_id, stock, place) VALUES (77, 1, 'gone') RETURNING place"), '', 'INSERT ignores the place');
sql_fails($one, 'DELETE FROM seckill.items WHERE item_id = 1', qr/still has orders/, 'DELETE needs no orders');

# Steps out of order, each of which the model of the protocol allows nobody.
my ($id, $other) = ('aaaaaaaa-0000-0000-0000-000000000001', 'aaaaaaaa-0000-0000-0000-000000000002');
my $conn = "SELECT seckill.connect('c', 1)";
sql($one, q{SELECT seckill_put_item(4, '{"stock": 100}'); SELECT seckill_buy(4, 1, 'cache')});
sql_fails($two, "$conn; SELECT seckill.move_in('c', 4, 1, '$id', 1)", qr/is not known on node 1/, 'a copy before the sale has stopped');
is(sql($one, "SELECT seckill_move_out(4, 2, '$id')"), 1, 'step 1');
is(sql($one, "SELECT seckill_move_out(4, 2, '$id')"), 1, 'again');
sql_fails($one, "SELECT seckill_move_out(4, 2, '$other')", qr/item 4 is being moved/, 'a second mover');
sql_fails($one, "SELECT seckill_move_out(4, 3, '$id')", qr/is moving/, 'to another node');
sql_fails($two, "CALL seckill_move(4, 1)", qr/item 4 is being moved/, 'a second mover by the procedure');
sql_fails($two, "$conn; SELECT seckill.move_end('c', 4, '$id')", qr/^$/, 'nothing to accept');
is(sql($one, "SELECT (seckill_order(4, order_id)).quantity, (SELECT available FROM seckill_item(4)) FROM seckill.orders WHERE item_id = 4"),
	'1|99', 'it can be read while it is moving');
is(sql($one, "SET seckill.move_wait = 0; SELECT outcome FROM seckill_buy(4, 2, '$_')"), 'busy', "busy meanwhile: $_")
  foreach qw(optimistic retry pessimistic advisory cache queue auto);
sql_fails($one, "SELECT seckill_cancel(4, order_id, true) FROM seckill.orders WHERE item_id = 4",
	qr/item 4 is being moved.*HINT:  Retry/s, 'no order changes');
sql_fails($one, 'DELETE FROM seckill.items WHERE item_id = 4', qr/being moved/, 'DELETE');
is(sql($two, "$conn; SELECT seckill.move_in('c', 4, 1, '$id', 1); SELECT seckill.move_end('c', 4, '$id')") =~ s/.*\n//sr, 'arriving',
	'step 2, and step 4 before step 3');
is(sql($two, 'SET seckill.move_wait = 0; SELECT outcome FROM seckill_buy(4, 2)'), 'busy', 'not sold there yet');
my ($orders, $units, $contents) = split /\|/, contents($two, 4);
sql_fails($one, "SELECT seckill_move_release(4, '$other', $orders, $units, '$contents')", qr/not known/, 'another id');
sql_fails($one, "SELECT seckill_move_release(4, '$id', @{$_})", qr/the copy of item 4 on node 2 is not what is here/, "a copy that differs: @$_")
  foreach [ $orders + 1, ", $units, '$contents'" ], [ $orders, ", ${\($units - 1)}, '$contents'" ], [ $orders, ", $units, 'other'" ];
is(sql($one, 'SELECT seckill_move_cancel(4)'), 't', 'rollback');
sql_fails($one, "SELECT seckill_move_out(4, 2, '$id')", qr/is cancelled/, 'its id is dead');
sql_fails($one, "SELECT seckill_move_release(4, '$id', $orders, $units, '$contents')", qr/is cancelled/, 'for good');
is(sql($one, "SELECT outcome FROM seckill_buy(4, 2, 'cache')"), 'sold', 'the sale goes on');
ok($two->poll_query_until('postgres', 'SELECT count(*) = 0 FROM seckill.items WHERE item_id = 4'), 'the copy is dropped');
is(sql($one, "SELECT seckill_move_out(4, 2, '$other')"), 1, 'another move');
sql_fails($two, "$conn; SELECT seckill.move_in('c', 4, 1, '$id', 1)", qr/is cancelled on node 1/, 'a late copy of the old one');
sql($two, "$conn; SELECT seckill.move_in('c', 4, 1, '$other', 1); SELECT seckill.move_in('c', 4, 1, '$other', 1)");
($orders, $units, $contents) = split /\|/, contents($two, 4);
sql($one, "SELECT seckill_move_release(4, '$other', $orders, $units, '$contents')") foreach 1, 2;
is(sql($one, "SELECT seckill_move_cancel(4, '$other')"), 'f', 'no rollback after step 3');
is(sql($two, "$conn; SELECT seckill.move_end('c', 4, '$other')") =~ s/.*\n//sr, 'here', 'step 4');
sql_fails($two, "$conn; SELECT seckill.move_in('c', 4, 1, '$other', 1)", qr/on this node already/, 'no copy over an active item');
is(sql($two, "SELECT outcome FROM seckill_buy(4, 3, 'cache')"), 'sold', 'sold there');
check_moves('step by step', $one, $two);

# Back, and the rows that were left are deleted.
is(sql($one, 'SELECT seckill_move_forget(4)'), 2, 'step 5');
is(sql($one, 'SELECT place, peer FROM seckill_whereis(4)'), 'gone|2', 'the signpost stays');
sql($one, 'CALL seckill_move(4, 2)');
is(sql($one, "SELECT outcome FROM seckill_buy(4, 4, 'cache')"), 'sold', 'back');
is(one_seller(4, $one, $two)->name, 'one', 'on its first node');
is(sql($one, 'SELECT sold, difference FROM seckill_audit(4)'), '4|0', 'with all orders');

# A purchase waits for a short move, and is answered as soon as it is over.
sql($one, q{SELECT seckill_put_item(5, '{"stock": 10}')});
my $mover = $one->background_psql('postgres');
$mover->query_safe("SELECT seckill_move_out(5, 2, '$id')");
my ($in, $out) = ("SET seckill.move_wait = '60s'; SELECT outcome FROM seckill_buy(5, 1, 'cache');\n", '');
my $buyer = IPC::Run::start([ 'psql', '-XAtq', '-d', $one->connstr('postgres'), '-c',
		"SET seckill.move_wait = '60s'", '-c', "SELECT outcome FROM seckill_buy(5, 1, 'cache')" ], '>', \$out);
ok($one->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SeckillMove'
	OR (wait_event = 'Extension' AND query LIKE '%seckill_buy(5%')}), 'a purchase waits, visibly');
$mover->query_safe('SELECT seckill_move_cancel(5)');
$buyer->finish;
is($out, "sold\n", 'and is sold when the item stays');
$mover->quit;

# Who is changing an order is waited for, and a mover does not wait for ever.
my $payer = $one->background_psql('postgres');
sql($one, q{SELECT seckill_put_item(6, '{"stock": 10, "pay_within": "1 hour"}'); SELECT seckill_buy(6, 1, 'retry')});
$payer->query_safe('BEGIN; SELECT seckill_confirm(item_id, order_id) FROM seckill.orders WHERE item_id = 6');
sql_fails($one, "SELECT seckill_move_out(6, 2, '$id')", qr/lock timeout/, 'an open payment is waited for');
$payer->query_safe('COMMIT');
sql($two, 'CALL seckill_move(6, 1)');
is(sql($two, 'SELECT state FROM seckill.orders WHERE item_id = 6'), 'confirmed', 'and moves along');
my $holder = $one->background_psql('postgres');
sql($one, q{SELECT seckill_put_item(7, '{"stock": 10}'); SELECT seckill_prewarm(7)});
$holder->query_safe(q{BEGIN; SELECT seckill_buy(7, 1, 'cache')});
sql_fails($one, "SELECT seckill_move_out(7, 2, '$id')", qr/lock timeout/, 'a holder of units is waited for');
is(sql($one, q{SELECT outcome FROM seckill_buy(7, 2, 'cache')}), 'sold', 'and the sale has gone on');
$holder->query_safe('ROLLBACK');
sql($two, 'CALL seckill_move(7, 1)');
is(sql($two, 'SELECT stock, unsold, sold FROM seckill_audit(7)'), '9|0|1', 'all units have moved');
$holder->quit;
$payer->quit;

# Columns of the application must agree.
sql($one, 'ALTER TABLE seckill.orders ADD note text');
sql_fails($one, 'CALL seckill_move(7, 2)', qr/other columns than those of this node/, 'columns that differ');
sql($two, 'ALTER TABLE seckill.orders ADD note text');
sql($two, q{UPDATE seckill.orders SET note = 'gift' WHERE item_id = 7});
sql($one, 'CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE \'fired\'; END $$;
	CREATE TRIGGER fired BEFORE INSERT ON seckill.orders FOR EACH ROW EXECUTE FUNCTION fired()');
sql($one, 'CALL seckill_move(7, 2)');
is(sql($one, 'SELECT note FROM seckill.orders WHERE item_id = 7'), 'gift', 'columns of the application move, triggers do not fire');
sql($one, 'DROP TRIGGER fired ON seckill.orders');
check_audit($_, 'at the end') foreach $one, $two;
check_cache($_, 'at the end') foreach $one, $two;
check_moves('at the end', $one, $two);
$_->stop foreach $one, $two;
done_testing();
