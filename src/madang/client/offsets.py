"""How far a client has come in a recoverable session, so that the server can send what it has missed.

A server with connection state recovery gives a private id with CONNECT, and adds an offset, a last argument of text, to
each event that it keeps. What offsets look like is up to its adapter; those of the official ones are known here, so
that a handler gets what was emitted, and not the offset as well.
"""

from __future__ import annotations

import re
from typing import Any, Final

_SHAPES: Final = tuple(
    re.compile(shape)
    for shape in (
        r"[0-9A-Za-z_-]{7,8}(\.[0-9A-Za-z_-]+)?",  # in memory: the time in base 64, and a counter
        r"\d{10,}-\d+",  # Redis streams: milliseconds and a number
        r"[0-9a-f]{24}",  # MongoDB: an object id
    )
)


class Progress:
    """What a socket knows of its recoverable session.

    Attributes:
        pid: the private id, or None if the server keeps nothing.
        offset: that of the last event, or None.
    """

    __slots__ = ("_shape", "offset", "pid")

    def __init__(self) -> None:
        self.pid: str | None = None
        self.offset: str | None = None
        self._shape: re.Pattern[str] | None = None

    def begin(self, pid: str | None) -> bool:
        """The server has let us in; True if it has recovered the session that we had."""
        recovered = pid is not None and pid == self.pid
        if not recovered:
            self.offset = None
            self._shape = None
        self.pid = pid
        return recovered

    def presented(self) -> dict[str, str]:
        """What goes into the CONNECT packet."""
        if self.pid is None:
            return {}
        return {"pid": self.pid} | ({"offset": self.offset} if self.offset is not None else {})

    def take(self, args: list[Any], wants_answer: bool) -> str | None:
        """Take the offset away from an event's arguments; None if it carries none.

        Events that want an answer, and volatile ones, carry none; so a last argument of text counts only if it looks
        like the ones that have come before.
        """
        last = args[-1]
        if self.pid is None or wants_answer or len(args) < 2 or not isinstance(last, str):
            return None
        if self._shape is None:
            self._shape = next((shape for shape in _SHAPES if shape.fullmatch(last)), None)
            if self._shape is None:
                return None
        elif not self._shape.fullmatch(last) or (self.offset is not None and last[:2] != self.offset[:2]):
            return None
        args.pop()
        return last
