"""The tutorial's table, row by row: what a JavaScript server does, done here, as the stock client sees it.

Each test runs over WebSocket only, over polling only, and over polling while the client upgrades.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

import madang
from tests.server.javascript import ConnectRefused, Heard, Js

pytestmark = pytest.mark.usefixtures("mode")


@pytest.mark.node("namespaces.4", "namespaces.5")
@pytest.mark.feature("J1", "O8", "O9", "G8")
async def test_a_client_comes_and_goes(js: Js, io: madang.Server, heard: Heard):
    """`connection` gives the socket, its id is the client's, and its `disconnect` gives the reason."""

    @io.on("connection")
    async def connected(socket):
        heard(socket.id)

        @socket.on("disconnect")
        def gone(reason):
            heard("gone", reason)

    client = await js.connect(io)
    assert await heard.next() == client.id
    client.disconnect()
    assert await heard.next() == ("gone", "client namespace disconnect")
    assert await client.disconnected() == "io client disconnect"


@pytest.mark.node("socket.7")
@pytest.mark.feature("A26", "L1")
async def test_an_event_of_one_socket(js: Js, io: madang.Server):
    """`socket.on` hears what this client emits, and `socket.emit` answers to it alone."""

    @io.on("connection")
    def connected(socket):
        @socket.on("greet")
        def greet(name, times):
            socket.emit("greeting", f"안녕, {name}" * times)

    alice, bob = await js.connect(io), await js.connect(io)
    alice.emit("greet", "민지", 2)
    assert await alice.next("greeting") == ["안녕, 민지안녕, 민지"]
    await js.settled(io)
    assert bob.received == []


@pytest.mark.feature("M1", "L10", "A26", "N1")
async def test_a_chat_message_with_a_date(js: Js, io: madang.Server):
    """A handler gets socket and message, `io.emit` with a date reaches all, and the value returned is the ack."""
    at = datetime(2026, 11, 23, 3, 41, 32, 0, timezone(timedelta(hours=9)))

    @io.on("chat message")
    async def chat_message(socket, message: str):
        io.emit("chat message", {"user": socket.id, "message": message, "timestamp": at})
        return {"ok": True}

    alice, bob = await js.connect(io), await js.connect(io)
    assert await alice.emit_with_ack("chat message", "반가워요") == {"ok": True}
    said = {"user": alice.id, "message": "반가워요", "timestamp": "2026-11-22T18:41:32.000Z"}
    assert await alice.next("chat message") == [said]
    assert await bob.next("chat message") == [said]


@pytest.mark.node("messaging-many.4", "messaging-many.6")
@pytest.mark.feature("N2", "N3", "N6")
async def test_to_the_rest_to_a_room_and_to_the_rest_of_a_room(js: Js, io: madang.Server):
    """`socket.broadcast`, `io.to` and `socket.to` reach who they say, and the sender only where it is meant."""

    @io.on("speak")
    def speak(socket):
        socket.broadcast.emit("rest")
        io.to("yard").emit("room")
        socket.to("yard").emit("rest of the room")

    alice, bob, carol = [await js.connect(io) for _ in range(3)]
    for client in (alice, bob):
        io.sockets[client.id].join("yard")
    await alice.emit_with_ack("speak")
    await js.settled(io)
    assert alice.received == [["room"]]
    assert bob.received == [["rest"], ["room"], ["rest of the room"]]
    assert carol.received == [["rest"]]


@pytest.mark.feature("N3", "N4", "N5")
async def test_operators_chain_and_can_be_kept(js: Js, io: madang.Server):
    """`to`, `in_` and `except_` chain in any order; each gives a new operator, and the old one stays as it was."""
    clients = alice, bob, carol = [await js.connect(io) for _ in range(3)]
    for client, rooms in zip(clients, (["a"], ["b"], ["a", "b"]), strict=True):
        io.sockets[client.id].join(rooms)
    everyone = io.to("a").in_("b")
    everyone.except_(carol.id).emit("not carol")
    everyone.emit("once each")
    io.to(["a"]).except_(["b"]).emit("a alone")
    await js.settled(io)
    assert alice.received == [["not carol"], ["once each"], ["a alone"]]
    assert bob.received == [["not carol"], ["once each"]]
    assert carol.received == [["once each"]]


@pytest.mark.feature("O2", "O3", "O4")
async def test_rooms_are_joined_and_left(js: Js, io: madang.Server):
    """`join` and `leave` are plain calls that are done when they return; `rooms` begins with the socket's own id."""

    @io.on("move")
    def move(socket):
        seen = [socket.rooms]
        socket.join("a")
        socket.join(["b", "c"])
        seen.append(socket.rooms)
        socket.leave("b")
        return [sorted(rooms - {socket.id}) for rooms in [*seen, socket.rooms]], socket.id in socket.rooms

    client = await js.connect(io)
    assert await client.emit_with_ack("move") == ([[], ["a", "b", "c"], ["a", "c"]], True)


@pytest.mark.feature("J2", "J16", "G3")
async def test_a_namespace(js: Js, io: madang.Server, heard: Heard):
    """Namespaces share a connection, and each has its own sockets and its own handlers."""
    chat = io.of("/chat")

    @chat.on("connection")
    def connected(socket):
        heard(socket.nsp, socket.id)

    @chat.on("where")
    def where(socket):
        return socket.nsp

    main = await js.connect(io)
    side = await main.beside("/chat")
    assert await heard.next() == ("/chat", side.id)
    assert side.id != main.id
    assert await side.emit_with_ack("where") == "/chat"
    assert chat.sockets[side.id].conn is io.sockets[main.id].conn


