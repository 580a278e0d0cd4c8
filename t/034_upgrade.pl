# pg_upgrade during a sale: orders in every state, an open lease, requests and
# limits are unchanged in the new cluster, and the sale continues there.
# SECKILL_OLD_INSTALL is the installation of an older server with the extension;
# without it the upgrade is to the same version.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

# The extension's objects, one per line.
my $objects = <<'EOC';
SELECT pg_describe_object(d.classid, d.objid, 0),
	replace(coalesce(pg_get_functiondef(p.oid), pg_get_viewdef(v.oid)), chr(10), ' '),
	coalesce(p.proacl, c.relacl, n.nspacl, t.typacl),
	(SELECT i.initprivs FROM pg_init_privs i
		WHERE (i.objoid, i.classoid, i.objsubid) = (d.objid, d.classid, 0)),
	c.reloptions, obj_description(d.objid, d.classid::regclass::name),
	(SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
	(SELECT array_agg(pg_get_triggerdef(oid) || tgenabled::text ORDER BY tgname)
		FROM pg_trigger WHERE tgrelid = c.oid),
	(SELECT array_agg(pg_get_constraintdef(oid) ORDER BY conname)
		FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n'),
	(SELECT array_agg(pg_get_indexdef(indexrelid) ||
			coalesce(obj_description(indexrelid, 'pg_class'), '') ORDER BY indexrelid::regclass::text)
		FROM pg_index WHERE indrelid = c.oid),
	(SELECT array_agg((attname, atttypid::regtype, attnotnull, attidentity,
			col_description(c.oid, attnum), pg_get_expr(adbin, adrelid)) ORDER BY attnum)
		FROM pg_attribute a LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
		WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
FROM pg_depend d
	LEFT JOIN pg_proc p ON (d.classid, d.objid) = ('pg_proc'::regclass, p.oid) AND p.prokind = 'f'
	LEFT JOIN pg_class c ON (d.classid, d.objid) = ('pg_class'::regclass, c.oid)
	LEFT JOIN pg_class v ON v.oid = c.oid AND v.relkind = 'v'
	LEFT JOIN pg_namespace n ON (d.classid, d.objid) = ('pg_namespace'::regclass, n.oid)
	LEFT JOIN pg_type t ON (d.classid, d.objid) = ('pg_type'::regclass, t.oid)
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'seckill')
UNION ALL
SELECT extname || extversion || array_to_string(extconfig::regclass[], ' '),
	extcondition::text, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_extension WHERE extname = 'seckill'
ORDER BY 1
EOC

my $conf = <<'EOC';
shared_preload_libraries = 'seckill'
max_connections = 50
log_min_messages = debug1
seckill.token_key = 'a key of more than sixteen bytes'
EOC

# A cluster; where they can differ, servers of all versions are told alike.
sub make_cluster
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %params);

	$node->init(extra => [ '--data-checksums', '--no-locale', '-E', 'UTF8' ]);
	$node->append_conf('postgresql.conf', $conf);
	return $node;
}

# Its contents, dumped by the new version's pg_dump.  \restrict is random.
sub dump_data
{
	my ($node, $db) = @_;
	my ($out, $err) = run_command(
		[ 'pg_dump', '--data-only', '-d', $node->connstr($db) ]);

	is($err, '', $node->name . ": $db is dumped");
	$out =~ s/^(\\(un)?restrict|-- Dumped|SET) .*\n//mg;
	return $out;
}

# A dumped expression may have more or fewer parentheses.
sub list_objects
{
	my ($node, $db) = @_;
	my $list = $node->safe_psql($db, $objects);

	$list =~ tr/()//d;
	return split /\n/, $list;
}

sub audit
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, 'SELECT * FROM public.seckill_audit()')
	  if $db eq 'postgres';
	return $node->safe_psql($db, 'SELECT * FROM shop.seckill_audit()');
}


#
# The old cluster
#

