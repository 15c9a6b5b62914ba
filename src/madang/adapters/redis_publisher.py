"""The way out: a bounded queue, and one writer that sends what has gathered in a turn of the loop as one piece."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..errors import AdapterUnavailable
from .redis_connection import BROKEN, RedisConnection, RedisConnector, ReplyError, backoff, command, publication

logger = logging.getLogger("madang.adapters")

CHUNK: Final = 256 * 1024
"""Bytes that are sent before the answers to them are awaited; what is lost with a connection is no more."""


class _Waiting(NamedTuple):
    data: bytes
    namespace: str | None
    """Whose message it is; None for what is no message."""
    answer: asyncio.Future[Any] | None


class Loss:
    """What a namespace has lost since the connection last worked."""

    __slots__ = ("lost", "reason", "since", "uncertain")

    def __init__(self, reason: str) -> None:
        self.since = time.time()
        self.lost = 0
        self.uncertain = 0
        self.reason = reason


def _retrieve(answer: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging an error for an answer that nobody waits for."""
    if not answer.cancelled():
        answer.exception()


TellLoss = Callable[[str, Loss, bool], None]


class Publisher:
    """Sends commands in the order in which they come, and holds them while there is no connection.

    Delivery is at most once: what was written and not confirmed when a connection broke is not sent again.

    Args:
        connector: makes connections.
        queue_limit: how many commands may wait.
        queue_bytes: how many bytes they may have.
        tell_loss: called with namespace, loss and whether it is over, when messages are lost.
    """

    def __init__(self, connector: RedisConnector, queue_limit: int, queue_bytes: int, tell_loss: TellLoss) -> None:
        self._connector = connector
        self._limit = queue_limit
        self._bytes_limit = queue_bytes
        self._tell_loss = tell_loss
        self._queue: deque[_Waiting] = deque()
        self._in_flight: deque[_Waiting] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._losses: dict[str, Loss] = {}
        self._closing = False
        self._level = logging.WARNING
        self.queued_bytes = 0
        self.connected = False
        self.published = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._in_flight)

    # what the server calls

    def publish(self, namespace: str, channel: bytes, payload: bytes) -> bool:
        """Send a message; False if it is lost, since too much waits."""
        data = publication(channel, payload)
        queued = len(self._queue) + len(self._in_flight)
        if queued >= self._limit or self.queued_bytes + len(data) > self._bytes_limit:
            self._lose(namespace, 1, 0, "too much waits for Redis")
            return False
        self._add(_Waiting(data, namespace, None))
        return True

    def refuse(self, namespace: str, reason: str) -> None:
        """A message cannot be sent at all."""
        self._lose(namespace, 1, 0, reason)
        if self.connected and not self._queue:
            self._settle_losses()

    def ask(self, *parts: bytes) -> asyncio.Future[Any]:
        """Send another command, after what was published before; its answer, or an `AdapterUnavailable`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_retrieve)
        if self._closing or len(self) >= self._limit:
            answer.set_exception(AdapterUnavailable("too much waits for Redis, or the server is closing"))
        else:
            self._add(_Waiting(command(*parts), None, answer))
        return answer

    def _add(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self.queued_bytes += len(waiting.data)
        if not self._in_flight:
            self._rouse()

    def start(self) -> None:
        """Begin to send, in the running loop."""
        if self._task is None or self._task.done():
            self._closing = False
            self._task = asyncio.get_running_loop().create_task(self._run(), name="madang Redis publisher")

    async def close(self, grace: float) -> None:
        """Send what waits, within so many seconds, and end."""
        self._closing = True
        self._rouse()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait((task,), timeout=grace if self.connected else 0)
            task.cancel()
            await asyncio.wait((task,))
        self._fail_questions(self._queue)
        if self._queue:
            for waiting in self._queue:
                if waiting.namespace is not None:
                    self._lose(waiting.namespace, 1, 0, "the server was closed while Redis was away")
            self._queue.clear()
            self.queued_bytes = 0

    # what the writer does

    async def _run(self) -> None:
        delays = backoff()
        while not (self._closing and not self._queue):
            connection: RedisConnection | None = None
            try:
                connection = await self._connector.connect(self._confirm)
                self.connected = True
                delays = backoff()
                self._level = logging.WARNING
                logger.debug("publishing to Redis")
                await self._pump(connection)
                return
            except BROKEN as error:
                self._broken(error)
            finally:
                self.connected = False
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(next(delays))

    async def _pump(self, connection: RedisConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.ended.add_done_callback(self._rouse)
        while True:
            if connection.ended.done():
                connection.ended.result()
            if self._queue:
                connection.write(self._take())
            elif self._closing:
                return
            else:
                self._settle_losses()
            # woken by the answer to the last of a batch, or by a new message where there is no batch
            self._wake = loop.create_future()
            if not self._in_flight:
                await self._wake
                continue
            async with asyncio.timeout(self._connector.timeout):
                while self._in_flight and not connection.ended.done():
                    self._wake = loop.create_future()
                    await self._wake

    def _rouse(self, _: object = None) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _take(self) -> bytes:
        """The bytes of what is sent next; its answers are awaited from then on."""
        size = 0
        queue = self._queue
        while queue and size < CHUNK:
            waiting = queue.popleft()
            if waiting.answer is not None and waiting.answer.done():  # nobody waits for it any more
                self.queued_bytes -= len(waiting.data)
                continue
            size += len(waiting.data)
            self._in_flight.append(waiting)
        return b"".join([waiting.data for waiting in self._in_flight])

    def _confirm(self, reply: Any) -> None:
        """The answer to the first that is in flight."""
        waiting = self._in_flight.popleft()
        self.queued_bytes -= len(waiting.data)
        if waiting.namespace is not None:
            if isinstance(reply, ReplyError):
                self._lose(waiting.namespace, 1, 0, f"Redis refuses it: {reply}")
            else:
                self.published += 1
        elif waiting.answer is not None and not waiting.answer.done():
            if isinstance(reply, ReplyError):
                waiting.answer.set_exception(AdapterUnavailable(f"Redis refuses: {reply}"))
            else:
                waiting.answer.set_result(reply)
        if not self._in_flight:
            self._rouse()

    def _broken(self, error: BaseException) -> None:
        """The connection is gone, and nobody knows what Redis took of what it did not confirm."""
        reason = f"the connection to Redis broke: {str(error) or repr(error)}"
        unconfirmed = list(self._in_flight)
        self._in_flight.clear()
        for waiting in unconfirmed:
            self.queued_bytes -= len(waiting.data)
            if waiting.namespace is not None:
                self._lose(waiting.namespace, 0, 1, reason)
        self._fail_questions(unconfirmed)
        logger.log(self._level, "%s; %d messages wait", reason, len(self._queue))
        self._level = logging.DEBUG  # one word for each time that Redis goes away

    def _fail_questions(self, waiting: Any) -> None:
        for one in waiting:
            if one.answer is not None and not one.answer.done():
                one.answer.set_exception(AdapterUnavailable("the connection to Redis broke"))

    # losses

    def _lose(self, namespace: str, lost: int, uncertain: int, reason: str) -> None:
        self.lost += lost
        loss = self._losses.get(namespace)
        first = loss is None
        if loss is None:
            loss = self._losses[namespace] = Loss(reason)
        loss.lost += lost
        loss.uncertain += uncertain
        if first:
            self._tell_loss(namespace, loss, False)

    def _settle_losses(self) -> None:
        """All that waited has left: whatever was lost, it is over."""
        losses, self._losses = self._losses, {}
        for namespace, loss in losses.items():
            self._tell_loss(namespace, loss, True)
