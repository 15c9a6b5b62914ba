"""Clients under other ASGI servers that do not read."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

import madang
from tests.hostile.raw import raw
from tests.hosts import listening
from tests.regressions.peer import joined, until


class Counted:
    """An ASGI application around a server that counts the WebSockets that run."""

    def __init__(self, io: madang.Server) -> None:
        self.io = io
        self.close = io.close
        self.websockets = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        counts = scope["type"] == "websocket"
        self.websockets += counts
        try:
            await self.io(scope, receive, send)
        finally:
            self.websockets -= counts


@pytest.mark.parametrize("host", ["uvicorn", "hypercorn"])
async def test_a_slow_reader_is_ended(host: Literal["uvicorn", "hypercorn"]):
    """When more than the limit waits for a client, its ASGI call ends soon, though the client never reads."""
    io = madang.Server(outbound_limit=200_000)
    io.on("ping me", lambda socket: "pong")
    app = Counted(io)
    async with listening(app, host) as url, raw(url, receive_buffer=4096) as client, joined(url) as other:
        await client.join()
        socket = list(io.sockets.values())[-1]
        for _ in range(4000):
            socket.emit("much", "x" * 10_000)
            await asyncio.sleep(0)
            if not socket.connected:
                break
        assert not socket.connected
        await until(lambda: app.websockets == 1, "the ASGI call of the slow reader ends")
        await other.served()
