# A move fails at each of its statements, on either node: with an error, with the end of
# the session, and with a crash of the server, also between a commit and its answer.  One node sells the item then, every order
# and request is there once, limits and payments hold, and nobody is stuck.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ClusterTest;
use MoveFaults;
use Test::More;

needs_contrib('dblink');

my ($one, $two) = faulty_nodes();
my %case = (act => sub { return move_sale($_[0]) ? 2 : undef });

foreach my $node ($two, $one)
{
	my $name = $node == $one ? 'source' : 'destination';
	my @steps = steps_passed($node, $name, %case);

	cmp_ok(scalar @steps, '>', 20, "${\scalar @steps} steps on the $name");
	sweep($node, $name, $_, [ some(@steps) ], %case) foreach qw(fatal kill);
	# the commit is done, and its answer is lost
	sweep_passes($node, $name, 'transaction has ended', %case);
}
no_open_moves('at the end');
$_->stop foreach $one, $two;
done_testing();
