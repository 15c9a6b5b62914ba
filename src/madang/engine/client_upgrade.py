"""The change from polling to WebSocket, seen from the client.

The new connection is tried out first: ``2probe`` must be answered with ``3probe``. Then polling stops, which waits for
the requests that are on their way, and ``5`` commits the session to the new connection; what was sent meanwhile follows
on it (protocol v4, "Upgrade"). Whatever goes wrong before ``5`` costs only the new connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConnectionFailed
from ..protocol.engineio import PROBE_PING, PROBE_PONG
from ..types import CloseReason

if TYPE_CHECKING:
    from .client_session import ClientSession, ClientTransport, Dial


class Probe:
    """One upgrade under way; stands in for the session towards the new connection.

    Args:
        session: the session, which polls.
        dial: makes the new connection.

    Attributes:
        upgrading: whether the new connection has proved itself, and polling is about to stop.
        drain_watched: False; nobody wants to know when the new connection has sent what it held.
    """

    __slots__ = ("_over", "_session", "_transport", "drain_watched", "upgrading")

    def __init__(self, session: ClientSession, dial: Dial) -> None:
        self._session = session
        self._over = False
        self.upgrading = False
        self.drain_watched = False
        self._transport = dial("websocket", session.id, self)
        self._transport.open()

    def on_text(self, packet: bytes) -> None:
        """A message where an answer to the probe was due."""
        self._fail("a message came before the upgrade")

    def on_binary(self, data: bytes) -> None:
        """See `on_text`."""
        self._fail("a message came before the upgrade")

    def on_control(self, packet: bytes) -> None:
        """The answer to the probe."""
        if self._over or self.upgrading:
            return
        if packet != PROBE_PONG:
            self._fail("the probe was not answered as it should be")
            return
        self.upgrading = True
        session = self._session
        session.tell("upgrading", self._transport)
        session.hold()
        session.transport.pause(self._commit)

    def transport_opened(self, transport: ClientTransport) -> None:
        """Try it out."""
        transport.send_control(PROBE_PING)

    def transport_closed(self, transport: ClientTransport, reason: CloseReason, description: object = None) -> None:
        """The new connection could not be made, or broke."""
        self._give_up(description)

    def fail(self, reason: CloseReason, description: object, code: int = 1002) -> None:
        """The new connection broke the rules."""
        self._fail(description)

    def drained(self) -> None:
        """Of no interest."""

    def abandon(self) -> None:
        """The session has ended."""
        if not self._over:
            self._over = True
            self._transport.session = None
            self._transport.abort()

    def _commit(self) -> None:
        if self._over:
            return
        self._over = True
        session, transport = self._session, self._transport
        transport.send_control(b"5")
        session.switch_transport(transport)
        session.tell("upgrade", transport)

    def _fail(self, description: object) -> None:
        if not self._over:
            transport = self._transport
            self._give_up(description)
            transport.close()

    def _give_up(self, description: object) -> None:
        if self._over:
            return
        self._over = True
        self._transport.session = None
        session = self._session
        error: Any = description
        if not isinstance(error, Exception):
            error = ConnectionFailed("probe error", None if error is None else str(error), transport="websocket")
        session.tell("upgrade_error", error)
        if self.upgrading:
            session.release()
        session.probe_ended()
