"""What Node's own tests check, and no other test here does; docs/node.md has all of it."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import httpx
import pytest

import madang
from madang.adapters.messages import SocketFacts
from madang.server.handshake import Handshake
from tests.conformance.told import joined
from tests.conformance.wire import AT_ONCE, SOCKET, Polling, before, browser, session
from tests.hosts import ALL_HOSTS, ROOT, Host, listening
from tests.server.javascript import Heard, Js, soon

# attaching, handshakes, closing


@pytest.mark.node("attachment.21", "attachment.22")
async def test_a_port():
    """A server that was started with a port listens there, and tells which it got if any would do."""
    running = await madang.Server().start(port=0)
    try:
        assert running.port > 0
        async with httpx.AsyncClient() as http:
            got = await http.get(f"http://127.0.0.1:{running.port}{SOCKET}?EIO=4&transport=polling")
            assert got.status_code == 200
    finally:
        await running.stop()


@pytest.mark.node("handshake.1", "handshake.2")
async def test_preflight_and_handshake():
    """A preflight request is answered 204 with what is allowed, and the handshake names the origin."""
    origin = "http://localhost:54023"
    cors: Any = {"origin": origin, "methods": ["GET", "POST"], "allowed_headers": ["content-type"], "credentials": True}
    async with listening(madang.Server(cors=cors)) as url, browser(url) as http:
        address = f"{SOCKET}?transport=polling&EIO=4"
        got = await http.options(address, headers={"Origin": origin})
        assert (got.status_code, got.content) == (204, b"")
        allowed = {name: got.headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")}
        assert allowed == {"origin": origin, "methods": "GET,POST", "headers": "content-type"}
        assert got.headers["access-control-allow-credentials"] == "true"
        got = await http.get(address, headers={"Origin": origin})
        assert got.status_code == 200
        assert got.headers["access-control-allow-origin"] == origin
        assert got.headers["access-control-allow-credentials"] == "true"


_PROGRAM = """
import asyncio
import threading
import madang

io = madang.Server()

async def main():
    running = await io.start(port=0)
    client = await madang.connect(running.url)
    await running.stop()
    await client.close()
    await asyncio.sleep(0)
    print([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])
    print([timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()])
    print([thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon])

asyncio.run(main())
"""


@pytest.mark.node("close.5")
async def test_the_process_ends_by_itself():
    """When a server has been closed no task, no timer and no thread is left, and the program ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await before(30, process.communicate(), "the end")
    assert (process.returncode, out, err) == (0, b"[]\n" * 3, b"")


@pytest.mark.node("close.7")
async def test_an_event_before_connect():
    """An event of a client that has joined nothing ends its session: noop and close."""
    io = madang.Server()
    heard = Heard()
    io.on("some event", lambda socket: heard("handled"))
    async with listening(io) as url, browser(url) as http:
        client = await Polling.open(http, SOCKET)
        await client.post('42["some event"]')
        assert await client.packets(AT_ONCE) == ["6", "1"]
    assert heard.all == []


# namespaces


@pytest.mark.node("namespaces.2")
async def test_the_server_s_methods(js: Js, io: madang.Server, heard: Heard):
    """What the server offers for broadcasts and operations is about the main namespace, and about no other."""
    io.of("/other")
    io.use(lambda socket: heard(socket.nsp))
    client, other = await js.connect(io), await js.connect(io, "/other")
    io.emit("emit")
    io.send("sent")
    io.to(client.id).emit("to")
    io.in_(client.id).emit("in")
    io.except_("nobody").emit("except")
    io.compress(False).emit("compress")
    io.sockets_join("room")
    io.to("room").emit("room")
    await js.settled(io)
    assert [event for event, *_ in client.received] == ["emit", "message", "to", "in", "except", "compress", "room"]
    assert [socket.id for socket in await io.fetch_sockets()] == [client.id]
    await client.reply("ask", 1)
    assert await io.timeout(5).emit_with_ack("ask") == [1]
    assert (other.received, heard.all) == ([], ["/"])


@pytest.mark.node("namespaces.9")
async def test_a_client_of_nothing(js: Js, io: madang.Server, heard: Heard):
    """A client whose URL has no path is in the main namespace, and so is one of the namespace ""."""
    io.of("").on("connection", lambda socket: heard(socket.nsp))
    await js.connect(io, "")
    await js.connect(io, "/")
    assert [await heard.next(), await heard.next()] == ["/", "/"]


