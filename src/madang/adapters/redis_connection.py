"""One connection to Redis, which redis-py makes: what a URL says, TLS, passwords, and the bytes of commands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import OptionError

try:
    from hiredis import Reader, ReplyError
    from redis.asyncio.connection import ConnectionPool
    from redis.exceptions import RedisError
except ImportError:
    raise OptionError("a cluster over Redis needs redis-py: pip install 'madang[redis]'") from None

__all__ = [
    "BROKEN",
    "RedisConnection",
    "RedisConnector",
    "ReplyError",
    "backoff",
    "command",
    "publication",
    "split_url",
]

BROKEN: Final = (RedisError, OSError, TimeoutError, EOFError, ValueError)
"""What means that a connection is of no more use; the last for a server that does not speak Redis's protocol."""

SCHEMES: Final = ("redis", "rediss", "unix")

TURN: Final = 64
"""Answers that are handled before the loop may do something else."""

_NOT_YET: Final = object()
_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0


def command(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def publication(channel: bytes, payload: bytes) -> bytes:
    """The command that publishes."""
    size = len(channel), len(payload)
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (size[0], channel, size[1], payload)


def backoff() -> Iterator[float]:
    """Seconds to wait before each further attempt."""
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, _LAST_DELAY)


def split_url(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its query, and the query.

    Raises:
        OptionError: it is no URL of a Redis.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise OptionError(f"a Redis is named by a URL such as redis://localhost:6379/0, not by {url!r}")
    query = dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query="")), query


class RedisConnection(asyncio.Protocol):
    """A connection that redis-py has made, and from then on without it: no coroutine for each answer.

    Args:
        made: redis-py's connection; it has authenticated, and chosen its database.
        on_reply: called with each answer, in bytes; an error that Redis answers with is a `ReplyError`.

    Attributes:
        ended: has a result, or an exception, once the connection has ended.
    """

    def __init__(self, made: Any, on_reply: Callable[[Any], None]) -> None:
        loop = asyncio.get_running_loop()
        self._made = made
        self._on_reply = on_reply
        self._reader: Any = Reader(notEnoughData=_NOT_YET)
        self._draining = False
        self._loop = loop
        self.ended: asyncio.Future[None] = loop.create_future()
        self.ended.add_done_callback(_retrieve)
        # what redis-py does not promise to keep; pyproject.toml bounds its version
        self._transport: asyncio.Transport = made._writer.transport
        self._transport.set_protocol(self)
        if made._reader.at_eof() or self._transport.is_closing():
            self.connection_lost(None)

    def write(self, data: bytes) -> None:
        """Send commands."""
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Answers, or parts of them."""
        self._reader.feed(data)
        if not self._draining:
            self._drain()

    def _drain(self) -> None:
        """Handle some of the answers; the others when the loop has done something else."""
        gets, on_reply = self._reader.gets, self._on_reply
        if self.ended.done():
            return
        try:
            for _ in range(TURN):
                reply = gets()
                if reply is _NOT_YET:
                    if self._draining:
                        self._draining = False
                        if not self._transport.is_closing():
                            self._transport.resume_reading()
                    return
                on_reply(reply)
        except Exception as error:
            self.fail(error)
            return
        if not self._draining:
            self._draining = True
            self._transport.pause_reading()
        self._loop.call_soon(self._drain)

    def fail(self, error: BaseException) -> None:
        """It is of no more use."""
        if not self.ended.done():
            self.ended.set_exception(error)
        self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has ended; what has come before that counts."""
        while self._draining and not self.ended.done():
            self._drain()
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionResetError("Redis has closed the connection"))

    async def close(self) -> None:
        """End it."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.abort()
        await self._made.disconnect(nowait=True)


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


class RedisConnector:
    """Makes connections to one Redis.

    Args:
        url: where it is; its query may have what redis-py understands.
        timeout: seconds for connecting, and for any answer.

    Raises:
        OptionError: the URL cannot be understood.
    """

    __slots__ = ("_make", "timeout")

    def __init__(self, url: str, timeout: float) -> None:
        plain, query = split_url(url)
        self.timeout = timeout
        given = f"{plain}?{urlencode(query)}" if query else plain
        try:
            from_url: Any = ConnectionPool.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            pool = from_url(given, protocol=2, socket_timeout=None, socket_connect_timeout=timeout)
            self._make: Callable[[], Any] = pool.make_connection
            self._make()
        except (ValueError, TypeError) as error:
            raise OptionError(f"{url!r} cannot be understood: {error}") from None

    async def connect(self, on_reply: Callable[[Any], None]) -> RedisConnection:
        """A new connection; see `RedisConnection`.

        Raises:
            RedisError: no connection; one of `BROKEN`.
        """
        made = self._make()
        try:
            async with asyncio.timeout(self.timeout):
                await made.connect()
            return RedisConnection(made, on_reply)
        except BaseException:
            await made.disconnect(nowait=True)
            raise
