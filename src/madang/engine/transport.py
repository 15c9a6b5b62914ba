"""The interface between a session and what moves its messages, and the reasons why a session ends."""

from __future__ import annotations

from typing import Final, Protocol

from ..protocol.encoded import Encoded
from ..types import TransportName

TRANSPORT_ERROR: Final = "transport error"
TRANSPORT_CLOSE: Final = "transport close"
FORCED_CLOSE: Final = "forced close"
PING_TIMEOUT: Final = "ping timeout"
PARSE_ERROR: Final = "parse error"
SERVER_SHUTTING_DOWN: Final = "server shutting down"


class Transport(Protocol):
    """What a session needs of a transport. None of its methods waits or raises.

    A transport tells its session of what arrives: messages go to `session.on_text` and `session.on_binary`, other
    packets to `session.on_control`, and its end to `session.transport_closed`.
    """

    name: TransportName

    @property
    def writable(self) -> bool:
        """Whether a packet sent now would leave at once: what decides the fate of a volatile one."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent."""
        ...

    def send(self, encoded: Encoded) -> None:
        """Send a message."""
        ...

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message, such as ``b"2"``."""
        ...

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits, then end the connection in an orderly way.

        Args:
            code: the close code, for WebSocket.
            linger: whether a client that polls but has no poll open just now is to learn of it from its next ones; if
                not, those are told that the session is unknown.
        """
        ...

    def abort(self) -> None:
        """End the connection at once."""
        ...

    def pause_reading(self) -> None:
        """Take nothing more from the client until `resume_reading`."""
        ...

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        ...


class MessageReceiver(Protocol):
    """What a session needs of the layer above it."""

    def on_text(self, packet: bytes) -> None:
        """A text message came; `packet` still begins with the packet type ``4``."""
        ...

    def on_binary(self, data: bytes) -> None:
        """A binary message came."""
        ...

    def on_close(self, reason: str, description: object) -> None:
        """The session has ended; nothing more will come."""
        ...

    def on_write_changed(self) -> None:
        """The session's `write` slot was exchanged, so copies of it must be as well."""
        ...
