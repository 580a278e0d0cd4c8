#!/bin/bash
# Test "make demo", "make cluster", "make test" and "make shop" on machines with various parts of PostgreSQL
# installed.  Each such state is made in a copy of a bare Debian 12.  There the
# command must work, or print the one line that root must run, which must work.
# Needs root.  Arguments: the states to try; default: all.  Two run at a time.
#
#   OPTIONAL=1   if no Debian can be made, print this and succeed; and if npm's
#                registry is out of reach of a bare machine, leave the shop out
#   KEEP=1       keep the folder with the logs
#   MIRROR       source of packages; default: that of the host, if it is a Debian

cd "$(dirname "$0")/.."
. scripts/common.sh
. scripts/roots.sh

#
# What the states are made of and looked at with; runs in the Debian
#

fail() {
    echo "FAILED: $*"
    exit 1
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
        --no-install-recommends "$@"
}

# Add a release to the sources of apt.
add_source() {
    echo "deb $1 $2 main" >> /etc/apt/sources.list
    apt-get -qq update
}

# A user, who owns the checkout.
add_buyer() {
    useradd --create-home buyer
    chown -R buyer .
}

as_buyer() {
    runuser -u buyer -- "$@"
}

# Run a command and keep what it prints.
run() {
    local status=0

    "$@" > /srv/out 2>&1 || status=$?
    cat /srv/out
    return $status
}

# "make demo" has to work, with this major version, and to make no cluster.
# Arguments: the version, and what to run make with.
demo() {
    local major=$1 clusters

    shift
    clusters=$(ls -d /etc/postgresql/*/* 2> /dev/null || true)
    # a small sale, unless the caller asks for another one
    # shellcheck disable=SC2086
    run "$@" make demo ${sale-USERS=40 UNITS=20} || fail "make demo"
    grep -q "^building with PostgreSQL $major\." /srv/out || fail "not PostgreSQL $major"
    [ "$(grep -E '^(optimistic|retry|pessimistic|advisory|cache|queue|auto) ' /srv/out |
        grep -c ' right: ')" = 14 ] || fail "the tables of make demo"
    [ "$(ls -d /etc/postgresql/*/* 2> /dev/null || true)" = "$clusters" ] ||
        fail "a cluster was made"
}

# "make cluster" has to work, with the packages of PL/Proxy.
cluster() {
    run make cluster || fail "make cluster"
    [ "$(grep -c ' right: ' /srv/out)" = 9 ] || fail "the table of make cluster"
}

# "make test" has to work, with some of its tests.  Arguments: its parts, and
# what to run make with.
tests() {
    local checks=$1

    shift
    run "$@" make test CHECKS="$checks" REGRESS=extension ISOLATION=last_unit &&
        grep -q '^[1-9][0-9]* passed, 0 failed$' /srv/out || fail "make test"
}

# A command has to fail with a message, before any compiler does, and to change
# nothing.
refused() {
    local message=$1 packages

    shift
    packages=$(dpkg-query -W)
    ! run "$@" || fail "it did not fail: $*"
    grep -qF "$message" /srv/out || fail "not the message: $message"
    ! grep -q 'fatal error' /srv/out || fail "an error of the compiler"
    [ "$(dpkg-query -W)" = "$packages" ] || fail "packages were installed"
}

# A command has to fail with one line for root, which is run then.
prints_line() {
    refused 'As root, run:' "$@"
    [ "$(grep -c '^    ' /srv/out)" = 1 ] || fail "not one line"
    grep '^    ' /srv/out > /srv/line
    (cd / && DEBIAN_FRONTEND=noninteractive sh /srv/line) || fail "$(cat /srv/line)"
}

# A command has to do without apt.
without_apt() {
    local packages

    packages=$(dpkg-query -W)
    "$@"
    [ "$(dpkg-query -W)" = "$packages" ] || fail "packages were installed"
}

# The server of the machine, which has to stay as it is.
start_cluster() {
    pg_ctlcluster 15 main start
    pid=$(head -n 1 /var/lib/postgresql/15/main/postmaster.pid)
    version=$(dpkg-query -W postgresql-15)
}

# The mirror of security updates may have a newer minor version.
add_updates() {
    [ -z "$security" ] || add_source "$security" bookworm-security
}

# Make the server's package one of a version that apt does not have.
outdate_server() {
    dpkg-deb -R "/var/cache/apt/archives/postgresql-15_$(dpkg-query -Wf '${Version}' postgresql-15)"_*.deb /srv/package
    sed -i 's/^Version: .*/Version: 15.1-1/' /srv/package/DEBIAN/control
    dpkg-deb -b -Znone /srv/package /srv/package.deb
    dpkg -i /srv/package.deb
}

cluster_is_as_it_was() {
    [ "$(head -n 1 /var/lib/postgresql/15/main/postmaster.pid)" = "$pid" ] &&
        kill -0 "$pid" && [ "$(dpkg-query -W postgresql-15)" = "$version" ] ||
        fail "the running server was touched"
}

#
# Machines that states begin with
#

make_server() {
    apt-get -qq update
    # this makes a cluster
    install postgresql-15 libpq-dev
}

