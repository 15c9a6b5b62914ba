#!/bin/sh
# Install and build the servers of the benchmark, each one once, and again when what it is made from has changed.
# One that cannot be had is named on standard error, the others go on, and the exit status is 1.

cd "$(dirname "$0")" || exit 1
failed=0

npm_install() {
    ../../scripts/find_node.sh 20 > /dev/null &&
        (cd "$1" && npm install --no-audit --no-fund --no-package-lock --no-progress --loglevel=error)
}

make_node() {
    npm_install node
}

make_bun() {
    npm_install bun || return 1
    # npm can be told to run no scripts of packages, and this one needs its own.
    bun/node_modules/.bin/bun --version > /dev/null 2>&1 || (cd bun/node_modules/bun && node install.js)
    bun/node_modules/.bin/bun --version > /dev/null
}

make_python_socketio() {
    python=$(../../scripts/find_python.sh) &&
        "$python" -m venv --clear python_socketio/.venv &&
        python_socketio/.venv/bin/python -m pip --disable-pip-version-check --quiet \
            install --requirement python_socketio/requirements.txt
}

make_socketioxide() {
    cargo build --release --quiet --manifest-path socketioxide/Cargo.toml
}

# made PEER STAMP INPUT...: make the peer unless its stamp is newer than all of its inputs
made() {
    peer=$1 stamp=$2
    shift 2
    if [ -e "$stamp" ] && [ -z "$(find "$@" -newer "$stamp")" ]; then
        return
    fi
    echo "setting up $peer ..."
    if "make_$peer"; then
        touch "$stamp"
    else
        rm -f "$stamp"
        echo "$peer cannot be set up; see above. The benchmark goes on without it." >&2
        failed=1
    fi
}

made node node/node_modules/.made node/package.json
made bun bun/node_modules/.made bun/package.json
made python_socketio python_socketio/.venv/.made python_socketio/requirements.txt
made socketioxide socketioxide/target/.made socketioxide/Cargo.toml socketioxide/src/main.rs

# -P: the folder madang in this one is no package.
if ! ../../.venv/bin/python -P -c "import madang, websockets" > /dev/null 2>&1; then
    echo "madang is not set up: run 'make setup' in the root of the repository." >&2
    failed=1
fi

exit $failed
