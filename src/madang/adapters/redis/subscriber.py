"""The way in: one connection that listens to the channels that are wanted here, and only to these."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from .connection import BROKEN, RedisConnection, RedisConnector, ReplyError, backoff, command

logger = logging.getLogger("madang.adapters")

BATCH: Final = 1000
"""Channels in one command."""

Handler = Callable[[bytes], None]
PatternHandler = Callable[[bytes, bytes], None]


class Subscriber:
    """Subscriptions that outlive their connection.

    What changes within a turn of the loop goes out as one piece. After a connection broke, all is subscribed anew, and
    `missed` is told since when messages may have been missed.

    Args:
        connector: makes connections. One that says nothing for its timeout, not even to a PING, is given up.
        missed: called with a time, in seconds since 1970, and why.
        sharded: whether the channels are those of sharded pub/sub.
        batch: channels in one command; one where Redis is a Redis Cluster, and they are sharded.

    Attributes:
        broken: called when the connection has broken, or was not to be had.
        taken: called with a channel that Redis has ended the subscription to, since another node has it now.
        moved: whether an error that Redis answers with says that a channel is elsewhere, and somebody cares for that.
        gone_since: when the connection broke, and why; None if all that was missed since then has been told.
    """

    def __init__(
        self, connector: RedisConnector, missed: Callable[[float, str], None], sharded: bool = False, batch: int = BATCH
    ) -> None:
        self._connector = connector
        self._missed = missed
        self._s = b"S" if sharded else b""
        self._batch = batch
        self._leaving: Counter[bytes] = Counter()
        self.broken: Callable[[], None] | None = None
        self.taken: Callable[[bytes], None] | None = None
        self.moved: Callable[[ReplyError], bool] | None = None
        self._handlers: dict[bytes, Handler] = {}
        self._patterns: dict[bytes, PatternHandler] = {}
        self._subscribed: set[bytes] = set()
        self._dirty: set[bytes] = set()
        self._changed: asyncio.Event | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._marked: dict[bytes, list[asyncio.Future[None]]] = {}
        self._marks = 0
        self._heard = False
        self._level = logging.WARNING
        self._task: asyncio.Task[None] | None = None
        self.gone_since: tuple[float, str] | None = None
        self._connection: RedisConnection | None = None
        self.connected: bool = False
        self.unwanted: int = 0

    # what namespaces call

    def add(self, channel: bytes, handler: Handler) -> None:
        """Listen to a channel."""
        self._handlers[channel] = handler
        self._change(channel)

    def add_pattern(self, pattern: bytes, handler: PatternHandler) -> None:
        """Listen to all channels of a pattern."""
        self._patterns[pattern] = handler
        self._change(pattern)

    def remove(self, channel: bytes) -> None:
        """Listen no longer; what still comes is dropped."""
        self._handlers.pop(channel, None)
        self._patterns.pop(channel, None)
        self._change(channel)

    def has(self, channel: bytes) -> bool:
        """Whether it is subscribed to, as far as Redis has not said that it is elsewhere."""
        return channel in self._subscribed

    def holds(self, channel: bytes) -> bool:
        """The same, over a connection that works."""
        return self.connected and channel in self._subscribed

    def drop(self, channel: bytes) -> None:
        """Redis has refused it."""
        self._subscribed.discard(channel)

    def forget(self, channel: bytes) -> None:
        """Another node has the channel: there is nothing to tell this one."""
        self._handlers.pop(channel, None)
        self._patterns.pop(channel, None)
        self._subscribed.discard(channel)
        self._dirty.discard(channel)

    def __len__(self) -> int:
        return len(self._handlers) + len(self._patterns)

    def _change(self, channel: bytes) -> None:
        self._dirty.add(channel)
        if self._changed is not None:
            self._changed.set()

    def confirmation(self) -> asyncio.Future[None]:
        """Done when Redis has confirmed all that was asked for till now; cancelled if it is closed before."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        if self._changed is not None:
            self._changed.set()
        return waiting

    async def settled(self) -> None:
        """Wait until Redis has confirmed all that was asked for till now."""
        await self.confirmation()

    def start(self) -> None:
        """Begin to listen, in the running loop."""
        if self._task is None or self._task.done():
            self._changed = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="madang Redis subscriber")

    async def close(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self.gone_since = None
        for waiting in (*self._waiting, *chain.from_iterable(self._marked.values())):
            waiting.cancel()
        self._waiting.clear()
        self._marked.clear()

    # the connection

    async def _run(self) -> None:
        delays = backoff()
        while True:
            connection: RedisConnection | None = None
            try:
                connection = self._connection = await self._connector.connect(self._take)
                await self._keep(connection)
            except BROKEN as error:
                if self.connected:
                    delays = backoff()
                self._broken(error)
            finally:
                self.connected = False
                self._connection = None
                self._subscribed.clear()
                self._leaving.clear()
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(next(delays))

    def renew(self, reason: str) -> None:
        """Leave the connection, and make another one."""
        if self._connection is not None:
            self._connection.fail(ConnectionError(reason))

    def _broken(self, error: BaseException) -> None:
        reason = f"the connection to Redis broke: {str(error) or repr(error)}"
        if self.connected and self.gone_since is None:
            self.gone_since = (time.time(), reason)
        for marked in self._marked.values():
            self._waiting += marked
        self._marked.clear()
        if self.broken is not None:
            self.broken()
        logger.log(self._level, "%s; messages of other servers may be missed", reason)
        self._level = logging.DEBUG  # one word for each time that Redis goes away

    async def _keep(self, connection: RedisConnection) -> None:
        """Send what changes, and see that the connection lives."""
        changed = self._changed
        assert changed is not None
        connection.ended.add_done_callback(lambda _: changed.set())
        self._dirty = {*self._handlers, *self._patterns}
        patience = self._connector.timeout / 2
        silent = 0
        first = True
        while True:
            changed.clear()
            if connection.ended.done():
                connection.ended.result()
            data = self._changes() + (self._mark() if self._waiting or first else b"")
            first = False
            if data:
                connection.write(data)
            try:
                async with asyncio.timeout(patience):
                    await changed.wait()
            except TimeoutError:
                silent = 0 if self._heard else silent + 1
                self._heard = False
                if silent >= 2:
                    raise TimeoutError("Redis says nothing any more") from None
                if silent == 1:
                    connection.write(command(b"PING"))

    def _changes(self) -> bytes:
        """The commands that make the subscriptions what is wanted."""
        dirty, self._dirty = self._dirty, set()
        normal = {True: self._s + b"SUBSCRIBE", False: self._s + b"UNSUBSCRIBE"}
        patterns = {True: b"PSUBSCRIBE", False: b"PUNSUBSCRIBE"}
        lists: dict[bytes, list[bytes]] = {name: [] for name in (*normal.values(), *patterns.values())}
        for channel in dirty:
            pattern = channel.endswith(b"*")  # no channel of ours does
            wanted = channel in (self._patterns if pattern else self._handlers)
            if wanted == (channel in self._subscribed):
                continue
            if wanted:
                self._subscribed.add(channel)
            else:
                self._subscribed.discard(channel)
                self._leaving[channel] += 1
            lists[(patterns if pattern else normal)[wanted]].append(channel)
        return b"".join(
            command(name, *channels[start : start + self._batch])
            for name, channels in lists.items()
            for start in range(0, len(channels), self._batch)
        )

    def _mark(self) -> bytes:
        """A PING whose answer confirms all that was sent before it."""
        self._marks += 1
        mark = b"%d" % self._marks
        waiting, self._waiting = self._waiting, []
        self._marked[mark] = waiting
        return command(b"PING", mark)

    def _take(self, reply: Any) -> None:
        """Something has come: a list of what it is, and more; or the answer to a PING while nothing is subscribed."""
        self._heard = True
        parts: Any = reply if type(reply) is list else (None, reply)  # pyright: ignore[reportUnknownVariableType]
        kind = parts[0]
        if kind == b"message" or kind == b"smessage":
            handler = self._handlers.get(parts[1])
            if handler is not None:
                handler(parts[2])
            else:
                self.unwanted += 1
        elif kind == b"pmessage":
            on_pattern = self._patterns.get(parts[1])
            if on_pattern is not None:
                on_pattern(parts[2], parts[3])
            else:
                self.unwanted += 1
        elif kind == b"sunsubscribe" or kind == b"unsubscribe" or kind == b"punsubscribe":
            self._left(parts[1])
        elif isinstance(reply, ReplyError):
            if self.moved is None or not self.moved(reply):
                raise _explained(reply)
        elif kind is None or kind == b"pong":
            self._confirmed(parts[1])

    def _left(self, channel: bytes) -> None:
        """A subscription has ended, because that was asked for or because the channel is on another node now."""
        if self._leaving[channel] > 1:
            self._leaving[channel] -= 1
        elif not self._leaving.pop(channel, 0) and channel in self._subscribed:
            self._subscribed.discard(channel)
            if self.taken is not None:
                self.taken(channel)

    def _confirmed(self, mark: bytes) -> None:
        marked = self._marked.pop(mark, None)
        if marked is None:
            return
        if not self.connected:
            self.connected = True
            self._level = logging.WARNING
            gone, self.gone_since = self.gone_since, None
            logger.debug("subscribed to %d channels", len(self._subscribed))
            if gone is not None:
                self._missed(*gone)
        for waiting in marked:
            if not waiting.done():
                waiting.set_result(None)


def _explained(reply: ReplyError) -> Exception:
    """An error of Redis, with what it means."""
    if str(reply).partition(" ")[0] in ("MOVED", "CROSSSLOT"):
        return ConnectionError(f"it is a node of a Redis Cluster, and its URL must say so (redis+cluster://): {reply}")
    return reply
