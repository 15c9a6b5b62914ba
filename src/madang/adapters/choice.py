"""Whom a broadcast is for, and how: what operators of servers and of emitters have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from ..errors import UsageError
from ..protocol.typed import emits_to_clients
from ..types import Room
from .adapter import BroadcastOptions

C = TypeVar("C")


def as_rooms(rooms: tuple[Any, ...]) -> tuple[Room, ...]:
    """One room, several, or a list of them.

    Raises:
        UsageError: something that cannot name a room.
    """
    if len(rooms) == 1 and isinstance(rooms[0], Iterable) and not isinstance(rooms[0], str | bytes):
        rooms = tuple(rooms[0])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    for room in rooms:
        if not isinstance(room, str | int):
            raise UsageError(f"a room is named by text or a whole number, not by {room!r}")
    return rooms


class Choice(Generic[C]):
    """A choice of recipients and flags; each method gives a new one, so it may be kept and used again."""

    __slots__ = ("_compress", "_options")

    def __init__(self, options: BroadcastOptions, compress: bool) -> None:
        self._options = options
        self._compress = compress

    def _like(self, options: BroadcastOptions, compress: bool) -> C:
        """The same with another choice."""
        raise NotImplementedError

    def to(self, *rooms: Room | Iterable[Room]) -> C:
        """Also members of these rooms; who is in several gets the message once."""
        options = self._options
        if len(rooms) == 1 and type(rooms[0]) is str and not options.rooms:  # as nearly always, so without detours
            one: Any = frozenset(rooms)
            options = BroadcastOptions(one, options.except_, options.volatile, options.local)
        else:
            options = replace(options, rooms=options.rooms.union(as_rooms(rooms)))
        return self._like(options, self._compress)

    in_ = to

    def except_(self, *rooms: Room | Iterable[Room]) -> C:
        """Not members of these rooms, whatever `to` says."""
        options = self._options
        return self._like(replace(options, except_=options.except_.union(as_rooms(rooms))), self._compress)

    @property
    def volatile(self) -> C:
        """Only those whose transport could send at once; for the others the message is lost."""
        return self._like(replace(self._options, volatile=True), self._compress)

    def compress(self, compress: bool) -> C:
        """Whether polling responses that carry the message may be compressed."""
        return self._like(self._options, compress)

    @emits_to_clients
    def emit(self, event: Any, *args: Any) -> None:
        """Send an event to those who are meant."""
        raise NotImplementedError

    def send(self, *args: Any) -> None:
        """Send the event ``message``."""
        self.emit("message", *args)
