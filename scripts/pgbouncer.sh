# pgbouncer in transaction pooling in front of a server on a socket in $workdir.
# Sourced after common.sh.

# Start it on a port, for so many clients and server connections of a server's port.
start_pgbouncer() {
    cat > "$workdir/pgbouncer.ini" <<CONF
[databases]
postgres = host=$workdir port=$4 user=postgres

[pgbouncer]
listen_port = $1
unix_socket_dir = $workdir
auth_type = any
pool_mode = transaction
default_pool_size = $3
max_client_conn = $(($2 + 10))
pidfile = $workdir/pgbouncer.pid
logfile = $workdir/pgbouncer.log
CONF
    # whoever becomes another user may get another limit of open files
    (cd "$workdir" && as_server_user bash -c \
        'ulimit -n 8192 2> /dev/null; exec pgbouncer -d -q pgbouncer.ini') ||
        die 'pgbouncer does not start'
}

stop_pgbouncer() {
    [ ! -f "$workdir/pgbouncer.pid" ] || as_root kill "$(cat "$workdir/pgbouncer.pid")"
}
