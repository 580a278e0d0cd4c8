#!/bin/bash
# The classic sale: 200 connections, 100 units, once for each mode.
# KEEP=1 leaves the server up; PG_CONFIG chooses the PostgreSQL.

cd "$(dirname "$0")/.."
. scripts/common.sh

users=200
units=100

# Sell one item to the crowd; prints how long that took, in seconds.
sell() {
    local item=$1 mode=$2 script=$workdir/$2.sql out=$workdir/$2.out

    echo "SELECT outcome, order_id FROM seckill_buy($item, :client_id + 1, '$mode');" > "$script"
    PGOPTIONS='-c seckill.allow_unsafe=on' \
        pgbench -n -c $users -j 2 -t 1 -f "$script" > "$out" 2>&1 ||
        { cat "$out" >&2; die "mode $mode failed"; }
    sed -n "s/^tps = \([0-9.]*\).*/\1/p" "$out" | awk "{ print $users / \$1 }"
}

# The row's own story beside what was really sold.
verdict() {
    local mode=$1 orders=$2 sold=$3 left=$4

    if [ $((sold + left)) -ne $units ]; then
        echo "WRONG: $sold sold, $left left of $units"
    elif [ "$orders" -ne "$sold" ]; then
        echo "WRONG: $orders orders, $sold sold"
    elif [ "$sold" -eq $units ]; then
        echo 'right: all sold'
    elif [ "$mode" = optimistic ]; then
        echo "right: $((users - sold)) lost the race"
    else
        echo 'WRONG: units unsold'
    fi
}

report() {
    local item=$1 mode=$2 seconds=$3 orders sold left

    IFS='|' read -r orders sold left < <(sql "
        SELECT (SELECT count(*) FROM seckill.orders WHERE item_id = $item),
            sold, stock + unsold
        FROM seckill_audit($item)")
    printf '%-12s %7d %7d %7d   %-34s %8.3f %8.0f\n' "$mode" "$orders" \
        "$sold" "$left" "$(verdict "$mode" "$orders" "$sold" "$left")" \
        "$seconds" "$(awk "BEGIN { print $sold / $seconds }")"
}

ensure_packages
build_and_install
start_server <<'CONF'
max_connections = 250
CONF
sql 'CREATE EXTENSION seckill'

echo
echo "$users users, each on a connection of its own, buy 1 of $units units"
echo
printf '%-12s %7s %7s %7s   %-34s %8s %8s\n' mode orders sold left verdict \
    seconds sold/s
item=0
for mode in none optimistic retry pessimistic advisory cache queue auto; do
    item=$((item + 1))
    sql "INSERT INTO seckill.items (item_id, title, stock) VALUES ($item, '$mode', $units)"
    report $item $mode "$(sell $item $mode)"
done
echo
