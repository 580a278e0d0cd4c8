# Functions that other scripts share: install missing packages, build the
# extension, run a throw-away server on a socket of its own.  Sourced with the top
# of the source tree as working directory.

set -euo pipefail

PG_CONFIG=${PG_CONFIG:-pg_config}

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$0: $*"
    exit 1
}

#
# Which PostgreSQL
#

# Debian keeps each major version in a folder of its own.
debian=/usr/lib/postgresql
oldest_major=15

# PG_CONFIG=pg_config, as the Makefile passes it on, leaves the choice to us.
if [ "$PG_CONFIG" = pg_config ]; then
    given=
else
    PG_CONFIG=$(realpath -ms "$(command -v "$PG_CONFIG" || echo "$PG_CONFIG")")
    given=$PG_CONFIG
fi

# Print the folder of an installation's programs.  The argument of this and the
# next functions is the installation's pg_config, which need not exist.
programs_of() {
    "$1" --bindir 2> /dev/null || dirname "$1"
}

# Print the major version.
major_of() {
    local major

    major=$("$1" --version 2> /dev/null |
        sed 's/^[^0-9]*\([0-9]*\).*/\1/') || major=$(debian_major "$1") || true
    echo "$major"
}

# Print the major version if the installation is, or would be, Debian's.
debian_major() {
    [[ $(programs_of "$1") =~ ^$debian/([0-9]+)/bin$ ]] && echo "${BASH_REMATCH[1]}"
}

# Does it have all that a server of ours needs?
has_server() {
    local programs

    programs=$(programs_of "$1")
    [ -x "$programs/initdb" ] && [ -x "$programs/postgres" ] &&
        [ -x "$programs/pgbench" ]
}

# Does it have all that a build needs?  Debian has pgxs.mk in the package of the
# client, which is no use without the server's headers.
has_headers() {
    [ -f "$("$1" --pgxs 2> /dev/null)" ] &&
        [ -f "$("$1" --includedir-server 2> /dev/null)/postgres.h" ]
}

is_supported() {
    [ "$(major_of "$1")" -ge $oldest_major ] 2> /dev/null
}

is_complete() {
    is_supported "$1" && has_server "$1" && has_headers "$1"
}

