"""The interface between a namespace that lets clients come back to their sessions, and what keeps these and the events.

The namespace knows its sockets: it says when a session begins, changes and ends, and hands over each event that can be
recovered. What keeps them gives each event its offset, sees to its delivery, and finds out what somebody has missed.
With one server it is a table in memory (`memory_recovery`); in a cluster an `AdapterSource` that also is a
`RecoverySource` brings its own.
"""

from __future__ import annotations

from collections.abc import Coroutine, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

from ..protocol.encoded import Encoded
from ..types import Room
from .adapter import AdapterContext, BroadcastOptions
from .memory import MemoryAdapter

if TYPE_CHECKING:
    from ..engine.timetable import Lane, Timetable

UNKNOWN: Final = "no such session: it is over, or belongs to another server"
TOO_OLD: Final = "the offset is not known any more: too much has been sent meanwhile, or it was not sent here"


class RecoverySession(msgspec.Struct, frozen=True):
    """A session as it is, or was when its client had gone.

    Attributes:
        pid: its private id, a secret of its client.
        sid: the id of its socket.
        since: the offset of the moment when it began.
        rooms: the rooms it is in.
        data: what the application keeps with it: the very dict of the socket. What takes it to another server encodes
            it as clients would get it.
        presences: where it is present and what it watches, as plain values; None if it does not.
    """

    pid: str
    sid: str
    since: str
    rooms: frozenset[Room]
    data: dict[str, Any]
    presences: Any = None


class Returning(Protocol):
    """A session that a client has presented and that nobody else can have any more.

    It ends by `give_back`, or by `RecoveryBackend.save` of the session with its client present, or by `drop`.

    Attributes:
        session: the session.
    """

    session: RecoverySession

    def missed(self) -> list[Encoded] | str:
        """What its client has not got of all that has been delivered here till now, or why nobody knows.

        It is for those rooms that the session was in, in order, with offsets. Never waits. It is asked at once, and
        again at the moment when the socket becomes a member: what is delivered later reaches the socket itself.
        """
        ...

    def give_back(self) -> None:
        """Its client was refused, or has gone; the session can be had again, for as long as before."""
        ...

    def drop(self) -> None:
        """It cannot be used, by anybody."""
        ...


Restored: TypeAlias = "Returning | str"
"""A session, or why there is none."""


class RecoveryOwner(Protocol):
    """What a backend may ask of its namespace."""

    def surrender(self, pid: str) -> RecoverySession | None:
        """A client has come to another server: its socket here, if there is one, ends, and is not saved.

        Returns:
            The session as it is at this moment; None if it has no socket here.
        """
        ...

    def sessions(self) -> Iterable[RecoverySession]:
        """The sessions of all sockets that are here, as they are."""
        ...

    def emptied(self) -> None:
        """`RecoveryBackend.needed` has become false by itself, because time has passed."""
        ...


