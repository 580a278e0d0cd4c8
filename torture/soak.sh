#!/bin/bash
# Constant load, for SOAK_MINUTES (60) at RATE (2000) calls a second, in all
# modes and with all that a shop does: payments, cancels, expiry, limits,
# requests, tokens, restocks, recalls, sales that open and end, orders that are
# archived.  120 samples are taken of what could grow or be held without bound.
# It passes if
#
#	- the private memory of permanent sessions, the launcher, the queue worker and
#	  the maintenance worker grows from the second tenth to the last by at most
#	  256 kB, by the medians (ten bytes leaked a purchase would be some 3 MB), and
#	  their open files by at most 8; in runs below ten minutes, in which caches
#	  still fill, memory may grow by 1 MB;
#	- the queue worker, the maintenance worker and the launcher are the same
#	  processes from start to end;
#	- seckill.items stays below 4 MB, each index of it below 1 MB, and nine
#	  tenths of its updates are HOT;
#	- no process of the extension has a transaction older than 5 s or a snapshot
#	  older than 10 s, no session has either while idle, and at rest the
#	  processes have no locks;
#	- no client fails, the audit never shows a difference, and the rest sells.
#
#   SEED repeats the random numbers of a run, LOGS keeps the samples in a
#   directory; PG_CONFIG

cd "$(dirname "$0")/.."
. scripts/common.sh

minutes=${SOAK_MINUTES:-60}
rate=${RATE:-2000}
seed=${SEED:-$RANDOM}
interval=$((minutes * 60 / 120))
[ $interval -ge 3 ] || interval=3
limit=256
[ "$minutes" -ge 10 ] || limit=1024
modes='optimistic retry pessimistic advisory cache queue auto'

