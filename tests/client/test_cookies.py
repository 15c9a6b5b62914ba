"""Cookies: kept and sent again only if asked for, as sticky sessions need them."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

import madang
from tests.client.tools import BOTH, POLLING, QUICK, SOON, WAYS, WEBSOCKET, Asked, gated, joined, until, upgraded

pytestmark = pytest.mark.feature("V18")


def rest(asked: list[Asked]) -> list[Asked]:
    """All requests but the first, whose answer sets the cookies."""
    return asked[1:]


@pytest.mark.parametrize("way", WAYS)
async def test_off_by_default(way: str):
    """Without `with_credentials` no cookie is kept."""
    async with gated() as gate:
        gate.headers = [("set-cookie", "node=a; Path=/")]
        async with joined(gate.url, transports=WAYS[way]) as client:
            await client.emit_with_ack("ask", 1, timeout=SOON)
        assert not any("cookie" in one.headers for one in gate.asked)


@pytest.mark.parametrize(
    "cookie",
    [
        "node=a; Path=/",
        "node=a; Path=/; HttpOnly; SameSite=Lax",
        "node=a; path=/; MAX-AGE=3600",
        "node=a; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT",
        "node=a; Path=/socket.io/",
        "node=a",
    ],
)
async def test_sent_with_each_request(cookie: str):
    """What the handshake sets goes with each later request: polls, posts, and the WebSocket of the upgrade."""
    async with gated() as gate:
        gate.headers = [("set-cookie", cookie), ("set-cookie", "second=b; Path=/")]
        async with joined(gate.url, transports=BOTH, with_credentials=True) as client:
            await client.emit_with_ack("ask", 1, timeout=SOON)
        assert "cookie" not in gate.asked[0].headers
        assert [one.cookies.get("node") for one in rest(gate.asked)] == ["a"] * (len(gate.asked) - 1)
        assert {one.cookies.get("second") for one in rest(gate.asked)} == {"b"}
        assert gate.of("websocket")


@pytest.mark.parametrize(
    "how",
    [
        "Max-Age=0",
        "Max-Age=-1",
        "Expires=Wed, 01 Jan 2020 00:00:00 GMT",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
async def test_thrown_away(how: str):
    """A cookie that is over, by its age or its date, is not sent."""
    async with gated() as gate:
        gate.headers = [("set-cookie", f"node=a; Path=/; {how}")]
        async with joined(gate.url, transports=BOTH, with_credentials=True) as client:
            await client.emit_with_ack("ask", 1, timeout=SOON)
        assert not any("node" in one.cookies for one in gate.asked)


async def test_it_grows_old(monkeypatch: pytest.MonkeyPatch):
    """A cookie is sent until its age is over, and no longer."""
    async with gated() as gate:
        gate.headers = [("set-cookie", "node=a; Path=/; Max-Age=3600")]
        async with joined(gate.url, transports=POLLING, with_credentials=True) as client:
            gate.headers = []
            await client.emit_with_ack("ask", 1, timeout=SOON)
            assert gate.asked[-1].cookies == {"node": "a"}
            later = SimpleNamespace(**{**vars(time), "time": lambda: time.time() + 3600})
            monkeypatch.setattr("aiohttp.cookiejar.time", later)
            await client.emit_with_ack("ask", 1, timeout=SOON)
            assert gate.asked[-1].cookies == {}


@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_kept_for_the_next_connection(way: list[str]):
    """A client that comes back brings the cookies of its last connection, also those of a WebSocket's handshake."""
    async with gated() as gate:
        gate.headers = [("set-cookie", "node=a; Path=/")]
        async with joined(gate.url, transports=way, with_credentials=True) as client:
            engine = client.manager.engine
            assert engine is not None
            first = client.id
            seen = len(gate.asked)
            engine.fail("transport error", "for the test")
            await until(lambda: client.is_connected and client.id != first)
            assert gate.asked[seen].cookies == {"node": "a"}


async def test_own_cookies():
    """A cookie given as one of `extra_headers` goes with each request."""
    async with gated() as gate:
        async with asyncio.timeout(SOON):
            client = madang.Client(gate.url, extra_headers={"Cookie": "mine=1"}, **QUICK)
            await client.connected
            await upgraded(client)
            await client.close()
        assert {one.headers["cookie"] for one in gate.asked} == {"mine=1"}
