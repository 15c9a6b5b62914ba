"""Who is present, as one node knows it: its own users, and a copy of what each other node has. No I/O, and no clock.

Each node alone says who is present on it, and numbers what it says: that number is its clock. Whoever has all up to a
number needs only what comes next; whoever has missed something sees it by the next number, and asks for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

import msgspec

from ..types import Room

VERSION: Final = 1
"""The first thing in each message; one with another number is for others."""

CHUNK: Final = 64 * 1024
"""Bytes after which a message is full; brokers carry more, and not all of them much more."""

_OVERHEAD: Final = 24
_MOST_PARTS: Final = 1_000_000
_LONGEST_LEASE: Final = 86400.0

Place: TypeAlias = "tuple[str, Room]"
"""A namespace's name, and a room of it."""

Key: TypeAlias = "tuple[str, Room, str]"
"""The same, and the id of a socket there."""


class Entry(NamedTuple):
    """A socket that is present.

    Attributes:
        user: whose it is.
        meta: what is told of it, a JSON object.
    """

    user: str
    meta: bytes


class Change(msgspec.Struct, array_like=True):
    """A socket is present, or is not any more if it has no user; on the wire."""

    namespace: str
    room: str | int
    socket: str
    user: str | None = None
    meta: msgspec.Raw = msgspec.Raw(b"{}")


class Message(msgspec.Struct, array_like=True, kw_only=True):
    """What nodes tell each other of presences.

    Attributes:
        version: of this form.
        kind: ``hello``: who is there? ``beat``: I am. ``none``: I am, without presences. ``want``: tell all that `of`
            has. ``delta``: changes. ``state``: all that I have, perhaps in parts. ``bye``: I am going.
        node: who says it; a name that is used once.
        name: its name among the servers of the cluster, for people.
        lease: seconds for which it counts as alive after this.
        clock: the number of its last change; of a delta, the number of this one.
        of: whose state is wanted.
        part: which of the parts of a state this is.
        parts: how many there are.
        changes: what has changed, or what there is.
    """

    version: int = VERSION
    kind: str
    node: str
    name: str = ""
    lease: float = 0.0
    clock: int = 0
    of: str = ""
    part: int = 0
    parts: int = 1
    changes: list[Change] = []


class Known(NamedTuple):
    """A user, and the metas of all of his connections."""

    user: str
    metas: list[bytes]


class Difference(NamedTuple):
    """What has become of the users of a room."""

    place: Place
    joined: list[Known]
    changed: list[Known]
    left: list[Known]


Connections: TypeAlias = "dict[tuple[str, str], bytes]"
"""A user's metas, by node and socket."""


class Roster:
    """The users of all rooms, whichever node they are on; and how they were when they were last looked at."""

    __slots__ = ("_before", "_rooms")

    def __init__(self) -> None:
        self._rooms: dict[Place, dict[str, Connections]] = {}
        self._before: dict[Place, dict[str, Connections]] = {}

    @property
    def changed(self) -> bool:
        """Whether there may be a difference."""
        return bool(self._before)

    def users(self, place: Place) -> list[Known]:
        """The users of a room."""
        return [_known(user, there) for user, there in self._rooms.get(place, {}).items()]

    def change(self, node: str, key: Key, old: Entry | None, new: Entry | None) -> None:
        """A socket of a node has come, changed or gone."""
        if old == new:
            return
        place, connection = key[:2], (node, key[2])
        for entry in (old, new):
            if entry is not None:
                self._remember(place, entry.user)
        if old is not None:
            users = self._rooms[place]
            del users[old.user][connection]
            if not users[old.user]:
                del users[old.user]
            if not users:
                del self._rooms[place]
        if new is not None:
            self._rooms.setdefault(place, {}).setdefault(new.user, {})[connection] = new.meta

    def _remember(self, place: Place, user: str) -> None:
        before = self._before.setdefault(place, {})
        if user not in before:
            before[user] = dict(self._rooms.get(place, {}).get(user, {}))

    def differences(self) -> list[Difference]:
        """What has changed since this was last asked."""
        before, self._before = self._before, {}
        found: list[Difference] = []
        for place, users in before.items():
            difference = Difference(place, [], [], [])
            for user, old in users.items():
                new = self._rooms.get(place, {}).get(user, {})
                if new != old:
                    which = difference.joined if not old else difference.changed if new else difference.left
                    which.append(_known(user, new or old))
            if difference.joined or difference.changed or difference.left:
                found.append(difference)
        return found


