"""What a cluster does: the same on one server, on two of madang's, and on one of madang's with one of Node's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

import madang
from tests.cluster.backings import ASKING, MIXTURES, NODE_EMITTER, SPREAD
from tests.cluster.conftest import Pair
from tests.cluster.peers import TIMEOUT, MadangPeer, NodePeer
from tests.cluster.redis import Redis
from tests.server.javascript import soon

WHEN = datetime(2024, 2, 29, 12, 30, 15, 678000, UTC)
VALUES: tuple[Any, ...] = (
    b"\x00\xff bytes",
    WHEN,
    {"deep": [b"second", {"when": WHEN}], "text": "가나다 😀", "none": None},
    2**40,
    -1.5,
    True,
    [],
)
AS_RECEIVED = [
    b"\x00\xff bytes",
    "2024-02-29T12:30:15.678Z",
    {"deep": [b"second", {"when": "2024-02-29T12:30:15.678Z"}], "text": "가나다 😀", "none": None},
    2**40,
    -1.5,
    True,
    [],
]


async def nothing_before(pair: Pair, event: str, client: Any) -> None:
    """See that a client has not got an event when it gets one that was sent later."""
    for peer in (pair.here, pair.there):
        await peer.emit("marker", rooms=[client.id])
        await client.next("marker")
    assert not [one for one in client.received if one[0] == event]


@pytest.mark.feature("S5", "S9", "S19", "S3", "S21", "N17")
async def test_everyone(pair: Pair):
    """A broadcast reaches the clients of both servers once, with bytes, dates and whatever JSON can carry."""
    await pair.here.emit("news", *VALUES)
    assert await pair.first.next("news") == AS_RECEIVED
    assert await pair.second.next("news") == AS_RECEIVED
    await nothing_before(pair, "news", pair.first)


@pytest.mark.feature("S5", "S19", "S22")
async def test_rooms(pair: Pair):
    """One room, several, one but for another, a room with a number for a name, and a client's own."""
    await pair.joined(second=["a", "b", 42, "방"])
    for rooms in (["a"], ["a", "b"], [42], ["방"], ["nobody", "b"], [pair.second.id]):
        await pair.here.emit("news", rooms, rooms=rooms)
        assert await pair.second.next("news") == [rooms]
    await pair.here.emit("except", rooms=["a"], except_=["b"])
    await pair.here.emit("except", except_=[pair.second.id])
    await pair.first.next("except")
    await pair.here.emit("news", "last", rooms=["a"])
    assert await pair.second.next("news") == ["last"]
    assert not pair.second.received
    await nothing_before(pair, "news", pair.first)


@pytest.mark.feature("S5", "S22")
async def test_left_rooms(pair: Pair):
    """Who has left a room gets nothing more for it, and who joins again does."""
    await pair.joined(second=["a"])
    await pair.here.leave("a", rooms=[pair.second.id])
    await pair.until_rooms(pair.second, without={"a"})
    await pair.here.emit("gone", rooms=["a"])
    await nothing_before(pair, "gone", pair.second)
    await pair.joined(second=["a"])
    await pair.here.emit("again", rooms=["a"])
    await pair.second.next("again")


@pytest.mark.feature("S5", "T6")
@pytest.mark.parametrize("flag", ["volatile", "compress"])
async def test_flags(pair: Pair, flag: str):
    """What is volatile, or not to be compressed, travels as well."""
    await pair.here.emit("news", 1, flags=[flag])
    assert await pair.first.next("news") == [1]
    assert await pair.second.next("news") == [1]


@pytest.mark.feature("S5", "P12")
async def test_local(pair: Pair):
    """What is local stays on its server."""
    await pair.here.emit("news", flags=["local"])
    await pair.first.next("news")
    if pair.others:
        await nothing_before(pair, "news", pair.second)


