"""A Socket.IO client under a wrong path: it is told how the server is mounted, and nobody else is told anything."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from madang import ASGIApp, Server
from tests.conformance.wire import address
from tests.hosts import HOSTS, Host, listening


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def told(app: Any, path: str, host: Host = "uvicorn") -> str:
    """The text of the 404 that a client gets under a path."""
    async with listening(app, host) as url, httpx.AsyncClient(base_url=url, timeout=5) as http:
        response = await http.get(address(path, "polling"))
        assert response.status_code == 404
        assert response.headers["content-type"].startswith("text/plain")
        return response.text


@pytest.mark.parametrize("host", HOSTS)
async def test_alone(host: Host) -> None:
    """Without another application the client is told what is served, on every host; others get two words."""
    io = Server()
    async with listening(io, host) as url, httpx.AsyncClient(base_url=url, timeout=5) as http:
        text = (await http.get(address("/yard/", "polling"))).text
        assert text == (
            "No Socket.IO at /yard/: this server has it at /socket.io/.\n"
            'Give the client path: "/socket.io/", or the server path="/yard/".\n'
        )
        assert (await http.get("/yard/?x=EIO=4")).text == "Not found.\n"
        await io.close()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/socket.io", "The slash at the end is missing"),
        ("/app/socket.io/", "The prefix /app stands before it: let the proxy take it away, mount"),
        ("/a%3Cb%0A/socket.io/", "The prefix /a%3Cb%0A stands before it"),
        ("/" + "x" * 1000, "x..."),
    ],
)
async def test_what_is_wrong(path: str, words: str) -> None:
    """A lost slash and a prefix are named; what is repeated of the path is short and harmless."""
    text = await told(Server(), path)
    assert words in text
    assert len(text) < 800


async def test_mounted() -> None:
    """Mounted, the text names the mount point, and the path that reaches the server through it."""
    text = await told(Starlette(routes=[Mount("/api", Server())]), "/api/yard/")
    assert "at /api/yard/: this server has it at /socket.io/, mounted at /api.\n" in text
    assert 'Give the client path: "/api/socket.io/", or the server path="/yard/"' in text
    assert "The slash" in await told(Starlette(routes=[Mount("/api", Server())]), "/api/socket.io")


async def test_around_another_application() -> None:
    """The other application's answers go out as they are; only its 404 to a Socket.IO client is another text."""
    around = ASGIApp(Server(), Starlette(routes=[Route("/hello", hello)]))
    async with listening(around, "uvicorn") as url, httpx.AsyncClient(base_url=url, timeout=5) as http:
        assert (await http.get(address("/hello", "polling"))).text == "hello"
        assert (await http.get("/elsewhere")).text == "Not Found"
        assert "has it at /socket.io/" in (await http.get(address("/elsewhere", "polling"))).text


async def test_around_another_server() -> None:
    """A second Socket.IO server inside has its own path; a client of neither is told of the outer one."""
    inner = Server(path="/inner")
    around = ASGIApp(Server(), inner)
    async with listening(around, "uvicorn") as url, httpx.AsyncClient(base_url=url, timeout=5) as http:
        assert (await http.get(address("/inner/", "polling"))).text.startswith("0{")
        assert "has it at /socket.io/" in (await http.get(address("/neither/", "polling"))).text
        await inner.close()


async def test_websocket() -> None:
    """A WebSocket under a wrong path gets the same text where the ASGI server can send one."""
    async with listening(Server(), "uvicorn") as url:
        with pytest.raises(InvalidStatus) as caught:
            await connect(url.replace("http", "ws") + address("/yard/", "websocket"))
        response = caught.value.response
        assert response.status_code == 404
        assert b"has it at /socket.io/" in (response.body or b"")
