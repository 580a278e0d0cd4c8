#!/bin/bash
# The classic sale: 200 connections, 100 units, once for each mode; then a train; then
# units that have values: codes, an envelope and a prize pool.
# KEEP=1 leaves the server up; PG_CONFIG chooses the PostgreSQL; USERS and UNITS make
# another sale.

cd "$(dirname "$0")/.."
. scripts/common.sh

users=${USERS:-200}
units=${UNITS:-100}
seats=100
legs=9

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

# Let each user book two seats of a train from one stop to another; prints how
# long that took.
book() {
    local item=$1 mode=$2 script=$workdir/seats.$2.sql out=$workdir/seats.$2.out

    cat > "$script" <<SQL
\\set from random(0, $((legs - 1)))
\\set to random(:from + 1, $legs)
SELECT outcome, seats FROM seckill_book($item, :client_id + 1, :from, :to, 2, '$mode', max_changes => 1);
SQL
    PGOPTIONS='-c seckill.allow_unsafe=on' \
        pgbench -n -c $users -j 2 -t 1 -f "$script" > "$out" 2>&1 ||
        { cat "$out" >&2; die "mode $mode failed"; }
    sed -n "s/^tps = \([0-9.]*\).*/\1/p" "$out" | awk "{ print $users / \$1 }"
}

report_seats() {
    local item=$1 mode=$2 seconds=$3 orders all taken twice different verdict

    IFS='|' read -r orders all taken twice different < <(sql "
        SELECT (SELECT count(*) FROM seckill.orders WHERE item_id = $item),
            seat_legs, taken, sold_twice, different
        FROM seckill_audit_seats($item)")
    verdict='right: no leg of a seat sold twice'
    [ "$twice" = 0 ] && [ "$different" = 0 ] ||
        verdict="WRONG: $twice legs of seats sold twice"
    printf '%-12s %7d %7d %7d   %-34s %8.3f %8.0f\n' "$mode" "$orders" \
        "$taken" "$((all - taken))" "$verdict" "$seconds" \
        "$(awk "BEGIN { print $orders / $seconds }")"
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
echo "$users users each book 2 of $seats seats of a train of $legs legs, from any stop to any other"
echo
printf '%-12s %7s %7s %7s   %-34s %8s %8s\n' mode orders sold free verdict \
    seconds orders/s
for mode in none optimistic retry pessimistic advisory cache queue auto; do
    item=$((item + 1))
    sql "INSERT INTO seckill.items (item_id, title, stock, legs) VALUES ($item, '$mode', 0, $legs);
        INSERT INTO seckill.seats (item_id, seat, block, car)
        SELECT $item, s, (s - 1) / 5, (s - 1) / 20 FROM generate_series(1, $seats) s"
    report_seats $item $mode "$(book $item $mode)"
done
echo


#
# Units with values
#

# Put units with these values on sale as an item of its own.
add_values() {
    local item=$1 title=$2 values=$3

    sql "INSERT INTO seckill.items (item_id, title, stock, numbered) VALUES ($item, '$title', 0, true);
         SELECT added FROM seckill_add_units($item, $values)" > /dev/null
}

# Each user claims one unit.
claim() {
    local item=$1 mode=$2 script=$workdir/claim_$2.sql out=$workdir/claim_$2.out

    echo "SELECT outcome, unit FROM seckill_claim($item, :client_id + 1, '$mode');" > "$script"
    pgbench -n -c $users -j 2 -t 1 -f "$script" > "$out" 2>&1 ||
        { cat "$out" >&2; die "mode $mode failed"; }
}

# What the audits say of the item.
report_values() {
    local item=$1 what=$2 mode=$3 units taken left amount given wrong

    IFS='|' read -r units taken left amount given wrong < <(sql "
        SELECT a.supplied, a.sold, a.stock + a.unsold, coalesce(v.amount, 0), coalesce(v.given_amount, 0),
            abs(a.difference) + a.missing + a.double_sold + coalesce(v.wrong, 0)
                + seckill_count(a.twice) + seckill_count(a.foreign_numbers)
        FROM seckill_audit($item) a
            CROSS JOIN (SELECT sum(amount) AS amount, sum(given_amount) AS given_amount,
                    sum(abs(difference) + abs(amount_difference)) AS wrong
                FROM seckill_audit_values($item)) v")
    printf '%-12s %-12s %6d %6d %6d %8d %8d   %s\n' "$what" "$mode" "$units" \
        "$taken" "$left" "$amount" "$given" \
        "$([ "$wrong" = 0 ] && echo 'right: each number once' || echo "WRONG: $wrong")"
}

echo "$users users claim one of $units units with values"
echo
printf '%-12s %-12s %6s %6s %6s %8s %8s   %s\n' what mode units taken left \
    amount given audit
for mode in optimistic retry pessimistic advisory cache queue auto; do
    for what in codes envelope pool; do
        item=$((item + 1))
        case $what in
            codes) add_values $item $what "codes => seckill_make_codes($units)" ;;
            envelope) add_values $item $what "amounts => seckill_divide_amount(10000, $units, seed => sha256('$mode'))" ;;
            pool) add_values $item $what "prizes => seckill_deal_prizes($units, '{1,10}', seed => sha256('$mode'))" ;;
        esac
        claim $item $mode
        report_values $item $what $mode
    done
done
echo
