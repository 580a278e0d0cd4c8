# The library exports only symbols with a prefix of its own, which cannot collide
# with those of another library in the same process.  (Since PostgreSQL 16
# extensions are built with hidden visibility.)

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my ($libdir, $err) = run_command([ 'pg_config', '--pkglibdir' ]);
my ($names, $missing) = run_command([ 'nm', '-D', '--defined-only', "$libdir/seckill.so" ]);
is($missing, '', 'nm reads the library');

# each line is: address, type, name; linkers and sanitizers have names with __
my @exported = sort grep { !/^(__|_edata$|_end$|_init$|_fini$)/ }
  map { (split)[2] } split /\n/, $names;

my $script = slurp_file("$FindBin::RealBin/../seckill--1.0.sql");
my @functions = $script =~ /^CREATE FUNCTION \@extschema\@\.(\w+)\((?:(?!^CREATE|;\n).)*AS 'MODULE_PATHNAME'/msg;
cmp_ok(scalar @functions, '>=', 17, 'the script has functions in C');

my @wanted = sort '_PG_init', 'Pg_magic_func',
  'seckill_queue_worker_main', 'seckill_launcher_main', 'seckill_maintenance_main',
  map { ($_, "pg_finfo_$_") } @functions;
my %is_exported = map { ($_ => 1) } @exported;
is(join("\n", grep { !$is_exported{$_} } @wanted), '', 'functions of SQL and mains of processes are exported');
is(join("\n", grep { !/^(_PG_init|Pg_magic_func|(pg_finfo_)?seckill_\w+)$/ } @exported),
	'', 'no other symbol is exported');

done_testing();
