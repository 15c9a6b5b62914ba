"""The end of a socket, of the server, and what is kept after it; and the order of what is sent."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import madang
from tests.conformance.wire import DEADLINE, SOCKET, address, before, websocket
from tests.hostile.raw import connection, handshake
from tests.hostile.victim import joined_polling
from tests.hosts import Host, listening
from tests.regressions.peer import joined, serving, until
from tests.server.javascript import Heard

# ------------------------------------------------------------------------------------------------ a queue's last events


@pytest.mark.parametrize("long_way", [False, True])
@pytest.mark.parametrize("close", [False, True])
async def test_nothing_after_disconnecting(io: madang.Server, close: bool, long_way: bool):
    """When a handler has disconnected its socket, the events that waited behind it are not handled."""
    gate, heard = asyncio.Event(), Heard()

    @io.on("slow")
    async def slow(socket):
        await gate.wait()
        heard("slow")

    @io.on("bye")
    def bye(socket):
        heard("bye")
        socket.disconnect(close)

    io.on("x", lambda socket: heard("x"))
    io.on("disconnect", lambda socket: heard("end"))
    if long_way:
        io.on_any(lambda socket, event: None)
    async with listening(io) as url, joined(url) as peer, joined(url) as other:
        await peer.send('42["slow"]', '42["bye"]', '42["x"]', '42["x"]')
        await other.served()
        gate.set()
        assert [await heard.next() for _ in range(3)] == ["slow", "bye", "end"]
        await other.served()
        assert len(heard.all) == 3


@pytest.mark.parametrize("malformed", ["42{bad", '42["x",bad', '42["x"'])
async def test_nothing_after_a_malformed_packet(io: madang.Server, malformed: str):
    """When a packet that waited turns out malformed, the events behind it are not handled."""
    gate, heard = asyncio.Event(), Heard()

    @io.on("slow")
    async def slow(socket):
        await gate.wait()

    io.on("x", lambda socket, n: heard(n))
    io.on("disconnect", lambda socket: heard("end"))
    async with listening(io) as url, joined(url) as peer, joined(url) as other:
        await peer.send('42["slow"]', malformed, '42["x",2]', '42["x",3]')
        await other.served()
        gate.set()
        assert await heard.next() == "end"
        await before(2, peer.ended.wait(), "the end")
        await other.served()
        assert heard.all == ["end"]


async def test_what_came_before_the_end_is_handled(io: madang.Server, monkeypatch: pytest.MonkeyPatch):
    """Events that came before the client left are all handled, even if that takes longer than its end is held back."""
    monkeypatch.setattr("madang.server.server.END_GRACE", 0.05, raising=False)
    monkeypatch.setattr("madang.server.socket.END_GRACE", 0.05, raising=False)
    io = serving()
    gate, heard = asyncio.Event(), Heard()

    @io.on("save")
    async def save(socket, n):
        await gate.wait()
        heard(n)

    async with listening(io) as url, joined(url) as other:
        async with joined(url) as peer:
            for n in range(6):
                await peer.emit("save", n)
            await other.served()
        await until(lambda: len(io.sockets) == 1, "the client has left")
        with pytest.raises(TimeoutError):  # the end is told in time, or held back: either is fine
            await asyncio.wait_for(gate.wait(), 0.2)
        gate.set()
        assert [await heard.next() for _ in range(6)] == [0, 1, 2, 3, 4, 5]


# ----------------------------------------------------------------------------------------------------- the server's end


async def test_disconnect_handlers_when_the_server_closes(io: madang.Server):
    """A disconnect handler that waits behind a running handler is run to its end before `close` returns."""
    heard = Heard()

    @io.on("slow")
    async def slow(socket):
        heard("slow begins")
        await asyncio.sleep(0.03)
        heard("slow ends")

    @io.on("disconnect")
    async def gone(socket, reason):
        await asyncio.sleep(0.03)
        heard(reason)

    async with listening(io) as url, joined(url) as peer:
        await peer.emit("slow")
        assert await heard.next() == "slow begins"
        await io.close()
        assert heard.all[1:] == ["slow ends", "server shutting down"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_handshake_while_the_server_stops(transport: str):
    """A handshake that still waits in `allow_request` when the server stops is refused."""
    gate, asked, met = asyncio.Event(), asyncio.Event(), Heard()

    async def allow(request: madang.Request) -> bool:
        asked.set()
        await gate.wait()
        return True

    io = madang.Server(allow_request=allow)
    io.on("connection", met)
    io.engine.on("connection", met)
    running = await io.start(port=0)
    async with connection(running.url) as client:
        target = address(SOCKET, transport)
        if transport == "websocket":
            await client.send(handshake(running.url, target))
        else:
            await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await before(DEADLINE, asked.wait(), "the question")
        stopping = asyncio.create_task(running.stop())
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        await before(DEADLINE, stopping, "the end of the server")
        head = b""
        with suppress(ConnectionError):
            head = await before(DEADLINE, client.reader.read(), "the end of the connection")
        assert not head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")), head
    assert met.all == []
    assert not io.engine.sessions


def test_in_two_loops():
    """A server that is used in one loop after another works in each, from threads as well."""
    io = serving()

    @io.on("in a thread", thread=True)
    def in_a_thread(socket):
        socket.emit("to one", 1)
        io.emit("to all", 2)
        return "done"

    async def use() -> None:
        async with listening(io) as url, joined(url) as peer:
            assert await before(DEADLINE, peer.ask("in a thread"), "the answer") == ["done"]
            assert await peer.packet('42["to one"') == '42["to one",1]'
            assert await peer.packet('42["to all"') == '42["to all",2]'
            await asyncio.to_thread(io.emit, "from outside")
            await peer.packet('42["from outside"')
            await peer.served()

    for _ in range(3):
        with asyncio.Runner() as runner:
            runner.run(use())


# ---------------------------------------------------------------------------------------------------------------- order


async def test_emitting_during_the_upgrade(io: madang.Server, host: Host):
    """What a listener of `upgrade` emits comes after what was emitted before."""
    io.on("connection", lambda socket: socket.conn.on("upgrade", lambda _: socket.emit("n", 3)) and None)
    async with (
        listening(io, host) as url,
        joined_polling(url) as client,
        websocket(url, SOCKET, client.sid) as ws,
    ):
        await ws.send("2probe")
        assert await ws.text() == "3probe"
        socket = next(iter(io.sockets.values()))
        socket.emit("n", 1)
        socket.emit("n", 2)
        await ws.send("5")
        assert [await ws.text() for _ in range(3)] == ['42["n",1]', '42["n",2]', '42["n",3]']


async def test_order_from_a_thread(io: madang.Server):
    """What a thread asks for happens in the order in which it asked: joining, leaving, emitting."""

    @io.on("thread", thread=True)
    def thread(socket):
        socket.join("room")
        io.to("room").emit("in", 1)
        io.in_("room").sockets_leave("room")
        io.to("room").emit("out", 2)
        io.sockets_join("room")
        io.to("room").emit("in", 3)
        socket.leave("room")
        io.to("room").emit("out", 4)
        socket.emit("end", 5)

    async with listening(io) as url, joined(url) as peer:
        await peer.emit("thread")
        await peer.packet('42["end"')
        assert peer.received == ['42["in",1]', '42["in",3]']


async def test_disconnecting_from_a_thread(io: madang.Server):
    """A thread's last words reach the clients that it disconnects."""

    @io.on("thread", thread=True)
    def thread(socket):
        io.emit("last words")
        io.disconnect_sockets()
        io.emit("too late")

    async with listening(io) as url, joined(url) as peer:
        await peer.emit("thread")
        await peer.packet("41")
        assert peer.received == ['42["last words"]']


