"""Handlers: their forms, the order in which they run, and what happens when they fail."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

import pytest

import madang
from tests.server.javascript import Heard, Js, soon


@pytest.mark.feature("L16", "A29")
@pytest.mark.usefixtures("mode")
async def test_events_are_handled_one_at_a_time(js: Js, io: madang.Server, heard: Heard):
    """Async handlers of one socket run in the order of arrival, each after the one before has ended."""

    @io.on("step")
    async def step(socket, number: int):
        heard("start", number)
        for _ in range(5 - number):
            await asyncio.sleep(0)
        heard("end", number)

    @io.on("plain")
    def plain(socket, number: int):
        heard("plain", number)

    client = await js.connect(io)
    for number in (1, 3):
        client.emit("step", number)
        client.emit("plain", number + 1)
    assert [await heard.next() for _ in range(6)] == [
        *(("start", 1), ("end", 1), ("plain", 2)),
        *(("start", 3), ("end", 3), ("plain", 4)),
    ]


@pytest.mark.feature("A29")
async def test_one_client_does_not_wait_for_another(js: Js, io: madang.Server):
    """A handler that waits holds up its own socket alone."""
    go_on = asyncio.Event()

    @io.on("wait")
    async def wait(socket):
        await go_on.wait()
        return "waited"

    io.on("go", lambda socket: go_on.set())
    first, second = await js.connect(io), await js.connect(io)
    waiting = asyncio.ensure_future(first.emit_with_ack("wait"))
    await first.state()
    await second.emit_with_ack("go")
    assert await waiting == "waited"


@pytest.mark.feature("A29")
@pytest.mark.parametrize("where", ["handler", "socket's handler", "server"])
async def test_concurrent_handlers_overlap(js: Js, heard: Heard, where: str):
    """`concurrent=True`, on a handler or on the server, lets later events of the socket pass."""
    io = madang.Server(concurrent=where == "server")
    go_on = asyncio.Event()

    async def wait(*_: Any):
        await go_on.wait()
        return "waited"

    if where == "socket's handler":
        io.on("connection", lambda socket: socket.on("wait", wait, concurrent=True))
    else:
        io.on("wait", wait, concurrent=True if where == "handler" else None)
    io.on("go", lambda socket: go_on.set())
    client = await js.connect(io)
    waiting = asyncio.ensure_future(client.emit_with_ack("wait"))
    await client.emit_with_ack("go")
    assert await waiting == "waited"


@pytest.mark.feature("A29")
async def test_not_concurrent_after_all(js: Js, heard: Heard):
    """On a concurrent server handlers with `concurrent=False` stay in order among themselves."""
    io = madang.Server(concurrent=True)
    go_on = asyncio.Event()

    @io.on("wait", concurrent=False)
    async def wait(socket):
        await go_on.wait()
        heard("waited")

    io.on("next", lambda socket: heard("next"), concurrent=False)
    io.on("pass", lambda socket: heard("passed"))
    client = await js.connect(io)
    for event in ("wait", "next", "pass"):
        client.emit(event)
    assert await heard.next() == "passed"
    go_on.set()
    assert [await heard.next(), await heard.next()] == ["waited", "next"]


@pytest.mark.feature("L16")
async def test_a_handler_in_a_thread(js: Js, io: madang.Server):
    """`thread=True` runs a plain function beside the loop; what it emits and returns arrives in order."""

    @io.on("work", thread=True)
    def work(socket, number: int):
        socket.emit("step", threading.current_thread() is threading.main_thread())
        socket.join("workers")
        io.to("workers").emit("room", number)
        return number * 2

    client = await js.connect(io)
    assert await client.emit_with_ack("work", 21) == 42
    assert client.received == [["step", False], ["room", 21]]


@pytest.mark.feature("L12")
async def test_a_thread_s_exception(js: Js, io: madang.Server, heard: Heard):
    """An exception in a thread is handled like any other."""
    io.on_error(lambda error, socket, event: heard(str(error), threading.current_thread() is threading.main_thread()))

    @io.on("work", thread=True)
    def work(socket):
        raise ValueError("in a thread")

    client = await js.connect(io)
    assert (await client.emit_with_ack("work"))["error"]["code"] == "internal_error"
    assert heard.all == [("in a thread", True)]


@pytest.mark.feature("N1")
async def test_emitting_from_another_thread(js: Js, io: madang.Server):
    """`emit`, `join`, `leave` and `disconnect` may be called from any thread, and keep their order."""
    client = await js.connect(io)
    socket = io.sockets[client.id]

    def work():
        socket.join("a")
        io.to("a").emit("one")
        socket.emit("two", b"\x01")
        socket.leave("a")
        io.to("a").emit("not this")
        io.emit("three")
        socket.volatile.emit("four")
        socket.disconnect()

    await asyncio.to_thread(work)
    assert await client.disconnected() == "io server disconnect"
    assert client.received[:3] == [["one"], ["two", b"\x01"], ["three"]]
    assert ["not this"] not in client.received


@pytest.mark.feature("N1", "L16")
async def test_what_a_thread_emits_is_what_it_was(js: Js, io: madang.Server):
    """A payload that a thread changes after `emit` goes out as it was at the call."""
    client = await js.connect(io)

    def work():
        payload = {"n": 0}
        for payload["n"] in range(3):
            io.emit("n", payload)
            io.sockets[client.id].emit("n", payload)

    await asyncio.to_thread(work)
    assert [(await client.next("n"))[0]["n"] for _ in range(6)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.feature("L12")
async def test_what_a_thread_cannot_emit(js: Js, io: madang.Server):
    """A value without a JSON form is an error where it is emitted, in a thread too."""
    client = await js.connect(io)
    for target in (io, io.sockets[client.id], io.to("room")):
        with pytest.raises(madang.EncodeError):
            await asyncio.to_thread(target.emit, "x", object())


@pytest.mark.feature("M3")
async def test_asking_from_another_thread(js: Js, io: madang.Server):
    """An ack can only be awaited in the loop; asking elsewhere is an error that says so."""
    client = await js.connect(io)
    for target in (io.sockets[client.id], io):
        with pytest.raises(madang.UsageError, match="another thread"):
            await asyncio.to_thread(target.emit_with_ack, "ask")


@pytest.mark.feature("L2", "L1")
async def test_several_handlers(js: Js, io: madang.Server, heard: Heard):
    """Handlers of one event run in the order of registration; the first that returns something gives the ack."""
    io.on("x", lambda socket: heard("first"))

    @io.on("x")
    async def second(socket):
        await asyncio.sleep(0)
        heard("second")
        return 2

    @io.on("connection")
    def connected(socket):
        @socket.on("x")
        def own():
            heard("own")
            return 3

    client = await js.connect(io)
    assert await client.emit_with_ack("x") == 2
    client.emit("x")
    assert [await heard.next() for _ in range(6)] == ["first", "second", "own"] * 2


@pytest.mark.feature("L12", "L2")
async def test_a_failing_handler_does_not_stop_the_others(js: Js, io: madang.Server, heard: Heard):
    """If one of several handlers fails, the others still run."""

    @io.on("x")
    def first(socket):
        raise RuntimeError

    io.on("x", lambda socket: heard("second"))
    client = await js.connect(io)
    client.emit("x")
    assert await heard.next() == "second"


@pytest.mark.feature("L15")
async def test_any_callable_may_handle(js: Js, io: madang.Server):
    """Functions, coroutine functions, methods, partials and callable objects all serve."""

    class Yard:
        def method(self, socket, value):
            return f"method {value}"

        async def amethod(self, socket, value):
            return f"amethod {value}"

        async def __call__(self, socket, value):
            return f"object {value}"

    yard = Yard()
    for name, handler in {
        "method": yard.method,
        "amethod": yard.amethod,
        "object": yard,
        "partial": functools.partial(lambda prefix, socket, value: f"{prefix} {value}", "partial"),
        "lambda": lambda socket, value: f"lambda {value}",
    }.items():
        assert io.on(name, handler) is handler
    client = await js.connect(io)
    for name in ("method", "amethod", "object", "partial", "lambda"):
        assert await client.emit_with_ack(name, 1) == f"{name} 1"


@pytest.mark.feature("L10", "L15")
async def test_how_many_arguments(js: Js, io: madang.Server):
    """Surplus arguments are ignored, as in JavaScript; a missing one is an error unless it has a default."""
    io.on("none", lambda socket: "none")
    io.on("any", lambda socket, *args: list(args))
    io.on("default", lambda socket, a, b="b": (a, b))
    client = await js.connect(io)
    assert await client.emit_with_ack("none", 1, 2) == "none"
    assert await client.emit_with_ack("any", *range(12)) == list(range(12))
    assert await client.emit_with_ack("default", "a") == ("a", "b")
    assert await client.emit_with_ack("default", "a", "c", "d") == ("a", "c")
    assert (await client.emit_with_ack("default"))["error"]["message"] == 'missing argument "a": 1 expected, got 0'


@pytest.mark.feature("L8")
async def test_names_that_are_integers(js: Js, io: madang.Server):
    """An event's name may be an integer, both ways; 1 is not "1"."""
    io.on(1, lambda socket, value: ("int", value))
    io.on("1", lambda socket, value: ("str", value))
    client = await js.connect(io)
    assert await client.emit_with_ack(1, 2) == ("int", 2)
    assert await client.emit_with_ack("1", 2) == ("str", 2)
    io.emit(7, "seven")
    assert await client.next(7) == ["seven"]


