# One item with numbered units over several nodes: each number is at one place, each
# code is told once, values travel with their numbers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use SplitTest;
use Test::More;

needs_contrib('dblink');

my @nodes = start_nodes(4);

# A claim of a new user of a node.  Returns outcome, order_id, unit, code, prize and amount.
sub claim
{
	my ($node, $item, $mode) = @_;
	my $user = shift @{ users($node) };

	return split /\|/, answer($node, "SELECT * FROM seckill_claim($item, $user, '$mode')"), -1;
}

# Codes that were told, by item: none may be told to two buyers.
my %told;

sub sells
{
	my ($node, $item, $mode, $name) = @_;
	my ($outcome, $order, $unit, $code, $prize, $amount) = claim($node, $item, $mode);

	is($outcome, 'sold', $name);
	is($code, "code-$unit", "$name: its code");
	is($told{$item}{$code}++, 0, "$name: a new one");
	is($amount, $unit * 10, "$name: its amount");
	return ($order, $unit);
}

# An item with so many codes, split over three nodes.
sub split_codes
{
	my ($item, $n, $settings) = @_;

	sql(1, qq{SELECT seckill_put_item($item, '{"stock": 0, "numbered": true, $settings}')});
	sql(1, "INSERT INTO seckill.prizes VALUES ($item, 1, 'a prize', 10, $n)");
	sql(1, "SELECT count(*) FROM seckill_add_units($item, ARRAY(SELECT 'code-' || n FROM generate_series(1, $n) n), "
		. "array_fill(1, ARRAY[$n]), ARRAY(SELECT n * 10 FROM generate_series(1, $n) n))") if $n > 0;
	sql(1, "CALL seckill_split($item, '{1,2,3}')");
	return;
}

# Every node's books agree with its numbers.
sub in_order
{
	my ($item, $name) = @_;

	is(sql($_, "SELECT difference, twice, missing, foreign_numbers, double_sold FROM seckill_audit($item)"), '0|{}|0|{}|0', "$name: node $_")
	  foreach 1 .. 3;
	is(sql($_, "SELECT count(*) FROM seckill_audit_values($item) WHERE difference <> 0 OR amount_difference <> 0"), '0', "$name: values of node $_")
	  foreach 1 .. 3;
	return;
}

split_codes(1, 60, '"reveal_on": "pending", "per_user_limit": 2, "pay_within": "1 hour"');
is(sql(2, 'SELECT numbers, supplied FROM seckill.items WHERE item_id = 1'), '{}|0', 'a share begins empty');
is(sql(2, 'SELECT title FROM seckill.prizes'), 'a prize', 'the prizes are known');
foreach my $mode (qw(optimistic retry pessimistic advisory cache queue auto))
{
	sells($_, 1, $mode, "$mode on node $_") foreach 1 .. 3;
}
in_order(1, 'sold');
like(audit(1), qr/^60\|39\|21\|0\|(?:ok|in transit)$/, 'nothing is made or lost');

# The rest, wherever it is.
my $sold = 21;
$sold++ while (claim(1 + $sold % 3, 1, 'cache'))[0] eq 'sold';
is($sold, 60, 'each number is sold');
is((claim($_, 1, 'cache'))[0], 'sold_out', "all are sold: node $_") foreach 1 .. 3;
is(audit(1), '60|0|60|0|ok', 'and all is counted');
is(join(',', sort { $a <=> $b } map { split /\n/, sql($_, 'SELECT unit FROM seckill.orders WHERE item_id = 1') } 1 .. 3),
	join(',', 1 .. 60), 'no number is sold twice');

# A number whose code was told stays with its order; any other is sold elsewhere.
my $order = sql(2, 'SELECT min(order_id) FROM seckill.orders WHERE item_id = 1');
is(sql(2, "SELECT seckill_cancel(1, $order)"), 'cancelled', 'an order whose code was told');
is((claim($_, 1, 'retry'))[0], 'sold_out', "keeps its number: node $_") foreach 1 .. 3;
in_order(1, 'a burnt number');
like(audit(1), qr/\|0\|59\|0\|ok$/, 'a burnt number is counted');

split_codes(2, 6, '"pay_within": "1 hour"');
my @orders = map { [ $_, (claim($_, 2, 'cache'))[1] ] } 1 .. 3, 1 .. 3;
is(sql($orders[1][0], "SELECT code FROM seckill_unit(2, $orders[1][1])"), '', 'no code before the payment');
foreach my $to (1 .. 3)
{
	foreach my $from (grep { $_ != $to } 1 .. 3)
	{
		my ($order, $unit) = split /\|/, sql($from, "SELECT order_id, unit FROM seckill.orders WHERE item_id = 2 AND state = 'pending' LIMIT 1");

		is(sql($from, "SELECT seckill_cancel(2, $order)"), 'cancelled', "cancelled on node $from");
		is((claim($to, 2, 'advisory'))[2], $unit, "its number is sold on node $to");
		is((claim($_, 2, 'queue'))[0], 'sold_out', "and not on node $_") foreach 1 .. 3;
	}
}
in_order(2, 'numbers that went to and fro');
is(audit(2), '6|0|6|0|ok', 'numbers that went to and fro are counted');

