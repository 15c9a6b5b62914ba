"""A connection to a broker that is made anew when it breaks, and what is lost meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

logger = logging.getLogger("madang.adapters")

_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0


def backoff() -> Iterator[float]:
    """Seconds to wait before each further attempt."""
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, _LAST_DELAY)


class Line(Protocol):
    """A connection as a driver has made it.

    Attributes:
        ended: has a result, or an exception, once the connection has ended.
    """

    ended: asyncio.Future[None]

    async def close(self) -> None:
        """End it."""
        ...


class Broker(Protocol):
    """What is to be known of a broker."""

    @property
    def name(self) -> str:
        """As people call it."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds in which it must answer."""
        ...

    @property
    def broken(self) -> tuple[type[BaseException], ...]:
        """The exceptions that mean that a connection is of no more use."""
        ...


class Loss:
    """What a namespace has lost since the connection last worked."""

    __slots__ = ("lost", "reason", "since", "uncertain")

    def __init__(self, reason: str) -> None:
        self.since = time.time()
        self.lost = 0
        self.uncertain = 0
        self.reason = reason


TellLoss = Callable[[str, Loss, bool], None]
"""Called with namespace, loss and whether it is over."""


class Losses:
    """What was lost on the way out, told when it begins and when it is over.

    Args:
        tell: is told.

    Attributes:
        lost: messages that never left.
    """

    __slots__ = ("_open", "_tell", "lost")

    def __init__(self, tell: TellLoss) -> None:
        self._tell = tell
        self._open: dict[str, Loss] = {}
        self.lost = 0

    def add(self, namespace: str, lost: int, uncertain: int, reason: str) -> None:
        """So many were lost, and of so many more it is not known."""
        self.lost += lost
        loss = self._open.get(namespace)
        first = loss is None
        if loss is None:
            loss = self._open[namespace] = Loss(reason)
        loss.lost += lost
        loss.uncertain += uncertain
        if first:
            self._tell(namespace, loss, False)

    def settle(self) -> None:
        """All that waited has left: whatever was lost, it is over."""
        losses, self._open = self._open, {}
        for namespace, loss in losses.items():
            self._tell(namespace, loss, True)


class Link:
    """Keeps one connection; what goes over it is for those who inherit from it.

    Attributes:
        broker: whose connection it is.
        connected: whether it works at present.
    """

    doing: str = ""
    """What the connection is for, as the task's name has it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.connected = False
        self._task: asyncio.Task[None] | None = None
        self._level = logging.WARNING

    def start(self) -> None:
        """Begin, in the running loop."""
        if self._task is None or self._task.done():
            name = f"madang {self.broker.name} {self.doing}"
            self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    async def _connect(self) -> Any:
        """A new connection, a `Line`."""
        raise NotImplementedError

    async def _use(self, line: Any) -> None:
        """Use a connection, and return when it is not needed any more."""
        raise NotImplementedError

    def _broken(self, reason: str) -> None:
        """The connection broke; `connected` still says whether it has worked."""

    def _well(self) -> None:
        """The connection works."""
        self.connected = True
        self._level = logging.WARNING

    async def _end(self, grace: float) -> None:
        """Give it so many seconds to be done, and end."""
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait((task,), timeout=grace)
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        delays = backoff()
        while True:
            line: Line | None = None
            try:
                line = await self._connect()
                await self._use(line)
                return
            except self.broker.broken as error:
                if self.connected:
                    delays = backoff()
                reason = f"the connection to {self.broker.name} broke: {str(error) or repr(error)}"
                self._broken(reason)
                logger.log(self._level, "%s", reason)
                self._level = logging.DEBUG  # one word for each time that the broker goes away
            finally:
                self.connected = False
                if line is not None:
                    await line.close()
            await asyncio.sleep(next(delays))


def retrieve(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging an error for what nobody waits for."""
    if not future.cancelled():
        future.exception()


GRACE: Final = 1.0
"""Seconds that what waits may take to leave when a server closes."""
