"""What outlives the process: rooms, the last messages of each, and notifications, in one SQLite file."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiosqlite

from . import names
from .events import History, Message, Notification, Room, User

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DEFAULT_ROOMS = {"madang": "마당", "sarangbang": "사랑방", "bueok": "부엌", "darak": "다락"}

SCHEMA = """
CREATE TABLE IF NOT EXISTS rooms (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL,
    nonce TEXT NOT NULL,
    UNIQUE (user_id, nonce)
);
CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room, id);
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL,
    read INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS notifications_of_user ON notifications (recipient, id);
"""


class TooManyRooms(Exception):
    """The house is full: no further room can be opened."""


class Store:
    """The database of one chat; open it before use, close it after."""

    def __init__(
        self,
        path: Path,
        *,
        keep_messages: int = 500,
        keep_notifications: int = 30,
        keep_days: int = 30,
        max_rooms: int = 40,
    ) -> None:
        """Keep at most so many messages a room, notifications a person, days of notifications, and rooms."""
        self._path = path
        self._keep_messages = keep_messages
        self._keep_notifications = keep_notifications
        self._keep_days = keep_days
        self._max_rooms = max_rooms
        self._connection: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Open the file, making it and the first rooms when it is new."""
        self._connection = await aiosqlite.connect(self._path, isolation_level=None)
        self._connection.row_factory = aiosqlite.Row
        await self._rows("PRAGMA journal_mode = WAL")
        await self._rows("PRAGMA synchronous = NORMAL")
        await self._connection.executescript(SCHEMA)
        for room_id, name in DEFAULT_ROOMS.items():
            await self._rows("INSERT OR IGNORE INTO rooms VALUES (?, ?, ?)", room_id, name, names.key(name))
        oldest = datetime.now(UTC) - timedelta(days=self._keep_days)
        await self._rows("DELETE FROM notifications WHERE at < ?", _milliseconds(oldest))

    async def close(self) -> None:
        """Write everything out and let go of the file."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def rooms(self) -> list[Room]:
        """Return all rooms, the oldest first."""
        return [Room(row["id"], row["name"]) for row in await self._rows("SELECT id, name FROM rooms ORDER BY rowid")]

    async def room(self, room_id: str) -> Room | None:
        """Return one room, or None if there is no such room."""
        rows = await self._rows("SELECT id, name FROM rooms WHERE id = ?", room_id)
        return next((Room(row["id"], row["name"]) for row in rows), None)

    async def add_room(self, name: str) -> Room:
        """Make a room, or return the one that has this name already; raises TooManyRooms."""
        await self._rows(
            "INSERT INTO rooms SELECT ?, ?, ? WHERE (SELECT count(*) FROM rooms) < ? ON CONFLICT DO NOTHING",
            secrets.token_hex(6),
            name,
            names.key(name),
            self._max_rooms,
        )
        for row in await self._rows("SELECT id, name FROM rooms WHERE name_key = ?", names.key(name)):
            return Room(row["id"], row["name"])
        raise TooManyRooms

    async def add_message(self, room: str, user: User, text: str, nonce: str) -> tuple[Message, bool]:
        """Keep a message and return it with True, or the one this sender already sent with that nonce and False."""
        added = await self._rows(
            "INSERT INTO messages (room, user_id, user_name, text, at, nonce) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (user_id, nonce) DO NOTHING RETURNING *",
            *(room, user.id, user.name, text, _milliseconds(datetime.now(UTC)), nonce),
        )
        for row in added:
            await self._rows(
                "DELETE FROM messages WHERE room = ? AND id <="
                " (SELECT id FROM messages WHERE room = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                *(room, room, self._keep_messages),
            )
            return _message(row), True
        [row] = await self._rows("SELECT * FROM messages WHERE user_id = ? AND nonce = ?", user.id, nonce)
        return _message(row), False

    async def history(self, room: str, *, after: int = 0, before: int | None = None, limit: int = 50) -> History:
        """Return the newest messages of a room between two ids, in order."""
        rows = await self._rows(
            "SELECT * FROM messages WHERE room = ? AND id > ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
            *(room, after, before, before, limit + 1),
        )
        return History([_message(row) for row in reversed(rows[:limit])], earlier=len(rows) > limit)

    async def add_notification(self, recipient: str, sender: User, text: str) -> Notification:
        """Keep a notification for a person and return it."""
        [row] = await self._rows(
            "INSERT INTO notifications (recipient, sender_id, sender_name, text, at)"
            " VALUES (?, ?, ?, ?, ?) RETURNING *",
            *(recipient, sender.id, sender.name, text, _milliseconds(datetime.now(UTC))),
        )
        await self._rows(
            "DELETE FROM notifications WHERE recipient = ? AND id <="
            " (SELECT id FROM notifications WHERE recipient = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            *(recipient, recipient, self._keep_notifications),
        )
        return _notification(row)

    async def notifications(self, recipient: str) -> list[Notification]:
        """Return the last notifications of a person, in order."""
        rows = await self._rows("SELECT * FROM notifications WHERE recipient = ? ORDER BY id", recipient)
        return [_notification(row) for row in rows]

    async def mark_read(self, recipient: str, up_to: int) -> None:
        """Remember that a person has seen their notifications up to this one."""
        await self._rows("UPDATE notifications SET read = 1 WHERE recipient = ? AND id <= ?", recipient, up_to)

    async def _rows(self, statement: str, *values: object) -> list[aiosqlite.Row]:
        if self._connection is None:
            raise RuntimeError("the store is not open")
        rows: Iterable[aiosqlite.Row] = await self._connection.execute_fetchall(statement, values)
        return list(rows)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _message(row: aiosqlite.Row) -> Message:
    user = User(row["user_id"], row["user_name"])
    return Message(row["id"], row["room"], user, row["text"], _moment(row["at"]), row["nonce"])


def _notification(row: aiosqlite.Row) -> Notification:
    sender = User(row["sender_id"], row["sender_name"])
    return Notification(row["id"], sender, row["text"], _moment(row["at"]), bool(row["read"]))