# Codes are redeemed where the user is.
my ($user, $unit);
($user, $order, $unit) = split /\|/, sql(3, q{SELECT user_id, order_id, unit FROM seckill.orders WHERE item_id = 2 AND state = 'pending' LIMIT 1});
sql(3, "SELECT seckill_confirm(2, $order)");
is(sql(3, "SELECT * FROM seckill_unit(2, $order)"), "$unit|code-$unit|1|" . $unit * 10, 'the code after the payment');
fails(1, "SELECT seckill_redeem(2, 'code-$unit', $user)", qr/item 2 is sold to user $user on another node/, 'a code on another node');
is(sql(3, "SELECT outcome FROM seckill_redeem(2, 'code-$unit', $user)"), 'redeemed', 'a code');
is(sql(1, "SELECT outcome FROM seckill_claim(2, $user)"), 'moved', "another node's user");
my @two = map { shift @{ users(2) } } 1 .. 2;
is(sql(2, "SELECT outcome, unit FROM seckill_claim_many(2, ARRAY[$user, $two[0]]) ORDER BY 1"), "sold_out|\nmoved|", 'in a list');

# Units are added and taken off at home.
fails(2, $_, qr/this is not its home/, $_) foreach 'SELECT seckill_add_units(2, $${x}$$)', 'SELECT seckill_restock(2, 5)';
fails(1, $_, qr/item 2 is split over nodes, and cannot be/, $_) foreach 'SELECT seckill_close(2)', 'SELECT seckill_reveal(2)';
is(sql(1, q{SELECT first_unit FROM seckill_add_units(2, ARRAY['code-7', 'code-1', 'code-8'], NULL, ARRAY[70, 10, 80])}), '7', 'new numbers');
is((claim(3, 2, 'retry'))[2], $_, "number $_ is sold elsewhere") foreach 7, 8;
sql(1, 'SELECT seckill_restock(2, 3)');
is((claim(2, 2, 'retry'))[2], 9, 'a blank');
sql(1, q{SELECT seckill_add_units(2, ARRAY['code-12'], release_at => now() + interval '1 ms')});
await_releases($nodes[0], 2, 1, 'a release');
sql(1, 'CALL seckill_gather(2, 2)');
like(audit(2), qr/\|2\|9\|0\|ok$/, 'all units at home, and their number set');
in_order(2, 'some are withdrawn');
is(sql(1, 'SELECT numbers, off_sale FROM seckill.items WHERE item_id = 2'), '{[11,13)}|{[10,11)}', 'their numbers are off sale');
sql(1, 'CALL seckill_gather(2, 4)');
is((claim($_, 2, 'cache'))[0], 'sold', "sold on node $_") foreach 3, 2, 1, 3;
is((claim(1, 2, 'cache'))[0], 'sold_out', 'no more');
in_order(2, 'numbers were added');
is(audit(2), '13|0|13|0|ok', 'numbers were added, and are counted');

# A node answers, and the other one never gets it: the numbers are on their way, and are
# got by its next question, or by itself when home asks for all units.
my $lost = 'SELECT numbers FROM seckill_sync(3, 2, 1, (SELECT received FROM seckill.channels WHERE item_id = 3 AND peer = 2), %s, %d, 1, false, 1)';
split_codes(3, 40, '"reveal_on": "pending"');
my $numbers = '';
my $end = time + $PostgreSQL::Test::Utils::timeout_default;
$numbers = sql(1, sprintf $lost, 0, 4) while $numbers eq '' && time < $end;     # home is silent at first
is($numbers, '{[1,7)}', 'numbers are sent');
like(audit(3), qr/^40\|40\|0\|0\|in transit$/, 'on their way');
in_order(3, 'on their way');
is(sql(1, sprintf $lost, 0, 9), $numbers, 'the same to whoever asks again, and no others');
is((sells(2, 3, 'retry', 'got by the next question'))[1], 1, 'the first of them');
is(sql(2, 'SELECT numbers FROM seckill.items WHERE item_id = 3'), '{[2,7)}', 'the rest has come, too');
is(sql(2, 'SELECT count(*) FROM seckill.units WHERE item_id = 3'), '6', 'with what they are worth');
is(sql(1, sprintf $lost, 6, 30), '{[7,37)}', 'more are sent');
sql(1, 'CALL seckill_gather(3)');
is(audit(3), '40|39|1|0|ok', 'home gets all back');
in_order(3, 'all at home');
sql(2, 'SELECT seckill_sync(3, 1, 1, 0, 0, 0, 0, true, 1)');
is(audit(3), '40|39|1|0|ok', 'an old question changes nothing');

