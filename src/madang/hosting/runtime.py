"""What an engine needs of the loop it runs on: one outbox, and an owner for its tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from weakref import WeakKeyDictionary

from ..engine.engine import Engine
from ..tasks import Tasks
from ..transports.outbox import Outbox
from ..transports.websocket import FrameOutbox


class Runtime:
    """An engine on a loop."""

    __slots__ = ("frames", "loop", "outbox", "tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
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
        runtime = _runtimes[engine] = Runtime(loop)
        engine.bind(loop)
    return runtime
