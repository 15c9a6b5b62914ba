"""One client in one namespace: what a handler receives."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Iterable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ..adapters.adapter import BroadcastOptions
from ..adapters.choice import as_rooms
from ..engine.transport import FORCED_CLOSE, SERVER_SHUTTING_DOWN
from ..errors import UsageError
from ..events.acks import error_without_data
from ..events.asking import asks_client
from ..events.handlers import Handler, called
from ..events.listening import Listening
from ..events.registering import HearsClient
from ..protocol.encoded import Encoded
from ..protocol.event import check_event
from ..protocol.offsets import without_offset
from ..protocol.parser import CONNECT, DISCONNECT, Packet
from ..protocol.socketio import DefaultParser
from ..protocol.typed import emits_to_clients
from ..tasks import FAILURES, raise_if_cancelled
from ..types import Room
from .broadcast import BroadcastOperator, Operators
from .data import Data
from .handshake import Handshake
from .operator import SocketOperator
from .recovery import RECOVERABLE, Found, Recovery

if TYPE_CHECKING:
    from ..engine.http import Request
    from ..engine.session import Session
    from .connection import Connection
    from .namespace import Namespace
    from .server import Server

logger = logging.getLogger("madang.server")

SERVER_DISCONNECT: Final = "server namespace disconnect"

END_GRACE: Final = 5.0
"""Seconds for which a socket's end waits for the handler that is still running."""


class AwaitsAnswer(Protocol):
    """One who awaits this socket's answer."""

    def resolve(self, values: list[Any], recipient: object) -> None:
        """It has come."""
        ...

    def fail(self, reason: str, recipient: object) -> None:
        """It will not come."""
        ...