@pytest.mark.feature("L1")
@pytest.mark.parametrize(
    "name", ["이벤트", 'a"b', "back\\slash", "new\nline", "", "__proto__", "toString", "💬", "a,b", "1[2]"]
)
async def test_odd_names(js: Js, io: madang.Server, name: str):
    """Any text is a name, both ways."""
    io.on(name, lambda socket, value: value)
    client = await js.connect(io)
    assert await client.emit_with_ack(name, 5) == 5
    io.emit(name, 6)
    assert await client.next(name) == [6]


def test_what_cannot_handle(io: madang.Server):
    """A function that cannot be called with what clients send is refused where it is registered."""
    with pytest.raises(madang.HandlerError, match="must take the socket"):
        io.on("x", lambda: None)
    with pytest.raises(madang.HandlerError, match="callable"):
        io.on("x", 42)
    with pytest.raises(madang.HandlerError, match="keyword"):
        io.on("x", lambda socket, *, key: None)
    with pytest.raises(madang.HandlerError, match="plain functions"):

        @io.on("x", thread=True)
        async def work(socket): ...

    for name in ("connect_error", "newListener"):
        with pytest.raises(madang.ReservedEventName):
            io.of("/x").on(name, lambda socket: None)


@pytest.mark.feature("A29")
async def test_a_full_queue_stops_reading(js: Js, io: madang.Server, heard: Heard):
    """However many events a client sends while a handler waits, a bounded number is held, and none is lost."""
    go_on = asyncio.Event()

    @io.on("wait")
    async def wait(socket):
        heard("waiting")
        await go_on.wait()

    @io.on("count")
    def count(socket, number: int, weight: str):
        heard(number)

    client = await js.connect(io)
    client.emit("wait")
    assert await heard.next() == "waiting"
    for number in range(200):
        client.emit("count", number, "x" * 50_000)
    socket = io.sockets[client.id]
    while not socket._reading_paused:
        await js.call("echo", value=None)
    assert socket._queued_bytes < 3_000_000
    go_on.set()
    assert [await heard.next() for _ in range(200)] == list(range(200))


