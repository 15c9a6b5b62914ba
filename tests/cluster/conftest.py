"""Clusters for the tests: two servers over a real Redis, in all mixtures, and a single one in memory."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

import madang
from madang.adapters.local import LocalCluster
from tests.cluster.peers import KEY, MadangPeer, NodePeer, NodeServer, Peer
from tests.cluster.redis import Redis
from tests.hosts import listening
from tests.interop.ways import until
from tests.server.conftest import driver, js
from tests.server.javascript import Client, Js

__all__ = ["driver", "js"]

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
def node_server(node: str, shared_redis: Redis) -> Iterator[NodeServer]:
    """Node's own server with its own Redis adapter."""
    server = NodeServer(node, shared_redis.url)
    yield server
    server.close()


class Pair:
    """Two servers of a cluster, `here` and `there`, and a client of each; alone, both are the same server.

    Attributes:
        mixture: the two kinds, or ``"memory"``.
        others: how many other servers each of them has.
        first, second: the clients of `here` and of `there`.
    """

    def __init__(self, mixture: str, here: Peer, there: Peer, first: Client, second: Client) -> None:
        self.mixture = mixture
        self.here, self.there = here, there
        self.first, self.second = first, second
        self.others = int(here is not there)

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


MIXTURES: Final = ("memory", "workers", "madang-madang", "madang-node", "node-madang", "pattern")


@pytest.fixture(params=MIXTURES)
async def pair(request: pytest.FixtureRequest, js: Js) -> AsyncIterator[Pair]:
    """Each mixture in turn; ``pattern`` is two of madang's that listen as Node does, ``workers`` need no Redis."""
    mixture: str = request.param
    name = f"/t{next(_names)}"
    async with AsyncExitStack() as stack:
        if mixture == "memory":
            here: Peer = await _madang(stack, None, name)
            there = here
        elif mixture == "workers":
            folder = request.getfixturevalue("tmp_path")
            here, there = [await _worker(stack, folder, number, name) for number in range(2)]
        else:
            redis: Redis = request.getfixturevalue("shared_redis")
            kinds = ("madang", "madang") if mixture == "pattern" else mixture.split("-")
            server = request.getfixturevalue("node_server") if "node" in kinds else None
            routing: Any = "pattern" if mixture == "pattern" else "room"
            here, there = [
                await _node(server, name)
                if kind == "node" and server is not None
                else await _madang(stack, madang.RedisAdapter(redis.url, key=KEY, routing=routing), name)
                for kind in kinds
            ]
            request_channel = f"{KEY}-request#{name}#"
            await until(lambda: redis.client.pubsub_numsub(request_channel)[0][1] == 2)
        for peer in (here, there):
            await peer.settled()
        first, second = [await js.connect(peer.url, "") for peer in (here, there)]
        pair = Pair(mixture, here, there, first, second)
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
