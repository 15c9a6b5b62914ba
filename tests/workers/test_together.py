"""Workers are one server: rooms, broadcasts, answers and queries reach the clients of all."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest

import madang
from tests.server.conftest import driver, js
from tests.server.javascript import Client, Js
from tests.workers.crew import Place, crew, process_of, until

__all__ = ["driver", "js"]


pytestmark = pytest.mark.feature("S14", "B13", "B15")


@pytest.fixture
async def clients(workers: Place, js: Js) -> list[Client]:
    """Stock clients, with two workers at least."""
    clients = [await js.connect(workers.url) for _ in range(6)]
    pids = {(await client.emit_with_ack("who"))[0] for client in clients}
    while len(pids) < 2:
        clients.append(await js.connect(workers.url))
        pids.add((await clients[-1].emit_with_ack("who"))[0])
    return clients


async def test_a_room_reaches_over_all(clients: list[Client]):
    """A room's event reaches its members wherever they are, once, with its bytes, and nobody else."""
    for client in clients[:-1]:
        await client.emit_with_ack("join", "room")
    clients[-1].emit("say", "room", 1, b"\x00\xff", {"deep": [b"x"]})
    clients[-1].emit("say", "", "the end")
    for client in clients[:-1]:
        assert await client.next("said") == [1, b"\x00\xff", {"deep": [b"x"]}]
    for client in clients:
        assert await client.next("said") == ["the end"]
        assert client.received == []


async def test_the_order_of_one_is_the_order_everywhere(clients: list[Client]):
    """What one worker says reaches the clients of each in the order in which it was said."""
    for number in range(200):
        clients[0].emit("say", "", number)
    for client in clients:
        assert [(await client.next("said"))[0] for _ in range(200)] == list(range(200))


async def test_all_clients_are_asked(clients: list[Client]):
    """A question to all is answered by the clients of all workers."""
    for number, client in enumerate(clients):
        await client.reply("vote?", number)
        await client.emit_with_ack("join", "voters")  # others may still be there, of tests before
    assert await clients[0].emit_with_ack("vote", "voters") == list(range(len(clients)))


async def test_clients_are_found_everywhere(clients: list[Client]):
    """`fetch_sockets` finds those of all workers, and `disconnect_sockets` reaches them."""
    for client in clients[1:]:
        await client.emit_with_ack("join", "found")
    found, missing = await clients[0].emit_with_ack("who is there", "found")
    assert found == sorted(client.id for client in clients[1:])
    assert missing == 0
    clients[0].emit("dismiss", "found")
    for client in clients[1:]:
        assert await client.disconnected() == "io server disconnect"
    assert await clients[0].emit_with_ack("who is there", "found") == [[], 0]


async def test_servers_know_each_other(workers: Place, clients: list[Client]):
    """`server_count` counts the workers, and a server-side question is answered by all others."""
    assert await clients[0].emit_with_ack("servers") == 3
    own = (await clients[0].emit_with_ack("who"))[0]
    assert await clients[0].emit_with_ack("other processes") == sorted(workers.workers() - {own})


async def connected(stack: AsyncExitStack, url: str, count: int) -> list[madang.Client]:
    options: Any = {"transports": ["websocket"], "force_new": True, "reconnection_delay": 0.05}
    return [await stack.enter_async_context(madang.connect(url, **options)) for _ in range(count)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_nobody_waits_for_one_that_is_gone(how: signal.Signals):
    """A query ends at once when a worker that was asked dies, and in time, saying so, if it only does not answer."""
    async with crew(workers=2) as workers, AsyncExitStack() as stack:
        clients = await connected(stack, workers.url, 8)
        homes = [await process_of(client) for client in clients]
        while len(set(homes)) < 2:  # the kernel chooses
            clients += await connected(stack, workers.url, 1)
            homes.append(await process_of(clients[-1]))
        here = clients[0]
        victim = next(pid for pid in homes if pid != homes[0])
        if how is signal.SIGSTOP:
            os.kill(victim, how)
            try:
                found, missing = await here.emit_with_ack("who is there", "", timeout=10)
                assert missing == 1
                assert len(found) == homes.count(homes[0])
            finally:
                os.kill(victim, signal.SIGCONT)
            return
        asking = [here.emit_with_ack("who is there", "", timeout=10) for _ in range(20)]
        os.kill(victim, how)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answers = await asyncio.gather(*asking)
        assert loop.time() - begun < 3
        assert all(len(found) >= homes.count(homes[0]) for found, _ in answers)


async def test_a_new_worker_is_one_of_them():
    """One that replaces another hears what the others say, and is heard."""
    async with crew(workers=2) as workers, AsyncExitStack() as stack:
        (client,) = await connected(stack, workers.url, 1)
        home = await process_of(client)
        (victim,) = workers.workers() - {home}
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(workers.workers() - {victim}) == 2, "the replacement")

        async def other() -> madang.Client:
            while True:
                (one,) = await connected(stack, workers.url, 1)
                if await process_of(one) != home:
                    return one

        second = await other()
        assert await second.emit_with_ack("servers") == 2
        for speaker, hearer in ((client, second), (second, client)):
            heard = hearer.events("said")
            speaker.emit("say", "", "hello")
            assert (await heard.receive(5)).data == "hello"
            heard.close()
