"""The client in memory, as docs/testing.md describes it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import madang
import madang.testing
from madang.testing import connect
from tests.conftest import Leaks


@pytest.fixture
def io() -> madang.Server:
    io = madang.Server()
    io.on("echo", lambda socket, *args: list(args))
    io.on("say", lambda socket, text: socket.broadcast.emit("said", text))

    @io.on("fail")
    def fail(socket: madang.Socket):
        raise ValueError("as asked")

    return io


@pytest.mark.feature("Y5")
async def test_what_the_server_sees_of_the_handshake(io: madang.Server):
    """Auth, headers, query and address come as they were given, and middlewares see them."""
    seen: list[madang.Handshake] = []
    io.of("/chat").use(lambda socket: seen.append(socket.handshake))
    given: dict[str, Any] = {"headers": {"cookie": "session=1"}, "query": {"room": "1"}, "address": ("10.0.0.9", 1234)}
    async with connect(io, "chat", auth={"token": "x"}, **given) as client:
        assert client.nsp == "/chat"
    (handshake,) = seen
    assert handshake.auth == {"token": "x"}
    assert handshake.headers["cookie"] == "session=1"
    assert handshake.query["room"] == "1"
    assert handshake.address == "10.0.0.9"


async def test_values_of_every_kind(io: madang.Server):
    """Text, numbers and binary go both ways; a large message as well."""
    async with connect(io) as client:
        big = bytes(range(256)) * 2000
        assert await client.call("echo", "마당", 1.5, None, {"a": [b"\x00\xff"]}) == [
            "마당",
            1.5,
            None,
            {"a": [b"\x00\xff"]},
        ]
        assert await client.call("echo", big) == [big]


async def test_what_was_received(io: madang.Server):
    """`received` has all events; `receive` gives each once, be it there already or still to come."""
    async with connect(io) as minji, connect(io) as joon:
        for text in ("one", "two"):
            minji.emit("say", text)
        await minji.settled()
        assert joon.received == [("said", ["one"]), ("said", ["two"])]
        assert joon.received[0].name == "said"
        assert [await joon.receive("said"), await joon.receive()] == ["one", "two"]
        waiting = asyncio.create_task(joon.receive("pair"))
        io.to(joon.id or "").emit("pair", 1, 2)
        assert await waiting == (1, 2)
        assert minji.received == []
        with pytest.raises(madang.WaitTimeout, match=r"'more' came within 0.01 seconds; what came: .*two"):
            await joon.receive("more", timeout=0.01)


async def test_an_end_ends_waiting(io: madang.Server):
    """Who waits for an event when the client is closed is told so."""
    client = await connect(io)
    waiting = asyncio.create_task(client.receive("never"))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(madang.SocketClosed):
        await waiting


async def test_refusals(io: madang.Server):
    """Each refusal is the exception of production, at once, and leaves nothing behind."""

    @io.of("/closed").use
    def refuse(socket: madang.Socket):
        raise madang.ConnectError("인증 실패", data={"code": "bad_token"})

    with pytest.raises(madang.ConnectError, match="인증 실패") as refused:
        await connect(io, "/closed")
    assert refused.value.data == {"code": "bad_token"}
    with pytest.raises(madang.ConnectError, match="Invalid namespace"):
        await connect(io, "/nowhere")
    with pytest.raises(madang.ConnectionFailed) as origin:
        await connect(io, headers={"origin": "http://evil.example"})
    assert origin.value.status == 400
    picky = madang.Server(allow_request=lambda request: False)
    with pytest.raises(madang.ConnectionFailed) as picked:
        await connect(picky)
    assert picked.value.description == "the server answered 400: Forbidden"


async def test_several_namespaces(io: madang.Server):
    """One connection may have several, each with its own `auth`; a drop brings all of them back."""
    chat = io.of("/chat")
    chat.on("who", lambda socket: socket.handshake.auth["name"])
    async with connect(io) as client:
        other = client.of("chat", auth={"name": "minji"})
        assert client.of("/chat") is other
        assert await other.emit_with_ack("who") == "minji"
        assert io.engine.clients_count == 1
        client.drop()
        assert await other.emit_with_ack("who") == "minji"
        chat.emit("news", 1)
        assert await other.wait_for("news") == 1
        other.disconnect()
        await client.settled()
        assert (len(chat.sockets), len(io.sockets)) == (0, 1)


async def test_a_middleware_that_fails(io: madang.Server):
    """The client learns no more than in production, and the test what has happened."""
    io.use(lambda socket: 1 / 0)
    with pytest.raises(madang.ConnectError, match="internal error") as refused:
        await connect(io)
    assert "ZeroDivisionError" in refused.value.__notes__[0]


async def test_a_drop(io: madang.Server):
    """Both sides see the end, and the client is back under a new id without real waiting."""
    reasons: list[str] = []
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    async with connect(io) as client:
        before = client.id
        client.drop()
        assert not client.is_connected
        await client.connected
        assert client.id not in (None, before)
        assert reasons == ["transport close"]
        assert await client.call("echo") == []
    assert reasons == ["transport close", "client namespace disconnect"]


async def test_recovery(io: madang.Server):
    """A client that was offline gets what it has missed, and keeps its id and rooms."""
    io = madang.Server(connection_state_recovery=True)
    io.on("connection", lambda socket: socket.join("room"))
    async with connect(io) as client:
        before = client.id
        io.to("room").emit("news", 1)
        assert await client.receive("news") == 1
        with client.offline():
            io.to("room").emit("news", 2)
            failed = await client.wait_for("connect_error")
            assert failed.description == "the network is down"
        await client.connected
        assert (client.recovered, client.id) == (True, before)
        assert await client.receive("news") == 2


async def test_a_failing_handler_fails_the_test(io: madang.Server):
    """The end of the block raises, from what the handler has raised, though the test did not look."""
    with pytest.raises(madang.HandlerFailed, match="'fail' has raised ValueError") as failed:
        async with connect(io) as client:
            client.emit("fail")
    assert isinstance(failed.value.__cause__, ValueError)
    assert failed.value.errors == [failed.value.__cause__]


async def test_failures_that_are_wanted(io: madang.Server):
    """What is taken out of `failures` is dealt with; collected ones do not fail the test."""
    async with connect(io) as client, connect(io) as other:
        assert (await client.call("fail"))["error"]["code"] == "internal_error"
        ((error, socket, event),) = other.failures
        assert (str(error), socket.id, event) == ("as asked", client.id, "fail")
        client.failures.clear()
    async with connect(io, failures="collect") as client:
        client.emit("fail")
    assert len(client.failures) == 1


async def test_a_failing_handler_beside_a_failing_test(io: madang.Server):
    """The test's own exception stays what it is, and a note tells what the handler has raised."""

    async def test() -> None:
        async with connect(io) as client:
            client.emit("fail")
            await client.settled()
            raise AssertionError("not me")

    with pytest.raises(AssertionError, match="not me") as failed:
        await test()
    assert "ValueError: as asked" in failed.value.__notes__[0]


