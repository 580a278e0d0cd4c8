# Drivers work as their manuals say, without casts: the programs in t/clients read
# every outcome and SQLSTATE, and retry.  A program is skipped if its driver is not
# installed; NODE_PATH and CLASSPATH also find node-postgres and pgjdbc.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run qw(run start);
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;

$ENV{NODE_PATH} = join ':', grep { $_ } $ENV{NODE_PATH}, '/usr/share/nodejs';
$ENV{CLASSPATH} = join ':', grep { $_ } $ENV{CLASSPATH}, '/usr/share/java/postgresql.jar';

sub is_installed
{
	my ($command) = @_;
	my $runs = eval { run($command, '>', \my $out, '2>', \my $err) };
	return $runs;
}

# Name, program, and a command that succeeds where it can run.
my $dir = "$FindBin::RealBin/clients";

# The first Python on the PATH may not be the one that Debian's packages are for.
sub python_client
{
	my ($name, $module) = @_;
	my @import = ('-c', "import $module");
	my $python = is_installed([ 'python3', @import ]) ? 'python3' : '/usr/bin/python3';

	return [ $name, [ $python, "$dir/dbapi.py", $module ], [ $python, @import ] ];
}

my @clients = (
	python_client('psycopg2', 'psycopg2'), python_client('psycopg 3', 'psycopg'),
	[ 'node-postgres', [ 'node', "$dir/node.js" ], [ 'node', '-e', 'require("pg")' ] ],
	[ 'pgjdbc', [ 'java', "$dir/Jdbc.java" ], [ 'javap', 'org.postgresql.Driver' ] ]);

my $answers = <<'EOC';
crowd: busy, none
race: conflict, none
sold out: sold_out, none
early: not_started, none
late: ended, none
limit: limit_reached, none
token: denied, none
rate: sold, a number
rate: rate_limited, none
request: sold, a number
request: sold, a number
the same order: True
defaults: sold, a number
null request: sold, a number
often: sold sold sold sold sold sold sold sold
many: sold sold
many again: request_reused
items: sold unknown_item sold
queue: sold, a number
submit: queued, a number
result: sold, a number
submit many: queued unknown_item
result many: sold
queue in a transaction: 25001
transaction: sold, a number
repeatable read: 40001
repeatable read: sold, a number
null mode: 22004
null user: 22004
unknown mode: 22P02
none: 22023
too many: 22003
unknown item: 42704
payment: confirmed
cancel: SK001
EOC

# TCP, for pgjdbc; a role with the privileges of a shop.
my $node = seckill_node('clients', conf => <<'EOC');
listen_addresses = '127.0.0.1'
seckill.token_key = 'a key'
EOC
$node->safe_psql('postgres', <<'EOC');
CREATE ROLE shop LOGIN;
GRANT EXECUTE ON FUNCTION seckill_buy, seckill_buy_many, seckill_buy_items,
	seckill_submit, seckill_submit_many, seckill_result, seckill_result_many, seckill_confirm, seckill_cancel TO shop;
EOC

sub fresh_items
{
	$node->safe_psql('postgres', <<'EOC');
TRUNCATE seckill.items, seckill.orders;
INSERT INTO seckill.items (item_id, stock, starts_at, ends_at, per_user_limit, require_token, user_rate, user_burst, max_waiters, pay_within) VALUES
	(1, 1000, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(2, 0, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(3, 9, 'infinity', NULL, NULL, false, NULL, NULL, NULL, NULL),
	(4, 9, NULL, '2020-01-01', NULL, false, NULL, NULL, NULL, NULL),
	(5, 9, NULL, NULL, 1, false, NULL, NULL, NULL, NULL),
	(6, 9, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL),
	(7, 9, NULL, NULL, NULL, false, 0.00001, 1, NULL, NULL),
	(8, 9, NULL, NULL, NULL, false, NULL, NULL, 1, NULL),
	(9, 9, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL),
	(10, 9, NULL, NULL, NULL, false, NULL, NULL, NULL, '1 hour');
EOC
	return;
}

# Wait until this many sessions wait for a lock, or the client has ended.
sub await_waiters
{
	my ($n, $run) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1
		  if $node->safe_psql('postgres',
			q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'}) == $n;
		if ($run)
		{
			$run->pump_nb;
			return 0 unless $run->pumpable;
		}
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# Start a program that finds the server as clients of libpq do.
sub start_as_shop
{
	my ($command, $out, $err) = @_;
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)} = ('127.0.0.1', $node->port, 'postgres', 'shop');

	return start($command, '<', \undef, '>', $out, '2>', $err);
}

# Run a program while two buyers wait for item 8, and a transaction has bought item 9
# and commits when the program, too, waits for it.
sub run_client
{
	my ($command) = @_;
	my ($out, $err) = ('', '');
	my $holder = $node->background_psql('postgres');
	my @waiters = map { $node->background_psql('postgres') } 1 .. 2;

	$holder->query_safe('BEGIN; SELECT FROM seckill.items WHERE item_id = 8 FOR UPDATE');
	$_->query_until(qr//, "SELECT seckill_buy(8, 1, 'pessimistic');\n") foreach @waiters;
	await_waiters(2) or die 'the crowd does not wait';
	$holder->query_safe(q{SELECT seckill_buy(9, 1, 'retry')});
	my $run = start_as_shop($command, \$out, \$err);
	ok(await_waiters(3, $run), 'the client waits for a buyer');
	$holder->query_safe('COMMIT');
	ok($run->finish, 'the client ends well');
	$_->quit foreach @waiters, $holder;
	return ($out, $err);
}

# each client is a user of its own, whose calls are counted
my @ran;
foreach my $client (@clients)
{
	my ($name, $command, $probe) = @$client;
	my $user = 40 + @ran;

  SKIP:
	{
		push @ran, $name;
		my $installed = is_installed($probe);
		diag("$name is not installed") unless $installed;
		skip "$name is not installed", 1 unless $installed;
		subtest $name => sub {
			fresh_items();
			my ($out, $err) = run_client([ @$command, $user ]);

			is($out, $answers, 'its answers');
			is($err, '', 'no error output');
			is($node->safe_psql('postgres',
					"SELECT count(*), sum(quantity), count(DISTINCT request_id) FROM seckill.orders WHERE user_id = $user AND item_id = 1"),
				'20|22|1', 'its orders are there');
			check_audit($node, $name);
			check_cache($node, $name);
		};
	}
}

$node->stop;
done_testing();
