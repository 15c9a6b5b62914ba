"""A WebSocket without a network: to the client a transport, to the server an ASGI connection."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..engine.client_options import ClientEngineOptions
from ..engine.transport import TRANSPORT_CLOSE, TRANSPORT_ERROR
from ..errors import ConnectionFailed
from ..protocol.encoded import Encoded
from ..transports.dialing import Dialer
from ..transports.refusals import refusal
from ..types import TransportName

if TYPE_CHECKING:
    from .network import Network

_SHARE: Final = 64
"""Messages that a client is given in one turn of the loop."""

_ROOM: Final = 64 * 1024
"""Bytes that may wait for a side that does not read, before the other has to wait."""

_ABNORMAL: Final = 1006


class MemoryWebSocket:
    """One connection; see `madang.engine.client_session.ClientTransport`.

    Args:
        network: what it goes through.
        dialer: what the client's transports share.
        options: the client's options for WebSocket.
        session: the client's session, which gets the packets.
    """

    name: TransportName = "websocket"

    def __init__(self, network: Network, dialer: Dialer, options: ClientEngineOptions, session: Any) -> None:
        self._network = network
        self._dialer = dialer
        self._limit = options.max_http_buffer_size
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._to_server: deque[tuple[dict[str, Any], int]] = deque()
        self._to_client: deque[tuple[Callable[[Any, bytes], object], bytes]] = deque()
        self._for_client = 0  # bytes in it
        self._server_waits: asyncio.Future[None] | None = None
        self._server_has_room: asyncio.Future[None] | None = None
        self._pumping = False
        self._held = False
        self._accepted = False
        self._refusal: tuple[int, str | None] = (500, None)
        self._refusal_body = b""
        self._left: dict[str, Any] | None = None  # what the server is told of the end
        self._silent = False
        self.options = options
        self.buffered = 0
        self.session = session

    # what the client's session calls

    @property
    def writable(self) -> bool:
        """Whether the server keeps up."""
        return self.buffered < _ROOM

    def open(self) -> None:
        """Begin the handshake."""
        if self._network.up:
            self._put({"type": "websocket.connect"}, 0)
            self._network.open(self, self._dialer.target("websocket", None))
        else:
            self._loop.call_soon(self._unreachable)

    def _unreachable(self) -> None:
        self._end(TRANSPORT_ERROR, ConnectionFailed("websocket error", "the network is down", transport="websocket"))

    def identify(self, session_id: str, max_payload: int | None) -> None:
        """The session's id; of no use here."""

    def pause(self, done: Callable[[], object]) -> None:
        """There is nothing to upgrade to."""
        raise NotImplementedError

    def unpause(self) -> None:
        """See `pause`."""

    def leave(self) -> None:
        """See `pause`."""
        self.abort()

    def send(self, encoded: Encoded) -> None:
        """Send a message."""
        if encoded.text:
            self._put({"type": "websocket.receive", "text": encoded.text.decode()}, len(encoded.text))
        for data in encoded.attachments:
            self._put({"type": "websocket.receive", "bytes": bytes(data)}, len(data))

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message."""
        self._put({"type": "websocket.receive", "text": packet.decode()}, len(packet))

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """End the connection; what was sent still arrives."""
        self._end(None)
        self._hang_up(code)

    def abort(self) -> None:
        """End the connection at once."""
        self._to_server.clear()
        self.buffered = 0
        self.close(_ABNORMAL)

    def pause_reading(self) -> None:
        """Keep what comes until `resume_reading`."""
        self._held = True

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._held = False
        self._schedule()

    # what the network does

    def cut(self, *, silently: bool) -> None:
        """Let nothing through any more, and tell both ends, or nobody."""
        self._to_server.clear()
        self._to_client.clear()
        self.buffered = self._for_client = 0
        if not silently:
            self.hang_up()
        self._silent = True
        if not silently:
            self._end(TRANSPORT_CLOSE, "the connection was cut")

    def hang_up(self) -> None:
        """Let a server that has not heard of the end hear of it."""
        self._silent = False
        self._hang_up(_ABNORMAL)

    # what the server calls

    async def receive(self) -> dict[str, Any]:
        """The ASGI callable."""
        while not self._to_server:
            if self._left is not None:
                return self._left
            self._server_waits = self._loop.create_future()
            await self._server_waits
        message, size = self._to_server.popleft()
        self._network.watcher.moved()
        self.buffered -= size
        if not self._to_server:
            self._loop.call_soon(self._drained)
        return message

    async def send_to_client(self, message: dict[str, Any]) -> None:
        """The ASGI callable."""
        kind = message["type"]
        if kind == "websocket.send":
            text: str | None = message.get("text")
            if text is not None:
                self._arrive(self._text, text.encode())
            else:
                self._arrive(self._binary, message.get("bytes") or b"")
            while self._held and self._for_client > _ROOM:
                self._server_has_room = self._loop.create_future()
                await self._server_has_room
        elif kind == "websocket.accept":
            self._accepted = True
            self._arrive(self._opened, b"")
        elif kind == "websocket.close":
            self._refusal = (403, None)
            self._server_ends()
        elif kind == "websocket.http.response.start":
            headers: dict[bytes, bytes] = dict(message.get("headers") or ())
            location = headers.get(b"location")
            self._refusal = (message["status"], None if location is None else location.decode("latin-1"))
        elif kind == "websocket.http.response.body":
            self._refusal_body += message.get("body", b"")
            if not message.get("more_body", False):
                self._server_ends()

    def server_ended(self) -> None:
        """The server's side has returned."""
        self._server_ends()

    def _server_ends(self) -> None:
        if self._left is None:
            self._left = {"type": "websocket.disconnect", "code": 1000, "reason": ""}
            self._wake_server()
            self._arrive(self._closed if self._accepted else self._refused, b"")

    # to the server

    def _put(self, message: dict[str, Any], size: int) -> None:
        if self._left is None and not self._silent:
            self._to_server.append((message, size))
            self.buffered += size
            self._network.watcher.moved()
            self._wake_server()

    def _hang_up(self, code: int) -> None:
        if self._silent:
            return
        if self._left is None:
            self._left = {"type": "websocket.disconnect", "code": code, "reason": ""}
        self._network.watcher.moved()
        self._wake_server()
        if self._server_has_room is not None and not self._server_has_room.done():
            self._server_has_room.set_result(None)

    def _wake_server(self) -> None:
        if self._server_waits is not None and not self._server_waits.done():
            self._server_waits.set_result(None)

    def _drained(self) -> None:
        if self.session is not None and self.session.drain_watched and not self._to_server:
            self.session.drained()

    # to the client

    def _arrive(self, take: Callable[[Any, bytes], object], data: bytes) -> None:
        if not self._silent and self.session is not None:
            self._to_client.append((take, data))
            self._for_client += len(data)
            self._network.watcher.moved()
            self._schedule()

    def _schedule(self) -> None:
        if not self._pumping and self._to_client:
            self._pumping = True
            self._loop.call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        """Give the client what has come."""
        self._pumping = False
        for _ in range(_SHARE):
            if self._held or not self._to_client or self.session is None:
                break
            take, data = self._to_client.popleft()
            self._for_client -= len(data)
            self._network.watcher.moved()
            take(self.session, data)
        if not self._held:
            if self._server_has_room is not None and not self._server_has_room.done():
                self._server_has_room.set_result(None)
            self._schedule()

    def _opened(self, session: Any, _: bytes) -> None:
        session.transport_opened(self)

    def _text(self, session: Any, text: bytes) -> None:
        if len(text) > self._limit:
            self._too_large(session)
        elif text[:1] == b"4":
            session.on_text(text)
        else:
            session.on_control(text)

    def _binary(self, session: Any, data: bytes) -> None:
        if len(data) > self._limit:
            self._too_large(session)
        else:
            session.on_binary(data)

    def _too_large(self, session: Any) -> None:
        session.fail(TRANSPORT_ERROR, "larger than max_http_buffer_size", 1009)

    def _refused(self, _: Any, __: bytes) -> None:
        status, location = self._refusal
        self._end(TRANSPORT_ERROR, refusal("websocket", status, self._refusal_body, location))

    def _closed(self, _: Any, __: bytes) -> None:
        self._end(TRANSPORT_CLOSE, "the server closed the connection")

    def _end(self, reason: str | None, description: object = None) -> None:
        """The client has nothing more to do with it; its session is told of a reason."""
        session, self.session = self.session, None
        self._to_client.clear()
        self._for_client = 0
        self._dialer.forget(self)
        if session is not None and reason is not None:
            session.transport_closed(self, reason, description)
