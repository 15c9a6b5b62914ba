"""Connection state recovery: who comes back after a short break gets the same id, rooms and data, and what was missed.

Each event that is not volatile and wants no answer carries an offset, one more argument of text at its end, and is
kept for a while. A client that comes back presents the private id that it was given, and the last offset it has seen
(protocol of the official server, "Connection state recovery").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ..adapters.adapter import BroadcastOptions
from ..engine.options import require_positive
from ..engine.transport import (
    FORCED_CLOSE,
    PING_TIMEOUT,
    SERVER_SHUTTING_DOWN,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
)
from ..errors import OptionError
from ..protocol.encoded import Encoded
from ..types import Room

if TYPE_CHECKING:
    from ..engine.timetable import Lane, Timetable
    from .socket import Socket

RECOVERABLE: Final = frozenset(
    (TRANSPORT_ERROR, TRANSPORT_CLOSE, FORCED_CLOSE, PING_TIMEOUT, SERVER_SHUTTING_DOWN, "forced server close")
)
"""The reasons for which a client may have gone without wanting to."""

UNKNOWN: Final = "no such session: it is over, or belongs to another server"
TOO_OLD: Final = "the offset is not known any more: too much has been sent meanwhile, or it was not sent here"

TOO_MUCH: Final = "more has been sent meanwhile than the option outbound_limit lets wait for a client"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

_OVERHEAD: Final = 300
"""Bytes that an event which is kept takes beside its own, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOptions:
    """How sessions are recovered.

    Attributes:
        max_disconnection_duration: seconds for which a client that has gone can come back to its session. Default 120.
        skip_middlewares: whether the middlewares of the namespace are not asked about one that comes back. Default
            True.
        max_bytes: bytes of events that are kept in each namespace; the oldest make room. Default 64 MiB.
    """

    max_disconnection_duration: float = 120.0
    skip_middlewares: bool = True
    max_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "max_disconnection_duration", "max_bytes")

    @classmethod
    def of(cls, given: Any) -> RecoveryOptions | None:
        """What may be given as the option `connection_state_recovery`.

        Raises:
            OptionError: it is neither a bool nor a dict of these options.
        """
        if given is None or given is False:
            return None
        if given is True:
            return cls()
        if isinstance(given, RecoveryOptions):
            return given
        known = {field.name for field in fields(cls)}
        if not isinstance(given, Mapping) or not all(name in known for name in given):  # pyright: ignore
            raise OptionError(
                f"connection_state_recovery must be True or a dict of {', '.join(sorted(known))}, not {given!r}"
            )
        return cls(**cast("dict[str, Any]", given))


class Saved(NamedTuple):
    """A session whose client has gone.

    Attributes:
        pid: its private id.
        sid: the id of its socket.
        since: how many events had been sent when it began.
        rooms: the rooms it was in.
        data: what the application kept with it.
    """

    pid: str
    sid: str
    since: int
    rooms: frozenset[Room]
    data: dict[str, Any]


class _Kept(NamedTuple):
    encoded: Encoded
    options: BroadcastOptions
    at: float
    offset: str
    size: int


