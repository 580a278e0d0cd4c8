# Start and stop the whole chain in a folder of its own.  Sourced after
# scripts/common.sh, with the top of the source tree as working directory.
#
#   SHOP_PORT                port of the shop (8080); operators have the next one
#   SHOP_STARTS_IN           seconds until the sale begins (30)
#   SHOP_STOCK               units of each item (100)
#   SHOP_PAY_WITHIN          seconds to pay (300)
#   SHOP_POW_COST, _MIN, _MAX   cost of the proof of work, and range of its steps
#   SHOP_SECURE              1: cookies for https only
#   SHOP_REALIP              addresses of proxies in front, whose X-Forwarded-For is true

port=${SHOP_PORT:-8080}
starts_in=${SHOP_STARTS_IN:-30}
stock=${SHOP_STOCK:-100}
pay_within=${SHOP_PAY_WITHIN:-300}

# a user's PATH may lack it
PATH=$PATH:/usr/sbin

#
# What is needed
#

# Print the packages of what is missing.
shop_packages() {
    command -v nginx > /dev/null || echo nginx
    command -v pgbouncer > /dev/null || echo pgbouncer
    command -v npm > /dev/null || echo npm
}

# Install what is missing.  Services that come with it are not to start at the
# next boot either.
install_shop_packages() {
    local missing service

    missing=$(shop_packages | xargs)
    # shellcheck disable=SC2086
    ensure_packages $missing "$@"
    [ -d /run/systemd/system ] || return 0
    for service in nginx pgbouncer; do
        [[ " $missing " != *" $service "* ]] ||
            as_root systemctl --quiet disable $service 2> /dev/null || true
    done
}

# Packages from the npm registry, by the lockfile, unless they are there.
install_modules() {
    local log

    cmp -s shop/package-lock.json shop/node_modules/.installed && return
    say "installing packages of the service (npm)"
    log=$(mktemp)
    (cd shop && npm ci --no-progress) > "$log" 2>&1 || {
        cat "$log" >&2
        rm -f "$log"
        die "npm could not install the packages of shop/package-lock.json"
    }
    rm -f "$log"
    cp shop/package-lock.json shop/node_modules/.installed
}

# Print the program that runs the service: the package of this machine's kind.
node_program() {
    local program

    for program in "$1"/node_modules/node-linux-*/bin/node; do
        "$program" --version > /dev/null 2>&1 && echo "$program" && return
    done
    die "there is no Node.js for this machine in shop/node_modules"
}

# The server's user may not be able to enter this directory: it gets a copy then.
find_code() {
    code=$PWD/shop
    as_server_user test -r "$code/node_modules/fastify/package.json" 2> /dev/null || {
        code=$workdir/shop
        cp -r shop "$code"
        chmod -R a+rX "$code"
    }
    node=$(node_program "$code")
}

#
# Processes.  How each one is started is written to a file, which only its user
# may read: it has secrets.  Tests start processes anew with these files.
#

# Set as_user, the prefix that runs a command as the server's user.  Call it after
# PostgreSQL is installed, which creates that user.  Unlike runuser, setpriv does
# not stay as a parent process.
choose_user() {
    as_user=()
    [ "$(id -u)" != 0 ] || as_user=(setpriv "--reuid=$(server_user)"
        "--regid=$(id -gn "$(server_user)")" --init-groups)
}

# Write how to start a process: its environment on standard input, and a command.
define() {
    local file=$workdir/run/$1.sh

    shift
    {
        cat
        printf 'cd %q\nexec' "$workdir"
        printf ' %q' "$@"
        echo
    } | "${as_user[@]}" bash -c "umask 077; cat > '$file'"
}

# A group of its own, so that Ctrl-C reaches this script only.
launch() {
    "${as_user[@]}" setsid bash "$workdir/run/$1.sh" \
        >> "$workdir/log/$1.log" 2>&1 < /dev/null &
    echo $! > "$workdir/run/$1.pid"
}

is_up() {
    kill -0 "$(cat "$workdir/run/$1.pid" 2> /dev/null)" 2> /dev/null
}

# Send a signal to a process, if it runs.
send() {
    ! is_up "$2" || kill "-$1" "$(cat "$workdir/run/$2.pid")" 2> /dev/null || true
}

# Wait until a process has ended; after so many seconds it is killed.
await_end() {
    local deadline=$((SECONDS + $2))

    while is_up "$1"; do
        [ $SECONDS -lt $deadline ] || send KILL "$1"
        sleep 0.05
    done
}

