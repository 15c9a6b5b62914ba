"""A CancelledError that user code raises without having been cancelled is a failure like any other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import madang
from tests.conformance.wire import before
from tests.hostile.victim import joined_polling
from tests.hosts import Host, listening
from tests.regressions.peer import INTERNAL_ERROR, connected, joined


def plain(*args: Any) -> None:
    raise asyncio.CancelledError


async def at_once(*args: Any) -> None:
    raise asyncio.CancelledError


async def later(*args: Any) -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


async def by_a_task(*args: Any) -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()
    await task


ways = pytest.mark.parametrize("cancels", [plain, at_once, later, by_a_task])


def logged(caplog: pytest.LogCaptureFixture, event: str) -> int:
    """How often it was logged that the handler of an event has failed."""
    return sum(f"the handler of {event!r}" in record.getMessage() for record in caplog.records)


@ways
@pytest.mark.parametrize("long_way", [False, True])
async def test_in_a_handler(
    io: madang.Server, host: Host, caplog: pytest.LogCaptureFixture, cancels: Any, long_way: bool
):
    """In a handler it is logged and answered with an internal error, and the connection lives."""
    io.on("cancels", cancels)
    if long_way:
        io.on_any(lambda socket, event: None)
    async with listening(io, host) as url, joined(url) as peer:
        assert await peer.ask("cancels") == INTERNAL_ERROR
        assert logged(caplog, "cancels") == 1
        await peer.served()


@ways
async def test_over_polling(io: madang.Server, host: Host, cancels: Any):
    """Over polling the POST is answered as ever, and the events behind it are handled."""
    io.on("cancels", cancels)
    async with listening(io, host) as url, joined_polling(url) as client:
        await client.send('421["cancels"]', '422["ping me"]')
        packets: list[str] = []
        while len(packets) < 2:
            packets += await client.packets()
        assert sorted(packets)[0].startswith('431[{"error":')
        assert sorted(packets)[1] == '432["pong"]'


@ways
async def test_in_a_middleware(io: madang.Server, caplog: pytest.LogCaptureFixture, cancels: Any):
    """In a middleware it refuses the client with an internal error, and the connection lives."""
    io.of("/closed").use(cancels)
    async with listening(io) as url, connected(url) as peer:
        await peer.send("40/closed,")
        assert await peer.packet("44/closed,") == '44/closed,{"message":"internal error"}'
        assert logged(caplog, "connection") == 1
        await peer.join()
        await peer.served()


@ways
async def test_in_a_connection_handler(io: madang.Server, caplog: pytest.LogCaptureFixture, cancels: Any):
    """In a connection handler it is logged, and the connection lives."""
    io.on("connection", cancels)
    async with listening(io) as url, joined(url) as peer:
        await peer.served()
        assert logged(caplog, "connection") == 1


@ways
async def test_in_a_disconnect_handler(io: madang.Server, caplog: pytest.LogCaptureFixture, cancels: Any):
    """In a disconnect handler it is logged, the handlers behind it run, and the connection lives."""
    told = asyncio.Event()
    io.on("disconnect", cancels)
    io.on("disconnect", lambda socket: told.set())
    async with listening(io) as url, joined(url) as peer:
        await peer.send("41")
        await before(2, told.wait(), "the second handler")
        assert logged(caplog, "disconnect") == 1
        await peer.join()
        await peer.served()


async def test_in_a_catch_all_and_a_socket_s_middleware(io: madang.Server, caplog: pytest.LogCaptureFixture):
    """In a catch-all listener it is logged and the event handled; in a socket's middleware the event is dropped."""

    @io.on("guard")
    def guard(socket):
        socket.use(at_once)

    async with listening(io) as url, joined(url) as peer:
        io.on_any(at_once)
        await peer.served()
        assert logged(caplog, "ping me") == 1
        io.off_any()
        await peer.ask("guard")
        await peer.emit("ping me")
        await peer.send("40/other,")
        assert await peer.packet("44/other,")


async def test_a_real_cancellation_is_obeyed(io: madang.Server):
    """A handler that is cancelled because the server closes ends with its CancelledError."""
    io = madang.Server(shutdown_timeout=0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    @io.on("long")
    async def long(socket):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    async with listening(io) as url, joined(url) as peer:
        await peer.emit("long")
        await before(2, begun.wait(), "the handler")
        await io.close()
        assert ended.is_set()
        assert len(io.tasks) == 0
