#!/bin/bash
# Measure the extension against plain SQL on tables of the same shape, and
# against Redis, interleaved in one run on a throw-away server with fsync on.
#
#   make bench            everything, three hours on a machine that does nothing else
#   QUICK=1 make bench    one short round of the essentials, 3 minutes
#   RESUME=1 make bench   go on with a run that was interrupted
#   PG_CONFIG_BEFORE=... make bench
#                         two builds against each other: see bench/compare.sh
#
# Can be set: ROUNDS, SECONDS_EACH, WORKLOADS and CONTESTANTS (names as below),
# CLIENTS (of the hot item, and of the rest unless OTHER_CLIENTS is set),
# OTHER_CLIENTS, SETTLE_ORDERS (0: do not measure settling), OPENINGS (rounds,
# 0: do not measure the first seconds of a sale), OUTPUT.
#
# Every measurement goes to results.csv in OUTPUT (default: bench) as soon as it
# is made; the medians to benchmark.csv, the tables to benchmarks.md and the
# plots to benchmark.svg and benchmark_others.svg in OUTPUT (default: docs).  A
# quick run writes all of them to bench/quick.

cd "$(dirname "$0")/.."
[ -z "${PG_CONFIG_BEFORE:-}" ] || exec bench/compare.sh
. scripts/common.sh
. bench/pgbench.sh
. bench/redis.sh

if [ -n "${QUICK:-}" ]; then
    rounds=${ROUNDS:-1} seconds=${SECONDS_EACH:-4} warm_up=1
    hot_clients=${CLIENTS:-64} other_clients=${OTHER_CLIENTS:-${CLIENTS:-64}}
    workloads=${WORKLOADS:-hot storm eight rules expiry cart}
    settle_orders=${SETTLE_ORDERS:-0} openings=${OPENINGS:-1}
    results=${OUTPUT:-bench/quick} summary=${OUTPUT:-bench/quick}
else
    # In its first calls every connection loads catalogs and makes plans: the
    # seconds of warm_up do not count.
    rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-6} warm_up=2
    hot_clients=${CLIENTS:-1 8 64 200} other_clients=${OTHER_CLIENTS:-${CLIENTS:-64 200}}
    workloads=${WORKLOADS:-hot batch storm uniform zipf accounts eight merged counter rules expiry cart codes envelopes prizes train trains full}
    settle_orders=${SETTLE_ORDERS:-1000000} openings=${OPENINGS:-3}
    results=${OUTPUT:-bench} summary=${OUTPUT:-docs}
fi

# orders a second that expire in workload expiry: a tenth of the sales
expiring=2000

# units that have a row or a number: more than are sold in a run
units=$((100000 * seconds))

server_settings() {
    cat <<'CONF'
max_connections = 250
shared_buffers = 1GB
max_wal_size = 16GB
fsync = on
seckill.queue_size = 65536
CONF
}

all_contestants() {
    local name

    case $1 in
        hot) echo select_1 insert row_lock for_update_call cte advisory_call skip_locked redis redis_100 \
            queue cache advisory pessimistic retry auto submit buy_many ;;
        batch) echo select_1 insert queue cache submit ;;
        storm) echo select_1 for_update_call redis queue cache not_started ended ;;
        uniform | zipf) echo insert for_update_call cte redis queue cache auto ;;
        accounts) echo insert for_update_call cte queue cache auto ;;
        eight) echo insert for_update_call queue cache ;;
        merged) echo insert redis_100 cache queue submit buy_many buy_items submit_many ;;
        rules) echo insert cache_uuid cache_rules queue_uuid queue_rules ;;
        expiry) echo insert cache_pending cache_expiring queue_pending queue_expiring ;;
        cart)
            echo cart_update_no_key cart_update
            for name in pessimistic advisory retry cache auto; do
                echo "cart_${name}_no_key" "cart_$name"
            done
            ;;
        codes) echo insert_unit code_pool redis claim_queue claim_cache claim_auto numbered_queue ;;
        envelopes) echo insert_unit redis claim_queue claim_cache claim_auto claim_auto_hot ;;
        prizes) echo insert_unit odds redis claim_queue claim_cache ;;
        train | trains)
            echo insert_booking seats_skip_locked seats_skip_locked_call seats_skip_locked_steps \
                seats_line redis book_cache book_queue
            ;;
        full) echo select_1 book_full ;;
        counter) echo select_1 counter_update counter_call queue ;;
        *) die "no workload $1" ;;
    esac
}

# Print the contestants of a workload that were asked for and can run.
contestants_of() {
    local name all

    all=$(all_contestants "$1" | xargs)
    for name in $all; do
        [[ " ${CONTESTANTS:-$all} " = *" $name "* ]] || continue
        [[ $name != redis* ]] || has_redis || continue
        echo "$name"
    done
}