# Print the pg_config, which need not exist, of each of Debian's installations,
# the newest first.
debian_installations() {
    local folder

    for folder in $(printf '%s\n' "$debian"/*/bin | sort -Vr); do
        [ ! -d "$folder" ] || echo "$folder/pg_config"
    done
}

# Does apt know where to get a package?  "grep -q" would leave apt-cache with a
# broken pipe now and then, and pipefail would make that a no.
has_candidate() {
    LC_ALL=C apt-cache policy "$1" 2> /dev/null |
        grep '^ *Candidate: [^(]' > /dev/null
}

# The same, but before the first "apt-get update" we hope for the best.
can_install() {
    has_candidate "$1" || ! has_candidate postgresql
}

# Print the major version that the distribution's "postgresql" stands for, or
# nothing before the first "apt-get update".
distribution_major() {
    LC_ALL=C apt-cache depends postgresql 2> /dev/null |
        sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' || true
}

# Set PG_CONFIG, unless it was given: to the installation on the PATH if that is
# complete, else to Debian's newest complete one, else to its newest one that
# lacks only headers, else to that which the distribution's packages will be.
choose_postgres() {
    local candidate major

    [ -z "$given" ] || return 0
    for candidate in $(command -v pg_config || true) $(debian_installations); do
        if is_complete "$candidate"; then
            PG_CONFIG=$candidate
            return
        fi
    done
    for candidate in $(debian_installations); do
        if is_supported "$candidate" && has_server "$candidate" &&
            can_install "postgresql-server-dev-$(major_of "$candidate")"; then
            PG_CONFIG=$candidate
            return
        fi
    done
    major=$(distribution_major)
    PG_CONFIG=${major:+$debian/$major/bin/}pg_config
}

# Is it complete, or can packages complete it?
can_complete() {
    is_complete "$1" || {
        command -v apt-get > /dev/null &&
            if [ -n "$given" ]; then
                debian_major "$1" > /dev/null && is_supported "$1"
            fi
    }
}

# Say what an installation lacks that we cannot complete, and exit.
refuse() {
    local pg_config

    pg_config=$(command -v "$1") || pg_config=$1
    if [ -z "$(major_of "$pg_config")" ]; then
        say "$pg_config is not there, or does not work."
    elif ! is_supported "$pg_config"; then
        say "$pg_config is PostgreSQL $(major_of "$pg_config"); $oldest_major or later is needed."
    elif ! has_headers "$pg_config"; then
        say "$pg_config: the server's headers are not there ($("$pg_config" --includedir-server)/postgres.h)."
    else
        say "$pg_config: the server is not there (initdb, postgres and pgbench in $(programs_of "$pg_config"))."
    fi
    if command -v apt-get > /dev/null; then
        say "Complete that installation, or leave PG_CONFIG out to use Debian's packages."
    else
        say "Install PostgreSQL with its development files, or say with PG_CONFIG where they are."
    fi
    exit 1
}

#
# Packages
#

# Can the compiler that PostgreSQL was built with, which its makefiles call,
# build anything?
has_compiler() {
    # shellcheck disable=SC2046
    echo '#include <stdio.h>' |
        $("$PG_CONFIG" --cc 2> /dev/null || echo gcc) -E - > /dev/null 2>&1
}

has_package() {
    # shellcheck disable=SC2016
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

# Print the package of a major version's headers.  Inline functions of newer
# headers may call what the server does not have: those of its own version are
# taken, if apt has them.  Before the first "apt-get update" apt does not even
# know the major version.
headers_package() {
    local package=postgresql-server-dev-${1:-all} version

    version=$(dpkg-query -W -f '${Version}' "postgresql-$1" 2> /dev/null) || true
    if [ -n "$version" ] && apt-cache madison "$package" 2> /dev/null |
        tr -d ' ' | grep -F "|$version|" > /dev/null; then
        echo "$package=$version"
    else
        echo "$package"
    fi
}

# Print the packages that are missing: what a build and a server need, and
# those named.  One that is there is not: apt-get would upgrade it, and restart
# the server.
missing_packages() {
    local major package

    has_compiler || echo gcc libc6-dev
    major=$(debian_major "$PG_CONFIG") || true
    has_server "$PG_CONFIG" || echo "postgresql${major:+-$major}"
    has_headers "$PG_CONFIG" || headers_package "$major"
    command -v dpkg > /dev/null || return 0
    for package in "$@"; do
        has_package "$package" || echo "$package"
    done
}

has_plproxy() {
    [ -f "$("$PG_CONFIG" --pkglibdir 2> /dev/null)/plproxy.so" ]
}

# Print the package of PL/Proxy for the PostgreSQL that was chosen.
plproxy_package() {
    echo "postgresql-$(debian_major "$PG_CONFIG")-plproxy"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# May we become root without asking anybody?
can_be_root() {
    [ "$(id -u)" = 0 ] || sudo -n true 2> /dev/null
}

# With headers that are newer than the server apt would upgrade that, too, and
# restart it: they are made from the same source.
apt_install="apt-get install -y --no-install-recommends \
-o APT::Get::Upgrade-By-Source-Package=false"

# Run apt-get, which waits for another one that runs, as at a machine's first boot.
as_apt() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        "$@" -qq -o DPkg::Lock::Timeout=300
}

# Debian makes and starts a cluster when a server package is first installed, and
# starts other services, too; nobody asked for that here.
install_packages() {
    local conf=/etc/postgresql-common/createcluster.d/seckill.conf log status=0
    local policy=/usr/sbin/policy-rc.d no_services=

    log=$(mktemp)
    as_root mkdir -p "$(dirname "$conf")"
    echo 'create_main_cluster = false' | as_root tee "$conf" > /dev/null
    if [ ! -e $policy ]; then
        no_services=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy > /dev/null
        as_root chmod 755 $policy
    fi
    # shellcheck disable=SC2086
    as_apt $apt_install "$@" > "$log" 2>&1 || status=$?
    as_root rm -f "$conf" ${no_services:+$policy}
    if [ $status -ne 0 ]; then
        cat "$log" >&2
        rm -f "$log"
        die "apt-get could not install $*"
    fi
    rm -f "$log"
}

# Print how root installs the extension.
install_command() {
    printf 'make -C %q%s install' "$PWD" \
        "$([ "$PG_CONFIG" = pg_config ] || printf ' PG_CONFIG=%q' "$PG_CONFIG")"
}

# Install what building and a server need, and the packages named.
ensure_packages() {
    local missing

    choose_postgres
    can_complete "$PG_CONFIG" || refuse "$PG_CONFIG"
    missing=$(missing_packages "$@" | xargs)
    [ -n "$missing" ] || return 0
    command -v apt-get > /dev/null || die "these are missing: $missing"
    can_be_root || {
        say "These packages are missing. As root, run:"
        say "    apt-get update && $apt_install $missing && $(install_command)"
        say "and start again."
        exit 1
    }
    say "installing what is missing"
    # some of its sources may be broken and others good enough
    as_apt apt-get update || say "apt-get update failed"
    choose_postgres
    missing=$(missing_packages "$@" | xargs)
    say "    $missing"
    # shellcheck disable=SC2086
    install_packages $missing
    is_complete "$PG_CONFIG" || refuse "$PG_CONFIG"
}

#
# Build
#

# Is just this build installed already?
is_installed() {
    local file

    cmp -s seckill.so "$("$PG_CONFIG" --pkglibdir)/seckill.so" || return
    for file in *.control *--1.0.sql; do
        cmp -s "$file" "$("$PG_CONFIG" --sharedir)/extension/$file" || return
    done
}

# Tell of headers of another minor version than the server's.
say_minor() {
    local headers server

    headers=$(sed -n 's/^#define PG_VERSION "\([^ "]*\).*/\1/p' \
        "$("$PG_CONFIG" --includedir-server)/pg_config.h")
    server=$("$("$PG_CONFIG" --bindir)/postgres" --version |
        sed 's/.*(PostgreSQL) \([^ ]*\).*/\1/')
    [ "$headers" = "$server" ] ||
        say "the headers are of $headers, the server is $server"
}

# Tell how a server that lacks what its headers have is brought up to them.
say_upgrade() {
    local major

    major=$(debian_major "$PG_CONFIG") || die "the server is older than its headers"
    say "The server is older than its headers. As root, run:"
    say "    apt-get update && apt-get install -y postgresql-$major"
    say "and start again. That restarts the clusters of this version."
    exit 1
}

build_and_install() {
    local log

    log=$(mktemp)
    say "building with $("$PG_CONFIG" --version)"
    say_minor
    make -j "$(nproc)" PG_CONFIG="$PG_CONFIG" all > "$log" 2>&1 || {
        cat "$log" >&2
        die "the build failed"
    }
    if is_installed; then
        rm -f "$log"
        return
    fi
    if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then
        make PG_CONFIG="$PG_CONFIG" install > "$log" 2>&1
    elif can_be_root; then
        as_root make PG_CONFIG="$PG_CONFIG" install > "$log" 2>&1
    else
        say "The extension cannot be installed by this user. As root, run:"
        say "    $(install_command)"
        say "and start again."
        exit 1
    fi || {
        cat "$log" >&2
        die "the installation failed"
    }
    rm -f "$log"
}

#
# A server of our own
#

# The server refuses root: it runs as another user then, who may not be able to
# enter this directory.  That of the packages is not there if PostgreSQL is not
# from a package.
server_user() {
    id -un postgres 2> /dev/null || echo nobody
}

as_server_user() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u "$(server_user)" -- "$@"
    else
        "$@"
    fi
}

