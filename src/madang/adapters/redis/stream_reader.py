"""The way in by streams: one connection that reads on from where it was, whatever happened to the one before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from .connection import BROKEN, RedisConnection, RedisConnector, ReplyError, backoff, command
from .streams_wire import START, order

logger = logging.getLogger("madang.adapters")

Take = Callable[[bytes, bytes, Any], None]

_CHECKS: Final = 3
"""Commands that find out for one stream whether reading can go on where it was."""


class StreamReader:
    """Reads entries as they are added to streams, each once and in order, from the moment of the first connection on.

    A connection that broke is made anew, and reading goes on after the last entry. If that entry is not there any more,
    what came after it may be gone as well, and `missed` is told.

    Args:
        connector: makes connections. One on which a read takes longer than its timeout is given up.
        streams: their names.
        count: entries of one stream that are read at once.
        take: called with the stream, the id and the fields of each entry; may not raise.
        missed: called with the stream, a time in seconds since 1970, and why.

    Attributes:
        changed: called when reading begins or goes on, and when the connection has broken.
        positions: the id of the last entry that was taken, for each stream whose end has been found.
    """

    def __init__(
        self,
        connector: RedisConnector,
        streams: Sequence[bytes],
        count: int,
        take: Take,
        missed: Callable[[bytes, float, str], None],
    ) -> None:
        self._connector = connector
        self._streams = streams
        self._count = count
        self._take = take
        self._missed = missed
        self.changed: Callable[[], None] = _nothing
        self.positions: dict[bytes, bytes] = {}
        self._replies: deque[Callable[[Any], None]] = deque()
        self._doubts: list[tuple[bytes, bytes]] = []
        self._connection: RedisConnection | None = None
        self._asked_at = 0.0
        self._gone_since: float | None = None
        self._level = logging.WARNING
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._passing: list[tuple[bytes, tuple[int, int], asyncio.Future[None]]] = []
        self.connected = False

    def start(self) -> None:
        """Begin to read, in the running loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="madang Redis stream reader")

    async def close(self) -> None:
        """End; when it is started again, it begins with what is new then."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self._gone_since = None
        self.positions.clear()
        for waiting in (*self._waiting, *(future for _, _, future in self._passing)):
            waiting.cancel()
        self._waiting.clear()
        self._passing.clear()

    async def settled(self) -> None:
        """Wait until it reads."""
        if not self.connected:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    async def passed(self, stream: bytes, entry_id: bytes) -> None:
        """Wait until it has taken this entry of a stream, or a later one."""
        wanted = order(entry_id)
        if order(self.positions.get(stream, START)) < wanted:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._passing.append((stream, wanted, waiting))
            await waiting

    # the connection

    async def _run(self) -> None:
        delays = backoff()
        while True:
            connection: RedisConnection | None = None
            try:
                self._replies.clear()
                self._doubts.clear()
                connection = self._connection = await self._connector.connect(self._reply)
                self._locate(connection)
                await self._watch(connection)
            except (*BROKEN, ReplyError) as error:
                if self.connected:
                    delays = backoff()
                self.connected = False
                self._broken(error)
                self.changed()
            finally:
                self.connected = False
                self._connection = None
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(next(delays))

    def _broken(self, error: BaseException) -> None:
        if self._gone_since is None and self.positions:
            self._gone_since = time.time()
        reason = str(error) or repr(error)
        logger.log(
            self._level, "the connection that reads from Redis broke: %s; reading will go on where it was", reason
        )
        self._level = logging.DEBUG  # one word for each time that Redis goes away

    async def _watch(self, connection: RedisConnection) -> None:
        """Until it ends; and see that it lives."""
        loop = asyncio.get_running_loop()
        patience = self._connector.timeout
        while True:
            await asyncio.wait((connection.ended,), timeout=patience / 4)
            if connection.ended.done():
                connection.ended.result()
                return
            if loop.time() - self._asked_at > patience:
                raise TimeoutError("Redis says nothing any more")

    def _reply(self, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            raise reply
        self._replies.popleft()(reply)

    def _ask(self, *commands: bytes) -> None:
        assert self._connection is not None
        self._asked_at = asyncio.get_running_loop().time()
        self._connection.write(b"".join(commands))

    # where to begin

    def _locate(self, connection: RedisConnection) -> None:
        """Find the end of streams that are new, and see whether reading of the others can go on."""
        commands: list[bytes] = []
        for stream in self._streams:
            position = self.positions.get(stream)
            if position is None:
                commands.append(_edge(b"XREVRANGE", stream, b"+", b"-"))
                self._replies.append(partial(self._begin, stream))
            else:
                found: list[Any] = []
                commands.append(_edge(b"XRANGE", stream, position, position))
                commands.append(_edge(b"XRANGE", stream, b"-", b"+"))
                commands.append(_edge(b"XREVRANGE", stream, b"+", b"-"))
                self._replies += [partial(self._go_on, stream, found)] * _CHECKS
        commands.append(command(b"PING"))
        self._replies.append(lambda _: self._located())
        self._ask(*commands)

    def _begin(self, stream: bytes, last: Any) -> None:
        self.positions[stream] = last[0][0] if last else START

    def _go_on(self, stream: bytes, found: list[Any], reply: Any) -> None:
        found.append(reply)
        if len(found) < _CHECKS:
            return
        here, first, last = found
        position = self.positions[stream]
        if here or position == START:
            return
        if not last:
            reason, go_on = "is gone", START
        elif order(last[0][0]) < order(position):
            reason, go_on = "is as it was earlier", last[0][0]
        elif order(first[0][0]) > order(position):
            reason, go_on = "begins later now, as it was cut off at its bound or made anew", position
        else:
            reason, go_on = "lacks what had been in it", position
        self.positions[stream] = go_on
        self._tell(stream, self._gone_since, f"the stream {stream.decode()} {reason}")

    def _tell(self, stream: bytes, since: float | None, reason: str) -> None:
        self._missed(stream, time.time() if since is None else since, reason)

    def _located(self) -> None:
        self.connected = True
        self._level = logging.WARNING
        self._gone_since = None
        logger.debug("reading from Redis: %s", self.positions)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
        self.changed()
        self._read()

    # reading

    def _read(self) -> None:
        """Ask for what is next; and whether the stream still held the place from which a full batch was read."""
        doubts, self._doubts = self._doubts, []
        positions = [self.positions[stream] for stream in self._streams]
        block = b"%d" % max(1, int(self._connector.timeout * 500))
        ahead = [command(b"XRANGE", stream, b"-", position, b"COUNT", b"1") for stream, position in doubts]
        for stream, _ in doubts:
            self._replies.append(partial(self._cleared, stream))
        self._replies.append(self._batch)
        count = b"%d" % self._count
        read = command(b"XREAD", b"COUNT", count, b"BLOCK", block, b"STREAMS", *self._streams, *positions)
        self._ask(*ahead, read)

    def _batch(self, reply: Any) -> None:
        for stream, entries in reply or ():
            before = self.positions[stream]
            if len(entries) >= self._count and before != START:
                self._doubts.append((stream, before))
            for entry_id, fields in entries:
                self._take(stream, entry_id, fields)
                self.positions[stream] = entry_id
        if self._passing:
            self._tell_passed()
        if self._task is not None:
            self._read()

    def _cleared(self, stream: bytes, first: Any) -> None:
        """Reading is behind; if the stream was cut off right behind it, it may have been so in front of it as well."""
        if not first:
            self._tell(stream, None, f"the stream {stream.decode()} was cut off faster than it was read")

    def _tell_passed(self) -> None:
        still: list[tuple[bytes, tuple[int, int], asyncio.Future[None]]] = []
        for stream, wanted, waiting in self._passing:
            if order(self.positions.get(stream, START)) < wanted:
                still.append((stream, wanted, waiting))
            elif not waiting.done():
                waiting.set_result(None)
        self._passing = still


def _nothing() -> None:
    """Nobody wants to know."""


def _edge(name: bytes, stream: bytes, start: bytes, end: bytes) -> bytes:
    return command(name, stream, start, end, b"COUNT", b"1")
