"""Recovery between workers: stock clients that lose their connection, and come back to another worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import madang
from madang.adapters import local_recovery
from madang.adapters.local import LocalCluster
from tests.conformance.wire import SOCKET, session
from tests.server.conftest import driver, js
from tests.server.javascript import Client, Heard, Js
from tests.workers.crew import Crew, crew, is_alive, process_of, until

__all__ = ["driver", "js"]

Start = Callable[..., Any]


class Node:
    """A worker in this process."""

    def __init__(self, folder: Path, number: int, **options: Any) -> None:
        self.io = madang.Server(**{"connection_state_recovery": True} | options)
        self.lines = LocalCluster(folder, number)
        self.lines.uid = self.lines.stores.uid = f"{number}.{id(self)}"
        self.sockets = Heard()
        self.io.on("connection", self.sockets)

    async def open(self) -> Node:
        assert self.io.spread_with(self.lines)
        await self.lines.opened()
        self.running = await self.io.start(port=0)
        self.url = self.running.url
        return self

    @property
    def store(self) -> local_recovery.LocalRecovery:
        assert self.io.main.recovery is not None
        backend = self.io.main.recovery.backend
        assert isinstance(backend, local_recovery.LocalRecovery)
        return backend

    def stop_talking(self) -> None:
        """Let the other workers see the end of this one, as if it had been killed."""
        self.lines._closed = True
        for line in [*self.lines._lines.values(), *self.lines._ears]:
            if line.transport is not None:
                line.transport.abort()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts workers by number."""
    nodes: list[Node] = []

    async def one(number: int, **options: Any) -> Node:
        node = Node(tmp_path, number, **options)
        nodes.append(node)
        return await node.open()

    yield one
    for node in nodes:
        await node.running.stop()


async def together(*nodes: Node) -> None:
    """Wait until each has a line to each other."""
    await until(lambda: all(len(node.lines.others) == len(nodes) - 1 for node in nodes), "the lines")


class Switch:
    """Where clients connect: it brings them to the worker that the test chooses, and cuts them off."""

    def __init__(self) -> None:
        self.to = 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    def choose(self, node: Node) -> None:
        self.to = int(node.url.rpartition(":")[2])

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
            mine = {writer, back}
            self._writers |= mine
            try:
                await asyncio.gather(pump(reader, back), pump(there, writer))
            finally:
                self._writers -= mine


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.transport.abort()


@asynccontextmanager
async def switch(node: Node) -> AsyncIterator[Switch]:
    made = Switch()
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    made.choose(node)
    yield made
    server.close()
    made.cut()


async def gone(socket: madang.Socket) -> None:
    await until(lambda: not socket.connected, "the end of the socket")


async def back(client: Client, switched: Switch, node: Node) -> dict[str, Any]:
    """Come to another worker; the state then."""
    switched.choose(node)
    client.connect()
    await client.connected()
    return await client.state()


@pytest.mark.usefixtures("mode")
async def test_another_worker(js: Js, start: Start):
    """A client that comes to another worker has its id, rooms and data, and got what all have sent, once and in order.

    Each worker's events have their order, and no other.
    """
    here, there, third = await start(0), await start(1), await start(2)
    await together(here, there, third)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        first.join("room", 7)
        first.data["name"] = "Minji"
        there.io.emit("seen", 1)
        first.emit("seen", 2)
        await client.next("seen")
        await client.next("seen")
        client.drop()
        await client.disconnected()
        await gone(first)
        third.io.emit("missed", 1)
        third.io.to("room").emit("missed", 2, b"\x00")
        third.io.to("elsewhere").emit("missed", "not for this one")
        third.io.to(7).emit("missed", 3)
        here.io.emit("other", 1)
        first.emit("other", 2)
        here.io.to(first.id).emit("other", 3)
        there.io.except_("room").emit("missed", "not for this one either")
        state = await back(client, switched, there)
        second = await there.sockets.next()
        assert second.recovered, second.not_recovered
        assert state["recovered"]
        assert state["id"] == first.id == second.id
        assert second.rooms == {first.id, "room", 7}
        assert second.data == {"name": "Minji"}
        first.emit("other", 4)  # who still has the old one
        third.io.emit("missed", 4)
        got = [list(await client.next("missed")) for _ in range(4)]
        assert [args[0] for args in got] == [1, 2, 3, 4]
        assert got[1][1] == b"\x00"
        assert [(await client.next("other"))[0] for _ in range(4)] == [1, 2, 3, 4]
        assert client.received == []


