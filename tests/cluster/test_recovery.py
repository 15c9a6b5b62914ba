"""Connection state recovery over Redis streams: clients that come back to another server than the one they were at."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

import madang
from madang.adapters.redis.connection import RedisConnection
from madang.adapters.redis.own_entries import OwnEvent
from madang.adapters.redis.streams_recovery import AWAY, StreamsReturning
from madang.errors import ConnectError
from tests.cluster.conftest import Js
from tests.cluster.peers import MadangPeer, NodePeer, NodeServer, Peer
from tests.cluster.redis import ROOT, Redis
from tests.conformance.wire import SOCKET, session
from tests.conftest import Leaks
from tests.faults.proxy import Proxy, between
from tests.hosts import listening
from tests.interop.ways import until
from tests.server.javascript import Client, soon

KEY = "recovery"


@pytest.fixture(scope="module")
def node_server(node: str, shared_redis: Redis) -> Iterator[NodeServer]:
    """Node's own server with its streams adapter, which recovers sessions."""
    server = NodeServer(node, "recovery", shared_redis.url, KEY)
    yield server
    server.close()


def server(redis: Redis, timeout: float = 5.0, **recovery: Any) -> madang.Server:
    adapter = madang.RedisStreamsAdapter(redis.url, stream_name=KEY, channel_prefix=KEY, timeout=timeout)
    return madang.Server(adapter=adapter, connection_state_recovery=recovery or True)


@asynccontextmanager
async def pair_of(
    redis: Redis, name: str = "/", kinds: str = "madang-madang", node: NodeServer | None = None, **options: Any
) -> AsyncIterator[list[Any]]:
    """Two servers of a cluster, and no others: in a Redis where Node's server is, the main namespace has a third."""
    async with AsyncExitStack() as stack:
        peers: list[Any] = []
        for kind in kinds.split("-"):
            if kind == "node":
                assert node is not None
                peer: Any = NodePeer(node, name)
                await peer.open()
            else:
                io = server(redis, **options)
                peer = MadangPeer(io, await stack.enter_async_context(listening(io)), name)
            peers.append(peer)
        await until(lambda: redis.client.pubsub_numsub(f"{KEY}#{name}#")[0][1] == 2)
        await until(lambda: sum(client["cmd"] == "xread" for client in redis.client.client_list()) >= 2)
        for peer in peers:
            await peer.settled()
        yield peers


def port_of(peer: Peer) -> int:
    return urlsplit(peer.url).port or 0


class Traveller:
    """A stock client behind a proxy, through which it comes to one server or another."""

    def __init__(self, proxy: Proxy, client: Client) -> None:
        self.proxy = proxy
        self.client = client

    async def lost(self) -> None:
        """Lose the connection; the server notices."""
        self.proxy.cut()
        await self.client.disconnected()

    async def back(self, peer: Peer) -> dict[str, Any]:
        """Come back to a server, and the state then."""
        self.proxy.to = port_of(peer)
        self.client.connect()
        await self.client.connected()
        return await self.client.state()

    async def ticks(self, count: int) -> list[Any]:
        """The next so many."""
        return [(await self.client.next("tick"))[0] for _ in range(count)]


@asynccontextmanager
async def traveller(js: Js, peer: Peer, name: str = "/") -> AsyncIterator[Traveller]:
    async with between(port_of(peer)) as proxy:
        yield Traveller(proxy, await js.connect(proxy.url, name if name != "/" else ""))


async def nothing_more(peer: Peer, client: Client) -> None:
    """See that a client has got nothing that was not looked at."""
    await peer.emit("marker", rooms=[client.id])
    await client.next("marker")
    assert client.received == []


