"""Sending over NATS from any process."""

from __future__ import annotations

from typing import Unpack

from ..cluster_wire import ClusterEncoder
from ..emitting import Direct, Queued
from ..messages import ClusterMessage, Kind
from ..wire import EMITTER
from .connection import Message, NatsBroker, NatsConnection
from .options import NatsKeywords, NatsOptions, options_from
from .subjects import Subjects


class _Post:
    """See `emitting.Post`."""

    def __init__(self, servers: list[str], options: NatsOptions) -> None:
        self.broker = NatsBroker(servers, options)
        self.queue_limit = options.queue_limit
        self.queue_bytes = options.queue_bytes
        self.max_message = options.max_message
        self._key = options.key

    async def connect(self) -> NatsConnection:
        return await self.broker.connect()

    def address(self, namespace: str, message: ClusterMessage) -> tuple[Message, int]:
        encoder = ClusterEncoder(EMITTER, namespace)
        subjects = Subjects(self._key, namespace)
        rooms = message.options.rooms
        if message.kind is Kind.BROADCAST and len(rooms) == 1:
            subject = subjects.room(next(iter(rooms)))
        else:
            subject = subjects.everyone
        payload = encoder.envelope(encoder.payload(message))
        return Message(subject, payload), len(payload)


def queued(url: str, **options: Unpack[NatsKeywords]) -> Queued[Message]:
    """See `outlets.Outlets`."""
    return Queued(_Post(*options_from(url, options)))


def direct(url: str, **options: Unpack[NatsKeywords]) -> Direct[Message]:
    """See `outlets.Outlets`."""
    return Direct(_Post(*options_from(url, options)))
