"""Context variables that an ASGI middleware sets for a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

import madang
from tests.conformance.wire import SOCKET, Polling, browser
from tests.hostile.victim import NO_TLS
from tests.hosts import listening

user: ContextVar[str] = ContextVar("user", default="nobody")


class Named:
    """An ASGI middleware that puts who asks into a context variable."""

    def __init__(self, io: madang.Server) -> None:
        self.io = io
        self.close = io.close

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            user.set(dict(scope["headers"]).get(b"x-user", b"nobody").decode())
        await self.io(scope, receive, send)


@asynccontextmanager
async def named(url: str, name: str) -> AsyncIterator[Polling]:
    async with browser(url, verify=NO_TLS, headers={"x-user": name}) as http:
        client = await Polling.open(http, SOCKET)
        await client.send("40")
        assert (await client.packets())[0].startswith("40{")
        yield client
        await client.post("1")


@pytest.mark.parametrize("long_way", [False, True])
async def test_a_request_s_context_stays_with_its_client(io: madang.Server, long_way: bool):
    """A handler sees the context variables of its own client's request, whether it is sync or async or waits."""

    @io.on("sync")
    def sync(socket):
        return user.get()

    @io.on("async")
    async def quick(socket):
        return user.get()

    @io.on("waits")
    async def waits(socket):
        before = user.get()
        await asyncio.sleep(0)
        return before, user.get()

    if long_way:
        io.on_any(lambda socket, event: None)
    async with listening(Named(io), "uvicorn") as url, AsyncExitStack() as stack:
        names = ("alice", "bob", "carol")
        clients = {name: await stack.enter_async_context(named(url, name)) for name in names}
        for event in ("sync", "async", "waits") * 2:
            for name, client in clients.items():
                await client.send(f'421["{event}"]')
                answer = f'"{name}","{name}"' if event == "waits" else f'"{name}"'
                assert await client.packets() == [f"431[{answer}]"]


async def test_the_context_of_a_handshake_stays_with_its_client(io: madang.Server):
    """Middlewares and connection handlers see the context variables of the request that made them run."""
    seen: list[Any] = []

    @io.use
    async def middleware(socket):
        seen.append(user.get())

    @io.on("connection")
    async def connection(socket):
        seen.append(user.get())

    async with listening(Named(io), "uvicorn") as url:
        for name in ("alice", "bob", "carol"):
            async with named(url, name):
                assert seen == [name, name]
            seen.clear()
