"""Sessions and events of one namespace, kept by each of several workers so that a client can come back to any of them.

Each worker logs the events of all, as they come, and has a copy of the sessions of all, as its worker has told of it
last. A worker that a client comes back to claims the session of all others: they answer with the freshest they have,
and who has its socket lets that go. One that does not answer is not waited for long, and the copies do.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Iterator
from itertools import chain
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ..errors import UsageError
from ..protocol.encoded import Encoded
from ..protocol.plain import whole
from ..protocol.values import JsonEncoder, loads
from ..types import Room
from .adapter import AdapterContext, BroadcastOptions
from .event_log import AHEAD, Entry, OriginFacts, Vector, joined, vector_of
from .local_wire import (
    ANSWER,
    CLAIM,
    EVENT,
    HOLE,
    OVER,
    SESSION,
    Answer,
    Record,
    Verdict,
    WireEvent,
    decoder,
    encode_plainly,
)
from .memory import MemoryAdapter
from .memory_recovery import Gone, MemoryRecovery, MemoryReturning
from .recovery import TOO_OLD, UNKNOWN, RecoveryLimits, RecoveryOwner, RecoverySession, Restored

logger = logging.getLogger("madang.adapters")

CLAIM_WITHIN: Final = 1.0
"""Seconds for which the other workers' answers to a claim are awaited."""

TAKEN: Final = "another connection has just come back to the session"
BEHIND: Final = "this worker has just started, and could not learn what had been sent before"
TORN: Final = "messages between the workers were lost, and with them perhaps some for this client"


class Lines(Protocol):
    """What the lines between the workers offer.

    Attributes:
        uid: the name of this worker.
    """

    uid: str

    @property
    def serving(self) -> bool:
        """Whether the server has begun to serve, so that there can be deadlines."""
        ...

    @property
    def behind(self) -> bool:
        """Whether this worker does not know what had been sent before it was there, and somebody may have missed it."""
        ...

    def serve(self) -> None:
        """The server has begun."""
        ...

    @property
    def others(self) -> frozenset[str]:
        """The names of the workers that hear this one, and are heard."""
        ...

    def say(self, context: AdapterContext, room: Room | None, body: bytes) -> None:
        """Tell all other workers something in a namespace."""
        ...

    def reply(self, uid: str, name: str, body: bytes) -> None:
        """Tell one worker something in a namespace, which need not be here."""
        ...


class Copy(NamedTuple):
    """A session of another worker.

    Attributes:
        record: as it was told of.
        holder: the worker that its client was with.
    """

    record: Record
    holder: str


class _Claim:
    """A session that is being claimed."""

    __slots__ = ("best", "done", "over", "refused", "waiting")

    def __init__(self, others: Iterable[str]) -> None:
        self.waiting = set(others)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.best: Record | None = None
        self.over = -1
        self.refused = False

    def heard(self, uid: str) -> None:
        """A worker has answered, or ended."""
        self.waiting.discard(uid)
        if (not self.waiting or self.refused) and not self.done.done():
            self.done.set_result(None)

    def refuse(self) -> None:
        """Another worker has it."""
        self.refused = True
        self.heard("")

    def found(self, record: Record | None) -> None:
        """A copy; the newest counts."""
        if record is not None and (self.best is None or record.age > self.best.age):
            self.best = record


class _Nobody:
    """The owner of what has no namespace here."""

    def surrender(self, pid: str) -> RecoverySession | None:
        """See `RecoveryOwner`."""
        return None

    def sessions(self) -> list[RecoverySession]:
        """See `RecoveryOwner`."""
        return []

    def emptied(self) -> None:
        """See `RecoveryOwner`."""


_decode_event: Final = decoder(WireEvent)
_decode_record: Final = decoder(Record)
_decode_over: Final = decoder(tuple[str, int])
_decode_claim: Final = decoder(str)
_decode_answer: Final = decoder(Answer)


