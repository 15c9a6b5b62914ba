"""Another thread waits for what only the event loop can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, wait
from inspect import isawaitable
from time import monotonic
from typing import Any, Final

from ..errors import ServerClosed, UsageError, WaitTimeout
from ..tasks import Tasks

_LOOK: Final = 0.5
"""Seconds after which the thread looks whether the loop still runs; one that ends without a word tells nobody."""


class Crossing:
    """A call that another thread has asked for.

    Args:
        loop: where it is made.
        tasks: who owns it there.
        function: what to call; an awaitable that it gives is awaited.
        args: its arguments.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tasks: Tasks, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._loop = loop
        self._tasks = tasks
        self._function = function
        self._args = args
        self._result: Future[Any] = Future()
        self._task: asyncio.Task[Any] | None = None

    def wait(self, timeout: float | None) -> Any:
        """In the other thread: ask for the call, and wait for what it gives; see `Server.from_thread`."""
        deadline = None if timeout is None else monotonic() + timeout
        self._tell(self._begin)
        try:
            while True:
                left = _LOOK if deadline is None else min(_LOOK, deadline - monotonic())
                if wait((self._result,), max(left, 0.0)).done:
                    return self._result.result()
                if self._loop.is_closed() or not self._loop.is_running():
                    raise ServerClosed("the event loop of the server has ended")
                if deadline is not None and monotonic() >= deadline:
                    raise WaitTimeout(f"the call did not end within {timeout} seconds")
        finally:
            if not self._result.done() and not self._loop.is_closed():
                self._tell(self._cancel)

    def _tell(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            raise ServerClosed("the event loop of the server has ended") from None

    # in the loop

    def _begin(self) -> None:
        if not self._result.cancelled():
            self._task = self._tasks.start(self._call())

    def _cancel(self) -> None:
        if self._task is None:
            self._result.cancel()
        else:
            self._task.cancel()

    async def _call(self) -> None:
        try:
            value = self._function(*self._args)
            if isawaitable(value):
                value = await value
        except asyncio.CancelledError:
            self._result.set_exception(ServerClosed("the server was closed before the call had ended"))
            raise
        except Exception as error:
            self._result.set_exception(error)
        else:
            self._result.set_result(value)


def check_crossing(loop: asyncio.AbstractEventLoop | None, *, own_thread: bool) -> asyncio.AbstractEventLoop:
    """See that a thread may wait for the loop.

    Raises:
        UsageError: there is no loop yet, or it is this thread's own.
    """
    if loop is None:
        raise UsageError("from_thread() needs a server that runs: call it once the server has been started")
    if own_thread:
        raise UsageError("from_thread() in the thread of the event loop would wait for ever: await the call instead")
    return loop
