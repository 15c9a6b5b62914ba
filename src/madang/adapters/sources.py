"""Where the adapters of a server's namespaces come from: what the option `adapter` may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, cast

from ..errors import OptionError
from .adapter import Adapter, AdapterContext
from .memory import MemoryAdapter
from .messages import AdapterHealth


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


class AdapterSettings(Protocol):
    """Settings that can be opened for a server, such as `RedisAdapter`."""

    def open(self) -> AdapterSource:
        """What makes the adapters of one server."""
        ...


AdapterOption: TypeAlias = "str | AdapterSettings | Callable[[AdapterContext], Adapter]"


class _Factory:
    """Adapters that share nothing."""

    health = AdapterHealth()

    def __init__(self, make: Callable[[AdapterContext], Adapter]) -> None:
        self.make = make

    def start(self) -> None:
        """Nothing is shared."""

    async def close(self) -> None:
        """Nothing is shared."""


def settings_of(option: AdapterOption | None) -> AdapterSettings | Callable[[AdapterContext], Adapter]:
    """What the option `adapter` means; a URL is read.

    Raises:
        OptionError: it is nothing that could make adapters.
    """
    if option is None:
        return lambda _: MemoryAdapter()
    if isinstance(option, str):
        scheme = option.partition("://")[0]
        if scheme not in ("redis", "rediss", "unix"):
            raise OptionError(f"adapter: no cluster can be found by {option!r}; redis://, rediss:// and unix:// can")
        from .redis_pubsub import RedisAdapter

        return RedisAdapter(option)
    if not callable(option) and not hasattr(option, "open"):
        raise OptionError(f"adapter must be a URL, a RedisAdapter or a function of the namespace, not {option!r}")
    return option


def source_of(option: AdapterOption | None) -> AdapterSource:
    """What makes the adapters of a server with this option.

    Raises:
        OptionError: see `settings_of`.
    """
    settings: Any = settings_of(option)
    if hasattr(settings, "open"):
        return cast("AdapterSettings", settings).open()
    return _Factory(settings)
