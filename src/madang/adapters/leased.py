"""Clusters over a broker that cannot tell who listens: their servers know each other by heartbeats.

What is done here does not depend on the broker; how a message is addressed, and what is listened to, does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ..errors import AdapterUnavailable
from ..protocol.encoded import Encoded
from ..tasks import Tasks
from ..types import Room
from .adapter import AdapterContext, BroadcastOptions
from .cluster import ClusterAdapter
from .cluster_wire import ClusterEncoder, ClusterPayload
from .heartbeats import Heartbeats
from .incoming import Incoming, InLine
from .intake import Intake
from .link import GRACE, Broker, Loss, retrieve
from .messages import AdapterHealth, ClusterMessage, Kind
from .outgoing import Outgoing, OutLine

T = TypeVar("T")


class LeasedOptions(Protocol):
    """The options that all such clusters have; see `docs/options.md`."""

    @property
    def requests_timeout(self) -> float:
        """Seconds for which the answers of other servers are awaited."""
        ...

    @property
    def heartbeat_interval(self) -> float:
        """Seconds after which a server that has said nothing else says that it lives."""
        ...

    @property
    def heartbeat_timeout(self) -> float:
        """Seconds after which one that has said nothing is gone."""
        ...

    @property
    def queue_limit(self) -> int:
        """Messages that may wait."""
        ...

    @property
    def queue_bytes(self) -> int:
        """Bytes that they may have."""
        ...

    @property
    def max_message(self) -> int:
        """Bytes that one message may have."""
        ...


class LeasedCluster(Generic[T]):
    """What all namespaces of one server share: the way out, the way in, and the time.

    Attributes:
        intake: what comes from others is counted there.
        outgoing: the way out.
        incoming: the way in.
    """

    def __init__(self, broker: Broker, options: LeasedOptions) -> None:
        self.intake = Intake(broker.name, options.max_message)
        self.outgoing: Outgoing[T] = Outgoing(
            broker, self._connect_out, options.queue_limit, options.queue_bytes, self._lost
        )
        self.incoming = Incoming(broker, self._connect_in, self._returned)
        self.backends: dict[str, LeasedBackend[T]] = {}
        self.tasks = Tasks()
        self.leases = options
        self._timer: asyncio.TimerHandle | None = None

    async def _connect_out(self) -> OutLine[T]:
        raise NotImplementedError

    async def _connect_in(self) -> InLine:
        raise NotImplementedError

    def _backend(self, context: AdapterContext) -> LeasedBackend[T]:
        raise NotImplementedError

    # what the server asks

    def make(self, context: AdapterContext) -> ClusterAdapter:
        """The adapter of a namespace."""
        backend = self.backends[context.name] = self._backend(context)
        return ClusterAdapter(context, backend, self.leases.requests_timeout)

    def start(self) -> None:
        """Connect, in the running loop; returns at once."""
        self.outgoing.start()
        self.incoming.start()
        if self._timer is None:
            self._look()

    async def close(self) -> None:
        """Let what waits leave, for a bounded time, and disconnect."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.tasks.cancel()
        for backend in self.backends.values():
            backend.heartbeats.leave()
        await self.outgoing.close(GRACE)
        await self.incoming.close()

    @property
    def health(self) -> AdapterHealth:
        """How the connections are."""
        intake = self.intake
        return AdapterHealth(
            publishing=self.outgoing.connected,
            receiving=self.incoming.connected,
            queued=len(self.outgoing),
            queued_bytes=self.outgoing.queued_bytes,
            published=self.outgoing.published,
            received=intake.received,
            parsed=intake.parsed,
            unwanted=intake.unwanted,
            poison=intake.poison,
            lost=self.outgoing.lost,
            gaps=intake.gaps,
        )

    # what happens to the connections

    def _lost(self, namespace: str, loss: Loss, over: bool) -> None:
        self.intake.tell(namespace, "out", loss.since, loss.lost, loss.uncertain, over, loss.reason)

    def _returned(self, gone: tuple[float, str] | None) -> None:
        for backend in list(self.backends.values()):
            backend.heartbeats.join()
        if gone is not None:
            self.intake.missed(*gone)

    def _look(self) -> None:
        period = 1.0
        for backend in list(self.backends.values()):
            backend.heartbeats.look(self.incoming.connected)
            period = backend.heartbeats.period
        self._timer = asyncio.get_running_loop().call_later(period, self._look)

    def forget(self, name: str, backend: LeasedBackend[T]) -> None:
        """A namespace has ended."""
        if self.backends.get(name) is backend:
            del self.backends[name]


