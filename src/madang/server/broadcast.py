"""Whom to send to, and how: the operators that `Server`, `Namespace` and `Socket` share."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..adapters.adapter import BroadcastOptions
from ..adapters.messages import SocketFacts
from ..adapters.requests import Found
from ..errors import OptionError, UsageError
from ..events.acks import PendingAcks
from ..events.event import check_event
from ..types import Room
from .remote import RemoteSocket

if TYPE_CHECKING:
    from .namespace import Namespace
    from .socket import Socket

BROADCAST_ACK_TIMEOUT = 5.0
"""Seconds that a broadcast waits for answers unless told otherwise."""


def as_rooms(rooms: tuple[Any, ...]) -> tuple[Room, ...]:
    """One room, several, or a list of them."""
    if len(rooms) == 1 and isinstance(rooms[0], Iterable) and not isinstance(rooms[0], str | bytes):
        rooms = tuple(rooms[0])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    for room in rooms:
        if not isinstance(room, str | int):
            raise UsageError(f"a room is named by text or a whole number, not by {room!r}")
    return rooms


class Target(Protocol):
    """Where a broadcast goes: one namespace, or all children of a dynamic one."""

    @property
    def targets(self) -> Iterable[Namespace]:
        """The namespaces."""
        ...


class BroadcastOperator:
    """A choice of recipients and flags; each method gives a new one, so it may be kept and used again.

    Made by `io.to(...)` and its like. Without rooms it means everyone in the namespace.
    """

    __slots__ = ("_compress", "_options", "_target", "_timeout")

    def __init__(
        self,
        target: Target,
        options: BroadcastOptions,
        compress: bool = True,
        timeout: float | None = None,
    ) -> None:
        self._target = target
        self._options = options
        self._compress = compress
        self._timeout = timeout

    def _with(self, **changes: Any) -> BroadcastOperator:
        options = msgspec.structs.replace(self._options, **changes)
        return BroadcastOperator(self._target, options, self._compress, self._timeout)

    def to(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator:
        """Also members of these rooms; who is in several gets the message once."""
        return self._with(rooms=self._options.rooms.union(as_rooms(rooms)))

    in_ = to

    def except_(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator:
        """Not members of these rooms, whatever `to` says."""
        return self._with(except_=self._options.except_.union(as_rooms(rooms)))

    @property
    def local(self) -> BroadcastOperator:
        """Only sockets of this node."""
        return self._with(local=True)

    @property
    def volatile(self) -> BroadcastOperator:
        """Only those whose transport could send at once; for the others the message is lost."""
        return self._with(volatile=True)

    def compress(self, compress: bool) -> BroadcastOperator:
        """Whether polling responses that carry the message may be compressed."""
        return BroadcastOperator(self._target, self._options, compress, self._timeout)

    def timeout(self, seconds: float) -> BroadcastOperator:
        """How long `emit_with_ack` waits, in seconds."""
        return BroadcastOperator(self._target, self._options, self._compress, seconds)

    def emit(self, event: str | int, *args: Any) -> None:
        """Send an event. Never waits; may be called from any thread.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
        """
        name = check_event(event)
        for namespace in self._target.targets:
            namespace.broadcast((name, *args), self._options, self._compress)

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)

    def emit_with_ack(self, event: str | int, *args: Any, timeout: float | None = None) -> Future[list[Any]]:
        """Send an event and collect the answers. It is sent by this call, not when the result is awaited.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: that of `timeout()`, the server's `ack_timeout`, or 5.

        Returns:
            An awaitable list with the first value of each client's answer; empty if there was no recipient.

        Raises:
            AckTimeout: when awaited, if somebody did not answer; its `responses` are the answers that did come.
            ReservedEventName: the name belongs to the protocol.
        """
        name = check_event(event)
        namespaces = list(self._target.targets)
        if len(namespaces) != 1:
            raise OptionError("emit_with_ack goes to one namespace, not to all children of a dynamic one")
        namespace = namespaces[0]
        server = namespace.server
        server.require_own_thread("emit_with_ack")
        seconds = next(
            known
            for known in (timeout, self._timeout, server.options.ack_timeout, BROADCAST_ACK_TIMEOUT)
            if known is not None
        )
        ack_id = namespace.next_ack_id()

        def forget(recipient: Any) -> None:
            recipient.forget_ack(ack_id)

        encoded = namespace.encode((name, *args), ack_id, self._compress)
        pending = PendingAcks(seconds, forget)
        namespace.adapter.broadcast_with_ack(encoded, self._options, ack_id, pending, seconds)
        return pending.future

    async def fetch_sockets(self) -> Found[Socket | RemoteSocket]:
        """The sockets that are meant, on all servers of the cluster; those of other servers as a `RemoteSocket`.

        Returns:
            A list; its `missing` is the number of servers that did not answer in time.
        """
        found: Found[Socket | RemoteSocket] = Found()
        for namespace in self._target.targets:
            there: Found[Any] = await namespace.adapter.fetch(self._options)
            found += (RemoteSocket(namespace, one) if isinstance(one, SocketFacts) else one for one in there)
            found.missing += there.missing
            found.missing_nodes |= there.missing_nodes
        return found

    def sockets_join(self, *rooms: Room | Iterable[Room]) -> None:
        """Make the sockets that are meant at this moment join rooms."""
        for namespace in self._target.targets:
            namespace.server.in_loop(namespace.adapter.sockets_join, self._options, as_rooms(rooms))

    def sockets_leave(self, *rooms: Room | Iterable[Room]) -> None:
        """Make the sockets that are meant at this moment leave rooms."""
        for namespace in self._target.targets:
            namespace.server.in_loop(namespace.adapter.sockets_leave, self._options, as_rooms(rooms))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect the sockets that are meant.

        Args:
            close: whether their connections are closed as well, with all namespaces on them.
        """
        for namespace in self._target.targets:
            namespace.server.in_loop(namespace.adapter.disconnect_sockets, self._options, close)