@pytest.mark.node("namespaces.11")
async def test_handlers_given_to_of(js: Js, io: madang.Server, heard: Heard):
    """Handlers that are given to `of` are called for each connection, each time one is given."""
    io.of("/news", lambda socket: heard("first"))
    io.of("/news", lambda socket: heard("second"))
    await js.connect(io, "/news")
    assert [await heard.next(), await heard.next()] == ["first", "second"]


@pytest.mark.node("namespaces.26", "namespaces.27")
async def test_leaving_out_in_a_namespace(js: Js, io: madang.Server):
    """A namespace leaves out who is named, by id or by room."""
    nsp = io.of("/nsp")
    first, second = await js.connect(io, "/nsp"), await js.connect(io, "/nsp")
    nsp.except_(second.id).emit("by id")
    assert await first.next("by id") == []
    nsp.sockets[second.id].join("room1")
    nsp.except_("room1").emit("by room")
    assert await first.next("by room") == []
    await js.settled(io)
    assert second.received == []


@pytest.mark.node("namespaces.38")
async def test_an_empty_child_stays(js: Js, io: madang.Server, heard: Heard):
    """Unless cleaning up was asked for, a dynamic namespace outlives its last client."""
    io.of(re.compile("^/dynamic-")).on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(io, "/dynamic-101")
    client.disconnect()
    await heard.next()
    assert len(io.namespaces["/dynamic-101"].sockets) == 0


@pytest.mark.node("middleware.9")
async def test_middleware_of_one_namespace_beside_another(js: Js, io: madang.Server, heard: Heard):
    """A client joins the main namespace and one of the program's whose middleware is asked, over one connection."""
    io.use(lambda socket: heard(socket.nsp))
    io.of("/chat").use(lambda socket: heard(socket.nsp))
    main = await js.connect(io)
    chat = await main.beside("/chat")
    assert heard.all == ["/", "/chat"]
    assert (main.id in io.sockets, chat.id in io.of("/chat").sockets) == (True, True)


# sockets


@pytest.mark.node("socket.1")
async def test_connecting_again_by_hand(js: Js, io: madang.Server, heard: Heard):
    """A client that drops its connection and connects again is connected once more, on both sides, and no oftener."""
    io.on("connection", lambda socket: heard("connection"))
    io.on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(io)
    client.drop()
    await client.disconnected()
    client.connect()
    await client.connected()
    await js.settled(io)
    assert heard.all[0] == "connection"
    assert sorted(heard.all) == ["connection", "connection", "transport close"]
    assert client.lives("connect") == 0


@pytest.mark.node("socket.4", "socket.5")
async def test_send_of_a_client(js: Js, io: madang.Server, heard: Heard):
    """What a client sends without a name is the event `message`; null is an argument like any other."""
    io.on("message", lambda socket, *args: heard(list(args)))
    client = await js.connect(io)
    client.emit("message", 1337)
    client.emit("message", None)
    assert [await heard.next(), await heard.next()] == [[1337], [None]]


@pytest.mark.node("socket.8")
async def test_text_of_many_scripts(js: Js, io: madang.Server):
    """Characters of two, three and four bytes arrive whole, in order, both ways."""
    texts = ["utf8 — string", "안녕, 마당", "🏡 \u0000 \u2028 ÿ"]

    @io.on("connection")
    def greet(socket: madang.Socket) -> None:
        for text in texts:
            socket.emit("hoot", text)

    io.on("echo", lambda socket, text: text)
    client = await js.connect(io)
    assert [(await client.next("hoot"))[0] for _ in texts] == texts
    assert [await client.emit_with_ack("echo", text) for text in texts] == texts


@pytest.mark.node("socket.20")
async def test_a_volatile_broadcast_with_bytes(js: Js, io: madang.Server):
    """Of two volatile broadcasts with bytes in one turn a client gets one, whole."""
    client = await js.connect(io)
    await js.settled(io)
    io.volatile.emit("ev", b"\x01\x02\x03")
    io.volatile.emit("ev", b"\x04\x05\x06")
    await js.settled(io)
    assert client.received == [["ev", b"\x01\x02\x03"]]


@pytest.mark.node("socket.38")
async def test_the_query_of_a_second_namespace(js: Js, io: madang.Server):
    """A second namespace has the auth that it was joined with, and the query of the connection."""
    other = io.of("/connection2")
    first = await js.connect(io, "/", query={})
    second = await first.beside("/connection2", auth={"key1": "aa", "key2": "&=bb"})
    handshake = other.sockets[second.id].handshake
    assert "key1" not in handshake.query
    assert handshake.query["EIO"] == "4"
    assert handshake.auth == {"key1": "aa", "key2": "&=bb"}


