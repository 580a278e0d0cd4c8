# The model of the leases (model/): a short run in which all laws hold, and one
# run for each mutation of the protocol, which the laws must detect.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = "$FindBin::RealBin/../model";
my $model = PostgreSQL::Test::Utils::tempdir() . '/lease_model';
my $steps = $ENV{SECKILL_STEPS} // 10_000_000;

foreach my $compiler ('clang', $ENV{CC} // 'cc')
{
	next if system("command -v $compiler >/dev/null") != 0;
	is( system(
			$compiler, qw(-O2 -Wall -Wextra -Werror -U_FORTIFY_SOURCE -o),
			$model, glob("$dir/*.c")),
		0,
		"$compiler compiles the model without warnings");
}

sub run_model
{
	my ($out, $err);
	my $ok = run_log([ $model, @_ ], '>', \$out, '2>', \$err);

	return ($ok, $out);
}

foreach my $txns (2, 6)
{
	my ($ok, $out) =
	  run_model('--txns', $txns, '--steps', $steps / 2, '--seed', $txns);

	ok($ok, "all laws hold with $txns transactions") or diag($out);
	foreach my $event (
		qw(sales refusals crashes errors settles stale numbers burnt closes
		archived), 'full rings', 'lists')
	{
		like($out, qr/all laws hold: .*\b[1-9]\d* $event\b/,
			"there were $event");
	}
}

my ($listed, $list) = run_model('--list');
my @mutations = $list =~ /^([1-9]\d*) (.*)$/gm;

ok($listed && @mutations >= 92, 'there are ways to break the protocol');
while (my ($number, $name) = splice(@mutations, 0, 2))
{
	my ($ok, $out) =
	  run_model('--mutate', $number, '--steps', 20_000_000);
	my ($replay) = $out =~ /^BROKEN: .* Replay: (.*)$/m;

	ok(!$ok && defined($replay), "noticed: $name") or next;
	my ($law) = $out =~ /^BROKEN: (.*) \(/m;
	my ($again, $replayed) = run_model(split(' ', $replay));

	ok(!$again && $replayed =~ /^BROKEN: \Q$law\E/m, "and its replay: $law");
}

done_testing();
