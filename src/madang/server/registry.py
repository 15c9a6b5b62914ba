"""How handlers are registered for all sockets of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..events.event import check_event, event_name
from ..events.handlers import Handler, HandlerTable
from ..events.registering import Registering

if TYPE_CHECKING:
    from .server import Server

F = TypeVar("F", bound=Callable[..., Any])

LIFE: Final = {"connection": 1, "disconnecting": 3, "disconnect": 3, "new_namespace": 1}
"""The events of a namespace's own life, and how many arguments their handlers may take."""

_ALIASES: Final = {"connect": "connection"}


class HandlerRegistry(Registering):
    """The decorators that register handlers for all sockets of a namespace; a mixin."""

    __slots__ = ()

    server: Server
    handlers: HandlerTable
    life: dict[str, list[Handler]]

    def off(self, event: str | int, handler: Callable[..., Any] | None = None) -> None:
        """Remove a handler of an event, or all of them."""
        event = event_name(event)
        name = _ALIASES.get(str(event), event)
        if name in self.life:
            kept = [] if handler is None else [h for h in self.life[str(name)] if h.original != handler]
            self.life[str(name)][:] = kept
        else:
            self.handlers.remove(event, handler)

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

    def _register(self, event: str | int, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
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