# Items 5 to 7 have pay_within, 6 a limit, 3 a rate, 4 a small max_waiters, 7
# require_token; the row of 8 is often locked.  From 1000 on, sales open and end.
set_up() {
    psql -Xq -v ON_ERROR_STOP=1 <<'SQL'
CREATE EXTENSION seckill;
ALTER TABLE seckill.orders SET (autovacuum_vacuum_scale_factor = 0.02);
INSERT INTO seckill.items (item_id, stock) SELECT n, 5000 FROM generate_series(1, 8) n;
UPDATE seckill.items SET pay_within = '2 s' WHERE item_id >= 5;
UPDATE seckill.items SET per_user_limit = 3 WHERE item_id = 6;
UPDATE seckill.items SET user_rate = 0.1, user_burst = 3 WHERE item_id = 3;
UPDATE seckill.items SET max_waiters = 2 WHERE item_id = 4;
UPDATE seckill.items SET require_token = true WHERE item_id = 7;

CREATE TABLE sale (item bigint);
INSERT INTO sale VALUES (1);
CREATE TABLE archived (item bigint, orders bigint, units bigint);

-- The next sale opens in a while, and the one before ends.
CREATE PROCEDURE next_sale(next bigint) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO seckill.items (item_id, stock, starts_at, pay_within)
		VALUES (next, 20000, now() + '3 s', CASE WHEN next % 2 = 0 THEN interval '3 s' END);
	UPDATE seckill.items SET ends_at = now() WHERE item_id >= 1000 AND item_id < next AND ends_at IS NULL;
	UPDATE sale SET item = next;
END
$$;

-- Close the lease, as soon as nobody holds units of it.
CREATE PROCEDURE close_lease(item bigint) LANGUAGE plpgsql AS $$
DECLARE
	open bigint := lease_id FROM seckill.items WHERE item_id = item;
BEGIN
	FOR i IN 1 .. 20 LOOP
		PERFORM seckill_recall(item);
		COMMIT;
		EXIT WHEN EXISTS (SELECT FROM seckill.items WHERE item_id = item AND lease_id IS DISTINCT FROM open);
	END LOOP;
END
$$;

-- Take orders that are a minute old out of the books, as docs/operations.md
-- says, and items with the last of them.
CREATE PROCEDURE clear_out() LANGUAGE plpgsql AS $$
DECLARE
	item bigint;
BEGIN
	FOR item IN SELECT item_id FROM seckill.items ORDER BY 1 LOOP
		CALL close_lease(item);
		WITH gone AS (
			DELETE FROM seckill.orders o USING seckill.items i
			WHERE i.item_id = item AND o.item_id = item AND o.state <> 'pending'
				AND o.created_at < now() - interval '1 min'
				AND (i.lease_id IS NULL OR o.lease_id IS DISTINCT FROM i.lease_id)
			RETURNING o.state, o.quantity),
		units AS (
			SELECT count(*) AS n, coalesce(sum(quantity) FILTER (WHERE state = 'confirmed'), 0) AS live FROM gone)
		INSERT INTO archived SELECT item, n, live FROM units, seckill_write_off(item, live);
		COMMIT;
	END LOOP;
	DELETE FROM seckill.items i WHERE i.ends_at < now() - interval '30 s'
		AND NOT EXISTS (SELECT FROM seckill.orders o WHERE o.item_id = i.item_id);
END
$$;

-- Cancel an order, unless the machine was so slow that it has expired.
CREATE FUNCTION give_up(item bigint, id bigint, refund boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM seckill_cancel(item, id, refund);
EXCEPTION WHEN SQLSTATE 'SK003' THEN
	NULL;
END
$$;

CREATE PROCEDURE buy_rest(item bigint) LANGUAGE plpgsql AS $$
DECLARE
	got seckill_outcome;
	size integer := 1000;
	mode seckill_mode;
BEGIN
	WHILE size > 0 LOOP
		FOREACH mode IN ARRAY '{cache,advisory,retry,auto}'::seckill_mode[] LOOP
			SELECT outcome INTO got FROM seckill_buy(item, -1, mode, size);
			COMMIT;
		END LOOP;
		IF got <> 'sold' THEN
			size := size / 10;
		END IF;
	END LOOP;
END
$$;
SQL
}

# The scripts of the clients.
write_scripts() {
    local mode user='\set user random(1, 50000)'

    for mode in $modes; do
        cat > "$workdir/buy_$mode.sql" <<SQL
\set item random(1, 6)
$user
\set request random(1, 100)
SELECT seckill_buy(:item, :user, '$mode', 1, CASE WHEN :request <= 25 THEN md5((:user * 100 + :request)::text)::uuid END);
SQL
        cat > "$workdir/sale_$mode.sql" <<SQL
$user
SELECT item FROM sale \gset
SELECT seckill_buy(:item, :user, '$mode');
SQL
    done
    # a token, an order, and what becomes of it
    cat > "$workdir/pay.sql" <<SQL
\set item random(5, 7)
$user
\set fate random(1, 4)
SELECT coalesce(order_id, 0) AS id FROM seckill_buy(:item, :user, token => seckill_token(:item, :user)) \gset
\if :id > 0
\if :fate = 1
SELECT give_up(:item, :id, false);
\elif :fate <= 3
SELECT seckill_confirm(:item, :id);
\endif
\if :fate = 2
SELECT give_up(:item, :id, true);
\endif
\endif
SQL
    cat > "$workdir/late.sql" <<SQL
$user
SELECT coalesce(order_id, 0) AS id FROM seckill_buy(5, :user, 'cache') \gset
\sleep 4 s
\if :id > 0
SELECT seckill_confirm(5, :id);
\endif
SQL
    cat > "$workdir/many.sql" <<SQL
\set item random(1, 6)
$user
SELECT count(*) FROM seckill_buy_many(:item, ARRAY[:user, :user + 1, :user + 2, :user + 3]);
SQL
    cat > "$workdir/block.sql" <<SQL
\set item random(1, 5)
$user
BEGIN;
SELECT seckill_buy(:item, :user, 'cache');
SAVEPOINT a;
SELECT seckill_buy(:item, :user, 'advisory');
ROLLBACK TO a;
SELECT seckill_buy(:item, :user, 'retry');
\if :user % 2 = 0
ROLLBACK;
\else
COMMIT;
\endif
SQL
    cat > "$workdir/submit.sql" <<SQL
\set item random(1, 8)
$user
SELECT coalesce(ticket, 0) AS ticket FROM seckill_submit(:item, :user, token => seckill_token(:item, :user)) \gset
\if :ticket > 0 and :user % 2 = 0
SELECT seckill_result(:ticket, '1 s');
\endif
SQL
    cat > "$workdir/lock.sql" <<SQL
BEGIN;
SELECT FROM seckill.items WHERE item_id = 8 FOR UPDATE;
\sleep 3 s
COMMIT;
\sleep 2 s
SQL
    cat > "$workdir/seldom.sql" <<SQL
$user
\set mode random(1, 7)
SELECT seckill_buy(1, :user, split_part('$modes', ' ', :mode)::seckill_mode);
\sleep 7 s
SQL
}

# Start clients under a name: load NAME OPTION...  A client that is late by more
# than two seconds skips calls, so that a busy machine is not overloaded.
load() {
    local name=$1

    shift
    PGAPPNAME="soak $name" pgbench -n -T $((minutes * 60)) --max-tries=1000 \
        --random-seed="$seed" "$@" > "$workdir/$name.out" 2>&1 &
    clients[$!]=$name
}

start_load() {
    local file=$workdir paced=--latency-limit=2000 mode

    for mode in $modes; do
        load "$mode" -M prepared -c 2 -R $((rate / 10)) $paced \
            -f "$file/buy_$mode.sql@9" -f "$file/sale_$mode.sql@1"
    done
    load pay -c 2 -R $((rate / 20)) $paced -f "$file/pay.sql"
    load submit -M extended -c 2 -R $((rate / 20)) $paced -f "$file/submit.sql"
    load block -M prepared -c 2 -R $((rate / 50)) $paced -f "$file/block.sql"
    load many -M prepared -c 2 -R $((rate / 100)) $paced -f "$file/many.sql"
    load late -c 4 -f "$file/late.sql"
    load lock -c 1 -f "$file/lock.sql"
    load seldom -c 2 -f "$file/seldom.sql"
    load visitor -C -c 2 -R 10 $paced -f "$file/buy_cache.sql" \
        -f "$file/buy_auto.sql" -f "$file/buy_queue.sql" -f "$file/pay.sql"
}

# shellcheck disable=SC2317
stop_load() {
    local pid

    for pid in "${!clients[@]}"; do
        kill "$pid" 2> /dev/null || true
    done
}

# Private memory in kB and open files of the sessions and processes that stay.
sample_processes() {
    local name pid memory

    sql "SELECT CASE WHEN backend_type = 'client backend' THEN application_name ELSE backend_type END, pid
        FROM pg_stat_activity WHERE backend_type LIKE 'seckill %'
            OR (application_name LIKE 'soak %' AND application_name <> 'soak visitor') ORDER BY 1, 2" |
        while IFS='|' read -r name pid; do
            memory=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2> /dev/null)
            [ -z "$memory" ] ||        # it has ended
                printf '%s|%s|%s|%s|%s\n' $SECONDS "$name" "$pid" "$memory" \
                    "$(as_root ls "/proc/$pid/fd" | wc -l)"
        done >> "$workdir/processes"
}

