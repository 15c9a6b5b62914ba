"""The way in from a Redis Cluster: a subscriber for each node that has a channel which is wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from ...tasks import Tasks
from .connection import RedisConnector, ReplyError
from .location import Address
from .subscriber import BATCH, Handler, PatternHandler, Subscriber
from .topology import Topology

PAUSE = 0.05
"""Seconds before a channel that two nodes send to each other is asked for again."""


class _Home(NamedTuple):
    slot: int
    address: Address | None


class SpreadSubscriber:
    """What `Subscriber` does, over all nodes. A channel that moves to another node is subscribed to there.

    Args:
        connector: makes connections to the nodes.
        topology: which node has which slot.
        missed: see `Subscriber`.
        sharded: see `Subscriber`.
        slot_of: the slot of a channel.
    """

    def __init__(
        self,
        connector: RedisConnector,
        topology: Topology,
        missed: Callable[[float, str], None],
        sharded: bool,
        slot_of: Callable[[bytes], int],
    ) -> None:
        self._connector = connector
        self._topology = topology
        self._missed = missed
        self._sharded = sharded
        self._slot_of = slot_of
        self._handlers: dict[bytes, Handler] = {}
        self._patterns: dict[bytes, PatternHandler] = {}
        self._homes: dict[bytes, _Home] = {}
        self._in_slot: dict[int, set[bytes]] = {}
        self._at: dict[Address, Subscriber] = {}
        self._lost: set[bytes] = set()
        """Channels that have been listened to and are not at present, though their node is there."""
        self._started = False
        self._tasks = Tasks()
        self._unwanted = 0
        self._stirred: list[asyncio.Future[None]] = []
        self._earliest: tuple[float, str] | None = None
        topology.watch(self)

    # what namespaces call

    def add(self, channel: bytes, handler: Handler) -> None:
        """Listen to a channel."""
        self._handlers[channel] = handler
        self._place(channel)

    def add_pattern(self, pattern: bytes, handler: PatternHandler) -> None:
        """Listen to all channels of a pattern."""
        self._patterns[pattern] = handler
        self._place(pattern)

    def remove(self, channel: bytes) -> None:
        """Listen no longer; what still comes is dropped."""
        self._handlers.pop(channel, None)
        self._patterns.pop(channel, None)
        self._regain(channel)
        home = self._homes.pop(channel, None)
        if home is None:
            return
        there = self._in_slot[home.slot]
        there.discard(channel)
        if not there:
            del self._in_slot[home.slot]
        if home.address is not None:
            self._at[home.address].remove(channel)

    async def settled(self) -> None:
        """Wait until the nodes have confirmed all that was asked for till now."""
        while True:
            stirred = asyncio.get_running_loop().create_future()
            self._stirred.append(stirred)
            asked = [subscriber.confirmation() for subscriber in self._at.values() if len(subscriber)]
            waiting: set[asyncio.Future[None]] = {*asked}
            while waiting and not stirred.done():
                await asyncio.wait((stirred, *waiting), return_when=asyncio.FIRST_COMPLETED)
                waiting = {one for one in waiting if not one.done()}
            if not stirred.done() and self._topology.masters and not self._lost:
                stirred.cancel()
                return
            await stirred

    def start(self) -> None:
        """Begin to listen, in the running loop; the topology is started by itself."""
        self._started = True
        for subscriber in self._at.values():
            subscriber.start()

    async def close(self) -> None:
        """End."""
        self._started = False
        for waiting in self._stirred:
            waiting.cancel()
        await asyncio.gather(*[subscriber.close() for subscriber in self._at.values()])
        await self._tasks.finish(1)
        self._lost.clear()

    @property
    def connected(self) -> bool:
        """Whether all that is wanted is listened to at present."""
        return self._started and bool(self._topology.masters) and self._placed

    @property
    def _placed(self) -> bool:
        return not self._lost and all(subscriber.connected or not len(subscriber) for subscriber in self._at.values())

    @property
    def unwanted(self) -> int:
        """Messages that were dropped by their channel's name."""
        return self._unwanted + sum(subscriber.unwanted for subscriber in self._at.values())

    # the nodes

    @property
    def well(self) -> bool:
        """See `Watcher`."""
        return self._placed and all(home.address is not None for home in self._homes.values())

    def changed(self, slots: Collection[int]) -> None:
        """See `Watcher`."""
        owners = self._topology.owners
        for slot in slots if len(slots) < len(self._in_slot) else list(self._in_slot):
            owner = owners[slot]
            if owner is None:
                continue
            for channel in list(self._in_slot.get(slot, ())):
                self._follow(channel, owner)
        for address in [address for address, subscriber in self._at.items() if not len(subscriber)]:
            self._retire(address)
        self._stir()

    def _follow(self, channel: bytes, owner: Address) -> None:
        """Move a channel to where it is said to be, unless its node still has it: that one would say so if not."""
        address = self._homes[channel].address
        if address == owner:
            return
        # a replica has the channels of its master as well, but nobody counts those who listen there
        settled = address is not None and (not self._sharded or address in self._topology.masters)
        if address is None or not settled or channel in self._lost or not self._at[address].holds(channel):
            self._move(channel, owner)

    def _on_broken(self, address: Address) -> None:
        """A node is not to be reached; what it had may be elsewhere by now."""
        for channel in [channel for channel, home in self._homes.items() if home.address == address]:
            owner = self._topology.owners[self._homes[channel].slot]
            if owner is not None:
                self._follow(channel, owner)
        self._topology.doubt()

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, []
        for waiting in stirred:
            if not waiting.done():
                waiting.set_result(None)

    def _place(self, channel: bytes) -> None:
        """Subscribe to it where it is, or leave it until that is known."""
        if channel in self._homes:
            return
        slot = self._slot_of(channel)
        address = self._topology.owners[slot]
        self._homes[channel] = _Home(slot, address)
        self._in_slot.setdefault(slot, set()).add(channel)
        if address is not None:
            self._give(channel, address)
        else:
            self._topology.doubt()

    def _give(self, channel: bytes, address: Address) -> Subscriber:
        subscriber = self._at.get(address)
        if subscriber is None:
            subscriber = self._at[address] = Subscriber(
                self._connector.at(address), self._missed, self._sharded, 1 if self._sharded else BATCH
            )
            subscriber.broken = lambda: self._on_broken(address)
            subscriber.taken = self._on_taken
            subscriber.moved = self._on_moved
            if self._started:
                subscriber.start()
        if channel in self._patterns:
            subscriber.add_pattern(channel, self._patterns[channel])
        else:
            subscriber.add(channel, self._handlers[channel])
        return subscriber

    def _move(self, channel: bytes, address: Address) -> None:
        """The channel is on another node."""
        slot, before = self._homes[channel]
        if before is not None:
            old = self._at[before]
            self._lose(channel, *(old.gone_since or (time.time(), f"its slot has moved to {address[0]}:{address[1]}")))
            old.forget(channel)
        self._homes[channel] = _Home(slot, address)
        self._confirm(channel, self._give(channel, address), address)

    def _lose(self, channel: bytes, since: float, reason: str) -> None:
        """It is not listened to at present."""
        self._lost.add(channel)
        if self._earliest is None or since < self._earliest[0]:
            self._earliest = since, reason

    def _regain(self, channel: bytes) -> None:
        """It is again, or nobody wants it any more; once that is so of all, what may have been missed is told."""
        if channel not in self._lost:
            return
        self._lost.discard(channel)
        if not self._lost and self._earliest is not None:
            earliest, self._earliest = self._earliest, None
            self._missed(*earliest)
            self._stir()

    def _confirm(self, channel: bytes, subscriber: Subscriber, address: Address) -> None:
        """See that a lost channel is listened to."""
        if channel not in self._lost:
            return

        def confirmed(done: asyncio.Future[None]) -> None:
            home = self._homes.get(channel)
            if not done.cancelled() and home is not None and home.address == address and subscriber.has(channel):
                self._regain(channel)

        subscriber.confirmation().add_done_callback(confirmed)

    def _on_taken(self, channel: bytes) -> None:
        """A node has ended a subscription: it has the channel's slot no longer."""
        pause = PAUSE if channel in self._lost else 0
        self._lose(channel, time.time(), "its slot has moved to another node")
        self._stir()
        self._topology.doubt()
        asyncio.get_running_loop().call_later(pause, self._retry, channel)

    def _on_moved(self, reply: ReplyError) -> bool:
        """A node has refused a subscription: it does not have the channel's slot."""
        word, _, rest = str(reply).partition(" ")
        if word != "MOVED":
            return False
        for channel in list(self._in_slot.get(int(rest.partition(" ")[0]), ())):
            address = self._homes[channel].address
            if address is not None:
                self._at[address].drop(channel)
                self._on_taken(channel)
        return self._topology.moved(reply)

    def _retry(self, channel: bytes) -> None:
        """Ask for a lost channel again where it should be; that node may not know yet, and then says where it is."""
        home = self._homes.get(channel)
        if home is None or home.address is None or not self._started or channel not in self._lost:
            return
        owner = self._topology.owners[home.slot] or home.address
        if owner != home.address:
            self._move(channel, owner)
        else:
            self._confirm(channel, self._give(channel, owner), owner)

    def _retire(self, address: Address) -> None:
        """A node that has nothing that is wanted."""
        subscriber = self._at.pop(address)
        self._unwanted += subscriber.unwanted
        self._tasks.start(subscriber.close())
