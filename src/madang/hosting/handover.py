"""Any worker may be sent any request: a connection whose request belongs to another worker's session goes to it.

The id of a session begins with its worker's mark, so the owner is read off the request's first line. The connection
itself is handed over, with the bytes that have been read of it, through a local socket of the owner (``SCM_RIGHTS``):
from then on nobody stands between. Only TLS, whose keys cannot be handed over, is relayed, by one end of a pair of
sockets that is handed over in its place.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import choice
from typing import Any, Final

from ..tasks import Tasks
from .relay import relay

logger = logging.getLogger("madang.hosting")

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
WORKERS_LIMIT: Final = len(_DIGITS) ** 2
"""Workers that can be told apart at one time."""

_SESSION: Final = re.compile(rb"[?&]sid=([0-9A-Za-z_-]{2})").search

_PATIENCE: Final = 5.0
"""Seconds in which a connection that is handed over must be here."""

_META: Final = 4
"""Bytes of the length that stands before what is told of a connection."""

_CHUNK: Final = 64 * 1024

_BREATH: Final = 0.1
"""Seconds until it is tried again to take connections, if there was no descriptor for one."""

_LEAVING: Final = ".leaving"

_CLOSE_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

Accept = Callable[[socket.socket, bytes, "tuple[str, int] | None"], "asyncio.Future[Any] | asyncio.Task[Any]"]
"""Takes a connection, what has been read of it already, and its client's address."""