# ---------------------------------------------------------------------------------------------------------- concurrency

PLACE = '{"_placeholder":true,"num":0}'


@pytest.mark.parametrize("catch_all", [False, True])
async def test_concurrent_handlers(io: madang.Server, catch_all: bool):
    """Concurrent handlers overlap with one that waits, with a catch-all or attachments as well."""
    gate, begun = asyncio.Event(), asyncio.Event()

    @io.on("long")
    async def long(socket):
        begun.set()
        await gate.wait()

    @io.on("quick", concurrent=True)
    def quick(socket, *args):
        return len(args)

    @io.on("waits", concurrent=True)
    async def waits(socket, *args):
        await asyncio.sleep(0)
        return len(args)

    if catch_all:
        io.on_any(lambda socket, event: None)
    async with listening(io) as url, joined(url) as peer:
        await peer.emit("long")
        await before(2, begun.wait(), "the long handler")
        for event in ("quick", "waits"):
            assert await peer.ask(event) == [0]
            await peer.send(f'451-99["{event}",{PLACE}]', b"x")
            assert await peer.packet("4399[") == "4399[1]"
        await peer.emit("ping me")
        gate.set()
        await peer.served()


async def test_concurrent_connection_handler(io: madang.Server):
    """A concurrent connection handler does not hold back its client's events."""
    gate = asyncio.Event()

    async def connection(socket):
        await gate.wait()

    io.on("connection", connection, concurrent=True)
    async with listening(io) as url, joined(url) as peer:
        await peer.served()
        gate.set()


# ----------------------------------------------------------------------------------------------------- reference cycles


def uses(socket: madang.Socket) -> None:
    socket.use(lambda event: socket.id and None)


def hears_all(socket: madang.Socket) -> None:
    socket.on_any(lambda *event: socket.id)


def sees_outgoing(socket: madang.Socket) -> None:
    socket.on_any_outgoing(lambda *event: socket.id)


def handles(socket: madang.Socket) -> None:
    socket.on("event", lambda *args: socket.id)


def handles_the_end(socket: madang.Socket) -> None:
    socket.on("disconnect", lambda reason: socket.id)
    socket.once("never", lambda *args: socket.id)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("by", ["client", "server", "cut"])
@pytest.mark.parametrize("disconnect_handler", [False, True])
@pytest.mark.parametrize("ties", [uses, hears_all, sees_outgoing, handles, handles_the_end])
async def test_nothing_is_tied(ties: Callable[[madang.Socket], None], disconnect_handler: bool, by: str):
    """A socket that has gone is freed at once, although the functions registered on it refer to it."""
    io = serving()
    sockets: list[weakref.ref[Any]] = []

    @io.on("connection")
    def connected(socket):
        sockets.append(weakref.ref(socket))
        ties(socket)

    if disconnect_handler:
        io.on("disconnect", lambda socket: None)
    async with listening(io) as url, joined(url) as peer:
        await peer.served()
        if by == "client":
            await peer.send("41")
        elif by == "server":
            io.disconnect_sockets()
        else:
            peer.ws.connection.transport.abort()
        await until(lambda: sockets[0]() is None, "the socket is freed", 2)


@pytest.mark.usefixtures("no_collector")
async def test_listeners_of_the_session_tie_nothing(io: madang.Server):
    """A session that has ended frees its socket, although listeners of the session refer to it."""
    sockets: list[weakref.ref[Any]] = []

    @io.on("connection")
    def connected(socket):
        sockets.append(weakref.ref(socket))
        for event in ("close", "packet", "heartbeat"):
            socket.conn.on(event, lambda *args: socket.id)

    async with listening(io) as url, joined(url) as peer:
        await peer.served()
        peer.ws.connection.transport.abort()
        await until(lambda: sockets[0]() is None, "the socket is freed", 2)
