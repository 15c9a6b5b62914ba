"""The options of a client's engine: typed, checked when the client is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

from ..errors import OptionError
from ..types import TransportName
from .deflate_options import OF_CLIENTS, DeflateSettings
from .options import require_positive

RESERVED_QUERY: Final = frozenset(("EIO", "transport", "sid", "j"))
"""Query parameters that belong to the protocol."""

PROXY_SCHEMES: Final = ("http", "socks4", "socks5")

PER_TRANSPORT: Final = frozenset(
    (
        "path",
        "query",
        "extra_headers",
        "timestamp_requests",
        "timestamp_param",
        "force_base64",
        "request_timeout",
        "proxy",
        "protocols",
        "per_message_deflate",
    )
)
"""What `transport_options` may change for one transport."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_LINE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")


class ClientEngineKeywords(TypedDict, total=False):
    """What `Client` takes by name for its engine; see `ClientEngineOptions`."""

    path: str
    add_trailing_slash: bool
    transports: Sequence[TransportName]
    upgrade: bool
    try_all_transports: bool
    remember_upgrade: bool
    timestamp_requests: bool | None
    timestamp_param: str
    force_base64: bool
    extra_headers: Mapping[str, str]
    with_credentials: bool
    query: Mapping[str, str] | None
    transport_options: Mapping[str, Mapping[str, Any]]
    transport_classes: Mapping[str, Callable[..., Any]]
    protocols: Sequence[str]
    ssl_context: Any
    ssl_verify: bool
    proxy: str | None
    request_timeout: float | None
    per_message_deflate: bool | Mapping[str, int]
    max_http_buffer_size: int
    outbound_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEngineOptions:
    """How a client reaches its server.

    Attributes:
        path: the path of the server. Default ``"/socket.io/"``.
        add_trailing_slash: whether `path` ends with a slash. Default True.
        transports: what may be used, in the order of trying. Default ``("polling", "websocket")``; of these only the
            first is tried (see `try_all_transports`), and the second is what it is upgraded to. Where no HTTP client is
            installed (``madang[client]``), the default is WebSocket alone.
        upgrade: whether to change from polling to WebSocket. Default True.
        try_all_transports: whether the next transport is tried if one fails while connecting. Default False.
        remember_upgrade: whether to begin with WebSocket if it worked before, in this process. Default False.
        timestamp_requests: whether a parameter that no cache has seen is added to each request. Default None: to those
            of polling.
        timestamp_param: the name of that parameter. Default ``"t"``.
        force_base64: whether binary data travels as base64 even over WebSocket. Default False.
        extra_headers: headers of every request. Default none.
        with_credentials: whether cookies that the server sets are kept and sent again, as sticky sessions need it.
            Default False.
        query: parameters of every request; given here, those of the URL are not used. Default None.
        transport_options: options for one transport alone, by its name, such as
            ``{"websocket": {"extra_headers": {...}}}``. Default none.
        transport_classes: transports of your own in place of ours, by the names ``"polling"`` and ``"websocket"``; each
            is called as `WebSocketClient` is, and gives a `ClientTransport`. Default none.
        protocols: WebSocket sub-protocols to offer. Default none.
        ssl_context: an `ssl.SSLContext` for https and wss. Default None: the system's certificates, verified.
        ssl_verify: whether the server's certificate is verified; False warns, and is for tests alone. Default True.
        proxy: the URL of an HTTP or SOCKS proxy, such as ``"socks5://user:password@localhost:1080"``. Default None.
        request_timeout: seconds that one polling request may take. Default None: no bound but the heartbeat.
        per_message_deflate: whether WebSocket messages are compressed if the server agrees, or a dict:
            ``"threshold"``, bytes from which on (1024), ``"level"`` and ``"mem_level"`` (see `PerMessageDeflate`).
            Default False.
        max_http_buffer_size: bytes that a message, or the body of an answer, may have. Default 10 MB.
        outbound_limit: bytes that may wait for the server, be it slow or away, before `emit` raises `BufferFull`.
            Default 16 MiB.
    """

    path: str = "/socket.io/"
    add_trailing_slash: bool = True
    transports: Sequence[TransportName] = ("polling", "websocket")
    upgrade: bool = True
    try_all_transports: bool = False
    remember_upgrade: bool = False
    timestamp_requests: bool | None = None
    timestamp_param: str = "t"
    force_base64: bool = False
    extra_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    with_credentials: bool = False
    query: Mapping[str, str] | None = None
    transport_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    transport_classes: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    protocols: Sequence[str] = ()
    ssl_context: Any = None
    ssl_verify: bool = True
    proxy: str | None = None
    request_timeout: float | None = None
    per_message_deflate: bool | Mapping[str, int] = False
    max_http_buffer_size: int = 10_000_000
    outbound_limit: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range; the message names the option.
        """
        require_positive(self, "max_http_buffer_size", "outbound_limit")
        if self.request_timeout is not None and self.request_timeout != 0:
            require_positive(self, "request_timeout")
        self._check_transports()
        check_path(self.path)
        slash = "/" if self.add_trailing_slash else ""
        object.__setattr__(self, "path", self.path.rstrip("/") + slash)
        check_headers(self.extra_headers)
        check_query(self.query)
        check_proxy(self.proxy)
        DeflateSettings.of(self.per_message_deflate, OF_CLIENTS)
        if isinstance(self.protocols, str) or not all(_TOKEN.match(str(name)) for name in self.protocols):
            raise OptionError(f"protocols must be a list of names, not {self.protocols!r}")
        if self.ssl_context is not None and not self.ssl_verify:
            raise OptionError("ssl_verify=False has no effect on an ssl_context of your own; set its verify_mode")
        if self.timestamp_param in RESERVED_QUERY:
            raise OptionError(f"timestamp_param must be a name of your own, not {self.timestamp_param!r}")
        for name in self.transport_options:
            self.of(name)

    def _check_transports(self) -> None:
        if isinstance(self.transports, str) or not self.transports:
            raise OptionError('transports must be a list such as ["polling", "websocket"]')
        for name in (*self.transports, *self.transport_options, *self.transport_classes):
            if name not in ("polling", "websocket"):
                raise OptionError(f"transports: {name!r} is unknown; there are 'polling' and 'websocket'")

        for name, made in self.transport_classes.items():
            if not callable(made):
                raise OptionError(f"transport_classes: {name!r} must be a class or a function, not {made!r}")

    def of(self, transport: str) -> ClientEngineOptions:
        """The options for one transport: the common ones, with its `transport_options` over them.

        Raises:
            OptionError: there is an option that cannot be changed for one transport, or a wrong value.
        """
        own = self.transport_options.get(transport)
        if not own:
            return self
        for name in own:
            if name not in PER_TRANSPORT:
                raise OptionError(
                    f"transport_options: {name!r} is not an option of one transport; there are "
                    f"{', '.join(sorted(PER_TRANSPORT))}"
                )
        common = {name: getattr(self, name) for name in ClientEngineOptions.__slots__ if name != "transport_options"}
        return ClientEngineOptions(**(common | dict(own)))


def check_path(path: Any) -> None:
    """Raise `OptionError` unless `path` is one."""
    if not isinstance(path, str) or not path.startswith("/") or "?" in path or "#" in path:
        raise OptionError(f"path must begin with a slash, and hold no query, not {path!r}")


def check_headers(headers: Any) -> None:
    """Raise `OptionError` unless all names and values can stand in a request."""
    if not isinstance(headers, Mapping):
        raise OptionError(f"extra_headers must be a dict of names and values, not {headers!r}")
    given: Mapping[Any, Any] = headers  # pyright: ignore[reportUnknownVariableType]
    for name, value in given.items():
        if not isinstance(name, str) or not _TOKEN.match(name):
            raise OptionError(f"extra_headers: {name!r} is no name of a header")
        if not isinstance(value, str) or not _LINE.match(value) or not value.isascii():
            raise OptionError(f"extra_headers: the value of {name!r} must be one line of ASCII text, not {value!r}")


def check_query(query: Any) -> None:
    """Raise `OptionError` unless `query` holds text under names that the protocol does not use."""
    if query is None:
        return
    if not isinstance(query, Mapping):
        raise OptionError(f"query must be a dict of names and values, not {query!r}")
    given: Mapping[Any, Any] = query  # pyright: ignore[reportUnknownVariableType]
    for name in given:
        if name in RESERVED_QUERY or not isinstance(name, str):
            raise OptionError(f"query: {name!r} belongs to the protocol, or is no name")


def check_proxy(proxy: Any) -> None:
    """Raise `OptionError` unless `proxy` is the URL of a proxy of a known kind."""
    if proxy is None:
        return
    parts = urlsplit(proxy) if isinstance(proxy, str) else None
    if parts is None or parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        raise OptionError(f"proxy must be a URL with one of the schemes {', '.join(PROXY_SCHEMES)}, not {proxy!r}")
