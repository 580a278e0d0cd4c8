# The library exports what the server finds in it by name, and nothing else: a
# name of ours can meet no name of another library in the same process.

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
  'seckill_worker_main', 'seckill_launcher_main', 'seckill_keeper_main',
  map { ($_, "pg_finfo_$_") } @functions;
is(join("\n", @exported), join("\n", @wanted), 'functions of SQL and mains of processes');

done_testing();