@pytest.fixture(params=["websocket", "polling"])
async def mode(request: pytest.FixtureRequest, js: Js) -> str:
    js.transports = [request.param]
    return request.param


async def test_again_and_again(js: Js, start: Start):
    """Under continuous events of all workers, through several cuts, each comes once, and in the order of its worker."""
    nodes = [await start(number) for number in range(3)]
    await together(*nodes)
    ends = asyncio.Event()
    sent = dict.fromkeys(range(3), 0)

    async def talk(number: int) -> None:
        while not ends.is_set():
            sent[number] += 1
            if sent[number] % 5 == 0 and (socket := next(iter(nodes[number].io.sockets.values()), None)) is not None:
                socket.emit("said", number, sent[number])
            else:
                nodes[number].io.emit("said", number, sent[number])
            await asyncio.sleep(0.002 * (number + 1))

    async with switch(nodes[0]) as switched, asyncio.TaskGroup() as group:
        options: Any = {"reconnection": True, "reconnectionDelay": 20, "randomizationFactor": 0.5}
        client = await js.connect(switched.url, **options)
        pid = (await nodes[0].sockets.next()).pid
        nodes[0].io.emit("said", "first", 0)
        await client.next("said")
        for number in range(3):
            group.create_task(talk(number))
        for at in range(1, 9):
            await asyncio.sleep(0.05)
            switched.choose(nodes[at % 3])
            switched.cut()
            await client.connected()
            socket = await nodes[at % 3].sockets.next()
            assert socket.recovered, socket.not_recovered
            assert socket.pid == pid
        ends.set()
        await asyncio.sleep(0)
    async with switch(nodes[0]):
        got: dict[int, list[int]] = {0: [], 1: [], 2: []}
        while any(len(got[number]) < sent[number] for number in got):
            origin, count, *_ = await client.next("said")
            got[origin].append(count)
        assert all(got[number] == list(range(1, sent[number] + 1)) for number in got)
        assert client.received == []


async def test_presence_comes_along(js: Js, start: Start):
    """Who was present, or watched, is and does so again with another worker."""
    here, there = await start(0), await start(1)
    await together(here, there)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        here.io.presence("room").track(first, "minji", {"on": "phone"})
        here.io.presence("room").watch(first)
        assert (await client.next("presence_state"))[0] == "room"
        client.drop()
        await client.disconnected()
        await gone(first)
        assert (await back(client, switched, there))["recovered"]
        room, users = await client.next("presence_state")
        assert (room, users) == ("room", [{"user": "minji", "metas": [{"on": "phone"}]}])
        (known,) = await there.io.presence("room").list()
        assert (known.user, list(known.metas)) == ("minji", [{"on": "phone"}])


async def test_the_worker_was_killed(js: Js, start: Start, monkeypatch: pytest.MonkeyPatch):
    """After the death of its worker a client comes back by what the others have been told."""
    monkeypatch.setattr("madang.server.recovery.LOOK", 0.1)
    here, there, third = await start(0), await start(1), await start(2)
    await together(here, there, third)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        first.join("room")
        first.data["name"] = "?"
        first.emit("seen")
        await client.next("seen")
        pid = first.pid
        await until(lambda: pid in there.store._copies and there.store._copies[pid].record.data, "the copy")
        first.data.update(name="민지", photo=b"\x00")  # which nobody is told of: it is looked for
        await until(lambda: there.store._copies[pid].record.data["name"] == "민지", "the newer copy")
        here.stop_talking()
        await until(lambda: here.lines.uid not in there.lines.others, "its end")
        there.io.to("room").emit("missed", 1)
        third.io.emit("missed", 2)
        await third.io.server_count()
        switched.cut()
        await client.disconnected()
        assert (await back(client, switched, there))["recovered"]
        second = await there.sockets.next()
        assert second.rooms == {first.id, "room"}
        assert second.data == {"name": "민지", "photo": b"\x00"}
        assert [(await client.next("missed"))[0] for _ in range(2)] == [1, 2]
        assert client.received == []


