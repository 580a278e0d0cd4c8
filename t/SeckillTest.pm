# What the TAP tests share: a server with the library, crowds of buyers, and
# the laws that every test ends with.
package SeckillTest;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(compile_library seckill_node clock_node preload_clock set_clock add_item crowd start_crowd buy_rest
  worker_pid await_moment await_worker_lock await_queue await_releases check_audit check_cache check_numbers check_seats seckill_standby);

# Attempts of a transaction of concurrent clients that fails by a deadlock or a
# serialization failure.  Single purchases never do.
our $max_tries = 1;

# Options of pgbench that define variables of the scripts of a crowd.
our @variables;

# Compile a C file of this directory into a shared library; returns its path.
sub compile_library
{
	my ($name) = @_;
	my ($source) = map { s{[^/]*$}{$name.c}r } __FILE__;
	my $library = PostgreSQL::Test::Utils::tempdir() . "/$name.so";
	chomp(my $headers = `${\($ENV{PG_CONFIG} // 'pg_config')} --includedir-server`);

	system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', "-I$headers", '-o', $library, $source);
	return $library;
}

# A new server with the library preloaded, and the extension in postgres.
sub seckill_node
{
	my ($name, %params) = @_;
	my @where = $params{install_path} ? (install_path => $params{install_path}) : ();
	my $node = PostgreSQL::Test::Cluster->new($name, @where);

	$node->init(allows_streaming => $params{streaming} // 0);
	$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'seckill'
max_connections = 250
max_prepared_transactions = 5
EOC
	$node->append_conf('postgresql.conf', $params{conf}) if $params{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION seckill');
	return $node;
}

# A new streaming standby of a server, started.
sub seckill_standby
{
	my ($primary, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name // 'standby');

	$primary->backup($standby->name);
	$standby->init_from_backup($primary, $standby->name, has_streaming => 1);
	$standby->start;
	return $standby;
}

my $clock;

# A new server whose wall clock set_clock() sets.
sub clock_node
{
	my ($name, %params) = @_;

	$clock = PostgreSQL::Test::Utils::tempdir() . '/clock';
	append_to_file($clock, pack 'qq', 0, 0);
	$ENV{SECKILL_CLOCK} = $clock;
	local $ENV{LD_PRELOAD} = preload_clock();
	return seckill_node($name, %params);
}

# LD_PRELOAD of a server that is to have this clock.
sub preload_clock
{
	my $library = compile_library('clock');

	return join ' ', grep { defined } $ENV{LD_PRELOAD}, $library;
}

# Set the clock: seconds from the real time, or stopped at a time.
sub set_clock
{
	my ($offset, $stand) = @_;

	open my $f, '+<', $clock or die "$clock: $!";
	syswrite $f, pack('qq', $offset * 1_000_000, ($stand // 0) * 1_000_000);
	close $f;
	return;
}

sub add_item
{
	my ($node, $item, $stock) = @_;
	$node->safe_psql('postgres',
		"INSERT INTO seckill.items (item_id, stock) VALUES ($item, $stock)");
	return;
}

# Write a pgbench script and return its path.
sub script_file
{
	my ($node, $text) = @_;
	my $file = $node->basedir . '/crowd.' . int(rand(1e9)) . '.sql';

	append_to_file($file, $text);
	return $file;
}

sub crowd_command
{
	my ($node, $clients, $rounds, @scripts) = @_;

	return (
		'pgbench', '-n', '-c', $clients, '-j', 2, '-M', 'prepared', @$rounds,
		'--max-tries', $max_tries, @variables,
		'-h', $node->host, '-p', $node->port,
		(map { ('-f', script_file($node, $_)) } @scripts), 'postgres');
}

# Run the scripts in this many connections at once, this many times each.
sub crowd
{
	my ($node, $clients, $times, @scripts) = @_;
	my ($out, $err) = ('', '');
	my @cmd = crowd_command($node, $clients, [ '-t', $times ], @scripts);

	ok(IPC::Run::run(\@cmd, '>', \$out, '2>', \$err), "crowd of $clients runs")
	  or diag($err);
	like($out, qr/actually processed: (\d+)\/\g1\b/, 'no client gave up');
	return;
}

# Start clients that run until their server stops; returns a function that waits
# for them and returns how many transactions were answered.
sub start_crowd
{
	my ($node, $clients, @scripts) = @_;
	my ($out, $err) = ('', '');
	my @cmd = crowd_command($node, $clients, [ '-T', 600 ], @scripts);
	my $run = IPC::Run::start(\@cmd, '>', \$out, '2>', \$err);

	return sub {
		$run->finish;
		my ($answered) = $out =~ /actually processed: (\d+)/;
		return $answered // 0;
	};
}

# Buy single units until none is left; returns how many.
sub buy_rest
{
	my ($node, $item, $mode) = @_;
	return $node->safe_psql('postgres', <<"EOC");
CREATE PROCEDURE pg_temp.rest(INOUT n integer) LANGUAGE plpgsql AS \$\$
DECLARE
	got seckill_outcome;
BEGIN
	LOOP
		SELECT outcome INTO got FROM seckill_buy($item, -1, '$mode');
		EXIT WHEN got <> 'sold';
		n := n + 1;
		COMMIT;
	END LOOP;
END
\$\$;
CALL pg_temp.rest(0);
EOC
}

# The pid of the queue worker of a database, once it has started.
sub worker_pid
{
	my ($node, $db) = @_;
	my $one = sprintf q{FROM pg_stat_activity WHERE backend_type = 'seckill queue worker' AND datname = '%s'},
	  $db // 'postgres';

	$node->poll_query_until('postgres', "SELECT count(*) = 1 $one")
	  or die 'no worker';
	return $node->safe_psql('postgres', "SELECT pid $one");
}

# Wait until a query about the activity of others is true, which may be so for moments
# only, with pauses of seconds: one session looks all the time.
sub await_moment
{
	my ($node, $query, $message) = @_;
	my $times = 100 * $PostgreSQL::Test::Utils::timeout_default;
	my (undef, undef, $error) = $node->psql('postgres', <<"EOC");
DO \$\$
BEGIN
	FOR i IN 1 .. $times LOOP
		PERFORM pg_stat_clear_snapshot();
		IF ($query) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'the moment has not come';
END
\$\$
EOC
	is($error, '', $message);
	return;
}

# Wait until the worker of a database waits for a lock with n purchases before it.
sub await_worker_lock
{
	my ($node, $n, $db) = @_;
	$db //= 'postgres';
	await_moment($node, <<"EOC", "the worker waits with $n purchases");
SELECT count(*) > 0 FROM pg_stat_activity
WHERE backend_type = 'seckill queue worker' AND datname = '$db' AND wait_event_type = 'Lock'
	AND query = 'deciding $n purchases'
EOC
	return;
}

# Wait until the queue has decided what was submitted to it.
sub await_queue
{
	my ($node, $message) = @_;
	ok($node->poll_query_until('postgres', 'SELECT backlog = 0 FROM seckill.stat_worker'), $message // 'the queue is empty');
	return;
}

# Wait until so many releases of an item are done.
sub await_releases
{
	my ($node, $item, $n, $message) = @_;
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = $n FROM seckill.releases WHERE item_id = $item AND done_at IS NOT NULL"),
		$message);
	return;
}

# The conservation law, for every item.
sub check_audit
{
	my ($node, $message, $db) = @_;
	is($node->safe_psql($db // 'postgres',
			'SELECT * FROM seckill_audit() WHERE difference <> 0'),
		'', "conservation: $message");
	return;
}

# The conservation law, and each number of an item is in exactly one place.
sub check_numbers
{
	my ($node, $message, $db) = @_;
	is($node->safe_psql($db // 'postgres', <<'EOC'), '', "$message: each number is in one place");
SELECT * FROM seckill_audit()
WHERE difference <> 0 OR missing <> 0 OR double_sold <> 0 OR NOT isempty(twice) OR NOT isempty(foreign_numbers)
EOC
	return;
}

# No leg of a seat is sold twice, and the seats are as their orders say.
sub check_seats
{
	my ($node, $message, $db) = @_;
	is($node->safe_psql($db // 'postgres',
			'SELECT * FROM seckill_audit_seats() WHERE sold_twice <> 0 OR different <> 0'),
		'', "seats: $message");
	return;
}

# With no running transaction, the cache agrees with the tables.
sub check_cache
{
	my ($node, $message, $db) = @_;
	is($node->safe_psql($db // 'postgres', <<'EOC'), '', "cache: $message");
SELECT a.item_id, a.unsold, s.cached, s.held
FROM seckill_audit() a JOIN seckill.stock s USING (item_id)
WHERE s.held <> 0 OR s.cached <> a.unsold
EOC
	return;
}

1;
