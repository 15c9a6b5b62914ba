"""The 25 behaviours of the Engine.IO v4 protocol suite, against a listening echo server on every host.

A close that a test waits for is looked for on a server whose heartbeat would take 45 s to cause it.
"""

from __future__ import annotations

import pytest

from tests.conformance import engine_cases as cases
from tests.conformance.told import echoes
from tests.conformance.wire import AT_ONCE, ENGINE, RS, Polling, browser, session, tcp
from tests.hosts import ServerProcess


@pytest.mark.feature("Y6")
class TestHandshake:
    @pytest.mark.feature("G1", "A7", "A8", "A10", "D1")
    async def test_polling(self, engine_fast: ServerProcess) -> None:
        """A first GET is answered with the open packet, and offers WebSocket as an upgrade."""
        await cases.polling_opens(engine_fast.url, ENGINE)

    @pytest.mark.node("v2-compatibility.3")
    @pytest.mark.feature("A21", "C11")
    async def test_polling_with_another_protocol_version(self, engine_calm: ServerProcess) -> None:
        """Over polling, any protocol version but 4 is refused with error 5, also a missing one."""
        await cases.polling_needs_the_protocol_version(engine_calm.url, ENGINE)

    @pytest.mark.feature("A5", "C11")
    async def test_polling_with_another_transport(self, engine_calm: ServerProcess) -> None:
        """A missing or unknown transport is refused with error 0."""
        await cases.polling_needs_a_known_transport(engine_calm.url, ENGINE)

    @pytest.mark.feature("D15", "C11")
    async def test_polling_with_another_method(self, engine_calm: ServerProcess) -> None:
        """A session cannot begin with POST or PUT: error 2."""
        await cases.polling_begins_with_get(engine_calm.url, ENGINE)

    @pytest.mark.feature("E1", "G1")
    async def test_websocket(self, engine_fast: ServerProcess) -> None:
        """A WebSocket without a sid gets the open packet first, with nothing left to upgrade to."""
        await cases.websocket_opens(engine_fast.url, ENGINE)

    @pytest.mark.feature("E6", "E7", "A21")
    async def test_websocket_with_another_protocol_version(self, engine_calm: ServerProcess) -> None:
        """Over WebSocket, any protocol version but 4 is refused in HTTP, before the connection is accepted."""
        await cases.websocket_needs_the_protocol_version(engine_calm.url, ENGINE)

    @pytest.mark.feature("E6", "A5")
    async def test_websocket_with_another_transport(self, engine_calm: ServerProcess) -> None:
        """A WebSocket handshake that names no transport, or an unknown one, is refused in HTTP."""
        await cases.websocket_needs_a_known_transport(engine_calm.url, ENGINE)


@pytest.mark.feature("Y6")
class TestMessagesOverPolling:
    @pytest.mark.feature("D1", "D2")
    async def test_one_packet(self, engine_calm: ServerProcess) -> None:
        """One text packet goes up in a POST and comes back in a poll."""
        await self.comes_back(engine_calm, "4hello")

    @pytest.mark.feature("D1", "D2", "D3")
    async def test_several_packets(self, engine_calm: ServerProcess) -> None:
        """Several packets in one POST come back in order, in one poll."""
        await self.comes_back(engine_calm, RS.join(["4test1", "4test2", "4test3"]))

    @pytest.mark.feature("D3")
    async def test_text_and_binary(self, engine_calm: ServerProcess) -> None:
        """A payload may mix text and base64, and binary comes back as base64."""
        await self.comes_back(engine_calm, RS.join(["4hello", "bAQIDBA=="]))

    @pytest.mark.feature("D14", "G12")
    async def test_undecodable_packet(self, engine_calm: ServerProcess) -> None:
        """A POST that is no packet is answered 400, and its session is gone at once."""
        async with browser(engine_calm.url) as http:
            client = await Polling.open(http)
            assert (await client.post("abc")).status_code == 400
            await client.gone()

    @pytest.mark.feature("D4")
    async def test_second_poll(self, engine_calm: ServerProcess) -> None:
        """A second poll beside an open one gets 400, the open one ends with a close packet, and the session is over."""
        async with browser(engine_calm.url) as http:
            client = await Polling.open(http)
            first = await client.hold()
            second = await client.poll(AT_ONCE, t="burst")
            assert (second.status_code, second.text) == (400, "")
            response = await first
            assert (response.status_code, response.text) == (200, "1")
            await client.gone()

    @pytest.mark.feature("D6")
    async def test_cancelled_poll(self, engine_calm: ServerProcess) -> None:
        """A poll whose connection the client cuts takes the session with it, before anyone asks for it again."""
        async with browser(engine_calm.url) as http, tcp(engine_calm.url) as raw:
            client = await Polling.open(http)
            await raw.write(f"GET {client.url()} HTTP/1.1", "Host: localhost")
            await client.settle()
            await raw.cut()
            await client.settle()
            await client.gone()

    @staticmethod
    async def comes_back(server: ServerProcess, payload: str) -> None:
        async with browser(server.url) as http:
            client = await Polling.open(http)
            posted = await client.post(payload)
            assert (posted.status_code, posted.text) == (200, "ok")
            polled = await client.poll()
            assert (polled.status_code, polled.text) == (200, payload)


