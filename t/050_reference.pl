# docs/reference.md has every function, setting, label, table and column of the
# extension, and no other: it is compared with the catalogs in both directions.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my $reference = slurp_file("$top/docs/reference.md");

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'seckill'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION seckill');

sub rows
{
	return map { [ split /\t/, $_, -1 ] }
	  split(/\n/,
		$node->safe_psql('postgres', $_[0], extra_params => [ '-F', "\t" ]));
}

# A condition on the OID of an object: it belongs to the extension.
sub is_member
{
	my ($oid, $catalog) = @_;

	return "EXISTS (SELECT FROM pg_depend d JOIN pg_extension x
			ON d.refobjid = x.oid AND d.refclassid = 'pg_extension'::regclass
		WHERE x.extname = 'seckill' AND d.deptype = 'e'
		AND d.classid = '$catalog'::regclass AND d.objid = $oid)";
}

# The text below a heading, up to the next heading of the same or a higher level.
sub section
{
	my ($heading) = @_;
	my ($level) = $heading =~ /^(#+)/;
	my $depth = length $level;
	my ($text) =
	  $reference =~ /^\Q$heading\E\n(.*?)(?=^#{1,$depth} |\z)/ms;

	return $text // '';
}

# The cells of each row of the tables in a text, but for heads.
sub cells
{
	return map { [ map { s/^ +| +$//gr } split /\|/, s/^\|//r ] }
	  grep { /^\| `/ } split /\n/, $_[0];
}

sub first_words
{
	return [ sort map { $_->[0] =~ s/`//gr } cells($_[0]) ];
}

# Functions, their arguments and, of those that return rows, the columns.  The
# tables have the OUT arguments in the second cell.
my %documented = map { $_->[0] =~ s/`//gr => $_->[1] } cells(section('## Functions'));
my @functions;
foreach my $row (
	rows("SELECT p.proname, pg_get_function_arguments(p.oid),
			p.prorettype::regtype, coalesce(array_to_string(
				(SELECT array_agg(a.name ORDER BY a.n)
				FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY a (name, mode, n)
				WHERE a.mode = 'o'), ' '), '')
		FROM pg_proc p WHERE " . is_member('p.oid', 'pg_proc')))
{
	my ($name, $arguments, $result, $columns) = @$row;

	$arguments =~ s/::[a-z_]+(?: [a-z]+)*(?:\[\])?//g;    # casts of defaults
	$arguments =~ s/(?:, )?\bOUT .*//;

	my $function = "$name($arguments)";
	my $cell = $documented{$function} // '';

	push @functions, $function;
	if ($name =~ /^seckill_stat_(items|worker)$/)
	{
		like($cell, qr/`seckill\.stat_$1`/, "result of $name");
	}
	else
	{
		is(join(' ', $cell =~ /`(\w+(?:\[\])?)`/g), $columns || $result,
			"result of $name");
	}
}
is_deeply([ sort keys %documented ], [ sort @functions ], 'functions');

# Settings.  Keys are not listed by the server.
my %settings = map { $_->[0] =~ s/`//gr => $_ } cells(section('## Settings'));
my %when = (
	user => 'anyone',
	superuser => 'superuser',
	sighup => 'reload',
	postmaster => 'restart');
my %seconds = (ms => 0.001, s => 1, min => 60);
my @names;

foreach my $row (
	rows("SELECT name, boot_val, coalesce(unit, ''), context FROM pg_settings
		WHERE name LIKE 'seckill.%' UNION ALL
		VALUES ('seckill.token_key', 'none', '', 'sighup'),
			('seckill.token_old_key', 'none', '', 'sighup')"))
{
	my ($name, $default, $unit, $context) = @$row;
	my (undef, $shown, $who) = @{ $settings{$name} // [ '', '', '' ] };

	push @names, $name;
	if ($unit ne '')
	{
		my ($number, $word) = $shown =~ /^([\d.]+) (\w+)$/;
		is(($number // -1) * ($seconds{ $word // '' } // 0),
			$default * $seconds{$unit}, "default of $name");
	}
	else
	{
		is($shown =~ s/`//gr, $default, "default of $name");
	}
	like($who, qr/^$when{$context}\b/, "who can set $name, and when");
}
is_deeply([ sort keys %settings ], [ sort @names ], 'settings');

# Labels of enums
my %heading = (
	seckill_outcome => '## Outcomes',
	seckill_redeem_outcome => '## Redeem outcomes',
	seckill_mode => '## Modes',
	seckill_order_state => '## Order states');

foreach my $row (
	rows("SELECT t.typname, string_agg(e.enumlabel, ' ' ORDER BY e.enumlabel COLLATE \"C\")
		FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
		WHERE " . is_member('t.oid', 'pg_type') . " GROUP BY 1"))
{
	my ($type, $labels) = @$row;

	is("@{ first_words(section($heading{$type} // '# none')) }",
		$labels, "labels of $type");
}

# Tables and views with their columns and types
my @relations;
foreach my $row (
	rows("SELECT c.relname, string_agg(concat(a.attname, ' ', replace(
			format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), a.atttypmod),
			'timestamp with time zone', 'timestamptz')), ', ' ORDER BY a.attnum)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
		WHERE " . is_member('c.oid', 'pg_class') . "
		AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
		GROUP BY 1"))
{
	my ($name, $columns) = @$row;
	my $text = section("### `seckill.$name`");

	push @relations, $name;
	is( join(', ', sort map { "$_->[0] $_->[1]" =~ s/`//gr } cells($text)),
		join(', ', sort split /, /, $columns),
		"columns of $name");
}
is_deeply([ sort $reference =~ /^### `seckill\.(\w+)`$/mg ],
	[ sort @relations ], 'tables and views');

# Errors that the sources raise
my %codes;
my $header = qx("$ENV{PG_CONFIG}" --includedir-server);
chomp $header;
foreach my $line (split /\n/, slurp_file("$header/utils/errcodes.h"))
{
	my ($name, $code) =
	  $line =~ /^#define (ERRCODE_\w+) MAKE_SQLSTATE\((.*)\)/ or next;
	$codes{$name} = $code =~ s/[^0-9A-Z]//gr;
}
my $sources = join "\n", map { slurp_file($_) } glob("$top/src/*/*.[ch] $top/src/*.[ch]");
my %raised = map { $_ => 1 } grep { defined } map { $codes{$_} }
  $sources =~ /\b(ERRCODE_\w+)/g;
$raised{"SK00$_"} = 1
  foreach $sources =~ /MAKE_SQLSTATE\('S', ?'K', ?'0', ?'0', ?'(\d)'\)/g;
my %listed = map { $_ => 1 } map { /\b[0-9A-Z]{5}\b/g }
  map { /^\| ([0-9A-Z, ]+) \|/ } split /\n/, section('## Errors');

cmp_ok(scalar(keys %raised), '>', 20, 'the sources raise errors');
ok($listed{$_}, "SQLSTATE $_ is listed") foreach sort keys %raised;

$node->stop;
done_testing();
