"""What handlers may look like, and which arguments reach them."""

from __future__ import annotations

import functools
import json
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from madang import Event, EventInvalid, HandlerError, PacketError
from madang.events.handlers import Handler
from tests.events import local_hints


class Colour(Enum):
    RED = "red"


class Move(msgspec.Struct, forbid_unknown_fields=True):
    x: int
    y: int = 0


class Person(pydantic.BaseModel):
    name: str
    age: Annotated[int, pydantic.Field(ge=0)]


class Shape(TypedDict):
    kind: Literal["circle", "square"]
    size: float


def bound(function: Any, *args: Any, event: str = "event", takes_socket: bool = True) -> list[Any]:
    """What a handler is called with when a client sends these arguments, by both ways of decoding."""
    handler = Handler(event, function, takes_socket=takes_socket)
    text = list(handler.bind(json.dumps(["event", *args]).encode()))
    assert text == list(handler.bind_args(list(args)))
    return text


def one(socket, value): ...
def two(socket, a, b=5): ...
def rest(socket, first, *others): ...
def number(socket: Any, n: int) -> None: ...
def optional(socket: Any, n: int = 7, text: str | None = None) -> None: ...
def numbers(socket: Any, *ns: int) -> None: ...
def colour(socket: Any, c: Colour) -> None: ...
def move(socket: Any, m: Move) -> None: ...
def person(socket: Any, p: Person) -> None: ...
def shape(socket: Any, s: Shape) -> None: ...
def binary(socket: Any, data: bytes, name: str) -> None: ...
def keyword_with_default(socket: Any, n: int, *, quiet: bool = False) -> None: ...


class Instance:
    def __call__(self, socket: Any, n: int) -> None: ...

    def method(self, socket: Any, n: int) -> None: ...

    async def coroutine(self, socket: Any, n: int) -> None: ...


@pytest.mark.feature("L15", "L10")
@pytest.mark.parametrize(
    ("function", "sent", "taken"),
    [
        (one, ["a"], ["a"]),
        (one, ["a", "more", "and more"], ["a"]),
        (two, [1], [1]),
        (two, [1, 2], [1, 2]),
        (rest, [1], [1]),
        (rest, [1, 2, 3], [1, 2, 3]),
        (number, [3], [3]),
        (number, [3, "ignored"], [3]),
        (optional, [], []),
        (optional, [1], [1]),
        (optional, [1, None], [1, None]),
        (numbers, [], []),
        (numbers, [1, 2, 3], [1, 2, 3]),
        (colour, ["red"], [Colour.RED]),
        (move, [{"x": 1}], [Move(1, 0)]),
        (person, [{"name": "a", "age": 3}], [Person(name="a", age=3)]),
        (shape, [{"kind": "circle", "size": 1.5}], [{"kind": "circle", "size": 1.5}]),
        (keyword_with_default, [1], [1]),
        (Instance(), [1], [1]),
        (Instance().method, [1], [1]),
        (functools.partial(lambda prefix, socket, n: None, "p"), [1], [1]),
        (functools.partial(number), [1], [1]),
        (lambda socket: None, [1, 2], []),
        (lambda *everything: None, [1, 2], [1, 2]),
        (local_hints.nested, [[{"text": "a"}]], [[local_hints.Message("a")]]),
    ],
)
def test_what_fits(function: Any, sent: list[Any], taken: list[Any]) -> None:
    """Arguments that fit reach the handler, converted to its types; surplus ones are left out."""
    assert bound(function, *sent) == taken