def mark_of(number: int) -> str:
    """What the ids of a worker's sessions begin with."""
    return _DIGITS[number // len(_DIGITS)] + _DIGITS[number % len(_DIGITS)]


def number_of(mark: str) -> int:
    """The worker that has this mark."""
    return _DIGITS.index(mark[0]) * len(_DIGITS) + _DIGITS.index(mark[1])


class Handover:
    """One worker's share in it.

    Args:
        folder: where the workers' local sockets are; nobody else may enter it.
        number: which worker this is.

    Attributes:
        leaving: whether this worker is about to leave; see `leave`.
        given: connections that were handed over.
        taken: connections that others have handed over.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._number = number
        self._tasks = Tasks()
        self._listener: socket.socket | None = None
        self._leaving = folder / f"{number}{_LEAVING}"  # for the others, so that none gives us what we give it
        self.leaving = False
        self.given = 0
        self.taken = 0

    # giving

    def owner(self, data: bytes) -> int | None:
        """The worker that a request belongs to, from its first line; None if that is this one, or nobody's."""
        end = data.find(b"\r\n")
        found = _SESSION(data, 0, end if end >= 0 else len(data))
        if found is None:
            return self._successor(data[: max(end, 0)]) if self.leaving else None
        number = number_of(found.group(1).decode())
        return number if number != self._number else None

    def _successor(self, line: bytes) -> int | None:
        """Who takes a handshake that comes to a worker which is about to leave."""
        if b"EIO=" not in line:
            return None
        names = {path.name for path in self._folder.iterdir()}
        staying = [int(name) for name in names if name.isdigit() and f"{name}{_LEAVING}" not in names]
        others = [number for number in staying if number != self._number]
        return choice(others) if others else None

    def is_there(self, owner: int) -> bool:
        """Whether another worker takes connections."""
        return (self._folder / str(owner)).exists()

    def leave(self) -> None:
        """From now on handshakes go to workers that stay."""
        self.leaving = True
        self._leaving.touch()

    def give(self, owner: int, transport: asyncio.Transport, data: bytes, remote: tuple[str, int] | None) -> bool:
        """Hand a connection over; False if that worker cannot be reached, and nothing has been done.

        Args:
            owner: the worker.
            transport: the connection; it is gone from here afterwards.
            data: what has been read of the request, and behind it.
            remote: the client's address.
        """
        relayed = transport.get_extra_info("ssl_object") is not None or transport.get_write_buffer_size() > 0
        told = json.dumps({"remote": remote, "size": len(data)}).encode()
        message = len(told).to_bytes(_META, "big") + told + data
        link: socket.socket | None = None
        ours: socket.socket | None = None
        try:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.setblocking(False)
            link.connect(str(self._folder / str(owner)))
            if relayed:
                ours, theirs = socket.socketpair()
                descriptor = theirs.detach()
            else:
                descriptor = os.dup(transport.get_extra_info("socket").fileno())
            try:
                sent = socket.send_fds(link, [message], [descriptor])
            finally:
                os.close(descriptor)
        except OSError as error:
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                logger.warning("a connection could not be handed over: %s", error)
            for end in (link, ours):
                if end is not None:
                    end.close()
            return False
        transport.pause_reading()
        if ours is not None:
            self._tasks.own(relay(transport, ours))
        else:
            transport.abort()  # closes what is ours of it; the connection lives on in what was sent
        self._tasks.start(_finish(link, message[sent:]))
        self.given += 1
        return True

    # taking

    def listen(self) -> None:
        """Be reached from now on; what comes waits until it is taken."""
        self._leaving.unlink(missing_ok=True)
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        listener.bind(str(self._folder / str(self._number)))
        listener.listen(4096)

    def take(self, accept: Accept) -> None:
        """Take connections from now on."""
        assert self._listener is not None
        self._tasks.own(asyncio.get_running_loop().create_task(self._take(self._listener, accept)))

    async def _take(self, listener: socket.socket, accept: Accept) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                link, _ = await loop.sock_accept(listener)
            except OSError as error:  # most likely there are too many connections already
                logger.warning("connections cannot be taken at present: %s", error)
                await asyncio.sleep(_BREATH)
            else:
                self._tasks.start(self._take_one(link, accept))

    async def _take_one(self, link: socket.socket, accept: Accept) -> None:
        descriptors: list[int] = []
        try:
            async with asyncio.timeout(_PATIENCE):
                message = await _read(link, descriptors)
            size = int.from_bytes(message[:_META], "big")
            told = json.loads(message[_META : _META + size])
            if len(message) != _META + size + told["size"]:
                raise ValueError("its giver has ended meanwhile")
            connection = socket.socket(fileno=descriptors.pop())
        except (OSError, ValueError, LookupError, TimeoutError) as error:
            logger.warning("a connection that was handed over did not come whole: %r", error)
            return
        finally:
            link.close()
            for descriptor in descriptors:
                os.close(descriptor)
        connection.setblocking(False)
        self.taken += 1
        remote = told["remote"]
        await accept(connection, message[_META + size :], tuple(remote) if remote else None)

    async def close(self) -> None:
        """Take no more."""
        with suppress(FileNotFoundError):
            (self._folder / str(self._number)).unlink()
        self._leaving.unlink(missing_ok=True)
        await self._tasks.finish(0.0)
        if self._listener is not None:
            self._listener.close()


async def _finish(link: socket.socket, rest: bytes) -> None:
    """Send what did not fit at once, and hang up."""
    try:
        if rest:
            await asyncio.get_running_loop().sock_sendall(link, rest)
    except OSError as error:
        logger.warning("a connection was not handed over whole: %s", error)
    finally:
        link.close()


async def _read(link: socket.socket, descriptors: list[int]) -> bytes:
    """All that comes, and the descriptors with it."""
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    while True:
        readable = loop.create_future()
        loop.add_reader(link.fileno(), _mark, readable)
        try:
            await readable
        finally:
            loop.remove_reader(link.fileno())
        try:
            part, found, _, _ = socket.recv_fds(link, _CHUNK, 1, _CLOSE_ON_EXEC)
        except BlockingIOError:
            continue
        for descriptor in found:
            os.set_inheritable(descriptor, False)  # where the flag does not exist
        descriptors += found
        if not part:
            return b"".join(parts)
        parts.append(part)


def _mark(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
