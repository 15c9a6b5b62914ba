"""The adapter of a single server: rooms as tables in memory.

A room holds its members themselves, so a broadcast walks over them without a look-up. The room of a socket's own id is
not stored: it is the socket's entry in the table of all. Joining, leaving and going away cost the same however many
sockets there are; an empty room is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

from ..engine.listeners import Listeners
from ..protocol.encoded import Encoded
from ..types import Room
from .adapter import BroadcastOptions, PendingAcks
from .messages import AdapterHealth
from .requests import Found, FoundRooms

_NOBODY: Final[dict[Any, Any]] = {}


class MemoryAdapter(Listeners):
    """See `Adapter`.

    Events: ``create_room`` (room), ``join_room`` (room, id), ``leave_room`` (room, id), ``delete_room`` (room).

    Attributes:
        everyone: all sockets by id.
        rooms: members by room; the rooms of the sockets' own ids are not among them.
    """

    __slots__ = ("_joined", "_not_in_own", "everyone", "rooms")

    EVENTS: ClassVar[frozenset[str]] = frozenset(("create_room", "join_room", "leave_room", "delete_room"))

    def __init__(self) -> None:
        super().__init__()
        self.everyone: dict[Room, Any] = {}
        self.rooms: dict[Room, dict[str, Any]] = {}
        self._joined: dict[str, set[Room]] = {}
        self._not_in_own: set[Room] = set()

    def add(self, sink: Any) -> None:
        """A socket has joined the namespace, and so its own room."""
        self.everyone[sink.id] = sink
        if self._listeners is not None:
            self.tell("create_room", sink.id)
            self.tell("join_room", sink.id, sink.id)

    def remove(self, sink: Any) -> None:
        """A socket has left; it leaves all rooms."""
        for room in self._joined.pop(sink.id, ()):
            self._take_out(sink, room)
        in_own = sink.id not in self._not_in_own
        self._not_in_own.discard(sink.id)
        if self.everyone.pop(sink.id, None) is not None and self._listeners is not None:
            if in_own:
                self.tell("leave_room", sink.id, sink.id)
            self.tell("delete_room", sink.id)

    def join(self, sink: Any, rooms: Iterable[Room]) -> None:
        """Put a socket into rooms."""
        joined = self._joined.get(sink.id)
        for room in rooms:
            if room == sink.id:
                if sink.id in self._not_in_own:
                    self._not_in_own.remove(sink.id)
                    self.tell("join_room", room, sink.id)
                continue
            if joined is None:
                joined = self._joined.setdefault(sink.id, set())
            if room in joined:
                continue
            joined.add(room)
            members = self.rooms.get(room)
            if members is None:
                members = self.rooms[room] = {}
                if room not in self.everyone:
                    self.tell("create_room", room)
            members[sink.id] = sink
            self.tell("join_room", room, sink.id)

    def leave(self, sink: Any, room: Room) -> None:
        """Take a socket out of a room; silent if it is not there."""
        if room == sink.id:
            if sink.id not in self._not_in_own:
                self._not_in_own.add(sink.id)
                self.tell("leave_room", room, sink.id)
            return
        joined = self._joined.get(sink.id)
        if joined is not None and room in joined:
            joined.remove(room)
            if not joined:
                del self._joined[sink.id]
            self._take_out(sink, room)

    def _take_out(self, sink: Any, room: Room) -> None:
        members = self.rooms.get(room)
        if members is not None and members.pop(sink.id, None) is not None:
            self.tell("leave_room", room, sink.id)
            if not members:
                del self.rooms[room]
                if room not in self.everyone:
                    self.tell("delete_room", room)

    def rooms_of(self, sink: Any) -> set[Room]:
        """The rooms a socket is in, as a new set."""
        rooms = set(self._joined.get(sink.id, ()))
        if sink.id in self.everyone and sink.id not in self._not_in_own:
            rooms.add(sink.id)
        return rooms

    def members(self, options: BroadcastOptions) -> list[Any]:
        """The sockets that `options` names, each once."""
        if not options.rooms:
            found = self.everyone
        elif len(options.rooms) == 1:
            (room,) = options.rooms
            found = self._in(room) if room in self.everyone else self.rooms.get(room, _NOBODY)
        else:
            found = dict[Room, Any]()
            for room in options.rooms:
                found |= self._in(room)
        if not options.except_:
            return list(found.values())
        excluded: set[Room] = set()
        for room in options.except_:
            excluded.update(self._in(room))
        return [sink for sink_id, sink in found.items() if sink_id not in excluded]

    def _in(self, room: Room) -> dict[Any, Any]:
        members = self.rooms.get(room)
        own = self.everyone.get(room) if room not in self._not_in_own else None
        if own is None:
            return members if members is not None else {}
        return {own.id: own} if members is None else {**members, own.id: own}

    def broadcast(self, encoded: Encoded, options: BroadcastOptions) -> None:
        """Send a message to all that `options` names."""
        rooms = options.rooms
        if len(rooms) == 1 and not options.except_ and not options.volatile:  # as nearly always, so without detours
            (room,) = rooms
            if room not in self.everyone:
                members = self.rooms.get(room)
                if members is not None:
                    for sink in list(members.values()):
                        sink.write(encoded)
                return
        if options.volatile:
            for sink in self.members(options):
                sink.write_volatile(encoded)
        else:
            for sink in self.members(options):
                sink.write(encoded)

    deliver = broadcast
    """The same for those who are here, in adapters too that reach others."""

    def broadcast_with_ack(
        self, encoded: Encoded, options: BroadcastOptions, ack_id: int, pending: PendingAcks, timeout: float
    ) -> None:
        """Send a message that asks for an answer."""
        for sink in self.members(options):
            sink.expect_ack(ack_id, pending)
            pending.expect(sink)
            sink.write(encoded)
        pending.all_sent()

    async def fetch(self, options: BroadcastOptions) -> Found[Any]:
        """The sockets that `options` names."""
        return Found(self.members(options))

    async def all_rooms(self, local: bool = False) -> FoundRooms:
        """The rooms there are, those of the sockets' own ids among them."""
        return FoundRooms(self._rooms_here())

    def _rooms_here(self) -> set[Room]:
        return {*self.rooms, *(sink_id for sink_id in self.everyone if sink_id not in self._not_in_own)}

    def sockets_join(self, options: BroadcastOptions, rooms: Sequence[Room]) -> None:
        """Make all that `options` names join rooms."""
        for sink in self.members(options):
            self.join(sink, rooms)

    def sockets_leave(self, options: BroadcastOptions, rooms: Sequence[Room]) -> None:
        """Make all that `options` names leave rooms."""
        for sink in self.members(options):
            for room in rooms:
                self.leave(sink, room)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        """Disconnect all that `options` names."""
        for sink in self.members(options):
            sink.disconnect(close)

    def server_side_emit(self, args: Sequence[Any]) -> None:
        """There are no other servers."""

    async def server_side_emit_with_ack(self, args: Sequence[Any], timeout: float | None) -> Found[Any]:
        """There are no other servers, and so no answers."""
        return Found()

    async def server_count(self) -> int:
        """One: this."""
        return 1

    async def settled(self) -> None:
        """Everything has effect at once."""

    @property
    def health(self) -> AdapterHealth:
        """There is nothing that could fail."""
        return AdapterHealth()

    def close(self) -> None:
        """The namespace ends."""
        self.everyone.clear()
        self.rooms.clear()
        self._joined.clear()
        self._not_in_own.clear()