class Socket(Listening, HearsClient, Operators[Data]):
    """One client in one namespace.

    Attributes:
        id: its public id, which is also the name of a room of its own.
        namespace: the namespace; `nsp` is its name.
        connection: the connection, which it may share with sockets in other namespaces.
        handshake: what the client presented.
        connected: False before the middlewares have passed it and after it has gone.
        gone: whether it has been disconnected or refused.
        recovered: whether it is one that was here before, with the same id, rooms and data, and has got what it missed.
        not_recovered: why not, if the client has asked for that; else None.
        pid: the private id of its session, if that can be recovered.
        since: the offset of the moment when that session began.
        write: sends an `Encoded`; a copy of the session's slot.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_acks",
        "_data",
        "_end",
        "_returning",
        "_rooms",
        "connection",
        "gone",
        "handshake",
        "id",
        "namespace",
        "not_recovered",
        "pid",
        "recovered",
        "since",
    )

    LIFE = ("disconnecting", "disconnect", "error")

    def __init__(self, namespace: Namespace[Any], connection: Connection, auth: Any, found: Found = None) -> None:
        super().__init__(namespace.handlers)
        self.namespace: Namespace[Data] = namespace
        self.pid: str | None = None
        self.since = ""
        self.not_recovered = found if isinstance(found, str) else None
        self._returning = None if isinstance(found, str) else found
        self.recovered = self._returning is not None
        saved = self._returning.session if self._returning is not None else None
        self.id = saved.sid if saved is not None else namespace.server.generate_socket_id()
        self.connection = connection
        self.handshake = Handshake(connection.session.request, auth)
        self.gone = False
        self.write = connection.session.write
        if namespace.name == "/" and type(namespace.server.parser) is DefaultParser:
            self._ack_encoder = namespace.server.parser.ack_encoder
        self._data: Any = saved.data if saved is not None else None
        self._acks: dict[int, AwaitsAnswer] | None = None
        # the rooms before it has joined, and once it has gone
        self._rooms: set[Room] | None = set(saved.rooms) if saved is not None else None
        self._end: tuple[str, object] | None = None

    def __repr__(self) -> str:
        return f"<Socket {self.id} in {self.nsp}>"

    # what it is

    @property
    def nsp(self) -> str:
        """The namespace's name."""
        return self.namespace.name

    @property
    def server(self) -> Server[Data]:
        """The server."""
        return self.namespace.server

    @property
    def conn(self) -> Session:
        """The Engine.IO session."""
        return self.connection.session

    @property
    def client(self) -> Connection:
        """The same as `connection`, under Node's name."""
        return self.connection

    @property
    def request(self) -> Request | None:
        """The first HTTP request, or None if it was let go to save memory."""
        return self.connection.session.request

    @property
    def disconnected(self) -> bool:
        """The opposite of `connected`."""
        return not self.connected

    @property
    def data(self) -> Data:
        """Whatever the application wants to keep with the socket; an empty dict at first.

        Its type, to type checkers, is that of the server: ``madang.Server[User]``, with a TypedDict.
        """
        if self._data is None:
            self._data = {}
        return cast("Data", self._data)

    @data.setter
    def data(self, data: Data) -> None:
        self._data = data

    @property
    def has_data(self) -> bool:
        """Whether there is anything in `data`."""
        return bool(self._data)

    @property
    def rooms(self) -> set[Room]:
        """The rooms it is in, its own among them, as a new set; empty once ``disconnecting`` is over."""
        if not self.connected:
            return {self.id, *self._rooms} if self._rooms is not None and not self.gone else set(self._rooms or ())
        return self.namespace.adapter.rooms_of(self)

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client to take them; see the option `outbound_limit`."""
        return self.connection.session.buffered

    # emitting

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event to this client. Never waits; may be called from any thread; dropped once the socket has gone.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
        """
        self.emit_with((check_event(event), *args))

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit_with(("message", *args))

    @asks_client
    def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Send an event and get the client's answer. It is sent by this call, not when the result is awaited.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: the server's `ack_timeout`; None there waits until the client has gone.

        Returns:
            An awaitable: None for an empty answer, the value for one, a tuple for several.

        Raises:
            AckTimeout: when awaited, if the answer did not come in time.
            SocketClosed: when awaited, if the client has gone.
            ReservedEventName: the name belongs to the protocol.
        """
        return SocketOperator(self).emit_with_ack(event, *args, timeout=timeout)

    def emit_with(self, args: tuple[Any, ...], compress: bool = True, volatile: bool = False) -> None:
        """Send an event, given as name and arguments, with the flags of a `SocketOperator`."""
        server, namespace = self.namespace.server, self.namespace
        if server.in_other_thread():
            server.call_in_loop(self._write_encoded, namespace.encode(args, None, compress), volatile)
        else:
            self._write_encoded(namespace.encode(args, None, compress), volatile)

    def _write_encoded(self, encoded: Encoded, volatile: bool) -> None:
        recovery = self.namespace.recovery
        if recovery is not None and not volatile and self._is_expected(recovery):
            recovery.backend.send(self.id, encoded)
        elif volatile:
            self.write_volatile(encoded)
        else:
            self.write(encoded)

    def _is_expected(self, recovery: Recovery) -> bool:
        """Whether the client is here, or may come back, as another socket of the same id."""
        return self.connected or (self.pid is not None and recovery.backend.expects(self.pid))

    def write_volatile(self, encoded: Encoded) -> None:
        """Send a message only if it would leave at once."""
        if self.connection.session.transport.writable:
            self.write(encoded)

    @property
    def volatile(self) -> SocketOperator[Data]:
        """The same socket; what is sent is lost if it could not leave at once."""
        return SocketOperator(self, volatile=True)

    def compress(self, compress: bool) -> SocketOperator[Data]:
        """The same socket; whether polling responses that carry the message may be compressed."""
        return SocketOperator(self, compress=compress)

    def timeout(self, seconds: float) -> SocketOperator[Data]:
        """The same socket; how long `emit_with_ack` waits, in seconds."""
        return SocketOperator(self, timeout=seconds)

    @property
    def broadcast(self) -> BroadcastOperator[Data]:
        """Everyone in the namespace but this socket."""
        return self._operator()

    def _operator(self) -> BroadcastOperator[Data]:
        return BroadcastOperator(self.namespace, BroadcastOptions(except_=frozenset((self.id,))))

    # rooms

    def join(self, *rooms: Room | Iterable[Room]) -> None:
        """Join a room, several, or a list of them; does nothing once the socket has gone."""
        names = as_rooms(rooms)
        server = self.namespace.server
        if server.in_other_thread():
            server.call_in_loop(self.join, *names)
        elif self.connected:
            self.namespace.adapter.join(self, names)
        elif not self.gone:
            self._rooms = (self._rooms or set()) | set(names)

    def leave(self, room: Room) -> None:
        """Leave a room; silent if the socket is not in it."""
        server = self.namespace.server
        if server.in_other_thread():
            server.call_in_loop(self.leave, room)
        elif self.connected:
            self.namespace.adapter.leave(self, room)
        elif self._rooms is not None and not self.gone:
            self._rooms.discard(room)

    def leave_all(self) -> None:
        """Leave all rooms, its own as well."""
        for room in self.rooms:
            self.leave(room)

    # ending

    def disconnect(self, close: bool = False) -> None:
        """Leave the namespace; the client does not come back by itself.

        Args:
            close: whether to close the connection as well, with all namespaces on it.
        """
        server = self.namespace.server
        if server.in_other_thread():
            server.call_in_loop(self.disconnect, close)
        elif close:
            self.gone = self.gone or not self.connected
            self.connection.disconnect()
        elif not self.connected:
            self.gone = True
        else:
            self.connection.session.write(server.parser.encode_control(DISCONNECT, self.nsp))
            self.connection.left(self)
            self.closed(SERVER_DISCONNECT, None)

    # what the connection calls

    def accept(self) -> None:
        """The middlewares have passed it: it is a member from now on."""
        namespace = self.namespace
        told = {"sid": self.id}
        recovery = namespace.recovery
        presences = self._returning.session.presences if self._returning is not None else None
        rooms, self._rooms = self._rooms, None
        left_own = self.recovered and self.id not in (rooms or ())
        if recovery is not None:  # first, since who hears that it joins may emit, which it gets once
            told["pid"] = self._catch_up(recovery)
            recovery.joined(told["pid"], self, frozenset((*(rooms or ()), *(() if left_own else (self.id,)))))
        self.connected = True
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s has joined %s%s", self.id, self.nsp, ", recovered" if self.recovered else "")
        namespace.sockets[self.id] = self
        namespace.adapter.add(self)
        if rooms:
            namespace.adapter.join(self, rooms)
        if left_own:
            namespace.adapter.leave(self, self.id)  # as it had done
        if self.recovered and presences is not None:
            namespace.server.use_presence().restore(self, presences)
        self.connection.session.write(namespace.server.parser.encode_control(CONNECT, self.nsp, told))
        handlers = called(namespace.life["connection"])
        for handler in handlers:
            if handler.concurrent:
                self._start(self._run_life(handler, "connection", ()), True)
        if in_turn := [handler for handler in handlers if not handler.concurrent]:
            self._start(self._run_connection(in_turn), False)

    def _catch_up(self, recovery: Recovery) -> str:
        """Send what was missed, ahead of CONNECT; the private id."""
        returning, self._returning = self._returning, None
        if returning is None:
            self.since = recovery.backend.offset()
            self.pid = self.namespace.server.generate_socket_id()
        else:
            missed = returning.missed()
            assert not isinstance(missed, str), "it was asked in this very moment"
            for encoded in missed:
                self.connection.session.write(encoded)
            self.since = returning.session.since
            self.pid = returning.session.pid
        return self.pid

    def outdated(self) -> str | None:
        """Why it cannot be what it was before after all: more was sent than is kept while the middlewares were asked.

        The session is dropped then, and this socket of no more use.
        """
        if self._returning is None or self.namespace.recovery is None:
            return None
        missed = self.namespace.recovery.missed(self._returning)
        if not isinstance(missed, str):
            return None
        self._returning = None
        return missed

    def abandon(self) -> None:
        """It was refused, or has gone before it could join: undo what the middlewares did."""
        if self._returning is not None:
            self._returning.give_back()
            self._returning = None
        if not self.gone or self._rooms is not None:
            self.gone = True
            self._rooms = None
            self.write = _drop
            self._fail_acks("refused")
            self.namespace.socket_left(self)

    def closed(self, reason: str, description: object) -> None:
        """It has ended, for whatever reason: it leaves at once, and its handlers hear of it when their turn comes."""
        if not self.connected:
            self.gone = True
            return
        self._rooms = self.rooms
        self.connected = False
        self.gone = True
        self._end = (reason, description)
        if self.pid is not None and self.namespace.recovery is not None:
            self.namespace.recovery.left(self.pid, self, reason)
            if reason not in RECOVERABLE:
                self.pid = None
        self.connection.forget(self)
        self.namespace.socket_left(self)
        self.write = _drop
        self._fail_acks(reason)
        self._pause(False)
        if reason in (FORCED_CLOSE, SERVER_SHUTTING_DOWN, SERVER_DISCONNECT):
            self._halt()
        if self._queue is None:
            self._finish()
            return
        self._queue.append((None, None, None, 0))
        if reason == SERVER_SHUTTING_DOWN:
            return
        self.namespace.server.endings.add(self)

    def end_overdue(self) -> None:
        """The running handler does not end; the socket's own end waits no longer."""
        if self._end is not None:
            waiting = len(self._queue) - 1 if self._queue else 0
            logger.warning("a handler of %s still runs after the client has gone; %d events wait", self.id, waiting)
            self._finish()

    def receive_ack(self, ack_id: int | None, values: list[Any]) -> None:
        """An answer came; an unknown or late one is ignored."""
        pending = self._acks.pop(ack_id, None) if self._acks and ack_id is not None else None
        if pending is not None:
            pending.resolve(values, self)

    def expect_ack(self, ack_id: int, pending: AwaitsAnswer) -> None:
        """Give the answer with this id to `pending`."""
        if self._acks is None:
            self._acks = {}
        self._acks[ack_id] = pending
        self._ack_awaited()

    def forget_ack(self, ack_id: int) -> None:
        """Nobody waits for this answer any more."""
        if self._acks is not None:
            self._acks.pop(ack_id, None)

    def protocol_error(self, error: Exception) -> None:
        """The client broke the protocol."""
        self._local_error(error)

    def refresh_write(self) -> None:
        """Take over the session's slot again."""
        if not self.gone:
            self.write = self.connection.session.write if self._outgoing is None else self._write_told

    def _write_told(self, encoded: Encoded) -> None:
        if not encoded.event and self.namespace.is_event(encoded):
            values = self.namespace.values_of(encoded)  # a broadcast of another worker, or of the past
            encoded.event = tuple(values) if encoded.event is None else without_offset(values)
        self._tell_outgoing(encoded)
        self.connection.session.write(encoded)

    def _fail_acks(self, reason: str) -> None:
        acks, self._acks = self._acks, None
        for pending in (acks or {}).values():
            pending.fail(reason, self)

    def _finish(self) -> None:
        """Tell the handlers of ``disconnecting`` and ``disconnect``, once."""
        end, self._end = self._end, None
        if end is None:
            return
        self.namespace.server.endings.discard(self)
        if self._life or self.namespace.life["disconnecting"] or self.namespace.life["disconnect"]:
            self.namespace.server.tasks.start(self._run_end(*end))
        else:
            self._rooms = None
            self._release()

    def _release(self) -> None:
        """Let go of the handlers, which may refer to the socket, once no event is left for them."""
        if self._queue is None and self._end is None:
            self._own = None
            self._own_routes = None
            self._life = None
            self._middlewares = None
            self._outgoing = None

    async def _run_connection(self, handlers: list[Handler]) -> None:
        try:
            for handler in handlers:
                await self._run_life(handler, "connection", ())
        finally:
            self._next()

    async def _run_end(self, reason: str, description: object) -> None:
        for event in ("disconnecting", "disconnect"):
            own = (self._life or {}).get(event, [])
            for handler in (*called(self.namespace.life[event]), *called(own)):
                await self._run_life(handler, event, (reason, description))
            self._rooms = None
        self._release()

    # what the dispatcher asks

    @property
    def _owner(self) -> Server[Any]:
        return self.namespace.server

    @property
    def _overlap(self) -> bool:
        return self.namespace.server.options.concurrent

    def acknowledge(self, ack_id: int, values: Sequence[Any]) -> None:
        """Send an acknowledgement; from another thread, in the server's loop."""
        server = self.namespace.server
        if server.in_other_thread():
            server.call_in_loop(self._answer, ack_id, values)
        else:
            self._answer(ack_id, values)

    def _answer(self, ack_id: int, values: Sequence[Any]) -> None:
        namespace = self.namespace
        try:
            encoded = namespace.server.parser.encode_ack(namespace.name, values, ack_id)
        except UsageError as error:
            self._owner.handler_failed(error, self, "ack")
            failure = error_without_data(values)
            encoded = namespace.server.parser.encode_ack(namespace.name, ({"error": failure},), ack_id)
        self.write(encoded)

    def _tell_error(self, payload: dict[str, Any]) -> None:
        try:
            self.emit_with(("error", payload))
        except UsageError as error:
            self._owner.handler_failed(error, self, "error")
            payload.pop("data", None)
            self.emit_with(("error", payload))

    def _local_error(self, error: BaseException) -> None:
        for handler in called((self._life or {}).get("error", [])):
            self.namespace.server.tasks.start(self._run_error(handler, error))

    async def _run_error(self, handler: Handler, error: BaseException) -> None:
        try:
            waiting = handler.function(error)
            if isawaitable(waiting):
                await waiting
        except FAILURES as second:
            raise_if_cancelled(second)
            self._owner.handler_failed(second, self, "error")

    def _violated(self, error: Exception) -> None:
        self.connection.violated(error)

    def _decode_event(self, packet: Packet) -> list[Any]:
        args: list[Any] = self.namespace.server.parser.decode_args(packet)
        return args

    def _set_reading(self, reading: bool) -> None:
        session = self.connection.session
        if reading:
            session.resume_reading()
        else:
            session.pause_reading()

    def _awaits_ack(self) -> bool:
        return bool(self._acks)

    def _queue_reached_end(self) -> None:
        self._finish()
        self._release()


def _drop(_: Encoded) -> None:
    """What `write` is once the socket has gone."""