async def test_failures_at_the_end_and_at_the_client(io: madang.Server):
    """Handlers of `disconnect` count, and the client's own; one that waits for a client that leaves does not."""

    @io.on("disconnect")
    async def gone(socket: madang.Socket):
        raise KeyError("at the end")

    @io.on("ask me")
    async def ask(socket: madang.Socket):
        await socket.emit_with_ack("question")

    async def test() -> None:
        async with connect(io) as client:
            client.on("said", lambda text: 1 / 0)
            client.on("question", lambda ack: None)
            client.emit("ask me")
            io.emit("said", "x")
            await client.receive("question")

    with pytest.raises(madang.HandlerFailed) as failed:
        await test()
    assert [type(error) for error in failed.value.errors] == [ZeroDivisionError, KeyError]


async def test_an_answer_of_error_is_no_failure(io: madang.Server):
    """EventError and wrong arguments are answers."""

    @io.on("add")
    def add(socket: madang.Socket, a: int):
        raise madang.EventError("not today", code="later")

    async with connect(io) as client:
        assert (await client.call("add", 1))["error"]["code"] == "later"
        assert (await client.call("add", "x"))["error"]["code"] == "invalid_arguments"


async def test_settled_waits_for_handlers(io: madang.Server):
    """Handlers that wait are waited for; those that take too long are named."""
    done: list[int] = []
    go_on = asyncio.Event()

    @io.on("slow")
    async def slow(socket: madang.Socket, number: int):
        await asyncio.to_thread(lambda: None)
        done.append(number)

    @io.on("endless")
    async def endless(socket: madang.Socket):
        await go_on.wait()

    async with connect(io) as client:
        for number in range(3):
            client.emit("slow", number)
        await client.settled()
        assert done == [0, 1, 2]
        client.emit("endless")
        with pytest.raises(madang.WaitTimeout, match=r"after 0.01 seconds: handlers still run: .*endless"):
            await client.settled(timeout=0.01)
        go_on.set()


