"""Whether a namespace is joined, as a truth value that can be awaited; and why it is not."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..errors import SocketClosed

if TYPE_CHECKING:
    from .socket import ClientSocket


class Connected:
    """Whether a namespace is joined: true or false, and awaitable until it is."""

    __slots__ = ("_socket",)

    def __init__(self, socket: ClientSocket) -> None:
        self._socket = socket

    def __bool__(self) -> bool:
        return self._socket.is_connected

    def __eq__(self, other: object) -> bool:
        return bool(self) == other if isinstance(other, bool | Connected) else NotImplemented

    def __hash__(self) -> int:
        return id(self._socket)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._socket.joined_or_failed().__await__()

    def __repr__(self) -> str:
        return repr(bool(self))


def reason_of(error: Exception) -> str:
    """Why nothing is to be expected, in a word or a sentence."""
    return error.reason if isinstance(error, SocketClosed) else str(error)