# A crash: what was leased and is not sold is found among the numbers of the node.
sells($_, 3, 'retry', "before a crash, node $_") foreach 2, 3, 2, 1;
sql($_, 'SELECT seckill_prewarm(3, 3)') foreach 1 .. 3;
sells($_, 3, 'cache', "from the cache of node $_") foreach 1 .. 3;
foreach my $n (2, 1, 3)
{
	$nodes[ $n - 1 ]->stop('immediate');
	$nodes[ $n - 1 ]->start;
}
sells($_, 3, 'cache', "after a crash, node $_") foreach 1 .. 3;
in_order(3, 'after a crash');
like(audit(3), qr/^40\|29\|11\|0\|(?:ok|in transit)$/, 'nothing is lost in a crash');

# A server comes back from an older copy.
my $copies = PostgreSQL::Test::Utils::tempdir();

sub copy_node
{
	my ($n) = @_;
	my $node = $nodes[ $n - 1 ];

	$node->stop('fast');
	system_or_bail('rm', '-rf', "$copies/$n");
	system_or_bail('cp', '-a', $node->data_dir, "$copies/$n");
	$node->start;
	return;
}

sub restore_node
{
	my ($n) = @_;
	my $node = $nodes[ $n - 1 ];

	$node->stop('immediate');
	system_or_bail('rm', '-rf', $node->data_dir);
	system_or_bail('cp', '-a', "$copies/$n", $node->data_dir);
	$node->start;
	sql($n, 'SELECT seckill_node_restored()');
	return;
}

# All that is left of an item is sold, each number once.  Returns how many live orders it has.
sub sell_out
{
	my ($item, $name) = @_;
	my $node = 0;
	my $sold = 0;

	$sold++ while (claim(1 + $node++ % 3, $item, 'cache'))[0] eq 'sold';
	is((claim($_, $item, 'retry'))[0], 'sold_out', "$name: sold out on node $_") foreach 1 .. 3;
	in_order($item, $name);
	my $audit = audit($item);
	like($audit, qr/\|0\|\d+\|0\|ok$/, "$name: all is counted");
	my @units = map { split /\n/, sql($_, "SELECT unit FROM seckill.orders WHERE item_id = $item AND unit IS NOT NULL") } 1 .. 3;
	my %once = map { $_ => 1 } @units;
	is(scalar @units, scalar keys %once, "$name: no number is sold twice");
	return scalar @units;
}

# A node other than home: an order that is lost, and one that was cancelled since, whose
# number has gone to another node.
split_codes(4, 20, '"pay_within": "1 hour"');
my ($lost_order, $lost_unit) = (claim(2, 4, 'cache'))[ 1, 2 ];
copy_node(2);
claim(2, 4, 'cache') for 1 .. 2;
sql(2, "SELECT seckill_cancel(4, $lost_order)");
sql(1, 'CALL seckill_gather(4)');
is((claim(3, 4, 'retry'))[2], $lost_unit, 'a number is sold on another node');
restore_node(2);
is(sql(2, "SELECT outcome FROM seckill_claim(4, ${\users(2)->[0]})"), 'busy', 'a closed node sells nothing');
my (undef, undef, $warning) = $nodes[1]->psql('postgres', 'CALL seckill_rejoin()');
like($warning, qr/1 orders of item 4 had been cancelled or had expired/, 'a warning');
is(sql(2, "SELECT state, unit FROM seckill.orders WHERE order_id = $lost_order"), 'expired|', 'an order without its number');
in_order(4, 'node 2 restored');
is(sell_out(4, 'node 2 restored'), 20, 'all codes are sold');
is(sql(2, 'SELECT seckill_confirm(4, ' . sql(2, 'SELECT max(order_id) FROM seckill.orders WHERE item_id = 4') . ')'), 'confirmed', 'an order is paid');

# Home: it has forgotten what it has sent, and codes that were added.
split_codes(5, 20, '"pay_within": "1 hour"');
claim($_, 5, 'retry') foreach 1 .. 3;
copy_node(1);
sql(1, q{SELECT seckill_add_units(5, ARRAY(SELECT 'code-' || n FROM generate_series(21, 40) n), NULL, ARRAY(SELECT n * 10 FROM generate_series(21, 40) n))});
claim(2, 5, 'retry') for 1 .. 12;
my $third = sql(3, 'SELECT order_id FROM seckill.orders WHERE item_id = 5');
sql(3, "SELECT seckill_cancel(5, $third)");
sql(1, 'CALL seckill_gather(5, 30)');
my @second = claim(2, 5, 'retry');
restore_node(1);
$warning = ($nodes[0]->psql('postgres', 'CALL seckill_rejoin()'))[2];
in_order(5, 'home restored');
is(sql(2, 'SELECT unit FROM seckill_unit(5, ' . sql(2, 'SELECT max(order_id) FROM seckill.orders WHERE item_id = 5') . ')'), $second[2], 'others keep their numbers');
my $count = sell_out(5, 'home restored');
cmp_ok($count, '>=', 20, 'all codes that home knows are sold');

