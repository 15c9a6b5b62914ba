"""The way out: text for a file descriptor, written by a thread, so that a slow reader never holds up the heartbeat."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, Protocol

FULL: Final = 1_000_000
"""Characters that may wait to be written before those who write have to wait."""


class Way(Protocol):
    """Where lines go: standard output, or the part of a terminal above what is being typed."""

    def put(self, text: str) -> None:
        """Write a line, which may be several; never waits."""
        ...

    async def room(self) -> None:
        """Wait until not too much waits to be written."""
        ...

    async def flushed(self) -> None:
        """Wait until everything has been written."""
        ...


class Waiting:
    """How much waits to be written, for those who have to wait for it."""

    def __init__(self) -> None:
        self._characters = 0
        self._changed: asyncio.Event = asyncio.Event()

    def more(self, characters: int) -> None:
        """So many characters are to be written."""
        self._characters += characters

    def less(self, characters: int) -> None:
        """So many have been."""
        self._characters -= characters
        self._changed.set()

    def nothing(self) -> None:
        """Nothing will be written any more."""
        self._characters = 0
        self._changed.set()

    async def at_most(self, characters: int) -> None:
        """Wait until not more than so many characters wait."""
        while self._characters > characters:
            self._changed.clear()
            await self._changed.wait()


class Outlet:
    """Writes lines to a file descriptor. Made in a running loop.

    The thread is a daemon and holds no lock of Python's streams, so that neither an unread pipe nor a stopped terminal
    can keep the process from ending.

    Args:
        descriptor: where to write.
        encoding: how.

    Attributes:
        closed: set when whoever read the other end has gone.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self.closed = asyncio.Event()
        self._descriptor = descriptor
        self._encoding = encoding
        self._loop = asyncio.get_running_loop()
        self._waiting = Waiting()
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._watched = _watch(self._loop, descriptor, self._reader_gone)
        threading.Thread(target=self._write_all, name="madang-output", daemon=True).start()

    def put(self, text: str) -> None:
        """Write a line; never waits."""
        if not self.closed.is_set():
            self._waiting.more(len(text))
            self._queue.put(text)

    async def room(self) -> None:
        """Wait until not too much waits to be written."""
        await self._waiting.at_most(FULL)

    async def flushed(self) -> None:
        """Wait until everything has been written."""
        await self._waiting.at_most(0)

    def close(self) -> None:
        """Watch the other end no longer."""
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._descriptor)

    def _reader_gone(self) -> None:
        self.close()
        self.closed.set()
        self._waiting.nothing()

    def _write_all(self) -> None:
        """The thread."""
        while True:
            texts = [self._queue.get()]
            while not self._queue.empty() and len(texts) < 1000:
                texts.append(self._queue.get())
            data = memoryview("".join(f"{text}\n" for text in texts).encode(self._encoding, "backslashreplace"))
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._tell(self._reader_gone)
                return
            self._tell(self._waiting.less, sum(map(len, texts)))

    def _tell(self, function: object, *args: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]  # pyright: ignore


def standard_output() -> Outlet:
    """The outlet for standard output; to programs it speaks UTF-8, whatever the locale."""
    encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
    return Outlet(sys.stdout.fileno(), encoding)


def _watch(loop: asyncio.AbstractEventLoop, descriptor: int, gone: object) -> bool:
    """Call `gone` when the reader of a pipe has closed it, even while nothing is written; whether that can be seen."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return False
        loop.add_reader(descriptor, gone)  # type: ignore[arg-type]  # pyright: ignore
    except (NotImplementedError, OSError, ValueError):
        return False
    return True
