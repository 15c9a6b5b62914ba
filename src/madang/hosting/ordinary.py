"""Connections that are uvicorn's own business, on the native host."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .site import MAX_HEAD, TOO_LARGE_HEAD, Site
from .upgrading import receive_handshake


class Ordinary(HttpToolsProtocol):
    """A connection that is uvicorn's; the head of a request is bounded in size and time."""

    def __init__(self, site: Site, remote: tuple[str, int] | None) -> None:
        super().__init__(site.config, site.state, site.app_state, site.loop)
        self._site = site
        self._head_size: int | None = None
        self._remote = remote
        self._begun = b""
        self._within = False  # a request that is not here wholly

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        """The door hands the connection over."""
        super().connection_made(transport)
        if self.client is None:
            self.client = self._remote

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._site.handover is not None and self._is_between():
            data = self._begun + data
            self._begun = data if b"\r\n" not in data and len(data) < MAX_HEAD else b""
            if self._begun:  # which worker it is for stands in the first line
                return
            if self._site.handed_over(self.transport, data, self._remote):
                self.connections.discard(self)
                self._head_is_here()
                self._unset_keepalive_if_required()  # its timer would close what is relayed
                self.parser = None  # type: ignore[assignment]  # it refers to us
                return
        super().data_received(data)
        if self._head_size is not None and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self.transport.write(TOO_LARGE_HEAD)
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._head_is_here()
        super().connection_lost(exc)

    def head_overdue(self) -> None:
        """A request's head does not come to its end."""
        if not self.transport.is_closing():
            self.transport.abort()

    def _head_is_here(self) -> None:
        if self._site.engine is not None:
            self._site.heads.discard(self)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._site.engine is not None:
            self._site.heads.add(self)
        self._head_size = 0
        self._within = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._head_size = None
        self._head_is_here()
        super().on_headers_complete()

    def _is_between(self) -> bool:
        """Whether what comes next is the beginning of a request."""
        cycle: Any = self.cycle
        return not self._within and (cycle is None or cycle.response_complete)

    def on_message_complete(self) -> None:
        """A request is here wholly."""
        self._within = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """uvicorn's parser has found a WebSocket handshake."""
        site = self._site
        busy: Any = self.cycle
        if busy is not None and not busy.response_complete:
            self.transport.close()  # behind a request that has no answer yet: the two would mix
            return
        if self.scope["method"] != "GET" or self.scope["http_version"] != "1.1":
            self.send_400_response("A WebSocket handshake is a GET request of HTTP/1.1.")
            return
        if site.engine is None or not self.url.startswith(site.path):
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        self._head_is_here()
        self.parser = None  # type: ignore[assignment]  # it refers to us
        request = site.request(self._remote, "GET", self.url, self.headers)
        receive_handshake(site.engine, self.transport, request, b"")
