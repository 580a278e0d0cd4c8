# Measure a contestant that speaks SQL.  Sourced by bench.sh and compare.sh,
# which set seconds, warm_up, units and expiring.

# Empty the tables and insert the items of all workloads, those that are not on
# sale included.  Arguments: the contestant and the workload.
fresh_tables() {
    sql "TRUNCATE $(sql "SELECT string_agg(format('%I.%I', relnamespace::regnamespace, relname), ', ')
            FROM pg_class
            WHERE relnamespace IN ('seckill'::regnamespace, 'rival'::regnamespace) AND relkind = 'r'")"
    sql "INSERT INTO rival.items (item_id, stock)
        SELECT n, 2000000000 FROM generate_series(1, 100) n
        UNION ALL SELECT 1002, 0;
        INSERT INTO seckill.items (item_id, stock)
        SELECT item_id, stock FROM rival.items;
        INSERT INTO seckill.items (item_id, stock, starts_at, ends_at) VALUES
            (1003, 9, 'infinity', NULL), (1004, 9, NULL, '-infinity');
        INSERT INTO seckill.items (item_id, stock, per_user_limit, pay_within) VALUES
            (1005, 2000000000, 1, NULL), (1006, 2000000000, NULL, '1 h')"
    [ "${2:-}" != accounts ] || accounts
    if [ "$1" = skip_locked ]; then
        sql "INSERT INTO rival.units SELECT 1, n FROM generate_series(1, $units) n"
        sql 'VACUUM ANALYZE rival.units'
    fi
    case ${2:-} in
        codes) numbered_item 2001 "$units" "'C-' || n, NULL, NULL" true ;;
        prizes) numbered_item 2002 "$units" "NULL, CASE WHEN n % 1000 = 0 THEN 1 ELSE 2 END, NULL" 'n % 3 = 0' ;;
        envelopes) envelopes ;;
        # more than are sold in a run, twenty at a time
        train | trains) trains $(((seconds * 30 + 39) / 20 * 20)) ;;
        full) full_train ;;
    esac
    case $1 in
        code_pool)
            sql "INSERT INTO rival.codes SELECT 2001, n, 'C-' || n FROM generate_series(1, $units) n"
            sql 'VACUUM ANALYZE rival.codes'
            ;;
        odds) sql "INSERT INTO rival.prizes VALUES (2002, 1, 1, $units), (2002, 2, 333, $units)" ;;
    esac
    if [[ $1 = *_expiring ]]; then
        expiring_orders
    fi
    sql CHECKPOINT
}

# Insert an item with so many numbered units; those numbers n for which a
# condition holds have a value: code, prize and amount.
numbered_item() {
    sql "INSERT INTO seckill.items (item_id, stock, numbered) VALUES ($1, $2, true);
        INSERT INTO seckill.units SELECT $1, n, $3 FROM generate_series(1, $2) n WHERE $4"
    sql 'VACUUM ANALYZE seckill.units'
}

# Insert a hundred thousand items, for the extension and for the rivals.
accounts() {
    sql "INSERT INTO rival.items (item_id, stock)
            SELECT n, 2000000000 FROM generate_series(100001, 200000) n;
        INSERT INTO seckill.items (item_id, stock)
            SELECT item_id, stock FROM rival.items WHERE item_id > 100000"
    sql 'VACUUM ANALYZE rival.items'
    sql 'VACUUM ANALYZE seckill.items'
}

# Insert a thousand envelopes of 300 shares.
envelopes() {
    sql "INSERT INTO seckill.items (item_id, stock, numbered)
            SELECT n, 300, true FROM generate_series(3001, 4000) n;
        INSERT INTO seckill.units SELECT n, k, NULL, NULL, k * 10
            FROM generate_series(3001, 4000) n, generate_series(1, 300) k"
    sql 'VACUUM ANALYZE seckill.units'
}

# Insert so many trains of 1000 seats and 20 legs, for the extension and for the
# rivals.
trains() {
    sql "INSERT INTO seckill.items (item_id, stock, legs) SELECT n, 0, 20 FROM generate_series(5001, 5000 + $1) n;
        INSERT INTO seckill.seats (item_id, seat, block, car)
            SELECT n, s, s / 5, s / 50 FROM generate_series(5001, 5000 + $1) n, generate_series(1, 1000) s;
        INSERT INTO rival.seats SELECT item_id, seat FROM seckill.seats"
    sql 'VACUUM ANALYZE seckill.seats'
    sql 'VACUUM ANALYZE rival.seats'
}

# Insert a train that is sold out.
full_train() {
    sql "INSERT INTO seckill.items (item_id, stock, legs) VALUES (4999, 0, 20);
        INSERT INTO seckill.seats (item_id, seat) SELECT 4999, s FROM generate_series(1, 1000) s;
        SELECT count(*) FROM generate_series(1, 50) n,
            LATERAL seckill_book(4999, -n, 0, 20, 20, together => 'any')" > /dev/null
}

