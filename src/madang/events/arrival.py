"""What a message meets first; `_arrival` is the compiled twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from ..compiled import COMPILED, twin
from ..errors import PacketError
from ..protocol.binary import Reconstruction
from ..protocol.parser import Packet, Parser
from ..protocol.values import loads
from .dispatch import Dispatcher


class Deadlines(Protocol):
    """Those whose announced attachments have not all come, each with a deadline."""

    def add(self, key: Any) -> None:
        """Its attachments are due."""
        ...

    def discard(self, key: Any) -> None:
        """They have come, or nobody waits for them any more."""
        ...


class Hub(Protocol):
    """What all connections of a server or client share."""

    @property
    def parser(self) -> Parser:
        """What turns text into packets."""
        ...

    @property
    def attachments(self) -> Deadlines:
        """The connections that wait for attachments."""
        ...


_SHORT: Final = (b"2", b"3")


class Arrival:
    """Reads the head of an event or answer for ``/``, and leaves all else to the parser; the base of a connection."""

    __slots__ = ("_main", "_partial")

    _main: Dispatcher | None
    _partial: tuple[Packet, Reconstruction] | None

    @property
    def hub(self) -> Hub:
        """What the connection shares with others."""
        raise NotImplementedError

    def on_text(self, packet: bytes) -> None:
        """A message of text: one packet, or the head of one with attachments."""
        try:
            main = self._main
            if main is not None and self._partial is None and packet[1:2] in _SHORT:  # an event or answer for "/"
                start = packet.find(b"[", 2)
                digits = packet[2:start]
                if start == 2 and packet[1:2] == b"2":
                    main.receive_event(packet[2:], None)
                    return
                if digits.isdigit() and len(digits) < 20:
                    if packet[1:2] == b"2":
                        main.receive_event(packet[start:], int(digits))
                        return
                    values = loads(packet[start:])
                    if type(values) is list:
                        main.receive_ack(int(digits), values)  # pyright: ignore[reportUnknownArgumentType]
                        return
            self.receive_text(packet)
        except PacketError as error:
            self.violated(error)

    def on_binary(self, data: bytes) -> None:
        """An attachment, or a packet of a parser whose packets are binary."""
        self.receive_binary(data)

    def receive_text(self, packet: bytes) -> None:
        """Any message of text."""
        raise NotImplementedError

    def receive_binary(self, data: bytes) -> None:
        """Any binary message."""
        raise NotImplementedError

    def violated(self, error: Exception) -> None:
        """The peer broke the protocol."""
        raise NotImplementedError


if not TYPE_CHECKING and COMPILED:
    Arrival = twin("events._arrival").Arrival
