"""A Socket.IO server mounted among the routes of a Starlette application.

Run it with an ASGI server: ``uvicorn examples.starlette_mount:app --port 3000``, or with
``python examples/starlette_mount.py``. It needs starlette, and uvicorn needs websockets.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

import madang

io = madang.Server()


@io.on("connection")
def connected(socket: madang.Socket):
    io.emit("clients", len(io.sockets))


@io.on("disconnect")
def gone(socket: madang.Socket, reason: str):
    io.emit("clients", len(io.sockets))


async def clients(request: Request):
    return JSONResponse({"clients": len(io.sockets)})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    await io.close()  # a mounted application is not told of the end


app = Starlette(routes=[Route("/clients", clients), Mount("/socket.io", io)], lifespan=lifespan)

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "3000"))
    uvicorn.run(app, port=port, log_level="warning", timeout_graceful_shutdown=2)
