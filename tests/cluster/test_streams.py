"""Redis streams: the entries beside those of Node's adapter for the same call, and what may happen to the stream."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import madang
from madang.adapters.redis.connection import RedisConnection
from madang.adapters.redis.streams_wire import java_hash, stream_of, streams_of
from tests.cluster.conftest import Pair
from tests.cluster.peers import KEY, NodePeer, NodeServer
from tests.cluster.redis import Redis
from tests.cluster.test_faults import POISON, Broker, Member, talks
from tests.cluster.test_faults import members as any_members
from tests.cluster.test_sentinel import Behind, Sentinels, sentinels
from tests.conftest import Leaks
from tests.interop.ways import Heard, until

__all__ = ["sentinels"]

KEPT = ("--appendonly", "yes", "--appendfsync", "always")
"""The options of a Redis that loses nothing when it is killed."""

MESSAGES: list[dict[str, Any]] = [
    {"args": ["news"]},
    {"args": ["news", 1, -1, 200, -200, 70_000, 2**33, 1.5, True, None, "가나다 \u2028", "x" * 300]},
    {"args": ["news", {"a": [1, {"b": "c"}], "list": list(range(20))}, b"\x00\xff" * 200]},
    {"args": ["news"], "rooms": ["a"]},
    {"args": ["news"], "rooms": [42]},
    {"args": ["news"], "except_": ["b"]},
    {"args": ["news"], "flags": ["volatile"]},
    {"args": ["news"], "flags": ["compress"]},
]

mixed = pytest.mark.parametrize("pair", ["streams:madang-node"], indirect=True)


def name_of(pair: Pair) -> str:
    return pair.here.url[pair.here.url.rindex("/") :]


def entries(redis: Redis, nsp: str, stream: str = KEY) -> list[dict[str, str]]:
    """The entries of a namespace, without ids, and without the names of servers."""
    found = [entry for _, entry in redis.client.xrange(stream) if entry[b"nsp"] == nsp.encode()]
    for entry in found:
        assert list(entry) == [b"uid", b"nsp", b"type", b"data"]
        if re.fullmatch(b"[0-9a-f]{16}", entry[b"uid"]):
            del entry[b"uid"]
    return [{name.decode(): value.decode() for name, value in entry.items()} for entry in found]


@mixed
@pytest.mark.feature("S10", "S19")
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: "-".join(message))
async def test_broadcasts(pair: Pair, shared_redis: Redis, message: dict[str, Any]):
    """A broadcast has the fields that Node gives it, byte for byte."""
    whom = {name: message[name] for name in ("rooms", "except_", "flags") if name in message}
    for peer in (pair.here, pair.there):
        await peer.emit(*message["args"], **whom)
        await peer.settled()
    await until(lambda: len(entries(shared_redis, name_of(pair))) == 2)
    ours, theirs = entries(shared_redis, name_of(pair))
    assert ours == theirs


@mixed
@pytest.mark.feature("S10", "S19")
@pytest.mark.parametrize(
    ("do", "args", "whom"),
    [
        ("join", ("x", "y"), {"rooms": ["nobody"]}),
        ("leave", ("x",), {"rooms": ["nobody"], "except_": ["b"]}),
        ("disconnect", (True,), {"rooms": ["nobody"]}),
        ("disconnect", (), {"rooms": ["nobody"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_commands(pair: Pair, shared_redis: Redis, do: str, args: Any, whom: Any):
    """So has a command."""
    for peer in (pair.here, pair.there):
        await getattr(peer, do)(*args, **whom)
        await peer.settled()
    await until(lambda: len(entries(shared_redis, name_of(pair))) == 2)
    ours, theirs = entries(shared_redis, name_of(pair))
    assert ours == theirs


@mixed
@pytest.mark.feature("S10", "S19", "M10")
async def test_questions_and_answers(pair: Pair, shared_redis: Redis):
    """Questions and answers go over the channels that Node's adapter has for them, in MessagePack with its keys."""
    await pair.first.reply("ask", {"a": 1})
    await pair.second.reply("ask", {"a": 1})
    pubsub = shared_redis.client.pubsub()
    pubsub.psubscribe(f"{KEY}#{name_of(pair)}#*")
    assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
    asking = (("fetch", ()), ("query", ("sum", 1, 2)), ("ask", ("ask",)))
    for do, args in asking:
        seen: list[list[Any]] = []
        for peer in (pair.here, pair.there):
            await getattr(peer, do)(*args)
            count = 3 if do == "ask" else 2
            seen.append([shape(await asyncio.to_thread(pubsub.get_message, timeout=5)) for _ in range(count)])
        assert seen[0] == seen[1]
    pubsub.close()


