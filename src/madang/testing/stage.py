"""A server under test: what its clients share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from ..errors import SocketClosed
from ..hosting.runtime import started
from ..server.server import Server

_MADANG: Final = str(Path(__file__).parents[1])

_CALM: Final = 16
"""Turns of the loop in which nothing has moved, after which nothing will by itself."""

_TURNS: Final = 20_000
"""Turns after which it is given up to wait for that."""

_PATIENCE: Final = 1.0
"""Seconds that handlers have to end once the last client has left."""


class Failure(NamedTuple):
    """What a handler has raised.

    Attributes:
        error: the exception.
        socket: whose handler it was: a `Socket` of the server, or the client; None if it was nobody's.
        event: the name of the event.
    """

    error: BaseException
    socket: Any
    event: str | int


class Stage:
    """A server, for as long as it has clients in memory.

    Attributes:
        failures: what handlers have raised and nobody has taken yet.
    """

    def __init__(self, io: Server) -> None:
        self.io = io
        self.failures: list[Failure] = []
        self.loop = asyncio.get_running_loop()
        self._clients = 0
        self._steps = 0
        self._leaving = 0
        self._ours = False

    def enter(self) -> None:
        """One more client."""
        self._clients += 1
        if self._clients == 1:
            self._ours = not self.io.serving
            if self._ours:
                started(self.io.engine)
            self.io.on_error(self.failed)

    async def leave(self) -> None:
        """One client less; with the last one the server is closed, unless somebody else serves it."""
        self._clients -= 1
        if self._clients:
            return
        try:
            if self._ours:
                await self.io.tasks.finish(_PATIENCE)
                await self.io.close()
        finally:
            self.io.off_error(self.failed)
            if _stages.get(self.io) is self and not self._clients:
                del _stages[self.io]

    def failed(self, error: BaseException, socket: Any, event: str | int) -> None:
        """A handler has raised."""
        if not (self._leaving and isinstance(error, SocketClosed)):  # it waited for a client, and the test is over
            self.failures.append(Failure(error, socket, event))

    def crashed(self, error: Exception) -> None:
        """The ASGI application has raised."""
        self.failures.append(Failure(error, None, "the handshake"))

    def client_leaves(self) -> None:
        """What waits for a client from now on may wait in vain."""
        self._leaving += 1

    def client_has_left(self) -> None:
        """The end of that."""
        self._leaving -= 1

    def moved(self) -> None:
        """Something was sent or has arrived."""
        self._steps += 1

    async def calm(self) -> bool:
        """Wait until nothing is on its way; False if it does not come to that, as when two sides answer for ever."""
        turns = 0
        for _ in range(_TURNS):
            before = self._steps
            await asyncio.sleep(0)
            turns = turns + 1 if self._steps == before else 0
            if turns == _CALM:
                return True
        return False


_stages: WeakKeyDictionary[Server, Stage] = WeakKeyDictionary()


def stage_of(io: Server) -> Stage:
    """The stage of a server in the running loop."""
    stage = _stages.get(io)
    if stage is None or stage.loop is not asyncio.get_running_loop():
        stage = _stages[io] = Stage(io)
    return stage


def name_of(coroutine: Any) -> str:
    """What waits in a coroutine of madang's: the user's own, by its name."""
    inner = coroutine
    while (code := getattr(inner, "cr_code", None)) is not None and code.co_filename.startswith(_MADANG):
        inner = inner.cr_await
    return str(getattr(inner, "__qualname__", None) or getattr(coroutine, "__qualname__", repr(coroutine)))
