"""The 32 behaviours of the Socket.IO v5 protocol suite, against a listening echo server on every host.

The first half asks the engine under a Socket.IO server what the engine on its own is asked; the second is Socket.IO's.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance import engine_cases as cases
from tests.conformance.wire import SOCKET, WebSocket, session
from tests.hosts import ServerProcess


async def joins(ws: WebSocket) -> None:
    await ws.send("40")
    assert (await ws.text()).startswith('40{"sid":')
    assert await ws.text() == '42["auth",{}]'


@asynccontextmanager
async def joined(url: str) -> AsyncIterator[WebSocket]:
    """A WebSocket that has joined the main namespace."""
    async with session(url, SOCKET) as ws:
        await joins(ws)
        yield ws


@pytest.mark.feature("Y6")
class TestEngineHandshake:
    @pytest.mark.feature("G1", "A7", "A8", "A10", "D1")
    async def test_polling(self, socketio_fast: ServerProcess) -> None:
        """A first GET is answered with the open packet, and offers WebSocket as an upgrade."""
        await cases.polling_opens(socketio_fast.url, SOCKET)

    @pytest.mark.feature("A21", "C11")
    async def test_polling_with_another_protocol_version(self, socketio_calm: ServerProcess) -> None:
        """Over polling, any protocol version but 4 is refused with error 5, also a missing one."""
        await cases.polling_needs_the_protocol_version(socketio_calm.url, SOCKET)

    @pytest.mark.feature("A5", "C11")
    async def test_polling_with_another_transport(self, socketio_calm: ServerProcess) -> None:
        """A missing or unknown transport is refused with error 0."""
        await cases.polling_needs_a_known_transport(socketio_calm.url, SOCKET)

    @pytest.mark.feature("D15", "C11")
    async def test_polling_with_another_method(self, socketio_calm: ServerProcess) -> None:
        """A session cannot begin with POST or PUT: error 2."""
        await cases.polling_begins_with_get(socketio_calm.url, SOCKET)

    @pytest.mark.feature("E1", "G1")
    async def test_websocket(self, socketio_fast: ServerProcess) -> None:
        """A WebSocket without a sid gets the open packet first, with nothing left to upgrade to."""
        await cases.websocket_opens(socketio_fast.url, SOCKET)

    @pytest.mark.feature("E6", "E7", "A21")
    async def test_websocket_with_another_protocol_version(self, socketio_calm: ServerProcess) -> None:
        """Over WebSocket, any protocol version but 4 is refused in HTTP, before the connection is accepted."""
        await cases.websocket_needs_the_protocol_version(socketio_calm.url, SOCKET)

    @pytest.mark.feature("E6", "A5")
    async def test_websocket_with_another_transport(self, socketio_calm: ServerProcess) -> None:
        """A WebSocket handshake that names no transport, or an unknown one, is refused in HTTP."""
        await cases.websocket_needs_a_known_transport(socketio_calm.url, SOCKET)


@pytest.mark.feature("Y6")
class TestEngineHeartbeat:
    @pytest.mark.feature("H1", "H2")
    async def test_polling(self, socketio_fast: ServerProcess) -> None:
        """A poll brings a ping one interval after the last pong, as long as each is answered."""
        await cases.polling_is_pinged(socketio_fast.url, SOCKET)

    @pytest.mark.feature("H3")
    async def test_polling_without_pong(self, socketio_fast: ServerProcess) -> None:
        """A polling session whose pings nobody answers ends, even if nobody polls."""
        await cases.polling_ends_without_pongs(socketio_fast.url, SOCKET)

    @pytest.mark.feature("H1", "H2")
    async def test_websocket(self, socketio_fast: ServerProcess) -> None:
        """A WebSocket is pinged one interval after the last pong, as long as each is answered."""
        await cases.websocket_is_pinged(socketio_fast.url, SOCKET)

    @pytest.mark.feature("H3")
    async def test_websocket_without_pong(self, socketio_fast: ServerProcess) -> None:
        """A WebSocket whose ping is not answered is closed when the timeout is over, neither before nor long after."""
        await cases.websocket_ends_without_pongs(socketio_fast.url, SOCKET)


@pytest.mark.feature("Y6")
class TestEngineClose:
    @pytest.mark.feature("D12")
    async def test_polling(self, socketio_calm: ServerProcess) -> None:
        """A close packet in a POST lets the open poll go with a noop, and the session is gone."""
        await cases.polling_client_closes(socketio_calm.url, SOCKET)

    @pytest.mark.feature("E8")
    async def test_websocket(self, socketio_calm: ServerProcess) -> None:
        """A close packet over WebSocket closes the WebSocket at once."""
        await cases.websocket_client_closes(socketio_calm.url, SOCKET)


@pytest.mark.feature("Y6")
class TestEngineUpgrade:
    @pytest.mark.feature("I1", "I2", "I4")
    async def test_from_polling_to_websocket(self, socketio_calm: ServerProcess) -> None:
        """Probe, release of the poll, upgrade packet: from then on a namespace can be joined over the WebSocket."""
        await cases.upgrades(socketio_calm.url, SOCKET, joins)

    @pytest.mark.feature("I8", "G4")
    async def test_http_afterwards(self, socketio_calm: ServerProcess) -> None:
        """Polling requests of an upgraded session are refused with error 3 and do it no harm."""
        await cases.http_after_the_upgrade(socketio_calm.url, SOCKET, joins)

    @pytest.mark.feature("I7")
    async def test_second_websocket_afterwards(self, socketio_calm: ServerProcess) -> None:
        """A second WebSocket for an upgraded session is closed at once; the first one works on."""
        await cases.second_websocket_after_the_upgrade(socketio_calm.url, SOCKET, joins)


@pytest.mark.feature("Y6")
class TestConnect:
    @pytest.mark.feature("J1", "G3", "G8", "R1")
    async def test_main_namespace(self, socketio_calm: ServerProcess) -> None:
        """A bare CONNECT joins the main namespace: the reply holds an id, and the auth payload is an empty object."""
        await self.joins(socketio_calm, "40", "")

    @pytest.mark.feature("G7", "G13")
    async def test_main_namespace_with_a_payload(self, socketio_calm: ServerProcess) -> None:
        """What a CONNECT carries is the auth payload the server sees."""
        await self.joins(socketio_calm, '40{"token":"123"}', "", '{"token":"123"}')

    @pytest.mark.feature("J2", "G8")
    async def test_custom_namespace(self, socketio_calm: ServerProcess) -> None:
        """Another namespace is joined on its own, and named in all its packets."""
        await self.joins(socketio_calm, "40/custom,", "/custom,")

    @pytest.mark.feature("J2", "G7")
    async def test_custom_namespace_with_a_payload(self, socketio_calm: ServerProcess) -> None:
        """Another namespace has an auth payload of its own."""
        await self.joins(socketio_calm, '40/custom,{"token":"abc"}', "/custom,", '{"token":"abc"}')

    @pytest.mark.node("namespaces.14")
    @pytest.mark.feature("J3")
    async def test_unknown_namespace(self, socketio_calm: ServerProcess) -> None:
        """A namespace the server does not have is refused by a packet, and the connection can still be used."""
        async with session(socketio_calm.url, SOCKET) as ws:
            await ws.send("40/random")
            assert await ws.text() == '44/random,{"message":"Invalid namespace"}'
            await joins(ws)

    @pytest.mark.feature("G11", "R6")
    async def test_invalid_first_packet(self, socketio_calm: ServerProcess) -> None:
        """A first packet that cannot be decoded closes the connection at once."""
        async with session(socketio_calm.url, SOCKET) as ws:
            await cases.ends_at_once(ws, "4abc")

    @pytest.mark.feature("A11")
    async def test_nobody_joins(self, socketio_impatient: ServerProcess) -> None:
        """A connection that joins no namespace is closed when the connect timeout is over, long before a ping."""
        async with session(socketio_impatient.url, SOCKET) as ws:
            since = time.monotonic()
            await ws.closed(0.4 + cases.LATE)
            assert time.monotonic() - since > 0.4 - cases.EARLY
            assert await ws.left() == []

    @staticmethod
    async def joins(server: ServerProcess, connect: str, namespace: str, auth: str = "{}") -> None:
        async with session(server.url, SOCKET) as ws:
            await ws.send(connect)
            reply = await ws.text()
            assert reply.startswith(f"40{namespace}{{")
            told = json.loads(reply.removeprefix(f"40{namespace}"))
            assert list(told) == ["sid"]
            assert isinstance(told["sid"], str)
            assert await ws.text() == f'42{namespace}["auth",{auth}]'


@pytest.mark.feature("Y6")
class TestDisconnect:
    @pytest.mark.feature("O9", "H1")
    async def test_main_namespace(self, socketio_fast: ServerProcess) -> None:
        """Leaving the main namespace is not answered and leaves the connection open: what comes next is a ping."""
        async with joined(socketio_fast.url) as ws:
            await ws.send("41")
            assert await ws.text() == "2"

    @pytest.mark.feature("J16", "O9")
    async def test_custom_namespace(self, socketio_calm: ServerProcess) -> None:
        """Leaving one namespace does not touch another one of the same connection."""
        async with joined(socketio_calm.url) as ws:
            await ws.send("40/custom")
            assert (await ws.text()).startswith('40/custom,{"sid":')
            assert await ws.text() == '42/custom,["auth",{}]'
            await ws.send("41/custom", '42["message","message to main namespace"]')
            assert await ws.text() == '42["message-back","message to main namespace"]'


@pytest.mark.feature("Y6")
class TestMessage:
    @pytest.mark.feature("L10", "R1")
    async def test_text(self, socketio_calm: ServerProcess) -> None:
        """An event's arguments arrive whole, and are sent as compact JSON."""
        async with joined(socketio_calm.url) as ws:
            await ws.send('42["message",1,"2",{"3":[true]}]')
            assert await ws.text() == '42["message-back",1,"2",{"3":[true]}]'

    @pytest.mark.feature("N11", "R1")
    async def test_binary(self, socketio_calm: ServerProcess) -> None:
        """Bytes among the arguments travel as attachments, both ways and in order."""
        async with joined(socketio_calm.url) as ws:
            await ws.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
            await ws.send(b"\x01\x02\x03", b"\x04\x05\x06")
            assert [await ws.receive() for _ in range(3)] == [
                '452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
                b"\x01\x02\x03",
                b"\x04\x05\x06",
            ]

    @pytest.mark.feature("M1", "M15")
    async def test_ack(self, socketio_calm: ServerProcess) -> None:
        """An event with an id is acknowledged under that id."""
        async with joined(socketio_calm.url) as ws:
            await ws.send('42456["message-with-ack",1,"2",{"3":[false]}]')
            assert await ws.text() == '43456[1,"2",{"3":[false]}]'

    @pytest.mark.node("socket.29", "socket.32")
    @pytest.mark.feature("M13")
    async def test_binary_ack(self, socketio_calm: ServerProcess) -> None:
        """Bytes in an acknowledgement travel as attachments too."""
        async with joined(socketio_calm.url) as ws:
            await ws.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
            await ws.send(b"\x01\x02\x03", b"\x04\x05\x06")
            assert [await ws.receive() for _ in range(3)] == [
                '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
                b"\x01\x02\x03",
                b"\x04\x05\x06",
            ]

    @pytest.mark.feature("G11", "R1")
    async def test_unknown_packet_type(self, socketio_calm: ServerProcess) -> None:
        """A packet of no known type closes the connection of a joined client at once."""
        async with joined(socketio_calm.url) as ws:
            await cases.ends_at_once(ws, "4abc")

    @pytest.mark.feature("G11", "R6")
    async def test_invalid_payload(self, socketio_calm: ServerProcess) -> None:
        """An event that is no array closes the connection at once."""
        async with joined(socketio_calm.url) as ws:
            await cases.ends_at_once(ws, "42{}")

    @pytest.mark.feature("G11", "R6")
    async def test_invalid_ack_id(self, socketio_calm: ServerProcess) -> None:
        """An ack id that is no number closes the connection at once."""
        async with joined(socketio_calm.url) as ws:
            await cases.ends_at_once(ws, '42abc["message-with-ack",1,"2",{"3":[false]}]')
