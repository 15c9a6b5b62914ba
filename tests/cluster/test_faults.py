"""What may happen to Redis and to the other servers, with a real Redis and a real Node."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import madang
from madang.adapters.redis.connection import RedisConnection
from madang.adapters.relay import Relay
from madang.adapters.requests import Question
from tests.cluster.peers import NodePeer, NodeServer
from tests.cluster.redis import Redis
from tests.conftest import Leaks
from tests.hosts import listening
from tests.interop.ways import Heard, until
from tests.server.javascript import soon

QUICK: dict[str, Any] = {"transports": ["websocket"], "force_new": True}


class Tells:
    """A broker that tells servers of each other."""

    async def together(self, cluster: list[Member]) -> None:
        """Wait until all know each other."""


class Broker(Tells):
    """A Redis, and the way in which the servers use it.

    Attributes:
        way: ``"pubsub"`` or ``"sharded"``.
        url: where it is, as servers are told.
    """

    def __init__(self, redis: Redis, way: str) -> None:
        self.redis = redis
        self.way = way
        self.url = redis.url if way == "pubsub" else redis.url.replace("redis:", "redis+sharded:")
        self.kill, self.start, self.freeze, self.thaw = redis.kill, redis.start, redis.freeze, redis.thaw
        self.client = redis.client

    def adapter(self, **options: Any) -> Any:
        """The option `adapter` of a server."""
        return (madang.RedisAdapter if self.way == "pubsub" else madang.ShardedRedisAdapter)(self.url, **options)

    def publish(self, channel: str, payload: bytes) -> int:
        """Send anything."""
        return self.client.execute_command("PUBLISH" if self.way == "pubsub" else "SPUBLISH", channel, payload)


@pytest.fixture(params=["pubsub", "sharded"])
def broker(redis: Redis, request: pytest.FixtureRequest) -> Broker:
    """Each way in turn, with a Redis of the test's own."""
    return Broker(redis, request.param)


class Member:
    """A server of a cluster with one client, which notes its ticks; and the gaps that the server was told of."""

    def __init__(self, broker: Broker, **options: Any) -> None:
        self.io = madang.Server(adapter=broker.adapter(**{"timeout": 0.5, **options}))
        self.ticks = Heard()
        self.gaps: list[madang.AdapterGap] = []
        self.io.on("adapter_gap", self.gaps.append)
        self.io.on("connection", lambda socket: socket.join("room"))

    @property
    def health(self) -> madang.AdapterHealth:
        return self.io.adapter_health

    @property
    def got(self) -> list[Any]:
        return [tick for (tick,) in self.ticks.all]

    async def well(self) -> None:
        """Wait until both directions work and what was wanted has taken effect."""
        await until(lambda: self.health.connected)
        await soon(self.io.adapter.settled(), "a settled adapter")

    def gaps_of(self, direction: str) -> list[madang.AdapterGap]:
        return [gap for gap in self.gaps if gap.direction == direction]


@asynccontextmanager
async def members(broker: Broker, count: int = 2, **options: Any) -> AsyncIterator[list[Member]]:
    """Some servers, each with a client."""
    cluster = [Member(broker, **options) for _ in range(count)]
    async with asyncio.timeout(30):
        for member in cluster:
            member.running = await member.io.start(port=0)  # type: ignore[attr-defined]
            member.client = madang.Client(member.running.url, **QUICK)  # type: ignore[attr-defined]
            member.client.on("tick", member.ticks)  # type: ignore[attr-defined]
            await member.client.connect()  # type: ignore[attr-defined]
            await member.well()
        await broker.together(cluster)
        try:
            yield cluster
        finally:
            for member in cluster:
                await member.client.close()  # type: ignore[attr-defined]
                await member.running.stop()  # type: ignore[attr-defined]


_marks = itertools.count()


async def talks(*cluster: Member) -> None:
    """See that each reaches all."""
    for member in cluster:
        mark = f"mark {next(_marks)}"
        member.io.to("room").emit("tick", mark)
        for other in cluster:
            await until(lambda other=other, mark=mark: mark in other.got)


@pytest.mark.feature("S18", "N17")
async def test_killed_and_started_again(broker: Broker):
    """While Redis is away local clients are served, what is for others waits; then it goes on, and a gap is told."""
    async with members(broker) as (a, b):
        await talks(a, b)
        broker.kill()
        await until(lambda: not a.health.receiving and not b.health.receiving)
        for number in range(20):
            a.io.to("room").emit("tick", number)
        await until(lambda: a.got[-20:] == list(range(20)))
        assert a.health.queued == 20
        assert not a.health.publishing
        broker.start()
        await a.well()
        await b.well()
        await talks(a, b)
        await a.well()
        assert a.health.queued == a.health.queued_bytes == 0
        assert a.health.lost == 0
        ((ours,), (theirs,)) = a.gaps_of("in"), b.gaps_of("in")
        assert (theirs.namespace, theirs.lost, theirs.over) == ("/", None, True)
        assert "broke" in ours.reason
        assert a.health.gaps == b.health.gaps == 1