@pytest.mark.feature("L15")
@pytest.mark.parametrize(
    ("function", "sent", "argument"),
    [
        (one, [], "value"),
        (rest, [], "first"),
        (number, [], "n"),
        (number, ["3"], "n"),
        (number, [True], "n"),
        (number, [1.5], "n"),
        (number, [None], "n"),
        (number, [[1]], "n"),
        (optional, [None], "n"),
        (optional, [1, 2], "text"),
        (numbers, [1, "x"], "ns"),
        (colour, ["blue"], "c"),
        (move, [{"x": "1"}], "m"),
        (move, [{"x": 1, "z": 2}], "m"),
        (move, [{}], "m"),
        (person, [{"name": "a", "age": -1}], "p"),
        (person, [{"name": "a"}], "p"),
        (shape, [{"kind": "line", "size": 1}], "s"),
        (Instance(), ["x"], "n"),
        (functools.partial(number), ["x"], "n"),
        (local_hints.nested, [[{"text": 1}]], "messages"),
        (local_hints.nested, [[], {"a": "x"}], "names"),
    ],
)
def test_what_does_not_fit(function: Any, sent: list[Any], argument: str) -> None:
    """What does not fit is an `EventInvalid` that names the argument, by both ways of decoding."""
    handler = Handler("event", function, takes_socket=True)
    for bind in (lambda: handler.bind(json.dumps(["event", *sent]).encode()), lambda: handler.bind_args(list(sent))):
        with pytest.raises(EventInvalid) as caught:
            bind()
        assert caught.value.code == "invalid_arguments"
        assert caught.value.data["argument"] == argument
        assert argument in str(caught.value)
        json.dumps(caught.value.payload())


@pytest.mark.feature("L15")
def test_where_it_does_not_fit() -> None:
    """The refusal says where inside the argument the wrong value stands."""
    with pytest.raises(EventInvalid) as caught:
        bound(local_hints.nested, [{"text": "a"}, {"text": 5}])
    assert caught.value.data["path"] == "[1].text"
    assert "str" in caught.value.data["reason"]


@pytest.mark.feature("L15", "M2")
def test_string_annotations_and_ack() -> None:
    """Annotations written as strings count, and a parameter for an `Ack` is not one of the client's."""
    handler = Handler("event", local_hints.typed, takes_socket=True)
    assert list(handler.bind(b'["event",{"text":"a"}]')) == [local_hints.Message("a")]
    assert handler.ack_at == 1
    assert handler.arity == 1


@pytest.mark.feature("L15")
def test_binary_arguments() -> None:
    """Bytes fit where bytes are wanted, and text does not."""
    handler = Handler("event", binary, takes_socket=True)
    assert list(handler.bind_args([b"x", "n"])) == [b"x", "n"]
    with pytest.raises(EventInvalid):
        handler.bind_args([5, "n"])


@pytest.mark.feature("L15")
def test_types_of_an_event() -> None:
    """An `Event`'s types check the parameters that have no annotation of their own."""
    event = Event("move", Move)
    assert str(event) == "move"
    assert bound(one, {"x": 1}, event=event) == [Move(1)]
    with pytest.raises(EventInvalid):
        bound(one, {"x": "a"}, event=event)


def needs_keyword(socket, *, must): ...
def takes_nothing(): ...


class Plain:
    pass


def of_no_form(socket: Any, plain: Plain) -> None: ...
def unknown(socket: Any, what: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.feature("L15")
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (needs_keyword, "'must' is keyword-only"),
        (takes_nothing, "socket"),
        (of_no_form, "'plain'"),
        (unknown, "Nowhere"),
        ("text", "callable"),
        (None, "callable"),
    ],
)
def test_what_cannot_be_a_handler(function: Any, told: str) -> None:
    """A function that cannot be called is refused when it is registered, and the parameter is named."""
    with pytest.raises(HandlerError) as caught:
        Handler("event", function, takes_socket=True)
    assert told in str(caught.value)


@pytest.mark.feature("R6", "G11")
@pytest.mark.parametrize("function", [one, number, rest, person, lambda socket: None])
@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'["event"', b'["event",NaN]', b'["event",' + b"[" * 100_000])
def test_what_is_no_event(function: Any, payload: bytes) -> None:
    """Text that is no event is a `PacketError`, whatever the handler takes."""
    with pytest.raises(PacketError):
        Handler("event", function, takes_socket=True).bind(payload)


@pytest.mark.feature("L16", "A29")
def test_kinds_of_functions() -> None:
    """Coroutine functions are known as such through partials, methods and callable objects."""

    async def coroutine(socket: Any) -> None: ...

    assert Handler("event", coroutine, takes_socket=True).is_async
    assert Handler("event", functools.partial(coroutine), takes_socket=True).is_async
    assert Handler("event", Instance().coroutine, takes_socket=True).is_async
    assert not Handler("event", Instance(), takes_socket=True).is_async
    assert Handler("event", one, takes_socket=True, thread=True).is_async
    with pytest.raises(HandlerError, match="thread"):
        Handler("event", coroutine, takes_socket=True, thread=True)