def shape(message: Any) -> tuple[Any, ...]:
    """What does not differ from one question to the next."""
    facts = msgspec.msgpack.decode(message["data"])
    assert set(facts) == {"uid", "nsp", "type", "data"}
    assert re.fullmatch("[0-9a-f]{16}", facts["uid"])
    channel = re.sub(b"[0-9a-f]{16}", b"uid", message["channel"])
    return channel, facts["type"], set(facts["data"]), facts["data"].get("packet"), facts["data"].get("clientCount")


@pytest.mark.feature("S11", "S19")
async def test_several_streams(redis: Redis, node: str):
    """Namespaces are spread over streams by Node's hash; one whose hash is negative works too, in both directions."""
    assert [stream_of("s", 4, name) for name in ("/", "/chat", "/products")] == [b"s-3", b"s-3", b"s-3"]
    assert streams_of("s", 2) == [b"s", b"s--1", b"s-0", b"s-1"]
    assert java_hash("/products") < 0
    node_server = NodeServer(node, "streams4", redis.url, "s")
    try:
        async with members(redis, count=1, stream_name="s", stream_count=4, channel_prefix="s") as (a,):
            for name in ("/", "/chat", "/products", "/😀"):
                peer = NodePeer(node_server, name)
                await peer.open()
                nsp = a.io.of(name)
                async with (
                    madang.connect(a.running.url + name, transports=["websocket"]) as client,
                    madang.connect(peer.url, transports=["websocket"]) as theirs,
                ):
                    await nsp.adapter.settled()
                    await until(lambda nsp=nsp: redis.client.pubsub_numsub(f"s#{nsp.name}#")[0][1] == 2)
                    await until(lambda: sum(one["cmd"] == "xread" for one in redis.client.client_list()) == 5)
                    ours, others = Heard(), Heard()
                    client.on("news", ours)
                    theirs.on("news", others)
                    nsp.emit("news", "ours")
                    await until(lambda others=others: ("ours",) in others.all)
                    await peer.emit("news", "theirs")
                    await until(lambda ours=ours: ("theirs",) in ours.all)
    finally:
        node_server.close()


@pytest.mark.feature("S10", "S19")
async def test_sharded_pub_sub(redis: Redis, node: str):
    """Questions and answers may go over sharded pub/sub, as Node's adapter has an option for."""
    node_server = NodeServer(node, "streamsS", redis.url, "s")
    try:
        peer = NodePeer(node_server, "/")
        await peer.open()
        options: dict[str, Any] = {"stream_name": "s", "channel_prefix": "s", "use_sharded_pub_sub": True}
        async with members(redis, **options) as (a, _):
            a.io.on_server_side("sum")(lambda *_: "ours")
            await until(lambda: redis.client.execute_command("PUBSUB", "SHARDNUMSUB", "s#/#")[1] == 3)
            assert await a.io.server_count() == await peer.count() == 3
            assert len(await a.io.fetch_sockets()) == len(await peer.fetch()) == 2
            assert {3, None} == set(await a.io.server_side_emit_with_ack("sum", 1, 2))
    finally:
        node_server.close()


class Streams(Broker):
    """A Redis whose streams are used."""

    def adapter(self, **options: Any) -> Any:
        return madang.RedisStreamsAdapter(self.redis.url, **options)


