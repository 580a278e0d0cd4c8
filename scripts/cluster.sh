#!/bin/bash
# Four nodes and a router on this machine: the classic sale through the router, once
# for each mode, then a sale whose item moves to another node twice meanwhile, and one
# whose item is split over all nodes.
# SPLIT_ATTEMPTS (10000) and SPLIT_CLIENTS (200) are those of the last sale; more than 200
# clients come through pgbouncer, with POOL (50) connections to the router.  Each answer
# counts as an attempt, also "busy".
# KEEP=1 leaves the servers up; PG_CONFIG chooses the PostgreSQL.

cd "$(dirname "$0")/.."
. scripts/common.sh
. scripts/nodes.sh
. scripts/pgbouncer.sh

nodes=4
users=200
units=100
split_clients=${SPLIT_CLIENTS:-$users}
split_attempts=${SPLIT_ATTEMPTS:-10000}
pooled_port=6432

# Run a script through the router: clients, calls of each, script.
crowd() {
    local out=$workdir/crowd.out target

    target=$(server 0)
    [ "$1" -le $users ] || target="host=$workdir port=$pooled_port user=postgres dbname=postgres"
    echo "$3" > "$workdir/crowd.sql"
    pgbench -n -c "$1" -j 2 -t "$2" -f "$workdir/crowd.sql" "$target" > "$out" 2>&1 ||
        { head -n 20 "$out" >&2; die "the crowd failed"; }
    sed -n "s/^tps = \([0-9.]*\).*/\1/p" "$out" | awk "{ print $1 * $2 / \$1 }"
}

call() {
    echo "INSERT INTO told SELECT $1, $2, q, b.outcome, b.order_id FROM gen_random_uuid() q, seckill_buy($1, $2, '$3', 1, q) b;"
}

# Print a row of the table: item, name, seconds, limit of a user.
report() {
    local item=$1 seconds=$3 limit=${4:-2147483647}
    local node orders sold left audit told twice lost verdict over

    IFS='|' read -r node sold left audit < <(on 0 -c \
        "SELECT node_no, sold, available, verdict FROM cluster_audit($item)")
    IFS='|' read -r orders told twice lost < <(on 0 -c "
        SELECT (SELECT count(*) FROM seckill.cluster_orders WHERE item_id = $item),
            count(*) FILTER (WHERE t.outcome = 'sold'),
            count(*) FILTER (WHERE t.outcome = 'sold') - count(DISTINCT t.order_id),
            count(*) FILTER (WHERE t.outcome = 'sold' AND o.order_id IS NULL)
        FROM told t LEFT JOIN seckill.cluster_orders o
            ON (o.item_id, o.order_id, o.user_id, o.request_id) = (t.item_id, t.order_id, t.user_id, t.request_id)
        WHERE t.item_id = $item")
    over=$(on 0 -c "SELECT count(*) FROM (SELECT FROM seckill.cluster_orders WHERE item_id = $item
        GROUP BY user_id HAVING sum(quantity) > $limit) u")
    if [ "$audit" != ok ]; then
        verdict="WRONG: $audit"
    elif [ "$twice" != 0 ] || [ "$lost" != 0 ] || [ "$told" != "$orders" ]; then
        verdict="WRONG: $told told, $orders orders, $lost lost, $twice double"
    elif [ "$over" != 0 ]; then
        verdict="WRONG: $over users over their limit"
    elif [ "$orders" != "$sold" ]; then
        verdict="WRONG: $orders orders, $sold sold"
    elif [ "$left" = 0 ]; then
        verdict='right: all sold'
    elif [ "$2" = optimistic ]; then
        verdict="right: $left lost the race"
    else
        verdict='WRONG: units unsold'
    fi
    printf '%-12s %4s %7d %7d %7d   %-34s %8.3f %8.0f\n' "$2" "$node" "$orders" \
        "$sold" "$left" "$verdict" "$seconds" "$(awk "BEGIN { print $sold / $seconds }")"
}

# Move an item to the next node once so many orders are there.
move_at() {
    local item=$1 count=$2 from to

    until [ "$(on 0 -c "SELECT count(*) >= $count FROM seckill.cluster_orders WHERE item_id = $item")" = t ]; do
        sleep 0.05
    done
    from=$(on 0 -c "SELECT node_no FROM cluster_audit($item)")
    to=$((from % nodes + 1))
    on $to -c "CALL seckill_move($item, $from)"
    echo "moved from node $from to node $to"
}

ensure_packages
[ "$split_clients" -le $users ] || ensure_packages pgbouncer
ensure_plproxy
build_and_install
start_servers
trap 'stop_pgbouncer; stop_servers' EXIT
ulimit -n 8192 2> /dev/null || true
join
# what each buyer was told
on 0 -c 'CREATE TABLE told (item_id bigint, user_id bigint, request_id uuid, outcome text, order_id bigint)'

echo
echo "$users users of a router and $nodes nodes, each on a connection of its own, buy 1 of $units units"
echo
printf '%-12s %4s %7s %7s %7s   %-34s %8s %8s\n' mode node orders sold left verdict seconds sold/s
item=0
for mode in optimistic retry pessimistic advisory cache queue auto; do
    item=$((item + 1))
    on 0 -c "SELECT seckill_put_item($item, '{\"title\": \"$mode\", \"stock\": $units}')" > /dev/null
    report $item $mode "$(crowd $users 1 "$(call $item ':client_id + 1' $mode)")"
done

units=${MOVED_UNITS:-6000}
on 0 -c "SELECT seckill_put_item(100, '{\"title\": \"moves\", \"stock\": $units, \"per_user_limit\": 2, \"pay_within\": \"1 hour\"}')" > /dev/null
{
    move_at 100 $((units / 3))
    move_at 100 $((units * 2 / 3))
} > "$workdir/moves" &
mover=$!
seconds=$(crowd 64 $((units * 2 / 64)) "\\set u random(1, 1000000)
$(call 100 :u auto)")
wait $mover || die "a move failed"
report 100 moves "$seconds" 2

# 100 units, and a crowd of which each node serves its part.  A user is as many clients as
# come to the same number, so limits matter.
units=100
on 0 -c "SELECT seckill_put_item(101, '{\"title\": \"split\", \"stock\": $units, \"per_user_limit\": 2}')" > /dev/null
home=$(on 0 -c "SELECT node_no FROM seckill.placement WHERE item_id = 101")
all=$(on 0 -c "SELECT array_agg(n ORDER BY n <> $home, n) FROM generate_series(1, $nodes) n")
on "$home" -c "CALL seckill_split(101, '$all')"
[ "$split_clients" -le $users ] || start_pgbouncer $pooled_port "$split_clients" "${POOL:-50}" $first_port
seconds=$(crowd "$split_clients" $((split_attempts / split_clients)) "\\set u random(1, $users)
$(call 101 :u auto)")
report 101 split "$seconds" 2
echo
sed 's/^/moves: /' "$workdir/moves"
on 0 -c "SELECT 'split: ' || string_agg(n || ' sold by node ' || node_no, ', ' ORDER BY node_no)
    FROM (SELECT node_no, count(*) AS n FROM seckill.cluster_orders WHERE item_id = 101 GROUP BY 1) o"
on 0 -c "SELECT 'split: ' || string_agg(n || ' ' || outcome, ', ' ORDER BY outcome)
    FROM (SELECT outcome, count(*) AS n FROM told WHERE item_id = 101 GROUP BY 1) t"
on 0 -c "SELECT 'split: ' || count(*) || ' attempts answered, by $split_clients clients, for ' || count(DISTINCT user_id) || ' users'
    FROM told WHERE item_id = 101"
echo