clients_of() {
    if [ "$1" = hot ]; then
        echo "$hot_clients"
    else
        echo "$other_clients"
    fi
}

check_workloads() {
    local workload

    for workload in $workloads; do
        all_contestants "$workload" > /dev/null
    done
}

# Print the measurements in their sequence, one a line.
sequence() {
    local round workload clients name

    for ((round = 1; round <= rounds; round++)); do
        for workload in $workloads; do
            for clients in $(clients_of "$workload"); do
                for name in $(contestants_of "$workload"); do
                    echo "$workload $clients $round $name"
                done
            done
        done
    done
}

measure() {
    local workload=$1 clients=$2 round=$3 name=$4 line

    if [[ $name = redis* ]]; then
        measure_redis "$workload" "$clients" "$name"
    else
        measure_pgbench "$workload" "$clients" "$name"
    fi
    printf -v line '%s,%d,%d,%s,%.0f,%.0f,%.0f,%.3f,%.3f' "$workload" "$clients" \
        "$round" "$name" "$sold" "$accepted" "$answered" "$p50" "$p99"
    echo "$line" >> "$results/results.csv"
}

# Copy the measurements that are not among the results yet.
not_measured() {
    awk 'NR == FNR { split($0, f, ","); measured[f[1] " " f[2] " " f[3] " " f[4]]; next }
        !($0 in measured)' "$results/results.csv" -
}

run_sequence() {
    local line left start=$SECONDS done=0
    local -a todo

    [ -n "$(sequence)" ] || die 'nothing to measure'
    mapfile -t todo < <(sequence | not_measured)
    for line in "${todo[@]}"; do
        # shellcheck disable=SC2086
        measure $line
        done=$((done + 1))
        left=$(((SECONDS - start) * (${#todo[@]} - done) / done))
        say "$(printf '%d of %d, %d:%02d left: %s: %.0f sold/s, %.0f answered/s, p99 %.1f ms' \
            $done ${#todo[@]} $((left / 60)) $((left % 60)) "$line" "$sold" "$answered" "$p99")"
    done
}

description() {
    printf '%s' "$("$PG_CONFIG" --version)"
    ! has_redis || printf ', Redis %s' "$(redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/')"
    printf ', %d cores, rounds: %d, seconds: %d of which %d do not count\n' \
        "$(nproc)" "$rounds" "$seconds" "$warm_up"
}

# Measure how long the first caller takes to settle an item with many orders.
measure_settling() {
    local out=$workdir/settling

    fresh_tables settle
    sql "SELECT seckill_prewarm(1, $settle_orders + 1000);
        INSERT INTO seckill.orders (item_id, user_id, quantity, mode, lease_id)
        SELECT 1, n, 1, 'cache', i.lease_id
        FROM generate_series(1, $settle_orders) n, seckill.items i WHERE i.item_id = 1" > /dev/null
    control_server -m immediate stop
    control_server -w -l "$workdir/server.log" start
    psql -XAtq -c '\timing on' \
        -c "SELECT outcome FROM seckill_buy(1, 1, 'cache')" \
        -c 'SELECT difference FROM seckill_audit(1)' > "$out"
    # answer, time, difference, time
    awk -v orders="$settle_orders" '
        $1 == "Time:" { time[++n] = $2; next }
        { answer[n + 1] = $1 }
        END { printf "%d,%s,%s,%s,%s\n", orders, answer[1], time[1], answer[2], time[2] }' "$out" \
        > "$results/settling.csv"
    say "settling $settle_orders orders: $(cat "$results/settling.csv")"
}

. bench/opening.sh

check_workloads
# shellcheck disable=SC2046
ensure_packages $(command -v gnuplot > /dev/null || echo gnuplot-nox)
has_redis || say 'no redis-server, redis-benchmark and redis-cli here: without Redis'
build_and_install
start_server < <(server_settings)
trap 'stop_redis; stop_server' EXIT
sql 'CREATE EXTENSION seckill'
psql -Xq -v ON_ERROR_STOP=1 -f bench/rivals.sql 2> /dev/null

mkdir -p "$results" "$summary"
if [ -z "${RESUME:-}" ]; then
    {
        echo "# $(description)"
        echo workload,clients,round,contestant,sold,accepted,answered,p50,p99
    } > "$results/results.csv"
elif [ "$(head -n 1 "$results/results.csv")" != "# $(description)" ]; then
    die "$results/results.csv is of a run with other versions, rounds or seconds"
fi
rm -f "$results/opening.csv" "$results/settling.csv"
run_sequence
[ "$openings" = 0 ] || measure_openings
[ "$settle_orders" = 0 ] || measure_settling
bench/report.sh "$results" "$summary"
