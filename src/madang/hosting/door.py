"""The native host's door: who a new connection is for is seen from its first bytes.

uvicorn takes a class for its HTTP protocol, and makes one object of it for each connection. Ours reads the first bytes:
a WebSocket handshake for our path becomes a WebSocket at once; another request for our path is answered by `http`, past
ASGI; everything else is uvicorn's own business.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from .http import EngineHttp
from .ordinary import Ordinary
from .site import MAX_HEAD, Headers, Site, remote_of
from .upgrading import receive_handshake

_IS_PLAIN: Final = re.compile(
    rb"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)+"
).fullmatch
"""A head without anything that parsers disagree on; others are left to httptools."""

_IS_UPGRADE: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE).search


class Door(asyncio.Protocol):
    """A connection of which it is not known yet what it will be; uvicorn makes it.

    Attributes:
        remote: the client's address, for a connection that another worker has handed over.
    """

    __slots__ = ("_begun", "_site", "remote", "transport")

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        site: Site | None = server_state.__dict__.get("site")
        if site is None:
            if not config.loaded:
                config.load()
            site = Site(config, server_state, app_state, _loop or asyncio.get_running_loop())
            server_state.__dict__["site"] = site
        self._site = site
        self._begun = b""
        self.remote: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        """A connection was accepted; one that slipped in while the server stops is let go at once."""
        self.transport = transport
        site = self._site
        site.connections.add(self)
        if site.engine is not None:
            site.heads.add(self)
        if site.stopping:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """The first bytes."""
        site = self._site
        if site.handover is not None:
            data = self._begun + data
            if b"\r\n" not in data and len(data) < MAX_HEAD:  # which worker it is for stands in the first line
                self._begun = data
                return
            self._begun = b""
        self._leave()
        remote = self.remote or remote_of(self.transport)
        if site.handover is not None and site.handed_over(self.transport, data, remote):
            return
        if site.engine is not None and data.startswith(site.openings) and site.config.limit_concurrency is None:
            end = data.find(b"\r\n\r\n")
            if end > 0 and data.startswith(b"G") and _IS_UPGRADE(data, 0, end + 4) and _IS_PLAIN(data[: end + 2]):
                target, headers = _read_head(data[:end])
                request = site.request(remote, "GET", target, headers)
                receive_handshake(site.engine, self.transport, request, data[end + 4 :])
                return
        ours = site.direct and data.startswith(site.openings)
        protocol: Any = EngineHttp(site, remote) if ours else Ordinary(site, remote)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended before it was anything."""
        self._leave()

    def head_overdue(self) -> None:
        """Nothing comes."""
        self.transport.abort()

    def shutdown(self) -> None:
        """The server stops."""
        self.transport.close()

    def _leave(self) -> None:
        site = self._site
        site.connections.discard(self)
        if site.engine is not None:
            site.heads.discard(self)


class HandedOver(Door):
    """A connection that another worker has handed over, with what it has read of it."""

    __slots__ = ("_given",)

    def give(self, data: bytes, remote: tuple[str, int] | None) -> HandedOver:
        """What has been read already, and where the client is."""
        self._given = data
        self.remote = remote
        return self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        """It is here; what has been read comes before what is still to be read."""
        super().connection_made(transport)
        if not transport.is_closing():
            self.data_received(self._given)


def _read_head(head: bytes) -> tuple[bytes, Headers]:
    """The target and the headers of a request that has come in one piece."""
    first, *lines = head.split(b"\r\n")
    headers: Headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name.strip().lower(), value.strip()))
    return first.split(b" ")[1], headers
