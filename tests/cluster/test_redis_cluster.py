"""A real Redis Cluster between the servers: slots that move, masters that fail, and how servers and emitters follow."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import madang
from madang.adapters.redis.connection import RedisConnection
from madang.adapters.requests import Question
from madang.cli.main import main
from tests.cluster.redis import Redis, RedisNodes
from tests.cluster.test_faults import Member, talks
from tests.cluster.waiting import PATIENCE
from tests.conftest import Leaks
from tests.hosts import listening
from tests.interop.ways import Heard, until
from tests.server.javascript import soon

QUICK: dict[str, Any] = {"transports": ["websocket"], "force_new": True}
ROOM = "socket.io#/#room#"


class Nodes:
    """A Redis Cluster, as `Member` wants it."""

    def __init__(self, nodes: RedisNodes, settings: Any = madang.ShardedRedisAdapter) -> None:
        self.nodes = nodes
        self._settings = settings

    def adapter(self, **options: Any) -> Any:
        return self._settings(self.nodes.url(), **options)


@asynccontextmanager
async def members(nodes: Nodes, count: int = 2, **options: Any) -> AsyncIterator[list[Member]]:
    """Some servers, each with a client."""
    cluster = [Member(nodes, **options) for _ in range(count)]  # type: ignore[arg-type]
    async with asyncio.timeout(40):
        for member in cluster:
            member.running = await member.io.start(port=0)  # type: ignore[attr-defined]
            member.client = madang.Client(member.running.url, **QUICK)  # type: ignore[attr-defined]
            member.client.on("tick", member.ticks)  # type: ignore[attr-defined]
            await member.client.connect()  # type: ignore[attr-defined]
            await member.well()
        try:
            yield cluster
        finally:
            for member in cluster:
                await member.client.close()  # type: ignore[attr-defined]
                await member.running.stop()  # type: ignore[attr-defined]


@pytest.fixture
def both(redis_nodes: RedisNodes) -> Nodes:
    return Nodes(redis_nodes)


@pytest.mark.feature("S25", "S9")
async def test_slots_that_move(shared_redis_nodes: RedisNodes):
    """A room's slot moves between masters under traffic: what is sent arrives once and in order, or a gap is told."""
    nodes = shared_redis_nodes
    async with members(Nodes(nodes)) as (a, b):
        await talks(a, b)
        home = nodes.owner(ROOM)
        others = [node for node in nodes.nodes if node is not home]
        ticks = itertools.count()
        sent: list[int] = []

        async def traffic() -> None:
            while True:
                for _ in range(20):
                    sent.append(next(ticks))
                    a.io.to("room").emit("tick", sent[-1])
                await asyncio.sleep(0.002)

        sending = asyncio.ensure_future(traffic())
        for to in (*others, home):
            await asyncio.to_thread(nodes.move, ROOM, to)
            await until_listening(nodes, to, a, b)
            await talks(a, b)
        sending.cancel()
        await talks(a, b)
        arrived = [tick for tick in b.got if isinstance(tick, int)]
        assert arrived == sorted(set(arrived))
        await until(lambda: len([tick for tick in a.got if isinstance(tick, int)]) == len(sent))
        assert b.gaps_of("in")
        assert "moved" in b.gaps_of("in")[0].reason
        assert a.gaps_of("out") == []  # what one master refuses goes to the other one, before what comes later
        await a.well()
        assert a.health.lost == a.health.queued == 0


@pytest.mark.feature("S25", "S9", "S18")
async def test_a_master_is_killed(both: Nodes):
    """When a room's master dies its replica takes over; messages wait meanwhile, and the gaps are told."""
    nodes = both.nodes
    async with members(both) as (a, b):
        await talks(a, b)
        victim = nodes.owner(ROOM)
        victim.kill()
        await until(lambda: not a.health.receiving and not b.health.receiving)
        for number in range(100):
            a.io.to("room").emit("tick", number)
        await until(lambda: a.got[-100:] == list(range(100)))
        await a.well()
        await b.well()
        await talks(a, b)
        await a.well()
        assert a.health.queued == a.health.lost == 0
        assert a.gaps_of("in")
        assert b.gaps_of("in")
        arrived = [tick for tick in b.got if isinstance(tick, int)]
        assert arrived == list(range(100 - len(arrived), 100))
        assert await a.io.server_count() == 2
        assert len(await a.io.fetch_sockets()) == 2
        await asyncio.to_thread(nodes.heal)  # it comes back as a replica
        assert victim.client.execute_command("ROLE")[0] == b"slave"
        await talks(a, b)