# Both: home comes first, and what a restored node says gives way.
split_codes(6, 24, '"pay_within": "1 hour"');
claim($_, 6, 'retry') foreach 1 .. 3, 1 .. 3;
sql(2, q{SELECT seckill_put_item(8, '{"stock": 9, "numbered": true}')});    # another home
sql(2, q{CALL seckill_split(8, '{2,1,3}')});
my $user_of_1 = sql(1, q{SELECT u FROM generate_series(1, 100) u WHERE seckill_split_node('{2,1,3}', u) = 1 LIMIT 1});
is(sql(1, "SET seckill.move_wait = '10s'; SELECT unit FROM seckill_claim(8, $user_of_1)"), 1, 'an item with another home');
copy_node($_) foreach 2, 1;
claim($_, 6, 'retry') foreach 1 .. 3, 1 .. 3;
sql($_, 'SELECT seckill_cancel(6, order_id) FROM seckill.orders WHERE item_id = 6 ORDER BY order_id LIMIT 2') foreach 1 .. 3;
sql(1, 'CALL seckill_gather(6)');
claim($_, 6, 'cache') foreach 3, 2, 3, 1;
restore_node($_) foreach 1, 2;
fails(2, 'CALL seckill_rejoin()', qr/node 1, the home of item \d+, is closed/, 'home comes first');
sql($_, 'CALL seckill_rejoin()') foreach 1, 2;
in_order($_, "two nodes restored, item $_") foreach 6, 8;
like(audit(8), qr/^9\|8\|1\|0\|(?:ok|in transit)$/, 'each the home of an item');
is(sell_out(6, 'two nodes restored'), 24, 'all codes are sold');

# A copy from before the split
copy_node(3);
split_codes(7, 12, '"pay_within": "1 hour"');
claim($_, 7, 'retry') foreach 1 .. 3;
restore_node(3);
$warning = ($nodes[2]->psql('postgres', 'CALL seckill_rejoin()'))[2];
like($warning, qr/items were split over this node after the copy was made: \{7\}/, 'a share is lost');
is((claim(2, 7, 'retry'))[0], 'sold', 'others sell on');
sql(1, "CALL seckill_split(7, '{1,2,3}')");
is(sell_out(7, 'a share was lost'), 12, 'all codes are sold');
is(sql($_, 'SELECT count(*) FROM seckill.shortfalls'), '0', "node $_ has sold nothing that it did not have") foreach 1 .. 3;

# A number that is at two places, or at none, is noticed.
my $before = sql(2, 'SELECT numbers FROM seckill.channels WHERE item_id = 3');
foreach my $change ('numbers - (SELECT int8multirange(int8range(min(unit), min(unit) + 1)) FROM seckill.orders WHERE item_id = 3)', q{numbers + '{[40,41)}'})
{
	sql(2, "UPDATE seckill.channels SET numbers = $change WHERE item_id = 3");
	like(audit(3), qr/numbers differ$/, "planted: $change");
	sql(2, "UPDATE seckill.channels SET numbers = '$before' WHERE item_id = 3");
}

# The end: numbers of deleted orders are off sale at home.
sql($_, 'SELECT seckill_recall(3); DELETE FROM seckill.orders WHERE item_id = 3') foreach 2, 3;
sql(1, 'CALL seckill_unsplit(3)');
is(sql($_, 'SELECT count(*) FROM seckill.items WHERE item_id = 3'), $_ == 1 ? 1 : 0, "item on node $_") foreach 1 .. 3;
is(sql(1, 'SELECT supplied + seckill_count(off_sale) FROM seckill.items WHERE item_id = 3'), '40', 'no number is forgotten');
is(sql(1, 'SELECT count(*) FROM seckill.channels WHERE item_id = 3 AND numbers <> $${}$$'), '0', 'nor is one elsewhere');
is(sql(1, q{SELECT first_unit FROM seckill_add_units(3, ARRAY['code-41'])}), '41', 'the next number');
cmp_ok(sql(1, 'SELECT units FROM seckill_close(3)'), '>', 20, 'it is closed');
is(audit(3) =~ s/^.*\|//r, 'ok', 'at the end');
check_audit($_, 'at the end') foreach @nodes;
$_->stop foreach @nodes;
done_testing();
