"""WebSocket on the native host, compiled: see `_wire`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from ..compiled import twin
from ..engine.engine import Engine
from ..engine.http import Request
from ..engine.session import Session
from .handshake import acceptance

_wire: Final = twin("transports._wire")

FrameOutbox: Final = _wire.WireOutbox


class WebSocketTransport(_wire.Wire, asyncio.BufferedProtocol):  # type: ignore[misc, name-defined]  # pyright: ignore
    """One WebSocket connection: asyncio's protocol and the session's transport."""

    __slots__ = ()


def open_websocket(
    tcp: asyncio.Transport,
    engine: Engine,
    admission: tuple[Session | None, str],
    request: Request,
    outbox: Any,
    headers: Sequence[tuple[str, str]],
    behind: bytes,
) -> None:
    """See `frames.open_websocket`."""
    transport: Any = WebSocketTransport(engine, outbox, engine.options.max_http_buffer_size)
    transport.begin(tcp, acceptance(request, headers), admission, request, behind)
