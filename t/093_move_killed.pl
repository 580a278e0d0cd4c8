# Moves whose source, destination, driver or router dies at each step, and at random
# under load: one node sells the item, every order and request is there once, limits
# hold, and nobody is stuck.
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
use Time::HiRes qw(time sleep);

needs_contrib('dblink');

my $conf = <<'EOC';
seckill.move_timeout = '1s'
restart_after_crash = on
EOC
my $one = cluster_node('one', conf => $conf);
my $two = cluster_node('two', conf => $conf);
my @nodes = ($one, $two);
join_nodes(@nodes);

my $next_item = 0;

# Let the source cancel moves that take longer than this; the maintenance worker looks
# at those that are open now.
my $patience = '';

sub set_patience
{
	my ($time) = @_;

	return if $time eq $patience;
	$patience = $time;
	foreach my $node (@nodes)
	{
		$node->safe_psql('postgres', "ALTER SYSTEM SET seckill.move_timeout = '$time'");
		$node->reload;
		$node->poll_query_until('postgres', "SELECT current_setting('seckill.move_timeout') = '$time'")
		  or die "move_timeout is not $time";
		$node->safe_psql('postgres', q{SELECT seckill_wake_maintenance(clock_timestamp() + '1 s')});
	}
	return;
}

# A sale on node 1 with requests, a limit and payments.
sub new_item
{
	my $item = ++$next_item;

	$one->safe_psql('postgres', <<"EOC");
SELECT seckill_put_item($item, '{"stock": 50, "per_user_limit": 2, "pay_within": "1 hour"}');
SELECT seckill_buy($item, u, 'cache', 1, md5('$item ' || u)::uuid) FROM generate_series(1, 10) u;
SELECT seckill_confirm($item, min(order_id)) FROM seckill.orders WHERE item_id = $item;
EOC
	return $item;
}

# Wait until the item is sold somewhere, and check it all.
sub check_item
{
	my ($item, $name) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my $seller;

	while (time < $end)
	{
		($seller) = grep {
			my ($ret, $place) = $_->psql('postgres', "SELECT place FROM seckill_whereis($item)");
			$ret == 0 && $place eq 'here'
		} @nodes;
		last if $seller;
		sleep 0.1;
	}
	ok($seller, "$name: not stuck") or return;
	is(one_seller($item, @nodes)->name, $seller->name, "$name: one seller");
	is($seller->safe_psql('postgres', "SELECT count(*), count(DISTINCT request_id), count(*) FILTER (WHERE state = 'confirmed')
		FROM seckill.orders WHERE item_id = $item"), '10|10|1', "$name: orders");
	is($seller->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, 3, 'cache', 1, md5('$item 3')::uuid)"), 'sold', "$name: a request");
	is($seller->safe_psql('postgres', "SELECT outcome FROM seckill_buy($item, 3, 'retry', 2)"), 'limit_reached', "$name: a limit");
	is($seller->safe_psql('postgres', "SELECT count(*) FROM seckill_buy_many($item, ARRAY(SELECT generate_series(101, 160)::bigint)) WHERE outcome = 'sold'"),
		40, "$name: the rest is sold");
	is($seller->safe_psql('postgres', "SELECT sold, difference FROM seckill_audit($item)"), '50|0', "$name: audit");
	return;
}

# The steps as an operator would make them by hand, so that they can be cut anywhere.
sub step
{
	my ($item, $id, $n) = @_;

	return $one->safe_psql('postgres', "SELECT seckill_move_out($item, 2, '$id')") if $n == 1;
	return $two->safe_psql('postgres', "SELECT seckill.connect('c', 1); SELECT seckill.move_in('c', $item, 1, '$id', 1)") if $n == 2;
	if ($n == 3)
	{
		my ($orders, $units, $contents) = split /\|/,
		  $two->safe_psql('postgres', "SELECT orders, units, contents FROM seckill.moves WHERE move_id = '$id'");
		return $one->safe_psql('postgres', "SELECT seckill_move_release($item, '$id', $orders, $units, '$contents')");
	}
	return $two->safe_psql('postgres', "SELECT seckill.connect('c', 1); SELECT seckill.move_end('c', $item, '$id')");
}

# The driver stops after step n, and a node crashes then, or both, or none.
foreach my $n (1 .. 4)
{
	foreach my $dead ([], [$one], [$two], [ $one, $two ])
	{
		my $item = new_item();
		my $id = sprintf 'bbbbbbbb-0000-0000-0000-%012d', $item;
		my $name = "after step $n, crashed: " . (join(' and ', map { $_->name } @$dead) || 'the driver only');

		# a step by hand may take longer than a driver needs
		set_patience('5min');
		step($item, $id, $_) foreach 1 .. $n;
		set_patience('1s');
		$_->stop('immediate') foreach @$dead;
		$_->start foreach @$dead;
		check_item($item, $name);
		is($two->safe_psql('postgres', "SELECT count(*) FROM seckill.items WHERE item_id = $item AND place IS NULL"),
			$n >= 3 ? 1 : 0, "$name: the item is where the decision says");
	}
}
check_moves('after the crashes', @nodes);

# Driver, source or destination are killed while seckill_move() runs, at any moment.
sub kill_while_moving
{
	my ($from, $to, $item, $kill) = @_;
	my ($out, $err) = ('', '');
	my $number = $from == $one ? 1 : 2;
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $to->connstr('postgres'), '-c', "CALL seckill_move($item, $number)" ],
		'>', \$out, '2>', \$err);

	sleep rand(0.08);
	$kill->();
	$run->finish;
	return;
}

