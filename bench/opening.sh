# The first seconds of a sale, with and without a first lease.  Sourced by
# bench.sh.

opening_item=2001
opening_clients=64
opening_seconds=8

# Run a crowd that calls before and after the opening; print the units sold in
# each second after it.
opening() {
    sql "ALTER SYSTEM SET seckill.open_ahead = '$1'" > /dev/null
    sql 'SELECT pg_reload_conf()' > /dev/null
    fresh_tables opening
    sql "INSERT INTO seckill.items (item_id, stock, starts_at)
        VALUES ($opening_item, 2000000000, clock_timestamp() + interval '4 s')"
    # the crowd calls for 4 seconds before the opening
    pgbench -n -M prepared -c "$opening_clients" -j 2 -T $((opening_seconds + 5)) \
        -f bench/scripts/opening.sql > "$workdir/out" 2>&1 ||
        { head -n 20 "$workdir/out" >&2; die 'opening failed'; }
    sql "SELECT count(o) FROM generate_series(0, $opening_seconds - 1) s
        JOIN seckill.items i ON i.item_id = $opening_item
        LEFT JOIN seckill.orders o ON o.item_id = i.item_id
            AND floor(extract(epoch FROM o.created_at - i.starts_at)) = s
        GROUP BY s ORDER BY s" | paste -sd ','
}

# Append open_ahead, the number of clients and the units of each second to
# opening.csv for each round.
measure_openings() {
    local round ahead sold

    for ((round = 1; round <= openings; round++)); do
        for ahead in 0 5s; do
            sold=$(opening "$ahead")
            echo "$ahead,$opening_clients,$sold" >> "$results/opening.csv"
            say "opening, open_ahead $ahead: $sold"
        done
    done
}
