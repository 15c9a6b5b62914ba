"""Servers that the tests of the command start: ``madang run tests.cli.served:io``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from madang import ASGIApp, Engine, Server

io = Server(shutdown_timeout=2.0)
engine = Engine()
something_else = object()


@io.on("slow")
async def slow(socket: Any, seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print("handler cancelled", file=sys.stderr, flush=True)
        raise
    print("handler ended", file=sys.stderr, flush=True)
    return "done"


@io.on("echo")
def echo(socket: Any, *args: Any) -> Any:
    return args


async def other(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the other application"})


around = ASGIApp(io, other)
