"""What a worker keeps for clients that come back, for all namespaces; and how one that starts learns what others know.

Others may have namespaces that are not here (yet): what they tell is kept all the same, since their clients may come
here next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Final, Protocol

import msgspec

from ..protocol.encoded import Encoded
from ..types import Room
from .adapter import AdapterContext
from .event_log import Entry, OriginFacts
from .local_recovery import LocalRecovery
from .local_wire import KINDS, Record, WireEvent, decoder, encode_plainly
from .memory import MemoryAdapter
from .recovery import RecoveryLimits, RecoveryOwner

SILENCE: Final = 2.0
"""Seconds in which the next page must come of what another worker tells."""

LEARN_WITHIN: Final = 20.0
"""Seconds in which a worker learns; longer its clients would not wait."""

_PAGE: Final = 256 * 1024
_SESSIONS: Final = 200

_ASK, _MORE, _PAGE_OF, _NOTHING, _ALL = b"?", b"+", b"p", b"-", b"."


class _Page(msgspec.Struct, array_like=True):
    """Part of what is known of one namespace."""

    name: str
    origins: list[OriginFacts]
    events: list[WireEvent]
    sessions: list[tuple[str, Record]]


_decode_page: Final = decoder(_Page)


class Workers(Protocol):
    """What is needed of the lines between the workers; see `LocalCluster`."""

    uid: str

    @property
    def others(self) -> frozenset[str]:
        """The names of the workers that hear this one, and are heard."""
        ...

    def say(self, context: AdapterContext, room: Room | None, body: bytes) -> None:
        """Tell all other workers something in a namespace."""
        ...

    def reply(self, uid: str, name: str, body: bytes) -> None:
        """Tell one worker something."""
        ...


class _Lesson:
    """What another worker is telling."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.learned: bool | None = None
        self.news = asyncio.Event()
        self.pages: dict[str, list[_Page]] = {}

    def over(self, learned: bool) -> None:
        """It is over."""
        self.learned = learned
        self.news.set()


