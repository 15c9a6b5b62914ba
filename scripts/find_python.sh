#!/bin/sh
# Print the command of a Python that madang can live in: 3.11 or newer, with venv and pip.
# $PYTHON, when set, is the only one asked. A candidate counts by running it: a shim that fails is passed over.

check='import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))'

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
else
    candidates="python3.13 python3.12 python3.11 python3 python python3.14"
fi

for name in $candidates; do
    # The same name may stand in several folders of PATH, the first of them a shim that fails.
    for path in $(command -v "$name" 2>/dev/null) $(which -a "$name" 2>/dev/null); do
        if "$path" -c "$check" >/dev/null 2>&1; then
            echo "$path"
            exit 0
        fi
    done
done

{
    if [ -n "${PYTHON:-}" ]; then
        echo "PYTHON=$PYTHON is not a Python 3.11 or newer with the modules venv and ensurepip."
    else
        echo "madang needs Python 3.11 or newer with the modules venv and ensurepip; none was found on PATH."
    fi
    echo "Install one (on Debian and Ubuntu: python3 and python3-venv), or name one: make PYTHON=/path/to/python3 ..."
} >&2
exit 1
