# Shared by the scripts beside it: what is missing is installed, the extension
# is built, and a throw-away server runs on a socket of its own.  Sourced, with
# the top of the source tree as working directory.

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
# Packages
#

# The major version of the server packages to use: that of PG_CONFIG if there
# is one, else what the distribution's "postgresql" stands for.
server_major() {
    if command -v "$PG_CONFIG" > /dev/null; then
        "$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/'
    else
        apt-cache depends postgresql 2> /dev/null |
            sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' ||
            true
    fi
}

has_server() {
    command -v "$PG_CONFIG" > /dev/null &&
        [ -f "$("$PG_CONFIG" --pgxs)" ] &&
        [ -x "$("$PG_CONFIG" --bindir)/initdb" ] &&
        [ -x "$("$PG_CONFIG" --bindir)/pgbench" ]
}

# Print the packages that are missing: what a build and a server need, and
# those named.
missing_packages() {
    local major

    command -v cc > /dev/null || echo gcc libc6-dev
    if ! has_server; then
        major=$(server_major)
        # before the first "apt-get update" apt does not know the version
        echo "postgresql${major:+-$major} postgresql-server-dev-${major:-all}"
    fi
    for package in "$@"; do
        dpkg -s "$package" > /dev/null 2>&1 || echo "$package"
    done
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

# Debian makes and starts a cluster when a server package is first installed;
# nobody asked for one here.
install_packages() {
    local conf=/etc/postgresql-common/createcluster.d/seckill.conf log

    log=$(mktemp)
    if [ ! -e /etc/postgresql-common ]; then
        as_root mkdir -p "$(dirname "$conf")"
        echo 'create_main_cluster = false' | as_root tee "$conf" > /dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "$@" > "$log" 2>&1 || {
        cat "$log" >&2
        die "apt-get could not install $*"
    }
    as_root rm -f "$conf" "$log"
}

# Install what building and a server need, and the packages named.
ensure_packages() {
    local missing

    if ! has_server || ! command -v cc > /dev/null || [ $# -gt 0 ]; then
        command -v apt-get > /dev/null || has_server ||
            die "PostgreSQL with its development files is needed"
        command -v dpkg > /dev/null || return 0
        missing=$(missing_packages "$@" | xargs)
        [ -n "$missing" ] || return 0
        can_be_root || {
            say "These packages are missing. As root, run:"
            say "    apt-get update && apt-get install -y --no-install-recommends $missing"
            exit 1
        }
        say "installing what is missing"
        as_root apt-get update -qq
        missing=$(missing_packages "$@" | xargs)
        say "    $missing"
        # shellcheck disable=SC2086
        install_packages $missing
    fi
}

#
# Build
#

# Is just this build installed already?
is_installed() {
    cmp -s seckill.so "$("$PG_CONFIG" --pkglibdir)/seckill.so" &&
        cmp -s seckill--1.0.sql \
            "$("$PG_CONFIG" --sharedir)/extension/seckill--1.0.sql"
}

build_and_install() {
    local log

    log=$(mktemp)
    say "building with $("$PG_CONFIG" --version)"
    make PG_CONFIG="$PG_CONFIG" all > "$log" 2>&1 || {
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
        say "    make -C $PWD PG_CONFIG=$PG_CONFIG install"
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

# The server refuses root: it runs as the packages' user then, who may not be
# able to enter this directory.
as_server_user() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

control_server() {
    (cd "$workdir" && as_server_user "$bindir/pg_ctl" -D "$workdir/data" -s "$@")
}

# Make a place, a cluster in it, and start it with the settings given on
# standard input.  Sets workdir, and PGHOST, PGPORT and PGUSER for clients.
start_server() {
    bindir=$("$PG_CONFIG" --bindir)
    workdir=$(mktemp -d "${TMPDIR:-/tmp}/seckill.XXXXXX")
    chmod 755 "$workdir"
    [ "$(id -u)" != 0 ] || chown postgres "$workdir"
    trap stop_server EXIT

    (cd "$workdir" && as_server_user "$bindir/initdb" -D "$workdir/data" \
        -U postgres -A trust -E UTF8 --no-locale) > "$workdir/initdb.log" 2>&1 || {
        cat "$workdir/initdb.log" >&2
        die "initdb failed"
    }
    {
        echo 'port = 5432'
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$workdir'"
        echo "shared_preload_libraries = 'seckill'"
        cat
    } | as_server_user tee -a "$workdir/data/postgresql.conf" > /dev/null
    control_server -w -l "$workdir/server.log" start || {
        cat "$workdir/server.log" >&2
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
            say "    runuser -u postgres -- $bindir/pg_ctl -D $workdir/data stop && rm -r $workdir"
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
