"""What both ends of a WebSocket in Python share: picows reads and unmasks the frames, `FrameReader` understands them.

Here fragments are joined, limits are kept, control frames are answered, the connection is closed in good order, and
messages go to the session.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from typing import Any, Final

import picows.picows as _picows
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from ..engine.transport import TRANSPORT_CLOSE, TRANSPORT_ERROR
from ..types import TransportName
from .deflate import Inflater
from .handshake import problem_with_close

_CONTINUATION: Final = WSMsgType.CONTINUATION

EARLY_FLUSH: Final = 256 * 1024
"""Bytes after which what waits is written before the turn ends."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for the other end to answer a close frame."""

_make_protocol: Final[Any] = vars(_picows)["WSProtocol"]
"""Not public: the one class of picows that can adopt a connection which is open already."""

_READ_ROOM: Final = 16 * 1024
"""Bytes read in one go: picows doubles its buffer each time it is filled, without bound."""


class FrameProtocol(_make_protocol):  # type: ignore[misc]
    """picows' protocol, which reads a bounded number of bytes at a time.

    Attributes:
        room: how many; None over TLS, where what has been decrypted is lost if the peer closes before it is read.
    """

    room: int | None = _READ_ROOM

    def get_buffer(self, size_hint: int) -> Any:
        """See `asyncio.BufferedProtocol`."""
        return super().get_buffer(size_hint)[: self.room]  # pyright: ignore


