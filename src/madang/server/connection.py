"""One client's connection as Socket.IO sees it: the multiplexer over its namespaces (Node's `Client`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ..engine.session import Session
from ..engine.transport import FORCED_CLOSE
from ..errors import ConnectError, PacketError, UsageError
from ..events.arrival import Arrival
from ..protocol.binary import Reconstruction
from ..protocol.parser import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Packet,
)
from ..protocol.socketio import DefaultParser
from ..tasks import FAILURES, raise_if_cancelled
from .recovery import Found
from .refusal import Refusal
from .socket import Socket

if TYPE_CHECKING:
    from .namespace import Namespace
    from .server import Server

logger = logging.getLogger("madang.server")

CLIENT_DISCONNECT = "client namespace disconnect"


class Connection(Arrival):
    """A client: one session, and a socket for each namespace that it has joined.

    Attributes:
        server: the server.
        session: the Engine.IO session.
        sockets: its sockets, by namespace.
    """

    __slots__ = ("_joining", "_left", "_waiting", "server", "session", "sockets")

    def __init__(self, server: Server[Any], session: Session) -> None:
        self.server = server
        self.session = session
        self.sockets: dict[str, Socket] = {}
        self._joining: dict[str, Socket | None] = {}
        self._left: set[str] = set()
        self._waiting: tuple[asyncio.Task[Any], ...] = ()
        self._main = None
        self._partial = None

    @property
    def hub(self) -> Server[Any]:
        """The server; see `Arrival`."""
        return self.server

    # what the session calls

    def receive_text(self, packet: bytes) -> None:
        """Any message of text.

        Raises:
            PacketError: it is not valid, or not its turn.
        """
        if self._partial is not None:
            raise PacketError("text came where an attachment was due")
        self._receive(self.server.parser.decode(packet), len(packet))

    def receive_binary(self, data: bytes) -> None:
        """A binary message: an attachment, or all of a packet if the parser has such."""
        partial = self._partial
        if partial is None:
            try:
                self._receive(self.server.parser.decode_binary(data), len(data))
            except PacketError as error:
                self.violated(error)
            return
        packet, reconstruction = partial
        if reconstruction.add(data):
            self._partial = None
            self.server.attachments.discard(self)
            packet.args = reconstruction.args
            try:
                self._receive_whole(packet, reconstruction.size)
            except PacketError as error:
                self.violated(error)

    def on_close(self, reason: str, description: object) -> None:
        """The session has ended, and all sockets with it."""
        self._partial = None
        self.server.connection_ended(self)
        for socket in list(self.sockets.values()):
            socket.closed(reason, description)
        for joining in self._joining.values():
            if joining is not None:
                joining.closed(reason, description)
        self._main = None
        current = asyncio.current_task()
        for task in self._waiting:
            if task is not current:  # a middleware may have closed the connection itself
                task.cancel("the client has gone")

    def on_write_changed(self) -> None:
        """The session's `write` was exchanged."""
        for socket in self.sockets.values():
            socket.refresh_write()
        for joining in self._joining.values():
            if joining is not None:
                joining.refresh_write()

    # what the deadlines call

    def connect_timed_out(self) -> None:
        """The client has joined no namespace in time."""
        if not self.sockets:
            self.session.fail(FORCED_CLOSE, "no namespace was joined in time")

    def attachments_timed_out(self) -> None:
        """The attachments that were announced do not come."""
        self.violated(PacketError("announced attachments did not come in time"))

    # packets

    def _receive(self, packet: Packet, size: int) -> None:
        kind = packet.type
        if kind == CONNECT:
            self._connect(packet.namespace, self.server.parser.decode_args(packet))
            return
        socket = self.sockets.get(packet.namespace)
        if socket is None:
            self._receive_stray(packet)
            return
        if kind == EVENT and packet.args is None:
            socket.receive_event(packet.payload, packet.id)
        elif packet.attachments:
            args = self.server.parser.decode_args(packet)
            self._partial = (packet, Reconstruction(args, packet.attachments))
            self.server.attachments.add(self)
        else:
            packet.args = self.server.parser.decode_args(packet)
            self._receive_whole(packet, size)

    def _receive_stray(self, packet: Packet) -> None:
        """A packet for a namespace that is not joined: fine only if we have just ended it and it was on its way."""
        if packet.namespace not in self._left:
            raise PacketError(f"a packet for namespace {packet.namespace!r}, which has not been joined")
        if packet.attachments:
            self._partial = (packet, Reconstruction(self.server.parser.decode_args(packet), packet.attachments))
            self.server.attachments.add(self)

    def _receive_whole(self, packet: Packet, size: int) -> None:
        """A packet whose arguments are decoded and complete."""
        socket = self.sockets.get(packet.namespace)
        if socket is None:  # it has left while the attachments came
            return
        kind = packet.type
        if kind in (EVENT, BINARY_EVENT):
            socket.receive_args(packet.args, packet.id, size)
        elif kind in (ACK, BINARY_ACK):
            socket.receive_ack(packet.id, packet.args)
        elif kind == DISCONNECT:
            socket.closed(CLIENT_DISCONNECT, None)
        else:
            raise PacketError("a client does not send CONNECT_ERROR packets")

    def violated(self, error: Exception) -> None:
        """The client broke the protocol: its sockets hear of it, then the connection is closed."""
        logger.debug("protocol violation: %s", error)
        for socket in list(self.sockets.values()):
            socket.protocol_error(error)
        self.session.fail(FORCED_CLOSE, error)

    # joining

    def _connect(self, name: str, auth: Any) -> None:
        if name in self.sockets or name in self._joining:
            raise PacketError(f"namespace {name!r} is joined already")
        self._left.discard(name)
        namespace = self.server.namespaces.get(name)
        waiting = None
        if namespace is not None and namespace.parent is None and not namespace.middlewares:  # nobody is to be asked
            found = namespace.recovery.find(auth) if namespace.recovery is not None else None
            if not isinstance(found, Coroutine):
                self._join_at_once(Socket(namespace, self, auth, found))
                return
            waiting = found
        self._joining[name] = None
        task = self.server.tasks.start(self._join(name, auth, waiting))
        if task is not None:
            self._waiting = (*self._waiting, task)
            task.add_done_callback(self._joined)

    def _join_at_once(self, socket: Socket[Any]) -> None:
        server, name = self.server, socket.nsp
        self.sockets[name] = socket
        server.connects.discard(self)
        socket.accept()
        if name == "/" and type(server.parser) is DefaultParser:
            self._main = self.sockets.get(name)

    def _joined(self, task: asyncio.Task[Any]) -> None:
        self._waiting = tuple(waiting for waiting in self._waiting if waiting is not task)

    async def _join(self, name: str, auth: Any, waiting: Coroutine[Any, Any, Found] | None) -> None:
        try:
            namespace = self.server.namespaces.get(name)
            if waiting is None:
                namespace = await self.server.find_namespace(name, auth or {})
            if not self.session.open:
                return
            if namespace is None:
                self._refuse(name, ConnectError("Invalid namespace"), None, {"name": "INVALID_NAMESPACE"})
                return
            namespace.joining += 1
            try:
                await self._join_as(namespace, auth, waiting)
            finally:
                namespace.joining -= 1
                namespace.cleanup()
        finally:
            self._joining.pop(name, None)

    async def _join_as(self, namespace: Namespace[Any], auth: Any, waiting: Coroutine[Any, Any, Found] | None) -> None:
        """Ask the middlewares about who this client was, or is; again if it cannot be who it was after all."""
        found: Found = None
        if waiting is None and namespace.recovery is not None:
            at_once = namespace.recovery.find(auth)
            if isinstance(at_once, Coroutine):
                waiting = at_once
            else:
                found = at_once
        if waiting is not None:
            found = await waiting
        while True:
            self._joining[namespace.name] = socket = Socket(namespace, self, auth, found)
            try:
                found = await self._ask_middlewares(namespace, socket)
            finally:
                if not socket.connected:
                    socket.abandon()
            if found is None:
                return

    async def _ask_middlewares(self, namespace: Namespace[Any], socket: Socket[Any]) -> str | None:
        """Let the socket join if they agree; else refuse it, or return why it cannot be what it was."""
        try:
            for middleware in namespace.middlewares_for(socket):
                waiting: Any = middleware(socket)
                if isawaitable(waiting):
                    waiting = await waiting
                if waiting is False:
                    raise ConnectError("refused")
                if socket.gone:
                    refusal = ConnectError("disconnected by the server")
                    self._refuse(namespace.name, refusal, socket, {"name": "MIDDLEWARE_REFUSAL"})
                    return None
        except ConnectError as error:
            self._refuse(namespace.name, error, socket, {"name": "MIDDLEWARE_REFUSAL"})
        except FAILURES as error:
            raise_if_cancelled(error)
            self.server.handler_failed(error, socket, "connection")
            refusal = ConnectError("internal error")
            self._refuse(namespace.name, refusal, socket, {"name": "MIDDLEWARE_FAILURE", "error": error})
        else:
            outdated = socket.outdated()
            if outdated is not None:
                return outdated
            self._joining.pop(namespace.name, None)
            self._join_at_once(socket)
        return None

    def _refuse(self, name: str, error: ConnectError, socket: Socket[Any] | None, context: dict[str, Any]) -> None:
        if not self.session.open:
            return
        data: dict[str, Any] = {"message": error.message}
        if error.data is not None:
            data["data"] = error.data
        try:
            packet = self.server.parser.encode_control(CONNECT_ERROR, name, data)
        except UsageError as failure:
            self.server.handler_failed(failure, socket, "connection")
            packet = self.server.parser.encode_control(CONNECT_ERROR, name, {"message": error.message})
        self.session.write(packet)
        context |= {"namespace": name, "data": error.data}
        self.server.refused(Refusal(self.session.request, None, error.message, context))

    def left(self, socket: Socket[Any]) -> None:
        """The server ends a socket; packets for it that are on their way are ignored."""
        self._left.add(socket.nsp)

    def forget(self, socket: Socket[Any]) -> None:
        """A socket has ended."""
        self.sockets.pop(socket.nsp, None)
        if self._main is socket:
            self._main = None

    def disconnect(self) -> None:
        """Leave all namespaces, then close the connection."""
        for socket in list(self.sockets.values()):
            socket.disconnect()
        self.session.close()
