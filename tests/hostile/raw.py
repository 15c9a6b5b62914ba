"""A WebSocket client that sends any bytes as frames, right or wrong, and reads only when told to."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from tests.conformance.wire import DEADLINE, SOCKET, address, before

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, bits: int = 0, masked: bool = True, size: int | None = None
) -> bytes:
    """One frame (RFC 6455, section 5.2); `size` announces another length than the data's."""
    first = (0x80 if fin else 0) | bits << 4 | opcode
    mask = 0x80 if masked else 0
    length = len(data) if size is None else size
    if length < 126:
        head = bytes((first, mask | length))
    elif length < 65536:
        head = bytes((first, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + length.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + data


def text(packet: str | bytes) -> bytes:
    """A text message in one frame."""
    return frame(TEXT, packet.encode() if isinstance(packet, str) else packet)


class Raw:
    """One connection.

    Attributes:
        head: the answer to the handshake.
        bits: the reserved bits of the frame that was received last.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self.bits = 0

    async def send(self, *data: bytes) -> None:
        """Send bytes; a server that has closed meanwhile is no error."""
        with suppress(ConnectionError):
            self.writer.write(b"".join(data))
            await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        return await before(DEADLINE, self._receive(), "a frame")

    async def _receive(self) -> tuple[int, bytes]:
        first, size = await self.reader.readexactly(2)
        assert not size & 0x80, "a server does not mask"
        self.bits = first >> 4 & 7
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def closed(self) -> int:
        """Read up to the server's close frame and the end of the stream; the close code."""
        code = 1006
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    await self.send(frame(CLOSE, payload[:2]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return code

    async def join(self) -> None:
        """Join ``/`` and read the answer."""
        await self.send(text("40"))
        _, answer = await self.receive()
        assert answer.startswith(b'40{"sid":')

    async def served(self) -> None:
        """See that the server still answers this client."""
        await self.send(text('427["echo",1]'))
        while True:
            opcode, answer = await self.receive()
            if opcode == TEXT:
                break
        assert answer == b"437[1]"

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def handshake(url: str, target: str, *headers: str) -> bytes:
    """The request of a WebSocket handshake."""
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@asynccontextmanager
async def connection(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[Raw]:
    """A TCP connection."""
    where = urlsplit(url)
    plain = socket.socket()
    plain.setblocking(False)
    if receive_buffer is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(plain, (where.hostname, where.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=2**16 if receive_buffer is None else 1024)
    try:
        yield Raw(reader, writer)
    finally:
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def raw(
    url: str, path: str = SOCKET, *headers: str, receive_buffer: int | None = None, **query: str
) -> AsyncIterator[Raw]:
    """A WebSocket whose open packet has been read, or that has answered a probe if there is a sid in the query."""
    async with connection(url, receive_buffer=receive_buffer) as client:
        await client.send(handshake(url, address(path, "websocket", t=os.urandom(3).hex(), **query), *headers))
        client.head = await before(DEADLINE, client.reader.readuntil(b"\r\n\r\n"), "the response 101")
        assert client.head.startswith(b"HTTP/1.1 101"), client.head
        if "sid" in query:
            await client.send(text("2probe"))
        opcode, packet = await client.receive()
        assert (opcode, packet[:1]) == (TEXT, b"3" if "sid" in query else b"0")
        yield client
