#!/usr/bin/perl
# Check the layers of src/, which docs/design.md ("Source") describes.  Prints each
# violation and fails if there is one:
#
# - a file includes headers of its own layer and of those below it only, and
#   the modules (a .c with its .h) include each other without a circle;
# - a header *_private.h is included by .c files of its own folder only;
# - words that belong to a layer (SPI, locks, SQL text ...) are used only there;
# - no file is longer than 600 lines;
# - each name with external linkage is used by another file;
# - a file of model/ includes only headers of files further down in the list in
#   the head of model/lease_model.c; one of model/split/, in that of
#   model/split/split_model.c, where the files of model/ stand last.
#
# An argument names another source tree to check.

use strict;
use warnings;
use File::Basename;
use File::Find;

chdir($ARGV[0] // dirname($0) . '/..') or die "cannot enter the source tree: $!\n";

# Layers, the lowest first.
my @layers = qw(base shmem xact table sale worker scenario api);

my $max_lines = 600;

# Words, and the paths below which alone they may stand.
my @words = (
	[ qr/\bSPI_/, 'src/table/' ],
	[
		qr/\b(?:LWLock(?:Acquire|Release|ConditionalAcquire|Initialize)|GetNamedLWLockTranche)\b/,
		'src/shmem/', 'src/base/shmem.c'
	],
	[ qr/\b(?:SpinLock(?:Init|Acquire|Release)|slock_t)\b/, 'src/shmem/', 'src/base/fault.c' ],
	[ qr/\bpg_atomic_/, 'src/shmem/', 'src/base/futex.h' ],
	[ qr/\b(?:LockAcquire|LockRelease|XactLockTableWait|SET_LOCKTAG_[A-Z]+)\b/, 'src/xact/' ],
	[
		qr/\b(?:(?:Unl|L)ockRelationOid|table_open|index_open)\b/,
		'src/table/relation.c', 'src/worker/launcher.c'
	],
	[ qr/\bindex_beginscan\b/, 'src/base/compat.h' ],
	[ qr/\bPG_FUNCTION_INFO_V1\b/, 'src/api/', 'src/base/fault.c' ],
	[
		qr/\b(?:PG_TRY|pqsignal|StartTransactionCommand|CommitTransactionCommand|AbortCurrentTransaction)\b/,
		'src/worker/', 'src/xact/attempt.c'
	],
	[ qr/\bRegister(?:Sub)?XactCallback\b/, 'src/callbacks.c' ]);

my $failed = 0;

sub violation
{
	print STDERR @_, "\n";
	$failed = 1;
	return;
}

# The sources by their paths: lines as they are, and code without comments.
my (%lines, %code);

sub read_file
{
	my ($file) = @_;

	open my $handle, '<', $file or die "cannot read $file: $!\n";
	$lines{$file} = [<$handle>];
	close $handle;
	$code{$file} = join('', @{ $lines{$file} }) =~ s{/\*.*?\*/}{}gsr;
	return;
}

# Headers of ours that a file includes, as paths.
sub includes
{
	my ($file) = @_;
	return grep { exists $lines{$_} }
	  map { /^#include "([^"]*)"/ ? "src/$1" : () } @{ $lines{$file} };
}

# The layer of a path as a number; 0 is also what all layers share, and the
# highest what stands above them.
sub rank
{
	my ($path) = @_;

	return 0 if $path eq 'src/seckill.h';
	foreach my $i (0 .. $#layers)
	{
		return $i if $path =~ m{^src/$layers[$i]/};
	}
	return scalar @layers;
}

# worker stands beside scenario and api: they do not include it.
sub may_include
{
	my ($from, $to) = @_;

	return 0 if $from =~ m{^src/(?:api|scenario)/} && $to =~ m{^src/worker/};
	return rank($to) <= rank($from);
}

sub check_includes
{
	my %edges;

	foreach my $from (sort keys %lines)
	{
		foreach my $to (includes($from))
		{
			violation("$from: includes $to, of a layer that it may not use")
			  unless may_include($from, $to);
			violation("$from: includes $to, which is private")
			  if $to =~ /_private\.h$/ && (dirname($from) ne dirname($to) || $from !~ /\.c$/);
			my ($module, $other) = map { s/\.[ch]$//r } $from, $to;
			$edges{"$module $other"} = 1 if $module ne $other;
		}
	}
	my @circle = circle(keys %edges);
	violation("modules include each other in a circle: @circle") if @circle;
	return;
}

# The modules that are left when those that include no other, and those that no
# other includes, are taken away until there are no more such.  None: the edges
# have no circle.
sub circle
{
	my @edges = @_;

	for (;;)
	{
		my (%from, %to);
		foreach (@edges)
		{
			my ($a, $b) = split;
			$from{$a} = $to{$b} = 1;
		}
		my @left = grep { my ($a, $b) = split; $to{$a} && $from{$b} } @edges;
		return sort keys %from if @left == @edges;
		@edges = @left;
	}
}

sub check_words
{
	foreach my $file (sort keys %code)
	{
		foreach (@words)
		{
			my ($word, @places) = @$_;
			next if grep { index($file, $_) == 0 } @places;
			violation("$file: uses $1, which belongs to @places")
			  if $code{$file} =~ /($word\w*)/;
		}
	}
	return;
}

# SQL text that names our tables; messages to people may name them anywhere.
sub check_statements
{
	foreach my $file (grep { !m{^src/table/} } sort keys %code)
	{
		violation("$file: has a statement on our tables, which belongs to src/table/")
		  if grep { !/err(?:msg|detail|hint)/ && /"[^"]*\b(?:FROM|INTO|UPDATE|JOIN) +(?:ONLY +)?seckill\./ }
		  split /\n/, $code{$file};
	}
	return;
}

sub check_length
{
	foreach my $file (sort keys %lines)
	{
		my $length = @{ $lines{$file} };
		violation("$file: $length lines, more than $max_lines") if $length > $max_lines;
	}
	return;
}

# Functions that headers declare; a function that no header declares must be
# static, which the compiler checks (-Wmissing-prototypes).  Those of fault
# points are called by macros.
sub check_linkage
{
	my %users;

	foreach my $file (keys %code)
	{
		$users{$_}{ $file =~ s/\.[ch]$//r } = 1 foreach $code{$file} =~ /\b(seckill_\w+)/g;
	}
	foreach my $header (grep { /\.h$/ && $_ ne 'src/base/fault.h' } sort keys %code)
	{
		foreach my $name ($code{$header} =~ /\bextern\b[^;(]*\b(seckill_\w+)\(/g)
		{
			violation("$header: $name is used by no other file")
			  if keys %{ $users{$name} // {} } < 2;
		}
	}
	return;
}

# The list is in the head of the file with main(); types is the one header that
# may include those of the extension.
sub check_model
{
	my ($main, $types) = @_;
	my $folder = dirname($main);
	my ($head) = join('', @{ $lines{$main} }) =~ m{\A(.*?)\*/}s;
	my %place;

	$place{$_} //= keys %place foreach $head =~ m{^ \* ((?:\.\./)?[a-z_]+)\.[ch]\t}mg;
	foreach my $file (grep { dirname($_) eq $folder } sort keys %lines)
	{
		my $module = basename($file) =~ s/\.[ch]$//r;

		violation("$file: is not in the list of $main")
		  unless exists $place{$module};
		foreach (map { /^#include "([^"]*)"/ ? $1 : () } @{ $lines{$file} })
		{
			if (m{/src/shmem/(?:counters|numbers)\.h$})
			{
				violation("$file: includes $_, which is for $types")
				  if $file ne $types;
				next;
			}
			my $other = s/\.h$//r;
			violation("$file: includes $_, which is not further down in the list of $main")
			  if $other ne $module && ($place{$other} // -1) <= ($place{$module} // -1);
		}
	}
	return;
}

find({ no_chdir => 1, wanted => sub { read_file($_) if /\.[ch]$/ } }, 'src');
read_file('seckill.c');
check_includes();
check_words();
check_statements();
check_length();
check_linkage();
%lines = %code = ();
find({ no_chdir => 1, wanted => sub { read_file($_) if /\.[ch]$/ } }, 'model');
check_model('model/lease_model.c', 'model/model.h');
check_model('model/split/split_model.c', 'model/split/split.h');
print "layers: ok\n" unless $failed;
exit $failed;
