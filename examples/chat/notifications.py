"""The /notifications namespace: a private word to one person, heard in all their tabs, seen once."""

from __future__ import annotations

from madang import EventError, Socket

from .events import MARK_READ, NOTIFICATION, NOTIFICATIONS, NOTIFICATIONS_READ, NOTIFY, Notification, Notify, Read
from .house import notifications, store
from .people import authenticate

notifications.use(authenticate)


@notifications.on("connection")
async def connected(socket: Socket) -> None:
    """Put each tab of a person into that person's room and show it what is there."""
    user_id = socket.data["user"].id
    socket.join(key(user_id))
    socket.emit(NOTIFICATIONS, await store.notifications(user_id))


@notifications.on(NOTIFY)
async def notify(socket: Socket, new: Notify) -> Notification:
    """Keep a notification and show it in all tabs of one person."""
    if not await notifications.in_(key(new.to)).fetch_sockets():
        raise EventError("That person is not here any more.", code="person_away")
    notification = await store.add_notification(new.to, socket.data["user"], new.text)
    notifications.to(key(new.to)).emit(NOTIFICATION, notification)
    return notification


@notifications.on(MARK_READ)
async def mark_read(socket: Socket, read: Read) -> None:
    """Remember what has been seen, and clear the badge in the person's other tabs."""
    user_id = socket.data["user"].id
    await store.mark_read(user_id, read.up_to)
    socket.to(key(user_id)).emit(NOTIFICATIONS_READ, read)


def key(user_id: str) -> str:
    """Return the Socket.IO room that all tabs of a person are in."""
    return f"user:{user_id}"
