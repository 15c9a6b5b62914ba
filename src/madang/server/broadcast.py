"""Whom to send to, and how: the operators that `Server`, `Namespace` and `Socket` share."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol

from msgspec.structs import replace

from ..adapters.adapter import BroadcastOptions
from ..adapters.choice import Choice, as_rooms
from ..adapters.messages import SocketFacts
from ..adapters.requests import Found
from ..errors import OptionError
from ..events.asking import asks_clients, streams_replies
from ..events.replies import PendingAcks, PendingReplies, Replies, ReplyStream
from ..protocol.event import check_event
from ..protocol.typed import emits_to_clients
from ..types import Room
from .data import Data
from .remote import RemoteSocket

if TYPE_CHECKING:
    from .namespace import Namespace
    from .socket import Socket

BROADCAST_ACK_TIMEOUT = 5.0
"""Seconds that a broadcast waits for answers unless told otherwise."""


class _Forget:
    """Makes a client's socket forget a question."""

    __slots__ = ("_ack_id",)

    def __init__(self, ack_id: int) -> None:
        self._ack_id = ack_id

    def __call__(self, recipient: Any) -> None:
        recipient.forget_ack(self._ack_id)


class Target(Protocol):
    """Where a broadcast goes: one namespace, or all children of a dynamic one."""

    @property
    def targets(self) -> Iterable[Namespace[Any]]:
        """The namespaces."""
        ...


