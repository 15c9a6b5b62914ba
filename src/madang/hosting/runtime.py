"""What an engine needs of the loop it runs on: one outbox, and an owner for its tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from ..engine.engine import Engine
from ..engine.timetable import Lane
from ..tasks import Tasks
from ..transports.outbox import Outbox
from ..transports.websocket import FrameOutbox

HEAD_TIMEOUT = 10.0
"""Seconds in which the head of a request must come (native host)."""


class Runtime:
    """An engine on a loop."""

    __slots__ = ("frames", "heads", "loop", "outbox", "tasks")

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.heads: Lane[Any] = engine.timetable.lane(HEAD_TIMEOUT, lambda connection: connection.head_overdue())
        self.frames = FrameOutbox(loop)
        self.outbox = Outbox(loop)
        self.tasks = Tasks()

    async def connections_closed(self, timeout: float) -> None:
        """Wait until all WebSocket connections have ended, for `timeout` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.frames.all_closed(), timeout)


_runtimes: WeakKeyDictionary[Engine, Runtime] = WeakKeyDictionary()


def started(engine: Engine) -> Runtime:
    """The runtime of an engine that begins to serve, for the first time or again."""
    runtime = runtime_of(engine)
    engine.bind(runtime.loop)
    return runtime


def runtime_of(engine: Engine) -> Runtime:
    """The runtime of `engine` on the running loop; binds the engine to that loop."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(engine)
    if runtime is None or runtime.loop is not loop:
        runtime = _runtimes[engine] = Runtime(engine, loop)
        engine.bind(loop)
    return runtime
