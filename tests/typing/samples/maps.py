# pyright: strict
"""Events declared once as classes, each for its direction: what clients send, what servers send, what goes between."""

from typing import TypedDict, assert_type

import madang


class User(TypedDict, total=False):
    name: str
    age: int


class FromClients(madang.EventMap):
    chat: madang.ClientEvent[[str], int]
    rename: madang.ClientEvent[[str, int], None] = madang.ClientEvent("change name")


class FromServer(madang.EventMap):
    said: madang.ServerEvent[[str, str], None]
    vote: madang.ServerEvent[[str], bool]


class BetweenServers(madang.EventMap):
    refresh: madang.ClusterEvent[[str], int]


io = madang.Server[User]()


@io.on(FromClients.chat)
async def chat(socket: madang.Socket[User], text: str) -> int:
    assert_type(socket.data, User)
    socket.data["name"] = "Minji"
    socket.data["name"] = 3  # error
    socket.broadcast.emit(FromServer.said, socket.data.get("name", "?"), text)
    return len(text)


@io.on(FromClients.chat)  # error
def other_data(socket: madang.Socket, text: str) -> int:
    return 1


@io.on(FromServer.said)  # error
def not_from_clients(socket: madang.Socket[User], name: str, text: str) -> None: ...


@io.on("connection")
def connected(socket: madang.Socket[User]) -> None:
    @socket.on(FromClients.rename)
    def rename(name: str, age: int) -> None: ...

    @socket.on(FromServer.said)  # error
    def said(name: str, text: str) -> None: ...

    print(rename, said)


@io.on_server_side(BetweenServers.refresh)
async def refresh(key: str) -> int:
    return len(key)


@io.on_server_side(BetweenServers.refresh)  # error
def wrong_key(key: int) -> int:
    return key


async def speak(client: madang.Client) -> None:
    io.emit(FromServer.said, "Minji", "hello")
    io.emit(FromServer.said, "Minji")  # error
    io.emit(FromClients.chat, "hello")  # error
    client.emit(FromClients.chat, "hello")
    client.emit(FromServer.said, "Minji", "hello")  # error
    client.on(FromServer.vote, lambda question: len(question) > 3)

    @client.on(FromServer.said)
    def said(name: str, text: str) -> None: ...

    @client.on(FromClients.chat)  # error
    def chat(text: str) -> int:
        return 1

    print(said, chat)
    io.server_side_emit(BetweenServers.refresh, "key")
    io.server_side_emit(BetweenServers.refresh, 3)  # error
    io.server_side_emit(FromServer.said, "Minji", "hello")  # error
    assert_type(await io.server_side_emit_with_ack(BetweenServers.refresh, "key"), madang.Found[int])
    assert_type(await io.server_side_emit_with_ack(BetweenServers.refresh, "key", timeout=3), madang.Found[int])


async def find() -> None:
    for socket in io.sockets.values():
        assert_type(socket.data, User)
    for found in await io.to("room").fetch_sockets():
        assert_type(found.data, User)
    for found in await io.of("/chat").fetch_sockets():
        assert_type(found.data, User)


@io.use
async def who(socket: madang.Socket[User]) -> None:
    socket.data["name"] = socket.handshake.auth["name"]


madang.Server(adapter="redis://localhost")
madang.Server(adapter=3)  # error