class _Silent(logging.LoggerAdapter[logging.Logger]):
    """picows logs several lines per connection and makes a logger for each; only its errors are of interest."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (the name is logging's)
        return False

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level > logging.ERROR:
            super().log(level, msg, *args, **kwargs)


SILENT: Final = _Silent(logging.getLogger("madang.transport"), None)


class FrameReader(WSListener):
    """One end of a WebSocket; the base of the server's and the client's transport.

    Args:
        limit: bytes that a message may have.

    Attributes:
        session: who gets the messages; None once that has ended.
    """

    name: TransportName = "websocket"

    __slots__ = (
        "_closing",
        "_fragments",
        "_fragments_are_deflated",
        "_fragments_are_text",
        "_frames",
        "_held",
        "_inflater",
        "_limit",
        "_paused",
        "_pending",
        "_tcp",
        "_threshold",
        "_write",
        "_ws",
        "session",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: list[bytes] = []
        self._pending: int = 0
        self._threshold = EARLY_FLUSH
        self._paused = False
        self._held = False
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._fragments_are_deflated = False
        self._inflater: Inflater | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._ws: WSTransport | None = None
        self.session: Any = None

    # what the class that derives from this offers

    def _schedule(self) -> None:
        """Have `flush` called when the loop's turn ends."""
        raise NotImplementedError

    def _frame(self, opcode: int, data: bytes) -> bytes:
        """A finished frame."""
        raise NotImplementedError

    @property
    def writable(self) -> bool:
        """Whether nothing waits before a packet that would be sent now."""
        return not self._frames and not self._paused

    @property
    def buffered(self) -> int:
        """Bytes that wait: in this turn's frames and in the event loop's buffer."""
        return self._pending + (self._tcp.get_write_buffer_size() if self._ws is not None else 0)

    # what the session calls

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message."""
        self._send_frame(self._frame(1, packet))

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits and a close frame, and give the other end a short time to answer it."""
        self.session = None
        if self._ws is None or self._closing is not None:
            return
        self.flush()
        self._ws.send_close(WSCloseCode(code))
        self._closing = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._tcp.abort)
        self.resume_reading()

    def abort(self) -> None:
        """Drop the connection."""
        self.session = None
        if self._ws is not None:
            self._frames.clear()
            self._tcp.abort()

    def pause_reading(self) -> None:
        """Read nothing more; frames that have been read already may still come."""
        self._held = True
        if self._ws is not None and not self._tcp.is_closing() and self._tcp.is_reading():
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._held = False
        if self._ws is not None and not self._tcp.is_closing() and not self._tcp.is_reading():
            self._tcp.resume_reading()

    # writing

    def flush(self) -> None:
        """Write all frames that wait with one call."""
        frames = self._frames
        if frames:
            self._pending = 0
            self._frames = []
            self._write(frames[0] if len(frames) == 1 else b"".join(frames))

    def _send_frame(self, frame: bytes) -> None:
        if not self._frames:
            self._schedule()
        self._frames.append(frame)
        self._pending += len(frame)

    def _adopt(self, transport: WSTransport) -> None:
        """The connection is a WebSocket from now on."""
        self._ws = transport
        self._tcp: Any = transport.underlying_transport
        self._write: Callable[[bytes], object] = self._tcp.write

    # what picows calls, beyond `on_ws_frame`

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has ended."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._frames.clear()
        self._ws = None
        session, self.session = self.session, None
        if session is not None:
            self._tell_end(session, transport)

    def pause_writing(self) -> None:
        """The event loop's buffer is over its mark: the other end is slow."""
        self._paused = True
        self._threshold = -1

    def resume_writing(self) -> None:
        """The other end has caught up."""
        self._paused = False
        self._threshold = EARLY_FLUSH

    # frames that are not a plain message

    def _other_frame(self, session: Any, kind: WSMsgType, frame: WSFrame) -> None:
        if session is not None and (frame.rsv1 or frame.rsv2 or frame.rsv3):
            self._reserved_bit(session, kind, frame)
        elif kind is WSMsgType.CLOSE:
            wrong = problem_with_close(frame.get_payload_as_bytes())
            if wrong and session is not None:
                self._violation(session, WSCloseCode(wrong), "an invalid close frame")
            else:
                self._peer_closed()
        elif kind is WSMsgType.PING:
            if session is not None and not self._paused:  # who floods pings and reads no pong is owed none
                self._send_frame(self._frame(10, frame.get_payload_as_bytes()))
        elif kind is not WSMsgType.PONG and session is not None:
            if frame.fin and self._fragments is None and kind is not _CONTINUATION:
                self._receive(session, kind is WSMsgType.TEXT, frame.get_payload_as_bytes())
            else:
                self._fragment(session, kind, frame)

    def _reserved_bit(self, session: Any, kind: WSMsgType, frame: WSFrame) -> None:
        """A frame with a reserved bit: the first of a compressed message, or a violation."""
        begins = self._fragments is None and kind in (WSMsgType.TEXT, WSMsgType.BINARY)
        if self._inflater is None or not begins or frame.rsv2 or frame.rsv3:
            self._violation(session, WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        elif frame.fin:
            self._inflate(session, self._inflater, kind is WSMsgType.TEXT, frame.get_payload_as_bytes())
        else:
            self._fragments_are_deflated = True
            self._fragment(session, kind, frame)

    def _fragment(self, session: Any, kind: WSMsgType, frame: WSFrame) -> None:
        """Part of a fragmented message (RFC 6455, section 5.4)."""
        fragments = self._fragments
        if (kind is _CONTINUATION) is (fragments is None):
            self._violation(session, WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if fragments is None:
            fragments = self._fragments = bytearray()
            self._fragments_are_text = kind is WSMsgType.TEXT
        if len(fragments) + frame.payload_size > self._limit:
            self._violation(session, WSCloseCode.MESSAGE_TOO_BIG, "larger than max_http_buffer_size")
            return
        fragments += frame.get_payload_as_memoryview()
        if frame.fin:
            self._fragments = None
            if self._fragments_are_deflated and self._inflater is not None:
                self._fragments_are_deflated = False
                self._inflate(session, self._inflater, self._fragments_are_text, bytes(fragments))
            else:
                self._receive(session, self._fragments_are_text, bytes(fragments))

    def _inflate(self, session: Any, inflater: Inflater, is_text: bool, data: bytes) -> None:
        """A whole compressed message."""
        try:
            message = inflater.inflate(data, self._limit)
        except zlib.error as error:
            self._violation(session, WSCloseCode.INVALID_TEXT, f"a message that cannot be decompressed: {error}")
            return
        if message is None:
            self._violation(session, WSCloseCode.MESSAGE_TOO_BIG, "larger than max_http_buffer_size")
            return
        self._receive(session, is_text, message)

    def _receive(self, session: Any, is_text: bool, message: bytes) -> None:
        """A whole message."""
        if not is_text:
            session.on_binary(message)
        elif message[:1] == b"4":
            session.on_text(message)
        else:
            session.on_control(message)

    def _violation(self, session: Any, code: WSCloseCode, description: str) -> None:
        self._fragments = None
        session.fail(TRANSPORT_ERROR, description, code.value)

    def _peer_closed(self) -> None:
        """The other end's close frame: answer it, and end the connection."""
        session, self.session = self.session, None
        ws = self._ws
        if session is not None and ws is not None:
            self._tell_end(session, ws)
        if ws is not None:
            if not ws.is_close_frame_sent:
                self.flush()
                ws.send_close(WSCloseCode.OK)
            if self._closing is None:  # it may not take what is still to be written
                self._closing = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._tcp.abort)
            ws.disconnect()

    def _tell_end(self, session: Any, ws: WSTransport) -> None:
        """Tell a session, which has not closed by itself, why its connection has ended."""
        handshake: Any = ws.close_handshake  # None if there was none, whatever its type says
        if handshake is not None and handshake.sent is not None and not handshake.recv_then_sent:
            # picows has found a violation of RFC 6455, or too large a frame, and closed
            session.transport_closed(self, TRANSPORT_ERROR, handshake.sent.reason)
        else:
            session.transport_closed(self, TRANSPORT_CLOSE, "websocket connection closed")
