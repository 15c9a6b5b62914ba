"""The heartbeat: when pings come, what counts as life, and how a silent client ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.conformance.engine_cases import EARLY, LATE, ends_at_once
from tests.conformance.told import Serving, echoes
from tests.conformance.wire import Polling, browser, session


class TestHeartbeat:
    @pytest.mark.feature("H1", "H2")
    async def test_interval_counts_from_the_pong(self, engine: Serving) -> None:
        """A pong that comes late moves the next ping by as much."""
        async with engine(ping_interval=0.3, ping_timeout=5) as server, session(server.url) as ws:
            assert await ws.text() == "2"
            await ws.silent(0.2)
            await ws.send("3")
            since = time.monotonic()
            assert await ws.text() == "2"
            assert 0.3 - EARLY < time.monotonic() - since < 0.3 + LATE

    @pytest.mark.feature("H7")
    async def test_event(self, engine: Serving) -> None:
        """The session tells of each pong."""
        async with engine(ping_interval=0.05, ping_timeout=5) as server, session(server.url) as ws:
            for pongs in range(3):
                assert await ws.text() == "2"
                assert server.events == ["heartbeat"] * pongs
                await ws.send("3")

    @pytest.mark.feature("H3")
    async def test_timeout(self, engine: Serving) -> None:
        """A missing pong ends the session as a ping timeout."""
        async with engine(ping_interval=0.1, ping_timeout=0.1) as server, session(server.url) as ws:
            assert await ws.text() == "2"
            assert await server.ended(0.1 + LATE) == ("ping timeout", "")
            await ws.closed()

    @pytest.mark.feature("H3")
    async def test_timeout_with_a_poll_open(self, engine: Serving) -> None:
        """A poll that is open when the pong stays away ends with the close packet."""
        async with engine(ping_interval=0.1, ping_timeout=0.2) as server, browser(server.url) as http:
            client = await Polling.open(http)
            assert await client.packets() == ["2"]
            assert await client.packets(0.2 + LATE) == ["1"]
            assert await server.ended() == ("ping timeout", "")
            await client.gone()

    @pytest.mark.feature("H4")
    @pytest.mark.parametrize("message", ["4hi", b"hi", "6"])
    async def test_traffic_counts_as_life(self, engine: Serving, message: str | bytes) -> None:
        """Any packet while a pong is awaited makes the wait begin anew, but only once."""
        async with engine(ping_interval=0.1, ping_timeout=0.4) as server, session(server.url) as ws:
            assert await ws.text() == "2"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.ends.get(), 0.2)
            await ws.send(message)
            since = time.monotonic()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.ends.get(), 0.3)
            await ws.send(message)
            assert await server.ended(0.1 + LATE) == ("ping timeout", "")
            assert 0.4 - EARLY < time.monotonic() - since < 0.4 + LATE

    @pytest.mark.feature("H5")
    @pytest.mark.parametrize("packet", ["2", "2probe"])
    async def test_ping_from_the_client(self, engine: Serving, packet: str) -> None:
        """A client that pings is of another protocol, and is closed as a transport error."""
        async with engine() as server, session(server.url) as ws:
            await ends_at_once(ws, packet)
            assert await server.ended() == ("transport error", "invalid heartbeat direction")

    @pytest.mark.feature("H5")
    async def test_ping_over_polling(self, engine: Serving) -> None:
        """The same holds over polling."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            await client.post("2")
            assert await server.ended() == ("transport error", "invalid heartbeat direction")

    @pytest.mark.feature("H1")
    async def test_pongs_nobody_asked_for(self, engine: Serving) -> None:
        """Pongs that nobody waits for change nothing, also not the time of the next ping."""
        async with engine(ping_interval=0.4, ping_timeout=5) as server, session(server.url) as ws:
            since = time.monotonic()
            await ws.silent(0.2)
            await ws.send(*["3"] * 100)
            await echoes(ws)
            assert await ws.text() == "2"
            assert time.monotonic() - since < 0.4 + LATE
