"""The queue of the option `retries`: what is sent again, what is not, and what may be done with it meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import madang
from madang.testing import clock, connect
from tests.client.tools import QUICK, SOON, WEBSOCKET, Heard, echo_server, until
from tests.hosts import listening


def client_of(url: str, **options: Any) -> madang.Client:
    given = QUICK | {"transports": WEBSOCKET, "timeout": SOON, "retries": 3, "ack_timeout": SOON}
    return madang.Client(url, **(given | options))


class Server:
    """Notes what comes, and answers `note` unless it is to be silent."""

    def __init__(self) -> None:
        self.io = echo_server()
        self.heard = Heard()
        self.silent = False
        self.io.on("note", self._note)

    def _note(self, socket: madang.Socket, what: Any, ack: madang.Ack) -> None:
        self.heard(what)
        if not self.silent:
            ack("noted")

    def cut(self) -> None:
        for session in tuple(self.io.engine.sessions.values()):
            session.close()


@pytest.mark.feature("W10")
async def test_what_was_emitted_is_what_is_sent():
    """What is done to the arguments after `emit` changes nothing, neither in the first try nor in the next."""
    server = Server()
    async with listening(server.io) as url, asyncio.timeout(SOON):
        client = client_of(url, auto_connect=False)
        item = {"number": 1}
        for number in range(3):
            item["number"] = number
            client.emit("note", item)
        item["number"] = object()  # type: ignore[assignment]
        server.silent = True
        await client.connect()
        await server.heard.count(1)
        server.silent = False
        server.cut()
        assert await server.heard.count(4) == [({"number": number},) for number in (0, 0, 1, 2)]
        await client.close()


@pytest.mark.feature("W10")
async def test_one_that_is_cancelled():
    """A question that is cancelled holds up those behind it no longer, wherever in the queue it was."""
    server = Server()
    async with listening(server.io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        server.silent = True
        first, second = client.emit_with_ack("note", 1), client.emit_with_ack("note", 2)
        third = client.emit_with_ack("note", 3)
        await server.heard.count(1)
        server.silent = False
        second.cancel()
        first.cancel()
        assert await third == "noted"
        assert server.heard.all == [(1,), (3,)]
        assert (client.buffered, len(client._retry)) == (0, 0)  # type: ignore[arg-type]
        await client.close()


@pytest.mark.feature("W10")
async def test_questions_given_up_offline_are_forgotten():
    """Questions that are asked and cancelled while there is no connection leave nothing behind."""
    client = madang.Client("http://localhost:1", auto_connect=False, retries=1, outbound_limit=100_000)
    for _ in range(300):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await client.emit_with_ack("note", "x" * 1000)
    await asyncio.sleep(0)
    assert (client.buffered, len(client._retry)) == (0, 0)  # type: ignore[arg-type]
    await client.close()


@pytest.mark.feature("W10")
@pytest.mark.parametrize("namespace", ["/", "/chat", "/[1"])
async def test_each_form_of_an_event(namespace: str):
    """Events with bytes, in any namespace, are sent again as they were, each try with a number of its own."""
    server = Server()
    if namespace != "/":
        server.io.of(namespace).on("note", server._note)
    server.silent = True
    async with listening(server.io) as url, asyncio.timeout(SOON):
        client = client_of(url, auto_connect=False)
        socket = client if namespace == "/" else client.of(namespace)
        answer = socket.emit_with_ack("note", [b"bytes", "[text"])
        await client.connect()
        await socket.connect()
        await server.heard.count(1)
        server.silent = False
        server.cut()
        assert await answer == "noted"
        assert server.heard.all == [([b"bytes", "[text"],)] * 2
        assert next(socket._ids) == 2
        await client.close()


@pytest.mark.feature("W10")
async def test_one_that_is_given_up_is_told(caplog: pytest.LogCaptureFixture):
    """An event of `emit` that is given up is told to `on_error`; one that a close has dropped is not."""
    server = Server()
    server.silent = True
    with clock() as now:
        client = await connect(server.io, retries=1, failures="collect")
        errors = Heard()
        client.on_error(lambda error, socket, event: errors(type(error), event))
        client.emit("note", 1)
        await now.advance(119)
        assert errors.all == []
        await now.advance(2)  # two tries of `ack_timeout` are over
        assert errors.all == [(madang.AckTimeout, "note")]
        caplog.clear()
        for number in range(10):
            client.emit("note", number)
        with caplog.at_level(logging.WARNING):
            await client.close()
            await asyncio.sleep(0)
        assert len(errors.all) == 1
        assert not [record for record in caplog.records if record.name.startswith("madang.client")]


@pytest.mark.feature("W10", "W12")
async def test_emitted_in_connect_handlers():
    """What handlers of ``connect`` emit comes after what was in the queue, at each connection."""
    server = Server()
    async with listening(server.io) as url, asyncio.timeout(SOON):
        client = client_of(url, auto_connect=False)
        rounds = iter(range(100))
        client.on("connect", lambda: client.emit("note", f"connect {next(rounds)}"))
        client.emit("note", "first")
        client.emit("note", "second")
        await client.connect()
        await server.heard.count(3)
        await until(lambda: client.buffered == 0)
        server.cut()
        await server.heard.count(4)
        assert [what for (what,) in server.heard.all] == ["first", "second", "connect 0", "connect 1"]
        await client.close()


@pytest.mark.feature("W10")
async def test_from_outside_a_loop():
    """Before there is a loop, and after a close, what is emitted is kept for the next connection."""
    server = Server()
    async with listening(server.io) as url, asyncio.timeout(SOON):
        client = await asyncio.to_thread(client_of, url)
        await asyncio.to_thread(client.emit, "note", 1)
        await client.connect()
        await server.heard.count(1)
        await client.close()
        await asyncio.to_thread(client.emit, "note", 2)
        await client.connect()
        assert await server.heard.count(2) == [(1,), (2,)]
        await client.close()


@pytest.mark.feature("W10")
async def test_the_bound_of_the_queue():
    """Events that are never answered fill the queue up to `outbound_limit`, and then `emit` says so, in any thread."""
    server = Server()
    server.silent = True
    async with listening(server.io) as url, asyncio.timeout(SOON):
        client = client_of(url, outbound_limit=50_000)
        await client.connected

        def fill() -> None:
            for _ in range(1000):
                client.emit("note", "x" * 1000)

        with pytest.raises(madang.BufferFull):
            fill()
        assert 50_000 < client.buffered < 60_000
        with pytest.raises(madang.BufferFull):
            await asyncio.to_thread(fill)
        await client.close()
        assert client.buffered == 0
