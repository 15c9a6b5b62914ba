"""The cluster over Redis streams, together with Node servers that use `@socket.io/redis-streams-adapter`.

Events and commands are entries of a stream, which each server reads from where it was; questions and answers go by
pub/sub, as in Node's adapter.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Any, Final, Unpack

from ...errors import OptionError
from ...protocol.encoded import Encoded
from ...types import Room
from ..adapter import AdapterContext, BroadcastOptions
from ..cluster import ClusterAdapter
from ..cluster_wire import ClusterEncoder, ClusterPayload, decode_message
from ..intake import Intake
from ..link import Loss
from ..memory import MemoryAdapter
from ..messages import AdapterHealth, ClusterMessage, Kind
from ..recovery import RecoveryBackend, RecoveryLimits, RecoveryOwner
from .connection import PUBLISH, SPUBLISH, RedisConnector, escaped
from .links import GRACE, health_of, then
from .options import StreamsKeywords, StreamsOptions, options_from
from .publisher import Backlog
from .sessions import Sessions
from .stream_reader import StreamReader
from .stream_writer import StreamWriter
from .streams_recovery import StreamsRecovery
from .streams_wire import (
    IN_STREAM,
    Entry,
    EntryWriter,
    as_entry,
    decode_entry,
    ephemeral,
    size_of,
    stream_of,
    streams_of,
)
from .subscriber import Subscriber

_UID: Final = re.compile("[0-9a-f]{16}")


class RedisStreamsAdapter:
    """Spreads a server over all that use the same Redis and stream, be they madang or Node.

    ::

        io = madang.Server(adapter=madang.RedisStreamsAdapter("redis://localhost:6379/0", max_len=50_000))

    Args:
        url: where the Redis is: ``redis://``, ``rediss://`` or ``unix://``, or each of them as ``redis+streams://``.
            Its query may have the options, too.
        **options: see `StreamsOptions`.

    Raises:
        OptionError: an unknown option, a value out of range, a URL that cannot be understood, or no redis-py.
    """

    def __init__(self, url: str, **options: Unpack[StreamsKeywords]) -> None:
        self.url, self.options = options_from(url, options, StreamsOptions)
        connector_to(self.url, self.options.timeout)  # is refused here rather than when it is used

    def open(self) -> StreamsCluster:
        """The connections for one server; for `Server`."""
        return StreamsCluster(self.url, self.options)


def connector_to(url: str, timeout: float) -> RedisConnector:
    """What makes connections to a Redis with streams.

    Raises:
        OptionError: the URL cannot be understood, or is that of a Redis Cluster.
    """
    connector = RedisConnector(url, timeout)
    if connector.location.kind == "cluster":
        raise OptionError(
            "streams are not kept in a Redis Cluster: one Redis, or sentinels (redis+sentinel+streams://)"
        )
    return connector


class StreamsCluster:
    """What all namespaces of one server share: connections to write, to read and to subscribe, and the counters.

    Attributes:
        options: the options.
        writer: the way out.
        reader: the way in for events and commands.
        subscriber: the way in for questions and answers.
        intake: what has come.
        told_unkept: whether some server tells the others by pub/sub, unasked, as Node's do.
    """

    def __init__(self, url: str, options: StreamsOptions) -> None:
        self.options = options
        connector = connector_to(url, options.timeout)
        self.intake = Intake("Redis", options.max_message)
        backlog = self.backlog = Backlog(options.queue_limit, options.queue_bytes)
        sharded = options.use_sharded_pub_sub
        self.writer = StreamWriter(connector, backlog, self._lost, options.max_len, SPUBLISH if sharded else PUBLISH)
        streams = streams_of(options.stream_name, options.stream_count)
        count = min(options.read_count, options.max_len)  # so that what is cut off too early fills a batch
        self.reader = StreamReader(connector, streams, count, self._take, self._missed)
        self.subscriber = Subscriber(connector, self._unheard, sharded)
        self.writer.changed = self.reader.changed = self._changed
        self._backends: dict[bytes, _Backend] = {}
        self.told_unkept = False

    def make(self, context: AdapterContext) -> ClusterAdapter:
        """The adapter of a namespace."""
        backend = _Backend(self, context)
        self._backends[backend.nsp] = backend
        return ClusterAdapter(context, backend, self.options.requests_timeout)

    def recover(
        self, adapter: MemoryAdapter, context: AdapterContext, limits: RecoveryLimits, owner: RecoveryOwner
    ) -> RecoveryBackend:
        """What keeps sessions and events of a namespace; see `recovery.RecoverySource`."""
        backend, options = self._backends[nsp_of(context)], self.options
        names = options.session_key_prefix.encode(), backend.public
        connections = self.writer, self.subscriber
        sessions = Sessions(*connections, context, backend.uid, names, limits.duration, owner.surrender)
        own = options.timeout, options.queue_limit
        backend.recovery = StreamsRecovery(self, backend, sessions, adapter, context, limits, own)
        return backend.recovery

    @property
    def flowing(self) -> bool:
        """Whether what is added at present comes back soon."""
        return self.writer.connected and self.reader.connected

    def _changed(self) -> None:
        for recovery in self._recoveries():
            if self.flowing:
                recovery.connected()
            else:
                recovery.disconnected()

    def _recoveries(self) -> list[StreamsRecovery]:
        return [backend.recovery for backend in self._backends.values() if backend.recovery is not None]

    def forget(self, backend: _Backend, context: AdapterContext) -> None:
        """A namespace has ended."""
        if self._backends.get(backend.nsp) is backend:
            del self._backends[backend.nsp]
        self.intake.forget(context)

    def start(self) -> None:
        """Connect, in the running loop; returns at once."""
        self.writer.start()
        self.reader.start()
        self.subscriber.start()

    async def close(self) -> None:
        """Let what waits leave, for a bounded time, and disconnect."""
        await self.writer.close(GRACE)
        for recovery in self._recoveries():
            recovery.stop()
        await self.reader.close()
        await self.subscriber.close()

    @property
    def health(self) -> AdapterHealth:
        """How the connections are."""
        receiving = self.reader.connected and self.subscriber.connected
        return health_of(self.intake, self.backlog, self.subscriber, self.writer.connected, receiving)

    def _take(self, stream: bytes, entry_id: bytes, fields: Any) -> None:
        entry = as_entry(fields or ())
        backend = self._backends.get(entry.get(b"nsp", b""))
        if backend is None:
            self.intake.unwanted += 1
        else:
            backend.take_entry(stream, entry_id, entry)

    def _lost(self, namespace: str, loss: Loss, over: bool) -> None:
        self.intake.tell(namespace, "out", loss.since, loss.lost, loss.uncertain, over, loss.reason)

    def _missed(self, stream: bytes, since: float, reason: str) -> None:
        self.intake.missed(since, reason)
        for recovery in self._recoveries():
            recovery.missed(stream)

    def _unheard(self, since: float, reason: str) -> None:
        """Questions that were missed are known to who has asked; what others tell without asking is not."""
        if self.told_unkept:
            self.intake.missed(since, f"{reason}; what Node's servers told this one by server_side_emit may be missed")


def nsp_of(context: AdapterContext) -> bytes:
    """A namespace's name as entries and channels have it."""
    return context.name.encode(errors="replace")


