#!/bin/bash
# Four nodes and a router on this machine: the classic sale through the router, once
# for each mode, then a sale whose item moves to another node twice meanwhile.
# KEEP=1 leaves the servers up; PG_CONFIG chooses the PostgreSQL.

cd "$(dirname "$0")/.."
. scripts/common.sh

nodes=4
users=200
units=100
first_port=5441

# PL/Proxy for the PostgreSQL that was chosen.
ensure_plproxy() {
    local major

    if [ ! -f "$("$PG_CONFIG" --pkglibdir)/plproxy.so" ]; then
        major=$(debian_major "$PG_CONFIG") ||
            die "PL/Proxy is not installed for $PG_CONFIG"
        ensure_packages "postgresql-$major-plproxy"
    fi
}

# Print the connection string of server i; the router is number 0.
server() {
    echo "host=$workdir port=$((first_port + $1)) user=postgres dbname=postgres"
}

on() {
    local i=$1

    shift
    psql -XAtq -v ON_ERROR_STOP=1 -F '|' "$(server "$i")" "$@"
}

control() {
    local i=$1

    shift
    (cd "$workdir" && as_server_user "$bindir/pg_ctl" -D "$workdir/data$i" -s "$@")
}

start_servers() {
    local i

    bindir=$("$PG_CONFIG" --bindir)
    workdir=$(mktemp -d "${TMPDIR:-/tmp}/seckill.XXXXXX")
    chmod 755 "$workdir"
    [ "$(id -u)" != 0 ] || chown "$(server_user)" "$workdir"
    trap stop_servers EXIT
    unset PGSERVICE PGHOSTADDR PGOPTIONS PGHOST PGPORT PGUSER PGDATABASE
    PATH="$bindir:$PATH"
    for i in $(seq 0 $nodes); do
        (cd "$workdir" && as_server_user "$bindir/initdb" -D "$workdir/data$i" \
            -U postgres -A trust -E UTF8 --no-locale) > "$workdir/initdb.log" 2>&1 || {
            cat "$workdir/initdb.log" >&2
            die "initdb failed"
        }
        {
            echo "port = $((first_port + i))"
            echo "listen_addresses = ''"
            echo "unix_socket_directories = '$workdir'"
            [ "$i" = 0 ] || echo "shared_preload_libraries = 'seckill'"
            echo 'max_connections = 250'
            echo 'shared_buffers = 32MB'
        } | as_server_user tee -a "$workdir/data$i/postgresql.conf" > /dev/null
        control "$i" -w -l "$workdir/server$i.log" start || {
            cat "$workdir/server$i.log" >&2
            die "server $i does not start"
        }
    done
}

stop_servers() {
    local i

    if [ -n "${KEEP:-}" ]; then
        say "The servers stay up. Connect to the router, and to node 1:"
        say "    $bindir/psql '$(server 0)'"
        say "    $bindir/psql '$(server 1)'"
        say "Stop them with pg_ctl -D $workdir/data0 stop, and so on to data$nodes, as the user that runs them."
        return
    fi
    for i in $(seq 0 $nodes); do
        control "$i" -m immediate stop > /dev/null 2>&1 || true
    done
    [ -z "${LOGS:-}" ] || { mkdir -p "$LOGS" && cp "$workdir"/*.log "$LOGS"; }
    rm -rf "$workdir"
}

# Join the nodes, and make the router from the catalog of node 1.
join() {
    local i j list=

    for i in $(seq 1 $nodes); do
        on "$i" -c 'SET client_min_messages = warning' \
            -c 'CREATE EXTENSION seckill_cluster CASCADE' -c "SELECT seckill_join($i)" > /dev/null
        list="$list${list:+,}'$(server "$i")'"
    done
    for i in $(seq 1 $nodes); do
        for j in $(seq 1 $nodes); do
            [ "$i" = "$j" ] || on "$i" -c "SELECT seckill_add_node($j, '$(server "$j")')" > /dev/null
        done
    done
    on 1 -c "SELECT seckill_router(ARRAY[$list])" > "$workdir/router.sql"
    on 0 -f "$workdir/router.sql"
    # what each buyer was told
    on 0 -c 'CREATE TABLE told (item_id bigint, user_id bigint, request_id uuid, outcome text, order_id bigint)'
}

# Run a script through the router: clients, calls of each, script.
crowd() {
    local out=$workdir/crowd.out

    echo "$3" > "$workdir/crowd.sql"
    pgbench -n -c "$1" -j 2 -t "$2" -f "$workdir/crowd.sql" "$(server 0)" > "$out" 2>&1 ||
        { cat "$out" >&2; die "the crowd failed"; }
    sed -n "s/^tps = \([0-9.]*\).*/\1/p" "$out" | awk "{ print $1 * $2 / \$1 }"
}

call() {
    echo "INSERT INTO told SELECT $1, $2, q, b.outcome, b.order_id FROM gen_random_uuid() q, seckill_buy($1, $2, '$3', 1, q) b;"
}

# Print a row of the table: item, name, seconds.
report() {
    local item=$1 seconds=$3 node orders sold left audit told twice lost verdict

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
    if [ "$audit" != ok ]; then
        verdict="WRONG: $audit"
    elif [ "$twice" != 0 ] || [ "$lost" != 0 ] || [ "$told" != "$orders" ]; then
        verdict="WRONG: $told told, $orders orders, $lost lost, $twice double"
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
ensure_plproxy
build_and_install
start_servers
join

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
report 100 moves "$seconds"
echo
sed 's/^/moves: /' "$workdir/moves"
echo
