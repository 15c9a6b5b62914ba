"""What has come from PostgreSQL, in its order: an attachment has to be fetched, and all behind it waits for that."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

SPACES: Final = " \t\n\r"
"""What JSON may end with."""

TOGETHER: Final = 64
"""Attachments that are fetched by one statement."""

_LONGEST_HEAD: Final = 400
_BIGINT: Final = 2**63


class _Head(msgspec.Struct, rename="camel"):
    uid: str
    attachment_id: str | int


_head: Final = msgspec.json.Decoder(_Head).decode


class Source(Protocol):
    """Where attachments are."""

    async def attachments(self, numbers: Any, most: int) -> dict[int, bytes | None]:
        """See `ListeningLine.attachments`."""
        ...


class Arrivals:
    """Notifications on their way to their namespaces.

    Args:
        deliver: called with the channel and bytes of each message.
        own: whether a server of this name is this one.
        lost: called with a channel and a reason, for what cannot be delivered.
        attached: called when something was put into the table.
        wanted: called when there is something to fetch.
        most: bytes that an attachment may have.
        limit: notifications that may wait.
    """

    def __init__(
        self,
        deliver: Callable[[str, bytes], None],
        own: Callable[[str], bool],
        lost: Callable[[str, str], None],
        attached: Callable[[], None],
        wanted: Callable[[], None],
        most: int,
        limit: int,
    ) -> None:
        self._deliver = deliver
        self._own = own
        self._lost = lost
        self._attached = attached
        self._wanted = wanted
        self._most = most
        self._limit = limit
        self._waiting: deque[tuple[str, bytes | int]] = deque()
        self._dropping = False

    def take(self, channel: str, payload: str) -> None:
        """A notification has come."""
        arrival: bytes | int = payload.rstrip(SPACES).encode(errors="replace")
        if len(payload) < _LONGEST_HEAD and '"attachmentId"' in payload:
            try:
                head = _head(payload)
                number = int(head.attachment_id)
            except (msgspec.MsgspecError, ValueError):
                pass  # an event that talks of such things, or poison
            else:
                self._attached()
                if self._own(head.uid):
                    return
                if 0 <= number < _BIGINT:
                    arrival = number
                    self._wanted()
        if not self._waiting and isinstance(arrival, bytes):
            self._deliver(channel, arrival)
        elif len(self._waiting) >= self._limit:
            if not self._dropping:
                self._dropping = True
                self._lost(channel, "too much waits for attachments")
        else:
            self._waiting.append((channel, arrival))

    async def fetch(self, source: Source) -> None:
        """Fetch what is to be fetched, and deliver what waits for it."""
        waiting = self._waiting
        while waiting:
            numbers = [arrival for _, arrival in waiting if isinstance(arrival, int)][:TOGETHER]
            found = await source.attachments(numbers, self._most) if numbers else {}
            fetched = set(numbers)
            while waiting:
                channel, arrival = waiting[0]
                if isinstance(arrival, int):
                    if arrival not in fetched:
                        break
                    self._attachment(channel, arrival, found)
                else:
                    self._deliver(channel, arrival)
                waiting.popleft()
        self._dropping = False

    def _attachment(self, channel: str, number: int, found: dict[int, bytes | None]) -> None:
        payload = found.get(number)
        if payload is not None:
            self._deliver(channel, payload)
        elif number in found:
            self._lost(channel, f"an attachment is more than {self._most} bytes")
        else:
            self._lost(channel, "an attachment could not be fetched")


class Cleaning:
    """When the table is to be cleaned: as long as something may be in it, once in an interval.

    Args:
        interval: seconds between two times, and after which what is in the table may go.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._last = time.monotonic()
        self._next = self._last + interval
        self._wanted = True

    def attached(self) -> None:
        """Something was put into the table just now."""
        self._wanted = True
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time; the next one is an interval later."""
        now = time.monotonic()
        if now < self._next or not self._wanted:
            return False
        self._next = now + self.interval
        self._wanted = now - self._last <= self.interval  # else it was old enough to go this time
        return True
