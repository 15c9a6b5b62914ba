"""Ways out for emitters over brokers that are reached through `Outgoing`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar

from ..errors import AdapterUnavailable, EncodeError
from .link import Broker, Loss
from .messages import ClusterMessage
from .outgoing import Outgoing, OutLine

T = TypeVar("T")
R = TypeVar("R")


class Post(Protocol[T]):
    """How messages become what a broker is given.

    Attributes:
        queue_limit, queue_bytes, max_message: as in the options of adapters.
    """

    queue_limit: int
    queue_bytes: int
    max_message: int

    @property
    def broker(self) -> Broker:
        """The broker."""
        ...

    async def connect(self) -> OutLine[T]:
        """A connection."""
        ...

    def address(self, namespace: str, message: ClusterMessage) -> tuple[T, int]:
        """A message as it is sent, and its bytes.

        Raises:
            EncodeError: it holds what cannot be sent.
        """
        ...


def _addressed(post: Post[T], namespace: str, message: ClusterMessage) -> tuple[T, int]:
    item, size = post.address(namespace, message)
    if size > post.max_message:
        raise EncodeError(f"a message of {size} bytes is more than max_message")
    return item, size


class Queued(Generic[T]):
    """See `outlets.QueuedOutlet`."""

    def __init__(self, post: Post[T]) -> None:
        self._post = post
        self._outgoing: Outgoing[T] = Outgoing(post.broker, post.connect, post.queue_limit, post.queue_bytes, _ignore)

    @property
    def lost(self) -> int:
        """See `outlets.QueuedOutlet`."""
        return self._outgoing.lost

    def start(self) -> None:
        """See `outlets.QueuedOutlet`."""
        self._outgoing.start()

    def send(self, namespace: str, message: ClusterMessage) -> None:
        """See `outlets.Outlet`."""
        item, size = _addressed(self._post, namespace, message)
        self._outgoing.start()
        self._outgoing.publish(namespace, item, size)

    async def drained(self) -> None:
        """See `outlets.QueuedOutlet`."""
        self._outgoing.start()
        await self._outgoing.flushed()

    async def close(self) -> None:
        """See `outlets.QueuedOutlet`."""
        if len(self._outgoing):
            asked = self._outgoing.flushed()
            await asyncio.wait((asked,), timeout=self._post.broker.timeout)
            asked.cancel()
        await self._outgoing.close(0)


def _ignore(_: str, __: Loss, ___: bool) -> None:
    """The emitter counts what is lost, and has nobody to tell."""


class Direct(Generic[T]):
    """See `outlets.DirectOutlet`; what waits does so on a loop of its own, in a thread."""

    receivers: Final = None

    def __init__(self, post: Post[T]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._line: OutLine[T] | None = None

    def send(self, namespace: str, message: ClusterMessage) -> None:
        """See `outlets.Outlet`.

        Raises:
            AdapterUnavailable: the broker did not take it.
        """
        item, _ = _addressed(self._post, namespace, message)
        with self._lock:
            self._run(self._send(item))

    async def _send(self, item: T) -> None:
        broker = self._post.broker
        try:
            async with asyncio.timeout(broker.timeout):
                if self._line is None or self._line.ended.done():
                    await self._hang_up()
                    self._line = await self._post.connect()
                refused = await self._line.send([item])
        except broker.broken as error:
            await self._hang_up()
            said = str(error) or repr(error)
            raise AdapterUnavailable(f"{broker.name} did not take the message: {said}") from error
        for reason in refused.values():
            raise AdapterUnavailable(f"{broker.name} refuses the message: {reason}")

    async def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    def _run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_serve, args=(self._loop,), name="madang emitter", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """See `outlets.DirectOutlet`."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is not None and thread is not None:
                self._run(self._hang_up())
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
                self._loop = self._thread = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped."""
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))  # for what the end of a connection has left to do
    loop.close()
