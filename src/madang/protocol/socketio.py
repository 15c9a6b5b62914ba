"""Socket.IO protocol v5, the default parser: JSON text with binary attachments.

Layout of a packet (protocol v5, "Packet encoding"): type digit, number of attachments and ``-`` for the binary types,
namespace and ``,`` unless it is ``/``, ack id in decimal, JSON. Here each text still has the Engine.IO digit ``4``
in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from ..compiled import COMPILED
from ..errors import EncodeError, PacketError
from .encoded import AckEncoder, Encoded
from .parser import ACK, BINARY_EVENT, EVENT, Packet, is_valid
from .values import OPTIONS, JsonEncoder, loads

_HEADER: Final = re.compile(rb"4([0-6])(?:(\d*)-)?(?:(/[^,]*),?)?(\d*)", re.DOTALL)
_MAX_ID_DIGITS: Final = 1000  # far beyond any counter; int() itself stops at 4300 digits


class DefaultParser:
    """The parser that every Socket.IO client speaks unless told otherwise.

    Args:
        max_attachments: how many attachments a received packet may announce.
        default: see `JsonEncoder`.
    """

    __slots__ = ("_default", "_encoder", "ack_encoder", "max_attachments")

    def __init__(self, max_attachments: int = 10, default: Callable[[Any], Any] | None = None) -> None:
        self._default = default
        self._encoder = JsonEncoder(default)
        self.ack_encoder = AckEncoder(orjson.dumps, self._encoder, OPTIONS) if COMPILED else None
        self.max_attachments = max_attachments

    def copy(self) -> DefaultParser:
        """A parser with the same settings; an encoder keeps state while it works, so threads do not share one."""
        return DefaultParser(self.max_attachments, self._default)

    def encode_event(
        self, namespace: str, args: Sequence[Any], ack_id: int | None = None, compress: bool = True
    ) -> Encoded:
        """An EVENT packet, or a BINARY_EVENT with its attachments."""
        encoder = self._encoder
        try:
            text = orjson.dumps(args, encoder.replace, OPTIONS)
        except orjson.JSONEncodeError as error:
            text = encoder.encode_slowly(args, error)
        if encoder.attachments or namespace != "/":
            return self._pack(EVENT, namespace, ack_id, text, compress)
        return Encoded(b"42" + text if ack_id is None else b"42%d%b" % (ack_id, text), (), compress)

    def numbered(self, encoded: Encoded, namespace: str, ack_id: int) -> Encoded:
        """An event that was encoded without an ack id, with one."""
        text = encoded.text
        start = text.find(b"[", 0 if namespace == "/" else text.find(namespace.encode()) + len(namespace.encode()))
        return Encoded(b"%b%d%b" % (text[:start], ack_id, text[start:]), encoded.attachments, encoded.compress)

    def encode_ack(self, namespace: str, args: Sequence[Any], ack_id: int) -> Encoded:
        """An ACK packet, or a BINARY_ACK with its attachments."""
        encoder = self._encoder
        try:
            text = orjson.dumps(args, encoder.replace, OPTIONS)
        except orjson.JSONEncodeError as error:
            text = encoder.encode_slowly(args, error)
        if encoder.attachments or namespace != "/":
            return self._pack(ACK, namespace, ack_id, text, True)
        return Encoded(b"43%d%b" % (ack_id, text))

    def encode_control(self, packet_type: int, namespace: str, data: Any = None) -> Encoded:
        """A CONNECT, DISCONNECT or CONNECT_ERROR packet; bytes in it are refused, as they may not be attached.

        Raises:
            EncodeError: `data` holds bytes or has no JSON form.
        """
        text = self._encoder.encode(data) if data is not None else b""
        if self._encoder.take_attachments():
            raise EncodeError("bytes cannot be part of a CONNECT or CONNECT_ERROR packet")
        return self._pack(packet_type, namespace, None, text, True)

    def _pack(self, packet_type: int, namespace: str, ack_id: int | None, text: bytes, compress: bool) -> Encoded:
        attachments = self._encoder.take_attachments()
        return Encoded(self.head(packet_type, namespace, ack_id, len(attachments)) + text, attachments, compress)

    @staticmethod
    def head(packet_type: int, namespace: str, ack_id: int | None, attachments: int) -> bytes:
        """What stands before a packet's JSON."""
        head = "4"
        if attachments:
            head += f"{packet_type + BINARY_EVENT - EVENT}{attachments}-"
        else:
            head += str(packet_type)
        if namespace != "/":
            head += namespace + ","
        if ack_id is not None:
            head += str(ack_id)
        return head.encode()

    def decode(self, text: bytes) -> Packet:
        """Read a packet's head; see `Parser.decode`."""
        match = _HEADER.match(text)
        if match is None:
            raise PacketError(f"unknown packet type {text[1:2]!r}")
        kind, attachments, namespace, ack_id = match.groups()
        packet = Packet(kind[0] - 0x30, payload=text[match.end() :])
        if packet.type >= BINARY_EVENT:
            packet.attachments = self._count(attachments)
        elif attachments is not None:
            # "2-…" is no attachment count here: what follows the type digit is not a packet's head
            raise PacketError("an attachment count on a packet without attachments")
        if namespace is not None:
            try:
                packet.namespace = namespace.decode()
            except UnicodeDecodeError:
                raise PacketError("the namespace is not UTF-8") from None
        if ack_id:
            if len(ack_id) > _MAX_ID_DIGITS:
                raise PacketError("the ack id is too long")
            packet.id = int(ack_id)
        return packet

    def decode_binary(self, data: bytes) -> Packet:
        """Refuse bytes; see `Parser.decode_binary`."""
        raise PacketError("bytes came where no attachment was due")

    def _count(self, digits: bytes | None) -> int:
        # a leading zero, no digit, or many digits: all "illegal attachments" (protocol v5)
        if not digits or digits[0] == 0x30 or len(digits) > 6 or int(digits) > self.max_attachments:
            raise PacketError("illegal attachments: their number is missing, zero or too high")
        return int(digits)

    def decode_args(self, packet: Packet) -> Any:
        """Decode and check the payload; see `Parser.decode_args`."""
        args = packet.args if packet.args is not None else (loads(packet.payload) if packet.payload else None)
        if not is_valid(packet.type, args, bool(packet.payload)):
            raise PacketError("invalid payload")
        return args
