"""The /chat namespace: entering and leaving rooms, talking, and seeing who is there."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Literal

from madang import EventError, Socket

from . import names
from .events import (
    CHAT_MESSAGE,
    EARLIER_MESSAGES,
    JOIN_ROOM,
    LEAVE_ROOM,
    NEW_ROOM,
    PRESENCE,
    ROOM,
    ROOMS,
    SEND_MESSAGE,
    TYPING,
    USER_TYPING,
    EarlierMessages,
    History,
    JoinRoom,
    LeaveRoom,
    Message,
    NewMessage,
    NewRoom,
    Presence,
    Room,
    RoomState,
    Typing,
    User,
    UserTyping,
)
from .house import chat, store
from .people import authenticate, key, members
from .store import TooManyRooms

GRACE = 3.0
"""Seconds a person may be away, as in a page reload, before the room is told that they left."""

away: Counter[tuple[str, User]] = Counter()
"""How many tabs of a person dropped out of a room within the last GRACE seconds."""

departures: set[asyncio.Task[None]] = set()
"""Who is still waited for; nobody, once the chat ends."""

chat.use(authenticate)


@chat.on("connection")
async def connected(socket: Socket) -> None:
    """Show the house to whoever comes in."""
    socket.data["rooms"] = set()
    socket.emit(ROOMS, [await counted(room) for room in await store.rooms()])


@chat.on(JOIN_ROOM)
async def join_room(socket: Socket, wanted: JoinRoom) -> RoomState:
    """Take the person in and hand them what they missed."""
    room = await store.room(wanted.room)
    if room is None:
        raise EventError("There is no such room.", code="no_such_room")
    user: User = socket.data["user"]
    newcomer = user not in await members(room.id) and not away[room.id, user]
    socket.join(key(room.id))
    socket.data["rooms"].add(room.id)
    if newcomer:
        await announce(room.id, "joined", user)
    history = await store.history(room.id, after=wanted.after)
    return RoomState(await counted(room), history, await members(room.id))


@chat.on(LEAVE_ROOM)
async def leave_room(socket: Socket, wanted: LeaveRoom) -> None:
    """Let this tab out; the room hears of it when it was the person's last one there."""
    if wanted.room in socket.data["rooms"]:
        socket.data["rooms"].remove(wanted.room)
        socket.leave(key(wanted.room))
        await announce_if_gone(wanted.room, socket.data["user"])


@chat.on("disconnecting")
def disconnecting(socket: Socket, reason: str) -> None:
    """Tell the rooms that somebody left, unless they come back within a moment."""
    if reason == "server shutting down":
        return
    left = [(room_id, socket.data["user"]) for room_id in socket.data["rooms"]]
    away.update(left)
    task = asyncio.create_task(depart(left))
    departures.add(task)
    task.add_done_callback(departures.discard)


async def depart(left: list[tuple[str, User]]) -> None:
    """Wait whether the person comes back to these rooms, and announce that they left if not."""
    await asyncio.sleep(GRACE)
    away.subtract(left)
    for room_id, user in left:
        await announce_if_gone(room_id, user)


@chat.on(NEW_ROOM)
async def new_room(socket: Socket, new: NewRoom) -> Room:
    """Open a room for everybody."""
    try:
        room = await store.add_room(names.tidy(new.name))
    except names.BadName as error:
        raise EventError(str(error), code=error.code) from None
    except TooManyRooms:
        raise EventError("The house is full: no more rooms can be opened.", code="too_many_rooms") from None
    chat.emit(ROOM, await counted(room))
    return await counted(room)


@chat.on(SEND_MESSAGE)
async def send_message(socket: Socket, new: NewMessage) -> Message:
    """Keep a message and pass it on; a retry of one that had arrived is acknowledged, not said twice."""
    require_presence(socket, new.room)
    message, is_new = await store.add_message(new.room, socket.data["user"], new.text, new.nonce)
    if is_new:
        socket.to(key(new.room)).emit(CHAT_MESSAGE, message)
    return message


@chat.on(EARLIER_MESSAGES)
async def earlier_messages(socket: Socket, wanted: EarlierMessages) -> History:
    """Hand out what was said before a message."""
    require_presence(socket, wanted.room)
    return await store.history(wanted.room, before=wanted.before)


@chat.on(TYPING)
def typing(socket: Socket, where: Typing) -> None:
    """Show the others who is writing; it is not worth waiting for a slow reader, so it is volatile."""
    if where.room in socket.data["rooms"]:
        socket.to(key(where.room)).volatile.emit(USER_TYPING, UserTyping(where.room, socket.data["user"]))


async def announce(room_id: str, change: Literal["joined", "left"], user: User) -> None:
    """Tell a room who came or went, and the whole house how many are in it now."""
    present = await members(room_id)
    chat.to(key(room_id)).emit(PRESENCE, Presence(room_id, change, user, datetime.now(UTC), present))
    if room := await store.room(room_id):
        chat.emit(ROOM, await counted(room))


async def announce_if_gone(room_id: str, user: User) -> None:
    """Announce a departure once the last tab of the person is out and none is expected back."""
    if away[room_id, user] <= 0:
        del away[room_id, user]
        if user not in await members(room_id):
            await announce(room_id, "left", user)


async def counted(room: Room) -> Room:
    """Return the room's line with how many people are in it now."""
    return Room(room.id, room.name, len(await members(room.id)))


def require_presence(socket: Socket, room_id: str) -> None:
    """Refuse what only somebody in the room may do."""
    if room_id not in socket.data["rooms"]:
        raise EventError("You are not in that room.", code="not_in_room")
