"""How far a client has come in a recoverable session, so that the server can send what it has missed.

A server with connection state recovery gives a private id with CONNECT, and adds an offset, a last argument of text, to
each event that it keeps. What offsets look like is up to its adapter; those of the official ones are known here, so
that a handler gets what was emitted, and not the offset as well. Each of them begins with the server's time, and that
goes on from one to the next, which tells them from other texts of that shape.
"""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

_DIGITS: Final = {
    digit: value for value, digit in enumerate(string.digits + string.ascii_uppercase + string.ascii_lowercase + "-_")
}
"""Those of yeast, which the adapter in memory writes times with."""

_NEAR: Final = 40 * 86400.0
"""Seconds between two offsets of one session: it may be quiet for long, and the server's clock may be set."""

_SANE: Final = 1.7e9
"""A time of the client that is before this one, in 2023, is that of a device which does not know the time."""


class _Shape(NamedTuple):
    """What the offsets of an adapter look like, and how to read the time in them, in seconds."""

    pattern: re.Pattern[str]
    time: Callable[[str], float]


def _decimal_time(digits: str) -> float:
    return int(digits) / 1000


def _object_time(digits: str) -> float:
    return float(int(digits, 16))


def _base64_time(digits: str) -> float:
    milliseconds = 0
    for digit in digits:
        milliseconds = milliseconds * 64 + _DIGITS[digit]
    return milliseconds / 1000


_SHAPES: Final = (
    _Shape(re.compile(r"([0-9A-Za-z_-]{7,8})(?:\.[0-9A-Za-z_-]+)?"), _base64_time),  # in memory: yeast
    _Shape(re.compile(r"(\d{10,15})-\d+"), _decimal_time),  # Redis streams: a time and a number
    _Shape(re.compile(r"([0-9a-f]{8})[0-9a-f]{16}"), _object_time),  # MongoDB: an object id
)


class Progress:
    """What a socket knows of its recoverable session.

    Args:
        now: the client's time, in seconds since 1970.

    Attributes:
        pid: the private id, or None if the server keeps nothing.
        offset: that of the last event, or None.
    """

    __slots__ = ("_now", "_seen", "_shape", "offset", "pid")

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.pid: str | None = None
        self.offset: str | None = None
        self._now = now
        self._shape: _Shape | None = None
        self._seen = 0.0  # the time in the last offset

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
        like the ones that have come before, and names a time that fits.
        """
        last = args[-1]
        if self.pid is None or wants_answer or len(args) < 2 or not isinstance(last, str):
            return None
        for shape in (self._shape,) if self._shape is not None else _SHAPES:
            match = shape.pattern.fullmatch(last)
            if match is not None and self._fits(shape.time(match[1])):
                self._shape = shape
                args.pop()
                return last
        return None

    def _fits(self, seconds: float) -> bool:
        """Whether an offset may be of this time; if so, it is remembered."""
        if self._shape is not None and abs(seconds - self._seen) > _NEAR:
            now = self._now()
            if now < _SANE or abs(seconds - now) >= abs(self._seen - now):
                return False  # else the one before was none, but a text of that shape
        self._seen = seconds
        return True
