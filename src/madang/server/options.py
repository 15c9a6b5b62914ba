"""The server's options, beyond those of its engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Final, cast

from ..adapters.sources import AdapterOption, settings_of
from ..engine.engine import Engine
from ..engine.options import EngineKeywords, require_callable, require_flag, require_positive, require_whole
from ..errors import OptionError
from ..protocol.parser import Parser
from .presence import PresenceOptions
from .recovery import RecoveryOptions


class ServerKeywords(EngineKeywords, total=False):
    """What `Server` takes by name; see `ServerOptions` and `EngineOptions`."""

    connect_timeout: float
    ack_timeout: float | None
    shutdown_timeout: float
    concurrent: bool
    cleanup_empty_child_namespaces: bool
    max_attachments: int
    parser: Parser | None
    adapter: AdapterOption | None
    json_default: Callable[[Any], Any] | None
    connection_state_recovery: bool | RecoveryOptions | Mapping[str, Any] | None
    presence: PresenceOptions | Mapping[str, Any] | None
    serve_client: bool | str | PathLike[str] | None
    slow_handler: float | None
    engine: Engine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The options of a server.

    Attributes:
        connect_timeout: seconds in which a client must join a first namespace. Default 45.
        ack_timeout: seconds that `emit_with_ack` waits unless told otherwise. Default None: on one socket until it
            answers or is gone, on broadcasts 5 seconds.
        shutdown_timeout: seconds that running handlers have when the server closes. Default 10.
        concurrent: whether handlers of one socket may overlap. Default False: in order, one at a time.
        cleanup_empty_child_namespaces: whether a dynamic namespace goes with its last socket. Default False.
        max_attachments: how many binary attachments a packet may have. Default 10.
        parser: `MsgpackParser()`, or a parser of your own. Default: the one every client speaks.
        adapter: who holds the rooms and reaches the other servers: a URL such as ``"redis://localhost:6379/0"``, a
            `RedisAdapter`, or a function of the namespace (see `AdapterContext`) that makes its adapter. Default: in
            memory.
        json_default: turns values of unknown types into known ones, or raises TypeError.
        connection_state_recovery: whether a client that comes back after a short break gets its id, rooms and data, and
            what it missed: True, or a dict of `RecoveryOptions`. Default None: no.
        presence: how servers tell each other who is present: a dict of `PresenceOptions`. Default None: as they are
            by default.
        serve_client: whether the browser's client is served below the path, as ``/socket.io/socket.io.js`` and so on,
            from the npm package ``socket.io`` or ``socket.io-client``: True, or where it is; without it the server does
            not start. Default None: if one is installed in the ``node_modules`` here or above. False: no.
        slow_handler: seconds; what holds the event loop for longer is told in the log, with the handler that does.
            Default None: nobody looks.
        engine: a `madang.Engine` to stand on, with options, middleware and listeners of its own, perhaps of a class of
            your own. Default None: one is made, of the options of `EngineOptions` that are given.
    """

    connect_timeout: float = 45.0
    ack_timeout: float | None = None
    shutdown_timeout: float = 10.0
    concurrent: bool = False
    cleanup_empty_child_namespaces: bool = False
    max_attachments: int = 10
    parser: Parser | None = None
    adapter: AdapterOption | None = None
    json_default: Callable[[Any], Any] | None = None
    connection_state_recovery: bool | RecoveryOptions | Mapping[str, Any] | None = None
    presence: PresenceOptions | Mapping[str, Any] | None = None
    serve_client: bool | str | PathLike[str] | None = None
    slow_handler: float | None = None
    engine: Engine | None = None

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "connect_timeout", "shutdown_timeout")
        require_whole(self, "max_attachments")
        require_flag(self, "concurrent", "cleanup_empty_child_namespaces")
        require_callable(self, "json_default")
        for name in ("ack_timeout", "slow_handler"):
            if getattr(self, name) is not None:
                require_positive(self, name)
        if self.engine is not None and not isinstance(cast("Any", self.engine), Engine):
            raise OptionError(f"engine must be a madang.Engine, not {self.engine!r}")
        RecoveryOptions.of(self.connection_state_recovery)
        PresenceOptions.of(self.presence)
        if self.adapter is not None:
            settings_of(self.adapter)


FIELDS: Final = frozenset(field.name for field in fields(ServerOptions))
"""The options that are the server's own, and not its engine's."""

LATE: Final = frozenset(
    (
        "ack_timeout",
        "adapter",
        "cleanup_empty_child_namespaces",
        "connect_timeout",
        "serve_client",
        "shutdown_timeout",
        "slow_handler",
    )
)
"""Those of them that may be changed until the server is served."""
