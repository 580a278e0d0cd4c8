# Units with numbers in a crowd: 200 sessions buy 1000 numbers in all modes, roll
# back and cancel, while backends and the server are killed and a standby is
# promoted.  The log of the codes that were told is outside of the server: no code
# is told to two buyers, and each number is in one place.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../torture";
use IO::Select;
use PostgreSQL::Test::Utils;
use SeckillTest;
use Test::More;
use Time::HiRes qw(time sleep);
use TortureSession;

my $clients = 200;
my $numbers = 1000;
my @modes = qw(optimistic retry pessimistic advisory cache auto);
my $patience = $PostgreSQL::Test::Utils::timeout_default;
my $node = seckill_node(
	'numbers',
	streaming => 1,
	conf => <<'EOC');
restart_after_crash = on
log_min_error_statement = panic
deadlock_timeout = 100ms
seckill.lease_units = 30
seckill.hot_rate = 20
EOC

my $seed = $ENV{SEED} || int(rand(2**31));
srand($seed);
diag("SEED=$seed");

my ($item, @sessions, %told, %order, %cancelled, @unknown, %errors, $sold, $next_user);

sub sql
{
	my ($text) = @_;
	return $node->safe_psql('postgres', $text);
}

# Two numbers of three have a code.
sub new_item
{
	my ($columns) = @_;

	$item++;
	sql("INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($item, $numbers, true);
		INSERT INTO seckill.units (item_id, unit, code, amount)
		SELECT $item, n, CASE WHEN n % 3 > 0 THEN 'code-' || n END, n FROM generate_series(1, $numbers) n");
	sql("UPDATE seckill.items SET $columns WHERE item_id = $item") if $columns;
	(%told, %order, %cancelled, @unknown) = ();
	$sold = 0;
	return;
}

sub open_sessions
{
	my $end = time + $patience;

	@sessions = grep { !$_->{lost} } @sessions;
	while (@sessions < $clients)
	{
		my $session = TortureSession->open($node);

		die "the server does not answer\n" if time > $end;
		push @sessions, $session if $session && $session->wait($patience) && !$session->{error};
		sleep 0.02 unless $session;
	}
	return;
}

sub close_sessions
{
	close $_->{socket} foreach grep { !$_->{lost} } @sessions;
	@sessions = ();
	return;
}

# A purchase is told: its order and number, and its code if there is one.
sub told
{
	my ($order, $unit, $code) = @_;

	is($unit, $order{$order}, "order $order tells its number again") if $order{$order} && $order{$order} != $unit;
	$order{$order} = $unit;
	$sold++;
	return unless defined $code;
	fail("code $code was told to orders $told{$code} and $order") if ($told{$code} // $order) != $order;
	$told{$code} = $order;
	return;
}

# The rows of claims in the last statement that has some.
sub claimed
{
	my ($session, $request) = @_;

	return push @unknown, grep { defined } $request if $session->{lost};
	return if $session->{error};
	told(@$_[ 1 .. 3 ]) foreach grep { $_->[0] eq 'sold' } map { @$_ } (grep { @$_ } @{ $session->{answers} })[-1];
	return;
}

sub claim
{
	my ($mode, $user, $request) = @_;
	$request = defined $request ? "'$request'" : 'NULL';
	return "SELECT outcome, order_id, unit, code FROM seckill_claim($item, $user, '$mode', $request)";
}

sub request
{
	return sprintf('%08x-0000-4000-8000-%012x', $item, $_[0]);
}

# The next thing that a client does: statements, and a function for the answer.
sub next_action
{
	my $user = ++$next_user;
	my ($mode, $other) = map { $modes[ rand @modes ] } 1, 2;
	my $dice = rand();
	my $many = "SELECT outcome, order_id, unit, code FROM seckill_claim_many($item, '{$user,$user,$user}', '$mode')";

	return [ claim($mode, $user, request($user)), sub { claimed($_[0], request($user)) } ] if $dice < 0.2;
	return [ claim('queue', $user, request($user)), sub { claimed($_[0], request($user)) } ] if $dice < 0.3;
	return [ $many, \&claimed ] if $dice < 0.4;
	return [ 'BEGIN; ' . claim($mode, $user) . '; ROLLBACK', sub { } ] if $dice < 0.55;
	return [ "BEGIN; $many; ROLLBACK", sub { } ] if $dice < 0.65;
	return [ 'BEGIN; SAVEPOINT a; ' . claim($mode, $user) . '; ROLLBACK TO a; ' . claim($other, $user) . '; COMMIT', \&claimed ]
	  if $dice < 0.75;
	return [ "BEGIN; SAVEPOINT a; $many; SAVEPOINT b; " . claim($mode, $user) . '; RELEASE b; ROLLBACK TO a; COMMIT', sub { } ]
	  if $dice < 0.8;
	return [ "BEGIN; SELECT seckill_prewarm($item, 5); SAVEPOINT a; $many; ROLLBACK TO a; " . claim('cache', $user) . '; COMMIT', \&claimed ]
	  if $dice < 0.85;
	return [ "SELECT seckill_recall($item)", sub { } ] if $dice < 0.87;

	my @orders = grep { !$cancelled{$_} } keys %order;
	return [ claim($mode, $user), \&claimed ] unless @orders;
	my $order = $orders[ rand @orders ];
	$cancelled{$order} = 'perhaps';
	return [ "SELECT seckill_cancel($item, $order, true)",
		sub { $cancelled{$order} = 'yes' unless $_[0]{lost} || $_[0]{error} } ];
}

my ($sold_out, $answered) = (0, 0);

# Let the clients work until so many purchases were told, or the sale is over.
sub work
{
	my ($until) = @_;
	my $answers = 0;
	my $end;

	while ($sold < $until)
	{
		foreach my $session (grep { !$_->{busy} && !$_->{lost} } @sessions)
		{
			my ($text, $done) = $session->{error} && !$session->{cleared} ? ('ROLLBACK', sub { }) : @{ next_action() };

			$session->{cleared} = $text eq 'ROLLBACK';
			$session->{done} = $done;
			$session->query($text);
		}
		receive() or last;
		last if sql_sold_out();
		# as long as answers come it goes on
		$end = time + $patience if $answered != $answers || !$end;
		$answers = $answered;
		die "the sale is stuck\n" if time > $end;
	}
	return;
}

sub sql_sold_out { return $sold_out > 2000 }

# Read the answers that have arrived; false if all sessions are lost.
sub receive
{
	my @alive = grep { !$_->{lost} } @sessions or return 0;
	my %of = map { ($_->{socket} => $_) } @alive;

	foreach my $socket (IO::Select->new(map { $_->{socket} } @alive)->can_read(0.02))
	{
		my $session = $of{$socket};

		$session->receive;
		next if $session->{busy} && !$session->{lost};
		my $done = delete $session->{done} or next;
		$answered++;
		$errors{"$session->{error} $session->{message}"}++ if $session->{error};
		$sold_out++ if grep { ($_->[0] // '') eq 'sold_out' } @{ $session->{rows} };
		$done->($session);
	}
	return 1;
}

sub finish
{
	my $end = time + $patience;

	while (grep { $_->{busy} && !$_->{lost} } @sessions)
	{
		receive();
		die "sessions are stuck\n" if time > $end;
	}
	return;
}

# Requests without an answer: their orders are the answer, if there are any.
sub ask_again
{
	my $control = TortureSession->open($node);
	my @open = splice @unknown;

	$control->wait($patience);
	foreach my $request (@open)
	{
		my ($user) = map { hex } $request =~ /(\w+)$/;

		$control->query(claim('cache', $user, $request));
		ok(0, 'no answer') unless $control->wait($patience);
		$control->{answers} = [ $control->{rows} ];
		claimed($control);
	}
	return scalar @open;
}

# All laws, with nobody at work.
sub check
{
	my ($what) = @_;
	my %row;

	ok( $node->poll_query_until('postgres', 'SELECT coalesce(sum(held), 0) = 0 FROM seckill.stock'),
		"$what: nothing is on hold");
	check_numbers($node, $what);
	check_cache($node, $what);
	foreach (split /\n/, sql("SELECT order_id, coalesce(unit, 0), state FROM seckill.orders WHERE item_id = $item"))
	{
		my ($order, $unit, $state) = split /\|/;

		$row{$order} = [ $unit, $state ];
	}
	my @wrong = grep {
		my ($unit, $state) = @{ $row{$_} // [ 0, 'gone' ] };

		$state eq 'confirmed' ? $unit != $order{$_} || ($cancelled{$_} // '') eq 'yes'
		  : $state ne 'cancelled' || !$cancelled{$_} || $unit != ($order{$_} % 3 > 0 ? $order{$_} : 0)
	} sort keys %order;
	is(join("\n", map { "$_: $order{$_} " . join(' ', @{ $row{$_} // [] }) } @wrong), '',
		"$what: each order that was told is there, with its number");
	is(join("\n", grep { /^(XX|0|42|22|23|55000)/ } map { "$_ ($errors{$_} times)" } sort keys %errors), '',
		"$what: no error that should not be");
	return;
}

# Buy what is left, in one list.
sub sell_rest
{
	my ($what) = @_;
	my $left = sql("SELECT stock + unsold FROM seckill_audit($item)");
	my $got = sql("SELECT count(*) FILTER (WHERE outcome = 'sold') FROM seckill_claim_many($item, ARRAY(SELECT 0 FROM generate_series(1, $left + 5)), 'cache')");

	is($got, $left, "$what: the numbers that are left can be bought");
	is(sql("SELECT sold + burnt, stock, unsold FROM seckill_audit($item)"), "$numbers|0|0", "$what: all are sold");
	return;
}

#
# A sale from the first number to the last
#

new_item();
open_sessions();
work($numbers * 2);
finish();
check('a sale');
sell_rest('a sale');
check('after a sale');
cmp_ok(scalar(keys %told), '>', 100, 'codes were told');

#
# Backends are killed, and the server is stopped at once
#

new_item();
$sold_out = 0;
foreach my $part (1 .. 6)
{
	open_sessions();
	work($part * 100);
	if ($part % 3)
	{
		my @busy = grep { $_->{busy} && !$_->{lost} } @sessions;

		kill 'KILL', (@busy ? $busy[ rand @busy ] : $sessions[0])->{pid};
	}
	else
	{
		$node->stop('immediate');
	}
	my $end = time + $patience;
	receive() while (grep { !$_->{lost} } @sessions) && time < $end;
	@sessions = ();
	$node->start if $part % 3 == 0;
	ok($node->poll_query_until('postgres', 'SELECT true'), "crash $part: the server is there again");
	diag(sprintf 'crash %d: %d told, %d unknown', $part, scalar(keys %order), ask_again());
	check("crash $part");
}
sell_rest('crashes');

#
# A standby is promoted: the answers were on its disk, too
#

my $standby = seckill_standby($node, 'promoted');
$node->append_conf('postgresql.conf', q{synchronous_standby_names = '*'});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}), 'the standby follows');
new_item();
$sold_out = 0;
open_sessions();
work(300);
$node->stop('immediate');
my $end = time + $patience;
receive() while (grep { !$_->{lost} } @sessions) && time < $end;
@sessions = ();
$standby->promote;
$node = $standby;
$node->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
$node->reload;
like(sql("SELECT unsold > 0 FROM seckill_audit($item)"), qr/^[tf]$/, 'the standby has the sale');
ask_again();
check('promotion');
open_sessions();
work(600);
finish();
close_sessions();
check('after the promotion');
sell_rest('promotion');
check('in the end');
$node->stop;
done_testing();
