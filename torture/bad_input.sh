#!/bin/bash
# Random calls with bad input, CALLS of them (1000000), by SESSIONS sessions (2)
# of a role with EXECUTE on everything, and half as many by a superuser who
# changes the tables, too; every tenth call is a statement of its own, as the queue
# requires.  SEED repeats the calls of a run, though not their order among the
# sessions.  No session may crash, no answer may be an internal error, and the laws
# must hold.  PG_CONFIG chooses the PostgreSQL.

cd "$(dirname "$0")/.."
. scripts/common.sh

calls=${CALLS:-1000000}
sessions=${SESSIONS:-2}
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
chunk=10000

# One session: as a role, a share of the calls, seeded; dml: true or false.
torment() {
    local number=$1 role=$2 dml=$3 share=$4 settings

    settings="SET lock_timeout = '5 ms'; SET statement_timeout = 0;
SELECT setseed((($seed + $number * 7919) % 1000003) / 1000003.0);"
    {
        echo '\set VERBOSITY sqlstate'
        echo "SET ROLE $role; $settings"
        for ((done = 0; done < share; done += chunk)); do
            echo "CALL torture.torment($((chunk * 9 / 10)), $dml);"
            echo 'SELECT torture.any_call() FROM generate_series(1, '$((chunk / 10))') \gexec'
            echo "\\echo session $number: $((done + chunk)) of $share"
        done
        echo '\echo all done'
    } | psql -XAt > "$workdir/session.$number" 2>&1
}

check() {
    local what=$1 found

    found=$(sql "$2")
    [ -z "$found" ] && { say "ok      $what"; return; }
    say "FAILED  $what"
    say "$found"
    failed=1
}

ensure_packages
build_and_install
start_server <<'CONF'
fsync = off
synchronous_commit = off
seckill.token_key = 'key'
seckill.queue_notify = on
seckill.max_items = 5
seckill.queue_size = 512
autovacuum_naptime = 10
CONF
psql -Xq -v ON_ERROR_STOP=1 -f torture/bad_input.sql > /dev/null
say "$calls calls, $sessions sessions and a superuser, SEED=$seed"

failed=0
start=$SECONDS
share=$((calls * 2 / (sessions * 2 + 1)))
pids=()
for ((i = 1; i <= sessions; i++)); do
    torment "$i" pest false "$share" &
    pids+=($!)
done
torment 0 postgres true $((share / 2)) &
pids+=($!)
while kill -0 "${pids[@]}" 2> /dev/null; do
    sleep 10
    say "$((SECONDS - start)) s: $(cat "$workdir"/session.* | grep -c '^session') chunks of $chunk"
done
wait "${pids[@]}" || failed=1
seconds=$((SECONDS - start + 1))

# What the statements of their own were answered is in the output.
cat "$workdir"/session.* |
    sed -n 's/^.*ERROR:  \([0-9A-Z]\{5\}\)$/\1/p' | sort | uniq -c |
    while read -r n state; do
        sql "INSERT INTO torture.answers VALUES ('$state', $n)"
    done
psql -Xq -c "SELECT state, sum(n) AS answers, left(min(message), 60) AS message
FROM torture.answers GROUP BY 1 ORDER BY 2 DESC"
say "$(sql 'SELECT sum(n) FROM torture.answers') answers counted, in $seconds s"

check 'no internal error' \
    "SELECT DISTINCT state, call, message FROM torture.answers WHERE state LIKE 'XX%'"
check 'conservation' 'SELECT * FROM seckill_audit() WHERE difference <> 0'
check 'cache and tables agree' \
    'SELECT a, s FROM seckill_audit() a JOIN seckill.stock s USING (item_id) WHERE s.held <> 0 OR s.cached <> a.unsold'
check 'no request has two orders' \
    'SELECT item_id, request_id FROM seckill.orders WHERE request_id IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1'
if grep -E 'PANIC|TRAP|FATAL|terminated by signal|XX[0-9A-Z]{3}' "$workdir/server.log"; then
    say 'FAILED  the log'
    failed=1
fi
for ((i = 0; i <= sessions; i++)); do
    tail -n 1 "$workdir/session.$i" | grep -q '^all done$' || {
        say "FAILED  session $i ended early"
        tail -n 3 "$workdir/session.$i" >&2
        failed=1
    }
done
exit $failed