@pytest.mark.feature("S18")
async def test_more_than_may_wait(broker: Broker):
    """What waits for Redis is bounded: the first messages are kept, the others counted and told of."""
    async with members(broker, queue_limit=10) as (a, b):
        broker.kill()
        await until(lambda: not a.health.publishing or not a.health.receiving)
        for number in range(25):
            a.io.to("room").emit("tick", number)
        assert a.health.queued == 10
        assert a.health.lost == 15
        (begin,) = a.gaps_of("out")
        assert (begin.lost, begin.over) == (1, False)
        assert "too much waits" in begin.reason
        await until(lambda: a.got == list(range(25)))
        broker.start()
        await until(lambda: len(a.gaps_of("out")) == 2)
        end = a.gaps_of("out")[1]
        assert (end.lost, end.uncertain, end.over, end.since) == (15, 0, True, begin.since)
        await b.well()
        await talks(a, b)
        arrived = [tick for tick in b.got if isinstance(tick, int)]  # but for those before it listened again
        assert arrived == list(range(10 - len(arrived), 10))


@pytest.mark.feature("S18")
async def test_bytes_that_may_wait(broker: Broker):
    """Bytes are bounded as well."""
    async with members(broker, count=1, queue_bytes=100_000) as (a,):
        broker.kill()
        await until(lambda: not a.health.receiving)
        for _ in range(20):
            a.io.to("room").emit("tick", "x" * 20_000)
        assert a.health.queued == 4
        assert a.health.queued_bytes <= 100_000
        assert a.health.lost == 16
        broker.start()
        await a.well()


@pytest.mark.feature("S18")
async def test_frozen(broker: Broker):
    """A Redis that does nothing any more is given up after the timeout; when it goes on, so does the cluster."""
    async with members(broker) as (a, b):
        broker.freeze()
        a.io.to("room").emit("tick", "meanwhile")
        await until(lambda: a.got == ["meanwhile"])
        await until(lambda: not (a.health.publishing or a.health.receiving or b.health.receiving))
        broker.thaw()
        await a.well()
        await b.well()
        await talks(a, b)
        assert b.got.count("meanwhile") <= 1
        assert a.gaps_of("in")
        assert [(gap.lost, gap.uncertain, gap.over) for gap in a.gaps_of("out")] == [(0, 1, False), (0, 1, True)]


@pytest.mark.feature("S18")
@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_connections_killed(broker: Broker, kind: str):
    """A connection that Redis ends is made anew; a message sent right after is not lost with the old one."""
    async with members(broker) as (a, b):
        broker.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        if kind == "pubsub":
            await until(lambda: a.health.gaps == b.health.gaps == 1)
        await a.well()
        await b.well()
        await talks(a, b)
        assert a.gaps_of("out") == []
        assert len(b.gaps_of("in")) == (1 if kind == "pubsub" else 0)


@pytest.mark.feature("S18")
async def test_output_buffer_overflown(broker: Broker):
    """If Redis cuts a server off that does not read in time, that is a gap, and the server listens again."""
    broker.client.config_set("client-output-buffer-limit", "pubsub 1mb 0 0")
    async with members(broker) as (a, b):
        flood = b"x" * 1_000_000
        for _ in range(30):  # nobody reads meanwhile: this call keeps the loop
            broker.publish("socket.io#/#room#", flood)
        await until(lambda: b.gaps_of("in"))
        await a.well()
        await b.well()
        await talks(a, b)
        assert b.health.poison <= 30


@pytest.mark.feature("S18")
async def test_many_in_flight(broker: Broker):
    """Of 10 000 messages that are sent while Redis is killed and started again, none arrives twice or out of order."""
    async with members(broker) as (a, b):
        for number in range(10_000):
            a.io.to("room").emit("tick", number)
            if number == 5_000:
                broker.kill()
                broker.start()
            if number % 100 == 0:
                await asyncio.sleep(0)
        await a.well()
        await b.well()
        await talks(a, b)
        assert a.got[:10_000] == list(range(10_000))
        arrived = [tick for tick in b.got if isinstance(tick, int)]
        assert arrived == sorted(set(arrived))
        assert 9_999 in arrived or b.gaps_of("in")
        if len(arrived) < 10_000:
            assert b.gaps_of("in") or a.gaps_of("out")


POISON = [
    b"",
    b"\xc1",
    b"\x93\xa3abc",
    b"not msgpack at all",
    b"\x93\xa6stranger",
    b"{",
    b'{"type": "7"}',
    b'{"type": 7, "requestId": "x"}',
    b'{"type": 2, "rooms": ["x"]}',
    b'{"type": 6, "data": []}',
    b'{"type": 5}',
    b"[" * 100_000,
    b'{"type":' + b"[" * 100_000,
    b"\x91" * 100_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\x00" * 300_000,
]


