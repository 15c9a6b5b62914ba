"""Connecting again: when, how often, how long after, and what the connection tells of it in which order."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import madang
from madang.client.backoff import Backoff
from madang.client.reconnect import Manager
from madang.testing import clock, connect
from tests.client.tools import (
    BOTH,
    HANG,
    POLLING,
    QUICK,
    SOON,
    WEBSOCKET,
    Heard,
    echo_server,
    gated,
    joined,
    page,
    tcp,
    until,
)
from tests.hosts import listening

TOLD = ("open", "close", "error", "reconnect_attempt", "reconnect", "reconnect_error", "reconnect_failed")


def life(client: madang.Client) -> Heard:
    """What the connection and its client tell, in order: names, with the numbers of attempts."""
    heard = Heard()
    for event in TOLD:

        def told(*args: Any, event: str = event) -> None:
            heard(event, *(arg for arg in args if isinstance(arg, int)))

        client.manager.on(event, told)
    client.on("connect", lambda: heard("[connect]"))
    client.on("connect_error", lambda error: heard("[connect_error]"))
    client.on("disconnect", lambda reason, description: heard("[disconnect]"))
    return heard


def names(heard: Heard) -> list[str]:
    return [what[0] for what in heard.all]


def numbers(heard: Heard, event: str) -> list[int]:
    return [what[1] for what in heard.all if what[0] == event]


@pytest.fixture
def nowhere(free_port: int) -> str:
    """The URL of a server that is not there."""
    return f"http://127.0.0.1:{free_port}"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays before attempts, which are not really waited for."""
    delays: list[float] = []
    real = Backoff.next

    def instead(self: Backoff) -> float:
        delays.append(real(self))
        return 0.001

    monkeypatch.setattr(Backoff, "next", instead)
    return delays


# ----------------------------------------------------------------------------------------------------------- delays


@pytest.mark.feature("V35", "V36")
def test_delays_double():
    """Without a random share the delays double from the first to the longest, and begin anew after `reset`."""
    backoff = Backoff(1, 5, 0)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.attempts == 5
    backoff.reset()
    assert (backoff.next(), backoff.attempts) == (1, 1)


@pytest.mark.feature("V36")
@pytest.mark.parametrize(
    ("draw", "delays"),
    [
        (0.0, [1, 2, 4, 5]),  # nothing is taken away
        (0.1, [1.05, 2.1, 4.2, 5]),  # an odd first digit adds
        (0.2, [0.9, 1.8, 3.6, 5]),  # an even one takes away: 0.2 · 0.5 · 8 = 0.8 of 8, cut to 5
        (0.99, [1.495, 2.99, 5, 5]),
        (0.88, [0.56, 1.12, 2.24, 4.48]),
    ],
)
def test_the_random_share(draw: float, delays: list[float]):
    """The draw says how much of the share is taken, and its first digit whether it is added; the cut comes last."""
    backoff = Backoff(1, 5, 0.5, lambda: draw)
    assert [backoff.next() for _ in range(4)] == pytest.approx(delays)


@pytest.mark.feature("V36")
def test_very_many_attempts():
    """After a thousand failures the delay is still the longest one."""
    backoff = Backoff(1, 5, 0)
    assert {backoff.next() for _ in range(1200)} == {1, 2, 4, 5}


@pytest.mark.feature("V35", "V36", "V39")
async def test_the_options_are_the_delays(nowhere: str, patience: list[float]):
    """The delays of a client are those of its options, which may be changed while it tries."""
    client = madang.Client(
        nowhere,
        transports=POLLING,
        force_new=True,
        reconnection_delay=2,
        reconnection_delay_max=7,
        randomization_factor=0,
        reconnection_attempts=3,
    )
    manager = client.manager
    assert (manager.reconnection_delay, manager.reconnection_delay_max, manager.randomization_factor) == (2, 7, 0)
    heard = life(client)
    await until(lambda: "reconnect_failed" in names(heard))
    assert patience == [2, 4, 7]
    manager.reconnection_delay, manager.reconnection_delay_max = 1, 3
    client.connect()
    await until(lambda: names(heard).count("reconnect_failed") == 2)
    assert patience[3:] == [1, 2, 3]
    manager.randomization_factor = 0.5
    assert (manager.backoff.first, manager.backoff.longest, manager.backoff.jitter) == (1, 3, 0.5)
    await client.close()


# ------------------------------------------------------------------------------------------------------------- order


