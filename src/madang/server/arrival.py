"""What a message meets first; `_arrival` is the compiled twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..compiled import COMPILED, twin
from ..errors import PacketError
from ..protocol.binary import Reconstruction
from ..protocol.parser import Packet

if TYPE_CHECKING:
    from .socket import Socket


class Arrival:
    """The head of an event for ``/`` is read here, all else by the parser; the base of `Connection`."""

    __slots__ = ("_main", "_partial")

    _main: Socket | None
    _partial: tuple[Packet, Reconstruction] | None

    def on_text(self, packet: bytes) -> None:
        """A message of text: one packet, or the head of one with attachments."""
        try:
            main = self._main
            if main is not None and self._partial is None and packet[1:2] == b"2":  # an event for "/"
                start = packet.find(b"[", 2)
                if start == 2:
                    main.receive_event(packet[2:], None)
                    return
                digits = packet[2:start]
                if digits.isdigit() and len(digits) < 20:
                    main.receive_event(packet[start:], int(digits))
                    return
            self.receive_text(packet)
        except PacketError as error:
            self.violated(error)

    def on_binary(self, data: bytes) -> None:
        """An attachment."""
        self.receive_binary(data)

    def receive_text(self, packet: bytes) -> None:
        """Any message of text."""
        raise NotImplementedError

    def receive_binary(self, data: bytes) -> None:
        """Any attachment."""
        raise NotImplementedError

    def violated(self, error: Exception) -> None:
        """The client broke the protocol."""
        raise NotImplementedError


if not TYPE_CHECKING and COMPILED:
    Arrival = twin("server._arrival").Arrival
