"""What a server has added to a stream itself, until it comes back from there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ...protocol.encoded import Encoded
from ..adapter import BroadcastOptions


class OwnEvent:
    """An event that clients here get when it comes back, so that everybody gets events in the stream's order.

    Attributes:
        encoded: the event without offset; None once it has been delivered.
        options: whom it is for.
        sid: the one socket that it is for, whatever rooms that is in; None if it is for rooms.
        at: when it was sent, by the loop's clock.
    """

    __slots__ = ("at", "encoded", "options", "sid")

    def __init__(self, encoded: Encoded, options: BroadcastOptions, sid: str | None) -> None:
        self.encoded: Encoded | None = encoded
        self.options = options
        self.sid = sid
        self.at = 0.0


class Unknown:
    """What has come back and was not waited for any more."""


UNKNOWN: Final = Unknown()


class OwnEntries:
    """Entries come back in the order in which they were sent, and are known by their bytes.

    If they do not come back in time, or Redis is away, their events are delivered all the same.

    Args:
        deliver: delivers an event that has not come back.
        patience: seconds for which one is waited for.
        limit: entries that are remembered.
    """

    __slots__ = ("_deliver", "_held", "_limit", "_patience", "_sent", "_timer")

    def __init__(self, deliver: Callable[[OwnEvent, Encoded], None], patience: float, limit: int) -> None:
        self._deliver = deliver
        self._patience = patience
        self._limit = limit
        self._sent: deque[tuple[bytes, OwnEvent | None]] = deque()
        self._held: deque[OwnEvent] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def sent(self, data: bytes, event: OwnEvent | None) -> None:
        """An entry is on its way, with its event if it is one; clients here wait for that unless they have it."""
        if event is not None and event.encoded is not None:
            event.at = asyncio.get_running_loop().time()
            self._held.append(event)
            self._watch()
        self._sent.append((data, event))
        if len(self._sent) > self._limit:
            self.flush()
            self._sent.popleft()

    def came(self, data: bytes) -> OwnEvent | Unknown | None:
        """An entry has come back: its event, if it has one. Those that were sent before it never will."""
        if not any(data == known for known, _ in self._sent):
            return UNKNOWN
        while True:
            known, event = self._sent.popleft()
            if event is not None and event.encoded is not None:
                self._held.popleft()
                if known != data:
                    self._give(event)
            if known == data:
                return event

    def flush(self) -> None:
        """Deliver what waits."""
        while self._held:
            self._give(self._held.popleft())

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()
        self._sent.clear()

    def _give(self, event: OwnEvent) -> None:
        encoded, event.encoded = event.encoded, None
        if encoded is not None:
            self._deliver(event, encoded)

    def _watch(self) -> None:
        if self._timer is None and self._held:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._held[0].at + self._patience, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._held and self._held[0].at + self._patience <= asyncio.get_running_loop().time():
            self.flush()
        self._watch()
