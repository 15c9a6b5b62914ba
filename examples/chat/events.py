"""Every event of the chat, by name and payload: the one place both ends are written against.

The page keeps the same names in `web/events.js`; a test compares the two files.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from madang import ClientEvent, ServerEvent

NAME_LENGTH = 24
TEXT_LENGTH = 1000
NOTE_LENGTH = 200

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH, pattern=r"\S")]
Note = Annotated[str, Meta(min_length=1, max_length=NOTE_LENGTH, pattern=r"\S")]
Id = Annotated[str, Meta(min_length=1, max_length=40)]
Position = Annotated[int, Meta(ge=0)]


class User(Struct, frozen=True):
    """A person, the same in all their tabs."""

    id: str
    name: str


class Room(Struct, frozen=True):
    """A line of the room list, with how many people are in the room now."""

    id: str
    name: str
    people: int = 0


class Message(Struct, frozen=True):
    """A message as the server keeps it; `nonce` is the sender's own mark for it."""

    id: int
    room: str
    user: User
    text: str
    at: datetime
    nonce: str


class Notification(Struct, frozen=True):
    """A private word to one person."""

    id: int
    sender: User
    text: str
    at: datetime
    read: bool = False


class JoinRoom(Struct, frozen=True):
    """Enter a room; `after` is the newest message the page already has of it."""

    room: Id
    after: Position = 0


class LeaveRoom(Struct, frozen=True):
    """Leave a room."""

    room: Id


class NewRoom(Struct, frozen=True):
    """Open a room of that name; if it is there already, it is simply given back."""

    name: Name


class NewMessage(Struct, frozen=True):
    """Say something in a room; the same `nonce` twice is the same message, so a retry is safe."""

    room: Id
    text: Text
    nonce: Id


class EarlierMessages(Struct, frozen=True):
    """Ask for what was said before a message."""

    room: Id
    before: Position


class Typing(Struct, frozen=True):
    """The sender is writing in a room right now."""

    room: Id


class Notify(Struct, frozen=True):
    """Send a private notification to a person, in all their tabs."""

    to: Id
    text: Note


class Read(Struct, frozen=True):
    """All notifications up to this one have been seen."""

    up_to: Position


class History(Struct, frozen=True):
    """Some messages of a room in order; `earlier` tells that older ones, unknown to the page, are kept."""

    messages: list[Message]
    earlier: bool


class RoomState(Struct, frozen=True):
    """What a page gets when it enters a room."""

    room: Room
    history: History
    members: list[User]


class Presence(Struct, frozen=True):
    """Somebody came or went, and who is there now."""

    room: str
    change: Literal["joined", "left"]
    user: User
    at: datetime
    members: list[User]


class UserTyping(Struct, frozen=True):
    """Somebody else is writing in a room."""

    room: str
    user: User


# /chat, from the page: what it sends, and what it is answered
JOIN_ROOM = ClientEvent[[JoinRoom], RoomState]("join room")
LEAVE_ROOM = ClientEvent[[LeaveRoom], None]("leave room")
NEW_ROOM = ClientEvent[[NewRoom], Room]("new room")
EARLIER_MESSAGES = ClientEvent[[EarlierMessages], History]("earlier messages")
SEND_MESSAGE = ClientEvent[[NewMessage], Message]("send message")
TYPING = ClientEvent[[Typing], None]("typing")

# /chat, to the page
ROOMS = ServerEvent[[list[Room]], None]("rooms")
ROOM = ServerEvent[[Room], None]("room")
PRESENCE = ServerEvent[[Presence], None]("presence")
CHAT_MESSAGE = ServerEvent[[Message], None]("chat message")
USER_TYPING = ServerEvent[[UserTyping], None]("user typing")

# /notifications, from the page
NOTIFY = ClientEvent[[Notify], Notification]("notify")
MARK_READ = ClientEvent[[Read], None]("mark read")

# /notifications, to the page
NOTIFICATIONS = ServerEvent[[list[Notification]], None]("notifications")
NOTIFICATION = ServerEvent[[Notification], None]("notification")
NOTIFICATIONS_READ = ServerEvent[[Read], None]("notifications read")
