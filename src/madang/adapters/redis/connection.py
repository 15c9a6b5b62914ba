"""One connection to Redis, which redis-py makes, and how to come by it: TLS, passwords, sentinels; and commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from copy import copy
from typing import Any, Final

from ...errors import OptionError
from ..link import backoff, retrieve
from .location import Address, Location, location_of

try:
    from hiredis import HiredisError, Reader, ReplyError
    from redis.asyncio.connection import ConnectionPool
    from redis.exceptions import RedisError
except ImportError:
    raise OptionError("a cluster over Redis needs redis-py: pip install 'madang[redis]'") from None

__all__ = [
    "BROKEN",
    "PUBLISH",
    "SPUBLISH",
    "RedisConnection",
    "RedisConnector",
    "ReplyError",
    "backoff",
    "command",
    "escaped",
    "publication",
]

BROKEN: Final = (RedisError, HiredisError, OSError, TimeoutError, EOFError, ValueError)
"""What means that a connection is of no more use, because it broke or because Redis refuses what it is for."""

TURN: Final = 64
"""Answers that are handled before the loop may do something else."""

_GLOB: Final = re.compile(rb"[\\*?\[\]]")
_NOT_YET: Final = object()


def command(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


PUBLISH: Final = b"*3\r\n$7\r\nPUBLISH\r\n"
SPUBLISH: Final = b"*3\r\n$8\r\nSPUBLISH\r\n"


def publication(verb: bytes, channel: bytes, payload: bytes) -> bytes:
    """The command that publishes; `verb` is how it begins."""
    return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (verb, len(channel), channel, len(payload), payload)


def escaped(name: bytes) -> bytes:
    """A name as part of a pattern of Redis."""
    return _GLOB.sub(rb"\\\g<0>", name)


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
        self.ended.add_done_callback(retrieve)
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


class RedisConnector:
    """Makes connections to a Redis.

    Args:
        url: where it is; its query may have what redis-py understands.
        timeout: seconds for connecting, and for any answer.

    Attributes:
        location: what the URL says.
        timeout: see above.
        named: the master that a sentinel has named last, of its own accord; None if it was not to be had.

    Raises:
        OptionError: the URL cannot be understood.
    """

    __slots__ = ("_class", "_facts", "_fixed", "location", "named", "timeout")

    def __init__(self, url: str, timeout: float) -> None:
        self.location: Location = location_of(url)
        self.timeout = timeout
        self._fixed: Address | None = None
        self.named: Address | None = None
        try:
            from_url: Any = ConnectionPool.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            pool = from_url(self.location.url, protocol=2, socket_timeout=None, socket_connect_timeout=timeout)
            self._class: Any = pool.connection_class
            self._facts: dict[str, Any] = pool.connection_kwargs
            self._class(**self._facts)
        except (ValueError, TypeError) as error:
            raise OptionError(f"{url!r} cannot be understood: {error}") from None

    def at(self, address: Address) -> RedisConnector:
        """The same for one node of a Redis Cluster."""
        one = copy(self)
        one._fixed = address
        return one

    async def connect(self, on_reply: Callable[[Any], None]) -> RedisConnection:
        """A new connection; see `RedisConnection`.

        Raises:
            RedisError: no connection; one of `BROKEN`.
        """
        async with asyncio.timeout(self.timeout):
            if self.location.kind == "sentinel":
                made = await self._master()
            else:
                made = await self._open(self._fixed)
        try:
            return RedisConnection(made, on_reply)
        except BaseException:
            await made.disconnect(nowait=True)
            raise

    async def connect_to_sentinel(self, sentinel: Address, on_reply: Callable[[Any], None]) -> RedisConnection:
        """The same to a sentinel."""
        async with asyncio.timeout(self.timeout):
            made = await self._open_sentinel(sentinel)
        return RedisConnection(made, on_reply)

    async def ask(self, address: Address, *command: str) -> Any:
        """What a node answers to one command, over a connection of its own.

        Raises:
            RedisError: it does not; one of `BROKEN`.
        """
        async with asyncio.timeout(self.timeout):
            made = await self._open(address)
            try:
                return await _answer(made, *command)
            finally:
                await made.disconnect(nowait=True)

    async def _open(self, address: Address | None, **changes: Any) -> Any:
        """A connection of redis-py's."""
        if address is not None:
            changes |= {"host": address[0], "port": address[1]}
        made = self._class(**(self._facts | changes))
        try:
            await made.connect()
        except BaseException:
            await made.disconnect(nowait=True)
            raise
        return made

    async def _master(self) -> Any:
        """A connection to what the sentinels name as the master, and what says that it is one."""
        address = self.named or await self._from_sentinels()
        made: Any = None
        try:
            made = await self._open(address)
            (role, *_) = await _answer(made, "ROLE")
            if role != b"master":
                raise ConnectionError(f"the sentinels name {address[0]}:{address[1]}, which is no master")
            return made
        except BaseException:
            if self.named == address:
                self.named = None
            if made is not None:
                await made.disconnect(nowait=True)
            raise

    async def _open_sentinel(self, sentinel: Address) -> Any:
        return await self._open(sentinel, **{"username": None, "password": None, "db": 0, **self.location.sentinel})

    async def _from_sentinels(self) -> Address:
        """The master's address, from the first sentinel that knows it; each gets its share of the time."""
        location = self.location
        reasons: list[str] = []
        for sentinel in location.addresses:
            try:
                async with asyncio.timeout(self.timeout / (len(location.addresses) + 1)):
                    made = await self._open_sentinel(sentinel)
                    try:
                        found = await _answer(made, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", location.service)
                    finally:
                        await made.disconnect(nowait=True)
            except BROKEN as error:
                reasons.append(f"{sentinel[0]}:{sentinel[1]}: {str(error) or repr(error)}")
                continue
            if found is not None:
                return found[0].decode(), int(found[1])
            reasons.append(f"{sentinel[0]}:{sentinel[1]} knows no master named {location.service!r}")
        raise ConnectionError(f"no sentinel names the master: {'; '.join(reasons)}")


async def _answer(made: Any, *command: str) -> Any:
    await made.send_command(*command)
    return await made.read_response()
