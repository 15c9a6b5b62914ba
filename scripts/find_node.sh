#!/bin/sh
# find_node.sh MAJOR: say nothing if Node of that version or newer and npm can run; else say what to install.

wanted=${1:-18}

if ! node -e "process.exit(parseInt(process.versions.node) < $wanted ? 1 : 0)" >/dev/null 2>&1; then
    echo "Node.js $wanted or newer is needed (the chat page and the tests use the stock socket.io-client); found: \
$(node --version 2>/dev/null || echo none). Install it, and see that \`node\` is on PATH." >&2
    exit 1
fi
if ! npm --version >/dev/null 2>&1; then
    echo "npm is needed beside Node.js; install it (on Debian and Ubuntu: the package npm), and see that it is on PATH." >&2
    exit 1
fi
