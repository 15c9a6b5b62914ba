"""One namespace as the client sees it: what handlers are registered on, and what events are sent with."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable, Generator, Sequence
from inspect import isawaitable
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

from ..errors import (
    BufferFull,
    ConnectError,
    ConnectionFailed,
    EventError,
    PacketError,
    SocketClosed,
    UsageError,
    WaitTimeout,
)
from ..events.acks import Ack, PendingAck, error_without_data, result_of
from ..events.dispatch import QUEUE_BYTES
from ..events.event import check_event, event_name
from ..events.handlers import Handler, HandlerTable, called
from ..events.listening import Listening
from ..protocol.encoded import Encoded
from ..protocol.parser import CONNECT, DISCONNECT, Packet
from ..protocol.socketio import DefaultParser
from ..tasks import FAILURES, raise_if_cancelled
from .backoff import Backoff
from .offsets import Progress
from .operator import ClientOperator
from .options import Auth, check_auth
from .retrying import RetryQueue
from .stream import EventStream, Received

if TYPE_CHECKING:
    from ..engine.client_session import ClientSession
    from .manager import Manager

IO_SERVER: Final = "io server disconnect"
IO_CLIENT: Final = "io client disconnect"

_LONGEST_ID: Final = 1024

_LOOK_EVERY: Final = 64 * 1024
"""Bytes after which `emit` looks how much waits for the server."""

_HOLD_TURNS: Final = 4
"""Turns of the loop for who awaited the connection to say what they want to hear, before the first event is given."""

_OLD_SERVER: Final = (
    "the server answered as one of Socket.IO 2 does, which clients of version 3 and later cannot speak to; update it"
)


class Connected:
    """Whether a namespace is joined: true or false, and awaitable until it is."""

    __slots__ = ("_socket",)

    def __init__(self, socket: ClientSocket) -> None:
        self._socket = socket

    def __bool__(self) -> bool:
        return self._socket.is_connected

    def __eq__(self, other: object) -> bool:
        return bool(self) == other if isinstance(other, bool | Connected) else NotImplemented

    def __hash__(self) -> int:
        return id(self._socket)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._socket.joined_or_failed().__await__()

    def __repr__(self) -> str:
        return repr(bool(self))


class Buffered(NamedTuple):
    """An event that waits for the connection; with an ack id if an answer is wanted."""

    encoded: Encoded
    ack_id: int | None


class ClientSocket(Listening):
    """A namespace of a connection; made by `client.of`, and the base of `Client`.

    Besides the server's events, `on` takes ``connect``, ``disconnect`` (reason, description) and ``connect_error``
    (error): a `ConnectError` if the server's application has refused, after which nothing more is tried, or a
    `ConnectionFailed`, after which the client comes back by itself unless `active` is False.

    Args:
        manager: the connection.
        namespace: the namespace's name.
        auth: what to present to the server; read, or called, for each attempt.

    Attributes:
        manager: the connection.
        nsp: the namespace's name.
        auth: may be changed between attempts.
        id: the id that the server knows this client by; None while not connected.
        recovered: whether the server has taken up the session that was lost, and sends what was missed.
        active: whether it is connected, or will be: False before `connect`, after a refusal or a disconnect.
        tapped: whether events are to be seen before their handlers.
    """

    LIFE = ("connect", "disconnect", "connect_error")

    def __init__(self, manager: Manager, namespace: str, auth: Auth | None = None) -> None:
        self._joined = False
        super().__init__(HandlerTable())
        self.manager = manager
        self.nsp = namespace if namespace.startswith("/") else f"/{namespace}"
        self.auth = check_auth(auth)
        self.id: str | None = None
        self.recovered = False
        self.active = False
        self.tapped = False
        self.write = _drop
        self._progress = Progress()
        self._ids = count()
        self._acks: dict[int, PendingAck] = {}
        self._buffer: deque[Buffered] = deque()
        self._buffered_bytes = 0
        self._since_look = 0
        self._early: deque[tuple[list[Any], int | None, int]] = deque()
        self._early_bytes = 0
        self._holding = False
        self._asked = False
        self._waiting: list[Future[None]] = []
        self._waits: dict[str | int, list[Future[Any]]] = {}
        self._streams: WeakSet[EventStream] = WeakSet()
        self._handlers_full = False
        self._paused_session: ClientSession | None = None
        self._auth_backoff = Backoff(1.0, 5.0, 0.5)
        self._auth_timer: Any = None
        options = manager.options
        self._retry = RetryQueue(self, options.retries) if options.retries else None
        if self.nsp == "/" and type(manager.parser) is DefaultParser:
            self._ack_encoder = manager.parser.ack_encoder

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.nsp} {'connected' if self._joined else 'not connected'}>"

    # what it is

    @property
    def connected(self) -> Connected:  # type: ignore[override]
        """Whether the namespace is joined: true or false, and awaitable until it is.

        Awaiting it takes at most the option `timeout`.

        Raises:
            ConnectError: when awaited, if the server's application has refused.
            ConnectionFailed: when awaited, if there is no connection, and none is to be expected or none came in time.
            SocketClosed: when awaited, if it has been disconnected.
        """
        return Connected(self)

    @connected.setter
    def connected(self, joined: bool) -> None:
        self._joined = joined

    @property
    def is_connected(self) -> bool:
        """Whether the namespace is joined, as a plain bool."""
        return self._joined

    @property
    def disconnected(self) -> bool:
        """The opposite of `connected`."""
        return not self._joined

    @property
    def io(self) -> Manager:
        """The same as `manager`, under JavaScript's name."""
        return self.manager

    @property
    def buffered(self) -> int:
        """Bytes that wait: for the connection, or for the server to take them."""
        return self._buffered_bytes + self.manager.buffered

    # emitting

    def emit(self, event: str | int, *args: Any) -> None:
        """Send an event. Never waits; may be called from any thread; kept until there is a connection.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
            PayloadTooLarge: the server does not take so much at once.
            BufferFull: more than `outbound_limit` waits already.
        """
        self.emit_with((check_event(event), *args))

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit_with(("message", *args))

    def emit_with_ack(self, event: str | int, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Send an event and get the server's answer. It is sent by this call, not when the result is awaited.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: the option `ack_timeout`; None there waits until the connection ends.

        Returns:
            An awaitable: None for an empty answer, the value for one, a tuple for several.

        Raises:
            AckTimeout: when awaited, if the answer did not come in time.
            SocketClosed: when awaited, if the connection was lost after the event was sent.
            ReservedEventName: the name belongs to the protocol.
        """
        return self.request((check_event(event), *args), timeout)

    @property
    def volatile(self) -> ClientOperator:
        """The same socket; what is sent is lost if it could not leave at once."""
        return ClientOperator(self, volatile=True)

    def compress(self, compress: bool) -> ClientOperator:
        """The same socket; whether a message may be compressed."""
        return ClientOperator(self, compress=compress)

    def timeout(self, seconds: float) -> ClientOperator:
        """The same socket; how long `emit_with_ack` waits, in seconds."""
        return ClientOperator(self, timeout=seconds)

    async def drained(self) -> None:
        """Wait until what was emitted has been handed to the network; between emits of much data."""
        await self.manager.drained()

    def emit_checked(self, args: tuple[Any, ...], **flags: Any) -> None:
        """Like `emit_with`, for a name that has not been looked at."""
        self.emit_with((check_event(args[0]), *args[1:]), **flags)

    def request_checked(self, args: tuple[Any, ...], timeout: float | None, **flags: Any) -> Future[Any]:
        """Like `request`, for a name that has not been looked at."""
        return self.request((check_event(args[0]), *args[1:]), timeout, **flags)

    def register(self, event: str | int, handler: Any, **how: Any) -> None:
        """Add a handler; for faces over this class."""
        self._register(event, handler, **how)

    def emit_with(self, args: tuple[Any, ...], *, compress: bool = True, volatile: bool = False) -> None:
        """Send an event, given as name and arguments, with the flags of a `ClientOperator`."""
        manager = self.manager
        if self._retry is not None and not volatile:
            manager.in_loop(self._emit_surely, args, compress)
            return
        encoded = manager.parser_here().encode_event(self.nsp, args, None, compress)
        encoded.event = args
        if manager.in_other_thread():
            self._check(encoded)
            manager.call_in_loop(self._send, encoded, None, volatile)
        else:
            self._send(encoded, None, volatile)

    def request(
        self, args: tuple[Any, ...], timeout: float | None = None, *, compress: bool = True, volatile: bool = False
    ) -> Future[Any]:
        """Send an event that wants an answer; see `emit_with_ack`."""
        self.manager.require_own_thread("emit_with_ack")
        seconds = timeout if timeout is not None else self.manager.options.ack_timeout
        if self._retry is not None and not volatile:
            return self._retry.add(args, seconds, compress)
        return self.send_once(args, seconds, compress, volatile)

    def send_once(
        self, args: tuple[Any, ...], timeout: float | None, compress: bool, volatile: bool = False
    ) -> Future[Any]:
        """Send an event that wants an answer, without the queue of `retries`."""
        ack_id = next(self._ids)
        encoded = self.manager.parser.encode_event(self.nsp, args, ack_id, compress)
        encoded.event = args
        pending = PendingAck(timeout, lambda: self._forget_ack(ack_id))
        self._acks[ack_id] = pending
        self._ack_awaited()
        try:
            sent = self._send(encoded, ack_id, volatile)
        except BaseException:
            pending.future.cancel()
            raise
        if not sent:
            pending.fail("a volatile event could not be sent at once", self)
        return pending.future

    def _emit_surely(self, args: tuple[Any, ...], compress: bool) -> None:
        assert self._retry is not None
        self._retry.add(args, self.manager.options.ack_timeout, compress)

    def _send(self, encoded: Encoded, ack_id: int | None, volatile: bool) -> bool:
        """Send a message, or keep it until it can be sent; False if it was dropped."""
        session = self.manager.engine
        if volatile and (session is None or not session.writable):
            return False
        if self._joined and session is not None and not session.has_expired():
            self._check(encoded)
            self.write(encoded)
        elif volatile:
            return False
        else:
            self._keep(Buffered(encoded, ack_id))
        return True

    def _check(self, encoded: Encoded) -> None:
        """See that the server takes the message, and that not too much waits already."""
        session = self.manager.engine
        if session is None:
            return
        if session.max_payload is not None:
            session.check_size(encoded)
        self._since_look += len(encoded.text) + sum(map(len, encoded.attachments))
        if self._since_look > _LOOK_EVERY:
            waiting, limit = session.buffered, self.manager.engine_options.outbound_limit
            if waiting > limit:
                raise BufferFull(waiting, limit)
            self._since_look = 0

    def _keep(self, buffered: Buffered) -> None:
        limit = self.manager.engine_options.outbound_limit
        if self._buffered_bytes > limit:
            raise BufferFull(self._buffered_bytes, limit)
        self._buffer.append(buffered)
        self._buffered_bytes += _size(buffered.encoded)

    def _forget_ack(self, ack_id: int) -> None:
        """Nobody waits for this answer any more; an event that has not left yet is taken back."""
        self._acks.pop(ack_id, None)
        for buffered in self._buffer:
            if buffered.ack_id == ack_id:
                self._buffer.remove(buffered)
                self._buffered_bytes -= _size(buffered.encoded)
                break

    def _flush_buffer(self) -> None:
        buffer, self._buffer = self._buffer, deque()
        self._buffered_bytes = 0
        session = self.manager.engine
        for encoded, ack_id in buffer:
            try:
                if session is not None:
                    session.check_size(encoded)
            except UsageError as error:
                self._could_not_send(error, encoded, ack_id)
            else:
                self.write(encoded)

    def _could_not_send(self, error: UsageError, encoded: Encoded, ack_id: int | None) -> None:
        pending = self._acks.pop(ack_id, None) if ack_id is not None else None
        if pending is None:
            self.manager.handler_failed(error, self, encoded.event[0] if encoded.event else "emit")
        elif not pending.future.done():
            pending.future.set_exception(error)

    # receiving

    def events(self, *names: str | int) -> EventStream:
        """The events that come from now on, for ``async for``, whether they have handlers or not.

        Args:
            *names: only these. Default: all.
        """
        stream = EventStream(self, frozenset(event_name(name) for name in names))
        self._streams.add(stream)
        self._refresh_taps()
        return stream

    async def wait_for(self, event: str | int, *, timeout: float | None = 30.0) -> Any:
        """Wait for the next event of a name, or for ``connect``, ``disconnect`` or ``connect_error``.

        Args:
            event: the name.
            timeout: seconds to wait; None waits for as long as it takes.

        Returns:
            Its argument; None if it has none, a tuple if it has several.

        Raises:
            WaitTimeout: it did not come in time.
            SocketClosed: the client was closed meanwhile.
        """
        name = event_name(event)
        future: Future[Any] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(name, []).append(future)
        self._refresh_taps()
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise WaitTimeout(f"no event {name!r} came within {timeout} seconds") from None
        finally:
            waits = self._waits.get(name, [])
            if future in waits:
                waits.remove(future)
            if not waits:
                self._waits.pop(name, None)
            self._refresh_taps()

    # connecting

    def connect(self) -> Connected:
        """Join the namespace, and connect first if need be. Begins at once; await the result to wait for the end of it.

        Raises:
            ConnectError: when awaited; see `connected`, for the others as well.
        """
        manager = self.manager
        if not self._joined:
            if not self.active:
                self.active = True
                self._asked = False
            manager.prepare()
            if manager.state == "closed":
                manager.open()
            elif manager.state == "open" and not self._asked:
                self.manager_opened()
        return Connected(self)

    open = connect

    def disconnect(self) -> None:
        """Leave the namespace, and do not come back; the connection is closed with its last namespace.

        May be called from any thread.
        """
        manager = self.manager
        if manager.in_other_thread():
            manager.call_in_loop(self.disconnect)
            return
        session = manager.engine
        if self._joined and session is not None:
            session.write(manager.parser.encode_control(DISCONNECT, self.nsp))
        was_active, self.active = self.active, False
        self._leave(IO_CLIENT, None)
        if was_active:
            self._nothing_to_expect(SocketClosed(IO_CLIENT))
            manager.left()

    async def joined_or_failed(self) -> None:
        """Wait until the namespace is joined; see `connected`."""
        if self._joined:
            return
        if not self.active:
            raise SocketClosed("not connecting; call connect() first")
        future: Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(self.manager.timeout):
                await future
        except TimeoutError:
            failed = self.manager.last_error
            raise ConnectionFailed("timeout", str(failed) if failed is not None else None) from failed
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    # what the manager calls

    def manager_opened(self) -> None:
        """There is a connection: ask to join."""
        if not self.active or self._joined:
            return
        self._asked = True
        auth: Any = self.auth
        if callable(auth):
            self.manager.tasks.start(self._ask_auth(auth, self.manager.engine))
        else:
            self._send_connect(auth)

    async def _ask_auth(self, auth: Callable[[], Any], session: ClientSession | None) -> None:
        try:
            given = auth()
            if isawaitable(given):
                given = await given
            if given is not None and not hasattr(given, "keys"):
                raise UsageError(f"auth must give a dict, not {given!r}")
        except FAILURES as error:
            raise_if_cancelled(error)
            self._auth_failed(error, session)
            return
        self._auth_backoff.reset()
        if self.manager.engine is session and self.active and not self._joined:
            self._send_connect(given)

    def _auth_failed(self, error: BaseException, session: ClientSession | None) -> None:
        """Nothing can be presented: for good if the function says so, else it is asked again, later and later."""
        if self.manager.engine is not session or not self.active:
            return
        if isinstance(error, ConnectError):
            self._refused_with(error)
            return
        self.manager.handler_failed(error, self, "auth")
        self._tell_life("connect_error", error)
        self._auth_timer = self.manager.clock.call_later(self._auth_backoff.next(), self._ask_again, session)

    def _ask_again(self, session: ClientSession | None) -> None:
        self._auth_timer = None
        if self.manager.engine is session:
            self.manager_opened()

    def _send_connect(self, auth: Any) -> None:
        session = self.manager.engine
        if session is None:
            return
        data = {**self._progress.presented(), **(auth or {})}
        if not data and auth is None:
            data = None
        try:
            session.write(self.manager.parser.encode_control(CONNECT, self.nsp, data))
        except UsageError as error:
            self.manager.handler_failed(error, self, "auth")
            self._refused_with(ConnectError(f"auth cannot be sent: {error}"))

    def manager_failed(self, error: ConnectionFailed) -> None:
        """An attempt to connect has failed."""
        if not self.active or self._joined:
            return
        if not error.retryable:
            self.active = False
        self._tell_life("connect_error", error)

    def manager_closed(self, reason: str, description: object) -> None:
        """The connection has ended."""
        self._asked = False
        if self.active:
            self._leave(reason, description)

    def manager_gave_up(self, error: ConnectionFailed | None) -> None:
        """There will be no further attempt by itself."""
        self._asked = False
        if error is not None or not self.manager.reconnection:
            self._nothing_to_expect(error or SocketClosed("the connection was closed"))

    # what the connection calls

    def joined(self, data: Any) -> None:
        """The server has let us in.

        Raises:
            PacketError: not its turn, or no valid answer.
        """
        if self._joined:
            raise PacketError(f"namespace {self.nsp!r} is joined already")
        session_id = data.get("sid") if isinstance(data, dict) else None  # pyright: ignore
        if session_id is None:
            self._refused_with(ConnectError(_OLD_SERVER))
            return
        pid: Any = data.get("pid")
        if not isinstance(session_id, str) or len(session_id) > _LONGEST_ID:
            raise PacketError("the id of a namespace must be text, and not too long")
        if pid is not None and (not isinstance(pid, str) or len(pid) > _LONGEST_ID):
            raise PacketError("the private id of a namespace must be text, and not too long")
        self.id = session_id
        self.recovered = self._progress.begin(pid)
        self._joined = True
        self.refresh_write()
        self._update_reading()
        self._holding = bool(self._waiting)
        self._refresh_taps()
        if not self._holding:
            self._deliver_early()
        self._flush_buffer()
        self._settle(None)
        if self._retry is not None:
            self._retry.go_on(again=True)
        self._tell_life("connect")
        if self._holding:
            self._count_down(_HOLD_TURNS)

    def _count_down(self, turns: int) -> None:
        """Let those who awaited the connection go on before the first event comes."""
        if turns:
            self.manager.clock.call_soon(self._count_down, turns - 1)
        elif self._holding:
            self._holding = False
            self._deliver_early()
            self._refresh_taps()

    def _deliver_early(self) -> None:
        early, self._early = self._early, deque()
        self._early_bytes = 0
        for args, ack_id, size in early:
            self._arrived(args, ack_id, size)

    def refused(self, data: Any) -> None:
        """The server's application has refused."""
        if self._joined:
            raise PacketError(f"namespace {self.nsp!r} is joined already")
        if isinstance(data, dict):
            message: Any = data.get("message")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            error = ConnectError(str(message) if message is not None else "refused", data.get("data"))  # pyright: ignore
        else:
            error = ConnectError(str(data))
        self._refused_with(error)

    def _refused_with(self, error: ConnectError) -> None:
        self.active = False
        self._asked = False
        self._tell_life("connect_error", error)
        self._nothing_to_expect(error)
        self.manager.left()

    def disconnected_by_server(self) -> None:
        """The server has ended this namespace."""
        self.active = False
        self._leave(IO_SERVER, None)
        self._nothing_to_expect(SocketClosed(IO_SERVER))
        self.manager.left()

    def event_arrived(self, args: list[Any], ack_id: int | None, size: int) -> None:
        """An event came that is to be seen before its handlers, or that is decoded already."""
        if self._joined and not self._holding:
            self._arrived(args, ack_id, size)
            return
        self._early.append((args, ack_id, size))
        self._early_bytes += size + 64
        if self._early_bytes > QUEUE_BYTES:
            raise PacketError("too many events came before the namespace was joined")

    def _arrived(self, args: list[Any], ack_id: int | None, size: int) -> None:
        offset = self._progress.take(args, ack_id is not None)
        name = args[0]
        if name in self._waits:
            for future in self._waits.pop(name):
                if not future.done():
                    future.set_result(result_of(args[1:]))
        if self._streams:
            received = Received(name, tuple(args[1:]), Ack(self, ack_id), size)
            for stream in tuple(self._streams):
                stream.put(received)
            self._update_reading()
        self.receive_args(args, ack_id, size)
        if offset is not None:
            self._progress.offset = offset

    def receive_ack(self, ack_id: int | None, values: list[Any]) -> None:
        """An answer came; an unknown or late one is ignored."""
        pending = self._acks.pop(ack_id, None) if ack_id is not None else None
        if pending is not None:
            pending.resolve(values, self)

    def refresh_write(self) -> None:
        """Take over the session's slot again."""
        session = self.manager.engine
        if session is not None and self._joined:
            self.write = session.write if self._outgoing is None else self._write_told

    def streams_changed(self) -> None:
        """A stream has room again, or was closed."""
        for stream in tuple(self._streams):
            if stream.ended:
                self._streams.discard(stream)
        self._refresh_taps()
        self._update_reading()

    # the end of a connection

    def _leave(self, reason: str, description: object) -> None:
        """It is no longer joined."""
        if self._auth_timer is not None:
            self._auth_timer.cancel()
            self._auth_timer = None
        if not self._joined:
            self._early.clear()
            return
        self._holding = False
        self._deliver_early()
        self._joined = False
        self.id = None
        self.write = _drop
        self._paused_session = None
        self._since_look = 0
        self._tell_life("disconnect", reason, description)
        self._fail_acks(reason, unsent=False)
        self.manager.refresh_main()

    def _fail_acks(self, reason: str, *, unsent: bool) -> None:
        """Answers will not come, except perhaps those to events that have not been sent."""
        kept = {} if unsent else {buffered.ack_id for buffered in self._buffer}
        for ack_id in [known for known in self._acks if known not in kept]:
            pending = self._acks.pop(ack_id)
            pending.fail(reason, self)

    def _nothing_to_expect(self, error: Exception) -> None:
        """There is no connection, and none will come by itself."""
        self._settle(error)

    def _settle(self, error: Exception | None) -> None:
        """Tell those who wait until the namespace is joined."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def closed_for_good(self) -> None:
        """The client was closed: nobody shall wait for anything any more."""
        self._settle(SocketClosed(IO_CLIENT))
        self._fail_acks(IO_CLIENT, unsent=True)
        if self._retry is not None:
            self._retry.fail(IO_CLIENT)
        self._buffer.clear()
        self._buffered_bytes = 0
        for waits in tuple(self._waits.values()):
            for future in waits:
                if not future.done():
                    future.set_exception(SocketClosed(IO_CLIENT))
        for stream in tuple(self._streams):
            stream.end(IO_CLIENT)

    def _tell_life(self, event: str, *args: Any) -> None:
        for future in self._waits.pop(event, ()):
            if not future.done():
                future.set_result(result_of(list(args)))
        for handler in called((self._life or {}).get(event, [])):
            self.manager.tasks.start(self._run_life(handler, event, args))

    def _refresh_taps(self) -> None:
        tapped = bool(self._streams or self._waits or self._holding or self._progress.pid is not None)
        if tapped is not self.tapped:
            self.tapped = tapped
        self.manager.refresh_main()

    # what the dispatcher asks

    @property
    def _owner(self) -> Manager:
        return self.manager

    @property
    def _overlap(self) -> bool:
        return self.manager.options.concurrent

    def acknowledge(self, ack_id: int, values: Sequence[Any]) -> None:
        """Send an acknowledgement; may be called from any thread."""
        self.manager.in_loop(self._answer, ack_id, values)

    def _answer(self, ack_id: int, values: Sequence[Any]) -> None:
        parser = self.manager.parser
        try:
            encoded = parser.encode_ack(self.nsp, values, ack_id)
            if self.manager.engine is not None:
                self.manager.engine.check_size(encoded)
        except UsageError as error:
            self.manager.handler_failed(error, self, "ack")
            encoded = parser.encode_ack(self.nsp, ({"error": error_without_data(values)},), ack_id)
        self.write(encoded)

    def _failed(self, handler: Handler, error: BaseException, ack: Ack | None, ack_id: int | None) -> None:
        """A handler has raised: the server learns of it if it waits for an answer, else only we."""
        if isinstance(error, EventError) and ack_id is None and not (ack is not None and ack.wanted):
            self.manager.handler_failed(error, self, handler.event)
        else:
            super()._failed(handler, error, ack, ack_id)

    def _tell_error(self, payload: dict[str, Any]) -> None:
        """A client does not tell its server of errors that it has not been asked about."""

    def _local_error(self, error: BaseException) -> None:
        """`on_error` has been told."""

    def _violated(self, error: PacketError) -> None:
        session = self.manager.engine
        if session is not None:
            session.fail("parse error", error)

    def _decode_event(self, packet: Packet) -> list[Any]:
        args: list[Any] = self.manager.parser.decode_args(packet)
        return args

    def _set_reading(self, reading: bool) -> None:
        self._handlers_full = not reading
        self._update_reading()

    def _update_reading(self) -> None:
        """Read from the server only while there is room for what comes."""
        full = self._handlers_full or any(stream.full for stream in self._streams)
        paused = self._paused_session
        if full and paused is None:
            session = self.manager.engine
            if session is not None and self._joined:
                self._paused_session = session
                session.pause_reading()
        elif not full and paused is not None:
            self._paused_session = None
            paused.resume_reading()

    def _awaits_ack(self) -> bool:
        return bool(self._acks)

    def _write_told(self, encoded: Encoded) -> None:
        self._tell_outgoing(encoded)
        session = self.manager.engine
        if session is not None:
            session.write(encoded)


def _size(encoded: Encoded) -> int:
    return len(encoded.text) + sum(map(len, encoded.attachments)) + 64


def _drop(_: Encoded) -> None:
    """What `write` is while not connected."""
