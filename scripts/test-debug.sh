#!/bin/bash
# Run the tests with a PostgreSQL built to detect internal errors:
# "test-debug.sh KIND", where KIND is
#
#   assertions  PostgreSQL's own assertions, freed memory overwritten, unused
#               catalog cache entries dropped at once; then some tests of
#               pg_regress with debug_discard_caches
#   sanitizers  the address and the undefined behaviour sanitizer, assertions
#   valgrind    memcheck with support for PostgreSQL's allocator; slow, so only
#               pg_regress, the isolation tests and a short mixed sale
#
# The server is built from Debian's source package of the version in use, into
# CACHE, which keeps it for the next run.  Afterwards the logs are searched for
# failed assertions, reports and crashes that no test has detected.

cd "$(dirname "$0")/.."
. scripts/common.sh

kind=${1:-${KIND:-}}
cache=${CACHE:-${TMPDIR:-/var/tmp}/seckill-debug}
rows=()
failed=0

case $kind in
    assertions)
        cflags='-Og -DRELCACHE_FORCE_RELEASE -DCATCACHE_FORCE_RELEASE' ;;
    sanitizers)
        cflags='-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined' ;;
    valgrind)
        cflags='-Og -DUSE_VALGRIND' ;;
    *)
        die "say which: assertions, sanitizers or valgrind" ;;
esac
cflags="$cflags -fno-omit-frame-pointer"

# what the tests use of contrib; without dblink many are skipped
contrib='amcheck auto_explain dblink test_decoding'

# Programs that end may leave memory behind; told of it they lose their output.
export ASAN_OPTIONS=detect_leaks=0

# apt with package sources, in files of our own: the host's stay as they are.
source_apt() {
    local tool=$1

    shift
    "$tool" -qq -o Dir::Etc::SourceList="$cache/apt/sources.list" \
        -o Dir::Etc::SourceParts="$cache/apt/parts" \
        -o Dir::State::Lists="$cache/apt/lists" \
        -o Dir::Cache="$cache/apt/cache" \
        -o APT::Sandbox::User=root "$@"
}

write_apt_sources() {
    mkdir -p "$cache"/apt/{parts,lists/partial,cache/archives/partial}
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2> /dev/null |
        sed -n 's/^deb /deb-src /p' > "$cache/apt/sources.list" || true
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" \
            > "$cache/apt/parts/$(basename "$file")"
    done
}

# Fetch the newest source package of this major version that there is.  Sets
# archive, the file of PostgreSQL's own source in it.
fetch_source() {
    local package=postgresql-$major version

    write_apt_sources
    source_apt apt-get update >&2
    for version in $(source_apt apt-cache showsrc "$package" |
        sed -n 's/^Version: //p' | sort -Vru); do
        archive=$cache/${package}_${version%-*}.orig.tar.bz2
        if (cd "$cache" && source_apt apt-get source --download-only \
            "$package=$version") > "$cache/apt/log" 2>&1; then
            return
        fi
        say "the source of $package $version cannot be fetched"
    done
    die "there is no source of $package; see $cache/apt/log"
}

# memcheck for the server proper, not for initdb's runs and questions about the
# version.  An error does not end the process (--error-exitcode): the postmaster
# would take it for a crash, and what comes after would not be seen.
wrap_in_valgrind() {
    cp "$1/src/tools/valgrind.supp" "$prefix/share/"
    mv "$prefix/bin/postgres" "$prefix/bin/postgres.real"
    cat > "$prefix/bin/postgres" <<WRAPPER
#!/bin/sh
case \$1 in
    --boot | --single | --check | --describe-config | -V | --version | -C)
        exec "$prefix/bin/postgres.real" "\$@" ;;
esac
exec valgrind --quiet --leak-check=no --num-callers=30 \\
    --error-markers=VALGRIND-ERROR,END-OF-ERROR \\
    --suppressions="$prefix/share/valgrind.supp" \\
    --log-file="\${REPORTS:-/tmp}/valgrind.%p" \\
    "$prefix/bin/postgres.real" "\$@"
WRAPPER
    chmod 755 "$prefix/bin/postgres"
}

# In the source's directory.  PostgreSQL makes its headers at the top level of
# make only, which a make that runs this script would hide.
compile_server() {
    local extension

    unset MAKELEVEL MAKEFLAGS MFLAGS

    nice ./configure --prefix="$prefix" --enable-cassert --enable-debug \
        --enable-tap-tests --without-readline --without-zlib --without-icu \
        CFLAGS="$cflags" &&
        nice make -s -j "$(nproc)" install || return
    for extension in $contrib; do
        nice make -s -C "contrib/$extension" install || return
    done
}

