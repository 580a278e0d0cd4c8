# Instant win as docs/scenarios.md has it: no prize before its moment, the first
# play after it wins, and all are given by the end.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

my $node = seckill_node('win', conf => "track_commit_timestamp = on\nseckill.naptime = 1s\n");
my @modes = qw(optimistic retry pessimistic advisory cache queue auto);

sub sql { return $node->safe_psql('postgres', shift); }

# the documented statements; no moment is there yet
my ($recipe, $play) = slurp_file("$FindBin::RealBin/../docs/scenarios.md") =~
  /^## Instant win\n.*?^```sql\n(.*?)^```\n.*?^```sql\n(.*?);/ms
  or die 'no recipe in the document';
sql("BEGIN; CREATE TABLE game AS SELECT now() AS start; $recipe COMMIT;" =~ s/now\(\)/now() + interval '1 hour'/gr);
is(sql('SELECT count(*), min(planned) FROM seckill.releases, seckill.stock'), '20|20', 'the documented plan');
is(sql(<<'EOC'), 20, 'each prize has a moment in its own three minutes');
SELECT count(DISTINCT floor(extract(epoch FROM release_at - start) / 180)) FROM seckill.releases, game
EOC
is(sql($play), 'sold_out|', 'the documented play does not win yet');
sql('DELETE FROM seckill.items');

# one player: before the moment nothing, after it the first play
sql('INSERT INTO seckill.items (item_id, stock) VALUES (2, 0)');
foreach my $mode (@modes)
{
	is(sql(<<"EOC"), 'sold_out', "$mode: before the moment");
INSERT INTO seckill.releases (item_id, release_at, units) VALUES (2, clock_timestamp() + '1 hour', 1);
SELECT outcome FROM seckill_buy(2, 1, '$mode');
UPDATE seckill.releases SET release_at = clock_timestamp() + '200 ms' WHERE item_id = 2 AND done_at IS NULL;
EOC
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM seckill.releases WHERE done_at IS NULL'), 'the moment');
	is(sql("SELECT outcome FROM seckill_buy(2, 1, '$mode')"), 'sold', "$mode: the first play after it");
	is(sql("SELECT outcome FROM seckill_buy(2, 1, '$mode')"), 'sold_out', "$mode: not the second");
}

# a crowd plays all the time, in a game of seconds
my $seconds = $recipe =~ s/\b3 minutes/250 ms/r =~ s/VALUES \(1, 'prize', 0, 1\)/VALUES (1, 'prize', 0, NULL)/r;
my ($prizes, $moments) = split /(?=INSERT INTO seckill\.releases)/, $seconds;
sql($prizes);
my $stop = start_crowd($node, 32, map { "\\set u random(1, 100000)\nSELECT outcome FROM seckill_buy(1, :u, '$_');\n" } @modes);
sql($moments);
ok($node->poll_query_until('postgres', 'SELECT sold = 20 FROM seckill_audit(1)'), 'all prizes are given');
is(sql(<<'EOC'), '0', 'none before its moment');
WITH won AS (
	SELECT pg_xact_commit_timestamp(xmin) AS at, row_number() OVER (ORDER BY pg_xact_commit_timestamp(xmin)) AS k
	FROM seckill.orders WHERE item_id = 1),
moments AS (
	SELECT release_at, row_number() OVER (ORDER BY release_at) AS k FROM seckill.releases WHERE item_id = 1)
SELECT count(*) FROM won JOIN moments USING (k) WHERE at < release_at
EOC
note('longest time from moment to prize, in s: ' . sql(<<'EOC'));
WITH won AS (
	SELECT pg_xact_commit_timestamp(xmin) AS at, row_number() OVER (ORDER BY pg_xact_commit_timestamp(xmin)) AS k
	FROM seckill.orders WHERE item_id = 1),
moments AS (
	SELECT release_at, row_number() OVER (ORDER BY release_at) AS k FROM seckill.releases WHERE item_id = 1)
SELECT max(at - release_at) FROM won JOIN moments USING (k)
EOC
$node->stop('fast');
$stop->();
$node->start;
check_audit($node, 'at the end');
$node->stop;
done_testing();
