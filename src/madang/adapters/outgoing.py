"""The way out to a broker: a bounded queue, and one writer that sends what has gathered as one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from ..errors import AdapterUnavailable
from .link import Broker, Line, Link, Losses, TellLoss, retrieve

CHUNK: Final = 256 * 1024
BATCH: Final = 1000
"""Bytes and messages that are sent before they are confirmed; what is lost with a connection is no more."""

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class OutLine(Line, Protocol[T_contra]):
    """A connection that sends."""

    async def send(self, items: Sequence[T_contra]) -> Mapping[int, str]:
        """Send messages in their order, and wait until the broker has them; without any, see that it answers.

        Returns:
            Those that it refuses, by their number, and why.
        """
        ...


class _Waiting(NamedTuple):
    item: Any
    size: int
    namespace: str | None
    """Whose message it is; None if nobody is to be told of its loss."""
    mark: asyncio.Future[None] | None
    """Is no message, but waits for all before it."""


class Outgoing(Link, Generic[T]):
    """Sends messages in the order in which they come, and holds them while there is no connection.

    Delivery is at most once: what was sent and not confirmed when a connection broke is not sent again.

    Args:
        broker: where they go.
        connect: makes a connection.
        queue_limit: how many messages may wait.
        queue_bytes: how many bytes they may have.
        tell_loss: is told when messages are lost.
    """

    doing = "publisher"

    def __init__(
        self,
        broker: Broker,
        connect: Callable[[], Awaitable[OutLine[T]]],
        queue_limit: int,
        queue_bytes: int,
        tell_loss: TellLoss,
    ) -> None:
        super().__init__(broker)
        self._make = connect
        self._limit = queue_limit
        self._bytes_limit = queue_bytes
        self._losses = Losses(tell_loss)
        self._queue: deque[_Waiting] = deque()
        self._in_flight: list[_Waiting] = []
        self._wake: asyncio.Future[None] | None = None
        self._closing = False
        self.queued_bytes = 0
        self.published = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._in_flight)

    @property
    def lost(self) -> int:
        """Messages that never left."""
        return self._losses.lost

    # what namespaces call

    def publish(self, namespace: str, item: T, size: int) -> bool:
        """Send a message of so many bytes; False if it is lost, since too much waits."""
        if len(self) >= self._limit or self.queued_bytes + size > self._bytes_limit:
            self._losses.add(namespace, 1, 0, f"too much waits for {self.broker.name}")
            return False
        self._add(_Waiting(item, size, namespace, None))
        return True

    def mention(self, item: T, size: int) -> None:
        """Send what nobody will miss if it is lost, such as a heartbeat."""
        if len(self) < 2 * self._limit:
            self._add(_Waiting(item, size, None, None))

    def refuse(self, namespace: str, reason: str) -> None:
        """A message cannot be sent at all."""
        self._losses.add(namespace, 1, 0, reason)
        if self.connected and not len(self):
            self._losses.settle()

    def flushed(self) -> asyncio.Future[None]:
        """Has a result once the broker has all that was published till now; else an `AdapterUnavailable`."""
        mark: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mark.add_done_callback(retrieve)
        if self._closing or len(self) >= 2 * self._limit:
            mark.set_exception(AdapterUnavailable("too much is asked, or the server is closing"))
        else:
            self._add(_Waiting(None, 0, None, mark))
        return mark

    def _add(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self.queued_bytes += waiting.size
        self._rouse()

    def start(self) -> None:
        """Begin to send, in the running loop."""
        self._closing = False
        super().start()

    async def close(self, grace: float) -> None:
        """Send what waits, within so many seconds, and end."""
        self._closing = True
        self._rouse()
        await self._end(grace if self.connected else 0)
        left = [*self._in_flight, *self._queue]
        self._in_flight.clear()
        self._queue.clear()
        self.queued_bytes = 0
        for waiting in left:
            self._give_up(waiting, 1, 0, f"the server was closed while {self.broker.name} was away")

    # what the writer does

    async def _connect(self) -> OutLine[T]:
        return await self._make()

    async def _use(self, line: OutLine[T]) -> None:
        self._well()
        line.ended.add_done_callback(self._rouse)
        loop = asyncio.get_running_loop()
        while True:
            if line.ended.done():
                line.ended.result()
                raise ConnectionResetError("it was closed")
            self._in_flight = self._take()
            if self._in_flight:
                await self._send(line)
            elif self._closing:
                return
            else:
                self._losses.settle()
                self._wake = loop.create_future()
                await self._wake

    async def _send(self, line: OutLine[T]) -> None:
        """Send what is in flight."""
        messages = [waiting for waiting in self._in_flight if waiting.mark is None]
        async with asyncio.timeout(self.broker.timeout):
            refused = await line.send([waiting.item for waiting in messages])
        sent, self._in_flight = self._in_flight, []
        self.queued_bytes -= sum(waiting.size for waiting in sent)
        self.published += len(messages) - len(refused)
        for number, reason in refused.items():
            self._give_up(messages[number], 1, 0, f"{self.broker.name} refuses it: {reason}")
        for waiting in sent:
            if waiting.mark is not None and not waiting.mark.done():
                waiting.mark.set_result(None)

    def _rouse(self, _: object = None) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _take(self) -> list[_Waiting]:
        """What is sent next."""
        queue, taken, size = self._queue, list[_Waiting](), 0
        while queue and size < CHUNK and len(taken) < BATCH:
            waiting = queue.popleft()
            if waiting.mark is not None and waiting.mark.done():  # nobody waits for it any more
                continue
            size += waiting.size
            taken.append(waiting)
        return taken

    def _broken(self, reason: str) -> None:
        """Nobody knows what the broker took of what it did not confirm."""
        unconfirmed, self._in_flight = self._in_flight, []
        for waiting in unconfirmed:
            self.queued_bytes -= waiting.size
            self._give_up(waiting, 0, 1, reason)

    def _give_up(self, waiting: _Waiting, lost: int, uncertain: int, reason: str) -> None:
        if waiting.namespace is not None:
            self._losses.add(waiting.namespace, lost, uncertain, reason)
        elif waiting.mark is not None and not waiting.mark.done():
            waiting.mark.set_exception(AdapterUnavailable(reason))
