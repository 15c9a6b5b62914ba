"""What is read from handlers' signatures, and what is kept of them."""

from __future__ import annotations

import functools
import gc
import json
import sys
import typing
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

import madang
from madang import EventInvalid, HandlerError
from madang.events.handlers import Handler

if TYPE_CHECKING:
    from madang import Socket

Positive = Annotated[int, pydantic.Field(gt=0)]


def logged(function: Any) -> Any:
    """A decorator such as everyone has: what it returns has the same code for every function."""

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return around


def given(function: Any, *args: Any) -> list[Any]:
    """What a handler is called with, by both ways of decoding."""
    handler = Handler("event", function, takes_socket=True)
    values = list(handler.bind(json.dumps(["event", *args]).encode()))
    assert values == list(handler.bind_args(list(args)))
    return values


# ------------------------------------------------------------------------------------------------------- decorators


@logged
def one(socket, a): ...
@logged
def two(socket, a, b): ...
@logged
def number(socket, a: int): ...
@logged
def text(socket, a: str): ...
@logged
def hinted(socket: Socket, a: int): ...


def test_behind_one_decorator():
    """Handlers behind the same decorator keep their own numbers of arguments and their own types."""
    assert given(one, 1, 2) == [1]
    assert given(two, 1, 2) == [1, 2]
    with pytest.raises(EventInvalid, match='"b"'):
        given(two, 1)
    assert given(number, 1) == [1]
    assert given(text, "a") == ["a"]
    for function, value in ((number, "a"), (text, 1)):
        with pytest.raises(EventInvalid):
            given(function, value)


def test_life_handlers_behind_one_decorator():
    """So do handlers of a socket's life."""

    @logged
    def none(socket): ...

    @logged
    def reason(socket, reason): ...

    arities = [Handler("disconnect", how, takes_socket=True, from_client=False).arity for how in (none, reason, none)]
    assert arities == [0, 1, 0]


def test_socket_for_type_checkers_only():
    """The socket's annotation of a decorated handler may name what is imported for type checkers alone."""
    assert given(hinted, 1) == [1]
    with pytest.raises(EventInvalid):
        given(hinted, "a")


# --------------------------------------------------------------------------------------------------------- pydantic


@dataclass
class Counted:
    n: int = pydantic.Field(gt=0)


class Typed(TypedDict):
    n: Positive


class Standard(typing.TypedDict):
    n: Positive


class Structured(msgspec.Struct):
    n: Annotated[int, msgspec.Meta(gt=0)]


def positive(socket, n: pydantic.PositiveInt): ...
def annotated(socket, n: Positive): ...
def optional(socket, n: Positive | None = None): ...
def several(socket, *n: Positive): ...
def listed(socket, n: list[Positive]): ...
def counted(socket, n: Counted): ...
def counted_list(socket, n: list[Counted]): ...
def typed(socket, n: Typed): ...
def structured(socket, n: Structured): ...


@pytest.mark.parametrize(
    ("function", "good", "bad"),
    [
        (positive, 5, -5),
        (annotated, 5, -5),
        (optional, 5, -5),
        (several, 5, -5),
        (listed, [5], [5, -5]),
        (counted, {"n": 5}, {"n": -5}),
        (counted_list, [{"n": 5}], [{"n": -5}]),
        (typed, {"n": 5}, {"n": -5}),
        (structured, {"n": 5}, {"n": -5}),
    ],
)
def test_constraints(function: Any, good: Any, bad: Any):
    """Constraints count wherever they stand: in an alias of pydantic, an annotation, a dataclass, a TypedDict."""
    assert len(given(function, good)) == 1
    with pytest.raises(EventInvalid, match='"n"'):
        given(function, bad)


def test_what_pydantic_refuses():
    """A type that pydantic cannot check is refused at registration, like any other that cannot be checked."""

    def standard(socket, n: Standard): ...

    if sys.version_info < (3, 12):
        with pytest.raises(HandlerError, match="'n'"):
            Handler("event", standard, takes_socket=True)
    else:
        with pytest.raises(EventInvalid, match='"n"'):
            given(standard, {"n": -5})


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    when: datetime


def test_strict_model():
    """A strict model takes what JSON can give of a datetime: an ISO string; and still refuses a number."""

    def strict(socket, m: Strict): ...

    (model,) = given(strict, {"when": "2026-01-01T00:00:00Z"})
    assert model.when == datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(EventInvalid):
        given(strict, {"when": True})


# ------------------------------------------------------------------------------------------------- the first parameter


@pytest.mark.parametrize("payload", [str, int, bytes, list[int], dict[str, Any], Typed, Structured, Strict])
def test_no_socket(io: madang.Server, payload: Any):
    """A handler whose first parameter is annotated as a payload has forgotten the socket, and is told so."""

    def handler(message): ...

    handler.__annotations__["message"] = payload
    with pytest.raises(HandlerError, match="socket"):
        io.on("message", handler)


def test_no_socket_in_text(io: madang.Server):
    """So is one whose annotation is text, and a coroutine function."""

    async def handler(message: str): ...

    with pytest.raises(HandlerError, match="socket"):
        io.on("message", handler)


@pytest.mark.parametrize("kind", [Any, object, madang.Socket, "madang.Socket", "Socket", "Unheard"])
def test_annotated_sockets(io: madang.Server, kind: Any):
    """Whatever else annotates the socket is taken."""

    def handler(socket): ...

    handler.__annotations__["socket"] = kind
    io.on("message", handler)


# ------------------------------------------------------------------------------------------------------------ memory

MANY = 2500


def alive(references: list[weakref.ref[Any]]) -> int:
    gc.collect()
    return sum(reference() is not None for reference in references)


@pytest.mark.parametrize("from_client", [True, False])
def test_handlers_made_again_and_again(from_client: bool):
    """Of handlers that were made and forgotten not all signatures are kept."""
    codes: list[weakref.ref[Any]] = []
    for index in range(MANY):
        scope: dict[str, Any] = {}
        exec(f"def handler(x): return {index}", scope)
        Handler("event", scope["handler"], takes_socket=False, from_client=from_client)
        codes.append(weakref.ref(scope.pop("handler").__code__))
    assert alive(codes) < MANY / 2


def test_types_made_again_and_again():
    """Of types that were made in a function and forgotten not all are kept."""
    kinds: list[weakref.ref[Any]] = []
    for _ in range(MANY):

        class Kind:
            __slots__ = ()

        def handler(x: list[Any]) -> None: ...

        handler.__annotations__ = {"x": Annotated[int, Kind]}
        Handler("event", handler, takes_socket=False)
        kinds.append(weakref.ref(Kind))
        del Kind, handler
    assert alive(kinds) < MANY / 2
