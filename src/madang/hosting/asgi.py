"""The engine as an ASGI application, alone, mounted, or around another application (ASGI 3, HTTP and WebSocket)."""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Future
from typing import Any

from ..engine.engine import Engine
from ..engine.host import Hosted
from ..engine.http import Exchange, Request, Response, writable
from ..errors import HandshakeError
from ..transports.asgi import AsgiWebSocketTransport
from .misplaced import looks_like_ours, not_here
from .runtime import Runtime, runtime_of, started
from .static import StaticFiles, StaticFilesOption

logger = logging.getLogger("madang.hosting")

Scope = dict[str, Any]


class ASGIApp:
    """A Socket.IO server (or an engine) around another ASGI application.

    Requests below the server's path are the server's; all else, ``lifespan`` included, is the other's. Without another
    application all else is answered with 404.

    Args:
        io: the server or engine.
        app: the other application.
        static_files: URL paths and the file or folder that each stands for, such as ``{"/": "web/index.html"}``; they
            come before the other application. See `madang.StaticFiles`.

    Raises:
        OptionError: `static_files` names what is not there.
    """

    def __init__(self, io: Hosted, app: Any = None, *, static_files: StaticFilesOption | None = None) -> None:
        self.io = io
        self.app = app if static_files is None else StaticFiles(static_files, app)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one ASGI connection."""
        if self.app is None:
            await answer(self.io, scope, receive, send)
        elif scope["type"] == "lifespan":
            started(self.io.engine)
            await _lifespan_around(self.io, self.app, scope, receive, send)
        elif _path_for(self.io.engine, scope) is not None:
            await answer(self.io, scope, receive, send)
        elif scope["type"] == "http" and looks_like_ours(scope):
            await self.app(scope, receive, _unless_not_found(self.io.engine, scope, send))
        else:
            await self.app(scope, receive, send)


async def answer(app: Hosted, scope: Scope, receive: Any, send: Any) -> None:
    """Answer one ASGI connection with `app`."""
    engine = app.engine
    runtime = runtime_of(engine)
    kind = scope["type"]
    if kind == "lifespan":
        await _lifespan(app, receive, send)
        return
    path = _path_for(engine, scope)
    if path is None:
        await _not_found(engine, scope, receive, send)
    elif kind == "http":
        await _http(engine, runtime, _request(engine, scope, path), receive, send)
    elif kind == "websocket":
        await _websocket(engine, runtime, _request(engine, scope, path), receive, send)


def _path_for(engine: Engine, scope: Scope) -> str | None:
    """The path as the engine knows it, or None if the request is not for it.

    Mounted, it answers below its own path and exactly at the mount point, so that neither path must repeat the other.
    """
    if scope["type"] == "lifespan":
        return None
    path: str = scope["path"]
    if engine.matches(path):
        return path
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        below = path[len(root) :]
        if engine.matches(below):
            return below
        if below in ("", "/"):
            return engine.options.path
        if engine.files is not None and below.count("/") == 1 and below.endswith((".js", ".map")):
            return f"{engine.options.path.rstrip('/')}{below}"  # such as the browser's client
    return None


def _request(engine: Engine, scope: Scope, path: str) -> Request:
    client = scope.get("client")
    scheme: str = scope.get("scheme", "http")
    remote, scheme = engine.proxies.client(
        (client[0], client[1] or 0) if client and client[0] else None,
        {"ws": "http", "wss": "https"}.get(scheme, scheme),
        scope["headers"],
    )
    return Request(
        scope.get("method", "GET"),
        path,
        scope.get("query_string", b"").decode("latin-1"),
        scope["headers"],
        received_at=time.time(),
        remote=remote,
        scheme=scheme,
        scope=scope,
    )


async def _lifespan(app: Hosted, receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            started(app.engine)
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await app.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _lifespan_around(io: Hosted, app: Any, scope: Scope, receive: Any, send: Any) -> None:
    """Let the other application have its lifespan; clients are closed before it shuts down."""
    spoken = False
    taken: list[Any] = []

    async def receive_first() -> Any:
        message = await receive()
        taken.append(message)
        if message["type"] == "lifespan.shutdown":
            await io.close()
        return message

    async def send_on(message: Any) -> None:
        nonlocal spoken
        spoken = True
        await send(message)

    try:
        await app(scope, receive_first, send_on)
    except Exception:
        if spoken:
            raise
        logger.debug("the application has no lifespan of its own")
    if not spoken:

        async def receive_again() -> Any:
            return taken.pop(0) if taken else await receive()

        await _lifespan(io, receive_again, send)


async def _not_found(engine: Engine, scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        text = not_here(engine, scope) if looks_like_ours(scope) else "Not found.\n"
        await _refuse(404, text, "text/plain; charset=utf-8", scope, send)
        return
    await _respond(_response_not_found(engine, scope), send)


def _response_not_found(engine: Engine, scope: Scope) -> Response:
    text = not_here(engine, scope) if looks_like_ours(scope) else "Not found.\n"
    return Response(404, text.encode(), "text/plain; charset=utf-8")


def _unless_not_found(engine: Engine, scope: Scope, send: Any) -> Any:
    """A `send` for the other application: what it answers goes out, but for a bare 404."""
    missing = False

    async def send_on(message: Any) -> None:
        nonlocal missing
        if message["type"] == "http.response.start" and message["status"] == 404:
            missing = True
            await _respond(_response_not_found(engine, scope), send)
        elif not missing:
            await send(message)

    return send_on


async def _respond(response: Response, send: Any, *, bodiless: bool = False) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in writable(response.headers)]
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bodiless else response.body})


async def _http(engine: Engine, runtime: Runtime, request: Request, receive: Any, send: Any) -> None:
    future: Future[Response | None] = runtime.loop.create_future()
    exchange = Exchange(request, lambda response: None if future.done() else future.set_result(response))
    try:
        await engine.handle(exchange)
        if exchange.on_body is not None:
            reader = runtime.tasks.start(_read_body(exchange, receive))
            if reader is not None:  # the body is not all there; the session may end while it comes
                await asyncio.wait((reader, future), return_when=asyncio.FIRST_COMPLETED)
                reader.cancel()
        if exchange.open:
            watcher = runtime.tasks.start(_watch(exchange, receive, future))
            try:
                await future
            finally:
                if watcher is not None:
                    watcher.cancel()
    finally:
        exchange.abort()
    if exchange.response is not None:
        await _respond(exchange.response, send, bodiless=request.method == "HEAD")


async def _read_body(exchange: Exchange, receive: Any) -> None:
    """Read the body, and no further than its limit."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            exchange.abort()
            return
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > exchange.body_limit:
            exchange.body_too_large()
            return
        chunks.append(chunk)
        if not message.get("more_body", False):
            exchange.body_complete(b"".join(chunks))
            return


