"""The in-memory adapter against the simplest model of rooms there is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from madang.adapters import BroadcastOptions, MemoryAdapter
from madang.protocol.encoded import Encoded

room_names = st.sampled_from(["a", "b", "c", 1, "1", 42, "42", "id0", "id1"])
some_rooms = st.lists(room_names, max_size=3)


class Sink:
    """A socket as an adapter sees it."""

    def __init__(self, sink_id: str, inbox: Counter[str]) -> None:
        self.id = sink_id
        self.inbox = inbox

    def write(self, encoded: Encoded) -> None:
        self.inbox[self.id] += 1

    write_volatile = write


class Rooms(RuleBasedStateMachine):
    """Sockets come, join, leave and go; rooms are sets in the model."""

    sinks = Bundle("sinks")

    @initialize()
    def begin(self) -> None:
        self.adapter = MemoryAdapter()
        self.model: dict[Any, set[str]] = {}
        self.alive: dict[str, Sink] = {}
        self.inbox: Counter[str] = Counter()
        self.events: list[tuple[Any, ...]] = []
        for event in ("create_room", "join_room", "leave_room", "delete_room"):
            self.adapter.on(event, lambda *what, event=event: self.events.append((event, *what)))
        self.count = 0

    @rule(target=sinks)
    def come(self) -> Sink:
        sink = Sink(f"id{self.count}", self.inbox)
        self.count += 1
        self.adapter.add(sink)
        self.alive[sink.id] = sink
        self.model.setdefault(sink.id, set()).add(sink.id)
        return sink

    @rule(sink=sinks, rooms=some_rooms)
    def join(self, sink: Sink, rooms: list[Any]) -> None:
        self.adapter.join(sink, rooms)
        for room in rooms:
            self.model.setdefault(room, set()).add(sink.id)

    @rule(sink=sinks, room=room_names)
    def leave(self, sink: Sink, room: Any) -> None:
        if room == sink.id:
            return
        self.adapter.leave(sink, room)
        self._take_out(sink.id, room)

    @rule(sink=consumes(sinks))
    def go(self, sink: Sink) -> None:
        self.adapter.remove(sink)
        del self.alive[sink.id]
        for room in list(self.model):
            self._take_out(sink.id, room)

    def _take_out(self, sink_id: str, room: Any) -> None:
        members = self.model.get(room, set())
        members.discard(sink_id)
        if not members:
            self.model.pop(room, None)

    @rule(rooms=some_rooms, others=some_rooms, volatile=st.booleans())
    def broadcast(self, rooms: list[Any], others: list[Any], volatile: bool) -> None:
        options = BroadcastOptions(rooms=frozenset(rooms), except_=frozenset(others), volatile=volatile)
        wanted = set().union(*(self.model.get(room, set()) for room in rooms)) if rooms else set(self.alive)
        wanted -= set().union(*(self.model.get(room, set()) for room in others))
        self.inbox.clear()
        self.adapter.broadcast(Encoded(b"42[]"), options)
        assert self.inbox == Counter(wanted), "each once, and nobody else"

    @invariant()
    def same_rooms(self) -> None:
        for sink in self.alive.values():
            mine = {room for room, members in self.model.items() if sink.id in members}
            assert self.adapter.rooms_of(sink) == mine
        shared = {room for room, members in self.model.items() if members - {room}}
        assert {room for room, members in self.adapter.rooms.items() if members} == set(self.adapter.rooms)
        assert shared <= set(self.adapter.rooms)

    @invariant()
    def events_add_up(self) -> None:
        inside = Counter[Any]()
        for event, room, *who in self.events:
            if str(room).startswith("id"):  # such a room is its socket's own as well, and begins and ends twice
                continue
            inside[room, *who] += {"create_room": 1, "join_room": 1, "leave_room": -1, "delete_room": -1}[event]
        assert set(inside.values()) <= {0, 1}

    def teardown(self) -> None:
        if hasattr(self, "alive"):
            for sink in list(self.alive.values()):
                self.adapter.remove(sink)
            assert not self.adapter.rooms
            assert not self.adapter.everyone
            assert not self.adapter._joined


TestRooms = pytest.mark.feature("N3", "N4", "N7", "N14", "O3", "O4", "O6")(Rooms.TestCase)
