"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from random import random


class Backoff:
    """Delays that double from attempt to attempt, shaken so that not all clients come back at once.

    The delay is ``min(longest, first * 2**attempts)`` with a random share of it, of at most `jitter`, added or taken
    away, and is cut to `longest` at the end (as in the JavaScript client).

    Args:
        first: seconds before the first attempt.
        longest: seconds that a delay has at most.
        jitter: the share, 0 to 1.
        draw: a number from 0 up to 1.

    Attributes:
        attempts: delays that have been given since the last `reset`.
    """

    __slots__ = ("_draw", "attempts", "first", "jitter", "longest")

    def __init__(self, first: float, longest: float, jitter: float, draw: Callable[[], float] = random) -> None:
        self.first = first
        self.longest = longest
        self.jitter = jitter
        self.attempts = 0
        self._draw = draw

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        delay = self.first * 2.0 ** min(self.attempts, 500)
        self.attempts += 1
        if self.jitter:
            draw = self._draw()
            share = draw * self.jitter * delay
            delay += share if int(draw * 10) & 1 else -share
        return min(delay, self.longest)

    def reset(self) -> None:
        """Begin again."""
        self.attempts = 0
