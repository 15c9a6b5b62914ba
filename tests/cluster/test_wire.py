"""The bytes that go over Redis, beside those of Node's adapter and emitter for the same call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import madang
from tests.cluster.conftest import Pair
from tests.cluster.peers import KEY
from tests.cluster.redis import Redis

MESSAGES = [
    {"args": ["news"]},
    {"args": ["news", 1, -1, 200, -200, 70_000, 2**33, 1.5, True, None, "가나다", "x" * 300]},
    {"args": ["news", {"a": [1, {"b": "c"}], "list": list(range(20))}, b"\x00\xff" * 200]},
    {"args": ["news"], "rooms": ["a"]},
    {"args": ["news"], "rooms": [42]},
    {"args": ["news"], "except_": ["b"]},
    {"args": ["news"], "flags": ["volatile"]},
    {"args": ["news"], "flags": ["compress"]},
]


class Tap:
    """Hears all that goes over Redis for one namespace."""

    def __init__(self, redis: Redis, nsp: str) -> None:
        self._pubsub = redis.client.pubsub()
        self._pubsub.psubscribe(f"{KEY}*#{nsp}#*")
        assert self._pubsub.get_message(timeout=5)["type"] == "psubscribe"

    async def next(self, what: str = "") -> tuple[str, bytes]:
        """Channel and bytes of the next message on a channel whose name has this in it."""
        while True:
            message = await asyncio.to_thread(self._pubsub.get_message, timeout=5)
            assert message is not None, "nothing came"
            channel = message["channel"].decode()
            if what in channel:
                return channel, masked(message["data"])

    def close(self) -> None:
        self._pubsub.close()


def masked(payload: bytes) -> bytes:
    """The same without what is drawn at random: the names of servers and of questions."""
    payload = re.sub(rb'"(uid|requestId)":"[A-Za-z0-9_-]{6}"', rb'"\1":"......"', payload)
    payload = re.sub(rb"(\xa3uid|\xa9requestId)\xa6[A-Za-z0-9_-]{6}", lambda found: found[1] + b"\xa6......", payload)
    return re.sub(rb"^\x93\xa6[A-Za-z0-9_-]{6}", b"\x93\xa6......", payload)


@pytest.fixture
def tap(pair: Pair, shared_redis: Redis) -> Iterator[Tap]:
    tap = Tap(shared_redis, pair.here.url[pair.here.url.rindex("/") :])
    yield tap
    tap.close()


mixed = pytest.mark.parametrize("pair", ["pubsub:madang-node"], indirect=True)


@mixed
@pytest.mark.feature("S5", "S19", "T1")
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: "-".join(message))
async def test_broadcasts(pair: Pair, tap: Tap, shared_redis: Redis, message: dict[str, Any]):
    """A broadcast has the bytes and the channel that Node gives it; so has the emitter's."""
    whom = {name: message[name] for name in ("rooms", "except_", "flags") if name in message}
    await pair.here.emit(*message["args"], **whom)
    ours = await tap.next()
    await pair.there.emit(*message["args"], **whom)
    assert ours == await tap.next()

    await pair.there.emit(*message["args"], by="emitter", **whom)
    theirs = await tap.next()
    async with madang.Emitter(shared_redis.url, key=KEY) as emitter:
        chosen: Any = emitter.of(pair.here.url.rpartition("/")[2])
        chosen = chosen.to(whom.get("rooms", [])).except_(whom.get("except_", []))
        for flag in whom.get("flags", []):
            chosen = chosen.compress(False) if flag == "compress" else getattr(chosen, flag)
        chosen.emit(*message["args"])
    assert theirs == await tap.next()