class LocalRecovery(MemoryRecovery):
    """See `recovery.RecoveryBackend`.

    Args:
        lines: to the other workers.
        name: the namespace, which need not be here: others may have it, and clients of theirs come.
        limits: how long, and how much.

    Attributes:
        name: see above.
    """

    replicates = True

    def __init__(self, lines: Lines, name: str, limits: RecoveryLimits) -> None:
        super().__init__(MemoryAdapter(), None, limits, _Nobody())
        self._lines = lines
        self.name = name
        self._json = JsonEncoder()
        self._copies: dict[str, Copy] = {}
        self._gone_there: OrderedDict[str, None] = OrderedDict()  # those of them whose clients have gone
        self._over: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._turns: dict[str, int] = {}
        self._torn: set[str] = set()
        self._claims: dict[str, _Claim] = {}
        self._speakers: dict[str, str] = {}
        self._complained = False

    def attach(self, adapter: MemoryAdapter, context: AdapterContext, owner: RecoveryOwner) -> None:
        """The namespace is here now."""
        self._adapter, self._context, self._owner = adapter, context, owner
        self._json = JsonEncoder(context.json_default)

    @property
    def empty(self) -> bool:
        """Whether nothing is kept, for nobody."""
        nobody = not (self.needed or self._copies or self._claims or self._over)
        return self._context is None and nobody and not len(self.log)

    def close(self) -> None:
        """See `recovery.RecoveryBackend`; what others may ask for stays."""
        self._adapter, self._context, self._owner = MemoryAdapter(), None, _Nobody()

    def resume(self) -> None:
        """See `recovery.RecoveryBackend`."""
        self._lines.serve()
        super().resume()

    def arm(self) -> None:
        """There can be deadlines now."""
        if len(self.log):
            self._arm_sweep()
        for pid, copy in self._copies.items():
            if copy.record.until is not None:
                self._arm_expiry(pid)

    # events

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `recovery.RecoveryBackend`; what is for this worker alone cannot be recovered on another."""
        if not options.local:
            encoded = self._emit(encoded, options, False)
        self._adapter.deliver(encoded, options)

    def send(self, sid: str, encoded: Encoded) -> None:
        """See `recovery.RecoveryBackend`."""
        encoded = self._emit(encoded, BroadcastOptions(rooms=frozenset((sid,))), True)
        sink = self._adapter.everyone.get(sid)
        if sink is not None:
            sink.write(encoded)

    def _emit(self, encoded: Encoded, options: BroadcastOptions, direct: bool) -> Encoded:
        offset = self._keep(encoded, options, direct)
        event = WireEvent(
            *(self.origin, self._emitted, monotonic(), options, direct),
            *(encoded.compress, encoded.text, list(encoded.attachments)),
        )
        self._say(EVENT, event)
        return self._with_offset(encoded, offset)

    def _on_event(self, uid: str, event: WireEvent) -> None:
        encoded = Encoded(event.text, tuple(event.attachments), event.compress)
        holes = self.log.holes
        self._speakers[event.origin] = uid
        offset = self.log.append(event.origin, event.number, event.at, encoded, event.options, event.direct)
        if self.log.holes != holes:
            self._tear()
        if offset is None:
            return
        self._arm_sweep()
        if self._context is None or not self._adapter.everyone:
            return
        encoded = self._with_offset(encoded, offset)
        if not event.direct:
            self._adapter.deliver(encoded, event.options)
        elif (sink := self._adapter.everyone.get(next(iter(event.options.rooms), ""))) is not None:
            sink.write(encoded)

    def _tear(self) -> None:
        """Messages to this worker were lost: who is with it may have missed one."""
        self._torn.update(session.pid for session in self._owner.sessions())
        self._say(HOLE, None)

    def _arm_sweep(self) -> None:
        if self._lines.serving:
            super()._arm_sweep()

    def _arm_expiry(self, pid: str) -> None:
        if self._lines.serving:
            super()._arm_expiry(pid)

    def sweep(self) -> None:
        """See `recovery.Expiring`."""
        super().sweep()
        for origin, uid in list(self._speakers.items()):
            if uid not in self._lines.others:
                self.log.forget_origin(origin)
                if not self.log.knows(origin):
                    del self._speakers[origin]
        oldest = monotonic() - self._limits.retention
        while self._over and next(iter(self._over.values()))[1] < oldest:
            self._over.popitem(last=False)
        if self._over:
            self._arm_sweep()

    def _tidy(self) -> None:
        """What is kept here is kept for clients of others as well."""

    # sessions

    def save(self, session: RecoverySession, present: bool) -> None:
        """See `recovery.RecoveryBackend`."""
        super().save(session, present)
        self._drop_copy(session.pid)
        self._tell(session, None if present else self._gone[session.pid].until)

    def returned(self, gone: Gone) -> None:
        """A client was refused, or has gone again; its time goes on."""
        super().returned(gone)
        self._tell(gone.session, gone.until)

    def forget(self, pid: str) -> None:
        """See `recovery.RecoveryBackend`."""
        turn = self._turns.get(pid, 0)
        super().forget(pid)
        self._let_go(pid)
        self._note_over(pid, turn)
        self._say(OVER, (pid, turn))

    def _note_over(self, pid: str, turn: int) -> None:
        self._over[pid] = (turn, monotonic())
        if len(self._over) > self._limits.max_sessions:
            self._over.popitem(last=False)
        self._arm_sweep()

    def _let_go(self, pid: str) -> None:
        """This worker has a session no more."""
        self._present.discard(pid)
        self._returning.discard(pid)
        self._torn.discard(pid)
        self._turns.pop(pid, None)
        self._drop_copy(pid)
        self._gone.pop(pid, None)
        self._limits.expiry.discard((self, pid))

    def expects(self, pid: str) -> bool:
        """See `recovery.RecoveryBackend`."""
        return super().expects(pid) or pid in self._copies

    def expire(self, pid: str) -> None:
        """See `recovery.Expiring`."""
        copy = self._copies.get(pid)
        if copy is not None and copy.record.until is not None and copy.record.until <= monotonic() + 1:
            self._drop_copy(pid)
        super().expire(pid)
        if not self.holds(pid):
            self._torn.discard(pid)
            self._turns.pop(pid, None)

    def _tell(self, session: RecoverySession, until: float | None) -> None:
        self._say(SESSION, self._record(session, until))

    def _record(self, session: RecoverySession, until: float | None, version: float | None = None) -> Record:
        return Record(
            *(session.pid, session.sid, session.since, session.rooms, self._plain(session.data)),
            *(until, self._turns.get(session.pid, 0), version or monotonic(), session.pid not in self._torn),
            session.presences,
        )

    def _plain(self, data: dict[str, Any]) -> dict[str, Any]:
        """What the application keeps with a session, as clients would get it."""
        try:
            plain: Any = whole(loads(self._json.encode([data])), self._json.take_attachments())[0]
        except UsageError as error:
            self._json.take_attachments()
            if not self._complained:
                logger.warning("socket.data of %s stays with this worker: %s", self.name, error)
            self._complained = True
            return {}
        return plain if isinstance(plain, dict) else {}  # pyright: ignore[reportUnknownVariableType]

    def _on_session(self, uid: str, record: Record) -> None:
        pid = record.pid
        known, over = self._copies.get(pid), self._over.get(pid)
        if (over is not None and record.turn <= over[0]) or (known is not None and record.age <= known.record.age):
            return
        if self.holds(pid):
            if record.turn <= self._turns.get(pid, 0):
                return
            self._owner.surrender(pid)  # it is elsewhere now
        self._let_go(pid)
        self._copy(Copy(record, uid))

    def _copy(self, copy: Copy) -> None:
        """Keep a copy; of those whose clients have gone the oldest make room."""
        pid = copy.record.pid
        self._copies[pid] = copy
        if copy.record.until is None:
            return
        self._gone_there[pid] = None
        self._gone_there.move_to_end(pid)
        self._arm_expiry(pid)
        if len(self._gone_there) > self._limits.max_sessions:
            self._drop_copy(next(iter(self._gone_there)))

    def _drop_copy(self, pid: str) -> None:
        self._copies.pop(pid, None)
        self._gone_there.pop(pid, None)

    def holds(self, pid: str) -> bool:
        """Whether a client is or was with this worker last."""
        return super().expects(pid)

    def _on_over(self, pid: str, turn: int) -> None:
        if self.holds(pid):
            if turn < self._turns.get(pid, 0):
                return
            self._owner.surrender(pid)
        self._let_go(pid)
        self._note_over(pid, turn)

    def _on_hole(self, uid: str) -> None:
        for pid, copy in self._copies.items():
            if copy.holder == uid:
                self._copies[pid] = Copy(msgspec.structs.replace(copy.record, whole=False), uid)

    def ended(self, uid: str) -> None:
        """A worker has ended; the clients that were with it may come here."""
        until = monotonic() + self._limits.duration
        for copy in tuple(self._copies.values()):
            if copy.holder == uid and copy.record.until is None:
                self._copy(Copy(msgspec.structs.replace(copy.record, until=until), uid))
        for claim in tuple(self._claims.values()):
            claim.heard(uid)

    # restoring

    def restore(self, pid: str, offset: str | None) -> Restored | Coroutine[Any, Any, Restored]:
        """See `recovery.RecoveryBackend`."""
        if pid in self._torn:
            self.forget(pid)
            return TORN
        if pid in self._gone:
            return self._take(pid, offset)
        if pid in self._returning or pid in self._claims:
            return TAKEN
        if pid in self._over:
            return UNKNOWN
        return self._claim(pid, offset)

    async def _claim(self, pid: str, offset: str | None) -> Restored:
        got = vector_of(offset or "")
        if got is None:
            return TOO_OLD
        claim = self._claims[pid] = _Claim(self._lines.others)
        copy = self._copies.get(pid)
        claim.found(copy.record if copy is not None else None)
        try:
            if claim.waiting:
                self._say(CLAIM, pid)
                await asyncio.wait((claim.done,), timeout=CLAIM_WITHIN)
        finally:
            del self._claims[pid]
        if claim.refused:
            return TAKEN
        return self._settle(claim, got)

    def _settle(self, claim: _Claim, got: Vector) -> Restored:
        """What the answers to a claim amount to."""
        record = claim.best
        now = monotonic()
        if record is None or record.turn <= claim.over or (record.until is not None and record.until < now):
            return UNKNOWN
        reason = None
        if not record.whole:
            reason = TORN
        elif self._lines.behind:
            reason = BEHIND
        elif claim.waiting and any(not self.log.knows(origin) for origin in got):
            reason = AHEAD
        self._let_go(record.pid)
        self._turns[record.pid] = record.turn + 1
        if reason is not None:
            self.forget(record.pid)
            return reason
        self._returning.add(record.pid)
        session = RecoverySession(record.pid, record.sid, record.since, record.rooms, record.data, record.presences)
        until = record.until if record.until is not None else now + self._limits.duration
        return MemoryReturning(self, Gone(session, until), joined(got, vector_of(record.since) or {}))

    def _on_claim(self, uid: str, pid: str) -> None:
        """Another worker claims a session."""
        mine = self._claims.get(pid)
        if pid in self._returning or (mine is not None and not mine.refused and self._lines.uid < uid):
            self._answer(uid, pid, Verdict.BUSY, None)
            return
        if mine is not None:
            mine.refuse()
        if pid in self._over:
            self._answer(uid, pid, Verdict.OVER, None, self._over[pid][0])
            return
        record = self._hand_over(pid)
        self._answer(uid, pid, Verdict.NOTHING if record is None else Verdict.FOUND, record)
        if record is not None:  # until it is told of again, or if the one who claims it is killed
            self._copy(Copy(record, uid))

    def _hand_over(self, pid: str) -> Record | None:
        """What is known of a session, which this worker has no more."""
        gone, copy = self._gone.get(pid), self._copies.get(pid)
        session = self._owner.surrender(pid)
        if session is not None:
            record = self._record(session, monotonic() + self._limits.duration)
        elif gone is not None:
            record = self._record(gone.session, gone.until)
        elif copy is not None:
            record = copy.record
        else:
            return None
        self._let_go(pid)
        return record

    def _answer(self, uid: str, pid: str, verdict: Verdict, record: Record | None, turn: int = -1) -> None:
        answer = Answer(pid, verdict, record, turn, self.origin, self._emitted)
        self._lines.reply(uid, self.name, ANSWER + encode_plainly(answer))

    def _on_answer(self, uid: str, answer: Answer) -> None:
        holes = self.log.holes
        self.log.reached(answer.origin, answer.emitted, monotonic())
        if self.log.holes != holes:
            self._tear()
        claim = self._claims.get(answer.pid)
        if claim is None:
            return
        claim.found(answer.record)
        claim.over = max(claim.over, answer.turn)
        if answer.verdict is Verdict.BUSY:
            claim.refuse()
        claim.heard(uid)

    # the lines

    def _say(self, kind: bytes, what: Any) -> None:
        if self._context is not None:
            self._lines.say(self._context, None, kind + encode_plainly(what))

    def take(self, uid: str, body: bytes) -> None:
        """Another worker has said something."""
        needed = self.needed
        self._understand(uid, body)
        if needed and not self.needed:
            self._owner.emptied()

    def _understand(self, uid: str, body: bytes) -> None:
        kind, data = body[:1], body[1:]
        if kind == EVENT:
            self._on_event(uid, _decode_event(data))
        elif kind == SESSION:
            self._on_session(uid, _decode_record(data))
        elif kind == OVER:
            self._on_over(*_decode_over(data))
        elif kind == CLAIM:
            self._on_claim(uid, _decode_claim(data))
        elif kind == ANSWER:
            self._on_answer(uid, _decode_answer(data))
        else:
            self._on_hole(uid)

    # what a worker that has just started is told

    def copies(self) -> Iterator[tuple[str, Record]]:
        """All sessions that are known here at this moment, and with whom they are."""
        now, told = monotonic(), list(self._copies.values())
        here: list[tuple[RecoverySession, float | None]] = [(session, None) for session in self._owner.sessions()]
        here += self._gone.values()
        encoded = ((self._lines.uid, self._record(session, until, now)) for session, until in here)
        return chain(encoded, ((copy.holder, copy.record) for copy in told))

    def adopt(self, origins: list[OriginFacts], entries: list[Entry], copies: Iterable[tuple[str, Record]]) -> None:
        """Know what another worker knows, which was there before."""
        self.log.adopt(origins, entries)
        for holder, record in copies:
            self._on_session(holder, record)
        for holder in {copy.holder for copy in self._copies.values()} - self._lines.others:
            self.ended(holder)
        self.arm()
