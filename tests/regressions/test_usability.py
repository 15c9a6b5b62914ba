"""Mistakes that are told at once, and what may be written in more than one way."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any
from uuid import uuid4

import pytest

import madang
from madang import HandlerError, ReservedEventName, UsageError
from tests.hosts import listening
from tests.regressions.peer import connected, joined
from tests.server.javascript import Heard


@pytest.fixture
def heard() -> Heard:
    return Heard()


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", [None, True, b"x", {"a": 1}, 1.5, ["a"], object()], ids=lambda it: type(it).__name__)
async def test_names_that_are_none(io: madang.Server, name: Any):
    """An event's name is a text, an integer or an Event; anything else is refused wherever a name is given."""
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        for emits in (io, socket, io.to("room"), socket.broadcast, socket.volatile):
            with pytest.raises(UsageError):
                emits.emit(name, 1)
            with pytest.raises(UsageError):
                emits.emit_with_ack(name, 1)
        for listens in (io, socket):
            with pytest.raises(UsageError):
                listens.on(name, lambda *args: None)
            with pytest.raises(UsageError):
                listens.once(name, lambda *args: None)
        await peer.served()
        assert peer.received == []


def test_decorators_without_parentheses(io: madang.Server):
    """`@io.on` without parentheses is refused, and so are its like."""
    places: list[Any] = [io, io.of("/chat"), io.of(re.compile("^/x"))]
    for decorator in [place.on for place in places] + [place.once for place in places]:
        with pytest.raises(HandlerError):

            @decorator
            def handler(socket): ...


async def test_a_socket_s_decorators_without_parentheses(io: madang.Server):
    """So are those of a socket."""
    async with listening(io) as url, joined(url):
        socket = next(iter(io.sockets.values()))
        for decorator in (socket.on, socket.once):
            with pytest.raises(HandlerError):

                @decorator
                def handler(): ...


class Text(str, Enum):  # noqa: UP042
    MESSAGE = "message of text"
    CONNECTION = "connection"
    CONNECT = "connect"


class Newer(StrEnum):
    MESSAGE = "message of newer"
    DISCONNECT = "disconnect"


class Plain(Enum):
    MESSAGE = "message of plain"
    CONNECTION = "connection"


@pytest.mark.parametrize("name", [Text.MESSAGE, Newer.MESSAGE, Plain.MESSAGE])
async def test_members_of_enums_as_names(io: madang.Server, name: Any):
    """A member of an Enum is the name that it holds: when handling, emitting and forgetting."""
    io.on(name, lambda socket: "answer")
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        assert await peer.ask(name.value) == ["answer"]
        for emits in (io, socket, io.in_(socket.id)):
            emits.emit(name, 1)
            assert await peer.packet("42") == f'42["{name.value}",1]'
        assert await peer.ask(name.value) == ["answer"]
        io.off(name)
        socket.on(name, lambda: "own answer")
        assert await peer.ask(name.value) == ["own answer"]
        socket.off(name)
        await peer.served()


@pytest.mark.parametrize("name", [Text.CONNECTION, Text.CONNECT, Plain.CONNECTION])
async def test_members_of_enums_as_life_events(io: madang.Server, heard: Heard, name: Any):
    """So it is for the events of a socket's life."""
    io.on(name, lambda socket: heard("connected"))
    io.on(Newer.DISCONNECT, lambda socket: heard("disconnected"))
    async with listening(io) as url, joined(url) as peer:
        assert await heard.next() == "connected"
        await peer.send("41")
        assert await heard.next() == "disconnected"
    with pytest.raises(ReservedEventName):
        io.emit(Text.CONNECT)


# ----------------------------------------------------------------------------------------------------------- coroutines


async def test_what_returns_a_coroutine_is_awaited(io: madang.Server, heard: Heard):
    """Plain functions that return a coroutine are awaited: life handlers, catch-alls, error handlers, all others."""

    async def note(what: str) -> None:
        heard(what)

    def connection(socket):
        socket.on_any(lambda event: note(f"own {event}"))
        socket.on("disconnect", lambda: note("own disconnect"))
        socket.on("error", lambda error: note("own error"))
        return note("connection")

    def fails(socket):
        raise ValueError

    io.on("new_namespace", lambda namespace: note("new_namespace"))
    io.on("connect_error", lambda refusal: note("connect_error"))
    io.on("connection", connection)
    io.on("disconnect", lambda socket: note("disconnect"))
    io.on("fails", fails)
    io.on_any(lambda socket, event: note(f"any {event}"))
    io.on_error(lambda error: note("error"))
    io.of("/chat")
    async with listening(io) as url, joined(url) as peer:
        await peer.ask("fails")
        await peer.send("40/nowhere,")
        await peer.packet("44/nowhere,")
        await peer.send("41")
        told = {await heard.next() for _ in range(9)}
    assert told == {
        *("new_namespace", "connection", "any fails", "own fails", "error", "own error"),
        *("connect_error", "disconnect", "own disconnect"),
    }


# ----------------------------------------------------------------------------------------------------------- forgetting


class Methods:
    def __init__(self, heard: Heard) -> None:
        self.heard = heard

    def hear(self, *args: Any) -> None:
        self.heard("not forgotten")