@pytest.mark.feature("S25", "S18")
async def test_a_master_freezes_under_load(both: Nodes):
    """Of 10 000 messages while a master is frozen and replaced, none arrives twice or out of order; losses are told."""
    nodes = both.nodes
    async with members(both) as (a, b):
        await talks(a, b)
        victim = nodes.owner(ROOM)
        for number in range(10_000):
            a.io.to("room").emit("tick", number)
            if number == 3_000:
                victim.freeze()
            if number % 100 == 0:
                await asyncio.sleep(0)
        new = await until_replaced(nodes, victim)
        await until(lambda: new.client.execute_command("PUBSUB", "SHARDNUMSUB", ROOM)[1] == 2)
        for member in (a, b):
            await until(lambda member=member: bool(member.gaps_of("in")))
            await member.well()
        await talks(a, b)
        arrived = [tick for tick in b.got if isinstance(tick, int)]
        assert arrived == sorted(set(arrived))
        victim.thaw()  # which may now deliver, late, what had been sent to it
        await talks(a, b)
        arrived = [tick for tick in b.got if isinstance(tick, int)]
        assert len(arrived) == len(set(arrived))
        assert a.gaps_of("in")
        assert b.gaps_of("in")
        assert a.health.lost == 0
        (begin, end) = a.gaps_of("out")  # what had been written when it froze, and never confirmed
        assert (begin.over, end.over, end.lost) == (False, True, 0)
        assert end.uncertain > 0


async def until_master(nodes: RedisNodes, replica: Redis) -> None:
    """Wait until a replica has taken over; the other masters may refuse their vote at first, so it asks again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for _ in range(100):
                if nodes.owner(ROOM, replica) is replica:
                    return
                await asyncio.sleep(0.01)
            nodes.run(replica, "FAILOVER")


async def until_listening(nodes: RedisNodes, node: Redis, *cluster: Member) -> None:
    """Wait until a node has the room and both servers listen there, as it says itself, and they have settled."""
    await until(lambda: nodes.owner(ROOM) is node)
    await until(lambda: node.client.execute_command("PUBSUB", "SHARDNUMSUB", ROOM)[1] == len(cluster))
    for member in cluster:
        await until(lambda member=member: bool(member.gaps_of("in")))
        await member.well()


async def until_replaced(nodes: RedisNodes, victim: Redis) -> Redis:
    """The node that has the room's slot, once another one has it."""
    slots = [node for node in nodes.nodes if node is not victim]
    while True:
        found = [one for one in slots if nodes.owner(ROOM, one) is one]
        if found:
            return found[0]
        await asyncio.sleep(0.02)


@pytest.mark.feature("S25", "S21")
async def test_nothing_is_left(both: Nodes, leaks: Leaks):
    """A cluster that has talked, asked and been moved about leaves no task and no connection behind."""
    nodes = both.nodes

    def connections() -> int:
        return sum(len(node.client.client_list()) for node in nodes.nodes)

    before = connections()
    async with leaks(Question, RedisConnection), members(both) as (a, b):
        await talks(a, b)
        await a.io.fetch_sockets()
        home = nodes.owner(ROOM)
        away = next(node for node in nodes.masters() if node is not home)
        for to in (away, home):
            await asyncio.to_thread(nodes.move, ROOM, to)
            await until_listening(nodes, to, a, b)
            await talks(a, b)
    await until(lambda: connections() == before)


@pytest.mark.feature("S25")
async def test_one_node_is_no_redis(shared_redis_nodes: RedisNodes, caplog: pytest.LogCaptureFixture):
    """Who names a node of a Redis Cluster as if it were alone is told how to name it."""
    url = shared_redis_nodes.nodes[0].url.replace("redis:", "redis+sharded:")
    async with listening(madang.Server(adapter=url)):
        await until(lambda: "redis+cluster://" in caplog.text)


@pytest.mark.feature("S25", "S9")
async def test_a_replica_takes_over(both: Nodes):
    """A master hands over to its replica, as for maintenance: nothing is lost on the way out, and all goes on."""
    nodes = both.nodes
    async with members(both) as (a, b):
        await talks(a, b)
        old = nodes.owner(ROOM)
        replica = nodes.replica(old)
        nodes.run(replica, "FAILOVER")
        for number in range(1000):
            a.io.to("room").emit("tick", number)
            if number % 50 == 0:
                await asyncio.sleep(0.005)
        await until_master(nodes, replica)
        await until_listening(nodes, replica, a, b)
        await talks(a, b)
        arrived = [tick for tick in b.got if isinstance(tick, int)]
        assert arrived == sorted(set(arrived))
        assert a.health.lost == 0
        assert len(arrived) == 1000 or b.gaps_of("in")


