"""Where the adapters of a server's namespaces come from: what the option `adapter` may be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol, TypeAlias, cast

from ..errors import OptionError
from .adapter import Adapter, AdapterContext
from .memory import MemoryAdapter
from .memory_recovery import MemoryRecovery
from .messages import AdapterHealth
from .recovery import RecoveryBackend, RecoveryLimits, RecoveryOwner, RecoverySource


class AdapterSource(Protocol):
    """Makes the adapters of one server, and holds what they share; it starts and ends with the server."""

    def make(self, context: AdapterContext, /) -> Adapter:
        """The adapter of a namespace."""
        ...

    def start(self) -> None:
        """The server begins to serve, in the running loop; called again when it does so again."""
        ...

    async def close(self) -> None:
        """The server has ended."""
        ...

    @property
    def health(self) -> AdapterHealth:
        """How the link to the other servers is."""
        ...


def recovery_source(source: AdapterSource) -> RecoverySource:
    """The same, if its adapters can recover sessions.

    Raises:
        OptionError: they cannot.
    """
    if not hasattr(source, "recover"):
        raise OptionError(NO_RECOVERY)
    return cast("RecoverySource", source)


NO_RECOVERY: Final = (
    "connection_state_recovery: this adapter does not keep what clients miss; sessions are recovered without an "
    "adapter, on one server and between the workers of one machine, and over Redis streams (redis+streams://)"
)
"""Why sessions cannot be recovered, and with what they can."""


class AdapterSettings(Protocol):
    """Settings that can be opened for a server, such as `RedisAdapter`."""

    def open(self) -> AdapterSource:
        """What makes the adapters of one server."""
        ...


_SCHEMES: Final = {
    "redis": ("redis.pubsub", "RedisAdapter"),
    "rediss": ("redis.pubsub", "RedisAdapter"),
    "unix": ("redis.pubsub", "RedisAdapter"),
    "postgresql": ("postgres.listen_notify", "PostgresAdapter"),
    "postgres": ("postgres.listen_notify", "PostgresAdapter"),
    "nats": ("nats.subjects", "NatsAdapter"),
    "tls": ("nats.subjects", "NatsAdapter"),
    "redis+streams": ("redis.streams", "RedisStreamsAdapter"),
    "rediss+streams": ("redis.streams", "RedisStreamsAdapter"),
    "unix+streams": ("redis.streams", "RedisStreamsAdapter"),
    "redis+sharded": ("redis.sharded", "ShardedRedisAdapter"),
    "rediss+sharded": ("redis.sharded", "ShardedRedisAdapter"),
    "unix+sharded": ("redis.sharded", "ShardedRedisAdapter"),
}
"""Which settings a URL means, and where they are; what they stand on is imported when it is used.

The words `cluster` and `sentinel` in a scheme say where the Redis is, which is the settings' business."""

AdapterOption: TypeAlias = "str | AdapterSettings | Callable[[AdapterContext], Adapter]"


class _Alone:
    """Adapters of a server that has no others."""

    health = AdapterHealth()

    def make(self, context: AdapterContext) -> Adapter:
        """See `AdapterSource`."""
        return MemoryAdapter()

    def recover(
        self, adapter: MemoryAdapter, context: AdapterContext, limits: RecoveryLimits, owner: RecoveryOwner
    ) -> RecoveryBackend:
        """See `RecoverySource`."""
        return MemoryRecovery(adapter, context, limits, owner)

    def start(self) -> None:
        """Nothing is shared."""

    async def close(self) -> None:
        """Nothing is shared."""


class Factory:
    """Adapters that share nothing, from a function of the application's; who closes one makes a new one next time."""

    health = AdapterHealth()

    def __init__(self, make: Callable[[AdapterContext], Adapter]) -> None:
        self.make = make

    def start(self) -> None:
        """Nothing is shared."""

    async def close(self) -> None:
        """Nothing is shared."""


def scheme_of(url: str) -> str:
    """A URL's scheme without the words that say where the broker is, and not what."""
    first, *words = url.partition("://")[0].split("+")
    return "+".join([first, *(word for word in words if word not in ("cluster", "sentinel"))])


def settings_of(option: AdapterOption) -> AdapterSettings | Callable[[AdapterContext], Adapter]:
    """What the option `adapter` means; a URL is read.

    Raises:
        OptionError: it is nothing that could make adapters.
    """
    if isinstance(option, str):
        known = _SCHEMES.get(scheme_of(option))
        if known is None:
            schemes = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
            raise OptionError(f"adapter: no cluster can be found by {option!r}; it can by {schemes}")
        module, name = known
        return cast("AdapterSettings", getattr(import_module(f".{module}", __package__), name)(option))
    if not callable(option) and not hasattr(option, "open"):
        raise OptionError(f"adapter must be a URL, a RedisAdapter or a function of the namespace, not {option!r}")
    return option


def source_of(option: AdapterOption | None) -> AdapterSource:
    """What makes the adapters of a server with this option.

    Raises:
        OptionError: see `settings_of`.
    """
    if option is None:
        return _Alone()
    settings: Any = settings_of(option)
    if hasattr(settings, "open"):
        return cast("AdapterSettings", settings).open()
    return Factory(settings)
