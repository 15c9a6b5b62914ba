"""What the connections of one server share: the engine they are for, and how its requests are made."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from ..engine.engine import Engine
from ..engine.host import Hosted
from ..engine.http import Request
from ..engine.proxies import Proxies
from ..engine.timetable import Lane
from .asgi import ASGIApp
from .handover import Handover
from .runtime import runtime_of

MAX_HEAD: Final = 64 * 1024
"""Bytes that a request's head may have."""

TOO_LARGE_HEAD: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n"

_METHODS: Final = (b"GET ", b"POST ", b"OPTIONS ")

Headers = list[tuple[bytes, bytes]]


class State(ServerState):
    """uvicorn's state of a server, and whether it is on its way out."""

    stopping = False
    handover: Handover | None = None
    """How connections come to other workers, if there are any."""


class Site:
    """What the connections of one server share.

    Attributes:
        engine: the engine in the application that uvicorn has loaded, or None.
        direct: whether requests for the engine need not pass an application around it, or uvicorn's access log.
        path: the engine's path.
        idle: connections that keep alive with nothing to do.
        handover: how connections come to other workers, or None.
    """

    def __init__(
        self, config: uvicorn.Config, state: ServerState, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.config = config
        self.state = state
        self.connections: set[Any] = cast("set[Any]", state.connections)
        self.app_state = app_state
        self.loop = loop
        self.scheme = "https" if config.is_ssl else "http"
        self.engine, is_outermost = _engine_of(config)
        self.path = self.engine.options.path.encode() if self.engine is not None else b""
        plain = config.limit_concurrency is None and not config.root_path and not config.access_log
        self.direct = plain and is_outermost
        self.handover: Handover | None = getattr(state, "handover", None)
        self.openings = tuple(method + self.path for method in _METHODS)
        self._proxies = _proxies_of(config, self.engine) if config.proxy_headers else None
        self._defaults: Headers = []
        self._head = b""
        if self.engine is not None:
            self.heads: Lane[Any] = runtime_of(self.engine).heads
            self.idle: Lane[Any] = self.engine.timetable.lane(
                config.timeout_keep_alive, lambda connection: connection.idle_overdue()
            )

    @property
    def stopping(self) -> bool:
        """Whether the server is on its way out."""
        return getattr(self.state, "stopping", False)

    def handed_over(self, transport: asyncio.Transport, data: bytes, remote: tuple[str, int] | None) -> bool:
        """Whether a request belongs to another worker, which has the connection now."""
        handover = self.handover
        if handover is None or not data.startswith(self.openings):
            return False
        owner = handover.owner(data)
        return owner is not None and handover.give(owner, transport, data, remote)

    def is_elsewhere(self, target: bytes) -> bool:
        """Whether a request that could not be handed over belongs to a worker that is there all the same."""
        handover = self.handover
        owner = handover.owner(target) if handover is not None else None
        return handover is not None and owner is not None and handover.is_there(owner)

    def request(self, remote: tuple[str, int] | None, method: str, target: bytes, headers: Headers) -> Request:
        """A request as the engine sees it."""
        scheme = self.scheme
        if self._proxies is not None:
            remote, scheme = self._proxies.client(remote, scheme, headers)
        path, _, query = target.partition(b"?")
        return Request(
            method,
            path.decode("latin-1"),
            query.decode("latin-1"),
            headers,
            received_at=time.time(),
            remote=remote,
            scheme=scheme,
        )

    def default_head(self) -> bytes:
        """The header lines that every response has: uvicorn's, such as the date."""
        defaults = self.state.default_headers
        if defaults is not self._defaults:
            self._defaults = defaults
            self._head = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
        return self._head


def remote_of(transport: asyncio.Transport) -> tuple[str, int] | None:
    """The client's address and port, if it has one."""
    peer: Any = transport.get_extra_info("peername")
    return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) and len(peer) >= 2 else None  # pyright: ignore


def _engine_of(config: uvicorn.Config) -> tuple[Engine | None, bool]:
    """The engine in the application, and whether no other application stands around it."""
    app: Any = cast("Any", config).loaded_app
    if isinstance(app, ProxyHeadersMiddleware):
        app = app.app
    depth = 0
    while app is not None:
        hosted: Any = app.io if isinstance(app, ASGIApp) else app
        if isinstance(hosted, Hosted):
            return hosted.engine, depth == 0
        app = getattr(app, "app", None)
        depth += 1
    return None, False


def _proxies_of(config: uvicorn.Config, engine: Engine | None) -> Proxies | None:
    """The proxies that the server trusts; those that uvicorn was told of if the server was told of none."""
    if engine is None or engine.options.trusted_proxies is not None:
        return engine.proxies if engine is not None else None
    told: Any = config.forwarded_allow_ips
    return engine.proxies if told == "127.0.0.1" else Proxies(told)  # which is uvicorn's way of saying: this machine
