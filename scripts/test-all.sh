#!/bin/bash
# Run "make test" in a bare Debian of each release, "make shop-test" without a
# browser in the stable ones, and pg_upgrade from each release to the later ones.  Needs root, and makes the Debian systems itself.
#
#   RELEASES   the releases: bookworm trixie sid
#   PARTS      what to do: the releases, shop and upgrade
#   ROOTS      folder of the systems and the logs; an existing system is reused
#              as it is: remove it for a new one
#   MIRROR     source of packages; default: that of the host, if it is a Debian

cd "$(dirname "$0")/.."
. scripts/common.sh
. scripts/roots.sh

releases=${RELEASES:-bookworm trixie sid}
parts=${PARTS:-$releases shop upgrade}
roots=$(realpath -m "${ROOTS:-${TMPDIR:-/var/tmp}/seckill-roots}")
table=
failed=0

#
# Parts
#

# Run a command and add a line to the table.  The log has "building with
# PostgreSQL x" and ends with "n passed, m failed".  The command is part of a
# condition: it must see to its own failures.
run_part() {
    local name=$1 log=$roots/$1.log start=$SECONDS status=0 version result

    shift
    say "$name: the log is $log"
    "$@" > "$log" 2>&1 || status=$?
    version=$(sed -n 's/^building with PostgreSQL \([^ ]*\).*/\1/p' "$log" |
        uniq | paste -s -d '-' | sed 's/-/ to /')
    result=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1 || true)
    if [ $status -ne 0 ]; then
        tail -n 40 "$log" >&2
        failed=$((failed + 1))
        result="${result:-did not end} FAILED"
    fi
    say "$name: $result"
    table+=$(printf '%-18s %-16s %-28s %7d' "$name" "$version" "$result" \
        $((SECONDS - start)))$'\n'
}

in_release() {
    copy_checkout "$1" && in_root "$@"
}

suite() {
    in_release "$1" make test
}

# Build and install the extension in a Debian, and write where its server is.
build_in() {
    # shellcheck disable=SC2016
    in_release "$1" bash -c '. scripts/common.sh
        ensure_packages
        build_and_install
        dirname "$("$PG_CONFIG" --bindir)" > /srv/server'
}

# The libraries, as "name path", that the server of a Debian needs.  Not all in
# its folder are programs.
list_libraries() {
    in_root "$1" sh -c "ldd $2/bin/* > /srv/libraries 2> /dev/null || true" &&
        grep -q libpq "$roots/$1/srv/libraries" &&
        awk '$2 == "=>" { print $1, $3 }' "$roots/$1/srv/libraries" | sort -u
}

# Copy the server of a Debian into another, to /srv/old, with the libraries that
# are not there, where its own server is installed already.  A server finds its files wherever it is, if they are where
# they were as seen from it.
lend_server() {
    local from=$roots/$1 to=$roots/$2/srv/old server=$3 name path

    rm -rf "$to"
    mkdir -p "$to$server" "$to${server/lib/share}" "$to/lib"
    cp -r "$from$server/." "$to$server" &&
        cp -r "$from${server/lib/share}/." "$to${server/lib/share}" || return
    # its compiler would want a library of its own
    rm -rf "$to$server/lib/bitcode" "$to$server"/lib/llvmjit*
    in_root "$2" sh -c 'ldconfig -p > /srv/old/has' || return
    list_libraries "$1" "$server" > "$to/needs" || return
    while read -r name path; do
        grep -qF "$name " "$to/has" || cp -L "$from$path" "$to/lib" || return
    done < "$to/needs"
}

# pg_upgrade from the server of one Debian to that of another.
upgrade() {
    local server

    build_in "$1" && server=$(cat "$roots/$1/srv/server") &&
        build_in "$2" && lend_server "$1" "$2" "$server" &&
        in_root "$2" env SECKILL_OLD_INSTALL="/srv/old$server" \
            LD_LIBRARY_PATH=/srv/old/lib scripts/test.sh t/034_upgrade.pl
}

# The shop is for stable releases: sid has its components half upgraded at times.
shops() {
    local release

    for release in $releases; do
        [ "$release" != sid ] || continue
        make_root "$release"
        run_part "shop-$release" in_release "$release" \
            env SHOP_CHECKS='unit api chain' make shop-test
    done
}

# From each release to those after it.
upgrades() {
    local old new olds=

    for new in $releases; do
        make_root "$new"
        for old in $olds; do
            run_part "$old-$new" upgrade "$old" "$new"
        done
        olds="$olds $new"
    done
}

case $roots/ in "$PWD"/*) die "ROOTS must not be in the checkout" ;; esac
mkdir -p "$roots"
reason=$(why_no_roots)
[ -z "$reason" ] || die "$reason"
set_proxy

for part in $parts; do
    case $part in
        shop) shops ;;
        upgrade) upgrades ;;
        *)
            make_root "$part"
            run_part "$part" suite "$part"
            ;;
    esac
done

printf '%-18s %-16s %-28s %7s\n' part PostgreSQL result seconds
printf '%s' "$table"
[ $failed -eq 0 ]
