# Functions for a router and several nodes, throw-away servers on sockets of their
# own.  Sourced after common.sh; $nodes is the number of nodes.

first_port=5441

# Install PL/Proxy for the PostgreSQL that was chosen, unless it is there.
ensure_plproxy() {
    has_plproxy || {
        debian_major "$PG_CONFIG" > /dev/null ||
            die "PL/Proxy is not installed for $PG_CONFIG"
        ensure_packages "$(plproxy_package)"
    }
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

    make_workdir stop_servers
    unset PGSERVICE PGHOSTADDR PGOPTIONS PGHOST PGPORT PGUSER PGDATABASE
    export PGCONNECT_TIMEOUT=10
    PATH="$bindir:$PATH"
    for i in $(seq 0 $nodes); do
        {
            echo "port = $((first_port + i))"
            [ "$i" = 0 ] || echo "shared_preload_libraries = 'seckill'"
            echo 'max_connections = 250'
            echo 'shared_buffers = 32MB'
        } | make_cluster "data$i"
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
}

# Print the processor time in ms that a server has used, without its running backends.
cpu() {
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13 + $14 + $15) * 1000 / hz }' \
        "/proc/$(head -1 "$workdir/data$1/postmaster.pid")/stat"
}

# Wait until the backends of the clients have ended and are counted.
settle() {
    local i

    for i in $(seq 0 $nodes); do
        until [ "$(on "$i" -c "SELECT count(*) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")" = 0 ]; do
            sleep 0.1
        done
    done
}

cpu_of_nodes() {
    local i

    for i in $(seq 1 $nodes); do cpu "$i"; done | awk '{ sum += $1 } END { print sum }'
}

# Let clients repeat a script on a server for some seconds, and print their calls:
# number of the server, clients, seconds, script.
run() {
    pgbench -n -M prepared -c "$2" -j 1 -T "$3" -f "$4" "$(server "$1")" 2> /dev/null |
        sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p'
}
