#!/bin/bash
# Run sqlsmith, which makes random queries from what is in the catalogs, for
# MINUTES (60) as a role with EXECUTE on every function of the extension and
# SELECT on its tables.  There must be no crash and no internal error that names
# the extension, and the laws must hold.  SEED repeats a run; PG_CONFIG chooses the PostgreSQL.

cd "$(dirname "$0")/.."
. scripts/common.sh

minutes=${MINUTES:-60}
seed=${SEED:-$RANDOM}

check() {
    local found

    found=$(sql "$2")
    [ -z "$found" ] && { say "ok      $1"; return; }
    say "FAILED  $1"
    say "$found"
    failed=1
}

ensure_packages sqlsmith
build_and_install
start_server <<'CONF'
fsync = off
seckill.token_key = 'key'
log_error_verbosity = verbose
log_line_prefix = ''
CONF
psql -Xq -v ON_ERROR_STOP=1 -f torture/bad_input.sql > /dev/null
sql 'DROP SCHEMA torture CASCADE;
GRANT USAGE ON SCHEMA seckill TO pest; GRANT SELECT ON ALL TABLES IN SCHEMA seckill TO pest;
ALTER ROLE pest LOGIN; ALTER ROLE pest SET statement_timeout = 1000; ALTER ROLE pest SET lock_timeout = 100;
REVOKE EXECUTE ON FUNCTION pg_terminate_backend, pg_cancel_backend, pg_sleep FROM PUBLIC' 2> /dev/null
say "$minutes min, SEED=$seed"

failed=0
end=$((SECONDS + minutes * 60))
while [ $SECONDS -lt $end ]; do
    # it ends when the server does, and now and then by a defect of its own
    timeout $((end - SECONDS)) sqlsmith --exclude-catalog --seed="$seed" --verbose \
        --target="host=$workdir port=5432 dbname=postgres user=pest" \
        > /dev/null 2>> "$workdir/sqlsmith.log" || true
    seed=$((seed + 1))
    sql 'SELECT 1' > /dev/null || { failed=1; break; }
    sleep 1
done
grep -o 'queries: .*' "$workdir/sqlsmith.log" >&2 || true
say "$(grep -c '^ERROR' "$workdir/server.log") errors in the log, by SQLSTATE:"
sed -n 's/^ERROR:  \([0-9A-Z]\{5\}\): .*/\1/p' "$workdir/server.log" | sort | uniq -c | sort -rn >&2

if grep -E 'PANIC|TRAP|terminated by signal' "$workdir/server.log"; then
    say 'FAILED  the log'
    failed=1
fi
# internal errors of PostgreSQL itself are not ours
files=$(basename -s .c src/*.c | grep -v '^catalog$' | paste -sd '|')
if grep -A 8 -E '^ERROR:  XX[0-9A-Z]{3}' "$workdir/server.log" |
    grep -E "^LOCATION: .*, ($files)\\.c:"; then
    say 'FAILED  an internal error of the extension'
    failed=1
fi
check conservation 'SELECT * FROM seckill_audit() WHERE difference <> 0'
check 'cache and tables agree' \
    'SELECT a, s FROM seckill_audit() a JOIN seckill.stock s USING (item_id) WHERE s.held <> 0 OR s.cached <> a.unsold'
exit $failed
