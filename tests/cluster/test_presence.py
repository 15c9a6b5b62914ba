"""Presence over several servers: one list for all, servers that die, messages that are lost, Node among them."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import madang
from madang.adapters.local import LocalCluster
from madang.adapters.messages import ClusterMessage
from tests.cluster.backings import PubSub
from tests.cluster.peers import KEY, NodeServer
from tests.cluster.redis import Redis
from tests.hosts import ROOT, listening
from tests.server.javascript import Client, Heard, Js, soon

PATIENT: dict[str, Any] = {"batch": 0.02, "heartbeat": 0.3, "lease": 30.0}
MORTAL: dict[str, Any] = {"batch": 0.02, "heartbeat": 0.2, "lease": 0.8}

_keys = itertools.count(1)


class Member:
    """A server that uses presence, and what its handlers heard."""

    def __init__(self, io: madang.Server, uses: bool = True) -> None:
        self.io = io
        self.url = ""
        self.diffs = Heard()
        self.stopping: Any = None
        if uses:
            io.on_presence(self.diffs)

    @property
    def room(self) -> madang.Presence:
        return self.io.presence("room")

    async def comes(self, js: Js, user: str, meta: Any = None, *, watch: bool = False) -> Client:
        """A client of this server, present as a user."""
        client = await js.connect(self.url)
        self.room.track(self.io.sockets[client.id], user, meta)
        if watch:
            self.room.watch(self.io.sockets[client.id])
        return client

    async def users(self) -> dict[str, int]:
        """Each user, and the number of his connections."""
        return {one.user: len(one.metas) for one in await self.room.list()}

    async def until(self, users: dict[str, int]) -> None:
        """Wait until this server knows these users."""
        while True:
            known = await self.users()
            if known == users:
                return
            await asyncio.sleep(0.005)

    async def until_missing(self, number: int) -> None:
        """Wait until it says that so many servers are missing."""
        while (await self.room.list()).missing != number:
            await asyncio.sleep(0.01)


class Makes:
    """Makes the servers of one cluster.

    Attributes:
        node: a Node server that is in it as well, or None.
        nodes: how many Node servers are in it.
    """

    def __init__(
        self, stack: AsyncExitStack, adapter: Callable[[], Any] | None, folder: Path, node: NodeServer | None = None
    ) -> None:
        self._stack = stack
        self._adapter = adapter
        self._folder = folder
        self._numbers = itertools.count()
        self.node = node
        self.nodes = int(node is not None)

    async def __call__(self, uses: bool = True, **presence: Any) -> Member:
        """One more, which uses presence or not."""
        member = Member(madang.Server(adapter=self._adapter and self._adapter(), presence=presence or PATIENT), uses)
        if self._adapter is None:
            lines = LocalCluster(self._folder, next(self._numbers))
            assert member.io.spread_with(lines)
            await lines.opened()
        running = await member.io.start(port=0)
        member.url, member.stopping = running.url, running.stop
        self._stack.push_async_callback(running.stop)
        await member.io.adapter.settled()
        return member


@pytest.fixture(params=["workers", "redis", "node"])
async def makes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Makes]:
    """Each kind of cluster; in ``node`` there is a Node server as well."""
    kind: str = request.param
    async with AsyncExitStack() as stack:
        if kind == "workers":
            yield Makes(stack, None, tmp_path)
        else:
            redis: Redis = request.getfixturevalue("shared_redis")
            key = KEY if kind == "node" else f"presence{next(_keys)}"
            server: NodeServer | None = None
            if kind == "node":
                server = request.getfixturevalue("node_servers")(PubSub(redis, "room"))
                await server.call("open", nsp="/")
            yield Makes(stack, lambda: madang.RedisAdapter(redis.url, key=key), tmp_path, server)


@asynccontextmanager
async def over(redis: Redis, count: int, **presence: Any) -> AsyncIterator[list[Member]]:
    """Some servers over a Redis."""
    async with AsyncExitStack() as stack:
        key = f"presence{next(_keys)}"
        makes = Makes(stack, lambda: madang.RedisAdapter(redis.url, key=key, timeout=0.5), Path())
        yield [await makes(**presence) for _ in range(count)]


async def test_one_list_for_all(js: Js, makes: Makes):
    """Users are known everywhere, each once; handlers and watching clients of each server hear of the changes."""
    here, there = await makes(), await makes()
    nodes_clients = [await js.connect(makes.node.url)] if makes.node is not None else []
    assert await there.users() == await here.users() == {}
    mine = await here.comes(js, "minji", {"on": "here"}, watch=True)
    await soon(there.until({"minji": 1}))
    theirs = await there.comes(js, "minji", {"on": "there"}, watch=True)
    await there.comes(js, "joon", {"name": "준"})
    for member in (here, there):
        await soon(member.until({"minji": 2, "joon": 1}))
    assert await mine.next("presence_state") == ["room", [{"user": "minji", "metas": [{"on": "here"}]}]]
    assert (await theirs.next("presence_state"))[0] == "room"
    for member in (here, there):
        await soon(_told(member.diffs, "joon", "joined"))
    while {"user": "joon", "metas": [{"name": "준"}]} not in (await mine.next("presence_diff"))[1]["joined"]:
        pass
    theirs.disconnect()
    await soon(here.until({"minji": 1, "joon": 1}))
    here.io.except_(mine.id).sockets_leave("room")
    for member in (here, there):
        await soon(member.until({"minji": 1}))
    there.io.disconnect_sockets()
    for member in (here, there):
        await soon(member.until({}))
        await soon(_told(member.diffs, "minji", "left"))
    for client in nodes_clients:  # Node has minded nothing of it, but for what was for all
        assert await client.disconnected() == "io server disconnect"
        assert client.received == []
        assert makes.node is not None
        assert await makes.node.call("count", nsp="/") == 3


async def _told(diffs: Heard, user: str, what: str) -> None:
    """Wait until it was told that a user has joined or left."""
    while user not in [one.user for one in getattr(await diffs.next(), what)]:
        pass


async def test_who_comes_late_knows_all(js: Js, makes: Makes):
    """The first list of a new server has everybody, in all namespaces; only Node's servers are missing for a while."""
    first, second = await makes(), await makes()
    await first.comes(js, "minji")
    await second.comes(js, "joon")
    chat = first.io.of("/chat")
    client = await js.connect(first.url, "/chat")
    chat.presence(1).track(chat.sockets[client.id], "numbered", {"deep": [1, {"float": 0.1}]})
    for member in (first, second):
        await soon(member.until({"minji": 1, "joon": 1}))
    late = await makes(heartbeat=0.2, lease=1.5, batch=0.02, sync_timeout=0.5)
    found = await late.room.list()
    assert sorted(one.user for one in found) == ["joon", "minji"]
    assert found.missing == makes.nodes
    ((user, metas),) = [(one.user, one.metas) for one in await late.io.of("/chat").presence(1).list()]
    assert (user, metas) == ("numbered", [{"deep": [1, {"float": 0.1}]}])
    await soon(late.until_missing(0))


