"""Handlers and the tables that hold them."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from ..errors import HandlerError
from ..protocol.event import TypedEvent
from .path import Route
from .signature import signature_of

SEVERAL: Final = None
"""In `HandlerTable.fast`: an event that needs the longer way."""


class Handler(Route):
    """A function that was registered for an event.

    Attributes:
        event: the name it was registered under.
        original: the user's function, for `off`; `function` may be a coroutine function around it.
        once: whether it is removed when it is called.
        arity: how many arguments it takes, or None for any number.
    """

    __slots__ = ("arity", "event", "once", "original")

    def __init__(
        self,
        event: str | int,
        function: Callable[..., Any],
        *,
        takes_socket: bool,
        once: bool = False,
        concurrent: bool = False,
        thread: bool = False,
        from_client: bool = True,
    ) -> None:
        if not callable(function):
            raise HandlerError(f"the handler of {event!r} must be callable, not {function!r}")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise HandlerError(f"the handler of {event!r} yields; it must return its answer")
        types = event.types if isinstance(event, TypedEvent) else ()
        signature = signature_of(function, int(takes_socket), types, checked=from_client)
        self.event = event
        self.original = function
        self.takes_socket = takes_socket
        self.once = once
        self.concurrent = concurrent
        self.bind = signature.bind
        self.bind_args = signature.bind_args
        self.ack_at = signature.ack_at
        self.arity = signature.maximum
        self.decode = signature.decode
        self.whole = signature.whole
        self.exact = signature.exact
        self.is_async = is_coroutine_function(function) or thread
        self.function = _in_thread(function) if thread else function


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine; looks through partials and at callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function that runs `function` in a thread of the loop's pool."""
    if is_coroutine_function(function):
        raise HandlerError("thread=True is for plain functions; a coroutine function runs in the loop")

    @functools.wraps(function)
    async def run(*args: Any) -> Any:
        return await asyncio.to_thread(function, *args)

    return run


class HandlerTable:
    """Handlers by event.

    Attributes:
        fast: from an event's name, as it stands in JSON text, to its handler if there is just one that stays.
        any: listeners of every event.
        concurrent: whether some handler may overlap with others.
    """

    __slots__ = ("_by_name", "any", "concurrent", "fast")

    def __init__(self) -> None:
        self._by_name: dict[str | int, list[Handler]] = {}
        self.fast: dict[bytes, Handler | None] = {}
        self.any: list[Handler] = []
        self.concurrent = False

    def add(self, handler: Handler) -> None:
        """Add a handler; several of one event run in the order in which they were added."""
        self._by_name.setdefault(handler.event, []).append(handler)
        self.concurrent = self.concurrent or handler.concurrent
        self._refresh(handler.event)

    def remove(self, event: str | int, function: Callable[..., Any] | None = None) -> None:
        """Remove one handler of an event, or all of them; silent if there is none."""
        kept = [] if function is None else [h for h in self.get(event) if h.original != function]
        if kept:
            self._by_name[event] = kept
        else:
            self._by_name.pop(event, None)
        self._refresh(event)

    def clear(self) -> None:
        """Remove all handlers of named events."""
        self._by_name.clear()
        self.fast.clear()

    def get(self, event: str | int) -> list[Handler]:
        """The handlers of an event; not to be changed."""
        return self._by_name.get(event, _NONE)

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._by_name)

    def copy(self) -> HandlerTable:
        """A table with the same handlers."""
        table = HandlerTable()
        table._by_name = {event: list(handlers) for event, handlers in self._by_name.items()}
        table.fast = dict(self.fast)
        table.any = list(self.any)
        table.concurrent = self.concurrent
        return table

    def _refresh(self, event: str | int) -> None:
        if isinstance(event, int):
            return
        raw = orjson.dumps(str(event))[1:-1]
        handlers = self.get(event)
        if not handlers:
            self.fast.pop(raw, None)
        elif len(handlers) == 1 and not handlers[0].once:
            self.fast[raw] = handlers[0]
        else:
            self.fast[raw] = SEVERAL


def require_name(event: Any, handler: Any) -> None:
    """See that a decorator was called with an event's name, and not with the function itself.

    Raises:
        HandlerError: it was written without parentheses.
    """
    if handler is None and callable(event):
        raise HandlerError('name the event: @io.on("chat message"), or @io.event for the function\'s own name')


def called(handlers: list[Handler]) -> list[Handler]:
    """The handlers that are to be called now; those for `once` are taken out of the list."""
    found = list(handlers)
    if any(handler.once for handler in found):
        handlers[:] = [handler for handler in found if not handler.once]
    return found


_NONE: Final[list[Handler]] = []
