"""Namespaces that come into being when a client asks for one."""

from __future__ import annotations

import asyncio
import re

import pytest

import madang
from tests.server.javascript import Client, ConnectRefused, Heard, Js

DYNAMIC = re.compile(r"^/dynamic-\d+$")


async def gone(client: Client, io: madang.Server) -> None:
    """Disconnect a client, and wait until the server has no socket of it."""
    client.disconnect()
    while any(client.id in namespace.sockets for namespace in io.namespaces.values()):
        await client.state()


@pytest.mark.node("namespaces.30")
@pytest.mark.feature("J4", "J8", "J10")
async def test_by_pattern(js: Js, io: madang.Server, heard: Heard):
    """A child runs the parent's middleware and handlers, and hears what the parent emits."""
    parent = io.of(DYNAMIC)
    parent.use(lambda socket: heard("middleware"))
    parent.on("connection", lambda socket: heard(socket.nsp, socket.namespace.name))
    client = await js.connect(io, "/dynamic-101")
    assert heard.all == ["middleware", ("/dynamic-101", "/dynamic-101")]
    parent.emit("hello", 1, "2", [3])
    assert await client.next("hello") == [1, "2", [3]]


@pytest.mark.node("namespaces.31")
@pytest.mark.feature("J10")
async def test_the_parent_reaches_a_room_of_its_children(js: Js, io: madang.Server):
    """`parent.to(room).emit` reaches the members of that room in every child, and nobody else."""
    parent = io.of(DYNAMIC)
    parent.on("connection", lambda socket: socket.join(socket.handshake.auth.get("room", "none")))
    inside = [await js.connect(io, f"/dynamic-{n}", auth={"room": "yard"}) for n in (1, 2)]
    outside = await js.connect(io, "/dynamic-1")
    parent.to("yard").emit("hello")
    for client in inside:
        assert await client.next("hello") == []
    await js.settled(io)
    assert outside.received == []
    with pytest.raises(madang.OptionError):
        await parent.fetch_sockets()


@pytest.mark.node("namespaces.32", "namespaces.33")
@pytest.mark.feature("J5")
async def test_by_function(js: Js, io: madang.Server, heard: Heard):
    """A function sees name and auth; it may be async; functions are asked in the order of declaration."""

    @io.of(lambda name, auth: heard("first", name, auth)).on("where")
    def never(socket):
        return "first"

    async def second(name: str, auth: dict[str, str]) -> bool:
        await asyncio.sleep(0)
        return auth["token"] == "good"

    io.of(second).on("where", lambda socket: "second")
    client = await js.connect(io, "/any", auth={"token": "good"})
    assert heard.all == [("first", "/any", {"token": "good"})]
    assert await client.emit_with_ack("where") == "second"
    with pytest.raises(ConnectRefused, match="Invalid namespace"):
        await js.connect(io, "/other", auth={"token": "bad"})


@pytest.mark.feature("J5")
async def test_a_function_that_fails_refuses(js: Js, io: madang.Server, heard: Heard):
    """An exception in the deciding function is reported, and the next one is asked."""
    io.on_error(lambda error, socket, event: heard(type(error)))
    io.of(lambda name, auth: auth["missing"])
    with pytest.raises(ConnectRefused, match="Invalid namespace"):
        await js.connect(io, "/any")
    assert heard.all == [KeyError]
    io.of(re.compile("^/any$"))
    await js.connect(io, "/any")


@pytest.mark.node("namespaces.34")
@pytest.mark.feature("J12")
async def test_new_namespace_tells_of_a_child(js: Js, io: madang.Server, heard: Heard):
    """It is called when the first client makes the child, and not again for the second."""
    io.of(DYNAMIC)
    io.on("new_namespace", lambda namespace: heard(namespace.name))
    await js.connect(io, "/dynamic-101")
    await js.connect(io, "/dynamic-101")
    assert heard.all == ["/dynamic-101"]


@pytest.mark.node("namespaces.35")
@pytest.mark.feature("J5")
async def test_two_clients_race_for_one_namespace(js: Js, io: madang.Server):
    """Clients that ask while the function still decides end up in one namespace."""
    asked, decided = asyncio.Queue[None](), asyncio.Event()

    async def decide(name: str, auth: object) -> bool:
        asked.put_nowait(None)
        await decided.wait()
        return True

    parent = io.of(decide)
    clients = [await js.connect(io, "/race", wait=False) for _ in range(2)]
    for _ in clients:
        await asked.get()
    decided.set()
    for client in clients:
        await client.connected()
    assert list(parent.children) == ["/race"]
    io.of("/race").emit("hello")
    for client in clients:
        assert await client.next("hello") == []


