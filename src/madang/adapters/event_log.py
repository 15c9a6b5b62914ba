"""The events of a namespace that somebody may have missed, of one server or of several that tell each other all.

Each event has an origin, the server that has emitted it, and that one's running number. What a client has got is a
vector: the highest number of each origin. Two servers may deliver the events of two others in different orders; what a
client of one has not got yet the other knows from the vector all the same, exactly.

An offset is a vector as text: the time as Node's adapter in memory writes it, by which clients of madang know offsets
from other text, a dot, and ``<origin>-<number>`` joined by ``_``, numbers in base 16: ``QX9fk2a.k3ZqA-1f_Xw0aB-3``. An
origin all of whose events are long over is left out: who comes with that vector has got all of them or never can.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from time import time
from typing import Final, NamedTuple

import msgspec

from ..protocol.encoded import Encoded
from .adapter import BroadcastOptions
from .recovery import LONGEST_OFFSET, TOO_OLD, size_of

OVERHEAD: Final = 400
"""Bytes that an event which is kept takes beside its own, roughly."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

AHEAD: Final = "events that the client has got have not arrived here yet, and the server that sent them does not answer"

Vector = Mapping[str, int]

_NUMBER: Final = re.compile(r"[0-9a-f]{1,16}").fullmatch


class Entry(NamedTuple):
    """An event that is kept.

    Attributes:
        origin: the server that has emitted it.
        number: how many it had emitted with it.
        at: when, by the clock that all origins share.
        encoded: the event, without an offset.
        options: whom it was for.
        direct: whether it was for one client, whatever rooms that was in.
        offset: what had been delivered here with it.
        size: its bytes, roughly.
    """

    origin: str
    number: int
    at: float
    encoded: Encoded
    options: BroadcastOptions
    direct: bool
    offset: str
    size: int


class OriginFacts(msgspec.Struct, array_like=True, frozen=True):
    """What is known of one server that emits; see `_Origin`."""

    name: str
    top: int
    at: float
    lost: int
    lost_at: float


class _Origin:
    """What is known of one server that emits.

    Attributes:
        top: its highest number.
        at: when that was emitted.
        places: where those of its events are that are kept, in order and without a gap up to `top`.
        lost: its highest number that somebody may miss and that is not kept any more, or never came; or 0.
        lost_at: when that was emitted.
        text: `top`, as part of an offset.
    """

    __slots__ = ("at", "lost", "lost_at", "places", "text", "top")

    def __init__(self) -> None:
        self.top = 0
        self.at = 0.0
        self.places: deque[int] = deque()
        self.lost = 0
        self.lost_at = 0.0
        self.text = ""


