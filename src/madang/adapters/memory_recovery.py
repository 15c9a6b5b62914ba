"""Sessions and events of one server that is alone, in its memory."""

from __future__ import annotations

import secrets
import string
from collections import OrderedDict
from collections.abc import Coroutine
from time import monotonic
from typing import Any, Final, NamedTuple

from ..protocol.encoded import Encoded
from .adapter import AdapterContext, BroadcastOptions
from .event_log import Entry, EventLog, Vector, joined, offset_of, vector_of
from .memory import MemoryAdapter
from .recovery import TOO_OLD, UNKNOWN, RecoveryLimits, RecoveryOwner, RecoverySession, Restored, is_for

_ALPHABET: Final = string.ascii_letters + string.digits


class Gone(NamedTuple):
    """A session whose client has gone.

    Attributes:
        session: the session.
        until: when it is over, by `monotonic`.
    """

    session: RecoverySession
    until: float


class MemoryReturning:
    """See `recovery.Returning`."""

    __slots__ = ("_got", "_keeper", "_until", "session")

    def __init__(self, keeper: MemoryRecovery, gone: Gone, got: Vector) -> None:
        self.session, self._until = gone
        self._keeper = keeper
        self._got = got

    def missed(self) -> list[Encoded] | str:
        """See `recovery.Returning`."""
        return self._keeper.missed(self.session, self._got)

    def give_back(self) -> None:
        """See `recovery.Returning`."""
        self._keeper.returned(Gone(self.session, self._until))

    def drop(self) -> None:
        """See `recovery.Returning`."""
        self._keeper.forget(self.session.pid)


