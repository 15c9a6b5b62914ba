"""The decorators that register handlers: `on` and `once`, which read the same wherever events can be handled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from ..errors import HandlerError
from .handlers import require_name

F = TypeVar("F", bound=Callable[..., Any])


class Registering:
    """`on` and `once`; a mixin. The class that uses it says in `_register` where a handler goes."""

    __slots__ = ()

    @overload
    def on(self, event: str | int, *, concurrent: bool | None = None, thread: bool = False) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str | int, handler: F, *, concurrent: bool | None = None, thread: bool = False) -> F: ...
    def on(self, event: str | int, handler: Any = None, *, concurrent: bool | None = None, thread: bool = False) -> Any:
        """Handle an event. Also a decorator.

        On a client: besides the server's events there are ``connect``, ``disconnect`` (reason, description) and
        ``connect_error`` (error).

        On a server or namespace: for all sockets, and the socket is the handler's first argument. Besides clients'
        events there are ``connection`` (also ``connect``), ``disconnecting``, ``disconnect`` and ``new_namespace``, and
        on the server ``connect_error``. On a socket: for that socket alone. Besides its events there are
        ``disconnecting`` and ``disconnect`` (reason, description), and ``error``, which gives what went wrong on the
        server's side: a handler's exception, an error of `use`, or a violation of the protocol.

        Args:
            event: the name.
            handler: a function or coroutine function. Its annotations are checked against what clients send; what it
                returns is the acknowledgement, a tuple being several values.
            concurrent: whether it may overlap with other handlers of its socket. Default: the server's option.
            thread: run a plain function in a thread.

        Raises:
            HandlerError: the function cannot be called that way.
            ReservedEventName: the name belongs to the protocol.
            UsageError: it is no name.
        """
        require_name(event, handler)
        if handler is None:
            return partial(self.on, event, concurrent=concurrent, thread=thread)
        self._register(event, handler, concurrent=concurrent, thread=thread)
        return handler

    @overload
    def once(self, event: str | int) -> Callable[[F], F]: ...
    @overload
    def once(self, event: str | int, handler: F) -> F: ...
    def once(self, event: str | int, handler: Any = None) -> Any:
        """Like `on`, for the first such event."""
        require_name(event, handler)
        if handler is None:
            return partial(self.once, event)
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

    def _register(self, event: str | int, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        raise NotImplementedError
