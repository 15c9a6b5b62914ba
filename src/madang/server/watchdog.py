"""What holds the event loop: a thread looks whether it still answers, and tells which handler it is in if not."""

from __future__ import annotations

import asyncio
import linecache
import logging
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from ..events.signature import plain_function

if TYPE_CHECKING:
    from .namespace import Namespace

logger = logging.getLogger("madang.watchdog")

_OURS: Final = str(Path(__file__).resolve().parent.parent)
_LOOP: Final = str(Path(asyncio.__file__).resolve().parent)
_INSTALLED: Final = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Where code is that is not the program's own."""

_RUNS: Final = frozenset(("run_forever", "_run_once", "_run", "run", "run_until_complete"))
"""asyncio's functions that call what is to be done in the loop."""

STILL: Final = 5.0
"""Seconds after which a loop that is still held is told of, before it is over."""

Known = Callable[[], Mapping[CodeType, tuple[str, str]]]


def handlers_by_code(namespaces: Iterable[Namespace[Any]]) -> dict[CodeType, tuple[str, str]]:
    """Event and namespace of each handler's code."""
    found: dict[CodeType, tuple[str, str]] = {}
    for namespace in list(namespaces):
        for event in list(namespace.handlers):
            for handler in list(namespace.handlers.get(event)):
                code = getattr(plain_function(handler.original), "__code__", None)
                if code is not None:
                    found[code] = (str(event), namespace.name)
    return found


class Watchdog:
    """Asks the loop again and again whether it answers, from a thread of its own.

    Args:
        loop: the loop, in its own thread.
        limit: seconds in which it must answer.
        known: names the handlers, by their code; called when there is something to tell.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float, known: Known) -> None:
        self.loop = loop
        self._limit = limit
        self._known = known
        self._watched = threading.get_ident()
        self._answered = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look; nothing if it does already."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name="madang watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._answered.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(1.0)

    def _run(self) -> None:
        while not self._stopped.wait(self._limit / 2):
            self._answered.clear()
            begun = monotonic()
            try:
                self.loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop was closed, and nobody has told us
                return
            if not self._answered.wait(self._limit):
                where = self._where()
                if not self._answered.wait(STILL):
                    logger.warning("%s holds the event loop for %.1f s, and still does", where, monotonic() - begun)
                    self._answered.wait()
                if not self._stopped.is_set():
                    logger.warning(
                        "%s held the event loop for %.2f s, in which no client was served; move what takes so long "
                        "into a thread (thread=True, asyncio.to_thread) or another process",
                        where,
                        monotonic() - begun,
                    )

    def _where(self) -> str:
        """Which handler the loop is in, as far as that can be seen, and the line."""
        frames: list[FrameType] = []
        frame = sys._current_frames().get(self._watched)  # pyright: ignore[reportPrivateUsage]
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        inside = [one for one in _since_the_loop(frames) if not _is_library(one)]
        if not inside:
            return "something in a library"
        known = self._known()
        told = next((one for one in inside if one.f_code in known), inside[-1])
        innermost = next((one for one in inside if not one.f_code.co_filename.startswith(_INSTALLED)), inside[0])
        text = f"{told.f_code.co_qualname} ({_place(told)})"
        if told.f_code in known:
            event, namespace = known[told.f_code]
            text = f"the handler of {event!r} in {namespace}, {text},"
        line = linecache.getline(innermost.f_code.co_filename, innermost.f_lineno).strip()
        return f"{text} at {_place(innermost)}: {line}," if line else text


def _since_the_loop(frames: list[FrameType]) -> list[FrameType]:
    """Of frames from the innermost on, those that the loop has called."""
    for index, frame in enumerate(frames):
        if frame.f_code.co_name in _RUNS and frame.f_code.co_filename.startswith(_LOOP):
            return frames[:index]
    return frames


def _is_library(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith((_OURS, _LOOP))


def _place(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