class RecoveryBackend(Protocol):
    """Keeps the sessions and events of one namespace. Nothing but `restore` may wait; nothing raises.

    Attributes:
        replicates: whether sessions are kept elsewhere too, and so must be saved when they change. If not, they are
            saved when a client has joined and when it has gone.
    """

    replicates: bool

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """Deliver an event to all that `options` names, on all servers, with an offset; and keep it.

        It is not volatile and wants no answer. It comes without an offset: `AdapterContext.with_offset` adds it, once
        for all who get it. When it is delivered here, at once or later, is the backend's business; everybody gets
        events in the order of their offsets.
        """
        ...

    def send(self, sid: str, encoded: Encoded) -> None:
        """The same for one client, whatever rooms it is in, its own or not.

        Args:
            sid: the id of a socket that is or was here; its client may be back as another of the same id, anywhere.
            encoded: the event.
        """
        ...

    def offset(self) -> str:
        """The offset of this moment: who begins now has missed nothing up to it."""
        ...

    def save(self, session: RecoverySession, present: bool) -> None:
        """A client has joined, or its session has changed; or, if it is not `present`, it has just gone."""
        ...

    def forget(self, pid: str) -> None:
        """A client has left for good."""
        ...

    def expects(self, pid: str) -> bool:
        """Whether a client is here, or may come back; True if nobody knows."""
        ...

    def restore(self, pid: str, offset: str | None) -> Restored | Coroutine[Any, Any, Restored]:
        """Take the session that a client presents; its socket is not here any more.

        What this server knows by itself is answered at once. A coroutine is awaited in the task of the client, for a
        bounded time, and cancelled if that is over or the client goes: what it has taken by then it must give back.

        Args:
            pid: what the client presents, at most `LONGEST_PID` characters.
            offset: of the last event it has got; None if it has got none since its session began.
        """
        ...

    @property
    def needed(self) -> bool:
        """Whether somebody is here or may come back, so that the namespace must stay."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of the events that are kept here, roughly."""
        ...

    def resume(self) -> None:
        """The server serves again; all deadlines begin anew."""
        ...

    def close(self) -> None:
        """The namespace ends."""
        ...


LONGEST_PID: Final = 64
LONGEST_OFFSET: Final = 4096


class RecoveryLimits:
    """How long, and how much; and the deadlines for that, which all namespaces of a server share.

    Args:
        timetable: the deadlines of the engine.
        duration: seconds for which a client that has gone can come back.
        patience: seconds for which a connection may be dead before that is known.
        max_bytes: bytes of events that are kept in each namespace.
        max_sessions: sessions of clients that have gone, in each namespace.
        timeout: seconds for which a client waits for its session.

    Attributes:
        retention: seconds for which events are kept: a client that has gone unnoticed may have missed what was sent
            up to `patience` before it was known to be gone.
        expiry: when sessions are over.
        sweep: when events are too old.
    """

    __slots__ = ("duration", "expiry", "max_bytes", "max_sessions", "patience", "retention", "sweep", "timeout")

    def __init__(
        self,
        timetable: Timetable,
        *,
        duration: float,
        patience: float,
        max_bytes: int,
        max_sessions: int,
        timeout: float,
    ) -> None:
        self.duration = duration
        self.patience = patience
        self.retention = duration + patience
        self.max_bytes = max_bytes
        self.max_sessions = max_sessions
        self.timeout = timeout
        self.expiry: Lane[tuple[Expiring, str]] = timetable.lane(duration, _expire)
        self.sweep: Lane[Expiring] = timetable.lane(self.retention, _sweep)


class Expiring(Hashable, Protocol):
    """What has deadlines of `RecoveryLimits`; backends that keep nothing here need none."""

    def expire(self, pid: str) -> None:
        """A session is over."""
        ...

    def sweep(self) -> None:
        """Events have become too old."""
        ...


def _expire(key: tuple[Expiring, str]) -> None:
    keeper, pid = key
    keeper.expire(pid)


def _sweep(keeper: Expiring) -> None:
    keeper.sweep()


class RecoverySource(Protocol):
    """An `AdapterSource` whose adapters can recover sessions; others have no such method."""

    def recover(
        self, adapter: MemoryAdapter, context: AdapterContext, limits: RecoveryLimits, owner: RecoveryOwner
    ) -> RecoveryBackend:
        """What keeps sessions and events of a namespace.

        Args:
            adapter: what `make` has made for it; its `deliver` gives an event to those who are here.
            context: the namespace.
            limits: how long, and how much.
            owner: the namespace's sockets.
        """
        ...


def is_for(rooms: frozenset[Room], options: BroadcastOptions) -> bool:
    """Whether one who was in these rooms would have got what was sent with these options."""
    return (not options.rooms or not options.rooms.isdisjoint(rooms)) and options.except_.isdisjoint(rooms)


def size_of(encoded: Encoded) -> int:
    """Bytes of an event."""
    return len(encoded.text) + sum(map(len, encoded.attachments))