@pytest.mark.feature("V33", "V34", "V37", "V38")
async def test_given_up(nowhere: str):
    """After the last attempt `reconnect_failed` comes before that attempt's `reconnect_error`."""
    client = madang.Client(nowhere, transports=WEBSOCKET, reconnection_attempts=2, **QUICK)
    heard = life(client)
    with pytest.raises(madang.ConnectionFailed):
        await client.connected
    await until(lambda: names(heard).count("[connect_error]") == 3)
    assert [name for name in names(heard) if name[0] != "["] == [
        "error",
        *("reconnect_attempt", "error", "reconnect_error"),
        *("reconnect_attempt", "error", "reconnect_failed", "reconnect_error"),
    ]
    assert numbers(heard, "reconnect_attempt") == [1, 2]
    assert client.active
    assert client.manager.state == "closed"
    await client.close()


@pytest.mark.feature("V33", "V34", "V37", "V38")
async def test_success_after_failures():
    """The first failed attempt already starts the loop; its end is `open`, `reconnect`, and the client's `connect`."""
    async with gated() as gate:
        gate.decide = lambda asked: page(503) if len(gate.asked) <= 3 else None
        client = madang.Client(gate.url, transports=POLLING, **QUICK)
        heard = life(client)
        async with asyncio.timeout(SOON):
            await client.connected
        await until(lambda: "[connect]" in names(heard))
        assert [name for name in names(heard) if name != "[connect_error]"] == [
            "error",
            *("reconnect_attempt", "error", "reconnect_error"),
            *("reconnect_attempt", "error", "reconnect_error"),
            *("reconnect_attempt", "open", "reconnect", "[connect]"),
        ]
        assert (numbers(heard, "reconnect_attempt"), numbers(heard, "reconnect")) == ([1, 2, 3], [3])
        assert client.manager.backoff.attempts == 0
        await client.close()


@pytest.mark.feature("V37", "V38")
async def test_a_lost_connection(free_port: int):
    """A lost connection tells `close`, then attempts are counted from 1 until `open`, `reconnect` and `connect`."""
    async with listening(echo_server(), port=free_port) as url:
        client = madang.Client(url, transports=WEBSOCKET, **QUICK)
        heard = life(client)
        await client.connected
    await until(lambda: "reconnect_error" in names(heard))
    async with listening(echo_server(), port=free_port), asyncio.timeout(SOON):
        await client.connected
        await until(lambda: names(heard)[-1] == "[connect]")
        await client.close()
    told = [name for name in names(heard) if name not in ("[connect_error]", "reconnect_error", "error")]
    tries = numbers(heard, "reconnect_attempt")
    assert told[: told.index("reconnect_attempt")] == ["open", "[connect]", "close", "[disconnect]"]
    assert tries == list(range(1, len(tries) + 1))
    assert told[4 : 4 + len(tries) + 3] == ["reconnect_attempt"] * len(tries) + ["open", "reconnect", "[connect]"]
    assert numbers(heard, "reconnect") == [len(tries)]


@pytest.mark.feature("V37")
async def test_pings_and_packets():
    """The connection tells of the server's pings, and of each packet that comes."""
    async with listening(echo_server(ping_interval=0.05)) as url, joined(url, transports=WEBSOCKET) as client:
        pings, packets = Heard(), Heard()
        client.manager.on("ping", pings)
        client.manager.on("packet", packets)
        await client.emit_with_ack("ask", 1, timeout=SOON)
        client.emit("say", "x")
        assert (await pings.count(2))[0] == ()
        kinds = [(packet.type, packet.namespace) for (packet,) in await packets.count(2)]
        assert kinds[:2] == [(3, "/"), (2, "/")]


# --------------------------------------------------------------------------------------------------- how often, or not


@pytest.mark.feature("V33")
async def test_no_reconnection(nowhere: str):
    """Without `reconnection` the first failure is the end, until `connect` is called again."""
    client = madang.Client(nowhere, transports=POLLING, reconnection=False, **QUICK)
    heard = life(client)
    with pytest.raises(madang.ConnectionFailed) as caught:
        await client.connected
    assert (caught.value.transport, caught.value.retryable) == ("polling", True)
    await heard.count(2)
    assert sorted(names(heard)) == ["[connect_error]", "error"]
    with pytest.raises(madang.ConnectionFailed):
        await client.connect()
    assert names(heard).count("error") == 2
    await client.close()


@pytest.mark.feature("V34")
async def test_no_attempts(nowhere: str):
    """With no attempts allowed `reconnect_failed` follows the first failure."""
    client = madang.Client(nowhere, transports=POLLING, reconnection_attempts=0, **QUICK)
    heard = life(client)
    with pytest.raises(madang.ConnectionFailed):
        await client.connected
    assert [name for name in names(heard) if name[0] != "["] == ["error", "reconnect_failed"]
    await client.close()


