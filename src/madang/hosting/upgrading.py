"""From an HTTP connection to a WebSocket, on the native host."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..engine.deflate_options import DeflateSettings
from ..engine.engine import Engine
from ..engine.http import Request, Response, writable
from ..errors import HandshakeError
from ..tasks import start_eagerly
from ..transports.extensions import agree, read
from ..transports.handshake import problem_with
from ..transports.websocket import open_websocket
from .runtime import runtime_of


def receive_handshake(engine: Engine, tcp: asyncio.Transport, request: Request, behind: bytes) -> None:
    """Turn a connection whose first request is a WebSocket handshake into a WebSocket, or refuse it.

    Args:
        engine: the engine that it is for.
        tcp: the connection.
        request: the handshake.
        behind: bytes that came behind it.
    """
    if request.headers.get("sec-websocket-version") != "13":
        _refuse(tcp, b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n")
    elif (problem := problem_with(request)) is not None:
        _refuse(tcp, _bad_request(problem))
    elif engine.options.per_message_deflate and read(request.headers.get("sec-websocket-extensions", "")) is None:
        _refuse(tcp, _bad_request("the header Sec-WebSocket-Extensions cannot be read"))
    elif not engine.asks:
        try:
            admission = engine.admit_at_once(request)
        except HandshakeError as error:
            _refuse(tcp, _refusal(error))
        else:
            _open(engine, tcp, request, behind, admission)
    elif start_eagerly(_ask(engine, tcp, request, behind)) is not None:
        tcp.pause_reading()  # until the user's own hooks have decided


async def _ask(engine: Engine, tcp: asyncio.Transport, request: Request, behind: bytes) -> None:
    try:
        admission = await engine.admit(request)
    except HandshakeError as error:
        if not tcp.is_closing():
            _refuse(tcp, _refusal(error))
        return
    if not tcp.is_closing():
        with suppress(RuntimeError):  # not paused
            tcp.resume_reading()
        try:
            _open(engine, tcp, request, behind, admission)
        except BaseException:
            tcp.abort()
            raise


def _open(engine: Engine, tcp: asyncio.Transport, request: Request, behind: bytes, admission: Any) -> None:
    headers = engine.handshake_headers(request)
    if protocols := request.headers.get("sec-websocket-protocol"):
        headers.append(("Sec-WebSocket-Protocol", protocols.split(",")[0].strip()))
    settings = engine.options.deflate if engine.options.per_message_deflate else None
    if settings is None or not _open_deflating(engine, tcp, request, behind, admission, headers, settings):
        open_websocket(tcp, engine, admission, request, runtime_of(engine).frames, writable(headers), behind)


def _open_deflating(
    engine: Engine,
    tcp: asyncio.Transport,
    request: Request,
    behind: bytes,
    admission: Any,
    headers: list[tuple[str, str]],
    settings: DeflateSettings,
) -> bool:
    """Open a WebSocket that is compressed; False if the client has made no offer that can be accepted."""
    agreed = agree(request.headers.get("sec-websocket-extensions", ""), settings)
    if agreed is None:
        return False
    from ..transports.deflating import open_deflating

    headers.append(("Sec-WebSocket-Extensions", agreed.header))
    outbox = runtime_of(engine).deflating(settings)
    open_deflating(tcp, engine, admission, request, outbox, writable(headers), behind, agreed)
    return True


def _refuse(tcp: asyncio.Transport, response: bytes) -> None:
    tcp.write(response)
    tcp.close()


def _refusal(error: HandshakeError) -> bytes:
    """What is written for a handshake that the engine refuses; a middleware may have an answer of its own."""
    response: Response | None = error.context.get("response")
    if response is None:
        return _bad_request(error.message)
    head = STATUS_LINE[response.status] + b"Connection: close\r\n"
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in writable(response.headers)]
    return b"".join((head, *lines, b"Content-Length: %d\r\n\r\n" % len(response.body), response.body))


def _bad_request(message: str) -> bytes:
    """What Node writes when it refuses a WebSocket: always 400, and the message as text."""
    body = message.encode()
    head = f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body
