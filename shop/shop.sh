#!/bin/bash
# Run the shop until Ctrl-C: PostgreSQL with seckill, pgbouncer, two instances of
# the service, a stand-in for a payment provider, and nginx.  All is thrown away
# at the end.  shop/lib.sh has the settings.

cd "$(dirname "$0")/.."
. scripts/common.sh
. shop/lib.sh

install_shop_packages
install_modules
build_and_install
trap 'exit 130' INT TERM HUP
start_shop

cat <<TEXT

The shop is open:   http://127.0.0.1:$port/      the sale begins in $starts_in seconds
For operators:      http://127.0.0.1:$((port + 1))/nginx_status  /metrics/1  /health/1

Try this:
  - two browsers, one in Chinese and one in English: http://127.0.0.1:$port/zh/items/1/
  - reload while you buy; pull the network; set the computer's clock to tomorrow
  - item 2 is sold by tickets: http://127.0.0.1:$port/en/items/2/
  - items 3 to 6 are red envelopes, a draw, coupons and seats on a map
  - let an order expire, or pay it late at the provider
  - kill one instance: kill -9 $(cat "$workdir/run/service1.pid")
  - look inside: psql -h $workdir -U postgres shop

Ctrl-C ends it.
TEXT

# Tell of a process that has ended; it is started again, as systemd would.
while true; do
    wait -n || true
    for name in nginx service1 service2 provider pgbouncer; do
        is_up $name || {
            say "$name has ended: it is started again"
            sleep 1
            launch $name
        }
    done
done
