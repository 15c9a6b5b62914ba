"""The two ways between a server and Redis, out and in, be it a single one or a Redis Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ...errors import AdapterUnavailable
from ..intake import Intake
from ..link import Loss, TellLoss
from ..messages import AdapterHealth
from .connection import PUBLISH, SPUBLISH, RedisConnector
from .options import LinkOptions
from .publisher import Backlog, Publisher
from .sentinel import SentinelWatch
from .spread_publisher import SpreadPublisher
from .spread_subscriber import SpreadSubscriber
from .subscriber import Subscriber
from .topology import Topology, key_slot

GRACE = 1.0
"""Seconds that what waits may take to leave when the server closes."""


class Outward:
    """The way out.

    Args:
        url: where the Redis is.
        options: the bounds.
        sharded: whether the channels are those of sharded pub/sub.
        tell_loss: see `Publisher`.

    Attributes:
        connector: makes connections.
        topology: that of a Redis Cluster; None if it is none.
        backlog: what waits.
        publisher: what sends it.
        switched: called when sentinels have made another Redis the master.
    """

    def __init__(self, url: str, options: LinkOptions, sharded: bool, tell_loss: TellLoss) -> None:
        self.connector = RedisConnector(url, options.timeout)
        self.backlog = Backlog(options.queue_limit, options.queue_bytes)
        self.slot_of = _slots(options, sharded)
        verb = SPUBLISH if sharded else PUBLISH
        self.topology: Topology | None = None
        self.publisher: Publisher | SpreadPublisher
        if self.connector.location.kind == "cluster":
            self.topology = Topology(self.connector)
            self._spread = SpreadPublisher(self.connector, self.topology, self.backlog, tell_loss, verb, self.slot_of)
            self.publisher = self._spread
        else:
            self._single = Publisher(self.connector, self.backlog, tell_loss, verb)
            self.publisher = self._single
        self._watch: SentinelWatch | None = None
        if self.connector.location.kind == "sentinel":
            self._watch = SentinelWatch(self.connector, self._switched)
        self.switched: Callable[[str], None] = _ignore

    def _switched(self, reason: str) -> None:
        self._single.renew(reason)
        self.switched(reason)

    def start(self) -> None:
        """Connect, in the running loop; returns at once."""
        self.publisher.start()
        if self.topology is not None:
            self.topology.start()
        if self._watch is not None:
            self._watch.start()

    async def close(self, grace: float) -> None:
        """Let what waits leave, for so many seconds, and disconnect."""
        await self.publisher.close(grace)
        if self.topology is not None:
            await self.topology.close()
        if self._watch is not None:
            await self._watch.close()

    async def drained(self) -> None:
        """Wait until what was published till now has left.

        Raises:
            AdapterUnavailable: a connection broke meanwhile.
        """
        if self.topology is None:
            await self._single.ask(b"PING")
        else:
            await self._spread.drained()

    def ask(self, channel: bytes, *parts: bytes) -> asyncio.Future[Any]:
        """Ask the node that has a channel, after what was published there before.

        Raises:
            AdapterUnavailable: when awaited, if there is no answer.
        """
        return self._single.ask(*parts) if self.topology is None else self._spread.ask(channel, *parts)

    def ask_all(self, *parts: bytes) -> asyncio.Future[list[Any]]:
        """Ask all nodes; see `ask`."""
        return self._spread.ask_all(*parts) if self.topology is not None else then(self._single.ask(*parts), _listed)


class Links:
    """The connections of one server, and what it knows of them.

    Args:
        url: see `Outward`.
        options: see `Outward`.
        sharded: see `Outward`.

    Attributes:
        outward: the way out.
        subscriber: the way in.
        intake: what comes.
    """

    def __init__(self, url: str, options: LinkOptions, sharded: bool = False) -> None:
        self.intake = Intake("Redis", options.max_message)
        self.outward = out = Outward(url, options, sharded, self._lost)
        self._max_message = options.max_message
        self.subscriber: Subscriber | SpreadSubscriber
        if out.topology is not None:
            self.subscriber = SpreadSubscriber(out.connector, out.topology, self.intake.missed, sharded, out.slot_of)
        else:
            self.subscriber = single = Subscriber(out.connector, self.intake.missed, sharded)
            out.switched = single.renew

    def publish(self, namespace: str, channel: bytes, payload: bytes) -> None:
        """Send a message; it is lost if it is too large, or too much waits."""
        if len(payload) > self._max_message:
            reason = f"a message of {len(payload)} bytes is more than max_message"
            self.outward.publisher.refuse(namespace, reason)
        else:
            self.outward.publisher.publish(namespace, channel, payload)

    async def settled(self) -> None:
        """Wait until all that was wanted till now is listened to, and what was published has left."""
        await self.subscriber.settled()
        await self.outward.drained()

    def start(self) -> None:
        """Connect, in the running loop; returns at once."""
        self.outward.start()
        self.subscriber.start()

    async def close(self) -> None:
        """Let what waits leave, for a bounded time, and disconnect."""
        await self.outward.close(GRACE)
        await self.subscriber.close()

    @property
    def health(self) -> AdapterHealth:
        """How the connections are."""
        receiving = self.subscriber.connected
        return health_of(
            self.intake, self.outward.backlog, self.subscriber, self.outward.publisher.connected, receiving
        )

    def _lost(self, namespace: str, loss: Loss, over: bool) -> None:
        self.intake.tell(namespace, "out", loss.since, loss.lost, loss.uncertain, over, loss.reason)


def health_of(
    intake: Intake, backlog: Backlog, subscriber: Subscriber | SpreadSubscriber, publishing: bool, receiving: bool
) -> AdapterHealth:
    """How the connections are, from those who know it."""
    return AdapterHealth(
        publishing=publishing,
        receiving=receiving,
        queued=backlog.messages,
        queued_bytes=backlog.bytes,
        published=backlog.published,
        received=intake.received,
        parsed=intake.parsed,
        unwanted=intake.unwanted + subscriber.unwanted,
        poison=intake.poison,
        lost=backlog.lost,
        gaps=intake.gaps,
    )


def _slots(options: LinkOptions, sharded: bool) -> Callable[[bytes], int]:
    """Where channels are in a Redis Cluster; those that are not sharded are everywhere, and one node is as good."""
    if sharded:
        return key_slot
    fixed = key_slot(options.key.encode())
    return lambda _: fixed


def _ignore(_: str) -> None:
    """Nobody listens."""


def _listed(answer: Any) -> list[Any]:
    return [answer]


def then(asked: asyncio.Future[Any], convert: Callable[[Any], Any]) -> asyncio.Future[Any]:
    """A future with what becomes of another one's result."""
    converted: asyncio.Future[Any] = asked.get_loop().create_future()

    def done(future: asyncio.Future[Any]) -> None:
        if converted.done() or future.cancelled():
            return
        try:
            converted.set_result(convert(future.result()))
        except (AdapterUnavailable, ValueError, TypeError, IndexError) as error:  # the latter if Redis talks nonsense
            converted.set_exception(error)
            converted.exception()  # whoever awaits it gets it; nobody has to

    asked.add_done_callback(done)
    converted.add_done_callback(lambda future: asked.cancel() if future.cancelled() else None)
    return converted
