"""WebSocket: frames, limits, refusals and sub-protocols."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.typing import Subprotocol

from tests.conformance.engine_cases import ends_at_once
from tests.conformance.told import Serving, echoes, polls
from tests.conformance.wire import (
    DEADLINE,
    ENGINE,
    Polling,
    address,
    browser,
    opened,
    refusal,
    refused_upgrade,
    session,
    websocket,
)


class TestFrames:
    @pytest.mark.feature("E1", "E2")
    async def test_first_frame(self, engine: Serving) -> None:
        """The open packet comes first, unasked, with nothing left to upgrade to."""
        async with engine() as server, websocket(server.url) as ws:
            assert opened(await ws.receive())["upgrades"] == []
            await ws.send("4!pair")
            assert [await ws.receive(), await ws.receive()] == ["4first", b"\x01\x02"]

    @pytest.mark.feature("E2")
    @pytest.mark.parametrize("message", ["4", "4" + "한글 ✓ \U0001f600", "4" + "x" * 125, "4" + "x" * 70_000])
    async def test_text_of_any_length(self, engine: Serving, message: str) -> None:
        """Text arrives whole, whatever its length and letters; an empty message is a message."""
        async with engine() as server, session(server.url) as ws:
            await ws.send(message)
            assert await ws.text() == message

    @pytest.mark.feature("E2")
    @pytest.mark.parametrize("message", [b"", b"\x00", bytes(range(256)), b"x" * 70_000])
    async def test_binary_of_any_length(self, engine: Serving, message: bytes) -> None:
        """Bytes arrive whole, also none at all."""
        async with engine() as server, session(server.url) as ws:
            await ws.send(message)
            assert await ws.receive() == message

    @pytest.mark.feature("E3")
    async def test_base64_in_text(self, engine: Serving) -> None:
        """Base64 in a text frame is a binary message on WebSocket too."""
        async with engine() as server, session(server.url) as ws:
            await ws.send("bAQID")
            assert await ws.receive() == b"\x01\x02\x03"

    @pytest.mark.feature("E4")
    async def test_client_that_wants_base64(self, engine: Serving) -> None:
        """A client that says ``b64`` gets binary messages as base64 text."""
        async with engine() as server, session(server.url, query={"b64": "1"}) as ws:
            await ws.send("4!pair")
            assert [await ws.receive(), await ws.receive()] == ["4first", "bAQI="]

    @pytest.mark.feature("E2")
    async def test_fragments(self, engine: Serving) -> None:
        """A message in fragments is one message, text and binary, and a control frame may stand between them."""
        async with engine() as server, session(server.url) as ws:
            await ws.connection.send(["4a", "bc", "", "d"])
            assert await ws.text() == "4abcd"
            await ws.connection.send([b"\x01", b"\x02\x03"])
            assert await ws.receive() == b"\x01\x02\x03"

            async def interrupted() -> Any:
                yield "4before"
                yield " the ping"
                pong = await ws.connection.ping()
                await asyncio.wait_for(pong, DEADLINE)
                yield " and after"

            await ws.connection.send(interrupted())
            assert await ws.text() == "4before the ping and after"

    @pytest.mark.feature("E5", "A10")
    @pytest.mark.parametrize("message", ["4" + "x" * 100, b"x" * 101, ["4" + "x" * 60, "x" * 60], [b"x" * 60] * 2])
    async def test_too_large(self, engine: Serving, message: Any) -> None:
        """A message over the limit, in one frame or in several, closes with 1009, as a transport error."""
        async with engine(max_http_buffer_size=100) as server, session(server.url) as ws:
            await ws.connection.send(message)
            assert await ws.closed() == 1009
            assert (await server.ended())[0] == "transport error"

    @pytest.mark.feature("E5", "A10")
    async def test_just_the_limit(self, engine: Serving) -> None:
        """A message of just the limit passes, in one frame or in several."""
        async with engine(max_http_buffer_size=100) as server, session(server.url) as ws:
            await ws.send("4" + "x" * 99)
            assert await ws.text() == "4" + "x" * 99
            await ws.connection.send([b"x" * 50, b"x" * 50])
            assert await ws.receive() == b"x" * 100

    @pytest.mark.feature("E9")
    async def test_upgrade_and_noop_are_ignored(self, engine: Serving) -> None:
        """Upgrade and noop packets have no meaning on an open WebSocket session, and are ignored."""
        async with engine() as server, session(server.url) as ws:
            await ws.send("5", "6")
            await echoes(ws)

    @pytest.mark.feature("E8")
    async def test_close_packet(self, engine: Serving) -> None:
        """The close packet ends the session as a transport close."""
        async with engine() as server, session(server.url) as ws:
            await ends_at_once(ws, "1")
            assert (await server.ended())[0] == "transport close"

    @pytest.mark.feature("O9")
    async def test_client_closes_the_websocket(self, engine: Serving) -> None:
        """A client that closes its WebSocket has left: transport close."""
        async with engine() as server, session(server.url) as ws:
            await ws.connection.close()
            assert (await server.ended())[0] == "transport close"

    @pytest.mark.feature("O9")
    async def test_client_cuts_the_connection(self, engine: Serving) -> None:
        """A connection that breaks without a close frame ends its session at once too."""
        async with engine() as server, session(server.url) as ws:
            ws.connection.transport.abort()
            assert (await server.ended())[0] in ("transport close", "transport error")

    @pytest.mark.feature("O9")
    async def test_server_closes(self, engine: Serving) -> None:
        """What the server sent before it closed arrives before the close."""
        async with engine() as server, session(server.url) as ws:
            await ws.send("4!bye farewell")
            assert await ws.text() == "4farewell"
            assert await ws.closed() in (1000, 1005)
            assert (await server.ended())[0] == "forced close"


class TestWebSocketHandshake:
    @pytest.mark.feature("E6", "C11")
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (address(ENGINE, "abc"), "Transport unknown"),
            (address(ENGINE, "websocket", sid="nobody"), "Session ID unknown"),
        ],
    )
    async def test_refusals(self, engine: Serving, target: str, message: str) -> None:
        """A handshake that cannot be is answered 400 with the message, in HTTP."""
        async with engine() as server:
            answer = await refused_upgrade(server.url, target)
            assert answer.status_code == 400
            assert message.encode() in answer.body

    @pytest.mark.feature("E7", "A21")
    @pytest.mark.parametrize("eio", [None, "3", "5", "04", ""])
    async def test_unsupported_protocol_version(self, engine: Serving, eio: str | None) -> None:
        """Any version but 4 is refused before the WebSocket is accepted, and no session is made."""
        async with engine() as server:
            answer = await refused_upgrade(server.url, address(ENGINE, "websocket", eio=eio))
            assert answer.status_code == 400
            assert b"Unsupported protocol version" in answer.body
            assert server.ends.empty()

    @pytest.mark.feature("E11")
    async def test_subprotocol(self, engine: Serving) -> None:
        """Of the sub-protocols a client offers the first is taken."""
        offered = [Subprotocol("chat.v2"), Subprotocol("chat.v1")]
        async with engine() as server, session(server.url, subprotocols=offered) as ws:
            assert ws.connection.subprotocol == "chat.v2"
            await echoes(ws)

    @pytest.mark.feature("E11")
    async def test_no_subprotocol(self, engine: Serving) -> None:
        """A client that offers none gets none."""
        async with engine() as server, session(server.url) as ws:
            assert ws.connection.subprotocol is None

    @pytest.mark.feature("E13")
    async def test_plain_get(self, engine: Serving) -> None:
        """A plain GET that names the WebSocket transport is a bad request, with or without a session."""
        async with engine() as server, browser(server.url) as http:
            assert refusal(await http.get(address(ENGINE, "websocket"))) == (400, 3)
            client = await Polling.open(http)
            assert refusal(await http.get(address(ENGINE, "websocket", client.sid))) == (400, 3)
            await polls(client)

    @pytest.mark.feature("A5")
    async def test_transports_that_are_not_allowed(self, engine: Serving) -> None:
        """A transport that is not among the allowed ones is an unknown transport."""
        async with engine(transports=["websocket"]) as server, browser(server.url) as http:
            assert refusal(await http.get(address(ENGINE, "polling"))) == (400, 0)
        async with engine(transports=["polling"]) as server, browser(server.url) as http:
            assert (await refused_upgrade(server.url, address(ENGINE, "websocket"))).status_code == 400
            assert opened((await http.get(address(ENGINE, "polling"))).text)["upgrades"] == []

    @pytest.mark.feature("A6")
    async def test_no_upgrades(self, engine: Serving) -> None:
        """When upgrades are off the open packet offers none."""
        async with engine(allow_upgrades=False) as server, browser(server.url) as http:
            assert opened((await http.get(address(ENGINE, "polling"))).text)["upgrades"] == []
