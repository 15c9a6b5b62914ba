"""How a server learns who is present on others, and tells them, its handlers and its clients of its own.

One for all namespaces of a server. It speaks over the adapter of the main namespace, which every server has, by an
event between servers that has a name of its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..adapters.memory import MemoryAdapter
from ..adapters.requests import Found
from ..engine.listeners import Listeners
from ..errors import AdapterUnavailable, OptionError
from ..protocol.encoded import Encoded
from ..types import Room
from .presence import PresenceDiff, PresentUser, present
from .presence_replica import VERSION, Difference, Entry, Message, Place, Replica
from .server_side import PRESENCE_EVENT

if TYPE_CHECKING:
    from .namespace import Namespace
    from .server import Server
    from .socket import Socket

logger = logging.getLogger("madang.server")

URGENT: Final = 0.01
"""Seconds for which questions of others are gathered."""

_HELLO: Final = '[1,"hello"'

_decode: Final = msgspec.json.Decoder(Message).decode
_encode: Final = msgspec.json.Encoder().encode


class PresenceCluster:
    """The presences of one server, and what it knows of those of others.

    Args:
        server: the server.
    """

    def __init__(self, server: Server[Any]) -> None:
        self._server = server
        self._options = server.presence_options
        self._replica = self._new_replica()
        self._rooms: dict[tuple[str, str], set[Room]] = {}
        self._watchers: dict[Place, dict[str, Socket]] = {}
        self._fresh: dict[Place, dict[str, Socket]] = {}
        self._heard_from: dict[str, Namespace] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._next_beat = 0.0
        self._synced: asyncio.Future[None] | None = None
        self._greeted_at = 0.0
        self._answered: set[str] = set()
        self._expected: int | None = None
        self._complained = False

    def _new_replica(self) -> Replica:
        return Replica(secrets.token_hex(6), self._options.lease)

    # its life

    @property
    def _adapter(self) -> Any:
        return self._server.main.adapter

    @property
    def _alone(self) -> bool:
        """Whether there can be no others."""
        return type(self._adapter) is MemoryAdapter

    def start(self) -> None:
        """The server serves, in the running loop: begin to speak. Does nothing if that was so before."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:  # one that ended without a word
            self._reset()
        self._loop = loop
        self._replica.name = getattr(self._adapter, "uid", "")
        if not self._alone:
            self._next_beat = loop.time() + self._options.heartbeat
            self._arm(loop)
            self._greet(loop)
        self._changed()

    def close(self) -> None:
        """The server ends: say so, and forget all others."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self._send()
        self._tell()
        self._say(self._replica.message("bye"))
        if self._synced is not None and not self._synced.done():
            self._synced.set_result(None)
        self._reset()

    def _reset(self) -> None:
        """Know nobody, and be another node from now on."""
        for timer in (self._flushing, self._sending, self._ticking):
            if timer is not None:
                timer.cancel()
        self._flushing = self._sending = self._ticking = None
        self._synced = None
        self._replica = self._new_replica()
        self._rooms.clear()
        self._watchers.clear()
        self._fresh.clear()

    def namespace_ended(self, namespace: Namespace[Any]) -> None:
        """A namespace was deleted; its sockets have gone."""
        if self._heard_from.get(namespace.name) is namespace:
            del self._heard_from[namespace.name]

    # what the sockets here do

    def track(self, namespace: Namespace[Any], room: Room, socket: Socket[Any], entry: Entry) -> None:
        """See `Presence.track`."""
        if not socket.connected:
            return
        self._hear(namespace)
        namespace.adapter.join(socket, (room,))
        self._rooms.setdefault((namespace.name, socket.id), set()).add(room)
        self._replica.put((namespace.name, room, socket.id), entry)
        self._changed()

    def untrack(self, namespace: Namespace[Any], room: Room, socket: Socket[Any]) -> None:
        """See `Presence.untrack`."""
        self._replica.put((namespace.name, room, socket.id), None)
        self._changed()

    def watch(self, namespace: Namespace[Any], room: Room, socket: Socket[Any]) -> None:
        """See `Presence.watch`."""
        if not socket.connected:
            return
        self._hear(namespace)
        self._rooms.setdefault((namespace.name, socket.id), set()).add(room)
        self._fresh.setdefault((namespace.name, room), {})[socket.id] = socket
        self._changed()

    def unwatch(self, namespace: Namespace[Any], room: Room, socket: Socket[Any]) -> None:
        """See `Presence.unwatch`."""
        self._forget_watcher((namespace.name, room), socket.id)

    def presences_of(self, socket: Socket[Any]) -> list[list[Any]] | None:
        """What a socket has of presence, as plain values: where it is present, and what it watches; None if nothing."""
        name = socket.nsp
        rooms = self._rooms.get((name, socket.id))
        if not rooms:
            return None
        entries = {room: self._replica.entry((name, room, socket.id)) for room in rooms}
        tracked: list[Any] = [[room, entry.user, entry.meta] for room, entry in entries.items() if entry is not None]
        watching: list[Any] = [
            room
            for room in rooms
            if any(socket.id in watchers.get((name, room), ()) for watchers in (self._watchers, self._fresh))
        ]
        return [tracked, watching]

    def restore(self, socket: Socket[Any], presences: list[list[Any]]) -> None:
        """A socket has come back, and is in its rooms again."""
        tracked, watched = presences
        for room, user, meta in tracked:
            self.track(socket.namespace, room, socket, Entry(user, meta))
        for room in watched:
            self.watch(socket.namespace, room, socket)

    def _hear(self, namespace: Namespace[Any]) -> None:
        """See that it is known when a socket leaves a room."""
        if self._heard_from.get(namespace.name) is namespace:
            return
        adapter: Any = namespace.adapter
        if not isinstance(adapter, Listeners) or "leave_room" not in adapter.EVENTS:
            raise OptionError(f"presence needs an adapter that tells of leave_room, which {adapter!r} does not")
        self._heard_from[namespace.name] = namespace

        def left(room: Room, sid: str) -> None:
            self._left(namespace.name, room, sid)

        adapter.on("leave_room", left)

    def _left(self, name: str, room: Room, sid: str) -> None:
        rooms = self._rooms.get((name, sid))
        if rooms is None:
            return
        for each in tuple(rooms) if room == sid else (room,) if room in rooms else ():  # its own: it has gone
            rooms.discard(each)
            self._replica.put((name, each, sid), None)
            self._forget_watcher((name, each), sid)
            self._changed()
        if not rooms:
            del self._rooms[name, sid]

    def _forget_watcher(self, place: Place, sid: str) -> None:
        for watchers in (self._watchers, self._fresh):
            there = watchers.get(place)
            if there is not None and there.pop(sid, None) is not None and not there:
                del watchers[place]

    # who asks

    async def users(self, place: Place) -> Found[PresentUser]:
        """See `Presence.list`."""
        while self._synced is not None and not self._synced.done():
            await asyncio.shield(self._synced)
        found = Found(present(known) for known in self._replica.roster.users(place))
        if not self._alone and self._loop is not None:
            incomplete = self._replica.missing
            found.missing_nodes = frozenset(incomplete)
            found.missing = len(incomplete) + self._silent(self._loop.time())
            if not self._adapter.health.connected:
                found.missing = max(found.missing, 1)
        return found

    def _silent(self, now: float) -> int:
        """How many servers there are that have said nothing; after a lease they have nothing to say."""
        if now >= self._greeted_at + self._options.lease:
            return 0
        return 1 if self._expected is None else max(0, self._expected - len(self._answered))

    # telling what has changed

    def _changed(self) -> None:
        if self._flushing is None and self._loop is not None:
            self._flushing = self._loop.call_later(self._options.batch, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._send()
        self._tell()

    def _send(self) -> None:
        self._sending = None
        messages = self._replica.outgoing()
        if not self._alone:
            for message in messages:
                self._say(message)

    def _say(self, message: Message) -> None:
        if not self._alone:
            self._adapter.server_side_emit((PRESENCE_EVENT, _encode(message).decode()))

    def _tell(self) -> None:
        """Tell handlers, and the clients that watch."""
        for difference in self._replica.roster.differences():
            namespace = self._server.namespaces.get(difference.place[0])
            if namespace is not None:
                self._tell_difference(namespace, difference, self._watchers.get(difference.place, {}))
        fresh, self._fresh = self._fresh, {}
        for place, sockets in fresh.items():
            namespace = next(iter(sockets.values())).namespace
            users = [present(known) for known in self._replica.roster.users(place)]
            _write(namespace.encode(("presence_state", place[1], msgspec.to_builtins(users))), sockets)
            self._watchers.setdefault(place, {}).update(sockets)

    def _tell_difference(
        self, namespace: Namespace[Any], difference: Difference, watchers: dict[str, Socket[Any]]
    ) -> None:
        handlers = namespace.presence_handlers
        if not watchers and not handlers:
            return
        joined, changed, left = ([present(known) for known in which] for which in difference[1:])
        diff = PresenceDiff(*difference.place, joined, changed, left)
        if watchers:
            facts = msgspec.to_builtins({"joined": joined, "changed": changed, "left": left})
            _write(namespace.encode(("presence_diff", diff.room, facts)), watchers)
        self._server.presence_changed(handlers, diff)

    # the other servers

    def lost(self) -> None:
        """What others have said may not have come: ask who is there."""
        if self._loop is not None and not self._alone:
            self._greet(self._loop)

    def _greet(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._synced is None or self._synced.done():
            self._synced = loop.create_future()
            self._server.spawn(self._sync(loop, self._synced))

    async def _sync(self, loop: asyncio.AbstractEventLoop, synced: asyncio.Future[None]) -> None:
        """Ask who is there, and see that all who are have told what they have."""
        self._greeted_at = loop.time()
        self._expected = None
        self._answered.clear()
        try:
            with suppress(TimeoutError, AdapterUnavailable):
                async with asyncio.timeout(self._options.sync_timeout):
                    await self._adapter.settled()
                    self._say(self._replica.message("hello"))
                    self._expected = await self._adapter.server_count() - 1
                    self._check_synced()
                    await asyncio.shield(synced)
        finally:
            if not synced.done():
                synced.set_result(None)

    def _check_synced(self) -> None:
        synced, expected = self._synced, self._expected
        if synced is None or synced.done() or expected is None:
            return
        if len(self._answered) >= expected and not self._replica.missing:
            synced.set_result(None)

    def receive(self, text: Any) -> None:
        """Another server has said something; let it do no harm, whatever it is."""
        loop = self._loop
        if loop is None:
            return
        try:
            message = _decode(text)
        except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
            if not self._complained:
                self._complained = True
                logger.warning("what another server said of presence was skipped (others will be silently): %s", error)
            return
        if message.version != VERSION:
            return
        self._replica.receive(message, loop.time())
        if self._synced is not None and not self._synced.done() and message.kind in ("none", "beat", "delta", "state"):
            self._answered.add(message.node)
            self._check_synced()
        if self._replica.urgent and self._sending is None:
            self._sending = loop.call_later(URGENT, self._send)
        if self._replica.roster.changed:
            self._changed()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        expiry = self._replica.next_expiry
        due = self._next_beat if expiry is None else min(self._next_beat, expiry)
        self._ticking = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        """It is time for a sign of life, or for the end of somebody's lease."""
        now = loop.time()
        if now - due > self._options.heartbeat:  # nothing could be heard meanwhile, so nobody is to be given up for it
            self._replica.postpone(now - due)
        if now >= self._next_beat:
            self._say(self._replica.message("beat"))
            self._next_beat = now + self._options.heartbeat
        self._replica.expire(now)
        if self._replica.roster.changed:
            self._changed()
        self._arm(loop)


def _write(encoded: Encoded, sockets: dict[str, Socket]) -> None:
    for socket in list(sockets.values()):
        socket.write(encoded)


def answer_for_nobody(adapter: Any, text: Any) -> None:
    """For a server without presences: one that asks who is there need not wait for it."""
    if isinstance(text, str) and text.startswith(_HELLO):
        uid: str = getattr(adapter, "uid", "") or secrets.token_hex(6)
        adapter.server_side_emit((PRESENCE_EVENT, _encode(Message(kind="none", node=uid)).decode()))