class Recovery:
    """What one namespace keeps for clients that may come back.

    Args:
        deadlines: how long, and how much.
        emptied: called when nobody is expected any more.
    """

    __slots__ = (
        "_bytes",
        "_counter",
        "_deadlines",
        "_emptied",
        "_kept",
        "_last_stamp",
        "_live",
        "_places",
        "_returning",
        "_saved",
        "_sent",
        "options",
    )

    def __init__(self, deadlines: Deadlines, emptied: Callable[[], object]) -> None:
        self.options = deadlines.options
        self._deadlines = deadlines
        self._emptied = emptied
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._sent = 0  # events that have ever been kept, so that a place among them is a number that stays
        self._places: dict[str, int] = {}
        self._saved: dict[str, Saved] = {}
        self._returning: set[str] = set()
        self._live: dict[str, Socket] = {}
        self._last_stamp = 0
        self._counter = 0

    # events

    @property
    def bytes(self) -> int:
        """Bytes of the events that are kept, roughly."""
        return self._bytes

    @property
    def needed(self) -> bool:
        """Whether there is anybody who may miss an event."""
        return bool(self._live or self._saved or self._returning)

    def next_offset(self) -> str:
        """The offset of the next event: the time, and a counter if there are several of one millisecond."""
        now = int(time() * 1000)
        if now > self._last_stamp:
            self._last_stamp, self._counter = now, 0
            return _digits(now)
        self._counter += 1  # or the clock was set back: no offset is given twice
        return f"{_digits(self._last_stamp)}.{self._counter}"

    def keep(self, encoded: Encoded, options: BroadcastOptions, offset: str) -> None:
        """An event has been sent."""
        encoded = Encoded(encoded.text, encoded.attachments, encoded.compress)  # without frames and values
        size = _size(encoded) + _OVERHEAD
        self._kept.append(_Kept(encoded, options, monotonic(), offset, size))
        self._places[offset] = self._sent
        self._sent += 1
        self._bytes += size
        while self._bytes > self.options.max_bytes and len(self._kept) > 1:
            self._drop_oldest()
        if self not in self._deadlines.sweep:
            self._deadlines.sweep.add(self)

    def missed(self, session: Saved, offset: str | None) -> list[Encoded] | None:
        """What a session has missed since an offset, or since it began; None if that is not known any more."""
        begin = self._begin(session, offset)
        first = self._sent - len(self._kept)
        if begin is None or begin < first:
            return None
        if begin == self._sent:
            return []
        return [
            kept.encoded for kept in islice(self._kept, begin - first, None) if _is_for(session.rooms, kept.options)
        ]

    def _begin(self, session: Saved, offset: str | None) -> int | None:
        """The number of the first event that a session may have missed."""
        if offset is None:  # it has got none
            return session.since
        place = self._places.get(offset)
        return None if place is None else max(place + 1, session.since)

    def _drop_oldest(self) -> None:
        oldest = self._kept.popleft()
        self._bytes -= oldest.size
        del self._places[oldest.offset]

    def forget_old(self) -> None:
        """Drop what is too old, and look again when the next event will be."""
        oldest_allowed = monotonic() - self.options.max_disconnection_duration
        while self._kept and self._kept[0].at < oldest_allowed:
            self._drop_oldest()
        if self._kept:
            self._deadlines.sweep.add(self)

    # sessions

    def joined(self, pid: str, socket: Socket, since: int | None) -> int:
        """A client is here, under a private id; how many events had been sent when its session began."""
        self._live[pid] = socket
        self._returning.discard(pid)
        return self._sent if since is None else since

    def left(self, pid: str, socket: Socket, since: int, reason: str, rooms: frozenset[Room]) -> None:
        """It has gone; its session is kept if it may want to come back."""
        self._live.pop(pid, None)
        if reason in RECOVERABLE:
            self._saved[pid] = Saved(pid, socket.id, since, rooms, socket.data)
            self._deadlines.expiry.add((self, pid))

    def restore(self, auth: Any) -> tuple[Saved | None, str | None]:
        """The session that a client presents, and why there is none if it presents one.

        A session is given once. If the server has not noticed yet that the client's last connection is dead, this ends
        it.
        """
        pid, offset = auth.get("pid"), auth.get("offset")
        if not isinstance(pid, str) or not isinstance(offset, str | None):
            return None, None
        alive = self._live.get(pid)
        if alive is not None:
            session = alive.connection.session
            transport = session.transport
            session.transport_closed(transport, TRANSPORT_CLOSE, "the client has come back on another connection")
            transport.abort()
        saved = self._saved.pop(pid, None)
        if saved is None:
            return None, UNKNOWN
        self._deadlines.expiry.discard((self, pid))
        missed = self.missed(saved, offset)
        if missed is None:
            return None, TOO_OLD
        if sum(map(_size, missed)) > self._deadlines.limit:  # it would be sent away as a slow client, again and again
            return None, TOO_MUCH
        self._returning.add(pid)
        return saved, None

    def give_back(self, saved: Saved) -> None:
        """It could not be used after all: its client was refused, or has gone again."""
        self._returning.discard(saved.pid)
        self._saved[saved.pid] = saved
        self._deadlines.expiry.add((self, saved.pid))

    def forget(self, saved: Saved) -> None:
        """It could not be used after all, and never can."""
        self._returning.discard(saved.pid)

    def expects(self, pid: str) -> bool:
        """Whether the client with this private id is here, or may come back."""
        return pid in self._live or pid in self._saved or pid in self._returning

    def resume(self) -> None:
        """The server serves again, and its deadlines begin anew: those of before were dropped when it stopped."""
        for pid in self._saved:
            self._deadlines.expiry.add((self, pid))
        if self._kept:
            self._deadlines.sweep.add(self)

    def expire(self, pid: str) -> None:
        """A client has not come back in time."""
        self._saved.pop(pid, None)
        if not self.needed:
            self._emptied()


class Deadlines:
    """When what is kept is kept no longer, for all namespaces of a server.

    Args:
        options: how long.
        timetable: the deadlines of the engine.
        limit: bytes that may wait for one client.

    Attributes:
        options: how long, and how much.
        limit: see above.
        expiry: of sessions.
        sweep: of events.
    """

    __slots__ = ("expiry", "limit", "options", "sweep")

    def __init__(self, options: RecoveryOptions, timetable: Timetable, limit: int) -> None:
        self.options = options
        self.limit = limit
        self.expiry: Lane[tuple[Recovery, str]] = timetable.lane(options.max_disconnection_duration, _expire)
        self.sweep: Lane[Recovery] = timetable.lane(options.max_disconnection_duration, Recovery.forget_old)


def _size(encoded: Encoded) -> int:
    return len(encoded.text) + sum(map(len, encoded.attachments))


def _expire(key: tuple[Recovery, str]) -> None:
    recovery, pid = key
    recovery.expire(pid)


def _digits(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 64)
        digits = _ALPHABET[digit] + digits
    return digits


def _is_for(rooms: frozenset[Room], options: BroadcastOptions) -> bool:
    """Whether one who was in these rooms would have got what was sent with these options."""
    return (not options.rooms or not options.rooms.isdisjoint(rooms)) and options.except_.isdisjoint(rooms)
