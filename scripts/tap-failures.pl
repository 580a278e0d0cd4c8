#!/usr/bin/perl
# Print what has failed in TAP tests, from their logs in tmp_check/log: each failed
# test with its diagnostics, and the end of a file that was not finished.  Short, as
# it is for the end of an output that may be cut before it.  Arguments are the
# files that have failed.
use strict;
use warnings;

my $max_lines = 150;
my $max_length = 300;
my $lines_of_test = 14;
my $lines_of_end = 12;

# The lines of a file's log, without the times.
sub read_log
{
	my ($name) = @_;

	open(my $log, '<', "tmp_check/log/regress_log_$name") or return ();
	return map { chomp; s/^\[[\d:.]+\]\([\d.]+s\) ?//r } <$log>;
}

# The failed tests: "not ok" and the comments that follow.
sub failed_tests
{
	my (@log) = @_;
	my @found;
	my $left = 0;

	foreach my $line (@log)
	{
		$left = $lines_of_test if $line =~ /^not ok/ && $line !~ /# TODO/;
		$left = 0 if $line !~ /^(not ok|#|\s*$)/ || $line =~ /^# Running:/;
		push @found, $line if $left-- > 0 && $line =~ /\S/;
	}
	return @found;
}

# The end of a log without the plan that ends it.
sub early_end
{
	my (@log) = @_;

	return if grep { /^1\.\.\d/ } @log;

	# servers that are stopped at the end
	@log = grep { !/^(###|# (Running|No postmaster|Postmaster PID)|waiting for server|server st)/ } @log;
	my $first = @log > $lines_of_end ? @log - $lines_of_end : 0;
	return ('It ended early:', @log[ $first .. $#log ]);
}

my $share = @ARGV ? int($max_lines / @ARGV) - 1 : 0;
foreach my $file (@ARGV)
{
	my ($name) = $file =~ m{([^/]+)\.pl$} or next;
	my @log = read_log($name);
	my @end = early_end(@log);
	my @lines = failed_tests(@log);
	my $room = $share > @end ? $share - @end : 0;

	@lines = (@lines[ 0 .. $room - 1 ], '...') if @lines > $room;
	print map { substr($_, 0, $max_length) . "\n" } "--- $file", @lines, @end;
}