async def test_who_closes_is_gone_at_once(js: Js, makes: Makes):
    """A server that ends in good order takes its users with it, without waiting for any lease."""
    here, there = await makes(), await makes()
    await here.comes(js, "minji")
    await there.comes(js, "minji")
    await there.comes(js, "joon")
    await soon(_told(here.diffs, "joon", "joined"))
    await there.stopping()
    await soon(here.until({"minji": 1}))
    await soon(_told(here.diffs, "joon", "left"))
    await here.stopping()


async def test_what_it_costs_others(js: Js, makes: Makes):
    """A server that does not use presence answers who asks for it once, and then says and keeps nothing."""
    silent = await makes(uses=False)
    said = silent.io.adapter_health.published
    here = await makes()
    await here.comes(js, "minji")
    assert (await here.room.list()).missing == makes.nodes
    heard = silent.io.adapter_health.received
    async with asyncio.timeout(5):
        while silent.io.adapter_health.received < heard + 3:
            await asyncio.sleep(0.01)
    assert silent.io.adapter_health.published == said + 1
    assert silent.io.presences is None


async def test_what_is_no_message(js: Js, makes: Makes):
    """What cannot be understood, or is of another form, does no harm."""
    here, there = await makes(), await makes()
    await here.comes(js, "minji")
    for junk in (
        *(None, 1, "", "[]", "[1]", '[2,"beat","x","",1,0]', '[1,"new kind","x"]', '[1,"beat","x"', '{"a":1}'),
        '[1,"state","x","",9,5,"",3,2,[]]',
        '[1,"state","x","",9,5,"",-1,0,[]]',
        '[1,"delta","y","",-1e300,1,"",0,1,[["/","room","s","liar",[]]]]',
        '[1,"want","x","",0,0,"nobody"]',
    ):
        here.io.adapter.server_side_emit(("madang:presence", junk))
    here.io.adapter.server_side_emit(("madang:presence",))
    await soon(there.until({"minji": 1}))
    assert there.io.adapter_health.poison == 0


