"""The cluster over Redis pub/sub, together with Node servers that use `@socket.io/redis-adapter`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Unpack

from ...protocol.encoded import Encoded
from ...types import Room
from ..adapter import AdapterContext, BroadcastOptions
from ..cluster import ClusterAdapter, short_id
from ..messages import AdapterHealth, ClusterMessage, Kind
from ..wire import NodeJson
from .connection import RedisConnector, escaped
from .links import Links, then
from .options import RedisKeywords, RedisOptions, options_from
from .pubsub_wire import (
    BroadcastPacker,
    Channels,
    decode_answer,
    decode_broadcast,
    decode_request,
    encode_answer,
    encode_request,
)


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
        self.url, self.options = options_from(url, options, RedisOptions)
        RedisConnector(self.url, self.options.timeout)  # is refused here rather than when it is used

    def open(self) -> RedisCluster:
        """The connections for one server; for `Server`."""
        return RedisCluster(self.url, self.options)


class RedisCluster(Links):
    """What all namespaces of one server share: the connections, and the counters.

    Attributes:
        options: the options.
    """

    def __init__(self, url: str, options: RedisOptions) -> None:
        super().__init__(url, options)
        self.options = options

    def make(self, context: AdapterContext) -> ClusterAdapter:
        """The adapter of a namespace."""
        return ClusterAdapter(context, _Backend(self, context), self.options.requests_timeout)


class _Backend:
    """See `cluster.Backend`."""

    def __init__(self, cluster: RedisCluster, context: AdapterContext) -> None:
        self.uid = short_id()
        self._cluster = cluster
        self._options = cluster.options
        self._max_message = cluster.options.max_message
        self._publish = cluster.outward.publisher.publish
        self._context = context
        self._name = context.name
        self._channels = Channels(cluster.options.key, context.name)
        self._json = NodeJson(context.json_default)
        self._packer = BroadcastPacker(self.uid, context.name, self._channels)
        self._wanted: dict[bytes, int] = {}
        uid = self.uid.encode()
        self._intake = cluster.intake.open(context, self.uid, (b"\x93\xa6" + uid, b'{"uid":"%b"' % uid))
        self._on_broadcast = self._intake.taking(decode_broadcast)
        self._on_request = self._intake.taking(decode_request)
        self._take_answer = self._intake.taking(decode_answer)

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """See `cluster.Backend`."""
        self._intake.receive = receive
        self._asking = asking
        channels, subscriber = self._channels, self._cluster.subscriber
        if self._options.routing == "pattern":
            subscriber.add_pattern(escaped(channels.broadcast) + b"*", self._on_pattern)
        else:
            subscriber.add(channels.broadcast, self._on_broadcast)
        subscriber.add(channels.request, self._on_request)
        subscriber.add(channels.response, self._on_answer)
        subscriber.add(channels.answers_to(self.uid), self._on_answer)

    # out

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `cluster.Backend`."""
        channel, payload = self._packer.pack(self._context.values_of(encoded), options, encoded.compress)
        if len(payload) <= self._max_message:
            self._publish(self._name, channel, payload)
        else:
            self._send(channel, payload)

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
        self._cluster.publish(self._name, channel, payload)

    # who is there

    @property
    def ready(self) -> bool:
        """See `cluster.Backend`."""
        return self._cluster.subscriber.connected

    def others(self) -> asyncio.Future[int]:
        """See `cluster.Backend`."""
        ourselves = int(self._cluster.subscriber.connected)
        asked = self._cluster.outward.ask_all(b"PUBSUB", b"NUMSUB", self._channels.request)
        return then(asked, lambda answers: max(0, sum(int(answer[1]) for answer in answers) - ourselves))

    def names(self) -> asyncio.Future[frozenset[str]]:
        """See `cluster.Backend`."""
        start = len(self._channels.response)
        asked = self._cluster.outward.ask_all(b"PUBSUB", b"CHANNELS", escaped(self._channels.response) + b"?*#")

        def named(answers: list[list[bytes]]) -> frozenset[str]:
            return frozenset(name[start:-1].decode(errors="replace") for one in answers for name in one) - {self.uid}

        return then(asked, named)

    async def settled(self) -> None:
        """See `cluster.Backend`."""
        await self._cluster.settled()

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
        for channel in (*fixed, *self._wanted, escaped(channels.broadcast) + b"*"):
            subscriber.remove(channel)
        self._wanted.clear()
        self._cluster.intake.forget(self._context)

    # in

    def _on_pattern(self, channel: bytes, payload: bytes) -> None:
        if channel != self._channels.broadcast and channel not in self._wanted:
            self._cluster.intake.unwanted += 1
        else:
            self._on_broadcast(payload)

    def _on_answer(self, payload: bytes) -> None:
        if self._asking():
            self._take_answer(payload)
        else:  # it is for another server
            self._intake.drop()