class MemoryRecovery:
    """See `recovery.RecoveryBackend`.

    Args:
        adapter: delivers to those who are here.
        context: the namespace.
        limits: how long, and how much.
        owner: is told when nobody is expected any more.

    Attributes:
        log: the events.
        origin: the name of this server in offsets; no other has it, before or after.
    """

    replicates = False

    def __init__(
        self, adapter: MemoryAdapter, context: AdapterContext | None, limits: RecoveryLimits, owner: RecoveryOwner
    ) -> None:
        self.origin = "".join(secrets.choice(_ALPHABET) for _ in range(5))
        self.log = EventLog(limits.retention, limits.max_bytes)
        self._adapter = adapter
        self._context = context
        self._limits = limits
        self._owner = owner
        self._emitted = 0
        self._present: set[str] = set()
        self._gone: OrderedDict[str, Gone] = OrderedDict()
        self._returning: set[str] = set()

    # events

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `recovery.RecoveryBackend`."""
        if self.needed:
            encoded = self._with_offset(encoded, self._keep(encoded, options, False))
        self._adapter.deliver(encoded, options)

    def send(self, sid: str, encoded: Encoded) -> None:
        """See `recovery.RecoveryBackend`."""
        offset = self._keep(encoded, BroadcastOptions(rooms=frozenset((sid,))), True)
        sink = self._adapter.everyone.get(sid)
        if sink is not None:
            sink.write(self._with_offset(encoded, offset))

    def _with_offset(self, encoded: Encoded, offset: str) -> Encoded:
        assert self._context is not None, "nobody gets anything in a namespace that is not here"
        return self._context.with_offset(encoded, offset)

    def _keep(self, encoded: Encoded, options: BroadcastOptions, direct: bool) -> str:
        self._emitted += 1
        offset = self.log.append(self.origin, self._emitted, monotonic(), encoded, options, direct)
        assert offset is not None, "nobody else has this origin"
        self._arm_sweep()
        return offset

    def _arm_sweep(self) -> None:
        if self not in self._limits.sweep:
            self._limits.sweep.add(self)

    def _arm_expiry(self, pid: str) -> None:
        self._limits.expiry.add((self, pid))

    def offset(self) -> str:
        """See `recovery.RecoveryBackend`."""
        return self.log.offset()

    @property
    def bytes(self) -> int:
        """See `recovery.RecoveryBackend`."""
        return self.log.bytes

    def missed(self, session: RecoverySession, got: Vector) -> list[Encoded] | str:
        """What a client has not got; each event with the offset that it has once it has got that."""
        entries = self.log.missed(got, monotonic())
        if isinstance(entries, str):
            return entries
        missed: list[Encoded] = []
        ahead = True
        for entry in entries:
            offset = entry.offset
            if ahead:  # of what had been delivered here at that time, perhaps
                here = vector_of(offset) or {}
                ahead = any(number > here.get(origin, 0) for origin, number in got.items())
                offset = offset_of(joined(here, got), self.log.stamp()) if ahead else offset
            if _was_for(session, entry):
                missed.append(self._with_offset(entry.encoded, offset))
        return missed

    def sweep(self) -> None:
        """See `recovery.Expiring`."""
        self.log.forget_old(monotonic())
        if len(self.log):
            self._arm_sweep()

    # sessions

    @property
    def needed(self) -> bool:
        """See `recovery.RecoveryBackend`."""
        return bool(self._present or self._gone or self._returning)

    def save(self, session: RecoverySession, present: bool) -> None:
        """See `recovery.RecoveryBackend`."""
        self._returning.discard(session.pid)
        if present:
            self._present.add(session.pid)
        else:
            self._present.discard(session.pid)
            self._put(Gone(session, monotonic() + self._limits.duration))

    def _put(self, gone: Gone) -> None:
        pid = gone.session.pid
        self._gone[pid] = gone
        self._arm_expiry(pid)
        while len(self._gone) > self._limits.max_sessions:
            oldest, _ = self._gone.popitem(last=False)
            self._limits.expiry.discard((self, oldest))

    def forget(self, pid: str) -> None:
        """See `recovery.RecoveryBackend`."""
        self._present.discard(pid)
        self._returning.discard(pid)
        if self._gone.pop(pid, None) is not None:
            self._limits.expiry.discard((self, pid))
        self._tidy()

    def _tidy(self) -> None:
        """If nobody is here or expected, there is nobody either who may have missed anything."""
        if not self.needed:
            self.log.clear()

    def expects(self, pid: str) -> bool:
        """See `recovery.RecoveryBackend`."""
        return pid in self._present or pid in self._gone or pid in self._returning

    def expire(self, pid: str) -> None:
        """See `recovery.Expiring`."""
        self._gone.pop(pid, None)
        self._tidy()
        if not self.needed:
            self._owner.emptied()

    # restoring

    def restore(self, pid: str, offset: str | None) -> Restored | Coroutine[Any, Any, Restored]:
        """See `recovery.RecoveryBackend`."""
        return self._take(pid, offset)

    def _take(self, pid: str, offset: str | None) -> MemoryReturning | str:
        """A session that is kept here."""
        gone = self._gone.get(pid)
        got = vector_of(offset or "")
        if gone is None or gone.until < monotonic() or got is None:
            self.forget(pid)
            return UNKNOWN if got is not None else TOO_OLD
        del self._gone[pid]
        self._limits.expiry.discard((self, pid))
        self._returning.add(pid)
        return MemoryReturning(self, gone, joined(got, vector_of(gone.session.since) or {}))

    def returned(self, gone: Gone) -> None:
        """A client was refused, or has gone again; its time goes on."""
        self._returning.discard(gone.session.pid)
        self._put(gone)

    def resume(self) -> None:
        """See `recovery.RecoveryBackend`."""
        again = monotonic() + self._limits.duration
        for pid, gone in self._gone.items():
            self._gone[pid] = gone._replace(until=again)
            self._arm_expiry(pid)
        if len(self.log):
            self._arm_sweep()

    def close(self) -> None:
        """See `recovery.RecoveryBackend`."""
        for pid in self._gone:
            self._limits.expiry.discard((self, pid))
        self._limits.sweep.discard(self)


def _was_for(session: RecoverySession, entry: Entry) -> bool:
    if entry.direct:
        return session.sid in entry.options.rooms
    return is_for(session.rooms, entry.options)
