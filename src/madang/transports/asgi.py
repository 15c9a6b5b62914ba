"""A WebSocket connection of any ASGI server."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from ..engine.engine import Engine
from ..engine.session import Session
from ..engine.transport import TRANSPORT_CLOSE, TRANSPORT_ERROR
from ..engine.upgrade import Upgrade
from ..protocol.encoded import Encoded
from ..tasks import Tasks
from ..types import TransportName
from .outbox import Outbox

_CLOSE = object()
_EMPTY: Final = {"type": "websocket.send", "text": "b"}
"""No bytes, in base64 (Engine.IO protocol, "Packet encoding")."""

_SHARE: Final = 64
"""Messages of one client that are handled in one turn of the loop."""


class AsgiWebSocketTransport:
    """One connection; see `madang.engine.transport.Transport`.

    `receive` runs in the ASGI server's own task for as long as the connection lives. What is sent waits for the end of
    the loop's turn and is then given to the server; only when the server makes us wait does a task go on with it.

    Args:
        engine: the engine that has admitted it.
        outbox: collects what is written in one turn.
        tasks: owns the task that waits for the server.
        receive: the ASGI callable.
        send: the ASGI callable.
        sends_empty: whether the server sends binary messages without a byte; if not, they go as text.
    """

    name: TransportName = "websocket"

    __slots__ = (
        "_aborted",
        "_close_code",
        "_draining",
        "_engine",
        "_outbox",
        "_queue",
        "_reading",
        "_receive",
        "_send",
        "_sending",
        "_sends_empty",
        "_serving",
        "_start",
        "buffered",
        "session",
    )

    def __init__(
        self, engine: Engine, outbox: Outbox, tasks: Tasks, receive: Any, send: Any, *, sends_empty: bool = True
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._receive = receive
        self._send = send
        self._sends_empty = sends_empty
        # uvicorn's own `send` waits for nothing but a client that does not read; another may do as it likes
        is_simple = type(getattr(send, "__self__", None)).__module__.startswith("uvicorn.")
        self._start = tasks.start_simple if is_simple else tasks.start
        self._queue: deque[Encoded | object] = deque()
        self._draining = False
        self._sending: asyncio.Task[Any] | None = None
        self._serving: asyncio.Task[Any] | None = None
        self._aborted = False
        self._close_code: int | None = None
        self._reading: Any = None
        self.buffered = 0
        self.session: Session | Upgrade | None = None

    @property
    def writable(self) -> bool:
        """Whether nothing waits before a packet that would be sent now."""
        return not self._queue and not self._draining

    def send(self, encoded: Encoded) -> None:
        """Send a message when the turn ends."""
        session = self.session
        if self.buffered > self._engine.options.outbound_limit and isinstance(session, Session):
            self._engine.over_limit(session)
            return
        self.buffered += len(encoded.text) + sum(map(len, encoded.attachments))
        self._enqueue(encoded)

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message."""
        self.send(Encoded(packet))

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits, then close."""
        self.session = None
        if self._close_code is None:
            self._close_code = code
            self._enqueue(_CLOSE)

    def abort(self) -> None:
        """End the connection at once; the server may be stuck in sending, so its task is ended as well."""
        self._queue.clear()
        self.session = None
        self._aborted = True
        for task in (self._sending, self._serving):
            if task is not None:
                task.cancel("the connection is aborted")

    def pause_reading(self) -> None:
        """Ask the server for no more messages; one that has come already may still arrive."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_future()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        reading, self._reading = self._reading, None
        if reading is not None and not reading.done():
            reading.set_result(None)

    def flush(self) -> None:
        """Give what waits to the server."""
        if not self._draining and self._queue:
            self._draining = True
            self._sending = self._start(self._drain())

    async def _drain(self) -> None:
        queue, send = self._queue, self._send
        try:
            while queue:
                encoded = queue.popleft()
                if not isinstance(encoded, Encoded):
                    await self._send_close()
                    return
                if encoded.text:
                    text = encoded.string or encoded.make_string()
                    await send({"type": "websocket.send", "text": text})
                    self.buffered -= len(encoded.text)
                for data in encoded.attachments:
                    await send({"type": "websocket.send", "bytes": data} if data or self._sends_empty else _EMPTY)
                    self.buffered -= len(data)
            if isinstance(self.session, Session):
                self.session.drained()
        except Exception as error:  # servers raise errors of their own when the client is gone
            queue.clear()
            self._ended(TRANSPORT_ERROR, error)
        finally:
            self._draining = False
            self._sending = None

    async def _send_close(self) -> None:
        try:
            await self._send({"type": "websocket.close", "code": self._close_code})
        except Exception:
            if self._close_code == 1000:
                raise
            await self._send({"type": "websocket.close"})  # daphne allows no code of the protocol's own

    def _enqueue(self, item: Encoded | object) -> None:
        if not self._queue and not self._draining:
            outbox = self._outbox
            if not outbox.dirty:
                outbox.schedule()
            outbox.dirty.append(self)
        self._queue.append(item)

    async def serve(self) -> None:
        """Receive until the connection ends."""
        receive = self._receive
        limit = self._engine.options.max_http_buffer_size
        self._serving = task = asyncio.current_task()
        taken = 0
        try:
            while True:
                message = await receive()
                taken += 1
                if taken == _SHARE:
                    taken = 0
                    await asyncio.sleep(0)  # a client that floods must not keep the others waiting
                if message["type"] != "websocket.receive":
                    break
                data = message.get("bytes")
                text = message.get("text")
                self._received(text.encode() if data is None else None, data, limit)
                if self._reading is not None:
                    await self._reading
        except asyncio.CancelledError:
            if not self._aborted or task is None or task.uncancel():
                raise  # somebody else's wish
        finally:
            self._serving = None
            self._queue.clear()
            self._ended(TRANSPORT_CLOSE, "websocket connection closed")

    def _received(self, text: bytes | None, data: bytes | None, limit: int) -> None:
        session = self.session
        if session is None:
            return
        if len(text or data or b"") > limit:
            session.fail(TRANSPORT_ERROR, "larger than max_http_buffer_size", 1009)
        elif text is None:
            session.on_binary(data or b"")
        elif text[:1] == b"4":
            session.on_text(text)
        else:
            session.on_control(text)

    def _ended(self, reason: str, description: object) -> None:
        self.resume_reading()
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, reason, description)
