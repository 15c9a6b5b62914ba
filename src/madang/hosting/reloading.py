"""Watching the source files, for ``reload``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

_EVERY: Final = 0.3
"""Seconds between two looks."""

_NOT_WATCHED: Final = frozenset((".git", ".venv", "venv", "__pycache__", "node_modules"))


async def changes(folder: Path | None = None) -> AsyncIterator[None]:
    """Give something each time that Python files below a folder have changed.

    Args:
        folder: what is watched. Default: the current one.
    """
    place = folder or Path.cwd()
    known = await asyncio.to_thread(_stamps, place)
    while True:
        await asyncio.sleep(_EVERY)
        found = await asyncio.to_thread(_stamps, place)
        if found != known:
            known = found
            yield


def _stamps(place: Path) -> dict[str, tuple[int, int]]:
    """When each file was written, and how large it is."""
    stamps: dict[str, tuple[int, int]] = {}
    for here, folders, files in os.walk(place):
        folders[:] = [name for name in folders if name not in _NOT_WATCHED and not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(here, name)
                try:
                    found = os.stat(path)
                except OSError:
                    continue
                stamps[path] = (found.st_mtime_ns, found.st_size)
    return stamps
