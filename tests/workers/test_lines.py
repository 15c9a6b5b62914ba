"""The lines between workers: what they carry, whom they reach, and what is left when they end."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import madang
from madang.adapters.local import LocalCluster
from tests.server.conftest import driver, js
from tests.server.javascript import Heard, Js
from tests.workers.crew import until

__all__ = ["driver", "js"]

Start = Callable[[int], Any]


class Node:
    """A worker in this process."""

    def __init__(self, folder: Path, number: int) -> None:
        self.io = madang.Server()
        self.lines = LocalCluster(folder, number)
        self.url = ""

    async def open(self) -> Node:
        assert self.io.spread_with(self.lines)
        await self.lines.opened()
        self.running = await self.io.start(port=0)
        self.url = self.running.url
        return self


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts workers by number."""
    nodes: list[Node] = []

    async def one(number: int) -> Node:
        node = await Node(tmp_path, number).open()
        nodes.append(node)
        return node

    yield one
    for node in nodes:
        await node.running.stop()


async def both_hear(here: Node, there: Node) -> None:
    """Wait until each has a line to the other."""

    async def counted() -> None:
        while [await node.io.server_count() for node in (here, there)] != [2, 2]:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(5):
        await counted()


@dataclasses.dataclass
class Point:
    x: int


class Name(str):
    """Text of a class of its own."""

    __slots__ = ()


async def test_values_of_all_kinds(start: Start):
    """What workers tell each other is what clients would get of it, whatever class it is of."""
    here, there = await start(0), await start(1)
    heard = Heard()
    there.io.on_server_side("told")(lambda *values: heard(list(values)))
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    here.io.server_side_emit(
        "told", moment, Decimal("1.5"), Point(1), [b"\x00\xff"], 2**70, "\ud800", Name("x"), (1, 2)
    )
    got = await heard.next()
    assert got[0] == "2026-01-02T03:04:05.000Z"
    assert float(got[1]) == 1.5
    assert got[2:5] == [{"x": 1}, [b"\x00\xff"], float(2**70)]
    assert got[6:] == ["x", [1, 2]]


async def test_data_and_answers_of_all_kinds(start: Start, js: Js):
    """`socket.data` and answers may hold such values too."""
    here, there = await start(0), await start(1)
    there.io.on("connection", lambda socket: socket.data.update(point=Point(1), since=datetime(2026, 1, 1, tzinfo=UTC)))
    there.io.on_server_side("which?")(lambda: Point(2))
    client = await js.connect(there.url)
    (found,) = await here.io.fetch_sockets()
    assert found.id == client.id
    assert found.data == {"point": {"x": 1}, "since": "2026-01-01T00:00:00.000Z"}
    assert list(await here.io.server_side_emit_with_ack("which?")) == [{"x": 2}]


async def test_rooms_of_all_kinds(start: Start, js: Js):
    """A room may be named by a number, or by text of a class of its own, and reaches its members everywhere."""
    here, there = await start(0), await start(1)
    there.io.on("connection", lambda socket: socket.join(7, "x"))
    client = await js.connect(there.url)
    here.io.to(7).emit("a")
    here.io.to(Name("x")).emit("b")
    here.io.to(Name("x"), 7).emit("c")
    for event in "abc":
        await client.next(event)


async def test_a_namespace_that_others_do_not_have(start: Start, js: Js):
    """Who asks in a dynamic namespace does not wait for workers where nobody has joined it."""
    here, there = await start(0), await start(1)
    for node in (here, there):
        node.io.of("/room/{id}").on("connection", lambda socket: None)
    client = await js.connect(here.url, "/room/1")
    await client.reply("vote?", 1)
    namespace = here.io.of("/room/1")
    async with asyncio.timeout(2):
        found = await namespace.fetch_sockets()
        assert ([one.id for one in found], found.missing) == ([client.id], 0)
        rooms = await namespace.all_rooms()
        assert (set(rooms), rooms.missing) == ({client.id}, 0)
        assert list(await namespace.server_side_emit_with_ack("who?")) == []
        assert list(await namespace.timeout(10).emit_with_ack("vote?")) == [1]


async def test_listeners_of_what_goes_out(start: Start, js: Js):
    """They hear of a broadcast of another worker as of one of this."""
    here, there = await start(0), await start(1)
    heard = Heard()
    there.io.on("connection", lambda socket: socket.on_any_outgoing(lambda *args: heard(list(args))))
    client = await js.connect(there.url)
    here.io.emit("x", 1, b"\x00")
    assert await heard.next() == ["x", 1, b"\x00"]
    assert await client.next("x") == [1, b"\x00"]


@pytest.mark.parametrize("first", ["the news", "the successor"])
async def test_a_number_that_is_used_again(start: Start, tmp_path: Path, first: str):
    """A worker with the number of one that has ended is heard and told, even if it is faster than that news."""
    here, old = await start(0), await start(1)
    await both_hear(here, old)
    if first == "the news":
        await old.lines.close()
        await until(lambda: not here.lines.others, "the end of its lines")
        new = await start(1)
    else:
        (tmp_path / "1.line").unlink()  # as its successor does
        new = Node(tmp_path, 1)
        new.lines.uid = "1.new"
        opening = asyncio.ensure_future(new.open())
        await until(lambda: any(ear.uid == "1.new" for ear in here.lines._ears), "the successor")
        for line in [*old.lines._lines.values(), *old.lines._ears]:
            assert line.transport is not None
            line.transport.abort()
        await opening
    heard = Heard()
    new.io.on_server_side("told")(heard)
    await until(lambda: new.lines.uid in here.lines.others, "its lines")
    here.io.server_side_emit("told", 1)
    assert await heard.next() == 1
    if first == "the successor":
        await new.running.stop()


async def test_what_cannot_be_understood(start: Start):
    """A message that is none is counted, and those behind it are heard."""
    here, there = await start(0), await start(1)
    heard = Heard()
    there.io.on_server_side("told")(heard)
    (line,) = here.lines._lines.values()
    for frame in (b"", b"\xc1", b"\x93\xa1/\xc0\xc4\x01m", b"\x93\xa1/\xc0\xc4\x02e\x00"):
        line.write(len(frame).to_bytes(4, "big") + frame)
    here.io.server_side_emit("told", "x" * 20_000_000)
    assert len(await heard.next()) == 20_000_000
    assert there.lines.poison == 4


async def test_nothing_is_left(tmp_path: Path):
    """Workers that have ended leave neither descriptors nor tasks nor files."""
    before = len(os.listdir("/proc/self/fd")), asyncio.all_tasks()
    for _ in range(3):
        nodes = [await Node(tmp_path, number).open() for number in range(3)]
        for node in nodes:
            node.io.emit("x")
            await node.running.stop()
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before[0], "the end of the descriptors")
    assert asyncio.all_tasks() == before[1]
    assert not list(tmp_path.iterdir())
