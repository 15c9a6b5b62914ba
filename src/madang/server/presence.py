"""Presence: which users are in a room, across all servers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from ..adapters.choice import as_rooms
from ..adapters.requests import Found
from ..engine.options import require_positive
from ..errors import EncodeError, OptionError, UsageError
from ..events.handlers import Handler
from ..protocol.values import JsonEncoder, loads
from ..types import Room
from .presence_replica import Change, Entry, Known, change_of

if TYPE_CHECKING:
    from .namespace import Namespace
    from .presence_cluster import PresenceCluster
    from .socket import Socket

F = TypeVar("F", bound=Callable[..., Any])

USER_LIMIT: Final = 256
"""Characters that the name of a user may have."""

META_LIMIT: Final = 64 * 1024
"""Bytes of JSON that a meta may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceOptions:
    """How servers tell each other who is present.

    Attributes:
        heartbeat: seconds between two signs of life. Default 5.
        lease: seconds without one after which this server's users are gone for the others. Default 15.
        batch: seconds for which changes are gathered before they are told. Default 0.1.
        sync_timeout: seconds for which the first `list` waits for what other servers know. Default 1.
    """

    heartbeat: float = 5.0
    lease: float = 15.0
    batch: float = 0.1
    sync_timeout: float = 1.0

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "heartbeat", "lease", "batch", "sync_timeout")
        if self.lease < 2 * self.heartbeat:
            raise OptionError(
                f"presence: a lease of {self.lease} s would end between heartbeats of {self.heartbeat} s; "
                "let it be twice as long, or longer"
            )

    @classmethod
    def of(cls, given: Any) -> PresenceOptions:
        """What may be given as the option `presence`.

        Raises:
            OptionError: it is no dict of these options.
        """
        if given is None:
            return cls()
        if isinstance(given, PresenceOptions):
            return given
        known = {field.name for field in fields(cls)}
        if not isinstance(given, Mapping) or not all(name in known for name in given):  # pyright: ignore
            raise OptionError(f"presence must be a dict of {', '.join(sorted(known))}, not {given!r}")
        return cls(**cast("dict[str, Any]", given))


class PresentUser(msgspec.Struct, frozen=True):
    """A user who is present in a room.

    Attributes:
        user: who it is.
        metas: what was told of each of his connections, in no order that means anything.
    """

    user: str
    metas: list[dict[str, Any]]


class PresenceDiff(msgspec.Struct, frozen=True):
    """What has changed in a room since the last one; ``@io.on_presence`` hears of it.

    Attributes:
        namespace: whose room it is.
        room: the room.
        joined: users whose first connection is there.
        changed: users with another meta, or more or fewer connections, than before; with all that they have now.
        left: users whose last connection has gone, as they were.
    """

    namespace: str
    room: Room
    joined: list[PresentUser]
    changed: list[PresentUser]
    left: list[PresentUser]


