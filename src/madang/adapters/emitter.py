"""Sending to the clients of a cluster from any process, without being a server: as Node's emitters do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from ..errors import UsageError
from ..protocol.encoded import Encoded
from ..protocol.event import check_event, event_name
from ..protocol.plain import event_values
from ..protocol.socketio import DefaultParser
from ..protocol.typed import emits_to_clients, emits_to_cluster
from ..types import Room
from .adapter import EVERYONE, BroadcastOptions
from .choice import Choice, as_rooms
from .messages import ClusterMessage, Kind
from .outlets import DirectOutlet, Outlet, QueuedOutlet, outlets_of
from .wire import EMITTER


class EmitterOperator(Choice["EmitterOperator"]):
    """Whom something is for, and how; each method gives a new one, so it may be kept and used again."""

    __slots__ = ("_namespace", "_outlet")

    def __init__(self, outlet: Outlet, namespace: str, options: BroadcastOptions, compress: bool = True) -> None:
        super().__init__(options, compress)
        self._outlet = outlet
        self._namespace = namespace

    def _like(self, options: BroadcastOptions, compress: bool) -> EmitterOperator:
        return EmitterOperator(self._outlet, self._namespace, options, compress)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event to the clients that are meant.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
        """
        self._tell(Kind.BROADCAST, args=_values(event, args), compress=self._compress)

    def sockets_join(self, *rooms: Room | Iterable[Room]) -> None:
        """Make the sockets that are meant at this moment join rooms."""
        self._tell(Kind.SOCKETS_JOIN, rooms=as_rooms(rooms))

    def sockets_leave(self, *rooms: Room | Iterable[Room]) -> None:
        """Make the sockets that are meant at this moment leave rooms."""
        self._tell(Kind.SOCKETS_LEAVE, rooms=as_rooms(rooms))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect the sockets that are meant.

        Args:
            close: whether their connections are closed as well, with all namespaces on them.
        """
        self._tell(Kind.DISCONNECT_SOCKETS, close=close)

    def _tell(self, kind: Kind, **facts: Any) -> None:
        self._outlet.send(self._namespace, ClusterMessage(kind=kind, uid=EMITTER, options=self._options, **facts))


def _values(event: Any, args: tuple[Any, ...]) -> list[Any]:
    parser = DefaultParser()
    encoded: Encoded = parser.encode_event("/", (check_event(event), *args))
    return event_values(encoded, parser)


class EmitterNamespace(EmitterOperator):
    """All clients of a namespace, and the servers themselves."""

    __slots__ = ()

    @emits_to_cluster
    def server_side_emit(self, event: Any, *args: Any) -> None:
        """Tell the servers themselves, where `on_server_side` hears of it; no answer can come back.

        Raises:
            UsageError: the last argument is a function.
        """
        if args and callable(args[-1]):
            raise UsageError("an emitter is no server, and gets no answer")
        self._tell(Kind.SERVER_SIDE_EMIT, args=[str(event_name(event)), *args])


class _Emitting(EmitterNamespace):
    """What both emitters have: the main namespace, and the choice of another."""

    __slots__ = ()

    def of(self, namespace: str) -> EmitterNamespace:
        """The same for another namespace; a missing slash is added."""
        name = namespace if namespace.startswith("/") else f"/{namespace}"
        return EmitterNamespace(self._outlet, name, EVERYONE)


class Emitter(_Emitting):
    """Sends to the clients of a cluster from a program that is no server, in a running loop.

    ::

        async with madang.Emitter("redis://localhost:6379") as emitter:
            emitter.to("news").emit("headline", {"title": "…"})

    `emit` and its like are plain calls that never wait; what waits for the broker is bounded as in a server. Leaving
    the block waits until all has left.

    Args:
        url: the cluster, as the servers' option `adapter` has it.
        **options: `key`, what the names of all channels begin with (the servers' own); `timeout`, seconds in which the
            broker must answer; and what else the adapter of the same cluster has of options that concern sending.

    Raises:
        OptionError: a URL that cannot be understood, or an unknown option.
    """

    __slots__ = ("_queued",)

    def __init__(self, url: str, **options: Any) -> None:
        self._queued: QueuedOutlet = outlets_of(url).queued(url, **options)
        super().__init__(self._queued, "/", EVERYONE)

    @property
    def lost(self) -> int:
        """Messages that never left."""
        return self._queued.lost

    async def __aenter__(self) -> Self:
        """Begin to connect."""
        self._queued.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait until all has left, or for `timeout` seconds, and disconnect."""
        await self.close()

    async def drained(self) -> None:
        """Wait until the broker has taken all that was emitted till now.

        Raises:
            AdapterUnavailable: the connection broke meanwhile.
        """
        await self._queued.drained()

    async def close(self) -> None:
        """Wait until all has left, or for `timeout` seconds, and disconnect."""
        await self._queued.close()


class SyncEmitter(_Emitting):
    """The same for programs without a loop: each call waits until the broker has taken the message.

    ::

        with madang.SyncEmitter("redis://localhost:6379") as emitter:
            emitter.to("news").emit("headline", {"title": "…"})

    Args:
        url: see `Emitter`.
        **options: see `Emitter`.

    Raises:
        OptionError: see `Emitter`.
    """

    __slots__ = ("_direct",)

    def __init__(self, url: str, **options: Any) -> None:
        self._direct: DirectOutlet = outlets_of(url).direct(url, **options)
        super().__init__(self._direct, "/", EVERYONE)

    @property
    def receivers(self) -> int | None:
        """How many servers listened to the last message; None if the broker does not tell."""
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