@pytest.mark.feature("J4", "J5")
async def test_dynamic_namespaces(js: Js, io: madang.Server):
    """A compiled pattern, or a function of name and auth, opens namespaces as clients ask for them."""

    @io.of(re.compile(r"^/room-\d+$")).on("where")
    def where(socket):
        return socket.nsp

    @io.of(lambda name, auth: name == "/staff" and auth.get("key") == "k").on("where")
    async def where_else(socket):
        return "staff"

    assert await (await js.connect(io, "/room-101")).emit_with_ack("where") == "/room-101"
    with pytest.raises(ConnectRefused, match="Invalid namespace"):
        await js.connect(io, "/staff", auth={"key": "x"})
    assert await (await js.connect(io, "/staff", auth={"key": "k"})).emit_with_ack("where") == "staff"


@pytest.mark.feature("K3", "K4", "G7")
async def test_a_token_is_checked(js: Js, io: madang.Server):
    """Middleware reads the auth; `ConnectError` reaches the client's `connect_error` with message and data."""

    @io.use
    async def authenticate(socket):
        if socket.handshake.auth.get("token") != "good":
            raise madang.ConnectError("인증 실패", data={"code": "bad_token"})

    client = await js.connect(io, auth={"token": "bad"}, wait=False)
    assert await client.refused() == ("인증 실패", {"code": "bad_token"})
    assert (await client.state())["active"] is False
    assert (await js.connect(io, auth={"token": "good"})).id in io.sockets
    assert len(io.sockets) == 1


@pytest.mark.feature("C9")
async def test_the_server_hears_of_a_refusal(js: Js, io: madang.Server, heard: Heard):
    """`io.on("connect_error")` tells of a refused client: request, code, message and context."""
    io.on("connect_error", heard)

    @io.use
    def nobody(socket):
        raise madang.ConnectError("closed today", data={"until": 9})

    with pytest.raises(ConnectRefused, match="closed today"):
        await js.connect(io)
    refusal = await heard.next()
    assert (refusal.code, refusal.message) == (None, "closed today")
    assert refusal.context == {"name": "MIDDLEWARE_REFUSAL", "namespace": "/", "data": {"until": 9}}
    assert refusal.request.path == "/socket.io/"


@pytest.mark.feature("L12", "L7", "L11")
async def test_errors_on_both_sides(js: Js, io: madang.Server, heard: Heard):
    """A handler's exception reaches `io.on_error`, then `socket.on("error")`; the client's life goes on."""

    @io.on_error
    def failed(error, socket, event):
        heard("on_error", str(error), socket.id, event)

    @io.on("connection")
    def connected(socket):
        socket.on("error", lambda error: heard("error", str(error)))

    @io.on("boom")
    def boom(socket):
        raise RuntimeError("too loud")

    client = await js.connect(io)
    failure = {"error": {"code": "internal_error", "message": "internal error"}}
    assert await client.emit_with_ack("boom") == failure
    assert heard.all == [("on_error", "too loud", client.id, "boom"), ("error", "too loud")]
    io.sockets[client.id].emit("error", "from the server")
    assert await client.next("error") == ["from the server"]


@pytest.mark.feature("O1")
async def test_who_is_there(js: Js, io: madang.Server):
    """`socket.data` keeps a name, and `fetch_sockets` finds it again."""

    @io.on("call me")
    def call_me(socket, name: str):
        socket.data["name"] = name
        socket.join("named")

    @io.on("who")
    async def who(socket):
        return sorted(one.data["name"] for one in await io.in_("named").fetch_sockets())

    alice, bob = await js.connect(io), await js.connect(io)
    await alice.emit_with_ack("call me", "alice")
    await bob.emit_with_ack("call me", "bob")
    assert await alice.emit_with_ack("who") == ["alice", "bob"]


@pytest.mark.feature("L15")
async def test_event_constants_with_types(js: Js, io: madang.Server):
    """An `Event` stands wherever a name does, and its types validate what a client sends."""
    say = madang.Event("say", str, int)

    @io.on(say)
    def said(socket, text, times):
        io.emit(say, text * times)

    client = await js.connect(io)
    client.emit("say", "하", 3)
    assert await client.next("say") == ["하하하"]
    answer = await client.emit_with_ack("say", "하", "many")
    assert answer["error"]["code"] == "invalid_arguments"
    assert answer["error"]["data"]["argument"] == "times"


@pytest.mark.feature("N7")
async def test_a_notification_to_one_user(js: Js, io: madang.Server):
    """One room a user reaches all of the user's tabs, and nobody else."""
    notifications = io.of("/notifications")

    @notifications.use
    def enter(socket):
        socket.join(f"user:{socket.handshake.auth['user']}")

    tabs = [await js.connect(io, "/notifications", auth={"user": "minji"}) for _ in range(2)]
    other = await js.connect(io, "/notifications", auth={"user": "jun"})
    notifications.to("user:minji").emit("notification", {"text": "택배", "at": datetime(2026, 1, 2, tzinfo=UTC)})
    for tab in tabs:
        assert await tab.next("notification") == [{"text": "택배", "at": "2026-01-02T00:00:00.000Z"}]
    await js.settled(io)
    assert other.received == []


@pytest.mark.feature("M3", "M5", "M13")
async def test_the_server_asks(js: Js, io: madang.Server):
    """`await socket.emit_with_ack` gives the client's answer, binary ones too."""
    client = await js.connect(io)
    await client.reply("sum", 3, b"\x00\xff")
    assert await io.sockets[client.id].emit_with_ack("sum", 1, 2, timeout=5) == (3, b"\x00\xff")
