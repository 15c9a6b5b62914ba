"""One Engine.IO session seen from the client: handshake, heartbeat, upgrade and end.

The way of a message is the server's: `write`, `on_text` and `on_binary` are slots that hold bound methods and are
exchanged when the state changes. What the server says of itself is believed within limits only: a session identifier,
the times of the heartbeat and the largest payload are checked before they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol, cast

from ..errors import ConnectionFailed, PacketError, PayloadTooLarge
from ..protocol import engineio
from ..protocol.encoded import Encoded, message
from ..types import Clock, CloseReason, TransportName
from .client_handshake import read_opening
from .client_options import ClientEngineOptions
from .client_upgrade import Probe
from .listeners import Listeners
from .transport import (
    FORCED_CLOSE,
    PARSE_ERROR,
    PING_TIMEOUT,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
    MessageReceiver,
    Transport,
)

OPENING: Final = "opening"
OPEN: Final = "open"
CLOSING: Final = "closing"
CLOSED: Final = "closed"


class TransportReceiver(Protocol):
    """Who a client's transport tells of what it meets: the session, or the probe of an upgrade."""

    @property
    def on_text(self) -> Callable[[bytes], None]:
        """Takes a message of text, which begins with the packet type ``4``."""
        ...

    @property
    def on_binary(self) -> Callable[[bytes], None]:
        """Takes a binary message."""
        ...

    def on_control(self, packet: bytes) -> None:
        """A packet of text that is no message."""
        ...

    def transport_opened(self, transport: ClientTransport) -> None:
        """Packets can be sent."""
        ...

    def transport_closed(self, transport: ClientTransport, reason: CloseReason, description: object = None) -> None:
        """It has ended."""
        ...

    def fail(self, reason: CloseReason, description: object, code: int = 1002) -> None:
        """The server broke the rules of the transport."""
        ...

    @property
    def drain_watched(self) -> bool:
        """Whether somebody wants `drained` to be called."""
        ...

    def drained(self) -> None:
        """Nothing waits in it any more."""
        ...


class ClientTransport(Transport, Protocol):
    """What a client's session needs of a transport, beyond what a server's does."""

    session: Any

    def open(self) -> None:
        """Begin to connect."""
        ...

    def identify(self, session_id: str, max_payload: int | None) -> None:
        """The session's id is known, and how many bytes the server takes at once."""
        ...

    def pause(self, done: Callable[[], object]) -> None:
        """For an upgrade: ask for nothing more, and call `done` when nothing is on its way."""
        ...

    def unpause(self) -> None:
        """Undo `pause`: the upgrade has failed."""
        ...

    def leave(self) -> None:
        """For an upgrade: the session has gone on to another transport; end without a word."""
        ...


class SessionReceiver(MessageReceiver, Protocol):
    """What a client's session needs of the layer above it."""

    def on_open(self) -> None:
        """The handshake is done."""
        ...

    def on_ping(self) -> None:
        """The server has sent a ping."""
        ...

    def on_drained(self) -> None:
        """Nothing waits to be sent any more."""
        ...


Dial = Callable[[TransportName, "str | None", TransportReceiver], ClientTransport]
"""Makes a transport, for a session whose id is known or None."""


class _Memory:
    """What is remembered in this process, for `remember_upgrade`."""

    websocket_worked: ClassVar[bool] = False


def _drop(_: Any) -> None:
    """What the slots of an ended session hold."""


