"""Connection state recovery: who comes back after a short break gets the same id, rooms and data, and what was missed.

Each event that is not volatile and wants no answer carries an offset, one more argument of text at its end, and is
kept for a while. A client that comes back presents the private id that it was given, and the last offset it has seen
(protocol of the official server, "Connection state recovery"). What is kept, and where, is a `RecoveryBackend`'s
business; here is what all of them need to be told of the sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, fields
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ..adapters.recovery import (
    LONGEST_OFFSET,
    LONGEST_PID,
    RecoveryBackend,
    RecoveryLimits,
    RecoverySession,
    Restored,
    Returning,
    size_of,
)
from ..adapters.sources import recovery_source
from ..engine.options import require_positive
from ..engine.transport import (
    FORCED_CLOSE,
    PING_TIMEOUT,
    SERVER_SHUTTING_DOWN,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
)
from ..errors import OptionError, UsageError
from ..protocol.encoded import Encoded
from ..protocol.values import JsonEncoder
from ..types import Room

if TYPE_CHECKING:
    from ..engine.timetable import Timetable
    from .namespace import Namespace
    from .options import ServerOptions
    from .socket import Socket

logger = logging.getLogger("madang.server")

RECOVERABLE: Final = frozenset(
    (TRANSPORT_ERROR, TRANSPORT_CLOSE, FORCED_CLOSE, PING_TIMEOUT, SERVER_SHUTTING_DOWN, "forced server close")
)
"""The reasons for which a client may have gone without wanting to."""

TOO_MUCH: Final = "more has been sent meanwhile than the option outbound_limit lets wait for a client"

TOO_LATE: Final = "the session was not found in time"

RESTORE_WITHIN: Final = 5.0
"""Seconds for which a client that comes back waits for its session at most."""

LOOK: Final = 3.0
"""Seconds in which the data of each socket is looked at once, if sessions are kept elsewhere too."""

SLICE: Final = 0.1
"""Seconds from one part of them to the next."""

Found: TypeAlias = "Returning | str | None"
"""A session that has been taken, why there is none, or None if none was presented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOptions:
    """How sessions are recovered.

    Attributes:
        max_disconnection_duration: seconds for which a client that has gone can come back to its session. Default 120.
        skip_middlewares: whether the middlewares of the namespace are not asked about one that comes back. Default
            True.
        max_bytes: bytes of events that are kept in each namespace; the oldest make room. Default 64 MiB.
        max_sessions: sessions of clients that have gone, in each namespace; the oldest make room. Default 100 000.
    """

    max_disconnection_duration: float = 120.0
    skip_middlewares: bool = True
    max_bytes: int = 64 * 1024 * 1024
    max_sessions: int = 100_000

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "max_disconnection_duration", "max_bytes", "max_sessions")

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

    def limits(self, timetable: Timetable, patience: float, options: ServerOptions) -> RecoveryLimits:
        """The same for the backends of a server.

        Args:
            timetable: the deadlines of the engine.
            patience: seconds for which a connection may be dead before that is known.
            options: the server's.
        """
        return RecoveryLimits(
            timetable,
            duration=self.max_disconnection_duration,
            patience=patience,
            max_bytes=self.max_bytes,
            max_sessions=self.max_sessions,
            timeout=min(options.connect_timeout, RESTORE_WITHIN),
        )


