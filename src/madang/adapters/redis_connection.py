"""One connection to Redis, which redis-py makes: what a URL says, TLS, passwords, and the bytes of commands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import OptionError

try:
    from redis.asyncio.connection import ConnectionPool
    from redis.exceptions import RedisError, ResponseError
except ImportError:
    raise OptionError("a cluster over Redis needs redis-py: pip install 'madang[redis]'") from None

__all__ = ["BROKEN", "RedisConnection", "RedisConnector", "ResponseError", "backoff", "command", "split_url"]

BROKEN: Final = (RedisError, OSError, TimeoutError, EOFError, ValueError)
"""What means that a connection is of no more use; the last for a server that does not speak Redis's protocol."""

SCHEMES: Final = ("redis", "rediss", "unix")

_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0


def command(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


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


class RedisConnection(Protocol):
    """What is used of redis-py's connections."""

    async def connect(self) -> None:
        """Connect, and say who we are."""
        ...

    async def disconnect(self, nowait: bool = False) -> None:
        """End; with `nowait`, without waiting for the other side."""
        ...

    async def can_read(self) -> bool:
        """Whether something can be read, be it that the connection has ended."""
        ...

    async def send_packed_command(self, command: list[bytes]) -> None:
        """Write commands."""
        ...

    async def read_response(self, disable_decoding: bool = False) -> Any:
        """The next answer, in bytes."""
        ...


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
            self._make: Callable[[], RedisConnection] = pool.make_connection
            self._make()
        except (ValueError, TypeError) as error:
            raise OptionError(f"{url!r} cannot be understood: {error}") from None

    async def connect(self) -> RedisConnection:
        """A new connection.

        Raises:
            RedisError: no connection; one of `BROKEN`.
        """
        connection = self._make()
        try:
            async with asyncio.timeout(self.timeout):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection
