"""The cluster over NATS. Node has no adapter for it: the messages are those of Node's others, the subjects are ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Unpack
from urllib.parse import quote

from ...types import Room
from ..adapter import AdapterContext
from ..cluster_wire import ClusterPayload
from ..leased import LeasedBackend, LeasedCluster
from .connection import Message, NatsBroker, NatsConnection
from .options import NatsKeywords, NatsOptions, options_from

LONGEST_TOKEN: Final = 200
"""Characters that a name may have in a subject; of a longer one its hash is there."""


class NatsAdapter:
    """Spreads a server over all servers of madang's that use the same NATS and key.

    ::

        io = madang.Server(adapter=madang.NatsAdapter("nats://localhost:4222", key="chat"))

    Args:
        url: where NATS is: ``nats://`` or ``tls://``, several with commas between them. Its query may have the options.
        **options: see `NatsOptions`.

    Raises:
        OptionError: an unknown option, a value out of range, a URL that cannot be understood, or no nats-py.
    """

    def __init__(self, url: str, **options: Unpack[NatsKeywords]) -> None:
        self.servers, self.options = options_from(url, options)

    def open(self) -> NatsCluster:
        """The connections for one server; for `Server`."""
        return NatsCluster(self.servers, self.options)


def token(name: Room) -> str:
    """Any name as one word of a subject."""
    text = quote(str(name), safe="", errors="surrogatepass").replace(".", "%2E")
    if len(text) > LONGEST_TOKEN:
        return "%%" + hashlib.sha256(text.encode()).hexdigest()
    return text or "%"


class Subjects:
    """The subjects of one namespace.

    Args:
        key: what they begin with.
        namespace: the namespace.

    Attributes:
        everyone: what is for all servers.
    """

    __slots__ = ("_start", "everyone")

    def __init__(self, key: str, namespace: str) -> None:
        self._start = f"{key}.{token(namespace)}."
        self.everyone = f"{self._start}all"

    def room(self, room: Room) -> str:
        """What is for the members of one room."""
        return f"{self._start}room.{token(room)}"

    def server(self, uid: str) -> str:
        """What is for one server."""
        return f"{self._start}to.{token(uid)}"


class NatsCluster(LeasedCluster[Message]):
    """What all namespaces of one server share: a connection to publish, and one to subscribe.

    Attributes:
        options: the options.
    """

    def __init__(self, servers: list[str], options: NatsOptions) -> None:
        self.options = options
        self._broker = NatsBroker(servers, options)
        self._handlers: dict[str, Callable[[bytes], None]] = {}
        super().__init__(self._broker, options)

    async def _connect_out(self) -> NatsConnection:
        return await self._broker.connect()

    async def _connect_in(self) -> NatsConnection:
        return await self._broker.connect(self._take)

    def _backend(self, context: AdapterContext) -> _Backend:
        return _Backend(self, context)

    def add(self, subject: str, handler: Callable[[bytes], None]) -> None:
        """Subscribe to a subject."""
        self._handlers[subject] = handler
        self.incoming.add(subject)

    def remove(self, subject: str) -> None:
        """Subscribe to it no longer; what still comes is dropped."""
        if self._handlers.pop(subject, None) is not None:
            self.incoming.remove(subject)

    def _take(self, subject: str, payload: bytes) -> None:
        handler = self._handlers.get(subject)
        if handler is None:
            self.intake.unwanted += 1
        else:
            handler(payload)


class _Backend(LeasedBackend[Message]):
    """See `cluster.Backend`."""

    _cluster: NatsCluster

    def __init__(self, cluster: NatsCluster, context: AdapterContext) -> None:
        super().__init__(cluster, context)
        self._subjects = Subjects(cluster.options.key, context.name)
        self._wanted: dict[str, int] = {}

    def _listen(self) -> None:
        for subject in (self._subjects.everyone, self._subjects.server(self.uid)):
            self._cluster.add(subject, self.intake.take)

    def _hush(self) -> None:
        for subject in (self._subjects.everyone, self._subjects.server(self.uid), *self._wanted):
            self._cluster.remove(subject)
        self._wanted.clear()

    def _address(self, payload: ClusterPayload, room: Room | None, to: str | None) -> tuple[Message, int]:
        if to is not None:
            subject = self._subjects.server(to)
        elif room is not None:
            subject = self._subjects.room(room)
        else:
            subject = self._subjects.everyone
        message = Message(subject, self._encoder.envelope(payload))
        return message, len(message.payload)

    def want(self, room: Room) -> None:
        """See `cluster.Backend`."""
        subject = self._subjects.room(room)
        count = self._wanted.get(subject, 0)
        self._wanted[subject] = count + 1
        if not count:
            self._cluster.add(subject, self.intake.take)

    def unwant(self, room: Room) -> None:
        """See `cluster.Backend`."""
        subject = self._subjects.room(room)
        count = self._wanted.get(subject, 0) - 1
        if count > 0:
            self._wanted[subject] = count
        elif self._wanted.pop(subject, None) is not None:
            self._cluster.remove(subject)
