"""Clusters for the tests: two servers over a real Redis, in all mixtures, and a single one in memory."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

import madang
from madang.adapters.local import LocalCluster
from tests.cluster.backings import BACKINGS, MIXTURES, Backing
from tests.cluster.brokers import Nats, Postgres
from tests.cluster.peers import MadangPeer, NodePeer, NodeServer, Peer
from tests.cluster.redis import Redis, RedisNodes
from tests.hosts import listening
from tests.server.conftest import driver, js
from tests.server.javascript import Client, Js

__all__ = ["driver", "js"]

WORKERS: Final = 4

_names = itertools.count(1)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis to which nothing bad happens."""
    redis = Redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    yield redis
    redis.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of the test's own, which may be killed."""
    redis = Redis(tmp_path)
    redis.start()
    yield redis
    redis.close()


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[Path]:
    """The data of a PostgreSQL that is new."""
    postgres = Postgres()
    yield postgres.folder
    postgres.close()


@pytest.fixture(scope="session")
def shared_postgres(postgres_template: Path) -> Iterator[Postgres]:
    """A PostgreSQL to which nothing bad happens."""
    postgres = Postgres(postgres_template)
    postgres.start()
    yield postgres
    postgres.close()


@pytest.fixture(scope="session")
def mortal_postgres(postgres_template: Path) -> Iterator[Postgres]:
    """A PostgreSQL for all tests that kill it."""
    postgres = Postgres(postgres_template)
    yield postgres
    postgres.close()


@pytest.fixture
def postgres(mortal_postgres: Postgres) -> Postgres:
    """A PostgreSQL that may be killed, and runs."""
    if mortal_postgres.runs:
        mortal_postgres.thaw()
    else:
        mortal_postgres.start()
    return mortal_postgres


@pytest.fixture(scope="session")
def shared_nats() -> Iterator[Nats]:
    """A NATS to which nothing bad happens."""
    nats = Nats()
    nats.start()
    yield nats
    nats.close()


@pytest.fixture
def nats() -> Iterator[Nats]:
    """A NATS of the test's own, which may be killed."""
    nats = Nats()
    nats.start()
    yield nats
    nats.close()


@pytest.fixture(scope="session")
def shared_redis_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNodes]:
    """A Redis Cluster of three masters, to which nothing bad happens."""
    nodes = RedisNodes(tmp_path_factory.mktemp("nodes"))
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


@pytest.fixture(scope="module")
def _redis_replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNodes]:
    nodes = RedisNodes(tmp_path_factory.mktemp("replicas"), replicas=True)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
def redis_nodes(_redis_replicas: RedisNodes) -> RedisNodes:
    """A Redis Cluster, three masters with a replica each, which may be killed: it is healed for the next test."""
    _redis_replicas.heal()
    return _redis_replicas


@pytest.fixture(scope="session")
def node_servers(node: str) -> Iterator[Callable[[Backing], NodeServer]]:
    """Node's own server with its own adapter, for each backing; one process serves all tests."""
    servers: dict[str, NodeServer] = {}

    def server_for(backing: Backing) -> NodeServer:
        if backing.name not in servers:
            servers[backing.name] = NodeServer(node, *backing.node)
        return servers[backing.name]

    yield server_for
    for server in servers.values():
        server.close()


class Pair:
    """Two servers of a cluster, `here` and `there`, and a client of each; alone, both are the same server.

    Attributes:
        mixture: the two kinds, or ``"memory"``.
        backing: what is between them; None if that is nothing.
        others: how many other servers each of them has.
        first, second: the clients of `here` and of `there`.
    """

    def __init__(
        self, mixture: str, backing: Backing | None, here: Peer, there: Peer, first: Client, second: Client, others: int
    ) -> None:
        self.mixture = mixture
        self.backing = backing
        self.here, self.there = here, there
        self.first, self.second = first, second
        self.others = others

    async def settled(self) -> None:
        """Wait until what either has done is known to Redis, so that the other can reach it."""
        await self.here.settled()
        await self.there.settled()

    async def joined(self, second: Any = (), first: Any = ()) -> None:
        """Let the clients join rooms, and wait until that is so, seen from everywhere."""
        for client, rooms in ((self.first, first), (self.second, second)):
            if rooms:
                await self.here.join(*rooms, rooms=[client.id])
        for client, rooms in ((self.first, first), (self.second, second)):
            await self.until_rooms(client, set(rooms))
        await self.settled()

    async def until_rooms(self, client: Client, rooms: Any = frozenset(), without: Any = frozenset()) -> None:
        """Wait until a socket is in rooms, and not in others."""
        while True:
            there = (await self.there.fetch())[client.id]["rooms"]
            if rooms <= there and not without & there:
                return


@pytest.fixture(params=MIXTURES)
async def pair(request: pytest.FixtureRequest, js: Js) -> AsyncIterator[Pair]:
    """Each mixture in turn; ``workers`` are four, and need nothing between them."""
    mixture: str = request.param
    name = f"/t{next(_names)}"
    backing: Backing | None = None
    others = 1
    async with AsyncExitStack() as stack:
        if mixture == "memory":
            here: Peer = await _madang(stack, None, name)
            there, others = here, 0
        elif mixture == "workers":
            folder = request.getfixturevalue("tmp_path")
            here, there, *_ = [await _worker(stack, folder, number, name) for number in range(WORKERS)]
            others = WORKERS - 1
        else:
            between, kinds = mixture.split(":")
            backing = BACKINGS[between](request)
            here, there = [
                await _node(request.getfixturevalue("node_servers")(backing), name)
                if kind == "node"
                else await _madang(stack, backing.adapter(), name)
                for kind in kinds.split("-")
            ]
            await backing.together(name, [here, there])
        for peer in (here, there):
            await peer.settled()
        first, second = [await js.connect(peer.url, "") for peer in (here, there)]
        pair = Pair(mixture, backing, here, there, first, second, others)
        await pair.settled()
        yield pair


async def _madang(stack: AsyncExitStack, adapter: Any, name: str) -> MadangPeer:
    io = madang.Server(adapter=adapter)
    return MadangPeer(io, await stack.enter_async_context(listening(io)), name)


async def _worker(stack: AsyncExitStack, folder: Path, number: int, name: str) -> MadangPeer:
    io, lines = madang.Server(), LocalCluster(folder, number)
    assert io.spread_with(lines)
    await lines.opened()
    return MadangPeer(io, await stack.enter_async_context(listening(io)), name)


async def _node(server: NodeServer, name: str) -> NodePeer:
    peer = NodePeer(server, name)
    await peer.open()
    return peer
