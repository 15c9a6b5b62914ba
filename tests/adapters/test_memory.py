"""Rooms in memory: what the adapter tells, and what it forgets."""

from __future__ import annotations

from typing import Any

import pytest

from madang.adapters import BroadcastOptions, MemoryAdapter


class Sink:
    def __init__(self, sink_id: str) -> None:
        self.id = sink_id


def told_by(adapter: MemoryAdapter) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []
    for event in ("create_room", "join_room", "leave_room", "delete_room"):
        adapter.on(event, lambda *what, event=event: told.append((event, *what)))
    return told


@pytest.mark.feature("O6", "N7")
def test_life_of_a_room() -> None:
    """A room is made, joined, left and gone, in that order."""
    adapter = MemoryAdapter()
    told = told_by(adapter)
    sink = Sink("s")
    adapter.add(sink)
    adapter.join(sink, ["r", "r"])
    adapter.remove(sink)
    assert told == [
        ("create_room", "s"),
        ("join_room", "s", "s"),
        ("create_room", "r"),
        ("join_room", "r", "s"),
        ("leave_room", "r", "s"),
        ("delete_room", "r"),
        ("leave_room", "s", "s"),
        ("delete_room", "s"),
    ]


@pytest.mark.feature("O4", "N14")
def test_leaving_what_was_never_joined() -> None:
    """Leaving a room never joined is silent, and a room's name is told apart by its type."""
    adapter = MemoryAdapter()
    sink = Sink("s")
    adapter.add(sink)
    adapter.leave(sink, "nowhere")
    adapter.join(sink, [42])
    adapter.leave(sink, "42")
    assert adapter.rooms_of(sink) == {"s", 42}
    assert adapter.members(BroadcastOptions(rooms=frozenset({"42"}))) == []
    assert adapter.members(BroadcastOptions(rooms=frozenset({42}))) == [sink]


@pytest.mark.feature("O15")
def test_nothing_stays_of_those_who_left() -> None:
    """Many who come and go leave no table behind."""
    adapter = MemoryAdapter()
    for number in range(1000):
        sink = Sink(str(number))
        adapter.add(sink)
        adapter.join(sink, ["a", "b", number])
        if number % 2:
            adapter.leave(sink, "a")
        adapter.remove(sink)
    assert not adapter.rooms
    assert not adapter.everyone
    assert not adapter._joined


def test_the_room_of_ones_own() -> None:
    """Listeners hear that a socket leaves the room of its own id, and comes back into it, once each."""
    adapter = MemoryAdapter()
    heard: list[tuple[Any, ...]] = []
    for event in ("join_room", "leave_room"):
        adapter.on(event, lambda *args, event=event: heard.append((event, *args)))
    sink = Sink("s")
    adapter.add(sink)
    for _ in range(2):
        adapter.leave(sink, "s")
        adapter.leave(sink, "s")
        adapter.join(sink, ["s", "s"])
    adapter.leave(sink, "s")
    adapter.remove(sink)
    assert heard == [("join_room", "s", "s"), ("leave_room", "s", "s")] * 3
