"""A small chat for several servers behind one balancer; every file beside this one serves it.

Run it with ``madang run app:app`` in this folder. In the environment:

* ``REDIS_URL``: the Redis that the servers share; without it this is a server alone.
* ``SERVER_NAME``: what this server calls itself; the machine's name if nothing is said.
"""

import os
import socket as sockets
from pathlib import Path
from typing import Any

import madang

REDIS_URL = os.environ.get("REDIS_URL") or None
SERVER_NAME = os.environ.get("SERVER_NAME") or sockets.gethostname()
PAGE = Path(__file__).with_name("index.html").read_bytes()

io = madang.Server(adapter=REDIS_URL)


@io.on("connection")
def connected(socket: madang.Socket):
    socket.join("lobby")


@io.on("say")
def say(socket: madang.Socket, text: str):
    io.to("lobby").emit("said", {"who": socket.id[:4], "text": text, "server": SERVER_NAME})


@io.on("where")
def where(socket: madang.Socket):
    """Which server this is, and what it has been told of the client by the proxy in front."""
    return {"server": SERVER_NAME, "address": socket.handshake.address, "secure": socket.handshake.secure}


class Web:
    """The page, and what a balancer asks: ``/alive`` and ``/ready``."""

    def __init__(self):
        self.ready = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any):
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        status, kind, body = self.answer(scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    def answer(self, path: str):
        match path:
            case "/":
                return 200, b"text/html; charset=utf-8", PAGE
            case "/alive":
                return 200, b"text/plain", b"alive"
            case "/ready":
                # Only the beginning counts. A Redis that goes away later would make all servers unready at once, and
                # they still serve those who are connected.
                self.ready = self.ready or io.adapter_health.connected
                return (200, b"text/plain", b"ready") if self.ready else (503, b"text/plain", b"Redis is not there yet")
        return 404, b"text/plain", b"not found"


app = madang.ASGIApp(io, Web())