class LocalStores:
    """See above.

    Args:
        workers: the lines to the others.

    Attributes:
        uid: the name of this worker.
        serving: whether the server has begun to serve, so that there can be deadlines.
    """

    def __init__(self, workers: Workers) -> None:
        self.uid = workers.uid
        self.serving = False
        self._workers = workers
        self._limits: RecoveryLimits | None = None
        self._stores: dict[str, LocalRecovery] = {}
        self._lesson: _Lesson | None = None
        self._lectures: dict[str, Iterator[_Page]] = {}
        self._knows = False
        self._behind_until = 0.0

    # what the namespaces need

    def recover(
        self, adapter: MemoryAdapter, context: AdapterContext, limits: RecoveryLimits, owner: RecoveryOwner
    ) -> LocalRecovery:
        """See `RecoverySource`."""
        self._limits = limits
        store = self._store(context.name, limits)
        store.attach(adapter, context, owner)
        return store

    def _store(self, name: str, limits: RecoveryLimits) -> LocalRecovery:
        store = self._stores.get(name)
        if store is None:
            for known in [known for known, one in self._stores.items() if one.empty]:
                del self._stores[known]
            store = self._stores[name] = LocalRecovery(self, name, limits)
        return store

    @property
    def others(self) -> frozenset[str]:
        """See `Lines`."""
        return self._workers.others

    @property
    def behind(self) -> bool:
        """See `Lines`."""
        return self._behind_until > monotonic()

    def serve(self) -> None:
        """See `Lines`."""
        if not self.serving:
            self.serving = True
            for store in self._stores.values():
                store.arm()

    def say(self, context: AdapterContext, room: Room | None, body: bytes) -> None:
        """See `Lines`."""
        self._workers.say(context, room, body)

    def reply(self, uid: str, name: str, body: bytes) -> None:
        """See `Lines`."""
        self._workers.reply(uid, name, body)

    # what the lines tell

    def take(self, uid: str, name: str, body: bytes) -> bool:
        """Another worker has said something; False if it is nothing of ours."""
        if not name:
            self._take_lesson(uid, body[:1], body[1:])
            return True
        if body[:1] not in KINDS:
            return False
        if self._limits is not None:
            self._store(name, self._limits).take(uid, body)
        return True

    def ended(self, uid: str) -> None:
        """A worker has ended."""
        self._lectures.pop(uid, None)
        for store in tuple(self._stores.values()):
            store.ended(uid)
        if self._lesson is not None and self._lesson.uid == uid:
            self._lesson.over(False)

    # learning

    async def learn(self) -> None:
        """Before this worker serves: know what was sent before, and who may come; waits a bounded time."""
        if self._limits is None:
            return
        ignorant = False
        try:
            async with asyncio.timeout(LEARN_WITHIN):
                for uid in sorted(self.others):
                    learned = await self._learn_from(uid)
                    if learned:
                        return
                    ignorant = ignorant or learned is None
        except TimeoutError:
            ignorant = True
        finally:
            self._knows = True
        if ignorant:
            self._behind_until = monotonic() + self._limits.retention

    async def _learn_from(self, uid: str) -> bool | None:
        """Whether a worker has told all; None if it is silent."""
        lesson = self._lesson = _Lesson(uid)
        self._workers.reply(uid, "", _ASK)
        try:
            while lesson.learned is None:
                async with asyncio.timeout(SILENCE):
                    await lesson.news.wait()
                lesson.news.clear()
        except TimeoutError:
            return None
        finally:
            self._lesson = None
        for name, pages in lesson.pages.items() if lesson.learned else ():
            self._adopt(name, pages)
        return lesson.learned

    def _adopt(self, name: str, pages: list[_Page]) -> None:
        assert self._limits is not None
        entries = [
            Entry(
                *(one.origin, one.number, one.at, Encoded(one.text, tuple(one.attachments), one.compress)),
                *(one.options, one.direct, "", 0),
            )
            for page in pages
            for one in page.events
        ]
        sessions = [session for page in pages for session in page.sessions]
        self._store(name, self._limits).adopt(pages[0].origins, entries, sessions)

    def _take_lesson(self, uid: str, kind: bytes, data: bytes) -> None:
        lesson = self._lesson
        if kind == _ASK and not self._knows:
            self._workers.reply(uid, "", _NOTHING)
        elif kind == _ASK:
            self._lectures[uid] = self._pages()
            self._teach(uid)
        elif kind == _MORE:
            self._teach(uid)
        elif lesson is None or lesson.uid != uid:
            return  # it comes too late
        elif kind == _PAGE_OF:
            page = _decode_page(data)
            lesson.pages.setdefault(page.name, []).append(page)
            lesson.news.set()
            self._workers.reply(uid, "", _MORE)
        else:
            lesson.over(kind == _ALL)

    def _teach(self, uid: str) -> None:
        """Tell the next page; one at a time, so that neither is busy with nothing else."""
        page = next(self._lectures.get(uid, iter(())), None)
        if page is None:
            self._lectures.pop(uid, None)
        self._workers.reply(uid, "", _ALL if page is None else _PAGE_OF + encode_plainly(page))

    def _pages(self) -> Iterator[_Page]:
        for store in tuple(self._stores.values()):
            yield from _pages_of(store)


def _pages_of(store: LocalRecovery) -> Iterator[_Page]:
    """What is known of one namespace at this moment, in pieces."""
    page = _Page(store.name, store.log.origins(), [], [])
    entries, sessions, size = list(store.log), store.copies(), 0
    for entry in entries:
        encoded = entry.encoded
        event = WireEvent(
            *(entry.origin, entry.number, entry.at, entry.options, entry.direct),
            *(encoded.compress, encoded.text, list(encoded.attachments)),
        )
        page.events.append(event)
        size += entry.size
        if size > _PAGE:
            yield page
            page, size = _Page(store.name, [], [], []), 0
    while some := list(islice(sessions, _SESSIONS)):
        yield _Page(page.name, page.origins, page.events, some)
        page = _Page(store.name, [], [], [])
    yield page
