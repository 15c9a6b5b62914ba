"""Servers of one cluster with different parsers towards their clients: what is between them is the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

import madang
from madang.adapters.local import LocalCluster
from tests.cluster.backings import BACKINGS, Backing
from tests.cluster.conftest import Pair
from tests.cluster.peers import MadangPeer, NodePeer, NodeServer, Peer
from tests.cluster.test_behaviour import AS_RECEIVED, VALUES
from tests.hosts import listening
from tests.server.javascript import Js, soon

MSGPACK: Final = {"parser": "msgpack"}
MIXED: Final = ["pubsub:madang", "pubsub:node", "postgres:madang", "streams:madang", "workers:msgpack"]


@pytest.fixture(params=MIXED)
async def mixed(request: pytest.FixtureRequest, js: Js, tmp_path: Path) -> AsyncIterator[Pair]:
    """A server with MessagePack, and one with the default parser; workers are alike."""
    between, other = request.param.split(":")
    name, backing = f"/parsers-{between}-{other}", None if between == "workers" else BACKINGS[between](request)
    async with AsyncExitStack() as stack:
        here = await _peer(stack, backing, tmp_path, 0, name, madang.MsgpackParser())
        if other == "node":
            assert backing is not None
            servers: Callable[[Backing], NodeServer] = request.getfixturevalue("node_servers")
            there: Peer = NodePeer(servers(backing), name)
            await there.open()  # type: ignore[attr-defined]  # pyright: ignore
        else:
            parser = madang.MsgpackParser() if other == "msgpack" else None
            there = await _peer(stack, backing, tmp_path, 1, name, parser)
        if backing is not None:
            await backing.together(name, [here, there])
        for peer in (here, there):
            await peer.settled()
        first = await js.connect(here.url, "", **MSGPACK)
        second = await js.connect(there.url, "", **(MSGPACK if other == "msgpack" else {}))
        pair = Pair("mixed", backing, here, there, first, second, 1)
        await pair.settled()
        yield pair


async def _peer(
    stack: AsyncExitStack, backing: Backing | None, folder: Path, number: int, name: str, parser: Any
) -> MadangPeer:
    io = madang.Server(adapter=None if backing is None else backing.adapter(), parser=parser)
    if backing is None:
        lines = LocalCluster(folder, number)
        assert io.spread_with(lines)
        await lines.opened()
    return MadangPeer(io, await stack.enter_async_context(listening(io)), name)


@pytest.mark.feature("R2", "S19")
async def test_broadcasts_and_answers(mixed: Pair):
    """Broadcasts, to all and to rooms, and their answers are understood by both, with bytes and dates."""
    for peer in (mixed.here, mixed.there):
        await peer.emit("news", *VALUES)
        for client in (mixed.first, mixed.second):
            assert await client.next("news") == AS_RECEIVED
        await peer.emit("plain", 1, {"text": "가"})
        for client in (mixed.first, mixed.second):
            assert await client.next("plain") == [1, {"text": "가"}]
    await mixed.joined(first=["room"], second=["room"])
    await mixed.here.emit("to the room", b"\x00", rooms=["room"])
    await mixed.there.emit("to the room", [b"\x01"], rooms=["room"])
    for client in (mixed.first, mixed.second):
        got = [await client.next("to the room") for _ in range(2)]
        assert sorted(got, key=str) == [[[b"\x01"]], [b"\x00"]]
    await mixed.first.reply("vote", [b"\x01", 1])
    await mixed.second.reply("vote", [b"\x02", 2])
    for peer in (mixed.here, mixed.there):
        assert sorted(await soon(peer.ask("vote", b"\x00"))) == [[b"\x01", 1], [b"\x02", 2]]


@pytest.mark.feature("R2", "Q1")
async def test_recovery_between_workers(js: Js, tmp_path: Path):
    """A client with MessagePack that comes back to another worker gets what it missed; outgoing listeners see it."""
    async with AsyncExitStack() as stack:
        servers, urls = [], []
        for number in range(2):
            io = madang.Server(parser=madang.MsgpackParser(), connection_state_recovery=True)
            lines = LocalCluster(tmp_path, number)
            assert io.spread_with(lines)
            await lines.opened()
            servers.append(io)
            urls.append(await stack.enter_async_context(listening(io)))
        seen: list[Any] = []
        servers[0].on("connection", lambda socket: socket.on_any_outgoing(lambda *args: seen.append(args)))
        client = await js.connect(urls[0], **MSGPACK)
        servers[1].emit("first", [b"\x00"])
        assert (await client.next("first"))[:-1] == [[b"\x00"]]
        assert [args[-2:] for args in seen] == [("first", [b"\x00"])]
        client.drop()
        await client.disconnected()
        servers[1].emit("missed", {"a": b"\x01"})
        servers[0].emit("missed too", 2)
        client.connect()
        await client.connected()
        assert (await client.state())["recovered"]
        assert (await client.next("missed"))[0] == {"a": b"\x01"}
        assert (await client.next("missed too"))[0] == 2