async def test_the_old_connection_is_not_known_to_be_dead(js: Js, start: Start):
    """Who comes to another worker before the first one has missed it takes the session over; the old socket ends."""
    here, there = await start(0), await start(1)
    await together(here, there)
    reasons = Heard()
    here.io.on("disconnect", lambda socket, reason: reasons(reason))
    async with session(here.url, SOCKET) as old, session(there.url, SOCKET) as new:
        await old.send("40")
        joined = json.loads((await old.text())[2:])
        (await here.sockets.next()).join("room")
        await new.send(f"40{json.dumps({'pid': joined['pid']})}")
        assert json.loads((await new.text())[2:]) == joined
        assert await reasons.next() == "transport close"
        assert (await there.sockets.next()).rooms == {joined["sid"], "room"}
        assert list(here.io.sockets) == []
        here.io.emit("x")
        assert (await new.text()).startswith('42["x"')


async def test_a_session_is_given_once(js: Js, start: Start):
    """Of two who present the same session to two workers at once one gets it; after the end of it nobody does."""
    nodes = [await start(number) for number in range(3)]
    await together(*nodes)
    async with session(nodes[0].url, SOCKET) as ws:
        await ws.send("40")
        joined = json.loads((await ws.text())[2:])
        socket = await nodes[0].sockets.next()
        await until(lambda: all(joined["pid"] in node.store._copies for node in nodes[1:]), "the copies")
        nodes[0].stop_talking()
        await until(lambda: all(len(node.lines.others) == 1 for node in nodes[1:]), "its end")
    await gone(socket)
    presented = f"40{json.dumps({'pid': joined['pid']})}"
    async with session(nodes[1].url, SOCKET) as one, session(nodes[2].url, SOCKET) as other:
        await one.send(presented)
        await other.send(presented)
        answers = [json.loads((await ws.text())[2:]) for ws in (one, other)]
        sockets = [await nodes[1].sockets.next(), await nodes[2].sockets.next()]
        assert [answer == joined for answer in answers].count(True) == 1
        assert {one.not_recovered for one in sockets} == {None, local_recovery.TAKEN}
        winner = next(one for one in sockets if one.recovered)
        winner.disconnect()
        async with session(nodes[1].url, SOCKET) as again:
            await again.send(presented)
            assert json.loads((await again.text())[2:])["pid"] != joined["pid"]
            assert "no such session" in (await nodes[1].sockets.next()).not_recovered


async def test_a_worker_that_has_just_started(js: Js, start: Start):
    """A worker that was not there when it was sent knows all the same what a client has missed, and who it is."""
    here = await start(0)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        first.join("room")
        here.io.emit("seen")
        await client.next("seen")
        switched.cut()
        await client.disconnected()
        await gone(first)
        for number in range(1000):
            here.io.to("room").emit("missed", number, "x" * 1000)
        there = await start(1)
        await together(here, there)
        here.io.emit("missed", 1000)
        await here.running.stop()
        await until(lambda: not there.lines.others, "its end")
        assert (await back(client, switched, there))["recovered"], (await there.sockets.next()).not_recovered
        assert [(await client.next("missed"))[0] for _ in range(1001)] == list(range(1001))
        assert client.received == []


async def test_who_was_there_before(js: Js, start: Start):
    """A worker that has just started knows who is with the others, should one of them be killed."""
    here = await start(0)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        first.join("room")
        here.io.emit("seen")
        await client.next("seen")
        there = await start(1)
        assert there.store._copies[first.pid].record.rooms == {first.id, "room"}
        await together(here, there)
        here.stop_talking()
        await until(lambda: not there.lines.others, "its end")
        switched.cut()
        await client.disconnected()
        there.io.to("room").emit("missed", 1)
        assert (await back(client, switched, there))["recovered"]
        assert (await client.next("missed"))[0] == 1


async def test_a_silent_worker(js: Js, start: Start, monkeypatch: pytest.MonkeyPatch):
    """If a worker does not answer, a client does not wait for it, and what the others know does."""
    monkeypatch.setattr(local_recovery, "CLAIM_WITHIN", 0.1)
    here, there = await start(0), await start(1)
    await together(here, there)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        here.io.emit("seen")
        await client.next("seen")
        await until(lambda: first.pid in there.store._copies, "the copy")
        monkeypatch.setattr(local_recovery.LocalRecovery, "_on_claim", lambda self, uid, pid: None)
        switched.cut()
        await client.disconnected()
        assert (await back(client, switched, there))["recovered"]


