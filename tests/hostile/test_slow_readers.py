"""Clients that do not read: what waits for them is bounded, and nobody else waits."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from madang import Socket
from tests.conformance.wire import DEADLINE, before
from tests.hostile.raw import raw
from tests.hostile.victim import Victim, attacked, joined, joined_polling, serves
from tests.hosts import Host

LIMIT = 200_000
CHUNK = "x" * 10_000


def sluggish(victim: Victim) -> Socket:
    """The socket that joined last."""
    return list(victim.io.sockets.values())[-1]


async def flood(victim: Victim, socket: Socket, until: Any, most: int = 4000) -> int:
    """Emit to one client until something holds; the most that waited for it meanwhile."""
    largest = 0
    for _ in range(most):
        socket.emit("much", CHUNK)
        await asyncio.sleep(0)
        largest = max(largest, socket.buffered)
        if until():
            return largest
    raise AssertionError(f"the bound was never reached; {socket.buffered} bytes wait")


@pytest.mark.feature("A27")
async def test_disconnected(host: Host) -> None:
    """A client that reads nothing is disconnected when more than the limit waits for it."""
    async with attacked(host, outbound_limit=LIMIT) as victim, raw(victim.url, receive_buffer=4096) as client:
        await client.join()
        socket = sluggish(victim)
        largest = await flood(victim, socket, lambda: not socket.connected)
        assert largest < 2 * LIMIT
        assert await victim.ended() == "transport error"


@pytest.mark.feature("A27")
async def test_dropped(host: Host) -> None:
    """With `slow_client="drop"` the client stays, new messages for it are dropped and counted."""
    async with (
        attacked(host, outbound_limit=LIMIT, slow_client="drop") as victim,
        raw(victim.url, receive_buffer=4096) as client,
    ):
        await client.join()
        socket = sluggish(victim)
        largest = await flood(victim, socket, lambda: socket.conn.dropped >= 100)
        assert largest < 2 * LIMIT
        assert socket.connected
        client.reset()


@pytest.mark.feature("A27")
@pytest.mark.parametrize("policy", ["disconnect", "drop"])
async def test_polling_client_that_never_polls(host: Host, policy: Any) -> None:
    """The bound holds for a polling client that posts but does not poll."""
    async with attacked(host, outbound_limit=LIMIT, slow_client=policy) as victim, joined_polling(victim.url):
        socket = sluggish(victim)
        largest = await flood(victim, socket, lambda: not socket.connected or socket.conn.dropped >= 10)
        assert largest < 2 * LIMIT
        assert socket.connected is (policy == "drop")


@pytest.mark.feature("A27", "N9")
async def test_volatile(host: Host) -> None:
    """Volatile events for a client that does not read are dropped at once and make nothing wait."""
    async with attacked(host, outbound_limit=LIMIT) as victim, raw(victim.url, receive_buffer=4096) as client:
        await client.join()
        socket = sluggish(victim)
        for _ in range(4000):
            socket.volatile.emit("much", CHUNK)
            await asyncio.sleep(0)
        assert socket.connected
        assert socket.buffered < LIMIT
        client.reset()


@pytest.mark.feature("A27")
async def test_broadcast_to_a_mixed_room(host: Host) -> None:
    """A broadcast reaches the fast members in full and in order while a slow one is cut off."""
    async with attacked(host, outbound_limit=LIMIT) as victim, raw(victim.url, receive_buffer=4096) as client:
        await client.join()
        slow = sluggish(victim)
        async with joined(victim.url) as ws:
            sent = 0
            while slow.connected and sent < 4000:
                victim.io.to("room").emit("much", sent, CHUNK)
                sent += 1
                text = await ws.text()
                assert text.startswith(f'42["much",{sent - 1},')
            assert not slow.connected
            await serves(ws)


@pytest.mark.feature("A29")
async def test_client_that_sends_faster_than_its_handler(host: Host) -> None:
    """Events behind a handler that waits fill a queue of fixed length; then the client is not read any more."""
    async with attacked(host) as victim, raw(victim.url) as client:
        gate = asyncio.Event()
        handled = 0

        async def waits(socket: Socket, text: str) -> None:
            nonlocal handled
            await gate.wait()
            handled += 1

        victim.io.on("waits", waits)
        await client.join()
        socket = sluggish(victim)
        packet = b'42["waits","' + b"x" * 1000 + b'"]'
        frame = bytes((0x81, 0xFE)) + len(packet).to_bytes(2, "big") + b"\0\0\0\0" + packet
        client.writer.write(frame * 20_000)
        async with joined(victim.url) as other:
            for _ in range(50):
                await serves(other)
        gc.collect()
        assert socket._queue is not None
        assert len(socket._queue) < 2_000
        assert client.writer.transport.get_write_buffer_size() > 1_000_000
        gate.set()
        await before(DEADLINE * 2, client.writer.drain(), "the end of the stream")
        while handled < 20_000:
            await asyncio.sleep(0.01)


@pytest.mark.feature("H3", "A27")
async def test_reading_is_paused_for_ever(host: Host) -> None:
    """A client whose handler never ends is still let go when it disconnects."""
    async with attacked(host) as victim, raw(victim.url) as client:
        stuck = asyncio.Event()

        async def waits(socket: Socket) -> None:
            await stuck.wait()

        victim.io.on("waits", waits)
        await client.join()
        socket = sluggish(victim)
        for _ in range(200):
            await client.send(bytes((0x81, 0x80 + 11)) + b"\0\0\0\0" + b'42["waits"]')
        client.reset()
        while socket.connected:
            await asyncio.sleep(0.01)
        stuck.set()
