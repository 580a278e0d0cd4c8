# The model of a sale that is split over nodes (model/split/): a short random
# run and a short exhaustive one in which all laws hold, and a run for each
# mutation of the protocol, which the laws must detect.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = "$FindBin::RealBin/../model";
my $model = PostgreSQL::Test::Utils::tempdir() . '/split_model';
my $steps = $ENV{SECKILL_STEPS} // 1_000_000;

foreach my $compiler ('clang', $ENV{CC} // 'cc')
{
	next if system("command -v $compiler >/dev/null") != 0;
	is( system(
			$compiler, qw(-O2 -Wall -Wextra -Werror -o),
			$model, glob("$dir/split/*.c"), "$dir/chance.c"),
		0,
		"$compiler compiles the model without warnings");
}

sub run_model
{
	my ($out, $err);
	my $ok = run_log([ $model, @_ ], '>', \$out, '2>', \$err);

	return ($ok, $out);
}

my ($ok, $out) = run_model('--steps', $steps);

ok($ok, 'all laws hold in random sales') or diag($out);
foreach my $event (
	qw(calls lost rounds transfers crashes restores sold sold_out remembered
	busy refused moved returns), 'exact cuts', 'lost orders')
{
	like($out, qr/all laws hold: .*\b[1-9]\d* $event\b/, "there were $event");
}

($ok, $out) = run_model('--explore', '--states', 10_000);
ok($ok, 'all laws hold in the first states of each tiny sale') or diag($out);
cmp_ok(scalar(() = $out =~ / states, all$/mg),
	'>=', 2, 'some of them have no other states');

my ($listed, $list) = run_model('--list');
my @mutations = $list =~ /^([1-9]\d*) (.*)$/gm;

ok($listed && @mutations >= 88, 'there are ways to break the protocol');
while (my ($number, $name) = splice(@mutations, 0, 2))
{
	# needs several restores that overlap, once in thousands of sales
	next if $name =~ /\(rare\)$/;
	($ok, $out) = run_model('--mutate', $number, '--steps', 20_000_000);
	my ($replay) = $out =~ /^BROKEN: .* Replay: (.*)$/m;

	ok(!$ok && defined($replay), "noticed: $name") or next;
	my ($law) = $out =~ /^BROKEN: (.*?)\. Replay/m;
	my ($again, $replayed) = run_model(split(' ', $replay));

	ok(!$again && $replayed =~ /^BROKEN: \Q$law\E/m, "and its replay: $law");
}

done_testing();