@pytest.mark.feature("Q13", "S19", "S10")
@pytest.mark.parametrize("kinds", ["madang-madang", "madang-node", "node-madang"])
async def test_at_another_server(shared_redis: Redis, node_server: NodeServer, js: Js, kinds: str):
    """Who comes back to another server has the same id, rooms and data, and got what was missed, in order and once."""
    name = f"/{kinds}"
    async with pair_of(shared_redis, name, kinds, node_server) as (here, there), traveller(js, here, name) as one:
        client = one.client
        await here.join("room", rooms=[client.id])
        await until_there(there, client.id, {"room"})
        await here.emit("tick", 0)
        assert await one.ticks(1) == [0]
        known = client.id
        await one.lost()
        await until_gone(there, known)
        await here.emit("tick", 1)
        await here.settled()
        await there.emit("tick", 2, b"\x00", rooms=["room"])
        await there.settled()
        await there.emit("tick", "not for this one", rooms=["elsewhere"])
        await here.emit("tick", "nor this", except_=["room"])
        await here.emit("tick", 3, rooms=[known])
        await here.settled()
        if kinds == "madang-madang":  # Node's server gives what was volatile to who was not there
            await there.emit("tick", "volatile", flags=["volatile"])
        await there.emit("tick", 4, rooms=["room", known])
        await there.settled()
        state = await one.back(there)
        assert (state["recovered"], state["id"]) == (True, known)
        facts = (await there.fetch())[known]
        assert facts["rooms"] == {known, "room"}
        assert facts["data"]["of"] in ("madang", "node")
        await here.emit("tick", 5, rooms=["room"])
        assert await one.ticks(5) == [1, 2, 3, 4, 5]
        await nothing_more(there, client)
        await one.lost()  # and once more, to the first
        await until_gone(here, known)
        await there.emit("tick", 6)
        await there.settled()
        assert (await one.back(here))["recovered"]
        assert await one.ticks(1) == [6]
        await nothing_more(there, client)


async def test_presence_comes_along(redis: Redis, js: Js):
    """Who was present, or watched, is and does so again at another server."""
    async with pair_of(redis) as (here, there), traveller(js, here) as one:
        (socket,) = here.io.main.sockets.values()
        here.io.presence("room").track(socket, "minji", {"on": "phone"})
        here.io.presence("room").watch(socket)
        assert (await one.client.next("presence_state"))[0] == "room"
        await one.lost()
        assert (await one.back(there))["recovered"]
        room, users = await one.client.next("presence_state")
        assert (room, users) == ("room", [{"user": "minji", "metas": [{"on": "phone"}]}])
        (known,) = await there.io.presence("room").list()
        assert (known.user, list(known.metas)) == ("minji", [{"on": "phone"}])


async def until_there(peer: Peer, sid: str, rooms: set[Any]) -> None:
    while sid not in (found := await peer.fetch()) or not rooms <= found[sid]["rooms"]:
        pass


async def until_gone(peer: Peer, sid: str) -> None:
    while sid in await peer.fetch():
        pass


@pytest.fixture
def child(shared_redis: Redis) -> Iterator[Callable[[], tuple[str, subprocess.Popen[str]]]]:
    """Starts a server in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, "-m", "tests.cluster.serving", shared_redis.url, KEY]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip(), process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.feature("Q13")
async def test_its_server_is_killed(shared_redis: Redis, js: Js, child: Any):
    """Who was at a server that is killed without a word is recovered at another one, with what was joined and kept."""
    url, process = await asyncio.to_thread(child)
    io = server(shared_redis)
    async with listening(io) as other, between(urlsplit(url).port or 0) as proxy:
        await io.adapter.settled()
        one = Traveller(proxy, await js.connect(proxy.url))
        known = one.client.id
        io.to("room").emit("tick", 0)
        assert await one.ticks(1) == [0]
        await until(lambda: session_of(shared_redis, known) is not None)
        io.to("room").emit("tick", 1)
        process.kill()
        await one.client.disconnected()
        io.to("room").emit("tick", 2)
        io.to(known).emit("tick", 3)
        peer = MadangPeer(io, other, "/")
        await peer.settled()
        assert (await one.back(peer))["recovered"]
        socket = io.sockets[known]
        assert socket.rooms == {known, "room"}
        assert socket.data == {"name": "Minji", "of": "madang"}
        got = await one.ticks(2)
        if got[0] == 1:  # it had not got that before
            got = got[1:] + await one.ticks(1)
        assert got == [2, 3]
        await nothing_more(peer, one.client)


def session_of(redis: Redis, sid: str) -> dict[str, Any] | None:
    """What Redis has of the session of a socket."""
    for key in redis.client.keys("sio:session:*"):
        value = redis.client.get(key)
        if value is not None and (found := msgspec.msgpack.decode(base64.b64decode(value)))["sid"] == sid:
            return found
    return None


@pytest.mark.feature("Q13")
async def test_its_old_connection_seems_alive(redis: Redis, js: Js):
    """Who comes back before its server knows that it has gone has one socket, and the rooms and data of that moment."""
    async with pair_of(redis) as (here, there), traveller(js, here) as one:
        known = one.client.id
        here.io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        await until(lambda: session_of(redis, known))
        one.proxy.mute()
        old = here.io.sockets[known]
        ended: list[str] = []
        old.on("disconnect", ended.append)
        old.join("late")
        old.data["late"] = b"\x01"
        one.client.drop()
        await one.client.disconnected()
        here.io.to("late").emit("tick", 1)
        one.proxy.mood = "pass"
        assert (await one.back(there))["recovered"]
        await until(lambda: ended == ["transport close"])
        assert known not in here.io.sockets
        assert there.io.sockets[known].rooms == {known, "late"}
        assert there.io.sockets[known].data == {"of": "madang", "late": b"\x01"}
        assert await one.ticks(1) == [1]
        await nothing_more(here, one.client)
        await until(lambda: (session_of(redis, known) or {}).get("uid") == there.io.adapter.uid)


class Raw:
    """What a client without a library sees of its session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pid = ""
        self.sid = ""
        self.offset: str | None = None

    async def come(self, events: int = 0, **auth: Any) -> tuple[bool, list[Any]]:
        """Connect, read events once connected, and break off: whether it was recovered, and what it got."""
        known = {"pid": self.pid} if self.pid else {}
        if self.pid and self.offset is not None:
            known["offset"] = self.offset
        got: list[Any] = []
        async with session(self.url, SOCKET) as ws:
            await ws.send(f"40{json.dumps({**known, **auth})}")
            while not (text := await ws.text()).startswith("40"):
                got.append(self._event(text))
            told = json.loads(text[2:])
            recovered = told["pid"] == self.pid
            self.pid, self.sid = told["pid"], told["sid"]
            got += [self._event(await ws.text()) for _ in range(events)]
        return recovered, got

    def _event(self, text: str) -> Any:
        event = json.loads(text[2:])
        self.offset = event.pop()
        return event[1]


