"""The upgrade from polling to WebSocket, also slow, wrong, doubled and broken."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.conformance.engine_cases import EARLY, LATE, ends_at_once
from tests.conformance.told import Serving, Told, echoes, polls
from tests.conformance.wire import AT_ONCE, Polling, browser, opened, websocket


class TestUpgrade:
    @pytest.mark.feature("I1", "I2")
    async def test_open_poll_is_released(self, engine: Serving) -> None:
        """A poll that is open during the probe is let go with a noop, within the 100 ms of the check."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            poll = await client.hold()
            async with websocket(server.url, sid=client.sid) as ws:
                assert not poll.done()
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                assert (await asyncio.wait_for(poll, 0.1 + LATE)).text == "6"
                await ws.send("5")
                await echoes(ws)

    @pytest.mark.feature("I9")
    async def test_events(self, engine: Serving) -> None:
        """The session tells of the probe and of the switch."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                assert server.events == ["upgrading"]
                await ws.send("5")
                await echoes(ws)
                assert server.events == ["upgrading", "upgrade"]

    @pytest.mark.feature("I2")
    async def test_open_poll_at_the_switch(self, engine: Serving) -> None:
        """A poll that is still open when the upgrade packet comes is let go as well."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                poll = await client.hold()
                await ws.send("2probe", "5")
                assert (await asyncio.wait_for(poll, AT_ONCE)).text == "6"
                assert await ws.text() == "3probe"
                await echoes(ws)

    @pytest.mark.feature("I3")
    async def test_data_flows_during_the_probe(self, engine: Serving) -> None:
        """Until the upgrade packet, messages go both ways over polling and none over the WebSocket."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                await polls(client)
                await ws.silent(0.05)
                await polls(client)
                await ws.send("5")
                await echoes(ws)

    @pytest.mark.feature("I4")
    async def test_order_is_kept(self, engine: Serving) -> None:
        """What waited for a poll goes out over the WebSocket, before anything newer; there is no second open packet."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                await client.send("4one", "4two")
                await client.send("bAw==")
                await ws.send("5", "4four")
                assert [await ws.receive() for _ in range(4)] == ["4one", "4two", b"\x03", "4four"]

    @pytest.mark.feature("I5")
    @pytest.mark.parametrize("probe", [True, False], ids=["after the probe", "without a probe"])
    async def test_slow_upgrade(self, engine: Serving, probe: bool) -> None:
        """An upgrade that is not completed in time costs only the WebSocket; the session polls on and may try again."""
        async with engine(upgrade_timeout=0.3) as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                since = time.monotonic()
                if probe:
                    await ws.send("2probe")
                    assert await ws.text() == "3probe"
                await ws.closed(0.3 + LATE)
                assert time.monotonic() - since > 0.3 - EARLY
            await polls(client)
            await self.upgrade(server, client)

    @pytest.mark.feature("I6")
    @pytest.mark.parametrize("message", ["4hi", "3probe", "2", "1", "6", "abc", "", b"\x01"])
    async def test_wrong_first_packet(self, engine: Serving, message: str | bytes) -> None:
        """A WebSocket that does not begin with the probe is closed; the session polls on, and may try again."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ends_at_once(ws, message)
            await polls(client)
            await self.upgrade(server, client)

    @pytest.mark.feature("I6")
    async def test_probing_websocket_is_lost(self, engine: Serving) -> None:
        """A WebSocket that breaks before the upgrade is complete costs nothing."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                ws.connection.transport.abort()
            await polls(client)
            await self.upgrade(server, client)

    @pytest.mark.feature("I7")
    async def test_second_websocket_during_the_upgrade(self, engine: Serving) -> None:
        """A second WebSocket while one is probing is closed at once, and the first one completes."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                async with websocket(server.url, sid=client.sid) as second:
                    await second.closed()
                    assert await second.left() == []
                await ws.send("5")
                await echoes(ws)

    @pytest.mark.feature("I7", "E1")
    async def test_websocket_for_a_websocket_session(self, engine: Serving) -> None:
        """A session that began over WebSocket cannot be upgraded: the newcomer is closed, the session works on."""
        async with engine() as server, websocket(server.url) as ws:
            sid = opened(await ws.receive())["sid"]
            async with websocket(server.url, sid=sid) as second:
                await second.closed()
                assert await second.left() == []
            await echoes(ws)

    @pytest.mark.feature("I10")
    async def test_server_closes_during_the_upgrade(self, engine: Serving) -> None:
        """A close that the server asks for during an upgrade is carried out on the new transport."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                await client.send("4!close")
                await ws.send("5")
                await ws.closed()
                assert (await server.ended())[0] == "forced close"
            await client.gone()

    @pytest.mark.feature("I7")
    async def test_session_ends_during_the_upgrade(self, engine: Serving) -> None:
        """A session that ends while it is being upgraded takes the probing WebSocket with it."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            async with websocket(server.url, sid=client.sid) as ws:
                await ws.send("2probe")
                assert await ws.text() == "3probe"
                await client.send("1")
                await ws.closed()
                assert await server.ended() == ("transport close", "")

    @staticmethod
    async def upgrade(server: Told, client: Polling) -> None:
        async with websocket(server.url, sid=client.sid) as ws:
            await ws.send("2probe")
            assert await ws.text() == "3probe"
            await ws.send("5")
            await echoes(ws)
