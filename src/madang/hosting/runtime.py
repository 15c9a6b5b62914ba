"""What an engine needs of the loop it runs on: one outbox, and an owner for its tasks."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..engine.deflate_options import DeflateSettings
from ..engine.engine import Engine
from ..engine.timetable import Lane
from ..tasks import Tasks
from ..transports.outbox import Outbox
from ..transports.websocket import FrameOutbox

if TYPE_CHECKING:
    from ..transports.deflating import DeflatingOutbox

logger = logging.getLogger("madang.hosting")

HEAD_TIMEOUT = 10.0
"""Seconds in which the head of a request must come (native host)."""


class Runtime:
    """An engine on a loop."""

    __slots__ = ("_deflating", "_warned", "frames", "heads", "loop", "outbox", "tasks")

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.heads: Lane[Any] = engine.timetable.lane(HEAD_TIMEOUT, lambda connection: connection.head_overdue())
        self.frames = FrameOutbox(loop)
        self.outbox = Outbox(loop)
        self.tasks = Tasks()
        self._deflating: DeflatingOutbox | None = None
        self._warned = False

    def deflating(self, settings: DeflateSettings) -> DeflatingOutbox:
        """The outbox of the WebSockets that are compressed, made for the first of them."""
        if self._deflating is None or self._deflating.settings != settings:
            from ..transports.deflating import DeflatingOutbox

            self._deflating = DeflatingOutbox(self.loop, settings)
        return self._deflating

    def compressed_by_others(self) -> None:
        """Say once that the option for compression is of no use here."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "per_message_deflate has no effect on this host: the ASGI server decides whether WebSockets are "
                "compressed; madang's own host (io.run, the madang command) does as the option says"
            )

    async def connections_closed(self, timeout: float) -> None:
        """Wait until all WebSocket connections have ended, for `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.frames.all_closed()
                if self._deflating is not None:
                    await self._deflating.all_closed()


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