@pytest.mark.feature("Q13", "Q12", "Q2")
async def test_once(redis: Redis):
    """A session is given once, and not to who presents it wrongly; offsets are the ids of entries."""
    async with pair_of(redis) as (here, there):
        raw = Raw(here.url)
        telling = asyncio.ensure_future(raw.come(1))
        await until(lambda: here.io.sockets)
        here.io.emit("tick", 0)
        assert await telling == (False, [0])
        ((entry_id, _),) = redis.client.xrange(KEY)
        assert raw.offset == entry_id.decode()
        await until(lambda: not here.io.sockets)
        pid, offset = raw.pid, raw.offset
        here.io.emit("tick", 1)
        await here.settled()
        raw.url = there.url
        assert await raw.come() == (True, [1])
        other = Raw(here.url)
        await until(lambda: not there.io.sockets)
        redis.client.delete(f"sio:session:{pid}")
        for strange in (offset, "", "1-1", "nonsense", "99999999999999-0", "1" * 5000):
            other.pid, other.offset = pid, strange
            assert await other.come() == (False, [])


@pytest.mark.feature("Q13")
async def test_what_redis_has_of_a_session(redis: Redis):
    """A session has Node's form, lives as long as its client may come back, and goes when that leaves."""
    async with (
        pair_of(redis, max_disconnection_duration=10) as (here, _),
        madang.connect(here.url, transports=["websocket"]) as client,
    ):
        socket = next(iter(here.io.sockets.values()))
        socket.join("a", 5)
        socket.data["x"] = [b"\x00", None]
        await until(lambda: {"a", 5} <= set((session_of(redis, socket.id) or {"rooms": []})["rooms"]))
        (key,) = redis.client.keys("sio:session:*")
        await until(lambda: (session_of(redis, socket.id) or {})["data"] == {"of": "madang", "x": [b"\x00", None]})
        found = session_of(redis, socket.id) or {}
        assert list(found)[:4] == ["sid", "pid", "rooms", "data"]
        assert key.decode() == "sio:session:" + found["pid"]
        assert 10_000 < redis.client.pttl(key) <= 15_000
        redis.client.pexpire(key, 4000)
        await until(lambda: redis.client.pttl(key) > 10_000)  # it is refreshed, before it is too late
        socket.connection.session.transport.abort()
        await until(lambda: here.io.sockets.get(socket.id) not in (None, socket))
        assert here.io.sockets[socket.id].recovered
        await until(lambda: redis.client.keys("sio:session:*") == [key])
        await until(lambda: client.recovered)
    await until(lambda: redis.client.keys("sio:session:*") == [])


