"""A server's WebSocket that does no more in one turn of the loop than its share, whatever has been read of it.

A few bytes may become a large message, so what counts is what they become. Frames beyond the share are kept, in order,
until another turn, also those of a client that has gone meanwhile. Over TCP nothing is read while some are; over TLS,
where what has been decrypted would be lost with the connection, up to a bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from picows import WSFrame, WSMsgType, WSTransport

from ..engine.engine import Engine
from ..engine.http import Request
from .frames import SHARE, Admission, FrameOutbox, WebSocketTransport

WORK: Final = 256 * 1024
"""Bytes that the messages of one turn may have become before the next is kept; one may always be taken."""

TLS_REST: Final = 1024 * 1024
"""Bytes of a client over TLS that may wait for their turn."""


class KeptFrame:
    """A frame that waits for its turn; as much of a `WSFrame` as is used of one."""

    __slots__ = ("fin", "msg_type", "payload", "rsv1", "rsv2", "rsv3")

    def __init__(self, frame: WSFrame) -> None:
        self.msg_type = frame.msg_type
        self.fin = frame.fin
        self.rsv1 = frame.rsv1
        self.rsv2 = frame.rsv2
        self.rsv3 = frame.rsv3
        self.payload = frame.get_payload_as_bytes()

    @property
    def payload_size(self) -> int:
        """Its bytes."""
        return len(self.payload)

    def get_payload_as_bytes(self) -> bytes:
        """All of it."""
        return self.payload

    get_payload_as_memoryview = get_payload_as_bytes


def _nowhere(_: Any) -> None:
    """What is written to a connection that has ended."""


class TurnTaking(WebSocketTransport):
    """One WebSocket connection; see `WebSocketTransport`."""

    __slots__ = ("_awaits_turn", "_kept", "_kept_bytes", "_lost", "_work", "_work_turn")

    def __init__(self, engine: Engine, admission: Admission, request: Request, outbox: FrameOutbox) -> None:
        super().__init__(engine, admission, request, outbox)
        self._kept: deque[KeptFrame] | None = None
        self._kept_bytes = 0
        self._awaits_turn = False
        self._work = 0
        self._work_turn = -1
        self._lost: WSTransport | None = None

    def note_work(self, size: int) -> None:
        """A message of so many bytes was made."""
        turn = self._outbox.turn
        if self._work_turn != turn:
            self._work_turn = turn
            self._work = 0
        self._work += size

    # what the session calls

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """Send what waits and a close frame, and give the client a short time to answer it."""
        kept = self._forget_kept()
        super().close(code, linger=linger)
        if any(frame.msg_type is WSMsgType.CLOSE for frame in kept):  # which was its answer, or is as good as one
            self._peer_closed()
        self._end_if_lost()

    def abort(self) -> None:
        """Drop the connection."""
        self._forget_kept()
        super().abort()
        self._end_if_lost()

    def resume_reading(self) -> None:
        """Undo `pause_reading`: first what has been read already, then more."""
        if self._kept:
            self._held = False
            self._wait_for_turn()
        else:
            super().resume_reading()

    # what the outbox calls

    def rest_over(self) -> None:
        """Another turn of the loop begins."""
        self._awaits_turn = False
        kept = self._kept
        if not kept:
            super().rest_over()
            return
        while kept and not self._held and not self._has_had_its_share():
            frame = kept.popleft()
            self._kept_bytes -= len(frame.payload)
            self._take(frame)
            kept = self._kept
        if kept:
            if not self._held:
                self._wait_for_turn()
        elif self._lost is not None:
            self._end_if_lost()
        elif not self._held:
            super().resume_reading()

    # what picows calls

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        if self.session is not None and (self._kept or self._has_had_its_share()):
            self._keep(frame)
        else:
            super().on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has ended; what has been read of it is still handled, turn by turn."""
        if self._kept and self.session is not None:
            self._lost = transport
            self._write = _nowhere
            self._held = False
            self._wait_for_turn()
        else:
            self._forget_kept()
            super().on_ws_disconnected(transport)

    # turns

    def _has_had_its_share(self) -> bool:
        turn = self._outbox.turn
        return (self._work_turn == turn and self._work >= WORK) or (self._turn == turn and self._taken >= SHARE)

    def _keep(self, frame: WSFrame) -> None:
        if self._kept is None:
            self._kept = deque()
        self._kept.append(KeptFrame(frame))
        self._kept_bytes += frame.payload_size
        if (self._rests or self._kept_bytes > TLS_REST) and not self._tcp.is_closing() and self._tcp.is_reading():
            self._tcp.pause_reading()
        if len(self._kept) == 1 and not self._held:
            self._wait_for_turn()

    def _take(self, frame: Any) -> None:
        assert self._ws is not None
        try:
            super().on_ws_frame(self._ws, frame)
        except Exception as error:  # noqa: BLE001 (as picows does: this connection ends, the others go on)
            context = {"message": "a WebSocket is closed because of an error of the server", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            self._forget_kept()
            self._tcp.abort()

    def _wait_for_turn(self) -> None:
        if self._awaits_turn:
            return
        self._awaits_turn = True
        outbox = self._outbox
        outbox.resting.append(self)
        if not outbox.scheduled:
            outbox.scheduled = True
            outbox.schedule()

    def _end_if_lost(self) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            super().on_ws_disconnected(lost)

    def _forget_kept(self) -> deque[KeptFrame]:
        kept, self._kept = self._kept, None
        self._kept_bytes = 0
        return kept or deque()