@asynccontextmanager
async def members(redis: Redis, count: int = 2, **options: Any) -> AsyncIterator[Any]:
    """Servers of a cluster over streams, each with a client."""
    async with any_members(Streams(redis, "streams"), count, **options) as cluster:
        yield cluster


def ticks(member: Member) -> list[int]:
    return [tick for tick in member.got if isinstance(tick, int)]


@pytest.mark.feature("S18", "S10")
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
async def test_restarted(redis: Redis, kept: bool):
    """After Redis is killed and started again reading goes on where it was; a stream that is gone is a gap."""
    if kept:
        redis.kill()
        redis.start(*KEPT)
    async with members(redis) as (a, b):
        await talks(a, b)
        redis.kill()
        await until(lambda: not a.health.receiving and not b.health.receiving)
        for number in range(20):
            a.io.to("room").emit("tick", number)
        await until(lambda: ticks(a) == list(range(20)))
        assert a.health.queued == 20
        redis.start(*(KEPT if kept else ()))
        await until(lambda: ticks(b) == list(range(20)))
        await a.well()
        await b.well()
        await talks(a, b)
        await a.well()
        assert a.health.queued == a.health.queued_bytes == a.health.lost == 0
        if kept:
            assert a.gaps == b.gaps == []
        else:
            (gap,) = b.gaps
            assert (gap.direction, gap.lost, gap.over) == ("in", None, True)
            assert "the stream socket.io" in gap.reason


@pytest.mark.feature("S18", "S10")
async def test_many_in_flight(redis: Redis):
    """Of 10 000 messages that are sent while Redis is frozen until it is given up, all arrive, once and in order."""
    async with members(redis, timeout=0.3) as (a, b):
        for number in range(10_000):
            a.io.to("room").emit("tick", number)
            if number == 5_000:
                redis.freeze()
            if number % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: not a.health.publishing and not b.health.receiving)
        redis.thaw()
        await until(lambda: len(ticks(b)) >= 10_000)
        await talks(a, b)
        assert ticks(a) == ticks(b) == list(range(10_000))
        assert a.gaps == b.gaps == []


