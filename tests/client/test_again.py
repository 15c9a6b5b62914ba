"""Beginning anew in handlers, while something ends, and more than once: one connection at most, and none forgotten."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

import madang
from madang.testing import clock, connect
from tests.client.tools import BOTH, POLLING, QUICK, SOON, WEBSOCKET, Heard, echo_server, gated, page, until
from tests.hosts import listening

SLOW_BACK: Final[dict[str, Any]] = {"reconnection_delay": 2, "reconnection_delay_max": 2}


def client_of(url: str, **options: Any) -> madang.Client:
    return madang.Client(url, **(QUICK | {"transports": WEBSOCKET, "timeout": SOON} | options))


def cut(io: madang.Server) -> None:
    """Drop all connections, as a network does."""
    for session in tuple(io.engine.sessions.values()):
        session.close()


@pytest.mark.parametrize("wait", [False, True])
async def test_connect_when_the_connection_is_lost(wait: bool):
    """A handler of ``disconnect`` may call `connect`, or await it: there is one new connection, and not another one."""
    io = echo_server()
    joined = Heard()
    io.on("connection", lambda socket: joined(socket.id))
    with clock() as now:
        async with connect(io, **SLOW_BACK) as client:
            back = Heard()

            @client.on("disconnect")
            async def gone(reason: str) -> None:
                assert client.active
                if wait:
                    await client.connected
                else:
                    await client.connect()
                back(client.id)

            for round_ in range(1, 4):
                cut(io)
                await back.count(round_)
                await now.advance(60)  # a second attempt would have come long ago
                assert io.engine.clients_count == 1
                assert len(joined.all) == round_ + 1
            client.off("disconnect")
        assert io.engine.clients_count == 0


async def test_leave_and_come_back_when_the_connection_is_lost():
    """Leaving and coming back in the handler of ``disconnect`` is one new connection as well."""
    io = echo_server()
    with clock() as now:
        async with connect(io, **SLOW_BACK) as client:
            left = Heard()

            @client.once("disconnect")
            def gone(reason: str) -> None:
                client.disconnect()
                client.connect()
                left(reason)

            cut(io)
            await left.count(1)
            await client.connected
            assert await client.call("ask", 1) == 1
            await now.advance(60)
            assert io.engine.clients_count == 1


async def test_the_state_while_it_is_told():
    """When handlers hear of a loss that will be mended, the manager waits already; when they hear of the end, not."""
    io = echo_server()
    async with listening(io) as url, asyncio.timeout(SOON):
        states = Heard()
        client = client_of(url)
        client.on("disconnect", lambda reason: states(client.manager.state, client.active))
        await client.connected
        cut(io)
        await states.count(1)
        await client.connected
        client.disconnect()
        assert states.all == [("waiting", True), ("open", False)]
        await client.close()


async def test_connect_when_an_attempt_has_failed():
    """A handler of ``connect_error`` that calls `connect` each time neither hurries the next attempt nor adds one."""
    async with gated() as gate, asyncio.timeout(SOON):
        failing = True
        gate.decide = lambda asked: page(503) if failing else None
        client = client_of(gate.url, transports=POLLING, reconnection_delay=0.05, reconnection_delay_max=0.05)
        errors = Heard()

        @client.on("connect_error")
        def failed(error: Exception) -> None:
            client.connect()
            errors(type(error))

        begun = asyncio.get_running_loop().time()
        await errors.count(4)
        assert asyncio.get_running_loop().time() - begun >= 0.14
        assert len(gate.asked) == 4
        failing = False
        await until(lambda: client.is_connected)
        assert len([asked for asked in gate.asked if "sid" not in asked.query]) == 5
        await client.close()


async def test_connect_when_it_was_given_up():
    """A listener of ``reconnect_failed`` may call `connect`, which begins a new series of attempts."""
    async with gated() as gate, asyncio.timeout(SOON):
        gate.decide = lambda asked: page(503)
        client = client_of(gate.url, transports=POLLING, reconnection_attempts=2)
        rounds = Heard()

        @client.manager.on("reconnect_failed")
        def over() -> None:
            rounds(len(gate.asked))
            if len(rounds.all) == 3:
                gate.decide = lambda asked: None
            client.connect()

        await until(lambda: client.is_connected)
        assert rounds.all == [(3,), (6,), (9,)]
        assert await client.emit_with_ack("ask", 1) == 1
        await client.close()


async def test_a_final_refusal_answered_with_connect():
    """After a terminal refusal a handler that knows better may connect at once; nothing else is told of an end."""
    async with gated() as gate, asyncio.timeout(SOON):
        gate.decide = lambda asked: page(401)
        client = client_of(gate.url, transports=POLLING)
        failed = Heard()
        client.manager.on("reconnect_failed", lambda: failed("reconnect_failed"))

        @client.on("connect_error")
        def refused(error: madang.ConnectionFailed) -> None:
            failed(error.status)
            gate.decide = lambda asked: None
            client.connect()

        await client.connected
        assert failed.all == [(401,)]
        await client.close()


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_connect_while_the_goodbye_is_said(turns: int):
    """Leaving and coming back, at whatever moment of an upgrade, ends in a connection that works."""
    io = echo_server()
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url, transports=BOTH)
        await client.connected
        for _ in range(turns):
            await asyncio.sleep(0)
        client.disconnect()
        await client.connect()
        assert await client.emit_with_ack("ask", 1) == 1
        await client.close()
        await until(lambda: io.engine.clients_count == 0)


async def test_a_namespace_that_is_left_before_it_is_joined():
    """Who leaves a namespace before the server has let it in is not kept there, and may come back at any time."""
    io = echo_server()
    chat = io.of("/chat")
    let_in = asyncio.Event()
    chat.use(lambda socket: let_in.wait())
    chat.on("ask", lambda socket, *args: args)
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        session = client.manager.engine
        space = client.of("/chat")
        await client.emit_with_ack("ask")  # the server has the CONNECT now
        space.disconnect()
        let_in.set()
        await until(lambda: not space._unwanted)
        await client.emit_with_ack("ask")
        assert len(chat.sockets) == 0

        let_in.clear()
        space.connect()
        await client.emit_with_ack("ask")
        space.disconnect()
        space.connect()
        space.disconnect()
        space.connect()
        let_in.set()
        await space.connected
        assert await space.emit_with_ack("ask", 2) == 2
        assert len(chat.sockets) == 1
        assert client.manager.engine is session
        await client.close()


async def test_the_connection_is_closed_in_listeners_of_the_manager():
    """Whatever a listener of the manager does, closing in it ends everything, and nothing more is tried."""
    for event in ("open", "error", "close", "reconnect_attempt", "reconnect", "reconnect_error"):
        async with gated() as gate, asyncio.timeout(SOON):
            client = client_of(gate.url, transports=POLLING)
            done = Heard()

            def leave(*_: Any, client: madang.Client = client, done: Heard = done) -> None:
                client.disconnect()
                done()

            if event in ("error", "reconnect_attempt", "reconnect", "reconnect_error"):
                answers = iter([page(503)] * (3 if event != "reconnect" else 1))
                gate.decide = lambda asked, answers=answers: next(answers, None)
            client.manager.on(event, leave)
            if event == "close":
                await client.connected
                client.manager.engine.fail("transport error", None)  # type: ignore[union-attr]
            await done.count(1)
            await asyncio.sleep(0.05)
            assert (client.manager.state, client.active, client.manager.engine) == ("closed", False, None), event
            await client.close()


async def test_an_error_in_every_handler():
    """Exceptions in handlers of a client's life, and in listeners of its manager, change nothing in its course."""
    io = echo_server()
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        told = Heard()
        client.on_error(lambda error, socket, event: told(event))

        def failing(*_: Any) -> None:
            raise ValueError("no")

        for event in ("connect", "disconnect"):
            client.on(event, failing)
        for event in ("open", "close", "reconnect_attempt", "reconnect"):
            client.manager.on(event, failing)
        await client.connected
        cut(io)
        await told.count(3)
        assert await client.emit_with_ack("ask", 1) == 1
        assert told.all == [("connect",), ("disconnect",), ("connect",)]
        await client.close()


