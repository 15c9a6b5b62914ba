"""How handlers and listeners are registered for one socket."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any, ClassVar, TypeVar

from ..errors import HandlerError
from ..protocol.encoded import Encoded
from ..protocol.event import EventName, TypedEvent, check_event, event_name
from ..tasks import FAILURES, raise_if_cancelled
from .dispatch import Dispatcher
from .handlers import Handler, HandlerTable
from .registering import Registering

F = TypeVar("F", bound=Callable[..., Any])


class Listening(Dispatcher, Registering):
    """The part of a socket that is listened to; the base of the server's and the client's.

    Args:
        shared: the handlers of all sockets in the namespace.
    """

    __slots__ = ("_life", "_outgoing")

    LIFE: ClassVar[tuple[str, ...]] = ()
    """What `on` keeps for the socket's own life; every other name is an event of the peer."""

    def __init__(self, shared: HandlerTable) -> None:
        super().__init__(shared)
        self._life: dict[str, list[Handler]] | None = None
        self._outgoing: list[Handler] | None = None

    @property
    def _overlap(self) -> bool:
        """Whether handlers may overlap unless told otherwise."""
        raise NotImplementedError

    def refresh_write(self) -> None:
        """Listeners of what goes out came or went."""
        raise NotImplementedError

    def refresh_dispatch(self) -> None:
        """Catch-all listeners or middlewares came or went."""
        self._update_plain()

    def off(self, event: EventName | TypedEvent[..., Any], handler: Callable[..., Any] | None = None) -> None:
        """Remove a handler of this socket, or all of an event."""
        name = event_name(event)
        if name in self.LIFE:
            life = self._life or {}
            kept = [] if handler is None else [h for h in life.get(str(name), ()) if h.original != handler]
            life[str(name)] = kept
        elif self._own is not None:
            self._own.remove(name, handler)

    def remove_all_listeners(self, event: EventName | TypedEvent[..., Any] | None = None) -> None:
        """Remove all handlers of this socket, or those of one event."""
        if event is not None:
            self.off(event)
            return
        self._life = None
        if self._own is not None:
            self._own.clear()

    def event_names(self) -> list[str | int]:
        """The events that this socket has handlers of its own for."""
        return [*(self._own or ()), *(name for name, handlers in (self._life or {}).items() if handlers)]

    def _register(self, event: Any, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        overlap = self._overlap if concurrent is None else concurrent
        event = event_name(event)
        if event in self.LIFE:
            if self._life is None:
                self._life = {}
            self._life.setdefault(str(event), []).append(
                Handler(event, handler, takes_socket=False, from_client=False, **how)
            )
            return
        self._own_table().add(Handler(check_event(event), handler, takes_socket=False, concurrent=overlap, **how))

    def use(self, middleware: F) -> F:
        """Call `middleware(event)` with the list ``[name, *args]`` of each event before its handlers; it may change it.

        Raising drops the event and gives the error to ``error`` handlers; the client is not told. May be a coroutine
        function; also a decorator.
        """
        if not callable(middleware):
            raise HandlerError(f"a middleware must be callable, not {middleware!r}")
        self._middlewares = [*(self._middlewares or ()), middleware]
        self.refresh_dispatch()
        return middleware

    def on_any(self, listener: F) -> F:
        """Call `listener(event, *args)` for every event before its handlers. Also a decorator.

        If the client asked for an acknowledgement, an `Ack` is the last argument.
        """
        self._own_table().any.append(Handler("*", listener, takes_socket=False, from_client=False))
        self.refresh_dispatch()
        return listener

    def prepend_any(self, listener: F) -> F:
        """Like `on_any`, before the others."""
        self._own_table().any.insert(0, Handler("*", listener, takes_socket=False, from_client=False))
        self.refresh_dispatch()
        return listener

    def off_any(self, listener: Any = None) -> None:
        """Undo `on_any`, for one listener or for all."""
        own = self._own_table()
        own.any[:] = [] if listener is None else [h for h in own.any if h.original != listener]
        self.refresh_dispatch()

    def listeners_any(self) -> list[Callable[..., Any]]:
        """The listeners of `on_any`, in order."""
        return [handler.original for handler in (self._own.any if self._own is not None else ())]

    def on_any_outgoing(self, listener: F) -> F:
        """Call `listener(event, *args)`, a plain function, for every event that is sent. Also a decorator."""
        self._outgoing = [*(self._outgoing or ()), Handler("*", listener, takes_socket=False, from_client=False)]
        self.refresh_write()
        return listener

    def prepend_any_outgoing(self, listener: F) -> F:
        """Like `on_any_outgoing`, before the others."""
        self._outgoing = [Handler("*", listener, takes_socket=False, from_client=False), *(self._outgoing or ())]
        self.refresh_write()
        return listener

    def off_any_outgoing(self, listener: Any = None) -> None:
        """Undo `on_any_outgoing`, for one listener or for all."""
        kept = [] if listener is None else [h for h in self._outgoing or () if h.original != listener]
        self._outgoing = kept or None
        self.refresh_write()

    def listeners_any_outgoing(self) -> list[Callable[..., Any]]:
        """The listeners of `on_any_outgoing`, in order."""
        return [handler.original for handler in self._outgoing or ()]

    def _tell_outgoing(self, encoded: Encoded) -> None:
        """Tell the listeners of what goes out."""
        args = encoded.event
        if args is None:
            return
        for listener in tuple(self._outgoing or ()):
            try:
                listener.function(*(args if listener.arity is None else args[: listener.arity]))
            except Exception as error:
                self._owner.handler_failed(error, self, args[0])

    async def _run_life(self, handler: Handler, event: str, args: tuple[Any, ...]) -> None:
        """Call a handler of the socket's life."""
        values = args if handler.arity is None else args[: handler.arity]
        try:
            waiting = handler.function(self, *values) if handler.takes_socket else handler.function(*values)
            if isawaitable(waiting):
                await waiting
        except FAILURES as error:
            raise_if_cancelled(error)
            self._owner.handler_failed(error, self, event)
            self._local_error(error)
