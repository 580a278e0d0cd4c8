#!/bin/bash
# Kill, cancel and time out for as long as told, and look whether the laws
# hold.  PARTS names the parts, which are the .pl files beside this one; their
# lengths are CYCLES (crash) and INTERRUPTS (interrupts).  SEED repeats the
# random numbers of a run.

cd "$(dirname "$0")/.."
. scripts/common.sh

parts=${PARTS:-$(cd torture && echo *.pl)}
workdir=
trap '[ -z "$workdir" ] || rm -rf "$workdir"' EXIT

tests=
for part in $parts; do
    file=torture/${part%.pl}.pl
    [ -f "$file" ] || die "there is no part $part"
    tests="$tests $file"
done

ensure_packages libipc-run-perl
build_and_install

# The test modules refuse root: they work in a copy.
workdir=$(mktemp -d "${TMPDIR:-/tmp}/seckill.XXXXXX")
cp -r . "$workdir/torture"
[ "$(id -u)" != 0 ] || chown -R postgres "$workdir"
cd "$workdir/torture"
unset PGHOST PGPORT PGUSER PGDATABASE PGSERVICE PGHOSTADDR PGOPTIONS
as_server_user make -s tapcheck PG_CONFIG="$PG_CONFIG" PROVE_TESTS="$tests" && exit
logs=$(mktemp -d "${TMPDIR:-/tmp}/seckill-torture.XXXXXX")
cp -r tmp_check/log "$logs"
die "a part has failed; the servers' logs are in $logs"
