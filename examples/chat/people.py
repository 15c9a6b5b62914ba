"""Who is let in, and who is where: asked of the server's own sockets and rooms, so nothing is counted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from madang import ConnectError, Socket

from . import names
from .house import chat, tokens
from .tokens import TokenError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .events import User


async def authenticate(socket: Socket) -> None:
    """Let a socket in by the token of its log-in; the middleware of both namespaces."""
    try:
        user = tokens.read(socket.handshake.auth.get("token"))
    except TokenError as error:
        raise ConnectError(str(error), data={"code": error.code}) from None
    if await is_taken(user.name, but_by=user):
        raise ConnectError(f"Somebody else is here as {user.name} now.", data={"code": "name_taken"})
    socket.data["user"] = user


async def is_taken(name: str, *, but_by: User | None = None) -> bool:
    """Tell whether somebody else is here under that name, or under one that looks the same."""
    return any(user != but_by and names.key(user.name) == names.key(name) for user in await present())


async def present() -> list[User]:
    """Return everybody in the house, each once, by name."""
    return _people(await chat.fetch_sockets())


async def members(room_id: str) -> list[User]:
    """Return everybody in a room, each once however many tabs they have open, by name."""
    return _people(await chat.in_(key(room_id)).fetch_sockets())


def key(room_id: str) -> str:
    """Return the Socket.IO room of a room of the house; the prefix keeps it apart from socket ids."""
    return f"room:{room_id}"


def _people(sockets: Iterable[Any]) -> list[User]:
    people: set[User] = {socket.data["user"] for socket in sockets}
    return sorted(people, key=lambda user: names.key(user.name))
