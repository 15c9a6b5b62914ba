"""The decorators that register handlers: `on` and `once`, which read the same wherever events can be handled."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from ..errors import HandlerError
from ..protocol.event import ClientEvent, EventName, ServerEvent
from .acks import Ack
from .handlers import require_name

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")


class HandlerOf(Protocol[P, R]):
    """Decorates a handler that takes what an event carries, and returns its answer; or takes an `Ack` first."""

    @overload
    def __call__(self, handler: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[Ack, P], object], /) -> Callable[Concatenate[Ack, P], object]: ...


class Registering:
    """What all share where handlers are registered; a mixin.

    The class that uses it says in `_register` where a handler goes, and gives `on` and `once` their types.
    """

    __slots__ = ()

    def _on(self, event: Any, handler: Any, *, concurrent: bool | None, thread: bool) -> Any:
        """Register a handler, or give the decorator that does it."""
        require_name(event, handler)
        if handler is None:
            return partial(self._on, event, concurrent=concurrent, thread=thread)
        self._register(event, handler, concurrent=concurrent, thread=thread)
        return handler

    def _once(self, event: Any, handler: Any) -> Any:
        """The same for one event."""
        require_name(event, handler)
        if handler is None:
            return partial(self._once, event)
        self._register(event, handler, once=True)
        return handler

    def event(self, handler: F) -> F:
        """Handle the event that is named like the function. A decorator without arguments; see `on`."""
        self._register(handler.__name__, handler)
        return handler

    def add_handlers(self, handlers: object) -> None:
        """Register the methods of an object: ``on_<event>`` handles the event of that name; see `on`.

        Raises:
            HandlerError: the object has no such method.
        """
        names = [name for name in dir(handlers) if name.startswith("on_")]
        if not names:
            raise HandlerError(f"{type(handlers).__name__} has no method on_<event>")
        for name in names:
            self._register(name.removeprefix("on_"), getattr(handlers, name))

    def _register(self, event: Any, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        raise NotImplementedError


class HearsClient(Registering):
    """`on` and `once` of one client's socket on a server; a mixin."""

    __slots__ = ()

    @overload
    def on(
        self, event: ClientEvent[P, R], *, concurrent: bool | None = None, thread: bool = False
    ) -> HandlerOf[P, R]: ...
    @overload
    def on(
        self,
        event: ClientEvent[P, R],
        handler: Callable[P, R | Coroutine[Any, Any, R]],
        *,
        concurrent: bool | None = None,
        thread: bool = False,
    ) -> Callable[P, R | Coroutine[Any, Any, R]]: ...
    @overload
    def on(self, event: EventName, *, concurrent: bool | None = None, thread: bool = False) -> Callable[[F], F]: ...
    @overload
    def on(self, event: EventName, handler: F, *, concurrent: bool | None = None, thread: bool = False) -> F: ...
    def on(self, event: Any, handler: Any = None, *, concurrent: bool | None = None, thread: bool = False) -> Any:
        """Handle an event of this client alone. Also a decorator.

        Besides the client's events there are ``disconnecting`` and ``disconnect`` (reason, description), and ``error``,
        which gives what went wrong on the server's side: a handler's exception, an error of `use`, or a violation of
        the protocol.

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
    def once(self, event: ClientEvent[P, R]) -> HandlerOf[P, R]: ...
    @overload
    def once(
        self, event: ClientEvent[P, R], handler: Callable[P, R | Coroutine[Any, Any, R]]
    ) -> Callable[P, R | Coroutine[Any, Any, R]]: ...
    @overload
    def once(self, event: EventName) -> Callable[[F], F]: ...
    @overload
    def once(self, event: EventName, handler: F) -> F: ...
    def once(self, event: Any, handler: Any = None) -> Any:
        """Like `on`, for the first such event."""
        return self._once(event, handler)


class HearsServer(Registering):
    """`on` and `once` of a client; a mixin."""

    __slots__ = ()

    @overload
    def on(
        self, event: ServerEvent[P, R], *, concurrent: bool | None = None, thread: bool = False
    ) -> HandlerOf[P, R]: ...
    @overload
    def on(
        self,
        event: ServerEvent[P, R],
        handler: Callable[P, R | Coroutine[Any, Any, R]],
        *,
        concurrent: bool | None = None,
        thread: bool = False,
    ) -> Callable[P, R | Coroutine[Any, Any, R]]: ...
    @overload
    def on(self, event: EventName, *, concurrent: bool | None = None, thread: bool = False) -> Callable[[F], F]: ...
    @overload
    def on(self, event: EventName, handler: F, *, concurrent: bool | None = None, thread: bool = False) -> F: ...
    def on(self, event: Any, handler: Any = None, *, concurrent: bool | None = None, thread: bool = False) -> Any:
        """Handle an event of the server. Also a decorator.

        Besides the server's events there are ``connect``, ``disconnect`` (reason, description) and ``connect_error``
        (error).

        Args:
            event: the name, or an `Event` that says what comes with it.
            handler: a function or coroutine function. Its annotations, or else the types of the event, are checked
                against what the server sends; what it returns is the acknowledgement, a tuple being several values.
            concurrent: whether it may overlap with other handlers. Default: the client's option.
            thread: run a plain function in a thread.

        Raises:
            HandlerError: the function cannot be called that way.
            ReservedEventName: the name belongs to the protocol.
            UsageError: it is no name.
        """
        return self._on(event, handler, concurrent=concurrent, thread=thread)

    @overload
    def once(self, event: ServerEvent[P, R]) -> HandlerOf[P, R]: ...
    @overload
    def once(
        self, event: ServerEvent[P, R], handler: Callable[P, R | Coroutine[Any, Any, R]]
    ) -> Callable[P, R | Coroutine[Any, Any, R]]: ...
    @overload
    def once(self, event: EventName) -> Callable[[F], F]: ...
    @overload
    def once(self, event: EventName, handler: F) -> F: ...
    def once(self, event: Any, handler: Any = None) -> Any:
        """Like `on`, for the first such event."""
        return self._once(event, handler)
