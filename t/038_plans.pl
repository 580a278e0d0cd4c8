# The plans of the extension's own statements do not depend on what the caller has
# set for his: rows are found by their keys, and nothing is compiled.

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
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
EOC
my $from = 0;

# What the caller sets, the calls, and the plans of the statements they ran.
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
	'SELECT seckill_recall(1)',
	q{SELECT seckill_put_item(1, '{"title": "x"}')}, 'SELECT seckill_restock(1, 5)', 'SELECT seckill_restock(1, -5)',
	'SELECT seckill_set_available(1, 900)', 'SELECT * FROM seckill_item(1)',
	'SELECT seckill_order(1, min(order_id)) FROM seckill.orders WHERE item_id = 1',
	q{SELECT seckill_confirm(1, min(order_id)) FROM seckill.orders WHERE item_id = 1},
	q{SELECT seckill_cancel(1, max(order_id)) FROM seckill.orders WHERE item_id = 1});

$node->safe_psql('postgres', q{INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within) VALUES (1, 1000, 100, '1 hour')});
$from = length(slurp_file($node->logfile));

foreach my $settings ('SET jit = on', 'SET jit = on; SET jit_above_cost = 0',
	'SET jit = on; SET enable_indexscan = off',
	'SET jit = on; SET enable_nestloop = off; SET enable_indexscan = off; SET jit_above_cost = 0')
{
	my @plans = plans_of($settings, $calls);

	cmp_ok(scalar @plans, '>', 15, "$settings: the plans are in the log");
	is(join("\n", grep { /Seq Scan on (items|orders)|Bitmap/ } @plans), '', "$settings: by index only");
	is(join("\n", grep { /\bJIT:/ } @plans), '', "$settings: not compiled");
}
check_audit($node, 'after all settings');
$node->stop;
done_testing();