@pytest.mark.feature("Q13", "S18")
async def test_redis_is_frozen_meanwhile(redis: Redis, js: Js):
    """If Redis is frozen for a moment during the break nothing is lost or doubled."""
    async with pair_of(redis) as (here, there), traveller(js, here) as one:
        here.io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        await one.lost()
        await until(lambda: not here.io.sockets)
        redis.freeze()
        for number in range(1, 101):
            (here, there)[number % 2].io.emit("tick", number)
        waiting = there.io.adapter_health.queued
        one.proxy.to = port_of(there)
        one.client.connect()
        await until(lambda: there.io.adapter_health.queued > waiting)  # the question for its session
        redis.thaw()
        await one.client.connected()
        assert (await one.client.state())["recovered"]
        assert sorted(await one.ticks(100)) == list(range(1, 101))
        await nothing_more(here, one.client)


@pytest.mark.feature("Q13", "S18")
async def test_redis_goes_away(redis: Redis, js: Js):
    """While Redis is away events are delivered at once, and nobody is recovered; what was in it is gone, and told."""
    async with pair_of(redis, timeout=0.5) as (here, there), traveller(js, here) as one:
        sockets: list[madang.Socket] = []
        for peer in (here, there):
            peer.io.on("connection", sockets.append)
        here.io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        here.io.emit("tick", "held")
        redis.kill()
        await until(lambda: not here.io.adapter_health.receiving and not here.io.adapter_health.publishing)
        here.io.emit("tick", 1)
        assert await one.ticks(2) == ["held", 1]
        await one.lost()
        await until(lambda: not here.io.sockets)
        assert not (await one.back(here))["recovered"]
        assert sockets[-1].not_recovered == AWAY
        redis.start()
        await until(lambda: here.io.adapter_health.connected and there.io.adapter_health.connected)
        there.io.emit("tick", 2)
        assert await one.ticks(1) == [2]
        await until(lambda: session_of(redis, one.client.id))  # written again, as Redis had lost it
        await one.lost()
        there.io.emit("tick", 3)
        assert (await one.back(there))["recovered"]
        assert await one.ticks(1) == [3]


@pytest.mark.feature("Q13")
async def test_frozen_for_long(redis: Redis, js: Js):
    """What a frozen Redis does not give back in time is delivered all the same, and once."""
    async with pair_of(redis, timeout=0.3) as (here, there), traveller(js, here) as one:
        redis.freeze()
        here.io.emit("tick", 1)
        assert (await one.client.next("tick"))[0] == 1
        redis.thaw()
        await until(lambda: here.io.adapter_health.connected and there.io.adapter_health.connected)
        here.io.emit("tick", 2)
        assert (await one.client.next("tick"))[0] == 2
        await nothing_more(there, one.client)


@pytest.mark.feature("Q13")
async def test_cut_off(redis: Redis, js: Js):
    """Who was away for longer than what is kept has a new session, and is told why."""
    async with pair_of(redis, max_bytes=50_000) as (here, there), traveller(js, here) as one:
        sockets: list[madang.Socket] = []
        there.io.on("connection", sockets.append)
        here.io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        await one.lost()
        await until(lambda: not here.io.sockets)
        for number in range(300):
            here.io.emit("tick", number, "x" * 500)
        await here.settled()
        redis.client.xtrim(KEY, maxlen=10, approximate=False)
        assert not (await one.back(there))["recovered"]
        assert "offset is not known" in (sockets[-1].not_recovered or "")
        assert there.io.main.recovery.backend.bytes <= 50_000


@pytest.mark.feature("Q13")
@pytest.mark.parametrize("meanwhile", [False, True])
async def test_a_server_that_was_not_there(redis: Redis, js: Js, meanwhile: bool):
    """A server that was started later reads from the stream what somebody has missed before."""
    async with AsyncExitStack() as stack:
        io = server(redis)
        here = MadangPeer(io, await stack.enter_async_context(listening(io)), "/")
        await here.settled()
        one = await stack.enter_async_context(traveller(js, here))
        io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        await one.lost()
        await until(lambda: not io.sockets)
        for number in range(1, 1201):
            (io if number % 3 else io.to(one.client.id)).emit("tick", number, b"x" if number % 100 == 0 else None)
            io.to("elsewhere").emit("tick", number)
            io.of("/other").emit("tick", number)
        await here.settled()
        other = server(redis)
        there = MadangPeer(other, await stack.enter_async_context(listening(other)), "/")
        await there.settled()
        if meanwhile:
            io.emit("tick", 1201)
            await here.settled()
        assert (await one.back(there))["recovered"]
        assert await one.ticks(1200 + meanwhile) == list(range(1, 1201 + meanwhile))
        await nothing_more(here, one.client)