class LeasedBackend(Generic[T]):
    """See `cluster.Backend`."""

    def __init__(self, cluster: LeasedCluster[T], context: AdapterContext) -> None:
        self.uid = secrets.token_hex(8)
        self.name = context.name
        self._cluster = cluster
        self._context = context
        self._encoder = ClusterEncoder(self.uid, context.name, context.json_default)
        self.intake = cluster.intake.open(context, self.uid, ends=self._encoder.own)
        options = cluster.leases
        self.heartbeats = Heartbeats(options.heartbeat_interval, options.heartbeat_timeout, self._say)

    # what depends on the broker

    def _listen(self) -> None:
        """Ask for what comes for this namespace."""
        raise NotImplementedError

    def _hush(self) -> None:
        """Ask for nothing any more."""
        raise NotImplementedError

    def _address(self, payload: ClusterPayload, room: Room | None, to: str | None) -> tuple[T, int]:
        """A message as it goes to the way out, and its bytes.

        Args:
            payload: the message.
            room: the only room that it is for; None if there is no such.
            to: the server that it is for; None if it is for all.
        """
        raise NotImplementedError

    def want(self, room: Room) -> None:
        """See `cluster.Backend`."""

    def unwant(self, room: Room) -> None:
        """See `cluster.Backend`."""

    # what does not

    def open(
        self,
        receive: Callable[[ClusterMessage], None],
        deliver: Callable[[Encoded, BroadcastOptions], None],
        asking: Callable[[], bool],
    ) -> None:
        """See `cluster.Backend`."""
        heard = self.heartbeats.heard

        def take(message: ClusterMessage) -> None:
            if heard(message):
                receive(message)

        self.intake.receive = take
        self._listen()
        if self._cluster.incoming.connected:
            self._cluster.tasks.start(self._join())

    async def _join(self) -> None:
        """Introduce a namespace that is new, once the answers will be heard."""
        await self._cluster.incoming.settled()
        self.heartbeats.join()

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """See `cluster.Backend`."""
        room = next(iter(options.rooms)) if len(options.rooms) == 1 else None
        self._send(self._encoder.broadcast(self._context, encoded, options), room=room)

    def publish(self, message: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._send(self._encoder.payload(message))

    def answer(self, question: ClusterMessage, answer: ClusterMessage) -> None:
        """See `cluster.Backend`."""
        self._send(self._encoder.payload(answer), to=question.uid)

    def _say(self, kind: Kind) -> None:
        payload = self._encoder.payload(ClusterMessage(kind=kind, uid=self.uid))
        self._cluster.outgoing.mention(*self._address(payload, None, None))
        self.heartbeats.said()

    def _send(self, payload: ClusterPayload, room: Room | None = None, to: str | None = None) -> None:
        item, size = self._address(payload, room, to)
        cluster = self._cluster
        if size > cluster.intake.max_message:
            cluster.outgoing.refuse(self.name, f"a message of {size} bytes is more than max_message")
        elif cluster.outgoing.publish(self.name, item, size) and room is None and to is None:
            self.heartbeats.said()

    # who is there

    @property
    def ready(self) -> bool:
        """See `cluster.Backend`."""
        return self._cluster.incoming.connected and self._cluster.outgoing.connected

    def others(self) -> asyncio.Future[int]:
        """See `cluster.Backend`."""
        return self._known(len)

    def names(self) -> asyncio.Future[frozenset[str]]:
        """See `cluster.Backend`."""
        return self._known(lambda names: names)

    def _known(self, seen: Callable[[frozenset[str]], Any]) -> asyncio.Future[Any]:
        if not self.ready:
            waiting: asyncio.Future[Any] = asyncio.ensure_future(self._known_later(seen))
            waiting.add_done_callback(retrieve)
            return waiting
        known: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        known.set_result(seen(self.heartbeats.names))
        return known

    async def _known_later(self, seen: Callable[[frozenset[str]], Any]) -> Any:
        await self.settled()
        if not self.ready:
            raise AdapterUnavailable("it is not known at present which servers there are")
        return seen(self.heartbeats.names)

    async def settled(self) -> None:
        """See `cluster.Backend`."""
        await self._cluster.incoming.settled()
        await self._cluster.outgoing.flushed()

    @property
    def health(self) -> AdapterHealth:
        """See `cluster.Backend`."""
        return self._cluster.health

    def close(self) -> None:
        """See `cluster.Backend`."""
        self.heartbeats.leave()
        self._hush()
        self._cluster.forget(self.name, self)
        self._cluster.intake.forget(self._context)
