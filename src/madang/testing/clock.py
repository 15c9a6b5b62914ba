"""A clock that jumps: time in an event loop stands still while anything is to be done, and jumps when nothing is.

It takes the place of two things of a running loop: of its `time`, and of the selector, which a loop asks to wait only
when nothing is ready to run. Instead of waiting for a timer, the time is set to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

from ..errors import UsageError


class Timeline:
    """The time of a loop that has, or had, a clock: it never goes back, so it stays when the clock has gone.

    Attributes:
        stands: whether time does not go on by itself.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._ahead = 0.0
        self._now = 0.0
        self.stands = False

    def time(self) -> float:
        """Seconds; the loop's `time`."""
        return self._now if self.stands else self._time() + self._ahead

    def stop(self) -> None:
        """Stand still."""
        self._now = self.time()
        self.stands = True

    def go_on(self) -> None:
        """Run as time does."""
        self._ahead = self._now - self._time()
        self.stands = False

    def jump(self, seconds: float) -> None:
        """Set a time that stands to a later one."""
        self._now += seconds


class _JumpingSelector:
    """A loop's selector that does not wait for what will not come.

    Args:
        selector: the loop's own.
        clock: whose jumps they are.
    """

    def __init__(self, selector: Any, clock: Clock) -> None:
        self.selector = selector
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.selector, name)

    def select(self, timeout: float | None = None) -> Any:
        """What is ready; if nothing is, let the clock jump."""
        if timeout is not None and timeout <= 0:
            return self.selector.select(timeout)
        events = self.selector.select(0)
        if events or self._clock.idle_now():
            return events
        if timeout is not None and self._clock.may_jump:
            self._clock.timeline.jump(timeout)
            return events
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> Any:
        """Wait as usual, which takes time on this clock as well."""
        begun = monotonic()
        events = self.selector.select(timeout)
        if self._clock.timeline.stands:
            passed = monotonic() - begun
            if timeout is not None:
                passed = min(passed, timeout) if events else timeout
            self._clock.timeline.jump(passed)
        return events


class Clock:
    """The time of the running loop, for a block; made by `madang.testing.clock`.

    Args:
        over_io: whether to jump although sockets or pipes are open in the loop. Default False: then time runs as usual
            while there are any.
    """

    def __init__(self, *, over_io: bool = False) -> None:
        self._over_io = over_io
        self._loop: Any = None
        self._began = 0.0
        self._holds = 0
        self._in_threads = 0
        self._own_files = 0
        self._executor_call: Any = None
        self._idle: list[asyncio.Future[None]] = []
        self.timeline = Timeline(monotonic)

    def __repr__(self) -> str:
        return f"<Clock {self.time():.3f} s>" if self._loop is not None else "<Clock stopped>"

    # its life

    def start(self) -> None:
        """Take over the time of the running loop.

        Raises:
            UsageError: the loop is none of asyncio's own, or has a clock already.
        """
        loop: Any = asyncio.get_running_loop()
        selector = getattr(loop, "_selector", None)
        if self._loop is not None or isinstance(selector, _JumpingSelector):
            raise UsageError("a clock runs in this loop already; stop it first")
        if not is_selector_loop(loop):
            raise UsageError(
                f"a clock needs asyncio's own SelectorEventLoop, not {type(loop).__module__}.{type(loop).__name__}; "
                "let the tests run without uvloop, for example by the event_loop_policy of pytest-asyncio"
            )
        known = getattr(loop.time, "__self__", None)
        self.timeline = known if isinstance(known, Timeline) else Timeline(loop.time)
        self.timeline.stop()
        self._began = self.timeline.time()
        self._own_files = 1  # by which threads and signals wake the loop
        self._loop = loop
        loop.time = self.timeline.time
        loop._selector = _JumpingSelector(selector, self)
        self._executor_call = loop.run_in_executor
        loop.run_in_executor = self._run_in_executor

    def stop(self) -> None:
        """Let time run as usual from now on; nothing if the clock is not running."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop._selector = loop._selector.selector
        del loop.run_in_executor
        self.timeline.go_on()

    def __enter__(self) -> Clock:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # its time

    def time(self) -> float:
        """Seconds since the clock was started."""
        return self.timeline.time() - self._began

    async def advance(self, seconds: float) -> None:
        """Let time pass: all that is due goes off in its order, and what follows has been done when this returns.

        Args:
            seconds: how long; 0 lets only be done what can be done now.

        Raises:
            UsageError: the clock is not running, or cannot jump since sockets or pipes are open.
        """
        self._require_jumps(seconds)
        if seconds:
            await asyncio.sleep(seconds)
        idle: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(idle)
        await idle

    def _require_jumps(self, seconds: float) -> None:
        if self._loop is None or asyncio.get_running_loop() is not self._loop:
            raise UsageError("the clock does not run in this loop; use it as `with madang.testing.clock() as clock:`")
        if not seconds >= 0:
            raise UsageError(f"time cannot go back: advance() takes seconds, not {seconds!r}")
        if seconds and self._files and not self._over_io and not self._holds:
            raise UsageError(
                f"the clock does not jump over what may come on {self._files} open sockets or pipes of this loop; "
                "close them, or use madang.testing.clock(over_io=True)"
            )

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Let time run as usual within the block."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    # what the selector asks

    @property
    def _files(self) -> int:
        """How many sockets and pipes are open in the loop."""
        return len(self._loop._selector.get_map()) - self._own_files

    @property
    def may_jump(self) -> bool:
        """Whether nothing can come from outside the loop."""
        return not self._holds and not self._in_threads and (self._over_io or not self._files)

    def idle_now(self) -> bool:
        """Nothing can be done now; whether somebody has waited for that."""
        idle, self._idle = self._idle, []
        for future in idle:
            if not future.done():
                future.set_result(None)
        return bool(idle)

    def _run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._executor_call(executor, function, *args)
        self._in_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._in_threads -= 1


def is_selector_loop(loop: Any) -> bool:
    """Whether a loop is asyncio's own, the kind whose parts a clock can exchange."""
    return isinstance(loop, asyncio.SelectorEventLoop)


def clock(*, over_io: bool = False) -> Clock:
    """A clock for the running loop, for ``with``.

    ::

        with madang.testing.clock() as clock:
            await clock.advance(30)

    Args:
        over_io: whether to jump although sockets or pipes are open in the loop. Default False.
    """
    return Clock(over_io=over_io)
