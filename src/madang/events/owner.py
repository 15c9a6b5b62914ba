"""What all sockets of a server, or of a client, share: the loop, the tasks, and the hooks for errors."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import Any, ClassVar, TypeVar

from ..errors import UsageError
from ..protocol.parser import Parser, check_parser
from ..protocol.socketio import DefaultParser
from ..tasks import FAILURES, Tasks, raise_if_cancelled
from .handlers import Handler

F = TypeVar("F", bound=Callable[..., Any])


class EventOwner:
    """The base of a server and of a client's manager.

    Attributes:
        parser: what turns packets into messages and back.
        tasks: handlers that wait.
        thread: the thread of its loop, or None before it has one.
    """

    logger: ClassVar[logging.Logger]

    def __init__(self, parser: Parser) -> None:
        self.parser = check_parser(parser)
        self.tasks = Tasks()
        self._background = Tasks()
        self._error_handlers: list[Handler] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread: int | None = None

    # hooks

    def on_error(self, handler: F) -> F:
        """Tell `handler(error, socket, event)` of each exception that a handler has raised. A decorator."""
        self._error_handlers.append(Handler("error", handler, takes_socket=False, from_client=False))
        return handler

    def off_error(self, handler: Callable[..., Any]) -> None:
        """Undo `on_error`; nothing if it is not registered."""
        self._error_handlers = [known for known in self._error_handlers if known.original != handler]

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine in the background until it ends or this is closed, which cancels it.

        An exception in it is logged and given to `on_error`. Must be called in the loop.
        """
        self._background.start(self._wait(coroutine, "background task"))

    def handler_failed(self, error: BaseException, socket: Any, event: str | int) -> None:
        """Log what a handler has raised, once, and tell `on_error`."""
        where = f" in {socket.nsp} for {socket.id}" if socket is not None else ""
        self.logger.error("the handler of %r%s failed", event, where, exc_info=error)
        for handler in self._error_handlers:
            self._call(handler, (error, socket, event), None)

    def _call(self, handler: Handler, args: tuple[Any, ...], event: str | None) -> None:
        values = args
        if handler.arity is not None:
            values = args[: handler.arity + int(handler.takes_socket)]
        try:
            waiting = handler.function(*values)
        except FAILURES as error:
            raise_if_cancelled(error)
            self._hook_failed(error, event)
        else:
            if isawaitable(waiting):
                self.tasks.start(self._wait(waiting, event))

    async def _wait(self, waiting: Any, event: str | None) -> None:
        try:
            await waiting
        except FAILURES as error:
            raise_if_cancelled(error)
            self._hook_failed(error, event)

    def _hook_failed(self, error: BaseException, event: str | None) -> None:
        if event is None:  # an error handler's own error goes no further
            self.logger.error("an error handler failed", exc_info=error)
        else:
            self.handler_failed(error, None, event)

    # the loop

    def _remember_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self.thread = threading.get_ident()

    def in_other_thread(self) -> bool:
        """Whether the caller runs in another thread than the loop."""
        return self.thread is not None and threading.get_ident() != self.thread

    def parser_here(self) -> Parser:
        """The parser for the calling thread: an encoder keeps state while it works, so another thread gets its own."""
        if threading.get_ident() != self.thread and isinstance(self.parser, DefaultParser):
            return self.parser.copy()
        return self.parser

    def require_own_thread(self, name: str) -> None:
        """Refuse what can only be awaited in the loop.

        Raises:
            UsageError: the caller runs in another thread.
        """
        if self.in_other_thread():
            raise UsageError(f"{name} waits in the event loop and cannot be called from another thread")

    def in_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function(*args)`: at once in the loop's own thread, else in the loop after what was asked before."""
        if self.in_other_thread():
            self.call_in_loop(function, *args)
        else:
            function(*args)

    def call_in_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function(*args)` in the loop, after what was asked for before."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)