# Build the server, unless it is there and was built in the same way.
build_server() {
    local build=$cache/build-$kind

    [ "$(cat "$prefix/built" 2> /dev/null)" != "$cflags, $contrib" ] || return 0
    fetch_source
    say "building $(basename "$archive" .orig.tar.bz2) with $cflags"
    rm -rf "$prefix" "$build"
    mkdir -p "$build"
    tar -xf "$archive" -C "$build" --strip-components 1
    (cd "$build" && compile_server) > "$cache/$kind.log" 2>&1 || {
        tail -n 40 "$cache/$kind.log" >&2
        die "the build failed; all of it is in $cache/$kind.log"
    }
    [ "$kind" != valgrind ] || wrap_in_valgrind "$build"
    echo "$cflags, $contrib" > "$prefix/built"
    rm -rf "$build"
}

# How many lines of the logs in this directory match?
count() {
    { grep -rhsE "$2" "$1" || true; } | wc -l
}

# Run the suite, with the settings given, and look into the logs as well.
# Tests kill processes with SIGKILL and SIGQUIT; any other signal is a crash.
run_part() {
    local name=$1 status=passed reports crashes start=$SECONDS

    shift
    export LOGS="$workdir/logs/${#rows[@]}" REPORTS="$workdir/reports/${#rows[@]}"
    mkdir -p "$LOGS" "$REPORTS"
    chmod 1777 "$REPORTS"
    # verify_asan_link_order: some tests preload a clock, in front of the sanitizer
    export ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0:verify_asan_link_order=0:abort_on_error=1:log_path=$REPORTS/asan"
    export UBSAN_OPTIONS="print_stacktrace=1:abort_on_error=1:log_path=$REPORTS/ubsan"
    say "=== $kind: $name"
    nice env -u KEEP "$@" scripts/test.sh || status=failed
    reports=$(($(count "$LOGS" 'TRAP: |runtime error: |ERROR: AddressSanitizer|WARNING:.*(reference|refcount) leak') + \
        $(count "$REPORTS" 'runtime error: |ERROR: AddressSanitizer|VALGRIND-ERROR')))
    crashes=$(count "$LOGS" 'terminated by signal (4|5|6|7|8|11)\b|PANIC:  ')
    [ $status = passed ] && [ "$reports" = 0 ] && [ "$crashes" = 0 ] || failed=1
    rows+=("$(printf '%-11s %-36s %-7s %8s %8s %8s' "$kind" "$name" $status \
        "$reports" "$crashes" $((SECONDS - start)))")
}

run_parts() {
    # what takes long here is slow, not stuck
    export PG_TEST_TIMEOUT_DEFAULT=900 PGISOLATIONTIMEOUT=900 PGCTLTIMEOUT=600
    export SECKILL_SLOWNESS=10

    case $kind in
        assertions)
            run_part 'all tests' CHECKS='regress tap'
            # a minute or more each; others depend on how often they call
            run_part 'some of pg_regress, debug_discard_caches' CHECKS=regress \
                CONF='debug_discard_caches = 1' ISOLATION= \
                REGRESS='extension many many_items limit request lifecycle guard' ;;
        sanitizers)
            run_part 'all tests' CHECKS='regress tap' ;;
        valgrind)
            run_part 'pg_regress, isolation tests' CHECKS=regress
            run_part 't/026_random.pl' CHECKS=tap SECKILL_SECONDS=60 \
                PROVE_TESTS=t/026_random.pl ;;
    esac
}

packages=(bzip2 libipc-run-perl)
[ "$kind" != valgrind ] || packages+=(valgrind)
ensure_packages "${packages[@]}"
major=$(major_of "$PG_CONFIG")
# from 17 on the source comes without what these two make
[ "$major" -lt 17 ] || ensure_packages bison flex
mkdir -p "$cache"
chmod 755 "$cache"
cache=$(cd "$cache" && pwd)
prefix=$cache/$kind-$major
# what one run installs there, another would test
exec 9> "$cache/$kind.lock"
flock -n 9 || die "another run for $kind uses $cache"
build_server

# Objects are made anew for this server, in a copy; nothing else sees it.
export PG_CONFIG="$prefix/bin/pg_config"
workdir=$(mktemp -d "${TMPDIR:-/tmp}/seckill-debug.XXXXXX")
chmod 755 "$workdir"
cp -r . "$workdir/seckill"
cd "$workdir/seckill"
make -s clean
run_parts

printf '%-11s %-36s %-7s %8s %8s %8s\n' build tests result reports crashes seconds
printf '%s\n' "${rows[@]}"
if [ $failed != 0 ]; then
    die "not clean; the logs are in $workdir"
fi
rm -rf "$workdir"
