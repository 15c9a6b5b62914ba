"""The way out to a Redis Cluster: a publisher for each node, and each message to the node that has its channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

from ...errors import AdapterUnavailable
from ...tasks import Tasks
from ..link import Loss, TellLoss
from .connection import RedisConnector
from .location import Address
from .publisher import Backlog, Publisher
from .topology import SLOTS, Topology

_NOWHERE: Final = None


class SpreadPublisher:
    """What `Publisher` does, over all nodes.

    Messages for one channel keep their order, also while it moves to another node: those that were refused for that
    go there before the later ones.

    Args:
        connector: makes connections to the nodes.
        topology: which node has which slot.
        backlog: the bounds, for all nodes together.
        tell_loss: see `Publisher`.
        verb: how the command that publishes begins.
        slot_of: the slot of a channel.
    """

    def __init__(
        self,
        connector: RedisConnector,
        topology: Topology,
        backlog: Backlog,
        tell_loss: TellLoss,
        verb: bytes,
        slot_of: Callable[[bytes], int],
    ) -> None:
        self._connector = connector
        self._topology = topology
        self._backlog = backlog
        self._tell_loss = tell_loss
        self._verb = verb
        self._slot_of = slot_of
        self._sending: list[Address | None] = [_NOWHERE] * SLOTS
        self._moving: dict[Address | None, set[int]] = {}
        # the one without an address is never started: there messages wait until it is known whose they are
        self._at: dict[Address | None, Publisher] = {_NOWHERE: self._make(_NOWHERE)}
        self._started = False
        self._tasks = Tasks()
        self._moves = 0
        self._changed: list[asyncio.Future[None]] = []
        topology.watch(self)

    # what the server calls

    def publish(self, namespace: str, channel: bytes, payload: bytes) -> None:
        """Send a message; it is lost if too much waits."""
        slot = self._slot_of(channel)
        self._at[self._sending[slot]].publish(namespace, channel, payload, slot)

    def refuse(self, namespace: str, reason: str) -> None:
        """A message cannot be sent at all."""
        self._backlog.lost += 1
        loss = Loss(reason)
        loss.lost = 1
        self._tell_loss(namespace, loss, False)
        self._tell_loss(namespace, loss, True)

    def ask(self, channel: bytes, *parts: bytes) -> asyncio.Future[Any]:
        """Ask the node that has a channel, after what was published there; its answer, or `AdapterUnavailable`."""
        slot = self._slot_of(channel)
        return self._at[self._sending[slot]].ask(*parts, slot=slot)

    def ask_all(self, *parts: bytes) -> asyncio.Future[list[Any]]:
        """The answers of all nodes; `AdapterUnavailable` if one of the masters has none."""
        return asyncio.ensure_future(self._ask_all(parts))

    async def _ask_all(self, parts: tuple[bytes, ...]) -> list[Any]:
        if not self._topology.nodes:
            raise AdapterUnavailable("the nodes of the Redis Cluster are not known yet")
        asked = {node: self._node(node).ask(*parts) for node in self._topology.nodes}
        masters = self._topology.masters
        waited_for = [answer for node, answer in asked.items() if node in masters or not self._at[node].failing]
        await asyncio.wait(waited_for, timeout=self._connector.timeout)
        answers: list[Any] = []
        for node, answer in asked.items():
            if answer.done() and answer.exception() is None:
                answers.append(answer.result())
            elif node in masters:
                raise AdapterUnavailable(f"{node[0]}:{node[1]} does not answer")
            answer.cancel()
        return answers

    async def drained(self) -> None:
        """Wait until what was published till now has left.

        Raises:
            AdapterUnavailable: a connection broke meanwhile.
        """
        moves = -1
        while moves != self._moves:
            moves = self._moves
            if not self._topology.masters or self._at[_NOWHERE].waiting:
                changed = asyncio.get_running_loop().create_future()
                self._changed.append(changed)
                await changed
                moves = -1
                continue
            await asyncio.gather(*[one.ask(b"PING") for address, one in self._at.items() if address is not None])

    def start(self) -> None:
        """Begin to send, in the running loop; the topology is started by itself."""
        self._started = True
        for address, publisher in self._at.items():
            if address is not None:
                publisher.start()

    async def close(self, grace: float) -> None:
        """Send what waits, within so many seconds, and end."""
        self._started = False
        for waiting in self._changed:
            waiting.cancel()
        await asyncio.gather(*[publisher.close(grace) for publisher in self._at.values()])
        await self._tasks.finish(grace)

    @property
    def connected(self) -> bool:
        """Whether messages leave at present, to all nodes that have something to do."""
        return bool(self._topology.masters) and all(
            publisher.connected for address, publisher in self._at.items() if address in self._topology.masters
        )

    # the nodes

    @property
    def well(self) -> bool:
        """See `Watcher`."""
        return not self._at[_NOWHERE].waiting and self.connected

    def changed(self, slots: Collection[int]) -> None:
        """See `Watcher`."""
        owners, sending, moving = self._topology.owners, self._sending, self._moving
        for slot in slots:
            if owners[slot] not in (None, sending[slot]):
                moving.setdefault(sending[slot], set()).add(slot)
        for address in list(moving):
            self._rehome(address)
        for address in list(self._at):
            if address is not None and address not in self._topology.nodes:
                self._retire(address)
        told, self._changed = self._changed, []
        for changed in told:
            if not changed.done():
                changed.set_result(None)

    def _make(self, address: Address | None) -> Publisher:
        connector = self._connector if address is None else self._connector.at(address)
        publisher = Publisher(connector, self._backlog, self._tell_loss, self._verb)
        publisher.again = self._topology.moved
        publisher.idle = lambda: self._rehome(address)
        publisher.broken = self._topology.doubt
        return publisher

    def _node(self, address: Address) -> Publisher:
        publisher = self._at.get(address)
        if publisher is None:
            publisher = self._at[address] = self._make(address)
            if self._started:
                publisher.start()
        return publisher

    def _rehome(self, address: Address | None) -> None:
        """Send from now on where a node's slots are now, what waits first; but not before all it has is answered."""
        if address not in self._moving or self._at[address].busy:
            return
        owners, sending = self._topology.owners, self._sending
        gone: set[int] = set()
        for slot in self._moving.pop(address):
            owner = owners[slot]
            if sending[slot] == address and owner is not None and owner != address:
                sending[slot] = owner
                gone.add(slot)
                self._node(owner)
        self._moves += 1
        for waiting in self._at[address].release(gone):
            self._at[sending[waiting.slot]].adopt((waiting,))

    def _retire(self, address: Address) -> None:
        """A node that is no part of the cluster any more, and has nothing to do."""
        publisher = self._at[address]
        if not publisher.busy and address not in self._sending:
            del self._at[address]
            publisher.settle_losses()
            self._tasks.start(publisher.close(0))
