"""The events of a namespace as they were delivered here, in the order of its stream, for those who have missed some."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Final, NamedTuple

from ...protocol.encoded import Encoded
from ..adapter import BroadcastOptions
from ..recovery import is_for, size_of

OVERHEAD: Final = 400
"""Bytes that an event which is kept takes beside its own, roughly."""

Id = tuple[int, int]
"""The id of an entry, as ids are ordered."""


class _Kept(NamedTuple):
    id: Id
    encoded: Encoded
    options: BroadcastOptions
    at: float
    size: int


class StreamLog:
    """See above.

    Args:
        retention: seconds for which somebody may miss an event.
        max_bytes: bytes that are kept; the oldest make room.

    Attributes:
        start: the id after which nothing is lacking here; None as long as nothing is known.
        bytes: bytes that are kept, roughly.
    """

    __slots__ = ("_kept", "_max_bytes", "_retention", "bytes", "start")

    def __init__(self, retention: float, max_bytes: int) -> None:
        self._retention = retention
        self._max_bytes = max_bytes
        self._kept: deque[_Kept] = deque()
        self.start: Id | None = None
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, entry_id: Id, encoded: Encoded, options: BroadcastOptions) -> None:
        """An event with its offset."""
        plain = Encoded(encoded.text, encoded.attachments, encoded.compress)  # without frames and values
        size = size_of(plain) + OVERHEAD
        now = monotonic()
        self._kept.append(_Kept(entry_id, plain, options, now, size))
        self.bytes += size
        while self.bytes > self._max_bytes or self._kept[0].at < now - self._retention:
            oldest = self._kept.popleft()
            self.bytes -= oldest.size
            self.start = oldest.id
            if not self._kept:
                break

    def cut(self, position: Id) -> None:
        """Something may be lacking between what is kept and this id."""
        self._kept.clear()
        self.bytes = 0
        self.start = position

    def missed(self, after: Id, rooms: frozenset[str | int]) -> list[Encoded] | None:
        """What was sent after an id to everybody, or to one of some rooms; None if some of it is lacking."""
        if self.start is None or after < self.start:
            return None
        found: list[Encoded] = []
        for kept in reversed(self._kept):
            if kept.id <= after:
                break
            if is_for(rooms, kept.options):
                found.append(kept.encoded)
        found.reverse()
        return found