@pytest.mark.feature("S18", "S10")
async def test_connections_killed(redis: Redis):
    """Connections that are killed while much is under way lose and double nothing."""
    async with members(redis) as (a, b):
        for number in range(5_000):
            a.io.to("room").emit("tick", number)
            if number % 20 == 0:
                await asyncio.sleep(0)
            if number % 500 == 0:
                await asyncio.to_thread(redis.client.execute_command, "CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: len(ticks(b)) >= 5_000)
        await talks(a, b)
        assert ticks(b) == list(range(5_000))
        assert a.gaps == b.gaps == []


@pytest.mark.feature("S18", "S10")
async def test_cut_off(redis: Redis):
    """If the stream was cut off in front of what a server had still to read, that is a gap."""
    async with members(redis) as (a, b):
        await talks(a, b)
        pipeline = redis.client.pipeline(transaction=False)
        pipeline.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        pipeline.xadd("socket.io", {"nsp": "/other"}, id="9999999999999-0")
        pipeline.xtrim("socket.io", minid="9999999999999-0", approximate=False).execute()
        await until(lambda: a.gaps and b.gaps)
        assert "begins later" in b.gaps[0].reason
        await talks(a, b)


@pytest.mark.feature("S18", "S10")
async def test_read_too_slowly(redis: Redis):
    """So it is if others add faster than a server reads."""
    async with members(redis, count=1, read_count=10) as (a,):
        redis.client.xadd("socket.io", {"nsp": "/other"})
        await until(lambda: a.health.unwanted == 1)
        for _ in range(2_000):  # the server does not read meanwhile: this call keeps the loop
            redis.client.xadd("socket.io", {"nsp": "/other"}, maxlen=100)
        await until(lambda: a.gaps)
        assert "faster than it was read" in a.gaps[0].reason


@pytest.mark.feature("S18", "S10")
async def test_more_than_may_wait(redis: Redis):
    """What waits for Redis is bounded, and what is more is told as lost."""
    async with members(redis, queue_limit=10) as (a, b):
        redis.kill()
        await until(lambda: not a.health.publishing and not b.health.receiving)
        for number in range(25):
            a.io.to("room").emit("tick", number)
        assert (a.health.queued, a.health.lost) == (10, 15)
        redis.start()
        await until(lambda: ticks(b) == list(range(10)))
        await until(lambda: [gap.over for gap in a.gaps if gap.direction == "out"] == [False, True])


@pytest.mark.feature("S23", "S10")
async def test_poison(redis: Redis, caplog: pytest.LogCaptureFixture):
    """Entries and messages that are garbage are counted, logged once, and do no harm."""
    strange: list[dict[bytes, bytes]] = [
        {b"uid": b"x", b"nsp": b"/", b"type": b"3", b"data": poison} for poison in POISON if poison
    ]
    strange += [
        {b"nsp": b"/"},
        {b"uid": b"\xff", b"nsp": b"/", b"type": b"3", b"data": b"{}"},
        {b"uid": b"x", b"nsp": b"/", b"type": b"x", b"data": b"{}"},
        {b"uid": b"x", b"nsp": b"/", b"type": b"3", b"data": b"!"},
        {b"uid": b"x", b"nsp": b"/", b"type": b"3"},
        {b"uid": b"x", b"nsp": b"/", b"type": b"3", b"data": b'{"packet":{"type":2,"data":["connect"]},"opts":{}}'},
    ]
    async with members(redis, max_message=200_000) as (a, b):
        with caplog.at_level(logging.WARNING, "madang.adapters"):
            for entry in strange:
                redis.client.xadd("socket.io", entry)
            for poison in POISON:
                redis.client.publish("socket.io#/#", poison)
            redis.client.xadd("socket.io", {"uid": "x", "nsp": "/", "type": "99", "data": "{}"})
            redis.client.xadd("socket.io", {"uid": "x", "nsp": "/nowhere", "type": "3", "data": "{"})
            await talks(a, b)
        assert a.health.poison == b.health.poison == len(strange) + len(POISON)
        assert len(caplog.records) == 2
        assert a.gaps == b.gaps == []


@pytest.mark.feature("S18", "S10")
async def test_refused_for_a_while(redis: Redis):
    """What Redis refuses because it is another's replica at present is sent again; what it refuses for good is lost."""
    async with members(redis) as (a, b):
        redis.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        a.io.to("room").emit("tick", 1)
        await until(lambda: not a.health.publishing)
        redis.client.execute_command("REPLICAOF", "NO", "ONE")
        await until(lambda: ticks(b) == [1])
        assert a.gaps == []
        redis.client.config_set("maxmemory", "1")
        a.io.to("room").emit("tick", 2)
        await until(lambda: a.health.lost == 1)
        redis.client.config_set("maxmemory", "0")
        await talks(a, b)


async def test_nothing_is_left(redis: Redis, leaks: Leaks):
    """A cluster over streams leaves no task, no timer and no connection behind."""
    connections = len(redis.client.client_list())
    async with leaks(RedisConnection), members(redis) as (a, b):
        await talks(a, b)
        await a.io.fetch_sockets()
        redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: not a.health.receiving)
        await a.well()
        await b.well()
    await until(lambda: len(redis.client.client_list()) == connections)


