"""Sending to the clients of a cluster from any process, without being a server: as `@socket.io/redis-emitter` does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol, Self

import msgspec

from ..errors import AdapterUnavailable, EncodeError, ReservedEventName, UsageError
from ..protocol.encoded import Encoded
from ..protocol.parser import RESERVED_EVENTS
from ..protocol.plain import event_values
from ..protocol.socketio import DefaultParser
from ..types import Room
from .adapter import EVERYONE, BroadcastOptions
from .messages import ClusterMessage, Kind
from .redis_connection import BROKEN, RedisConnector
from .redis_options import RedisOptions, options_from
from .redis_publisher import Loss, Publisher
from .redis_wire import EMITTER, Channels, NodeJson, encode_broadcast, encode_request


class _Outlet(Protocol):
    """Where what is emitted goes."""

    def send(self, namespace: str, message: ClusterMessage) -> None:
        """Send one message."""
        ...


def _as_rooms(rooms: tuple[Any, ...]) -> tuple[Room, ...]:
    if len(rooms) == 1 and isinstance(rooms[0], Iterable) and not isinstance(rooms[0], str | bytes):
        rooms = tuple(rooms[0])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    for room in rooms:
        if not isinstance(room, str | int):
            raise UsageError(f"a room is named by text or a whole number, not by {room!r}")
    return rooms


class EmitterOperator:
    """Whom something is for, and how; each method gives a new one, so it may be kept and used again."""

    __slots__ = ("_compress", "_namespace", "_options", "_outlet")

    def __init__(self, outlet: _Outlet, namespace: str, options: BroadcastOptions, compress: bool = True) -> None:
        self._outlet = outlet
        self._namespace = namespace
        self._options = options
        self._compress = compress

    def _with(self, **changes: Any) -> EmitterOperator:
        options = msgspec.structs.replace(self._options, **changes)
        return EmitterOperator(self._outlet, self._namespace, options, self._compress)

    def to(self, *rooms: Room | Iterable[Room]) -> EmitterOperator:
        """Also members of these rooms; who is in several gets the message once."""
        return self._with(rooms=self._options.rooms.union(_as_rooms(rooms)))

    in_ = to

    def except_(self, *rooms: Room | Iterable[Room]) -> EmitterOperator:
        """Not members of these rooms, whatever `to` says."""
        return self._with(except_=self._options.except_.union(_as_rooms(rooms)))

    @property
    def volatile(self) -> EmitterOperator:
        """Only those whose transport could send at once; for the others the message is lost."""
        return self._with(volatile=True)

    def compress(self, compress: bool) -> EmitterOperator:
        """Whether polling responses that carry the message may be compressed."""
        return EmitterOperator(self._outlet, self._namespace, self._options, compress)

    def emit(self, event: str, *args: Any) -> None:
        """Send an event to the clients that are meant.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
        """
        self._tell(Kind.BROADCAST, args=_values(event, args), compress=self._compress)

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)

    def sockets_join(self, *rooms: Room | Iterable[Room]) -> None:
        """Make the sockets that are meant at this moment join rooms."""
        self._tell(Kind.SOCKETS_JOIN, rooms=_as_rooms(rooms))

    def sockets_leave(self, *rooms: Room | Iterable[Room]) -> None:
        """Make the sockets that are meant at this moment leave rooms."""
        self._tell(Kind.SOCKETS_LEAVE, rooms=_as_rooms(rooms))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect the sockets that are meant.

        Args:
            close: whether their connections are closed as well, with all namespaces on them.
        """
        self._tell(Kind.DISCONNECT_SOCKETS, close=close)

    def _tell(self, kind: Kind, **facts: Any) -> None:
        self._outlet.send(self._namespace, ClusterMessage(kind=kind, uid=EMITTER, options=self._options, **facts))


def _values(event: str, args: tuple[Any, ...]) -> list[Any]:
    if event in RESERVED_EVENTS:
        raise ReservedEventName(event)
    parser = DefaultParser()
    encoded: Encoded = parser.encode_event("/", (event, *args))
    return event_values(encoded, parser)


class EmitterNamespace(EmitterOperator):
    """All clients of a namespace, and the servers themselves."""

    __slots__ = ()

    def server_side_emit(self, event: str, *args: Any) -> None:
        """Tell the servers themselves, where `on_server_side` hears of it; no answer can come back.

        Raises:
            UsageError: the last argument is a function.
        """
        if args and callable(args[-1]):
            raise UsageError("an emitter is no server, and gets no answer")
        self._tell(Kind.SERVER_SIDE_EMIT, args=[event, *args])


