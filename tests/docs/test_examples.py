"""The small examples: each is started as its first lines say, and used by a stock client."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx
import pytest

import madang
from tests import hosts
from tests.docs.snippets import run_page
from tests.hosts import ROOT

START_WITHIN = 15.0
Start = Callable[[str], AbstractAsyncContextManager[str]]


@pytest.fixture
def start(free_port: int) -> Start:
    """Run an example on a free port until the block is left; it must end cleanly and complain of nothing."""

    @asynccontextmanager
    async def started(name: str) -> AsyncIterator[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, ROOT / "examples" / f"{name}.py"),
            env={**os.environ, "PORT": str(free_port)},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(START_WITHIN):
                while True:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", free_port)
                    except OSError:
                        assert process.returncode is None, (await process.communicate())[1].decode()
                        await asyncio.sleep(0.02)
                    else:
                        writer.close()
                        await writer.wait_closed()
                        break
            yield f"http://localhost:{free_port}"
        finally:
            if process.returncode is None:
                process.terminate()
            _, errors = await process.communicate()
        assert errors.decode() == ""

    return started


async def test_notifications(start: Start, node: str):
    """A notification reaches all tabs of one person, and one for somebody who is away is refused."""
    page = """
        import { io } from "socket.io-client";
        const tab = (user) => io("http://localhost:3000/notifications", { auth: { user }, forceNew: true });
        const tabs = [tab("minji"), tab("minji")];
        await Promise.all(tabs.map((tab) => new Promise((connected) => tab.on("connect", connected))));
        for (const tab of tabs) tab.on("notification", (text) => console.log(text));
        const joon = tab("joon");
        tab("").on("connect_error", async (error) => {
          console.log(error.data.code);
          console.log((await joon.emitWithAck("notify", "nobody", "hello")).error.code);
          joon.emit("notify", "minji", "hello");
        });
    """
    async with start("notifications") as url, run_page(node, page, url, 4) as printed:
        assert printed == ["no_user", "away", "joon: hello", "joon: hello"]


async def test_typed_events(start: Start, node: str):
    """An order that fits is answered with a receipt, and one that does not with the reason."""
    page = """
        import { io } from "socket.io-client";
        const socket = io("http://localhost:3000");
        const order = [{ item: "tea", count: 2 }, { item: "rice cake" }];
        const { lines, total, at } = await socket.emitWithAck("order", order);
        console.log(lines.length, total, !isNaN(new Date(at)));
        console.log((await socket.emitWithAck("order", [{ item: "tea", count: 100 }])).error.data.path);
        console.log((await socket.emitWithAck("order", [{ item: "coffee" }])).error.data);
    """
    async with start("typed_events") as url, run_page(node, page, url, 3) as printed:
        assert printed == ["2 12.20 true", "[0].count", "[ 'coffee' ]"]


async def test_fastapi_app(start: Start, node: str):
    """The page is there, what is posted to a route reaches the clients, and a route and an event share a dependency."""
    page = """
        import { io } from "socket.io-client";
        const socket = io("http://localhost:3000", { extraHeaders: { "Accept-Language": "ko" } });
        socket.on("said", (text) => socket.emitWithAck("greet", text).then(console.log));
        socket.on("connect", () => fetch("http://localhost:3000/say?text=Minji", { method: "POST" }));
    """
    async with start("fastapi_app") as url, run_page(node, page, url, 1) as printed:
        assert printed == ["안녕, Minji!"]
        async with httpx.AsyncClient(base_url=url) as http:
            assert "socket.io.esm.min.js" in (await http.get("/")).text
            assert (await http.get("/greet", params={"name": "Minji"})).json() == "Hello, Minji!"


@pytest.mark.feature("B3")
@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("name", ["fastapi_app", "litestar_app", "quart_app", "django_app"])
async def test_frameworks(start: Start, node: str, name: str, transport: str):
    """Around each framework's application the server hears clients, and its routes answer and reach them."""
    page = f"""
        import {{ io }} from "socket.io-client";
        const socket = io("http://localhost:3000", {{ transports: ["{transport}"] }});
        socket.on("said", (text) => console.log(text));
        socket.on("connect", () => socket.emit("say", "by event"));
    """
    async with start(name) as url, run_page(node, page, url, 1) as printed, httpx.AsyncClient(base_url=url) as http:
        assert printed == ["by event"]
        assert (await http.post("/say", params={"text": "by route"})).json() == {"heard by": 1}
        assert (await http.get("/nowhere")).status_code == 404


@pytest.mark.feature("B3")
@pytest.mark.parametrize("name", ["litestar_app", "quart_app", "django_app"])
async def test_what_a_route_sends(start: Start, node: str, name: str):
    """What a route emits comes to the clients, from a view of Django's in a thread and from one that is a coroutine."""
    page = """
        import { io } from "socket.io-client";
        const socket = io("http://localhost:3000");
        socket.on("said", (text) => console.log(text));
        const post = (path) => fetch(`http://localhost:3000/${path}?text=hello`, { method: "POST" });
        socket.on("connect", () => post("say").then(() => post("shout")));
    """
    wanted = ["hello", "HELLO"] if name == "django_app" else ["hello"]
    async with start(name) as url, run_page(node, page, url, len(wanted)) as printed:
        assert printed == wanted


