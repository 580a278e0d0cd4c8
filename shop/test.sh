#!/bin/bash
# Test the shop, on a chain of its own: the parts of the service alone, the API
# through nginx, the chain with dead and restarted parts, a browser, a crowd.
#
#   SHOP_CHECKS   the parts to run: unit api chain browser load
#   SHOP_BENCH    1: measure as well, for the figures of shop/README.md
#   OPTIONAL      1: if its packages cannot be had, print this and succeed
#   LOGS          folder to keep logs and screenshots in
#   PG_CONFIG     the PostgreSQL

cd "$(dirname "$0")/.."
. scripts/common.sh
. shop/lib.sh

checks=${SHOP_CHECKS:-unit api chain browser load}

wanted() {
    [[ " $checks " = *" $1 "* ]]
}

test_packages() {
    if wanted browser; then
        command -v chromium > /dev/null || echo chromium
        echo fonts-noto-cjk
    fi
    if [ -n "${SHOP_BENCH:-}" ]; then
        command -v wrk > /dev/null || echo wrk
    fi
}

# Two free ports beside each other.
choose_port() {
    port=$((20000 + RANDOM % 10000))
    until port_is_free $port && port_is_free $((port + 1)); do
        port=$((20000 + RANDOM % 10000))
    done
}

passed=0
failed=0

# Run the tests of a file and add up what they say.
check() {
    local out=$workdir/check.out

    say "--- $1"
    "$node" --test --test-concurrency=1 --test-reporter=spec "shop/test/$1.test.js" 2>&1 |
        tee "$out" || true
    grep -q '^ℹ pass [0-9]' "$out" || failed=$((failed + 1))
    passed=$((passed + $(sed -n 's/^ℹ pass //p' "$out")))
    failed=$((failed + $(sed -n 's/^ℹ fail //p' "$out") + $(sed -n 's/^ℹ cancelled //p' "$out")))
}

# shellcheck disable=SC2046
install_all() {
    install_shop_packages $(test_packages)
    install_modules
}

if ! (install_all); then
    [ -n "${OPTIONAL:-}" ] || die 'the packages of the shop cannot be had here'
    say 'shop-test: skipped, as its packages cannot be had here'
    exit
fi
build_and_install
trap 'exit 130' INT TERM HUP
[ -n "${SHOP_PORT:-}" ] || choose_port

export SHOP_POW_COST=${SHOP_POW_COST:-500} SHOP_POW_MIN=30 SHOP_POW_MAX=60
# clients of the tests say which address they have, as if behind a CDN
[ -z "${SHOP_BENCH:-}" ] || SHOP_CONNECTIONS=300
SHOP_REALIP=127.0.0.1 starts_in=-60 start_shop

export SHOP_RUN=$workdir SHOP_PORT=$port PGHOST
SHOP_WEBHOOK_SECRET=$(sed -n 's/^export SHOP_WEBHOOK_SECRET=//p' "$workdir/run/provider.sh")
SHOP_AS=${as_user[*]}
export SHOP_WEBHOOK_SECRET SHOP_AS

for part in unit api chain browser load; do
    ! wanted $part || check $part
done
if [ -n "${SHOP_BENCH:-}" ]; then
    "$node" shop/test/bench.js
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