control_server() {
    (cd "$workdir" && as_server_user "$bindir/pg_ctl" -D "$workdir/data" -s "$@")
}

# Make a place for servers, and have it cleared by a function at the end of the
# script.  Sets workdir, and bindir.
make_workdir() {
    bindir=$("$PG_CONFIG" --bindir)
    workdir=$(mktemp -d "${TMPDIR:-/tmp}/seckill.XXXXXX")
    chmod 755 "$workdir"
    [ "$(id -u)" != 0 ] || chown "$(server_user)" "$workdir"
    trap "$1" EXIT
}

# Make a cluster in a folder of workdir, with its sockets there, and with the
# settings given on standard input.
make_cluster() {
    (cd "$workdir" && as_server_user "$bindir/initdb" -D "$workdir/$1" \
        -U postgres -A trust -E UTF8 --no-locale) > "$workdir/initdb.log" 2>&1 < /dev/null || {
        cat "$workdir/initdb.log" >&2
        die "initdb failed"
    }
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$workdir'"
        cat
    } | as_server_user tee -a "$workdir/$1/postgresql.conf" > /dev/null
}

# Make a place, a cluster in it, and start it with the settings given on
# standard input.  Sets workdir, and PGHOST, PGPORT and PGUSER for clients.
start_server() {
    make_workdir stop_server
    {
        echo 'port = 5432'
        echo "shared_preload_libraries = 'seckill'"
        cat
    } | make_cluster data
    control_server -w -l "$workdir/server.log" start || {
        cat "$workdir/server.log" >&2
        ! grep -q 'undefined symbol' "$workdir/server.log" || say_upgrade
        die "the server does not start"
    }
    export PGHOST="$workdir" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    unset PGSERVICE PGHOSTADDR PGOPTIONS
    PATH="$bindir:$PATH"
}

# Copy the logs of the server, and of those that tests made, to where LOGS says.
keep_logs() {
    mkdir -p "$LOGS"
    [ ! -f "$workdir/server.log" ] || cp "$workdir/server.log" "$LOGS"
    [ ! -d "$workdir/tap/tmp_check/log" ] ||
        cp -r "$workdir/tap/tmp_check/log" "$LOGS/tap"
}

stop_server() {
    if [ -n "${KEEP:-}" ]; then
        say "The server stays up. Connect:"
        say "    $bindir/psql -h $workdir -U postgres"
        say "Stop and remove it:"
        if [ "$(id -u)" = 0 ]; then
            say "    runuser -u $(server_user) -- $bindir/pg_ctl -D $workdir/data stop && rm -r $workdir"
        else
            say "    $bindir/pg_ctl -D $workdir/data stop && rm -r $workdir"
        fi
        return
    fi
    control_server -m immediate stop || true
    [ -z "${LOGS:-}" ] || keep_logs
    rm -rf "$workdir"
}

sql() {
    psql -XAtq -v ON_ERROR_STOP=1 -F '|' -c "$1"
}