def lose(member: Member, drops: Callable[[str], bool]) -> Heard:
    """Let what a server says of presence be lost on its way, where `drops` says so of its kind; what was lost."""
    backend = member.io.adapter._backend
    publish = backend.publish
    lost = Heard()

    def say(message: ClusterMessage) -> None:
        kind = json.loads(message.args[1])[1]
        if drops(kind):
            lost(kind)
        else:
            publish(message)

    backend.publish = say
    return lost


async def test_lost_changes(js: Js, shared_redis: Redis):
    """Who misses a change sees it by the next one, or by the next heartbeat, and asks for all."""
    async with over(shared_redis, 2, **PATIENT) as (here, there):
        await here.comes(js, "first")
        await soon(there.until({"first": 1}))
        dropping = {"delta"}
        lost = lose(here, lambda kind: kind in dropping)
        await here.comes(js, "second")
        assert await lost.next() == "delta"
        await soon(there.until({"first": 1, "second": 1}))
        dropping |= {"state", "beat"}
        await here.comes(js, "third")
        while await lost.next() != "beat":
            pass
        assert await there.users() == {"first": 1, "second": 1}
        dropping.clear()
        await here.comes(js, "fourth")
        await soon(there.until({"first": 1, "second": 1, "third": 1, "fourth": 1}))


async def test_a_server_that_is_not_heard(js: Js, shared_redis: Redis):
    """When nothing more comes from a server its users leave within the lease; they join again when it is heard."""
    async with over(shared_redis, 2, **MORTAL) as (here, there):
        await here.comes(js, "minji")
        await there.comes(js, "minji")
        await there.comes(js, "joon")
        await soon(_told(here.diffs, "joon", "joined"))
        silenced = [True]
        lose(there, lambda _: silenced[0])
        began = asyncio.get_running_loop().time()
        await soon(here.until({"minji": 1}))
        assert asyncio.get_running_loop().time() - began < MORTAL["lease"] + 2 * MORTAL["heartbeat"]
        await soon(_told(here.diffs, "joon", "left"))
        assert await there.users() == {"minji": 2, "joon": 1}
        silenced.clear()
        silenced.append(False)
        await soon(here.until({"minji": 2, "joon": 1}))


async def test_redis_goes_and_comes_back(js: Js, redis: Redis):
    """While Redis is away each server has its own users and says that others are missing; then all are there again."""
    async with over(redis, 2, **MORTAL) as (here, there):
        await here.comes(js, "minji")
        await there.comes(js, "joon")
        for member in (here, there):
            await soon(member.until({"minji": 1, "joon": 1}))
        redis.kill()
        await soon(here.until({"minji": 1}))
        await soon(there.until({"joon": 1}))
        assert (await here.room.list()).missing == 1
        assert await here.comes(js, "new")
        redis.start()
        for member in (here, there):
            await soon(member.until({"minji": 1, "joon": 1, "new": 1}), seconds=10)
            await soon(member.until_missing(0))


async def test_started_while_redis_is_away(js: Js, redis: Redis):
    """Then `list` answers in bounded time with what is here, and says that others are missing."""
    redis.kill()
    async with over_stopped(redis) as member:
        await member.comes(js, "minji")
        found = await soon(member.room.list())
        assert [one.user for one in found] == ["minji"]
        assert found.missing == 1


@asynccontextmanager
async def over_stopped(redis: Redis) -> AsyncIterator[Member]:
    """A server over a Redis that is not there."""
    member = Member(madang.Server(adapter=madang.RedisAdapter(redis.url, timeout=0.5), presence={"sync_timeout": 0.2}))
    async with listening(member.io) as url:
        member.url = url
        yield member


async def test_a_process_that_freezes_and_dies(js: Js, shared_redis: Redis):
    """Frozen it is gone within the lease; going on it is there again, and has given nobody up; killed it is gone."""
    async with AsyncExitStack() as stack:
        makes = Makes(stack, lambda: madang.RedisAdapter(shared_redis.url, key="died"), Path())
        here = await makes(**MORTAL)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cluster.member", shared_redis.url, json.dumps(MORTAL)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            url = (await soon(process.stdout.readline(), "the start of a server", 20)).decode().strip()
            await here.comes(js, "minji")
            client = await js.connect(url, auth={"user": "joon"})
            await soon(here.until({"minji": 1, "joon": 1}))
            process.send_signal(signal.SIGSTOP)
            await soon(here.until({"minji": 1}))
            process.send_signal(signal.SIGCONT)
            assert await client.emit_with_ack("who is there") == ["joon", "minji"]
            await soon(here.until({"minji": 1, "joon": 1}))
            process.kill()
            await soon(here.until({"minji": 1}))
            await soon(here.until_missing(0))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
