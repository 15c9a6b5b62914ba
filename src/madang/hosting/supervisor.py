"""Several workers behind one port: starts them, replaces those that die, and exchanges them one by one.

A worker is this very program run again (its command line stays the same), with an environment variable that makes
`run` serve in it. The supervisor opens the port once for each worker (``SO_REUSEPORT``, so that the kernel spreads the
connections) and keeps all of it open: what is in the queue of a worker that dies waits there for the one that
follows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from sys import platform
from typing import Any, Final

from ..errors import MadangError, OptionError
from .handover import WORKERS_LIMIT
from .hangup import Hangup
from .worker import READY, Assignment

logger = logging.getLogger("madang.hosting")

SPREADS: Final = platform == "linux"
"""Whether the kernel spreads connections among the sockets of one port, as ``SO_REUSEPORT`` does on Linux alone."""

START_WITHIN: Final = 60.0
"""Seconds that a worker may take until it accepts connections."""

STOP_WITHIN: Final = 30.0
"""Seconds that a worker may take to end, beyond those in which it drains."""

_SHORT_LIFE: Final = 5.0
"""Seconds; a worker that has not lived so long is replaced later and later."""

_LONGEST_DELAY: Final = 10.0


class WorkerFailed(MadangError):
    """A worker has ended before it accepted connections."""


@dataclass(eq=False, slots=True)
class _Worker:
    """A process.

    Attributes:
        number: among all that live.
        place: which of the listeners it accepts from.
        process: the process.
        line: to it.
        ready: done when it accepts connections, or will not.
        begun: when it was started, by the loop's clock.
        leaving: whether it has been told to end.
    """

    number: int
    place: int
    process: asyncio.subprocess.Process
    line: socket.socket
    ready: asyncio.Task[bool]
    begun: float
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Supervised:
    """Where the workers listen; see `madang.engine.host.Running`."""

    url: str
    host: str
    port: int


def supervise(
    listen: Callable[[int], socket.socket],
    url: Callable[[socket.socket], str],
    workers: int,
    *,
    drain: float,
    watch: Any = None,
    on_start: Callable[[Any], object] | None = None,
) -> None:
    """Serve with several workers until Ctrl-C or SIGTERM; SIGHUP exchanges them one by one.

    Args:
        listen: makes a listening socket for a port, such as that which an earlier one got.
        url: names what a socket listens on.
        workers: how many.
        drain: seconds in which a worker that ends sends its clients away.
        watch: an asynchronous iterator that gives something whenever files have changed, or None.
        on_start: called with a `Supervised` when all accept connections.

    Raises:
        OptionError: not so many workers, or not on this system.
    """
    given: Any = workers
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given < WORKERS_LIMIT // 2:
        raise OptionError(f"workers must be a number from 1 to {WORKERS_LIMIT // 2 - 1}, not {workers!r}")
    if not hasattr(socket, "send_fds"):
        raise OptionError("several workers hand connections to one another, which this system does not offer")
    command = _command()
    asyncio.run(Supervisor(listen, url, workers, command, drain).run(watch, on_start))


def _command() -> list[str]:
    """This program's own command line."""
    arguments = sys.orig_argv[1:]
    program = getattr(sys.modules["__main__"], "__file__", None)  # told by nobody who types, pipes or has ``-c``
    if program is None or program == "<stdin>":
        raise OptionError("several workers run your program again, so it must be a file or module: python server.py")
    return [sys.executable, *arguments]


