"""What servers of a cluster tell each other, whatever carries it (Node's cluster message, and what it lacks)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import msgspec

from ..types import Room
from .adapter import EVERYONE, BroadcastOptions


class Kind(IntEnum):
    """What a message is. 1 to 13 have Node's numbers; those from 101 on have none there."""

    INITIAL_HEARTBEAT = 1
    HEARTBEAT = 2
    BROADCAST = 3
    SOCKETS_JOIN = 4
    SOCKETS_LEAVE = 5
    DISCONNECT_SOCKETS = 6
    FETCH_SOCKETS = 7
    FETCH_SOCKETS_RESPONSE = 8
    SERVER_SIDE_EMIT = 9
    SERVER_SIDE_EMIT_RESPONSE = 10
    BROADCAST_CLIENT_COUNT = 11
    BROADCAST_ACK = 12
    ADAPTER_CLOSE = 13
    ALL_ROOMS = 101
    ALL_ROOMS_RESPONSE = 102
    SOCKET_IDS = 103
    SOCKET_IDS_RESPONSE = 104
    DONE = 105


class SocketFacts(msgspec.Struct):
    """A socket of another server as it was when it was asked for.

    Attributes:
        id: its id.
        handshake: what its client presented, under Node's names.
        rooms: the rooms it was in.
        data: what the application kept with it.
    """

    id: str
    handshake: dict[str, Any] = {}
    rooms: list[Any] = []
    data: Any = None


class ClusterMessage(msgspec.Struct, kw_only=True):
    """One message between servers, for one namespace. Which attributes count depends on `kind`.

    Attributes:
        kind: what it is.
        uid: who has sent it; None if the sender does not tell.
        request: names the question, in a question that wants an answer and in its answers.
        options: whom it is for.
        args: an event's name and arguments.
        array: the same as the text of a JSON array, if it came so; `args` is empty then.
        compress: whether polling responses that carry it may be compressed.
        timeout: seconds for which an answer is waited for.
        rooms: the rooms to join or leave; in an answer, those there are.
        close: whether connections are closed as well.
        sockets: what FETCH_SOCKETS has found.
        count: how many clients will answer a broadcast.
        value: an answer.
    """

    kind: Kind
    uid: str | None = None
    request: str | None = None
    options: BroadcastOptions = EVERYONE
    args: list[Any] = []
    array: bytes | None = None
    compress: bool = True
    timeout: float | None = None
    rooms: tuple[Room, ...] = ()
    close: bool = False
    sockets: list[SocketFacts] = []
    count: int = 0
    value: Any = None


class AdapterGap(msgspec.Struct, frozen=True):
    """Messages between servers were lost, or may have been; ``io.on("adapter_gap")`` hears of it.

    Attributes:
        namespace: whose.
        direction: ``"in"``: from other servers to this one; ``"out"``: from this one to the others.
        since: seconds since 1970 when it began.
        lost: how many are known to be lost; None if nobody can know, which is so for those from others.
        uncertain: how many more may have been lost: their delivery was not confirmed.
        over: whether it has ended; one that goes out is told when it begins and again when it ends.
        reason: why, for people.
    """

    namespace: str
    direction: Literal["in", "out"]
    since: float
    lost: int | None
    uncertain: int
    over: bool
    reason: str


class AdapterHealth(msgspec.Struct, frozen=True):
    """How a server's link to the others is; a server without a cluster is always well.

    Attributes:
        publishing: whether messages leave at present.
        receiving: whether messages of others arrive at present.
        queued: messages that wait to leave; `queued_bytes` is their size.
        queued_bytes: see `queued`.
        published: messages that have left.
        received: messages that came for a channel that is wanted here.
        parsed: those of them that were decoded; the others were this server's own.
        unwanted: messages that were dropped by their channel's name.
        poison: messages that could not be understood.
        lost: messages that never left.
        gaps: how often what others sent may have been missed.
    """

    publishing: bool = True
    receiving: bool = True
    queued: int = 0
    queued_bytes: int = 0
    published: int = 0
    received: int = 0
    parsed: int = 0
    unwanted: int = 0
    poison: int = 0
    lost: int = 0
    gaps: int = 0

    @property
    def connected(self) -> bool:
        """Whether both directions work."""
        return self.publishing and self.receiving
