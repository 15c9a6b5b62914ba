"""The native host: uvicorn, with a door of our own for WebSocket.

uvicorn takes a class for its HTTP protocol. Ours looks at the first bytes of a connection: a WebSocket handshake for
our path goes straight to picows, past HTTP parser and ASGI; everything else is uvicorn's own business.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from uvicorn.importer import ImportFromStringError, import_from_string
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ..engine.engine import Engine
from ..engine.host import Hosted
from ..engine.http import Request
from ..errors import HandshakeError, OptionError
from ..tasks import start_eagerly
from ..transports.handshake import problem_with
from ..transports.websocket import open_websocket
from .asgi import ASGIApp
from .runtime import Runtime, runtime_of, started

logger = logging.getLogger("madang.hosting")

MAX_HEAD: Final = 64 * 1024
"""Bytes that a request's head may have."""

GRACE: Final = 10
"""Seconds that requests may take to end when the server stops."""

_CLOSE_HANDSHAKES: Final = 2.5
_IS_UPGRADE: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE).search
_FORWARDED: Final = re.compile(rb"\r\nx-forwarded-", re.IGNORECASE).search


class Door(HttpToolsProtocol):
    """A connection of which it is not known yet whether it will be a WebSocket.

    It finds its engine in the application that uvicorn has loaded, so that reloading works as well.
    """

    def __init__(self, config: uvicorn.Config, **rest: Any) -> None:
        super().__init__(config, **rest)
        self._engine, self._prefix = _engine_of(config)
        self._is_new = config.limit_concurrency is None
        self._head_size: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection was accepted; one that slipped in while the server stops is let go at once."""
        super().connection_made(transport)
        if self._engine is not None:
            runtime_of(self._engine).heads.add(self)
        if isinstance(self.server_state, _State) and self.server_state.stopping:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes came before it was known what they are."""
        if (
            self._is_new
            and self._engine is not None
            and data.startswith(self._prefix)
            and (end := data.find(b"\r\n\r\n")) > 0
            and _IS_UPGRADE(data, 0, end + 4)
        ):
            self._unset_keepalive_if_required()
            self._open(self._engine, data, end)
        else:
            self._is_new = False
            super().data_received(data)
            self._bound_head(len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._head_is_here()
        super().connection_lost(exc)

    def head_overdue(self) -> None:
        """A request's head does not come to its end."""
        if not self.transport.is_closing():
            self.transport.abort()

    def _head_is_here(self) -> None:
        if self._engine is not None:
            runtime_of(self._engine).heads.discard(self)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._engine is not None:
            runtime_of(self._engine).heads.add(self)
        self._head_size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._head_size = None
        self._head_is_here()
        super().on_headers_complete()

    def _bound_head(self, size: int) -> None:
        """Cut a request whose head does not end."""
        if self._head_size is not None and not self.transport.is_closing():
            self._head_size += size
            if self._head_size > MAX_HEAD:
                self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
                self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """uvicorn's parser has found a WebSocket handshake: one that came in pieces, or on a used connection."""
        busy: Any = self.cycle
        if busy is not None and not busy.response_complete:
            self.transport.close()  # behind a request that has no answer yet: the two would mix
            return
        if self.scope["method"] != "GET":
            self.send_400_response("A WebSocket handshake is a GET request.")
            return
        if self._engine is None or not self.url.startswith(self._prefix[4:]):
            super().handle_websocket_upgrade()
            return
        lines = [b"GET " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers]
        head = b"\r\n".join(lines)
        self._open(self._engine, head + b"\r\n\r\n", len(head))

    def _open(self, engine: Engine, data: bytes, end: int) -> None:
        self.connections.discard(self)
        self._head_is_here()
        self.parser = None  # type: ignore[assignment]  # it refers to us
        request = self._request(data[:end])
        if start_eagerly(self._admit(engine, request, data[end + 4 :])) is not None:
            self.transport.pause_reading()  # until the user's own hooks have decided

    async def _admit(self, engine: Engine, request: Request, behind: bytes) -> None:
        tcp = self.transport
        runtime = runtime_of(engine)
        if request.headers.get("sec-websocket-version") != "13":
            tcp.write(b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n")
            tcp.close()
            return
        if (problem := problem_with(request)) is not None:
            tcp.write(_bad_request(problem))
            tcp.close()
            return
        try:
            admission = await engine.admit(request)
        except HandshakeError as error:
            if not tcp.is_closing():
                tcp.write(_bad_request(error.message))
                tcp.close()
            return
        if tcp.is_closing():
            return
        headers = engine.handshake_headers(request)
        if protocols := request.headers.get("sec-websocket-protocol"):
            headers.append(("Sec-WebSocket-Protocol", protocols.split(",")[0].strip()))
        with suppress(RuntimeError):  # not paused
            tcp.resume_reading()
        open_websocket(tcp, engine, admission, request, runtime.frames, headers, behind)

    def _request(self, head: bytes) -> Request:
        first, *lines = head.split(b"\r\n")
        target = first.split(b" ")[1]
        path, _, query = target.partition(b"?")
        headers: list[tuple[bytes, bytes]] = []
        for line in lines:
            name, _, value = line.partition(b":")
            headers.append((name.strip().lower(), value.strip()))
        remote, scheme = self.client, str(self.scheme)
        if self.config.proxy_headers and _FORWARDED(head):
            remote, scheme = self._forwarded(headers)
        return Request(
            "GET",
            path.decode("latin-1"),
            query.decode("latin-1"),
            headers,
            received_at=time.time(),
            remote=remote,
            scheme=scheme,
        )

    def _forwarded(self, headers: list[tuple[bytes, bytes]]) -> tuple[tuple[str, int] | None, str]:
        """Client and scheme as a trusted proxy tells them, by uvicorn's own rules."""
        scope: Any = {"type": "http", "client": self.client, "scheme": self.scheme, "headers": headers}

        async def nothing(*_: Any) -> None: ...

        trust: Any = ProxyHeadersMiddleware(nothing, self.config.forwarded_allow_ips)
        with suppress(StopIteration):
            trust(scope, nothing, nothing).send(None)
        return scope["client"], scope["scheme"]


def _engine_of(config: uvicorn.Config) -> tuple[Engine | None, bytes]:
    app: Any = cast("Any", config).loaded_app
    while app is not None:
        hosted = app.io if isinstance(app, ASGIApp) else app
        if isinstance(hosted, Hosted):
            return hosted.engine, b"GET " + hosted.engine.options.path.encode()
        app = getattr(app, "app", None)
    return None, b""


def _bad_request(message: str) -> bytes:
    """What Node writes when it refuses a WebSocket: always 400, and the message as text."""
    body = message.encode()
    head = f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class _State(ServerState):
    """uvicorn's state of a server, and whether it is on its way out."""

    stopping = False


class _Server(uvicorn.Server):
    """uvicorn's server; closes the clients first when it stops, and leaves signals alone if told so."""

    def __init__(self, config: uvicorn.Config, hosted: Hosted, *, signals: bool) -> None:
        super().__init__(config)
        self.server_state: _State = _State()
        self._hosted = hosted
        self._signals = signals
        self.ready = asyncio.Event()
        self._exit = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.runtime: Runtime | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if not self._signals:
            yield
            return
        with super().capture_signals():
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # a second Ctrl-C does not wait; the signal is not raised again afterwards, since the server has ended cleanly
        self.force_exit = self.should_exit
        self.stop()
        self._loop.call_soon_threadsafe(self._exit.set)  # wakes the loop

    def stop(self) -> None:
        """End `main_loop`."""
        self.should_exit = True
        self._exit.set()

    async def main_loop(self) -> None:
        # uvicorn looks ten times a second whether to stop; here it is told, and only the date header needs a tick
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), 1.0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.runtime = started(self._hosted.engine)
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.stopping = True
        for server in self.servers:
            server.close()
        await self._hosted.close()
        if self.runtime is not None and not self.force_exit:
            await self.runtime.connections_closed(_CLOSE_HANDSHAKES)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for _ in range(2):
            await asyncio.sleep(0)  # a transport that was told to close does so in the loop's next turns


class _Running:
    """A server in the background; see `madang.engine.host.Running`."""

    def __init__(self, server: _Server, task: asyncio.Task[None], listener: socket.socket) -> None:
        self._server = server
        self.scheme = "https" if server.config.is_ssl else "http"
        self._task = task
        address: tuple[str, int] = listener.getsockname()[:2]
        self.host, self.port = address

    @property
    def url(self) -> str:
        """The address; a listener on all interfaces is named by localhost."""
        host: str = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def stop(self) -> None:
        """Close all clients, then the server."""
        self._server.stop()
        await self._task


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        OSError: the address is taken or not ours; the message says which.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, so that asyncio turns Nagle's algorithm off on what is accepted
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.set_inheritable(True)
    return listener


def _config(hosted: Hosted, host: str, port: int, other: Any, options: dict[str, Any]) -> uvicorn.Config:
    for name in ("workers", "reload", "uds", "fd"):
        if options.get(name) not in (None, False, 1):
            raise OptionError(f"{name}: the native host serves one host and port from one process")
    settings: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "timeout_graceful_shutdown": GRACE,
        "ws_max_size": hosted.engine.options.max_http_buffer_size,
        "lifespan": "auto" if other is not None else "off",
        **options,
    }
    try:
        return uvicorn.Config(ASGIApp(hosted, other), host, port, http=Door, **settings)
    except TypeError as error:
        raise OptionError(f"{error}; options of the native host are those of uvicorn.Config") from None


