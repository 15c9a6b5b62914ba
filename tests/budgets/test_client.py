"""What one event costs a client over WebSocket, in calls and tasks. The numbers hold on any machine."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
import uvloop

import madang
from madang.compiled import COMPILED
from tests.budgets.counting import Counted

EVENTS = 100


def server() -> madang.Server:
    io = madang.Server()

    @io.on("echo")
    def echo(socket: Any, text: Any) -> None:
        socket.emit("echo", text)

    @io.on("ask")
    def ask(socket: Any, text: Any) -> Any:
        return text

    return io


class Calls:
    """The Python functions that this thread calls during a block, by name."""

    def __enter__(self) -> Counter[str]:
        self.calls: Counter[str] = Counter()
        sys.setprofile(self._note)
        return self.calls

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename != __file__:
            self.calls[f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}"] += 1


async def echo(url: str) -> tuple[Counter[str], int]:
    """Emit an event from the handler of the one before, again and again."""
    async with madang.connect(url, transports=["websocket"]) as client:
        left = 2 * EVENTS
        warm, done = asyncio.Event(), asyncio.Event()

        @client.on("echo")
        def on_echo(text: Any) -> None:
            nonlocal left
            left -= 1
            if left == EVENTS:
                warm.set()
            elif left == 0:
                done.set()
            else:
                client.emit("echo", text)

        client.emit("echo", "hello")
        await warm.wait()
        tasks = asyncio.all_tasks()
        with Calls() as calls:
            client.emit("echo", "hello")
            await done.wait()
        return calls, len(asyncio.all_tasks() - tasks)


async def ask(url: str) -> tuple[Counter[str], int]:
    """Wait for one answer after the other."""
    async with madang.connect(url, transports=["websocket"]) as client:
        assert await client.emit_with_ack("ask", "hello") == "hello"
        tasks = asyncio.all_tasks()
        with Calls() as calls:
            for _ in range(EVENTS):
                await client.emit_with_ack("ask", "hello")
        return calls, len(asyncio.all_tasks() - tasks)


@pytest.mark.parametrize(
    ("scenario", "limit"), [(echo, 7 if COMPILED else 11), (ask, 11 if COMPILED else 14)], ids=["echo", "ack"]
)
def test_an_event(scenario: Any, limit: int) -> None:
    """An event that is handled and answered with another one costs a client few calls, and no task."""
    with Counted(server()) as counted, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calls, tasks = runner.run(scenario(counted.url))
    per_event = sum(calls.values()) / EVENTS
    table = "\n".join(f"{count / EVENTS:6.2f} {name}" for name, count in calls.most_common(40))
    assert per_event <= limit + 0.5, table
    assert tasks == 0
