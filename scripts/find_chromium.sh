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

. "$(dirname "$0")/apt_install.sh"

find_browser && exit 0
if [ -z "${CHROMIUM:-}" ] && [ "${1:-}" = "--install" ] && apt_install chromium && find_browser; then
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
