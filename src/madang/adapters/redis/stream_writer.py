"""The way out to streams: what is added to a stream arrives once, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from ...errors import AdapterUnavailable
from ..link import TellLoss
from .connection import PUBLISH, RedisConnection, RedisConnector, ReplyError, command
from .publisher import Backlog, Publisher, Waiting
from .streams_wire import START, after, order

_PASSING: Final = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "TRYAGAIN", "BUSY")
"""What Redis refuses with if it may take the same later."""

_BATCH: Final = b"1000"
_RUN: Final = re.compile(rb"run_id:(\w+)")


class StreamWriter(Publisher):
    """See `Publisher`; entries of streams are not lost with a connection.

    If it is not known of an entry whether Redis has taken it, because the connection broke, the stream is searched for
    it over the next connection, once the old one is certainly dead in Redis's eyes; what is not there is added again,
    before anything else.

    Attributes:
        max_len: entries that a stream holds, roughly.
        changed: called when the connection works, and when it has broken.
    """

    def __init__(
        self, connector: RedisConnector, backlog: Backlog, tell_loss: TellLoss, max_len: int, verb: bytes = PUBLISH
    ) -> None:
        super().__init__(connector, backlog, tell_loss, verb)
        self.max_len = max_len
        self.changed: Callable[[], None] = _nothing
        self._doubtful: list[Waiting] = []
        self._last: dict[bytes, bytes] = {}
        self._client: tuple[bytes, int] | None = None

    def add(self, namespace: str, parts: tuple[bytes, ...]) -> bool:
        """Add an entry to a stream by this command, an XADD; False if it is lost, since too much waits."""
        return self._accept(namespace, Waiting(command(*parts), namespace, None, stream=parts[1]))

    def tell(self, channel: bytes, payload: bytes) -> asyncio.Future[int]:
        """Publish what nobody misses if it is lost; how many listened."""
        return self.ask(self._verb.split(b"\r\n")[2], channel, payload)

    async def close(self, grace: float) -> None:
        """Send what waits, within so many seconds, and end."""
        await super().close(grace)
        doubtful, self._doubtful = self._doubtful, []
        for waiting in doubtful:
            self._settle(waiting)
            self._lose(waiting.namespace or "", 0, 1, "the server was closed while Redis was away")

    def _confirm(self, reply: Any) -> None:
        stream = self._in_flight[0].stream
        if stream is not None:
            if isinstance(reply, bytes):
                self._last[stream] = reply
            elif isinstance(reply, ReplyError) and str(reply).startswith(_PASSING):
                raise ConnectionAbortedError(f"Redis takes nothing at present: {reply}")
        super()._confirm(reply)

    def _broken(self, error: BaseException) -> None:
        unconfirmed = list(self._in_flight)
        self._in_flight.clear()
        self._in_flight.extend(waiting for waiting in unconfirmed if waiting.stream is None)
        self._doubtful += [waiting for waiting in unconfirmed if waiting.stream is not None]
        self.connected = False
        super()._broken(error)
        self.changed()

    # what became of what was not confirmed

    async def _begin(self, connection: RedisConnection) -> None:
        """Find out what the last connection has achieved."""
        client = await self._who_am_i(connection)
        if self._doubtful:
            if self._client is not None and client is not None and self._client[0] == client[0]:
                with suppress(ConnectionAbortedError):  # Redis may still have to read what was sent over it
                    await self._request(connection, b"CLIENT", b"KILL", b"ID", b"%d" % self._client[1])
            for stream in dict.fromkeys(waiting.stream for waiting in self._doubtful):
                if stream is not None:
                    await self._find_out(connection, stream)
        self._client = client
        self.connected = True
        self.changed()

    async def _who_am_i(self, connection: RedisConnection) -> tuple[bytes, int] | None:
        """This run of Redis, and the number of the connection in it; None if it does not tell."""
        try:
            server = await self._request(connection, b"INFO", b"server")
            found = _RUN.search(server)
            return (found[1], await self._request(connection, b"CLIENT", b"ID")) if found else None
        except ConnectionAbortedError:
            return None

    async def _find_out(self, connection: RedisConnection, stream: bytes) -> None:
        """Send again what of the doubtful ones is not in a stream."""
        searched = [waiting for waiting in self._doubtful if waiting.stream == stream]
        last = self._last.get(stream)
        if last is not None and await self._cut_off(connection, stream, last):
            missing: list[Waiting] = []
            for waiting in searched:
                self._lose(waiting.namespace or "", 0, 1, "it is not known whether Redis has taken it")
        else:
            there = await self._search(connection, stream, last, {waiting.data for waiting in searched})
            missing = _not_among(searched, there)
            self._backlog.published += len(searched) - len(missing)
        # nothing is awaited from here on, so that nothing is done by halves
        self._doubtful = [waiting for waiting in self._doubtful if waiting.stream != stream]
        for waiting in searched:
            if waiting not in missing:
                self._settle(waiting)
        self._queue.extendleft(reversed(missing))

    async def _cut_off(self, connection: RedisConnection, stream: bytes, last: bytes) -> bool:
        """Whether the stream has lost, since it is full, what was known to be in it."""
        here = await self._request(connection, b"XRANGE", stream, last, last)
        if here:
            return False
        size = await self._request(connection, b"XLEN", stream)
        first = await self._request(connection, b"XRANGE", stream, b"-", b"+", b"COUNT", b"1")
        return bool(first) and size >= self.max_len and order(first[0][0]) > order(last)

    async def _search(
        self, connection: RedisConnection, stream: bytes, last: bytes | None, wanted: set[bytes]
    ) -> list[bytes]:
        """The commands among the wanted ones that have added an entry, in the order of the entries."""
        head = b"XADD", stream, b"MAXLEN", b"~", b"%d" % self.max_len, b"*"
        found: list[bytes] = []
        place = START if last is None else last
        while True:
            entries = await self._request(connection, b"XRANGE", stream, after(place), b"+", b"COUNT", _BATCH)
            for entry_id, fields in entries:
                added = command(*head, *fields)
                if added in wanted:
                    found.append(added)
                place = entry_id
            if len(entries) < int(_BATCH):
                if place != START:  # so that the same is not found once more for a later one
                    self._last[stream] = place
                return found

    async def _request(self, connection: RedisConnection, *parts: bytes) -> Any:
        """A command over the new connection, and its answer.

        Raises:
            ConnectionAbortedError: Redis refuses it.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = Waiting(command(*parts), None, answer)
        self._in_flight.append(waiting)
        self._backlog.messages += 1
        self._backlog.bytes += len(waiting.data)
        connection.write(waiting.data)
        async with asyncio.timeout(self._connector.timeout):
            await asyncio.wait((answer, connection.ended), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            connection.ended.result()
        try:
            return answer.result()
        except AdapterUnavailable as error:
            raise ConnectionAbortedError(str(error)) from None


def _nothing() -> None:
    """Nobody wants to know."""


def _not_among(searched: list[Waiting], there: list[bytes]) -> list[Waiting]:
    """Those of which no entry is there; both are in the order in which they were sent."""
    missing: list[Waiting] = []
    place = 0
    for waiting in searched:
        try:
            place = there.index(waiting.data, place) + 1
        except ValueError:
            missing.append(waiting)
    return missing
