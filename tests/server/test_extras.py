"""What other servers offer beyond Node's, and we as well."""

import asyncio

import pytest

import madang

from .javascript import Heard, Js


@pytest.mark.feature("J6", "J11")
async def test_namespaces_by_template(js: Js, io: madang.Server, heard: Heard):
    """A part in braces stands for anything without a slash, and the child namespace knows what it was."""
    io.of("/room/{id}").on("connection", lambda socket: heard(socket.namespace.params))
    await js.connect(io, "/room/7")
    assert await heard.next() == {"id": "7"}
    client = await js.connect(io, "/room/7/8", wait=False)
    assert (await client.refused())[0] == "Invalid namespace"


@pytest.mark.feature("J13")
async def test_deleting_a_namespace(js: Js, io: madang.Server):
    """Its clients are disconnected, nobody can join it any more, and the main one stays."""
    io.of("/chat")
    client = await js.connect(io, "/chat")
    io.remove("/chat")
    assert await client.disconnected() == "io server disconnect"
    again = await js.connect(io, "/chat", wait=False)
    assert (await again.refused())[0] == "Invalid namespace"
    with pytest.raises(madang.OptionError, match="main namespace"):
        io.remove("/")


@pytest.mark.feature("J15", "L14")
async def test_handlers_by_name(js: Js, io: madang.Server, heard: Heard):
    """Methods `on_<event>` of an object handle events, and so does a function under its own name."""

    class Chat:
        def on_connection(self, socket):
            heard("connected")

        async def on_double(self, socket, number: int):
            return number * 2

    io.add_handlers(Chat())

    @io.event
    def triple(socket, number: int):
        return number * 3

    client = await js.connect(io)
    assert await heard.next() == "connected"
    assert await client.emit_with_ack("double", 4) == 8
    assert await client.emit_with_ack("triple", 4) == 12
    with pytest.raises(madang.HandlerError, match="on_<event>"):
        io.add_handlers(object())


@pytest.mark.feature("K9", "O8")
@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_life_handlers_take_what_they_want(js: Js, io: madang.Server, heard: Heard, taken: int):
    """A `disconnect` handler may leave out the description, and the reason too."""
    handlers = [
        lambda socket: heard([socket.id]),
        lambda socket, reason: heard([socket.id, reason]),
        lambda socket, reason, description: heard([socket.id, reason, description]),
    ]
    io.on("disconnect", handlers[taken - 1])
    client = await js.connect(io)
    socket_id = client.id
    client.disconnect()
    assert await heard.next() == [socket_id, "client namespace disconnect", None][:taken]


@pytest.mark.feature("O17")
async def test_background_tasks(js: Js, io: madang.Server, heard: Heard):
    """The server owns what it was told to run: it reports what fails, and cancels the rest when it closes."""
    io.on_error(lambda error, socket, event: heard(str(error)))

    async def fails():
        await asyncio.sleep(0)
        raise ValueError("in the background")

    async def forever():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard("cancelled")
            raise

    await js.connect(io)
    io.spawn(fails())
    io.spawn(forever())
    assert await heard.next() == "in the background"
    await io.close()
    assert await heard.next() == "cancelled"