my $old_install = $ENV{SECKILL_OLD_INSTALL};
my $old = make_cluster('old', $old_install ? (install_path => $old_install) : ());
$old->start;
$old->safe_psql('postgres', <<'EOC');
CREATE DATABASE other;
CREATE ROLE buyer LOGIN;
ALTER ROLE buyer SET seckill.lease_units = 7;
ALTER DATABASE other SET seckill.default_mode = 'pessimistic';
CREATE EXTENSION seckill;
GRANT EXECUTE ON FUNCTION seckill_buy(bigint, bigint, seckill_mode, bigint, uuid, text) TO buyer;
EOC
$old->safe_psql('other', <<'EOC');
CREATE SCHEMA shop;
CREATE EXTENSION seckill SCHEMA shop;
INSERT INTO seckill.items (item_id, stock) VALUES (1, 100);
SELECT shop.seckill_prewarm(1, 30);
SELECT shop.seckill_buy(1, n, 'cache') FROM generate_series(1, 12) n;
EOC

# 1 has an open lease; 2 knows every rule; 3 is to be paid; 4 is not paid in
# time; 5 is sold out; 6 has a request that came to nothing; 7 and 8 have sold; 9
# has numbers, one of them burnt.
$old->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, title, stock, starts_at, ends_at, per_user_limit,
	require_token, pay_within, user_rate, user_burst, max_waiters)
