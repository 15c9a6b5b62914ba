"""What workers of one machine tell each other as bytes: MessagePack, with whatever rooms and numbers there are."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, TypeVar

import msgspec

from ..protocol.values import within_javascript
from ..types import Room
from .adapter import BroadcastOptions

T = TypeVar("T")

EVENT, SESSION, OVER, CLAIM, ANSWER, HOLE = b"r", b"s", b"o", b"c", b"a", b"h"
KINDS: Final = frozenset((EVENT, SESSION, OVER, CLAIM, ANSWER, HOLE))
"""The first byte of what concerns recovery."""


def _primitive(value: Any) -> Any:
    """A room that is named by text or a number of a class of its own."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to another worker")


encode: Final = msgspec.msgpack.Encoder(enc_hook=_primitive).encode
"""Raises OverflowError or UnicodeEncodeError for what JSON can carry and MessagePack cannot."""


def encode_plainly(message: Any) -> bytes:
    """The same for what may hold values of the application; what MessagePack cannot carry is as in JavaScript."""
    try:
        return encode(message)
    except (OverflowError, UnicodeEncodeError):
        return encode(within_javascript(msgspec.to_builtins(message, builtin_types=(bytes,))))


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """What reads one kind of message; it raises `msgspec.MsgspecError`."""
    return msgspec.msgpack.Decoder(kind).decode


class WireEvent(msgspec.Struct, array_like=True):
    """An event; see `Entry`."""

    origin: str
    number: int
    at: float
    options: BroadcastOptions
    direct: bool
    compress: bool
    text: bytes
    attachments: list[bytes]


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A session as one worker tells the others of it.

    Attributes:
        pid: see `RecoverySession`, as the others.
        until: when it is over, by the clock that all workers share; None as long as its client is there.
        turn: how often it has gone from worker to worker; a later turn counts more than an earlier one.
        version: when it was so; of one turn, the newest counts.
        whole: whether its client has got all that was for it.
    """

    pid: str
    sid: str
    since: str
    rooms: frozenset[Room]
    data: dict[str, Any]
    until: float | None
    turn: int
    version: float
    whole: bool
    presences: Any = None

    @property
    def age(self) -> tuple[int, float]:
        """The greatest is the newest."""
        return (self.turn, self.version)


class Verdict(IntEnum):
    """What a worker says to a claim."""

    NOTHING = 0
    FOUND = 1
    BUSY = 2
    OVER = 3


class Answer(msgspec.Struct, array_like=True):
    """What a worker says to a claim, behind all events that it has sent.

    Attributes:
        pid: of the session.
        verdict: see `Verdict`.
        record: the session, if it is known.
        turn: of the session that is over.
        origin: the worker's name in offsets.
        emitted: how many events it has sent.
    """

    pid: str
    verdict: Verdict
    record: Record | None
    turn: int
    origin: str
    emitted: int
