"""The client with the MessagePack parser: against the stock server with ``socket.io-msgpack-parser``, and madang's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import madang
from tests.client.servers import Backend, MadangBackend, NodeBackend
from tests.client.tools import QUICK, SOON, WAYS

WHEN = datetime(2024, 2, 29, 12, 30, 15, 678000, UTC)
TEXT = "2024-02-29T12:30:15.678Z"

Make = Callable[..., madang.Client]


@pytest.fixture(params=["node", "madang"])
async def packed(request: pytest.FixtureRequest, own: Make) -> AsyncIterator[tuple[Backend, Make]]:
    """One of the two servers, with the parser, and what makes clients of it."""
    options: dict[str, Any] = {**QUICK, "parser": madang.MsgpackParser()}
    if request.param == "node":
        node: NodeBackend = request.getfixturevalue("node_backend")
        yield node, lambda **more: own(node.url, path="/msgpack.socket.io/", **options | more)
        return
    backend = MadangBackend(parser=madang.MsgpackParser())
    running = await backend.io.start(port=0, host="127.0.0.1")
    yield backend, lambda **more: own(running.url, **options | more)
    await running.stop()


@pytest.mark.feature("R2", "V44")
async def test_both_ways(packed: tuple[Backend, Make], way: str, request: pytest.FixtureRequest):
    """Events and answers, in both directions, with bytes inside; then namespaces, a refusal, and the end."""
    backend, make = packed
    who = request.node.name
    client = make(transports=WAYS[way], query={"who": who})
    heard: asyncio.Queue[Any] = asyncio.Queue()
    client.on("echo", lambda *args: heard.put_nowait(list(args)))
    client.on("question", lambda *args: ("answer", [b"\x01"], *args))
    async with asyncio.timeout(SOON):
        await client.connect()
        values = [1, None, "마당", [b"\x00\xff", {"deep": b""}], {"a": {}}]
        assert list(await client.emit_with_ack("echo", *values)) == values
        client.emit("echo", *values)
        assert await heard.get() == values
        await backend.emit(who, "echo", b"\x07", {"in": [b"\x08"]})
        assert await heard.get() == [b"\x07", {"in": [b"\x08"]}]
        assert await backend.ask(who, "question", b"\x09") == ["answer", [b"\x01"], b"\x09"]
        assert await client.emit_with_ack("echo", WHEN) == TEXT
        chat = client.of("/chat")
        await chat.connected
        assert await chat.emit_with_ack("echo", 1, b"2") == (1, b"2")
        with pytest.raises(madang.ConnectError, match="not allowed") as refused:
            await client.of("/auth", auth={"token": "bad"}).connected
        assert refused.value.data == {"code": 401}
        await backend.leave(who, nsp="/chat")
        while chat.is_connected:
            await asyncio.sleep(0.001)
        assert client.is_connected


@pytest.mark.feature("R2", "V44")
async def test_another_parser(packed: tuple[Backend, Make]):
    """A client that speaks the default parser's language fails with an error, and leaves nothing behind."""
    _, make = packed
    client = make(parser=None, reconnection=False)
    with pytest.raises(madang.MadangError):
        await asyncio.wait_for(client.connect(), SOON)


@pytest.mark.feature("R2", "V44")
async def test_against_the_default_parser(node_backend: NodeBackend, own: Make):
    """A client with the parser fails with an error at Node's server without it."""
    client = own(node_backend.url, parser=madang.MsgpackParser(), reconnection=False, timeout=SOON)
    with pytest.raises(madang.MadangError):
        await asyncio.wait_for(client.connect(), SOON)


@pytest.mark.feature("R2")
async def test_retries(packed: tuple[Backend, Make], request: pytest.FixtureRequest):
    """With `retries`, an event is encoded anew for each try, and answered once it is."""
    _, make = packed
    client = make(retries=3, ack_timeout=0.3, query={"who": request.node.name})
    async with asyncio.timeout(SOON):
        await client.connect()
        assert await client.emit_with_ack("nth", 2, request.node.name) == 2
