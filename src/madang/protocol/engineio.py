"""Engine.IO v4 packets and polling payloads.

A packet is one character for its type and then its data; binary data is always a message (protocol, "Packet
encoding"). A payload is packets joined by the record separator (protocol, "HTTP long-polling", "Packet encoding").
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

from ..errors import PacketError

OPEN: Final = 0x30
CLOSE: Final = 0x31
PING: Final = 0x32
PONG: Final = 0x33
MESSAGE: Final = 0x34
UPGRADE: Final = 0x35
NOOP: Final = 0x36
BASE64: Final = 0x62
"""The first bytes of the packet types, and of a base64-encoded binary message."""

SEPARATOR: Final = b"\x1e"
PROBE_PING: Final = b"2probe"
PROBE_PONG: Final = b"3probe"


class Packet(NamedTuple):
    """One decoded packet. `type` is the first byte, or None for a binary message; `data` is what follows it."""

    type: int | None
    data: bytes


def encode_binary(data: bytes) -> bytes:
    """A binary message in the text form that polling uses: ``b`` and base64."""
    return b"b" + b64encode(data)


def decode_packet(packet: bytes) -> Packet:
    """Decode one packet of text.

    Raises:
        PacketError: the packet is empty, of no known type, or not base64 where it says so.
    """
    if not packet:
        raise PacketError("empty packet")
    first = packet[0]
    if OPEN <= first <= NOOP:
        return Packet(first, packet[1:])
    if first == BASE64:
        return Packet(None, decode_base64(packet[1:]))
    raise PacketError(f"unknown packet type {packet[:1]!r}")


def decode_base64(data: bytes) -> bytes:
    """Decode standard padded base64.

    Raises:
        PacketError: it is not base64.
    """
    try:
        return b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PacketError(f"not base64: {error}") from None


def split_payload(payload: bytes) -> list[bytes]:
    """The encoded packets of a polling payload, in order; linear in its bytes, without a limit on their number."""
    return payload.split(SEPARATOR)


def join_payload(packets: list[bytes]) -> bytes:
    """The polling payload that carries `packets`, which are encoded already."""
    return SEPARATOR.join(packets)
