"""The way in: one connection that listens to the channels that are wanted here, and only to these."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from .redis_connection import BROKEN, RedisConnection, RedisConnector, ReplyError, backoff, command

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
    """

    def __init__(self, connector: RedisConnector, missed: Callable[[float, str], None]) -> None:
        self._connector = connector
        self._missed = missed
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
        self._gone_since: tuple[float, str] | None = None
        self.connected = False
        self.unwanted = 0

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

    def _change(self, channel: bytes) -> None:
        self._dirty.add(channel)
        if self._changed is not None:
            self._changed.set()

    async def settled(self) -> None:
        """Wait until Redis has confirmed all that was asked for till now."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        if self._changed is not None:
            self._changed.set()
        await waiting

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
        self._gone_since = None
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting.clear()

    # the connection

    async def _run(self) -> None:
        delays = backoff()
        while True:
            connection: RedisConnection | None = None
            try:
                connection = await self._connector.connect(self._take)
                await self._keep(connection)
            except BROKEN as error:
                if self.connected:
                    delays = backoff()
                self._broken(error)
            finally:
                self.connected = False
                self._subscribed.clear()
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(next(delays))

    def _broken(self, error: BaseException) -> None:
        reason = f"the connection to Redis broke: {str(error) or repr(error)}"
        if self.connected and self._gone_since is None:
            self._gone_since = (time.time(), reason)
        for marked in self._marked.values():
            self._waiting += marked
        self._marked.clear()
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
        lists: dict[bytes, list[bytes]] = {b"SUBSCRIBE": [], b"PSUBSCRIBE": [], b"UNSUBSCRIBE": [], b"PUNSUBSCRIBE": []}
        for channel in dirty:
            pattern = channel.endswith(b"*")  # no channel of ours does
            wanted = channel in (self._patterns if pattern else self._handlers)
            if wanted == (channel in self._subscribed):
                continue
            (self._subscribed.add if wanted else self._subscribed.discard)(channel)
            lists[(b"P" if pattern else b"") + (b"SUBSCRIBE" if wanted else b"UNSUBSCRIBE")].append(channel)
        return b"".join(
            command(name, *channels[start : start + BATCH])
            for name, channels in lists.items()
            for start in range(0, len(channels), BATCH)
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
        if kind == b"message":
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
        elif isinstance(reply, ReplyError):
            raise reply
        elif kind is None or kind == b"pong":
            self._confirmed(parts[1])

    def _confirmed(self, mark: bytes) -> None:
        marked = self._marked.pop(mark, None)
        if marked is None:
            return
        if not self.connected:
            self.connected = True
            self._level = logging.WARNING
            gone, self._gone_since = self._gone_since, None
            logger.debug("subscribed to %d channels", len(self._subscribed))
            if gone is not None:
                self._missed(*gone)
        for waiting in marked:
            if not waiting.done():
                waiting.set_result(None)
