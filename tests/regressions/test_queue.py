"""The queue of events behind a handler that waits, and the reading that stops when it is full."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import madang
from tests.conformance.wire import RS, SOCKET, before, websocket
from tests.hostile.raw import text
from tests.hostile.victim import joined_polling
from tests.hosts import Host, listening
from tests.regressions.peer import Peer, joined, serving, until

BOUND = 500
"""More than may wait in any of these queues, and much less than is sent."""


class Work:
    """A handler of ``work`` whose first call waits until `gate` is set."""

    def __init__(self, target: Any) -> None:
        self.gate = asyncio.Event()
        self.handled = 0
        target.on("work", self.work)

    async def work(self, socket, *args):
        if not self.handled:
            await self.gate.wait()
        self.handled += 1


def waiting(io: madang.Server, namespace: str = "/") -> int:
    """How many events wait in the queues of a namespace."""
    return sum(len(socket._queue or ()) for socket in io.of(namespace).sockets.values())


async def paused(io: madang.Server, namespace: str = "/") -> None:
    """Wait until a queue is full."""
    await until(lambda: waiting(io, namespace) >= 64, f"a full queue in {namespace}")


async def flood(peer: Any, packet: str) -> None:
    """Send far more than a queue holds, without waiting for it to be taken."""
    peer.connection.transport.write(text(packet) * 5000)


async def stays_bounded(io: madang.Server, url: str, namespace: str = "/") -> None:
    """See that a queue does not take what a flood brings, while others are served."""
    async with joined(url) as other:
        for _ in range(30):
            await other.served()
            assert waiting(io, namespace) < BOUND


# ------------------------------------------------------------------------------------------------------------ answers


async def answer(peer: Peer) -> None:
    """Answer a question, behind whatever was sent before."""
    question = await peer.packet("42")
    number = question[2 : question.index("[")]
    await peer.send(f'43{number}["yes"]')


async def test_an_answer_behind_a_full_queue(host: Host):
    """A handler that asks its own client gets the answer, though a full queue had stopped the reading before it."""
    io = serving()
    gate = asyncio.Event()
    answers: list[Any] = []

    @io.on("work")
    async def work(socket, n: int):
        if n == 0:
            await gate.wait()
            answers.append(await socket.emit_with_ack("question", timeout=3))

    async with listening(io, host) as url, joined(url) as peer:
        for n in range(100):
            await peer.emit("work", n)
        await paused(io)
        gate.set()
        await answer(peer)
        await peer.served()
        assert answers == ["yes"]


async def test_an_answer_behind_a_full_queue_over_polling(host: Host):
    """The same over polling, where the answer is in a POST of its own."""
    io = serving()
    gate = asyncio.Event()
    answers: asyncio.Queue[Any] = asyncio.Queue()

    @io.on("work")
    async def work(socket, n: int):
        if n == 0:
            await gate.wait()
            answers.put_nowait(await socket.emit_with_ack("question", timeout=3))

    async with listening(io, host) as url, joined_polling(url) as client:
        posting = asyncio.create_task(client.post(RS.join(f'42["work",{n}]' for n in range(100))))
        await paused(io)
        gate.set()
        (question,) = await client.packets()
        await posting
        await client.send(f'43{question[2 : question.index("[")]}["yes"]')
        assert await before(3, answers.get(), "the answer") == "yes"


# ---------------------------------------------------------------------------------------------------------- heartbeat


async def test_not_read_is_not_silent(host: Host):
    """A client that is not read because its handler is slow is not dropped for the pongs that were not read."""
    io = serving(ping_interval=0.15, ping_timeout=0.15)
    work = Work(io)
    async with listening(io, host) as url, joined(url) as peer:
        await peer.emit("work", times=200)
        await paused(io)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.ended.wait(), 1.0)
        assert len(io.sockets) == 1
        work.gate.set()
        await until(lambda: work.handled == 200, "all events are handled")
        await peer.served()


async def test_read_again_is_watched_again(host: Host):
    """When it is read again its heartbeat counts again: silence then ends it."""
    io = serving(ping_interval=0.15, ping_timeout=0.15)
    work = Work(io)
    async with listening(io, host) as url, joined(url) as peer:
        await peer.emit("work", times=200)
        await paused(io)
        work.gate.set()
        await until(lambda: work.handled == 200, "all events are handled")
        await peer.served()
        peer.pongs = False
        await before(2, peer.ended.wait(), "the ping timeout")


# ------------------------------------------------------------------------------------------------------------- pauses


async def test_a_pause_outlives_the_upgrade(host: Host):
    """A client that is not read over polling is not read over the WebSocket that it upgrades to."""
    io = serving()
    work = Work(io)
    async with listening(io, host) as url, joined_polling(url) as client:
        posting = asyncio.create_task(client.post(RS.join(['42["work"]'] * 80)))
        await paused(io)
        session = io.engine.sessions[client.sid]
        async with websocket(url, SOCKET, client.sid) as ws:
            await ws.send("2probe")
            assert await ws.text() == "3probe"
            await ws.send("5")
            await until(lambda: session.transport_name == "websocket", "the upgrade")
            await flood(ws, '42["work"]')
            await stays_bounded(io, url)
            work.gate.set()
            await until(lambda: work.handled == 5080, "all events are handled")
            await ws.send('421["ping me"]')
            assert await ws.text() == '431["pong"]'
            await posting


async def test_one_namespace_does_not_resume_for_another():
    """While one namespace's queue is full the connection is not read, even if that of another has shrunk."""
    io = serving()
    first, second = Work(io.of("/a")), Work(io.of("/b"))
    async with listening(io) as url, joined(url, "", "/a,", "/b,") as peer:
        peer.ws.connection.transport.write(text('42/b,["work"]') * 40 + text('42/a,["work"]') * 70)
        await paused(io, "/a")
        second.gate.set()
        await until(lambda: second.handled == 40, "the second namespace's events are handled")
        await flood(peer.ws, '42/a,["work"]')
        await stays_bounded(io, url, "/a")
        first.gate.set()
        await until(lambda: first.handled == 5070, "the first namespace's events are handled")
        await peer.served()


async def test_leaving_a_namespace_lifts_its_pause():
    """A namespace that is left while its queue is full does not keep the others from being read."""
    io = serving()
    work = Work(io.of("/a"))
    async with listening(io) as url, joined(url, "", "/a,") as peer:
        peer.ws.connection.transport.write(text('42/a,["work"]') * 70)
        await paused(io, "/a")
        next(iter(io.of("/a").sockets.values())).disconnect()
        await peer.served()
        work.gate.set()


@pytest.mark.parametrize("nested", [False, True])
async def test_attachments_count(nested: bool):
    """Attachments count towards what may wait, wherever in the arguments they stand."""
    io = serving()
    work = Work(io)
    parts = [{"_placeholder": True, "num": number} for number in range(2)]
    args: list[Any] = [{"files": [{"of": parts}]}] if nested else parts
    head = f"452-{json.dumps(['work', *args])}"
    blob = bytes(300_000)

    async def send_all(peer: Peer) -> None:
        for _ in range(40):
            await peer.send(head, blob, blob)

    async with listening(io) as url, joined(url) as peer:
        sending = asyncio.create_task(send_all(peer))
        await until(lambda: waiting(io) >= 2, "a full queue")
        async with joined(url) as other:
            for _ in range(30):
                await other.served()
        assert waiting(io) < 10
        work.gate.set()
        await before(5, sending, "the end of sending")
        await until(lambda: work.handled == 40, "all events are handled")
        await peer.served()