# What a row of seckill.items leaves behind.
sample_items() {
    sql "SELECT '$SECONDS', pg_relation_size('seckill.items'),
            (SELECT max(pg_relation_size(indexrelid)) FROM pg_index WHERE indrelid = 'seckill.items'::regclass),
            n_dead_tup, n_tup_upd, n_tup_hot_upd, pg_total_relation_size('seckill.orders')
        FROM pg_stat_user_tables WHERE relid = 'seckill.items'::regclass" >> "$workdir/items"
}

# Processes with an old transaction or snapshot.  horizon is the next transaction
# id of ten seconds ago.
sample_horizon() {
    sql "SELECT '$SECONDS', backend_type, application_name, pid, state, clock_timestamp() - xact_start,
            age(backend_xid), age(backend_xmin), wait_event, query
        FROM pg_stat_activity
        WHERE (backend_type LIKE 'seckill %'
                AND (clock_timestamp() - xact_start > interval '5 s'
                    OR greatest(age(backend_xid), age(backend_xmin)) > age('$1'::xid)))
            OR (state = 'idle' AND clock_timestamp() - state_change > interval '1 s'
                AND coalesce(backend_xid, backend_xmin) IS NOT NULL)" >> "$workdir/held"
}

sample_audit() {
    sql "SELECT '$SECONDS', a FROM seckill_audit() a WHERE difference <> 0" >> "$workdir/audit"
}

next_xid() {
    sql 'SELECT pg_snapshot_xmax(pg_current_snapshot())::xid'
}

