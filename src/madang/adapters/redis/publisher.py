"""The way out: a bounded queue, and one writer that sends what has gathered in a turn of the loop as one piece."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from ...errors import AdapterUnavailable
from ..link import Loss, TellLoss, retrieve
from .connection import BROKEN, PUBLISH, RedisConnection, RedisConnector, ReplyError, backoff, command, publication

logger = logging.getLogger("madang.adapters")

FULL: Final = "too much waits for Redis"

CHUNK: Final = 256 * 1024
"""Bytes that are sent before the answers to them are awaited; what is lost with a connection is no more."""


class Waiting(msgspec.Struct, gc=False):
    """A command on its way."""

    data: bytes
    namespace: str | None
    """Whose message it is; None for what is no message."""
    answer: asyncio.Future[Any] | None
    slot: int = -1
    """Which node of a Redis Cluster it is for."""
    stream: bytes | None = None
    """The stream that it adds to, if it does."""


class Backlog:
    """What waits for Redis, and what has become of what did not; the connections of one server share it.

    Attributes:
        limit: how many commands may wait.
        bytes_limit: how many bytes they may have.
        messages: how many wait.
        bytes: their bytes.
        published: messages that Redis has taken.
        lost: messages that never left.
    """

    __slots__ = ("bytes", "bytes_limit", "limit", "lost", "messages", "published")

    def __init__(self, limit: int, bytes_limit: int) -> None:
        self.limit = limit
        self.bytes_limit = bytes_limit
        self.messages = 0
        self.bytes = 0
        self.published = 0
        self.lost = 0


class Publisher:
    """Sends commands in the order in which they come, and holds them while there is no connection.

    Delivery is at most once: what was written and not confirmed when a connection broke is not sent again.

    Args:
        connector: makes connections.
        backlog: the bounds, and what counts towards them.
        tell_loss: called with namespace, loss and whether it is over, when messages are lost.
        verb: how the command that publishes begins.

    Attributes:
        again: whether an error that Redis has answered a message with says that it is to be sent again. None: never.
        idle: called when everything that was sent has been answered, or never will be; may take away what waits.
        broken: called when the connection has broken, or was not to be had.
        connected: whether there is one.
        failing: whether there was none when it was last tried.
    """

    def __init__(self, connector: RedisConnector, backlog: Backlog, tell_loss: TellLoss, verb: bytes = PUBLISH) -> None:
        self._connector = connector
        self._backlog = backlog
        self._tell_loss = tell_loss
        self._verb = verb
        self._queue: deque[Waiting] = deque()
        self._in_flight: deque[Waiting] = deque()
        self._returned: list[Waiting] = []
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._losses: dict[str, Loss] = {}
        self._closing = False
        self._level = logging.WARNING
        self.again: Callable[[ReplyError], bool] | None = None
        self.idle: Callable[[], None] | None = None
        self.broken: Callable[[], None] | None = None
        self._connection: RedisConnection | None = None
        self.connected = False
        self.failing = False

    @property
    def busy(self) -> bool:
        """Whether answers are awaited."""
        return bool(self._in_flight or self._returned)

    @property
    def waiting(self) -> bool:
        """Whether anything waits that has not been sent."""
        return bool(self._queue)

    # what the server calls

    def publish(self, namespace: str, channel: bytes, payload: bytes, slot: int = -1) -> None:
        """Send a message; it is lost if too much waits."""
        data = publication(self._verb, channel, payload)
        backlog, size = self._backlog, len(data)
        if backlog.messages < backlog.limit and backlog.bytes + size <= backlog.bytes_limit:
            queue = self._queue
            queue.append(Waiting(data, namespace, None, slot))
            backlog.messages += 1
            backlog.bytes += size
            if len(queue) == 1 and not self._in_flight:  # else the writer is awake, or will be
                self._rouse()
        else:
            self._lose(namespace, 1, 0, FULL)

    def _accept(self, namespace: str, waiting: Waiting) -> bool:
        """Let a message wait that was made elsewhere; False if it is lost, since too much waits."""
        backlog = self._backlog
        if backlog.messages < backlog.limit and backlog.bytes + len(waiting.data) <= backlog.bytes_limit:
            self._add(waiting)
            return True
        self._lose(namespace, 1, 0, FULL)
        return False

    def refuse(self, namespace: str, reason: str) -> None:
        """A message cannot be sent at all."""
        self._lose(namespace, 1, 0, reason)
        if self.connected and not self._queue:
            self.settle_losses()

    def ask(self, *parts: bytes, slot: int = -1) -> asyncio.Future[Any]:
        """Send another command, after what was published before; its answer, or an `AdapterUnavailable`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(retrieve)
        if self._closing or self._backlog.messages >= self._backlog.limit:
            answer.set_exception(AdapterUnavailable("too much waits for Redis, or the server is closing"))
        else:
            self._add(Waiting(command(*parts), None, answer, slot))
        return answer

    def _add(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._backlog.messages += 1
        self._backlog.bytes += len(waiting.data)
        if not self._in_flight:
            self._rouse()

    def _settle(self, waiting: Waiting) -> None:
        """It waits no longer."""
        self._backlog.messages -= 1
        self._backlog.bytes -= len(waiting.data)

    def release(self, slots: set[int]) -> list[Any]:
        """Give away, in their order, those that wait and are for certain slots."""
        gone = [waiting for waiting in self._queue if waiting.slot in slots]
        if gone:
            self._queue = deque(waiting for waiting in self._queue if waiting.slot not in slots)
        return gone

    def adopt(self, released: Iterable[Any]) -> None:
        """Send what another one has released."""
        self._queue.extend(released)
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
        self._return()
        self._forget_unconfirmed("the server was closed before Redis had confirmed it")
        self._fail_questions(self._queue)
        if self._queue:
            for waiting in self._queue:
                if waiting.namespace is not None:
                    self._lose(waiting.namespace, 1, 0, "the server was closed while Redis was away")
                self._settle(waiting)
            self._queue.clear()

    # what the writer does

    async def _run(self) -> None:
        delays = backoff()
        while not (self._closing and not self._queue):
            connection: RedisConnection | None = None
            try:
                connection = await self._connector.connect(self._confirm)
                self._connection = connection
                await self._begin(connection)
                self.connected = True
                self.failing = False
                delays = backoff()
                self._level = logging.WARNING
                logger.debug("publishing to Redis")
                await self._pump(connection)
                return
            except BROKEN as error:
                self._broken(error)
            finally:
                self.connected = False
                self._connection = None
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(next(delays))

    async def _begin(self, connection: RedisConnection) -> None:
        """What has to be done before anything is sent over a new connection."""

    def renew(self, reason: str) -> None:
        """Leave the connection, and make another one."""
        if self._connection is not None:
            self._connection.fail(ConnectionError(reason))

    async def _pump(self, connection: RedisConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.ended.add_done_callback(self._rouse)
        delays = backoff()
        while True:
            if connection.ended.done():
                connection.ended.result()
            if self._return():  # and nobody else was found to take it
                await asyncio.sleep(next(delays))
                continue
            if self._queue:
                connection.write(self._take())
            elif self._closing:
                return
            else:
                self.settle_losses()
            # woken by the answer to the last of a batch, or by a new message where there is no batch
            self._wake = loop.create_future()
            if not self._in_flight:
                await self._wake
                continue
            async with asyncio.timeout(self._connector.timeout):
                while self._in_flight and not connection.ended.done():
                    self._wake = loop.create_future()
                    await self._wake
            if not self._returned:
                delays = backoff()

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
                self._settle(waiting)
                continue
            size += len(waiting.data)
            self._in_flight.append(waiting)
        return b"".join([waiting.data for waiting in self._in_flight])

    def _confirm(self, reply: Any) -> None:
        """The answer to the first that is in flight."""
        waiting = self._in_flight.popleft()
        if type(reply) is int and waiting.namespace is not None:  # as nearly always, so without detours
            backlog = self._backlog
            backlog.messages -= 1
            backlog.bytes -= len(waiting.data)
            backlog.published += 1
        else:
            self._answered(waiting, reply)
        if not self._in_flight:
            if self.idle is not None and not self._returned:
                self.idle()
            self._rouse()

    def _answered(self, waiting: Waiting, reply: Any) -> None:
        failed = isinstance(reply, ReplyError)
        if failed and waiting.answer is None and self.again is not None and self.again(reply):
            self._returned.append(waiting)
        else:
            self._settle(waiting)
            if waiting.namespace is not None:
                if failed:
                    self._lose(waiting.namespace, 1, 0, f"Redis refuses it: {reply}")
                else:
                    self._backlog.published += 1
            elif waiting.answer is not None and not waiting.answer.done():
                if failed:
                    waiting.answer.set_exception(AdapterUnavailable(f"Redis refuses: {reply}"))
                else:
                    waiting.answer.set_result(reply)

    def _return(self) -> bool:
        """Whether Redis has given messages back that are still here: they wait before all others."""
        returned, self._returned = self._returned, []
        self._queue.extendleft(reversed(returned))
        if returned and self.idle is not None:
            self.idle()
        return bool(returned and self._queue and self._queue[0] in returned)

    def _broken(self, error: BaseException) -> None:
        """The connection is gone, and nobody knows what Redis took of what it did not confirm."""
        reason = f"the connection to Redis broke: {str(error) or repr(error)}"
        self.failing = True
        self._forget_unconfirmed(reason)
        if not self._return() and self.idle is not None:
            self.idle()
        if self.broken is not None:
            self.broken()
        logger.log(self._level, "%s; %d messages wait", reason, len(self._queue))
        self._level = logging.DEBUG  # one word for each time that Redis goes away

    def _forget_unconfirmed(self, reason: str) -> None:
        unconfirmed = list(self._in_flight)
        self._in_flight.clear()
        for waiting in unconfirmed:
            self._settle(waiting)
            if waiting.namespace is not None:
                self._lose(waiting.namespace, 0, 1, reason)
        self._fail_questions(unconfirmed)

    def _fail_questions(self, waiting: Any) -> None:
        for one in waiting:
            if one.answer is not None and not one.answer.done():
                one.answer.set_exception(AdapterUnavailable("the connection to Redis broke"))

    # losses

    def _lose(self, namespace: str, lost: int, uncertain: int, reason: str) -> None:
        self._backlog.lost += lost
        loss = self._losses.get(namespace)
        first = loss is None
        if loss is None:
            loss = self._losses[namespace] = Loss(reason)
        loss.lost += lost
        loss.uncertain += uncertain
        if first:
            self._tell_loss(namespace, loss, False)

    def settle_losses(self) -> None:
        """All that waited has left: whatever was lost, it is over."""
        losses, self._losses = self._losses, {}
        for namespace, loss in losses.items():
            self._tell_loss(namespace, loss, True)
