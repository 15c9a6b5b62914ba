"""Sending over PostgreSQL from any process, as `@socket.io/postgres-emitter` does."""

from __future__ import annotations

from typing import Unpack

from ..cluster_wire import ClusterEncoder
from ..emitting import Direct, Queued
from ..messages import ClusterMessage
from ..wire import EMITTER
from .connection import Notification, PostgresBroker, PublishingLine
from .listen_notify import channel_of, notification, size_of
from .options import PostgresKeywords, PostgresOptions, options_from


class _Post:
    """See `emitting.Post`."""

    def __init__(self, url: str, options: PostgresOptions) -> None:
        self.broker = PostgresBroker(url, options.timeout, options.table_name)
        self.queue_limit = options.queue_limit
        self.queue_bytes = options.queue_bytes
        self.max_message = options.max_message
        self._options = options

    async def connect(self) -> PublishingLine:
        return await self.broker.publishing()

    def address(self, namespace: str, message: ClusterMessage) -> tuple[Notification, int]:
        encoder = ClusterEncoder(EMITTER, namespace)
        channel = channel_of(self._options.key, namespace)
        payload = encoder.payload(message)
        item = notification(encoder, EMITTER, channel, payload, self._options.payload_threshold)
        return item, size_of(item)


def queued(url: str, **options: Unpack[PostgresKeywords]) -> Queued[Notification]:
    """See `outlets.Outlets`."""
    return Queued(_Post(*options_from(url, options)))


def direct(url: str, **options: Unpack[PostgresKeywords]) -> Direct[Notification]:
    """See `outlets.Outlets`."""
    return Direct(_Post(*options_from(url, options)))