# Insert pending orders of the item on sale that expire during the run.
expiring_orders() {
    sql "SELECT count(*) FROM seckill_buy_many(1006,
            ARRAY(SELECT -n FROM generate_series(1, $expiring * $seconds) n), 'cache')" > /dev/null
    sql "UPDATE seckill.orders SET pay_by = now() + interval '1 s' * (-user_id / $expiring::float8)"
}

# Print the units sold.  A counter has no orders: its sales are the difference
# of its stock.
units_sold() {
    case $1 in
        counter_*) sql 'SELECT 2000000000 - stock FROM rival.items WHERE item_id = 1' ;;
        *) sql 'SELECT (SELECT count(*) FROM seckill.orders WHERE user_id > 0) + (SELECT count(*) FROM rival.orders)' ;;
    esac
}

microseconds() {
    echo "${EPOCHREALTIME/[.,]/}"
}

# Wait until no order has been written for a second; print the seconds from the
# call to the last order.
drain() {
    local start now last=-1 came count

    start=$(microseconds)
    came=$start
    while
        count=$(units_sold submit)
        now=$(microseconds)
        [ "$count" = "$last" ] || came=$now
        last=$count
        [ $((now - came)) -lt 1000000 ]
    do
        [ $((now - start)) -lt 120000000 ] || die 'the queue does not drain'
        sleep 0.1
    done
    awk "BEGIN { print ($came - $start) / 1e6 }"
}

# Print the answers a second, from pgbench's progress.
answered_rate() {
    awk -v warm_up="$warm_up" '
        $1 == "progress:" && $2 > warm_up + 0.5 { sum += $4; n++ }
        END { if (!n) exit 1; print sum / n }' "$1"
}

# Print the 50th and 99th percentile in ms, from pgbench's log of transactions.
percentiles() {
    cat "$workdir"/latency.* |
        awk -v warm_up="$warm_up" '
            { now = $5 + $6 / 1e6 }
            NR == 1 { start = now }
            now >= start + warm_up { print $3 }' |
        sort -n |
        awk '
            function at(p,    k) {
                k = int(NR * p)
                return time[k < NR * p ? k + 1 : k] / 1000
            }
            { time[NR] = $1 }
            END { print at(0.5), at(0.99) }'
}

# Call a contestant's statement for the seconds of a run.
run_pgbench() {
    local workload=$1 clients=$2 name=$3 options=

    # the setting for many small items
    [[ $name != *_hot ]] || options='-c seckill.hot_rate=5'
    cat "bench/workloads/$workload.sql" "bench/scripts/$name.sql" > "$workdir/script.sql"
    rm -f "$workdir"/latency.*
    # -T does not end a call that still waits
    PGOPTIONS=$options timeout --foreground $((seconds + 120)) \
        pgbench -n -M prepared -c "$clients" -j 2 -T "$seconds" -P 1 \
        -D units="$units" -D clients="$clients" -D n=0 \
        --log --sampling-rate=0.2 --log-prefix="$workdir/latency" \
        -f "$workdir/script.sql" > "$workdir/out" 2>&1 ||
        { head -n 20 "$workdir/out" >&2; die "$name failed"; }
}

# Set calls, answered, sold and accepted (a second), p50 and p99 (ms) from the
# output of run_pgbench and from the tables.
evaluate_pgbench() {
    local name=$1 count wait=0

    [[ $name != submit* ]] || wait=$(drain)
    calls=$(sed -n 's/.*actually processed: \([0-9]*\).*/\1/p' "$workdir/out")
    count=$(units_sold "$name")

    answered=$(answered_rate "$workdir/out") || die "$name: no progress after the warm-up"
    read -r p50 p99 < <(percentiles)
    # the seconds of warm-up count in the orders and the calls alike
    accepted=$(awk "BEGIN { print $answered * $count / $calls }")
    sold=$accepted
    # what was accepted is sold when the queue has drained
    [[ $name != submit* ]] || sold=$(awk "BEGIN { print $count / ($seconds + $wait) }")
}

# Put the server and all sessions to come into a scheduling class, "other" or
# "batch".
schedule_server() {
    local postmaster process

    postmaster=$(head -n 1 "$workdir/data/postmaster.pid")
    chrt "--$1" --pid 0 "$postmaster"
    for process in $(cat "/proc/$postmaster/task/$postmaster/children"); do
        # it may have ended by now
        chrt "--$1" --pid 0 "$process" 2> /dev/null || true
    done
}

# Set answered, sold and accepted (a second), p50 and p99 (ms).
measure_pgbench() {
    fresh_tables "$3" "$1"
    if [ "$1" = batch ]; then
        schedule_server batch
    else
        schedule_server other
    fi
    run_pgbench "$@"
    evaluate_pgbench "$3"
}
