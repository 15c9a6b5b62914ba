"""The cluster over sharded Redis pub/sub, together with Node servers that use `createShardedAdapter`."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Any, Final, Unpack

from ...errors import AdapterUnavailable
from ...protocol.encoded import Encoded
from ...types import Room
from ..adapter import AdapterContext, BroadcastOptions
from ..cluster import ClusterAdapter
from ..cluster_wire import ClusterEncoder, ClusterPayload
from ..messages import AdapterHealth, ClusterMessage
from .connection import RedisConnector, escaped
from .links import Links, then
from .options import ShardedKeywords, ShardedOptions, options_from

_HEX: Final = re.compile(rb"[0-9a-f]{16}")
_ID_LENGTH: Final = 20


class ShardedRedisAdapter:
    """Spreads a server over all that use the same Redis, of version 7 or later, and key, be they madang or Node.

    ::

        io = madang.Server(adapter=madang.ShardedRedisAdapter("redis+sharded+cluster://host:7000,host:7001"))

    Args:
        url: where the Redis is, as for `RedisAdapter`; the word ``sharded`` in its scheme goes without saying.
        **options: see `ShardedOptions`.

    Raises:
        OptionError: an unknown option, a value out of range, a URL that cannot be understood, or no redis-py.
    """

    def __init__(self, url: str, **options: Unpack[ShardedKeywords]) -> None:
        self.url, self.options = options_from(url, options, ShardedOptions)
        RedisConnector(self.url, self.options.timeout)  # is refused here rather than when it is used

    def open(self) -> ShardedCluster:
        """The connections for one server; for `Server`."""
        return ShardedCluster(self.url, self.options)


class ShardedCluster(Links):
    """What all namespaces of one server share: the connections, and the counters.

    Attributes:
        options: the options.
    """

    def __init__(self, url: str, options: ShardedOptions) -> None:
        super().__init__(url, options, sharded=True)
        self.options = options

    def make(self, context: AdapterContext) -> ClusterAdapter:
        """The adapter of a namespace."""
        return ClusterAdapter(context, _Backend(self, context), self.options.requests_timeout)


class ShardedChannels:
    """The names of the channels of one namespace.

    Attributes:
        main: that of all servers.
    """

    __slots__ = ("_ids", "_rooms", "main")

    def __init__(self, options: ShardedOptions, namespace: str) -> None:
        self.main = f"{options.key}#{namespace}#".encode()
        self._rooms = options.subscription_mode != "static"
        self._ids = options.subscription_mode == "dynamic-private"

    def named(self, name: str) -> bytes:
        """The channel of a server."""
        return b"%b%b#" % (self.main, name.encode(errors="replace"))

    def room(self, room: Any) -> bytes | None:
        """The channel of a room; None if it has none."""
        if not self._rooms or (not self._ids and looks_like_an_id(room)):
            return None
        return self.named(str(int(room) if isinstance(room, float) and room.is_integer() else room))

    def for_options(self, options: BroadcastOptions) -> bytes:
        """Where a broadcast that wants no answer goes."""
        if len(options.rooms) != 1:
            return self.main
        (room,) = options.rooms
        return self.room(room) or self.main


def looks_like_an_id(room: Any) -> bool:
    """Whether Node's servers take a room for that of a single socket: twenty characters, as JavaScript counts them."""
    if not isinstance(room, str) or len(room) > _ID_LENGTH:
        return False
    return len(room) + sum(character > "\uffff" for character in room) == _ID_LENGTH


class _Backend:
    """See `cluster.Backend`."""

    def __init__(self, cluster: ShardedCluster, context: AdapterContext) -> None:
        self.uid = secrets.token_hex(8)
        self._cluster = cluster
        self._context = context
        self._name = context.name
        self._channels = ShardedChannels(cluster.options, context.name)
        self._own_channel = self._channels.named(self.uid)
        self._encoder = ClusterEncoder(self.uid, context.name, context.json_default)
        self._intake = cluster.intake.open(context, self.uid, ends=self._encoder.own)
        self._wanted: dict[bytes, int] = {}

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """See `cluster.Backend`."""
        self._intake.receive = receive
        self._asking = asking
        self._cluster.subscriber.add(self._channels.main, self._intake.take)
        self._cluster.subscriber.add(self._own_channel, self._on_answer)

    # out

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `cluster.Backend`."""
        payload = self._encoder.broadcast(self._context, encoded, options)
        self._send(self._channels.for_options(options), payload)

    def publish(self, message: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._send(self._channels.main, self._encoder.payload(message))

    def answer(self, question: ClusterMessage, answer: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._send(self._channels.named(question.uid or ""), self._encoder.payload(answer))

    def _send(self, channel: bytes, payload: ClusterPayload) -> None:
        self._cluster.publish(self._name, channel, self._encoder.envelope(payload))

    # who is there

    @property
    def ready(self) -> bool:
        """See `cluster.Backend`."""
        return self._cluster.subscriber.connected

    def others(self) -> asyncio.Future[int]:
        """See `cluster.Backend`."""
        ourselves = int(self._cluster.subscriber.connected)
        main = self._channels.main

        def counted(answer: Any) -> int:
            if int(answer[1]) < ourselves:
                raise AdapterUnavailable("the node that was asked does not have the channel any more")
            return int(answer[1]) - ourselves

        return then(self._cluster.outward.ask(main, b"PUBSUB", b"SHARDNUMSUB", main), counted)

    def names(self) -> asyncio.Future[frozenset[str]]:
        """See `cluster.Backend`."""
        return asyncio.ensure_future(self._names())

    async def _names(self) -> frozenset[str]:
        """Channels of servers look as those of rooms may: if there are more of them than servers, nobody can tell."""
        main, outward = self._channels.main, self._cluster.outward
        pattern = escaped(main) + b"?" * 16 + b"#"
        counting = self.others()
        answers = await outward.ask_all(b"PUBSUB", b"SHARDCHANNELS", pattern)
        found = {channel[len(main) : -1] for answer in answers for channel in answer if channel not in self._wanted}
        names = {name.decode() for name in found if _HEX.fullmatch(name)} - {self.uid}
        if len(names) > await counting:
            raise AdapterUnavailable("rooms are named as servers are")
        return frozenset(names)

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
        if channel is None:
            return
        count = self._wanted.get(channel, 0)
        self._wanted[channel] = count + 1
        if not count:
            self._cluster.subscriber.add(channel, self._intake.take)

    def unwant(self, room: Room) -> None:
        """See `cluster.Backend`."""
        channel = self._channels.room(room)
        if channel is None:
            return
        count = self._wanted.get(channel, 0) - 1
        if count > 0:
            self._wanted[channel] = count
        elif self._wanted.pop(channel, None) is not None:
            self._cluster.subscriber.remove(channel)

    def close(self) -> None:
        """See `cluster.Backend`."""
        for channel in (self._channels.main, self._own_channel, *self._wanted):
            self._cluster.subscriber.remove(channel)
        self._wanted.clear()
        self._cluster.intake.forget(self._context)

    # in

    def _on_answer(self, payload: bytes) -> None:
        if self._asking():
            self._intake.take(payload)
        else:  # it comes too late
            self._intake.drop()
