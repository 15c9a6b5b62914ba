"""Which node of a Redis Cluster has which slot, as the nodes tell it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection
from typing import Any, Final, Protocol

from redis.crc import key_slot

from .connection import BROKEN, RedisConnector, ReplyError, backoff
from .location import Address

__all__ = ["SLOTS", "Topology", "Watcher", "key_slot"]

logger = logging.getLogger("madang.adapters")

SLOTS: Final = 16384
ASKED: Final = 3
"""Nodes that are asked at once; the first answer counts."""

UNSETTLED: Final = 5.0
"""Seconds after a doubt for which the nodes are asked again and again: they hear of a new master one after the other.

Meanwhile the old one, a replica now, takes subscriptions and messages as before, but they meet nobody else's.
"""


class Watcher(Protocol):
    """Who has connections to the nodes."""

    def changed(self, slots: Collection[int]) -> None:
        """These slots are elsewhere, or known at last."""
        ...

    @property
    def well(self) -> bool:
        """Whether all is where it should be; if not, the nodes are asked again."""
        ...


class Topology:
    """The slots of a Redis Cluster. It is read when something does not work, and until it does.

    Args:
        connector: makes connections to its nodes.

    Attributes:
        owners: for each slot its master; None while that is not known.
        masters: all masters that have slots.
        nodes: masters and replicas.
    """

    def __init__(self, connector: RedisConnector) -> None:
        self._connector = connector
        self._watchers: list[Watcher] = []
        self._doubt: asyncio.Event | None = None
        self._settles_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.owners: list[Address | None] = [None] * SLOTS
        self.masters: frozenset[Address] = frozenset()
        self.nodes: frozenset[Address] = frozenset()

    def watch(self, watcher: Watcher) -> None:
        """Tell it of changes."""
        self._watchers.append(watcher)

    def start(self) -> None:
        """Begin to ask the nodes, in the running loop."""
        if self._task is None or self._task.done():
            self._doubt = asyncio.Event()
            self._doubt.set()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="madang Redis topology")

    async def close(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def doubt(self) -> None:
        """Something does not work: ask the nodes anew."""
        if self._doubt is not None:
            self._settles_at = asyncio.get_running_loop().time() + UNSETTLED
            self._doubt.set()

    def moved(self, reply: ReplyError) -> bool:
        """Whether an error is that a slot is elsewhere, or nowhere at present; it is noted."""
        word, _, rest = str(reply).partition(" ")
        if word == "MOVED":
            slot, _, where = rest.partition(" ")
            host, _, port = where.rpartition(":")
            owner = host, int(port)
            if host and self.owners[int(slot)] != owner:
                self.owners[int(slot)] = owner
                self._tell((int(slot),))
        elif word not in ("CLUSTERDOWN", "TRYAGAIN", "ASK"):
            return False
        self.doubt()
        return True

    def _tell(self, slots: Collection[int]) -> None:
        for watcher in self._watchers:
            watcher.changed(slots)

    async def _run(self) -> None:
        assert self._doubt is not None
        level = logging.WARNING
        delays = backoff()
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                self._read(*await self._ask())
                level = logging.WARNING
            except BROKEN as error:
                logger.log(
                    level, "no node of the Redis Cluster tells where the slots are: %s", str(error) or repr(error)
                )
                level = logging.DEBUG
                self._doubt.set()
            settled = asyncio.get_running_loop().time() >= self._settles_at
            if settled and all(watcher.well for watcher in self._watchers) and not self._doubt.is_set():
                delays = backoff()
            else:
                await asyncio.sleep(next(delays))
                self._doubt.set()

    async def _ask(self) -> tuple[Address, Any]:
        """The answer of the first of a few nodes, and who that was.

        Raises:
            RedisError: none of them answers; one of `BROKEN`.
        """
        known = list(self.nodes | set(self._connector.location.addresses))
        chosen = random.sample(known, min(ASKED, len(known)))
        asking: dict[asyncio.Future[Any], Address] = {
            asyncio.ensure_future(self._connector.ask(node, "CLUSTER", "SLOTS")): node for node in chosen
        }
        try:
            pending: set[asyncio.Future[Any]] = set(asking)
            error: BaseException | None = None
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    error = one.exception()
                    if error is None and one.result():
                        return asking[one], one.result()
            raise error or ConnectionError("no slots are assigned")
        finally:
            for one in asking:
                one.cancel()
            await asyncio.wait(asking)

    def _read(self, source: Address, answer: Any) -> None:
        owners: list[Address | None] = [None] * SLOTS
        nodes: set[Address] = set()
        masters: set[Address] = set()
        for first, last, *places in answer:
            there = [((place[0] or b"").decode() or source[0], int(place[1])) for place in places]
            owners[first : last + 1] = [there[0]] * (last + 1 - first)
            masters.add(there[0])
            nodes.update(there)
        before, masters_before = self.owners, self.masters
        self.owners, self.masters, self.nodes = owners, frozenset(masters), frozenset(nodes)
        # a slot may have been known to be elsewhere from `moved`, but not that its node before is no master any more
        all_may_move = self.masters != masters_before
        self._tell([slot for slot in range(SLOTS) if all_may_move or owners[slot] != before[slot]])
