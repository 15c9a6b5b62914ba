"""The bytes and channels of sharded pub/sub, beside those of Node's adapter for the same call."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import madang
from madang.adapters.redis.sharded import looks_like_an_id
from tests.cluster.conftest import Pair
from tests.cluster.peers import KEY
from tests.cluster.redis import Redis
from tests.cluster.test_wire import MESSAGES
from tests.hosts import listening

mixed = pytest.mark.parametrize("pair", ["sharded:madang-node"], indirect=True)


class Tap:
    """Sees all that is published for one namespace, without being counted as a listener."""

    def __init__(self, redis: Redis, nsp: str) -> None:
        self.main = f"{KEY}#{nsp}#"
        self._connection: Any = redis.client.connection_pool.make_connection()
        self._connection.connect()
        self._connection.send_command("MONITOR")
        assert self._connection.read_response() == b"OK"

    async def next(self, command: bytes = b"SPUBLISH") -> list[bytes]:
        """The arguments of the next such command, without what is drawn at random."""
        while True:
            line: bytes = await asyncio.to_thread(self._connection.read_response)
            words = [codecs.escape_decode(word)[0] for word in re.findall(rb'"((?:[^"\\]|\\.)*)"', line)]
            if words[0].upper() == command and words[1].startswith(self.main.encode()):
                return [masked(word) for word in words[1:]]

    def close(self) -> None:
        self._connection.disconnect()


def masked(payload: bytes) -> bytes:
    """The same without the names of servers, questions and sockets."""
    payload = re.sub(rb"[0-9a-f]{16}", b"................", payload)
    payload = re.sub(rb'"requestId":"[A-Za-z0-9]{6}"', b'"requestId":"................"', payload)
    return re.sub(rb"\xa9requestId\xa6[A-Za-z0-9]{6}", b"\xa9requestId\xb0................", payload)


@pytest.fixture
def tap(pair: Pair, shared_redis: Redis) -> Iterator[Tap]:
    tap = Tap(shared_redis, pair.here.url[pair.here.url.rindex("/") :])
    yield tap
    tap.close()


@mixed
@pytest.mark.feature("S9", "S19")
@pytest.mark.parametrize("message", [*MESSAGES, {"args": ["news"], "rooms": ["x" * 20]}], ids=str)
async def test_broadcasts(pair: Pair, tap: Tap, message: dict[str, Any]):
    """A broadcast has the bytes and the channel that Node gives it."""
    whom = {name: message[name] for name in ("rooms", "except_", "flags") if name in message}
    await pair.here.emit(*message["args"], **whom)
    ours = await tap.next()
    await pair.there.emit(*message["args"], **whom)
    assert ours == await tap.next()


@mixed
@pytest.mark.feature("S9", "S19")
@pytest.mark.parametrize(
    ("do", "args", "whom"),
    [
        ("join", ("x", "y"), {"rooms": ["nobody"]}),
        ("leave", ("x",), {"rooms": ["nobody"], "except_": ["b"]}),
        ("disconnect", (True,), {"rooms": ["nobody"]}),
        ("tell", ("notice", 1, {"a": "b"}), {}),
        ("tell", ("notice", b"\x00\xff"), {}),
        ("query", ("sum", 1, 2), {}),
        ("fetch", (), {"rooms": ["nobody"], "except_": ["b"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_requests(pair: Pair, tap: Tap, do: str, args: Any, whom: Any):
    """So has any other message to all servers; and its answer goes to who has asked."""
    asked: list[list[bytes]] = []
    for peer in (pair.here, pair.there):
        await getattr(peer, do)(*args, **whom)
        asked.append(await tap.next())
        if do in ("query", "fetch"):
            channel, answer = await tap.next()
            assert channel.decode() == f"{tap.main}................#"
            asked[-1].append(answer)
    assert asked[0] == asked[1]


@mixed
@pytest.mark.feature("S9", "M10")
async def test_a_broadcast_that_asks(pair: Pair, tap: Tap):
    """A broadcast that asks for answers takes the main channel, also if it is for one room."""
    asked: list[Any] = []
    for peer in (pair.here, pair.there):
        await peer.ask("ask", 1, rooms=["nobody"], timeout=2.0)
        (channel, question), (back, answer) = [await tap.next() for _ in range(2)]
        facts = msgspec.json.decode(question)
        flags = facts["data"]["opts"].pop("flags")
        asked.append((channel, list(facts), list(facts["data"]), facts, flags["timeout"], back, answer))
    assert asked[0] == asked[1]
    assert asked[0][0].decode() == tap.main


@pytest.mark.feature("S9")
@pytest.mark.parametrize(
    ("mode", "own", "room"), [("static", False, False), ("dynamic", False, True), ("dynamic-private", True, True)]
)
async def test_modes(shared_redis: Redis, mode: Any, own: bool, room: bool):
    """The mode says which rooms have channels: none, those of several sockets, or all."""
    adapter = madang.ShardedRedisAdapter(shared_redis.url, key=f"modes-{mode}", subscription_mode=mode)
    io = madang.Server(adapter=adapter)
    io.on("connection", lambda socket: socket.join("room"))
    async with listening(io) as url, madang.connect(url, transports=["websocket"]) as client:
        assert await io.in_("room").fetch_sockets()
        await io.adapter.settled()
        found = shared_redis.client.execute_command("PUBSUB", "SHARDCHANNELS", f"modes-{mode}#*")
        channels = {name.decode().removeprefix(f"modes-{mode}#/#") for name in found}
        wanted = {"", f"{io.adapter.uid}#"} | ({f"{client.id}#"} if own else set()) | ({"room#"} if room else set())
        assert channels == wanted
        assert len(io.adapter.uid) == 16
        tap = Tap(shared_redis, "/")
        tap.main = f"modes-{mode}#/#"
        try:
            for name, apart in (("room", room), (client.id, own)):
                io.to(name).emit("news")
                assert (await tap.next())[0].decode() == tap.main + (f"{name}#" if apart else "")
        finally:
            tap.close()


@pytest.mark.feature("S9")
def test_what_looks_like_an_id():
    """Twenty characters are an id for Node, counted as JavaScript does."""
    assert [looks_like_an_id(room) for room in ("x" * 20, "가" * 20, "😀" * 10, "x" * 18 + "😀")] == [True] * 4
    assert [looks_like_an_id(room) for room in ("x" * 19, "x" * 21, "😀" * 20, 10**19, "")] == [False] * 5


@pytest.mark.feature("S9", "S24")
async def test_rooms_named_as_servers(shared_redis: Redis):
    """A room whose name looks as a server's does is not taken for one."""
    servers = [madang.Server(adapter=madang.ShardedRedisAdapter(shared_redis.url, key="named")) for _ in range(2)]
    a, b = servers
    b.on("connection", lambda socket: socket.join("0123456789abcdef"))
    async with listening(a), listening(b) as url, madang.connect(url, transports=["websocket"]):
        assert len(await b.in_("0123456789abcdef").fetch_sockets()) == 1
        for io in servers:
            await io.adapter.settled()
        backend: Any = a.adapter._backend  # type: ignore[attr-defined]
        with pytest.raises(madang.AdapterUnavailable):
            await backend.names()
        b.sockets_leave("0123456789abcdef")
        await b.adapter.settled()
        assert await backend.names() == {b.adapter.uid}