@pytest.mark.feature("V34")
async def test_another_namespace_while_it_tries(nowhere: str):
    """A namespace that is added while the connection is tried again joins those that wait, and adds no attempt."""
    client = madang.Client(nowhere, transports=POLLING, reconnection_attempts=3, **QUICK)
    heard, late = life(client), Heard()

    def attempt(number: int) -> None:
        if number == 2:
            client.of("/late").on("connect_error", lambda error: late(str(error)))

    client.manager.on("reconnect_attempt", attempt)
    with pytest.raises(madang.ConnectionFailed):
        await client.connected
    assert numbers(heard, "reconnect_attempt") == [1, 2, 3]
    assert names(heard).count("reconnect_failed") == 1
    assert len(late.all) == 2
    await client.close()


@pytest.mark.feature("V33", "V39")
async def test_reconnection_is_turned_off_while_it_tries(nowhere: str):
    """`manager.reconnection` may be turned off between attempts; the one that comes is the last."""
    client = madang.Client(nowhere, transports=POLLING, **QUICK)
    heard = life(client)
    client.manager.on("reconnect_attempt", lambda attempt: setattr(client.manager, "reconnection", attempt < 3))
    with pytest.raises(madang.ConnectionFailed):
        await client.connected
    assert numbers(heard, "reconnect_attempt") == [1, 2, 3]
    await client.close()


@pytest.mark.feature("V33")
@pytest.mark.parametrize("when", ["waiting", "opening"])
async def test_after_a_disconnect_the_loop_begins_anew(when: str):
    """Who disconnects while it tries ends that; `connect` begins again with the first attempt and keeps trying."""
    async with gated() as gate:
        gate.decide = lambda asked: HANG if when == "opening" and len(gate.asked) == 3 else page(503)
        client = madang.Client(gate.url, transports=POLLING, **QUICK)
        heard = life(client)
        if when == "waiting":
            client.manager.on("reconnect_error", lambda error: client.disconnect())
            await until(lambda: not client.active)
        else:
            await until(lambda: len(gate.asked) == 3)
            assert client.manager.state == "opening"
            client.disconnect()
        tried = len(gate.asked)
        assert (client.active, client.manager.state) == (False, "closed")
        await asyncio.sleep(0.05)
        assert len(gate.asked) <= tried + 1
        del heard.all[:]
        gate.decide = lambda asked: page(503)
        if when == "waiting":
            assert client.manager._listeners is not None
            client.manager._listeners["reconnect_error"].pop()
        client.connect()
        await until(lambda: len(numbers(heard, "reconnect_attempt")) >= 2)
        assert numbers(heard, "reconnect_attempt")[:2] == [1, 2]
        gate.decide = lambda asked: None
        async with asyncio.timeout(SOON):
            await client.connected
        await client.close()


@pytest.mark.feature("V33")
async def test_after_a_terminal_refusal_the_loop_begins_anew():
    """After a refusal that ended a loop, `connect` tries anew, again and again."""
    answers = [page(503), page(503), page(401), page(503), page(503), None]
    async with gated() as gate:
        gate.decide = lambda asked: answers.pop(0) if answers else None
        client = madang.Client(gate.url, transports=POLLING, **QUICK)
        with pytest.raises(madang.ConnectionFailed):
            await client.connected
        assert not client.active
        async with asyncio.timeout(SOON):
            await client.connect()
        await client.close()


@pytest.mark.feature("V39")
async def test_open_with_a_callback(nowhere: str):
    """`manager.open` with a callback tells it of the end, and then a first failure does not start the loop."""
    manager = madang.Client(nowhere, transports=POLLING, auto_connect=False, **QUICK).manager
    heard, ends = Heard(), Heard()
    manager.on("reconnect_attempt", heard)
    manager.open(ends)
    ((error,),) = await ends.count(1)
    assert isinstance(error, madang.ConnectionFailed)
    await asyncio.sleep(0.05)
    assert (heard.all, manager.state) == ([], "closed")
    await manager.close()
    async with listening(echo_server()) as url:
        manager = madang.Client(url, auto_connect=False, **QUICK).manager
        manager.open(ends)
        assert (await ends.count(2))[1] == (None,)
        assert manager.state == "open"
        manager.open(ends)
        assert manager.state == "open"
        await manager.close()


