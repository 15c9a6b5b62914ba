"""What SIGHUP means: somebody wants new workers, or the terminal has been closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


class Hangup:
    """Tells the two apart: a process whose terminal has been closed has none any more.

    Args:
        closed: called when the terminal has been closed; not if the process was started to outlive that (``nohup``).
        asked: called when somebody has sent the signal.
    """

    def __init__(self, closed: Callable[[], object], asked: Callable[[], object]) -> None:
        self._closed = closed
        self._asked = asked
        self._had_terminal = has_terminal()
        self._outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def received(self) -> None:
        """The signal has come."""
        if not self._had_terminal or has_terminal():
            self._asked()
            return
        self._had_terminal = False
        if not self._outlives:
            self._closed()


def has_terminal() -> bool:
    """Whether this process belongs to a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