async def test_auth_is_checked_when_it_is_changed():
    """What cannot be an `auth` is refused where it is set, not where it would be sent."""
    client = madang.Client("http://localhost:1", auto_connect=False)
    for wrong in ("token", 1, ["a"]):
        with pytest.raises(madang.OptionError):
            client.auth = wrong  # type: ignore[assignment]
    client.auth = {"token": 1}
    assert client.auth == {"token": 1}


async def test_auth_that_hangs():
    """An auth function that never ends is given up after `timeout`, and asked again; closing does not wait for it."""
    asked = 0

    async def auth() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return {}

    async with listening(echo_server()) as url, asyncio.timeout(SOON):
        client = client_of(url, auth=auth, timeout=0.1, auto_connect=False)
        client._auth_backoff.first = 0.01
        errors = Heard()
        client.on("connect_error", lambda error: errors(error.message))
        client.on_error(lambda error: None)
        client.connect()
        await until(lambda: client.is_connected)
        assert errors.all == [("auth error",)]
        assert asked == 2
        await client.close()


async def test_who_waits_after_the_end_learns_of_it():
    """After the end of a client, awaiting it, a new stream and `wait` say at once that nothing is to be expected."""
    io = echo_server()
    io.on("leave", lambda socket: socket.disconnect())
    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        client.emit("leave")
        assert await client.wait() == "io server disconnect"
        assert await client.wait() == "io server disconnect"
        with pytest.raises(madang.SocketClosed):
            await client.connected
        stream = client.events()
        assert [event async for event in stream] == []
        await client.connect()
        client.emit("say", 1)
        assert (await stream.receive()).data == 1
        await client.close()


