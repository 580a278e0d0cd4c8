#!/bin/bash
# Many clients through pgbouncer in transaction pooling, with far more attempts than
# units, in each mode and in all at once: exactly the units are sold.
#
#   CLIENTS (1000), ATTEMPTS in each mode (1000000), UNITS (100), POOL (50
#   server connections), PG_CONFIG

cd "$(dirname "$0")/.."
. scripts/common.sh
. scripts/pgbouncer.sh

clients=${CLIENTS:-1000}
attempts=${ATTEMPTS:-1000000}
units=${UNITS:-100}
pool=${POOL:-50}
modes='optimistic retry pessimistic advisory cache queue auto'

# Let the crowd at an item, by the scripts of the modes named; sets answered.
crowd() {
    local item=$1 out=$workdir/out mode
    local -a scripts

    shift
    for mode in "$@"; do
        echo "SELECT seckill_buy($item, :client_id, '$mode');" > "$workdir/$mode.sql"
        scripts+=(-f "$workdir/$mode.sql")
    done
    # with the extended protocol every call is parsed and planned again
    pgbench -n -M extended -c "$clients" -j 2 -t $((attempts / clients)) \
        -p 6432 "${scripts[@]}" > "$out" 2>&1 ||
        { head -n 20 "$out" >&2; die "$*: the crowd failed"; }
    answered=$(sed -n 's/.*actually processed: \([0-9]*\).*/\1/p' "$out")
}

# Print a row of the table; counts violations.
report() {
    local item=$1 name=$2 start=$3 orders difference verdict=right

    orders=$(sql "SELECT coalesce(sum(quantity), 0) FROM seckill.orders WHERE item_id = $item")
    difference=$(sql "SELECT difference FROM seckill_audit($item)")
    if [ "$orders" -ne "$units" ] || [ "$difference" -ne 0 ] ||
        [ "$answered" -ne $((attempts / clients * clients)) ]; then
        verdict=WRONG
        wrong=$((wrong + 1))
    fi
    printf '%-12s %9d %7d %11d   %-7s %8d\n' "$name" "$answered" "$orders" \
        "$difference" "$verdict" $((SECONDS - start))
}

ensure_packages pgbouncer
build_and_install
start_server <<CONF
max_connections = $((pool + 20))
CONF
trap 'stop_pgbouncer; stop_server' EXIT
ulimit -n 8192 2> /dev/null || true
start_pgbouncer 6432 "$clients" "$pool" 5432
sql 'CREATE EXTENSION seckill'

echo
echo "$clients clients through pgbouncer, $attempts attempts in each mode at $units units"
echo
printf '%-12s %9s %7s %11s   %-7s %8s\n' mode answered sold difference verdict seconds
item=0
wrong=0
for mode in $modes mix; do
    item=$((item + 1))
    start=$SECONDS
    sql "INSERT INTO seckill.items (item_id, stock) VALUES ($item, $units)"
    if [ "$mode" = mix ]; then
        # shellcheck disable=SC2086
        crowd $item $modes
    else
        crowd $item "$mode"
    fi
    report $item "$mode" "$start"
done
echo
[ $wrong -eq 0 ]
