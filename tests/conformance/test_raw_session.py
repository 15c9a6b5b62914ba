"""Sessions and joining: the open packet, ids, requests that do not fit, and the end of those who break the rules."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conformance.engine_cases import ends_at_once
from tests.conformance.told import Serving, echoes, joined, polls
from tests.conformance.wire import (
    AT_ONCE,
    DEADLINE,
    ENGINE,
    SOCKET,
    Polling,
    address,
    browser,
    opened,
    refusal,
    refused_upgrade,
    session,
    websocket,
)


class TestSession:
    @pytest.mark.feature("G1", "A7", "A8", "A10")
    async def test_open_packet(self, engine: Serving) -> None:
        """The open packet is compact JSON with its keys in order, times in milliseconds and the limit in bytes."""
        options = {"ping_interval": 1.5, "ping_timeout": 2.25, "max_http_buffer_size": 1234}
        async with engine(**options) as server, browser(server.url) as http:
            text = (await http.get(address(ENGINE, "polling"))).text
            sid = opened(text)["sid"]
            rest = '"upgrades":["websocket"],"pingInterval":1500,"pingTimeout":2250,"maxPayload":1234}'
            assert text == f'0{{"sid":"{sid}",{rest}'

    @pytest.mark.feature("G2")
    async def test_session_ids(self, engine: Serving) -> None:
        """Session ids are 20 URL-safe characters and never the same."""
        async with engine() as server, browser(server.url) as http:
            sids = [(await Polling.open(http)).sid for _ in range(50)]
            async with websocket(server.url) as ws:
                sids.append(opened(await ws.receive())["sid"])
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{20}", sid) for sid in sids)
        assert len(set(sids)) == len(sids)

    @pytest.mark.feature("G3", "G8", "J16")
    async def test_socket_ids(self, socketio: Serving) -> None:
        """Each join draws an id of its own, and none of them is the session's."""
        async with socketio() as server, websocket(server.url, SOCKET) as ws:
            sids = [opened(await ws.receive())["sid"]]
            for namespace in ("", "/custom,"):
                await ws.send(f"40{namespace}")
                reply = json.loads((await ws.text()).removeprefix(f"40{namespace}"))
                assert list(reply) == ["sid"]
                sids.append(reply["sid"])
            assert len(set(sids)) == 3

    @pytest.mark.feature("G4")
    async def test_polling_a_websocket_session(self, engine: Serving) -> None:
        """A WebSocket session cannot be polled: error 3, and the session is not touched."""
        async with engine() as server, browser(server.url) as http, websocket(server.url) as ws:
            client = Polling(http, opened(await ws.receive())["sid"])
            assert refusal(await client.poll(AT_ONCE)) == (400, 3)
            assert refusal(await client.post("4hi")) == (400, 3)
            await echoes(ws)

    @pytest.mark.feature("G5", "C11")
    async def test_unknown_session(self, engine: Serving) -> None:
        """A session id the server does not know is error 1, over any transport and method."""
        async with engine() as server, browser(server.url) as http:
            for sid in ("nobody", "__proto__", "x" * 300, "a/b c"):
                client = Polling(http, sid)
                assert refusal(await client.poll()) == (400, 1)
                assert refusal(await client.post("4hi")) == (400, 1)
                assert (await refused_upgrade(server.url, address(ENGINE, "websocket", sid))).status_code == 400

    @pytest.mark.feature("G6")
    @pytest.mark.parametrize("eio", ["3", None, "5"])
    async def test_protocol_version_of_later_requests(self, engine: Serving, eio: str | None) -> None:
        """A request of a session that names another protocol version is a bad request, and does the session no harm."""
        async with engine() as server, browser(server.url) as http:
            client = await Polling.open(http)
            assert refusal(await http.get(address(ENGINE, "polling", client.sid, eio=eio))) == (400, 3)
            assert refusal(await http.post(address(ENGINE, "polling", client.sid, eio=eio), content="4x")) == (400, 3)
            target = address(ENGINE, "websocket", client.sid, eio=eio)
            assert (await refused_upgrade(server.url, target)).status_code == 400
            await polls(client)

    @pytest.mark.feature("G12")
    @pytest.mark.parametrize("message", ["abc", "", "7", "9", "\x00"])
    async def test_undecodable_message(self, engine: Serving, message: str) -> None:
        """A text frame that is no packet, also an empty one, ends the session as a parse error."""
        async with engine() as server, session(server.url) as ws:
            await ends_at_once(ws, message)
            assert (await server.ended())[0] == "parse error"

    @pytest.mark.feature("G12")
    async def test_others_are_not_touched(self, engine: Serving) -> None:
        """A client that breaks the rules ends nobody's session but its own."""
        async with engine() as server, session(server.url) as good, session(server.url) as bad:
            await ends_at_once(bad, "abc")
            await echoes(good)