@pytest.mark.feature("S5")
async def test_order(pair: Pair):
    """What a server sends arrives in the order in which it was sent, whatever it is for; if all takes one way."""
    await pair.joined(second=["a"])
    await asyncio.gather(*(pair.here.emit("tick", n, rooms=["a"] if n % 3 else []) for n in range(100)))
    got = [(await pair.second.next("tick"))[0] for _ in range(100)]
    if pair.backing is not None and pair.backing.name == "rediscluster":  # two channels, on two nodes
        got = [n for n in got if n % 3 == 0] + [n for n in got if n % 3]
        assert got == [n for n in range(100) if n % 3 == 0] + [n for n in range(100) if n % 3]
    else:
        assert got == list(range(100))


@pytest.mark.feature("M10", "S5", "S19")
async def test_broadcast_with_ack(pair: Pair):
    """A broadcast collects the answers of the clients of both servers, bytes and dates among them."""
    await pair.first.reply("ask", {"from": "first"})
    await pair.second.reply("ask", {"from": "second", "bytes": b"\x01\x02"})
    answers = await pair.here.ask("ask", *VALUES)
    assert sorted(answers, key=lambda answer: answer["from"]) == [
        {"from": "first"},
        {"from": "second", "bytes": b"\x01\x02"},
    ]
    assert await pair.second.next("ask") == AS_RECEIVED
    assert await pair.here.ask("ask", rooms=[pair.second.id]) == [{"from": "second", "bytes": b"\x01\x02"}]
    assert await pair.here.ask("ask", rooms=["nobody"]) == []


@pytest.mark.feature("M10")
async def test_broadcast_with_ack_unanswered(pair: Pair):
    """If a client does not answer in time, that is told."""
    await pair.first.reply("ask", 1)
    with pytest.raises((madang.AckTimeout, AssertionError), match="operation has timed out"):
        await pair.here.ask("ask", timeout=0.2)


@pytest.mark.feature("M10", "M7")
@pytest.mark.parametrize("pair", ASKING, indirect=True)
async def test_answers_one_by_one(pair: Pair):
    """`ask` gives the answers of both servers' clients as they come, and those that came if others do not answer."""
    assert isinstance(pair.here, MadangPeer)
    replies = pair.here.nsp.ask("ask", 1, b"\x01", timeout=TIMEOUT)
    there, here = await pair.second.next("ask"), await pair.first.next("ask")
    there.ack("there", "more")
    reply = await soon(anext(replies))
    assert (reply.value, reply.id) == ("there", None if pair.others else pair.second.id)
    here.ack("here", "more")
    reply = await soon(anext(replies))
    assert (reply.value, reply.values, reply.id) == ("here", ("here", "more"), pair.first.id)
    with pytest.raises(StopAsyncIteration):
        await soon(anext(replies))
    assert (replies.missing, replies.counted) == (0, True)

    replies = pair.here.nsp.ask("ask", timeout=3600)
    (await pair.second.next("ask")).ack(2)
    async for reply in replies:
        assert reply.value == 2
        break
    del replies, reply
    adapter: Any = pair.here.nsp.adapter
    while getattr(adapter, "_ack_questions", None) or any(one._acks for one in pair.here.nsp.sockets.values()):
        await asyncio.sleep(0.01)

    asked = pair.here.nsp.emit_with_ack("ask", timeout=TIMEOUT, partial=True)
    (await pair.second.next("ask")).ack(3)
    gone = pair.first.id
    pair.first.disconnect()
    answers = await soon(asked)
    assert (answers, answers.missing, answers.missing_ids, answers.counted) == ([3], 1, {gone}, True)


@pytest.mark.feature("P1", "P2")
async def test_fetch(pair: Pair):
    """Sockets are found on both servers, by room, with rooms, data and handshake."""
    await pair.joined(second=["a", 7], first=["b"])
    found = await pair.here.fetch()
    assert set(found) == {pair.first.id, pair.second.id}
    second = found[pair.second.id]
    assert second["rooms"] == {pair.second.id, "a", 7}
    assert second["data"] == {"of": pair.there.kind}
    assert second["query"]["EIO"] == "4"
    assert set(await pair.here.fetch(rooms=["a"])) == {pair.second.id}
    assert set(await pair.here.fetch(except_=["a"])) == {pair.first.id}
    assert set(await pair.here.fetch(rooms=["nobody"])) == set()


