"""The names that several layers share for plain types; imports nothing of madang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

Json: TypeAlias = Any
"""A value that JSON can carry, with bytes-like values allowed anywhere in it."""

Room: TypeAlias = str | int
"""A room's name. Names compare by type: room 42 is not room "42"."""

TransportName: TypeAlias = Literal["polling", "websocket"]

CloseReason: TypeAlias = str
"""Why a session or socket ended: one of the official strings, see `madang.engine.transport`."""


class TimerHandle(Protocol):
    """What `Clock.call_later` returns."""

    def cancel(self) -> None:
        """Make the call not happen."""
        ...


class Clock(Protocol):
    """Time as the engine needs it; a running asyncio loop fits as it is."""

    def time(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `callback(*args)` after `delay` seconds."""
        ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Call `callback(*args)` in the next turn."""
        ...
