"""A WebSocket client that has agreed on compression, by zlib alone, and may do with it whatever it likes."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.conformance.wire import SOCKET
from tests.hostile.raw import TEXT, Raw, frame, raw

OFFER: Final = "permessage-deflate; client_max_window_bits"
"""What browsers offer."""

TAIL: Final = b"\x00\x00\xff\xff"
RSV1: Final = 4


def packed(data: bytes, *, level: int = 6, bits: int = 15) -> bytes:
    """The payload of a compressed message that refers to nothing before it."""
    deflate = zlib.compressobj(level, wbits=-bits)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def unpacked(payload: bytes, bits: int = 15) -> bytes:
    """The other way."""
    return zlib.decompressobj(-bits).decompress(payload + TAIL)


class Deflated:
    """One connection.

    Attributes:
        raw: the same, frame by frame.
        agreed: what the server has answered about extensions; empty if nothing.
    """

    def __init__(self, client: Raw) -> None:
        self.raw = client
        self.agreed = extensions(client.head)
        self._deflate: Any = None
        self._inflate: Any = None
        self.server_keeps = "permessage-deflate" in self.agreed and "server_no_context_takeover" not in self.agreed
        self.client_keeps = "permessage-deflate" in self.agreed and "client_no_context_takeover" not in self.agreed
        found = re.search(r"server_max_window_bits=(\d+)", self.agreed)
        self._server_bits = int(found[1]) if found else 15

    async def say(self, packet: str | bytes, opcode: int = TEXT) -> int:
        """Send a message compressed; the bytes that its payload has become."""
        if self._deflate is None or not self.client_keeps:
            self._deflate = zlib.compressobj(wbits=-15)
        data = packet.encode() if isinstance(packet, str) else packet
        payload = (self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        await self.raw.send(frame(opcode, payload, bits=RSV1))
        return len(payload)

    async def hear(self) -> tuple[bytes, int]:
        """The next message, and the bytes of its payload if it came compressed, else 0."""
        _, payload = await self.raw.receive()
        if not self.raw.bits:
            return payload, 0
        assert self.raw.bits == RSV1
        if self._inflate is None or not self.server_keeps:
            self._inflate = zlib.decompressobj(-self._server_bits)
        return self._inflate.decompress(payload + TAIL), len(payload)

    async def served(self) -> None:
        """See that the server still answers."""
        await self.say('427["echo",1]')
        assert (await self.hear())[0] == b"437[1]"


def extensions(head: bytes) -> str:
    """What the answer to a handshake says of extensions."""
    found = re.search(rb"(?im)^sec-websocket-extensions: *(.*?)\r$", head)
    return found[1].decode() if found else ""


@asynccontextmanager
async def deflated(
    url: str, *headers: str, offer: str = OFFER, join: bool = True, path: str = SOCKET, **query: str
) -> AsyncIterator[Deflated]:
    """A WebSocket that has joined ``/``."""
    async with raw(url, path, f"Sec-WebSocket-Extensions: {offer}", *headers, **query) as client:
        it = Deflated(client)
        if join:
            await client.join()
        yield it
