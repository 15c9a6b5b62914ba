"""WebSocket on the native host in Python: picows reads and unmasks the frames, we write them.

picows hands each frame to `on_ws_frame`; here fragments are joined, limits are kept, and messages go to the session.
Outgoing frames wait for the end of the loop's turn (see `madang.transports.outbox`) and bypass picows, whose own
`send` makes one system call per frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from picows import WSFrame, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

from ..engine.engine import Engine
from ..engine.http import Request
from ..engine.session import Session
from ..protocol.encoded import Encoded, websocket_frame
from .outbox import Outbox
from .reading import SILENT, FrameProtocol, FrameReader
from .unix import WithoutTcp

_TEXT: Final = WSMsgType.TEXT
_MESSAGE: Final = 0x34

_HEAD: Final = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
"""The handshake as picows gets to see it: it reads no head of 16 KiB and more, and keeps what it has read."""

SHARE: Final = 64
"""Frames of one client that are handled in one turn of the loop, beside those that have been read with them."""

Admission = tuple["Session | None", str]


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


class WebSocketTransport(FrameReader):
    """One WebSocket connection; see `madang.engine.transport.Transport`.

    Args:
        engine: the engine that has admitted it.
        admission: what `Engine.admit` gave.
        request: the handshake.
        outbox: collects what is written in one turn, and knows when that ends.
    """

    __slots__ = ("_admission", "_dirty", "_engine", "_outbox", "_rests", "_taken", "_turn")

    def __init__(self, engine: Engine, admission: Admission, request: Request, outbox: FrameOutbox) -> None:
        super().__init__(engine.options.max_http_buffer_size)
        self._engine = engine
        self._admission: tuple[Admission, Request] | None = (admission, request)
        self._outbox = outbox
        self._dirty = outbox.dirty
        self._rests = False
        self._turn = -1
        self._taken = 0

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

    # what the outbox calls

    def rest_over(self) -> None:
        """Another turn of the loop begins."""
        if not self._held:
            self.resume_reading()

    def _schedule(self) -> None:
        self._dirty.append(self)
        if not self._outbox.scheduled:
            self._outbox.scheduled = True
            self._outbox.schedule()

    def _frame(self, opcode: int, data: bytes) -> bytes:
        return websocket_frame(opcode, data)

    def _note_turn(self) -> None:
        """The first frame of a turn, or the last that it has room for: no client may keep the others waiting."""
        outbox = self._outbox
        if self._turn != outbox.turn:
            self._turn = outbox.turn
            self._taken = 1
            if not outbox.scheduled:
                outbox.scheduled = True
                outbox.schedule()
        elif self._taken == SHARE and self._rests and not self._tcp.is_closing() and self._tcp.is_reading():
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
        self._adopt(transport)
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
        if self._turn != self._outbox.turn or self._taken == SHARE:
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
        self._outbox.closed()
        super().on_ws_disconnected(transport)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if isinstance(self.session, Session):
            self.session.drained()


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
    adopt(WebSocketTransport(engine, admission, request, outbox), tcp, engine, request, headers, behind)


def adopt(
    transport: WebSocketTransport,
    tcp: asyncio.Transport,
    engine: Engine,
    request: Request,
    headers: Sequence[tuple[str, str]],
    behind: bytes,
) -> None:
    """Let a transport have an open connection; see `open_websocket`."""

    def listener(_: WSUpgradeRequest) -> Any:
        if not headers:
            return transport
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(list(headers)), transport)

    protocol = FrameProtocol(
        None,  # host and port: a client's
        None,  # path: a client's
        False,  # is_client_side
        listener,
        SILENT,
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
    is_tcp = type(tcp.get_extra_info("peername")) is tuple
    protocol.connection_made(tcp if is_tcp else WithoutTcp(tcp))
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
