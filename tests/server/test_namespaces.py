"""Namespaces: how they come to be, who is in which, and what the server's own methods mean."""

from __future__ import annotations

import pytest

import madang
from tests.server.javascript import ConnectRefused, Heard, Js


@pytest.mark.node("namespaces.1")
@pytest.mark.feature("A26", "J17")
async def test_the_main_namespace_stands_behind_the_server(js: Js, io: madang.Server):
    """`io.of("/")` is the main namespace, and the server's `sockets` and `adapter` are its own."""
    client = await js.connect(io)
    main = io.of("/")
    assert main.name == "/"
    assert io.sockets is main.sockets
    assert list(main.sockets) == [client.id]
    assert io.adapter is main.adapter
    io.send("to everyone")
    assert await client.next("message") == ["to everyone"]


@pytest.mark.node("namespaces.8")
@pytest.mark.feature("J2")
@pytest.mark.parametrize("name", ["abc", "/abc"])
def test_a_missing_slash_is_added(io: madang.Server, name: str):
    """`of` takes a name with or without its slash, and gives the same namespace each time."""
    assert io.of(name).name == "/abc"
    assert io.of("abc") is io.of("/abc")
    assert io.of("") is io.of("/")


@pytest.mark.node("namespaces.6", "namespaces.10")
@pytest.mark.feature("J2")
async def test_connect_is_another_name_for_connection(js: Js, io: madang.Server, heard: Heard):
    """`on("connect")` hears of new sockets as `on("connection")` does; several handlers run in order."""
    io.on("connect", lambda socket: heard("connect"))
    io.on("connection", lambda socket: heard("connection"))
    io.of("/chat", lambda socket: heard("of"))
    client = await js.connect(io)
    await client.beside("/chat")
    assert heard.all == ["connect", "connection", "of"]


@pytest.mark.node("namespaces.14")
@pytest.mark.feature("J3", "J1")
async def test_an_unknown_namespace(js: Js, io: madang.Server):
    """It is refused with Node's message, and the connection stays."""
    client = await js.connect(io)
    with pytest.raises(ConnectRefused, match=r"^Invalid namespace$"):
        await client.beside("/nowhere")
    assert (await client.state())["connected"] is True
    assert client.lives("disconnect") == 0


@pytest.mark.feature("J14")
async def test_a_name_is_taken_literally(js: Js, io: madang.Server):
    """A question mark is part of the name, so `/m?token=1` is not `/m`."""
    io.of("/m")
    io.of("/한글 마당")
    client = await js.connect(io)
    with pytest.raises(ConnectRefused, match="Invalid namespace"):
        await client.beside("/m?token=1")
    assert (await client.beside("/한글 마당")).id in io.of("/한글 마당").sockets


@pytest.mark.node("namespaces.7", "namespaces.15")
@pytest.mark.feature("J16", "O13")
async def test_namespaces_share_a_connection(js: Js, io: madang.Server):
    """Each namespace has its own id, rooms and acks on one connection; two clients of one namespace are two sockets."""
    chat = io.of("/chat")
    main = await js.connect(io)
    side = await main.beside("/chat")
    one, two = io.sockets[main.id], chat.sockets[side.id]
    one.join("yard")
    assert two.rooms == {side.id}
    assert one.client is two.client
    assert one.conn is two.conn
    await main.reply("which", "main")
    await side.reply("which", "side")
    assert [await one.emit_with_ack("which"), await two.emit_with_ack("which")] == ["main", "side"]
    assert (await js.connect(io)).id not in (main.id, side.id)


@pytest.mark.feature("J16", "O10")
async def test_leaving_one_namespace_keeps_the_other(js: Js, io: madang.Server, heard: Heard):
    """A client that leaves a namespace stays connected to the others."""
    chat = io.of("/chat")
    chat.on("disconnect", lambda socket, reason: heard(reason))
    io.on("ping me", lambda socket: "here")
    main = await js.connect(io)
    side = await main.beside("/chat")
    side.disconnect()
    assert await heard.next() == "client namespace disconnect"
    assert chat.sockets == {}
    assert await main.emit_with_ack("ping me") == "here"


@pytest.mark.node("namespaces.12")
@pytest.mark.feature("O9")
async def test_the_transport_s_end_is_the_end_of_all(js: Js, io: madang.Server, heard: Heard):
    """When the connection goes, the sockets of all its namespaces go."""
    for name in ("/", "/chat", "/news"):
        io.of(name).on("disconnect", lambda socket, reason: heard(socket.nsp, reason))
    client = await js.connect(io)
    for name in ("/chat", "/news"):
        await client.beside(name)
    client.drop()
    ended = {await heard.next() for _ in range(3)}
    assert ended == {("/", "transport close"), ("/chat", "transport close"), ("/news", "transport close")}


