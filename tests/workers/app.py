"""The program that serves with several workers in the tests; its arguments are options of `run`, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import madang

io = madang.Server(
    ping_interval=2.0,
    connection_state_recovery="RECOVERY" in os.environ,
    per_message_deflate="DEFLATE" in os.environ,
    presence={"heartbeat": 0.3, "lease": 1.5},
)
tickers: list[asyncio.Task[None]] = []


@io.on("who")
def who(socket: Any) -> list[Any]:
    """The process, and where the client is as it sees it."""
    return [os.getpid(), socket.handshake.address]


@io.on("echo")
def echo(socket: Any, *values: Any) -> Any:
    """What came."""
    return values


@io.on("join")
def join(socket: Any, room: str) -> None:
    """Join a room."""
    socket.join(room)


@io.on("say")
def say(socket: Any, room: str, *values: Any) -> None:
    """Tell a room, or everybody."""
    (io.to(room) if room else io).emit("said", *values)


@io.on("who is there")
async def who_is_there(socket: Any, room: str) -> list[Any]:
    """The clients of a room, and how many servers did not answer."""
    found = await (io.in_(room) if room else io).fetch_sockets()
    return [sorted(one.id for one in found), found.missing]


@io.on("servers")
async def servers(socket: Any) -> int:
    """How many there are."""
    return await io.server_count()


@io.on("vote")
async def vote(socket: Any, room: str) -> list[Any]:
    """What all clients answer."""
    return sorted(await io.to(room).timeout(5).emit_with_ack("vote?"))


@io.on("be present")
def be_present(socket: Any, room: str, user: str) -> None:
    """Be present in a room, and watch it."""
    io.presence(room).track(socket, user, {"pid": os.getpid()})
    io.presence(room).watch(socket)


@io.on("who is present")
async def who_is_present(socket: Any, room: str) -> list[Any]:
    """The users of a room with the number of their connections, and how many servers are missing."""
    found = await io.presence(room).list()
    return [{one.user: len(one.metas) for one in found}, found.missing]


@io.on_server_side("pid?")
def pid() -> int:
    """This process."""
    return os.getpid()


@io.on("other processes")
async def other_processes(socket: Any) -> list[int]:
    """Those of the other servers."""
    return sorted(await io.server_side_emit_with_ack("pid?"))


@io.on("dismiss")
def dismiss(socket: Any, room: str) -> None:
    """Disconnect the clients of a room."""
    io.in_(room).disconnect_sockets()


@io.on("put")
def put(socket: Any, name: str, value: Any) -> None:
    """Keep something with the client."""
    socket.data[name] = value


@io.on("what am I?")
def what_am_i(socket: Any) -> list[Any]:
    """The rooms and data of the client, and why its session was not recovered."""
    return [sorted(socket.rooms), socket.data, socket.not_recovered]


@io.on("tick")
async def tick(socket: Any) -> None:
    """From now on, tell everybody again and again."""

    async def ticking() -> None:
        number = 0
        while True:
            number += 1
            (io if number % 3 else io.to("ticks")).emit("tick", os.getpid(), number)
            await asyncio.sleep(0.01)

    if not tickers:
        tickers.append(asyncio.get_running_loop().create_task(ticking()))


@io.on("die")
def die(socket: Any) -> None:
    """End this process without a word."""
    os._exit(7)


async def other(scope: Any, receive: Any, send: Any) -> None:
    """Another application on all other paths."""
    if scope["type"] != "http":
        return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if (switch := given.pop("broken_if", None)) and Path(switch).exists():
        raise SystemExit("this program is broken")
    io.run(**({"app": other} | given), on_start=lambda running: print(running.url, flush=True))