@pytest.mark.feature("Y6")
class TestMessagesOverWebSocket:
    @pytest.mark.feature("E2")
    async def test_text(self, engine_calm: ServerProcess) -> None:
        """A text message carries its type digit both ways."""
        async with session(engine_calm.url) as ws:
            await echoes(ws)

    @pytest.mark.feature("E2")
    async def test_binary(self, engine_calm: ServerProcess) -> None:
        """A binary message is its bytes and nothing else, both ways."""
        async with session(engine_calm.url) as ws:
            await ws.send(b"\x01\x02\x03\x04")
            assert await ws.receive() == b"\x01\x02\x03\x04"

    @pytest.mark.feature("G12")
    async def test_undecodable_packet(self, engine_calm: ServerProcess) -> None:
        """A message that is no packet closes the connection at once."""
        async with session(engine_calm.url) as ws:
            await cases.ends_at_once(ws, "abc")


@pytest.mark.feature("Y6")
class TestHeartbeat:
    @pytest.mark.feature("H1", "H2")
    async def test_polling(self, engine_fast: ServerProcess) -> None:
        """A poll brings a ping one interval after the last pong, as long as each is answered."""
        await cases.polling_is_pinged(engine_fast.url, ENGINE)

    @pytest.mark.feature("H3")
    async def test_polling_without_pong(self, engine_fast: ServerProcess) -> None:
        """A polling session whose pings nobody answers ends, even if nobody polls."""
        await cases.polling_ends_without_pongs(engine_fast.url, ENGINE)

    @pytest.mark.feature("H1", "H2")
    async def test_websocket(self, engine_fast: ServerProcess) -> None:
        """A WebSocket is pinged one interval after the last pong, as long as each is answered."""
        await cases.websocket_is_pinged(engine_fast.url, ENGINE)

    @pytest.mark.feature("H3")
    async def test_websocket_without_pong(self, engine_fast: ServerProcess) -> None:
        """A WebSocket whose ping is not answered is closed when the timeout is over, neither before nor long after."""
        await cases.websocket_ends_without_pongs(engine_fast.url, ENGINE)


@pytest.mark.feature("Y6")
class TestClose:
    @pytest.mark.feature("D12")
    async def test_polling(self, engine_calm: ServerProcess) -> None:
        """A close packet in a POST lets the open poll go with a noop, and the session is gone."""
        await cases.polling_client_closes(engine_calm.url, ENGINE)

    @pytest.mark.feature("E8")
    async def test_websocket(self, engine_calm: ServerProcess) -> None:
        """A close packet over WebSocket closes the WebSocket at once."""
        await cases.websocket_client_closes(engine_calm.url, ENGINE)


@pytest.mark.feature("Y6")
class TestUpgrade:
    @pytest.mark.feature("I1", "I2", "I4")
    async def test_from_polling_to_websocket(self, engine_calm: ServerProcess) -> None:
        """Probe, release of the poll, upgrade packet: from then on messages go over the WebSocket."""
        await cases.upgrades(engine_calm.url, ENGINE, echoes)

    @pytest.mark.feature("I8", "G4")
    async def test_http_afterwards(self, engine_calm: ServerProcess) -> None:
        """Polling requests of an upgraded session are refused with error 3 and do it no harm."""
        await cases.http_after_the_upgrade(engine_calm.url, ENGINE, echoes)

    @pytest.mark.feature("I7")
    async def test_second_websocket_afterwards(self, engine_calm: ServerProcess) -> None:
        """A second WebSocket for an upgraded session is closed at once; the first one works on."""
        await cases.second_websocket_after_the_upgrade(engine_calm.url, ENGINE, echoes)
