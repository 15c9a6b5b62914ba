"""Options that are changed after the server was made, and before it is served."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

import madang
from madang.errors import OptionError, UsageError
from tests.hosts import ROOT, listening
from tests.server.javascript import Js


@pytest.mark.node("attachment.17")
@pytest.mark.feature("A2", "A3", "A7", "A8")
async def test_merged_with_those_of_the_constructor(js: Js):
    """What is given late joins what was given before, and clients are told of both."""
    io = madang.Server(ping_interval=6, max_http_buffer_size=5000)
    io.of("/chat").on("connection", lambda socket: socket.join("room"))
    io.configure(ping_timeout=7, path="/yard", cors={"origin": "http://page.example"}, transports=["polling"])
    async with listening(io) as url, httpx.AsyncClient() as http:
        address = f"{url}/yard/?EIO=4&transport=polling"
        got = await http.get(address, headers={"origin": "http://page.example"})
        told = json.loads(got.text[1:])
        assert (told["pingInterval"], told["pingTimeout"], told["maxPayload"]) == (6000, 7000, 5000)
        assert told["upgrades"] == []
        assert got.headers["access-control-allow-origin"] == "http://page.example"
        assert (await http.get(f"{url}/socket.io/?EIO=4&transport=polling")).status_code == 404
        await js.connect(url, "/chat", path="/yard", transports=["polling"])
        assert len(io.of("/chat").sockets) == 1


@pytest.mark.feature("A16")
async def test_an_adapter(js: Js):
    """An adapter that is given late is that of every namespace, those that were made before too."""

    class Own(madang.MemoryAdapter):
        pass

    io = madang.Server()
    chat = io.of("/chat")
    io.configure(adapter=lambda context: Own())
    assert (type(io.adapter), type(chat.adapter), type(io.of("/later").adapter)) == (Own, Own, Own)
    client = await js.connect(io, "/chat")
    chat.sockets_join("room")
    chat.to("room").emit("x")
    assert await client.next("x") == []


@pytest.mark.feature("A18", "A11")
async def test_the_others():
    """`serve_client` and the timeouts may come late as well."""
    io = madang.Server(serve_client=False)
    io.configure(serve_client=ROOT / "tests" / "js" / "node_modules" / "socket.io", connect_timeout=0.05, ack_timeout=2)
    async with listening(io) as url, httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/socket.io/socket.io.js")).status_code == 200
        sid = json.loads((await http.get(f"{url}/socket.io/?EIO=4&transport=polling")).text[1:])["sid"]
        closed = await http.get(f"{url}/socket.io/?EIO=4&transport=polling&sid={sid}")  # it has joined nothing
        assert closed.text.endswith("1")
    assert (io.options.ack_timeout, io.options.connect_timeout) == (2, 0.05)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ping_intervall": 3}, "did you mean 'ping_interval'"),
        ({"pingInterval": 3}, "did you mean 'ping_interval'"),
        ({"ping_interval": -1}, "ping_interval must be a number above 0"),
        ({"connect_timeout": 0}, "connect_timeout must be a number above 0"),
        ({"parser": madang.MsgpackParser()}, r"parser: only madang.Server\(...\) takes that"),
        ({"presence": {}, "concurrent": True}, "concurrent, presence: only"),
        ({"cors": {"orign": "*"}}, "origin"),
        ({"adapter": "redish://"}, "redish"),
        ({"ping_timeout": 3, "serve_client": "/no/such/place"}, "serve_client"),
    ],
)
def test_what_is_refused(given: Any, words: str):
    """A wrong option changes nothing, not even those beside it, and the error says what is wrong."""
    io = madang.Server()
    before = (io.options, io.engine.options, io.adapters, io.engine.files)
    with pytest.raises(OptionError, match=words):
        io.configure(**given)
    assert (io.options, io.engine.options, io.adapters, io.engine.files) == before


async def test_while_it_is_served():
    """While the server is served its clients rely on its options; when it has been closed they may change again."""
    io = madang.Server()
    async with listening(io):
        with pytest.raises(UsageError, match="until the server is served"):
            io.configure(ping_interval=3)
        with pytest.raises(UsageError, match="until the server is served"):
            io.engine.configure(ping_interval=3)
    io.configure(ping_interval=3)
    async with listening(io) as url, httpx.AsyncClient() as http:
        assert '"pingInterval":3000' in (await http.get(f"{url}/socket.io/?EIO=4&transport=polling")).text


class Counting(madang.Engine):
    """An engine of one's own."""

    made = 0

    def session_ended(self, session: Any) -> None:
        super().session_ended(session)
        self.made += 1


@pytest.mark.feature("A25")
@pytest.mark.usefixtures("mode")
async def test_an_engine_of_one_s_own(js: Js):
    """A server stands on the engine that it is given, with the engine's options, middleware and class."""
    engine = Counting(path="/yard", ping_interval=6)
    asked: list[str] = []
    engine.use(lambda request: asked.append(request.path))
    io = madang.Server(engine=engine, connect_timeout=5)
    assert io.engine is engine
    io.on("echo", lambda socket, value: value)
    client = await js.connect(io, path="/yard")
    assert await client.emit_with_ack("echo", b"\x01") == b"\x01"
    assert asked[0] == "/yard/"
    assert engine.clients_count == 1
    io.sockets[client.id].disconnect(close=True)
    await client.disconnected()
    assert engine.made == 1


def test_engines_that_cannot_be_given():
    """An engine belongs to one server, has its own options, and is an engine."""
    engine = madang.Engine()
    with pytest.raises(OptionError, match=r"ping_interval: with engine=\.\.\. these are options of that"):
        madang.Server(engine=engine, ping_interval=3)
    with pytest.raises(OptionError, match=r"engine must be a madang\.Engine, not 'x'"):
        madang.Server(engine="x")  # type: ignore[arg-type]
    madang.Server(engine=engine)
    with pytest.raises(OptionError, match="an engine belongs to one server"):
        madang.Server(engine=engine)
