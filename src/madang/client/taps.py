"""Who wants to see a client's events before their handlers: streams, and those who wait for a single event."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet, finalize

from ..errors import SocketClosed, WaitTimeout
from ..events.acks import Ack, result_of
from .stream import EventStream, Received


class Taps:
    """The streams of one socket, and its waits; false if there are none.

    Args:
        changed: called when one came or went, or when a stream has room again.
        dropped: called when a stream was forgotten, in whatever thread that is noticed.
        over: says why no more events will come, or None.
    """

    __slots__ = ("__weakref__", "_changed", "_dropped", "_over", "_streams", "_waits")

    def __init__(
        self, changed: Callable[[], object], dropped: Callable[[], object], over: Callable[[], str | None]
    ) -> None:
        self._changed = changed
        self._dropped = dropped
        self._over = over
        self._waits: dict[str | int, list[Future[Any]]] = {}
        self._streams: WeakSet[EventStream] = WeakSet()

    def __bool__(self) -> bool:
        return bool(self._waits or self._streams)

    def is_full(self, grace: int) -> bool:
        """Whether some stream holds as much as it may, or so many times as much."""
        return any(stream.is_full(grace) for stream in self._streams)

    def stream(self, names: frozenset[str | int]) -> EventStream:
        """A new stream of these events, or of all if there are no names; it is forgotten with its last reference."""
        stream = EventStream(names, self._stream_changed, self._over)
        self._streams.add(stream)
        finalize(stream, self._dropped).atexit = False
        self._changed()
        return stream

    async def wait_for(self, name: str | int, timeout: float | None) -> Any:
        """Wait for one event; see `ClientSocket.wait_for`."""
        future: Future[Any] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(name, []).append(future)
        self._changed()
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise WaitTimeout(f"no event {name!r} came within {timeout} seconds") from None
        finally:
            waits = self._waits.get(name, [])
            if future in waits:
                waits.remove(future)
                if not waits:
                    del self._waits[name]
            self._changed()

    def tell(self, args: list[Any], ack: Ack, size: int) -> bool:
        """An event has come; whether a stream got it."""
        self.answer(args[0], args[1:])
        if not self._streams:
            return False
        received = Received(args[0], tuple(args[1:]), ack, size)
        for stream in tuple(self._streams):
            stream.put(received)
        return True

    def answer(self, name: str | int, values: Sequence[Any]) -> None:
        """Give an event to those who wait for it."""
        for future in self._waits.pop(name, ()):
            if not future.done():
                future.set_result(result_of(list(values)))

    def end(self, reason: str) -> None:
        """No more will come."""
        for waits in tuple(self._waits.values()):
            for future in waits:
                if not future.done():
                    future.set_exception(SocketClosed(reason))
        self.end_streams(reason)

    def end_streams(self, reason: str) -> None:
        """No more events will come, as far as is known."""
        for stream in tuple(self._streams):
            stream.end(reason)

    def _stream_changed(self) -> None:
        for stream in tuple(self._streams):
            if stream.ended:
                self._streams.discard(stream)
        self._changed()
