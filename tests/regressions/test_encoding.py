"""Values that cannot be encoded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import madang
from tests.conftest import Leaks
from tests.hosts import listening
from tests.regressions.peer import INTERNAL_ERROR, joined, serving

SECRET = b"for nobody else"


class OwnForm:
    def __json__(self) -> Any:
        raise KeyError("own form")


class Cancels:
    def __json__(self) -> Any:
        raise asyncio.CancelledError


class Model:
    def model_dump(self) -> Any:
        raise ZeroDivisionError


class Unknown:
    pass


@dataclass(init=False)
class Shape:
    value: int


def broken(shape: Shape) -> int:
    raise LookupError("value")


Shape.value = property(broken)  # type: ignore[assignment, method-assign]


def json_default(value: object) -> Any:
    raise RuntimeError("default")


UNENCODABLE = [
    pytest.param([OwnForm()], id="__json__"),
    pytest.param([Cancels()], id="CancelledError"),
    pytest.param([Model()], id="model_dump"),
    pytest.param([Unknown()], id="json_default"),
    pytest.param([2**70, Shape()], id="dataclass"),
]


@pytest.mark.parametrize("values", UNENCODABLE)
async def test_emitting_what_raises(values: list[Any]):
    """Whatever a value raises, the emitter gets an EncodeError, and no bytes of the event go to anyone later."""
    io = serving(json_default=json_default)
    async with listening(io) as url, joined(url) as first, joined(url) as second:
        socket = next(iter(io.sockets.values()))
        for args in ([SECRET, *values], [*values, SECRET]):
            with pytest.raises(madang.EncodeError):
                socket.emit("private", *args)
            with pytest.raises(madang.EncodeError):
                io.emit("private", *args)
            io.emit("hello", 1)
            for peer in (first, second):
                await peer.packet("42")
                await peer.served()
                assert peer.received == []


@pytest.mark.parametrize("long_way", [False, True])
@pytest.mark.parametrize("values", UNENCODABLE)
async def test_returning_what_raises(values: list[Any], long_way: bool):
    """A handler's result that cannot be encoded is an internal error for the client, which stays connected."""
    io = serving(json_default=json_default)

    @io.on("sync")
    def sync(socket):
        return SECRET, *values

    @io.on("waits")
    async def waits(socket):
        await asyncio.sleep(0)
        return [*values, SECRET]

    if long_way:
        io.on_any(lambda socket, event: None)
    async with listening(io) as url, joined(url) as first, joined(url) as second:
        for event in ("sync", "waits"):
            assert await first.ask(event) == INTERNAL_ERROR
            for peer in (first, second):
                await peer.served()
                assert peer.received == []


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("data", [{"x": object()}, OwnForm(), b"123"], ids=["object", "raises", "bytes"])
async def test_refusing_with_what_cannot_be_encoded(io: madang.Server, data: Any, waits: bool):
    """A ConnectError whose data cannot be encoded refuses the client with the message alone; the connection stays."""

    async def middleware(socket):
        if waits:
            await asyncio.sleep(0)
        raise madang.ConnectError("no", data=data)

    io.of("/closed").use(middleware)
    async with listening(io) as url, joined(url) as peer:
        await peer.send("40/closed,")
        assert await peer.packet("44/closed,") == '44/closed,{"message":"no"}'
        await peer.served()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("data", [{"x": object()}, OwnForm()], ids=["object", "raises"])
async def test_an_error_with_what_cannot_be_encoded(io: madang.Server, data: Any, waits: bool):
    """An EventError whose data cannot be encoded reaches the client without the data, as answer and as event."""

    @io.on("fails")
    async def fails(socket):
        if waits:
            await asyncio.sleep(0)
        raise madang.EventError("not so", code="wrong", data=data)

    async with listening(io) as url, joined(url) as peer:
        assert await peer.ask("fails") == [{"error": {"code": "wrong", "message": "not so"}}]
        await peer.emit("fails")
        assert await peer.packet("42") == '42["error",{"event":"fails","code":"wrong","message":"not so"}]'
        await peer.served()


async def test_asking_with_what_cannot_be_encoded(io: madang.Server, leaks: Leaks):
    """`emit_with_ack` raises an EncodeError for what cannot be sent, and leaves no answer pending and no timer."""
    async with listening(io) as url, joined(url) as peer:
        socket = next(iter(io.sockets.values()))
        async with leaks():
            with pytest.raises(madang.EncodeError):
                await socket.emit_with_ack("question", object(), timeout=60)
            with pytest.raises(madang.EncodeError):
                await io.emit_with_ack("question", object(), timeout=60)
            assert not socket._acks
        await peer.served()