class Supervisor:
    """See `supervise`."""

    def __init__(
        self,
        listen: Callable[[int], socket.socket],
        url: Callable[[socket.socket], str],
        workers: int,
        command: list[str],
        drain: float,
    ) -> None:
        self._listen = listen
        self._url = url
        self._count = workers
        self._command = command
        self._drain = drain
        self._folder = Path()
        self._listeners: list[socket.socket] = []
        self._workers: dict[int, _Worker] = {}
        self._starting: dict[int, int] = {}  # the places of those that have a number and no process yet
        self._watchers: set[asyncio.Task[None]] = set()
        self._exchange: asyncio.Task[None] | None = None
        self._exchange_again = False
        self._serving = False
        self._stopping = asyncio.Event()
        self._failures = [0] * workers

    async def run(self, watch: Any, on_start: Callable[[Any], object] | None) -> None:
        """Do all of it."""
        self._folder = Path(tempfile.mkdtemp(prefix="madang-"))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        hangup = Hangup(self._stop, self.exchange)
        loop.add_signal_handler(signal.SIGHUP, hangup.received)
        watching: asyncio.Task[None] | None = None
        try:
            self._open()
            first = [await self._start(place) for place in range(self._count)]
            await self._all_ready(first)
            if not self._stopping.is_set():
                self._serving = True
                for place in range(self._count):  # one may have ended while the others were awaited
                    await self._fill(place)
                if on_start is not None:
                    on_start(Supervised(self._url(self._listeners[0]), *address_of(self._listeners[0])))
                if watch is not None:
                    watching = asyncio.create_task(self._watch(watch))
                if self._exchange_again:
                    self.exchange()
                await self._stopping.wait()
        finally:
            if watching is not None:
                watching.cancel()
            await self._end()

    def _open(self) -> None:
        port = 0
        for place in range(self._count):
            if place and (not SPREADS or not port):
                break
            listener = self._listen(port)
            self._listeners.append(listener)
            listener.listen(2048)
            if listener.family != socket.AF_UNIX:  # of these there is one, from which all workers accept
                port = listener.getsockname()[1]

    def _stop(self) -> None:
        if self._stopping.is_set():  # a second Ctrl-C does not wait
            for worker in self._workers.values():
                with suppress(ProcessLookupError):
                    worker.process.kill()
        self._stopping.set()

    # one worker

    async def _start(self, place: int) -> _Worker:
        """Start a worker that accepts from a listener."""
        taken = (*self._workers, *self._starting)
        number = next(number for number in count() if number not in taken)
        self._starting[number] = place
        try:
            process, line = await self._spawn(number, self._listeners[place % len(self._listeners)])
        finally:
            del self._starting[number]
        loop = asyncio.get_running_loop()
        worker = _Worker(number, place, process, line, loop.create_task(_is_ready(line)), loop.time())
        self._workers[number] = worker
        watcher = loop.create_task(self._see_to(worker))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if self._stopping.is_set():  # the others have been told meanwhile
            self._tell(worker, signal.SIGTERM)
        return worker

    async def _spawn(self, number: int, listener: socket.socket) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """A new process, and the line to it."""
        ours, theirs = socket.socketpair()
        told = Assignment(number, listener.fileno(), theirs.fileno(), str(self._folder), os.getpid())
        with suppress(FileNotFoundError):
            (self._folder / str(number)).unlink()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=os.environ | told.environment(),
                pass_fds=(told.listener, told.control),
                start_new_session=True,  # the terminal's Ctrl-C is for the supervisor, which tells the workers
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return process, ours

    async def _all_ready(self, workers: list[_Worker]) -> None:
        """Wait until these accept connections, or until it is to stop.

        Raises:
            WorkerFailed: one does not.
        """
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            for worker in workers:
                waiting = (worker.ready, stopping)
                await asyncio.wait(waiting, timeout=START_WITHIN, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return
                if not worker.ready.done() or not worker.ready.result():
                    raise WorkerFailed(f"a worker did not start (process {worker.process.pid}); see what it said above")
        finally:
            stopping.cancel()

    async def _see_to(self, worker: _Worker) -> None:
        """Wait for a worker's end, and replace it if it was not told to end."""
        status = await worker.process.wait()
        with suppress(OSError):
            worker.line.shutdown(socket.SHUT_RDWR)  # a process that it has forked may hold the other end
        await worker.ready
        worker.line.close()
        del self._workers[worker.number]
        with suppress(FileNotFoundError):
            (self._folder / str(worker.number)).unlink()
        if worker.leaving or self._stopping.is_set():
            return
        if not self._serving:
            return  # not all have ever started: `run` says so
        logger.error("worker %d (process %d) has ended with status %s", worker.number, worker.process.pid, status)
        await self._replace(worker)

    async def _replace(self, worker: _Worker) -> None:
        place = worker.place
        lived = asyncio.get_running_loop().time() - worker.begun
        failures = self._failures[place] = 0 if lived > _SHORT_LIFE else self._failures[place] + 1
        if failures > 1:
            delay = min(0.25 * 2.0 ** min(failures, 10), _LONGEST_DELAY)
            await self._pause(delay)
        await self._fill(place)

    async def _fill(self, place: int) -> None:
        """Start a worker for a place that has none, however often that fails."""
        while not self._stopping.is_set() and self._holder(place) is None and place not in self._starting.values():
            try:
                worker = await self._start(place)
                asyncio.get_running_loop().call_later(START_WITHIN, self._give_up, worker)
            except OSError as error:  # no process can be had at present
                logger.error("a worker could not be started: %s", error)
                await self._pause(1.0)

    def _give_up(self, worker: _Worker) -> None:
        """End one that should accept connections by now; another follows."""
        if not worker.ready.done() and not worker.leaving:
            logger.error("worker %d (process %d) does not start; it is killed", worker.number, worker.process.pid)
            with suppress(ProcessLookupError):
                worker.process.kill()

    def _holder(self, place: int) -> _Worker | None:
        """The worker of a place; one that has been told to end is none any more."""
        return next((one for one in self._workers.values() if one.place == place and not one.leaving), None)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when it is to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    # all workers

    def exchange(self) -> None:
        """Replace all workers, one by one: each is told to end when the next one accepts connections."""
        if not self._serving or (self._exchange is not None and not self._exchange.done()):
            self._exchange_again = True
            return
        self._exchange = asyncio.create_task(self._exchange_all())

    async def _exchange_all(self) -> None:
        again = True
        while again and not self._stopping.is_set():
            self._exchange_again = False
            logger.info("exchanging %d workers", self._count)
            for place in range(self._count):
                if not await self._exchange_one(place):
                    break
            again = self._exchange_again

    async def _exchange_one(self, place: int) -> bool:
        """Replace the worker of a place; False if it stays."""
        old = self._holder(place)
        if old is None or self._stopping.is_set():  # it has died, and is replaced already
            return True
        new: _Worker | None = None
        try:
            new = await self._start(place)
            await self._all_ready([new])
        except (WorkerFailed, OSError) as error:
            logger.error("the workers stay as they are: %s", error)
            if new is not None:
                self._tell(new, signal.SIGKILL)
            await self._fill(place)  # the old one may have died meanwhile, and relied on the new one
            return False
        self._tell(old, signal.SIGTERM)
        return True

    async def _watch(self, watch: Any) -> None:
        async for _ in watch:
            self.exchange()

    def _tell(self, worker: _Worker, number: int) -> None:
        worker.leaving = True
        with suppress(ProcessLookupError):
            worker.process.send_signal(number)

    async def _end(self) -> None:
        """Tell all to end, wait for it, and leave nothing behind."""
        self._stopping.set()
        for worker in self._workers.values():
            self._tell(worker, signal.SIGTERM)
        for listener in self._listeners:
            listener.close()  # as a single server does at once: nobody accepts from them any more
        if self._exchange is not None:
            self._exchange.cancel()
            await asyncio.wait((self._exchange,))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain + STOP_WITHIN
        while self._watchers and (left := deadline - loop.time()) > 0:
            await asyncio.wait(self._watchers, timeout=left)
        while self._watchers:
            for worker in self._workers.values():
                logger.error("worker %d (process %d) does not end; it is killed", worker.number, worker.process.pid)
                self._tell(worker, signal.SIGKILL)
            await asyncio.wait(self._watchers)
        shutil.rmtree(self._folder, ignore_errors=True)


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Host and port that a socket listens on; its path and 0 if it is a Unix socket."""
    name: Any = listener.getsockname()
    return (name, 0) if isinstance(name, str) else (name[0], name[1])


async def _is_ready(line: socket.socket) -> bool:
    """Whether a worker says that it is ready, before it ends."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while heard := await loop.sock_recv(line, 1024):
            if heard == READY:
                return True
    return False
