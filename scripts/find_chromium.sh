#!/bin/sh
# Print the path of a Chromium or Chrome for the browser tests; with --install, fetch one with apt if there is none.
# $CHROMIUM, when set, is the only one asked.

find_browser() {
    for name in ${CHROMIUM:-chromium chromium-browser google-chrome google-chrome-stable chrome}; do
        path=$(command -v "$name" 2>/dev/null) || continue
        # On some systems the name is there but stands for a package that is not: a browser tells its version.
        if "$path" --version >/dev/null 2>&1; then
            echo "$path"
            return 0
        fi
    done
    mac="/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    if [ -z "${CHROMIUM:-}" ] && [ -x "$mac" ]; then
        echo "$mac"
        return 0
    fi
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
    echo "installing chromium with apt-get ..." >&2
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
    log=$(mktemp)
    # A list of packages that cannot be renewed may still be good enough.
    { $apt update || true; $apt install -y --no-install-recommends chromium; } >"$log" 2>&1 </dev/null
    status=$?
    [ "$status" = 0 ] || tail -n 5 "$log" >&2
    rm -f "$log"
    return "$status"
}

find_browser && exit 0
if [ -z "${CHROMIUM:-}" ] && [ "${1:-}" = "--install" ] && apt_install && find_browser; then
    exit 0
fi

{
    if [ -n "${CHROMIUM:-}" ]; then
        echo "CHROMIUM=$CHROMIUM does not run."
    else
        echo "The browser tests need Chromium or Google Chrome, and none was found."
    fi
    echo "Install one (on Debian: apt-get install chromium), or name one: CHROMIUM=/path/to/chromium make test"
} >&2
exit 1
