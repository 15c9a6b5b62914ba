"""The HTTP side: the page, the stock Socket.IO client, and the log-in."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from . import names
from .events import User
from .house import HERE, store, tokens
from .people import is_taken
from .rooms import departures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = HERE / "web"
CLIENT = PAGE / "node_modules" / "socket.io-client" / "dist"
LOG_IN_BYTES = 2_000

HEADERS = {
    b"cache-control": b"no-cache",
    b"content-security-policy": b"default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
}

log = logging.getLogger("chat")


class LogIn(msgspec.Struct):
    """What the log-in form sends."""

    name: str


class PageFiles(StaticFiles):
    """The files of the page itself: what lies beside it (packages, their manifest) is not served."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file of the page by its bare name."""
        if "/" in path or not path.endswith((".html", ".css", ".js", ".svg")):
            return "", None
        return super().lookup_path(path)


class Headers:
    """Adds the headers every answer of the page has."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, with our headers added."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS.items()]
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def page(request: Request) -> Response:
    """Serve the page, or what to do first when its Socket.IO client is not there."""
    if not (CLIENT / "socket.io.esm.min.js").is_file():
        return FileResponse(PAGE / "client-missing.html", status_code=503)
    return FileResponse(PAGE / "index.html")


async def log_in(request: Request) -> Response:
    """Give a token to whoever says a name that is free."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LOG_IN_BYTES:
            return refusal(413, "too_large", "The request is too large.")
    try:
        name = names.tidy(msgspec.json.decode(body, type=LogIn).name)
    except names.BadName as error:
        return refusal(422, error.code, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return refusal(400, "bad_request", 'A JSON object such as {"name": "민지"} is expected.')
    if await is_taken(name):
        return refusal(409, "name_taken", f"Somebody is here as {name} already.")
    user = User(f"u_{secrets.token_hex(8)}", name)
    return JSONResponse({"token": tokens.issue(user), "user": msgspec.to_builtins(user)})


def refusal(status: int, code: str, message: str) -> Response:
    """Return an error in the form the events use too."""
    return JSONResponse({"error": {"code": code, "message": message}}, status)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep the store open while the chat runs."""
    if not CLIENT.is_dir():
        log.warning("socket.io-client is missing: run `npm install` in %s", PAGE)
    await store.open()
    yield
    for departure in departures:
        departure.cancel()
    await store.close()


app = Starlette(
    lifespan=lifespan,
    middleware=[Middleware(Headers)],
    routes=[
        Route("/", page),
        Route("/login", log_in, methods=["POST"]),
        Mount("/socket.io-client", StaticFiles(directory=CLIENT, check_dir=False)),
        Mount("/", PageFiles(directory=PAGE)),
    ],
)
