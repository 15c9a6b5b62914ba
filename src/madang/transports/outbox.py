"""One write per connection and loop turn."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any


class Outbox:
    """The connections that have something to write when the turn ends.

    What is sent during one turn of the loop waits in its connection; when the turn ends, each connection writes all of
    it with one call. The system call is what sending costs, so this is what makes broadcasts fast.

    A connection that gets its first message of the turn calls `schedule()` if `dirty` is empty, and appends itself.

    Attributes:
        dirty: the connections that have something to write; always the same list.
        schedule: have them flushed when the turn ends.
    """

    __slots__ = ("_emptied", "_live", "_loop", "dirty", "schedule")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._live = 0
        self._emptied: asyncio.Future[None] | None = None
        self.dirty: list[Any] = []
        self.schedule = partial(loop.call_soon, self.flush)

    def flush(self) -> None:
        """Let each connection write what it has."""
        batch = self.dirty[:]
        self.dirty.clear()
        for connection in batch:
            connection.flush()

    def opened(self) -> None:
        """One more connection is open."""
        self._live += 1

    def closed(self) -> None:
        """A connection has ended."""
        self._live -= 1
        if not self._live and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        if self._live:
            self._emptied = self._loop.create_future()
            await self._emptied