class Recovery:
    """What a namespace tells the backend of its sockets, and how it finds the sessions of those that come back.

    Args:
        namespace: the namespace.
        options: the options.
        limits: the same for the backends.

    Attributes:
        options: the options.
        backend: keeps sessions and events.
    """

    __slots__ = (
        "_changed",
        "_limits",
        "_live",
        "_looking",
        "_namespace",
        "_round",
        "_seen",
        "_timer",
        "backend",
        "options",
    )

    def __init__(self, namespace: Namespace[Any], options: RecoveryOptions, limits: RecoveryLimits) -> None:
        self.options = options
        self._namespace = namespace
        self._limits = limits
        self._live: dict[str, Socket] = {}
        self._changed: dict[str, Socket] = {}
        self._seen: dict[str, int] = {}
        self._looking: list[str] = []
        self._round = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.backend: RecoveryBackend = self._backend()

    def _backend(self) -> RecoveryBackend:
        namespace = self._namespace
        adapter: Any = namespace.adapter
        backend = recovery_source(namespace.server.adapters).recover(adapter, namespace, self._limits, self)
        if backend.replicates:
            adapter.on("join_room", self._room_changed)
            adapter.on("leave_room", self._room_changed)
        return backend

    def move(self) -> None:
        """The namespace has another adapter now."""
        self.backend.close()
        self.backend = self._backend()

    # who comes back

    def find(self, auth: Any) -> Found | Coroutine[Any, Any, Found]:
        """The session that a client presents; a coroutine if others must be asked for it.

        A session is given once. If the server has not noticed yet that the client's last connection is dead, this ends
        it.
        """
        presented: dict[str, Any] = auth or {}
        pid, offset = presented.get("pid"), presented.get("offset")
        if not isinstance(pid, str) or not isinstance(offset, str | None):
            return None
        if len(pid) > LONGEST_PID or len(offset or "") > LONGEST_OFFSET:
            return None
        alive = self._live.get(pid)
        if alive is not None:
            _end(alive)
        found = self.backend.restore(pid, offset)
        return self._wait(found) if iscoroutine(found) else self._usable(cast("Restored", found))

    async def _wait(self, waiting: Coroutine[Any, Any, Restored]) -> Found:
        try:
            async with asyncio.timeout(self._limits.timeout):
                found = await waiting
        except TimeoutError:
            return TOO_LATE
        return self._usable(found)

    def _usable(self, found: Restored) -> Found:
        if isinstance(found, str):
            return found
        missed = self.missed(found)
        return missed if isinstance(missed, str) else found

    def missed(self, returning: Returning) -> list[Encoded] | str:
        """What a client has missed; if that cannot be sent, the session is dropped, and this says why."""
        missed = returning.missed()
        if not isinstance(missed, str) and sum(map(size_of, missed)) > self._namespace.server.outbound_limit:
            missed = TOO_MUCH  # it would be sent away as a slow client, again and again
        if isinstance(missed, str):
            returning.drop()
        return missed

    def surrender(self, pid: str) -> RecoverySession | None:
        """See `RecoveryOwner`."""
        socket = self._live.pop(pid, None)
        if socket is None:
            return None
        session = self._session(pid, socket)
        _end(socket)
        return session

    def sessions(self) -> list[RecoverySession]:
        """See `RecoveryOwner`."""
        return [self._session(pid, socket) for pid, socket in self._live.items()]

    def emptied(self) -> None:
        """See `RecoveryOwner`."""
        self._namespace.cleanup()

    # what the sockets tell

    def joined(self, pid: str, socket: Socket[Any], rooms: frozenset[Room]) -> None:
        """A client is here, and is about to be put into its rooms."""
        self._live[pid] = socket
        if self.backend.replicates:  # told with what its handlers do at once
            self._change(pid, socket)
            self._look_after()
        else:
            self.backend.save(self._session(pid, socket, rooms), True)

    def left(self, pid: str, socket: Socket[Any], reason: str) -> None:
        """A client has gone; its session is kept if it may want to come back."""
        if self._live.get(pid) is not socket:  # it has come back elsewhere
            return
        del self._live[pid]
        self._changed.pop(pid, None)
        self._seen.pop(pid, None)
        if reason in RECOVERABLE:
            self.backend.save(self._session(pid, socket), False)
        else:
            self.backend.forget(pid)

    def _session(self, pid: str, socket: Socket[Any], rooms: frozenset[Room] | None = None) -> RecoverySession:
        rooms = frozenset(socket.rooms) if rooms is None else rooms
        known = socket.server.presences
        presences = known.presences_of(socket) if known is not None else None
        return RecoverySession(pid, socket.id, socket.since, rooms, socket.data, presences)

    # sessions that are kept elsewhere too

    def _room_changed(self, room: Any, sid: str) -> None:
        socket = self._namespace.sockets.get(sid)
        pid = socket.pid if socket is not None else None
        if socket is not None and pid is not None and pid in self._live:
            self._change(pid, socket)

    def _change(self, pid: str, socket: Socket[Any]) -> None:
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._tell_changed)
        self._changed[pid] = socket

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, {}
        for pid, socket in changed.items():
            if self._live.get(pid) is socket:
                self.backend.save(self._session(pid, socket), True)

    def _look_after(self) -> None:
        if self._timer is None and self._live:
            loop = asyncio.get_running_loop()
            pause = SLICE if self._looking else max(SLICE, self._round + LOOK - loop.time())
            self._timer = loop.call_later(pause, self._look)

    def _look(self) -> None:
        """See whether the data of some of the sockets has changed."""
        self._timer = None
        if not self._looking:
            self._looking = list(self._live)
            self._round = asyncio.get_running_loop().time()
        for _ in range(int(len(self._live) * SLICE / LOOK) + 1):
            if not self._looking:
                break
            pid = self._looking.pop()
            socket = self._live.get(pid)
            if socket is not None:
                self._look_at(pid, socket)
        self._look_after()

    def _look_at(self, pid: str, socket: Socket[Any]) -> None:
        seen = self._seen.get(pid, 0)
        now = _hash(socket.data, self._namespace) if socket.has_data else 0
        if now != seen:
            self._seen[pid] = now
            self.backend.save(self._session(pid, socket), True)


def _hash(data: dict[str, Any], namespace: Namespace[Any]) -> int:
    """The same as long as the data is."""
    encoder = JsonEncoder(namespace.json_default)
    try:
        return hash((encoder.encode(data), tuple(encoder.take_attachments())))
    except UsageError:  # it cannot be told to anybody
        return 0


def _end(socket: Socket[Any]) -> None:
    """End a connection that is dead, which is not known yet."""
    session = socket.connection.session
    transport = session.transport
    session.transport_closed(transport, TRANSPORT_CLOSE, "the client has come back on another connection")
    transport.abort()
