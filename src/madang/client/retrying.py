"""Events that are sent again until they are answered: one at a time, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import AckTimeout, BufferFull, SocketClosed, UsageError
from .sizes import size_of

if TYPE_CHECKING:
    from .sending import Sender


class _Entry:
    __slots__ = ("args", "compress", "future", "pending", "size", "timeout", "tries")

    def __init__(self, args: tuple[Any, ...], timeout: float | None, compress: bool, size: int) -> None:
        self.args = args
        self.timeout = timeout
        self.compress = compress
        self.size = size
        self.tries = 0
        self.pending = False
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.future.add_done_callback(_mark_retrieved)


class RetryQueue:
    """What a socket with the option `retries` has to send.

    Args:
        socket: the socket.
        retries: how often an event is sent again.
    """

    __slots__ = ("_bytes", "_entries", "_retries", "_socket")

    def __init__(self, socket: Sender, retries: int) -> None:
        self._socket = socket
        self._retries = retries
        self._entries: deque[_Entry] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def buffered(self) -> int:
        """Bytes that wait for their turn, or for their answer."""
        return self._bytes

    def add(self, args: tuple[Any, ...], timeout: float | None, compress: bool) -> asyncio.Future[Any]:
        """Send an event once those before it are done; its answer, or `AckTimeout` after the last try."""
        manager = self._socket.manager
        encoded = manager.parser.encode_event(self._socket.nsp, args)  # what cannot be sent fails here
        if manager.engine is not None:
            manager.engine.check_size(encoded)
        limit = manager.engine_options.outbound_limit
        if self._bytes > limit:
            raise BufferFull(self._bytes, limit)
        entry = _Entry(args, timeout, compress, size_of(encoded))
        entry.future.add_done_callback(lambda _: self._done(entry))
        self._bytes += entry.size
        self._entries.append(entry)
        self.go_on(again=False)
        return entry.future

    def go_on(self, *, again: bool) -> None:
        """Send the first one.

        Args:
            again: even if it is on its way already, as after a new connection.
        """
        if not self._socket.is_connected:
            return
        while self._entries:
            entry = self._entries[0]
            if entry.future.cancelled():
                self._entries.popleft()
                continue
            if entry.pending and not again:
                return
            entry.pending = True
            entry.tries += 1
            try:
                answer = self._socket.send_once(entry.args, entry.timeout, entry.compress)
            except (UsageError, BufferFull) as error:
                self._entries.popleft()
                if not entry.future.done():
                    entry.future.set_exception(error)
                continue
            answer.add_done_callback(partial(self._answered, entry, entry.tries))
            return

    def _done(self, entry: _Entry) -> None:
        self._bytes -= entry.size

    def fail(self, reason: str) -> None:
        """Nothing will be sent any more."""
        entries, self._entries = self._entries, deque()
        for entry in entries:
            if not entry.future.done():
                entry.future.set_exception(SocketClosed(reason))

    def _answered(self, entry: _Entry, number: int, answer: asyncio.Future[Any]) -> None:
        if not self._entries or self._entries[0] is not entry or number != entry.tries:
            return  # an answer to an earlier try has been enough
        error = None if answer.cancelled() else answer.exception()
        entry.pending = False
        if answer.cancelled() or error is None:
            self._entries.popleft()
            if not entry.future.done():
                entry.future.set_result(None if answer.cancelled() else answer.result())
        elif entry.tries > self._retries:
            self._entries.popleft()
            if not entry.future.done():
                entry.future.set_exception(error if isinstance(error, SocketClosed) else AckTimeout())
        elif isinstance(error, SocketClosed):
            return  # the next connection sends it again
        self.go_on(again=False)


def _mark_retrieved(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
