"""A connection by a Unix socket, as picows can take it: it sets options of TCP on every socket."""

from __future__ import annotations

import asyncio
from typing import Any


class WithoutTcp:
    """A transport whose socket takes options and knows none; all else is the transport's own.

    Args:
        transport: the connection.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport.get_extra_info`."""
        found = self._transport.get_extra_info(name, default)
        return _Socket(found) if name == "socket" else found


class _Socket:
    """What picows asks of a socket."""

    __slots__ = ("_socket",)

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def fileno(self) -> int:
        """Its descriptor."""
        number: int = self._socket.fileno()
        return number

    def setsockopt(self, *_: Any) -> None:
        """Nothing: there is no TCP."""

    def getsockopt(self, *_: Any) -> int:
        """Nothing is set."""
        return 0