class ClientSession(Listeners):
    """One session with a server.

    Args:
        options: how to reach it.
        clock: the time, and timers.
        dial: makes transports.
        receiver: who gets the messages.

    Attributes:
        id: the session id, a secret between client and server; None before the handshake.
        state: ``"opening"``, ``"open"``, ``"closing"`` or ``"closed"``.
        transport: the current transport.
        upgrades: the transports that the server offers to change to.
        ping_interval: seconds between the server's pings.
        ping_timeout: seconds that a ping may be late.
        max_payload: bytes that the server takes in one message or payload, or None if it has not said so.
        size_limit: the same as a number, infinite if the server has not said so.
        drain_watched: whether transports are to say when nothing waits any more.
        expires_at: when, by the clock, the server counts as gone unless a ping comes before.
        close_reason: why it ended, or None.
        write: sends an `Encoded`; a slot.
    """

    __slots__ = (
        "_clock",
        "_dial",
        "_drain_awaited",
        "_held",
        "_options",
        "_pauses",
        "_pong_waits",
        "_taps",
        "_timer",
        "_untried",
        "close_reason",
        "drain_watched",
        "expires_at",
        "id",
        "max_payload",
        "on_binary",
        "on_text",
        "ping_interval",
        "ping_timeout",
        "probe",
        "receiver",
        "size_limit",
        "state",
        "transport",
        "upgrades",
        "write",
    )

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        (
            "open",
            "handshake",
            "close",
            "ping",
            "packet",
            "packet_create",
            "upgrading",
            "upgrade",
            "upgrade_error",
            "flush",
            "drain",
        )
    )

    def __init__(self, options: ClientEngineOptions, clock: Clock, dial: Dial, receiver: SessionReceiver) -> None:
        super().__init__()
        self._options = options
        self._clock = clock
        self._dial = dial
        self._untried: list[TransportName] = list(options.transports)
        self._held: list[Encoded] | None = None
        self._pauses = 0
        self._pong_waits = False
        self._taps = False
        self._timer: Any = None
        self.receiver: SessionReceiver | None = receiver
        self.id: str | None = None
        self.state = OPENING
        self.upgrades: list[str] = []
        self.ping_interval = 0.0
        self.ping_timeout = 0.0
        self.max_payload: int | None = None
        self.size_limit: float = float("inf")
        self._drain_awaited = False
        self.drain_watched = False
        self.expires_at = float("inf")
        self.close_reason: CloseReason | None = None
        self.probe: Probe | None = None
        self.write: Callable[[Encoded], None] = _drop
        self.on_text: Callable[[bytes], None] = self._too_early
        self.on_binary: Callable[[bytes], None] = self._too_early
        if options.remember_upgrade and _Memory.websocket_worked and "websocket" in self._untried:
            self._untried.remove("websocket")
            self._untried.insert(0, "websocket")
        self.transport: ClientTransport = dial(self._untried.pop(0), None, cast("Any", self))

    def __repr__(self) -> str:
        return f"<ClientSession {self.transport.name} {self.state}>"

    # what the layer above calls

    def open(self) -> None:
        """Begin to connect."""
        self.transport.open()

    @property
    def writable(self) -> bool:
        """Whether a packet sent now would leave at once."""
        return self.state == OPEN and self._held is None and self.transport.writable

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent."""
        held = sum(_size(encoded) for encoded in self._held) if self._held else 0
        return self.transport.buffered + held

    def send(self, data: str | bytes | bytearray | memoryview, compress: bool = True) -> None:
        """Send one message: text for `str`, binary for bytes-like. Never waits; dropped if the session is not open.

        Raises:
            PayloadTooLarge: the server does not take so much.
        """
        encoded = message(data, compress)
        self.check_size(encoded)
        self.write(encoded)

    def check_size(self, encoded: Encoded) -> None:
        """See that the server takes a message.

        Raises:
            PayloadTooLarge: a part of it is larger than the server's `maxPayload`.
        """
        limit = self.max_payload
        if limit is None:
            return
        if len(encoded.text) > limit:
            raise PayloadTooLarge(len(encoded.text), limit)
        as_text = self.transport.name == "polling" or self._options.force_base64
        for data in encoded.attachments:
            size = 1 + (len(data) + 2) // 3 * 4 if as_text else len(data)
            if size > limit:
                raise PayloadTooLarge(size, limit)

    def has_expired(self) -> bool:
        """Whether the server's ping is overdue, even if the timer that should have told so has slept with the machine.

        If so, the session ends in the next turn.
        """
        if self._clock.time() < self.expires_at:
            return False
        self._clock.call_soon(self._expired)
        return True

    def close(self) -> None:
        """End the session: what waits is sent first, and a change of transport that is under way is let to its end."""
        if self.state == OPENING:
            transport = self.transport
            self._end(FORCED_CLOSE, None)
            transport.abort()
        elif self.state == OPEN:
            self.state = CLOSING
            if self.probe is None or not self.probe.upgrading:
                self.close_now()
            else:
                self._set_slots()

    def close_now(self) -> None:
        """End the session on the present transport."""
        transport = self.transport
        self._end(FORCED_CLOSE, None)
        transport.close()

    def watch_drain(self) -> None:
        """Tell the receiver, once, when nothing waits any more."""
        self._drain_awaited = self.drain_watched = True

    def pause_reading(self) -> None:
        """Take nothing more from the server for now; each call needs its own `resume_reading`."""
        self._pauses += 1
        if self._pauses == 1 and self.state == OPEN:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo one `pause_reading`."""
        self._pauses -= 1
        if self._pauses == 0 and self.state == OPEN:
            self._alive()  # what is read next may be older than the last ping that was due
            self.transport.resume_reading()

    # what transports call

    def on_control(self, packet: bytes) -> None:
        """A text packet that is no message."""
        if self._taps:
            self.tell("packet", packet)
        try:
            kind, data = engineio.decode_packet(packet)
            if self.state == OPENING and kind not in (engineio.OPEN, engineio.CLOSE):
                raise PacketError("the first packet is not the handshake")
            if kind == engineio.PING:
                self._alive()
                self._pong()
                self.tell("ping")
                if self.receiver is not None:
                    self.receiver.on_ping()
            elif kind == engineio.OPEN:
                self._handshake(data)
            elif kind == engineio.CLOSE:
                transport = self.transport
                self._end(TRANSPORT_CLOSE, "transport closed by the server")
                transport.close(linger=False)
            elif kind is None:
                self.on_binary(data)
            elif kind == engineio.MESSAGE:
                self.on_text(packet)
        except PacketError as error:
            self.fail(PARSE_ERROR, error)

    def transport_opened(self, transport: ClientTransport) -> None:
        """The server's first packet is to come."""

    def transport_closed(self, transport: ClientTransport, reason: CloseReason, description: object = None) -> None:
        """A transport has ended; that ends the session if it was the current one."""
        if transport is not self.transport:
            return
        if self.state == OPENING and self._options.try_all_transports and self._untried:
            _Memory.websocket_worked = False
            self.transport = self._dial(self._untried.pop(0), None, cast("Any", self))
            self.transport.open()
            return
        self._end(reason, description)

    def fail(self, reason: CloseReason, description: object, code: int = 1002) -> None:
        """End the session because the server broke the rules."""
        if self.state != CLOSED:
            transport = self.transport
            self._end(reason, description)
            transport.close(code)

    def _pong(self) -> None:
        """Answer a ping, unless an answer waits already: who floods pings and reads no pong is owed one."""
        if not self._pong_waits:
            self.transport.send_control(b"3")
            self._pong_waits = not self.transport.writable

    def drained(self) -> None:
        """The transport has sent all it held."""
        self._pong_waits = False
        if self._taps:
            self.tell("drain")
        if self._drain_awaited and self.receiver is not None:
            self._drain_awaited = False
            self.drain_watched = self._taps
            self.receiver.on_drained()

    # the handshake

    def _too_early(self, _: bytes) -> None:
        self.fail(PARSE_ERROR, PacketError("a message came before the handshake"))

    def _handshake(self, data: bytes) -> None:
        if self.state != OPENING:
            raise PacketError("a second handshake")
        opening = read_opening(data)
        self.id = opening.session_id
        self.upgrades = opening.upgrades
        self.ping_interval = opening.ping_interval
        self.ping_timeout = opening.ping_timeout
        self.max_payload = opening.max_payload
        if self.max_payload is not None:
            self.size_limit = self.max_payload
        self.transport.identify(opening.session_id, self.max_payload)
        self.state = OPEN
        _Memory.websocket_worked = self.transport.name == "websocket"
        self._alive()
        self._arm()
        if self._pauses:
            self.transport.pause_reading()
        self.tell("handshake", opening.said)
        self._set_slots()
        self.tell("open")
        if self.receiver is not None:
            self.receiver.on_open()
        if self._may_upgrade():
            self.probe = Probe(self, self._dial)

    def _may_upgrade(self) -> bool:
        return (
            self.state == OPEN
            and self.transport.name == "polling"
            and self._options.upgrade
            and "websocket" in self.upgrades
            and "websocket" in self._options.transports
        )

    # the heartbeat

    def _alive(self) -> None:
        self.expires_at = self._clock.time() + self.ping_interval + self.ping_timeout

    def _arm(self) -> None:
        self._timer = self._clock.call_later(max(0.0, self.expires_at - self._clock.time()), self._look)

    def _look(self) -> None:
        """The timer runs to the earliest end that was known when it was set; pings have moved it since."""
        if self._pauses:
            self._alive()  # nothing is read at present, so nothing can be said of the server
        if self._clock.time() + 0.001 < self.expires_at:
            self._arm()
        else:
            self._expired()

    def _expired(self) -> None:
        if self.state != CLOSED:
            transport = self.transport
            self._end(PING_TIMEOUT, None)
            transport.abort()

    # the upgrade

    def hold(self) -> None:
        """Keep what is sent until the new transport is in use."""
        self._held = []
        self._set_slots()

    def switch_transport(self, transport: ClientTransport) -> None:
        """Use `transport` from now on, with what was kept."""
        old, self.transport = self.transport, transport
        held, self._held = self._held or [], None
        old.leave()
        self._pong_waits = False
        transport.session = self
        transport.identify(self.id or "", self.max_payload)
        if self._pauses:
            transport.pause_reading()
        self._set_slots()
        send = self._sender()
        for encoded in held:
            send(encoded)
        _Memory.websocket_worked = True
        self.probe_ended()

    def release(self) -> None:
        """The upgrade failed after all: send what was kept on the old transport."""
        held, self._held = self._held or [], None
        self._set_slots()
        self.transport.unpause()
        for encoded in held:
            self.transport.send(encoded)

    def probe_ended(self) -> None:
        """The upgrade is over, well or not."""
        self.probe = None
        if self.state == CLOSING:
            self.close_now()

    # slots

    def _set_slots(self) -> None:
        receiver = self.receiver
        if receiver is None or self.state == CLOSED:
            return
        if self._taps:
            self.on_text, self.on_binary = self._tapped_text, self._tapped_binary
        else:
            self.on_text, self.on_binary = receiver.on_text, receiver.on_binary
        if self.state == CLOSING:
            self.write = _drop
        elif self._taps:
            self.write = self._tapped_send
        else:
            self.write = self._sender()
        receiver.on_write_changed()

    def _sender(self) -> Callable[[Encoded], None]:
        if self._held is not None:
            return self._held.append
        return self._write_base64 if self._options.force_base64 else self.transport.send

    def listener_added(self, event: str) -> None:
        """See `Listeners.listener_added`."""
        if event in ("packet", "packet_create", "flush", "drain") and not self._taps:
            self._taps = self.drain_watched = True
            if self.state == OPEN:
                self._set_slots()

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
        self._sender()(encoded)
        self.tell("flush")

    def _write_base64(self, encoded: Encoded) -> None:
        if encoded.text:
            self.transport.send(Encoded(encoded.text, (), encoded.compress))
        for data in encoded.attachments:
            self.transport.send(Encoded(engineio.encode_binary(data), (), encoded.compress))

    # the end

    def _end(self, reason: CloseReason, description: object) -> None:
        if self.state == CLOSED:
            return
        if reason in (TRANSPORT_ERROR, PARSE_ERROR):
            _Memory.websocket_worked = False
            if not isinstance(description, Exception):
                description = ConnectionFailed(
                    f"{self.transport.name} error",
                    None if description is None else str(description),
                    transport=self.transport.name,
                )
        self.state = CLOSED
        self.close_reason = reason
        self._held = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.write = self.on_text = self.on_binary = _drop
        receiver, self.receiver = self.receiver, None
        probe, self.probe = self.probe, None
        if probe is not None:
            probe.abandon()
        if receiver is not None:
            receiver.on_close(reason, description)
        self.tell("close", reason, description)
        self._listeners = None


def _size(encoded: Encoded) -> int:
    return len(encoded.text) + sum(map(len, encoded.attachments))
