#!/bin/bash
# Measure the modes against plain SQL on tables of the same shape, interleaved
# in one run on a throw-away server with fsync on, and print medians.
#
#   bench/bench.sh            everything, about half an hour
#   QUICK=1 bench/bench.sh    one short round
#
# ROUNDS, SECONDS_EACH, CLIENTS ("64 200") and CONTESTANTS (names of files in
# bench/scripts) can be set.  Results go to bench/results.csv, a line for each
# measurement: clients, round, contestant, answered a second, orders written a
# second, average latency in ms.

cd "$(dirname "$0")/.."
. scripts/common.sh

if [ -n "${QUICK:-}" ]; then
    rounds=${ROUNDS:-1} seconds=${SECONDS_EACH:-5}
else
    rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-8}
fi
clients=${CLIENTS:-64 200}
contestants=${CONTESTANTS:-select_1 insert row_lock for_update_call cache
    cache_from advisory pessimistic retry optimistic sold_out sold_out_from not_started
    ended}
csv=bench/results.csv

# Seconds at the start of each run that do not count: in its first calls every
# connection loads catalogs and makes plans.
warm_up=2

fresh_tables() {
    sql "TRUNCATE rival.items, rival.orders, seckill.items, seckill.orders"
    sql "INSERT INTO rival.items (item_id, stock) VALUES (1, 2000000000);
        INSERT INTO seckill.items (item_id, stock, starts_at, ends_at) VALUES
            (1, 2000000000, NULL, NULL), (2, 0, NULL, NULL),
            (3, 9, 'infinity', NULL), (4, 9, NULL, '-infinity');
        CHECKPOINT"
}

orders_written() {
    sql "SELECT (SELECT count(*) FROM seckill.orders) + (SELECT count(*) FROM rival.orders)"
}

# Run one contestant and add its line to the results.
measure() {
    local n=$1 round=$2 name=$3 out=$workdir/out tps latency

    fresh_tables
    pgbench -n -M prepared -c "$n" -j 2 -T "$seconds" -P 1 \
        -f "bench/scripts/$name.sql" > "$out" 2>&1 ||
        { cat "$out" >&2; die "$name failed"; }
    tps=$(awk -v warm_up=$warm_up '$1 == "progress:" && $2 > warm_up + 0.5 { sum += $4; n++ }
        END { print n ? sum / n : 0 }' "$out")
    latency=$(sed -n 's/^latency average = \([0-9.]*\).*/\1/p' "$out")
    answered=$(sed -n 's/.*actually processed: \([0-9]*\).*/\1/p' "$out")
    awk -v n="$n" -v r="$round" -v name="$name" -v tps="$tps" \
        -v orders="$(orders_written)" -v answered="$answered" \
        -v latency="$latency" 'BEGIN {
            printf "%d,%d,%s,%.0f,%.0f,%.3f\n", n, r, name, tps,
                tps * orders / answered, latency }' >> "$csv"
    say "$(tail -n 1 "$csv")"
}

# Medians, and ratios to the yardsticks of the same number of clients.
summary() {
    awk -F, '
        function median(list,    v, n) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) {
                    t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
                }
            low = v[1]; high = v[n]
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "" }
        NR > 1 {
            key = $1 "," $3
            if (!(key in answered)) order[++keys] = key
            answered[key] = answered[key] " " $4
            sold[key] = sold[key] " " $5
        }
        END {
            print "| clients | contestant | answered/s (min to max) | orders/s | of select_1 | of insert | of for_update_call | of row_lock |"
            print "|---:|---|---|---:|---:|---:|---:|---:|"
            for (k = 1; k <= keys; k++) {
                split(order[k], id, ",")
                m[order[k]] = median(answered[order[k]])
                range = sprintf("%.0f (%.0f to %.0f)", m[order[k]], low, high)
                line[k] = sprintf("| %s | %s | %s | %.0f |", id[1], id[2], range, median(sold[order[k]]))
            }
            for (k = 1; k <= keys; k++) {
                split(order[k], id, ",")
                a = m[order[k]]
                print line[k] " " ratio(a, m[id[1] ",select_1"]) " | " \
                    ratio(a, m[id[1] ",insert"]) " | " \
                    ratio(a, m[id[1] ",for_update_call"]) " | " \
                    ratio(a, m[id[1] ",row_lock"]) " |"
            }
        }' "$csv"
}

# How long the first caller takes to settle an item with many orders.
settle() {
    local orders=${SETTLE_ORDERS:-1000000}

    fresh_tables
    sql "SELECT seckill_prewarm(1, $orders + 1000);
        INSERT INTO seckill.orders (item_id, user_id, quantity, mode, lease_id)
        SELECT 1, n, 1, 'cache', i.lease_id
        FROM generate_series(1, $orders) n, seckill.items i WHERE i.item_id = 1" > /dev/null
    control_server -m immediate stop
    control_server -w -l "$workdir/server.log" start
    echo
    echo "first purchase after a crash, $orders orders under the lost lease:"
    psql -XAtq -c '\timing on' \
        -c "SELECT outcome FROM seckill_buy(1, 1, 'cache')" \
        -c "SELECT 'difference ' || difference FROM seckill_audit(1)"
}

ensure_packages
build_and_install
start_server <<'CONF'
max_connections = 250
shared_buffers = 1GB
max_wal_size = 16GB
fsync = on
CONF
sql 'CREATE EXTENSION seckill'
psql -Xq -v ON_ERROR_STOP=1 -f bench/rivals.sql 2> /dev/null

echo clients,round,contestant,answered,orders,latency > "$csv"
for ((round = 1; round <= rounds; round++)); do
    for n in $clients; do
        for name in $contestants; do
            measure "$n" "$round" "$name"
        done
    done
done
echo
echo "$("$PG_CONFIG" --version), $(nproc) cores, $rounds rounds of $seconds s, medians"
echo
summary
settle
