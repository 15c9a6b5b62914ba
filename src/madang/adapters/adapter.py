"""The interface of an adapter, which holds the rooms of one namespace and reaches the other nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ..protocol.encoded import Encoded
from ..types import Room

if TYPE_CHECKING:
    from .messages import AdapterGap, AdapterHealth, SocketFacts


class BroadcastOptions(msgspec.Struct, frozen=True, gc=False):
    """Whom a broadcast or a command is for.

    Attributes:
        rooms: members of any of them; empty for everyone.
        except_: but for members of these.
        volatile: only those whose transport could send at once.
        local: only sockets of this node.
    """

    rooms: frozenset[Room] = frozenset()
    except_: frozenset[Room] = frozenset()
    volatile: bool = False
    local: bool = False


class PendingAcks(Protocol):
    """What collects the answers to a broadcast."""

    def expect(self, recipient: object) -> None:
        """Wait for the answer of one more recipient."""
        ...

    def resolve(self, values: list[Any], recipient: object) -> None:
        """A recipient has answered."""
        ...

    def fail(self, reason: str, recipient: object) -> None:
        """A recipient is gone."""
        ...

    def all_sent(self) -> None:
        """There will be no more recipients."""
        ...

    def when_abandoned(self, callback: Callable[[], object]) -> None:
        """Call `callback()` if nobody waits for the answers any more before they are all there or the time is up."""
        ...


EVERYONE: Final = BroadcastOptions()


class Sink(Protocol):
    """What an adapter knows of a socket."""

    id: str

    def write(self, encoded: Encoded) -> None:
        """Send a message; never waits or raises."""
        ...

    def write_volatile(self, encoded: Encoded) -> None:
        """Send a message only if it would leave at once."""
        ...

    def expect_ack(self, ack_id: int, pending: PendingAcks) -> None:
        """Give the answer with this id to `pending`."""
        ...


class AdapterContext(Protocol):
    """What an adapter may ask of its namespace; each adapter is made with one.

    Attributes:
        name: the namespace's name.
    """

    name: str

    @property
    def json_default(self) -> Callable[[Any], Any] | None:
        """The server's option of this name."""
        ...

    def next_ack_id(self) -> int:
        """A new id for an acknowledgement."""
        ...

    def encode(self, args: tuple[Any, ...], ack_id: int | None = None, compress: bool = True) -> Encoded:
        """Encode an event, given as name and arguments."""
        ...

    def values_of(self, encoded: Encoded) -> list[Any]:
        """Name and arguments of an event that was encoded, as clients decode them, with bytes as bytes."""
        ...

    def array_of(self, encoded: Encoded) -> bytes | None:
        """Name and arguments of an event that was encoded, as a JSON array; None if that cannot hold them."""
        ...

    def encode_array(self, array: bytes, ack_id: int | None = None, compress: bool = True) -> Encoded:
        """Encode an event, given as a JSON array that is known to be good."""
        ...

    def with_offset(self, encoded: Encoded, offset: str) -> Encoded:
        """An event that was encoded, with one argument of text more; `encoded` stays as it is."""
        ...

    def describe(self, sink: Any) -> SocketFacts:
        """A socket as other servers are told of it."""
        ...

    def server_side_received(self, args: list[Any], answer: Callable[[Any], None] | None) -> None:
        """Another server has sent name and arguments, and perhaps wants one answer."""
        ...

    def adapter_gap(self, gap: AdapterGap) -> None:
        """Messages between servers were, or may have been, lost."""
        ...


class Adapter(Protocol):
    """The rooms of one namespace. Every socket is in the room that has its own id as name.

    What is `async` may ask other servers. All else never waits: joining, leaving and broadcasting are plain calls with
    every adapter.
    """

    def add(self, sink: Any) -> None:
        """A socket has joined the namespace, and so its own room."""
        ...

    def remove(self, sink: Any) -> None:
        """A socket has left; it leaves all rooms."""
        ...

    def join(self, sink: Any, rooms: Iterable[Room]) -> None:
        """Put a socket into rooms."""
        ...

    def leave(self, sink: Any, room: Room) -> None:
        """Take a socket out of a room; silent if it is not there."""
        ...

    def rooms_of(self, sink: Any) -> set[Room]:
        """The rooms a socket is in, as a new set."""
        ...

    def members(self, options: BroadcastOptions) -> Sequence[Any]:
        """The sockets of this node that `options` names, each once, in a list of its own."""
        ...

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """Send a message to all that `options` names, on every node."""
        ...

    def broadcast_with_ack(
        self, encoded: Encoded, options: BroadcastOptions, ack_id: int, pending: PendingAcks, timeout: float
    ) -> None:
        """Send a message that asks for an answer; `pending` is told of each recipient and collects the answers.

        After `timeout` seconds nobody waits for them any more.
        """
        ...

    async def fetch(self, options: BroadcastOptions) -> Any:
        """The sockets that `options` names, on every node, as a `Found`; those of other nodes as `SocketFacts`."""
        ...

    async def all_rooms(self, local: bool = False) -> Any:
        """The rooms there are, on every node, as a `FoundRooms`."""
        ...

    def sockets_join(self, options: BroadcastOptions, rooms: Sequence[Room]) -> None:
        """Make all that `options` names join rooms."""
        ...

    def sockets_leave(self, options: BroadcastOptions, rooms: Sequence[Room]) -> None:
        """Make all that `options` names leave rooms."""
        ...

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        """Disconnect all that `options` names."""
        ...

    def server_side_emit(self, args: Sequence[Any]) -> None:
        """Tell the other servers of the cluster."""
        ...

    async def server_side_emit_with_ack(self, args: Sequence[Any], timeout: float | None) -> Any:
        """Tell the other servers of the cluster, and collect one answer of each, as a `Found`."""
        ...

    async def server_count(self) -> int:
        """The number of servers in the cluster."""
        ...

    async def settled(self) -> None:
        """Wait until what was done here till now has effect in the cluster."""
        ...

    @property
    def health(self) -> AdapterHealth:
        """How the link to the other servers is."""
        ...

    def close(self) -> None:
        """The namespace ends."""
        ...