@pytest.mark.feature("S23")
async def test_poison(broker: Broker, caplog: pytest.LogCaptureFixture):
    """Messages that are garbage, of the wrong shape or too large are counted, logged once, and do no harm."""
    channels = ["socket.io#/#", "socket.io#/#room#"]
    if broker.way == "pubsub":
        channels.append("socket.io-request#/#")
    async with members(broker, max_message=200_000) as (a, b):
        with caplog.at_level(logging.WARNING, "madang.adapters"):
            for channel in channels:
                for poison in POISON:
                    broker.publish(channel, poison)
            await talks(a, b)
        assert a.health.poison == b.health.poison == len(POISON) * len(channels)
        assert len(caplog.records) == 2
        assert caplog.records[0].exc_info is None
        assert a.gaps == b.gaps == []


@pytest.mark.feature("S23")
async def test_poisoned_answers(broker: Broker):
    """An answer that cannot be understood does not end a question; the right one does."""
    async with members(broker) as (a, b):
        asked = asyncio.ensure_future(a.io.fetch_sockets())
        channel = "socket.io-response#/#" if broker.way == "pubsub" else f"socket.io#/#{a.io.adapter.uid}#"
        for poison in (b"{", b'{"requestId": 7}', b'{"requestId": "x", "sockets": [7]}', b"\x91" * 9):
            broker.publish(channel, poison)
        assert len(await asked) == 2
        await talks(a, b)


@pytest.mark.feature("S23")
async def test_too_large_to_send(broker: Broker):
    """A message larger than `max_message` reaches local clients, and is counted and told as lost to the others."""
    async with members(broker, max_message=1000) as (a, b):
        a.io.to("room").emit("tick", "x" * 2000)
        assert a.health.lost == 1
        assert [gap.over for gap in a.gaps_of("out")] == [False, True]
        await talks(a, b)
        assert a.got[0] == "x" * 2000
        assert len(b.got) == 2


@pytest.mark.feature("S24", "S6", "P1")
async def test_a_server_freezes_while_it_is_asked(broker: Broker, node: str):
    """A frozen server is named as missing after `requests_timeout`, not waited for again, and back when it goes on."""
    node_server = NodeServer(node, broker.way, broker.url, "socket.io")
    try:
        await NodePeer(node_server, "/").open()
        async with members(broker, requests_timeout=0.6) as (a, b):
            loop = asyncio.get_running_loop()
            found = await a.io.fetch_sockets()
            assert (len(found), found.missing) == (2, 0)
            node_server.freeze()
            started = loop.time()
            found = await a.io.fetch_sockets()
            assert loop.time() - started >= 0.6
            assert (len(found), found.missing, len(found.missing_nodes)) == (2, 1, 1)
            started = loop.time()
            assert (await a.io.fetch_sockets()).missing == 1
            assert loop.time() - started < 0.5
            with pytest.raises(madang.AckTimeout, match="1 of 2 servers did not answer") as late:
                await a.io.server_side_emit_with_ack("anything")
            assert late.value.responses == [None]
            node_server.thaw()
            for _ in range(2):
                found = await a.io.fetch_sockets()
            assert found.missing == 0
            assert set(await a.io.server_side_emit_with_ack("sum", 1, 2)) == {None, 3}
            await talks(a, b)
    finally:
        node_server.close()


@pytest.mark.feature("S24")
async def test_a_server_dies_while_it_is_asked(broker: Broker, node: str):
    """A question ends soon after a server that was to answer it has died, and nobody is missing."""
    node_server = NodeServer(node, broker.way, broker.url, "socket.io")
    try:
        await NodePeer(node_server, "/").open()
        async with members(broker, requests_timeout=20.0) as (a, _):
            assert await a.io.server_count() == 3
            node_server.freeze()
            before = a.health.published
            asked = asyncio.ensure_future(a.io.fetch_sockets())
            answering = a.io.emit_with_ack("nobody answers", timeout=20)
            await until(lambda: a.health.published == before + 2)
            node_server.kill()
            found = await soon(asked, "an answer without the dead server")
            assert (len(found), found.missing) == (2, 0)
            answering.cancel()
    finally:
        node_server.close()


@pytest.mark.feature("S24")
async def test_asked_without_redis(broker: Broker):
    """With Redis away a question has what is here, and says how many servers did not answer; counting is refused."""
    async with members(broker, requests_timeout=0.3) as (a, _):
        assert await a.io.server_count() == 2
        broker.kill()
        await until(lambda: not a.health.receiving)
        found = await a.io.fetch_sockets()
        assert (len(found), found.missing) == (1, 1)
        with pytest.raises(madang.AdapterUnavailable):
            await a.io.server_count()
        broker.start()
        await a.well()
        assert a.health.lost == 0