@pytest.mark.feature("L13")
@pytest.mark.parametrize("listening", [False, True])
async def test_events_behind_the_server_s_disconnect(js: Js, io: madang.Server, heard: Heard, listening: bool):
    """Once the server has disconnected a socket, events of it that wait or arrive are not handled."""

    @io.on("first")
    async def first(socket):
        heard("first")
        await asyncio.sleep(0.01)
        socket.disconnect()

    io.on("second", lambda socket, data: heard("second"))
    io.on("disconnect", lambda socket: heard("disconnect"))
    if listening:
        io.on_any(lambda socket, *args: None)
    client = await js.connect(io)
    client.emit("first")
    for _ in range(5):
        client.emit("second", b"\x01")
    await client.disconnected()
    assert [await heard.next(), await heard.next()] == ["first", "disconnect"]
    await client.state()
    assert heard.all == ["first", "disconnect"]


@pytest.mark.feature("L13")
@pytest.mark.parametrize("listening", [False, True])
async def test_events_before_the_client_s_disconnect(js: Js, io: madang.Server, heard: Heard, listening: bool):
    """What a client has sent before it leaves is handled before its `disconnect`, whatever else listens."""

    @io.on("first")
    async def first(socket):
        await asyncio.sleep(0.01)
        heard("first")

    io.on("second", lambda socket: heard("second"))
    io.on("disconnect", lambda socket, reason: heard(reason))
    if listening:
        io.on_any(lambda socket, *args: None)
    client = await js.connect(io)
    client.emit("first")
    client.emit("second")
    client.disconnect()
    assert [await heard.next() for _ in range(3)] == ["first", "second", "client namespace disconnect"]


async def test_a_handler_may_use_timeouts_and_groups(js: Js, io: madang.Server):
    """asyncio's own tools work in a handler from its first step on."""

    @io.on("x")
    async def x(socket):
        assert asyncio.current_task() is not None
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, "slept"))
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return task.result(), "timed out"

    client = await js.connect(io)
    assert await soon(client.emit_with_ack("x")) == ("slept", "timed out")
