"""The server inside and around other ASGI applications, on every host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastapi
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect as connect_websocket

import madang
from tests.hosts import HOSTS, Host, listening
from tests.server.javascript import Heard, Js

ASGI_HOSTS: tuple[Host, ...] = ("uvicorn", "hypercorn")


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello from the app")


async def shout(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text((await websocket.receive_text()).upper())
    await websocket.close()


async def check_both(js: Js, io: madang.Server, url: str, **options: Any) -> None:
    """The app answers its own path over HTTP, and a client gets an answer of the server."""
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/hello")).text == "hello from the app"
    client = await js.connect(url, **options)
    assert await client.emit_with_ack("echo", b"\x01") == b"\x01"
    io.emit("all", 1)
    assert await client.next("all") == [1]


@pytest.fixture
async def io(js: Js) -> AsyncIterator[madang.Server]:
    """A server that lets its clients go before its host ends: a host of strangers would wait for them."""
    io = madang.Server()
    io.on("echo", lambda socket, value: value)
    yield io
    await io.close()


def fastapi_app() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.add_api_route("/hello", hello)
    return app


def mounted_in_fastapi(io: madang.Server, at: str) -> Any:
    app = fastapi_app()
    app.mount(at, io)
    return app


def mounted_in_starlette(io: madang.Server, at: str) -> Any:
    return Starlette(routes=[Route("/hello", hello), Mount(at, io)])


@pytest.mark.node("attachment.16")
@pytest.mark.feature("B3", "B4", "A1")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("host", ASGI_HOSTS)
@pytest.mark.parametrize("at", ["/socket.io", "/"])
@pytest.mark.parametrize("mount", [mounted_in_fastapi, mounted_in_starlette])
async def test_mounted(js: Js, io: madang.Server, mount: Any, at: str, host: Host):
    """`app.mount("/socket.io", io)` and `app.mount("/", io)` both serve the default path, beside the app's routes."""
    await check_both(js, io, await js.serve(mount(io, at), host))


@pytest.mark.node("attachment.16")
@pytest.mark.feature("B4", "B2", "A1")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("host", ASGI_HOSTS)
@pytest.mark.parametrize("kind", [fastapi_app, lambda: Starlette(routes=[Route("/hello", hello)])])
async def test_around_another_app(js: Js, io: madang.Server, kind: Any, host: Host):
    """`madang.ASGIApp(io, app)` takes its own path, and the app gets every other."""
    await check_both(js, io, await js.serve(madang.ASGIApp(io, kind()), host))


@pytest.mark.feature("B3", "A3")
@pytest.mark.parametrize("host", ASGI_HOSTS)
async def test_mounted_elsewhere(js: Js, io: madang.Server, host: Host):
    """Mounted at a path of one's own, the client finds it there, with or without the server's own path behind."""
    url = await js.serve(mounted_in_starlette(io, "/yard"), host)
    await check_both(js, io, url, path="/yard")
    await check_both(js, io, url, path="/yard/socket.io")


@pytest.mark.feature("B1", "B2")
@pytest.mark.usefixtures("mode")
async def test_an_app_beside_it_on_the_native_host(js: Js, io: madang.Server):
    """`app=` gives the native host another app for all other paths, WebSockets included."""
    app = Starlette(routes=[Route("/hello", hello), WebSocketRoute("/shout", shout)])
    running = await io.start(port=0, app=app)
    await check_both(js, io, running.url)
    async with connect_websocket(running.url.replace("http", "ws") + "/shout") as websocket:
        await websocket.send("hey")
        assert await websocket.recv() == "HEY"
    await running.stop()


@pytest.mark.feature("B10")
@pytest.mark.parametrize("host", ASGI_HOSTS)
async def test_another_websocket_beside_it(js: Js, io: madang.Server, host: Host):
    """WebSockets of other paths are the app's."""
    app = Starlette(routes=[Route("/hello", hello), WebSocketRoute("/shout", shout)])
    url = await js.serve(madang.ASGIApp(io, app), host)
    async with connect_websocket(url.replace("http", "ws") + "/shout") as websocket:
        await websocket.send("hey")
        assert await websocket.recv() == "HEY"
    await check_both(js, io, url)


@pytest.mark.feature("A1")
@pytest.mark.parametrize("host", HOSTS)
async def test_alone(js: Js, io: madang.Server, host: Host):
    """Without another app, a foreign path is 404 over HTTP, and a client of it cannot connect."""
    url = await js.serve(io, host)
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/hello")).status_code == 404
        assert (await http.get("/socket.iox/")).status_code == 404
    client = await js.connect(url, path="/elsewhere", wait=False)
    assert (await client.refused()).message == "websocket error"


@pytest.mark.feature("B4")
@pytest.mark.parametrize("host", HOSTS)
async def test_the_inner_app_s_lifespan(js: Js, io: madang.Server, heard: Heard, host: Host):
    """The app starts before the first client comes, and shuts down after the last one has been closed."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        heard("startup")
        yield
        heard("shutdown")

    io.on("disconnect", lambda socket, reason: heard(reason))
    app = Starlette(routes=[Route("/hello", hello)], lifespan=lifespan)
    if host == "native":
        running = await io.start(port=0, app=app)
        await check_both(js, io, running.url)
        await running.stop()
    else:
        async with listening(madang.ASGIApp(io, app), host) as url:
            await check_both(js, io, url)
            await io.close()
    assert heard.all == ["startup", "server shutting down", "shutdown"]


@pytest.mark.feature("B4")
@pytest.mark.parametrize("host", HOSTS)
async def test_an_inner_app_without_a_lifespan(js: Js, io: madang.Server, heard: Heard, host: Host):
    """An app that knows nothing of lifespans does no harm."""

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse("hello from the app")(scope, receive, send)

    if host == "native":
        running = await io.start(port=0, app=plain)
        await check_both(js, io, running.url)
        await running.stop()
    else:
        await check_both(js, io, await js.serve(madang.ASGIApp(io, plain), host))


@pytest.mark.feature("B3", "N1")
async def test_emitting_from_an_app_s_route(js: Js, io: madang.Server):
    """A route of the app may emit to all clients, from a coroutine or from FastAPI's threads."""
    app = fastapi_app()
    app.mount("/socket.io", io)

    @app.get("/async")
    async def from_coroutine() -> None:
        io.emit("news", "coroutine")

    @app.get("/thread")
    def from_thread() -> None:
        io.emit("news", "thread")

    url = await js.serve(app, "uvicorn")
    client = await js.connect(url)
    async with httpx.AsyncClient(base_url=url) as http:
        for path in ("/async", "/thread"):
            assert (await http.get(path)).status_code == 200
    assert [await client.next("news") for _ in range(2)] == [["coroutine"], ["thread"]]