async def test_a_client_leaves_only_what_it_has_joined():
    """Closing a client leaves the namespaces of the others that share its connection alone."""
    io = echo_server()
    chat = io.of("/chat")
    chat.on("ask", lambda socket, *args: args)
    options = {"force_new": False}
    async with listening(io) as url, asyncio.timeout(SOON):
        first, second = client_of(url, **options), client_of(url + "/chat", **options)
        assert first.manager is second.manager
        assert first.of("/chat") is second
        await first.connected
        await second.connected
        await first.close()
        assert await second.emit_with_ack("ask", 1) == 1
        await second.close()
        assert second.manager.state == "closed"


async def test_asked_for_credentials_twice():
    """Who leaves and comes back while an auth function is still at work joins once."""
    io = echo_server()
    chat = io.of("/chat")
    joined = Heard()
    chat.on("connection", lambda socket: joined(socket.handshake.auth))
    chat.on("ask", lambda socket, *args: args)
    go = asyncio.Event()

    async def auth() -> dict[str, Any]:
        await go.wait()
        return {"token": 1}

    async with listening(io) as url, asyncio.timeout(SOON):
        client = client_of(url)
        await client.connected
        session = client.manager.engine
        space = client.of("/chat", auth=auth)
        for _ in range(3):
            space.disconnect()
            space.connect()
        go.set()
        await space.connected
        assert await space.emit_with_ack("ask", 1) == 1
        assert joined.all == [({"token": 1},)]
        assert client.manager.engine is session
        await client.close()


@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_connect_in_the_turn_in_which_the_last_connection_is_gone(way: list[str]):
    """The clearing away of the last connection takes nothing of the next one along, whenever that begins."""
    async with listening(echo_server()) as url, asyncio.timeout(SOON):
        client = client_of(url, transports=way)
        for turns in range(8):
            await client.connect()
            client.disconnect()
            while client.manager._dialer.live:
                await asyncio.sleep(0)
            for _ in range(turns // 2):
                await asyncio.sleep(0)
        await client.connect()
        assert await client.emit_with_ack("ask", 1) == 1
        await client.close()
