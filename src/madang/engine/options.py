"""The engine's options: typed, checked when the engine is made."""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Literal, TypeAlias, TypedDict, cast

from ..errors import OptionError
from ..types import TransportName
from .cors import CorsDelegate, CorsOptions
from .deflate_options import DeflateSettings, PerMessageDeflate
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
    per_message_deflate: bool | PerMessageDeflate
    cors: CorsOptions | CorsDelegate | None
    cookie: bool | CookieOptions | None
    allow_request: AllowRequest | None
    generate_id: GenerateId | None
    trusted_proxies: str | Sequence[str] | None
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
        per_message_deflate: whether WebSocket messages are compressed with clients that want it: True, or a dict of
            `PerMessageDeflate`. On the native host alone. Default False.
        cors: see `CorsOptions`. Default None: same-origin only.
        cookie: True or `CookieOptions` to set one on the polling handshake. Default None.
        allow_request: called with each handshake's request; False refuses it with code 4, and so does a `ConnectError`,
            whose message the client is told. May be a coroutine function.
        generate_id: makes the session ids, which must be unguessable. May be a coroutine function.
        trusted_proxies: whose X-Forwarded-For, X-Forwarded-Proto and Forwarded are believed: addresses, networks such
            as ``"10.0.0.0/8"``, ``"unix"`` for a Unix socket, ``"*"`` for all. Default: those on this machine.
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
    per_message_deflate: bool | PerMessageDeflate = False
    cors: CorsOptions | CorsDelegate | None = None
    cookie: bool | CookieOptions | None = None
    allow_request: AllowRequest | None = None
    generate_id: GenerateId | None = None
    trusted_proxies: str | Sequence[str] | None = None
    outbound_limit: int = 16 * 1024 * 1024
    slow_client: Literal["disconnect", "drop"] = "disconnect"

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range; the message names the option.
        """
        require_positive(self, "ping_interval", "ping_timeout", "upgrade_timeout")
        require_whole(self, "max_http_buffer_size", "outbound_limit")
        require_flag(self, "add_trailing_slash", "allow_upgrades", "http_compression")
        require_callable(self, "allow_request", "generate_id")
        _check_transports(self.transports)
        DeflateSettings.of(self.per_message_deflate)
        path = cast("Any", self.path)
        if not isinstance(path, str) or not path.startswith("/"):
            raise OptionError(f"path must begin with a slash, not {path!r}")
        _check_cookie(self.cookie)
        if self.slow_client not in ("disconnect", "drop"):
            raise OptionError(f"slow_client must be 'disconnect' or 'drop', not {self.slow_client!r}")
        object.__setattr__(self, "path", self.path.rstrip("/") + ("/" if self.add_trailing_slash else ""))

    @property
    def deflate(self) -> DeflateSettings | None:
        """How WebSocket messages are compressed, or None."""
        return DeflateSettings.of(self.per_message_deflate)

    @property
    def upgrades(self) -> list[str]:
        """The transports that a polling client is offered."""
        return ["websocket"] if self.allow_upgrades and "websocket" in self.transports else []


def require_positive(options: object, *names: str) -> None:
    """Raise `OptionError` unless each named option is a number above zero."""
    for name in names:
        value: Any = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise OptionError(f"{name} must be a number above 0, not {value!r}")


def require_whole(options: object, *names: str) -> None:
    """Raise `OptionError` unless each named option is a whole number above zero."""
    require_positive(options, *names)
    for name in names:
        value: Any = getattr(options, name)
        if not isinstance(value, int):
            raise OptionError(f"{name} must be a whole number, not {value!r}")


def require_flag(options: object, *names: str) -> None:
    """Raise `OptionError` unless each named option is True or False."""
    for name in names:
        value: Any = getattr(options, name)
        if not isinstance(value, bool):
            raise OptionError(f"{name} must be True or False, not {value!r}")


def require_callable(options: object, *names: str) -> None:
    """Raise `OptionError` unless each named option is None or can be called."""
    for name in names:
        value: Any = getattr(options, name)
        if value is not None and not callable(value):
            raise OptionError(f"{name} must be callable, not {value!r}")


def _check_transports(names: object) -> None:
    if not isinstance(names, list | tuple) or not names:
        raise OptionError('transports must be a list such as ["polling", "websocket"]')
    for name in cast("Sequence[object]", names):
        if name not in ("polling", "websocket"):
            raise OptionError(f"transports: {name!r} is unknown; there are 'polling' and 'websocket'")


_COOKIE_TEXT = re.compile(r"[\x20-\x3a\x3c-\x7e]*").fullmatch
"""Printable ASCII but the semicolon, which would begin another attribute."""


def _check_cookie(cookie: object) -> None:
    if cookie is None or isinstance(cookie, bool):
        return
    if not isinstance(cookie, Mapping):
        raise OptionError(f"cookie must be True or a dict such as {{'name': 'io'}}, not {cookie!r}")
    for name, value in cast("Mapping[str, object]", cookie).items():
        if name not in CookieOptions.__annotations__:
            raise OptionError(f"unknown cookie option {name!r}{_hint(name, list(CookieOptions.__annotations__))}")
        if not _fits_cookie(name, value):
            raise OptionError(f"cookie: {name} cannot be {value!r}")


def _fits_cookie(name: str, value: object) -> bool:
    if name in ("http_only", "secure"):
        return isinstance(value, bool)
    if name == "max_age":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "same_site":
        return value in ("Strict", "Lax", "None", None)
    if value is None:
        return name == "path"
    return isinstance(value, str) and value != "" and _COOKIE_TEXT(value) is not None


FOREIGN = {
    "cors_allowed_origins": "cors={'origin': …}",
    "cors_credentials": "cors={'credentials': …}",
    "async_mode": "no option: every server runs on asyncio",
    "async_handlers": "concurrent",
    "client_manager": "adapter",
    "logger": "no option: the standard library's logger 'madang'",
    "engineio_logger": "no option: the standard library's logger 'madang.engine'",
    "engineio_path": "path",
    "json": "json_default, or a parser of your own",
    "serializer": "parser",
}
"""What the options of python-socketio are called here, where no name is near."""


def refuse_unknown(given: Iterable[str], *kinds: type) -> None:
    """Raise `OptionError` for a name that none of the option classes has, naming the nearest that one has.

    Names of Socket.IO's other servers (`pingInterval`, `cors_allowed_origins`) are told what they are called here.
    """
    known = [field.name for kind in kinds for field in fields(kind)]
    for name in given:
        if name not in known:
            if name in FOREIGN:
                raise OptionError(f"unknown option {name!r}; here it is {FOREIGN[name]}")
            raise OptionError(f"unknown option {name!r}{_hint(name, known)}")


def _hint(name: object, known: list[str]) -> str:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", str(name)).lower()
    near = [snake] if snake in known else difflib.get_close_matches(snake, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
