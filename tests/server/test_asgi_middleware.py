"""ASGI middleware of web frameworks, asked about handshakes."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import itsdangerous
import pytest
import websockets
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount

import madang
from tests.hosts import Host, listening
from tests.server.javascript import Heard, Js

HOSTS: tuple[Host, ...] = ("native", "uvicorn", "hypercorn", "granian")
SECRET = "a secret of the test"


def _cookie(session: Any) -> str:
    signed = itsdangerous.TimestampSigner(SECRET).sign(base64.b64encode(json.dumps(session).encode()))
    return f"session={signed.decode()}"


class ByToken(AuthenticationBackend):
    """Who has a token is somebody."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        token = conn.query_params.get("token")
        if token == "wrong":
            raise AuthenticationError("no such token")
        return (AuthCredentials(["authenticated"]), SimpleUser(token)) if token else None


@pytest.mark.feature("K1", "G13")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.usefixtures("mode")
async def test_session_and_user(js: Js, io: madang.Server, host: Host):
    """What sessions and authentication put into the scope is at hand in each handshake, on every host and transport."""
    io.add_middleware(SessionMiddleware, secret_key=SECRET)
    io.add_middleware(AuthenticationMiddleware, backend=ByToken())
    heard = Heard()

    @io.use
    async def look(socket: madang.Socket) -> None:
        shaken = socket.handshake
        heard(dict(shaken.session), shaken.user.display_name, shaken.scope["auth"].scopes, shaken.scope["type"])

    url = await js.serve(io, host)
    await js.connect(url, extraHeaders={"Cookie": _cookie({"cart": 3})}, query={"token": "minji"})
    assert await heard.next() == ({"cart": 3}, "minji", ["authenticated"], "http")
    await js.connect(url)
    assert await heard.next() == ({}, "", [], "http")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_middleware_that_answers(host: Host, transport: str):
    """A middleware that answers by itself refuses the handshake with its own answer, and there is no session."""
    io = madang.Server()
    io.add_middleware(AuthenticationMiddleware, backend=ByToken())
    async with listening(io, host) as url:
        address = f"{url}/socket.io/?EIO=4&transport={transport}&token=wrong"
        if transport == "polling":
            async with httpx.AsyncClient() as http:
                got = await http.get(address)
                assert (got.status_code, got.text) == (400, "no such token")
        else:
            with pytest.raises(websockets.InvalidStatus) as caught:
                await websockets.connect(address.replace("http", "ws", 1))
            assert caught.value.response.status_code == 400
            assert caught.value.response.body == b"no such token"
        assert io.engine.clients_count == 0


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_headers_of_the_answer(transport: str):
    """Headers that a middleware adds, such as the cookie of a session, are on the answer to the handshake."""
    io = madang.Server()

    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.session["visits"] = request.session.get("visits", 0) + 1
        response = await call_next(request)
        response.headers["x-yard"] = "madang"
        return response

    io.add_middleware(Nested, dispatch=count)
    scopes: list[Any] = []
    io.engine.on("connection", lambda session: scopes.append(session.request.scope["session"]))
    async with listening(io) as url:
        address = f"{url}/socket.io/?EIO=4&transport={transport}"
        if transport == "polling":
            async with httpx.AsyncClient() as http:
                headers: Any = (await http.get(address)).headers
        else:
            async with websockets.connect(address.replace("http", "ws", 1)) as client:
                assert client.response is not None
                headers = client.response.headers
        assert headers["x-yard"] == "madang"
        assert headers["set-cookie"].startswith("session=")
        assert scopes == [{"visits": 1}]


def Nested(app: Any, dispatch: Any) -> Any:  # noqa: N802
    """A session with something that uses it inside: what a function makes of both is one middleware as well."""
    return SessionMiddleware(BaseHTTPMiddleware(app, dispatch=dispatch), secret_key=SECRET)


async def test_once_for_each_client(js: Js, io: madang.Server):
    """It is asked about handshakes alone: not about polls, nor the upgrade of who has been let in."""
    asked: list[str] = []

    class Count:
        def __init__(self, app: Any, name: str) -> None:
            self.app, self.name = app, name

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            asked.append(self.name)
            await self.app(scope, receive, send)

    io.add_middleware(Count, "first")
    io.add_middleware(Count, name="second")
    io.on("echo", lambda socket, value: value)
    client = await js.connect(io, transports=["polling", "websocket"])
    await client.upgraded()
    assert await client.emit_with_ack("echo", 1) == 1
    assert asked == ["first", "second"]


@pytest.mark.feature("K2")
async def test_one_that_raises(caplog: pytest.LogCaptureFixture):
    """A middleware that fails refuses the client with Node's answer, and is logged; the next client is asked again."""
    io = madang.Server()
    fails = [True, False]

    def make(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            if fails.pop(0):
                raise LookupError("database away")
            await app(scope, receive, send)

        return middleware

    io.add_middleware(make)
    async with listening(io) as url, httpx.AsyncClient() as http:
        address = f"{url}/socket.io/?EIO=4&transport=polling"
        got = await http.get(address)
        assert (got.status_code, got.json()) == (400, {"code": 3, "message": "Bad request"})
        assert (await http.get(address)).status_code == 200
    assert "an engine middleware failed" in caplog.text


async def test_redirects_and_other_answers():
    """Any answer will do: status, headers and body are the client's to see."""
    io = madang.Server()

    def make(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            answer = RedirectResponse("/login") if b"login" in scope["query_string"] else PlainTextResponse("no", 401)
            await answer(scope, receive, send)

        return middleware

    io.add_middleware(make)
    async with listening(io) as url, httpx.AsyncClient() as http:
        got = await http.get(f"{url}/socket.io/?EIO=4&transport=polling&login=1")
        assert (got.status_code, got.headers["location"]) == (307, "/login")
        assert (await http.get(f"{url}/socket.io/?EIO=4&transport=polling")).status_code == 401


async def test_mounted(js: Js, io: madang.Server):
    """Mounted, the middlewares of the outer application have been asked already, and their scope is at hand as well."""
    heard = Heard()
    io.on("connection", lambda socket: heard(dict(socket.handshake.session), socket.handshake.user))
    app = Starlette(routes=[Mount("/socket.io", io)], middleware=[Middleware(SessionMiddleware, secret_key=SECRET)])
    async with listening(app, "uvicorn") as url:
        client = await js.connect(url, extraHeaders={"Cookie": _cookie({"cart": 3})})
        assert await heard.next() == ({"cart": 3}, None)
        client.disconnect()
        await io.close()


async def test_without(js: Js, io: madang.Server):
    """Without middleware there is neither session nor user."""
    client = await js.connect(io)
    shaken = io.sockets[client.id].handshake
    assert (shaken.session, shaken.user, shaken.scope) == (None, None, {})