@pytest.mark.node("socket.39")
def test_without_a_request():
    """A handshake whose request is not there is secure, and has neither headers nor query."""
    handshake = Handshake(None, None)
    assert (handshake.secure, handshake.headers, handshake.query, handshake.address) == (True, {}, {}, None)


@pytest.mark.node("socket.45", "socket.47", "socket.48")
@pytest.mark.parametrize("packet", ["45woooot", "45"])
async def test_illegal_attachments(packet: str):
    """A binary packet that does not say how many attachments it has closes its client, whose hook hears why."""
    io = madang.Server()
    heard = Heard()
    io.on("connection", lambda socket: socket.on("error", lambda error: heard(str(error))))
    io.on("disconnect", lambda socket, reason: heard(reason))
    async with listening(io) as url, joined(url, "") as bad, joined(url, "") as good:
        await bad.send(packet)
        await bad.closed()
        assert re.match("illegal attachments", await heard.next(), re.IGNORECASE)
        assert await heard.next() == "forced close"
        io.emit("still there")
        assert await good.text() == '42["still there"]'


@pytest.mark.node("socket.46")
@pytest.mark.parametrize("packet", ['44["handle me please"]', '444["handle me please"]', '44{"message":"x"}'])
async def test_an_error_packet(packet: str):
    """An error packet, which only servers send, closes the client that sends one, and nobody else."""
    io = madang.Server()
    heard = Heard()
    io.on("disconnect", lambda socket, reason: heard(reason))
    async with listening(io) as url, joined(url, "") as bad, joined(url, "") as good:
        await bad.send(packet)
        await bad.closed()
        assert await heard.next() == "forced close"
        io.emit("still there")
        assert await good.text() == '42["still there"]'


@pytest.mark.node("socket.51")
async def test_bytes_and_goodbye(js: Js, io: madang.Server, heard: Heard):
    """What a client has sent right before it leaves is handled, and then its end; Node's server drops it."""
    io.on("test", lambda socket, data: heard(data))
    io.on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(io)
    client.emit("test", bytes(10))
    client.disconnect()
    assert [await heard.next(), await heard.next()] == [bytes(10), "client namespace disconnect"]


async def test_bytes_behind_the_server_s_disconnect(js: Js, io: madang.Server, heard: Heard):
    """What a client sends before it hears of the server's disconnect is not handled, attachments and all."""
    io.on("handled", lambda socket, data: heard("handled"))
    io.on("disconnect", lambda socket, reason: heard(reason))
    io.on("leave", lambda socket: socket.disconnect())
    client = await js.connect(io)
    client.emit("leave")
    client.emit("handled", b"\x01\x02")
    assert await heard.next() == "server namespace disconnect"
    assert await client.disconnected() == "io server disconnect"
    await js.connect(io)
    await js.settled(io)
    assert heard.all == ["server namespace disconnect"]


# many


@pytest.mark.node("messaging-many.7")
async def test_bytes_to_the_rest_of_a_room(js: Js, io: madang.Server):
    """Bytes to the rest of a room reach the others in it, and not the sender."""
    clients = [await js.connect(io) for _ in range(3)]
    sender, member, outside = clients
    for client in (sender, member):
        io.sockets[client.id].join("test")
    io.sockets[sender.id].broadcast.to("test").emit("bin", b"\x01\x02\x03")
    assert await member.next("bin") == [b"\x01\x02\x03"]
    await js.settled(io)
    assert (sender.received, outside.received) == ([], [])


@pytest.mark.node("messaging-many.12", "messaging-many.13")
async def test_the_rest_but_some(js: Js, io: madang.Server):
    """A socket's broadcast leaves out whom it names, by id or by room."""
    first, second, third = [await js.connect(io) for _ in range(3)]
    speaker = io.sockets[third.id]
    speaker.broadcast.except_(second.id).emit("by id")
    assert await first.next("by id") == []
    io.sockets[second.id].join("room1")
    speaker.broadcast.except_("room1").emit("by room")
    assert await first.next("by room") == []
    await js.settled(io)
    assert (second.received, third.received) == ([], [])


# adapters


class Untouchable:
    """Settings of an adapter whose part in recovery must not be asked for."""

    def __init__(self) -> None:
        self.health = madang.AdapterHealth()

    def open(self) -> Any:
        return self

    def make(self, context: Any) -> madang.Adapter:
        return madang.MemoryAdapter()

    def recover(self, *_: Any) -> Any:
        raise AssertionError("recovery was asked for")

    def start(self) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.node("recovery.7")
