# Node numbers: orders, tickets and items of several nodes never have the same
# number; a promoted or restored node sells nothing before it has asked the others.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

needs_contrib('dblink');

my $one = cluster_node('one', streaming => 1);
my $two = cluster_node('two');

# Before a node joins
is($one->safe_psql('postgres', 'SELECT * FROM seckill_node()'), '|alone', 'a node that has not joined');
add_item($one, 1, 100);
is($one->safe_psql('postgres', 'SELECT order_id FROM seckill_buy(1, 1)'), '1', 'its orders begin at 1');
my $old_ticket = $one->safe_psql('postgres', 'SELECT ticket FROM seckill_submit(1, 2)');
cmp_ok($old_ticket, '>=', 2**51, 'its tickets are above those of nodes');

sql_fails($one, "SELECT seckill_join($_)", qr/must be from 1 to 2047/, "no node $_") foreach qw(0 2048 NULL);
sql_fails($one, "SELECT seckill_move_out(1, 2, gen_random_uuid())", qr/cannot be moved from this node, which is alone/,
	'no item leaves it');
join_nodes($one, $two);
is($one->safe_psql('postgres', 'SELECT * FROM seckill_node()'), '1|open', 'it has joined');
sql_fails($one, 'SELECT seckill_join(3)', qr/this is node 1/, 'a node keeps its number');
sql_fails($one, "SELECT seckill_add_node(1, \$\$${\$two->connstr('postgres')}\$\$)",
	qr/the server of node 1 is node 2/, 'another node has another number');
sql_fails($two, "SELECT seckill_add_node(2, \$\$${\$two->connstr('postgres')}\$\$)", qr/this is node 2/,
	'a node is not another one');

# Orders
my $first = 1 << 40;
add_item($two, 2, 100);
is($one->safe_psql('postgres', 'SELECT order_id FROM seckill_buy(1, 1)'), $first + 1, 'orders of node 1');
is($two->safe_psql('postgres', 'SELECT order_id FROM seckill_buy(2, 1)'), 2 * $first + 1, 'orders of node 2');
$one->safe_psql('postgres', 'SELECT seckill_join(1)');
is($one->safe_psql('postgres', 'SELECT order_id >> 40, order_id & 255 FROM seckill_buy(1, 1)'), '1|2',
	'joining again changes nothing');
is($two->safe_psql('postgres', 'INSERT INTO seckill.items (stock) VALUES (1) RETURNING item_id >> 40'), 2,
	'items of node 2');
is($two->safe_psql('postgres',
		"INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, 'infinity', 1) RETURNING release_id >> 40"),
	2, 'releases of node 2');

# Tickets
my %ticket = map {
	$_ => $_->safe_psql('postgres', "SELECT ticket FROM seckill_submit(${\($_ == $one ? 1 : 2)}, 7)")
} $one, $two;
is($ticket{$one} >> 40, 1, 'tickets of node 1');
is($ticket{$two} >> 40, 2, 'tickets of node 2');
is($one->safe_psql('postgres', "SELECT outcome FROM seckill_result($ticket{$one}, '60 s')"), 'sold', 'node 1 answers its ticket');
is($one->safe_psql('postgres', "SELECT outcome FROM seckill_result($old_ticket, '60 s')"), 'sold',
	'and one from before it joined');
sql_fails($one, "SELECT seckill_result($ticket{$two})", qr/ticket $ticket{$two} is of node 2/, 'but no other');
is($one->safe_psql('postgres', "SELECT sqlstate, message FROM seckill_result_many(ARRAY[$ticket{$two}])"),
	"55000|ticket $ticket{$two} is of node 2", 'and says so for many');
