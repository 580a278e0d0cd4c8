# scripts/check-layers.pl: the tree passes, and each rule detects a violation.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my $check = "$top/scripts/check-layers.pl";

sub check
{
	my ($tree) = @_;
	my ($out, $err);
	my $ok = run_log([ $check, $tree ], '>', \$out, '2>', \$err);
	return ($ok, $err);
}

# A copy of the sources, with a change made to it.
sub plant
{
	my ($name, $change, $expected) = @_;
	my $tree = PostgreSQL::Test::Utils::tempdir();

	system('cp', '-r', "$top/seckill.c", "$top/src", "$top/model", $tree) == 0 or die;
	$change->($tree);
	my ($ok, $err) = check($tree);
	ok(!$ok, "$name is noticed");
	like($err, $expected, "$name is named");
	return;
}

sub append
{
	my ($file, $text) = @_;
	return sub { append_to_file("$_[0]/$file", $text) };
}

my ($ok, $err) = check($top);
ok($ok, 'the tree has its layers') or diag($err);

plant(
	'an upward include',
	append('src/table/orders.c', qq{#include "sale/limits.h"\n}),
	qr{src/table/orders\.c: includes src/sale/limits\.h});
plant(
	'an include between neighbours',
	append('src/api/buy.c', qq{#include "worker/process.h"\n}),
	qr{src/api/buy\.c: includes src/worker/process\.h});
plant(
	'an include of a private header',
	append('src/xact/hold.c', qq{#include "shmem/cache_private.h"\n}),
	qr{src/xact/hold\.c: includes src/shmem/cache_private\.h, which is private});
plant(
	'a private header in a public one',
	append('src/shmem/ring.h', qq{#include "shmem/ring_private.h"\n}),
	qr{src/shmem/ring\.h: includes src/shmem/ring_private\.h, which is private});
plant(
	'a circle',
	append('src/sale/rules.h', qq{#include "sale/modes.h"\n#include "sale/decide.h"\n}),
	qr{in a circle});

foreach my $word (
	[ 'SPI', 'src/sale/modes.c', 'SPI_connect();' ],
	[ 'an LWLock', 'src/sale/modes.c', 'LWLockAcquire(lock, LW_SHARED);' ],
	[ 'a spinlock', 'src/xact/hold.c', 'SpinLockAcquire(&lock);' ],
	[ 'an atomic', 'src/api/views.c', 'pg_atomic_read_u64(&x);' ],
	[ 'a heavyweight lock', 'src/shmem/cache.c', 'LockAcquire(&tag, 1, false, false);' ],
	[ 'an open table', 'src/table/orders.c', 'table_open(oid, NoLock);' ],
	[ 'an SQL function', 'src/worker/process.c', 'PG_FUNCTION_INFO_V1(x);' ],
	[ 'a transaction', 'src/sale/order.c', 'StartTransactionCommand();' ],
	[ 'PG_TRY', 'src/api/buy.c', 'PG_TRY();' ],
	[ 'a callback', 'src/xact/hold.c', 'RegisterXactCallback(f, NULL);' ],
	[ 'a statement', 'src/api/buy.c', 'x = "SELECT 1 FROM seckill.items";' ])
{
	my ($name, $file, $code) = @$word;
	plant("$name in the wrong layer", append($file, "$code\n"), qr{\Q$file\E: });
}

plant(
	'an include of the model against its list',
	append('model/tables.c', qq{#include "sale.h"\n}),
	qr{model/tables\.c: includes sale\.h});
plant(
	'a header of the extension in the model',
	append('model/cache.c', qq{#include "../src/shmem/cache.h"\n}),
	qr{model/cache\.c: includes \.\./src/shmem/cache\.h});
plant(
	'a file of the model that is not in its list',
	append('model/extra.c', qq{#include "model.h"\n}),
	qr{model/extra\.c: is not in the list});
plant(
	'a long file',
	append('src/sale/token.c', "\n" x 600),
	qr{src/sale/token\.c: \d+ lines});
plant(
	'a function that nobody else uses',
	append('src/sale/token.h', "extern void seckill_unused(int x);\n"),
	qr{src/sale/token\.h: seckill_unused is used by no other file});

# a word in a comment or in a message does not count
{
	my $tree = PostgreSQL::Test::Utils::tempdir();
	system('cp', '-r', "$top/seckill.c", "$top/src", "$top/model", $tree) == 0 or die;
	append_to_file("$tree/src/sale/modes.c",
		"/* SPI_connect(), and more\n * pg_atomic_read_u64() */\n");
	($ok, $err) = check($tree);
	ok($ok, 'comments may name anything') or diag($err);
}

done_testing();
