"""WebSocket as it is on the wire: what answers a handshake, and how a connection ends."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha1
from typing import Final

from ..showing import name
from .wire import MOST, Answer, NoAnswer, Site, Streams, let_go, read_answer

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PING: Final = b"2"
PONG: Final = b"3"
"""The heartbeat of Engine.IO."""

_TEXT: Final = 1
_CLOSE: Final = 8
_PING: Final = 9


class Closed(Exception):
    """A WebSocket has ended; the message says how.

    Args:
        code: that of the close frame, or None if there was none.
        message: how it ended.
    """

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code


class WebSocket:
    """An open WebSocket.

    Attributes:
        answer: the answer to its handshake.
    """

    def __init__(self, answer: Answer, streams: Streams) -> None:
        self.answer = answer
        self._reader, self._writer = streams
        self._parts = b""

    async def send(self, text: bytes) -> None:
        """Send a text.

        Raises:
            Closed: the connection has ended.
        """
        self._writer.write(_frame(_TEXT, text))
        try:
            await self._writer.drain()
        except OSError as error:
            raise Closed(None, f"it broke while something was sent ({name(error)})") from None

    async def receive(self) -> bytes:
        """The next message; pings of WebSocket are answered on the way.

        Raises:
            Closed: the connection has ended.
        """
        try:
            while True:
                first, kind, data = await self._read_frame()
                if kind == _CLOSE:
                    raise _closed(data)
                if kind == _PING:
                    self._writer.write(_frame(10, data))
                elif kind < _CLOSE:
                    self._parts += data
                    if first & 0x80:
                        whole, self._parts = self._parts, b""
                        return whole
        except asyncio.IncompleteReadError:
            raise Closed(None, "it ended without a close frame") from None
        except OSError as error:
            raise Closed(None, f"it broke ({name(error)})") from None

    async def first(self, timeout: float) -> bytes:
        """The next message.

        Raises:
            Closed: the connection has ended, or nothing came within `timeout` seconds.
        """
        return await self.first_that(lambda _: True, timeout)

    async def first_that(self, fits: Callable[[bytes], bool], timeout: float) -> bytes:
        """The first message that fits; pings of Engine.IO before it are answered.

        Raises:
            Closed: the connection has ended, or nothing that fits came within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while not fits(packet := await self.receive()):
                    if packet == PING:
                        await self.send(PONG)
                    elif packet == b"1":
                        raise Closed(None, "the server ended the session")
        except TimeoutError:
            raise Closed(None, f"no answer within {timeout:g} s") from None
        return packet

    async def close(self) -> None:
        """End it; whoever is at the other end is told, and not waited for."""
        with suppress(OSError):
            self._writer.write(_frame(_CLOSE, (1000).to_bytes(2, "big")))
            async with asyncio.timeout(1):
                await self._writer.drain()
                self._writer.close()
                await self._writer.wait_closed()
        await let_go(self._writer)

    async def _read_frame(self) -> tuple[int, int, bytes]:
        first, second = await self._reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        if first & 0x70 or second & 0x80 or size + len(self._parts) > MOST:
            raise Closed(None, "what came is no frame of WebSocket: something on the way changes the bytes")
        return first, first & 0x0F, await self._reader.readexactly(size)


def _closed(data: bytes) -> Closed:
    code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
    reason = data[2:].decode("utf-8", "replace")
    return Closed(code, f"it was closed with code {code}" + (f" ({name(reason)})" if reason else ""))


def _frame(kind: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        head = bytes((0x80 | kind, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | kind, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | kind, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = secrets.token_bytes(4)
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + mask + masked


async def ask_websocket(
    site: Site,
    session_id: str | None = None,
    *,
    origin: str | None = None,
    compressed: bool = False,
    cookies: Mapping[str, str] | None = None,
) -> WebSocket | Answer:
    """Ask for a WebSocket: it, or the answer that came instead.

    Args:
        site: the server.
        session_id: the session that it is for, or None for a new one.
        origin: the header `Origin`, or None to leave it out.
        compressed: whether to offer permessage-deflate. What comes then cannot be read.
        cookies: what is sent along.

    Raises:
        NoAnswer: nothing came, or what is no HTTP.
    """
    key = b64encode(secrets.token_bytes(16))
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    headers += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key.decode())]
    if compressed:
        headers.append(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"))
    if origin is not None:
        headers.append(("Origin", origin))
    streams = await site.open()
    try:
        async with asyncio.timeout(site.timeout):
            streams[1].write(site.head("GET", site.target("websocket", session_id), headers, cookies))
            answer = await read_answer(streams[0])
        if answer.status == 101 and answer.get("sec-websocket-accept") != _accepting(key):
            raise NoAnswer("a 101 whose Sec-WebSocket-Accept does not fit: a cache, or no WebSocket server, answered")
    except BaseException as error:
        await let_go(streams[1])
        if isinstance(error, TimeoutError):
            raise NoAnswer(f"no answer to the WebSocket handshake within {site.timeout:g} s") from None
        raise
    if answer.status == 101:
        return WebSocket(answer, streams)
    await let_go(streams[1])
    return answer


def _accepting(key: bytes) -> str:
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest()).decode()
