"""Sending over Redis pub/sub from any process, as `@socket.io/redis-emitter` does; and over sharded pub/sub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import RedisClusterException

from ...errors import AdapterUnavailable, EncodeError
from ..cluster_wire import ClusterEncoder
from ..link import Loss
from ..messages import ClusterMessage, Kind
from ..wire import EMITTER, NodeJson
from .connection import BROKEN, RedisConnector
from .links import Outward
from .options import LinkOptions, RedisOptions, ShardedOptions, options_from
from .publisher import Backlog
from .pubsub_wire import Channels, encode_broadcast, encode_request
from .sharded import ShardedChannels


class _Wire(Protocol):
    """The bytes of what is emitted, and their channel."""

    sharded: bool
    options: LinkOptions

    def encode(self, namespace: str, message: ClusterMessage) -> tuple[bytes, bytes]: ...


class _PubSub:
    """See `_Wire`."""

    sharded = False

    def __init__(self, options: RedisOptions) -> None:
        self.options: LinkOptions = options
        self._json = NodeJson()

    def encode(self, namespace: str, message: ClusterMessage) -> tuple[bytes, bytes]:
        channels = Channels(self.options.key, namespace)
        if message.kind is Kind.BROADCAST:
            return channels.for_options(message.options), encode_broadcast(namespace, message)
        return channels.request, encode_request(namespace, message, self._json)


class _Sharded:
    """See `_Wire`."""

    sharded = True

    def __init__(self, options: ShardedOptions) -> None:
        self.options: LinkOptions = options
        self._options = options

    def encode(self, namespace: str, message: ClusterMessage) -> tuple[bytes, bytes]:
        channels = ShardedChannels(self._options, namespace)
        encoder = ClusterEncoder(EMITTER, namespace)
        broadcast = message.kind is Kind.BROADCAST
        channel = channels.for_options(message.options) if broadcast else channels.main
        return channel, encoder.envelope(encoder.payload(message))


def _wire_of(url: str, options: dict[str, Any]) -> tuple[str, _Wire]:
    if "sharded" in url.partition("://")[0].split("+"):
        plain, sharded = options_from(url, options, ShardedOptions)
        return plain, _Sharded(sharded)
    plain, pubsub = options_from(url, options, RedisOptions)
    return plain, _PubSub(pubsub)


def queued(url: str, **options: Any) -> Queued:
    """See `outlets.Outlets`."""
    plain, wire = _wire_of(url, options)
    outward = Outward(plain, wire.options, wire.sharded, ignore)

    def send(namespace: str, message: ClusterMessage) -> None:
        outward.publisher.publish(namespace, *_encoded(wire, namespace, message))

    return Queued(outward, send, wire.options.timeout)


def direct(url: str, **options: Any) -> Direct:
    """See `outlets.Outlets`."""
    plain, wire = _wire_of(url, options)
    verb = b"SPUBLISH" if wire.sharded else b"PUBLISH"

    def parts(namespace: str, message: ClusterMessage) -> tuple[bytes, ...]:
        return verb, *_encoded(wire, namespace, message)

    return Direct(plain, parts, wire.options.timeout)


def _encoded(wire: _Wire, namespace: str, message: ClusterMessage) -> tuple[bytes, bytes]:
    channel, payload = wire.encode(namespace, message)
    if len(payload) > wire.options.max_message:
        raise EncodeError(f"a message of {len(payload)} bytes is more than max_message")
    return channel, payload


class Out(Protocol):
    """A way out; see `links.Outward`.

    Attributes:
        backlog: what waits.
    """

    backlog: Backlog

    def start(self) -> None:
        """Connect."""
        ...

    async def drained(self) -> None:
        """Wait until all has left."""
        ...

    async def close(self, grace: float) -> None:
        """Disconnect."""
        ...


class Queued:
    """Emits by a way out, which begins with the first message.

    Args:
        outward: the way out.
        send: sends a message of a namespace by it.
        timeout: seconds that what waits has at the end.
    """

    def __init__(self, outward: Out, send: Callable[[str, ClusterMessage], None], timeout: float) -> None:
        self._outward = outward
        self._send = send
        self._timeout = timeout
        self._started = False

    @property
    def lost(self) -> int:
        """See `outlets.QueuedOutlet`."""
        return self._outward.backlog.lost

    def start(self) -> None:
        """See `outlets.QueuedOutlet`."""
        if not self._started:
            self._started = True
            self._outward.start()

    def send(self, namespace: str, message: ClusterMessage) -> None:
        """See `outlets.QueuedOutlet`."""
        self._send(namespace, message)
        self.start()

    async def drained(self) -> None:
        """See `outlets.QueuedOutlet`."""
        self.start()
        await self._outward.drained()

    async def close(self) -> None:
        """See `outlets.QueuedOutlet`."""
        if self._outward.backlog.messages:
            draining = asyncio.ensure_future(self._outward.drained())
            await asyncio.wait((draining,), timeout=self._timeout)
            draining.cancel()
            await asyncio.wait((draining,))
        await self._outward.close(0)
        self._started = False


def ignore(_: str, __: Loss, ___: bool) -> None:
    """The emitter counts what is lost, and has nobody to tell."""


class Direct:
    """Sends at once.

    Args:
        url: where the Redis is.
        parts: the command for a message of a namespace, in its parts.
        timeout: seconds for connecting, and for any answer.
    """

    def __init__(self, url: str, parts: Callable[[str, ClusterMessage], tuple[bytes, ...]], timeout: float) -> None:
        self._connector = RedisConnector(url, timeout)
        self._parts = parts
        self._redis: Any = None
        self.receivers: int | None = None

    def send(self, namespace: str, message: ClusterMessage) -> None:
        """See `outlets.DirectOutlet`."""
        parts = self._parts(namespace, message)
        try:
            if self._redis is None:
                self._redis = _blocking(self._connector)
            answer = self._redis.execute_command(parts[0].decode(), *parts[1:])
            self.receivers = answer if isinstance(answer, int) else None
        except (*BROKEN, RedisClusterException) as error:
            raise AdapterUnavailable(f"Redis did not take the message: {error}") from error

    def close(self) -> None:
        """See `outlets.DirectOutlet`."""
        if self._redis is not None:
            self._redis.close()


def _blocking(connector: RedisConnector) -> Any:
    """A client of redis-py's own."""
    from redis import Redis, RedisCluster, cluster, connection, sentinel
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    location, timeout = connector.location, connector.timeout
    facts: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2}
    facts["retry"] = Retry(NoBackoff(), 0)  # what was sent may have arrived: again would be twice
    redis: Any = Redis
    node: Any = cluster.ClusterNode
    parse: Any = connection.parse_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    known: Any = sentinel.Sentinel
    if location.kind == "cluster":
        nodes = [node(*address) for address in location.addresses]
        clustered: Any = RedisCluster
        return clustered.from_url(location.url, startup_nodes=nodes, **facts)
    if location.kind == "alone":
        return redis.from_url(location.url, **facts)
    said: dict[str, Any] = parse(location.url)
    said = {name: value for name, value in said.items() if name not in ("host", "port", "connection_class")}
    tls = {name: value for name, value in said.items() if name.startswith("ssl")}
    if location.url.startswith("rediss:"):
        tls["ssl"] = True
    sentinels = known(location.addresses, sentinel_kwargs=facts | tls | location.sentinel, **(said | tls | facts))
    return sentinels.master_for(location.service)