VALUES (1, 'leased', 100, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(2, 'ruled', 100, '2020-01-01', '2100-01-01', 2, true, '1 day', 1000, 500, 5),
	(3, 'pending', 20, NULL, NULL, 5, false, '1 day', NULL, NULL, NULL),
	(4, 'overdue', 10, NULL, NULL, NULL, false, '1 ms', NULL, NULL, NULL),
	(5, 'sold out', 3, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(6, 'requested', 10, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(7, 'of rows', 50, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(8, 'queued', 50, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL);
SELECT seckill_prewarm(1, 60);
SELECT seckill_buy(1, n, 'cache') FROM generate_series(1, 25) n;
SELECT seckill_buy(2, 1, 'cache', 2, NULL, seckill_token(2, 1));
SELECT seckill_prewarm(3, 10);
SELECT seckill_buy(3, n, 'cache', 1, ('00000000-0000-0000-0000-00000000000' || n)::uuid)
FROM generate_series(1, 5) n;
SELECT seckill_confirm(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 1;
SELECT seckill_cancel(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = 2;
UPDATE seckill.orders SET pay_by = now() WHERE item_id = 3 AND user_id = 3;
SELECT seckill_buy(5, n, 'cache', 1, gen_random_uuid()) FROM generate_series(1, 3) n;
SELECT seckill_buy(6, 1, 'cache', 2, '00000000-0000-0000-0000-000000000006');
SELECT seckill_cancel(6, order_id, true) FROM seckill.orders WHERE item_id = 6;
UPDATE seckill.items SET stock = stock + 5 WHERE item_id = 7;
SELECT seckill_buy(7, 1, m) FROM unnest('{optimistic,retry,pessimistic,advisory,auto}'::seckill_mode[]) m;
EOC
$old->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, title, stock, numbered) VALUES (9, 'numbered', 20, true);
INSERT INTO seckill.units (item_id, unit, code) VALUES (9, 1, 'told'), (9, 20, 'last');
SELECT seckill_prewarm(9, 10);
BEGIN;
SELECT seckill_claim_many(9, '{1,2,3,4}', 'cache');
COMMIT;
SELECT seckill_claim_many(9, '{5,6,7}', 'retry');
SELECT seckill_cancel(9, order_id, true) FROM seckill.orders WHERE item_id = 9 AND unit = 1;
EOC
$old->safe_psql('postgres', q{SELECT seckill_buy(8, 1, 'queue')});
ok( $old->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM seckill.orders WHERE state = 'expired'}),
	'an order has expired');

# without a maintenance worker orders are overdue
$old->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$old->restart;
$old->safe_psql('postgres',
	q{SELECT seckill_buy(4, n, 'retry') FROM generate_series(1, 4) n});

my %before = map { $_ => [ audit($old, $_), dump_data($old, $_) ] } qw(postgres other);
my $states = 'SELECT state, count(*) FROM seckill.orders GROUP BY 1 ORDER BY 1';
is($old->safe_psql('postgres', $states),
	"pending|7\nconfirmed|41\ncancelled|3\nexpired|1", 'orders in every state');
like($before{other}[0], qr/^1\|100\|\d+\|[1-9]\d*\|12\|100\|0\|/, 'a lease is open');
my $last = $old->safe_psql('postgres', 'SELECT max(order_id) FROM seckill.orders');
my $paid = $old->safe_psql('postgres',
	'SELECT order_id FROM seckill.orders WHERE item_id = 3 AND user_id = 4');
my $cancelled = $old->safe_psql('postgres',
	'SELECT order_id FROM seckill.orders WHERE item_id = 6');
my $leases = $old->safe_psql('postgres',
	'SELECT array_agg(lease_id) FROM seckill.items WHERE leased > 0');
is($old->safe_psql('postgres', "SELECT cardinality('$leases'::bigint[])"), 6, 'and more');
check_audit($old, 'before');
$old->append_conf('postgresql.conf', q{shared_preload_libraries = 'seckill'});


#
# The upgrade.  Both servers preload the library and log the processes that
# they start.
#

my $new = make_cluster('new');
diag('from PostgreSQL ' . $old->pg_version . ' to ' . $new->pg_version)
  if $old_install;
my $old_bindir = $old_install ? "$old_install/bin" : $new->config_data('--bindir');
my $socketdir = PostgreSQL::Test::Utils::tempdir_short();

$old->stop;
chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
command_ok(
	[
		'pg_upgrade', '--no-sync', '--retain', '-d', $old->data_dir, '-D', $new->data_dir,
		'-b', $old_bindir, '-B', $new->config_data('--bindir'),
		'-s', $socketdir, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');

my $log = join '', map { slurp_file($_) }
  glob($new->data_dir . '/pg_upgrade_output.d/*/log/*server*.log');
like($log, qr/database system is ready.*database system is ready/s, 'has started both servers');
is(join("\n", $log =~ /DEBUG:.*worker process "seckill.*/g), '', 'without processes of the extension');


#
# The new cluster, before any sale
#

$new->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$new->start;
foreach my $db ('postgres', 'other')
{
	is(audit($new, $db), $before{$db}[0], "$db: the audit is the same");
	ok(dump_data($new, $db) eq $before{$db}[1], "$db: each row is the same");
}
$new->safe_psql('postgres', 'CREATE DATABASE fresh');
$new->safe_psql('fresh', 'CREATE EXTENSION seckill');
$new->safe_psql('postgres', 'REVOKE ALL ON FUNCTION seckill_buy FROM buyer');
my @fresh = list_objects($new, 'fresh');
my %upgraded = map { $_ => 1 } list_objects($new, 'postgres');
cmp_ok(scalar @fresh, '>', 25, 'the extension has objects');
is(join("\n", grep { !delete $upgraded{$_} } @fresh), '', 'none is missing');
is(join("\n", sort keys %upgraded), '', 'no object differs from a new database');
$new->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION seckill_buy TO buyer');
$new->append_conf('postgresql.conf', q{shared_preload_libraries = 'seckill'});
$new->restart;
$new->wait_for_log(qr/background worker process "seckill launcher"/);

# the leases of the old cluster are not those of a cache entry
is($new->safe_psql('postgres', 'SELECT count(*) FROM seckill_cache() WHERE cached > 0'),
	0, 'the cache is empty');
is($new->safe_psql('postgres', "SELECT count(*) FROM seckill.stock WHERE leased > 0 AND cached IS NOT NULL"),
	0, 'no lease is open in the cache');

# overdue orders expire, pending ones can be confirmed
ok( $new->poll_query_until('postgres',
		q{SELECT count(*) = 4 FROM seckill.orders WHERE item_id = 4 AND state = 'expired'}),
	'overdue orders expire by themselves');
is($new->safe_psql('postgres', 'SELECT stock FROM seckill.items WHERE item_id = 4'),
	10, 'their units are on sale again');
foreach my $case ([ 3, 'confirm', 'confirmed' ], [ 4, 'confirm', 'confirmed' ], [ 5, 'cancel', 'cancelled' ])
{
	my ($user, $call, $state) = @$case;

	is($new->safe_psql('postgres', "SELECT seckill_$call(3, order_id) FROM seckill.orders WHERE item_id = 3 AND user_id = $user"),
		$state, "the order of user $user is $state");
}

# every mode respects limits and requests, and order numbers continue
my $number = $last;
foreach my $mode (qw(optimistic retry pessimistic advisory cache auto queue))
{
	$number++;
	is( $new->safe_psql('postgres', <<"EOC"), "(sold,$paid)|(limit_reached,)|(denied,)|(sold_out,)|(sold,$number)", "$mode: a request has its order, a limit counts, a token is wanted, sold out, sold");
SELECT seckill_buy(3, 4, '$mode', 1, '00000000-0000-0000-0000-000000000004'),
	seckill_buy(2, 1, '$mode', 1, NULL, seckill_token(2, 1)),
	seckill_buy(2, 2, '$mode'),
	seckill_buy(5, 9, '$mode'),
	seckill_buy(7, 9, '$mode')
EOC
}
is( $new->safe_psql('postgres', "SELECT seckill_buy(6, 1, 'auto', 2, '00000000-0000-0000-0000-000000000006')"),
	"(sold,$cancelled)", 'the request of a cancelled order returns it');
is($new->safe_psql('postgres', 'SELECT outcome FROM seckill_buy(7, 1)', extra_params => [ '-U', 'buyer' ]),
	'sold', 'privileges are the same');

# the queue
my $ticket = $new->safe_psql('postgres', 'SELECT ticket FROM seckill_submit(8, 2)');
is($new->safe_psql('postgres', "SELECT outcome, order_id > $last FROM seckill_result($ticket, '60 s')"),
	'sold|t', 'a ticket is served');

# the rest sells to the last unit, whichever mode settles the old lease
my %left = (1 => 75, 3 => 17, 4 => 10, 6 => 10, 7 => 42, 8 => 48, 9 => 13);
my %by = (1 => 'cache', 3 => 'auto', 4 => 'retry', 6 => 'pessimistic', 7 => 'advisory', 8 => 'cache', 9 => 'cache');
$new->safe_psql('postgres', 'UPDATE seckill.items SET per_user_limit = NULL, pay_within = NULL');
foreach my $item (sort keys %left)
{
	is(buy_rest($new, $item, $by{$item}), $left{$item}, "item $item: $by{$item} sells the rest");
}
is($new->safe_psql('postgres', q{SELECT burnt, twice, missing, foreign_numbers, double_sold FROM seckill_audit(9)}),
	'1|{}|0|{}|0', 'each number is in one place');
is($new->safe_psql('postgres', q{SELECT code FROM seckill.orders o, seckill_unit(9, o.order_id) u WHERE o.item_id = 9 AND o.unit = 20}),
	'last', 'and units have their values');
is($new->safe_psql('other', 'SELECT count(shop.seckill_buy(1, -2)) FROM generate_series(1, 88)'),
	88, 'the other database sells');
is($new->safe_psql('other', q{SELECT stock, unsold, sold, string_agg(DISTINCT mode::text, ' ')
			FROM shop.seckill_audit(1), seckill.orders WHERE user_id = -2 GROUP BY 1, 2, 3}),
	'0|0|100|pessimistic', 'the other database has its settings');
is( $new->safe_psql('postgres', "SELECT count(*) FROM seckill.orders WHERE order_id > $last AND lease_id = ANY ('$leases')"),
	0, 'the old lease has not sold');
check_audit($new, 'sold');
check_cache($new, 'sold');
check_audit($new, 'other');


#
# Afterwards
#

$new->command_ok([ 'vacuumdb', '--all', '--analyze-in-stages' ], 'statistics are made');
$new->safe_psql('fresh', 'DROP EXTENSION seckill');
my $file = $new->basedir . '/dump';
$new->command_ok([ 'pg_dump', '-F', 'custom', '-f', $file, 'postgres' ], 'the new database can be dumped');
$new->command_ok([ 'pg_restore', '-e', '-d', 'fresh', $file ], 'the dump can be restored');
is($new->safe_psql('fresh', 'SELECT * FROM seckill_audit()'), audit($new, 'postgres'),
	'to the same audit');
$new->safe_psql('fresh', 'UPDATE seckill.items SET stock = stock + 1 WHERE item_id = 1');
is( $new->safe_psql('fresh', q{SELECT outcome, order_id > (SELECT max(order_id) FROM seckill.orders) FROM seckill_buy(1, 1)}),
	'sold|t', 'the restored database sells');

unlike(slurp_file($new->logfile), qr/PANIC|TRAP|XX000|could not read block/, 'no error in the log');
$new->stop;
done_testing();
