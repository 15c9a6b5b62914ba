#!/bin/sh
# Print the path of a server that the tests start: find_server.sh redis|postgres|nats|nginx|haproxy [--install]; with
# --install, fetch it with apt if there is none. $REDIS_SERVER, $POSTGRES, $NATS_SERVER, $NGINX or $HAPROXY, when set, is
# the only one asked.

server=$1
case "$server" in
    redis)
        variable=REDIS_SERVER given=${REDIS_SERVER:-} names="redis-server valkey-server" asks=--version
        package=redis-server wanted="redis-server or valkey-server" tests="cluster tests" ;;
    postgres) # the newest that there is; initdb and pg_ctl are beside it
        newest=$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | sort -t/ -k5 -n | tail -n 1)
        variable=POSTGRES given=${POSTGRES:-} names="$newest postgres" asks=--version
        package=postgresql wanted=postgres tests="cluster tests" ;;
    nats)
        variable=NATS_SERVER given=${NATS_SERVER:-} names="nats-server /usr/sbin/nats-server" asks=--version
        package=nats-server wanted=nats-server tests="cluster tests" ;;
    nginx)
        variable=NGINX given=${NGINX:-} names="nginx /usr/sbin/nginx" asks=-v
        package=nginx-light wanted=nginx tests="tests of examples/deploy" ;;
    haproxy)
        variable=HAPROXY given=${HAPROXY:-} names="haproxy /usr/sbin/haproxy" asks=-v
        package=haproxy wanted=haproxy tests="tests of examples/deploy" ;;
    *)
        echo "find_server.sh knows redis, postgres, nats, nginx and haproxy, not '$server'" >&2
        exit 2 ;;
esac

find_server() {
    for name in ${given:-$names}; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if "$path" "$asks" >/dev/null 2>&1; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

. "$(dirname "$0")/apt_install.sh"

find_server && exit 0
if [ -z "$given" ] && [ "${2:-}" = "--install" ] && apt_install "$package" && find_server; then
    exit 0
fi

{
    if [ -n "$given" ]; then
        echo "$variable=$given does not run."
    else
        echo "The $tests need $wanted, and none was found."
    fi
    echo "Install it (on Debian: apt-get install $package), or name one: $variable=/path/to/it make test"
} >&2
exit 1
