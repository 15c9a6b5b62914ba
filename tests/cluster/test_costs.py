"""What a cluster costs: who gets what, and what is done once however many there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import madang
from madang.adapters.adapter import BroadcastOptions
from madang.adapters.redis.pubsub_wire import KEPT, BroadcastPacker, Channels
from tests.budgets.counting import Client as RawClient
from tests.budgets.counting import Counted, clients
from tests.cluster.redis import Redis
from tests.hosts import listening
from tests.interop.ways import Heard, until

NODES = 16


@asynccontextmanager
async def cluster(
    redis: Redis, count: int, settings: Any = madang.RedisAdapter, **options: Any
) -> AsyncIterator[tuple[list[madang.Server], list[str]]]:
    """Some servers, and where they listen."""
    servers = [madang.Server(adapter=settings(redis.url, **options)) for _ in range(count)]
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(listening(io)) for io in servers]
        for io in servers:
            await io.adapter.settled()
        yield servers, urls


@pytest.mark.feature("S22")
@pytest.mark.parametrize(
    ("settings", "command", "own"),
    [(madang.RedisAdapter, "PUBLISH", True), (madang.ShardedRedisAdapter, "SPUBLISH", False)],
    ids=["pubsub", "sharded"],
)
async def test_sixteen_servers_and_one_member(redis: Redis, settings: Any, command: str, own: bool):
    """Of 16 servers only the one with a member gets what is for its room; the other 15 do nothing at all."""
    async with cluster(redis, NODES, settings) as (servers, urls):
        ticks = Heard()
        async with madang.connect(urls[-1], transports=["websocket"]) as client:
            client.on("tick", ticks)
            await until(lambda: len(servers[-1].sockets) == 1)
            servers[-1].sockets_join("room")
            await servers[-1].adapter.settled()
            before = [io.adapter_health for io in servers]
            for number in range(100):
                servers[0].to("room").emit("tick", number)
                if own:  # sharded, the rooms of single sockets have no channels, as in Node
                    servers[0].to(client.id).emit("tick", number)
            await ticks.count(100 * (1 + own))
            after = [io.adapter_health for io in servers]
            assert (
                redis.client.execute_command(command, "socket.io#/#room#", b"") == 1
            )  # Redis itself says to how many it goes
        got = [now.received - then.received for now, then in zip(after, before, strict=True)]
        parsed = [now.parsed - then.parsed for now, then in zip(after, before, strict=True)]
        assert got == parsed == [0] * (NODES - 1) + [100 * (1 + own)]
        assert all(now.unwanted == 0 for now in after)


@pytest.mark.feature("S22")
async def test_patterns(redis: Redis):
    """With patterns, as in Node, a message for other servers' rooms comes, and is dropped by its channel's name."""
    async with cluster(redis, 3, routing="pattern") as (servers, urls):
        ticks = Heard()
        async with madang.connect(urls[-1], transports=["websocket"]) as client:
            client.on("tick", ticks)
            await until(lambda: len(servers[-1].sockets) == 1)
            servers[-1].sockets_join("room")
            before = [io.adapter_health.parsed for io in servers]
            for _ in range(100):
                servers[0].to("room").emit("tick")
            await ticks.count(100)
            await until(lambda: servers[1].adapter_health.unwanted == 100)
            after = [io.adapter_health.parsed for io in servers]
        joins = 1  # the others were told of `sockets_join`, for sockets of theirs
        assert [now - then for now, then in zip(after, before, strict=True)] in ([joins, joins, 100], [0, 0, 100])


@pytest.mark.feature("S22", "S21")
async def test_subscriptions_follow_the_rooms(redis: Redis):
    """A server subscribes to what it holds and to nothing else, and to nothing of it once its sockets are gone."""

    def channels() -> set[str]:
        return {name.decode() for name in redis.client.pubsub_channels("socket.io#*")}

    async with cluster(redis, 1) as ((io,), (url,)):
        assert channels() == {"socket.io#/#"}
        async with madang.connect(url, transports=["websocket"]) as one:
            async with madang.connect(url, transports=["websocket"], force_new=True) as two:
                await until(lambda: len(io.sockets) == 2)
                io.sockets_join("a", "b", 3)
                io.in_(one.id).sockets_leave("b")
                await io.adapter.settled()
                own = {f"socket.io#/#{name}#" for name in (one.id, two.id)}
                rooms = {f"socket.io#/#{name}#" for name in ("a", "b", 3)}
                assert channels() == {"socket.io#/#", *own, *rooms}
                io.sockets_leave("a")
                io.sockets_join("c")
                io.sockets_leave("c")
                await io.adapter.settled()
                assert channels() == {"socket.io#/#", *own, *rooms} - {"socket.io#/#a#"}
            await until(lambda: len(io.sockets) == 1)
            await io.adapter.settled()
            assert channels() == {"socket.io#/#", f"socket.io#/#{one.id}#", "socket.io#/#3#"}
        await until(lambda: not io.sockets)
        io.of("/other")
        await io.adapter.settled()
        assert channels() == {"socket.io#/#", "socket.io#/other#"}
        io.remove("/other")
        await io.adapter.settled()
        assert channels() == {"socket.io#/#"}


def _times(calls: Counter[str], function: str) -> int:
    return sum(
        count for name, count in calls.items() if name.endswith((f".{function}", f":{function}")) or name == function
    )


@pytest.mark.feature("N15", "S5")
def test_encoded_once(redis: Redis):
    """A broadcast is encoded once as JSON and once as MessagePack by who sends it, and once as JSON by who gets it."""
    here, there = (madang.Server(adapter=redis.url) for _ in range(2))
    there.on("connection", lambda socket: socket.join("room"))
    here.on("connection", lambda socket: socket.join("room"))
    with (
        Counted(here) as sender,
        Counted(there) as receiver,
        clients(sender.url, 5) as ours,
        clients(receiver.url, 50) as theirs,
    ):
        _settle(sender, here)
        _settle(receiver, there)
        _deliver(sender, here, [*ours, *theirs])
        with sender.counting() as sending, receiver.counting() as receiving:
            sender.tasks_made = receiver.tasks_made = 0
            _deliver(sender, here, [*ours, *theirs])
            assert sender.tasks_made == receiver.tasks_made == 0
    assert _times(sending, "encode_event") == 1
    assert _times(sending, "BroadcastPacker.pack") == 1
    assert _times(sending, "wire.py:pack") == 1  # the values; the name of the room is known
    assert _times(sending, "decode_broadcast") == 0
    assert _times(receiving, "decode_broadcast") == _times(receiving, "encode_event") == 1
    assert _times(receiving, "pack") == 0


def _settle(counted: Counted, io: madang.Server) -> None:
    asyncio.run_coroutine_threadsafe(io.adapter.settled(), counted.loop).result(10)


def _deliver(sender: Counted, io: madang.Server, members: list[RawClient]) -> None:
    sender.inside(lambda: io.to("room").emit("news", {"a": [1, 2, 3]}))
    for member in members:
        member.until(b'["news"')


def test_rooms_of_the_past_are_forgotten():
    """What is kept of the names of rooms that messages went to has a bound, and is right after it was reached."""
    packer = BroadcastPacker("server", "/", Channels("key", "/"))
    for number in range(2 * KEPT + 10):
        options = BroadcastOptions(frozenset((f"room {number}",)))
        channel, payload = packer.pack(["x"], options, True)
        assert channel == b"key#/#room %d#" % number
        assert (channel, payload) == packer.pack(["x"], options, True)
    assert 0 < len(packer._rooms) <= KEPT
