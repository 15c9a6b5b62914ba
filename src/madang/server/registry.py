"""How handlers are registered for all sockets of a namespace."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from ..events.acks import Ack
from ..events.handlers import Handler, HandlerTable
from ..events.registering import Registering
from ..protocol.event import ClientEvent, EventName, TypedEvent, check_event, event_name
from .data import Data

if TYPE_CHECKING:
    from .server import Server
    from .socket import Socket

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
Connected: TypeAlias = Literal["connection", "connect"]
Ended: TypeAlias = Literal["disconnecting", "disconnect"]

LIFE: Final = {"connection": 1, "disconnecting": 3, "disconnect": 3, "new_namespace": 1}
"""The events of a namespace's own life, and how many arguments their handlers may take."""

_ALIASES: Final = {"connect": "connection"}


class SocketHandlerOf(Protocol[S, P, R]):
    """Decorates a handler that takes the socket and what an event carries, and returns its answer.

    Or takes an `Ack` behind the socket.
    """

    @overload
    def __call__(
        self, handler: Callable[Concatenate[S, P], Coroutine[Any, Any, R]], /
    ) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[S, P], R], /) -> Callable[Concatenate[S, P], R]: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[S, Ack, P], object], /
    ) -> Callable[Concatenate[S, Ack, P], object]: ...


class EndHandler(Protocol[S]):
    """Decorates a handler of a socket's end, which takes the socket, and if it likes the reason and the description."""

    @overload
    def __call__(self, handler: Callable[[S], T], /) -> Callable[[S], T]: ...
    @overload
    def __call__(self, handler: Callable[[S, str], T], /) -> Callable[[S, str], T]: ...
    @overload
    def __call__(self, handler: Callable[[S, str, Any], T], /) -> Callable[[S, str, Any], T]: ...


class HandlerRegistry(Registering, Generic[Data]):
    """The decorators that register handlers for all sockets of a namespace; a mixin."""

    __slots__ = ()

    server: Server[Any]
    handlers: HandlerTable
    life: dict[str, list[Handler]]

    @overload
    def on(
        self, event: ClientEvent[P, R], *, concurrent: bool | None = None, thread: bool = False
    ) -> SocketHandlerOf[Socket[Data], P, R]: ...
    @overload
    def on(
        self,
        event: ClientEvent[P, R],
        handler: Callable[Concatenate[Socket[Data], P], R | Coroutine[Any, Any, R]],
        *,
        concurrent: bool | None = None,
        thread: bool = False,
    ) -> Callable[Concatenate[Socket[Data], P], R | Coroutine[Any, Any, R]]: ...
    @overload
    def on(  # type: ignore[overload-overlap]  # a name that is known is taken first
        self, event: Connected, *, concurrent: bool | None = None, thread: bool = False
    ) -> SocketHandlerOf[Socket[Data], [], object]: ...
    @overload
    def on(
        self,
        event: Connected,
        handler: Callable[[Socket[Data]], object],
        *,
        concurrent: bool | None = None,
        thread: bool = False,
    ) -> Callable[[Socket[Data]], object]: ...
    @overload
    def on(  # type: ignore[overload-overlap]
        self, event: Ended, *, concurrent: bool | None = None, thread: bool = False
    ) -> EndHandler[Socket[Data]]: ...
    @overload
    def on(self, event: EventName, *, concurrent: bool | None = None, thread: bool = False) -> Callable[[F], F]: ...
    @overload
    def on(self, event: EventName, handler: F, *, concurrent: bool | None = None, thread: bool = False) -> F: ...
    def on(self, event: Any, handler: Any = None, *, concurrent: bool | None = None, thread: bool = False) -> Any:
        """Handle an event for all sockets; the socket is the handler's first argument. Also a decorator.

        Besides clients' events there are ``connection`` (also ``connect``), ``disconnecting``, ``disconnect`` and
        ``new_namespace``, and on the server ``connect_error`` and ``adapter_gap``.

        Args:
            event: the name, or an `Event` that says what comes with it.
            handler: a function or coroutine function. Its annotations, or else the types of the event, are checked
                against what clients send; what it returns is the acknowledgement, a tuple being several values.
            concurrent: whether it may overlap with other handlers of its socket. Default: the server's option.
            thread: run a plain function in a thread.

        Raises:
            HandlerError: the function cannot be called that way.
            ReservedEventName: the name belongs to the protocol.
            UsageError: it is no name.
        """
        return self._on(event, handler, concurrent=concurrent, thread=thread)

    @overload
    def once(self, event: ClientEvent[P, R]) -> SocketHandlerOf[Socket[Data], P, R]: ...
    @overload
    def once(
        self, event: ClientEvent[P, R], handler: Callable[Concatenate[Socket[Data], P], R | Coroutine[Any, Any, R]]
    ) -> Callable[Concatenate[Socket[Data], P], R | Coroutine[Any, Any, R]]: ...
    @overload
    def once(self, event: EventName) -> Callable[[F], F]: ...
    @overload
    def once(self, event: EventName, handler: F) -> F: ...
    def once(self, event: Any, handler: Any = None) -> Any:
        """Like `on`, for the first such event."""
        return self._once(event, handler)

    def off(self, event: EventName | TypedEvent[..., Any], handler: Callable[..., Any] | None = None) -> None:
        """Remove a handler of an event, or all of them."""
        name = event_name(event)
        name = _ALIASES.get(str(name), name)
        if name in self.life:
            kept = [] if handler is None else [h for h in self.life[str(name)] if h.original != handler]
            self.life[str(name)][:] = kept
        else:
            self.handlers.remove(name, handler)

    def on_any(self, listener: F) -> F:
        """Call `listener(socket, event, *args)` for every event before its handlers. Also a decorator.

        If the client asked for an acknowledgement, an `Ack` is the last argument.
        """
        self.handlers.any.append(Handler("*", listener, takes_socket=True, from_client=False))
        self._listening_changed()
        return listener

    def off_any(self, listener: Any = None) -> None:
        """Undo `on_any`, for one listener or for all."""
        kept = [] if listener is None else [h for h in self.handlers.any if h.original != listener]
        self.handlers.any[:] = kept
        self._listening_changed()

    def _listening_changed(self) -> None:
        """Catch-all listeners came or went."""

    def _register(self, event: Any, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        event = event_name(event)
        name = _ALIASES.get(str(event), event)
        overlap = self.server.options.concurrent if concurrent is None else concurrent
        if name in self.life:
            self.life[str(name)].append(
                Handler(event, handler, takes_socket=True, from_client=False, concurrent=overlap, **how)
            )
            return
        check_event(event)
        self.handlers.add(Handler(event, handler, takes_socket=True, concurrent=overlap, **how))
