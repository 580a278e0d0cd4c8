# Two-phase commit: refused with units of the cache, allowed without.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('prepare');
add_item($node, 1, 10);
$node->safe_psql('postgres', 'SELECT seckill_prewarm(1, 5)');

foreach my $held (
	q{SELECT seckill_buy(1, 1, 'cache')},
	q{SELECT seckill_buy(1, 1, 'cache', 7)},
	q{SELECT seckill_buy(1, 1, 'pessimistic', 7)},
	q{SELECT seckill_prewarm(1)},
	q{SAVEPOINT a; SELECT seckill_buy(1, 1, 'cache'); RELEASE a})
{
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nBEGIN; $held; PREPARE TRANSACTION 'held'");
	like($err, qr/0A000: cannot prepare a transaction that holds units/, "refused: $held");
	like($err, qr/HINT:/, 'with a hint');
}
check_audit($node, 'after refusals');
check_cache($node, 'after refusals');

foreach my $mode (qw(optimistic retry pessimistic advisory))
{
	$node->safe_psql('postgres', "BEGIN; SELECT seckill_buy(1, 1, '$mode'); PREPARE TRANSACTION '$mode'");
	$node->safe_psql('postgres', "COMMIT PREPARED '$mode'");
}
$node->safe_psql('postgres',
	q{BEGIN; SAVEPOINT a; SELECT seckill_buy(1, 1, 'cache'); ROLLBACK TO a; PREPARE TRANSACTION 'empty'});
$node->safe_psql('postgres', q{COMMIT PREPARED 'empty'});
is($node->safe_psql('postgres', 'SELECT sold, stock FROM seckill_audit(1)'),
	'4|1', 'prepared purchases of the row modes count');

# a prepared transaction survives a crash, and a buyer waits for it
$node->safe_psql('postgres',
	q{BEGIN; SELECT seckill_buy(1, 1, 'pessimistic'); PREPARE TRANSACTION 'last'});
$node->stop('immediate');
$node->start;
my ($rc, $out, $err) = $node->psql('postgres',
	q{SET lock_timeout = '50ms'; SELECT outcome FROM seckill_buy(1, 2, 'pessimistic', 6)});
like($err, qr/lock timeout/, 'the unit may still be returned');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'last'});
is(buy_rest($node, 1, 'cache'), 6, 'the unit was returned');
check_audit($node, 'at the end');
check_cache($node, 'at the end');

# a restock in a prepared transaction is visible a second after its commit
is($node->safe_psql('postgres', q{SELECT outcome FROM seckill_buy(1, 3)}),
	'sold_out', 'sold out');
$node->safe_psql('postgres',
	q{BEGIN; UPDATE seckill.items SET stock = stock + 1; PREPARE TRANSACTION 'restock'});
$node->safe_psql('postgres', q{COMMIT PREPARED 'restock'});
ok( $node->poll_query_until('postgres',
		q{SELECT outcome = 'sold' FROM seckill_buy(1, 3)}),
	'the row is read again');

$node->stop;
done_testing();
