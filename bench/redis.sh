# Measure Redis.  Sourced by bench.sh.

redis_pid=

has_redis() {
    command -v redis-server > /dev/null && command -v redis-benchmark > /dev/null &&
        command -v redis-cli > /dev/null
}

redis() {
    redis-cli -s "$workdir/redis.sock" "$@"
}

# Start a server that has every order on disk before its answer, as PostgreSQL
# has, and that rewrites no file during a run.
start_redis() {
    local i

    mkdir "$workdir/redis"
    redis-server --port 0 --unixsocket "$workdir/redis.sock" --dir "$workdir/redis" \
        --appendonly yes --appendfsync always --save '' \
        --auto-aof-rewrite-percentage 0 > "$workdir/redis.log" 2>&1 &
    redis_pid=$!
    for ((i = 0; i < 100; i++)); do
        [ "$(redis PING 2> /dev/null)" != PONG ] || return 0
        sleep 0.05
    done
    cat "$workdir/redis.log" >&2
    die 'redis-server does not start'
}

stop_redis() {
    [ -n "$redis_pid" ] || return 0
    kill "$redis_pid" 2> /dev/null || true
    wait "$redis_pid" || true
    redis_pid=
    rm -rf "$workdir/redis"
}

# Print 10000 items of three digits, the k-th in proportion to 1 / k ^ s.
items_to_pick() {
    awk -v s="$1" 'BEGIN {
        for (k = 1; k <= 100; k++)
            sum += 1 / k ^ s
        for (k = 1; k <= 100; k++)
            for (reach += 10000 / k ^ s / sum; n < reach - 0.5; n++)
                printf "%03d", k
    }'
}

# Make a list of values for each item from one to another: what its units are
# worth.
redis_lists() {
    awk -v first="$1" -v last="$2" -v units="$3" 'BEGIN {
        for (item = first; item <= last; item++)
            for (n = 1; n <= units; n += 1000) {
                printf "LPUSH values:%d", item
                for (k = n; k < n + 1000 && k <= units; k++)
                    printf " C-%d", k
                print ""
            }
    }' | redis > /dev/null
}

# Set the units of every item; print the script's argument for the item.
redis_items() {
    local k

    for k in $(seq -f %03g 100); do
        echo "HSET stock $k 2000000000"
    done | redis > /dev/null
    redis HSET stock 1002 0 > /dev/null
    case $1 in
        hot | merged) echo 001 ;;
        storm) echo 1002 ;;
        # more than are sold in a run
        codes) redis_lists 2001 2001 $((2 * units)); echo 2001 ;;
        prizes) redis_lists 2002 2002 $((2 * units)); echo 2002 ;;
        envelopes) redis_lists 3001 4000 $((2 * units / 1000)); echo envelope ;;
        train | trains) echo "$1" ;;
        uniform) items_to_pick 0 | redis -x SET pick > /dev/null; echo any ;;
        zipf) items_to_pick 1.001 | redis -x SET pick > /dev/null; echo any ;;
        *) die "no Redis contestant in $1" ;;
    esac
}

# Print calls a second, p50 and p99.
run_redis() {
    local clients=$1 calls=$2 item=$3 sha=$4 pipelined=$5

    redis-benchmark -s "$workdir/redis.sock" -c "$clients" -n "$calls" -P "$pipelined" -r 1000000 --csv \
        evalsha "$sha" 3 stock orders pick "$item" __rand_int__ __rand_int__ \
        > "$workdir/out" 2>&1 || { cat "$workdir/out" >&2; die 'redis-benchmark failed'; }
    tail -n 1 "$workdir/out" | awk -F'","' '{ print $2, $5, $7 }'
}

# Set answered, sold and accepted (a second), p50 and p99 (ms).
measure_redis() {
    local workload=$1 clients=$2 name=$3 pipelined=1 item sha calls before

    [ "$name" != redis_100 ] || pipelined=100
    start_redis
    item=$(redis_items "$workload")
    case $workload in
        codes | prizes | envelopes) sha=$(redis -x SCRIPT LOAD < bench/redis_list.lua) ;;
        train | trains) sha=$(redis -x SCRIPT LOAD < bench/redis_seats.lua) ;;
        *) sha=$(redis -x SCRIPT LOAD < bench/redis.lua) ;;
    esac
    # redis-benchmark takes a number of calls, not of seconds: the warm-up
    # shows how many calls fit into the time
    read -r answered p50 p99 < <(run_redis "$clients" $(((1000 + 200 * clients) * pipelined)) "$item" "$sha" $pipelined)
    calls=$(awk "BEGIN { print int($answered * ($seconds - $warm_up)) }")
    before=$(redis XLEN orders)
    read -r answered p50 p99 < <(run_redis "$clients" "$calls" "$item" "$sha" $pipelined)
    sold=$(awk "BEGIN { print $answered * ($(redis XLEN orders) - $before) / $calls }")
    accepted=$sold
    stop_redis
}