@pytest.mark.feature("V40")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_the_last_namespace_closes_the_connection(way: list[str]):
    """The connection stays while a namespace is active, and closes with the last one, as a forced close."""
    io = echo_server()
    io.of("/chat")
    async with listening(io) as url, joined(url, transports=way) as client:
        chat = client.of("/chat")
        await chat.connected
        ends = Heard()
        client.manager.on("close", ends)
        client.disconnect()
        assert client.manager.state == "open"
        chat.disconnect()
        assert await ends.count(1) == [("forced close", None)]
        assert client.manager.state == "closed"
        await until(lambda: io.engine.clients_count == 0)


# ------------------------------------------------------------------------------------------- what is tried again


TERMINAL = {
    "401": (page(401), 401),
    "403": (page(403), 403),
    "code 4": (page(400, b'{"code":4,"message":"Forbidden"}'), 400),
    "code 5": (page(400, b'{"code":5,"message":"Unsupported protocol version"}'), 400),
    "a text": (page(400, b"Unsupported protocol version"), 400),
}


@pytest.mark.feature("V33")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
@pytest.mark.parametrize("kind", TERMINAL)
async def test_terminal_refusals(kind: str, way: list[str]):
    """Who is told that it is not wanted does not come again."""
    answer, status = TERMINAL[kind]
    async with gated() as gate:
        gate.decide = lambda asked: answer
        client = madang.Client(gate.url, transports=way, **QUICK)
        heard = life(client)
        with pytest.raises(madang.ConnectionFailed) as caught:
            await client.connected
        assert (caught.value.retryable, caught.value.status) == (False, status)
        assert (caught.value.transport, str(caught.value).split(":")[0]) == (way[0], f"{way[0]} error")
        assert not client.active
        await asyncio.sleep(0.05)
        assert len(gate.asked) == 1
        assert names(heard).count("reconnect_attempt") == 0
        await client.close()


@pytest.mark.feature("V33")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503, 504])
async def test_passing_refusals(status: int, way: list[str]):
    """A server or proxy that cannot answer just now is asked again; its page is told of, not all of it."""
    body = b"<html><body><h1>Bad Gateway</h1>" + b"x" * 5000
    async with gated() as gate:
        gate.decide = lambda asked: page(status, body, ("content-type", "text/html")) if len(gate.asked) < 3 else None
        client = madang.Client(gate.url, transports=way, **QUICK)
        errors = Heard()
        client.on("connect_error", errors)
        async with asyncio.timeout(SOON):
            await client.connected
        for (error,) in await errors.count(2):
            assert (error.status, error.retryable, error.transport) == (status, True, way[0])
            assert f"the server answered {status}: <html><body><h1>Bad Gateway" in str(error)
            assert len(str(error)) < 400
        await client.close()


@pytest.mark.feature("V33")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_a_redirect(way: list[str]):
    """A redirect is not followed: the error says that there was one, and where to."""
    async with gated() as gate:
        gate.decide = lambda asked: page(302, b"", ("location", "http://elsewhere.example/login"))
        client = madang.Client(gate.url, transports=way, reconnection=False, **QUICK)
        with pytest.raises(madang.ConnectionFailed) as caught:
            await client.connected
        assert caught.value.status == 302
        assert "http://elsewhere.example/login" in str(caught.value)
        await client.close()


@pytest.mark.feature("V33")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_a_page_where_a_handshake_was_due(way: list[str]):
    """A page with the status 200 is no handshake; it is told of as such, and the client tries again."""
    async with gated() as gate:
        gate.decide = lambda asked: page(200, b"<html>hello</html>") if len(gate.asked) < 2 else None
        client = madang.Client(gate.url, transports=way, **QUICK)
        errors = Heard()
        client.on("connect_error", errors)
        async with asyncio.timeout(SOON):
            await client.connected
        ((error,),) = await errors.count(1)
        assert isinstance(error, madang.ConnectionFailed)
        await client.close()


@pytest.mark.feature("V33")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
@pytest.mark.parametrize("mood", ["reset", "closed", "garbage"])
async def test_a_server_that_does_not_speak(mood: str, way: list[str]):
    """A connection that is reset or closed, or brings something that is not HTTP, is an error, and tried again."""
    calls = Heard()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls()
        await reader.readuntil(b"\r\n\r\n")
        if mood == "reset":
            writer.transport.abort()
        elif mood == "garbage":
            writer.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
            await writer.drain()
            writer.close()
        else:
            writer.close()

    async with tcp(talk) as port:
        client = madang.Client(f"http://127.0.0.1:{port}", transports=way, **QUICK)
        errors = Heard()
        client.on("connect_error", errors)
        for (error,) in await errors.count(2):
            assert isinstance(error, madang.ConnectionFailed)
            assert (error.retryable, error.transport) == (True, way[0])
            assert error.description
        assert client.active
        await client.close()


