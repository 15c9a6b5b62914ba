"""Recovery over Redis streams: a client may come back to any server, madang's or Node's, whatever became of its own.

An event's offset is the id of its entry. Clients of the server that sends an event get it, as all others do, when its
entry comes back, so that everybody gets events in the order of the stream, and an offset says exactly what somebody has
got. While Redis is away events are delivered at once, with the offset of the one before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from ...errors import AdapterUnavailable, PacketError, UsageError
from ...protocol.encoded import Encoded
from ..adapter import AdapterContext, BroadcastOptions
from ..memory import MemoryAdapter
from ..messages import ClusterMessage, Kind
from ..recovery import TOO_OLD, UNKNOWN, RecoveryLimits, RecoverySession, Restored, is_for, size_of
from .own_entries import OwnEntries, OwnEvent, Unknown
from .sessions import Sessions, Stored
from .stream_log import Id, StreamLog
from .stream_reader import StreamReader
from .stream_writer import StreamWriter
from .streams_wire import START, Entry, after, as_entry, decode_entry, order

AWAY: Final = "Redis, which keeps the sessions, is away"

_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_BATCH: Final = 500


class Carrier(Protocol):
    """The backend of the same namespace.

    Attributes:
        uid: the name of this server in it.
        nsp: the namespace's name.
        stream: the stream that it is written to.
        public: what the names of its channels begin with.
    """

    uid: str
    nsp: bytes
    stream: bytes
    public: bytes

    def add_event(self, encoded: Encoded, options: BroadcastOptions) -> bytes | None:
        """Add an event to the stream; the data of its entry, or None if it is lost."""
        ...


class Shared(Protocol):
    """What all namespaces of the server share; see `streams.StreamsCluster`."""

    writer: StreamWriter
    reader: StreamReader

    @property
    def flowing(self) -> bool:
        """Whether what is added at present comes back soon."""
        ...


class StreamsRecovery:
    """See `recovery.RecoveryBackend`.

    Args:
        shared: the connections.
        carrier: adds events to the stream.
        sessions: the sessions.
        adapter: the clients that are here.
        context: the namespace.
        limits: how long, and how much.
        own: seconds for which an event is waited for that was sent from here, and how many.
    """

    replicates = True
    needed = False  # what is kept here is of use when the namespace is made anew, too

    def __init__(
        self,
        shared: Shared,
        carrier: Carrier,
        sessions: Sessions,
        adapter: MemoryAdapter,
        context: AdapterContext,
        limits: RecoveryLimits,
        own: tuple[float, int],
    ) -> None:
        self._shared = shared
        self._carrier = carrier
        self._adapter = adapter
        self._context = context
        self._limits = limits
        self.sessions = sessions
        self.log = StreamLog(limits.retention, limits.max_bytes)
        self.own = OwnEntries(self._give, *own)

    # events that go out

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `recovery.RecoveryBackend`."""
        if options.local:
            self._adapter.deliver(self._with_last(encoded), options)
        else:
            self._send(OwnEvent(encoded, options, None), encoded)

    def send(self, sid: str, encoded: Encoded) -> None:
        """See `recovery.RecoveryBackend`."""
        self._send(OwnEvent(encoded, BroadcastOptions(frozenset((sid,))), sid), encoded)

    def _send(self, event: OwnEvent, encoded: Encoded) -> None:
        data = self._carrier.add_event(encoded, event.options)
        if data is not None and self._shared.flowing:
            self.own.sent(data, event)
            return
        self.own.flush()
        event.encoded = None
        if data is not None:
            self.own.sent(data, event)
        self._give(event, encoded)

    def _give(self, event: OwnEvent, encoded: Encoded) -> None:
        """Deliver an event that does not come back in time."""
        self._deliver(event, self._with_last(encoded))

    def _with_last(self, encoded: Encoded) -> Encoded:
        """With the offset of the event before: without any, clients would take text at its end for one."""
        return self._context.with_offset(encoded, self.offset())

    def _deliver(self, event: OwnEvent, encoded: Encoded) -> None:
        if event.sid is None:
            self._adapter.deliver(encoded, event.options)
        elif (sink := self._adapter.everyone.get(event.sid)) is not None:
            sink.write(encoded)

    # events that come

    def came_back(self, entry_id: bytes, entry: Entry) -> None:
        """An entry of this server has come back."""
        event = self.own.came(entry.get(b"data", b""))
        if event is None:
            return
        known = None if isinstance(event, Unknown) else event.encoded
        if known is not None and isinstance(event, OwnEvent):
            event.encoded = None
            self._deliver(event, self._keep(entry_id, known, event.options))
        else:  # it has been delivered
            with suppress(PacketError, UsageError):  # somebody else writes under this server's name
                self._take(entry_id, entry, lambda _, __: None)

    def came(self, raw: tuple[bytes, Entry], name: str) -> ClusterMessage | None:
        """An entry of another server: what is left to be done, if it is no event that can be recovered.

        Raises:
            PacketError: it is no message.
        """
        return self._take(*raw, self._adapter.deliver)

    def _take(
        self, entry_id: bytes, entry: Entry, deliver: Callable[[Encoded, BroadcastOptions], None]
    ) -> ClusterMessage | None:
        message = decode_entry(entry, self._context.name)
        if message is None or not _recoverable(message):
            return message
        deliver(self._keep(entry_id, self._encoded(message), message.options), message.options)
        return None

    def _encoded(self, message: ClusterMessage) -> Encoded:
        if message.array is not None:
            return self._context.encode_array(message.array, None, message.compress)
        return self._context.encode(tuple(message.args), None, message.compress)

    def _keep(self, entry_id: bytes, encoded: Encoded, options: BroadcastOptions) -> Encoded:
        self._begin()
        with_offset = self._context.with_offset(encoded, entry_id.decode())
        self.log.append(order(entry_id), with_offset, options)
        return with_offset

    def _begin(self) -> None:
        if self.log.start is None:
            self.log.start = self._position()

    def _position(self) -> Id:
        return order(self._shared.reader.positions.get(self._carrier.stream, START))

    # what happens to the connections

    def connected(self) -> None:
        """What is sent arrives again."""
        self.sessions.connected()

    def disconnected(self) -> None:
        """What was sent may not come back for a while."""
        self.own.flush()

    def missed(self, stream: bytes) -> None:
        """Entries may be lost, and what else Redis kept."""
        if stream == self._carrier.stream:
            self.log.cut(self._position())
            self.sessions.save_all()

    # sessions

    def offset(self) -> str:
        """See `recovery.RecoveryBackend`."""
        return self._shared.reader.positions.get(self._carrier.stream, START).decode()

    def save(self, session: RecoverySession, present: bool) -> None:
        """See `recovery.RecoveryBackend`."""
        self.sessions.save(session, present)

    def forget(self, pid: str) -> None:
        """See `recovery.RecoveryBackend`."""
        self.sessions.forget(pid)

    def expects(self, pid: str) -> bool:
        """See `recovery.RecoveryBackend`."""
        return True

    def resume(self) -> None:
        """See `recovery.RecoveryBackend`."""

    def stop(self) -> None:
        """The server has ended; it may begin again."""
        self.sessions.stop()
        self.own.close()

    def close(self) -> None:
        """See `recovery.RecoveryBackend`."""
        self.stop()
        self.sessions.close()

    async def restore(self, pid: str, offset: str | None) -> Restored:
        """See `recovery.RecoveryBackend`."""
        if offset is not None and _ID.fullmatch(offset) is None:
            return TOO_OLD
        if not self._shared.flowing:
            return AWAY
        try:
            taken = await self.sessions.take(pid)
        except AdapterUnavailable:
            return AWAY
        if taken is None:
            return UNKNOWN
        stored, value = taken
        try:
            return await self._restored(stored, value, offset)
        except AdapterUnavailable:
            self.sessions.put_back(pid, value)
            return AWAY
        except BaseException:
            self.sessions.put_back(pid, value)
            raise

    async def _restored(self, stored: Stored, value: bytes, offset: str | None) -> Restored:
        since = stored.since if stored.since and _ID.fullmatch(stored.since) else None
        known = [order(text.encode()) for text in (offset, since) if text is not None]
        if not known:
            return TOO_OLD
        session = stored.session()
        begin = max(known)
        await self._shared.reader.settled()
        self._begin()
        start = self.log.start
        assert start is not None
        if begin >= start:
            earlier = await self._caught_up(begin)
        else:
            earlier = await self._read(begin, start, session)
        if earlier is None:
            return TOO_OLD
        return StreamsReturning(self, session, value, earlier, max(begin, start))

    async def _caught_up(self, begin: Id) -> list[Encoded] | None:
        """Wait until what the client has got has come here as well; None if it never will."""
        if begin > self._position():
            stream = self._carrier.stream
            last = await self._shared.writer.ask(b"XREVRANGE", stream, b"+", b"-", b"COUNT", b"1")
            if not last or order(last[0][0]) < begin:
                return None
            await self._shared.reader.passed(stream, b"%d-%d" % begin)
        return []

    async def _read(self, begin: Id, end: Id, session: RecoverySession) -> list[Encoded] | None:
        """What somebody has missed of what was added before the log begins; None if that is not there any more."""
        place = b"%d-%d" % begin
        stream, ask = self._carrier.stream, self._shared.writer.ask
        if not await ask(b"XRANGE", stream, place, place) and not (place == START and await self._whole()):
            return None
        found: list[Encoded] = []
        size = 0
        while True:
            batch: Any = await ask(b"XRANGE", stream, after(place), b"%d-%d" % end, b"COUNT", b"%d" % _BATCH)
            for entry_id, fields in batch:
                place = entry_id
                encoded = self._missed_entry(entry_id, as_entry(fields), session)
                if encoded is not None:
                    found.append(encoded)
                    size += size_of(encoded)
            if len(batch) < _BATCH:
                return found
            if size > self._limits.max_bytes:
                return None

    async def _whole(self) -> bool:
        """Whether the stream holds all that was ever added to it."""
        return bool(await self._shared.writer.ask(b"XLEN", self._carrier.stream) < self._shared.writer.max_len)

    def _missed_entry(self, entry_id: Any, entry: Entry, session: RecoverySession) -> Encoded | None:
        if entry.get(b"nsp") != self._carrier.nsp:
            return None
        try:
            message = decode_entry(entry, self._context.name)
            if message is None or not _recoverable(message) or not is_for(session.rooms, message.options):
                return None
            return self._context.with_offset(self._encoded(message), entry_id.decode())
        except (PacketError, UsageError):  # it has been counted as poison where it was delivered
            return None

    @property
    def bytes(self) -> int:
        """See `recovery.RecoveryBackend`."""
        return self.log.bytes


class StreamsReturning:
    """See `recovery.Returning`."""

    __slots__ = ("_earlier", "_recovery", "_since", "_value", "session")

    def __init__(
        self, recovery: StreamsRecovery, session: RecoverySession, value: bytes, earlier: list[Encoded], since: Id
    ) -> None:
        self.session = session
        self._recovery = recovery
        self._value = value
        self._earlier = earlier
        self._since = since

    def missed(self) -> list[Encoded] | str:
        """See `recovery.Returning`."""
        later = self._recovery.log.missed(self._since, self.session.rooms)
        return TOO_OLD if later is None else [*self._earlier, *later]

    def give_back(self) -> None:
        """See `recovery.Returning`."""
        self._recovery.sessions.put_back(self.session.pid, self._value)

    def drop(self) -> None:
        """See `recovery.Returning`; Redis has it no more."""


def _recoverable(message: ClusterMessage) -> bool:
    return message.kind is Kind.BROADCAST and message.request is None and not message.options.volatile
