"""How tests wait for processes of others, which tell nobody what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 20.0
"""Seconds after which a process has failed."""

LOOK: Final = 0.01


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again whether a process is where it should be; `what` says what it has failed at if it is not."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(LOOK)
