"""One namespace as the client sees it: what handlers are registered on, and what events are sent with."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from ..errors import (
    ConnectError,
    ConnectionFailed,
    EventError,
    PacketError,
    SocketClosed,
    UsageError,
)
from ..events.acks import Ack
from ..events.dispatch import ACK_GRACE, QUEUE_BYTES
from ..events.handlers import Handler, called
from ..protocol.event import EventName, TypedEvent, event_name
from ..protocol.parser import CONNECT, DISCONNECT, Packet
from ..protocol.socketio import DefaultParser
from ..tasks import FAILURES, raise_if_cancelled
from .backoff import Backoff
from .connected import Connected, reason_of
from .offsets import Progress
from .options import Auth, check_auth
from .sending import Sender, drop
from .stream import EventStream
from .taps import Taps
from .welcome import read_ids, read_refusal

if TYPE_CHECKING:
    from ..engine.client_session import ClientSession
    from .reconnect import Manager

IO_SERVER: Final = "io server disconnect"
IO_CLIENT: Final = "io client disconnect"

_NO_LIMIT: Final = (1 << 31) - 1

_HOLD_TURNS: Final = 4
"""Turns of the loop for who awaited the connection to say what they want to hear, before the first event is given."""


class ClientSocket(Sender):
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
        id: the id that the server knows this client by; None while not connected.
        recovered: whether the server has taken up the session that was lost, and sends what was missed.
        active: whether it is connected, or will be: False before `connect`, after a refusal or a disconnect.
        tapped: whether events are to be seen before their handlers.
    """

    LIFE = ("connect", "disconnect", "connect_error")

    def __init__(self, manager: Manager, namespace: str, auth: Auth | None = None) -> None:
        super().__init__(manager, namespace)
        self._auth = check_auth(auth)
        self.id: str | None = None
        self.recovered = False
        self.active = False
        self.tapped = False
        self._progress = Progress()
        self._early: deque[tuple[list[Any], int | None, int]] = deque()
        self._early_bytes = 0
        self._holding = False
        self._asked = False
        self._unanswered_connect = False
        self._unwanted = False  # it was left before the server had let it in
        self._waiting: list[Future[None]] = []
        self._ends: list[Future[str]] = []
        self._over: Exception | None = None  # why nothing is to be expected
        self._taps = Taps(self._taps_changed, lambda: manager.call_in_loop(self._taps_changed), self._is_over)
        self._handlers_full = False
        self._auth_backoff = Backoff(1.0, 5.0, 0.5)
        self._auth_timer: Any = None
        if self.nsp == "/" and type(manager.parser) is DefaultParser:
            self._ack_encoder = manager.parser.copy().ack_encoder  # one of its own: servers differ in what they take

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.nsp} {'connected' if self._joined else 'not connected'}>"

    # what it is

    @property  # type: ignore[override]
    def connected(self) -> Connected:  # pyright: ignore[reportIncompatibleVariableOverride]
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
    def disconnected(self) -> bool:
        """The opposite of `connected`."""
        return not self._joined

    @property
    def auth(self) -> Auth | None:
        """What is presented to the server; may be changed between attempts."""
        return self._auth

    @auth.setter
    def auth(self, auth: Auth | None) -> None:
        self._auth = check_auth(auth)

    @property
    def io(self) -> Manager:
        """The same as `manager`, under JavaScript's name."""
        return self.manager

    # receiving

    def events(self, *names: EventName | TypedEvent[..., Any]) -> EventStream:
        """The events that come from now on, for ``async for``, whether they have handlers or not.

        Args:
            *names: only these. Default: all.
        """
        self._require_life()
        return self._taps.stream(frozenset(event_name(name) for name in names))

    async def wait_for(self, event: EventName | TypedEvent[..., Any], *, timeout: float | None = 30.0) -> Any:
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
        self._require_life()
        return await self._taps.wait_for(event_name(event), timeout)

    def _taps_changed(self) -> None:
        self._refresh_taps()
        self._update_reading()

    # connecting

    def connect(self) -> Connected:
        """Join the namespace, and connect first if need be. Begins at once; await the result to wait for the end of it.

        Raises:
            ConnectError: when awaited; see `connected`, for the others as well.
        """
        manager = self.manager
        manager.prepare()
        self._closed = False
        self._over = None
        if not self._joined:
            if not self.active:
                self.active = True
                self._asked = False
            if manager.state == "closed":
                manager.open()
            elif manager.state == "open" and not self._asked and not manager.leaving:
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
        self._unwanted = self._unanswered_connect
        self._leave(IO_CLIENT, None)
        if was_active:
            self._nothing_to_expect(SocketClosed(IO_CLIENT))
            manager.left()

    async def joined_or_failed(self) -> None:
        """Wait until the namespace is joined; see `connected`."""
        if self._joined:
            return
        if self._over is not None:
            raise self._over.with_traceback(None)
        if not self.active:
            raise UsageError(f"namespace {self.nsp!r} is not connecting; call connect() first")
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
        if self._unwanted:
            return  # the answer to what was asked before comes first
        auth: Any = self._auth
        if callable(auth):
            self.manager.tasks.start(self._ask_auth(auth, self.manager.engine))
        else:
            self._send_connect(auth)

    async def _ask_auth(self, auth: Callable[[], Any], session: ClientSession | None) -> None:
        try:
            given = auth()
            if isawaitable(given):
                async with asyncio.timeout(self.manager.timeout):
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
        failed = ConnectionFailed("auth error", f"{type(error).__name__}: {error}")
        failed.__cause__ = error
        self._tell_life("connect_error", failed)
        self._auth_timer = self.manager.clock.call_later(self._auth_backoff.next(), self._ask_again, session)

    def _ask_again(self, session: ClientSession | None) -> None:
        self._auth_timer = None
        if self.manager.engine is session:
            self.manager_opened()

    def _send_connect(self, auth: Any) -> None:
        session = self.manager.engine
        if session is None or self._unanswered_connect:
            return  # of two functions that were asked at the same time the first answer counts
        presented: dict[str, Any] = {**self._progress.presented(), **(auth or {})}
        data = presented if presented or auth is not None else None
        try:
            session.write(self.manager.parser.encode_control(CONNECT, self.nsp, data))
            self._unanswered_connect = True
        except UsageError as error:
            self.manager.handler_failed(error, self, "auth")
            self._refused_with(ConnectError(f"auth cannot be sent: {error}"))

    def manager_failed(self, error: ConnectionFailed) -> bool:
        """An attempt to connect has failed; whether a handler was told."""
        if not self.active or self._joined:
            return False
        if not error.retryable:
            self.active = False
        return self._tell_life("connect_error", error)

    def manager_closed(self, reason: str, description: object) -> None:
        """The connection has ended."""
        self._asked = self._unanswered_connect = self._unwanted = False
        if self.active:
            self._leave(reason, description)

    def manager_gave_up(self, error: ConnectionFailed | None) -> None:
        """There will be no further attempt by itself."""
        self._asked = False
        if error is not None or not self.manager.reconnection:
            self._nothing_to_expect(error or SocketClosed("the connection was closed"))

    # what the connection calls

    def answered_late(self, let_in: bool) -> bool:
        """Take the answer to a CONNECT that nobody wants any more; False if this is not one.

        A server takes no DISCONNECT before it has answered, so only now it can be told.
        """
        unwanted, self._unwanted = self._unwanted, False
        self._unanswered_connect = False
        session = self.manager.engine
        if unwanted and session is not None:
            if let_in:
                session.write(self.manager.parser.encode_control(DISCONNECT, self.nsp))
            self.manager_opened()
        return unwanted

    def joined(self, data: Any) -> None:
        """The server has let us in.

        Raises:
            PacketError: not its turn, or no valid answer.
        """
        if self._joined:
            raise PacketError(f"namespace {self.nsp!r} is joined already")
        try:
            session_id, pid = read_ids(data)
        except ConnectError as error:
            self._refused_with(error)
            return
        self.id = session_id
        self.recovered = self._progress.begin(pid)
        self._joined = True
        self._over = None
        session = self._session = self.manager.engine
        if self._ack_encoder is not None and session is not None:
            self._ack_encoder.limit = min(session.max_payload or _NO_LIMIT, _NO_LIMIT)
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
        self._refused_with(read_refusal(data))

    def _refused_with(self, error: ConnectError) -> None:
        self.active = False
        self._asked = self._unanswered_connect = False
        if not self._tell_life("connect_error", error) and not self._waiting:
            self.manager.logger.warning("namespace %s: the server has refused: %.300s", self.nsp, error)
        self._nothing_to_expect(error)
        self.manager.left()

    def disconnected_by_server(self) -> None:
        """The server has ended this namespace, or our attempt to join it."""
        if not self._joined:
            self._refused_with(ConnectError(IO_SERVER))
            return
        self.active = False
        self._leave(IO_SERVER, None)
        if not self.active:  # a handler may have asked to join again
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
        if self._taps.tell(args, Ack(self, ack_id), size):
            self._update_reading()
        self.receive_args(args, ack_id, size)
        if offset is not None:
            self._progress.offset = offset

    # the end of a connection

    def _leave(self, reason: str, description: object) -> None:
        """It is no longer joined."""
        if self._auth_timer is not None:
            self._auth_timer.cancel()
            self._auth_timer = None
        if not self._joined:
            self._early.clear()
            self._early_bytes = 0
            return
        self._holding = False
        self._deliver_early()
        self._joined = False
        self._session = None
        self.id = None
        self.write = drop
        self._since_look = 0
        self._update_reading()
        self._tell_life("disconnect", reason, description)
        self.fail_acks(reason, unsent=False)
        self.manager.refresh_main()

    def _nothing_to_expect(self, error: Exception) -> None:
        """There is no connection, and none will come by itself."""
        self._settle(error)
        self._over = error
        reason = reason_of(error)
        self._taps.end_streams(reason)
        over, self._ends = self._ends, []
        for future in over:
            if not future.done():
                future.set_result(reason)

    def _is_over(self) -> str | None:
        """Why nothing is to be expected, or None."""
        return reason_of(self._over) if self._over is not None else None

    async def _end(self) -> str:
        """Wait until nothing is to be expected any more; see `Client.wait`."""
        if self._over is not None:
            return reason_of(self._over)
        if not self.active:
            return "not connecting"
        future: Future[str] = asyncio.get_running_loop().create_future()
        self._ends.append(future)
        try:
            return await future
        finally:
            if future in self._ends:
                self._ends.remove(future)

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
        self._closed = True
        self._nothing_to_expect(SocketClosed(IO_CLIENT))
        self.fail_acks(IO_CLIENT, unsent=True)
        if self._retry is not None:
            self._retry.fail(IO_CLIENT)
        self._buffer.clear()
        self._buffered_bytes = 0
        self._taps.end(IO_CLIENT)

    def _tell_life(self, event: str, *args: Any) -> bool:
        """Tell the handlers of the socket's own life; whether there were any."""
        self._taps.answer(event, args)
        handlers = called((self._life or {}).get(event, []))
        for handler in handlers:
            self.manager.tasks.start(self._run_life(handler, event, args))
        return bool(handlers)

    def _refresh_taps(self) -> None:
        self.tapped = bool(self._taps or self._holding or self._progress.pid is not None)
        self.manager.refresh_main()

    # what the dispatcher asks

    @property
    def _owner(self) -> Manager:
        return self.manager

    @property
    def _overlap(self) -> bool:
        return self.manager.options.concurrent

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

    def _ack_awaited(self) -> None:
        if self._handlers_full or self._paused_session is not None:
            super()._ack_awaited()
            self._update_reading()

    def _update_reading(self) -> None:
        """Read from the server only while there is room for what comes."""
        full = self._joined and (self._handlers_full or self._taps.is_full(ACK_GRACE if self._acks else 1))
        paused = self._paused_session
        if full and paused is None:
            session = self.manager.engine
            if session is not None:
                self._paused_session = session
                session.pause_reading()
        elif not full and paused is not None:
            self._paused_session = None
            paused.resume_reading()
