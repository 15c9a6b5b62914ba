"""Running coroutines without a task for those that never wait; and owning those that do.

`Tasks.start` runs a coroutine's first step at once, in the caller's turn, and only what then still waits becomes a
task. Python 3.12 has eager tasks for this. On 3.11 the same comes from a parked task: it is entered for the first step,
so that `asyncio.current_task`, `asyncio.timeout` and task groups work there, and takes the coroutine over if that
waits. One that was not needed is used again.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine, Generator
from typing import Any, Final

Coro = Coroutine[Any, Any, object]

FAILURES: Final = (Exception, asyncio.CancelledError)
"""What the user's code may raise. A CancelledError that nobody asked for is a failure like any other."""


def raise_if_cancelled(error: BaseException) -> None:
    """Raise `error` if it is the cancellation of the running task, which nothing may swallow."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error


class Tasks:
    """The coroutines of one owner that have been started and not finished."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coro) -> asyncio.Task[Any] | None:
        """Run `coroutine` up to where it first waits; the task that goes on with it, or None if it has finished.

        An exception in the first step is raised here; a later one is the task's.
        """
        task = start_eagerly(coroutine)
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return task

    def start_simple(self, coroutine: Coro) -> asyncio.Task[Any] | None:
        """Like `start`, in less time, for a coroutine that does not ask which task it runs in before it first waits."""
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return None
        task = asyncio.get_running_loop().create_task(_Resumed(coroutine, waits_for))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def own(self, task: asyncio.Task[Any]) -> None:
        """Take care of a task that was started elsewhere."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        """Cancel all of them, without waiting for that."""
        for task in tuple(self._running):
            task.cancel("its owner is closing")

    async def ended(self) -> None:
        """Wait for all of them, and for those that they start meanwhile."""
        while pending := self._others():
            await asyncio.wait(pending)

    def running(self) -> list[Any]:
        """The coroutines that wait, as they were started."""
        return [_started_as(task.get_coro()) for task in self._others()]

    async def finish(self, timeout: float) -> None:
        """Wait for all of them, for `timeout` seconds; then cancel what is left and wait for that."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (pending := self._others()) and (left := deadline - loop.time()) > 0:
            await asyncio.wait(pending, timeout=left)  # one that ends may start another
        for task in pending:
            task.cancel("its owner is closing")
        if pending:
            await asyncio.wait(pending, timeout=1.0)

    def _others(self) -> set[asyncio.Task[Any]]:
        current = asyncio.current_task()
        return {task for task in self._running if task is not current}


def _started_as(coroutine: Any) -> Any:
    """The coroutine that a task was made for: `_Resumed` and `_Parked` go on with another."""
    return getattr(coroutine, "coroutine", coroutine)


class _Resumed(Coroutine[Any, Any, Any]):
    """A coroutine whose first step has been run, as a task is to go on with it."""

    __slots__ = ("_waits_for", "coroutine")

    def __init__(self, coroutine: Coro, waits_for: Any) -> None:
        self.coroutine = coroutine
        self._waits_for = waits_for

    def send(self, value: Any) -> Any:
        """The task's next step."""
        if self._waits_for is not None:
            waits_for, self._waits_for = self._waits_for, None
            return waits_for
        return self.coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """The task's next step after what it waited for failed, or after it was cancelled."""
        self._waits_for = None
        return self.coroutine.throw(*error)

    def close(self) -> None:
        """The task is dropped."""
        self.coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError


if sys.version_info >= (3, 12):

    def start_eagerly(coroutine: Coro) -> asyncio.Task[Any] | None:
        """See `Tasks.start`."""
        task = asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
        if task.done():
            task.result()
            return None
        return task

else:
    from asyncio import tasks as _asyncio_tasks

    class _Parked(Coroutine[Any, Any, Any]):
        """What a task runs that waits to take over a coroutine whose first step has been run in its name."""

        __slots__ = ("context", "coroutine", "loop", "pristine", "task", "waits_for", "wake")

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.coroutine: Coro | None = None
            self.waits_for: Any = None
            self.wake: asyncio.Future[None] | None = None
            self.loop = loop
            self.context = contextvars.copy_context()
            self.pristine = self.context.copy()
            self.task: asyncio.Task[Any] = loop.create_task(self, context=self.context)
            # it is nobody's business until it has work
            self.task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore
            _asyncio_tasks._unregister_task(self.task)

        def take_over(self, coroutine: Coro, waits_for: Any) -> asyncio.Task[Any]:
            """Go on with `coroutine`, which waits for `waits_for`."""
            self.coroutine = coroutine
            self.waits_for = waits_for
            task = self.task
            del self.task  # no cycle
            _asyncio_tasks._register_task(task)
            if self.wake is not None:
                self.wake.set_result(None)
            return task

        def send(self, value: Any) -> Any:
            """The task's next step."""
            if self.coroutine is None:
                self.wake = self.loop.create_future()
                self.wake._asyncio_future_blocking = True
                return self.wake
            if self.waits_for is not None:
                waits_for, self.waits_for = self.waits_for, None
                return waits_for
            return self.coroutine.send(value)

        def throw(self, *error: Any) -> Any:
            """The task's next step after what it waited for failed, or after it was cancelled."""
            self.waits_for = None
            if self.coroutine is None:
                raise error[0]
            return self.coroutine.throw(*error)

        def close(self) -> None:
            """The task is dropped."""
            if self.coroutine is not None:
                self.coroutine.close()

        def __await__(self) -> Generator[Any, Any, Any]:
            raise NotImplementedError

    _spare: dict[asyncio.AbstractEventLoop, list[_Parked]] = {}
    _SPARE_LIMIT = 4

    def start_eagerly(coroutine: Coro) -> asyncio.Task[Any] | None:
        """See `Tasks.start`."""
        loop = asyncio.get_running_loop()
        spare = _spare.get(loop)
        if spare is None:
            for closed in [known for known in _spare if known.is_closed()]:
                del _spare[closed]
            spare = _spare[loop] = []
        parked = spare.pop() if spare else _Parked(loop)
        if parked.pristine != contextvars.copy_context():
            parked.task.cancel()  # it was made in another context, perhaps for another client's request
            parked = _Parked(loop)
        current = asyncio.current_task(loop)
        if current is not None:
            _asyncio_tasks._leave_task(loop, current)
        _asyncio_tasks._enter_task(loop, parked.task)
        try:
            waits_for = parked.context.run(coroutine.send, None)
        except StopIteration:
            if parked.context == parked.pristine and not parked.task.cancelling() and len(spare) < _SPARE_LIMIT:
                spare.append(parked)
            else:
                parked.task.cancel()
            return None
        except BaseException:
            parked.task.cancel()
            raise
        finally:
            _asyncio_tasks._leave_task(loop, parked.task)
            if current is not None:
                _asyncio_tasks._enter_task(loop, current)
        return parked.take_over(coroutine, waits_for)
