"""What may be between the servers of a cluster, and in which mixtures of madang and Node it is tested."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol

import pytest

import madang
from tests.cluster.brokers import Nats, Postgres
from tests.cluster.peers import KEY, Peer
from tests.cluster.redis import Redis, RedisNodes
from tests.interop.ways import until


class Backing(Protocol):
    """A broker, and a way to use it.

    Attributes:
        name: see `BACKINGS`.
        url: where it is, as emitters and servers are told.
        emitting: the options of emitters.
        node: the arguments of node.mjs: which adapter, where, and the key.
    """

    name: str
    url: str
    emitting: dict[str, Any]
    node: tuple[str, str, str]

    def adapter(self) -> Any:
        """The option `adapter` of one server."""
        ...

    async def together(self, name: str, servers: Sequence[Peer]) -> None:
        """Wait until two servers know each other in a namespace."""
        ...


class PubSub:
    """Redis pub/sub; with ``pattern``, madang's servers listen as Node's do."""

    emitting: Final[dict[str, Any]] = {"key": KEY}

    def __init__(self, redis: Redis, routing: Literal["room", "pattern"]) -> None:
        self.name = "pubsub" if routing == "room" else "pattern"
        self.url = redis.url
        self.node = ("pubsub", redis.url, KEY)
        self._redis = redis
        self._routing = routing

    def adapter(self) -> Any:
        return madang.RedisAdapter(self.url, key=KEY, routing=self._routing)

    async def together(self, name: str, servers: Sequence[Peer]) -> None:
        await until(lambda: self._redis.client.pubsub_numsub(f"{KEY}-request#{name}#")[0][1] == 2)


class Leased:
    """What makes servers known to each other by heartbeats; those are quick here."""

    heartbeats: Final[dict[str, Any]] = {"heartbeat_interval": 0.2, "heartbeat_timeout": 4}

    async def together(self, name: str, servers: Sequence[Peer]) -> None:
        for server in servers:
            while await server.count() != 2:
                await asyncio.sleep(0.01)


class OverPostgres(Leased):
    """PostgreSQL."""

    name = "postgres"
    emitting: Final[dict[str, Any]] = {"key": KEY}

    def __init__(self, postgres: Postgres) -> None:
        self.url = postgres.url
        self.node = ("postgres", postgres.url, KEY)

    def adapter(self) -> Any:
        return madang.PostgresAdapter(self.url, key=KEY, **self.heartbeats)


class OverNats(Leased):
    """NATS, for which Node has nothing."""

    name = "nats"
    emitting: Final[dict[str, Any]] = {"key": KEY}
    node = ("", "", "")

    def __init__(self, nats: Nats) -> None:
        self.url = nats.url

    def adapter(self) -> Any:
        return madang.NatsAdapter(self.url, key=KEY, **self.heartbeats)


class Streams:
    """Redis streams."""

    name = "streams"
    emitting: Final[dict[str, Any]] = {"stream_name": KEY}

    def __init__(self, redis: Redis) -> None:
        self.url = redis.url.replace("redis://", "redis+streams://")
        self.node = ("streams", redis.url, KEY)
        self._redis = redis

    def adapter(self) -> Any:
        return madang.RedisStreamsAdapter(self.url, stream_name=KEY, channel_prefix=KEY)

    async def together(self, name: str, servers: Sequence[Peer]) -> None:
        await until(lambda: self._redis.client.pubsub_numsub(f"{KEY}#{name}#")[0][1] == 2)
        await until(lambda: sum(client["cmd"] == "xread" for client in self._redis.client.client_list()) >= 2)


class Sharded:
    """Sharded Redis pub/sub; over a Redis Cluster if its nodes are given."""

    emitting: Final[dict[str, Any]] = {"key": KEY}

    def __init__(self, url: str, nodes: Sequence[Redis]) -> None:
        self.name = "sharded" if len(nodes) == 1 else "rediscluster"
        self.url = url
        self.node = (self.name, url, KEY)
        self._nodes = nodes

    def adapter(self) -> Any:
        return madang.ShardedRedisAdapter(self.url, key=KEY)

    async def together(self, name: str, servers: Sequence[Peer]) -> None:
        def listening() -> int:
            return sum(
                node.client.execute_command("PUBSUB", "SHARDNUMSUB", f"{KEY}#{name}#")[1] for node in self._nodes
            )

        await until(lambda: listening() == 2)


def _sharded(request: pytest.FixtureRequest) -> Sharded:
    redis: Redis = request.getfixturevalue("shared_redis")
    return Sharded(redis.url.replace("redis:", "redis+sharded:"), [redis])


def _redis_cluster(request: pytest.FixtureRequest) -> Sharded:
    nodes: RedisNodes = request.getfixturevalue("shared_redis_nodes")
    return Sharded(nodes.url("redis+sharded+cluster"), nodes.nodes)


BACKINGS: Final[dict[str, Callable[[pytest.FixtureRequest], Backing]]] = {
    "pubsub": lambda request: PubSub(request.getfixturevalue("shared_redis"), "room"),
    "pattern": lambda request: PubSub(request.getfixturevalue("shared_redis"), "pattern"),
    "postgres": lambda request: OverPostgres(request.getfixturevalue("shared_postgres")),
    "nats": lambda request: OverNats(request.getfixturevalue("shared_nats")),
    "streams": lambda request: Streams(request.getfixturevalue("shared_redis")),
    "sharded": _sharded,
    "rediscluster": _redis_cluster,
}

MIXTURES: Final = (
    "memory",
    "workers",
    "pubsub:madang-madang",
    "pubsub:madang-node",
    "pubsub:node-madang",
    "pattern:madang-madang",
    "postgres:madang-madang",
    "postgres:madang-node",
    "postgres:node-madang",
    "nats:madang-madang",
    "streams:madang-madang",
    "streams:madang-node",
    "streams:node-madang",
    "sharded:madang-madang",
    "sharded:madang-node",
    "sharded:node-madang",
    "rediscluster:madang-madang",
    "rediscluster:madang-node",
)
SPREAD: Final = tuple(mixture for mixture in MIXTURES if ":" in mixture)
"""Those with something between two servers."""

WITH_NODE: Final = tuple(mixture for mixture in SPREAD if "node" in mixture)
NODE_EMITTER: Final = tuple(mixture for mixture in WITH_NODE if mixture.startswith("pubsub:"))
"""Those for which Node has an emitter, which Node's servers understand: not so that for PostgreSQL."""

ASKING: Final = tuple(mixture for mixture in MIXTURES if ":node-" not in mixture and mixture != "postgres:madang-node")
"""Those in which a server of ours asks."""