async def test_starlette_mount(start: Start, node: str):
    """The mounted server and the application's own route answer on one port."""
    page = """
        import { io } from "socket.io-client";
        io("http://localhost:3000").on("clients", (number) => console.log(number));
    """
    async with start("starlette_mount") as url, run_page(node, page, url, 1) as printed:
        assert printed == ["1"]
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/clients")).json() == {"clients": 1}


async def test_engine_echo(start: Start, node: str):
    """The Engine.IO client hears its own text and bytes."""
    page = """
        import { Socket } from "engine.io-client";
        const socket = new Socket("http://localhost:3000");
        socket.on("message", (data) => console.log(data));
        socket.on("open", () => {
          socket.send("hello");
          socket.send(Buffer.from([1, 2]));
        });
    """
    async with start("engine_echo") as url, run_page(node, page, url, 2) as printed:
        assert printed == ["hello", "<Buffer 01 02>"]


@asynccontextmanager
async def client(name: str, url: str, *args: str, **settings: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a program of examples/client; what it prints. It must complain of nothing until the block is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, ROOT / "examples" / "client" / f"{name}.py", *args),
        env={**os.environ, "URL": url, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_WITHIN):
            yield process.stdout
    finally:
        if process.returncode is None:
            process.terminate()
        _, errors = await process.communicate()
    assert errors.decode() == ""


async def line(printed: asyncio.StreamReader) -> str:
    return (await printed.readline()).decode().rstrip("\n")


@pytest.mark.feature("V1", "V2", "V3")
async def test_client_script_and_stream(start: Start):
    """What a script without asyncio says is heard by itself, and by a program that streams events."""
    async with start("client/server") as url, client("stream", url) as streamed:
        assert await line(streamed) == "listening"
        async with client("script", url, "dinner", "is", "ready") as said:
            assert [await line(said), await line(said)] == ["ok", "heard: dinner is ready"]
        assert await line(streamed) == "dinner is ready"


async def test_client_bot(start: Start):
    """The bot answers what others say, comes back after a lost connection, and ends when it is told to."""
    async with AsyncExitStack() as stack:
        async with start("client/server") as url:
            printed = await stack.enter_async_context(client("bot", url))
            assert await line(printed) == "connected"
            async with madang.connect(url) as somebody:
                heard = somebody.events("said")
                somebody.emit("say", "!add 1 2")
                assert [(await heard.receive(5)).data["text"] for _ in range(2)] == ["!add 1 2", "that is 3"]
            assert await line(printed) == "answered: {'ok': True}"
        assert await line(printed) == "disconnected: transport close"
        async with start("client/server") as url:
            while (said := await line(printed)) != "connected":
                assert said.startswith(("cannot connect: polling error", "back after"))
            async with madang.connect(url) as somebody:
                await somebody.emit_with_ack("say", "!bye", timeout=5)
            assert await line(printed) == "disconnected: io client disconnect"
            assert await printed.read() == b""


async def test_client_device(start: Start, free_port: int):
    """All readings arrive, also those that were taken while there was no server; a stranger is refused."""
    url = f"http://localhost:{free_port}"
    async with client("device", url, READINGS="3", EVERY="0.01") as printed:
        assert (await line(printed)).startswith("cannot connect: websocket error")
        async with start("client/server"), client("device", url, TOKEN="wrong", EVERY="0.01") as stranger:
            while "unknown device" not in (said := await line(stranger)):
                assert said
            assert re.fullmatch(r"0 arrived, \d+ did not", await line(stranger))
            while "did not" not in (said := await line(printed)):
                assert said
            assert said == "3 arrived, 0 did not"


async def test_client_testing_a_server():
    """The example of how to test one's own server passes."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            os.devnull,
            "-p",
            "no:cacheprovider",
            "-p",
            "pytest_asyncio.plugin",
        ),
        ROOT / "examples" / "client" / "test_with_client.py",
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * START_WITHIN):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "5 passed" in out.decode()


@pytest.mark.feature("A14")
async def test_own_transport(start: Start, node: str, monkeypatch: pytest.MonkeyPatch):
    """Over a transport of one's own a client is one like any other: it is heard, reached, and gone when it goes."""
    monkeypatch.setenv("LINES_PORT", str(port := hosts.free_port()))
    page = """
        import { io } from "socket.io-client";
        const socket = io("http://localhost:3000");
        console.log(await socket.emitWithAck("add", 1, 2));
    """
    async with start("own_transport") as url, run_page(node, page, url, 1) as printed:
        assert printed == ["3"]
        async with asyncio.timeout(START_WITHIN):
            reader, writer = await lines_to(port)
            assert (await reader.readline()).startswith(b'0{"sid":')
            writer.write(b"40\n")
            assert (await reader.readline()).startswith(b'40{"sid":')
            writer.write(b'420["add",1,2]\n4')
            assert await reader.readline() == b"430[3]\n"
            writer.write(b'51-1["size",{"_placeholder":true,"num":0}]\nbAQID\n')  # three bytes
            assert await reader.readline() == b"431[3]\n"
            writer.write(b"what is this\n")
            assert await reader.read() == b""
            writer.close()


async def lines_to(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, once somebody listens."""
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
