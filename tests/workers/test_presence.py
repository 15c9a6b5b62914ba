"""Presence over several workers."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

import madang
from tests.workers.crew import Place, crew, process_of, until


async def connected(stack: AsyncExitStack, place: Place, homes: int) -> list[madang.Client]:
    """Clients of so many workers, two for each."""
    options: Any = {"transports": ["websocket"], "force_new": True, "reconnection": False}
    found: dict[int, list[madang.Client]] = {}
    while sum(len(there) >= 2 for there in found.values()) < homes:
        client = await stack.enter_async_context(madang.connect(place.url, **options))
        found.setdefault(await process_of(client), []).append(client)
    return [client for there in found.values() if len(there) >= 2 for client in there[:2]]


async def knows(client: madang.Client, users: dict[str, int]) -> None:
    """Wait until the worker of a client knows these users of the room."""
    async with asyncio.timeout(5):
        while await client.emit_with_ack("who is present", "room", timeout=5) != [users, 0]:
            await asyncio.sleep(0.01)


async def test_workers_have_one_list():
    """Users are counted once over all workers; those of one that is killed are gone, and one that replaces it knows."""
    async with crew(workers=2) as workers, AsyncExitStack() as stack:
        clients = await connected(stack, workers, 2)
        for client, user in zip(clients, ("minji", "joon", "minji", "sora"), strict=True):
            client.emit("be present", "room", user)
        for client in clients:
            await knows(client, {"minji": 2, "joon": 1, "sora": 1})
        victim = await process_of(clients[0])
        before = workers.workers()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(workers.workers() - before) == 1, "the replacement")
        late = next(iter(await connected(stack, workers, 2)))
        for client in (clients[2], late):
            await knows(client, {"minji": 1, "sora": 1})
