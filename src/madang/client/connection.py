"""One session as Socket.IO sees it from the client: which packet belongs to which namespace."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..engine.client_session import ClientSession
from ..engine.transport import PARSE_ERROR
from ..errors import PacketError
from ..events.arrival import Arrival
from ..protocol.binary import Reconstruction
from ..protocol.parser import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from ..protocol.socketio import DefaultParser

if TYPE_CHECKING:
    from .reconnect import Manager
    from .socket import ClientSocket

logger = logging.getLogger("madang.client")


class Connection(Arrival):
    """What one session delivers; made anew for each.

    Args:
        manager: whose sockets the packets are for.

    Attributes:
        session: the session; set once it has been made.
    """

    __slots__ = ("manager", "session")

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.session: ClientSession | None = None
        self._main = None
        self._partial = None

    @property
    def hub(self) -> Manager:
        """The manager; see `Arrival`."""
        return self.manager

    # what the session calls

    def on_open(self) -> None:
        """The handshake is done."""
        self.manager.session_opened(self)

    def on_close(self, reason: str, description: object) -> None:
        """The session has ended."""
        self._drop_partial()
        self._main = None
        self.manager.session_closed(self, reason, description)

    def on_write_changed(self) -> None:
        """The session's `write` was exchanged."""
        for socket in self.manager.sockets.values():
            socket.refresh_write()

    def on_ping(self) -> None:
        """The server has sent a ping."""
        self.manager.tell("ping")

    def on_drained(self) -> None:
        """Nothing waits to be sent."""
        self.manager.drained_now()

    # packets

    def receive_text(self, packet: bytes) -> None:
        """Any message of text.

        Raises:
            PacketError: it is not valid, or not its turn.
        """
        if self._partial is not None:
            raise PacketError("text came where an attachment was due")
        self._decoded(self.manager.parser.decode(packet), len(packet))

    def _decoded(self, received: Packet, size: int) -> None:
        """A packet whose payload may not be decoded."""
        self.manager.tell_packet(received)
        socket = self.manager.sockets.get(received.namespace)
        plain = received.type == EVENT and received.args is None
        if plain and socket is not None and socket.is_connected and not socket.tapped:
            socket.receive_event(received.payload, received.id)
            return
        self._receive(received, size)

    def _receive(self, packet: Packet, size: int) -> None:
        args = self.manager.parser.decode_args(packet)
        if packet.attachments:
            self._partial = (packet, Reconstruction(args, packet.attachments))
            self.manager.attachments.add(self)
        else:
            packet.args = args
            self._receive_whole(packet, size)

    def receive_binary(self, data: bytes) -> None:
        """A binary message: an attachment, or all of a packet if the parser has such."""
        partial = self._partial
        if partial is None:
            try:
                self._decoded(self.manager.parser.decode_binary(data), len(data))
            except PacketError as error:
                self.violated(error)
            return
        packet, reconstruction = partial
        try:
            if reconstruction.add(data):
                self._drop_partial()
                packet.args = reconstruction.args
                self._receive_whole(packet, reconstruction.size)
        except PacketError as error:
            self.violated(error)

    def _receive_whole(self, packet: Packet, size: int) -> None:
        """A packet whose arguments are decoded and complete; for a namespace that we have left it is late."""
        socket = self.manager.sockets.get(packet.namespace)
        kind = packet.type
        if socket is None:
            return
        if kind in (CONNECT, CONNECT_ERROR, DISCONNECT) and socket.answered_late(kind == CONNECT):
            return
        if not socket.active:
            return
        if kind in (EVENT, BINARY_EVENT):
            socket.event_arrived(packet.args, packet.id, size)
        elif kind in (ACK, BINARY_ACK):
            socket.receive_ack(packet.id, packet.args)
        elif kind == CONNECT:
            socket.joined(packet.args)
            self.refresh_main()
        elif kind == DISCONNECT:
            socket.disconnected_by_server()
        elif kind == CONNECT_ERROR:
            socket.refused(packet.args)

    def refresh_main(self) -> None:
        """Let events for ``/`` take the short way if nobody is to see them before their handlers."""
        manager = self.manager
        socket = manager.sockets.get("/")
        short = (
            socket is not None
            and socket.is_connected
            and not socket.tapped
            and not manager.tapped
            and type(manager.parser) is DefaultParser
        )
        self._main = socket if short else None

    def attachments_timed_out(self) -> None:
        """The attachments that were announced do not come."""
        self.violated(PacketError("announced attachments did not come in time"))

    def violated(self, error: Exception) -> None:
        """The server broke the protocol."""
        logger.debug("protocol violation: %s", error)
        if self.session is not None:
            self.session.fail(PARSE_ERROR, error)

    def main_socket(self) -> ClientSocket | None:
        """The socket whose events take the short way; for tests."""
        main: ClientSocket | None = self._main  # type: ignore[assignment]  # pyright: ignore
        return main

    def _drop_partial(self) -> None:
        self._partial = None
        self.manager.attachments.discard(self)
