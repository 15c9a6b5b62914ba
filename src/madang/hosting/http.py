"""HTTP/1.1 for the engine's own requests, past ASGI: a poll and a POST make no task.

httptools reads; requests of one connection are answered one after another. A request for another path goes, with its
connection, to uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..engine.engine import Engine
from ..engine.http import Exchange, Response, writable
from ..tasks import start_eagerly
from .ordinary import Ordinary
from .site import MAX_HEAD, TOO_LARGE_HEAD, Headers, Site
from .upgrading import receive_handshake

logger = logging.getLogger("madang.hosting")

_BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 30\r\n\r\nInvalid HTTP request received."
)
_BODILESS: Final = (204, 304)


_lines: dict[tuple[str, str], bytes] = {}
"""Header lines that are sent often."""

_LINES_LIMIT: Final = 256


def _line(header: tuple[str, str]) -> bytes:
    line = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in writable([header]))
    if len(_lines) < _LINES_LIMIT and 0 < len(line) < _LINES_LIMIT:
        _lines[header] = line
    return line


class _Message:
    """A request on its way."""

    __slots__ = (
        "body",
        "complete",
        "exchange",
        "headers",
        "is_current_http",
        "keeps_alive",
        "method",
        "size",
        "target",
        "upgrades",
    )

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.headers: Headers = []
        self.body: list[bytes] = []
        self.size = 0
        self.complete = False
        self.keeps_alive = False
        self.upgrades = False
        self.is_current_http = False
        self.exchange: Exchange | None = None


class EngineHttp(asyncio.Protocol):
    """A connection whose requests are the engine's.

    Args:
        site: what the connections of the server share.
        remote: the client's address.
    """

    __slots__ = (
        "_begun",
        "_closing",
        "_coming",
        "_current",
        "_engine",
        "_head_size",
        "_head_waits",
        "_parser",
        "_queue",
        "_remote",
        "_served",
        "_site",
        "transport",
    )

    def __init__(self, site: Site, remote: tuple[str, int] | None) -> None:
        assert site.engine is not None
        self._site = site
        self._engine: Engine = site.engine
        self._parser: Any = httptools.HttpRequestParser(self)
        self._coming: _Message | None = None
        self._current: _Message | None = None
        self._queue: deque[_Message] = deque()
        self._head_size: int | None = None
        self._head_waits = False
        self._served = False
        self._closing = False
        self._begun = b""
        self._remote = remote

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        """The door hands the connection over."""
        self.transport = transport
        self._site.connections.add(self)
        self._site.idle.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        between = self._coming is None and self._current is None
        if between and self._site.handover is not None:
            data = self._begun + data
            self._begun = data if b"\r\n" not in data and len(data) < MAX_HEAD else b""
            if self._begun:
                return
            if self._site.handed_over(self.transport, data, self._remote):
                self._leave()
                return
        if between and not data.startswith(self._site.openings):
            self._leave()
            ordinary = Ordinary(self._site, self._remote)
            ordinary.connection_made(self.transport)
            self.transport.set_protocol(ordinary)
            ordinary.data_received(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self.transport.write(_BAD_REQUEST)
                self.transport.close()
        else:
            self._served = True
            if self._head_size is not None:
                self._bound_head(len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._leave()
        current, self._current = self._current, None
        self._queue.clear()
        if current is not None and current.exchange is not None:
            current.exchange.abort()

    def head_overdue(self) -> None:
        """A request's head does not come to its end."""
        self.transport.abort()

    def idle_overdue(self) -> None:
        """Look whether further requests come; a connection that had one lately may wait once more."""
        if self._current is not None or self._served:
            self._served = False
            self._site.idle.add(self)
        elif self._coming is None:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops: what is being answered still is."""
        self._closing = True
        if self._current is None:
            self.transport.close()

    def _leave(self) -> None:
        site = self._site
        site.connections.discard(self)
        site.idle.discard(self)
        site.heads.discard(self)
        self._parser = None  # it refers to us

    # what the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._coming = _Message()
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """The request's target, or part of it."""
        if self._coming is not None:
            self._coming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if self._coming is not None:
            self._coming.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._head_size = None
        if self._head_waits:
            self._head_waits = False
            self._site.heads.discard(self)
        message = self._coming
        if message is None:
            return
        message.method = self._parser.get_method().decode("latin-1")
        message.keeps_alive = self._parser.should_keep_alive()
        message.upgrades = self._parser.should_upgrade()
        if message.upgrades:
            message.is_current_http = self._parser.get_http_version() == "1.1"
            return  # feed_data stops, and says so
        if self._current is not None:  # pipelined: it waits, and so does what follows
            self._queue.append(message)
            self.transport.pause_reading()
            return
        self._start(message)

    def on_body(self, data: bytes) -> None:
        """Part of a body."""
        message = self._coming
        if message is None:
            return
        message.size += len(data)
        exchange = message.exchange
        if message.size > self._engine.options.max_http_buffer_size:
            message.body.clear()
            if exchange is not None and exchange.on_body is not None:
                exchange.body_too_large()
        elif exchange is None or exchange.open:  # of a request that has its answer the rest is read and dropped
            message.body.append(data)

    def on_message_complete(self) -> None:
        """The request has come wholly."""
        message = self._coming
        if message is not None and not message.upgrades:
            self._coming = None
            message.complete = True
            if message is self._current:
                self._give_body(message)
                self._finish_if_done(message)

    # answering

    def _start(self, message: _Message) -> None:
        site = self._site
        self._current = message
        if not message.target.startswith(site.path) or site.is_elsewhere(
            message.target
        ):  # pipelined behind one of ours
            self.transport.close()
            return
        site.state.total_requests += 1
        request = site.request(self._remote, message.method, message.target, message.headers)
        exchange = message.exchange = Exchange(request, lambda response: self._answer(message, response))
        if request.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if not self._engine.asks:
                self._engine.handle_at_once(exchange)
                self._give_body(message)
            else:
                start_eagerly(self._ask(message, exchange))
        except Exception as error:
            self._failed(exchange, error)

    async def _ask(self, message: _Message, exchange: Exchange) -> None:
        """Let the user's own hooks decide; the body waits."""
        try:
            await self._engine.handle(exchange)
            self._give_body(message)
            self._finish_if_done(message)
        except Exception as error:
            self._failed(exchange, error)

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        logger.error("a request could not be answered", exc_info=error)
        exchange.respond(Response(500))

    def _give_body(self, message: _Message) -> None:
        exchange = message.exchange
        if exchange is None or exchange.on_body is None:
            return
        if message.size > exchange.body_limit:
            message.body.clear()
            exchange.body_too_large()
        elif message.complete:
            body, message.body = message.body, []
            exchange.body_complete(b"".join(body))

    def _answer(self, message: _Message, response: Response) -> None:
        keeps_alive = message.keeps_alive = message.keeps_alive and not self._closing
        parts = [STATUS_LINE[response.status], self._site.default_head()]
        parts += [_lines.get(header) or _line(header) for header in response.headers]
        if response.status not in _BODILESS:
            parts.append(b"content-length: %d\r\n" % len(response.body))
        parts.append(b"\r\n" if keeps_alive else b"connection: close\r\n\r\n")
        if message.method != "HEAD":
            parts.append(response.body)
        self.transport.write(b"".join(parts))
        self._finish_if_done(message)

    def _finish_if_done(self, message: _Message) -> None:
        """Go on with the next request once this one is both answered and read."""
        exchange = message.exchange
        if message is not self._current or exchange is None or exchange.open:
            return
        if not message.keeps_alive:
            self.transport.close()
        elif message.complete:
            self._current = None
            if self._queue:
                waiting = self._queue.popleft()
                if not self._queue:
                    self.transport.resume_reading()
                self._site.loop.call_soon(self._start_waiting, waiting)
            elif self._closing:
                self.transport.close()

    def _start_waiting(self, message: _Message) -> None:
        if self._parser is not None and not self.transport.is_closing():
            self._start(message)
            self._finish_if_done(message)

    def _upgrade(self, behind: bytes) -> None:
        """A request wants another protocol: WebSocket, or one that is not spoken here."""
        message, self._coming = self._coming, None
        if message is None or self._current is not None or self._site.is_elsewhere(message.target):
            self.transport.close()  # behind a request that has no answer yet: the two would mix
            return
        if not message.is_current_http:
            self.transport.write(_BAD_REQUEST)
            self.transport.close()
            return
        request = self._site.request(self._remote, message.method, message.target, message.headers)
        if request.headers.get("upgrade", "").lower() == "websocket":
            self._leave()
            receive_handshake(self._engine, self.transport, request, behind)
            return
        message.complete = True  # as if it had not asked
        message.keeps_alive = False
        self._start(message)

    def _bound_head(self, size: int) -> None:
        """Cut a request whose head does not end, by its size or in time."""
        if self._head_size is not None and not self.transport.is_closing():
            if not self._head_waits:
                self._head_waits = True
                self._site.heads.add(self)
            self._head_size += size
            if self._head_size > MAX_HEAD:
                self.transport.write(TOO_LARGE_HEAD)
                self.transport.close()