class TestJoining:
    @pytest.mark.feature("G7", "R6")
    @pytest.mark.parametrize("connect", ['40"text"', "40[1]", "40null", "40true", '40/custom,"text"', "40{"])
    async def test_auth_must_be_an_object(self, socketio: Serving, connect: str) -> None:
        """A CONNECT with anything but an object closes the connection at once."""
        async with socketio() as server, session(server.url, SOCKET) as ws:
            await ends_at_once(ws, connect)
            assert server.events == []

    @pytest.mark.feature("G9")
    async def test_joining_twice(self, socketio: Serving) -> None:
        """A second CONNECT to a joined namespace closes the connection, with all its namespaces."""
        async with socketio() as server, joined(server.url, "", "/custom,") as ws:
            await ends_at_once(ws, "40")
            assert {await server.ended(), await server.ended()} == {("forced close", "/"), ("forced close", "/custom")}
            assert [event for event in server.events if "joined" in event] == ["joined /", "joined /custom"]

    @pytest.mark.feature("G9")
    async def test_joining_twice_during_the_middleware(self, socketio: Serving) -> None:
        """A second CONNECT while the first is still looked at closes the connection, and nobody has joined."""
        async with socketio() as server, session(server.url, SOCKET) as ws:
            await ws.send("40/slow,")
            await ends_at_once(ws, "40/slow,")
            server.released.set()
            async with joined(server.url, "/slow,"):  # whoever waited before has been let go by now
                assert server.events == ["joined /slow"]

    @pytest.mark.feature("G10")
    @pytest.mark.parametrize("packet", ['42["message"]', '42/custom,["message"]', "43/custom,1[]", "41/custom,"])
    async def test_packet_for_a_namespace_not_joined(self, socketio: Serving, packet: str) -> None:
        """A packet for a namespace that the client has not joined closes the connection."""
        async with socketio() as server:
            async with session(server.url, SOCKET) as ws:
                await ends_at_once(ws, packet)
            if "/custom" in packet:
                async with joined(server.url, "") as ws:
                    await ends_at_once(ws, packet)
                    assert await server.ended() == ("forced close", "/")

    @pytest.mark.feature("G10")
    async def test_packet_during_the_middleware(self, socketio: Serving) -> None:
        """A client must wait for its CONNECT to be answered: a packet before that closes the connection."""
        async with socketio() as server, session(server.url, SOCKET) as ws:
            await ws.send("40/slow,")
            await ends_at_once(ws, '42/slow,["message"]')
            assert server.events == []

    @pytest.mark.feature("G11", "R1", "R4", "R5", "R6", "R7", "L6")
    @pytest.mark.parametrize(
        "packet",
        [
            "4",
            "4abc",
            "47",
            "42",
            "42{}",
            "42[]",
            "42[null]",
            '42["connect"]',
            "42nonsense",
            '42["a"',
            "43{}",
            "45",
            "45woooot",
            '45-["a"]',
            '4511-["a"]',
            '451.5-["a"]',
            '451-["a",{"_placeholder":true,"num":1}]',
        ],
    )
    async def test_violations_after_joining(self, socketio: Serving, packet: str) -> None:
        """What is no packet closes the connection of a joined client; its socket hears an error and "forced close"."""
        async with socketio() as server, joined(server.url, "") as ws:
            await ws.send(packet)
            if packet.startswith("451-"):
                await ws.send(b"\x01")
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(ws.connection.recv(), DEADLINE)
            await ws.closed()
            assert await server.ended() == ("forced close", "/")
            assert server.events == ["joined /", "error /"]

    @pytest.mark.feature("G11", "R7")
    @pytest.mark.parametrize(
        "messages",
        [[b"\x01"], ['451-["a",{"_placeholder":true,"num":0}]', '42["message"]']],
        ids=["unasked", "overdue"],
    )
    async def test_attachments_out_of_place(self, socketio: Serving, messages: list[str | bytes]) -> None:
        """Bytes that nobody announced, and text where bytes are due, close the connection."""
        async with socketio() as server, joined(server.url, "") as ws:
            await ws.send(*messages)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(ws.connection.recv(), DEADLINE)
            await ws.closed()
            assert await server.ended() == ("forced close", "/")

    @pytest.mark.node("close.6", "close.8")
    @pytest.mark.feature("G9", "G10", "G11", "D11")
    @pytest.mark.parametrize("second", ["40", '42/custom,["message"]', "4abc"])
    async def test_violations_over_polling(self, socketio: Serving, second: str) -> None:
        """Over polling the client learns of such an end by a noop and the close packet."""
        async with socketio() as server, browser(server.url) as http:
            client = await Polling.open(http, SOCKET)
            await client.send("40")
            assert [packet[:8] for packet in await client.packets()] == ['40{"sid"']
            await client.post(second)
            assert await client.packets(AT_ONCE) == ["6", "1"]
            await client.gone()

    @pytest.mark.feature("A11")
    async def test_first_join_stops_the_clock(self, socketio: Serving) -> None:
        """Only a client that joins nothing is closed by the connect timeout; leaving again does not start it anew."""
        async with socketio(connect_timeout=0.3) as server, session(server.url, SOCKET) as ws:
            await ws.send("40")
            assert (await ws.text()).startswith('40{"sid":')
            await ws.send("41")
            await ws.silent(0.5)
