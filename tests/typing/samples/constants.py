# pyright: strict
"""Constants say what an event carries, and what it is answered."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict, assert_type, reveal_type

import madang


class Message(TypedDict):
    text: str
    to: NotRequired[str]


@dataclass
class Point:
    x: float


class Circle(Point): ...


CHAT = madang.Event[[str], int]("chat message")
POST = madang.Event[[Message, int | None], list[Message]]("post")
TYPING = madang.Event[[], None]("typing")
MOVE = madang.Event[[Point, Literal["up", "down"]], None]("move")
ANYTHING = madang.Event[..., Any]("anything")

io = madang.Server()

# what is emitted

io.emit(CHAT, "hello")
io.emit(CHAT, 3)  # error
io.emit(CHAT)  # error
io.emit(CHAT, "hello", "more")  # error
io.emit(POST, {"text": "a literal"}, None)
io.emit(POST, {"txt": "a wrong one"}, 1)  # error
io.emit(TYPING)
io.emit(TYPING, 1)  # error
io.emit(MOVE, Circle(1), "up")
io.emit(MOVE, Circle(1), "left")  # error
io.emit(ANYTHING, 1, "2")
io.of("/chat").emit(CHAT, "hello")
io.of("/chat").emit(CHAT, 3)  # error


async def ask(socket: madang.Socket) -> None:
    socket.emit(CHAT, "hello")
    socket.emit(CHAT, 3)  # error
    assert_type(await socket.emit_with_ack(CHAT, "hello"), int)
    assert_type(await socket.emit_with_ack(CHAT, "hello", timeout=3), int)
    assert_type(await socket.emit_with_ack(POST, {"text": "x"}, None), list[Message])
    reveal_type(await socket.emit_with_ack(CHAT, "hello"))  # reveals int
    await socket.emit_with_ack(CHAT, 3)  # error
    await socket.emit_with_ack(CHAT, 3, timeout=3)  # error
    await socket.emit_with_ack(CHAT, timeout=3)  # error
    await socket.emit_with_ack(CHAT, "hello", timeout="3")  # error
    number: str = await socket.emit_with_ack(CHAT, "hello")  # error
    print(number)


# who handles it


@io.on(CHAT)
def chat(socket: madang.Socket, text: str) -> int:
    return len(text)


@io.on(CHAT)
async def chat_later(socket: madang.Socket, text: str) -> int:
    return len(text)


@io.on(CHAT)
async def more_general(socket: madang.Socket, text: object, more: int = 3) -> bool:
    return True


@io.on(CHAT)
def by_hand(socket: madang.Socket, ack: madang.Ack, text: str) -> None:
    ack(len(text))


@io.on(CHAT)  # error
def wrong_argument(socket: madang.Socket, text: bytes) -> int:
    return 1


@io.on(CHAT)  # error
def too_few(socket: madang.Socket) -> int:
    return 1


@io.on(CHAT)  # error
def too_many(socket: madang.Socket, text: str, more: str) -> int:
    return 1


@io.on(CHAT)  # error
def no_socket(text: str) -> int:
    return 1


@io.on(CHAT)  # error
def wrong_answer(socket: madang.Socket, text: str) -> str:
    return text


@io.on(CHAT)  # error
async def wrong_answer_later(socket: madang.Socket, text: str) -> str:
    return text


@io.on(TYPING, concurrent=True)
def typing(socket: madang.Socket) -> None: ...


assert_type(chat, Callable[[madang.Socket, str], int])
assert_type(chat_later, Callable[[madang.Socket, str], Coroutine[Any, Any, int]])
io.on(CHAT, chat)
io.once(CHAT, chat_later)
io.on(CHAT, lambda socket, text: len(text))
io.on(CHAT, typing)  # error
io.on(CHAT, lambda socket, text: text)  # error
io.off(CHAT, chat)


@io.on("connection")
def connected(socket: madang.Socket) -> None:
    @socket.on(CHAT)
    def own(text: str) -> int:
        return len(text)

    @socket.once(POST)
    async def post(message: Message, number: int | None) -> list[Message]:
        return [message]

    @socket.on(CHAT)  # error
    def wrong(text: int) -> int:
        return text

    assert_type(own("x"), int)
    print(post, wrong)


# the other end


@dataclass
class Page:
    client: madang.Client
    blocking: madang.SyncClient

    async def speak(self) -> None:
        self.client.emit(CHAT, "hello")
        self.client.emit(CHAT, 3)  # error
        self.client.volatile.emit(CHAT, "hello")
        assert_type(await self.client.emit_with_ack(CHAT, "hello", timeout=3), int)
        assert_type(await self.client.timeout(3).emit_with_ack(CHAT, "hello"), int)
        assert_type(self.blocking.emit_with_ack(CHAT, "hello"), int)
        assert_type(self.blocking.timeout(3).emit_with_ack(CHAT, "hello"), int)
        self.blocking.emit(CHAT, 3)  # error
        self.client.on(CHAT)(len)
        self.client.on(CHAT)(chat)  # error
        print(await self.client.wait_for(CHAT))
        print(self.client.events(CHAT, "other"))


async def send(emitter: madang.Emitter, blocking: madang.SyncEmitter) -> None:
    emitter.to("room").emit(CHAT, "hello")
    emitter.of("/chat").emit(CHAT, "hello")
    emitter.emit(CHAT, 3)  # error
    blocking.emit(CHAT, 3)  # error
    blocking.emit("chat message", 3)