def _known(user: str, connections: Connections) -> Known:
    metas = [connections[each] for each in sorted(connections)] if len(connections) > 1 else [*connections.values()]
    return Known(user, metas)


class _Peer:
    """Another node.

    Attributes:
        clock: the last change of it that is known here; -1 before anything is.
        seen: the last one that is known to exist.
        asked: whether its state has been asked for.
    """

    __slots__ = ("asked", "clock", "entries", "expires", "lease", "name", "parts", "parts_clock", "seen")

    def __init__(self) -> None:
        self.name = ""
        self.clock = self.seen = -1
        self.asked = False
        self.entries: dict[Key, Entry] = {}
        self.parts: dict[int, list[Change]] = {}
        self.parts_clock = -1
        self.lease = self.expires = 0.0

    @property
    def complete(self) -> bool:
        return 0 <= self.clock >= self.seen


class Replica:
    """What one node knows.

    Args:
        node: its name, which no other has or will have.
        lease: seconds for which it counts as alive after each message.

    Attributes:
        node: see above.
        name: its name among the servers, for people.
        roster: the users.
    """

    def __init__(self, node: str, lease: float) -> None:
        self.node = node
        self.name = node
        self.roster = Roster()
        self._lease = lease
        self._clock = 0
        self._own: dict[Key, Entry] = {}
        self._pending: dict[Key, Entry | None] = {}
        self._peers: dict[str, _Peer] = {}
        self._wants: dict[str, None] = {}
        self._greeted = False
        self._asked = False

    # what is here

    def put(self, key: Key, entry: Entry | None) -> None:
        """A socket of this node is present, or is not any more."""
        old = self._own.get(key)
        if old == entry:
            return
        if entry is None:
            del self._own[key]
        else:
            self._own[key] = entry
        self._pending[key] = entry
        self.roster.change(self.node, key, old, entry)

    def entry(self, key: Key) -> Entry | None:
        """How a socket of this node is present."""
        return self._own.get(key)

    # what is to be said

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what is to be said, or this node for an answer."""
        return self._asked or self._greeted or bool(self._wants)

    def outgoing(self) -> list[Message]:
        """What is to be said now."""
        messages: list[Message] = []
        for chunk in _chunks(self._pending.items()):
            self._clock += 1
            messages.append(self.message("delta", changes=chunk))
        self._pending.clear()
        if self._asked:
            messages += self._state()
        elif self._greeted:
            messages.append(self.message("beat"))
        messages += [self.message("want", of=node) for node in self._wants]
        self._asked = self._greeted = False
        self._wants.clear()
        return messages

    def message(self, kind: str, **facts: Any) -> Message:
        """A message of this node."""
        return Message(kind=kind, node=self.node, name=self.name, lease=self._lease, clock=self._clock, **facts)

    def _state(self) -> list[Message]:
        chunks = list(_chunks(self._own.items())) or [[]]
        return [self.message("state", part=part, parts=len(chunks), changes=chunk) for part, chunk in enumerate(chunks)]

    # what the others say

    def receive(self, message: Message, now: float) -> None:
        """Another node has said something."""
        if message.kind == "bye":
            self._drop(message.node)
        receiver = self._RECEIVERS.get(message.kind)
        if receiver is None or message.node == self.node:
            return
        peer = self._peers.get(message.node)
        if peer is None:
            peer = self._peers[message.node] = _Peer()
        peer.name = message.name or message.node
        peer.lease = min(message.lease, _LONGEST_LEASE)
        peer.expires = max(peer.expires, now + peer.lease)
        receiver(self, peer, message)

    def _on_beat(self, peer: _Peer, message: Message) -> None:
        if message.kind == "hello":
            self._greeted = True
        elif message.of == self.node:
            self._asked = True
        if message.clock == 0 and peer.clock < 0:
            peer.clock = 0
        peer.seen = max(peer.seen, message.clock)
        if not peer.complete:
            self._want(peer, message.node)

    def _on_delta(self, peer: _Peer, message: Message) -> None:
        peer.seen = max(peer.seen, message.clock)
        if message.clock == max(peer.clock, 0) + 1 and (peer.clock >= 0 or message.clock == 1):
            peer.clock = message.clock
            for change in message.changes:
                key = (change.namespace, change.room, change.socket)
                self._change(message.node, peer, key, _entry(change))
            peer.asked = peer.asked and not peer.complete
        elif message.clock > peer.clock and not peer.asked:
            self._want(peer, message.node)

    def _on_state(self, peer: _Peer, message: Message) -> None:
        peer.seen = max(peer.seen, message.clock)
        if message.clock <= peer.clock or message.clock < peer.parts_clock:
            return
        if not 0 <= message.part < message.parts <= _MOST_PARTS:
            return
        if message.clock > peer.parts_clock:
            peer.parts_clock, peer.parts = message.clock, {}
        peer.parts[message.part] = message.changes
        if len(peer.parts) < message.parts:
            return
        self._replace(message.node, peer)
        peer.clock, peer.parts, peer.asked = message.clock, {}, False
        if not peer.complete:
            self._want(peer, message.node)

    def _replace(self, node: str, peer: _Peer) -> None:
        """All that a peer has is known now."""
        there: dict[Key, Entry] = {}
        for changes in peer.parts.values():
            for change in changes:
                if (entry := _entry(change)) is not None:
                    there[change.namespace, change.room, change.socket] = entry
        for key in [key for key in peer.entries if key not in there]:
            self._change(node, peer, key, None)
        for key, entry in there.items():
            self._change(node, peer, key, entry)

    def _change(self, node: str, peer: _Peer, key: Key, entry: Entry | None) -> None:
        old = peer.entries.pop(key, None)
        if entry is not None:
            peer.entries[key] = entry
        self.roster.change(node, key, old, entry)

    def _want(self, peer: _Peer, node: str) -> None:
        peer.asked = True
        self._wants[node] = None

    # who is there

    @property
    def missing(self) -> list[str]:
        """The names of nodes of which not all is known."""
        return [peer.name for peer in self._peers.values() if not peer.complete]

    @property
    def next_expiry(self) -> float | None:
        """When the first lease ends, unless it is renewed."""
        return min((peer.expires for peer in self._peers.values()), default=None)

    def expire(self, now: float) -> None:
        """Drop the nodes whose lease is over."""
        for node in [node for node, peer in self._peers.items() if peer.expires <= now]:
            self._drop(node)

    def postpone(self, seconds: float) -> None:
        """Nothing could be heard for some time: all leases last as much longer."""
        for peer in self._peers.values():
            peer.expires += seconds

    def _drop(self, node: str) -> None:
        peer = self._peers.pop(node, None)
        self._wants.pop(node, None)
        if peer is not None:
            for key, entry in peer.entries.items():
                self.roster.change(node, key, entry, None)

    _RECEIVERS: ClassVar[dict[str, Callable[[Any, _Peer, Message], None]]] = {
        "hello": _on_beat,
        "beat": _on_beat,
        "want": _on_beat,
        "delta": _on_delta,
        "state": _on_state,
    }


def _entry(change: Change) -> Entry | None:
    return Entry(change.user, bytes(change.meta)) if change.user is not None else None  # no view of a whole message


def change_of(key: Key, entry: Entry | None) -> Change:
    """A change as it travels."""
    if entry is None:
        return Change(*key)
    return Change(*key, entry.user, msgspec.Raw(entry.meta))


def _chunks(items: Iterable[tuple[Key, Entry | None]]) -> Iterator[list[Change]]:
    """Changes in lists of a bounded size."""
    chunk: list[Change] = []
    size = 0
    for key, entry in items:
        chunk.append(change_of(key, entry))
        size += _OVERHEAD + sum(len(str(part)) for part in key)
        size += len(entry.user) + len(entry.meta) if entry is not None else 0
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