async def test_talk_without_end(io: madang.Server):
    """Two sides that answer each other for ever are never settled, and the block ends all the same."""
    io.on("again", lambda socket: socket.emit("again"))
    async with connect(io) as client:
        client.on("again", lambda: client.emit("again"))
        client.emit("again")
        with pytest.raises(madang.WaitTimeout, match="messages still come and go"):
            await client.settled(timeout=0.05)


async def test_limits_are_those_of_production(io: madang.Server):
    """A message that is larger than the server takes ends the connection; one the server has told of is not sent."""
    small = madang.Server(max_http_buffer_size=1000)
    async with connect(small) as client:
        with pytest.raises(madang.PayloadTooLarge):
            client.emit("x", "y" * 2000)
    async with connect(io, max_http_buffer_size=1000) as client:
        io.emit("x", "y" * 2000)
        assert await client.wait_for("disconnect") is not None


async def test_a_client_that_does_not_read(io: madang.Server):
    """A server that sends more than the client takes has to wait, and its bound on what waits holds."""
    io = madang.Server(outbound_limit=100_000)
    go_on = asyncio.Event()
    async with connect(io) as client:

        @client.on("news")
        async def news(text: str):
            await go_on.wait()

        for _ in range(3000):
            io.emit("news", "x" * 1000)
            await asyncio.sleep(0)
            if not io.sockets:
                break
        assert not io.sockets
        go_on.set()
        await client.connected


async def test_in_an_application(io: madang.Server):
    """Mounted in an ASGI application the handshake goes through that; what it raises is told."""
    app = Starlette(routes=[Mount("/ws", app=io)])
    async with connect(io, app=app, path="/ws/socket.io/") as client:
        assert await client.call("echo", 1) == [1]

    async def broken(scope: Any, receive: Any, send: Any):
        raise RuntimeError("broken")

    with pytest.raises(madang.ConnectionFailed, match="500") as failed:
        await connect(io, app=broken)
    assert "RuntimeError: broken" in failed.value.__notes__[0]


async def test_nothing_is_left(io: madang.Server, leaks: Leaks):
    """Sessions, sockets, tasks and timers are gone after the block, also of a connection that was cut silently."""
    async with leaks(madang.Session, madang.Socket, madang.testing.MemoryClient):
        async with connect(io) as client, connect(io, "/") as other:
            client.drop(silently=True)
            await other.call("echo")
        del client, other
    assert not io.serving


async def test_a_server_that_listens_as_well(io: madang.Server):
    """It stays up when the last client in memory leaves."""
    running = await io.start(port=0)
    try:
        async with connect(io) as client, madang.connect(running.url, transports=["websocket"]) as outside:
            outside.emit("say", "hello")
            assert await client.receive("said") == "hello"
            await client.close()
            assert await outside.emit_with_ack("echo", 1) == [1]
    finally:
        await running.stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transports": ["polling"]}, "transports cannot be chosen in memory"),
        ({"failures": "ignore"}, 'must be "raise" or "collect"'),
        ({"headers": {"a b": "c"}}, "no name of a header"),
        ({"acktimeout": 1}, "acktimeout"),
    ],
)
async def test_wrong_options(io: madang.Server, options: dict[str, Any], message: str):
    """Each is refused where it is given, and the message names it."""
    with pytest.raises(madang.OptionError, match=re.escape(message)):
        connect(io, **options)


def test_no_loop(io: madang.Server):
    """Outside of a coroutine it is said where a client is made."""
    with pytest.raises(madang.UsageError, match="async def"):
        connect(io)


async def test_no_server():
    """An application alone is not enough, and the message says how it is given."""
    with pytest.raises(madang.OptionError, match="app="):
        connect(Starlette())  # type: ignore[arg-type]
