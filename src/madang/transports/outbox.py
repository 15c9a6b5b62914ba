"""One write per connection and loop turn."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Flushable(Protocol):
    """A connection that has something to write."""

    def flush(self) -> None:
        """Write what waits."""
        ...


class Outbox:
    """The connections that have something to write when the turn ends.

    Frames that are sent during one turn of the loop wait in their connection; when the turn ends, each connection
    writes all of them with one call. The system call is what sending costs, so this is what makes broadcasts fast.
    """

    __slots__ = ("_dirty", "_emptied", "_live", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Flushable] = []
        self._live = 0
        self._emptied: asyncio.Future[None] | None = None

    def add(self, connection: Flushable) -> None:
        """Flush `connection` when the turn ends; a connection adds itself when its first frame comes."""
        dirty = self._dirty
        if not dirty:
            self._loop.call_soon(self._flush)
        dirty.append(connection)

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

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()