class BroadcastOperator(Choice["BroadcastOperator[Data]"], Generic[Data]):
    """A choice of recipients and flags; each method gives a new one, so it may be kept and used again.

    Made by `io.to(...)` and its like. Without rooms it means everyone in the namespace.
    """

    __slots__ = ("_target", "_timeout")

    def __init__(
        self,
        target: Target,
        options: BroadcastOptions,
        compress: bool = True,
        timeout: float | None = None,
    ) -> None:
        self._options = options
        self._compress = compress
        self._target = target
        self._timeout = timeout

    def _like(self, options: BroadcastOptions, compress: bool) -> BroadcastOperator[Data]:
        return BroadcastOperator(self._target, options, compress, self._timeout)

    @property
    def local(self) -> BroadcastOperator[Data]:
        """Only sockets of this node."""
        return self._like(replace(self._options, local=True), self._compress)

    def timeout(self, seconds: float) -> BroadcastOperator[Data]:
        """How long `emit_with_ack` waits, in seconds."""
        return BroadcastOperator(self._target, self._options, self._compress, seconds)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event. Never waits; may be called from any thread.

        Raises:
            ReservedEventName: the name belongs to the protocol.
            EncodeError: an argument cannot be sent.
        """
        name = check_event(event)
        for namespace in self._target.targets:
            namespace.broadcast((name, *args), self._options, self._compress)

    @asks_clients
    def emit_with_ack(
        self, event: Any, *args: Any, timeout: float | None = None, partial: bool = False
    ) -> Future[Replies[Any]]:
        """Send an event and collect the answers. It is sent by this call, not when the result is awaited.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: that of `timeout()`, the server's `ack_timeout`, or 5.
            partial: whether the answers that came are the result even if some are missing. Default: that is an error.

        Returns:
            An awaitable `Replies`: a list with the first value of each client's answer, and who has not answered; empty
            if there was no recipient.

        Raises:
            AckTimeout: when awaited, if somebody did not answer; it has the `responses` that did come, and how many and
                who are `missing`.
            ReservedEventName: the name belongs to the protocol.
        """
        name = check_event(event)
        namespace, seconds, ack_id = self._question("emit_with_ack", timeout)
        encoded = namespace.encode((name, *args), ack_id, self._compress)
        pending = PendingAcks(seconds, _Forget(ack_id), partial=partial)
        namespace.adapter.broadcast_with_ack(encoded, self._options, ack_id, pending, seconds)
        return pending.future

    @streams_replies
    def ask(self, event: Any, *args: Any, timeout: float | None = None) -> ReplyStream[Any]:
        """Send an event and take the answers one by one as they come, with ``async for``. It is sent by this call.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds after which answers that have not come are given up; see `emit_with_ack`.

        Returns:
            A `ReplyStream`; it raises nothing if somebody does not answer, and says how many did not. Awaited, it gives
            all that came as a `Replies`.

        Raises:
            ReservedEventName: the name belongs to the protocol.
        """
        name = check_event(event)
        namespace, seconds, ack_id = self._question("ask", timeout)
        encoded = namespace.encode((name, *args), ack_id, self._compress)
        pending = PendingReplies(seconds, _Forget(ack_id))
        namespace.adapter.broadcast_with_ack(encoded, self._options, ack_id, pending, seconds)
        return ReplyStream(pending)

    def _question(self, method: str, timeout: float | None) -> tuple[Namespace[Any], float, int]:
        """Where a question goes, how many seconds its answers have, and its number."""
        namespaces = list(self._target.targets)
        if len(namespaces) != 1:
            raise OptionError(f"{method} goes to one namespace, not to all children of a dynamic one")
        namespace = namespaces[0]
        server = namespace.server
        server.require_own_thread(method)
        known = (timeout, self._timeout, server.options.ack_timeout, BROADCAST_ACK_TIMEOUT)
        return namespace, next(seconds for seconds in known if seconds is not None), namespace.next_ack_id()

    async def fetch_sockets(self) -> Found[Socket[Data] | RemoteSocket[Data]]:
        """The sockets that are meant, on all servers of the cluster; those of other servers as a `RemoteSocket`.

        Returns:
            A list; its `missing` is the number of servers that did not answer in time.
        """
        found: Found[Socket[Data] | RemoteSocket[Data]] = Found()
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


class Operators(Generic[Data]):
    """The operators of something that can be broadcast to; a mixin."""

    __slots__ = ()

    def _operator(self) -> BroadcastOperator[Data]:
        raise NotImplementedError

    def to(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator[Data]:
        """Members of these rooms; who is in several gets the message once."""
        return self._operator().to(*rooms)

    def in_(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator[Data]:
        """The same as `to`."""
        return self._operator().to(*rooms)

    def except_(self, *rooms: Room | Iterable[Room]) -> BroadcastOperator[Data]:
        """All but members of these rooms."""
        return self._operator().except_(*rooms)

    @property
    def local(self) -> BroadcastOperator[Data]:
        """Only sockets of this node."""
        return self._operator().local


class NamespaceOperators(Operators[Data]):
    """The operators of a server or namespace, which mean everyone in it; a mixin."""

    __slots__ = ()

    @property
    def volatile(self) -> BroadcastOperator[Data]:
        """Only those whose transport could send at once; for the others the message is lost."""
        return self._operator().volatile

    def compress(self, compress: bool) -> BroadcastOperator[Data]:
        """Whether polling responses that carry the message may be compressed."""
        return self._operator().compress(compress)

    def timeout(self, seconds: float) -> BroadcastOperator[Data]:
        """How long `emit_with_ack` waits, in seconds."""
        return self._operator().timeout(seconds)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event to everyone. See `BroadcastOperator.emit`."""
        self._operator().emit(event, *args)

    def send(self, *args: Any) -> None:
        """Send the event ``message`` to everyone."""
        self._operator().emit("message", *args)

    @asks_clients
    def emit_with_ack(
        self, event: Any, *args: Any, timeout: float | None = None, partial: bool = False
    ) -> Future[Replies[Any]]:
        """Send an event to everyone and collect the answers. See `BroadcastOperator.emit_with_ack`."""
        return self._operator().emit_with_ack(event, *args, timeout=timeout, partial=partial)

    @streams_replies
    def ask(self, event: Any, *args: Any, timeout: float | None = None) -> ReplyStream[Any]:
        """Send an event to everyone and take the answers as they come. See `BroadcastOperator.ask`."""
        return self._operator().ask(event, *args, timeout=timeout)

    async def fetch_sockets(self) -> Found[Socket[Data] | RemoteSocket[Data]]:
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
