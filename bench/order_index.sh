#!/bin/bash
# Measure the cost of an index on order_id alone for a purchase, and its gain for
# a look-up without the item (docs/operations.md, "Looking orders up"), on a
# throw-away server.  Runs with and without the index alternate.
#
# Can be set: ROUNDS (5), SECONDS_EACH (5), CLIENTS (16), MODES.

cd "$(dirname "$0")/.."
. scripts/common.sh

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-5}
clients=${CLIENTS:-16}
modes=${MODES:-cache advisory queue}

# Print the processor time, in ticks, of the server's processes that have ended.
server_ticks() {
    awk '{ sub(/.*\) /, ""); print $14 + $15 }' "/proc/$(head -n 1 "$workdir/data/postmaster.pid")/stat"
}

# Sell one item in a mode; print orders a second, and for each order the WAL
# in bytes and the processor time in microseconds.
sell() {
    local mode=$1 before after

    sql 'TRUNCATE seckill.items, seckill.orders'
    sql 'INSERT INTO seckill.items (item_id, stock) VALUES (1, 2000000000)'
    sql 'CHECKPOINT'
    echo "SELECT seckill_buy(1, :client_id, '$mode')" > "$workdir/sell.sql"
    before="$(server_ticks) $(sql 'SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $$0/0$$)')"
    pgbench -n -M prepared -c "$clients" -j 2 -T "$seconds" \
        -f "$workdir/sell.sql" > "$workdir/out" 2>&1 || {
        cat "$workdir/out" >&2
        die "$mode failed"
    }
    # the queue worker's time counts once it has ended
    while [ "$(sql "SELECT count(*) FROM pg_stat_activity
            WHERE backend_type IN ('client backend', 'seckill queue worker')")" != 1 ]; do
        sleep 0.1
    done
    after="$(server_ticks) $(sql 'SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $$0/0$$), count(*) FROM seckill.orders' | tr '|' ' ')"
    echo "$before $after" |
        awk -v seconds="$seconds" -v hz="$(getconf CLK_TCK)" '
            { printf "%d %d %.1f\n", $5 / seconds, ($4 - $2) / $5, ($3 - $1) / hz * 1e6 / $5 }'
}

median() {
    sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# Print the execution time of a query in ms.
execution_time() {
    local i

    for ((i = 0; i < 5; i++)); do
        sql "EXPLAIN (ANALYZE, TIMING OFF) $1" | sed -n 's/Execution Time: \(.*\) ms/\1/p'
    done | median
}

# Create or drop the index.
set_index() {
    sql 'SET client_min_messages = warning; DROP INDEX IF EXISTS seckill.orders_order_id'
    [ "$1" = without ] || sql 'CREATE INDEX orders_order_id ON seckill.orders (order_id)'
}

measure_purchases() {
    local round index mode

    for ((round = 1; round <= rounds; round++)); do
        for mode in $modes; do
            for index in without with; do
                set_index $index
                sell "$mode" >> "$workdir/$mode.$index"
                say "$mode $index index: $(tail -n 1 "$workdir/$mode.$index")"
            done
        done
    done
    echo '| mode | index on order_id | orders/s | WAL bytes an order | µs of processor an order |'
    echo '|---|---|---:|---:|---:|'
    for mode in $modes; do
        for index in without with; do
            printf '| `%s` | %s | %s | %s | %s |\n' "$mode" "$index" \
                "$(cut -d ' ' -f 1 "$workdir/$mode.$index" | median)" \
                "$(cut -d ' ' -f 2 "$workdir/$mode.$index" | median)" \
                "$(cut -d ' ' -f 3 "$workdir/$mode.$index" | median)"
        done
    done
}

# Print a table of look-ups among 1,000,000 orders of 100 items.
measure_look_ups() {
    local by_id='SELECT * FROM seckill.orders WHERE order_id = 500500'

    set_index without
    sql 'TRUNCATE seckill.items, seckill.orders RESTART IDENTITY'
    sql "INSERT INTO seckill.items (item_id, stock) SELECT n, 100000 FROM generate_series(1, 100) n"
    sql "SELECT count(*) FROM generate_series(1, 100) n, seckill_buy_many(n, ARRAY(SELECT generate_series(1, 10000)::bigint), 'advisory')" > "$workdir/out"
    sql 'VACUUM ANALYZE seckill.orders, seckill.items'
    echo
    echo '| look-up, 1,000,000 orders of 100 items | ms |'
    echo '|---|---:|'
    echo "| \`order_id\` alone, without the index | $(execution_time "$by_id") |"
    echo "| \`order_id\` through the items | $(execution_time 'SELECT o.* FROM seckill.items i JOIN seckill.orders o USING (item_id) WHERE o.order_id = 500500') |"
    echo "| \`item_id\` and \`order_id\` | $(execution_time "$by_id AND item_id = 51") |"
    set_index with
    echo "| \`order_id\` alone, with the index | $(execution_time "$by_id") |"
    sql "SELECT format('size of the index: %s, of the table: %s', pg_size_pretty(pg_relation_size('seckill.orders_order_id')), pg_size_pretty(pg_relation_size('seckill.orders')))"
}

ensure_packages
build_and_install
start_server <<CONF
max_connections = 100
shared_buffers = 1GB
max_wal_size = 16GB
seckill.queue_idle_time = 100
CONF
sql 'CREATE EXTENSION seckill'
measure_purchases
measure_look_ups
