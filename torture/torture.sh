#!/bin/bash
# Run the long tests: crashes, interrupts, bookings of seats, sales split over
# nodes, injected faults, failovers, numbers, crowds, bad input and constant load.
# Each checks that the laws hold.  PARTS names the parts, which are the files beside
# this one.  Their lengths are CYCLES (crash), INTERRUPTS (interrupts), SEAT_CALLS
# (seats), SPLIT_SECONDS (split), SPLIT_FAILOVERS (split-failover), FAULTS (faults),
# FAILOVERS (failover), LIVES and CODES (numbers), ATTEMPTS (crowd), CALLS
# (bad_input), MINUTES (sqlsmith) and SOAK_MINUTES (soak).  SEED repeats the random
# numbers of a run.  SHOP limits the load to these kinds of actions of
# torture/TortureShop.pm.

cd "$(dirname "$0")/.."
. scripts/common.sh

parts=${PARTS:-crash interrupts seats split split-failover faults failover numbers crowd bad_input sqlsmith soak}
workdir=
trap '[ -z "$workdir" ] || rm -rf "$workdir"' EXIT

tests=
programs=
for part in $parts; do
    if [ -f "torture/$part.pl" ]; then
        tests="$tests torture/$part.pl"
    elif [ -f "torture/$part.sh" ] && [ "$part" != torture ]; then
        programs="$programs torture/$part.sh"
    else
        die "there is no part $part"
    fi
done

ensure_packages libipc-run-perl
build_and_install

for program in $programs; do
    "$program" || die "$program has failed"
done
[ -n "$tests" ] || exit 0

# The test modules refuse root: they work in a copy.
workdir=$(mktemp -d "${TMPDIR:-/tmp}/seckill.XXXXXX")
cp -r . "$workdir/torture"
[ "$(id -u)" != 0 ] || chown -R "$(server_user)" "$workdir"
cd "$workdir/torture"
unset PGHOST PGPORT PGUSER PGDATABASE PGSERVICE PGHOSTADDR PGOPTIONS
as_server_user make -s tapcheck PG_CONFIG="$PG_CONFIG" PROVE_TESTS="$tests" && exit
logs=$(mktemp -d "${TMPDIR:-/tmp}/seckill-torture.XXXXXX")
cp -r tmp_check/log "$logs"
die "a part has failed; the servers' logs are in $logs"
