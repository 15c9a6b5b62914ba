"""The transports against a server: what is tried, upgrades that fail, payloads, and what the server says of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

import madang
from tests.client.tools import (
    BOTH,
    HANG,
    POLLING,
    QUICK,
    SOON,
    WAYS,
    WEBSOCKET,
    Gate,
    Heard,
    echo_server,
    gated,
    joined,
    page,
    transport_of,
    until,
)
from tests.hosts import listening


@asynccontextmanager
async def refusing(transport: str, answer: Any) -> AsyncIterator[Gate]:
    """A server whose one transport does not get through to it."""
    async with gated() as gate:
        gate.decide = lambda asked: answer if asked.transport == transport else None
        yield gate


@pytest.mark.feature("V10")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING, BOTH, BOTH[::-1]])
async def test_order(way: list[str]):
    """The first transport is the one that is begun with, and no other is touched if there is no upgrade."""
    async with gated() as gate, joined(gate.url, transports=way, upgrade=False) as client:
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        assert {one.transport for one in gate.asked} == {way[0]}
        assert transport_of(client) == way[0]


@pytest.mark.feature("V10", "V13")
@pytest.mark.parametrize("way", [BOTH, BOTH[::-1]])
async def test_the_next_transport(way: list[str]):
    """If the first transport fails, the second is tried in the same attempt, but only with `try_all_transports`."""
    async with refusing(way[0], page(502)) as gate:
        client = madang.Client(gate.url, transports=way, reconnection=False, **QUICK)
        with pytest.raises(madang.ConnectionFailed, match="502"):
            await client.connected
        await client.close()
        assert {one.transport for one in gate.asked} == {way[0]}
        errors = Heard()
        client = madang.Client(gate.url, transports=way, try_all_transports=True, **QUICK)
        client.on("connect_error", errors)
        async with asyncio.timeout(SOON):
            await client.connected
        assert (transport_of(client), errors.all) == (way[1], [])
        await client.close()


@pytest.mark.feature("V12")
@pytest.mark.parametrize("answer", [page(502, b"<html>no WebSocket here"), page(400), page(200, b"hello"), HANG])
async def test_a_proxy_that_knows_no_websocket(answer: Any):
    """If the WebSocket is refused, or never answered, polling goes on and loses nothing."""
    io = echo_server()
    async with gated(io) as gate:
        gate.decide = lambda asked: answer if asked.transport == "websocket" else None
        errors = Heard()
        client = madang.Client(gate.url, **QUICK)
        client.manager.on("open", lambda: client.manager.engine.on("upgrade_error", errors))  # type: ignore[union-attr]
        async with asyncio.timeout(SOON), client:
            answers = [client.emit_with_ack("ask", number, timeout=SOON) for number in range(100)]
            await until(lambda: gate.of("websocket"))
            assert await asyncio.gather(*answers) == list(range(100))
            if answer is not HANG:
                ((error,),) = await errors.count(1)
                assert isinstance(error, madang.ConnectionFailed)
            assert await client.emit_with_ack("ask", b"after", timeout=SOON) == b"after"
            assert transport_of(client) == "polling"


@pytest.mark.feature("V12")
async def test_nothing_is_lost_or_doubled_in_an_upgrade():
    """Events sent and received before, during and after an upgrade arrive once and in order, both ways."""
    io = echo_server()
    heard = Heard()
    io.on("note", lambda socket, number: heard(number))
    async with listening(io) as url, joined(url, upgrade=True, transports=[*BOTH, "polling"]) as client:
        events = client.events("said")
        number = 0
        while transport_of(client) == "polling" or number < 200:
            client.emit("note", number)
            client.emit("say", number, b"x" * (number % 3))
            number += 1
            await asyncio.sleep(0)
        assert [args[0] for args in await heard.count(number)] == list(range(number))
        assert [(await events.receive(SOON)).args[0] for _ in range(number)] == list(range(number))
        assert transport_of(client) == "websocket"


@pytest.mark.feature("V14")
async def test_remember_upgrade():
    """After an upgrade the next client begins with WebSocket if it is to remember that."""
    async with gated() as gate:
        async with joined(gate.url, remember_upgrade=True):
            pass
        for remember, first in ((True, "websocket"), (False, "polling")):
            del gate.asked[:]
            async with joined(gate.url, remember_upgrade=remember):
                pass
            assert gate.asked[0].transport == first


# ----------------------------------------------------------------------------------------------------------- payloads


@pytest.mark.feature("V28")
async def test_batches():
    """Packets that wait go together in one request, as many as `maxPayload` allows, base64 counted."""
    io = echo_server(max_http_buffer_size=1000)
    async with gated(io) as gate, joined(gate.url, transports=POLLING) as client:
        del gate.asked[:]
        for _ in range(10):
            client.emit("note", "x" * 300)
            client.emit("note", bytes(300))
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        bodies = [one.body for one in gate.of("polling", "POST")]
        assert all(len(body) <= 1000 for body in bodies)
        packets = b"\x1e".join(bodies).split(b"\x1e")
        assert [packet[:2] for packet in packets[:3]] == [b"42", b"45", b"bA"]
        assert len(packets) == 31
        assert len(bodies) <= 13
        for one, two in pairwise(bodies[1:]):
            assert len(one) + 1 + len(two.split(b"\x1e")[0]) > 1000


@pytest.mark.feature("V28")
@pytest.mark.parametrize("way", WAYS)
async def test_too_large(way: str):
    """What the server would not take is refused where it is emitted, and the connection stays."""
    io = echo_server(max_http_buffer_size=1000)
    async with listening(io) as url, joined(url, transports=WAYS[way]) as client:
        with pytest.raises(madang.PayloadTooLarge) as caught:
            client.emit("note", "x" * 1000)
        assert (caught.value.size, caught.value.limit) == (1000 + len('42["note",""]'), 1000)
        with pytest.raises(madang.PayloadTooLarge):
            client.emit("note", bytes(1001))
        if way == "polling":
            with pytest.raises(madang.PayloadTooLarge):
                client.emit("note", bytes(750))
        else:
            client.emit("note", bytes(1000))
        client.emit("note", bytes(740))
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1


@pytest.mark.feature("V28")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
@pytest.mark.parametrize("answer", ["x" * 3000, b"x" * 3000, (1, "x" * 3000), ["x" * 1500, b"x" * 3000]], ids=type)
async def test_an_answer_too_large_for_the_server(way: list[str], answer: object):
    """An answer that the server would not take becomes an error there, and the connection stays."""
    io = echo_server(max_http_buffer_size=2000)
    got: list[object] = []

    @io.on("want")
    async def want(socket: madang.Socket) -> None:
        got.append(await socket.emit_with_ack("give", timeout=SOON))

    async with listening(io) as url, joined(url, transports=way) as client:
        client.on_error(lambda error, socket, event: None)
        client.on("give", lambda: answer)
        client.emit("want")
        await until(lambda: got)
        assert isinstance(got[0], dict)
        assert "error" in got[0]
        assert client.is_connected


@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_too_large_for_the_client(way: list[str]):
    """An answer above `max_http_buffer_size` ends the connection with an error that names the option."""
    io = echo_server()
    io.on("large", lambda socket: socket.emit("large", "x" * 20_000))
    async with (
        listening(io) as url,
        joined(url, transports=way, max_http_buffer_size=10_000, reconnection=False) as client,
    ):
        ends = Heard()
        client.on("disconnect", lambda reason, description: ends(reason, str(description)))
        client.emit("large")
        ((reason, description),) = await ends.count(1)
        assert reason == "transport error"
        assert way == WEBSOCKET or "max_http_buffer_size" in description


@pytest.mark.parametrize("way", WAYS)
async def test_text_of_all_kinds(way: str):
    """Text of any script, and emoji, arrives as it was sent over both transports."""
    texts = ["한글 마당", "cash money €€€", "\U0001f389 \U0001f469‍\U0001f680", "\x1e separators \x1e", "\x00\u2028"]
    async with listening(echo_server()) as url, joined(url, transports=WAYS[way]) as client:
        for text in texts:
            assert await client.emit_with_ack("ask", text, timeout=SOON) == text


async def test_a_session_that_the_server_has_forgotten():
    """A poll for a session that is unknown ends the connection; the error says what the server said."""
    async with gated() as gate, joined(gate.url, transports=POLLING, reconnection=False) as client:
        ends = Heard()
        client.on("disconnect", lambda reason, description: ends(reason, description))
        unknown = page(400, b'{"code":1,"message":"Session ID unknown"}')
        gate.decide = lambda asked: unknown if asked.method == "POST" else None
        client.emit("note")
        ((reason, error),) = await ends.count(1)
        assert (reason, error.status, error.retryable) == ("transport error", 400, True)
        assert "Session ID unknown" in str(error)
