#!/bin/sh
# Print the path of a Redis or Valkey server for the cluster tests; with --install, fetch one with apt if there is none.
# $REDIS_SERVER, when set, is the only one asked.

find_server() {
    for name in ${REDIS_SERVER:-redis-server valkey-server}; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if "$path" --version >/dev/null 2>&1; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        return 1
    fi
    echo "installing redis-server with apt-get ..." >&2
    # The tests start servers of their own: the package's must not run. RUNLEVEL=1 keeps it from being started.
    apt="$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -o DPkg::Lock::Timeout=300"
    log=$(mktemp)
    # A list of packages that cannot be renewed may still be good enough.
    { $apt update || true; $apt install -y --no-install-recommends redis-server; } >"$log" 2>&1 </dev/null
    status=$?
    [ "$status" = 0 ] || tail -n 5 "$log" >&2
    rm -f "$log"
    return "$status"
}

find_server && exit 0
if [ -z "${REDIS_SERVER:-}" ] && [ "${1:-}" = "--install" ] && apt_install && find_server; then
    exit 0
fi

{
    if [ -n "${REDIS_SERVER:-}" ]; then
        echo "REDIS_SERVER=$REDIS_SERVER does not run."
    else
        echo "The cluster tests need redis-server or valkey-server, and none was found."
    fi
    echo "Install one (on Debian: apt-get install redis-server), or name one: REDIS_SERVER=/path/to/redis-server make test"
} >&2
exit 1
