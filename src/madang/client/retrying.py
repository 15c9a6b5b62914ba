"""Events that are sent again until they are answered: one at a time, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import AckTimeout, BufferFull, SocketClosed, UsageError
from ..protocol.encoded import Encoded
from .sizes import size_of

if TYPE_CHECKING:
    from .sending import Sender


class _Entry:
    """An event of the queue; `future` is None if nobody waits for its answer."""

    __slots__ = ("encoded", "future", "pending", "size", "timeout", "tries")

    def __init__(self, encoded: Encoded, timeout: float | None, future: asyncio.Future[Any] | None) -> None:
        self.encoded = encoded
        self.timeout = timeout
        self.future = future
        self.size = size_of(encoded)
        self.tries = 0
        self.pending = False


class RetryQueue:
    """What a socket with the option `retries` has to send.

    An event is encoded once, when it is emitted, without the ack id, another one in each try. So what the caller
    does to the arguments afterwards changes nothing.

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

    def ask(self, encoded: Encoded, timeout: float | None) -> asyncio.Future[Any]:
        """Send an event once those before it are done; its answer, or `AckTimeout` after the last try."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        entry = _Entry(encoded, timeout, future)
        future.add_done_callback(partial(self._settled, entry))
        self._add(entry)
        return future

    def tell(self, encoded: Encoded, timeout: float | None) -> None:
        """The same for an event whose answer nobody waits for; needs no running loop before there is a connection."""
        self._add(_Entry(encoded, timeout, None))

    def _add(self, entry: _Entry) -> None:
        engine, limit = self._socket.manager.engine, self._socket.manager.engine_options.outbound_limit
        if engine is not None:
            engine.check_size(entry.encoded)
        if self._bytes > limit:
            raise BufferFull(self._bytes, limit)
        self._bytes += entry.size
        self._entries.append(entry)
        self.go_on(again=False)

    def go_on(self, *, again: bool) -> None:
        """Send the first one.

        Args:
            again: even if it is on its way already, as after a new connection.
        """
        while self._entries and self._socket.can_send():
            entry = self._entries[0]
            if entry.pending and not again:
                return
            entry.pending = True
            entry.tries += 1
            try:
                answer = self._socket.send_try(entry.encoded, entry.timeout)
            except (UsageError, BufferFull) as error:
                self._end(entry, error)
                continue
            answer.add_done_callback(partial(self._answered, entry, entry.tries))
            return

    def fail(self, reason: str) -> None:
        """Nothing will be sent any more."""
        entries, self._entries = self._entries, deque()
        self._bytes = 0
        for entry in entries:
            if entry.future is not None and not entry.future.done():
                entry.future.set_exception(SocketClosed(reason))

    def _answered(self, entry: _Entry, number: int, answer: asyncio.Future[Any]) -> None:
        if not self._entries or self._entries[0] is not entry or number != entry.tries:
            return  # it was cancelled, or sent again meanwhile
        error = None if answer.cancelled() else answer.exception()
        entry.pending = False
        if error is None:
            self._end(entry, None, None if answer.cancelled() else answer.result())
        elif entry.tries > self._retries:
            self._end(entry, error if isinstance(error, SocketClosed) else AckTimeout())
        elif isinstance(error, SocketClosed):
            return  # the next connection sends it again
        self.go_on(again=False)

    def _end(self, entry: _Entry, error: BaseException | None, answer: Any = None) -> None:
        """The first one is done with."""
        self._entries.popleft()
        self._bytes -= entry.size
        future = entry.future
        if future is None:
            if error is not None:
                self._socket.given_up(error, entry.encoded)
        elif not future.done():
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

    def _settled(self, entry: _Entry, future: asyncio.Future[Any]) -> None:
        """If who asked has cancelled that, the event is taken back, and holds up those behind it no longer."""
        if not future.cancelled():
            future.exception()  # so that asyncio does not log it if nobody looks
        elif entry in self._entries:
            self._entries.remove(entry)
            self._bytes -= entry.size
            self.go_on(again=False)
