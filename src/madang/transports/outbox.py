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

    Attributes:
        live: the number of connections that are open.
    """

    __slots__ = ("_dirty", "_loop", "live")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Flushable] = []
        self.live = 0

    def add(self, connection: Flushable) -> None:
        """Flush `connection` when the turn ends; a connection adds itself when its first frame comes."""
        dirty = self._dirty
        if not dirty:
            self._loop.call_soon(self._flush)
        dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()
