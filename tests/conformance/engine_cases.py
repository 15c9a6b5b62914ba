"""What both protocol suites ask of the engine, written once: each function is one case, on the path it is given.

``Alive`` is how a suite sees that a WebSocket session still works after something that must not have touched it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conformance.wire import (
    AT_ONCE,
    DEADLINE,
    Polling,
    WebSocket,
    address,
    browser,
    opened,
    refusal,
    refused_upgrade,
    session,
    websocket,
)

PING_INTERVAL = 0.3
PING_TIMEOUT = 0.2
#: how much later than promised a timer of the server may be seen to fire
LATE = 0.5
#: how much earlier a timer may seem to fire, as the two sides do not start their clocks together
EARLY = 0.03

Alive = Callable[[WebSocket], Awaitable[None]]


def _check(handshake: dict[str, object], upgrades: list[str]) -> None:
    assert list(handshake) == ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]
    sid = handshake.pop("sid")
    assert isinstance(sid, str)
    assert sid
    assert handshake == {"upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


async def polling_opens(url: str, path: str) -> None:
    async with browser(url) as http:
        response = await http.get(address(path, "polling"))
    assert response.status_code == 200
    assert response.headers["content-type"].lower() == "text/plain; charset=utf-8"
    _check(opened(response.text), ["websocket"])


async def polling_needs_the_protocol_version(url: str, path: str) -> None:
    async with browser(url) as http:
        for eio in (None, "abc", "3"):
            assert refusal(await http.get(address(path, "polling", eio=eio))) == (400, 5)


async def polling_needs_a_known_transport(url: str, path: str) -> None:
    async with browser(url) as http:
        for transport in (None, "abc"):
            assert refusal(await http.get(address(path, transport))) == (400, 0)


async def polling_begins_with_get(url: str, path: str) -> None:
    async with browser(url) as http:
        for method in ("POST", "PUT"):
            assert refusal(await http.request(method, address(path, "polling"))) == (400, 2)


async def websocket_opens(url: str, path: str) -> None:
    async with websocket(url, path) as ws:
        _check(opened(await ws.receive()), [])


async def websocket_needs_the_protocol_version(url: str, path: str) -> None:
    for eio in (None, "abc", "3"):
        assert (await refused_upgrade(url, address(path, "websocket", eio=eio))).status_code == 400


async def websocket_needs_a_known_transport(url: str, path: str) -> None:
    for transport in (None, "abc"):
        assert (await refused_upgrade(url, address(path, transport))).status_code == 400


async def polling_is_pinged(url: str, path: str) -> None:
    async with browser(url) as http:
        client = await Polling.open(http, path)
        since = time.monotonic()
        for _ in range(3):
            assert await client.packets() == ["2"]
            assert PING_INTERVAL - EARLY < time.monotonic() - since < PING_INTERVAL + LATE
            since = time.monotonic()
            await client.send("3")


async def polling_ends_without_pongs(url: str, path: str) -> None:
    async with browser(url) as http:
        client = await Polling.open(http, path)
        # a session that began later and has ended the same way tells, without a clock of ours, that the time is over
        async with session(url, path) as witness:
            await witness.closed(PING_INTERVAL + PING_TIMEOUT + LATE)
        await client.gone()


async def websocket_is_pinged(url: str, path: str) -> None:
    async with session(url, path) as ws:
        for _ in range(3):
            since = time.monotonic()
            assert await ws.text() == "2"
            assert PING_INTERVAL - EARLY < time.monotonic() - since < PING_INTERVAL + LATE
            await ws.send("3")


async def websocket_ends_without_pongs(url: str, path: str) -> None:
    async with session(url, path) as ws:
        assert await ws.text() == "2"
        since = time.monotonic()
        await ws.closed(PING_TIMEOUT + LATE)
        assert time.monotonic() - since > PING_TIMEOUT - EARLY


async def polling_client_closes(url: str, path: str) -> None:
    async with browser(url) as http:
        client = await Polling.open(http, path)
        poll = await client.hold()
        await client.send("1")
        response = await asyncio.wait_for(poll, AT_ONCE)
        assert (response.status_code, response.text) == (200, "6")
        await client.gone()


async def websocket_client_closes(url: str, path: str) -> None:
    async with session(url, path) as ws:
        await ws.send("1")
        await ws.closed()
        assert await ws.left() == []


async def upgrades(url: str, path: str, alive: Alive) -> None:
    async with browser(url) as http:
        client = await Polling.open(http, path)
        async with websocket(url, path, client.sid) as ws:
            await ws.send("2probe")
            assert await ws.text() == "3probe"
            # a poll that finds nothing to wait for is let go, so that the client can stop polling
            assert await client.packets() == ["6"]
            await ws.send("5")
            await alive(ws)


async def http_after_the_upgrade(url: str, path: str, alive: Alive) -> None:
    async with browser(url) as http:
        client = await Polling.open(http, path)
        async with websocket(url, path, client.sid) as ws:
            await _upgrade(ws, client)
            assert refusal(await client.poll(AT_ONCE)) == (400, 3)
            assert refusal(await client.post("4hello")) == (400, 3)
            await alive(ws)


async def second_websocket_after_the_upgrade(url: str, path: str, alive: Alive) -> None:
    async with browser(url) as http:
        client = await Polling.open(http, path)
        async with websocket(url, path, client.sid) as ws:
            await _upgrade(ws, client)
            async with websocket(url, path, client.sid) as second:
                await second.closed()
                assert await second.left() == []
            await alive(ws)


async def _upgrade(ws: WebSocket, client: Polling) -> None:
    """Take the session over to the WebSocket, and return when the server has done so."""
    await ws.send("2probe")
    assert await ws.text() == "3probe"
    await ws.send("5")
    await client.settle()


async def ends_at_once(ws: WebSocket, message: str | bytes) -> None:
    """See a message end the connection, without anything being said first."""
    await ws.send(message)
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(ws.connection.recv(), DEADLINE)
    await ws.closed()
