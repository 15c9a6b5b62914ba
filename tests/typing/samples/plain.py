# pyright: strict
"""Without declarations: plain names take anything, and nothing has to be said."""

from enum import Enum, StrEnum
from typing import Any, assert_type

import madang

io = madang.Server()


class Names(StrEnum):
    CHAT = "chat"


class Others(Enum):
    CHAT = "chat"


@io.on("connection")
async def connected(socket: madang.Socket) -> None:
    assert_type(socket, madang.Socket[dict[str, Any]])
    assert_type(socket.data, dict[str, Any])

    @socket.on("chat")
    def chat(text: str, *more: object) -> int:
        return len(text)

    @socket.on("disconnect")
    def gone(reason: str) -> None: ...

    assert_type(chat("x"), int)
    socket.once("chat", chat)
    socket.emit("chat", 1, "2", [3])
    socket.send(1, "2", [3])
    assert_type(await socket.emit_with_ack("chat", 1, "2", timeout=3), Any)
    assert_type(await socket.timeout(3).volatile.emit_with_ack("chat", 1, "2"), Any)


io.on("connection", lambda socket: socket.join("room"))


@io.on("connection")  # error
def no_socket() -> None: ...


@io.on("disconnect")
def disconnected(socket: madang.Socket, reason: str) -> None: ...


@io.on("disconnecting")
async def disconnecting(socket: madang.Socket, reason: str, description: object) -> None: ...


@io.on("disconnect")
def only_the_socket(socket: madang.Socket) -> None: ...


@io.on("disconnect")  # error
def wrong_reason(socket: madang.Socket, reason: int) -> None: ...


@io.on(Names.CHAT, concurrent=True)
async def by_name(socket: madang.Socket, text: str) -> None: ...


@io.on(Others.CHAT)
def by_other_name(socket: madang.Socket, text: str, ack: madang.Ack) -> None: ...


async def speak(client: madang.Client, blocking: madang.SyncClient) -> None:
    io.emit("chat", 1, "2", [3])
    io.emit(Names.CHAT, 1, "2", [3])
    io.emit(Others.CHAT, 1, "2", [3])
    io.emit(7, b"by number")
    io.send(1, "2", [3])
    io.to("room").except_("other").emit("chat", 1)
    io.emit(3.5)  # error
    assert_type(await io.emit_with_ack("chat", 1, timeout=3), madang.Replies[Any])
    assert_type(await io.to("room").emit_with_ack("chat", 1, timeout=3, partial=True), madang.Replies[Any])
    assert_type(await io.of("/n").ask("chat", 1, timeout=3), madang.Replies[Any])
    client.emit("chat", 1)
    assert_type(await client.emit_with_ack("chat", 1, timeout=3), Any)
    assert_type(blocking.emit_with_ack("chat", 1, timeout=3), Any)
    io.server_side_emit("chat", 1)
    assert_type(await io.server_side_emit_with_ack("chat", 1, timeout=3), madang.Found[Any])
    io.off("chat")
    io.off(Names.CHAT, by_name)