@pytest.mark.feature("T2", "S19")
async def test_emitter_entries(redis: Redis):
    """An emitter's entries are those of Node's: its name, the keys in its order, and one stream."""
    with madang.SyncEmitter(redis.url.replace("redis:", "redis+streams:")) as emitter:
        emitter.to("a").except_("b").emit("news", 1, {"x": None})
        emitter.of("/chat").volatile.emit("news", b"\x00")
        emitter.sockets_join("a")
        emitter.disconnect_sockets()
        emitter.server_side_emit("notice", 1)
        assert emitter.receivers is None
    found = entries(redis, "/", "socket.io")
    head = {"uid": "emitter", "nsp": "/"}
    packet = (
        '{"packet":{"type":2,"data":["news",1,{"x":null}],"nsp":"/"},"opts":{"rooms":["a"],"flags":{},"except":["b"]}}'
    )
    nobody = '"opts":{"rooms":[],"except":[],"flags":{}}'
    assert found == [
        {**head, "type": "3", "data": packet},
        {**head, "type": "4", "data": f'{{{nobody},"rooms":["a"]}}'},
        {**head, "type": "6", "data": f'{{{nobody},"close":false}}'},
        {**head, "type": "9", "data": '{"packet":["notice",1]}'},
    ]
    (other,) = entries(redis, "/chat", "socket.io")
    assert msgspec.msgpack.decode(base64.b64decode(other["data"])) == {
        "packet": {"type": 2, "data": ["news", b"\x00"], "nsp": "/chat"},
        "opts": {"rooms": [], "flags": {"volatile": True}, "except": []},
    }


@pytest.mark.feature("T2")
async def test_emitter_loses_nothing(redis: Redis):
    """What an emitter sends while Redis is killed and started again arrives once and in order."""
    redis.kill()
    redis.start(*KEPT)
    async with members(redis, count=1) as (a,):
        async with madang.Emitter(redis.url.replace("redis:", "redis+streams:")) as emitter:
            for number in range(3_000):
                emitter.to("room").emit("tick", number)
                if number == 1_500:
                    await asyncio.sleep(0.01)
                    redis.kill()
                    redis.start(*KEPT)
            await until(lambda: len(ticks(a)) >= 3_000)
            await emitter.drained()
        assert ticks(a) == list(range(3_000))


@pytest.mark.feature("A16")
@pytest.mark.parametrize(
    "adapter",
    ["redis+streams://localhost?stream_count=0", "redis+streams://localhost?max_len=x", "redis+streams://localhost:p",
     "redis+streams://localhost?key=x", "redis+streams://localhost?max_len=2.5"],
)  # fmt: skip
def test_adapters_that_cannot_be(adapter: str):
    """What cannot be an adapter over streams is refused when the server, or the emitter, is made."""
    with pytest.raises(madang.OptionError):
        madang.Server(adapter=adapter)
    with pytest.raises(madang.OptionError):
        madang.SyncEmitter(adapter)


@pytest.mark.feature("A16", "S17")
def test_options(tmp_path: Path):
    """The options may stand in the URL, whose scheme may say what is meant or not."""
    url = "unix+streams://x.sock?db=1&stream_name=s&stream_count=3&max_len=5"
    options = madang.RedisStreamsAdapter(url, read_count=7).options
    assert (options.stream_name, options.stream_count, options.max_len, options.read_count) == ("s", 3, 5, 7)
    assert madang.RedisStreamsAdapter("rediss://localhost").options.stream_name == "socket.io"


@pytest.mark.feature("S10", "S18")
async def test_behind_sentinels(sentinels: Sentinels):
    """If the master dies reading and writing go on at the one that the sentinels make the master."""
    async with any_members(Behind(sentinels, madang.RedisStreamsAdapter)) as (a, b):
        a.io.to("room").emit("tick", 1)
        await until(lambda: ticks(b) == [1])
        await until(lambda: sentinels.nodes[1].client.xlen("socket.io") == 1)
        sentinels.nodes[0].kill()
        await until(lambda: not a.health.publishing and not b.health.receiving)
        a.io.to("room").emit("tick", 2)
        b.io.to("room").emit("tick", 3)
        async with asyncio.timeout(20):
            while sorted(ticks(b)) != [1, 2, 3] or sorted(ticks(a)) != [1, 2, 3]:
                await asyncio.sleep(0.02)
        await talks(a, b)
        assert a.gaps == b.gaps == []
