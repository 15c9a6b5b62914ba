"""A madang server in a process of its own, which a test may kill: python -m tests.cluster.serving URL KEY."""

from __future__ import annotations

import asyncio
import sys

import madang


async def main(url: str, key: str) -> None:
    adapter = madang.RedisStreamsAdapter(url, stream_name=key, channel_prefix=key)
    io = madang.Server(adapter=adapter, connection_state_recovery=True)

    @io.on("connection")
    def connected(socket: madang.Socket) -> None:
        if not socket.recovered:
            socket.join("room")
            socket.data["name"] = "Minji"

    running = await io.start(port=0)
    await io.adapter.settled()
    print(running.url, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
