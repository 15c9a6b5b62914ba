"""A handler's annotations: what fits reaches it as its type, what does not is told to the client."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

import madang
from tests.server.javascript import Heard, Js


class Color(enum.Enum):
    RED = "red"


class Struct(msgspec.Struct):
    name: str
    ages: list[int] = msgspec.field(default_factory=list)


@dataclasses.dataclass
class Data:
    name: str
    at: datetime | None = None


class Model(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2)
    age: int = 0


class Typed(TypedDict):
    name: str
    note: NotRequired[str]


Short = Annotated[str, msgspec.Meta(max_length=3)]
ID = uuid.UUID(int=7)

GOOD: dict[str, tuple[Any, Any, Any]] = {
    "str": (str, "하", "하"),
    "int": (int, 5, 5),
    "float": (float, 5, 5.0),
    "bool": (bool, True, True),
    "none": (None, None, None),
    "optional": (str | None, None, None),
    "literal": (Literal["a", "b"], "b", "b"),
    "constrained": (Short, "abc", "abc"),
    "list": (list[int], [1, 2], [1, 2]),
    "dict": (dict[str, int], {"a": 1}, {"a": 1}),
    "any": (Any, {"a": [None]}, {"a": [None]}),
    "enum": (Color, "red", Color.RED),
    "uuid": (uuid.UUID, str(ID), ID),
    "decimal": (Decimal, "1.50", Decimal("1.50")),
    "datetime": (datetime, datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    "bytes": (bytes, b"\x00\xff", b"\x00\xff"),
    "bytes in a dict": (dict[str, bytes], {"a": b"\x01"}, {"a": b"\x01"}),
    "struct": (Struct, {"name": "a", "ages": [1], "more": 1}, Struct("a", [1])),
    "dataclass": (Data, {"name": "a", "at": "2026-01-02T00:00:00Z"}, Data("a", datetime(2026, 1, 2, tzinfo=UTC))),
    "pydantic": (Model, {"name": "ab", "age": "7"}, Model(name="ab", age=7)),
    "list of pydantic": (list[Model], [{"name": "ab"}], [Model(name="ab")]),
    "typed dict": (Typed, {"name": "a"}, {"name": "a"}),
}


def annotated(kind: Any, heard: Heard) -> Any:
    """A handler whose second parameter has this annotation."""

    def handler(socket, value):
        heard(value)

    handler.__annotations__["value"] = kind
    return handler


@pytest.mark.feature("L15")
@pytest.mark.parametrize(("kind", "sent", "got"), GOOD.values(), ids=GOOD)
async def test_what_fits(js: Js, io: madang.Server, heard: Heard, kind: Any, sent: Any, got: Any):
    """An argument that fits its annotation arrives as that type."""
    io.on("x", annotated(kind, heard))
    client = await js.connect(io)
    assert await client.emit_with_ack("x", sent) is None
    assert heard.all == [got]
    assert type(heard.all[0]) is type(got)


BAD: dict[str, tuple[Any, Any, str, str]] = {
    "str": (str, 5, "", "Expected `str`, got `int`"),
    "int": (int, "5", "", "Expected `int`, got `str`"),
    "bool": (bool, 1, "", "Expected `bool`, got `int`"),
    "literal": (Literal["a"], "b", "", "Invalid enum value 'b'"),
    "constrained": (Short, "abcd", "", "Expected `str` of length <= 3"),
    "list": (list[int], [1, "2"], "[1]", "Expected `int`, got `str`"),
    "enum": (Color, "blue", "", "Invalid enum value 'blue'"),
    "uuid": (uuid.UUID, "7", "", "Invalid UUID"),
    "bytes": (bytes, "text", "", "Expected `bytes`, got `str`"),
    "struct": (Struct, {"ages": []}, "", "Object missing required field `name`"),
    "deep": (Struct, {"name": "a", "ages": ["x"]}, ".ages[0]", "Expected `int`, got `str`"),
    "dataclass": (Data, {"name": None}, ".name", "Expected `str`, got `null`"),
    "pydantic": (Model, {"name": "a"}, ".name", "String should have at least 2 characters"),
    "not an object": (Model, "text", "", "Input should be a valid dictionary or instance of Model"),
}


@pytest.mark.feature("L15")
@pytest.mark.parametrize(("kind", "sent", "path", "reason"), BAD.values(), ids=BAD)
async def test_what_does_not_fit(js: Js, io: madang.Server, heard: Heard, kind: Any, sent: Any, path: str, reason: str):
    """The handler is not called, the ack says which argument, where in it, and why; the connection lives on."""
    io.on("x", annotated(kind, heard))
    io.on("alive", lambda socket: True)
    client = await js.connect(io)
    error = (await client.emit_with_ack("x", sent))["error"]
    assert error["code"] == "invalid_arguments"
    assert error["data"] == {"argument": "value", "path": path, "reason": reason}
    assert error["message"].startswith(f'invalid argument "value": {reason}')
    assert await client.emit_with_ack("alive") is True
    assert heard.all == []


@pytest.mark.feature("L15", "L7")
@pytest.mark.usefixtures("mode")
async def test_without_an_ack_the_client_gets_the_event_error(js: Js, io: madang.Server, heard: Heard):
    """The same facts come as the event `error`, with the name of the event that was wrong."""
    io.on("chat message", annotated(str, heard))
    client = await js.connect(io)
    client.emit("chat message", {"not": "text"})
    (told,) = await client.next("error")
    assert told == {
        "event": "chat message",
        "code": "invalid_arguments",
        "message": 'invalid argument "value": Expected `str`, got `object`',
        "data": {"argument": "value", "path": "", "reason": "Expected `str`, got `object`"},
    }


@pytest.mark.feature("L15", "M2")
async def test_with_an_ack_by_hand(js: Js, io: madang.Server, heard: Heard):
    """A handler that acknowledges by hand is not called either, and the client has its answer all the same."""

    @io.on("x")
    def x(socket, ack: madang.Ack, value: int):
        heard(value)

    client = await js.connect(io)
    assert (await client.emit_with_ack("x", "no"))["error"]["data"]["argument"] == "value"
    assert heard.all == []


@pytest.mark.feature("L15", "L12")
async def test_bad_input_is_no_error_of_the_server(js: Js, io: madang.Server, heard: Heard):
    """`io.on_error` and `socket.on("error")` do not hear of a client's bad input."""
    io.on_error(lambda *args: heard("on_error"))
    io.on("connection", lambda socket: socket.on("error", lambda error: heard("error")))
    io.on("x", annotated(int, heard))
    assert (await (await js.connect(io)).emit_with_ack("x"))["error"]["data"]["reason"] == "missing"
    assert heard.all == []