@pytest.mark.feature("P4", "P5")
async def test_joining_and_leaving(pair: Pair):
    """Sockets of both servers are made to join and to leave rooms, all or some."""
    await pair.here.join("x", "y")
    for client in (pair.first, pair.second):
        await pair.until_rooms(client, {"x", "y"})
    await pair.here.leave("x", rooms=["y"], except_=[pair.first.id])
    await pair.until_rooms(pair.second, {"y"}, {"x"})
    await pair.until_rooms(pair.first, {"x", "y"})


@pytest.mark.feature("P6")
@pytest.mark.parametrize(("close", "reason"), [(False, "io server disconnect"), (True, "transport close")])
async def test_disconnecting(pair: Pair, close: bool, reason: str):
    """A socket of the other server is disconnected, with its connection or without."""
    await pair.here.disconnect(close, rooms=[pair.second.id])
    told = await pair.second.disconnected()
    assert told in (reason, "io server disconnect")
    assert set(await pair.there.fetch()) == {pair.first.id}


@pytest.mark.feature("P7")
async def test_server_side_emit(pair: Pair):
    """The other server hears what this one tells it, and this one does not."""
    await pair.here.tell("notice", 1, {"a": ["b"]})
    if pair.others:
        assert await pair.there.heard.next() == [1, {"a": ["b"]}]
        await pair.there.tell("notice", "back")
        assert await pair.here.heard.next() == ["back"]
    assert not [one for one in pair.here.heard.all if one != ["back"]]


@pytest.mark.feature("P8")
async def test_server_side_emit_with_ack(pair: Pair):
    """Each other server answers once; alone, there is nothing to wait for."""
    assert await pair.here.query("sum", 1, 2) == [3] * pair.others


@pytest.mark.feature("P3", "P2", "M14")
@pytest.mark.parametrize("pair", SPREAD, indirect=True)
async def test_remote_socket(pair: Pair):
    """A socket of the other server is sent to, asked, moved and disconnected through what `fetch_sockets` gives."""
    await pair.second.reply("ask", "the answer")
    await pair.here.remote("emit", pair.second.id, "news", *VALUES)
    assert await pair.second.next("news") == AS_RECEIVED
    assert await pair.here.remote("ask", pair.second.id, "ask", 1) == "the answer"
    await pair.here.remote("join", pair.second.id, "z")
    await pair.until_rooms(pair.second, {"z"})
    await pair.here.remote("leave", pair.second.id, "z")
    await pair.until_rooms(pair.second, without={"z"})
    await pair.here.remote("disconnect", pair.second.id)
    assert await pair.second.disconnected() == "io server disconnect"


@pytest.mark.feature("P10")
async def test_server_count(pair: Pair):
    """Each server knows how many there are."""
    assert await pair.here.count() == await pair.there.count() == 1 + pair.others


@pytest.mark.feature("P11")
async def test_all_rooms(pair: Pair):
    """The rooms of both servers are listed."""
    await pair.joined(second=["a", 5], first=["b"])
    assert await pair.here.all_rooms() == {pair.first.id, pair.second.id, "a", 5, "b"}


@pytest.mark.feature("S20")
@pytest.mark.parametrize("pair", [one for one in MIXTURES if ":node-" not in one], indirect=True)
async def test_namespaces_are_apart(pair: Pair):
    """What is sent to one namespace does not reach another of the same servers."""
    assert isinstance(pair.here, MadangPeer)
    pair.here.io.emit("news")
    pair.here.io.of("/other").to(pair.second.id).emit("news")
    await nothing_before(pair, "news", pair.second)


# ------------------------------------------------------------------------------------------------------------ emitters