@pytest.mark.feature("S18")
async def test_started_before_redis(broker: Broker):
    """A server may start while Redis is away; it serves its clients, and joins the others when Redis is there."""
    broker.kill()
    io = madang.Server(adapter=broker.url)
    io.emit("before", 1)
    async with listening(io) as url, madang.connect(url, **QUICK) as client:
        heard = Heard()
        client.on("news", heard)
        io.emit("news", 1)
        await heard.count(1)
        assert io.adapter_health.queued == 2
        broker.start()
        await soon(io.adapter.settled(), "a connection")
        assert io.adapter_health.connected
        assert io.adapter_health.queued == 0


async def test_closed_without_redis(broker: Broker):
    """A server closes without delay while Redis is away."""
    io = madang.Server(adapter=broker.url)
    async with listening(io):
        await soon(io.adapter.settled(), "a connection")
        broker.kill()
        await until(lambda: not io.adapter_health.receiving)
        io.emit("never", 1)
        await asyncio.wait_for(io.close(), 2)


@pytest.mark.feature("S5")
async def test_what_waits_leaves_before_the_end(broker: Broker):
    """What a server has emitted right before it closes reaches the others."""
    async with members(broker) as (a, b):
        for number in range(1000):
            a.io.to("room").emit("tick", number)
        await a.io.close()
        await until(lambda: b.got == list(range(1000)))


@pytest.mark.feature("A16")
@pytest.mark.parametrize(
    "adapter",
    ["http://localhost", "nonsense", 7, "redis://localhost?routing=no", "redis://localhost?timeout=soon",
     "redis://localhost?queue_limit=0", "redis://localhost:port", "redis://localhost?nonsense=1"],
)  # fmt: skip
def test_adapters_that_cannot_be(adapter: Any):
    """What cannot be an adapter is refused when the server is made."""
    with pytest.raises(madang.OptionError):
        madang.Server(adapter=adapter)


@pytest.mark.feature("A16")
def test_options_in_the_url():
    """The adapter's options may stand in its URL."""
    url = "redis://localhost/0?key=chat&requests_timeout=2.5&routing=pattern&publish_on_specific_response_channel=true"
    options = madang.RedisAdapter(url, requests_timeout=3.0).options
    assert (options.key, options.requests_timeout, options.routing) == ("chat", 3.0, "pattern")
    assert options.publish_on_specific_response_channel is True


@pytest.mark.feature("S18")
async def test_served_again(broker: Broker):
    """A server that was closed and is started again is part of the cluster again."""
    async with members(broker) as (a, b):
        await a.client.close()  # type: ignore[attr-defined]
        await a.running.stop()  # type: ignore[attr-defined]
        assert not a.health.connected
        assert await b.io.server_count() == 1
        a.running = await a.io.start(port=0)  # type: ignore[attr-defined]
        a.client = madang.Client(a.running.url, **QUICK)  # type: ignore[attr-defined]
        a.client.on("tick", a.ticks)  # type: ignore[attr-defined]
        await a.client.connect()  # type: ignore[attr-defined]
        await a.well()
        await talks(a, b)
        assert a.gaps == b.gaps == []


async def test_nothing_is_left(broker: Broker, leaks: Leaks):
    """A cluster that has talked, asked and been interrupted leaves no task, no timer and no connection behind."""
    connections = len(broker.client.client_list())
    async with leaks(Question, Relay, RedisConnection), members(broker) as (a, b):
        await talks(a, b)
        b.client.on("ask", lambda: 1)  # type: ignore[attr-defined]
        with pytest.raises(madang.AckTimeout):  # the other client does not answer
            await a.io.emit_with_ack("ask", timeout=0.1)
        await a.io.fetch_sockets()
        broker.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: a.health.gaps == 1)
        await a.well()
    await until(lambda: len(broker.client.client_list()) == connections)


@pytest.mark.feature("S17")
async def test_password_and_unix_socket(redis: Redis, tmp_path: Path):
    """A Redis may want a password, and be reached by a unix socket."""
    path = tmp_path / "redis.sock"
    redis.kill()
    redis.start("--requirepass", "s3cret", "--unixsocket", str(path), password="s3cret")
    urls = [f"redis://:s3cret@127.0.0.1:{redis.port}/0", f"unix://:s3cret@{path}?db=0&key=socket.io"]
    a, b = (madang.Server(adapter=url) for url in urls)
    async with listening(a), listening(b):
        await soon(a.adapter.settled(), "a connection")
        await soon(b.adapter.settled(), "a connection")
        assert await a.server_count() == 2
        with madang.SyncEmitter(urls[1]) as emitter:
            emitter.emit("news")
            assert emitter.receivers == 2