make_complete() {
    install gcc libc6-dev postgresql-server-dev-15
}

make_majors() {
    add_source "$mirror" trixie
    install postgresql-17
}

#
# States
#

# Nothing but make.
nothing() {
    refused 'pg_config not found' make
    refused 'pg_config not found' make install
    sale='' demo 15
    tests 'warnings regress'
    without_apt demo 15
    cluster
}

# The client of PostgreSQL, which has pgxs.mk and a pg_config, not on the PATH;
# PG_CONFIG of that, of what cannot be had, and of what is too old.
client() {
    local config=/usr/lib/postgresql/15/bin/pg_config

    install postgresql-client-15
    refused 'pg_config not found' make
    refused '/postgres.h not found' make PG_CONFIG=$config
    refused '/postgres.h not found' make install PG_CONFIG=$config
    refused 'could not install' make demo PG_CONFIG=${config/15/16}
    refused 'or later is needed' make demo PG_CONFIG=${config/15/14}
    demo 15 env PG_CONFIG=$config
}

# The client and libpq-dev, with a pg_config on the PATH, and a source of apt that
# is broken.
libpq() {
    install postgresql-client-15 libpq-dev
    echo 'deb file:/nowhere bookworm main' >> /etc/apt/sources.list
    refused '/postgres.h not found' make
    refused '/postgres.h not found' make install
    demo 15
}

# A server that runs, and libpq-dev; there are newer ones, too.
server() {
    add_updates
    start_cluster
    refused '/postgres.h not found' make
    refused '/postgres.h not found' make install
    demo 15
    tests regress
    cluster_is_as_it_was
}

# A server that runs, and only newer headers to be had.  If the server is too old
# for them, it is for root to bring it up to date.
newer_headers() {
    outdate_server
    add_updates
    start_cluster
    run make demo || touch /srv/too_old
    cluster_is_as_it_was
    [ ! -e /srv/too_old ] || prints_line make demo
    demo 15
}

# All there, but for pg_config on the PATH; and PG_CONFIG of that.
path() {
    rm /usr/bin/pg_config
    without_apt demo 15
    without_apt demo 15 env PG_CONFIG=
    without_apt demo 15 env PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
}

# PG_CONFIG of an installation outside Debian's places: without headers, without
# a server, complete; and then with no trace of Debian's.
given_elsewhere() {
    local config=/opt/pg/lib/postgresql/15/bin/pg_config

    mkdir -p /opt/pg/{lib,share,include}
    cp -r /usr/lib/postgresql /opt/pg/lib
    cp -r /usr/share/postgresql /opt/pg/share
    refused 'headers are not there' env PG_CONFIG=$config make demo
    refused '/postgres.h not found' env PG_CONFIG=$config make
    cp -r /usr/include/postgresql /opt/pg/include
    mv /opt/pg/lib/postgresql/15/bin/initdb /opt/pg
    refused 'the server is not there' env PG_CONFIG=$config make test
    mv /opt/pg/initdb /opt/pg/lib/postgresql/15/bin
    refused '/opt/pg_config is not there' env PG_CONFIG=/opt/pg_config make demo
    dpkg --purge --force-depends postgresql-15 postgresql-server-dev-15 \
        postgresql-client-15
    userdel -f postgres
    without_apt demo 15 env PG_CONFIG=$config
    without_apt demo 15 env PATH="${config%/*}:$PATH"
}

# Two majors, of which the newer one has no headers; then both complete, one
# after the other.
two_majors() {
    without_apt demo 15
    install postgresql-server-dev-17
    without_apt demo 17
    without_apt demo 15 env PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
}

# A server, and the headers of a newer major.
other_headers() {
    start_cluster
    add_source "$mirror" trixie
    install postgresql-server-dev-17
    demo 15
    cluster_is_as_it_was
}

# A server of the release before, whose headers cannot be had any more.
left_over() {
    sed -i 's/bookworm/trixie/' /etc/apt/sources.list
    demo 17
}

# A user who cannot become root, nothing installed.
user() {
    add_buyer
    prints_line as_buyer make demo
    demo 15 as_buyer
    prints_line as_buyer make test CHECKS=regress
    tests regress as_buyer
}

# The same with a server that runs, and is of the same version.
user_server() {
    add_buyer
    start_cluster
    prints_line as_buyer make demo
    demo 15 as_buyer
    cluster_is_as_it_was
}

# The same with all there but the extension.
user_complete() {
    add_buyer
    without_apt prints_line as_buyer make demo
    demo 15 as_buyer
}

# A user with sudo that wants no password.
user_sudo() {
    install sudo
    add_buyer
    echo 'buyer ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/buyer
    demo 15 as_buyer
    tests regress as_buyer
}

# Is npm's registry out of reach of a bare machine, which may lack a certificate
# that this one has, and is that no failure?
has_no_registry() {
    [ -n "$optional" ] && grep -q '^shop/.*: npm could not install' /srv/out
}

# The shop, with nothing installed.
shop() {
    run make shop-test SHOP_CHECKS='unit api' &&
        grep -q '^[1-9][0-9]* passed, 0 failed$' /srv/out ||
        has_no_registry || fail "make shop-test"
}