@pytest.mark.feature("V32")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_timeout(way: list[str]):
    """An attempt that takes longer than `timeout` has failed with the text "timeout", and another follows."""
    async with gated() as gate:
        gate.decide = lambda asked: HANG if len(gate.asked) < 3 else None
        client = madang.Client(gate.url, transports=way, timeout=0.1, **QUICK)
        errors, told = Heard(), life(client)
        client.manager.on("error", errors)
        begun = time.monotonic()
        ((error,),) = await errors.count(1)
        assert 0.09 < time.monotonic() - begun < 2
        assert (error.message, error.retryable) == ("timeout", True)
        assert "timeout" in str(error)
        await until(lambda: "[connect]" in names(told))
        assert names(told).count("error") == 2
        await client.close()


@pytest.mark.feature("V32")
async def test_the_wait_for_a_namespace_has_a_timeout():
    """Who waits for a namespace that the server never answers for waits for `timeout`; the rest goes on."""
    io = echo_server()
    io.of("/slow").use(lambda socket: asyncio.Event().wait())
    with clock() as now:
        async with connect(io) as client:
            with pytest.raises(madang.ConnectionFailed, match="timeout"):
                await client.of("/slow").connected
            assert now.time() == pytest.approx(20)
            assert await client.call("ask", 1) == 1


@pytest.mark.feature("V24")
async def test_request_timeout():
    """A request of polling that takes longer than `request_timeout` ends the attempt, or the session."""
    async with gated() as gate:
        gate.decide = lambda asked: HANG if len(gate.asked) == 1 else None
        client = madang.Client(gate.url, transports=POLLING, request_timeout=0.1, reconnection=False, **QUICK)
        with pytest.raises(madang.ConnectionFailed, match=r"polling error: no answer within 0\.1 seconds"):
            await client.connected
        ends = Heard()
        client.on("disconnect", lambda reason, description: ends(reason, str(description)))
        await client.connect()
        assert await ends.count(1) == [("transport error", "polling error: no answer within 0.1 seconds")]
        await client.close()


@pytest.mark.feature("V41")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_a_silent_server(way: list[str]):
    """A server whose pings stay away is given up after interval and timeout, and looked for again."""
    async with gated(echo_server(ping_interval=60, ping_timeout=60)) as gate:
        client = madang.Client(gate.url, transports=way, **QUICK)
        ends = Heard()
        client.on("disconnect", lambda reason, description: ends(reason))
        await client.connected
        engine = client.manager.engine
        assert engine is not None
        first = client.id
        engine.ping_interval = engine.ping_timeout = 0.02
        engine._alive()
        engine._timer.cancel()
        engine._arm()
        assert await ends.count(1) == [("ping timeout",)]
        async with asyncio.timeout(SOON):
            await client.connected
        assert client.id != first
        await client.close()


@pytest.mark.feature("V41")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_an_emit_after_the_machine_slept(way: list[str]):
    """After a sleep an emit does not go into the dead connection: it waits for the next one, and arrives there."""
    io = echo_server()
    said = Heard()
    io.on("note", lambda socket, word: said(socket.id, word))
    async with listening(io) as url, joined(url, transports=way) as client:
        slept = 0.0
        manager, real = client.manager, client.manager.clock.time
        manager.clock.time = lambda: real() + slept
        ends = Heard()
        client.on("disconnect", lambda reason, description: ends(reason))
        slept = 46.0
        assert client.is_connected
        old = client.id
        client.emit("note", "after the sleep")
        assert client.volatile.emit("note", "never") is None
        assert ends.all == []
        assert await ends.count(1) == [("ping timeout",)]
        ((who, word),) = await said.count(1)
        assert (who != old, word) == (True, "after the sleep")
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        assert len(said.all) == 1


async def test_many_connections_of_a_server_that_refuses(nowhere: str):
    """Attempts leave nothing behind."""
    client = madang.Client(nowhere, transports=BOTH, reconnection_attempts=20, **(QUICK | {"reconnection_delay": 1e-4}))
    with pytest.raises(madang.ConnectionFailed):
        await client.connected
    dialer: Any = client.manager._dialer
    await client.close()
    assert not dialer.live
    assert dialer.http is None
    assert isinstance(client.manager, Manager)