class _Emitting(EmitterNamespace):
    """What both emitters have: the main namespace, and the choice of another."""

    __slots__ = ()

    def of(self, namespace: str) -> EmitterNamespace:
        """The same for another namespace; a missing slash is added."""
        name = namespace if namespace.startswith("/") else f"/{namespace}"
        return EmitterNamespace(self._outlet, name, EVERYONE)


class _Wire:
    """The bytes of what is emitted, and their channel."""

    __slots__ = ("_json", "options")

    def __init__(self, options: RedisOptions) -> None:
        self.options = options
        self._json = NodeJson()

    def encode(self, namespace: str, message: ClusterMessage) -> tuple[bytes, bytes]:
        channels = Channels(self.options.key, namespace)
        if message.kind is Kind.BROADCAST:
            channel, payload = channels.for_options(message.options), encode_broadcast(namespace, message)
        else:
            channel, payload = channels.request, encode_request(namespace, message, self._json)
        if len(payload) > self.options.max_message:
            raise EncodeError(f"a message of {len(payload)} bytes is more than max_message")
        return channel, payload


class Emitter(_Emitting):
    """Sends to the clients of a cluster from a program that is no server, in a running loop.

    ::

        async with madang.Emitter("redis://localhost:6379") as emitter:
            emitter.to("news").emit("headline", {"title": "…"})

    `emit` and its like are plain calls that never wait; what waits for Redis is bounded as in a server. Leaving the
    block waits until all has left.

    Args:
        url: where the Redis is.
        key: what the names of all channels begin with; the servers' own.
        timeout: seconds in which Redis must answer.

    """

    __slots__ = ("_publisher", "_wire")

    def __init__(self, url: str, *, key: str = "socket.io", timeout: float = 5.0) -> None:
        plain, options = options_from(url, {"key": key, "timeout": timeout})
        self._wire = _Wire(options)
        connector = RedisConnector(plain, options.timeout)
        self._publisher = Publisher(connector, options.queue_limit, options.queue_bytes, _ignore)
        super().__init__(_Queued(self._publisher, self._wire), "/", EVERYONE)

    @property
    def lost(self) -> int:
        """Messages that never left."""
        return self._publisher.lost

    async def __aenter__(self) -> Self:
        """Begin to connect."""
        self._publisher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait until all has left, or for `timeout` seconds, and disconnect."""
        await self.close()

    async def drained(self) -> None:
        """Wait until Redis has taken all that was emitted till now.

        Raises:
            AdapterUnavailable: the connection broke meanwhile.
        """
        self._publisher.start()
        await self._publisher.ask(b"PING")

    async def close(self) -> None:
        """Wait until all has left, or for `timeout` seconds, and disconnect."""
        if len(self._publisher):
            asked = self._publisher.ask(b"PING")
            await asyncio.wait((asked,), timeout=self._wire.options.timeout)
            asked.cancel()
        await self._publisher.close(0)


class _Queued:
    """Emits through a publisher, which begins with the first message."""

    def __init__(self, publisher: Publisher, wire: _Wire) -> None:
        self._publisher = publisher
        self._wire = wire

    def send(self, namespace: str, message: ClusterMessage) -> None:
        channel, payload = self._wire.encode(namespace, message)
        self._publisher.start()
        self._publisher.publish(namespace, channel, payload)


def _ignore(_: str, __: Loss, ___: bool) -> None:
    """The emitter counts what is lost, and has nobody to tell."""


class SyncEmitter(_Emitting):
    """The same for programs without a loop: each call waits until Redis has taken the message.

    ::

        with madang.SyncEmitter("redis://localhost:6379") as emitter:
            emitter.to("news").emit("headline", {"title": "…"})

    Args:
        url: where the Redis is.
        key: what the names of all channels begin with; the servers' own.
        timeout: seconds in which Redis must answer.

    """

    __slots__ = ("_direct",)

    def __init__(self, url: str, *, key: str = "socket.io", timeout: float = 5.0) -> None:
        plain, options = options_from(url, {"key": key, "timeout": timeout})
        RedisConnector(plain, timeout)
        self._direct = _Direct(plain, _Wire(options))
        super().__init__(self._direct, "/", EVERYONE)

    @property
    def receivers(self) -> int:
        """How many servers listened to the last message."""
        return self._direct.receivers

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._direct.close()


class _Direct:
    """Publishes at once."""

    def __init__(self, url: str, wire: _Wire) -> None:
        from redis import Redis

        self._wire = wire
        timeout = wire.options.timeout
        connect: Any = Redis.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self._redis = connect(url, socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2)
        self.receivers = 0

    def send(self, namespace: str, message: ClusterMessage) -> None:
        channel, payload = self._wire.encode(namespace, message)
        try:
            self.receivers = self._redis.publish(channel, payload)
        except BROKEN as error:
            raise AdapterUnavailable(f"Redis did not take the message: {error}") from error

    def close(self) -> None:
        self._redis.close()
