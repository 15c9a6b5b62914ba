"""The way in from a broker: one connection that listens to what is wanted here, and only to that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from .link import Broker, Line, Link

BATCH: Final = 1000
"""Names that are listened to, or no longer, in one step."""


class InLine(Line, Protocol):
    """A connection that listens."""

    async def listen(self, more: Sequence[str], less: Sequence[str]) -> None:
        """Listen to more, and no longer to others, and wait until that is so; without any, see that it answers."""
        ...


class Incoming(Link):
    """Subscriptions that outlive their connection.

    What changes within a turn of the loop goes out as one piece. After a connection broke, all is subscribed anew.

    Args:
        broker: whose messages they are.
        connect: makes a connection. One that does not answer within the broker's timeout is given up.
        returned: called each time that the connection works from now on, with what may have been missed before: since
            when, in seconds since 1970, and why; None the first time.
    """

    doing = "subscriber"

    def __init__(
        self,
        broker: Broker,
        connect: Callable[[], Awaitable[InLine]],
        returned: Callable[[tuple[float, str] | None], None],
    ) -> None:
        super().__init__(broker)
        self._make = connect
        self._returned = returned
        self._wanted: set[str] = set()
        self._dirty: set[str] = set()
        self._subscribed: set[str] = set()
        self._changed: asyncio.Event | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._confirming: list[asyncio.Future[None]] = []
        self._gone: tuple[float, str] | None = None

    # what namespaces call

    def add(self, name: str) -> None:
        """Listen to a name."""
        self._wanted.add(name)
        self._dirty.add(name)
        self.rouse()

    def remove(self, name: str) -> None:
        """Listen to it no longer."""
        self._wanted.discard(name)
        self._dirty.add(name)
        self.rouse()

    def rouse(self) -> None:
        """Have the connection do what there is to do."""
        if self._changed is not None:
            self._changed.set()

    async def settled(self) -> None:
        """Wait until the broker has confirmed all that was asked for till now."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.rouse()
        try:
            await waiting
        finally:
            if waiting.cancelled() and waiting in self._waiting:
                self._waiting.remove(waiting)

    def start(self) -> None:
        """Begin to listen, in the running loop."""
        if self._task is None or self._task.done():
            self._changed = asyncio.Event()
        super().start()

    async def close(self) -> None:
        """End."""
        await self._end(0)
        self._gone = None
        for waiting in (*self._waiting, *self._confirming):
            waiting.cancel()
        self._waiting.clear()
        self._confirming.clear()

    # the connection

    async def _connect(self) -> InLine:
        return await self._make()

    async def _use(self, line: InLine) -> None:
        changed = self._changed
        assert changed is not None
        line.ended.add_done_callback(lambda _: changed.set())
        self._subscribed.clear()
        self._dirty = set(self._wanted)
        while True:
            changed.clear()
            if line.ended.done():
                line.ended.result()
                raise ConnectionResetError("it was closed")
            await self._change(line)
            if self._dirty:
                continue
            try:
                async with asyncio.timeout(self.broker.timeout / 2):
                    await changed.wait()
            except TimeoutError:
                pass  # then `_change` sees whether it still answers

    async def _change(self, line: InLine) -> None:
        """Make the subscriptions what is wanted, and confirm that."""
        dirty, self._dirty = self._dirty, set()
        more = [name for name in dirty if name in self._wanted and name not in self._subscribed]
        less = [name for name in dirty if name not in self._wanted and name in self._subscribed]
        self._confirming, self._waiting = self._waiting, []
        for start in range(0, max(len(more), len(less), 1), BATCH):
            some, others = more[start : start + BATCH], less[start : start + BATCH]
            async with asyncio.timeout(self.broker.timeout):
                await line.listen(some, others)
            self._subscribed.update(some)
            self._subscribed.difference_update(others)
        if not self.connected:
            self._well()
            gone, self._gone = self._gone, None
            self._returned(gone)
        confirmed, self._confirming = self._confirming, []
        for waiting in confirmed:
            if not waiting.done():
                waiting.set_result(None)

    def _broken(self, reason: str) -> None:
        if self.connected and self._gone is None:
            self._gone = (time.time(), reason)
        self._waiting += self._confirming
        self._confirming = []
