#!/bin/bash
# Measure how late scheduled releases are (docs/benchmarks.md, "Scheduled
# releases"), on a throw-away server: from release_at to the commit of the
# release, and to the commit of the first order after it.  The buyers call all
# the time; between two releases the item is sold out.
#
# Can be set: RELEASES (100), CLIENTS (64), MODES, and FAR (20): releases so far
# apart that a maintenance worker is started for each.

cd "$(dirname "$0")/.."
. scripts/common.sh

releases=${RELEASES:-100}
far=${FAR:-20}
clients=${CLIENTS:-64}
modes=${MODES:-auto cache queue retry pessimistic}

# Plan releases at irregular times, so long apart on average, and wait for the
# last one.
release() {
    local n=$1 apart=$2

    sql "INSERT INTO seckill.releases (item_id, release_at, units)
        SELECT 1, clock_timestamp() + interval '3 s' + (n + random()) * interval '$apart', 50
        FROM generate_series(1, $n) n"
    until [ "$(sql 'SELECT count(*) FROM seckill.releases WHERE done_at IS NULL')" = 0 ]; do
        sleep 1
    done
}

# Print a row: medians and maxima of both delays in ms.
delays() {
    sql "WITH done AS (
            SELECT release_at, pg_xact_commit_timestamp(xmin) AS at FROM seckill.releases),
        sold AS (
            SELECT pg_xact_commit_timestamp(xmin) AS at FROM seckill.orders),
        delays AS (
            SELECT 1000 * extract(epoch FROM d.at - release_at) AS done,
                1000 * extract(epoch FROM (SELECT min(s.at) FROM sold s WHERE s.at >= d.at) - release_at) AS sold
            FROM done d)
        SELECT format('| %s | %s | %s | %s | %s | %s |', \$\$$1\$\$, count(*),
            round(percentile_cont(0.5) WITHIN GROUP (ORDER BY done)::numeric, 1), round(max(done), 1),
            coalesce(round(percentile_cont(0.5) WITHIN GROUP (ORDER BY sold)::numeric, 1)::text, '–'),
            coalesce(round(max(sold), 1)::text, '–'))
        FROM delays"
}

# Release under the calls of a crowd in a mode, or of nobody.
measure() {
    local mode=$1 n=$2 apart=$3 name=$4 crowd=

    sql 'TRUNCATE seckill.items, seckill.orders, seckill.units, seckill.releases'
    sql 'INSERT INTO seckill.items (item_id, stock) VALUES (1, 0)'
    sql 'CHECKPOINT'
    if [ -n "$mode" ]; then
        echo "SELECT outcome FROM seckill_buy(1, :client_id, '$mode');" > "$workdir/buy.sql"
        pgbench -n -M prepared -c "$clients" -j 2 -T 3600 -f "$workdir/buy.sql" > "$workdir/out" 2>&1 &
        crowd=$!
    fi
    release "$n" "$apart"
    if [ -n "$crowd" ]; then
        kill "$crowd"
        wait "$crowd" || true
    fi
    delays "$name" | tee -a "$workdir/table" >&2
}

ensure_packages
build_and_install
start_server <<CONF
max_connections = 250
shared_buffers = 1GB
max_wal_size = 16GB
track_commit_timestamp = on
CONF
sql 'CREATE EXTENSION seckill'
measure '' "$releases" '300 ms' 'nobody'
for mode in $modes; do
    measure "$mode" "$releases" '300 ms' "$clients in mode \`$mode\`"
done
measure cache "$far" '5 s' "$clients in mode \`cache\`, a worker started for each"
echo '| buyers | releases | done, median, ms | worst | first unit sold, median, ms | worst |'
echo '|---|---:|---:|---:|---:|---:|'
cat "$workdir/table"
