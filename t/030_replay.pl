# The WAL of a sale is replayed exactly: a standby checks each page against the
# primary's image (wal_consistency_checking), and its dump equals the primary's.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $primary = seckill_node(
	'primary',
	streaming => 1,
	conf => <<'EOC');
wal_consistency_checking = 'all'
seckill.lease_units = 20
deadlock_timeout = 100ms
EOC
$primary->safe_psql('postgres', <<'EOC');
INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within)
VALUES (1, 500, 3, '100 ms'), (2, 500, NULL, '1 hour'), (3, 500, 2, NULL);
EOC
my $standby = seckill_standby($primary);

$SeckillTest::max_tries = 100;
crowd($primary, 20, 30,
	(map { "\\set i random(1, 3)\n\\set u random(1, 90)\nSELECT outcome FROM seckill_buy(:i, :u, '$_', 1, gen_random_uuid());\n" }
		qw(optimistic retry pessimistic advisory cache queue auto)),
	"\\set i random(1, 3)\nBEGIN; SELECT outcome FROM seckill_buy(:i, 91, 'cache'); ROLLBACK;\n",
	"\\set i random(1, 3)\nSELECT seckill_cancel(item_id, order_id, true) FROM (SELECT * FROM seckill.orders WHERE item_id = :i AND state = 'confirmed' LIMIT 1) o;\n",
	"\\set i random(1, 3)\nSELECT seckill_recall(:i);\n");
ok( $primary->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM seckill.orders WHERE state = 'expired'}),
	'orders have expired');
ok( $primary->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM seckill.orders WHERE item_id = 1 AND state = 'pending'}),
	'all that were due');
check_audit($primary, 'on the primary');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

my %dump;
foreach my $node ($primary, $standby)
{
	my ($out, $err) = run_command(
		[ 'pg_dump', '--data-only', '-d', $node->connstr('postgres') ]);

	is($err, '', $node->name . ' is dumped');
	# \restrict carries a random word; a sequence is logged ahead of its use
	($dump{ $node->name } = $out) =~ s/^(\\(un)?restrict |SELECT pg_catalog.setval).*$//mg;
}
ok($dump{primary} eq $dump{standby}, 'the dumps are the same');
like($dump{primary}, qr/pending.*expired|expired.*pending/s, 'the dumps have orders in all states');
check_audit($standby, 'on the standby');
unlike(slurp_file($standby->logfile), qr/FATAL:.*inconsistent page|PANIC/, 'no page differs');

$standby->stop;
$primary->stop;
done_testing();
