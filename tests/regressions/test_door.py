"""Odd requests at the native host's door."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import madang
from tests.conformance.wire import DEADLINE, SOCKET, address, before
from tests.hostile.raw import connection, handshake
from tests.hostile.victim import joined_polling
from tests.hosts import listening
from tests.server.javascript import Heard

TARGET = address(SOCKET, "websocket")


async def answered(url: str, *pieces: bytes) -> bytes:
    """The first line of the answer to a request that is sent in pieces."""
    async with connection(url) as client:
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0.01)  # for a read of its own
        return await before(DEADLINE, client.reader.readuntil(b"\r\n"), "an answer")


def pieces(request: bytes, cut: int | None) -> list[bytes]:
    return [request] if cut is None else [request[:cut], request[cut:]]


@pytest.mark.parametrize("cut", [None, 2, 30, 80])
async def test_upgrade_of_another_method(io: madang.Server, cut: int | None):
    """Only a GET is upgraded."""
    heard = Heard()
    io.engine.on("connection", heard)
    async with listening(io) as url:
        for method in (b"POST", b"PUT", b"OPTIONS"):
            request = handshake(url, TARGET, "Content-Length: 0").replace(b"GET", method, 1)
            line = await answered(url, *pieces(request, cut))
            assert b" 101 " not in line
    assert heard.all == []


@pytest.mark.parametrize("cut", [None, 30, 80])
@pytest.mark.parametrize("version", ["8", "", "14", "013x"])
async def test_another_version_of_websocket(io: madang.Server, version: str, cut: int | None):
    """A handshake of another version than 13 is refused."""
    heard = Heard()
    io.engine.on("connection", heard)
    async with listening(io) as url:
        request = handshake(url, TARGET).replace(b"Version: 13", f"Version: {version}".encode())
        line = await answered(url, *pieces(request, cut))
        assert line.split()[1] in (b"400", b"426"), line
    assert heard.all == []


async def test_an_upgrade_behind_an_open_poll(io: madang.Server):
    """A handshake on a connection whose poll is open does not get that poll's answer into its WebSocket."""
    async with listening(io) as url, joined_polling(url) as client, connection(url) as tcp:
        await tcp.send(f"GET {client.url()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await client.settle()
        await tcp.send(handshake(url, TARGET))
        await client.settle()
        session = io.engine.sessions.get(client.sid)
        if session is not None:
            session.send("hello")
        got = b""
        with suppress(TimeoutError, ConnectionError):
            while chunk := await asyncio.wait_for(tcp.reader.read(65536), 0.3):
                got += chunk
        assert b"HTTP/1.1" not in got.partition(b"HTTP/1.1 101")[2]
        if b"HTTP/1.1 101" in got:
            assert got.startswith(b"HTTP/1.1 200"), "answers come in the order of the requests"


HEADS = {
    "one header": [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 10_000],
    "many headers": [b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: " + b"a" * 9_995 + b"\r\n"],
    "target": [b"GET /", b"a" * 10_000],
    "target below the path": [b"GET /socket.io/?EIO=4&a=", b"a" * 10_000],
    "upgrade": [handshake("http://x", TARGET)[:-2] + b"X: ", b"a" * 10_000],
    "method": [b"", b"A" * 10_000],
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("head", HEADS)
async def test_an_endless_head(io: madang.Server, head: str, used: bool):
    """A request whose head does not end is cut off after some 64 KB, on a new connection and on a used one."""
    begin, more = HEADS[head]
    async with listening(io) as url, connection(url) as client:
        if used:
            await client.send(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n")
            line = await before(DEADLINE, client.reader.readuntil(b"\r\n\r\n"), "an answer")
            assert line.startswith(b"HTTP/1.1 404")
            await client.reader.readexactly(int(line.lower().partition(b"content-length: ")[2].split()[0]))
        await client.send(begin)
        answer = b""
        with suppress(ConnectionError):
            for _ in range(30):
                await client.send(more)
            answer = await before(2, client.reader.readline(), "the end")
        assert answer == b"" or answer.split()[1] in (b"400", b"414", b"431")


def cookies(number: int) -> str:
    return "Cookie: " + "; ".join(f"c{index}=" + "x" * 100 for index in range(number))


@pytest.mark.parametrize("cut", [None, 80, 10_000])
async def test_a_large_head(io: madang.Server, cut: int | None):
    """A head with 30 KB of cookies is fine, for WebSocket and for polling, in one piece and in two."""
    async with listening(io) as url:
        request = handshake(url, TARGET, cookies(280))
        assert b" 101 " in await answered(url, *pieces(request, cut))
        lines = (f"GET {address(SOCKET, 'polling')} HTTP/1.1", "Host: x", cookies(280), "", "")
        assert b" 200 " in await answered(url, *pieces("\r\n".join(lines).encode(), cut))
