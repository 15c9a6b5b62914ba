"""Peer server: python-socketio as an ASGI application on uvicorn; arguments are the port and uvicorn's `ws`."""

import socket
import sys
from typing import Any

import msgspec
import orjson
import socketio
import uvicorn
from engineio.payload import Payload


class Json:
    """orjson under the names that python-socketio calls."""

    loads = staticmethod(orjson.loads)

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Give compact JSON, which is what python-socketio asks for."""
        return orjson.dumps(value).decode()


class Item(msgspec.Struct):
    """One line of an order."""

    sku: str
    quantity: int
    price: int


class Order(msgspec.Struct):
    """What `order` takes."""

    id: int
    customer: str
    items: list[Item]
    note: str | None


class Server(uvicorn.Server):
    """uvicorn, saying so when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say it."""
        await super().startup(sockets)
        sys.stdout.write("ready\n")
        sys.stdout.flush()


Payload.max_decode_packets = 1000  # of one POST; a burst over polling needs more than the 16 it has
io = socketio.AsyncServer(async_mode="asgi", json=Json, async_handlers=False)


@io.event
async def echo(_: str, payload: Any) -> Any:
    """Answer with what came."""
    return payload


@io.event
async def say(_: str, payload: Any) -> None:
    """Pass it on to everybody."""
    await io.emit("said", payload)


@io.event
async def join(sid: str, room: str) -> tuple[()]:
    """Enter the room."""
    await io.enter_room(sid, room)
    return ()


@io.event
async def tell(_: str, room: str, payload: Any) -> None:
    """Pass it on to the room."""
    await io.emit("said", payload, room=room)


@io.event
async def order(_: str, payload: Any) -> Any:
    """Check the order and add it up."""
    try:
        checked = msgspec.convert(payload, Order)
    except msgspec.ValidationError:
        return "invalid"
    return {"id": checked.id, "total": sum(item.quantity * item.price for item in checked.items)}


if __name__ == "__main__":
    config = uvicorn.Config(
        socketio.ASGIApp(io),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws=sys.argv[2] if len(sys.argv) > 2 else "websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has its own
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    Server(config).run()