class Operators:
    """The operators of something that can be broadcast to; a mixin."""

    __slots__ = ()

    def _operator(self) -> BroadcastOperator:
        raise NotImplementedError

    def to(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator:
        """Members of these rooms; who is in several gets the message once."""
        return self._operator().to(*rooms)

    def in_(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator:
        """The same as `to`."""
        return self._operator().to(*rooms)

    def except_(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator:
        """All but members of these rooms."""
        return self._operator().except_(*rooms)

    @property
    def local(self) -> BroadcastOperator:
        """Only sockets of this node."""
        return self._operator().local


class NamespaceOperators(Operators):
    """The operators of a server or namespace, which mean everyone in it; a mixin."""

    __slots__ = ()

    @property
    def volatile(self) -> BroadcastOperator:
        """Only those whose transport could send at once; for the others the message is lost."""
        return self._operator().volatile

    def compress(self, compress: bool) -> BroadcastOperator:
        """Whether polling responses that carry the message may be compressed."""
        return self._operator().compress(compress)

    def timeout(self, seconds: float) -> BroadcastOperator:
        """How long `emit_with_ack` waits, in seconds."""
        return self._operator().timeout(seconds)

    def emit(self, event: str | int, *args: Any) -> None:
        """Send an event to everyone. See `BroadcastOperator.emit`."""
        self._operator().emit(event, *args)

    def send(self, *args: Any) -> None:
        """Send the event ``message`` to everyone."""
        self._operator().emit("message", *args)

    def emit_with_ack(self, event: str | int, *args: Any, timeout: float | None = None) -> Future[list[Any]]:
        """Send an event to everyone and collect the answers. See `BroadcastOperator.emit_with_ack`."""
        return self._operator().emit_with_ack(event, *args, timeout=timeout)

    async def fetch_sockets(self) -> Found[Socket | RemoteSocket]:
        """All sockets, on all servers of the cluster. See `BroadcastOperator.fetch_sockets`."""
        return await self._operator().fetch_sockets()

    def sockets_join(self, *rooms: Room | Iterable[Room]) -> None:
        """Make all sockets join rooms."""
        self._operator().sockets_join(*rooms)

    def sockets_leave(self, *rooms: Room | Iterable[Room]) -> None:
        """Make all sockets leave rooms."""
        self._operator().sockets_leave(*rooms)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect all sockets."""
        self._operator().disconnect_sockets(close)