@pytest.mark.feature("L15")
async def test_several_arguments(js: Js, io: madang.Server):
    """Each argument is checked by itself; defaults and `*rest` are checked too, the surplus is not."""

    @io.on("x")
    def x(socket, a: int, b: Struct | None = None, c="c", *rest: int):
        return a, b, c, list(rest)

    client = await js.connect(io)
    assert await client.emit_with_ack("x", 1) == (1, None, "c", [])
    assert await client.emit_with_ack("x", 1, {"name": "b"}, 2, 3) == (1, {"name": "b", "ages": []}, 2, [3])
    for args, wrong in (((1, {}), "b"), (("1",), "a"), ((1, None, None, "4"), "rest")):
        assert (await client.emit_with_ack("x", *args))["error"]["data"]["argument"] == wrong


@pytest.mark.feature("L15")
async def test_a_default_in_the_fast_form(js: Js, io: madang.Server):
    """A typed argument with a default may be left out; null is not the same as leaving it out."""

    @io.on("x")
    def x(socket, a: int, b: str = "default"):
        return a, b

    client = await js.connect(io)
    assert await client.emit_with_ack("x", 1) == (1, "default")
    assert await client.emit_with_ack("x", 1, "given") == (1, "given")
    assert (await client.emit_with_ack("x", 1, None))["error"]["data"]["argument"] == "b"


@pytest.mark.feature("L15")
async def test_an_event_with_types(js: Js, io: madang.Server, heard: Heard):
    """The types of an `Event` stand in for missing annotations; a handler's own goes before them."""
    say = madang.Event("say", Struct, int)
    assert (str(say), say == "say") == ("say", True)

    @io.on("connection")
    def connected(socket):
        socket.on(say, lambda body, times: heard(body, times))

    @io.on(say)
    def said(socket, body, times: float):
        heard(body, times)

    client = await js.connect(io)
    await client.emit_with_ack("say", {"name": "a"}, 2)
    assert heard.all == [(Struct("a"), 2.0), (Struct("a"), 2)]
    io.emit(say, Struct("b"))
    assert await client.next("say") == [{"name": "b", "ages": []}]
    answers = io.timeout(5).emit_with_ack(say)
    (await client.next("say")).ack("heard")
    assert await answers == ["heard"]


@pytest.mark.feature("L15")
async def test_validation_after_the_longer_ways(js: Js, io: madang.Server, heard: Heard):
    """Catch-alls, event middleware and several handlers change nothing about validation."""
    io.on_any(lambda *args: None)
    io.on("x", annotated(int, heard))
    io.on("x", annotated(Struct, heard))
    client = await js.connect(io)
    assert (await client.emit_with_ack("x", {"name": "a"}))["error"]["data"]["argument"] == "value"
    assert heard.all == [Struct("a")]


def test_what_cannot_be_checked(io: madang.Server):
    """A type that JSON cannot give is refused where the handler is registered."""

    class Strange: ...

    with pytest.raises(madang.HandlerError, match=r"value.*Strange"):
        io.on("x", annotated(Strange, Heard()))


@pytest.mark.feature("L12", "L15")
@pytest.mark.usefixtures("mode")
async def test_event_errors(js: Js, io: madang.Server, heard: Heard):
    """An `EventError` travels to the client, as the ack or as the event `error`, and is not logged as a failure."""
    io.on_error(heard)

    @io.on("buy")
    async def buy(socket, what: str):
        raise madang.EventError(f"no {what} left", code="sold_out", data={"next": 3})

    @io.on("simple")
    def simple(socket, ack: madang.Ack):
        raise madang.EventError("no")

    client = await js.connect(io)
    failure = {"code": "sold_out", "message": "no tea left", "data": {"next": 3}}
    assert await client.emit_with_ack("buy", "tea") == {"error": failure}
    assert await client.emit_with_ack("simple") == {"error": {"code": "error", "message": "no"}}
    client.emit("buy", "tea")
    assert await client.next("error") == [{"event": "buy", **failure}]
    assert heard.all == []
