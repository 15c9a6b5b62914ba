"""A session whose lines come from standard input: a pipe, a file, or a terminal without prompt_toolkit."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final

from .commands import Quit, obey
from .session import Session

_AHEAD: Final = 100
"""Lines that may be read ahead."""

_LONGEST: Final = 16 * 1024 * 1024
"""Characters that a line may have; what goes on longer is cut there."""


async def converse(session: Session, *, in_turn: bool) -> None:
    """Obey the lines of standard input, to its end.

    Args:
        session: the session.
        in_turn: whether each line has to be over and done with before the next.
    """
    try:
        async for line in _lines():
            obey(session, line)
            if in_turn:
                await session.settle()
    except Quit:
        pass
    await session.settle()
    if in_turn:
        await session.send_rest()


async def _lines() -> AsyncIterator[str]:
    """The lines, read by a thread that cannot keep the process from ending."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(_AHEAD)
    threading.Thread(target=_read, args=(loop, queue, sys.stdin.fileno()), name="madang-input", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


def _read(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[str | None], descriptor: int) -> None:
    """The thread; it takes no lock of Python's streams, so it may stand where it is when the process ends."""

    def give(line: str | None) -> None:
        work: Coroutine[Any, Any, None] = queue.put(line)
        try:
            asyncio.run_coroutine_threadsafe(work, loop).result()
        except (RuntimeError, CancelledError):  # the loop is being closed, or has been
            work.close()
            raise SystemExit from None

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    begun = ""
    with suppress(OSError):
        while data := os.read(descriptor, 65536):
            *whole, begun = (begun + decoder.decode(data)).split("\n")
            for line in whole:
                give(line)
            begun = begun[:_LONGEST]
    if begun:
        give(begun)
    give(None)
