# Random calls with bad input: the short form of torture/bad_input.sh.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $seed = $ENV{SEED} // int(rand(1_000_000));
my $calls = 7000;

note("SEED=$seed");
my $node = seckill_node('bad_input', conf => <<'EOC');
seckill.token_key = 'key'
seckill.queue_notify = on
seckill.max_items = 5
seckill.queue_size = 512
log_statement = none
EOC

$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../torture/bad_input.sql"));

# Sessions that call with bad input as a role; dml: true or false.
my @sessions = map {
	my ($number, $role, $dml) = @$_;
	my ($script, $out) = (<<"EOC", '');
\\set VERBOSITY sqlstate
SET ROLE $role;
SET lock_timeout = '5 ms';
SELECT setseed(($seed + $number) / 2000000.0);
CALL torture.torment($calls, $dml);
SELECT torture.any_call() FROM generate_series(1, 200) \\gexec
\\echo all done
EOC
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', $node->connstr('postgres') ],
		'<', \$script, '>', \$out, '2>&1');

	{ role => $role, out => \$out, run => $run };
} ([ 1, 'pest', 'false' ], [ 2, 'pest', 'false' ], [ 3, 'postgres', 'true' ]);

foreach my $session (@sessions)
{
	$session->{run}->finish;
	like(${ $session->{out} }, qr/^all done$/m, "a session of $session->{role} lives")
	  or diag("SEED=$seed");
	unlike(${ $session->{out} }, qr/ERROR:  XX/, 'no internal error of a statement of its own')
	  or diag("SEED=$seed");
}
is($node->safe_psql('postgres', 'SELECT sum(n) FROM torture.answers'), 3 * $calls, 'every call was answered');
is( $node->safe_psql('postgres', q{SELECT DISTINCT state, call, message FROM torture.answers WHERE state LIKE 'XX%'}),
	'', 'no internal error')
  or diag("SEED=$seed");
cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT state) FROM torture.answers'),
	'>', 15, 'there were many kinds of errors');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM seckill.orders'), '>', 100, 'and good in some');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|FATAL|terminated by signal/, 'no crash in the log');
check_audit($node, 'after bad input');
check_cache($node, 'after bad input');

$node->stop;
done_testing();
