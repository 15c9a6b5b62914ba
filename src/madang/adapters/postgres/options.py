"""What can be said of a cluster over PostgreSQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypedDict
from urllib.parse import urlsplit

from ...engine.options import require_positive
from ...errors import OptionError
from ..settings import settings_from

SCHEMES: Final = ("postgresql", "postgres")

LONGEST: Final = 7990
"""Bytes that a notification may have; PostgreSQL takes 7999, and a few are wanted to tell equal ones apart."""

_TABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")


class PostgresKeywords(TypedDict, total=False):
    """What `PostgresAdapter` takes by name; see `PostgresOptions`."""

    key: str
    table_name: str
    payload_threshold: int
    cleanup_interval: float
    heartbeat_interval: float
    heartbeat_timeout: float
    requests_timeout: float
    queue_limit: int
    queue_bytes: int
    max_message: int
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """The options of a cluster over PostgreSQL.

    Attributes:
        key: what the names of all channels begin with; the same on all servers. Default ``"socket.io"``, as Node's
            `channelPrefix`.
        table_name: the table for what is too long for a notification; made if it is not there. Default
            ``"socket_io_attachments"``, as Node's `tableName`.
        payload_threshold: bytes from which a message goes through the table. Default 7990, which is the most.
        cleanup_interval: seconds after which rows of the table are deleted. Default 30, as in Node.
        heartbeat_interval: seconds after which a server that has said nothing else says that it lives. Default 5.
        heartbeat_timeout: seconds after which a server that has said nothing is gone. Default 10.
        requests_timeout: seconds for which the answers of other servers are awaited. Default 5.
        queue_limit: messages that may wait while PostgreSQL is slow or away. Default 100 000.
        queue_bytes: bytes that they may have. Default 64 MiB.
        max_message: bytes that one message between servers may have. Default 16 MiB.
        timeout: seconds in which PostgreSQL must answer; then the connection is made anew. Default 5.
    """

    key: str = "socket.io"
    table_name: str = "socket_io_attachments"
    payload_threshold: int = LONGEST
    cleanup_interval: float = 30.0
    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 10.0
    requests_timeout: float = 5.0
    queue_limit: int = 100_000
    queue_bytes: int = 67_108_864
    max_message: int = 16_777_216
    timeout: float = 5.0

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "requests_timeout", "queue_limit", "queue_bytes", "max_message", "timeout")
        require_positive(self, "payload_threshold", "cleanup_interval", "heartbeat_interval", "heartbeat_timeout")
        if self.payload_threshold > LONGEST:
            raise OptionError(f"payload_threshold is at most {LONGEST}, not {self.payload_threshold}")
        if self.heartbeat_timeout <= self.heartbeat_interval:
            raise OptionError("heartbeat_timeout must be longer than heartbeat_interval")
        if _TABLE.fullmatch(self.table_name) is None:
            raise OptionError(f"table_name is a name, perhaps after its schema's and a dot, not {self.table_name!r}")


def options_from(url: str, given: PostgresKeywords) -> tuple[str, PostgresOptions]:
    """The URL for asyncpg, and our options.

    Raises:
        OptionError: see `settings_from`.
    """
    plain, options = settings_from(url, SCHEMES, "postgresql://user@localhost:5432/name", given, PostgresOptions)
    try:
        _ = urlsplit(plain).port
    except ValueError as error:
        raise OptionError(f"{url!r} cannot be understood: {error}") from None
    return plain, options
