"""A clock that stands still until a test moves it; it fits wherever the engine takes one."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any


class Timer:
    """See `ManualClock.call_later`."""

    def __init__(self, due: float, call: Callable[[], object]) -> None:
        self.due = due
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Time that passes only in `advance`, and turns that happen only in `turn`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._soon: deque[Callable[[], object]] = deque()
        self._counter = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(self.now + delay, lambda: callback(*args))
        heapq.heappush(self._timers, (timer.due, next(self._counter), timer))
        return timer

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._soon.append(lambda: callback(*args))

    @property
    def timers(self) -> list[float]:
        """How many seconds away each armed timer is."""
        return sorted(timer.due - self.now for _, _, timer in self._timers if not timer.cancelled)

    def turn(self) -> None:
        """Run what was to run soon, and what that asks for."""
        while self._soon:
            self._soon.popleft()()

    def advance(self, seconds: float) -> None:
        """Let time pass; each timer goes off at its own moment, and turns happen between them."""
        end = self.now + seconds
        self.turn()
        while self._timers and self._timers[0][0] <= end + 1e-9:
            due, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.now = max(self.now, due)
                timer.call()
                self.turn()
        self.now = end