@pytest.mark.feature("T1", "T5", "T6", "T7", "T8")
@pytest.mark.parametrize("pair", [one for one in SPREAD if "pattern" not in one], indirect=True)
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
async def test_emitter(pair: Pair, sync: bool):
    """From a program that is no server, all clients of both servers are reached, moved, and disconnected."""
    await pair.joined(second=["a"])
    assert pair.backing is not None
    emitter: Any = (madang.SyncEmitter if sync else madang.Emitter)(pair.backing.url, **pair.backing.emitting)
    name = pair.here.url[pair.here.url.rindex("/") :]
    chosen = emitter.of(name[1:])
    chosen.emit("news", *VALUES)
    for client in (pair.first, pair.second):
        assert await client.next("news") == AS_RECEIVED
    chosen.to("a").volatile.compress(False).emit("news", 2)
    assert await pair.second.next("news") == [2]
    chosen.except_("a").sockets_join(["b", "c"])
    await pair.until_rooms(pair.first, {"b", "c"})
    chosen.in_("b").sockets_leave("c")
    await pair.until_rooms(pair.first, {"b"}, {"c"})
    await pair.settled()
    chosen.to("b").emit("news", 3)
    assert await pair.first.next("news") == [3]
    chosen.to("a").disconnect_sockets()
    assert await pair.second.disconnected() == "io server disconnect"
    chosen.server_side_emit("notice", 1, "x")
    for peer in (pair.here, pair.there):
        assert await peer.heard.next() == [1, "x"]
    with pytest.raises(madang.ReservedEventName):
        chosen.emit("connect")
    with pytest.raises(madang.UsageError, match="gets no answer"):
        chosen.server_side_emit("sum", 1, 2, print)
    closed = emitter.close()
    if closed is not None:
        await closed


@pytest.mark.feature("T9")
def test_emitter_reserved_names(shared_redis: Redis):
    """The protocol's own names are refused."""
    with madang.SyncEmitter(shared_redis.url) as emitter:
        for name in ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"):
            with pytest.raises(madang.ReservedEventName):
                emitter.emit(name)


@pytest.mark.feature("T1", "S19")
@pytest.mark.parametrize("pair", NODE_EMITTER, indirect=True)
async def test_node_emitter(pair: Pair):
    """What Node's emitter sends reaches the clients of madang's servers as well."""
    node: Any = next(peer for peer in (pair.here, pair.there) if isinstance(peer, NodePeer))
    await pair.joined(second=["a"], first=["a"])
    await node.call("emit", by="emitter", args=["news", 1, {"$": "date", "is": WHEN.isoformat()}], rooms=["a"])
    for client in (pair.first, pair.second):
        assert await client.next("news") == [1, "2024-02-29T12:30:15.678Z"]
    await node.call("join", by="emitter", names=["b"], rooms=["a"])
    for client in (pair.first, pair.second):
        await pair.until_rooms(client, {"b"})
    await node.call("tell", by="emitter", args=["notice", 1])
    for peer in (pair.here, pair.there):
        assert await peer.heard.next() == [1]
    await node.call("disconnect", by="emitter", close=True, rooms=["b"])
    for client in (pair.first, pair.second):
        await client.disconnected()


@pytest.mark.feature("T10")
@pytest.mark.parametrize("pair", [one for one in SPREAD if one.endswith(":madang-madang")], indirect=True)
async def test_emit_command(pair: Pair, capsys: pytest.CaptureFixture[str]):
    """`madang emit` sends an event from the command line, its arguments read as JSON where they are."""
    from madang.cli.main import main

    await pair.joined(second=["a"])
    name = pair.here.url[pair.here.url.rindex("/") :]
    assert pair.backing is not None
    options = ["--namespace", name, "--to", "a"]
    if key := pair.backing.emitting.get("key"):
        options += ["--key", key]
        url = pair.backing.url
    else:
        url = f"{pair.backing.url}?{urlencode(pair.backing.emitting)}"
    assert main(["emit", url, *options, "news", '{"n": 1}', "plain text", "3"]) == 0
    assert await pair.second.next("news") == [{"n": 1}, "plain text", 3]
    assert capsys.readouterr().out in ("sent\n", "1 server listened\n", "2 servers listened\n")
    await nothing_before(pair, "news", pair.first)
    assert main(["emit", "redis://127.0.0.1:1", "news"]) == 1
    assert "madang: Redis did not take the message" in capsys.readouterr().err