async def _watch(exchange: Exchange, receive: Any, future: Future[Response | None]) -> None:
    """Tell the exchange when its client goes away."""
    while (await receive())["type"] == "http.request":
        pass
    exchange.abort()
    if not future.done():
        future.set_result(None)


async def _websocket(engine: Engine, runtime: Runtime, request: Request, receive: Any, send: Any) -> None:
    if (await receive())["type"] != "websocket.connect":
        return
    scope: Scope = request.scope
    try:
        admission = await engine.admit(request)
    except HandshakeError as error:
        answer: Response | None = error.context.get("response")
        if answer is None:
            await _refuse(400, error.message, "text/html", scope, send)  # as Node does
        else:
            kind = dict(answer.headers).get("content-type", "text/plain")
            await _refuse(answer.status, answer.body.decode("utf-8", "replace"), kind, scope, send)
        return
    if engine.options.per_message_deflate:
        runtime.compressed_by_others()
    accept: dict[str, Any] = {"type": "websocket.accept"}
    if scope.get("subprotocols"):
        accept["subprotocol"] = scope["subprotocols"][0]
    headers = engine.handshake_headers(request)
    accept["headers"] = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send(accept)
    # daphne sends no message without a byte; it is the one server that does not say which ASGI it speaks
    sends_empty = "spec_version" in scope.get("asgi", {})
    transport = AsgiWebSocketTransport(engine, runtime.outbox, runtime.tasks, receive, send, sends_empty=sends_empty)
    engine.opened(admission, transport, request)
    await transport.serve()


async def _refuse(status: int, text: str, content_type: str, scope: Scope, send: Any) -> None:
    """Answer a WebSocket's handshake with a status and a text where the server can; else it answers 403 by itself."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 4000 + status})
        return
    body = text.encode()
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