@pytest.mark.feature("S25")
async def test_one_way_through_the_cluster(shared_redis_nodes: RedisNodes):
    """With a key in braces all channels are on one node, and everything keeps its order."""
    async with members(Nodes(shared_redis_nodes), key="{chat}") as (a, b):
        for number in range(300):
            a.io.to("room" if number % 3 else []).emit("tick", number)
        await until(lambda: len(b.got) == 300)
        assert b.got == list(range(300))


@pytest.mark.feature("S25")
async def test_plain_pub_sub(both: Nodes):
    """Pub/sub that is not sharded goes over a Redis Cluster as well; servers are counted over all nodes."""
    nodes = both.nodes
    foreign = nodes.replica(nodes.owner(ROOM)).client.pubsub()
    try:
        async with members(Nodes(nodes, madang.RedisAdapter)) as (a, b):
            await talks(a, b)
            assert await a.io.server_count() == 2
            assert len(await a.io.fetch_sockets()) == 2
            foreign.subscribe("socket.io-request#/#")  # a server of Node's may listen on any node, also on a replica
            assert foreign.get_message(timeout=5)["type"] == "subscribe"
            assert await a.io.server_count() == 3
            foreign.unsubscribe()
            while foreign.get_message(timeout=5)["type"] != "unsubscribe":
                pass  # a message that had come before
            listening_at = [
                node for node in nodes.nodes if node.client.execute_command("PUBSUB", "NUMSUB", ROOM)[1] == 2
            ]
            (home,) = listening_at
            home.kill()
            await until(lambda: not a.health.receiving and not b.health.receiving)
            a.io.to("room").emit("tick", "meanwhile")
            await a.well()
            await b.well()
            await talks(a, b)
            await a.well()
            assert a.health.queued == a.health.lost == 0
            assert a.gaps_of("in")
            assert b.gaps_of("in")
    finally:
        foreign.close()


@pytest.mark.feature("S25", "S18")
async def test_started_before_the_nodes(shared_redis_nodes: RedisNodes):
    """One node that lives is enough to find the others; while none answers, what is for other servers waits."""
    nodes = shared_redis_nodes
    known = nodes.url("redis+sharded+cluster").replace("://", "://127.0.0.1:1,")
    io, nowhere = madang.Server(adapter=known), madang.Server(adapter="redis+sharded+cluster://127.0.0.1:1")
    async with listening(io), listening(nowhere):
        await soon(io.adapter.settled(), "a settled adapter")
        assert io.adapter_health.connected
        nowhere.emit("news")
        await until(lambda: nowhere.adapter_health.queued == 1)
        assert not nowhere.adapter_health.connected
    assert nowhere.adapter_health.lost == 1


@pytest.mark.feature("T5", "S25")
async def test_emitters(shared_redis_nodes: RedisNodes, capsys: pytest.CaptureFixture[str]):
    """Emitters find the node of each room, in a loop, without one, and on the command line."""
    url = shared_redis_nodes.url("redis+sharded+cluster")
    io = madang.Server(adapter=url)
    rooms = [f"room {number}" for number in range(8)]
    io.on("connection", lambda socket: [socket.join(room) for room in rooms] and None)
    async with listening(io) as address, madang.connect(address, **QUICK) as client:
        heard = Heard()
        client.on("news", heard)
        assert len(await io.in_(rooms[0]).fetch_sockets()) == 1
        await io.adapter.settled()
        async with madang.Emitter(url) as emitter:
            for room in rooms:
                emitter.to(room).emit("news", room)
            await emitter.drained()
        await heard.count(8)

        def blocking() -> None:
            with madang.SyncEmitter(url) as sync:
                for room in rooms:
                    sync.to(room).emit("news", room)
                    assert sync.receivers == 1

        await asyncio.to_thread(blocking)
        await heard.count(16)
        assert await asyncio.to_thread(main, ["emit", url, "--to", rooms[3], "news", "1"]) == 0
        assert capsys.readouterr().out == "1 server listened\n"
        await heard.count(17)
        assert sorted(str(args[0]) for args in heard.all) == sorted([*rooms, *rooms, "1"])
    assert await asyncio.to_thread(main, ["emit", "redis+sharded+cluster://127.0.0.1:1", "news"]) == 1
    assert "Redis did not take the message" in capsys.readouterr().err


@pytest.mark.feature("S25", "A16")
@pytest.mark.parametrize(
    "url",
    ["redis+cluster://host/1", "redis+cluster+sentinel://host/1", "redis+cluster://", "redis+cluster://host:port",
     "redis+sentinel://host", "unix+cluster://host", "redis+nonsense://host", "redis+sharded://h?subscription_mode=no",
     "redis+sharded://h?routing=room"],
)  # fmt: skip
def test_urls_that_cannot_be(url: str):
    """What cannot be understood is refused when the server is made."""
    with pytest.raises(madang.OptionError):
        madang.Server(adapter=url)
