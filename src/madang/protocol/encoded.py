"""One outgoing message in its wire forms, each made once however many clients it goes to."""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..compiled import COMPILED, twin
from .engineio import SEPARATOR, encode_binary

_TEXT_HEADERS: Final = tuple(bytes((0x81, size)) for size in range(126))


def websocket_frame(opcode: int, data: bytes) -> bytes:
    """A finished server-to-client WebSocket frame: FIN set, unmasked (RFC 6455, section 5.2).

    Args:
        opcode: 1 for text, 2 for binary, 8 for close, 10 for pong.
        data: the frame's payload.
    """
    size = len(data)
    if size < 126:
        return bytes((0x80 | opcode, size)) + data
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + data
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + data


def masked_frame(opcode: int, data: bytes) -> bytes:
    """A finished client-to-server WebSocket frame: FIN set, masked (RFC 6455, sections 5.2 and 5.3).

    Args:
        opcode: 1 for text, 2 for binary, 8 for close, 10 for pong; with 64 added, the data is compressed.
        data: the frame's payload.
    """
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    key = urandom(4)  # which nobody may be able to predict
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")
    return head + key + masked.to_bytes(size, "little")


class Encoded(msgspec.Struct, gc=False):
    """A message for one or many sessions, and the binary messages that must follow it at once.

    Attributes:
        text: the Engine.IO packet as text, such as ``b'42["hello"]'``; empty if the message is binary alone.
        attachments: binary messages that follow the text.
        compress: whether a polling response that carries it may be compressed.
        event: name and arguments, for listeners of what goes out; None for anything but an event.
    """

    text: bytes
    attachments: tuple[bytes, ...] = ()
    compress: bool = True
    event: tuple[Any, ...] | None = None
    frame: bytes | None = None
    payload: bytes | None = None
    string: str | None = None

    def make_frame(self) -> bytes:
        """The WebSocket frames, joined; kept in `frame`."""
        text = self.text
        if not self.attachments and len(text) < 126:
            frame = _TEXT_HEADERS[len(text)] + text
        else:
            parts = [websocket_frame(1, text)] if text else []
            parts += [websocket_frame(2, data) for data in self.attachments]
            frame = b"".join(parts)
        self.frame = frame
        return frame

    def make_payload(self) -> bytes:
        """The packets as part of a polling payload; kept in `payload`."""
        if self.attachments:
            parts = [self.text] if self.text else []
            parts += [encode_binary(data) for data in self.attachments]
            self.payload = SEPARATOR.join(parts)
        else:
            self.payload = self.text
        return self.payload

    def make_string(self) -> str:
        """The text as `str`, for hosts that send text as such; kept in `string`."""
        self.string = self.text.decode()
        return self.string


class AckEncoder:
    """Encodes acknowledgements in compiled code; there is nothing to it without.

    Attributes:
        limit: bytes of a packet, or an attachment, from which on it takes the longer way, where its size is looked at.
    """

    __slots__ = ("limit",)

    limit: int

    def __init__(self, dumps: Callable[..., bytes], encoder: object, options: int) -> None: ...


if not TYPE_CHECKING and COMPILED:
    AckEncoder = twin("protocol._encoded").AckEncoder
    Encoded = twin("protocol._encoded").Encoded
    masked_frame = twin("protocol._encoded").masked_frame
    websocket_frame = twin("protocol._encoded").websocket_frame


def message(data: str | bytes | bytearray | memoryview, compress: bool = True) -> Encoded:
    """An Engine.IO message that carries `data`: text for `str`, binary for bytes."""
    if isinstance(data, str):
        return Encoded(b"4" + data.encode(), (), compress)
    return Encoded(b"", (bytes(data),), compress)
