"""The interface of a Socket.IO parser: what turns packets into messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from ..errors import PacketError, UsageError
from .encoded import Encoded

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6

RESERVED_EVENTS: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Names that no event may have on the wire, in either direction."""


class Packet(msgspec.Struct):
    """One Socket.IO packet as it was received.

    Attributes:
        type: one of the seven packet types; an attachment-carrying one keeps its binary type.
        namespace: such as ``"/"`` or ``"/chat"``.
        id: the ack id, or None.
        payload: the undecoded payload; empty if there is none or if `args` is set. If its second byte is a quotation
            mark, it is taken for the JSON text of an event.
        attachments: how many binary messages will follow.
        args: the decoded payload, if the parser had to decode it.
    """

    type: int
    namespace: str = "/"
    id: int | None = None
    payload: bytes = b""
    attachments: int = 0
    args: Any = None


class Parser(Protocol):
    """What a Socket.IO parser must offer; one instance serves one server or client, and all threads that emit.

    `decode`, `decode_binary` and `decode_args` raise `PacketError` and nothing else.
    """

    def encode_event(
        self, namespace: str, args: Sequence[Any], ack_id: int | None = None, compress: bool = True
    ) -> Encoded:
        """An EVENT packet; `args` is the event's name and its arguments."""
        ...

    def encode_ack(self, namespace: str, args: Sequence[Any], ack_id: int) -> Encoded:
        """The ACK packet that answers `ack_id`."""
        ...

    def encode_control(self, packet_type: int, namespace: str, data: Any = None) -> Encoded:
        """A CONNECT, DISCONNECT or CONNECT_ERROR packet; no payload if `data` is None."""
        ...

    def decode(self, text: bytes) -> Packet:
        """Read a message's text, which begins with the Engine.IO packet type; the payload stays undecoded."""
        ...

    def decode_binary(self, data: bytes) -> Packet:
        """Read a binary message that came while no attachment was due; if not overridden, such a one is an error."""
        raise PacketError("bytes came where no attachment was due")

    def decode_args(self, packet: Packet) -> Any:
        """Decode the packet's payload and check that it suits the packet's type."""
        ...


def check_parser(parser: Parser) -> Parser:
    """`parser`, if it has what a parser must have.

    Raises:
        UsageError: a method is missing.
    """
    names = ("encode_event", "encode_ack", "encode_control", "decode", "decode_binary", "decode_args")
    missing = [name for name in names if not callable(getattr(parser, name, None))]
    if missing or isinstance(parser, type):
        lack = f"it lacks {', '.join(missing)}" if missing else "it is a class, where an instance is wanted"
        raise UsageError(f"{parser!r} is not a parser: {lack}; see madang.Parser")
    return parser


def is_valid(packet_type: int, data: Any, present: bool) -> bool:
    """Whether a payload suits its packet type (protocol v5, "Packet types")."""
    if packet_type in (EVENT, BINARY_EVENT):
        if not isinstance(data, list) or not data:
            return False
        name: object = data[0]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(name, str):
            return name not in RESERVED_EVENTS
        return isinstance(name, int | float) and not isinstance(name, bool)
    if packet_type in (ACK, BINARY_ACK):
        return isinstance(data, list)
    if packet_type == CONNECT:
        return isinstance(data, dict) or not present
    if packet_type == CONNECT_ERROR:
        return isinstance(data, str | dict)
    return packet_type == DISCONNECT and not present
