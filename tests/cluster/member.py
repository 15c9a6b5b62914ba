"""A server of a cluster in a process of its own, to be frozen and killed; its arguments: URL, and options as JSON.

Prints where it listens. Each client is present in ``room``, as the user that it says it is.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import madang

io = madang.Server(adapter=madang.RedisAdapter(sys.argv[1], key="died"), presence=json.loads(sys.argv[2]))


@io.on("connection")
def connected(socket: Any) -> None:
    """Somebody has come."""
    io.presence("room").track(socket, socket.handshake.auth["user"])


@io.on("who is there")
async def who_is_there(socket: Any) -> list[str]:
    """The users, as this server knows them."""
    return sorted(one.user for one in await io.presence("room").list())


io.run(port=0, on_start=lambda running: print(running.url, flush=True))
