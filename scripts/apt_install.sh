# Sourced by find_chromium.sh and find_server.sh: apt_install PACKAGE, where that may be done.

apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        return 1
    fi
    echo "installing $1 with apt-get ..." >&2
    # The tests start servers of their own: the package's must not run. RUNLEVEL=1 keeps it from being started.
    apt="$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -o DPkg::Lock::Timeout=300"
    log=$(mktemp)
    # A list of packages that cannot be renewed may still be good enough.
    { $apt update || true; $apt install -y --no-install-recommends "$1"; } >"$log" 2>&1 </dev/null
    status=$?
    [ "$status" = 0 ] || tail -n 5 "$log" >&2
    rm -f "$log"
    return "$status"
}