async def test_gone_while_it_is_looked_for(js: Js, start: Start, monkeypatch: pytest.MonkeyPatch):
    """If a client goes, or is refused, while others are asked for its session, it can be had later all the same."""
    here, there = await start(0), await start(1)
    await together(here, there)
    claimed = Heard()
    answer = local_recovery.LocalRecovery._on_claim
    monkeypatch.setattr(local_recovery.LocalRecovery, "_on_claim", lambda *what: claimed(what))
    async with session(here.url, SOCKET) as ws:
        await ws.send("40")
        joined = json.loads((await ws.text())[2:])
        first = await here.sockets.next()
    await gone(first)
    presented = f"40{json.dumps({'pid': joined['pid']})}"
    async with session(there.url, SOCKET) as ws:
        await ws.send(presented)
        question = await claimed.next()
    await until(lambda: not there.io.connections and not there.store._claims, "its end")
    monkeypatch.undo()
    answer(*question)
    assert len(there.io.tasks) == 0
    async with session(there.url, SOCKET) as ws:
        await ws.send(presented)
        assert json.loads((await ws.text())[2:]) == joined
    assert (await there.sockets.next()).recovered


async def test_listeners_of_what_goes_out(js: Js, start: Start):
    """They hear of what other workers send without the offset."""
    here, there = await start(0), await start(1)
    await together(here, there)
    heard = Heard()
    there.io.on("connection", lambda socket: socket.on_any_outgoing(lambda *args: heard(list(args))))
    client = await js.connect(there.url)
    here.io.emit("x", 1, b"\x00")
    assert await heard.next() == ["x", 1, b"\x00"]
    there.io.emit("y", 1)
    assert await heard.next() == ["y", 1]
    assert (await client.next("x"))[:2] == [1, b"\x00"]


async def test_copies_are_bounded(js: Js, start: Start):
    """Of the clients of other workers that have gone only so many are remembered; those that are there all are."""
    options: Any = {"connection_state_recovery": {"max_sessions": 2}}
    here, there = await start(0, **options), await start(1, **options)
    await together(here, there)
    clients = [await js.connect(here.url) for _ in range(6)]
    await until(lambda: len(there.store._copies) == 6, "the copies")
    for client in clients[:4]:
        client.drop()
        await gone(await here.sockets.next())
    there_still = {socket.pid for socket in here.io.sockets.values()}
    last = set(here.store._gone)
    assert len(there_still) == len(last) == 2
    await until(lambda: set(there.store._copies) == last | there_still, "the bound")


async def test_what_was_lost_is_told(js: Js, start: Start):
    """Who may have missed a message between workers that was lost is not recovered, and told so."""
    here, there = await start(0), await start(1)
    await together(here, there)
    client = await js.connect(there.url)
    first = await there.sockets.next()
    here.io.emit("seen", 1)
    await client.next("seen")
    (line,) = here.lines._lines.values()
    write, line.write = line.write, lambda frame: False  # type: ignore[method-assign]
    here.io.emit("lost")
    line.write = write  # type: ignore[method-assign]
    here.io.emit("seen", 2)
    await client.next("seen")
    client.drop()
    await client.disconnected()
    await gone(first)
    client.connect()
    await client.connected()
    assert (await there.sockets.next()).not_recovered == local_recovery.TORN


async def test_too_long_ago(js: Js, start: Start):
    """After `max_disconnection_duration` the session is over everywhere."""
    options: Any = {"connection_state_recovery": {"max_disconnection_duration": 0.2}}
    here, there = await start(0, **options), await start(1, **options)
    await together(here, there)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        switched.cut()
        await client.disconnected()
        await gone(first)
        await until(lambda: not here.store.needed and not there.store._copies, "the end of the session")
        assert not (await back(client, switched, there))["recovered"]
        assert "no such session" in (await there.sockets.next()).not_recovered


