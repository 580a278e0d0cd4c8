#!/bin/bash
# Purchases a second, direct and through a router in PL/Proxy, at 1, 2 and 4 nodes, and
# the processor time of router and nodes for each.  All servers share this machine.
#
#   SECONDS_EACH   length of a run
#   CLIENTS        connections, shared among the nodes if direct
#   PG_CONFIG      the PostgreSQL

cd "$(dirname "$0")/.."
. scripts/common.sh
. scripts/nodes.sh

nodes=4
clients=${CLIENTS:-16}
seconds=${SECONDS_EACH:-10}

# Run one kind over n nodes; prints calls a second, and processor time a call of
# router and nodes in microseconds.
measure() {
    local kind=$1 n=$2 i router nodes_cpu calls

    settle
    router=$(cpu 0)
    nodes_cpu=$(cpu_of_nodes)
    if [ "$kind" = routed ]; then
        echo "\\set item random(1, $n)
\\set u random(1, 1000000000)
SELECT outcome FROM seckill_buy(:item, :u, '$mode');" > "$workdir/routed.sql"
        calls=$(run 0 "$clients" "$seconds" "$workdir/routed.sql")
    else
        for i in $(seq 1 "$n"); do
            echo "\\set u random(1, 1000000000)
SELECT outcome FROM seckill_buy($i, :u, '$mode');" > "$workdir/direct$i.sql"
            run "$i" $((clients / n)) "$seconds" "$workdir/direct$i.sql" > "$workdir/calls$i" &
        done
        wait
        calls=$(for i in $(seq 1 "$n"); do cat "$workdir/calls$i"; done | awk '{ sum += $1 } END { print sum }')
    fi
    settle
    awk -v calls="$calls" -v seconds="$seconds" -v r="$(cpu 0)" -v r0="$router" -v n="$(cpu_of_nodes)" -v n0="$nodes_cpu" \
        'BEGIN { printf "%.0f %.0f %.0f\n", calls / seconds, (r - r0) * 1000 / calls, (n - n0) * 1000 / calls }'
}

ensure_packages
ensure_plproxy
build_and_install
start_servers
join
for i in $(seq 1 $nodes); do
    on "$i" -c "SELECT seckill_put_item($i, '{\"stock\": 2000000000}')" > /dev/null
done

echo "| mode | nodes | direct, purchases/s | routed, purchases/s | routed / direct | CPU of the node, µs | CPU of the router, µs |"
echo "|---|---|---|---|---|---|---|"
for mode in cache queue; do
    for n in 1 2 4; do
        read -r direct _ direct_node < <(measure direct $n)
        read -r routed router_cpu _ < <(measure routed $n)
        awk -v mode=$mode -v n=$n -v d="$direct" -v r="$routed" -v node="$direct_node" -v router="$router_cpu" \
            'BEGIN { printf "| `%s` | %d | %d | %d | %.2f | %d | %d |\n", mode, n, d, r, r / d, node, router }'
    done
done
