"""What the way of a plain event needs of a socket and of a handler; `_path` is the compiled twin, and goes that way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..compiled import COMPILED, twin
from ..protocol.encoded import AckEncoder, Encoded


class Route:
    """What the way of an event needs of a handler; the base of `Handler`.

    Attributes:
        function: what to call.
        bind: from the event's JSON text to the function's arguments.
        bind_args: the same from decoded arguments.
        ack_at: where an `Ack` goes among the arguments, or None.
        takes_socket: whether the socket is the function's first argument.
        is_async: whether calling the function gives a coroutine.
        concurrent: whether it may overlap with other handlers of its socket.
        decode: from the event's JSON text to name and arguments.
        whole: whether `decode` gives a struct, and not a list.
        exact: how many arguments `decode` must give for the function to be called with just them; -1 to ask `bind`.
    """

    __slots__ = (
        "ack_at",
        "bind",
        "bind_args",
        "concurrent",
        "decode",
        "exact",
        "function",
        "is_async",
        "takes_socket",
        "whole",
    )

    function: Callable[..., Any]
    bind: Callable[[bytes], Any]
    bind_args: Callable[[list[Any]], Any]
    ack_at: int | None
    takes_socket: bool
    is_async: bool
    concurrent: bool
    decode: Callable[[bytes], Any]
    whole: bool
    exact: int


class EventPath:
    """What the way of an event needs of a socket; the base of `Dispatcher`.

    Attributes:
        connected: whether the socket is a member of its namespace.
        write: sends an `Encoded`; a copy of the session's slot.
    """

    __slots__ = ("_ack_encoder", "_own_routes", "_plain", "_queue", "_routes", "connected", "write")

    connected: bool
    write: Callable[[Encoded], None]
    _queue: deque[Any] | None
    _routes: dict[bytes, Any]
    _own_routes: dict[bytes, Any] | None
    _plain: bool
    _ack_encoder: AckEncoder | None


if not TYPE_CHECKING and COMPILED:
    EventPath = twin("events._path").EventPath
    Route = twin("events._path").Route
