"""Compression of WebSocket messages with the stock JavaScript client, seen on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

import madang
from tests.chat.browser import Browser
from tests.faults.proxy import Proxy, between
from tests.hostile.deflated import extensions
from tests.server.javascript import Heard, Js

pytestmark = pytest.mark.feature("A12")


def frames(seen: bytes) -> list[tuple[int, bool, int]]:
    """Opcode, RSV1 and length of the frames behind the first head of a stream."""
    found: list[tuple[int, bool, int]] = []
    at = seen.index(b"\r\n\r\n") + 4
    while at + 2 <= len(seen):
        first, second = seen[at : at + 2]
        size = second & 127
        at += 2
        if size >= 126:
            length = 2 if size == 126 else 8
            size = int.from_bytes(seen[at : at + length], "big")
            at += length
        at += size + (4 if second & 128 else 0)
        found.append((first & 15, bool(first & 64), size))
    return found


def sockets(proxy: Proxy) -> list[Any]:
    """The WebSockets that went through the proxy."""
    return [link for link in proxy.links if b"transport=websocket" in link.first_line]


@asynccontextmanager
async def seen(js: Js, io: madang.Server) -> AsyncIterator[Proxy]:
    """A way to the server on which one sees what passes."""
    port = urlsplit(await js.serve(io)).port
    assert port is not None
    async with between(port) as proxy:
        yield proxy


@pytest.mark.parametrize("mode", ["websocket", "upgrade"], indirect=True)
async def test_compressed_unless_told_otherwise(js: Js, mode: str):
    """What the server emits is compressed, to all and to one, unless `compress(False)` says that it is not to be."""
    io = madang.Server(per_message_deflate={"threshold": 0})
    io.on("ready?", lambda socket: True)
    async with seen(js, io) as proxy:
        client = await js.connect(proxy.url, perMessageDeflate={"threshold": 0})
        if mode == "upgrade":
            await client.upgraded()
            assert await client.emit_with_ack("ready?") is True  # the server knows of it too
        socket = io.sockets[client.id]
        for emit in (io.emit, socket.emit):
            emit("woot", "hi")
            assert await client.next("woot") == ["hi"]
        io.compress(False).emit("woot", "hi")
        socket.compress(False).emit("woot", "hi")
        assert [await client.next("woot") for _ in range(2)] == [["hi"], ["hi"]]
        (link,) = sockets(proxy)
        down = bytes(link.directions["down"].seen)
        assert extensions(down).startswith("permessage-deflate; ")
        assert [compressed for _, compressed, _ in frames(down)[-4:]] == [True, True, False, False]


async def test_both_ways(js: Js, heard: Heard):
    """Large text and bytes travel compressed both ways, as the client does it by default; small ones as they are."""
    io = madang.Server(per_message_deflate=True)

    @io.on("echo")
    def echo(socket: Any, *values: Any) -> Any:
        heard(len(values))
        return values

    async with seen(js, io) as proxy:
        client = await js.connect(proxy.url)
        for values in (("x" * 50_000, b"\x00" * 50_000), ("한글 " * 40_000,), ("small",)):
            answer = await client.emit_with_ack("echo", *values)
            assert answer == (values if len(values) > 1 else values[0])
        (link,) = sockets(proxy)
        for way in ("up", "down"):
            passed = frames(bytes(link.directions[way].seen))
            assert [frame[:2] for frame in passed[-4:]] == [(1, True), (2, True), (1, True), (1, False)]
            assert sum(size for _, _, size in passed) < 5_000
    assert heard.all == [2, 1, 1]


async def test_contexts(js: Js):
    """With contexts, a message that is like an earlier one takes a few bytes."""
    io = madang.Server(
        per_message_deflate={"server_no_context_takeover": False, "client_no_context_takeover": False, "threshold": 0}
    )
    io.on("echo", lambda socket, value: value)
    text = "".join(chr(33 + number * 7919 % 90) for number in range(2000))
    async with seen(js, io) as proxy:
        client = await js.connect(proxy.url, perMessageDeflate={"threshold": 0})
        for _ in range(5):
            assert await client.emit_with_ack("echo", text) == text
        (link,) = sockets(proxy)
        for way in ("up", "down"):
            *_, last = frames(bytes(link.directions[way].seen))
            assert last[1]
            assert last[2] < 40


async def test_clients_that_do_not_want_it(js: Js):
    """A client that offers nothing hears the same, uncompressed, beside one that does."""
    io = madang.Server(per_message_deflate=True)
    async with seen(js, io) as proxy:
        plain = await js.connect(proxy.url, perMessageDeflate=False)
        other = await js.connect(proxy.url)
        io.emit("news", "x" * 3000, b"y" * 3000)
        assert await plain.next("news") == await other.next("news") == ["x" * 3000, b"y" * 3000]
        agreed: dict[bool, list[bool]] = {}
        for link in sockets(proxy):
            down = bytes(link.directions["down"].seen)
            agreed[bool(extensions(down))] = [compressed for _, compressed, _ in frames(down)[-2:]]
        assert agreed == {True: [True, True], False: [False, False]}


IN_A_PAGE = """new Promise((resolve, reject) => {
  const socket = new WebSocket(%r);
  socket.onerror = () => reject(new Error("the WebSocket failed"));
  socket.onmessage = ({ data }) => {
    if (data.startsWith("0")) socket.send("40");
    if (data.startsWith("40")) socket.send('421["echo","' + "x".repeat(50000) + '"]');
    if (data.startsWith("43")) resolve([socket.extensions, data.length]);
  };
})"""


async def test_in_chromium(js: Js, node: str, chromium: str):
    """What Chromium offers is agreed on, and large messages travel compressed both ways."""
    io = madang.Server(per_message_deflate=True)
    io.on("echo", lambda socket, value: value)
    async with seen(js, io) as proxy:
        where = proxy.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        with await asyncio.to_thread(Browser, node, chromium) as browser:
            page = await asyncio.to_thread(browser.page, "someone", proxy.url)
            agreed, size = await asyncio.to_thread(page.run, IN_A_PAGE % where)
            assert agreed.startswith("permessage-deflate")
            assert size == 50_007
            (link,) = sockets(proxy)
            for way in ("up", "down"):
                large = [frame for frame in frames(bytes(link.directions[way].seen)) if frame[1]]
                assert len(large) == 1 if way == "down" else large  # a browser compresses small ones as well
                assert sum(length for _, _, length in large) < 1_000
            await asyncio.to_thread(browser.close_all)