# Wait for a condition, 20 seconds at most.
await() {
    local what=$1 deadline=$((SECONDS + 20))

    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || {
            tail -n 20 "$workdir"/log/*.log >&2
            die "$what does not start"
        }
        sleep 0.05
    done
}

answers() {
    local status=

    { exec 3<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return 1
    printf 'GET %s HTTP/1.0\r\nHost: shop\r\n\r\n' "$2" >&3
    read -r _ status _ <&3 || true
    exec 3>&-
    [ "$status" = 200 ]
}

port_is_free() {
    ! (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

#
# The chain
#

secret() {
    head -c 32 /dev/urandom | base64 -w 0
}

# Replace the names in @ of a template.
fill() {
    sed -e "s|@workdir@|$workdir|g" -e "s|@port@|$port|g" \
        -e "s|@operators@|$((port + 1))|g" \
        -e "s|@realip@|${SHOP_REALIP:+set_real_ip_from $SHOP_REALIP; real_ip_header X-Forwarded-For;}|" \
        "shop/conf/$1.in" > "$workdir/conf/$1"
}

make_folders() {
    local folder

    chmod 711 "$workdir"
    for folder in sockets conf run log tmp cache web; do
        mkdir "$workdir/$folder"
    done
    chmod 700 "$workdir"/{sockets,run,tmp,cache}
    touch "$workdir"/log/{server,pgbouncer,nginx,access}.log
    [ "$(id -u)" != 0 ] ||
        chown -R "$(server_user)" "$workdir"/{sockets,conf,run,log,tmp,cache,web}
}

start_database() {
    say "starting PostgreSQL"
    start_server <<CONF
unix_socket_permissions = 0700
max_connections = ${SHOP_CONNECTIONS:-100}
max_locks_per_transaction = 256
seckill.token_key = '$(secret)'
seckill.queue_notify = on
${CONF:-}
CONF
    trap stop_shop EXIT
    sql 'CREATE DATABASE shop'
    export PGDATABASE=shop
    psql -Xq -f shop/sql/shop.sql
}

start_pooler() {
    echo '"shop_web" ""' > "$workdir/conf/users.txt"
    fill pgbouncer.ini
    define pgbouncer "$(command -v pgbouncer)" "$workdir/conf/pgbouncer.ini" < /dev/null
    launch pgbouncer
    await pgbouncer test -S "$workdir/sockets/.s.PGSQL.6432"
}

service_environment() {
    cat <<ENV
export SHOP_SOCKET=$workdir/sockets/service$1.sock
export SHOP_POOLER=$workdir/sockets SHOP_SERVER=$workdir
export SHOP_PROVIDER_SOCKET=$workdir/sockets/provider.sock
export SHOP_COOKIE_SECRET=$cookie_secret SHOP_TICKET_SECRET=$ticket_secret
export SHOP_WEBHOOK_SECRET=$webhook_secret
export SHOP_POW_SECRET=$pow_secret SHOP_POW_KEY_SECRET=$pow_key_secret
export SHOP_POW_COST=${SHOP_POW_COST:-5000}
export SHOP_POW_MIN=${SHOP_POW_MIN:-300} SHOP_POW_MAX=${SHOP_POW_MAX:-600}
export SHOP_SECURE=${SHOP_SECURE:-0}
export SHOP_MERGE=${SHOP_MERGE:-100} SHOP_LANES=${SHOP_LANES:-1}
export NODE_ENV=production
ENV
}

provider_environment() {
    cat <<ENV
export SHOP_PROVIDER_SOCKET=$workdir/sockets/provider.sock
export SHOP_WEBHOOK_SECRET=$webhook_secret
export SHOP_FRONT=http://127.0.0.1:$port
export SHOP_ASSETS=$workdir/web/assets.json
ENV
}

start_services() {
    local i cookie_secret ticket_secret webhook_secret pow_secret pow_key_secret

    say "starting the service, twice, and the payment provider"
    cookie_secret=$(secret)
    ticket_secret=$(secret)
    webhook_secret=whsec_$(secret)
    pow_secret=$(secret)
    pow_key_secret=$(secret)
    provider_environment | define provider "$node" "$code/provider/provider.js"
    for i in 1 2; do
        service_environment $i | define service$i "$node" "$code/service/main.js"
        launch service$i
    done
    launch provider
    await provider test -S "$workdir/sockets/provider.sock"
}

# Make the pages of all goods.
publish() {
    sql "SELECT json_agg(g ORDER BY item_id)
        FROM (SELECT * FROM shop.goods JOIN seckill.items USING (item_id)) g" \
        > "$workdir/conf/goods.json"
    "${as_user[@]}" "$node" "$code/pages/publish.js" "$workdir/conf/goods.json" "$workdir/web"
}

start_front() {
    say "starting nginx"
    fill nginx.conf
    define nginx "$(command -v nginx)" -e "$workdir/log/nginx.log" \
        -c "$workdir/conf/nginx.conf" < /dev/null
    launch nginx
    await nginx answers "$port" /api/time
    await service1 answers $((port + 1)) /health/1
    await service2 answers $((port + 1)) /health/2
}

start_shop() {
    port_is_free "$port" && port_is_free $((port + 1)) ||
        die "port $port or $((port + 1)) is in use: choose another one with SHOP_PORT"
    choose_user
    start_database
    make_folders
    # for the tests of restarts
    define postgres "$bindir/postgres" -D "$workdir/data" < /dev/null
    find_code
    start_pooler
    psql -Xq -v starts_in="$starts_in" -v stock="$stock" -v pay_within="$pay_within" \
        -f shop/sql/demo.sql
    publish
    start_services
    start_front
}

# Stop nginx first, then the services behind it, and the database last.
stop_shop() {
    trap '' INT TERM
    if [ -d "$workdir/run" ]; then
        send QUIT nginx
        send TERM service1
        send TERM service2
        await_end service1 9
        await_end service2 9
        await_end nginx 3
        send TERM provider
        await_end provider 3
        send TERM pgbouncer
        await_end pgbouncer 3
        [ -z "${LOGS:-}" ] || { mkdir -p "$LOGS" && cp "$workdir"/log/*.log "$LOGS"; }
    fi
    stop_server
}
