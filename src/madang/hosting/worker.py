"""One of several workers: what the supervisor has told this process, and what it tells back."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "MADANG_WORKER"
"""The environment variable in which a worker finds its `Assignment`."""

READY: Final = b"ready\n"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told.

    Attributes:
        number: which worker it is, among all that live.
        listener: the descriptor of the socket that it accepts connections from.
        control: the descriptor of its line to the supervisor.
        folder: where the workers' local sockets are.
        supervisor: the supervisor's process.
    """

    number: int
    listener: int
    control: int
    folder: str
    supervisor: int

    def environment(self) -> dict[str, str]:
        """The variable that hands it to a new process."""
        return {VARIABLE: json.dumps(asdict(self))}

    @property
    def place(self) -> Path:
        """`folder` as a path."""
        return Path(self.folder)


def assignment() -> Assignment | None:
    """What the supervisor has told this process, once; None for a process that is no worker."""
    told = os.environ.pop(VARIABLE, None)  # not for processes that the application starts
    if told is None:
        return None
    found = Assignment(**json.loads(told))
    if os.getppid() != found.supervisor and not _is_socket(found.control):
        return None  # a worker has started this process before it served, and the variable was handed down
    for descriptor in (found.listener, found.control):
        os.set_inheritable(descriptor, False)
    return found


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


class Line:
    """A worker's line to its supervisor, which ends with the supervisor.

    Args:
        descriptor: of the socket.
        ended: called when the supervisor has gone.

    Attributes:
        alone: whether it has gone.
    """

    def __init__(self, descriptor: int, ended: Callable[[], object]) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._ended = ended
        self.alone = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def ready(self) -> None:
        """Tell that this worker accepts connections."""
        with suppress(OSError):
            self._socket.send(READY)

    def _readable(self) -> None:
        with suppress(BlockingIOError, InterruptedError):
            if not self._socket.recv(1024):
                self._loop.remove_reader(self._socket.fileno())
                self.alone = True
                self._ended()

    def close(self) -> None:
        """Hang up."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
