"""The cluster over PostgreSQL's LISTEN and NOTIFY, together with Node servers with `@socket.io/postgres-adapter`."""

from __future__ import annotations

import time
from typing import Final, Unpack

from ...protocol.values import loads
from ...types import Room
from ..adapter import AdapterContext
from ..cluster_wire import ClusterEncoder, ClusterPayload
from ..leased import LeasedBackend, LeasedCluster
from ..wire import pack
from .arrivals import Arrivals, Cleaning
from .connection import ListeningLine, Notification, PostgresBroker, PublishingLine
from .options import PostgresKeywords, PostgresOptions, options_from

LONGEST_NAME: Final = 63
"""Bytes that the name of a channel may have."""


class PostgresAdapter:
    """Spreads a server over all that use the same PostgreSQL database and key, be they madang or Node.

    ::

        io = madang.Server(adapter=madang.PostgresAdapter("postgresql://app@localhost/app", key="chat"))

    Args:
        url: where the database is: ``postgresql://`` or ``postgres://``. Its query may have the options, too.
        **options: see `PostgresOptions`.

    Raises:
        OptionError: an unknown option, a value out of range, a URL that cannot be understood, or no asyncpg.
    """

    def __init__(self, url: str, **options: Unpack[PostgresKeywords]) -> None:
        self.url, self.options = options_from(url, options)

    def open(self) -> PostgresCluster:
        """The connections for one server; for `Server`."""
        return PostgresCluster(self.url, self.options)


def channel_of(key: str, namespace: str) -> str:
    """The channel of a namespace.

    LISTEN cuts a name that is too long, and pg_notify refuses it: it is cut here for both. The messages tell the whole
    name, so that namespaces with the same channel are not mixed up.
    """
    name = f"{key}#{namespace}".replace("\0", "\ufffd").encode(errors="replace")
    return name[:LONGEST_NAME].decode(errors="ignore")


def notification(encoder: ClusterEncoder, uid: str, channel: str, payload: ClusterPayload, most: int) -> Notification:
    """A message as PostgreSQL is given it: as it is, or through the table if it holds bytes or is too long."""
    if not payload.binary:
        envelope = encoder.envelope(payload)
        if len(envelope) <= most:
            return Notification(channel, envelope.decode(errors="replace"), None)
        payload = ClusterPayload(payload.type, pack(loads(payload.data)))
    head = f'{{"uid":"{uid}","type":{payload.type},"attachmentId":"'
    return Notification(channel, head, encoder.envelope(payload))


def size_of(item: Notification) -> int:
    """The bytes of a notification, and of its attachment."""
    return len(item.payload) + len(item.attachment or b"")


class PostgresCluster(LeasedCluster[Notification]):
    """What all namespaces of one server share: a connection to notify, and one to listen.

    Attributes:
        options: the options.
    """

    def __init__(self, url: str, options: PostgresOptions) -> None:
        self.options = options
        self._broker = PostgresBroker(url, options.timeout, options.table_name)
        super().__init__(self._broker, options)
        self._cleaning = Cleaning(options.cleanup_interval)
        self._channels: dict[str, list[_Backend]] = {}
        self._arrivals = Arrivals(
            self._deliver,
            self._own,
            self._undelivered,
            self._cleaning.attached,
            self.incoming.rouse,
            options.max_message,
            options.queue_limit,
        )

    async def _connect_out(self) -> PublishingLine:
        return await self._broker.publishing()

    async def _connect_in(self) -> ListeningLine:
        return await self._broker.listening(self._arrivals.take, self._attend)

    def _backend(self, context: AdapterContext) -> _Backend:
        return _Backend(self, context)

    def add(self, channel: str, backend: _Backend) -> None:
        """Listen to the channel of a namespace."""
        self._channels.setdefault(channel, []).append(backend)
        self.incoming.add(channel)

    def remove(self, channel: str, backend: _Backend) -> None:
        """A namespace listens no longer."""
        left = [one for one in self._channels.get(channel, ()) if one is not backend]
        if left:
            self._channels[channel] = left
        elif self._channels.pop(channel, None) is not None:
            self.incoming.remove(channel)

    # in

    def _own(self, uid: str) -> bool:
        return any(backend.uid == uid for backend in self.backends.values())

    def _deliver(self, channel: str, payload: bytes) -> None:
        backends = self._channels.get(channel)
        if backends is None:
            self.intake.unwanted += 1
            return
        for backend in tuple(backends):
            backend.intake.take(payload)

    def _undelivered(self, channel: str, reason: str) -> None:
        self.intake.gaps += 1
        for backend in self._channels.get(channel, ()):
            self.intake.tell(backend.name, "in", time.time(), None, 0, True, reason)

    async def _attend(self, line: ListeningLine) -> None:
        """Fetch what has come in part, and clean the table if something was in it."""
        await self._arrivals.fetch(line)
        if self._cleaning.due():
            await line.clean(self._cleaning.interval)


class _Backend(LeasedBackend[Notification]):
    """See `cluster.Backend`."""

    _cluster: PostgresCluster

    def __init__(self, cluster: PostgresCluster, context: AdapterContext) -> None:
        super().__init__(cluster, context)
        self._channel = channel_of(cluster.options.key, context.name)

    def _listen(self) -> None:
        self._cluster.add(self._channel, self)

    def _hush(self) -> None:
        self._cluster.remove(self._channel, self)

    def _address(self, payload: ClusterPayload, room: Room | None, to: str | None) -> tuple[Notification, int]:
        most = self._cluster.options.payload_threshold
        item = notification(self._encoder, self.uid, self._channel, payload, most)
        return item, size_of(item)
