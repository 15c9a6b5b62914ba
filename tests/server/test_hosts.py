"""The core of it all on each host: native, uvicorn, hypercorn, granian and daphne."""

from __future__ import annotations

import pytest
import websockets

import madang
from tests.hosts import ALL_HOSTS, Host
from tests.server.javascript import Client, ConnectRefused, Heard, Js, soon

pytestmark = [pytest.mark.usefixtures("mode"), pytest.mark.parametrize("host", ALL_HOSTS)]


@pytest.mark.feature("B1", "M1", "M3", "N1", "L10")
async def test_events_acks_and_binary(js: Js, io: madang.Server, host: Host):
    """Events, acks both ways and binary work on every host and over every transport."""
    io.on("echo", lambda socket, *args: args)
    client = await js.connect(await js.serve(io, host))
    mixed = (1, "두", [3.5, None], b"\x00\xff" * 1000, {"deep": [b"", "x" * 5000]})
    assert await client.emit_with_ack("echo", *mixed) == mixed
    io.emit("all", *mixed)
    assert await client.next("all") == list(mixed)
    await client.reply("ask", *mixed)
    assert await io.sockets[client.id].emit_with_ack("ask") == mixed


@pytest.mark.feature("O9", "O8")
@pytest.mark.parametrize("how", ["client", "server", "violation"])
async def test_ends(js: Js, io: madang.Server, heard: Heard, host: Host, how: str):
    """Reasons are the same on every host."""
    io.on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(await js.serve(io, host))
    socket = io.sockets[client.id]
    {"client": client.disconnect, "server": socket.disconnect, "violation": lambda: client.raw("9")}[how]()
    told = await client.disconnected()
    assert (await heard.next(), told) in [
        ("client namespace disconnect", "io client disconnect"),
        ("server namespace disconnect", "io server disconnect"),
        ("forced close", "transport close"),
        ("forced close", "transport error"),
    ]


@pytest.mark.feature("N3", "N12", "K4", "J16")
async def test_namespaces_rooms_and_refusals(js: Js, io: madang.Server, host: Host):
    """Namespaces share a connection, rooms reach their members, and a refusal has its data."""

    @io.of("/staff").use
    async def refuse(socket):
        raise madang.ConnectError("인증 실패", data={"code": 1})

    io.of("/chat")
    url = await js.serve(io, host)
    members = [await js.connect(url) for _ in range(2)]
    sides = [await member.beside("/chat") for member in members]
    io.sockets[members[0].id].join("yard")
    io.to("yard").emit("room", b"\x01")
    assert await members[0].next("room") == [b"\x01"]
    io.of("/chat").emit("chat")
    for side in sides:
        assert await side.next("chat") == []
    with pytest.raises(ConnectRefused, match="인증 실패"):
        await members[1].beside("/staff")
    assert members[1].received == []


@pytest.mark.feature("N1", "L16")
async def test_many_messages_in_order(js: Js, io: madang.Server, heard: Heard, host: Host):
    """Hundreds of messages, large and small, come through in order, both ways."""
    count = 300
    io.on("n", lambda socket, number, filling: heard(number))
    client: Client = await js.connect(await js.serve(io, host))
    for number in range(count):
        io.emit("n", number, "x" * (number % 7 * 1000))
        client.emit("n", number, b"x" * (number % 5 * 1000))
    assert [(await client.next("n"))[0] for _ in range(count)] == list(range(count))
    assert [await heard.next() for _ in range(count)] == list(range(count))


@pytest.mark.feature("B1", "E6")
@pytest.mark.parametrize("mode", ["websocket"], indirect=True)
async def test_a_refused_websocket(io: madang.Server, js: Js, host: Host):
    """A WebSocket for a session that is not there is refused, with a reason where the host can send one."""
    url = await js.serve(io, host)
    ask = "/socket.io/?EIO=4&transport=websocket&sid=nobody"
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(url.replace("http", "ws") + ask):
            pass
    answer = refused.value.response
    if host == "daphne":
        assert answer.status_code == 403
    else:
        assert (answer.status_code, answer.body) == (400, b"Session ID unknown")


@pytest.mark.feature("E5")
@pytest.mark.parametrize("mode", ["websocket"], indirect=True)
async def test_a_message_that_is_too_large(js: Js, host: Host):
    """A WebSocket message over the limit closes the connection, with the protocol's code where the host can send it."""
    io = madang.Server(max_http_buffer_size=1000)
    url = await js.serve(io, host)
    async with websockets.connect(url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket") as client:
        await client.send("4" + "x" * 2000)
        await soon(client.wait_closed())
    assert client.close_code == (1000 if host == "daphne" else 1009)
