"""The program that serves with several workers in the tests; its arguments are options of `run`, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import madang

io = madang.Server(ping_interval=2.0)


@io.on("who")
def who(socket: Any) -> list[Any]:
    """The process, and where the client is as it sees it."""
    return [os.getpid(), socket.handshake.address]


@io.on("echo")
def echo(socket: Any, *values: Any) -> Any:
    """What came."""
    return values


@io.on("die")
def die(socket: Any) -> None:
    """End this process without a word."""
    os._exit(7)


async def other(scope: Any, receive: Any, send: Any) -> None:
    """Another application on all other paths."""
    if scope["type"] != "http":
        return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if (switch := given.pop("broken_if", None)) and Path(switch).exists():
        raise SystemExit("this program is broken")
    io.run(**({"app": other} | given), on_start=lambda running: print(running.url, flush=True))