is($two->safe_psql('postgres',
		'SELECT s.ticket - lag(s.ticket) OVER (ORDER BY s.ticket)
		FROM seckill_submit_many(ARRAY[2, 2, 2], ARRAY[8, 9, 10]) s OFFSET 1'),
	"1\n1", 'tickets are consecutive');
$one->stop('immediate');
$one->start;
sql_fails($one, "SELECT seckill_result($ticket{$one})", qr/is no longer remembered/, 'a crash forgets tickets, no other is taken for one');

# docs/scale.md names every function and table
my $document = slurp_file("$FindBin::RealBin/../docs/scale.md");
my @names = split /\n/, $one->safe_psql('postgres', <<'EOC');
SELECT DISTINCT coalesce(p.proname, 'seckill.' || c.relname)
FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'seckill_cluster'
	LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND p.pronamespace = 'public'::regnamespace
	LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'r'
WHERE d.deptype = 'e' AND (p.oid IS NOT NULL OR c.oid IS NOT NULL)
EOC
cmp_ok(scalar @names, '>', 20, 'the extension has functions');
is(join(' ', grep { $document !~ /`$_\b/ } @names), '', 'the document names them all');

# Keys and versions
$two->append_conf('postgresql.conf', "seckill.token_key = 'another'");
$two->reload;
$one->poll_query_until('postgres', <<"EOC") or die 'no reload';
SELECT r <> seckill_key_fingerprint() FROM dblink(\$\$${\$two->connstr('postgres')}\$\$, 'SELECT seckill_key_fingerprint()') AS d (r text)
EOC
sql_fails($one, "SELECT seckill_add_node(2, \$\$${\$two->connstr('postgres')}\$\$)",
	qr/node 2 has another seckill.token_key/, 'a key that differs is refused');
$two->append_conf('postgresql.conf', "seckill.token_key = 'key of the shop'");
$two->reload;

# A restored dump has not joined
$one->command_ok([ 'pg_dump', '-f', $one->basedir . '/dump.sql', 'postgres' ], 'dump');
$one->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$one->command_ok([ 'psql', '-qX', '-d', 'restored', '-f', $one->basedir . '/dump.sql' ], 'restore');
is($one->safe_psql('restored', 'SELECT state FROM seckill_node()'), 'alone', 'a restored dump has not joined');
is($one->safe_psql('restored', 'SELECT seckill_join(1); SELECT (order_id & 1048575) > 2 AND order_id > (1 << 20) FROM seckill_buy(1, 3)') =~ s/^\n//r,
	't', 'if it joins, it leaves a gap for the orders that it may lack');

# A promoted standby is closed until it has asked the others
add_item($one, 5, 10);
my $standby = seckill_standby($one);
is($standby->safe_psql('postgres', 'SELECT * FROM seckill_node()'), '1|standby', 'a standby');
$one->wait_for_catchup($standby, 'replay', $one->lsn('write'));
my $last = $one->safe_psql('postgres', 'SELECT order_id FROM seckill_buy(5, 1)');
$one->wait_for_catchup($standby, 'replay', $one->lsn('write'));
$one->stop;
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT * FROM seckill_node()'), '1|closed', 'a promoted one is closed');
is($standby->safe_psql('postgres', "SELECT outcome FROM seckill_buy(5, 2, '$_')"), 'busy', "it sells nothing: $_")
  foreach qw(retry advisory cache queue auto);
sql_fails($standby, "SELECT seckill_cancel(5, $last, true)", qr/was promoted or restored.*HINT:  CALL seckill_rejoin/s,
	'it changes no order');
sql_fails($standby, 'SELECT seckill_restock(5, 1)', qr/was promoted or restored/, 'and no item');
sql_fails($standby, 'SELECT seckill_move_out(5, 2, gen_random_uuid())', qr/which is node 1, closed/, 'no item leaves it');
sql_fails($standby, 'SELECT seckill_join(1)', qr/was promoted or restored/, 'joining does not open it');
$two->stop;
sql_fails($standby, 'CALL seckill_rejoin()', qr/could not establish connection/, 'all others must answer');
$two->start;
$standby->safe_psql('postgres', 'CALL seckill_rejoin()');
is($standby->safe_psql('postgres', 'SELECT * FROM seckill_node()'), '1|open', 'it has asked them');
cmp_ok($standby->safe_psql('postgres', 'SELECT order_id FROM seckill_buy(5, 2)'), '>', $last + (1 << 19),
	'order ids leave a gap for those that may be lost');
$standby->safe_psql('postgres', 'SELECT seckill_node_restored()');
is($standby->safe_psql('postgres', 'SELECT outcome FROM seckill_buy(5, 3)'), 'busy', 'after a restore of the disk the operator closes it');
$standby->safe_psql('postgres', 'SELECT seckill_reopen()');
is($standby->safe_psql('postgres', 'SELECT outcome FROM seckill_buy(5, 3)'), 'sold', 'and opens it if nothing was lost');
check_audit($standby, 'promoted node');
$standby->stop;
$two->stop;
done_testing();