class Presence:
    """Who is in one room; made by `Server.presence` and `Namespace.presence`, as often as one likes.

    Attributes:
        namespace: the namespace.
        room: the room.
    """

    __slots__ = ("namespace", "room")

    def __init__(self, namespace: Namespace[Any], room: Room) -> None:
        self.namespace = namespace
        self.room = _plain_room(room)

    def __repr__(self) -> str:
        return f"<Presence in {self.room!r} of {self.namespace.name}>"

    def track(self, socket: Socket[Any], user: str, meta: Any = None) -> None:
        """Let a socket be present, as a user; it joins the room if it is not there. Never waits.

        It ends when the socket leaves the room, or goes. Does nothing once it has gone.

        Args:
            socket: one of this server that has connected.
            user: whose it is; text that is not empty, of up to 256 characters.
            meta: what is told of this connection: a dict, or what becomes an object in JSON; it is copied. The next
                call for the same socket changes it. Default: an empty one.

        Raises:
            UsageError: it is no connected socket of this namespace, or `user` is no such text.
            EncodeError: the meta cannot be sent, is no object, or has more than 64 KiB.
        """
        self._check(socket)
        entry = Entry(_checked_user(user), _encoded(meta, self.namespace.json_default))
        _check_travels(change_of((self.namespace.name, self.room, ""), entry))
        self._in_loop(self._cluster.track, socket, entry)

    def untrack(self, socket: Socket[Any]) -> None:
        """Let a socket be present no longer; it stays in the room. Silent if it was not."""
        self._check(socket)
        self._in_loop(self._cluster.untrack, socket)

    def watch(self, socket: Socket[Any]) -> None:
        """Tell a client who is present: ``presence_state``, and each ``presence_diff`` from then on. Never waits.

        It ends when the socket leaves the room, or goes. It need not be in the room.

        Raises:
            UsageError: it is no connected socket of this namespace.
        """
        self._check(socket)
        self._in_loop(self._cluster.watch, socket)

    def unwatch(self, socket: Socket[Any]) -> None:
        """Tell a client no longer. Silent if it was not told."""
        self._check(socket)
        self._in_loop(self._cluster.unwatch, socket)

    async def list(self) -> Found[PresentUser]:
        """Everybody who is present, each user once, as far as this server knows; it need not ask for that.

        The first time it waits for what the other servers know, for `sync_timeout` seconds at most.

        Returns:
            A list; its `missing` is the number of servers whose users may not be in it.
        """
        self.namespace.server.require_own_thread("list")
        return await self._cluster.users((self.namespace.name, self.room))

    @property
    def _cluster(self) -> PresenceCluster:
        return self.namespace.server.use_presence()

    def _in_loop(self, function: Callable[..., object], socket: Socket[Any], *args: Any) -> None:
        self.namespace.server.in_loop(function, self.namespace, self.room, socket, *args)

    def _check(self, socket: Any) -> None:
        namespace = getattr(socket, "namespace", None)
        if namespace is None or not hasattr(socket, "gone"):
            raise UsageError(f"only a socket of this server can be present here, not {socket!r}")
        if namespace is not self.namespace:
            raise UsageError(f"a socket of {namespace.name} cannot be present in {self.namespace.name}")
        if not socket.connected and not socket.gone:
            raise UsageError("a socket cannot be present before it has connected; do it in a handler of `connection`")


def present(known: Known) -> PresentUser:
    """A user as the program gets him."""
    return PresentUser(known.user, [loads(meta) for meta in known.metas])


def presence_handler(handler: Callable[..., Any]) -> Handler:
    """A handler of `on_presence`.

    Raises:
        HandlerError: it cannot be one.
    """
    return Handler("presence", handler, takes_socket=False, from_client=False)


def _plain_room(room: Any) -> Room:
    (room,) = as_rooms((room,))
    if isinstance(room, str):
        return str.__str__(room)
    if not -(2**53) < room < 2**53:
        raise UsageError(f"{room} is too large a number for the name of a room with presence")
    return int(room)


def _checked_user(user: Any) -> str:
    if not isinstance(user, str):
        raise UsageError(f"a user is named by text, not by {user!r}; give str(...) of it")
    if not user or len(user) > USER_LIMIT:
        raise UsageError(f"the name of a user has between 1 and {USER_LIMIT} characters, not {len(user)}")
    return str.__str__(user)


def _encoded(meta: Any, default: Callable[[Any], Any] | None) -> bytes:
    if meta is None:
        return b"{}"
    encoder = JsonEncoder(default)
    text = encoder.encode(meta)
    if encoder.take_attachments():
        raise EncodeError("a meta cannot hold bytes")
    if not text.startswith(b"{"):
        raise EncodeError(f"a meta is a dict, or something with named parts, not {meta!r}")
    if len(text) > META_LIMIT:
        raise EncodeError(f"a meta of {len(text)} bytes is too large; {META_LIMIT} are allowed")
    return text


def _check_travels(change: Change) -> None:
    try:
        msgspec.json.decode(msgspec.json.encode(change), type=Change)
    except (UnicodeError, msgspec.MsgspecError) as error:
        raise EncodeError(f"{change.user!r} cannot be present in {change.room!r}: {error}") from None
