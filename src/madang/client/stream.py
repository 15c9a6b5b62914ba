"""A client's events as a stream, for those who would rather ask for the next one than be called."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..errors import SocketClosed, WaitTimeout
from ..events.acks import Ack
from ..events.dispatch import QUEUE_BYTES, QUEUE_LIMIT

FULL: Final = QUEUE_LIMIT
"""Events that may wait in a stream before reading from the server stops."""


class Received:
    """An event that has come.

    Attributes:
        name: its name.
        args: its arguments.
        ack: answers it, if the server asked for an answer and no handler has given one.
    """

    __slots__ = ("ack", "args", "name", "size")

    def __init__(self, name: str | int, args: tuple[Any, ...], ack: Ack, size: int) -> None:
        self.name = name
        self.args = args
        self.ack = ack
        self.size = size

    @property
    def data(self) -> Any:
        """The arguments as one value: nothing is None, one is itself, more are a tuple."""
        return None if not self.args else self.args[0] if len(self.args) == 1 else self.args

    def __repr__(self) -> str:
        return f"<Received {self.name!r} {self.args!r}>"


class EventStream:
    """The events that come from now on; made by `client.events()`.

    Iterating ends when the client is not connected and will not come back by itself; while it reconnects, the stream
    waits. A stream that is full stops the reading from the server until something is taken from it, so an abandoned
    one must be closed, or let go of.

    Args:
        names: only these; all if empty.
        changed: called when there is room again, and when it is closed.
        over: says why no more will come, or None.
    """

    __slots__ = ("__weakref__", "_bytes", "_changed", "_ended", "_events", "_full", "_names", "_over", "_waiter")

    def __init__(
        self, names: frozenset[str | int], changed: Callable[[], object], over: Callable[[], str | None]
    ) -> None:
        self._names = names
        self._events: deque[Received] = deque()
        self._bytes = 0
        self._full = False
        self._waiter: asyncio.Future[None] | None = None
        self._ended: str | None = None
        self._changed = changed
        self._over = over

    def is_full(self, grace: int = 1) -> bool:
        """Whether it holds as much as it may, or has, and is not down to the half of it yet.

        Args:
            grace: how many times as much may wait, because reading no more would block what is waited for.
        """
        return self._full and (grace == 1 or len(self._events) >= FULL * grace or self._bytes >= QUEUE_BYTES * grace)

    def put(self, received: Received) -> None:
        """An event has come."""
        if self._ended is None and (not self._names or received.name in self._names):
            self._events.append(received)
            self._bytes += received.size
            self._full = self._full or len(self._events) >= FULL or self._bytes >= QUEUE_BYTES
            self._wake()

    def end(self, reason: str) -> None:
        """No more will come."""
        if self._ended is None:
            self._ended = reason
            self._wake()

    def close(self) -> None:
        """Take no more events."""
        self.end("the stream was closed")
        self._events.clear()
        self._bytes = 0
        self._full = False
        self._changed()

    @property
    def ended(self) -> bool:
        """Whether no more will come."""
        return self._ended is not None

    async def receive(self, timeout: float | None = 30.0) -> Received:
        """The next event.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            WaitTimeout: none came in time.
            SocketClosed: none will come any more.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._next()
        except TimeoutError:
            raise WaitTimeout(f"no event came within {timeout} seconds") from None

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Received:
        try:
            return await self._next()
        except SocketClosed:
            raise StopAsyncIteration from None

    async def _next(self) -> Received:
        while not self._events:
            ended = self._ended or self._over()
            if ended is not None:
                raise SocketClosed(ended)
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)
        return self._take()

    def take(self) -> Received | None:
        """An event that has come already, or None."""
        return self._take() if self._events else None

    def _take(self) -> Received:
        received = self._events.popleft()
        self._bytes -= received.size
        if self._full and len(self._events) <= FULL // 2 and self._bytes <= QUEUE_BYTES // 2:
            self._full = False
            self._changed()
        return received

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