async def test_forgetting_bound_methods(io: madang.Server, heard: Heard):
    """`off` and its like know a bound method again, which is a new object each time it is named."""
    it = Methods(heard)

    def connection(socket):
        socket.on("event", it.hear)
        socket.off("event", it.hear)
        socket.on("disconnect", it.hear)
        socket.off("disconnect", it.hear)
        socket.on_any(it.hear)
        socket.off_any(it.hear)
        socket.on_any_outgoing(it.hear)
        socket.off_any_outgoing(it.hear)
        socket.conn.on("packet", it.hear)
        socket.conn.off("packet", it.hear)
        heard("connected")

    io.on("event", it.hear)
    io.off("event", it.hear)
    io.on("connection", it.hear)
    io.off("connection", it.hear)
    io.on_any(it.hear)
    io.off_any(it.hear)
    io.on("connection", connection)
    async with listening(io) as url, joined(url) as peer:
        await peer.emit("event")
        io.emit("something")
        await peer.served()
    assert heard.all == ["connected"]


# ---------------------------------------------------------------------------------------------------------------- rooms


async def test_leaving_one_s_own_room(io: madang.Server):
    """A socket that has left the room of its own id is still reached by what goes to everyone."""
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        socket.leave(socket.id)
        io.emit("all", 1)
        io.except_("room").emit("all", 2)
        assert await peer.packet("42") == '42["all",1]'
        assert await peer.packet("42") == '42["all",2]'
        assert await io.fetch_sockets() == [socket]
        socket.leave_all()
        io.emit("all", 3)
        assert await peer.packet("42") == '42["all",3]'


async def test_rooms_named_by_uuid(io: madang.Server):
    """A UUID either names a room or is refused with a UsageError, in both places alike."""
    room = uuid4()
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        try:
            socket.join(room)
        except UsageError:
            with pytest.raises(UsageError):
                io.to(room)
        else:
            io.to(room).emit("in", 1)
            assert await peer.packet("42") == '42["in",1]'
            socket.leave(room)
            io.to(room).emit("out", 2)
            await peer.served()
            assert peer.received == []


async def test_rooms_named_by_bytes(io: madang.Server):
    """Bytes do not name a room, nor do they name one room for each byte."""
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        calls: list[Callable[[Any], Any]] = [
            *(io.to, io.in_, io.except_, io.sockets_join, io.sockets_leave),
            *(socket.to, socket.except_, socket.join),
        ]
        for call in calls:
            with pytest.raises(UsageError):
                call(b"ab")
        assert socket.rooms == {socket.id}
        await peer.served()


# ---------------------------------------------------------------------------------------------------------- middlewares


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_middleware_that_says_no(io: madang.Server, is_async: bool):
    """A middleware that returns False refuses the client; one that returns nothing or True lets it pass."""

    async def coroutine(value: Any) -> Any:
        return value

    answers: list[Any] = [False, None, True]
    io.of("/asked").use(lambda socket: coroutine(answers.pop(0)) if is_async else answers.pop(0))
    async with listening(io) as url, joined(url) as peer:
        await peer.send("40/asked,")
        assert '"message":' in await peer.packet("44/asked,")
        assert io.of("/asked").sockets == {}
        await peer.join("/asked,")
        async with connected(url) as other:
            await other.join("/asked,")
        await peer.served()


def test_middlewares_as_in_javascript(io: madang.Server):
    """A middleware that wants `next` is refused when it is registered; defaults and `*args` are fine."""

    async def coroutine(socket, proceed): ...

    class Instance:
        def __call__(self, socket, proceed): ...

    for namespace in (io, io.of("/chat"), io.of(re.compile("^/x"))):
        for wrong in (lambda socket, proceed: None, coroutine, Instance(), lambda: None):
            with pytest.raises(HandlerError):
                namespace.use(wrong)
        for right in (lambda socket: None, lambda socket, more=1: None, lambda *args: None):
            assert namespace.use(right) is right


# ------------------------------------------------------------------------------------------------------------- handlers


async def test_catch_alls_with_fewer_parameters(io: madang.Server, heard: Heard):
    """A catch-all gets as many arguments as it takes."""

    def connection(socket):
        socket.on_any(lambda: heard("none of its own"))
        socket.on_any(lambda event: heard("own", event))
        socket.on_any(lambda event, first: heard("own", event, first))

    io.on("connection", connection)
    io.on("asks", lambda socket, *args: len(args))
    io.on_any(lambda socket: heard("the socket"))
    io.on_any(lambda socket, event: heard("all", event))
    async with listening(io) as url, joined(url) as peer:
        assert await peer.ask("asks", 1, 2, 3) == [3]
        expected = ["the socket", ("all", "asks"), "none of its own", ("own", "asks"), ("own", "asks", 1)]
        assert heard.all == expected


async def test_outgoing_catch_alls_with_fewer_parameters(io: madang.Server, heard: Heard):
    """So does a catch-all of what is sent."""
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        socket.on_any_outgoing(lambda: heard("nothing"))
        socket.on_any_outgoing(lambda event: heard("event", event))
        io.emit("something", 1, 2)
        await peer.packet("42")
        assert heard.all == ["nothing", ("event", "something")]


async def agen(*args: Any) -> Any:
    yield args


def generator(*args: Any) -> Any:
    yield args


@pytest.mark.parametrize("function", [agen, generator])
def test_generators(io: madang.Server, function: Any):
    """A function that yields is refused as a handler, as a catch-all and as an error handler."""
    for event in ("event", "connection", "disconnect", "connect_error", "new_namespace"):
        with pytest.raises(HandlerError):
            io.on(event, function)
        with pytest.raises(HandlerError):
            io.once(event, function)
    for register in (io.on_any, io.on_error, io.event):
        with pytest.raises(HandlerError):
            register(function)


@pytest.mark.parametrize("function", [agen, generator])
def test_generators_as_middlewares(io: madang.Server, function: Any):
    """It is refused as a middleware as well, which would never run and let everyone pass."""
    for namespace in (io, io.of("/chat"), io.of(re.compile("^/x"))):
        with pytest.raises(HandlerError):
            namespace.use(function)