@pytest.mark.node("namespaces.12", "socket.62")
@pytest.mark.feature("O11")
async def test_disconnect_with_close_leaves_all_namespaces(js: Js, io: madang.Server, heard: Heard):
    """`disconnect(close=True)` tells every namespace of the client, then closes the connection."""
    io.of("/foo")
    io.of("/").on("disconnect", lambda socket, reason: heard(reason))
    main = await js.connect(io)
    clients = [main, await main.beside("/foo")]
    io.of("/bar").on("connection", lambda socket: socket.disconnect(True))
    clients.append(await main.beside("/bar"))
    assert [await client.disconnected() for client in clients] == ["io server disconnect"] * 3
    assert await heard.next() == "server namespace disconnect"
    assert io.connections == set()


@pytest.mark.node("socket.25")
@pytest.mark.feature("J16", "L16")
async def test_what_a_client_emits_before_it_is_connected(js: Js, io: madang.Server, heard: Heard):
    """Events that the client has buffered arrive in order, and find the handlers of an async `connection` handler."""
    chat = io.of("/chat")

    @chat.on("connection")
    async def connected(socket):
        socket.on("a", lambda: heard("a"))
        await js.call("echo", value=None)
        socket.on("b", lambda: heard("b"))

    client = await js.connect(io, "/chat", wait=False)
    client.emit("a")
    client.emit("b")
    client.emit("a")
    assert [await heard.next() for _ in range(3)] == ["a", "b", "a"]


@pytest.mark.node("namespaces.28")
@pytest.mark.feature("J12")
def test_new_namespace_tells_of_each(io: madang.Server, heard: Heard):
    """`new_namespace` is called once for each namespace that is made."""
    io.on("new_namespace", lambda namespace: heard(namespace.name))
    io.of("/nsp")
    io.of("nsp")
    io.of("/other")
    assert heard.all == ["/nsp", "/other"]


@pytest.mark.node("namespaces.23", "socket.50")
@pytest.mark.feature("L5")
@pytest.mark.parametrize("name", ["connect", "connect_error", "disconnect", "disconnecting", "newListener"])
async def test_reserved_names_cannot_be_emitted(js: Js, io: madang.Server, name: str):
    """The protocol's own names are refused where they are emitted, in every way of emitting."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    for emit in (io.emit, io.of("/x").emit, io.to("a").emit, socket.emit, socket.broadcast.emit, socket.volatile.emit):
        with pytest.raises(madang.ReservedEventName, match=f'^"{name}" is a reserved event name$'):
            emit(name)
    with pytest.raises(madang.ReservedEventName):
        socket.emit_with_ack(name)


@pytest.mark.feature("L7", "L11")
@pytest.mark.parametrize("name", ["error", "message", "connection", "new_namespace"])
async def test_other_names_may_be_emitted(js: Js, io: madang.Server, name: str):
    """Names that only look reserved go out, and come in without harm."""
    io.on("still here", lambda socket: True)
    client = await js.connect(io)
    client.emit(name, {"from": "client"})
    io.emit(name, "from the server")
    assert await client.next(name) == ["from the server"]
    assert await client.emit_with_ack("still here") is True


@pytest.mark.node("socket.23")
@pytest.mark.feature("L9")
async def test_send_is_the_event_message(js: Js, io: madang.Server, heard: Heard):
    """`send` emits `message`, on a server, a namespace, a socket and an operator."""
    io.on("message", lambda socket, *args: heard(list(args)))
    client = await js.connect(io)
    socket = io.sockets[client.id]
    socket.send("socket", 1)
    io.of("/").send("namespace")
    io.to(client.id).send("operator")
    socket.volatile.compress(False).send("flags")
    received = [await client.next("message") for _ in range(3)]
    assert received == [["socket", 1], ["namespace"], ["operator"]]
    client.emit("message", None)
    assert await heard.next() == [None]


@pytest.mark.node("namespaces.24")
@pytest.mark.feature("A11")
async def test_a_client_that_joins_nothing_is_closed(js: Js):
    """A connection without any namespace ends after `connect_timeout`; one that has joined stays."""
    io = madang.Server(connect_timeout=0.2)
    io.on("here", lambda socket: "yes")
    stayed = await js.connect(io)
    lost = await js.connect(io, "/nowhere", wait=False)
    assert (await lost.refused()).message == "Invalid namespace"
    while len(io.connections) > 1:
        await js.call("echo", value=None)
    assert await stayed.emit_with_ack("here") == "yes"


@pytest.mark.node("namespaces.16", "namespaces.17", "namespaces.18")
@pytest.mark.feature("O2", "J17")
async def test_finding_the_members_of_a_namespace(js: Js, io: madang.Server):
    """`fetch_sockets` of a namespace, or of its rooms, finds only the sockets of that namespace."""
    chat, other = io.of("/chat"), io.of("/other")
    one, two = await js.connect(io, "/chat"), await js.connect(io, "/chat")
    three = await js.connect(io, "/other")
    for namespace, client in ((chat, one), (other, three)):
        namespace.sockets[client.id].join("foo")
    chat.sockets[two.id].join("bar")
    assert {socket.id for socket in await chat.fetch_sockets()} == {one.id, two.id}
    assert [socket.id for socket in await chat.in_("foo").fetch_sockets()] == [one.id]
    assert {socket.id for socket in await chat.in_(["foo", "bar"]).fetch_sockets()} == {one.id, two.id}
    assert [socket.id for socket in await other.in_("foo").fetch_sockets()] == [three.id]
