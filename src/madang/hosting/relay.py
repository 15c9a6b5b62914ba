"""Bytes from one connection to another and back, for a connection that cannot be handed over."""

from __future__ import annotations

import asyncio
import socket


class _End(asyncio.Protocol):
    """One end: what comes here goes out at the other.

    Attributes:
        other: the other end's connection, once there is one.
    """

    __slots__ = ("_ended", "_transport", "other")

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None
        self._ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # pyright: ignore
        """It is connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.other is not None and not self.other.is_closing():
            self.other.write(data)

    def pause_writing(self) -> None:
        """This end is slow: read nothing more at the other."""
        if self.other is not None and not self.other.is_closing() and self.other.is_reading():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.other is not None and not self.other.is_closing() and not self.other.is_reading():
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, and so does the other."""
        if self.other is not None:
            self.other.close()
        if not self._ended.done():
            self._ended.set_result(None)

    async def ended(self) -> None:
        """Wait until it has ended."""
        await self._ended


async def relay(transport: asyncio.Transport, local: socket.socket) -> None:
    """Relay between a connection, whose reading is paused, and a local socket, until one of them ends."""
    near, far = _End(), _End()
    near.connection_made(transport)
    transport.set_protocol(near)
    local.setblocking(False)
    try:
        other, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: far, local)
        near.other, far.other = other, transport
        if transport.is_closing():
            other.close()
        else:
            transport.resume_reading()
        await near.ended()
        await far.ended()
    finally:
        transport.abort()
        if far.other is None:
            local.close()
