# Planner settings of the caller do not affect the plans of the extension's own
# statements: they find rows by their keys, and do not use JIT.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my ($libdir) = run_command([ 'pg_config', '--pkglibdir' ]);
plan skip_all => 'auto_explain is not installed' unless -e "$libdir/auto_explain.so";

my $node = seckill_node('main', conf => <<'EOC');
# direct writes have no plans
seckill.direct_writes = off
shared_preload_libraries = 'seckill, auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
EOC
my $from = 0;

# Run calls with the given settings; returns the plans of their statements.
sub plans_of
{
	my ($settings, $calls) = @_;

	$node->safe_psql('postgres', "$settings; $calls");
	my $log = slurp_file($node->logfile, $from);
	$from += length($log);
	my @plans = grep { /Query Text: .*seckill\.(items|orders)/ && !/seckill_/ } split(/(?=duration: )/, $log);
	return @plans;
}

my $calls = join('; ', 'SELECT seckill_prewarm(1, 10)',
	(map { "SELECT seckill_buy(1, 1, '$_', 1, gen_random_uuid())" } qw(optimistic retry pessimistic advisory cache)),
	"SELECT seckill_buy_many(1, '{1,2,3}', 'cache')",
	q{SELECT seckill_put_item(1, '{"title": "x"}')}, 'SELECT seckill_restock(1, 5)',
	'SELECT seckill_set_available(1, 500)', 'SELECT seckill_item(1)',
	'SELECT seckill_recall(1)',
	q{SELECT seckill_put_item(1, '{"title": "x"}')}, 'SELECT seckill_restock(1, 5)', 'SELECT seckill_restock(1, -5)',
	'SELECT seckill_set_available(1, 900)', 'SELECT * FROM seckill_item(1)',
	'SELECT seckill_order(1, min(order_id)) FROM seckill.orders WHERE item_id = 1',
	q{SELECT seckill_confirm(1, min(order_id)) FROM seckill.orders WHERE item_id = 1},
	q{SELECT seckill_cancel(1, max(order_id)) FROM seckill.orders WHERE item_id = 1});

$node->safe_psql('postgres', q{INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within) VALUES (1, 1000, 100, '1 hour')});
$from = length(slurp_file($node->logfile));

sub check_plans
{
	my ($message, @plans) = @_;

	cmp_ok(scalar @plans, '>', 15, "$message: the plans are in the log");
	is(join("\n", grep { /Seq Scan on (items|orders)|Bitmap/ } @plans), '', "$message: by index only");
	is(join("\n", grep { /\bJIT:/ } @plans), '', "$message: not compiled");
	return;
}

# All planner settings, each against the plan that is wanted.
my $all = join('; ',
	(map { "SET enable_$_ = off" } qw(indexscan indexonlyscan tidscan nestloop material sort incremental_sort memoize)),
	(map { "SET ${_}_cost = 1e300" } qw(random_page cpu_tuple cpu_index_tuple cpu_operator)),
	'SET seq_page_cost = 0', 'SET effective_cache_size = 8', 'SET from_collapse_limit = 1',
	'SET join_collapse_limit = 1', 'SET geqo = on', 'SET geqo_threshold = 2', 'SET constraint_exclusion = on',
	'SET jit = on', (map { "SET jit_${_}above_cost = 0" } '', 'inline_', 'optimize_'));

foreach my $settings ('SET jit = on', 'SET jit = on; SET jit_above_cost = 0',
	'SET jit = on; SET enable_indexscan = off',
	'SET jit = on; SET enable_nestloop = off; SET enable_indexscan = off; SET jit_above_cost = 0',
	$all)
{
	foreach my $mode (qw(auto force_custom_plan force_generic_plan))
	{
		check_plans("$mode; $settings", plans_of("$settings; SET plan_cache_mode = $mode", $calls));
	}
}
check_audit($node, 'after all settings');

# replanning in the same session: the tables were analyzed, row
# security is switched, an index is broken for older snapshots
$node->safe_psql('postgres', 'ALTER TABLE seckill.items ENABLE ROW LEVEL SECURITY; ALTER TABLE seckill.orders ENABLE ROW LEVEL SECURITY');
check_plans('made again', plans_of($all,
	"$calls; ANALYZE seckill.items; $calls; SET row_security = off; $calls; ANALYZE seckill.orders; RESET row_security; $calls"));

# settings of the database, for the queue worker and the maintenance worker
(my $of_database = $all) =~ s/SET /ALTER DATABASE postgres SET /g;
$node->safe_psql('postgres', "$of_database; ALTER DATABASE postgres SET plan_cache_mode = force_custom_plan");
check_plans('background workers', plans_of('SET auto_explain.log_min_duration = -1', <<'EOC'));
INSERT INTO seckill.items (item_id, stock, pay_within, per_user_limit)
	SELECT n, 10, CASE WHEN n < 7 THEN interval '200 ms' END, CASE WHEN n % 2 = 0 THEN 5 END FROM generate_series(2, 9) n;
SELECT seckill_submit(n, 1, 1, gen_random_uuid()) FROM generate_series(2, 9) n, generate_series(1, 2);
DO $$
BEGIN
	FOR i IN 1 .. 18000 LOOP
		EXIT WHEN (SELECT count(*) FILTER (WHERE state = 'expired') = 10 AND count(*) = 16
			FROM seckill.orders WHERE item_id BETWEEN 2 AND 9);
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$
EOC
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE state = 'expired'), count(*) FROM seckill.orders WHERE item_id BETWEEN 2 AND 9 AND user_id = 1}),
	'10|16', 'queue worker and maintenance worker have done their work');
check_audit($node, 'after settings of the database');
$node->stop;
done_testing();
