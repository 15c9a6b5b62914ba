"""After a thousand hostile connections the server holds what it held before, and the collector has nothing to do."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket as sockets
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from madang import Server, Socket
from madang.engine import Session
from tests.conformance.wire import SOCKET, address
from tests.hostile.raw import TEXT, connection, frame, handshake, text
from tests.hostile.victim import attacked, make, until_nothing_is_held
from tests.hosts import Host, listening

PART = b'{"_placeholder":true,"num":0}'
ATTACKS = (
    [],
    [text("4")],
    [text("40"), text("42{}")],
    [text("40"), text("40")],
    [text("40"), text('42["echo",1]')],
    [text("40"), text(b'451-["echo",' + PART + b"]"), frame(2, b"x" * 100)[:50]],
    [text("40"), frame(TEXT, b'42["', fin=False), frame(0, b"x" * 500, fin=False)],
    [text("40"), text("2")],
    [text("40"), text("41")],
    [text("40/other,"), text("40/nowhere,"), text("40"), text("1")],
)


def objects_of_madang() -> Counter[str]:
    """How many objects of the project's own classes are alive."""
    return Counter(
        f"{type(thing).__module__}.{type(thing).__qualname__}"
        for thing in gc.get_objects()
        if str(type(thing).__module__).partition(".")[0] in ("madang", "picows", "uvicorn")
    )


@pytest.mark.feature("G15", "E12")
async def test_a_thousand_hostile_connections(host: Host) -> None:
    """A thousand clients that misbehave in ten ways leave no object, task or timer behind."""
    async with attacked(host) as victim:
        request = handshake(victim.url, address(SOCKET, "websocket"))

        async def attack(number: int) -> None:
            async with connection(victim.url) as client:
                await client.send(request, *ATTACKS[number % len(ATTACKS)])
                await client.reader.readuntil(b"\r\n\r\n")
                client.reset()

        async def wave(count: int) -> None:
            for begin in range(0, count, 50):
                await asyncio.gather(*map(attack, range(begin, begin + 50)))
            while len(victim.io.engine.sessions) > 1:
                await asyncio.sleep(0.01)

        await wave(50)
        await asyncio.sleep(0.05)
        gc.collect()
        before, tasks = objects_of_madang(), len(asyncio.all_tasks())
        await wave(1000)
        await asyncio.sleep(0.05)
        gc.collect()
        grown = {kind: count for kind, count in (objects_of_madang() - before).items() if count > 2}
        assert not grown
        assert len(asyncio.all_tasks()) <= tasks + 1


def talk(url: str, *messages: bytes) -> None:
    """A client in a thread: connect, send, read until the server has answered, and go."""
    where = urlsplit(url)
    with sockets.create_connection((where.hostname, where.port), timeout=5) as plain:
        plain.sendall(handshake(url, address(SOCKET, "websocket")) + b"".join(messages))
        answer = b""
        while b"437" not in answer:
            answer += plain.recv(65536)


async def in_thread(function: Callable[..., None], *args: object) -> None:
    """Run a client in a thread; nothing of it is in a reference cycle."""
    await asyncio.get_running_loop().run_in_executor(None, contextvars.Context().run, function, *args)


@pytest.mark.feature("O14")
async def test_no_cycles() -> None:
    """A connection that came, joined, was answered and went is freed at once, without the collector."""
    victim = make("native")
    async with listening(victim.io) as url:
        await in_thread(talk, url, text("40"), text('427["echo",1]'))
        await until_nothing_is_held(victim.io)
        victim.ends.get_nowait()
        gc.collect()
        gc.disable()
        try:
            before = objects_of_madang()
            for _ in range(10):
                await in_thread(talk, url, text("40"), text('427["echo",1]'), text('42["echo typed",1]'))
                await until_nothing_is_held(victim.io)
            await asyncio.sleep(0.02)
            left = {kind: count for kind, count in (objects_of_madang() - before).items() if count > 1}
        finally:
            gc.enable()
    assert not left


@pytest.mark.feature("O14")
async def test_no_cycles_with_handlers_on_the_socket() -> None:
    """Handlers registered on the socket itself, which close over it, do not keep it alive once it has gone."""
    io = Server()

    @io.on("connection")
    def connected(socket: Socket) -> None:
        socket.data["self"] = "no cycle of the user's own"

        @socket.on("echo")
        def echo(*args: Any) -> Any:
            return args if socket.connected else None

        @socket.on("disconnect")
        def gone(reason: str) -> None:
            socket.leave("nowhere")

    async with listening(io) as url:
        await in_thread(talk, url, text("40"), text('427["echo",1]'))
        await until_nothing_is_held(io)
        gc.collect()
        gc.disable()
        try:
            others = {id(thing) for thing in gc.get_objects() if isinstance(thing, Socket | Session)}
            for _ in range(5):
                await in_thread(talk, url, text("40"), text('427["echo",1]'))
                await until_nothing_is_held(io)
            await asyncio.sleep(0.02)
            held = [thing for thing in gc.get_objects() if isinstance(thing, Socket | Session)]
            alive = [thing for thing in held if id(thing) not in others]
        finally:
            gc.enable()
    assert len(alive) <= 1