class _Backend:
    """See `cluster.Backend`.

    Attributes:
        nsp: the namespace's name.
        stream: the stream that it is written to.
        public: the channel of what is for all; what other channels of it begin with.
        recovery: what keeps sessions and events, if they can be recovered.
    """

    def __init__(self, cluster: StreamsCluster, context: AdapterContext) -> None:
        options = cluster.options
        self.uid = secrets.token_hex(8)
        self.nsp = nsp_of(context)
        self.recovery: StreamsRecovery | None = None
        self._cluster = cluster
        self._context = context
        self._name = context.name
        self._own = self.uid.encode()
        self._s = b"SHARD" if options.use_sharded_pub_sub else b""
        self._encoder = ClusterEncoder(self.uid, context.name, context.json_default)
        self.stream = stream_of(options.stream_name, options.stream_count, context.name)
        self._entries = EntryWriter(self.stream, options.max_len, self.uid, context.name)
        self.public = b"%b#%b#" % (options.channel_prefix.encode(), self.nsp)
        self._intake = cluster.intake.open(context, self.uid, ends=self._encoder.own)

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """See `cluster.Backend`."""
        self._receive = self._intake.receive = receive
        self._asking = asking
        self._cluster.subscriber.add(self.public, self._intake.taking(self._public_message))
        self._cluster.subscriber.add(self._private(self.uid), self._on_private)

    def _private(self, uid: str) -> bytes:
        return b"%b%b#" % (self.public, uid.encode(errors="replace"))

    # out

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `cluster.Backend`."""
        self._add(self._encoder.broadcast(self._context, encoded, options))

    def publish(self, message: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        payload = self._encoder.payload(message)
        if message.request is None and (message.kind in IN_STREAM or message.kind is Kind.SERVER_SIDE_EMIT):
            self._add(payload)
        else:
            self._publish(self.public, payload)

    def answer(self, question: ClusterMessage, answer: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        if question.uid is not None:
            self._publish(self._private(question.uid), self._encoder.payload(answer))

    def add_event(self, encoded: Encoded, options: BroadcastOptions) -> bytes | None:
        """See `streams_recovery.Carrier`."""
        payload = self._encoder.broadcast(self._context, encoded, options)
        parts = self._entries.parts(payload)
        added = self._fits(payload) and self._cluster.writer.add(self._name, parts)
        return parts[-1] if added else None

    def _add(self, payload: ClusterPayload) -> None:
        if self._fits(payload):
            parts = self._entries.parts(payload)
            if self._cluster.writer.add(self._name, parts) and self.recovery is not None:
                self.recovery.own.sent(parts[-1], None)

    def _publish(self, channel: bytes, payload: ClusterPayload) -> None:
        if self._fits(payload):
            self._cluster.writer.publish(self._name, channel, ephemeral(self._encoder, payload))

    def _fits(self, payload: ClusterPayload) -> bool:
        fits = len(payload.data) <= self._cluster.options.max_message
        if not fits:
            reason = f"a message of {len(payload.data)} bytes is more than max_message"
            self._cluster.writer.refuse(self._name, reason)
        return fits

    # who is there

    @property
    def ready(self) -> bool:
        """See `cluster.Backend`."""
        return self._cluster.subscriber.connected

    def others(self) -> asyncio.Future[int]:
        """See `cluster.Backend`."""
        ourselves = int(self._cluster.subscriber.connected)
        asked = self._cluster.writer.ask(b"PUBSUB", self._s + b"NUMSUB", self.public)
        return then(asked, lambda answer: max(0, int(answer[1]) - ourselves))

    def names(self) -> asyncio.Future[frozenset[str]]:
        """See `cluster.Backend`."""
        asked = self._cluster.writer.ask(b"PUBSUB", self._s + b"CHANNELS", escaped(self.public) + b"?*#")
        return then(asked, self._names_of)

    def _names_of(self, channels: list[bytes]) -> frozenset[str]:
        names = {channel[len(self.public) : -1].decode(errors="replace") for channel in channels}
        return frozenset(name for name in names if _UID.fullmatch(name)) - {self.uid}

    async def settled(self) -> None:
        """See `cluster.Backend`."""
        await self._cluster.subscriber.settled()
        await self._cluster.reader.settled()
        await self._cluster.writer.ask(b"PING")

    @property
    def health(self) -> AdapterHealth:
        """See `cluster.Backend`."""
        return self._cluster.health

    # what is wanted: each server reads all

    def want(self, room: Room) -> None:
        """See `cluster.Backend`."""

    def unwant(self, room: Room) -> None:
        """See `cluster.Backend`."""

    def close(self) -> None:
        """See `cluster.Backend`."""
        self._cluster.subscriber.remove(self.public)
        self._cluster.subscriber.remove(self._private(self.uid))
        self._cluster.forget(self, self._context)

    # in

    def take_entry(self, stream: bytes, entry_id: bytes, entry: Entry) -> None:
        """An entry of a stream has come."""
        self._intake.drop()  # counts it
        own = entry.get(b"uid") == self._own
        if self.recovery is not None and stream == self.stream:
            if own:
                self.recovery.came_back(entry_id, entry)
            else:
                self._intake.decode((entry_id, entry), size_of(entry), self.recovery.came)
        elif not own:
            self._intake.decode(entry, size_of(entry), decode_entry)

    def _public_message(self, payload: bytes, name: str) -> ClusterMessage | None:
        message = decode_message(payload, name)
        if message is not None and message.kind is Kind.SERVER_SIDE_EMIT and message.request is None:
            self._cluster.told_unkept = True
        return message

    def _on_private(self, payload: bytes) -> None:
        if self._asking():
            self._intake.take(payload)
        else:  # nobody waits for it any more
            self._intake.drop()
