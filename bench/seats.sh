#!/bin/bash
# Measure the processor time that a booking of a seat takes, on a throw-away server
# with fsync on: all processes of the server, for each answer.  Unlike the sales a
# second it does not depend much on what else the machine does.  The contestants
# take turns; printed are the medians of all rounds, see docs/benchmarks.md.
#
# Can be set: ROUNDS (3), SECONDS_EACH (8), CLIENTS (64 200), WORKLOADS (train
# trains full).

cd "$(dirname "$0")/.."
. scripts/common.sh
. bench/pgbench.sh

rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-8}
units=1

contestants() {
    if [ "$1" = full ]; then
        echo select_1 book_full
    else
        echo insert_booking book_cache book_queue seats_skip_locked seats_skip_locked_call seats_skip_locked_steps
    fi
}

# Print the hundredths of a second that the server's processes have used, with
# those that have ended.
processor_time() {
    local postmaster process

    postmaster=$(head -n 1 "$workdir/data/postmaster.pid")
    {
        awk '{ print $14 + $15 + $16 + $17 }' "/proc/$postmaster/stat"
        for process in $(cat "/proc/$postmaster/task/$postmaster/children"); do
            # it may have ended by now
            awk '{ print $14 + $15 }' "/proc/$process/stat" 2> /dev/null || true
        done
    } | awk '{ sum += $1 } END { print sum }'
}

# Append a line: workload, clients, contestant, answers a second, microseconds of
# an answer.
measure() {
    local workload=$1 clients=$2 name=$3 before after

    fresh_tables "$name" "$workload"
    before=$(processor_time)
    run_pgbench "$workload" "$clients" "$name"
    # until the sessions have ended
    while [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")" != 1 ]; do
        sleep 0.05
    done
    after=$(processor_time)
    awk -v ticks=$((after - before)) -v row="$workload,$clients,$name" '
        /^tps = / { tps = $3 }
        /actually processed:/ { split($NF, n, "/"); calls = n[1] }
        END { printf "%s,%.0f,%.1f\n", row, tps, ticks * 10000 / calls }' "$workdir/out" >> "$workdir/results"
}

build_and_install
start_server <<'CONF'
max_connections = 250
shared_buffers = 1GB
max_wal_size = 16GB
fsync = on
seckill.queue_size = 65536
CONF
trap stop_server EXIT
sql 'CREATE EXTENSION seckill'
psql -Xq -v ON_ERROR_STOP=1 -f bench/rivals.sql 2> /dev/null

for ((round = 1; round <= rounds; round++)); do
    for workload in ${WORKLOADS:-train trains full}; do
        for clients in ${CLIENTS:-64 200}; do
            for name in $(contestants "$workload"); do
                measure "$workload" "$clients" "$name"
                say "$(tail -n 1 "$workdir/results")"
            done
        done
    done
done

echo '| workload | clients | contestant | answers/s | µs of an answer |'
echo '|---|---:|---|---:|---:|'
awk -F, '
    function median(list,    n, a, i, j, t) {
        n = split(list, a, " ")
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && a[j - 1] + 0 > a[j] + 0; j--) {
                t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
            }
        return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    {
        key = $1 "," $2 "," $3
        if (!(key in rate)) keys[++count] = key
        rate[key] = rate[key] " " $4
        time[key] = time[key] " " $5
    }
    END {
        for (i = 1; i <= count; i++) {
            split(keys[i], k, ",")
            printf "| %s | %s | `%s` | %.0f | %.0f |\n", k[1], k[2], k[3], median(rate[keys[i]]), median(time[keys[i]])
        }
    }' "$workdir/results"
