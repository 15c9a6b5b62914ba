"""Sending over Redis streams from any process, as `@socket.io/redis-streams-emitter` does."""

from __future__ import annotations

from typing import Any

from ...errors import EncodeError
from ..cluster_wire import ClusterEncoder
from ..messages import ClusterMessage
from ..wire import EMITTER
from .emitting import Direct, Queued, ignore
from .options import StreamsOptions, options_from
from .publisher import Backlog
from .stream_writer import StreamWriter
from .streams import connector_to
from .streams_wire import EntryWriter, as_emitted, stream_of


class _Wire:
    """XADD to the stream of the namespace."""

    __slots__ = ("_namespaces", "_options")

    def __init__(self, options: StreamsOptions) -> None:
        self._options = options
        self._namespaces: dict[str, tuple[ClusterEncoder, EntryWriter]] = {}

    def parts(self, namespace: str, message: ClusterMessage) -> tuple[bytes, ...]:
        """The command for a message, in its parts."""
        if namespace not in self._namespaces:
            options = self._options
            stream = stream_of(options.stream_name, options.stream_count, namespace)
            entries = EntryWriter(stream, options.max_len, EMITTER, namespace)
            self._namespaces[namespace] = ClusterEncoder(EMITTER, namespace), entries
        encoder, entries = self._namespaces[namespace]
        payload = as_emitted(encoder, message)
        if len(payload.data) > self._options.max_message:
            raise EncodeError(f"a message of {len(payload.data)} bytes is more than max_message")
        return entries.parts(payload)


class _Outward:
    """See `emitting.Out`."""

    def __init__(self, url: str, options: StreamsOptions) -> None:
        self.backlog = Backlog(options.queue_limit, options.queue_bytes)
        connector = connector_to(url, options.timeout)
        self.writer = StreamWriter(connector, self.backlog, ignore, options.max_len)

    def start(self) -> None:
        self.writer.start()

    async def drained(self) -> None:
        await self.writer.ask(b"PING")

    async def close(self, grace: float) -> None:
        await self.writer.close(grace)


def queued(url: str, **given: Any) -> Queued:
    """See `outlets.Outlets`."""
    plain, options = options_from(url, given, StreamsOptions)
    outward, wire = _Outward(plain, options), _Wire(options)

    def send(namespace: str, message: ClusterMessage) -> None:
        outward.writer.add(namespace, wire.parts(namespace, message))

    return Queued(outward, send, options.timeout)


def direct(url: str, **given: Any) -> Direct:
    """See `outlets.Outlets`."""
    plain, options = options_from(url, given, StreamsOptions)
    connector_to(plain, options.timeout)
    return Direct(plain, _Wire(options).parts, options.timeout)
