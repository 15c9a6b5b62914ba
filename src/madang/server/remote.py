"""A socket that is connected to another server of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic

from ..adapters.adapter import BroadcastOptions
from ..adapters.messages import SocketFacts
from ..errors import AckTimeout, SocketClosed
from ..events.asking import asks_remote_client
from ..protocol.event import check_event
from ..protocol.typed import emits_to_clients
from ..types import Room
from .data import Data
from .handshake import Handshake

if TYPE_CHECKING:
    from .broadcast import BroadcastOperator
    from .namespace import Namespace

ACK_TIMEOUT = 5.0
"""Seconds that `RemoteSocket.emit_with_ack` waits unless told otherwise."""


def handshake_facts(handshake: Handshake) -> dict[str, Any]:
    """What a client presented, under Node's names."""
    return {
        "headers": handshake.headers,
        "time": handshake.time.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"),
        "address": handshake.address,
        "xdomain": handshake.xdomain,
        "secure": handshake.secure,
        "issued": int(handshake.issued * 1000),
        "url": handshake.url,
        "query": handshake.query,
        "auth": handshake.auth,
    }


class RemoteHandshake:
    """What a client presented to another server; see `Handshake` for the attributes."""

    __slots__ = ("address", "auth", "headers", "issued", "query", "secure", "url", "xdomain")

    def __init__(self, facts: dict[str, Any]) -> None:
        self.headers: dict[str, Any] = facts.get("headers") or {}
        self.query: dict[str, Any] = facts.get("query") or {}
        self.auth: dict[str, Any] = facts.get("auth") or {}
        self.url: str = facts.get("url") or ""
        self.address: str | None = facts.get("address")
        self.secure = bool(facts.get("secure"))
        self.xdomain = bool(facts.get("xdomain"))
        issued = facts.get("issued")
        self.issued: float = issued / 1000 if isinstance(issued, int | float) else 0.0

    @property
    def time(self) -> datetime:
        """When the connection was made, in UTC."""
        return datetime.fromtimestamp(self.issued, UTC)


class RemoteSocket(Generic[Data]):
    """A socket of another server: what it was when it was asked for, and ways to act on it.

    Attributes:
        id: its id.
        namespace: the namespace.
        handshake: what its client presented.
        rooms: the rooms that it was in.
        data: a copy of what the application kept with it.
    """

    __slots__ = ("_timeout", "data", "handshake", "id", "namespace", "rooms")

    def __init__(self, namespace: Namespace[Data], facts: SocketFacts) -> None:
        self.namespace = namespace
        self.id = facts.id
        self.handshake = RemoteHandshake(facts.handshake)
        self.rooms: set[Room] = {room for room in facts.rooms if isinstance(room, str | int)}
        data: Any = {} if facts.data is None else facts.data
        self.data: Data = data
        self._timeout: float | None = None

    def __repr__(self) -> str:
        return f"<RemoteSocket {self.id} in {self.namespace.name}>"

    def _operator(self) -> BroadcastOperator[Data]:
        return self.namespace.to(self.id)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event to this client. Never waits."""
        self._operator().emit(event, *args)

    def timeout(self, seconds: float) -> RemoteSocket[Data]:
        """The same socket; how long `emit_with_ack` waits, in seconds."""
        other = copy(self)
        other._timeout = seconds
        return other

    @asks_remote_client
    async def emit_with_ack(self, event: Any, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and get the client's answer, of which the first value travels.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: that of `timeout()`, the server's `ack_timeout`, or 5.

        Raises:
            AckTimeout: the answer did not come in time.
            SocketClosed: the client has gone.
        """
        name = check_event(event)
        namespace = self.namespace
        namespace.server.require_own_thread("emit_with_ack")
        known = (timeout, self._timeout, namespace.server.options.ack_timeout, ACK_TIMEOUT)
        seconds = next(each for each in known if each is not None)
        ack_id = namespace.next_ack_id()
        encoded = namespace.encode((name, *args), ack_id)
        answer = _FirstAnswer()
        options = BroadcastOptions(frozenset((self.id,)))
        namespace.adapter.broadcast_with_ack(encoded, options, ack_id, answer, seconds)
        try:
            async with asyncio.timeout(seconds):
                return await answer.future
        except asyncio.CancelledError:
            answer.abandon()
            raise
        except AckTimeout:
            raise
        except TimeoutError:
            raise AckTimeout from None

    def join(self, *rooms: Room | Iterable[Room]) -> None:
        """Make it join a room, several, or a list of them."""
        self._operator().sockets_join(*rooms)

    def leave(self, *rooms: Room | Iterable[Room]) -> None:
        """Make it leave a room, several, or a list of them."""
        self._operator().sockets_leave(*rooms)

    def disconnect(self, close: bool = False) -> None:
        """Disconnect it; with `close`, its whole connection."""
        self._operator().disconnect_sockets(close)


class _FirstAnswer:
    """The answer of the one client that a broadcast is for, wherever it is; see `PendingAcks`."""

    __slots__ = ("_abandon", "_asked", "future")

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._abandon: Callable[[], object] | None = None
        self._asked = 0

    def when_abandoned(self, callback: Callable[[], object]) -> None:
        self._abandon = callback

    def abandon(self) -> None:
        if self._abandon is not None:
            self._abandon()

    def expect(self, recipient: object) -> None:
        self._asked += 1

    def resolve(self, values: list[Any], recipient: object) -> None:
        if not self.future.done():
            self.future.set_result(values[0] if values else None)

    def fail(self, reason: str, recipient: object) -> None:
        if not self.future.done():
            self.future.set_exception(SocketClosed(reason))

    def all_sent(self) -> None:
        if not self._asked and not self.future.done():
            self.future.set_exception(SocketClosed("the socket has gone"))
