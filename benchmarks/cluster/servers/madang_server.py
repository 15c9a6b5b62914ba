"""One server of madang: of a cluster, alone, or with workers; the last argument is the port.

python madang_server.py --redis redis://… PORT
python madang_server.py --workers 2 PORT
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import madang

SIZE = 64
"""Bytes of a message."""

parser = argparse.ArgumentParser()
parser.add_argument("--redis")
parser.add_argument("--workers", type=int)
parser.add_argument("--ping", type=float, default=25.0, help="seconds between heartbeats")
parser.add_argument("port", type=int)
asked = parser.parse_args()

io = madang.Server(adapter=asked.redis, ping_interval=asked.ping)


@io.on("echo")
def echo(_: madang.Socket, payload: Any) -> Any:
    """Answer with what came."""
    return payload


@io.on("join")
async def join(socket: madang.Socket, room: str) -> None:
    """Enter the room, and answer when others can reach it."""
    socket.join(room)
    await io.adapter.settled()


@io.on("burst")
def burst(_: madang.Socket, room: str, first: int, count: int) -> None:
    """Send so many messages to the room, numbered from `first`."""
    for number in range(first, first + count):
        io.to(room).emit("said", f"{number:010d}{'x' * (SIZE - 10)}")


@io.on("stamp")
def stamp(_: madang.Socket, room: str, number: int, count: int) -> None:
    """Send one that says when."""
    io.to(room).emit("said", f"{number:010d}{time.monotonic_ns():020d}{'x' * (SIZE - 30)}")


def say_ready(_: object) -> None:
    """Say that it listens."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    workers: dict[str, Any] = {"workers": asked.workers} if asked.workers else {}
    io.run(host="127.0.0.1", port=asked.port, on_start=say_ready, log_level="critical", **workers)
