"""WebSocket on the native host in Python: picows reads and unmasks the frames, we write them.

picows hands each frame to `on_ws_frame`; here fragments are joined, limits are kept, and messages go to the session.
Outgoing frames wait for the end of the loop's turn (see `madang.transports.outbox`) and bypass picows, whose own
`send` makes one system call per frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import picows.picows as _picows
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

from ..engine.engine import Engine
from ..engine.http import Request
from ..engine.session import Session
from ..engine.transport import TRANSPORT_CLOSE, TRANSPORT_ERROR
from ..engine.upgrade import Upgrade
from ..protocol.encoded import Encoded, websocket_frame
from ..types import TransportName
from .handshake import problem_with_close
from .outbox import Outbox

_TEXT: Final = WSMsgType.TEXT
_CONTINUATION: Final = WSMsgType.CONTINUATION
_MESSAGE: Final = 0x34
_EARLY_FLUSH: Final = 256 * 1024
"""Bytes after which what waits is written before the turn ends."""

_make_protocol: Final[Any] = vars(_picows)["WSProtocol"]
"""Not public: the one class of picows that can adopt a connection which is open already."""

_READ_ROOM: Final = 16 * 1024
"""Bytes read in one go: picows doubles its buffer each time it is filled, without bound."""


class _Protocol(_make_protocol):  # type: ignore[misc]
    """picows' protocol, which reads a bounded number of bytes at a time.

    Attributes:
        room: how many; None over TLS, where what has been decrypted is lost if the client closes before it is read.
    """

    room: int | None = _READ_ROOM

    def get_buffer(self, size_hint: int) -> Any:
        return super().get_buffer(size_hint)[: self.room]  # pyright: ignore


_CLOSE_TIMEOUT: Final = 2.0
"""Seconds for the client to answer a close frame."""

_HEAD: Final = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
"""The handshake as picows gets to see it: it reads no head of 16 KiB and more, and keeps what it has read."""

_SHARE: Final = 64
"""Frames of one client that are handled in one turn of the loop, beside those that have been read with them."""

Admission = tuple["Session | None", str]


class _Silent(logging.LoggerAdapter[logging.Logger]):
    """picows logs several lines per connection and makes a logger for each; only its errors are of interest."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (the name is logging's)
        return False

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level > logging.ERROR:
            super().log(level, msg, *args, **kwargs)


_silent: Final = _Silent(logging.getLogger("madang.transport"), None)