@pytest.mark.node("namespaces.42")
@pytest.mark.feature("J11", "J10")
async def test_a_child_made_by_the_program(js: Js, io: madang.Server, heard: Heard):
    """`io.of` with a name that the pattern fits makes the child at once, with the parent's handlers."""
    io.on("new_namespace", lambda namespace: heard(namespace.name))
    parent = io.of(DYNAMIC)
    parent.on("where", lambda socket: socket.nsp)
    child = io.of("/dynamic-101")
    assert (heard.all, child.parent) == (["/dynamic-101"], parent)
    client = await js.connect(io, "/dynamic-101")
    assert await client.emit_with_ack("where") == "/dynamic-101"
    parent.emit("hello")
    assert await client.next("hello") == []


@pytest.mark.feature("J8", "J7")
async def test_a_child_copies_its_parent_once(js: Js, io: madang.Server):
    """What is added to the parent later reaches new children only; what is added to a child stays there."""
    parent = io.of(DYNAMIC)
    await js.connect(io, "/dynamic-1")
    parent.on("late", lambda socket: "late")
    io.of("/dynamic-1").on("own", lambda socket: "own")
    assert list(io.of("/dynamic-1").handlers) == ["own"]
    client = await js.connect(io, "/dynamic-2")
    assert await client.emit_with_ack("late") == "late"
    assert list(io.of("/dynamic-2").handlers) == ["late"]


@pytest.mark.node("namespaces.36", "namespaces.37")
@pytest.mark.feature("J9", "A20")
@pytest.mark.parametrize("cleanup", [True, False])
async def test_an_empty_child_is_let_go_if_asked_for(js: Js, cleanup: bool):
    """With `cleanup_empty_child_namespaces` a child goes with its last socket, and comes back with the next."""
    io = madang.Server(cleanup_empty_child_namespaces=cleanup)
    io.of(DYNAMIC)
    first, second = [await js.connect(io, "/dynamic-101") for _ in range(2)]
    await gone(first, io)
    assert "/dynamic-101" in io.namespaces
    await gone(second, io)
    assert ("/dynamic-101" in io.namespaces) is not cleanup
    await js.connect(io, "/dynamic-101")
    assert len(io.namespaces["/dynamic-101"].sockets) == 1


@pytest.mark.node("namespaces.29")
@pytest.mark.feature("J9", "A20")
async def test_a_static_namespace_is_not_cleaned_up(js: Js):
    """The option is about dynamic namespaces alone."""
    io = madang.Server(cleanup_empty_child_namespaces=True)
    io.of("/chat")
    await gone(await js.connect(io, "/chat"), io)
    assert io.of("/chat").sockets == {}
    assert (await js.connect(io, "/chat")).id in io.of("/chat").sockets


@pytest.mark.node("namespaces.39", "namespaces.40")
@pytest.mark.feature("J9", "A20")
@pytest.mark.parametrize("cleanup", [True, False])
async def test_a_refused_client_leaves_an_empty_child(js: Js, cleanup: bool):
    """A child whose only client was refused goes as well, unless the option is off."""
    io = madang.Server(cleanup_empty_child_namespaces=cleanup)

    @io.of(DYNAMIC).use
    def nobody(socket):
        raise madang.ConnectError("nobody")

    with pytest.raises(ConnectRefused, match="nobody"):
        await js.connect(io, "/dynamic-101")
    assert ("/dynamic-101" in io.namespaces) is not cleanup


@pytest.mark.node("namespaces.41")
@pytest.mark.feature("J9", "A20")
async def test_a_refused_client_does_not_take_the_others_child(js: Js):
    """A child with a member stays when somebody else is refused."""
    io = madang.Server(cleanup_empty_child_namespaces=True)

    @io.of(DYNAMIC).use
    def some(socket):
        if not socket.handshake.auth:
            raise madang.ConnectError("not you")

    client = await js.connect(io, "/dynamic-101", auth={"ok": True})
    with pytest.raises(ConnectRefused, match="not you"):
        await js.connect(io, "/dynamic-101")
    io.of("/dynamic-101").emit("hello")
    assert await client.next("hello") == []


@pytest.mark.feature("J9", "A20")
async def test_a_client_in_middleware_keeps_its_child(js: Js):
    """A child is not let go while a client is on its way into it."""
    io = madang.Server(cleanup_empty_child_namespaces=True)
    waiting, go_on = asyncio.Event(), asyncio.Event()

    @io.of(DYNAMIC).use
    async def slow(socket):
        if socket.handshake.auth.get("slow"):
            waiting.set()
            await go_on.wait()

    first = await js.connect(io, "/dynamic-101")
    second = await js.connect(io, "/dynamic-101", auth={"slow": True}, wait=False)
    await waiting.wait()
    await gone(first, io)
    go_on.set()
    await second.connected()
    io.of("/dynamic-101").emit("hello")
    assert await second.next("hello") == []


@pytest.mark.feature("J4")
def test_what_of_does_not_take(io: madang.Server):
    """A number is no namespace, and the error says what is."""
    with pytest.raises(madang.OptionError, match="a name, a compiled pattern or a function"):
        io.of(42)  # type: ignore[call-overload]
