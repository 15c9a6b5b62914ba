"""Ways out for those who are no servers, by the scheme of a cluster's URL."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Protocol, cast

from ..errors import OptionError
from .messages import ClusterMessage
from .sources import scheme_of


class Outlet(Protocol):
    """Where what is emitted goes."""

    def send(self, namespace: str, message: ClusterMessage) -> None:
        """Send one message.

        Raises:
            EncodeError: it holds what cannot be sent, or is too large.
        """
        ...


class QueuedOutlet(Outlet, Protocol):
    """In a loop; nothing but `drained` and `close` waits."""

    @property
    def lost(self) -> int:
        """Messages that never left."""
        ...

    def start(self) -> None:
        """Begin to connect, in the running loop; `send` does so as well."""
        ...

    async def drained(self) -> None:
        """Wait until all has left.

        Raises:
            AdapterUnavailable: the connection broke meanwhile.
        """
        ...

    async def close(self) -> None:
        """Wait until all has left, for a bounded time, and disconnect."""
        ...


class DirectOutlet(Outlet, Protocol):
    """Without a loop: `send` waits until the broker has taken the message, and raises `AdapterUnavailable`."""

    @property
    def receivers(self) -> int | None:
        """How many servers listened to the last message; None if the broker does not tell."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class Outlets(Protocol):
    """A module that makes them; both raise `OptionError` for a URL or options that they do not know."""

    def queued(self, url: str, **options: Any) -> QueuedOutlet:
        """For programs with a loop."""
        ...

    def direct(self, url: str, **options: Any) -> DirectOutlet:
        """For programs without one."""
        ...


_MODULES: Final = {
    "redis": "redis.emitting",
    "rediss": "redis.emitting",
    "unix": "redis.emitting",
    "postgresql": "postgres.emitting",
    "postgres": "postgres.emitting",
    "nats": "nats.emitting",
    "tls": "nats.emitting",
    "redis+streams": "redis.streams_emitting",
    "rediss+streams": "redis.streams_emitting",
    "unix+streams": "redis.streams_emitting",
    "redis+sharded": "redis.emitting",
    "rediss+sharded": "redis.emitting",
    "unix+sharded": "redis.emitting",
}


def outlets_of(url: str) -> Outlets:
    """What makes the outlets of a cluster.

    Raises:
        OptionError: there is none for such a URL.
    """
    module = _MODULES.get(scheme_of(url))
    if module is None:
        raise OptionError(
            f"nothing can be emitted to {url!r}; it can to {', '.join(f'{name}://' for name in _MODULES)}"
        )
    return cast("Outlets", import_module(f".{module}", __package__))
