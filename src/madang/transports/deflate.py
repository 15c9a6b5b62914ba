"""Compressed messages, the same for both ends of a WebSocket (RFC 7692, section 7.2)."""

from __future__ import annotations

import zlib
from typing import Any, Final

from ..engine.deflate_options import DeflateSettings

COMPRESSED: Final = 0x40
"""The bit of a frame's first byte that says so, RSV1."""

_TAIL: Final = b"\x00\x00\xff\xff"
"""What ends each message of a stream, and is left out of it."""

_END: Final = b"\x01\x00\x00\xff\xff"
"""An empty last block: only behind a whole message does it end the stream."""

_TRAILER: Final = _TAIL + _END

_BEHIND: Final = (0, len(_END), len(_TRAILER))
"""How much may be left of it behind a last block: all, where nothing stands between it and these."""

_PIECE: Final = 64 * 1024
"""Bytes that are undone at once: zlib copies what is left of them behind each last block."""

_STREAMS: Final = 64
"""How many last blocks a message may hold; each costs a new start."""


class Deflater:
    """Compresses messages.

    Args:
        settings: how.
        bits: the window, as a power of two.
        takeover: whether a message may refer to earlier ones. If not, nothing is kept between two calls, and one
            deflater does for all connections with the same window.

    Attributes:
        takeover: the same.
        threshold: bytes from which on a message is to be compressed.
    """

    __slots__ = ("_bits", "_level", "_mem_level", "_stream", "takeover", "threshold")

    def __init__(self, settings: DeflateSettings, bits: int, takeover: bool) -> None:
        self.takeover = takeover
        self.threshold = max(settings.threshold, 1)  # nothing at all has no shorter form
        self._bits = bits
        self._level = settings.level
        self._mem_level = settings.mem_level
        self._stream: Any = None

    def deflate(self, data: bytes) -> bytes:
        """The payload of a compressed message."""
        stream = self._stream
        if stream is None:
            stream = zlib.compressobj(self._level, zlib.DEFLATED, -self._bits, self._mem_level)
            if self.takeover:
                self._stream = stream
        packed: bytes = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
        return packed.removesuffix(_TAIL)


class Inflater:
    """Undoes it.

    Args:
        bits: the other end's window, as a power of two.
        takeover: whether a message may refer to earlier ones; then as many bytes as the window has are kept.
    """

    __slots__ = ("_bits", "_keeps", "_window")

    def __init__(self, bits: int = 15, takeover: bool = False) -> None:
        self._bits = max(bits, 9)  # who says 8 may have used 9, as zlib did
        self._keeps = takeover
        self._window = b""

    def inflate(self, data: bytes, limit: int) -> bytes | None:
        """The message, or None if it is larger than `limit` bytes; no more than one byte beyond is ever made.

        Raises:
            zlib.error: the payload is none of a compressed message.
        """
        whole = memoryview(data + _TRAILER)
        parts: list[bytes] = []
        size = at = begun = 0
        stream = self._begin(b"")
        while at < len(whole):
            piece = whole[at : at + _PIECE]
            part = stream.decompress(piece, limit + 1 - size)
            parts.append(part)
            size += len(part)
            if size > limit:
                return None
            at += len(piece)
            if stream.eof:
                at -= len(stream.unused_data)
                if len(whole) - at in _BEHIND:
                    break
                if at > len(data):
                    raise zlib.error("incomplete")
                begun += 1
                if begun > _STREAMS:
                    raise zlib.error("too many last blocks")
                stream = self._begin(b"".join(parts))
        if not stream.eof:
            raise zlib.error("incomplete")
        message = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._keeps:
            self._window = (self._window + message)[-(1 << self._bits) :]
        return message

    def _begin(self, before: bytes) -> Any:
        """A stream that may refer to what has been in this message and, perhaps, in earlier ones."""
        size = 1 << self._bits
        window = before[-size:] if len(before) >= size else self._window + before
        if window:
            return zlib.decompressobj(-self._bits, zdict=window[-size:])
        return zlib.decompressobj(-self._bits)
