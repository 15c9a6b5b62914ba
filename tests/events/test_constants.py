"""Events declared as constants and in maps: what they are at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

import madang
from madang.testing import ClientFactory

Kind = madang.TypedEvent[..., Any]


class Point(msgspec.Struct):
    x: Annotated[float, msgspec.Meta(ge=0)]


MOVE = madang.Event[[Point, int], list[int]]("move")


class FromClients(madang.EventMap):
    """Annotations are text in this module."""

    move: madang.ClientEvent[[Point, int], int]
    rename: madang.ClientEvent[[str], None] = madang.ClientEvent("change name")


class MoreFromClients(FromClients):
    stop: madang.ClientEvent[[], None]


def test_a_constant_is_its_name() -> None:
    """It is text, equal to the name, found under it in a dict, and knows the types it was declared with."""
    assert MOVE == "move"
    assert isinstance(MOVE, str)
    assert {"move": 1}[MOVE] == 1
    assert (MOVE.types, MOVE.answer) == ((Point, int), list[int])
    assert repr(madang.ServerEvent[[int], None]("news")) == "ServerEvent('news', <class 'int'>)"


@pytest.mark.parametrize(
    ("make", "types"),
    [
        (lambda: madang.Event[[], None]("x"), ()),
        (lambda: madang.Event[..., Any]("x"), ()),
        (lambda: madang.Event("x"), ()),
        (lambda: madang.Event("x", int, str), (int, str)),
    ],
)
def test_what_it_knows(make: Callable[[], Kind], types: tuple[Any, ...]) -> None:
    """Types may be none, unknown, or given as arguments, which is how those write it who use no type checker."""
    assert make().types == types


def test_a_map() -> None:
    """Each annotation becomes an event of its kind, named like the attribute unless another name is given."""
    assert (FromClients.move, FromClients.move.types) == ("move", (Point, int))
    assert (FromClients.rename, FromClients.rename.types) == ("change name", (str,))
    assert type(FromClients.move) is madang.ClientEvent
    assert (MoreFromClients.move, MoreFromClients.stop) == ("move", "stop")


def test_a_map_in_a_function() -> None:
    """Its annotations may name what is only known there."""

    class Local(msgspec.Struct):
        a: int

    class Events(madang.EventMap):
        local: madang.Event[[Local], None]

    assert Events.local.types == (Local,)


def test_wrong_declarations() -> None:
    """What is no event, and a name that is no text, are refused where they are declared."""
    with pytest.raises(madang.UsageError, match=r"Wrong.chat is annotated with <class 'int'>; an event is written"):

        class Wrong(madang.EventMap):
            chat: int

    with pytest.raises(madang.UsageError, match="named by text, not by 3"):
        madang.Event(3)  # type: ignore[call-overload]


def test_a_type_that_is_text() -> None:
    """A type in quotes cannot be resolved, and whoever registers a handler is told."""
    with pytest.raises(madang.HandlerError, match="cannot be checked against 'point'"):
        madang.Server().on(madang.Event[["Point"], None]("move"), lambda socket, point: None)


@pytest.mark.feature("X1")
async def test_its_types_validate(madang_client: ClientFactory, io: madang.Server) -> None:
    """A handler without annotations gets what the event was declared with, at both ends; its own annotations win."""
    io.on(FromClients.move, lambda socket, point, number: point.x * number)
    io.on(FromClients.rename)(lambda socket, name: socket.emit(MOVE, Point(2), len(name)))
    io.on(madang.ClientEvent[[int], bool]("own"))(own)
    client = await madang_client(io)
    moved: list[Any] = []
    client.on(MOVE, lambda point, number: moved.append((point, number)))
    assert await client.call(FromClients.move, Point(1.5), 2) == 3
    for wrong in ({"x": -1}, 1), ({"x": 1}, "2"):
        answer = await client.call("move", *wrong)
        assert answer["error"]["code"] == "invalid_arguments"
    await client.call(FromClients.rename, "Minji")
    assert moved == [(Point(2), 5)]
    assert await client.call("own", "text") is True
    assert await client.receive(MOVE) == ({"x": 2}, 5)


def own(socket: madang.Socket, value: str) -> bool:
    return isinstance(value, str)


@pytest.fixture
def io() -> madang.Server:
    return madang.Server()
