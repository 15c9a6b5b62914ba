"""What a broadcast costs that is compressed, and what a connection does that could be."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from madang import Server
from tests.budgets.counting import Counted, clients
from tests.hosts import ROOT

pytestmark = pytest.mark.feature("A12")

FEW, MANY = 10, 60
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate"
FIRST = b"\xc1"
"""The first byte of a compressed text message, which nothing else holds that the clients wait for."""


def counted_broadcast(
    recipients: int, option: Any, size: int, header: bytes = OFFER, awaited: bytes = FIRST
) -> tuple[Counter[str], int]:
    """The calls of one broadcast to so many clients, and the tasks it made."""
    io = Server(per_message_deflate=option)
    with Counted(io) as counted, clients(counted.url, recipients, header) as members:

        def deliver() -> None:
            counted.inside(lambda: io.emit("news", "x" * size))
            for member in members:
                member.until(awaited)

        deliver()
        counted.tasks_made = 0
        with counted.counting() as calls:
            deliver()
        return calls, counted.tasks_made


@pytest.mark.parametrize("size", [2_000, 200_000], ids=["on the loop", "in a thread"])
def test_compressed_once(size: int) -> None:
    """However many receive it, a message is compressed once; a recipient more costs a few Python calls and no task."""
    few, _ = counted_broadcast(FEW, True, size)
    many, tasks = counted_broadcast(MANY, True, size)
    on_loop = 1 if size < 64 * 1024 else 0
    assert _times(few, "Deflater.deflate") == _times(many, "Deflater.deflate") == on_loop
    assert (sum(many.values()) - sum(few.values())) / (MANY - FEW) <= 16
    assert tasks == 0


def test_compressed_for_each_with_a_context() -> None:
    """Where the server keeps contexts, each recipient has its own form."""
    calls, _ = counted_broadcast(FEW, {"server_no_context_takeover": False}, 2_000)
    assert _times(calls, "Deflater.deflate") == FEW


def test_nothing_for_those_without() -> None:
    """With the option on, a client that does not offer compression is sent a broadcast as if it were off."""
    slopes: list[float] = []
    for option in (False, True):
        few, many = (
            sum(counted_broadcast(recipients, option, 2_000, b"X-Nothing: 1", b'["news"')[0].values())
            for recipients in (FEW, MANY)
        )
        slopes.append((many - few) / (MANY - FEW))
    assert abs(slopes[1] - slopes[0]) < 0.1


def test_not_imported_when_off() -> None:
    """A server without the option loads nothing of it when a client connects that offers compression."""
    program = """
import asyncio, sys, madang
from tests.hostile.deflated import deflated

async def main():
    io = madang.Server()
    running = await io.start(port=0)
    before = "madang.transports.deflating" in sys.modules
    async with deflated(running.url) as client:
        print(repr(client.agreed), before, "madang.transports.deflating" in sys.modules)
    await running.stop()

asyncio.run(main())
"""
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert told.stdout.split() == ["''", "False", "False"]


def _times(calls: Counter[str], function: str) -> int:
    return sum(count for name, count in calls.items() if name.endswith(f":{function}"))
