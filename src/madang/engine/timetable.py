"""All deadlines of an engine on one timer.

Nearly every deadline here has a fixed delay: the next ping, the pong, the upgrade, the first CONNECT. So the deadlines
of one kind come due in the order in which they were set, and a `Lane` is an ordered table of them: adding, moving to
the end and removing cost the same for ten sessions as for a hundred thousand. A `Timetable` arms one timer, for the
earliest head of its lanes, and none at all while every lane is empty.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ..types import Clock, TimerHandle

logger = logging.getLogger("madang.engine")

K = TypeVar("K", bound=Hashable)


class Lane(Generic[K]):
    """Deadlines with one common delay; made by `Timetable.lane`."""

    __slots__ = ("_callback", "_due", "_timetable", "delay")

    def __init__(self, timetable: Timetable, delay: float, callback: Callable[[K], object]) -> None:
        self._timetable = timetable
        self._callback = callback
        self._due: OrderedDict[K, float] = OrderedDict()
        self.delay = delay

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        return key in self._due

    def add(self, key: K) -> None:
        """Call back for `key` after the lane's delay; a deadline it has already is moved."""
        due = self._due
        deadline = self._timetable.now() + self.delay
        due[key] = deadline
        due.move_to_end(key)
        if len(due) == 1:
            self._timetable.arm(deadline)

    def discard(self, key: K) -> None:
        """Forget the deadline of `key`, if it has one."""
        if self._due.pop(key, None) is not None and not self._due:
            self._timetable.relax()

    def clear(self) -> None:
        """Forget all deadlines."""
        self._due.clear()

    def head(self) -> float | None:
        """The earliest deadline, or None."""
        for deadline in self._due.values():
            return deadline
        return None

    def run_due(self, now: float) -> None:
        """Call back for all keys whose deadline has passed."""
        due = self._due
        while due:
            key, deadline = next(iter(due.items()))
            if deadline > now:
                return
            del due[key]
            try:
                self._callback(key)
            except Exception:  # one that fails must not take the other deadlines with it
                logger.exception("a deadline's callback failed")


class Timetable:
    """The lanes of one engine and their single timer."""

    __slots__ = ("_armed_for", "_clock", "_handle", "_lanes")

    def __init__(self) -> None:
        self._clock: Clock | None = None
        self._lanes: list[Lane[object]] = []
        self._handle: TimerHandle | None = None
        self._armed_for = 0.0

    def start(self, clock: Clock) -> None:
        """Use `clock` from now on; deadlines of an earlier clock are dropped."""
        if clock is not self._clock:
            self.stop()
            self._clock = clock

    def stop(self) -> None:
        """Drop all deadlines and the timer."""
        for lane in self._lanes:
            lane.clear()
        self._cancel()

    def lane(self, delay: float, callback: Callable[[K], object]) -> Lane[K]:
        """A new lane whose deadlines lie `delay` seconds ahead."""
        lane = Lane(self, delay, callback)
        self._lanes.append(lane)  # type: ignore[arg-type]
        return lane

    def now(self) -> float:
        """The clock's time in seconds."""
        assert self._clock is not None, "a host starts the engine before the first session"
        return self._clock.time()

    def arm(self, deadline: float) -> None:
        """See to it that the timer goes off by `deadline`."""
        if self._handle is not None:
            if self._armed_for <= deadline:
                return
            self._handle.cancel()
        assert self._clock is not None
        self._armed_for = deadline
        self._handle = self._clock.call_later(max(0.0, deadline - self._clock.time()), self._run)

    def relax(self) -> None:
        """Drop the timer if no lane needs it."""
        if self._handle is not None and not any(len(lane) for lane in self._lanes):
            self._cancel()

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        # a loop may call up to its clock's resolution early
        now = self.now() + 0.001
        try:
            for lane in self._lanes:
                lane.run_due(now)
        finally:
            heads = [head for lane in self._lanes if (head := lane.head()) is not None]
            if heads:
                self.arm(min(heads))
