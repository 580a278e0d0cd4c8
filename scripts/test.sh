#!/bin/bash
# Run every test: the layers of the sources, warnings of two compilers, and
# pg_regress, pg_isolation_regress and TAP on a throw-away server.  Arguments are
# TAP tests, to run only these.
#
#   PG_CONFIG            the PostgreSQL
#   CHECKS               the parts to run: layers warnings regress tap
#   REGRESS, ISOLATION   the tests of these parts to run
#   CONF                 more settings of the server
#   LOGS                 folder to keep the logs in
#   PACKAGES             more Debian packages to install: the drivers of
#                        t/040_clients.pl

cd "$(dirname "$0")/.."
. scripts/common.sh

checks=${CHECKS:-layers warnings regress tap}
[ $# -eq 0 ] || checks=tap
failed=0
passed=0
failed_in=                      # the copy with the TAP tests, if one has failed

# Run a part of the tests and count it.
part() {
    local name=$1

    shift
    say "--- $name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "--- $name FAILED"
    fi
}

# Build a copy with all warnings as errors.  Debian's PostgreSQL is configured
# for gcc: clang is told to ignore what it does not know of that.
warnings() {
    local copy status=0

    copy=$(mktemp -d)
    cp -r Makefile seckill.c ./*.control ./*--1.0.sql src "$copy"
    make -C "$copy" -s clean all PG_CONFIG="$PG_CONFIG" with_llvm=no \
        CC="$1" COPT="-Wall -Wextra -Werror $2" || status=1
    rm -rf "$copy"
    return $status
}

# The test programs refuse or dislike root; they work in a copy.  No arguments:
# all tests.
tap() {
    local copy=$workdir/tap

    cp -r . "$copy"
    rm -f "$copy/.prove"
    [ "$(id -u)" != 0 ] || chown -R "$(server_user)" "$copy"
    (
        cd "$copy"
        unset PGHOST PGPORT PGUSER PGDATABASE
        as_server_user make -s tapcheck PG_CONFIG="$PG_CONFIG" ${1:+PROVE_TESTS="$*"} \
            PROVE_FLAGS="--state=save ${PROVE_FLAGS:-}"
    ) && return
    failed_in=$copy
    return 1
}

# Print what failed in the TAP tests.  This comes last: CI cuts a long output
# before its end.
tell_failed() {
    local files

    cd "$failed_in"
    # the file of prove's state has them
    files=$(prove --state=failed --dry) || true
    # shellcheck disable=SC2086
    scripts/tap-failures.pl $files >&2
}

regress() {
    make -s installcheck PG_CONFIG="$PG_CONFIG" ${REGRESS:+REGRESS="$REGRESS"} \
        ${ISOLATION+ISOLATION="$ISOLATION"} && return
    cat regression.diffs output_iso/regression.diffs >&2 2> /dev/null
    return 1
}

# Change a setting of the server.
set_up() {
    psql -Xqc "ALTER SYSTEM SET $1" -c 'SELECT pg_reload_conf()' > /dev/null
}

wanted() {
    [[ " $checks " = *" $1 "* ]]
}

packages="libipc-run-perl ${PACKAGES:-}"
! wanted warnings || packages="clang $packages"
# shellcheck disable=SC2086
ensure_packages $packages
# the tests of a router are skipped without it
if wanted tap && ! has_plproxy && can_be_root && has_candidate "$(plproxy_package)"; then
    ensure_packages "$(plproxy_package)"
fi
build_and_install
! wanted layers || part layers scripts/check-layers.pl
if wanted warnings; then
    part 'gcc -Wall -Wextra -Werror' warnings gcc ''
    part 'clang -Wall -Wextra -Werror' warnings clang \
        '-Wno-ignored-attributes -Wno-ignored-optimization-argument -Wno-unknown-warning-option'
fi
start_server <<CONF
max_connections = 100
max_prepared_transactions = 5
${CONF:-}
CONF
if wanted regress; then
    part 'pg_regress and pg_isolation_regress' regress
    set_up "seckill.direct_writes = off"
    part 'the same, with orders and items written by SQL' regress
    set_up "seckill.direct_writes = on"
fi
! wanted tap || part 'TAP' tap "$@"

[ -z "$failed_in" ] || (tell_failed) || true
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