@mixed
@pytest.mark.feature("S5", "S19")
@pytest.mark.parametrize(
    ("do", "args", "whom"),
    [
        ("join", ("x", "y"), {"rooms": ["nobody"]}),
        ("leave", ("x",), {"rooms": ["nobody"], "except_": ["b"]}),
        ("disconnect", (True,), {"rooms": ["nobody"]}),
        ("disconnect", (), {"rooms": ["nobody"]}),
        ("tell", ("notice", 1, {"a": "b"}), {}),
        ("query", ("sum", 1, 2), {}),
        ("fetch", (), {"rooms": ["nobody"], "except_": ["b"]}),
        ("all_rooms", (), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_requests(pair: Pair, tap: Tap, do: str, args: Any, whom: Any):
    """A request has the bytes that Node gives it."""
    asked = []
    for peer in (pair.here, pair.there):
        await getattr(peer, do)(*args, **whom)
        asked.append(await tap.next("-request"))
    assert asked[0] == asked[1]


@mixed
@pytest.mark.feature("M10", "S19")
async def test_a_broadcast_that_asks(pair: Pair, tap: Tap):
    """So has a broadcast that asks for answers, but for the order of its keys."""
    asked = []
    for peer in (pair.here, pair.there):
        await peer.ask("ask", 1, rooms=["nobody"], timeout=2.0)
        channel, payload = await tap.next("-request")
        asked.append((channel, msgspec.msgpack.decode(payload)))
    flags = [facts["opts"].pop("flags") for _, facts in asked]
    assert asked[0] == asked[1]
    assert flags[0]["timeout"] == flags[1]["timeout"] == 2000


@mixed
@pytest.mark.feature("S5")
async def test_answers(pair: Pair, tap: Tap):
    """An answer has the keys of Node's, and the name of who answers."""
    await pair.first.reply("ask", {"a": 1})
    await pair.second.reply("ask", {"a": 1})
    for do, args in (("fetch", ()), ("all_rooms", ()), ("query", ("sum", 1, 2)), ("ask", ("ask",))):
        answers: list[list[dict[str, Any]]] = []
        for peer in (pair.there, pair.here):  # who asks is not who answers
            await getattr(peer, do)(*args)
            kinds = 2 if do == "ask" else 1
            answers.append([decoded((await tap.next("-response"))[1]) for _ in range(kinds)])
        ours, theirs = answers
        for our, their in zip(ours, theirs, strict=True):
            assert set(our) == {*their, "uid"}
            assert our.get("type") == their.get("type")
        if do == "fetch":
            assert set(ours[0]["sockets"][0]) == set(theirs[0]["sockets"][0])
            handshakes = [each[0]["sockets"][0]["handshake"] for each in (ours, theirs)]
            assert set(handshakes[0]) == set(handshakes[1])
            assert {name: type(value) for name, value in handshakes[0].items() if name != "auth"} == {
                name: type(value) for name, value in handshakes[1].items() if name != "auth"
            }


def decoded(payload: bytes) -> dict[str, Any]:
    return msgspec.json.decode(payload) if payload.startswith(b"{") else msgspec.msgpack.decode(payload)


@pytest.mark.parametrize("pair", ["pubsub:madang-madang", "pattern:madang-madang"], indirect=True)
@pytest.mark.feature("S5", "S19")
async def test_old_forms(pair: Pair, tap: Tap, shared_redis: Redis):
    """What servers of older versions ask is done and answered: one socket by its id, and ids for rooms."""
    channel = f"{KEY}-request#{pair.there.url[pair.there.url.rindex('/') :]}#"

    async def ask(**facts: Any) -> None:
        shared_redis.client.publish(channel, msgspec.json.encode({"requestId": "abcdef", **facts}))
        await tap.next("-request")

    await ask(type=2, sid=pair.second.id, room="old")
    await pair.until_rooms(pair.second, {"old"})
    await ask(type=3, sid=pair.second.id, room="old")
    await pair.until_rooms(pair.second, without={"old"})
    await ask(type=0, rooms=[pair.second.id])
    found = []
    while len(found) < 2:
        answer = decoded((await tap.next("-response"))[1])
        if all(isinstance(one, str) for one in answer.get("sockets", [None])):  # and not that of a fetch above
            found.append(answer["sockets"])
    assert sorted(found) == [[], [pair.second.id]]
    await ask(type=4, sid=pair.second.id, close=True)
    await pair.second.disconnected()


@pytest.mark.feature("S7")
async def test_specific_response_channel(shared_redis: Redis):
    """With the option, answers go to who has asked alone, but for those between servers."""
    adapter = madang.RedisAdapter(shared_redis.url, key="specific", publish_on_specific_response_channel=True)
    servers = [madang.Server(adapter=adapter) for _ in range(2)]
    running = [await io.start(port=0) for io in servers]
    pubsub = shared_redis.client.pubsub()
    pubsub.psubscribe("specific-response*")
    try:
        for io in servers:
            await io.adapter.settled()
            io.on_server_side("sum")(lambda a, b: a + b)
        a, _ = servers
        assert await a.fetch_sockets() == []
        assert await a.server_side_emit_with_ack("sum", 1, 2) == [3]
        assert await a.emit_with_ack("ask") == []
        channels: list[str] = []
        while len(channels) < 3:
            message = await asyncio.to_thread(pubsub.get_message, timeout=5)
            if message["type"] == "pmessage":
                channels.append(message["channel"].decode())
        own = f"specific-response#/#{a.adapter.uid}#"
        assert channels == [own, "specific-response#/#", own]
    finally:
        pubsub.close()
        for server in running:
            await server.stop()
