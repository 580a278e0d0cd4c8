# Make bare Debian systems in folders, for tests that need a machine of their own.
# Sourced after common.sh.  The calling script sets roots, the folder of these
# systems, and may set archives, a folder of packages that they share.  MIRROR is
# the source of packages; the default is that of the host, if it is a Debian.

child=
archives=

#
# Children
#

# Run a command that ends when this script does: it is waited for, so that
# signals are heeded meanwhile, and in a process group of its own.
run_child() {
    local status=0

    set -m
    "$@" < /dev/null &
    child=$!
    set +m
    wait "$child" || status=$?
    child=
    return $status
}

end_child() {
    [ -z "$child" ] || kill -KILL -- "-$child" 2> /dev/null || true
    wait
}

trap end_child EXIT
trap 'exit 130' INT TERM HUP

#
# A Debian
#

# Print where the host's packages with a label come from, if it is a Debian.
host_mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' "Label: $1" 2> /dev/null | head -n 1 || true
}

mirror=${MIRROR:-$(host_mirror Debian)}

# Print why no Debians can be made here, or nothing.
why_no_roots() {
    local probe

    [ "$(id -u)" = 0 ] || {
        echo "this needs root: it makes file systems and mounts in them"
        return
    }
    command -v apt-get > /dev/null || {
        echo "this needs apt-get"
        return
    }
    [ -n "$mirror" ] || {
        echo "this is no Debian that knows a mirror: MIRROR must say where packages are"
        return
    }
    probe=$(mktemp -d "$roots/probe.XXXXXX")
    mknod "$probe/null" c 1 3 && : 2> /dev/null > "$probe/null" &&
        unshare --mount --pid --ipc --fork mount -t proc proc "$probe" ||
        echo "devices or mounts are not allowed here"
    rm -rf "$probe"
}

# What the host's apt is told of proxies, and of lists that are old.
apt_settings() {
    apt-config dump 2> /dev/null |
        grep -E '^Acquire::(https?::Proxy|Check-)' || true
}

# debootstrap fetches without apt.
set_proxy() {
    local proxy

    proxy=$(apt_settings | sed -n 's/^Acquire::http::Proxy "\(http.*\)";$/\1/p')
    [ -z "$proxy" ] || export http_proxy="${http_proxy:-$proxy}"
}

ensure_debootstrap() {
    if ! command -v debootstrap > /dev/null; then
        say "installing debootstrap"
        as_apt apt-get update || say "apt-get update failed"
        install_packages debootstrap
    fi
}

# Make the Debian of a release, unless it is there.  It has what the README asks
# for, and starts no services.
make_root() {
    local root=$roots/$1 log=$roots/$1.debootstrap.log

    if [ ! -e "$root" ]; then
        ensure_debootstrap
        say "making a $1 in $root"
        rm -rf "$root.new"
        run_child unshare --mount debootstrap --variant=minbase \
            --include=make "$1" "$root.new" "$mirror" > "$log" 2>&1 || {
            tail -n 20 "$log" >&2
            die "debootstrap failed; see $log"
        }
        apt_settings > "$root.new/etc/apt/apt.conf.d/90host"
        # what is here can be made again: no fsync for each file
        echo force-unsafe-io > "$root.new/etc/dpkg/dpkg.cfg.d/unsafe-io"
        printf '#!/bin/sh\nexit 101\n' > "$root.new/usr/sbin/policy-rc.d"
        chmod 755 "$root.new/usr/sbin/policy-rc.d"
        mv "$root.new" "$root"
    fi
    cp -L /etc/resolv.conf /etc/hosts "$root/etc"
}

# Put this checkout into it, without what was built here.
copy_checkout() {
    local copy=$roots/$1/srv/seckill

    rm -rf "$copy"
    mkdir -p "$copy"
    tar -c --exclude-vcs --exclude-vcs-ignores . |
        tar -x --no-same-owner -C "$copy"
}

# Process 1 of a command's world, which mounts for it and takes in orphans.
# shellcheck disable=SC2016
init='
root=$0
mount -t proc proc "$root/proc" &&
mount --rbind /dev "$root/dev" &&
mount -t tmpfs -o mode=1777 shm "$root/dev/shm" &&
if [ -n "$archives" ]; then
    mount --bind "$archives" "$root/var/cache/apt/archives"
fi || exit
chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    ${http_proxy:+http_proxy="$http_proxy"} \
    bash -c "cd /srv/seckill && exec \"\$@\"" bash "$@"
exit $?
'

# Run a command in the checkout in a Debian.  Its processes, mounts and shared
# memory are its own and end with it.
in_root() {
    local root=$roots/$1

    shift
    archives=$archives run_child unshare --mount --pid --ipc --fork \
        --kill-child=KILL bash -c "$init" "$root" "$@"
}
