"""The benchmark's events on madang, for both ways of hosting it."""

from typing import Any

import msgspec

import madang

io = madang.Server()


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


@io.on("echo")
def echo(_: madang.Socket, payload: Any) -> Any:
    """Answer with what came."""
    return payload


@io.on("say")
def say(_: madang.Socket, payload: Any) -> None:
    """Pass it on to everybody."""
    io.emit("said", payload)


@io.on("join")
def join(socket: madang.Socket, room: str) -> None:
    """Enter the room."""
    socket.join(room)


@io.on("tell")
def tell(_: madang.Socket, room: str, payload: Any) -> None:
    """Pass it on to the room."""
    io.to(room).emit("said", payload)


@io.on("order")
def order(_: madang.Socket, order: Order) -> Any:
    """Add up an order; what is none never gets here."""
    return {"id": order.id, "total": sum(item.quantity * item.price for item in order.items)}
