"""The interface of a Socket.IO parser: what turns packets into messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

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
        payload: the undecoded JSON text; empty if there is none or if `args` is set.
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
    """What a Socket.IO parser must offer; one instance serves one server or client.

    `decode` and `decode_args` raise `PacketError` and nothing else.
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

    def decode_args(self, packet: Packet) -> Any:
        """Decode the packet's payload and check that it suits the packet's type."""
        ...
