"""The answers to a broadcast: all together, or one by one as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeVar

from ..errors import AckTimeout

R = TypeVar("R")

NOBODY: Final[frozenset[str]] = frozenset()


class Replies(list[R]):
    """The answers that came to a broadcast, the first value of each, and who has not answered.

    Attributes:
        missing: how many have not answered, or went away before.
        missing_ids: the ids of those among them whose sockets are on this server; other servers tell only how many.
        counted: False if a server of the cluster did not say in time how many clients it asked, so more may be missing.
    """

    missing: int = 0
    missing_ids: frozenset[str] = NOBODY
    counted: bool = True


class Reply(Generic[R]):
    """One client's answer.

    Attributes:
        value: the first value of the answer; None if it is empty.
        values: all its values; from a client of another server only the first travels.
        id: the id of the socket; None if it is on another server, which does not tell.
    """

    __slots__ = ("id", "value", "values")

    def __init__(self, values: list[Any], socket_id: str | None) -> None:
        value: Any = values[0] if values else None
        self.value: R = value
        self.values = tuple(values)
        self.id = socket_id

    def __repr__(self) -> str:
        return f"<Reply {self.values!r} of {self.id or 'a client of another server'}>"


class PendingAcks:
    """The answers that are awaited from all recipients of a broadcast; of each only the first value is kept.

    Args:
        timeout: seconds until the answers that have not come are given up.
        forget: called with each recipient that has not answered when it is over.
        partial: whether missing answers are no error.
    """

    __slots__ = ("_abandon", "_complete", "_forget", "_gone", "_handle", "_partial", "_waiting", "future", "responses")

    def __init__(self, timeout: float, forget: Callable[[object], object], *, partial: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Replies[Any]] = loop.create_future()
        self.responses: Replies[Any] = Replies()
        self._waiting: dict[object, None] = {}
        self._complete = False
        self._gone: list[str | None] = []
        self._forget = forget
        self._partial = partial
        self._abandon: Callable[[], object] | None = None
        self._handle = loop.call_later(timeout, self._timed_out)
        self.future.add_done_callback(self._done)

    # what the adapter tells

    def expect(self, recipient: object) -> None:
        """Wait for one more."""
        self._waiting[recipient] = None

    def all_sent(self) -> None:
        """There will be no more recipients; with none at all the list is empty at once."""
        self._complete = True
        self._check()

    def resolve(self, values: list[Any], recipient: object) -> None:
        """One has answered."""
        self._waiting.pop(recipient, None)
        self.responses.append(values[0] if values else None)
        self._check()

    def fail(self, reason: str, recipient: object) -> None:
        """One is gone, and will not answer."""
        self._waiting.pop(recipient, None)
        self._gone.append(getattr(recipient, "id", None))
        self._check()

    def when_abandoned(self, callback: Callable[[], object]) -> None:
        """Call `callback()` if nobody waits for the answers any more before it is over."""
        self._abandon = callback

    # how it ends

    @property
    def missing(self) -> int:
        """How many have not answered till now."""
        return len(self._waiting) + len(self._gone)

    @property
    def missing_ids(self) -> frozenset[str]:
        """The ids of those of them whose sockets are here."""
        known = (*(getattr(recipient, "id", None) for recipient in self._waiting), *self._gone)
        return frozenset(each for each in known if each is not None)

    @property
    def counted(self) -> bool:
        """Whether it is known how many were asked."""
        return self._complete

    def _check(self) -> None:
        if self._complete and not self._waiting and not self.future.done():
            asked = len(self._gone) + len(self.responses)
            self._finish(f"{len(self._gone)} of {asked} clients went away before they answered")

    def _timed_out(self) -> None:
        if not self.future.done():
            missing = self.missing
            message = f"operation has timed out: {missing} of {missing + len(self.responses)} clients did not answer"
            if not self._complete:
                message += ", and not every server has said how many it asked"
            self._finish(message)

    def _finish(self, message: str) -> None:
        found = self.responses
        found.missing, found.missing_ids, found.counted = self.missing, self.missing_ids, self._complete
        if self._partial or (self._complete and not found.missing):
            self.future.set_result(found)
        else:
            self.future.set_exception(AckTimeout(message, found, found.missing, found.missing_ids))

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._handle.cancel()
        abandon, self._abandon = self._abandon, None
        if not future.cancelled():
            future.exception()  # asyncio is not to log an error for an answer that nobody waits for
        elif abandon is not None:
            abandon()
        waiting, self._waiting = self._waiting, {}
        for recipient in waiting:
            self._forget(recipient)


class PendingReplies(PendingAcks):
    """The same for a `ReplyStream`, which takes the answers as they come.

    Args:
        timeout: seconds until the answers that have not come are given up.
        forget: called with each recipient that has not answered when it is over.
    """

    __slots__ = ("_came", "_waiter")

    def __init__(self, timeout: float, forget: Callable[[object], object]) -> None:
        super().__init__(timeout, forget, partial=True)
        self._came: deque[Reply[Any]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def resolve(self, values: list[Any], recipient: object) -> None:
        """One has answered."""
        self._came.append(Reply(values, getattr(recipient, "id", None)))
        super().resolve(values, recipient)
        self._wake()

    def _done(self, future: asyncio.Future[Any]) -> None:
        super()._done(future)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """Take no more answers."""
        if not self.future.done():
            found = self.responses
            found.missing, found.missing_ids, found.counted = self.missing, self.missing_ids, self.counted
        self._came.clear()
        self.future.cancel()  # does nothing to one that is done

    async def next(self) -> Reply[Any] | None:
        """The next answer, or None if there are no more."""
        while not self._came:
            if self.future.done():
                return None
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)
        return self._came.popleft()


class ReplyStream(Generic[R]):
    """The answers to a broadcast, one by one as they come; made by `ask`.

    ::

        votes = io.to("voters").ask("vote?", timeout=3)
        async for reply in votes:
            print(reply.id, reply.value)
        print(votes.missing, "did not vote")

    It ends when all have answered or gone away, or when the time is up, and raises nothing then. Awaiting it waits for
    that, and gives a `Replies`. What has come waits here until it is taken: one answer a client at most. Leaving the
    loop early, or letting go of it, forgets the answers that have not come.

    Args:
        pending: what collects the answers.
    """

    __slots__ = ("__weakref__", "_loop", "_pending")

    def __init__(self, pending: PendingReplies) -> None:
        self._pending = pending
        self._loop = asyncio.get_running_loop()

    @property
    def missing(self) -> int:
        """How many have not answered till now; after the end, how many never did."""
        return self._pending.responses.missing if self._pending.future.done() else self._pending.missing

    @property
    def missing_ids(self) -> frozenset[str]:
        """The ids of those among them whose sockets are on this server."""
        return self._pending.responses.missing_ids if self._pending.future.done() else self._pending.missing_ids

    @property
    def counted(self) -> bool:
        """Whether every server has said how many clients it asked, so that no more can be missing."""
        return self._pending.counted

    def close(self) -> None:
        """Take no more answers; those that have come and were not taken are dropped."""
        self._pending.close()

    def __aiter__(self) -> ReplyStream[R]:
        return self

    async def __anext__(self) -> Reply[R]:
        reply = await self._pending.next()
        if reply is None:
            raise StopAsyncIteration
        return reply

    def __await__(self) -> Generator[Any, Any, Replies[R]]:
        return self._all().__await__()

    async def _all(self) -> Replies[R]:
        """All answers, those that were taken among them, once it is over."""
        pending = self._pending
        await asyncio.wait((pending.future,))
        return pending.responses

    def __del__(self) -> None:
        if not self._pending.future.done() and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._pending.close)
            except RuntimeError:  # the loop was closed in this very moment
                pass
