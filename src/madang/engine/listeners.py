"""Plain listeners by event name: what a session and the engine tell of themselves."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeVar, overload

from ..errors import HandlerError

logger = logging.getLogger("madang.engine")

F = TypeVar("F", bound=Callable[..., Any])


class Listeners:
    """A table of functions by event name; a base class, so that `on` reads the same everywhere."""

    __slots__ = ("_listeners",)

    EVENTS: ClassVar[frozenset[str]] = frozenset()
    """The events that this class can tell of."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Callable[..., Any]]] | None = None

    @overload
    def on(self, event: str) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str, listener: F) -> F: ...
    def on(self, event: str, listener: Any = None) -> Any:
        """Call `listener` (a plain function) at each `event`; without `listener`, a decorator.

        Raises:
            HandlerError: no such event, or a coroutine function.
        """
        if event not in self.EVENTS:
            raise HandlerError(f"no event {event!r} here; there are {', '.join(sorted(self.EVENTS))}")
        if listener is None:
            return partial(self.on, event)
        if inspect.iscoroutinefunction(listener):
            raise HandlerError(f"a listener of {event!r} is called in passing and must be a plain function")
        if self._listeners is None:
            self._listeners = {}
        self._listeners.setdefault(event, []).append(listener)
        self.listener_added(event)
        return listener

    def off(self, event: str, listener: Callable[..., Any]) -> None:
        """Undo `on`; silent if there was none."""
        if self._listeners is not None and listener in self._listeners.get(event, ()):
            self._listeners[event].remove(listener)
            self.listener_removed(event)

    def inherit(self, other: Listeners) -> None:
        """Tell the listeners of `other` as well, which is no longer used."""
        for event, listeners in (other._listeners or {}).items():
            for listener in listeners:
                self.on(event, listener)

    def listener_added(self, event: str) -> None:
        """Called after `on`, for those who must prepare."""

    def listener_removed(self, event: str) -> None:
        """Called after `off`, for those who may go back."""

    def tell(self, event: str, *args: Any) -> None:
        """Call the listeners of `event`."""
        if self._listeners is not None:
            for listener in tuple(self._listeners.get(event, ())):
                try:
                    listener(*args)
                except Exception:  # it is told in passing, and must not stop what goes on
                    logger.exception("a listener of %r failed", event)