async def test_an_adapter_is_not_asked():
    """Without recovery an adapter's part in it is not asked for, whatever a client presents; with it, it is at once."""
    with pytest.raises(AssertionError, match="recovery was asked for"):
        madang.Server(adapter=Untouchable(), connection_state_recovery=True)
    io = madang.Server(adapter=Untouchable())
    heard = Heard()
    io.on("disconnect", lambda socket, reason: heard(reason))
    async with listening(io) as url, session(url, SOCKET) as client:
        await client.send('40{"pid":"foo","offset":"bar"}')
        assert re.fullmatch(r'40\{"sid":"[\w-]{20}"\}', await client.text())
        await client.send("41")
        assert await heard.next() == "client namespace disconnect"


class Elsewhere(madang.MemoryAdapter):
    """An adapter that knows a socket of another server."""

    async def fetch(self, options: Any) -> Any:
        facts = SocketFacts("42", {"query": {"a": "b"}, "auth": {}, "headers": {}}, ["42", "room"], {"user": "minji"})
        return madang.Found([*await super().fetch(options), facts])


@pytest.mark.node("utility-methods.3")
async def test_an_adapter_of_one_s_own(js: Js):
    """What an adapter finds comes out as sockets with id, rooms, handshake and data, beside those that are here."""
    io = madang.Server(adapter=lambda _: Elsewhere())
    client = await js.connect(io)
    here, there = await io.fetch_sockets()
    assert here is io.sockets[client.id]
    assert isinstance(there, madang.RemoteSocket)
    assert (there.id, there.rooms, there.data) == ("42", {"42", "room"}, {"user": "minji"})
    assert there.handshake.query == {"a": "b"}


# on every host


@pytest.mark.node("uws.1", "uws.2", "uws.3", "uws.4", "uws.5", "uws.6", "uws.7", "uws.8", "uws.10")
@pytest.mark.parametrize("host", ALL_HOSTS)
async def test_on_every_host(js: Js, io: madang.Server, host: Host):
    """Broadcasts of every kind reach whom they mean, on every host, over both transports."""
    io.of("/custom")
    dynamic = io.of(re.compile(r"^/dynamic-\d+$"))
    url = await js.serve(io, host)
    default = await js.connect(url, transports=["polling", "websocket"])
    websocket = await js.connect(url, transports=["websocket"])
    polling = await js.connect(url, transports=["polling"])
    await default.upgraded()
    custom = await js.connect(url, "/custom")
    child = await js.connect(url, "/dynamic-101")
    main, everybody = [default, websocket, polling], [default, websocket, polling, custom, child]

    async def reached(name: str, *clients: Any, data: Any = None) -> None:
        for client in clients:
            assert await client.next(name) == ([] if data is None else [data])
        for client in everybody:
            await soon(asyncio.shield(_turn(io, client)), "a turn")
        assert [client.received for client in everybody] == [[]] * len(everybody)

    io.emit("hello")
    await reached("hello", *main)
    io.of("/custom").emit("custom")
    await reached("custom", custom)
    dynamic.emit("dynamic")
    await reached("dynamic", child)
    io.emit("bytes", b"\x01\x02\x03")
    await reached("bytes", *main, data=b"\x01\x02\x03")
    while not all(io.sockets[client.id].conn.transport.writable for client in main):  # the poll comes back
        await asyncio.sleep(0)
    io.volatile.emit("volatile", b"\x04")
    await reached("volatile", *main, data=b"\x04")
    io.sockets[websocket.id].join("room1")
    io.sockets[polling.id].join("room1", "room2")
    io.to("room1").emit("room")
    await reached("room", websocket, polling)
    io.to(["room1", "room2"]).emit("rooms")
    await reached("rooms", websocket, polling)
    io.except_("room2").emit("but")
    await reached("but", default, websocket)
    io.sockets[websocket.id].leave("room1")
    io.to("room1").emit("left")
    await reached("left", polling)


@pytest.mark.node("uws.9")
@pytest.mark.parametrize("host", ALL_HOSTS)
async def test_a_room_of_middleware_on_every_host(js: Js, io: madang.Server, host: Host):
    """A room that a middleware joins is there on every host, over both transports, and again after reconnecting."""
    io.use(lambda socket: socket.join("room1"))
    url = await js.serve(io, host)
    clients = [await js.connect(url, transports=way) for way in (["websocket"], ["polling"], ["polling", "websocket"])]
    await clients[2].upgraded()
    for client in clients:
        client.drop()
        await client.disconnected()
        client.connect()
        await client.connected()
    io.to("room1").emit("hello")
    for client in clients:
        assert await client.next("hello") == []


async def _turn(io: madang.Server, client: Any) -> None:
    """All that was sent to a client has come."""
    for namespace in io.namespaces.values():
        if client.id in namespace.sockets:
            await namespace.sockets[client.id].emit_with_ack("$sync")
