"""Time that goes on while the machine sleeps, so that a client notices on waking that its server has given it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

BOOT_TIME: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class WakingClock:
    """The timers of a loop, and a time that does not stop with the machine; see `madang.types.Clock`."""

    __slots__ = ("call_later", "call_soon", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time = BOOT_TIME
        self.call_later: Callable[..., Any] = loop.call_later
        self.call_soon: Callable[..., Any] = loop.call_soon
