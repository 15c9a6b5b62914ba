"""A server's WebSocket whose messages are compressed (RFC 7692), on the native host.

It is the transport of `frames`, compiled or not, that sends another form of each message. Without context takeover
nothing is kept between messages, and a broadcast is compressed once for all who have agreed on the same window. What is
large is compressed in a thread; what is sent meanwhile waits behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ..engine.deflate_options import DeflateSettings
from ..engine.engine import Engine
from ..engine.http import Request
from ..engine.session import Session
from ..protocol.encoded import Encoded, websocket_frame
from .deflate import COMPRESSED, Deflater, Inflater
from .extensions import Agreed
from .frames import Admission, FrameOutbox, adopt
from .turns import TurnTaking

logger = logging.getLogger("madang.transport")

OFF_LOOP: Final = 64 * 1024
"""Bytes from which on a message is compressed in a thread: on the loop these take about two milliseconds."""

_THREADS: Final = 2


class DeflatingOutbox(FrameOutbox):
    """An outbox of `DeflatingTransport`s, and what these share.

    Attributes:
        settings: how messages are compressed.
    """

    __slots__ = ("_deflaters", "_jobs", "_last", "_last_frames", "_threads", "settings")

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: DeflateSettings) -> None:
        super().__init__(loop)
        self.settings = settings
        self._deflaters: dict[int, Deflater] = {}
        self._last: Encoded | None = None
        self._last_frames: dict[Deflater, bytes] = {}
        self._jobs: dict[tuple[int, Deflater], tuple[Encoded, asyncio.Future[bytes]]] = {}
        self._threads: ThreadPoolExecutor | None = None

    def deflater(self, bits: int, takeover: bool) -> Deflater:
        """One for a connection; without a context all with the same window share it."""
        if takeover:
            return Deflater(self.settings, bits, True)
        deflater = self._deflaters.get(bits)
        if deflater is None:
            deflater = self._deflaters[bits] = Deflater(self.settings, bits, False)
        return deflater

    def frame(self, encoded: Encoded, deflater: Deflater) -> bytes:
        """A message in its compressed form; that of the last one is kept until the turn ends."""
        if deflater.takeover:
            return deflated_frame(encoded, deflater)
        if encoded is not self._last:
            self._last = encoded
            self._last_frames = {}
        frame = self._last_frames.get(deflater)
        if frame is None:
            frame = self._last_frames[deflater] = deflated_frame(encoded, deflater)
        return frame

    def frame_in_thread(self, encoded: Encoded, deflater: Deflater) -> asyncio.Future[bytes]:
        """The same for a large one; those who want it while it is made get the same future."""
        key = (id(encoded), deflater)
        known = self._jobs.get(key)
        if known is not None:
            return known[1]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "madang-deflate")
        job = self._loop.run_in_executor(self._threads, deflated_frame, encoded, deflater)
        self._jobs[key] = encoded, job  # kept, so that its id is that of no other meanwhile
        job.add_done_callback(lambda _: self._jobs.pop(key))
        return job

    def flush(self) -> None:
        """Write what each connection has."""
        self._last = None
        self._last_frames = {}
        super().flush()

    def closed(self) -> None:
        """A connection has ended; with the last one go the threads."""
        super().closed()
        if not self._live and self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None


class DeflatingTransport(TurnTaking):
    """One WebSocket connection whose ends have agreed on compression; see `madang.engine.transport.Transport`.

    Args:
        engine: the engine that has admitted it.
        admission: what `Engine.admit` gave.
        request: the handshake.
        outbox: collects what is written in one turn.
        agreed: what both ends have agreed on.
    """

    __slots__ = ("_deflater", "_shared", "_waiting", "_waiting_bytes")

    def __init__(
        self, engine: Engine, admission: Admission, request: Request, outbox: DeflatingOutbox, agreed: Agreed
    ) -> None:
        super().__init__(engine, admission, request, outbox)
        self._shared = outbox
        self._deflater = outbox.deflater(agreed.server_bits, agreed.server_takeover)
        self._inflater = Inflater(agreed.client_bits, agreed.client_takeover)
        self._waiting: deque[Encoded] | None = None
        self._waiting_bytes = 0

    # what the session calls

    @property
    def writable(self) -> bool:
        """Whether nothing waits before a packet that would be sent now."""
        return not self._frames and not self._paused and not self._waiting

    @property
    def buffered(self) -> int:
        """Bytes that wait: to be compressed, in this turn's frames and in the event loop's buffer."""
        return super().buffered + self._waiting_bytes

    def send(self, encoded: Encoded) -> None:
        """Send a message when the turn ends, or when it has been compressed."""
        size = worth(encoded, self._deflater)
        if not size and not self._waiting:
            super().send(encoded)
        elif (self._paused or self._waiting) and self._is_full():  # not later: what is compressed has to be sent
            assert isinstance(self.session, Session)
            self._engine.over_limit(self.session)
        elif size >= OFF_LOOP or self._waiting:
            self._wait(encoded)
        else:
            self._push(self._shared.frame(encoded, self._deflater))

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits and a close frame, and give the client a short time to answer it."""
        if self._ws is not None and self._closing is None:
            for encoded in self._forget_waiting():  # there is no time to compress it
                self._push(encoded.frame or encoded.make_frame())
        super().close(code, linger=linger)

    def abort(self) -> None:
        """Drop the connection."""
        self._forget_waiting()
        super().abort()

    # what picows calls

    def on_ws_disconnected(self, transport: Any) -> None:
        """The connection has ended."""
        self._forget_waiting()
        super().on_ws_disconnected(transport)

    # writing

    def _is_full(self) -> bool:
        return self.buffered > self._engine.options.outbound_limit and isinstance(self.session, Session)

    def _push(self, frame: bytes) -> None:
        self._send_frame(frame)
        if self._pending > self._threshold and not self._paused:
            self.flush()

    def _wait(self, encoded: Encoded) -> None:
        """Send it after all that waits already."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(encoded)
        self._waiting_bytes += _size(encoded)
        if len(self._waiting) == 1:
            self._go_on()

    def _go_on(self) -> None:
        """Send what waits, up to the next large one."""
        waiting = self._waiting
        while waiting:
            encoded = waiting[0]
            size = worth(encoded, self._deflater)
            if size >= OFF_LOOP:
                self._shared.frame_in_thread(encoded, self._deflater).add_done_callback(self._compressed)
                return
            self._take_waiting(waiting)
            if size:
                self._push(self._shared.frame(encoded, self._deflater))
            else:
                self._push(encoded.frame or encoded.make_frame())

    def _compressed(self, job: asyncio.Future[bytes]) -> None:
        waiting = self._waiting
        if not waiting or self.session is None:  # closed meanwhile
            self._forget_waiting()
            return
        if job.cancelled() or job.exception() is not None:
            logger.error("a WebSocket ends: a message could not be compressed", exc_info=job.exception())
            self._forget_waiting()
            self._tcp.abort()
            return
        self._take_waiting(waiting)
        self._push(job.result())
        self._go_on()

    def _take_waiting(self, waiting: deque[Encoded]) -> None:
        self._waiting_bytes -= _size(waiting.popleft())

    def _forget_waiting(self) -> Sequence[Encoded]:
        waiting, self._waiting = self._waiting, None
        self._waiting_bytes = 0
        return waiting or ()

    # reading

    def _receive(self, session: Any, is_text: bool, message: bytes) -> None:
        """A whole message."""
        self.note_work(len(message))
        super()._receive(session, is_text, message)


def worth(encoded: Encoded, deflater: Deflater) -> int:
    """Bytes of a message that are to be compressed; 0 if it is sent as it is."""
    if not encoded.compress:
        return 0
    threshold = deflater.threshold
    size = len(encoded.text)
    if size < threshold:
        size = 0
    for data in encoded.attachments:
        if len(data) >= threshold:
            size += len(data)
    return size


def deflated_frame(encoded: Encoded, deflater: Deflater) -> bytes:
    """The WebSocket frames of a message, joined; each that has the size for it is compressed."""
    parts = [_frame(1, encoded.text, deflater)] if encoded.text else []
    parts += [_frame(2, data, deflater) for data in encoded.attachments]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _frame(opcode: int, data: bytes, deflater: Deflater) -> bytes:
    if len(data) < deflater.threshold:
        return websocket_frame(opcode, data)
    return websocket_frame(opcode | COMPRESSED, deflater.deflate(data))


def _size(encoded: Encoded) -> int:
    return len(encoded.text) + sum(map(len, encoded.attachments))


def open_deflating(
    tcp: asyncio.Transport,
    engine: Engine,
    admission: Admission,
    request: Request,
    outbox: DeflatingOutbox,
    headers: Sequence[tuple[str, str]],
    behind: bytes,
    agreed: Agreed,
) -> None:
    """See `frames.open_websocket`.

    Args:
        tcp: the connection.
        engine: the engine that has admitted it.
        admission: what `Engine.admit` gave.
        request: the handshake.
        outbox: collects what is written in one turn.
        headers: further headers of the response 101; among them has to be that of `agreed`.
        behind: bytes that came behind the handshake.
        agreed: what both ends have agreed on.
    """
    adopt(DeflatingTransport(engine, admission, request, outbox, agreed), tcp, engine, request, headers, behind)
