"""What both directions share: the transports, bounds, and a list of what was heard that can be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

WAYS: Final[dict[str, list[str]]] = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}

#: seconds that anything may take
SOON: Final = 15.0

#: how quickly madang's client, and the other's, come back
QUICK: Final[dict[str, Any]] = {"reconnection_delay": 0.02, "reconnection_delay_max": 0.1}

#: arguments of events, each of which has to arrive as it was sent
ARGUMENTS: Final[list[tuple[Any, ...]]] = [
    (),
    ("one",),
    (1, [2.5, None, True], {"name": "스크램블", "list": [{}]}),
    (b"\x00\xff bytes",),
    (b"first", {"deep": [b"second"]}, "last"),
]


class Heard:
    """What was heard, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []
        self._news = asyncio.Event()

    def __call__(self, *what: Any) -> None:
        self.all.append(what)
        self._news.set()

    async def count(self, number: int) -> list[tuple[Any, ...]]:
        """All that was heard, once there are so many."""
        async with asyncio.timeout(SOON):
            while len(self.all) < number:
                self._news.clear()
                await self._news.wait()
        return self.all


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds that nothing tells of."""
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.005)