progress() {
    sql "SELECT format('%6s s  %9s calls  worker %6s kB  items %5s kB, %s %% HOT  orders %4s MB', $SECONDS - $start,
            (SELECT sum(calls) FROM seckill.stat_items), '$1', pg_relation_size('seckill.items') / 1024,
            (SELECT 100 * n_tup_hot_upd / greatest(n_tup_upd, 1) FROM pg_stat_user_tables WHERE relid = 'seckill.items'::regclass),
            pg_total_relation_size('seckill.orders') / 1024 / 1024)" >&2
}

# What the shop does meanwhile, by the number of the sample.
operate() {
    local n=$1

    sql "UPDATE seckill.items SET stock = stock + $((rate * interval / 10)) WHERE ends_at IS NULL AND stock < $((rate * interval / 10))"
    sql "SELECT seckill_prewarm($((n % 6 + 1)), 500); SELECT seckill_recall($(((n + 3) % 6 + 1)))" > /dev/null
    [ $((n % 4)) -ne 1 ] || sql "CALL next_sale($((1000 + n / 4)))"
    [ $((n % 2)) -ne 0 ] || sql 'CALL clear_out()'
    [ $((n % 8)) -ne 3 ] || sample_audit
    [ $((n % 20)) -ne 7 ] || sql 'VACUUM (FREEZE) seckill.items, seckill.orders'
}

# Take a sample and run the shop's tasks in each interval, until the clients end.
watch_load() {
    local n=0 horizon=0 soon

    start=$SECONDS
    while [ $((SECONDS - start)) -lt $((minutes * 60 - interval)) ]; do
        soon=$((SECONDS + interval))
        operate $n
        sample_processes
        sample_items
        [ $n -eq 0 ] || sample_horizon "$horizon"
        [ $((n % 4)) -ne 0 ] ||
            progress "$(awk -F '|' '$2 == "seckill queue worker" { m = $4 } END { print m }' "$workdir/processes")"
        n=$((n + 1))
        [ $((soon - SECONDS)) -le 10 ] || sleep $((soon - SECONDS - 10))
        horizon=$(next_xid)
        [ $((soon - SECONDS)) -le 0 ] || sleep $((soon - SECONDS))
    done
}

ok() {
    printf '%-7s %s\n' "$1" "$2"
    [ "$1" = ok ] || failed=1
}

# ok if a file or an answer is empty
empty() {
    if [ -z "$2" ]; then
        ok ok "$1"
    else
        printf '%s\n' "$2" | sed -n 1,20p
        ok FAILED "$1"
    fi
}

check_clients() {
    local pid

    for pid in "${!clients[@]}"; do
        wait "$pid" || { tail -n 20 "$workdir/${clients[$pid]}.out"; ok FAILED "clients: ${clients[$pid]}"; }
    done
    empty 'no client has failed' "$(grep -l 'client .* aborted' "$workdir"/*.out)"
}

# Medians of memory and files by process, in the second tenth and the last.
memory_table() {
    sort -t '|' -k 2,2 -k 3,3n -k 1,1n "$workdir/processes" | awk -F '|' '
        function median(a, from, to,    i, j, v, n, b) {
            n = 0
            for (i = from; i <= to; i++) {
                v = a[i]
                for (j = n; j > 0 && b[j] > v; j--)
                    b[j + 1] = b[j]
                b[j + 1] = v
                n++
            }
            return b[int((n + 1) / 2)]
        }
        function report(    tenth) {
            tenth = int(n / 10)
            if (tenth < 1)
                print name, pid, n, "-", "-", "-", "-", "-", "-"
            else {
                m = median(memory, tenth + 1, 2 * tenth)
                l = median(memory, n - tenth + 1, n)
                f = median(files, tenth + 1, 2 * tenth)
                g = median(files, n - tenth + 1, n)
                print name, pid, n, m, l, l - m, f, g, g - f
            }
        }
        BEGIN { OFS = "|" }
        $3 != pid { if (n) report(); n = 0; name = $2; pid = $3 }
        { n++; memory[n] = $4; files[n] = $5 }
        END { report() }'
}

check_processes() {
    local table

    table=$(memory_table)
    {
        echo 'process|pid|samples|kB then|kB last|growth|files then|last|growth'
        printf '%s\n' "$table"
    } | column -t -s '|'
    empty 'memory is flat' "$(awk -F '|' -v limit="$limit" '$6 != "-" && $6 > limit' <<< "$table")"
    empty 'open files are flat' "$(awk -F '|' '$9 != "-" && $9 > 8' <<< "$table")"
    empty 'one launcher, one queue worker, one maintenance worker' \
        "$(awk -F '|' '/^seckill/ { n[$1]++ } END { for (t in n) if (n[t] > 1 || length(n) < 3) print t, n[t] }' <<< "$table")"
}