class FrameOutbox(Outbox):
    """An outbox of `WebSocketTransport`s.

    Attributes:
        turn: changes with each turn of the loop in which something was read.
        scheduled: whether `flush` will be called when the turn ends.
        resting: connections that have had their share of the turn, and are not read from until the next.
    """

    __slots__ = ("resting", "scheduled", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.turn = 0
        self.scheduled = False
        self.resting: list[WebSocketTransport] = []

    def flush(self) -> None:
        """Write what each connection has; its own `flush`, without a call for each."""
        self.scheduled = False
        self.turn += 1
        if self.resting:
            resting, self.resting = self.resting, []
            for connection in resting:
                connection.rest_over()
        batch = self.dirty[:]
        self.dirty.clear()
        for connection in batch:
            frames = connection._frames
            if frames:
                connection._frames = []
                connection._pending = 0
                connection._write(frames[0] if len(frames) == 1 else b"".join(frames))


class WebSocketTransport(WSListener):
    """One WebSocket connection; see `madang.engine.transport.Transport`.

    Args:
        engine: the engine that has admitted it.
        admission: what `Engine.admit` gave.
        request: the handshake.
        outbox: collects what is written in one turn, and knows when that ends.
    """

    name: TransportName = "websocket"

    __slots__ = (
        "_admission",
        "_closing",
        "_dirty",
        "_engine",
        "_fragments",
        "_fragments_are_text",
        "_frames",
        "_held",
        "_outbox",
        "_paused",
        "_pending",
        "_rests",
        "_taken",
        "_tcp",
        "_threshold",
        "_turn",
        "_write",
        "_ws",
        "session",
    )

    def __init__(self, engine: Engine, admission: Admission, request: Request, outbox: FrameOutbox) -> None:
        self._engine = engine
        self._admission: tuple[Admission, Request] | None = (admission, request)
        self._outbox = outbox
        self._dirty = outbox.dirty
        self._frames: list[bytes] = []
        self._pending = 0
        self._threshold = _EARLY_FLUSH
        self._paused = False
        self._held = False
        self._rests = False
        self._turn = -1
        self._taken = 0
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._closing: asyncio.TimerHandle | None = None
        self._ws: WSTransport | None = None
        self.session: Session | Upgrade | None = None

    @property
    def writable(self) -> bool:
        """Whether nothing waits before a packet that would be sent now."""
        return not self._frames and not self._paused

    @property
    def buffered(self) -> int:
        """Bytes that wait: in this turn's frames and in the event loop's buffer."""
        return self._pending + (self._tcp.get_write_buffer_size() if self._ws is not None else 0)

    # what the session calls

    def send(self, encoded: Encoded) -> None:
        """Send a message when the turn ends."""
        frames = self._frames
        if not frames:
            self._dirty.append(self)
            outbox = self._outbox
            if not outbox.scheduled:
                outbox.scheduled = True
                outbox.schedule()
        frame = encoded.frame or encoded.make_frame()
        frames.append(frame)
        self._pending += len(frame)
        if self._pending > self._threshold:
            self._check_pending()

    def send_control(self, packet: bytes) -> None:
        """Send a packet that is no message."""
        self._send_frame(websocket_frame(1, packet))

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits and a close frame, and give the client a short time to answer it."""
        self.session = None
        if self._ws is None or self._closing is not None:
            return
        self.flush()
        self._ws.send_close(WSCloseCode(code))
        self._closing = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self._tcp.abort)
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

    # what the outbox calls

    def flush(self) -> None:
        """Write all frames that wait with one call."""
        frames = self._frames
        if frames:
            self._pending = 0
            self._frames = []
            self._write(frames[0] if len(frames) == 1 else b"".join(frames))

    def _send_frame(self, frame: bytes) -> None:
        if not self._frames:
            self._dirty.append(self)
            if not self._outbox.scheduled:
                self._outbox.scheduled = True
                self._outbox.schedule()
        self._frames.append(frame)
        self._pending += len(frame)

    def rest_over(self) -> None:
        """Another turn of the loop begins."""
        if not self._held:
            self.resume_reading()

    def _note_turn(self) -> None:
        """The first frame of a turn, or the last that it has room for: no client may keep the others waiting."""
        outbox = self._outbox
        if self._turn != outbox.turn:
            self._turn = outbox.turn
            self._taken = 1
            if not outbox.scheduled:
                outbox.scheduled = True
                outbox.schedule()
        elif self._taken == _SHARE and self._rests and not self._tcp.is_closing() and self._tcp.is_reading():
            self._tcp.pause_reading()
            outbox.resting.append(self)

    def _check_pending(self) -> None:
        """Much waits: write it, unless the client is slow; then its bound applies."""
        if not self._paused:
            self.flush()
            return
        frame = self._frames[-1]
        waiting = self.buffered - len(frame)
        session = self.session
        if waiting <= self._engine.options.outbound_limit or not isinstance(session, Session):
            return
        self._frames.pop()
        self._pending -= len(frame)
        self._engine.over_limit(session)

    # what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The response 101 is on its way."""
        self._ws = transport
        self._tcp: Any = transport.underlying_transport
        self._write = self._tcp.write
        # over TLS what has been decrypted already would be dropped if the client closed before it was read on
        self._rests = not transport.is_secure
        self._outbox.opened()
        assert self._admission is not None
        admission, request = self._admission
        self._admission = None
        self._engine.opened(admission, self, request)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        self._taken += 1
        if self._turn != self._outbox.turn or self._taken == _SHARE:
            self._note_turn()
        session = self.session
        kind = frame.msg_type
        if (
            kind is _TEXT
            and self._fragments is None
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
            and session is not None
            and not transport.is_close_frame_sent  # picows goes on with a frame that it has refused
        ):
            payload = frame.get_payload_as_bytes()
            if payload and payload[0] == _MESSAGE:
                session.on_text(payload)
            else:
                session.on_control(payload)
        else:
            self._other_frame(session if not transport.is_close_frame_sent else None, kind, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has ended."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._frames.clear()
        self._ws = None
        self._outbox.closed()
        session, self.session = self.session, None
        if session is None:
            return
        self._tell_end(session, transport)

    def pause_writing(self) -> None:
        """The event loop's buffer is over its mark: the client is slow."""
        self._paused = True
        self._threshold = -1

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._threshold = _EARLY_FLUSH
        if isinstance(self.session, Session):
            self.session.drained()

    def _other_frame(self, session: Session | Upgrade | None, kind: WSMsgType, frame: WSFrame) -> None:
        if kind is WSMsgType.CLOSE:
            wrong = problem_with_close(frame.get_payload_as_bytes())
            if wrong and session is not None:
                self._violation(session, WSCloseCode(wrong), "an invalid close frame")
            else:
                self._client_closed()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            if session is not None:
                self._violation(session, WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        elif kind is WSMsgType.PING:
            if session is not None and not self._paused:  # a client that floods pings and reads no pong is owed none
                self._send_frame(websocket_frame(10, frame.get_payload_as_bytes()))
        elif kind is not WSMsgType.PONG and session is not None:
            if frame.fin and self._fragments is None and kind is not _CONTINUATION:
                session.on_binary(frame.get_payload_as_bytes())
            else:
                self._fragment(session, kind, frame)

    def _fragment(self, session: Session | Upgrade, kind: WSMsgType, frame: WSFrame) -> None:
        """Part of a fragmented message (RFC 6455, section 5.4)."""
        fragments = self._fragments
        if (kind is _CONTINUATION) is (fragments is None):
            self._violation(session, WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if fragments is None:
            fragments = self._fragments = bytearray()
            self._fragments_are_text = kind is _TEXT
        if len(fragments) + frame.payload_size > self._engine.options.max_http_buffer_size:
            self._violation(session, WSCloseCode.MESSAGE_TOO_BIG, "larger than max_http_buffer_size")
            return
        fragments += frame.get_payload_as_memoryview()
        if not frame.fin:
            return
        self._fragments = None
        message = bytes(fragments)
        if not self._fragments_are_text:
            session.on_binary(message)
        elif message[:1] == b"4":
            session.on_text(message)
        else:
            session.on_control(message)

    def _violation(self, session: Session | Upgrade, code: WSCloseCode, description: str) -> None:
        self._fragments = None
        session.fail(TRANSPORT_ERROR, description, code.value)

    def _client_closed(self) -> None:
        """The client's close frame: answer it, and end the connection."""
        session, self.session = self.session, None
        ws = self._ws
        if session is not None and ws is not None:
            self._tell_end(session, ws)
        if ws is not None:
            if not ws.is_close_frame_sent:
                self.flush()
                ws.send_close(WSCloseCode.OK)
            if self._closing is None:  # it may not take what is still to be written
                self._closing = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self._tcp.abort)
            ws.disconnect()

    def _tell_end(self, session: Session | Upgrade, ws: WSTransport) -> None:
        """Tell a session, which has not closed by itself, why its connection has ended."""
        handshake: Any = ws.close_handshake  # None if there was none, whatever its type says
        if handshake is not None and handshake.sent is not None and not handshake.recv_then_sent:
            # picows has found a violation of RFC 6455, or too large a frame, and closed
            session.transport_closed(self, TRANSPORT_ERROR, handshake.sent.reason)
        else:
            session.transport_closed(self, TRANSPORT_CLOSE, "websocket connection closed")


def open_websocket(
    tcp: asyncio.Transport,
    engine: Engine,
    admission: Admission,
    request: Request,
    outbox: FrameOutbox,
    headers: Sequence[tuple[str, str]],
    behind: bytes,
) -> None:
    """Turn an open connection, of which a valid handshake has been read, into a WebSocket.

    Args:
        tcp: the connection.
        engine: the engine that has admitted it.
        admission: what `Engine.admit` gave.
        request: the handshake; see `handshake.problem_with`.
        outbox: collects what is written in one turn.
        headers: further headers of the response 101.
        behind: bytes that came behind the handshake.
    """
    transport = WebSocketTransport(engine, admission, request, outbox)

    def listener(_: WSUpgradeRequest) -> Any:
        if not headers:
            return transport
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(list(headers)), transport)

    protocol = _Protocol(
        None,  # host and port: a client's
        None,  # path: a client's
        False,  # is_client_side
        listener,
        _silent,
        True,  # disconnect_on_exception
        None,  # websocket_handshake_timeout: the head is here already
        False,  # enable_auto_ping
        20,
        20,
        1,
        False,  # enable_auto_pong: pongs must not pass by the bound on what waits
        engine.options.max_http_buffer_size,
        None,  # extra_headers: a client's
        2048,  # read_buffer_init_size
    )
    if tcp.get_extra_info("ssl_object") is not None:
        protocol.room = None
    protocol.connection_made(tcp)
    tcp.set_protocol(protocol)
    _feed(tcp, protocol, _HEAD % request.headers["sec-websocket-key"].encode() + behind)


def _feed(tcp: asyncio.Transport, protocol: Any, data: bytes) -> None:
    """Let a protocol read what has been read already."""
    view = memoryview(data)
    while view and not tcp.is_closing():
        buffer = protocol.get_buffer(len(view))
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]