# The same by a user with sudo: it opens, has a page, and leaves nothing behind.
shop_user() {
    local pid end=$((SECONDS + 600)) line

    install sudo
    add_buyer
    echo 'buyer ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/buyer
    set -m
    as_buyer make shop > /srv/out 2>&1 &
    pid=$!
    set +m
    until grep -q '^The shop is open' /srv/out; do
        kill -0 $pid && [ $SECONDS -lt $end ] || {
            cat /srv/out
            ! has_no_registry || return 0
            fail "make shop"
        }
        sleep 0.2
    done
    exec 3<> /dev/tcp/127.0.0.1/8080
    printf 'GET /en/items/1/ HTTP/1.0\r\n\r\n' >&3
    read -r line <&3
    [[ $line = *' 200 '* ]] || fail "the page: $line"
    kill -INT -- -$pid
    wait $pid || true
    cat /srv/out
    ! ls -d /tmp/seckill.* 2> /dev/null || fail "something is left behind"
    ! grep -l "^Uid:.$(id -u buyer)" /proc/[0-9]*/status 2> /dev/null ||
        fail "processes are left behind"
}

# The states, each with the machine it begins with.
states='
bookworm nothing
bookworm client
bookworm libpq
bookworm user
bookworm user_sudo
bookworm shop
bookworm shop_user
server server
server newer_headers
server user_server
server other_headers
server left_over
complete path
complete given_elsewhere
complete user_complete
majors two_majors
'

#
# Here
#

# Run a function above in a Debian.
run_function() {
    in_root "$1" bash -c "
        $(declare -f)
        set -eEuo pipefail
        mirror=$mirror security=$security optional=${OPTIONAL:-}
        cd /srv/seckill
        $2" > "$roots/$2.log" 2>&1
}

# Make a machine that states begin with from the one before.
make_machine() {
    [ ! -e "$roots/$2" ] || return 0
    cp -a "$roots/$1" "$roots/$2"
    run_function "$2" "make_$2" || {
        tail -n 40 "$roots/make_$2.log" >&2
        die "no machine to try states on"
    }
}

# Try a state on a copy of a machine; appends to the results.
try() {
    local from=$1 state=$2 root=state-$2 start=$SECONDS result=passed

    cp -a "$roots/$from" "$roots/$root"
    copy_checkout "$root"
    run_function "$root" "$state" || {
        result=FAILED
        tail -n 60 "$roots/$state.log" >&2
    }
    say "$state: $result ($((SECONDS - start)) s)"
    echo $result >> "$roots/results"
    rm -rf --one-file-system "${roots:?}/$root"
}

# Is it one of the states that were asked for?
is_asked() {
    [ ${#asked[@]} -eq 0 ] || [[ " ${asked[*]} " = *" $1 "* ]]
}

# Try the states that begin with a bare Debian, or those that begin with more.
# Only the latter start the server of the machine, whose port there is once.
# Arguments: a pattern of machines.
lane() {
    local from state

    trap end_child EXIT
    trap 'exit 130' INT TERM HUP
    # apt locks the folder
    cp -al "$archives" "$archives.$BASHPID"
    archives=$archives.$BASHPID
    rm -f "$archives/lock"
    while read -r from state; do
        # shellcheck disable=SC2053
        [[ -n $state && $from = $1 ]] && is_asked "$state" || continue
        case $from in
            server | complete | majors) make_machine bookworm server ;;&
            complete | majors) make_machine server complete ;;&
            majors) make_machine complete majors ;;
        esac
        try "$from" "$state"
    done <<< "$states"
}

clean_up() {
    local lanes

    lanes=$(jobs -p)
    # shellcheck disable=SC2086
    [ -z "$lanes" ] || kill $lanes 2> /dev/null || true
    end_child
    if [ -n "${KEEP:-}" ]; then
        say "the logs are in $roots"
    else
        rm -rf --one-file-system "$roots"
    fi
}

asked=("$@")
roots=$(mktemp -d "${TMPDIR:-/var/tmp}/seckill-setup.XXXXXX")
trap clean_up EXIT
reason=$(why_no_roots)
[ -n "$reason" ] || (set_proxy && ensure_debootstrap && run_child debootstrap \
    --variant=minbase --print-debs bookworm "$roots/debs" "$mirror") \
    > "$roots/debootstrap.log" 2>&1 ||
    reason="debootstrap cannot be had, or no packages from $mirror"
if [ -n "$reason" ]; then
    [ -n "${OPTIONAL:-}" ] || die "$reason"
    say "test-setup is left out: $reason"
    exit 0
fi
security=$(host_mirror Debian-Security)
set_proxy
make_root bookworm
mkdir -p "$roots/bookworm/srv/seckill"
cp -a "$roots/bookworm/var/cache/apt/archives" "$roots"
archives=$roots/archives


lane bookworm &
lane '[!b]*' &
wait -n
wait -n

failed=$(grep -c FAILED "$roots/results" || true)
echo "$(grep -c passed "$roots/results" || true) passed, $failed failed"
[ "$failed" = 0 ]