@pytest.mark.feature("Q13", "Q11")
async def test_middlewares(redis: Redis, js: Js):
    """Middlewares that want to be asked are, while more is sent; who is refused may come back again."""
    async with pair_of(redis, skip_middlewares=False) as (here, there), traveller(js, here) as one:
        here.io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        await one.lost()
        await until(lambda: not here.io.sockets)
        asked: list[bool] = []
        go_on = asyncio.Event()

        @there.io.use
        async def middleware(socket: madang.Socket) -> None:
            asked.append(socket.recovered)
            if len(asked) == 1:
                raise ConnectError("not now")
            here.io.emit("tick", 1)
            await go_on.wait()

        one.proxy.to = port_of(there)
        one.client.connect()
        assert (await one.client.refused()).message == "not now"
        await until(lambda: session_of(redis, one.client.id))
        one.client.connect()
        await until(lambda: len(asked) == 2)
        here.io.emit("tick", 2)
        await here.settled()
        go_on.set()
        await one.client.connected()
        assert (await one.client.state())["recovered"]
        assert asked == [True, True]
        here.io.emit("tick", 3)
        assert await one.ticks(3) == [1, 2, 3]


@pytest.mark.feature("Q13", "Q7", "Q8")
@pytest.mark.parametrize("kinds", ["madang-madang", "madang-node"])
async def test_while_much_is_sent(shared_redis: Redis, node_server: NodeServer, js: Js, kinds: str):
    """Clients that come and go between servers that send all the time get all of it once, in the order of a third."""
    name = f"/much-{kinds}"
    rounds, each = 6, 250
    async with AsyncExitStack() as stack:
        here, there = await stack.enter_async_context(pair_of(shared_redis, name, kinds, node_server))
        steady = await js.connect(here.url, "")
        # clients of a Node server get events in another order, and lose what is sent while they come back
        peers = (here, there if kinds == "madang-madang" else here)
        ones = [await stack.enter_async_context(traveller(js, peer, name)) for peer in peers]
        for one in ones:
            await here.emit("tick", ["begin", one.client.id], rooms=[one.client.id])
            await one.client.next("tick")

        async def send(peer: Peer) -> None:
            for number in range(rounds * each):
                await peer.emit("tick", [peer.kind if kinds != "madang-madang" else port_of(peer), number])
                if number % 10 == 0:
                    await asyncio.sleep(0.004)

        sending = asyncio.gather(send(here), send(there))
        for round_ in range(rounds):
            for place, one in enumerate(ones):
                await one.lost()
                await asyncio.sleep(0.02)
                to = (here, there)[(round_ + place + 1) % 2] if kinds == "madang-madang" else here
                assert (await one.back(to))["recovered"]
        await soon(sending, "all that is sent", 20)
        for peer in (here, there):
            await peer.emit("over")
            await peer.settled()
        got = [await all_until_over(client) for client in (steady, *(one.client for one in ones))]
        for ticks in got:
            assert len(ticks) == 2 * rounds * each
            for peer in (here, there):
                who = peer.kind if kinds != "madang-madang" else port_of(peer)
                assert [number for sender, number in ticks if sender == who] == list(range(rounds * each))
        assert got[0] == got[1] == got[2]


async def all_until_over(client: Client) -> list[Any]:
    """The ticks that came, once both servers have said their last word."""
    for _ in range(2):
        await client.next("over", 20)
    ticks: list[Any] = [event[1] for event in client.received if event[0] == "tick"]
    client.received.clear()
    return ticks


async def test_nothing_is_left(redis: Redis, js: Js, leaks: Leaks):
    """Nothing is left of sessions that were there, came back or were told to others."""
    async with (
        leaks(RedisConnection, OwnEvent, StreamsReturning),
        pair_of(redis) as (here, there),
        traveller(js, here) as one,
    ):
        here.io.emit("tick", 0)
        assert await one.ticks(1) == [0]
        await one.lost()
        await one.back(there)