my $terminate = q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'};
my @kills = (
	sub { $two->psql('postgres', $terminate) },
	sub { $one->psql('postgres', $terminate) },
	sub { $one->stop('immediate'); $one->start },
	sub { $two->stop('immediate'); $two->start });
foreach my $i (0 .. 15)
{
	my $item = new_item();

	kill_while_moving($one, $two, $item, $kills[ $i % @kills ]);
	check_item($item, "killed at random, $i");
}
check_moves('after kills at random', @nodes);

# The same under load, to and fro: what buyers were told is what there is.
my $hot = ++$next_item;
$one->safe_psql('postgres', qq{SELECT seckill_put_item($hot, '{"stock": 100000, "per_user_limit": 5, "pay_within": "1 hour"}')});
my @logs = map { $_->basedir . '/told' } @nodes;
my @crowds;

# Buyers of one node in a process of psql each, which come again after a crash.  They note
# what they were told outside the servers.
sub start_buyers
{
	my ($node, $log) = @_;
	my $script = $node->basedir . '/buy.sh';
	my $connstr = $node->connstr('postgres');

	append_to_file($script, <<"EOC");
for round in \$(seq 4000); do
	[ ! -e $log.stop ] || exit 0
	for i in 1 2 3 4 5 6 7 8; do
		u=\$((RANDOM % 500)); q=\$(cat /proc/sys/kernel/random/uuid)
		echo "SET seckill.move_wait = '20ms'; SELECT '\$u', '\$q', order_id FROM seckill_buy($hot, \$u, 'auto', 1, '\$q') WHERE outcome = 'sold';"
	done | psql -XAtq -d "$connstr" >> $log 2>/dev/null
done
exit 0
EOC
	push @crowds, map { IPC::Run::start([ 'bash', $script ]) } 1 .. 2;
	return;
}
# A move gives up when it has waited for buyers for a second.
sub move_under_load
{
	my ($to, $from) = @_;

	foreach (1 .. 10)
	{
		my ($failed) = $to->psql('postgres', "CALL seckill_move($hot, $from)");

		last if !$failed;
	}
	return;
}
start_buyers($nodes[$_], $logs[$_]) foreach 0, 1;
foreach my $i (1 .. 24)
{
	my $at = $two->safe_psql('postgres', "SELECT count(*) FROM seckill.items WHERE item_id = $hot AND place IS NULL") ? 1 : 0;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	# only a move without a driver is to be given up
	set_patience($i % 3 ? '5min' : '1s');
	$i % 3
	  ? move_under_load($nodes[ 1 - $at ], $at + 1)
	  : kill_while_moving($nodes[$at], $nodes[ 1 - $at ], $hot, $kills[ ($i / 3) % @kills ]);
	while (time < $end)
	{
		last if grep { $_->safe_psql('postgres', "SELECT place FROM seckill_whereis($hot)") eq 'here' } @nodes;
		sleep 0.1;
	}
}
append_to_file("$_.stop", '') foreach @logs;
ok($_->finish, 'buyers came to their end') foreach @crowds;
my $seller = one_seller($hot, @nodes);
my %orders = map { $_ => 1 } split /\n/,
  $seller->safe_psql('postgres', "SELECT user_id, request_id, order_id FROM seckill.orders WHERE item_id = $hot");
my @told = map { -e $_ ? grep { /\|.*\|\d/ } split /\n/, slurp_file($_) : () } @logs;
cmp_ok(scalar @told, '>', 100, 'there was a sale: ' . @told . ' orders told');
is(join("\n", grep { !$orders{$_} } @told), '', 'every order that was told is there');
is($seller->safe_psql('postgres', "SELECT count(*) - count(DISTINCT request_id) FROM seckill.orders WHERE item_id = $hot"), 0, 'each request once');
cmp_ok($seller->safe_psql('postgres', "SELECT max(n) FROM (SELECT sum(quantity) n FROM seckill.orders WHERE item_id = $hot GROUP BY user_id) x"),
	'<=', 5, 'limits');
cmp_ok($seller->safe_psql('postgres', "SELECT max(hop) FROM seckill.moves WHERE item_id = $hot AND state = 'here'"), '>=', 8, 'it has moved often');
check_audit($_, 'at the end') foreach @nodes;
check_moves('under load', @nodes);
$_->stop foreach @nodes;
done_testing();
