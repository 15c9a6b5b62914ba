"""The cluster over Redis pub/sub, together with Node servers that use `@socket.io/redis-adapter`."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from ..errors import PacketError
from ..protocol.encoded import Encoded
from ..types import Room
from .adapter import AdapterContext, BroadcastOptions
from .cluster import ClusterAdapter, short_id
from .messages import AdapterGap, AdapterHealth, ClusterMessage, Kind
from .redis_connection import RedisConnector
from .redis_options import RedisKeywords, RedisOptions, options_from
from .redis_publisher import Loss, Publisher
from .redis_subscriber import Subscriber
from .redis_wire import (
    BroadcastPacker,
    Channels,
    NodeJson,
    decode_answer,
    decode_broadcast,
    decode_request,
    encode_answer,
    encode_request,
)

logger = logging.getLogger("madang.adapters")

T = TypeVar("T")
R = TypeVar("R")

GRACE = 1.0
"""Seconds that what waits may take to leave when the server closes."""

_GLOB = re.compile(rb"[\\*?\[\]]")


class RedisAdapter:
    """Spreads a server over all that use the same Redis and key, be they madang or Node.

    ::

        io = madang.Server(adapter=madang.RedisAdapter("redis://localhost:6379/0", key="chat"))

    Args:
        url: where the Redis is: ``redis://``, ``rediss://`` or ``unix://``. Its query may have the options, too.
        **options: see `RedisOptions`.

    Raises:
        OptionError: an unknown option, a value out of range, a URL that cannot be understood, or no redis-py.
    """

    def __init__(self, url: str, **options: Unpack[RedisKeywords]) -> None:
        self.url, self.options = options_from(url, options)
        RedisConnector(self.url, self.options.timeout)  # is refused here rather than when it is used

    def open(self) -> RedisCluster:
        """The connections for one server; for `Server`."""
        return RedisCluster(self.url, self.options)


class RedisCluster:
    """What all namespaces of one server share: a connection to publish, one to subscribe, and the counters.

    Attributes:
        options: the options.
        publisher: the way out.
        subscriber: the way in.
    """

    def __init__(self, url: str, options: RedisOptions) -> None:
        self.options = options
        connector = RedisConnector(url, options.timeout)
        self.publisher = Publisher(connector, options.queue_limit, options.queue_bytes, self._lost)
        self.subscriber = Subscriber(connector, self._missed)
        self.received = 0
        self.parsed = 0
        self.unwanted = 0
        self.poison = 0
        self.gaps = 0
        self._contexts: dict[str, AdapterContext] = {}

    def make(self, context: AdapterContext) -> ClusterAdapter:
        """The adapter of a namespace."""
        self._contexts[context.name] = context
        return ClusterAdapter(context, _Backend(self, context), self.options.requests_timeout)

    def forget(self, context: AdapterContext) -> None:
        """A namespace has ended."""
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    def start(self) -> None:
        """Connect, in the running loop; returns at once."""
        self.publisher.start()
        self.subscriber.start()

    async def close(self) -> None:
        """Let what waits leave, for a bounded time, and disconnect."""
        await self.publisher.close(GRACE)
        await self.subscriber.close()

    @property
    def health(self) -> AdapterHealth:
        """How the connections are."""
        return AdapterHealth(
            publishing=self.publisher.connected,
            receiving=self.subscriber.connected,
            queued=len(self.publisher),
            queued_bytes=self.publisher.queued_bytes,
            published=self.publisher.published,
            received=self.received,
            parsed=self.parsed,
            unwanted=self.unwanted + self.subscriber.unwanted,
            poison=self.poison,
            lost=self.publisher.lost,
            gaps=self.gaps,
        )

    def _lost(self, namespace: str, loss: Loss, over: bool) -> None:
        context = self._contexts.get(namespace)
        if context is not None:
            gap = AdapterGap(namespace, "out", loss.since, loss.lost, loss.uncertain, over, loss.reason)
            context.adapter_gap(gap)

    def _missed(self, since: float, reason: str) -> None:
        self.gaps += 1
        for context in list(self._contexts.values()):
            context.adapter_gap(AdapterGap(context.name, "in", since, None, 0, True, reason))


class _Backend:
    """See `cluster.Backend`."""

    def __init__(self, cluster: RedisCluster, context: AdapterContext) -> None:
        self.uid = short_id()
        self._cluster = cluster
        self._options = cluster.options
        self._context = context
        self._name = context.name
        self._channels = Channels(cluster.options.key, context.name)
        self._json = NodeJson(context.json_default)
        self._packer = BroadcastPacker(self.uid, context.name)
        self._wanted: dict[bytes, int] = {}
        self._own_broadcast = b"\x93\xa6" + self.uid.encode()
        self._own_request = b'{"uid":"%b"' % self.uid.encode()
        self._complained = False

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """See `cluster.Backend`."""
        self._receive = receive
        self._asking = asking
        channels, subscriber = self._channels, self._cluster.subscriber
        if self._options.routing == "pattern":
            subscriber.add_pattern(_escaped(channels.broadcast) + b"*", self._on_pattern)
        else:
            subscriber.add(channels.broadcast, self._on_broadcast)
        subscriber.add(channels.request, self._on_request)
        subscriber.add(channels.response, self._on_answer)
        subscriber.add(channels.answers_to(self.uid), self._on_answer)

    # out

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `cluster.Backend`."""
        args = self._context.values_of(encoded)
        self._send(self._channels.for_options(options), self._packer.pack(args, options, encoded.compress))

    def publish(self, message: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._send(self._channels.request, encode_request(self._name, message, self._json))

    def answer(self, question: ClusterMessage, answer: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        private = self._options.publish_on_specific_response_channel and question.uid is not None
        if private and answer.kind is not Kind.SERVER_SIDE_EMIT_RESPONSE:
            channel = self._channels.answers_to(question.uid or "")
        else:
            channel = self._channels.response
        self._send(channel, encode_answer(answer, self._json))

    def _send(self, channel: bytes, payload: bytes) -> None:
        if len(payload) > self._options.max_message:
            reason = f"a message of {len(payload)} bytes is more than max_message"
            self._cluster.publisher.refuse(self._name, reason)
        else:
            self._cluster.publisher.publish(self._name, channel, payload)

    # who is there

    @property
    def ready(self) -> bool:
        """See `cluster.Backend`."""
        return self._cluster.subscriber.connected

    def others(self) -> asyncio.Future[int]:
        """See `cluster.Backend`."""
        ourselves = int(self._cluster.subscriber.connected)
        asked = self._cluster.publisher.ask(b"PUBSUB", b"NUMSUB", self._channels.request)
        return _then(asked, lambda answer: max(0, int(answer[1]) - ourselves))

    def names(self) -> asyncio.Future[frozenset[str]]:
        """See `cluster.Backend`."""
        start = len(self._channels.response)
        asked = self._cluster.publisher.ask(b"PUBSUB", b"CHANNELS", _escaped(self._channels.response) + b"?*#")
        own = self.uid
        return _then(asked, lambda found: frozenset(name[start:-1].decode(errors="replace") for name in found) - {own})

    async def settled(self) -> None:
        """See `cluster.Backend`."""
        await self._cluster.subscriber.settled()
        await self._cluster.publisher.ask(b"PING")

    @property
    def health(self) -> AdapterHealth:
        """See `cluster.Backend`."""
        return self._cluster.health

    # what is wanted

    def want(self, room: Room) -> None:
        """See `cluster.Backend`."""
        channel = self._channels.room(room)
        count = self._wanted.get(channel, 0)
        self._wanted[channel] = count + 1
        if not count and self._options.routing == "room":
            self._cluster.subscriber.add(channel, self._on_broadcast)

    def unwant(self, room: Room) -> None:
        """See `cluster.Backend`."""
        channel = self._channels.room(room)
        count = self._wanted.get(channel, 0) - 1
        if count > 0:
            self._wanted[channel] = count
        elif self._wanted.pop(channel, None) is not None and self._options.routing == "room":
            self._cluster.subscriber.remove(channel)

    def close(self) -> None:
        """See `cluster.Backend`."""
        channels, subscriber = self._channels, self._cluster.subscriber
        fixed = (channels.broadcast, channels.request, channels.response, channels.answers_to(self.uid))
        for channel in (*fixed, *self._wanted, _escaped(channels.broadcast) + b"*"):
            subscriber.remove(channel)
        self._wanted.clear()
        self._cluster.forget(self._context)

    # in

    def _on_pattern(self, channel: bytes, payload: bytes) -> None:
        if channel != self._channels.broadcast and channel not in self._wanted:
            self._cluster.unwanted += 1
        else:
            self._on_broadcast(payload)

    def _on_broadcast(self, payload: bytes) -> None:
        self._cluster.received += 1
        if not payload.startswith(self._own_broadcast):
            self._take(payload, decode_broadcast)

    def _on_request(self, payload: bytes) -> None:
        self._cluster.received += 1
        if not payload.startswith(self._own_request):
            self._take(payload, decode_request)

    def _on_answer(self, payload: bytes) -> None:
        self._cluster.received += 1
        if self._asking():  # else it is for another server
            self._take(payload, decode_answer)

    def _take(self, payload: bytes, decode: Callable[[bytes, str], ClusterMessage | None]) -> None:
        """Let no message do harm, whatever it is."""
        cluster = self._cluster
        cluster.parsed += 1
        try:
            if len(payload) > self._options.max_message:
                raise PacketError(f"a message of {len(payload)} bytes is more than max_message")
            message = decode(payload, self._name)
            if message is not None and message.uid != self.uid:
                self._receive(message)
        except Exception as error:
            cluster.poison += 1
            if not self._complained:
                self._complained = True
                known = isinstance(error, PacketError)
                logger.warning(
                    "a message from Redis for %s was skipped (others will be without a word): %s, %r",
                    self._name,
                    error,
                    payload[:100],
                    exc_info=None if known else error,
                )


def _escaped(name: bytes) -> bytes:
    """A name as part of a pattern of Redis."""
    return _GLOB.sub(rb"\\\g<0>", name)


def _then(asked: asyncio.Future[T], convert: Callable[[T], R]) -> asyncio.Future[R]:
    """A future with what becomes of another one's result."""
    converted: asyncio.Future[R] = asked.get_loop().create_future()

    def done(future: asyncio.Future[Any]) -> None:
        if converted.done() or future.cancelled():
            return
        if (error := future.exception()) is not None:
            converted.set_exception(error)
            converted.exception()  # whoever awaits it gets it; nobody has to
        else:
            converted.set_result(convert(future.result()))

    asked.add_done_callback(done)
    converted.add_done_callback(lambda future: asked.cancel() if future.cancelled() else None)
    return converted
