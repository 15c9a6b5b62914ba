"""One Engine.IO session on the server: its state, its transport, its heartbeat and its end.

A session is open from the handshake until its transport breaks, a side closes it, or a pong stays away. While it is
open everything hangs on slots that hold bound methods, and that are exchanged when the state changes: `write` is the
current transport's own `send`, `on_text` and `on_binary` are the receiver's, so the way of a message has no test in it.
When the session ends the slots are emptied, which also unties every reference cycle: what a session holds is freed at
once, without the garbage collector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..errors import PacketError
from ..protocol import engineio
from ..protocol.encoded import Encoded, message
from ..types import CloseReason, TransportName
from .listeners import Listeners
from .transport import (
    FORCED_CLOSE,
    PARSE_ERROR,
    PING_TIMEOUT,
    SERVER_SHUTTING_DOWN,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
)

if TYPE_CHECKING:
    from .engine import Engine
    from .http import Request
    from .transport import MessageReceiver, Transport
    from .upgrade import Upgrade


_TAPS: Final = ("packet", "packet_create", "flush", "drain")
"""Events of single packets."""


def _drop(_: Any) -> None:
    """What the slots of an ended session hold."""


class Session(Listeners):
    """One client's Engine.IO session, made by the engine.

    Attributes:
        id: the session id, a secret between client and server (not a socket's id).
        request: the handshake's request; may be set to None to save memory.
        protocol: the Engine.IO revision, 4.
        open: whether messages can still be sent; once False it stays so.
        close_reason: why it ended, or None.
        failed: whether it ended because the client broke the rules.
        dropped: messages that were dropped because the client is too slow.
        write: sends an `Encoded`; a slot that holds the transport's bound method, exchanged when the state changes.
    """

    __slots__ = (
        "_awaits_pong",
        "_cut",
        "_engine",
        "_pauses",
        "_taps",
        "close_reason",
        "dropped",
        "failed",
        "id",
        "on_binary",
        "on_text",
        "open",
        "protocol",
        "receiver",
        "request",
        "supports_binary",
        "transport",
        "upgrade",
        "write",
    )

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        ("message", "close", "heartbeat", "upgrading", "upgrade", "packet", "packet_create", "flush", "drain")
    )

    def __init__(self, engine: Engine, session_id: str, transport: Transport, request: Request) -> None:
        super().__init__()
        self.id = session_id
        self.request: Request | None = request
        self.protocol = 4
        self.open = True
        self.close_reason: CloseReason | None = None
        self.supports_binary = "b64" not in request.query
        self.dropped = 0
        self.failed = False
        self.upgrade: Upgrade | None = None
        self.transport = transport
        self.receiver: MessageReceiver | None = None
        self.on_text: Callable[[bytes], None] = _drop
        self.on_binary: Callable[[bytes], None] = _drop
        self._engine: Engine = engine
        self._taps = False
        self._cut = False
        self._awaits_pong = False
        self._pauses = 0
        self.write: Callable[[Encoded], None] = transport.send if self.supports_binary else self._write_base64

    def __repr__(self) -> str:
        return f"<Session {self.transport_name} {'open' if self.open else 'closed'}>"

    @property
    def transport_name(self) -> TransportName:
        """``"polling"`` or ``"websocket"``."""
        return self.transport.name

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client to take them."""
        return self.transport.buffered

    @property
    def remote_address(self) -> str | None:
        """The client's address, or None where the host does not know it."""
        request = self.request
        return request.remote[0] if request is not None and request.remote is not None else None

    # what the layer above calls

    def receive_with(self, receiver: MessageReceiver) -> None:
        """Give all messages to `receiver` from now on."""
        self.receiver = receiver
        self._set_receiving()

    def send(self, data: str | bytes | bytearray | memoryview, compress: bool = True) -> None:
        """Send one message: text for `str`, binary for bytes-like. Never waits; dropped if the session is not open."""
        self.write(message(data, compress))

    def write_volatile(self, encoded: Encoded) -> None:
        """Send an `Encoded` only if it would leave at once."""
        if self.transport.writable:
            self.write(encoded)

    def close(self, reason: CloseReason = FORCED_CLOSE, *, discard: bool = False) -> None:
        """End the session: what waits is sent first, unless `discard` is set; later messages are dropped."""
        if not self.open:
            return
        if self.upgrade is not None and not discard and reason != SERVER_SHUTTING_DOWN:
            # carried out on the new transport if the upgrade succeeds, else on the old one (I10)
            self.upgrade.close_when_done(reason)
            return
        transport = self.transport
        self._end(reason, None)
        if discard:
            transport.abort()
        else:
            transport.close()

    def pause_reading(self) -> None:
        """Take nothing more from the client for now, without telling it; each call needs its own `resume_reading`.

        The client is not asked for pongs meanwhile, since they could not be read.
        """
        self._pauses += 1
        if self._pauses == 1 and self.open:
            self.transport.pause_reading()
            self._engine.reading_paused(self)

    def resume_reading(self) -> None:
        """Undo one `pause_reading`."""
        self._pauses -= 1
        if self._pauses == 0 and self.open:
            self.transport.resume_reading()
            self._engine.reading_resumed(self, awaits_pong=self._awaits_pong)

    @property
    def paused(self) -> bool:
        """Whether nothing is read from the client."""
        return self._pauses > 0

    # what transports call

    def on_control(self, packet: bytes) -> None:
        """A text packet that is no message came over the session's transport."""
        if self._taps:
            self.tell("packet", packet)
        try:
            kind, data = engineio.decode_packet(packet)
        except PacketError as error:
            self.fail(PARSE_ERROR, error)
            return
        if kind == engineio.PONG:
            self._engine.pong_received(self)
            self.tell("heartbeat")
        elif kind == engineio.CLOSE:
            transport = self.transport
            self._end(TRANSPORT_CLOSE, None)
            transport.close()
        elif kind == engineio.PING:
            self.fail(TRANSPORT_ERROR, "invalid heartbeat direction")
        elif kind is None:
            self.on_binary(data)
        elif self._awaits_pong:  # open, upgrade and noop mean nothing here, as in Node, but somebody has sent them
            self._alive()

    def transport_closed(self, transport: Transport, reason: CloseReason, description: object = None) -> None:
        """A transport has ended; that ends the session if it was the current one."""
        if transport is self.transport:
            self._end(reason, description)

    def fail(self, reason: CloseReason, description: object, code: int = 1002) -> None:
        """End the session because the client broke the rules."""
        if self.open:
            self.failed = True
            transport = self.transport
            self._end(reason, description)
            transport.close(code, linger=reason == FORCED_CLOSE)

    # what the engine calls

    def ping(self) -> None:
        """Send a ping; any packet that comes before the pong gives it one more `ping_timeout`."""
        if self._taps:
            self.tell("packet_create", Encoded(b"2"))
        self.transport.send_control(b"2")
        self._awaits_pong = True
        self.on_text = self._text_after_ping
        self.on_binary = self._binary_after_ping

    def pong_missing(self) -> None:
        """The pong did not come in time."""
        if self.open:
            transport = self.transport
            self._end(PING_TIMEOUT, None)
            transport.close(linger=False)

    def switch_transport(self, transport: Transport) -> None:
        """Use `transport` from now on; the old one is left to itself."""
        self.transport = transport
        if self._pauses:
            transport.pause_reading()
        self._set_sending()

    def _text_after_ping(self, packet: bytes) -> None:
        self._alive()
        self.on_text(packet)

    def _binary_after_ping(self, data: bytes) -> None:
        self._alive()
        self.on_binary(data)

    def _alive(self) -> None:
        self._set_receiving()
        self._engine.traffic_while_waiting(self)

    def pong_seen(self) -> None:
        """The pong came: messages go straight to the receiver again."""
        self._set_receiving()

    def _set_receiving(self) -> None:
        self._awaits_pong = False
        receiver = self.receiver
        if receiver is None or not self.open:
            return
        if self._taps:
            self.on_text = self._tapped_text
            self.on_binary = self._tapped_binary
        else:
            self.on_text = receiver.on_text
            self.on_binary = receiver.on_binary

    def cut(self) -> None:
        """Write nothing more: the session is about to be closed."""
        self._cut = True
        self._set_sending()

    def _set_sending(self) -> None:
        if self._cut:
            self.write = _drop
        elif self._taps:
            self.write = self._tapped_send
        else:
            self.write = self.transport.send if self.supports_binary else self._write_base64
        if self.receiver is not None:
            self.receiver.on_write_changed()

    # listeners of single packets are rare: only then do messages take the longer way

    def listener_added(self, event: str) -> None:
        """See `Listeners.listener_added`."""
        if event in _TAPS:
            self.refresh_taps()
        elif event == "message" and self.receiver is None:
            self.receive_with(_ToListeners(self))

    def listener_removed(self, event: str) -> None:
        """See `Listeners.listener_removed`."""
        if event in _TAPS:
            self.refresh_taps()

    def refresh_taps(self) -> None:
        """Take the longer way as long as somebody listens to single packets, here or on the engine."""
        listeners = self._listeners or {}
        wanted = self._engine.taps or any(listeners.get(event) for event in _TAPS)
        if wanted != self._taps and self.open:
            self._taps = wanted
            if not self._awaits_pong:  # else with the next packet
                self._set_receiving()
            self._set_sending()

    def _tapped_text(self, packet: bytes) -> None:
        self.tell("packet", packet)
        if self.receiver is not None:
            self.receiver.on_text(packet)

    def _tapped_binary(self, data: bytes) -> None:
        self.tell("packet", data)
        if self.receiver is not None:
            self.receiver.on_binary(data)

    def _tapped_send(self, encoded: Encoded) -> None:
        self.tell("packet_create", encoded)
        if self.supports_binary:
            self.transport.send(encoded)
        else:
            self._write_base64(encoded)
        self.tell("flush")
        self._engine.tell("flush", self)

    def _write_base64(self, encoded: Encoded) -> None:
        """For a client that asked for `b64` and so takes no binary frames."""
        if encoded.text:
            self.transport.send(Encoded(encoded.text, (), encoded.compress))
        for data in encoded.attachments:
            self.transport.send(Encoded(engineio.encode_binary(data), (), encoded.compress))

    def drained(self) -> None:
        """The transport has sent all it held."""
        if self._taps:
            self.tell("drain")
            self._engine.tell("drain", self)

    def _end(self, reason: CloseReason, description: object) -> None:
        if not self.open:
            return
        self.open = False
        self.close_reason = reason
        receiver, self.receiver = self.receiver, None
        self.write = self.on_text = self.on_binary = _drop
        upgrade, self.upgrade = self.upgrade, None
        if upgrade is not None:
            upgrade.abandon()
        self._engine.session_ended(self)
        if receiver is not None:
            receiver.on_close(reason, description)
        self.tell("close", reason, description)
        self._listeners = None


class _ToListeners:
    """Gives a bare session's messages to the listeners of its ``message`` event, as `str` and `bytes`."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_text(self, packet: bytes) -> None:
        try:
            text = packet[1:].decode()
        except UnicodeDecodeError as error:
            self._session.fail(PARSE_ERROR, error, 1007)
        else:
            self._session.tell("message", text)

    def on_binary(self, data: bytes) -> None:
        self._session.tell("message", data)

    def on_close(self, reason: str, description: object) -> None:
        """The ``close`` event tells of it."""

    def on_write_changed(self) -> None:
        """Nobody keeps a copy."""
