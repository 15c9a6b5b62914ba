"""The interface of an adapter, which holds the rooms of one namespace and reaches the other nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from ..protocol.encoded import Encoded
from ..types import Room


class BroadcastOptions(msgspec.Struct, frozen=True):
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

    def all_sent(self) -> None:
        """There will be no more recipients."""
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


class Adapter(Protocol):
    """The rooms of one namespace. Every socket is in the room that has its own id as name.

    No method but `fetch` waits: joining, leaving and broadcasting are plain calls with every adapter.
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
        self, encoded: Encoded, options: BroadcastOptions, ack_id: int, pending: PendingAcks
    ) -> None:
        """Send a message that asks for an answer; `pending` is told of each recipient and collects the answers."""
        ...

    async def fetch(self, options: BroadcastOptions) -> Sequence[Any]:
        """The sockets that `options` names, on every node."""
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

    async def server_count(self) -> int:
        """The number of servers in the cluster."""
        ...

    def close(self) -> None:
        """The namespace ends."""
        ...
