"""One connection to one server, with the namespaces that share it: connecting, and connecting again.

States: ``"closed"`` → ``"opening"`` → ``"open"`` → ``"closed"``, and ``"waiting"`` between two attempts. Every way out
of ``"opening"`` and ``"open"`` ends in `_failed` or in `session_closed`, and these alone decide whether there is
another attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from ..engine.client_options import ClientEngineOptions
from ..engine.client_session import ClientSession
from ..engine.listeners import Listeners
from ..engine.timetable import Timetable
from ..errors import ConnectionFailed, OptionError, UsageError
from ..events.owner import EventOwner
from ..protocol.parser import Packet
from ..protocol.socketio import DefaultParser
from ..transports.dialing import Dialer
from .backoff import Backoff
from .clock import WakingClock
from .connection import Connection
from .options import Auth, ClientOptions
from .socket import ClientSocket
from .url import Target

logger = logging.getLogger("madang.client")

CLOSED: Final = "closed"
OPENING: Final = "opening"
OPEN: Final = "open"
WAITING: Final = "waiting"

ATTACHMENT_PATIENCE: Final = 45.0
"""Seconds in which announced attachments must come."""

GOODBYE: Final = 2.0
"""Seconds for transports to close in good order."""

Done = Callable[[ConnectionFailed | None], object]


class Manager(EventOwner, Listeners):
    """A connection; `client.manager`.

    Its events, for `on`: ``open``, ``close`` (reason, description), ``error`` (error), ``ping``, ``packet`` (packet),
    ``reconnect_attempt`` (number), ``reconnect`` (number), ``reconnect_error`` (error), ``reconnect_failed``.

    Args:
        target: where the server is.
        options: how to behave.
        engine_options: how to reach it.

    Attributes:
        state: ``"closed"``, ``"opening"``, ``"open"`` or ``"waiting"`` (for the next attempt).
        sockets: the sockets, by namespace.
        reconnection: whether to connect again; may be changed at any time, as may the following.
        reconnection_attempts: how often.
        timeout: seconds for one attempt, or None.
        last_error: why the last attempt failed, or None.
        backoff: the delays; its `first`, `longest` and `jitter` may be changed.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        (
            "open",
            "close",
            "error",
            "ping",
            "packet",
            "reconnect",
            "reconnect_attempt",
            "reconnect_error",
            "reconnect_failed",
        )
    )
    logger = logger

    def __init__(self, target: Target, options: ClientOptions, engine_options: ClientEngineOptions) -> None:
        EventOwner.__init__(self, options.parser or DefaultParser(options.max_attachments, options.json_default))
        Listeners.__init__(self)
        self.target = target
        self.options = options
        self.engine_options = engine_options
        self.reconnection = options.reconnection
        self.reconnection_attempts = options.reconnection_attempts
        self.timeout = options.timeout
        self.backoff = Backoff(options.reconnection_delay, options.reconnection_delay_max, options.randomization_factor)
        self.state = CLOSED
        self.sockets: dict[str, ClientSocket] = {}
        self.clock: Any = None
        self.tapped = False
        self.last_error: ConnectionFailed | None = None
        self._timetable = Timetable()
        self.attachments = self._timetable.lane(ATTACHMENT_PATIENCE, Connection.attachments_timed_out)
        self._dialer = Dialer(target.address, engine_options, target.query, options.timeout)
        self._connection: Connection | None = None
        self._done: Done | None = None
        self._timer: Any = None
        self._reconnecting = False
        self._giving_up = True
        self._drained: list[asyncio.Future[None]] = []
        self._cleaning: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Manager {self._dialer.origin} {self.state}>"

    # what applications use

    @property
    def uri(self) -> str:
        """The server's URL, without a path."""
        return self._dialer.origin

    @property
    def engine(self) -> ClientSession | None:
        """The Engine.IO session, while there is one."""
        return self._connection.session if self._connection is not None else None

    @property
    def reconnection_delay(self) -> float:
        """Seconds before the first attempt to connect again."""
        return self.backoff.first

    @reconnection_delay.setter
    def reconnection_delay(self, seconds: float) -> None:
        self.backoff.first = seconds

    @property
    def reconnection_delay_max(self) -> float:
        """Seconds that a delay has at most."""
        return self.backoff.longest

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, seconds: float) -> None:
        self.backoff.longest = seconds

    @property
    def randomization_factor(self) -> float:
        """The share of a delay that is added or taken away at random."""
        return self.backoff.jitter

    @randomization_factor.setter
    def randomization_factor(self, share: float) -> None:
        self.backoff.jitter = share

    def socket(self, namespace: str, auth: Auth | None = None) -> ClientSocket:
        """The socket of a namespace; made at the first call, and not connected by it."""
        socket = self.sockets.get(namespace)
        if socket is None:
            socket = ClientSocket(self, namespace, auth)
            self.adopt(socket)
        elif auth is not None:
            socket.auth = auth
        return socket

    def adopt(self, socket: ClientSocket) -> None:
        """Take a socket for its namespace.

        Raises:
            OptionError: there is one already.
        """
        if socket.nsp in self.sockets:
            raise OptionError(f"namespace {socket.nsp!r} has a socket on this connection already")
        self.sockets[socket.nsp] = socket

    def open(self, done: Done | None = None) -> None:
        """Connect, unless that is done or under way.

        Args:
            done: called with None or an error; then the first failure does not lead to further attempts.
        """
        if self.state in (OPEN, OPENING):
            return
        self.prepare()
        self._cancel_timer()
        self._giving_up = False
        self._reconnecting = False
        self.backoff.reset()
        self._connect(done)

    def listener_added(self, event: str) -> None:
        """See `Listeners`."""
        if event == "packet":
            self.tapped = True
            self.refresh_main()

    # what sockets call

    def can_take(self, namespace: str, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether another client may share it: for a namespace that is free, in the same loop."""
        return namespace not in self.sockets and self._loop in (loop, None)

    def prepare(self) -> None:
        """Belong to the running loop.

        Raises:
            UsageError: there is none, or the connection is used in another one.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise UsageError(
                "a client connects in a running event loop; begin there, or use madang.SyncClient in blocking code"
            ) from None
        if self._loop is loop:
            return
        if self.state != CLOSED:
            raise UsageError("the client is connected in another event loop; close it there first")
        self._remember_loop()
        self.clock = WakingClock(loop)
        self._timetable.start(loop)

    @property
    def writable(self) -> bool:
        """Whether a packet sent now would leave at once."""
        engine = self.engine
        return engine is not None and engine.writable

    @property
    def buffered(self) -> int:
        """Bytes that wait for the server."""
        engine = self.engine
        return engine.buffered if engine is not None else 0

    @property
    def leaving(self) -> bool:
        """Whether the connection is about to end by our own wish, and what waits is still being sent."""
        return self._giving_up and self.state == OPEN

    def refresh_main(self) -> None:
        """Somebody wants to see events before their handlers, or no longer."""
        if self._connection is not None:
            self._connection.refresh_main()

    def left(self) -> None:
        """A socket has ended; with the last active one the connection is closed."""
        if not any(socket.active for socket in self.sockets.values()):
            self.close_connection()
        else:
            self.refresh_main()

    def close_connection(self) -> None:
        """Close it, and do not come back."""
        self._giving_up = True
        self._reconnecting = False
        self.backoff.reset()
        self._cancel_timer()
        if self.state == WAITING:
            self.state = CLOSED
        connection = self._connection
        if connection is not None and connection.session is not None:
            if self.state == OPENING:
                self._detach()
                self.state = CLOSED
                connection.session.receiver = None
            connection.session.close()
        self._clean_up()

    def drained_now(self) -> None:
        """Nothing waits to be sent."""
        if self._drained:
            waiting, self._drained = self._drained, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def drained(self) -> None:
        """Wait until nothing waits to be sent; at once if the connection is not open."""
        if self.state == OPEN and not self.writable:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drained.append(future)
            engine = self.engine
            if engine is not None:
                engine.watch_drain()
            await future

    def tell_packet(self, packet: Packet) -> None:
        """Tell the listeners of ``packet``."""
        if self.tapped:
            self.tell("packet", packet)

    # connecting

    def _connect(self, done: Done | None) -> None:
        self._stop_cleaning()
        self.state = OPENING
        self._done = done
        connection = self._connection = Connection(self)
        if self.timeout:
            self._timer = self.clock.call_later(self.timeout, self._timed_out)
        connection.session = ClientSession(self.engine_options, self.clock, self._dialer, connection)
        connection.session.open()

    def _timed_out(self) -> None:
        connection = self._detach()
        if connection is not None and connection.session is not None:
            connection.session.receiver = None
            connection.session.close()
        self._failed(ConnectionFailed("timeout"))

    def _detach(self) -> Connection | None:
        """Expect nothing more of the present session."""
        self._cancel_timer()
        connection, self._connection = self._connection, None
        return connection

    def session_opened(self, connection: Connection) -> None:
        """The handshake is done."""
        if connection is not self._connection:
            return
        self._cancel_timer()
        self.state = OPEN
        self.last_error = None
        done, self._done = self._done, None
        self.tell("open")
        for socket in tuple(self.sockets.values()):
            socket.manager_opened()
        if self._reconnecting:
            self._reconnecting = False
            attempts = self.backoff.attempts
            self.backoff.reset()
            self.tell("reconnect", attempts)
        if done is not None:
            done(None)

    def session_closed(self, connection: Connection, reason: str, description: object) -> None:
        """The session has ended, or could not be opened."""
        if connection is not self._connection:
            return
        opening = self.state == OPENING
        self._detach()
        if opening:
            error = description
            if not isinstance(error, ConnectionFailed):
                error = ConnectionFailed(reason, None if description is None else str(description))
            self._failed(error)
            return
        self.state = WAITING if self.reconnection and not self._giving_up else CLOSED
        self.backoff.reset()
        self.drained_now()
        if isinstance(description, ConnectionFailed):
            self.tell("error", description)
        self.tell("close", reason, description)
        for socket in tuple(self.sockets.values()):
            socket.manager_closed(reason, description)
        if self._begun_anew:
            pass
        elif self.state == WAITING and self.reconnection:
            self._reconnect()
        elif self._giving_up and any(socket.active for socket in self.sockets.values()):
            self.open()  # somebody wanted to come back while the goodbye was said
        else:
            self._gave_up(None)

    @property
    def _begun_anew(self) -> bool:
        """Whether a handler that was told of an end has asked for a new beginning already."""
        return self.state in (OPENING, OPEN)

    def _failed(self, error: ConnectionFailed) -> None:
        """An attempt has failed."""
        done, self._done = self._done, None
        again, self._reconnecting = self._reconnecting, False
        retry = (again or done is None) and error.retryable and self.reconnection and not self._giving_up
        self.state = WAITING if retry else CLOSED
        self.last_error = error
        self.tell("error", error)
        told = bool(self._listeners and self._listeners.get("error"))
        for socket in tuple(self.sockets.values()):
            told = socket.manager_failed(error) or told
        if not told and self.backoff.attempts == 0:
            logger.warning("connecting to %s failed: %s", self._dialer.origin, error)
        if done is not None:
            done(error)
        if not self._begun_anew and not self._giving_up:
            if self.state == WAITING and self.reconnection:
                self._reconnect()
            else:
                if again:
                    self.tell("reconnect_failed")
                self._gave_up(error)
        if again:
            self.tell("reconnect_error", error)

    # connecting again

    def _reconnect(self) -> None:
        if self.backoff.attempts >= self.reconnection_attempts:
            self.backoff.reset()
            self.state = CLOSED
            self.tell("reconnect_failed")
            self._gave_up(self.last_error or ConnectionFailed("reconnect failed"))
            return
        self._reconnecting = True
        self._timer = self.clock.call_later(self.backoff.next(), self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        self.tell("reconnect_attempt", self.backoff.attempts)
        if self.state == WAITING:
            self._connect(None)

    def _gave_up(self, error: ConnectionFailed | None) -> None:
        """There will be no further attempt unless somebody asks for one."""
        if self._begun_anew:
            return
        self.state = CLOSED
        for socket in tuple(self.sockets.values()):
            socket.manager_gave_up(error)
        self._clean_up()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # the end

    def _clean_up(self) -> None:
        """Close what was kept for further attempts, once what says goodbye has done so."""
        if self._cleaning is None and self._loop is not None and not self._loop.is_closed():
            self._cleaning = self._loop.create_task(self._close_dialer())

    async def _close_dialer(self) -> None:
        try:
            await self._dialer.close(GOODBYE)
            session = self.engine
            if self.leaving and session is not None:
                session.close_now()  # it waits for an upgrade whose transports have just been dropped
        finally:
            if self._cleaning is asyncio.current_task():
                self._cleaning = None

    def _stop_cleaning(self) -> None:
        """There is more to do after all; what says goodbye does so by itself, in a bounded time."""
        cleaning, self._cleaning = self._cleaning, None
        if cleaning is not None:
            cleaning.cancel()

    async def close(self, timeout: float = GOODBYE) -> None:
        """Disconnect all sockets, close the connection, and wait until nothing is left, for a bounded time.

        Args:
            timeout: seconds that handlers which still run are given; then they are cancelled.
        """
        for socket in tuple(self.sockets.values()):
            socket.disconnect()
            socket.closed_for_good()
        await self.finish(timeout)

    async def finish(self, timeout: float) -> None:
        """Close the connection, which no namespace wants any more; see `close`."""
        if self._loop is None:
            return
        self.close_connection()
        await self._background.finish(0)
        await self.tasks.finish(timeout)
        cleaning = self._cleaning
        if cleaning is not None:
            await asyncio.wait((cleaning,))
        self._timetable.stop()
        if self.state == CLOSED:
            self._loop = self.thread = None  # it may be used again, in another loop


def shared_key(target: Target, engine_options: ClientEngineOptions, options: ClientOptions) -> tuple[Any, ...]:
    """What two clients must have in common to share a connection."""
    return (target.address, repr(engine_options), repr(options), _query_of(target.query, engine_options))


def _query_of(query: Mapping[str, str], options: ClientEngineOptions) -> object:
    return None if options.query is not None else tuple(sorted(query.items()))
