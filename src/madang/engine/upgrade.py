"""The change from polling to WebSocket, seen from the server.

The new connection first proves that it works: ``2probe`` is answered with ``3probe``. From then on an idle poll is let
go with ``6`` every 100 ms, so that the client can stop polling; messages still leave over polling. With ``5`` the
client commits: what waits goes out on the new transport, in order, and the old one is dropped (protocol v4, "Upgrade").
Whatever goes wrong before ``5`` costs only the new connection; the session lives on over polling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.engineio import PROBE_PING, PROBE_PONG
from ..types import CloseReason

if TYPE_CHECKING:
    from .engine import Engine
    from .polling import PollingTransport
    from .session import Session
    from .transport import Transport

PROBE_INTERVAL = 0.1
"""Seconds between two releases of an idle poll while an upgrade is under way."""


class Upgrade:
    """One upgrade under way; stands in for the session towards the probing transport.

    Args:
        session: the session, which polls.
        polling: its present transport.
        transport: the new connection.
    """

    __slots__ = ("_close_reason", "_engine", "polling", "session", "transport")

    def __init__(self, engine: Engine, session: Session, polling: PollingTransport, transport: Transport) -> None:
        self._engine = engine
        self._close_reason: CloseReason | None = None
        self.session = session
        self.polling = polling
        self.transport = transport

    def on_text(self, packet: bytes) -> None:
        """A message before the upgrade packet: the client does not know the protocol."""
        self._fail()

    def on_binary(self, data: bytes) -> None:
        """See `on_text`."""
        self._fail()

    def on_control(self, packet: bytes) -> None:
        """The probe, or the packet that commits."""
        if packet == PROBE_PING:
            self.transport.send_control(PROBE_PONG)
            self.session.tell("upgrading", self.transport)
            self._engine.probes.add(self)
        elif packet == b"5":
            self._complete()
        else:
            self._fail()

    def transport_closed(self, transport: Transport, reason: CloseReason, description: object = None) -> None:
        """The new connection broke."""
        self._give_up()

    def fail(self, reason: CloseReason, description: object, code: int = 1002) -> None:
        """The new connection broke the rules of its own protocol."""
        self._fail()

    def drained(self) -> None:
        """Of no interest before the upgrade."""

    def release_poll(self) -> None:
        """Let an idle poll go, and look again later."""
        self.polling.release()
        self._engine.probes.add(self)

    def timed_out(self) -> None:
        """The client did not commit in time."""
        self._fail()

    def close_when_done(self, reason: CloseReason) -> None:
        """The server wants to end the session; do so once it is clear on which transport."""
        self._close_reason = reason

    def abandon(self) -> None:
        """The session has ended."""
        self._forget()
        self.transport.close()

    def _complete(self) -> None:
        session, transport = self.session, self.transport
        self._forget()
        session.upgrade = None
        waiting = self.polling.detach()
        self._engine.adopt(transport, session)
        session.switch_transport(transport)
        for encoded in waiting:
            transport.send(encoded)
        session.tell("upgrade", transport)
        self._close_if_asked()

    def _fail(self) -> None:
        self._give_up()
        self.transport.close()

    def _give_up(self) -> None:
        self._forget()
        if self.session.upgrade is self:
            self.session.upgrade = None
            self._close_if_asked()

    def _close_if_asked(self) -> None:
        if self._close_reason is not None:
            self.session.close(self._close_reason)

    def _forget(self) -> None:
        self._engine.probes.discard(self)
        self._engine.upgrades.discard(self)
