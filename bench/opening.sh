# The first seconds of a sale, with and without a first lease.  Sourced by
# bench.sh.

opening_item=2001
opening_clients=64
opening_seconds=8

# A crowd that calls before and after the opening; prints what was sold in each
# second after it.
opening() {
    sql "ALTER SYSTEM SET seckill.open_ahead = '$1'" > /dev/null
    sql 'SELECT pg_reload_conf()' > /dev/null
    fresh_tables opening
    sql "INSERT INTO seckill.items (item_id, stock, starts_at)
        VALUES ($opening_item, 2000000000, clock_timestamp() + interval '4 s')"
    # called for 4 seconds before
    pgbench -n -M prepared -c "$opening_clients" -j 2 -T $((opening_seconds + 5)) \
        -f bench/scripts/opening.sql > "$workdir/out" 2>&1 ||
        { head -n 20 "$workdir/out" >&2; die 'opening failed'; }
    sql "SELECT count(o) FROM generate_series(0, $opening_seconds - 1) s
        JOIN seckill.items i ON i.item_id = $opening_item
        LEFT JOIN seckill.orders o ON o.item_id = i.item_id
            AND floor(extract(epoch FROM o.created_at - i.starts_at)) = s
        GROUP BY s ORDER BY s" | paste -sd ' '
}

# Medians by column of the lines of standard input, as cells of a table.
median_cells() {
    awk '
        function median(column,    i, j, t, list) {
            for (i = 1; i <= NR; i++)
                list[i] = value[i, column]
            for (i = 1; i < NR; i++)
                for (j = i + 1; j <= NR; j++)
                    if (list[j] < list[i]) {
                        t = list[i]; list[i] = list[j]; list[j] = t
                    }
            return NR % 2 ? list[(NR + 1) / 2] : (list[NR / 2] + list[NR / 2 + 1]) / 2
        }
        { for (c = 1; c <= NF; c++) value[NR, c] = $c }
        END { for (c = 1; c <= NF; c++) printf " %d |", median(c); print "" }'
}

measure_openings() {
    local round ahead

    for ((round = 1; round <= openings; round++)); do
        for ahead in 0 5s; do
            opening "$ahead" >> "$workdir/opening.$ahead"
            say "opening, open_ahead $ahead: $(tail -n 1 "$workdir/opening.$ahead")"
        done
    done
    printf '\n### The first seconds of a sale, mode auto, %d clients, sold in each second\n\n' "$opening_clients"
    printf '| `seckill.open_ahead` |'
    for ((round = 1; round <= opening_seconds; round++)); do printf ' %d |' "$round"; done
    printf '\n|---|'
    for ((round = 1; round <= opening_seconds; round++)); do printf -- '---:|'; done
    echo
    for ahead in 0 5s; do
        printf '| %s |%s\n' "$ahead" "$(median_cells < "$workdir/opening.$ahead")"
    done
}
