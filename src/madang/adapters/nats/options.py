"""What can be said of a cluster over NATS."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Final, TypedDict, cast
from urllib.parse import urlsplit

from ...engine.options import require_positive
from ...errors import OptionError
from ..settings import settings_from

SCHEMES: Final = ("nats", "tls")

_KEY: Final = re.compile(r"[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*")


class NatsKeywords(TypedDict, total=False):
    """What `NatsAdapter` takes by name; see `NatsOptions`."""

    key: str
    heartbeat_interval: float
    heartbeat_timeout: float
    requests_timeout: float
    queue_limit: int
    queue_bytes: int
    max_message: int
    timeout: float
    credentials: str | None
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """The options of a cluster over NATS.

    Attributes:
        key: what all subjects begin with; the same on all servers. Default ``"socket.io"``.
        heartbeat_interval: seconds after which a server that has said nothing else says that it lives. Default 5.
        heartbeat_timeout: seconds after which a server that has said nothing is gone. Default 10.
        requests_timeout: seconds for which the answers of other servers are awaited. Default 5.
        queue_limit: messages that may wait while NATS is slow or away. Default 100 000.
        queue_bytes: bytes that they may have. Default 64 MiB.
        max_message: bytes that one message between servers may have; a NATS server has a bound of its own, 1 MiB unless
            told otherwise. Default 16 MiB.
        timeout: seconds in which NATS must answer; then the connection is made anew. Default 5.
        credentials: the path of a ``.creds`` file. Default None.
        tls: how a server is verified. Default None: as Python does it by default.
    """

    key: str = "socket.io"
    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 10.0
    requests_timeout: float = 5.0
    queue_limit: int = 100_000
    queue_bytes: int = 67_108_864
    max_message: int = 16_777_216
    timeout: float = 5.0
    credentials: str | None = None
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "requests_timeout", "queue_limit", "queue_bytes", "max_message", "timeout")
        require_positive(self, "heartbeat_interval", "heartbeat_timeout")
        if self.heartbeat_timeout <= self.heartbeat_interval:
            raise OptionError("heartbeat_timeout must be longer than heartbeat_interval")
        if len(self.key) > 200 or _KEY.fullmatch(self.key) is None:
            raise OptionError(f"key is the beginning of a subject, without wildcards and spaces, not {self.key!r}")
        if not isinstance(cast("object", self.tls), ssl.SSLContext | None):
            raise OptionError(f"tls is an ssl.SSLContext, not {self.tls!r}")


def options_from(url: str, given: NatsKeywords) -> tuple[list[str], NatsOptions]:
    """The URLs for nats-py, which may be several with commas between them, and our options.

    Raises:
        OptionError: see `settings_from`.
    """
    plain, options = settings_from(url, SCHEMES, "nats://localhost:4222", given, NatsOptions)
    servers = plain.split(",")
    for server in servers:
        try:
            parts = urlsplit(server)
            fits = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise OptionError(f"a NATS server is named by a URL such as nats://localhost:4222, not by {server!r}")
    return servers, options
