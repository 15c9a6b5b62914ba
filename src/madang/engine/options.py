"""The engine's options: typed, checked when the engine is made."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, TypedDict

from ..errors import OptionError
from ..types import TransportName
from .cors import CorsDelegate, CorsOptions
from .http import Request

AllowRequest: TypeAlias = "Callable[[Request], bool | Awaitable[bool | None] | None]"
GenerateId: TypeAlias = "Callable[[Request], str | Awaitable[str]]"


class CookieOptions(TypedDict, total=False):
    """The `cookie` option: a cookie that names the session, for load balancers that route by it.

    Attributes:
        name: default ``"io"``.
        path: default ``"/"``; None leaves it out.
        http_only: default True.
        same_site: default ``"Lax"``; None leaves it out.
        secure: default False.
        domain: default none.
        max_age: seconds; default none, a cookie of the browser session.
    """

    name: str
    path: str | None
    http_only: bool
    same_site: Literal["Strict", "Lax", "None"] | None
    secure: bool
    domain: str
    max_age: int


class EngineKeywords(TypedDict, total=False):
    """What `Engine` takes by name; the meaning of each stands in `EngineOptions`."""

    path: str
    add_trailing_slash: bool
    transports: Sequence[TransportName]
    allow_upgrades: bool
    ping_interval: float
    ping_timeout: float
    upgrade_timeout: float
    max_http_buffer_size: int
    http_compression: bool
    cors: CorsOptions | CorsDelegate | None
    cookie: bool | CookieOptions | None
    allow_request: AllowRequest | None
    generate_id: GenerateId | None
    outbound_limit: int
    slow_client: Literal["disconnect", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options of one engine.

    Attributes:
        path: the path it answers on; everything below it counts. Default ``"/engine.io/"``.
        add_trailing_slash: whether the path ends with a slash; if not, it is a bare prefix. Default True.
        transports: those allowed. Default polling and websocket.
        allow_upgrades: whether a polling client may move to WebSocket. Default True.
        ping_interval: seconds from a pong (or the handshake) to the next ping. Default 25.
        ping_timeout: seconds to wait for a pong. Default 20.
        upgrade_timeout: seconds an upgrade may take. Default 10.
        max_http_buffer_size: bytes that one message or POST body may have. Default 1 000 000.
        http_compression: whether polling responses from 1024 bytes on are compressed. Default True.
        cors: see `CorsOptions`. Default None: same-origin only.
        cookie: True or `CookieOptions` to set one on the polling handshake. Default None.
        allow_request: called with each handshake's request; False refuses it with code 4, and so does a `ConnectError`,
            whose message the client is told. May be a coroutine function.
        generate_id: makes the session ids, which must be unguessable. May be a coroutine function.
        outbound_limit: bytes that may wait for one client before `slow_client` applies. Default 16 MiB.
        slow_client: what happens beyond that: ``"disconnect"``, or ``"drop"`` the new message. Default disconnect.
    """

    path: str = "/engine.io/"
    add_trailing_slash: bool = True
    transports: Sequence[TransportName] = ("polling", "websocket")
    allow_upgrades: bool = True
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    max_http_buffer_size: int = 1_000_000
    http_compression: bool = True
    cors: CorsOptions | CorsDelegate | None = None
    cookie: bool | CookieOptions | None = None
    allow_request: AllowRequest | None = None
    generate_id: GenerateId | None = None
    outbound_limit: int = 16 * 1024 * 1024
    slow_client: Literal["disconnect", "drop"] = "disconnect"

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range; the message names the option.
        """
        require_positive(self, "ping_interval", "ping_timeout", "upgrade_timeout")
        require_positive(self, "max_http_buffer_size", "outbound_limit")
        if isinstance(self.transports, str) or not self.transports:
            raise OptionError('transports must be a list such as ["polling", "websocket"]')
        for name in self.transports:
            if name not in ("polling", "websocket"):
                raise OptionError(f"transports: {name!r} is unknown; there are 'polling' and 'websocket'")
        if not self.path.startswith("/"):
            raise OptionError(f"path must begin with a slash, not {self.path!r}")
        if self.slow_client not in ("disconnect", "drop"):
            raise OptionError(f"slow_client must be 'disconnect' or 'drop', not {self.slow_client!r}")
        object.__setattr__(self, "path", self.path.rstrip("/") + ("/" if self.add_trailing_slash else ""))

    @property
    def upgrades(self) -> list[str]:
        """The transports that a polling client is offered."""
        return ["websocket"] if self.allow_upgrades and "websocket" in self.transports else []


def require_positive(options: object, *names: str) -> None:
    """Raise `OptionError` unless each named option is a number above zero."""
    for name in names:
        value: Any = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise OptionError(f"{name} must be a number above 0, not {value!r}")


def refuse_unknown(given: Iterable[str], *kinds: type) -> None:
    """Raise `OptionError` for a name that none of the option classes has, naming the nearest that one has."""
    known = [field.name for kind in kinds for field in fields(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
            raise OptionError(f"unknown option {name!r}{hint}")
