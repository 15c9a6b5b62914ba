"""How to test a Socket.IO server of your own: start it on a free port, and talk to it as its users do.

Run it with ``pytest examples/client/test_with_client.py``; it needs pytest and pytest-asyncio.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import madang

pytestmark = pytest.mark.asyncio


def make_server() -> madang.Server:
    """The server under test. Yours comes from your program; a new one for each test keeps them apart."""
    io = madang.Server()

    @io.use
    def authenticate(socket: madang.Socket):
        if "name" not in socket.handshake.auth:
            raise madang.ConnectError("who are you?", data={"code": "no_name"})

    @io.on("say")
    def say(socket: madang.Socket, text: str):
        socket.broadcast.emit("said", socket.handshake.auth["name"], text)
        return len(text)

    return io


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    running = await make_server().start(port=0)
    yield running.url
    await running.stop()


async def test_an_answer(url: str):
    async with madang.connect(url, auth={"name": "minji"}) as client:
        assert await client.emit_with_ack("say", "hello", timeout=5) == 5


async def test_what_others_hear(url: str):
    async with (
        madang.connect(url, auth={"name": "minji"}, force_new=True) as minji,
        madang.connect(url, auth={"name": "joon"}, force_new=True) as joon,
    ):
        heard = joon.events("said")  # before the event that is to be heard
        minji.emit("say", "dinner")
        assert (await heard.receive(timeout=5)).args == ("minji", "dinner")


async def test_wrong_arguments(url: str):
    async with madang.connect(url, auth={"name": "minji"}) as client:
        answer = await client.emit_with_ack("say", 5, timeout=5)
        assert answer["error"]["code"] == "invalid_arguments"


async def test_a_refusal(url: str):
    with pytest.raises(madang.ConnectError, match="who are you") as refused:
        await madang.connect(url)
    assert refused.value.data == {"code": "no_name"}


async def test_the_server_goes_away_and_comes_back():
    running = await make_server().start(port=0)
    async with madang.connect(running.url, auth={"name": "minji"}, reconnection_delay=0.05) as client:
        await running.stop()
        assert not client.connected
        answer = client.emit_with_ack("say", "are you there?", timeout=5)  # waits for the connection
        again = await make_server().start(port=running.port)
        assert await answer == 14
        await again.stop()
