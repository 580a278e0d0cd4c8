#!/bin/bash
# One item split over 1, 2 and 4 nodes: purchases a second and the processor time of each;
# how long the last 100 units take; refusals a second once it is sold out, and the calls
# between the nodes meanwhile.  All servers share this machine; each client calls the
# node of its users.
#
#   SECONDS_EACH   length of a run
#   CLIENTS        connections, shared among the nodes
#   PG_CONFIG      the PostgreSQL

cd "$(dirname "$0")/.."
. scripts/common.sh
. scripts/nodes.sh

nodes=4
clients=${CLIENTS:-16}
seconds=${SECONDS_EACH:-10}

# Make an item of so many units, split over the first n nodes, and a buyer script for each.
make_item() {
    local item=$1 n=$2 units=$3 i all

    on 1 -c "SELECT seckill_put_item($item, '{\"stock\": $units}')" > /dev/null
    all=$(on 1 -c "SELECT array_agg(i) FROM generate_series(1, $n) i")
    [ "$n" = 1 ] || on 1 -c "CALL seckill_split($item, '$all')"
    for i in $(seq 1 "$n"); do
        on "$i" -c "SET client_min_messages = warning" -c "DROP TABLE IF EXISTS buyers" -c "CREATE TABLE buyers (k, user_id) AS
            SELECT row_number() OVER (), u FROM generate_series(1, 10000 * $n) u
            WHERE seckill_split_node('$all', u) = $i" -c 'CREATE UNIQUE INDEX ON buyers (k) INCLUDE (user_id)' \
            -c 'VACUUM ANALYZE buyers'
        echo "\\set k random(1, 9000)
SELECT outcome FROM seckill_buy($item, (SELECT user_id FROM buyers WHERE k = :k), 'cache');" > "$workdir/buy$i.sql"
    done
}

# Let the clients buy on n nodes for a time; prints their calls.
crowd() {
    local n=$1 time=$2 i

    for i in $(seq 1 "$n"); do
        run "$i" $((clients / n)) "$time" "$workdir/buy$i.sql" > "$workdir/calls$i" &
    done
    wait
    for i in $(seq 1 "$n"); do cat "$workdir/calls$i"; done | awk '{ sum += $1 } END { print sum }'
}

# The sum of a query over the first n nodes.
sum() {
    local n=$1 i

    for i in $(seq 1 "$n"); do on "$i" -c "$2"; done | awk '{ sum += $1 } END { print sum + 0 }'
}

outcomes() {
    sum "$1" "SELECT coalesce(sum($2), 0) FROM seckill.stat_items WHERE item_id = $3"
}

exchanges() {
    sum "$1" "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'seckill_sync'"
}

ensure_packages
ensure_plproxy
build_and_install
start_servers
join
for i in $(seq 1 $nodes); do
    on "$i" -c "ALTER SYSTEM SET track_functions = 'all'" -c 'SELECT pg_reload_conf()' > /dev/null
done

echo "| nodes | purchases/s | CPU of the node for each, µs | last 100 units, s | sold out: answers/s | of them \`busy\` | calls between nodes/s |"
echo "|---|---|---|---|---|---|---|"
item=0
for n in 1 2 4; do
    item=$((item + 1))
    make_item $item $n 2000000000
    settle
    before=$(cpu_of_nodes)
    calls=$(crowd $n "$seconds")
    settle
    after=$(cpu_of_nodes)

    item=$((item + 1))
    make_item $item $n 100
    start=$(date +%s.%N)
    crowd $n 5 > /dev/null &
    until [ "$(sum $n "SELECT count(*) FROM seckill.orders WHERE item_id = $item")" = 100 ]; do sleep 0.01; done
    last=$(date +%s.%N)
    wait
    refused=$(outcomes $n sold_out $item)
    busy=$(outcomes $n busy $item)
    asked=$(exchanges $n)
    crowd $n "$seconds" > /dev/null
    settle
    awk -v n=$n -v calls="$calls" -v seconds="$seconds" -v cpu="$(awk "BEGIN { print $after - $before }")" \
        -v last="$(awk "BEGIN { print $last - $start }")" -v refused=$(($(outcomes $n sold_out $item) - refused)) \
        -v busy=$(($(outcomes $n busy $item) - busy)) -v asked=$(($(exchanges $n) - asked)) \
        'BEGIN { printf "| %d | %d | %d | %.2f | %d | %.2f %% | %d |\n", n, calls / seconds, cpu * 1000 / calls, last,
                 (refused + busy) / seconds, 100 * busy / (refused + busy), asked / seconds }'
done