async def test_dynamic_namespaces(js: Js, start: Start):
    """A dynamic namespace need not be there when a client comes; what was sent in it is known all the same."""
    here, there = await start(0, cleanup_empty_child_namespaces=True), await start(1)
    for node in (here, there):
        node.io.of("/room/{id}").on("connection", node.sockets)
    await together(here, there)
    async with switch(here) as switched:
        client = await js.connect(switched.url, "/room/1")
        first = await here.sockets.next()
        first.emit("seen")
        await client.next("seen")
        assert "/room/1" not in there.io.namespaces
        switched.cut()
        await client.disconnected()
        await gone(first)
        here.io.of("/room/1").emit("missed", 1)
        assert (await back(client, switched, there))["recovered"]
        assert (await client.next("missed"))[0] == 1
        await until(lambda: "/room/1" not in here.io.namespaces, "its end")


async def test_what_is_for_one_worker(js: Js, start: Start):
    """What is emitted with `local` is sent, without an offset, and not recovered."""
    here = await start(0)
    client = await js.connect(here.url)
    here.io.local.emit("x", 1)
    assert list(await client.next("x")) == [1]
    assert not here.store.bytes


async def test_data_that_cannot_be_told(js: Js, start: Start, caplog: pytest.LogCaptureFixture):
    """Data that has no JSON form stays with its worker, which says so once; the rest of the session does not suffer."""
    here, there = await start(0), await start(1)
    await together(here, there)
    async with switch(here) as switched:
        client = await js.connect(switched.url)
        first = await here.sockets.next()
        first.data["lock"] = object()
        first.join("room")
        switched.cut()
        await client.disconnected()
        await gone(first)
        assert (await back(client, switched, there))["recovered"]
        second = await there.sockets.next()
        assert second.data == {}
        assert second.rooms == {first.id, "room"}
    assert caplog.text.count("socket.data of / stays with this worker") == 1


# ------------------------------------------------------------------------------------------------------ real processes


async def tick_everywhere(workers: Crew) -> None:
    """Let all workers send without end."""
    told: set[int] = set()
    while told != workers.workers():
        async with madang.connect(workers.url, force_new=True, transports=["websocket"]) as client:
            told.add(await process_of(client))
            await client.emit_with_ack("tick", timeout=5)


class Ticks:
    """What a client has got of the workers' events."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: dict[int, int] = {}

    async def whole(self, sure: int | None = None) -> None:
        """What has come is without gap and double; wait for more, of this worker if it is given."""
        seen = False
        while not seen or self._client.received:
            pid, number, *_ = await self._client.next("tick")
            last = self._last.get(pid)
            assert last is None or number == last + 1, (pid, last, number)
            self._last[pid] = number
            seen = seen or pid == sure or sure is None


async def test_real_workers(js: Js):
    """A client stays who it is, and misses nothing, while its workers are killed, frozen and exchanged."""
    env = {"RECOVERY": "1"}
    async with crew(workers=3, env=env) as workers:
        options: Any = {"reconnection": True, "reconnectionDelay": 50, "reconnectionDelayMax": 200, "timeout": 1000}
        client = await js.connect(workers.url, **options)
        known = client.id
        await client.emit_with_ack("put", "name", "Minji")
        await client.emit_with_ack("join", "ticks")
        mine = [sorted([known, "ticks"]), {"name": "Minji"}, None]
        await tick_everywhere(workers)
        ticks = Ticks(client)
        await ticks.whole()

        async def comes_back() -> int:
            await client.connected()
            assert (await client.state())["recovered"], await client.emit_with_ack("what am I?")
            assert await client.emit_with_ack("what am I?") == mine
            await ticks.whole()
            return (await client.emit_with_ack("who"))[0]

        pid = (await client.emit_with_ack("who"))[0]
        os.kill(pid, signal.SIGKILL)
        pid = await comes_back()

        await tick_everywhere(workers)
        os.kill(pid, signal.SIGSTOP)
        client.drop()
        await comes_back()
        os.kill(pid, signal.SIGCONT)
        await ticks.whole(sure=pid)
        assert await client.emit_with_ack("what am I?") == mine

        old = workers.workers()
        workers.tell(signal.SIGHUP)
        await until(lambda: not any(is_alive(pid) for pid in old), "the exchange")
        await until(lambda: client.lives("connect") > 0, "the client")
        await comes_back()
        assert (await client.state())["id"] == known
