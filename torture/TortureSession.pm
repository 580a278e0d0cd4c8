# One session in the wire protocol: a single process keeps a hundred of them busy,
# and its log of answers is outside of the server.
package TortureSession;

use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use Time::HiRes 'time';

# A session that is being opened; idle when the server has greeted it.  undef
# if nobody listens.
sub open
{
	my ($class, $node) = @_;
	my $socket = IO::Socket::UNIX->new(
		Peer => $node->host . '/.s.PGSQL.' . $node->port) or return;
	my $params = join("\0", user => $ENV{PGUSER} || scalar(getpwuid($<)), database => 'postgres', '', '');
	my $self = bless {
		socket => $socket, buffer => '', pid => undef, busy => 1,
		rows => [], answers => [], error => undef, message => undef, lost => 0,
	}, $class;

	$self->_write(pack('NN', length($params) + 8, 196608) . $params);
	return $self;
}

sub _write
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';

	# a server that is gone shows when it is read from
	syswrite($self->{socket}, $bytes) unless $self->{lost};
	return;
}

# Send a query; its answer is there when busy is not.
sub query
{
	my ($self, $sql) = @_;

	$self->_start;
	$self->_write('Q' . pack('N', length($sql) + 5) . $sql . "\0");
	return;
}

# Send statements in the extended protocol with one Sync after the last.  An array
# is a statement with a limit of rows.
sub pipeline
{
	my ($self, @statements) = @_;
	my $bytes = '';

	$self->_start;
	foreach my $statement (@statements)
	{
		my ($sql, $limit) = ref $statement ? @$statement : ($statement, 0);

		$bytes .= 'P' . pack('N', length($sql) + 8) . "\0$sql\0" . pack('n', 0)
		  . 'B' . pack('N', 12) . "\0\0" . pack('nnn', 0, 0, 0)
		  . 'E' . pack('N', 9) . "\0" . pack('N', $limit);
	}
	$self->_write($bytes . 'S' . pack('N', 4));
	return;
}

sub _start
{
	my ($self) = @_;

	@$self{qw(busy rows answers error message since)} = (1, [], [], undef, undef, time);
	return;
}

# Read what the server has sent.  Sets lost when the session has ended: its last
# query has no answer then.
sub receive
{
	my ($self) = @_;
	my $n = sysread($self->{socket}, $self->{buffer}, 1 << 20, length($self->{buffer}));

	if (!$n)
	{
		$self->{lost} = 1;
		close($self->{socket});
		return;
	}
	while (length($self->{buffer}) >= 5)
	{
		my ($type, $length) = unpack('aN', $self->{buffer});

		last if length($self->{buffer}) < $length + 1;
		$self->_message($type, substr($self->{buffer}, 5, $length - 4));
		substr($self->{buffer}, 0, $length + 1, '');
	}
	return;
}

sub _message
{
	my ($self, $type, $body) = @_;

	if ($type eq 'D')
	{
		my $count = unpack('n', $body);
		my ($at, @row) = (2);

		for (1 .. $count)
		{
			my $length = unpack('l>', substr($body, $at, 4));

			$at += 4;
			push @row, $length < 0 ? undef : substr($body, $at, $length);
			$at += $length if $length > 0;
		}
		push @{ $self->{rows} }, \@row;
	}
	elsif ($type =~ /[Cs]/)
	{
		# the rows of one statement of several: it has ended, or has reached its limit
		my $before = 0;

		$before += @$_ foreach @{ $self->{answers} };
		push @{ $self->{answers} }, [ @{ $self->{rows} }[ $before .. $#{ $self->{rows} } ] ];
	}
	elsif ($type eq 'E')
	{
		my %field = map { (substr($_, 0, 1), substr($_, 1)) } grep { length } split(/\0/, $body);

		# an error that comes after the answer is the end of the session
		@$self{qw(error message)} = @field{qw(C M)} if $self->{busy};
	}
	elsif ($type eq 'K')
	{
		$self->{pid} = unpack('N', $body);
	}
	elsif ($type eq 'Z')
	{
		$self->{busy} = 0;
	}
	return;
}

# Wait for the answer; false if it does not come.
sub wait
{
	my ($self, $timeout) = @_;
	my $select = IO::Select->new($self->{socket});
	my $end = time + $timeout;

	while ($self->{busy} && !$self->{lost})
	{
		my $left = $end - time;

		return 0 if $left < 0;
		$self->receive if $select->can_read($left);
	}
	return !$self->{lost};
}

# The first row of a complete answer: an error after a row voids it.
sub row
{
	my ($self) = @_;
	return $self->{lost} || $self->{error} ? () : @{ $self->{rows}[0] // [] };
}

# Send a query and wait; returns the rows, or dies.
sub ask
{
	my ($self, $sql, $timeout) = @_;

	$self->query($sql);
	$self->wait($timeout // 60) or die "no answer to: $sql\n";
	die "$self->{error} $self->{message}: $sql\n" if $self->{error};
	return $self->{rows};
}

# The first column of the first row.
sub value
{
	my ($self, $sql, $timeout) = @_;
	return $self->ask($sql, $timeout)->[0][0];
}

1;
