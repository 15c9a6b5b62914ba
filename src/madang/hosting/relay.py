"""Bytes from one connection to another and back, for a connection that cannot be handed over."""

from __future__ import annotations

import asyncio
import socket


class _End(asyncio.Protocol):
    """One end: what comes here goes out at the other.

    Attributes:
        other: the other end's connection, once there is one.
    """

    __slots__ = ("_early", "_ended", "other")

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._ended = asyncio.get_running_loop().create_future()

    def join(self, other: asyncio.Transport) -> None:
        """The other end is there."""
        self.other = other
        if self._early:
            other.write(b"".join(self._early))
            self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.other is None:
            self._early.append(data)  # what TLS had decrypted before reading was paused
        elif not self.other.is_closing():
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


def relay(transport: asyncio.Transport, local: socket.socket) -> asyncio.Task[None]:
    """Relay between a connection, whose reading is paused, and a local socket, until one of them ends."""
    near = _End()
    transport.set_protocol(near)  # now: more may come before the task begins
    return asyncio.get_running_loop().create_task(_relay(transport, near, local))


async def _relay(transport: asyncio.Transport, near: _End, local: socket.socket) -> None:
    far = _End()
    local.setblocking(False)
    try:
        other, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: far, local)
        near.join(other)
        far.join(transport)
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