check_items() {
    awk -F '|' '{ if ($2 > h) h = $2; if ($3 > i) i = $3; if ($7 > o) o = $7; u = $5; t = $6; last = $7 }
        END { printf "seckill.items: at most %d kB, largest index %d kB, %d updates, %.2f %% of them HOT; orders with indexes: at most %d MB, %d MB in the end\n",
            h / 1024, i / 1024, u, 100 * t / u, o / 1048576, last / 1048576 }' "$workdir/items"
    empty 'items and their indexes stay small' \
        "$(awk -F '|' '$2 > 4194304 || $3 > 1048576' "$workdir/items")"
    empty 'updates of items are HOT' "$(tail -n 1 "$workdir/items" | awk -F '|' '$6 < 0.9 * $5')"
}

# At rest, with the worker still there.
check_rest() {
    local waited

    for waited in $(seq 60); do
        [ "$(sql "SELECT count(*) FROM seckill.orders WHERE state = 'pending'")" -ne 0 ] || break
        [ "$waited" -lt 60 ] || ok FAILED 'orders are still pending'
        sleep 1
    done
    sleep 3
    empty 'at rest our processes have no locks' \
        "$(sql "SELECT a.backend_type, l.* FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type LIKE 'seckill %'")"
    [ "$(sql 'SELECT pid IS NOT NULL FROM seckill.stat_worker')" = t ] || ok FAILED 'there is no worker to look at'
    sample_audit
    empty 'the audit was clean all along' "$(cat "$workdir/audit")"
    empty 'memory agrees with the tables' \
        "$(sql 'SELECT a, s FROM seckill_audit() a JOIN seckill.stock s USING (item_id) WHERE s.held <> 0 OR s.cached <> a.unsold')"
    sql 'UPDATE seckill.items SET ends_at = NULL, starts_at = NULL, pay_within = NULL, per_user_limit = NULL, require_token = false, user_rate = 0'
    for waited in $(sql 'SELECT item_id FROM seckill.items'); do
        sql "CALL buy_rest($waited)"
    done
    empty 'the rest sells' "$(sql 'SELECT * FROM seckill_audit() WHERE stock <> 0 OR unsold <> 0 OR difference <> 0')"
}

report_counters() {
    psql -X -P footer=off <<'SQL'
SELECT mode, sum(calls) AS calls, sum(sold) AS sold, sum(sold_out) AS sold_out, sum(conflict) AS conflict,
	sum(not_started + ended) AS closed, sum(busy) AS busy, sum(limit_reached) AS limit_reached,
	sum(rate_limited) AS rate_limited, sum(refills) AS refills
FROM seckill.stat_items GROUP BY mode ORDER BY mode;
SELECT starts, batches, decided, deferred, failed, settles, expired_orders, expiry_batches, prewarms FROM seckill.stat_worker;
SELECT sum(orders) AS orders_cleared_out, sum(units) AS units FROM archived;
SQL
    echo "lines in the log: $(wc -l < "$workdir/server.log"), of the extension: $(grep -cE 'LOG:  (expired|settled|seckill)' "$workdir/server.log")"
}

# as_root asks nobody: the server runs as this user, or as root can become it
[ "$(id -u)" = 0 ] || as_root() { "$@"; }
# shellcheck disable=SC2119
ensure_packages
build_and_install
start_server <<'CONF'
max_connections = 100
autovacuum_naptime = 10s
seckill.token_key = 'key'
seckill.queue_idle_time = 5min
CONF
declare -A clients=()
trap 'stop_load; stop_server' EXIT
set_up
write_scripts
touch "$workdir/held" "$workdir/audit"
echo "$minutes min, $rate calls a second, SEED=$seed"
failed=0
start_load
watch_load
check_clients
check_processes
check_items
empty 'no snapshot or transaction is held' "$(cat "$workdir/held")"
check_rest
report_counters
[ -z "${LOGS:-}" ] || cp "$workdir"/{processes,items,held,audit,server.log} "$LOGS"
exit $failed
