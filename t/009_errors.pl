# The server runs out of locks in the middle of a call: units that were not taken
# are not returned.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('errors',
	conf => "max_locks_per_transaction = 10\nseckill.lease_units = 1\n");
add_item($node, 1, 20);
$node->safe_psql('postgres', 'SELECT seckill_prewarm(1, 10)');

# a session that has held units, and the cache empty
my $buyer = $node->background_psql('postgres', on_error_stop => 0);
is($buyer->query(q{SELECT outcome FROM seckill_buy(1, 1, 'cache', 5)}),
	'sold', 'bought from the cache');
$node->safe_psql('postgres', q{SELECT seckill_buy(1, 2, 'cache', 5)});

my $hog = $node->background_psql('postgres');
$hog->query(<<'EOC');
DO $$
BEGIN
	FOR i IN 1 .. 10000000 LOOP
		PERFORM pg_advisory_lock(i);
	END LOOP;
EXCEPTION WHEN out_of_memory THEN
	NULL;					-- locks of the session stay
END
$$;
EOC
# whatever the outcomes are, the conservation law must hold
$buyer->query(q{SELECT outcome FROM seckill_buy(1, 3, 'cache')}) for 1 .. 20;
like(slurp_file($node->logfile), qr/out of shared memory/, 'the server ran out of locks');
$hog->quit;
$buyer->quit;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'})
  or die 'the locks stay';
check_audit($node, 'after running out of locks');
check_cache($node, 'after running out of locks');
is($node->safe_psql('postgres', 'SELECT sold FROM seckill_audit(1)')
	  + buy_rest($node, 1, 'cache'),
	20, 'exactly the supply is sold');
check_audit($node, 'at the end');

$node->stop;
done_testing();
