#!/bin/bash
# Compare two builds of the extension: is any mode slower than before?
#
#   make bench PG_CONFIG=after/bin/pg_config PG_CONFIG_BEFORE=before/bin/pg_config
#
# The build before is what is installed at PG_CONFIG_BEFORE; the build after is
# made from this checkout and installed at PG_CONFIG.  Each has a throw-away
# server.  The two measurements of a pair follow each other directly, and the
# build that goes first alternates, so that what disturbs the machine disturbs
# both.
#
# Can be set: ROUNDS (5), SECONDS_EACH (3, the first of which does not count),
# CLIENTS ("1 8 64"), CONTESTANTS (names of bench/scripts; sold_out is a refusal
# in mode cache), WORKLOAD (hot), SETTINGS_BEFORE and SETTINGS_AFTER (more lines of
# the configuration of either server).
#
# The tables go to standard output, each measurement to
# bench/quick/compare.csv or to OUTPUT/compare.csv.

cd "$(dirname "$0")/.."
. scripts/common.sh
. bench/pgbench.sh

[ -n "${PG_CONFIG_BEFORE:-}" ] || die 'PG_CONFIG_BEFORE must name the pg_config of the build before'
PG_CONFIG_BEFORE=$(realpath -ms "$PG_CONFIG_BEFORE")

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-3}
warm_up=1
clients_each=${CLIENTS:-1 8 64}
workload_of_all=${WORKLOAD:-hot}
contestants=${CONTESTANTS:-optimistic retry pessimistic advisory cache queue auto submit buy_many sold_out}
results=${OUTPUT:-bench/quick}/compare.csv
units=0
expiring=0

# Start the server of a build, and remember where it is.
start_build() {
    local build=$1 settings=SETTINGS_${1^^}

    PG_CONFIG=$2
    # Autovacuum of one build would disturb the other, and waits for the disk
    # would hide a difference.
    start_server <<CONF
max_connections = 100
shared_buffers = 512MB
max_wal_size = 16GB
autovacuum = off
fsync = off
seckill.queue_size = 65536
${!settings:-}
CONF
    workdir_of[$build]=$workdir
    bindir_of[$build]=$bindir
    trap stop_builds EXIT
    sql 'CREATE EXTENSION seckill'
    psql -Xq -v ON_ERROR_STOP=1 -f bench/rivals.sql 2> /dev/null
}

use_build() {
    workdir=${workdir_of[$1]} bindir=${bindir_of[$1]}
    export PGHOST=$workdir
}

stop_builds() {
    local build

    # make passes a signal on to its child, which may have got it already
    trap '' INT TERM
    for build in "${!workdir_of[@]}"; do
        use_build "$build"
        stop_server
    done
}

# Print the processor time that the server's processes, running and ended, have
# used, in ticks.
read_ticks() {
    local postmaster

    postmaster=$(head -n 1 "$workdir/data/postmaster.pid")
    # processes end between the listing and the reading
    { cat /proc/[0-9]*/stat 2> /dev/null || true; } | awk -v postmaster="$postmaster" '
        { pid = $1; sub(/.*\) /, "") }
        pid == postmaster { sum += $14 + $15 }
        $2 == postmaster { sum += $12 + $13 }
        END { print sum }'
}

# Print the largest of some readings: one misses a process that ends between the
# reading of the postmaster's time and its own.
server_ticks() {
    local i

    for ((i = 0; i < 4; i++)); do
        read_ticks
        sleep 0.05
    done | sort -n | tail -n 1
}

# Measure a build and append a line to the results.  The rate is that of answers
# for refusals, and of units sold for all else.
measure_build() {
    local build=$1 name=$2 clients=$3 round=$4 workload=$workload_of_all script=$2 before after rate

    [ "$name" != sold_out ] || workload=storm script=cache
    use_build "$build"
    fresh_tables "$script" "$workload"
    before=$(server_ticks)
    run_pgbench "$workload" "$clients" "$script"
    after=$(server_ticks)
    evaluate_pgbench "$script"
    rate=$sold
    [ "$name" != sold_out ] || rate=$answered
    printf '%s,%d,%d,%s,%.0f,%.2f,%.3f\n' "$name" "$clients" "$round" "$build" "$rate" \
        "$(awk "BEGIN { print ($after - $before) * 1e6 / $(getconf CLK_TCK) / $calls }")" "$p99" \
        >> "$results"
}

run_pairs() {
    local round name clients build order pair=0 pairs

    # shellcheck disable=SC2086
    pairs=$((rounds * $(wc -w <<< "$contestants") * $(wc -w <<< "$clients_each")))
    for ((round = 1; round <= rounds; round++)); do
        order='before after'
        [ $((round % 2)) = 1 ] || order='after before'
        for clients in $clients_each; do
            for name in $contestants; do
                for build in $order; do
                    measure_build "$build" "$name" "$clients" "$round"
                done
                pair=$((pair + 1))
                say "pair $pair of $pairs: round $round, $name, clients: $clients"
            done
        done
    done
}

description() {
    printf '%s, %d cores, %d rounds of %d seconds, of which %d does not count.\n' \
        "$("$PG_CONFIG" --version)" "$(nproc)" "$rounds" "$seconds" "$warm_up"
}

[ -f "$("$PG_CONFIG_BEFORE" --pkglibdir)/seckill.so" ] ||
    die "$PG_CONFIG_BEFORE: the extension is not installed there"
ensure_packages
[ "$("$PG_CONFIG" --pkglibdir)" != "$("$PG_CONFIG_BEFORE" --pkglibdir)" ] ||
    die 'PG_CONFIG and PG_CONFIG_BEFORE must be two installations'
[ "$("$PG_CONFIG" --version)" = "$("$PG_CONFIG_BEFORE" --version)" ] ||
    die 'the two installations are of different versions of PostgreSQL'
build_and_install
after=$PG_CONFIG
declare -A workdir_of bindir_of
start_build before "$PG_CONFIG_BEFORE"
start_build after "$after"
mkdir -p "$(dirname "$results")"
echo contestant,clients,round,build,rate,cpu,p99 > "$results"
run_pairs
description
awk -f bench/median.awk -f bench/compare.awk "$results"
