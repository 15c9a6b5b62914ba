"""The thread that a blocking client's loop runs in, and the threads of its handlers.

All are daemons: what a handler does, however long it takes, keeps no program from ending.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar
from weakref import WeakSet

from ..errors import SocketClosed, UsageError

logger = logging.getLogger("madang.client")

T = TypeVar("T")

MOST_THREADS: Final = 32
"""Handlers that may run at a time; the next ones wait."""

GRACE: Final = 3.0
"""Seconds that a close may take beyond what it gives to handlers, before a loop that does not answer is left behind."""

_CLOSED: Final = "the client was closed"


class HandlerThreads(ThreadPoolExecutor):
    """Threads that are made as they are needed; they are daemons, which those of the base class are not.

    The loop's default executor has to be of the base class, but of that nothing is used.
    """

    def __init__(self) -> None:
        super().__init__(MOST_THREADS, "madang handler")
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._count = 0
        self._free = 0
        self._behind = 0
        self._over = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a function in a thread."""
        future: Future[T] = Future()
        with self._guard:
            if self._over:
                raise RuntimeError(_CLOSED)
            if self._free:
                self._free -= 1
            elif self._count < MOST_THREADS:
                self._count += 1
                _HandlerThread(self, f"madang handler {self._count}").start()
            else:
                self._behind += 1
            self._work.put((future, lambda: fn(*args, **kwargs)))
        return future

    def serve(self) -> None:
        """What each thread does."""
        while (work := self._work.get()) is not None:
            future, function = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del work, future, function  # keep nothing alive while there is nothing to do
            with self._guard:
                if self._behind:
                    self._behind -= 1
                else:
                    self._free += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads that have nothing to do, and each of the others when it is done; never waits."""
        with self._guard:
            self._over = True
            count, self._count = self._count, 0
        for _ in range(count):
            self._work.put(None)


class _HandlerThread(threading.Thread):
    def __init__(self, threads: HandlerThreads, name: str) -> None:
        super().__init__(target=threads.serve, name=name, daemon=True)
        self.threads = threads


class LoopThread:
    """An event loop in a thread of its own.

    Every face of a blocking client holds it, and its thread does not: when the last face is gone, so is this object,
    and what was not closed is closed then.

    Args:
        close: makes a coroutine that closes the client, given the seconds that its handlers may still take.
    """

    def __init__(self, close: Callable[[float], Coroutine[Any, Any, None]]) -> None:
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._threads: HandlerThreads | None = None
        self._process = 0
        self._calls: set[Future[Any]] = set()
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether there is a loop that calls can be made in."""
        return self._loop is not None and self._process == os.getpid()

    def start(self) -> None:
        """Start it, unless it runs."""
        self.require_process()
        with self._lock:
            if self._loop is not None:
                return
            started: Future[asyncio.AbstractEventLoop] = Future()
            threads = HandlerThreads()
            arguments = (started, threads, self._calls)
            thread = threading.Thread(target=_run, args=arguments, name="madang client", daemon=True)
            thread.start()
            try:
                self._loop = started.result()
            except BaseException:  # an interrupt, perhaps
                started.add_done_callback(_stop_late)
                raise
            self._thread = thread
            self._threads = threads
            self._process = os.getpid()
            _running.add(self)

    def require_process(self) -> None:
        """Refuse what cannot work: a fork copies the client, but not its thread.

        Raises:
            UsageError: the client was connected before this process was forked from another.
        """
        if self._loop is not None and self._process != os.getpid():
            raise UsageError(
                "the client was connected before this process was forked, and its thread is in the other one; "
                "make a client in each process, after the fork"
            )

    def wait_for(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine in the loop, and wait for what it gives.

        Raises:
            UsageError: called in the loop itself, which would wait for itself, or after a fork.
            SocketClosed: there is no loop, or it is closed meanwhile.
        """
        future = self._begin(coroutine)
        try:
            return future.result(timeout)
        except CancelledError:
            raise SocketClosed(_CLOSED) from None
        except BaseException:
            future.cancel()
            raise
        finally:
            self._calls.discard(future)

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            self.require_process()
            if threading.current_thread() is self._thread:
                raise UsageError(
                    "a blocking call cannot be made in the client's own loop; use a plain function as handler"
                )
            with self._lock:
                if self._loop is None:
                    raise SocketClosed("the client is not connected; call connect() first")
                future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
                self._calls.add(future)
                return future
        except BaseException:
            coroutine.close()
            raise

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a plain function in the loop, and wait for what it gives; at once while there is no loop."""
        if self._loop is None or threading.current_thread() is self._thread:
            return function(*args)

        async def called() -> T:
            return function(*args)

        return self.wait_for(called())

    def close(self, timeout: float) -> None:
        """Close the client, and stop the loop and its threads; a handler that does not end is left behind.

        Raises:
            UsageError: called in the loop itself.
        """
        if not self.running:  # or it is another process's to close
            return
        if self._threads is not None and self._threads is getattr(threading.current_thread(), "threads", None):
            timeout = 0.0  # a handler would wait for itself
        try:
            with contextlib.suppress(SocketClosed):  # another thread has been faster
                self.wait_for(self._close(timeout), timeout + GRACE)
        except TimeoutError:
            logger.warning("something blocks the client's loop; its thread is left behind")
        except UsageError:
            raise
        except BaseException:
            self._stop()
            raise
        self._stop()

    def _forget(self) -> tuple[asyncio.AbstractEventLoop | None, threading.Thread | None]:
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        return loop, thread

    def _stop(self) -> None:
        """End the loop, with what other threads have begun in it since the client was closed.

        Whoever wants a new loop waits for that: the client is in one loop at a time.
        """
        with self._lock:
            loop, thread = self._forget()
            if loop is not None and thread is not None:
                with contextlib.suppress(RuntimeError):  # closed already
                    loop.call_soon_threadsafe(_close_and_stop, loop, self._close)
                thread.join(GRACE)

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        loop = self._loop
        if loop is None or self._process != os.getpid():
            return
        warn("a SyncClient was not closed; use with, or call close()", ResourceWarning, source=self)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_close_and_stop, loop, self._close)


_running: Final[WeakSet[LoopThread]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Send what was emitted, and say goodbye, before the program ends; it ends in any case."""
    for thread in tuple(_running):
        if thread.running:
            with contextlib.suppress(Exception):
                thread.close(0.0)


def _run(started: Future[asyncio.AbstractEventLoop], threads: HandlerThreads, calls: set[Future[Any]]) -> None:
    """What the thread does."""
    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            loop.set_default_executor(threads)
            loop.call_soon(started.set_result, loop)
            loop.run_forever()
            threads.shutdown()
    finally:
        for call in tuple(calls):  # what came too late, and was never begun
            call.cancel()


def _stop_late(started: Future[asyncio.AbstractEventLoop]) -> None:
    loop = started.result()
    loop.call_soon_threadsafe(loop.stop)


def _close_and_stop(loop: asyncio.AbstractEventLoop, close: Callable[[float], Coroutine[Any, Any, None]]) -> None:
    """In the loop: close what there is, for a bounded time, and end."""
    closing = loop.create_task(close(0.0))
    closing.add_done_callback(lambda _: loop.stop())
    loop.call_later(GRACE / 2, loop.stop)
