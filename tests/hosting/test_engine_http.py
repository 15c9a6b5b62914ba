"""The native host's own HTTP: requests for the engine are answered past ASGI, as HTTP/1.1 wants it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from madang import ASGIApp, Server
from tests.conformance.wire import DEADLINE, SOCKET, address, before
from tests.hostile.raw import Raw, connection, handshake
from tests.hosts import Host, listening

POLL = address(SOCKET, "polling")


async def answer(client: Raw) -> tuple[int, dict[str, str], bytes]:
    """The next response: status, headers, body."""
    head = await before(DEADLINE, client.reader.readuntil(b"\r\n\r\n"), "a response")
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await client.reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split(" ")[1]), headers, body


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def post(target: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def opened(io: Server, app: object = None):
    """A connection that has opened a session, and the target of its further requests."""
    async with listening(ASGIApp(io, app) if app is not None else io) as url, connection(url) as client:
        await client.send(get(POLL))
        status, _, body = await answer(client)
        assert status == 200
        session_id = body.decode().split('"sid":"')[1].split('"')[0]
        yield client, f"{POLL}&sid={session_id}"


@pytest.mark.feature("D1")
async def test_requests_follow_each_other_on_one_connection() -> None:
    """One connection carries handshake, POSTs and polls, in pieces or whole, with uvicorn's own headers."""
    async with opened(Server()) as (client, target):
        request = post(target, b"40")
        for begin in range(0, len(request), 7):
            await client.send(request[begin : begin + 7])
            await asyncio.sleep(0)
        status, headers, body = await answer(client)
        assert (status, body, headers["server"]) == (200, b"ok", "uvicorn")
        assert "date" in headers
        await client.send(get(target))
        assert (await answer(client))[2].startswith(b"40{")


@pytest.mark.feature("D1", "E10")
async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that are sent without waiting for answers are answered one after another."""
    async with opened(Server()) as (client, target):
        await client.send(post(target, b"40") + get(target) + post(target, b"41") + get("/socket.io/?EIO=4"))
        assert (await answer(client))[2] == b"ok"
        assert (await answer(client))[2].startswith(b"40{")
        assert (await answer(client))[2] == b"ok"
        assert (await answer(client))[0] == 400


@pytest.mark.feature("B1")
async def test_a_connection_is_shared_with_other_paths() -> None:
    """A browser's connection may carry requests for the server and for other pages in turn."""
    async with opened(Server()) as (client, target):
        await client.send(get("/elsewhere"))
        assert (await answer(client))[0] == 404
        await client.send(post(target, b"40"))
        assert (await answer(client))[2] == b"ok"


@pytest.mark.feature("D1")
async def test_expect_and_preflight() -> None:
    """A client that waits to be asked for its body is asked; a preflight on the same connection is answered."""
    async with opened(Server(cors={"origin": "*"})) as (client, target):
        head, body = post(target, b"40", "Expect: 100-continue").split(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        assert (await answer(client))[2] == b"ok"
        asks = get(target, "Origin: http://x", "Access-Control-Request-Method: POST")
        await client.send(asks.replace(b"GET", b"OPTIONS", 1))
        assert (await answer(client))[0] in (200, 204)


@pytest.mark.feature("D1", "E5")
@pytest.mark.parametrize(
    "request_",
    [b"GET /socket.io/ HTTP/1.1\r\nHost\r\n\r\n", b"POST /socket.io/ HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
async def test_what_is_no_http_is_400(request_: bytes) -> None:
    """A request that is not valid HTTP is answered with 400, and its connection closed."""
    async with listening(Server()) as url, connection(url) as client:
        await client.send(request_)
        status, headers, body = await answer(client)
        assert (status, headers["connection"], body) == (400, "close", b"Invalid HTTP request received.")
        assert await client.reader.read() == b""


@pytest.mark.feature("D1")
async def test_a_client_that_wants_no_more_is_closed() -> None:
    """`Connection: close` is answered, said back and kept."""
    async with listening(Server()) as url, connection(url) as client:
        await client.send(get(POLL, "Connection: close"))
        status, headers, _ = await answer(client)
        assert (status, headers["connection"]) == (200, "close")
        assert await client.reader.read() == b""


@pytest.mark.feature("O15")
@pytest.mark.parametrize("host", ["native", "uvicorn"])
async def test_a_header_with_a_line_break_is_left_out(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that adds a header with a line break cannot split the response; the log says so."""
    io = Server()
    io.engine.on("headers", lambda headers, request: headers.append(("x-mine", "a\r\nx-theirs: b")))
    async with listening(io, host) as url, connection(url) as client:
        with caplog.at_level(logging.ERROR, "madang.engine"):
            await client.send(get(POLL))
            _, headers, _ = await answer(client)
        assert "x-mine" not in headers
        assert "x-theirs" not in headers
        assert "line break" in caplog.text


@pytest.mark.parametrize("host", ["native", "uvicorn"])
async def test_a_header_beyond_latin_1_is_answered(host: Host) -> None:
    """A listener that adds what HTTP cannot carry does not leave the client without an answer."""
    io = Server()
    io.engine.on("headers", lambda headers, request: headers.append(("x-mine", "마당!")))
    async with listening(io, host) as url, connection(url) as client:
        await client.send(get(POLL))
        status, headers, _ = await answer(client)
        assert (status, headers["x-mine"]) == (200, "??!")


@pytest.mark.feature("B1", "E1")
@pytest.mark.parametrize("tokens", ["keep-alive, Upgrade", "Upgrade, HTTP2-Settings", "upgrade"])
async def test_connection_names_several(tokens: str) -> None:
    """A handshake whose Connection header names more than the upgrade, as Firefox's does, opens a WebSocket."""
    async with listening(Server()) as url, connection(url) as client:
        request = handshake(url, address(SOCKET, "websocket"))
        await client.send(request.replace(b"Connection: Upgrade", f"Connection: {tokens}".encode()))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")


@pytest.mark.feature("B1", "E1")
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", b"Sec-WebSocket-Key"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ=", b"16 bytes"),
        (b"Connection: Upgrade", b"Connection: keep-alive", b"Connection"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 13\r\nContent-Length: 5", b"no body"),
    ],
    ids=["no key", "a short key", "no upgrade named", "a body"],
)
async def test_what_is_no_handshake_is_refused(old: bytes, new: bytes, reason: bytes) -> None:
    """A handshake that is not one is answered with 400 and a sentence that names the mend."""
    async with listening(Server()) as url, connection(url) as client:
        await client.send(handshake(url, address(SOCKET, "websocket")).replace(old, new))
        status, _, body = await answer(client)
        assert status == 400
        assert reason in body