class EventLog:
    """See above.

    Args:
        retention: seconds for which somebody may miss an event.
        max_bytes: bytes that are kept; the oldest make room.

    Attributes:
        bytes: bytes that are kept, roughly.
        holes: how often events of a server that was known have not come.
    """

    __slots__ = (
        "_entries",
        "_first",
        "_max_bytes",
        "_offset",
        "_origins",
        "_retention",
        "_stamp",
        "_stamped",
        "bytes",
        "holes",
    )

    def __init__(self, retention: float, max_bytes: int) -> None:
        self._retention = retention
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._first = 0  # the place of the first of them; places stay the same as long as an event is kept
        self._origins: dict[str, _Origin] = {}
        self._offset: str | None = ""
        self._stamped = 0
        self._stamp = ""
        self.bytes = 0
        self.holes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def append(
        self, origin: str, number: int, at: float, encoded: Encoded, options: BroadcastOptions, direct: bool = False
    ) -> str | None:
        """An event is delivered here now.

        Returns:
            The offset for those who get it; None if it has been delivered before.
        """
        known = self._origins.get(origin)
        if known is None:
            known = self._origins[origin] = _Origin()
            known.top = number - 1  # what it has sent before anybody listened is nobody's
        if number <= known.top:
            return None
        if number != known.top + 1:
            self._lose(known, number - 1, at)
        known.top, known.at, known.text = number, at, f"{origin}-{number:x}"
        offset = self._offset = f"{self.stamp()}.{'_'.join([one.text for one in self._origins.values() if one.text])}"
        known.places.append(self._first + len(self._entries))
        plain = Encoded(encoded.text, encoded.attachments, encoded.compress)  # without frames and values
        size = size_of(plain) + OVERHEAD
        self._entries.append(Entry(origin, number, at, plain, options, direct, offset, size))
        self.bytes += size
        while self.bytes > self._max_bytes and len(self._entries) > 1:
            oldest = self._entries[0]
            self._drop_oldest()
            known = self._origins[oldest.origin]
            known.lost, known.lost_at = oldest.number, oldest.at
        return offset

    def reached(self, origin: str, number: int, at: float) -> None:
        """A server says how many it has emitted, behind all that it had to tell: what has not come is lost."""
        known = self._origins.get(origin)
        if known is not None and number > known.top:
            self._lose(known, number, at)
            known.top, known.at, known.text, self._offset = number, at, f"{origin}-{number:x}", None

    def _lose(self, origin: _Origin, number: int, at: float) -> None:
        origin.lost, origin.lost_at = number, at
        origin.places.clear()  # what is kept from before the gap is of no use
        self.holes += 1

    def _drop_oldest(self) -> None:
        oldest = self._entries.popleft()
        self.bytes -= oldest.size
        places = self._origins[oldest.origin].places
        if places and places[0] == self._first:
            places.popleft()
        self._first += 1

    def clear(self) -> None:
        """Nobody can have missed anything."""
        while self._entries:
            self._drop_oldest()

    def offset(self) -> str:
        """What has been delivered here till now."""
        if self._offset is None:
            self._offset = offset_of({name: known.top for name, known in self._origins.items() if known.text})
        return self._offset

    def stamp(self) -> str:
        """The time, to the second."""
        now = int(time())
        if now != self._stamped:
            self._stamped, self._stamp = now, _digits(now * 1000)
        return self._stamp

    def knows(self, origin: str) -> bool:
        """Whether anything is known of a server."""
        return origin in self._origins

    def origins(self) -> list[OriginFacts]:
        """What is known of each server, for `adopt`."""
        return [
            OriginFacts(name, known.top, known.at, known.lost, known.lost_at) for name, known in self._origins.items()
        ]

    def adopt(self, origins: Sequence[OriginFacts], entries: Iterable[Entry]) -> None:
        """Know what another log knows, from before this one began.

        Args:
            origins: see `origins`.
            entries: its events, in its order.
        """
        own, known = list(self._entries), self._origins
        begins = _firsts(own)
        older = [one for one in entries if one.number < begins.get(one.origin, one.number + 1)]
        self.clear()
        self._origins = {}
        for facts in origins:
            again = self._origins[facts.name] = _Origin()
            again.top, again.at, again.lost, again.lost_at = facts.top, facts.at, facts.lost, facts.lost_at
            again.text = f"{facts.name}-{facts.top:x}"
        for name, number in (begins | _firsts(older)).items():
            if name in self._origins:
                self._origins[name].top = min(self._origins[name].top, number - 1)
        for one in (*older, *own):
            self.append(one.origin, one.number, one.at, one.encoded, one.options, one.direct)
        for facts in origins:
            again = self._origins[facts.name]
            if facts.name not in begins and again.top < facts.top:  # the last of them were lost there
                again.top, again.at, again.text = facts.top, facts.at, f"{facts.name}-{facts.top:x}"
                again.places.clear()
        for name in known.keys() - self._origins.keys():
            self._origins[name] = known[name]
        self._offset = None

    def forget_origin(self, origin: str) -> None:
        """A server has ended; it is no more known once all it has sent is long over."""
        known = self._origins.get(origin)
        if known is not None and not known.text and not known.places and not known.lost:
            del self._origins[origin]

    def forget_old(self, now: float) -> None:
        """Drop what nobody can have missed any more."""
        oldest_allowed = now - self._retention
        while self._entries and self._entries[0].at < oldest_allowed:
            self._drop_oldest()
        for known in self._origins.values():
            if known.lost and known.lost_at < oldest_allowed:
                known.lost = 0
            if known.text and known.at < oldest_allowed:  # whoever it is presented to leaves its events out as well
                known.text = ""
                self._offset = None

    def missed(self, got: Vector, now: float) -> list[Entry] | str:
        """What was delivered here and is not in a vector, in the order of delivery; or why that is not known."""
        self.forget_old(now)
        start = end = self._first + len(self._entries)
        for name, known in self._origins.items():
            have = got.get(name, 0)
            if have < known.lost:
                return TOO_OLD
            if have > known.top:
                return AHEAD
            unseen = known.top - have
            if unseen > 0 and known.places:
                start = min(start, known.places[-min(unseen, len(known.places))])
        if start == end:
            return []
        oldest_allowed = now - self._retention
        newest_first = islice(reversed(self._entries), end - start)
        found = [one for one in newest_first if one.number > got.get(one.origin, 0) and one.at >= oldest_allowed]
        found.reverse()
        return found


def _firsts(entries: Iterable[Entry]) -> dict[str, int]:
    """The first number of each origin."""
    firsts: dict[str, int] = {}
    for entry in entries:
        firsts.setdefault(entry.origin, entry.number)
    return firsts


def vector_of(offset: str) -> dict[str, int] | None:
    """What an offset says; None if it is none."""
    vector: dict[str, int] = {}
    if len(offset) > LONGEST_OFFSET:
        return None
    _, _, parts = offset.partition(".")
    for part in parts.split("_") if parts else ():
        origin, _, digits = part.partition("-")
        if not _NUMBER(digits):
            return None
        vector[origin] = int(digits, 16)
    return vector


def offset_of(vector: Vector, stamp: str = "") -> str:
    """A vector as text."""
    return f"{stamp}.{'_'.join([f'{origin}-{number:x}' for origin, number in vector.items()])}"


def _digits(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 64)
        digits = _ALPHABET[digit] + digits
    return digits


def joined(one: Vector, other: Vector) -> dict[str, int]:
    """What is in either of two vectors."""
    both = dict(one)
    for origin, number in other.items():
        if number > both.get(origin, 0):
            both[origin] = number
    return both
