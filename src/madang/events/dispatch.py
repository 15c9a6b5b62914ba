"""How an event reaches its handlers: in order, one at a time, without a task unless a handler waits.

Events of one socket are handled in the order in which they came. A handler that returns without waiting leaves no
trace; one that waits becomes a task, and later events of its socket queue up behind it, except for those whose handler
is marked as concurrent. Acks never queue, so a handler may wait for an answer of its own client. When the queue is
full, nothing more is read from the client until it has shrunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from inspect import isawaitable
from types import CoroutineType
from typing import Any, Final, Protocol, cast

from ..errors import EventError, PacketError
from ..protocol.parser import EVENT, Packet
from ..tasks import FAILURES, Tasks, raise_if_cancelled
from .acks import Ack
from .handlers import Handler, HandlerTable
from .path import EventPath

_MISSING: Final[Any] = object()
QUEUE_LIMIT: Final = 64
"""Events that may wait behind a handler before reading from the client stops."""

QUEUE_BYTES: Final = 1_000_000
"""The same in bytes of their text."""

ACK_GRACE: Final = 16
"""How many times as many may wait while an answer of this client is awaited, which reading no more would block."""

Waiting = tuple["bytes | None", "list[Any] | None", "int | None", int]
"""An event in the queue: its JSON text, or its decoded arguments; the ack id; its size in bytes."""


class Owner(Protocol):
    """What all sockets of a server or client share."""

    tasks: Tasks

    def handler_failed(self, error: BaseException, socket: Any, event: str | int) -> None:
        """A handler has raised something that is not meant for the client."""
        ...


class Dispatcher(EventPath):
    """What gives a socket its handlers; the base of the server's and the client's socket.

    Args:
        shared: the handlers of all sockets in the namespace.

    Attributes:
        connected: whether the socket is a member of its namespace.
    """

    __slots__ = (
        "_halted",
        "_middlewares",
        "_own",
        "_queued_bytes",
        "_reading_paused",
        "_shared",
    )

    def __init__(self, shared: HandlerTable) -> None:
        self.connected = False
        self._shared = shared
        self._own: HandlerTable | None = None
        self._routes = shared.fast
        self._own_routes = None
        self._plain = not shared.any
        self._halted = False
        self._queue = None
        self._ack_encoder = None
        self._queued_bytes = 0
        self._reading_paused = False
        self._middlewares: list[Callable[[list[Any]], Any]] | None = None

    # what the class that derives from this offers

    @property
    def _owner(self) -> Owner:
        raise NotImplementedError

    def acknowledge(self, ack_id: int, values: Sequence[Any]) -> None:
        """Send an acknowledgement; may be called from any thread."""
        raise NotImplementedError

    def _answer(self, ack_id: int, values: Sequence[Any]) -> None:
        """Send an acknowledgement, in the loop's thread."""
        raise NotImplementedError

    def _tell_error(self, payload: dict[str, Any]) -> None:
        """Send the event ``error``."""
        raise NotImplementedError

    def _local_error(self, error: BaseException) -> None:
        """Give an error to this socket's own ``error`` handlers."""
        raise NotImplementedError

    def _violated(self, error: PacketError) -> None:
        """The client sent a packet that cannot be decoded."""
        raise NotImplementedError

    def _decode_event(self, packet: Packet) -> list[Any]:
        """Decode an event's name and arguments; PacketError if they are none."""
        raise NotImplementedError

    def _set_reading(self, reading: bool) -> None:
        """Stop or resume reading from the client."""
        raise NotImplementedError

    def receive_ack(self, ack_id: int | None, values: list[Any]) -> None:
        """An answer came; an unknown or late one is ignored."""
        raise NotImplementedError

    def _awaits_ack(self) -> bool:
        """Whether an answer of this client is awaited."""
        raise NotImplementedError

    # an event arrives

    def receive_event(self, payload: bytes, ack_id: int | None) -> None:  # noqa: C901 (each call here is counted)
        """Handle an event whose name and arguments are still JSON text.

        Raises:
            PacketError: it is not valid.
        """
        if self._plain and payload[1:2] == b'"':
            raw = payload[2 : payload.find(b'"', 2)]
            handler: Any = self._shared.fast.get(raw, _MISSING)
            if self._own is not None:
                own: Any = self._own.fast.get(raw, _MISSING)
                if own is not _MISSING:
                    handler = own if handler is _MISSING else None
            if handler is not _MISSING and handler is not None and (self._queue is None or handler.concurrent):
                ack: Ack | None = None
                try:
                    args = handler.bind(payload)
                except PacketError:
                    raise
                except FAILURES as error:
                    raise_if_cancelled(error)
                    self._failed(handler, error, None, ack_id)
                    return
                try:
                    if handler.ack_at is not None:
                        ack, ack_id = Ack(self, ack_id), None
                        args = [*args[: handler.ack_at], ack, *args[handler.ack_at :]]
                    result = handler.function(self, *args) if handler.takes_socket else handler.function(*args)
                except FAILURES as error:
                    raise_if_cancelled(error)
                    self._failed(handler, error, ack, ack_id)
                    return
                if handler.is_async or type(result) is CoroutineType:
                    self._start(self._complete(handler, result, ack, ack_id), handler.concurrent)
                elif ack_id is not None:
                    values: Any = () if result is None else result if type(result) is tuple else (result,)  # pyright: ignore
                    self._answer(ack_id, values)
                return
        if self._queue is not None and not self._some_overlap():
            self._enqueue((payload, None, ack_id, len(payload)))
        else:
            args = self._decode_event(Packet(EVENT, payload=payload))
            self.receive_args(args, ack_id, len(payload))

    def receive_args(self, args: list[Any], ack_id: int | None, size: int) -> None:
        """Handle an event whose name and arguments have been decoded, such as one with attachments.

        Args:
            args: the name and the arguments.
            ack_id: the ack id, or None.
            size: bytes that it holds, for the bound on what waits.
        """
        if self._queue is None:
            handler = self._only_handler(args[0]) if self._plain else None
            if handler is not None:
                self._run(handler, args[1:], ack_id)
            else:
                self._start(self._dispatch(args, ack_id), False)
        elif self._overlaps(args[0]):
            self._start(self._dispatch(args, ack_id, in_turn=False), True)
        else:
            self._enqueue((None, args, ack_id, size))

    def _only_handler(self, event: Any) -> Handler | None:
        """The handler of an event if it has just one, which stays and answers by what it returns."""
        handlers = self._shared.get(event)
        if self._own is not None:
            handlers = [*handlers, *self._own.get(event)]
        if len(handlers) != 1 or handlers[0].once or handlers[0].ack_at is not None:
            return None
        return handlers[0]

    def _run(self, handler: Handler, values: list[Any], ack_id: int | None) -> None:
        """Call the only handler of an event."""
        try:
            args = handler.bind_args(values)
            result = handler.function(self, *args) if handler.takes_socket else handler.function(*args)
        except FAILURES as error:
            raise_if_cancelled(error)
            self._failed(handler, error, None, ack_id)
            return
        if handler.is_async or type(result) is CoroutineType:
            self._wait_for(handler, result, ack_id)
        elif ack_id is not None:
            self._answer(ack_id, _values(result))

    def _some_overlap(self) -> bool:
        return self._shared.concurrent or (self._own is not None and self._own.concurrent)

    def _overlaps(self, event: Any) -> bool:
        """Whether all handlers of an event may overlap with those that run."""
        if not self._some_overlap():
            return False
        handlers = [*self._shared.get(event), *(self._own.get(event) if self._own is not None else ())]
        return bool(handlers) and all(handler.concurrent for handler in handlers)

    def _start(self, coroutine: Any, concurrent: bool) -> None:
        if self._owner.tasks.start(coroutine) is not None and not concurrent and self._queue is None:
            self._queue = deque()

    async def _complete(self, handler: Handler, coroutine: Any, ack: Ack | None, ack_id: int | None) -> None:
        """Wait for a handler, answer, and go on with what waits behind it."""
        try:
            result = await coroutine
        except FAILURES as error:
            raise_if_cancelled(error)
            self._failed(handler, error, ack, ack_id)
        else:
            if ack_id is not None:
                self._answer(ack_id, _values(result))
        finally:
            if not handler.concurrent:
                self._next()

    async def _dispatch(self, args: list[Any], ack_id: int | None, *, in_turn: bool = True) -> None:
        """The longer way of an event: catch-alls, middlewares, several handlers."""
        try:
            if await self._pass_gates(args, ack_id):
                await self._call_all(args, ack_id)
        finally:
            if in_turn:
                self._next()

    async def _pass_gates(self, args: list[Any], ack_id: int | None) -> bool:
        own = self._own
        listeners = [*self._shared.any, *(own.any if own is not None else ())]
        if listeners:
            seen = [*args, Ack(self, ack_id)] if ack_id is not None else args
            for listener in listeners:
                try:
                    values = seen if listener.arity is None else seen[: listener.arity]
                    waiting = listener.function(self, *values) if listener.takes_socket else listener.function(*values)
                    if isawaitable(waiting):
                        await waiting
                except FAILURES as error:
                    raise_if_cancelled(error)
                    self._owner.handler_failed(error, self, args[0])
        for middleware in self._middlewares or ():
            try:
                waiting = middleware(args)
                if isawaitable(waiting):
                    await waiting
            except FAILURES as error:
                raise_if_cancelled(error)
                self._local_error(error)
                return False
        return not self._halted

    async def _call_all(self, args: list[Any], ack_id: int | None) -> None:
        event, values = args[0], args[1:]
        own = self._own
        shared_handlers = self._shared.get(event)
        handlers = [*shared_handlers, *(own.get(event) if own is not None else ())]
        answered = not handlers
        for handler in handlers:
            if handler.once:
                table = self._shared if handler in shared_handlers else own
                assert table is not None
                table.remove(event, handler.original)
            if handler.concurrent:
                self._start(self._call(handler, values, ack_id), True)
                answered = True
            elif await self._call(handler, values, None if answered else ack_id):
                answered = True
        if not answered and ack_id is not None:
            self._answer(ack_id, ())

    async def _call(self, handler: Handler, values: list[Any], ack_id: int | None) -> bool:
        """Call one of several handlers; True if the client has its answer."""
        ack: Ack | None = None
        try:
            args = handler.bind_args(list(values))
            if handler.ack_at is not None:
                ack, ack_id = Ack(self, ack_id), None
                args = [*args[: handler.ack_at], ack, *args[handler.ack_at :]]
            result = handler.function(self, *args) if handler.takes_socket else handler.function(*args)
            if handler.is_async or type(result) is CoroutineType:
                result = await cast("Any", result)
        except FAILURES as error:
            raise_if_cancelled(error)
            self._failed(handler, error, ack, ack_id)
            return True
        if ack_id is not None and (result is not None or handler.concurrent):
            self._answer(ack_id, _values(result))
            return True
        return ack is not None

    # after a handler

    def _wait_for(self, handler: Handler, coroutine: Any, ack_id: int | None) -> None:
        """A handler has returned what must be awaited."""
        self._start(self._complete(handler, coroutine, None, ack_id), handler.concurrent)

    def _handler_raised(self, handler: Handler, error: BaseException, ack_id: int | None) -> None:
        """A handler has raised, or something that nobody may catch has."""
        if not isinstance(error, FAILURES):
            raise error
        raise_if_cancelled(error)
        self._failed(handler, error, None, ack_id)

    def _failed(self, handler: Handler, error: BaseException, ack: Ack | None, ack_id: int | None) -> None:
        """A handler has raised: tell the client what it may know, and ourselves the rest."""
        if isinstance(error, EventError):
            payload = error.payload()
        else:
            payload = {"code": "internal_error", "message": "internal error"}
            self._owner.handler_failed(error, self, handler.event)
            self._local_error(error)
        if ack is not None and ack.wanted:
            ack({"error": payload})
        elif ack_id is not None:
            self._answer(ack_id, ({"error": payload},))
        elif isinstance(error, EventError):
            self._tell_error({"event": handler.event, **payload})

    def _enqueue(self, waiting: Waiting) -> None:
        queue = self._queue
        assert queue is not None
        queue.append(waiting)
        self._queued_bytes += waiting[3]
        if not self._reading_paused and self._is_full(ACK_GRACE if self._awaits_ack() else 1):
            self._pause(True)

    def _is_full(self, grace: float) -> bool:
        queue = self._queue
        return queue is not None and (len(queue) >= QUEUE_LIMIT * grace or self._queued_bytes >= QUEUE_BYTES * grace)

    def _pause(self, paused: bool) -> None:
        if paused is not self._reading_paused:
            self._reading_paused = paused
            self._set_reading(not paused)

    def _ack_awaited(self) -> None:
        """An answer of this client is awaited: read on, within the wider bound, or it could not come."""
        if self._reading_paused and not self._is_full(ACK_GRACE):
            self._pause(False)

    def _next(self) -> None:
        """A handler is done: go on with the events that wait."""
        queue = self._take_queue()
        while queue and not self._halted_before(queue):
            payload, args, ack_id, size = queue.popleft()
            self._queued_bytes -= size
            try:
                if payload is not None:
                    self.receive_event(payload, ack_id)
                elif args is not None:
                    self.receive_args(args, ack_id, size)
                else:
                    self._queue_reached_end()
            except PacketError as error:
                self._violated(error)
            if self._queue is not None:
                self._queue.extend(queue)
                break
        if self._queue is None:
            self._queued_bytes = 0
        if not self._is_full(0.5):
            self._pause(False)

    def _halted_before(self, queue: deque[Waiting]) -> bool:
        """Drop what must no longer be handled; True if nothing is left but the socket's end."""
        if self._halted:
            queue.clear()
            self._queue_reached_end()
        return self._halted

    def _halt(self) -> None:
        """Handle no more events, not even those that have come already."""
        self._halted = True
        if self._queue is not None:
            self._queue.clear()

    def _take_queue(self) -> deque[Waiting] | None:
        queue, self._queue = self._queue, None
        return queue

    def _queue_reached_end(self) -> None:
        """The socket's end has been reached in its queue."""

    # registering

    def _own_table(self) -> HandlerTable:
        if self._own is None:
            self._own = HandlerTable()
            self._own_routes = self._own.fast
        return self._own

    def _update_plain(self) -> None:
        own = self._own
        self._plain = not (self._middlewares or self._shared.any or (own is not None and own.any))


def _values(result: Any) -> Sequence[Any]:
    """What a handler returned as the values of an acknowledgement."""
    if result is None:
        return ()
    if type(result) is tuple:
        return cast("tuple[Any, ...]", result)  # type: ignore[redundant-cast]
    return (result,)
