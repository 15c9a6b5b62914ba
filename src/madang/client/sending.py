"""How a client's socket sends: at once, later, surely, or not at all."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Sequence
from itertools import count
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import AckTimeout, BufferFull, SocketClosed, UsageError
from ..events.acks import NEVER, PendingAck, error_without_data
from ..events.asking import asks_server
from ..events.handlers import HandlerTable
from ..events.listening import Listening
from ..events.registering import HearsServer
from ..protocol.encoded import Encoded
from ..protocol.event import check_event
from ..protocol.parser import RESERVED_EVENTS
from ..protocol.socketio import DefaultParser
from ..protocol.typed import emits_to_server
from .operator import ClientOperator
from .retrying import RetryQueue
from .sizes import size_of

if TYPE_CHECKING:
    from ..engine.client_session import ClientSession
    from .reconnect import Manager

LOOK_EVERY: Final = 64 * 1024
"""Bytes after which `emit` looks how much waits for the server."""


class Buffered(NamedTuple):
    """An event that waits for the connection; with an ack id if an answer is wanted."""

    encoded: Encoded
    ack_id: int | None


class Sender(Listening, HearsServer):
    """The part of a client's socket that sends; its base.

    Args:
        manager: the connection.
        namespace: the namespace's name.

    Attributes:
        manager: the connection.
        nsp: the namespace's name.
    """

    def __init__(self, manager: Manager, namespace: str) -> None:
        self._joined = False
        super().__init__(HandlerTable())
        self.manager = manager
        self.nsp = namespace if namespace.startswith("/") else f"/{namespace}"
        self.write = drop
        self._session: ClientSession | None = None  # while the namespace is joined
        self._paused_session: ClientSession | None = None  # what is not read from, since too much waits here
        self._ids = count()
        self._acks: dict[int, PendingAck] = {}
        self._buffer: deque[Buffered] = deque()
        self._buffered_bytes = 0
        self._since_look = 0
        options = manager.options
        self._retry = RetryQueue(self, options.retries) if options.retries else None
        self._closed = False
        self._sweeps_in: asyncio.AbstractEventLoop | None = None  # where `_sweeper` is due
        self._sweeper: Any = None
        self._crossing = 0
        self._crossing_lock = Lock()

    @property
    def is_connected(self) -> bool:
        """Whether the namespace is joined, as a plain bool."""
        return self._joined

    @property
    def buffered(self) -> int:
        """Bytes that wait: for the connection, or for the server to take them."""
        return self._crossing + self._waiting_bytes + self.manager.buffered

    @property
    def _waiting_bytes(self) -> int:
        """Bytes that wait for the connection, or in the queue of `retries`."""
        return self._buffered_bytes + (self._retry.buffered if self._retry is not None else 0)

    def _require_life(self) -> None:
        if self._closed:
            raise SocketClosed("the client was closed; call connect() again")

    # emitting

    @emits_to_server
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event. Never waits; may be called from any thread; kept until there is a connection.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
            PayloadTooLarge: the server does not take so much at once.
            BufferFull: more than `outbound_limit` waits already.
        """
        plain = type(event) is str and event not in RESERVED_EVENTS
        named = (event if plain else check_event(event), *args)
        manager = self.manager
        if self._retry is None and get_ident() == manager.thread:  # each call counts here
            encoded = manager.parser.encode_event(self.nsp, named)
            encoded.event = named
            self._send(encoded, None, False)
        else:
            self.emit_with(named)

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit_with(("message", *args))

    @asks_server
    def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Future[Any]:
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
        plain = type(event) is str and event not in RESERVED_EVENTS
        return self.request((event if plain else check_event(event), *args), timeout)

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

    def register(self, event: Any, handler: Any, **how: Any) -> None:
        """Add a handler; for faces over this class."""
        self._register(event, handler, **how)

    def emit_with(self, args: tuple[Any, ...], *, compress: bool = True, volatile: bool = False) -> None:
        """Send an event, given as name and arguments, with the flags of a `ClientOperator`."""
        manager = self.manager
        surely = self._retry is not None and not volatile
        if get_ident() == manager.thread and not surely:
            encoded = manager.parser.encode_event(self.nsp, args, None, compress)
            encoded.event = args
            self._send(encoded, None, volatile)
            return
        encoded = manager.parser_here().encode_event(self.nsp, args, None, compress)
        encoded.event = args
        if manager.in_other_thread():
            size = size_of(encoded)
            self._cross(encoded, size)
            manager.call_in_loop(self._crossed, encoded, volatile, size)
        else:
            self._send_plain(encoded, volatile)

    def request(
        self, args: tuple[Any, ...], timeout: float | None = None, *, compress: bool = True, volatile: bool = False
    ) -> Future[Any]:
        """Send an event that wants an answer; see `emit_with_ack`."""
        manager = self.manager
        if get_ident() != manager.thread:
            manager.require_own_thread("emit_with_ack")
        if self._closed:
            self._require_life()
        seconds = timeout if timeout is not None else manager.options.ack_timeout
        surely = self._retry is not None and not volatile
        ack_id = -1 if surely else next(self._ids)
        encoded = manager.parser.encode_event(self.nsp, args, None if surely else ack_id, compress)
        encoded.event = args
        if self._retry is not None and not volatile:
            return self._retry.ask(encoded, seconds)
        return self.send_asking(encoded, ack_id, seconds, volatile)

    def send_asking(self, encoded: Encoded, ack_id: int, timeout: float | None, volatile: bool = False) -> Future[Any]:
        """Send an event that wants an answer, without the queue of `retries`."""
        loop = asyncio.get_running_loop()
        pending = self._acks[ack_id] = PendingAck(loop=loop)
        pending.asker = self
        pending.ack_id = ack_id
        pending.due = NEVER
        pending.timer = None
        if timeout is not None:
            if timeout != self.manager.options.ack_timeout:
                pending.timer = loop.call_later(timeout, pending.give_up)
            else:  # these come due in the order in which they stand, so one timer is enough for all
                pending.due = loop.time() + timeout
                if self._sweeps_in is not loop:
                    self._sweep_later(loop, timeout)
        if self._reading_paused or self._paused_session is not None:
            self._ack_awaited()
        try:
            sent = self._send(encoded, ack_id, volatile)
        except BaseException:
            pending.cancel()
            raise
        if not sent:
            pending.end(AckTimeout("a volatile event could not leave at once, and was dropped"))
        return pending

    def send_try(self, encoded: Encoded, timeout: float | None) -> Future[Any]:
        """Send an event of the queue of `retries`, with an ack id of its own."""
        parser, ack_id = self.manager.parser, next(self._ids)
        if type(parser) is DefaultParser:
            numbered = parser.numbered(encoded, self.nsp, ack_id)
        else:  # a parser of one's own has to do it all again
            numbered = parser.encode_event(self.nsp, encoded.event or (), ack_id, encoded.compress)
        numbered.event = encoded.event
        return self.send_asking(numbered, ack_id, timeout)

    def given_up(self, error: BaseException, encoded: Encoded) -> None:
        """An event that nobody waits for the answer of could not be sent, or was not answered."""
        self.manager.handler_failed(error, self, encoded.event[0] if encoded.event else "emit")

    def can_send(self) -> bool:
        """Whether the namespace is joined, by a connection that is alive as far as is known."""
        session = self._session
        return session is not None and (self.manager.clock.time() < session.expires_at or not session.has_expired())

    # from another thread

    def _cross(self, encoded: Encoded, size: int) -> None:
        """In the emitting thread: see that the event will be taken, and count it as waiting until the loop has it."""
        self._check(encoded, self.manager.engine)
        limit = self.manager.engine_options.outbound_limit
        with self._crossing_lock:
            waiting = self._crossing + self._waiting_bytes
            if waiting > limit:
                raise BufferFull(waiting, limit)
            self._crossing += size

    def _crossed(self, encoded: Encoded, volatile: bool, size: int) -> None:
        """In the loop: nobody is there any more to raise an error at."""
        with self._crossing_lock:
            self._crossing -= size
        try:
            self._send_plain(encoded, volatile)
        except (UsageError, BufferFull) as error:
            self.given_up(error, encoded)

    def _send_plain(self, encoded: Encoded, volatile: bool) -> None:
        """Send an event whose answer nobody waits for."""
        if self._retry is not None and not volatile:
            self._retry.tell(encoded, self.manager.options.ack_timeout)
        else:
            self._send(encoded, None, volatile)

    def _send(self, encoded: Encoded, ack_id: int | None, volatile: bool) -> bool:
        """Send a message, or keep it until it can be sent; False if it was dropped."""
        session = self._session
        if volatile and (session is None or not session.writable):
            return False
        if session is not None and (self.manager.clock.time() < session.expires_at or not session.has_expired()):
            size = len(encoded.text)
            if encoded.attachments or size > session.size_limit or self._since_look > LOOK_EVERY:
                self._check(encoded, session)
            else:
                self._since_look += size
            self.write(encoded)
        elif volatile:
            return False
        else:
            self._keep(Buffered(encoded, ack_id))
        return True

    def _check(self, encoded: Encoded, session: ClientSession | None) -> None:
        """See that the server takes the message, and that not too much waits already."""
        if session is None:
            return
        size = len(encoded.text)
        if encoded.attachments or size > session.size_limit:
            session.check_size(encoded)
            size += sum(map(len, encoded.attachments))
        self._since_look += size
        if self._since_look > LOOK_EVERY:
            waiting, limit = session.buffered, self.manager.engine_options.outbound_limit
            if waiting > limit:
                raise BufferFull(waiting, limit)
            self._since_look = 0

    def _keep(self, buffered: Buffered) -> None:
        limit = self.manager.engine_options.outbound_limit
        if self._buffered_bytes > limit:
            raise BufferFull(self._buffered_bytes, limit)
        self._buffer.append(buffered)
        self._buffered_bytes += size_of(buffered.encoded)

    def _sweep_later(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._sweeps_in = loop
        self._sweeper = loop.call_later(delay, self._sweep)

    def _sweep(self) -> None:
        """Give up the questions whose `ack_timeout` is over, and come back for the next one."""
        loop = asyncio.get_running_loop()
        self._sweeps_in = None
        overdue = loop.time() + 0.001  # a loop may call so much early
        for pending in tuple(self._acks.values()):
            if pending.due <= overdue:
                pending.give_up()
            elif pending.due != NEVER:
                self._sweep_later(loop, pending.due - loop.time())
                return

    def _stop_sweeping(self) -> None:
        if self._sweeps_in is not None:
            self._sweeps_in = None
            self._sweeper.cancel()

    def forget_ack(self, ack_id: int) -> None:
        """Nobody waits for this answer any more; an event that has not left yet is taken back."""
        self._acks.pop(ack_id, None)
        for buffered in self._buffer:
            if buffered.ack_id == ack_id:
                self._buffer.remove(buffered)
                self._buffered_bytes -= size_of(buffered.encoded)
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
            self.given_up(error, encoded)
        else:
            pending.asker = None
            pending.end(error)

    # answers

    def receive_ack(self, ack_id: int | None, values: list[Any]) -> None:
        """An answer came; an unknown or late one is ignored."""
        pending = self._acks.pop(ack_id, None) if ack_id is not None else None
        if pending is not None:
            pending.resolve(values, self)

    def fail_acks(self, reason: str, *, unsent: bool) -> None:
        """Answers will not come, except perhaps those to events that have not been sent."""
        kept: set[int | None] = set() if unsent else {buffered.ack_id for buffered in self._buffer}
        for ack_id in [known for known in self._acks if known not in kept]:
            pending = self._acks.pop(ack_id)
            pending.fail(reason, self)
        if not self._acks:
            self._stop_sweeping()

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

    def _awaits_ack(self) -> bool:
        return bool(self._acks)

    # the way out

    def refresh_write(self) -> None:
        """Take over the session's slot again."""
        session = self.manager.engine
        if session is not None and self._joined:
            self.write = session.write if self._outgoing is None else self._write_told

    def _write_told(self, encoded: Encoded) -> None:
        self._tell_outgoing(encoded)
        session = self.manager.engine
        if session is not None:
            session.write(encoded)


def drop(_: Encoded) -> None:
    """What `write` is while not connected."""