def load(target: str) -> Any:
    """What ``module:name`` names.

    Raises:
        OptionError: there is no such module or name.
    """
    try:
        return import_from_string(target)
    except ImportFromStringError as error:
        raise OptionError(str(error)) from None


def run(hosted: Hosted, /, *, host: str = "127.0.0.1", port: int = 3000, **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM, with the process to ourselves.

    Args:
        hosted: a server or engine.
        host: the address to listen on.
        port: the port; 0 for any free one.
        **options: `app`, another ASGI app for all other paths; `on_start`, called with a `Running`; and what
            `uvicorn.Config` takes, such as `ssl_certfile` and `ssl_keyfile`.
    """
    factory = _config(hosted, host, port, None, {}).get_loop_factory()
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(hosted, host, port, options, own_process=True))


async def serve(hosted: Hosted, /, *, host: str = "127.0.0.1", port: int = 3000, **options: Any) -> None:
    """Serve in the running loop until cancelled, Ctrl-C or SIGTERM; see `run`."""
    await _serve(hosted, host, port, options, own_process=False)


async def start(hosted: Hosted, /, *, host: str = "127.0.0.1", port: int = 3000, **options: Any) -> _Running:
    """Serve in the running loop, in the background; see `run`."""
    running, _ = await _launch(hosted, host, port, options, signals=False)
    return running


async def _serve(hosted: Hosted, host: str, port: int, options: dict[str, Any], *, own_process: bool) -> None:
    on_start = options.pop("on_start", None)
    running, task = await _launch(hosted, host, port, options, signals=True)
    logger.info("madang listens on %s", running.url)
    if on_start is not None:
        on_start(running)
    if own_process:
        _tame_collector()
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await running.stop()
        raise


async def _launch(
    hosted: Hosted, host: str, port: int, options: dict[str, Any], *, signals: bool
) -> tuple[_Running, asyncio.Task[None]]:
    settings = dict(options)
    config = _config(hosted, host, port, settings.pop("app", None), settings)
    listener = _listen(host, port)
    server = _Server(config, hosted, signals=signals)
    task = asyncio.create_task(server.serve([listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
    if task.done():
        listener.close()
        task.result()
        raise RuntimeError("the server did not start; the application's start-up has failed")
    return _Running(server, task, listener), task


def _tame_collector() -> None:
    """Connections make no reference cycles, so the cyclic collector has little to find; let it look seldom.

    It was a third of the cost of a connection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
