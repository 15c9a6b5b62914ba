"""A namespace: its sockets, its middlewares, its handlers and its adapter."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Awaitable, Callable, Iterable
from threading import get_ident
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..adapters.adapter import EVERYONE, Adapter, BroadcastOptions
from ..adapters.messages import AdapterGap, SocketFacts
from ..engine.listeners import Listeners
from ..errors import HandlerError
from ..events.handlers import Handler, HandlerTable
from ..events.signature import is_foreign_marker
from ..protocol.encoded import Encoded
from ..protocol.offsets import with_offset
from ..protocol.parser import BINARY_EVENT, EVENT
from ..protocol.plain import event_values, packet_of
from ..protocol.socketio import DefaultParser
from ..protocol.values import loads
from ..types import Room
from .broadcast import BroadcastOperator, NamespaceOperators
from .data import Data
from .presence import F, Presence, presence_handler
from .recovery import Recovery
from .registry import LIFE, HandlerRegistry
from .remote import handshake_facts
from .server_side import ServerSide

if TYPE_CHECKING:
    from .dynamic import ParentNamespace
    from .server import Server
    from .socket import Socket

Middleware = Callable[["Socket[Any]"], "Awaitable[None] | None"]
M = TypeVar("M", bound=Middleware)


def check_middleware(middleware: M) -> M:
    """See that a middleware can be called with the socket alone.

    Raises:
        HandlerError: it cannot.
    """
    if not callable(middleware):
        raise HandlerError(f"a middleware must be callable, not {middleware!r}")
    if inspect.isgeneratorfunction(middleware) or inspect.isasyncgenfunction(middleware):
        raise HandlerError("a middleware that yields would never run; let it return, or raise madang.ConnectError")
    try:
        signature = inspect.signature(middleware)
    except ValueError:  # a function written in C that does not tell
        return middleware
    for parameter in signature.parameters.values():
        if is_foreign_marker(parameter.default, parameter.annotation):
            raise HandlerError(
                f"the middleware's {parameter.name!r} is a dependency of FastAPI; put @madang.fastapi.inject right "
                "above the function"
            )
    try:
        signature.bind(None)
    except TypeError:
        raise HandlerError(
            "a middleware takes the socket and nothing else; it returns to accept the client, and raises "
            "madang.ConnectError to refuse it"
        ) from None
    return middleware


_ALIKE: Final = frozenset((str, int, bool, NoneType))
"""Types of values that clients decode to what was encoded."""


class Namespace(NamespaceOperators[Data], HandlerRegistry[Data], ServerSide):
    """One namespace of a server; made by `Server.of`.

    Attributes:
        name: such as ``"/chat"``.
        server: the server it belongs to.
        sockets: the sockets that have joined, by id.
        joining: how many clients its middlewares are looking at.
        adapter: holds its rooms.
        server_side: who hears what other servers send, by event.
        params: what the pattern of a dynamic namespace took from the name; for ``/room/{id}`` the ``id``.
        parent: the dynamic namespace it is a child of, or None.
        everyone: the operator that means all of it.
        recovery: what it keeps for clients that come back, or None.
        presence_hearers: who hears of presence, beside those of its parent.
    """

    __slots__ = (
        "_ids",
        "adapter",
        "everyone",
        "handlers",
        "joining",
        "life",
        "middlewares",
        "name",
        "params",
        "parent",
        "presence_hearers",
        "recovery",
        "server",
        "server_side",
        "sockets",
    )

    def __init__(self, server: Server[Data], name: str, parent: ParentNamespace[Data] | None = None) -> None:
        self.server: Server[Data] = server
        self.name = name
        self.parent = parent
        self.everyone: BroadcastOperator[Data] = BroadcastOperator(self, EVERYONE)
        self.sockets: dict[str, Socket[Data]] = {}
        self.joining = 0
        self.params: dict[str, str] = parent.params(name) if parent is not None else {}
        self._ids = itertools.count()
        self.adapter: Adapter = server.adapters.make(self)
        self.recovery: Recovery | None = None
        if server.recovering is not None and server.recovery_limits is not None:
            self.recovery = Recovery(self, server.recovering, server.recovery_limits)
        self.server_side: dict[str, list[Handler]] = {}
        self.presence_hearers: list[Handler] = []
        if parent is None:
            self.handlers = HandlerTable()
            self.life: dict[str, list[Handler]] = {event: [] for event in LIFE}
            self.middlewares: list[Middleware] = []
        else:
            self.handlers = parent.handlers.copy()
            self.life = {event: list(handlers) for event, handlers in parent.life.items()}
            self.middlewares = list(parent.middlewares)

    def __repr__(self) -> str:
        return f"<Namespace {self.name} with {len(self.sockets)} sockets>"

    @property
    def targets(self) -> Iterable[Namespace[Any]]:
        """Itself; see `Target`."""
        return (self,)

    def _operator(self) -> BroadcastOperator[Data]:
        return self.everyone

    def use(self, middleware: M) -> M:
        """Ask `middleware(socket)` about each client that wants to join, in the order of registration.

        Raising `ConnectError` refuses it. May be a coroutine function; also a decorator.

        Raises:
            HandlerError: it is not callable.
        """
        self.middlewares.append(check_middleware(middleware))
        return middleware

    def middlewares_for(self, socket: Socket[Any]) -> tuple[Middleware, ...]:
        """Whom to ask about a client: nobody about one that has come back, unless that is wanted."""
        skipped = socket.recovered and self.recovery is not None and self.recovery.options.skip_middlewares
        return () if skipped else tuple(self.middlewares)

    def move_to(self, adapter: Adapter) -> None:
        """Use another adapter, while nobody is here yet; who listens to the one before listens to it."""
        before = self.adapter
        if isinstance(before, Listeners) and isinstance(adapter, Listeners):
            adapter.inherit(before)
        self.adapter = adapter
        if self.recovery is not None:
            self.recovery.move()

    def end(self) -> None:
        """It was deleted, and its sockets have gone."""
        if self.server.presences is not None:
            self.server.presences.namespace_ended(self)
        if self.recovery is not None:
            self.recovery.backend.close()
        self.adapter.close()

    # presence

    def presence(self, room: Room) -> Presence:
        """Who is present in a room, on all servers of the cluster.

        Raises:
            UsageError: that is no name of a room.
        """
        return Presence(self, room)

    def on_presence(self, handler: F) -> F:
        """Tell `handler(diff)` of each `PresenceDiff` in the rooms of this namespace. A decorator."""
        self.presence_hearers.append(presence_handler(handler))
        self.server.use_presence()
        return handler

    @property
    def presence_handlers(self) -> list[Handler]:
        """Who hears of presence here."""
        return self.presence_hearers if self.parent is None else [*self.parent.presence_hearers, *self.presence_hearers]

    def _presence_received(self, args: list[Any]) -> None:
        if self is self.server.main:
            self.server.presence_received(args[1] if len(args) > 1 else None)

    def next_ack_id(self) -> int:
        """A new id for an acknowledgement; one counter serves all sockets, so that a broadcast needs only one."""
        return next(self._ids)

    def encode(self, args: tuple[Any, ...], ack_id: int | None = None, compress: bool = True) -> Encoded:
        """Encode an event once, for whoever it goes to."""
        server = self.server
        parser = server.parser if get_ident() == server.thread else server.parser_here()
        encoded = parser.encode_event(self.name, args, ack_id, compress)
        encoded.event = args
        return encoded

    def broadcast(self, args: tuple[Any, ...], options: BroadcastOptions, compress: bool = True) -> None:
        """Send an event to all that `options` names; may be called from any thread."""
        recovery, server = self.recovery, self.server
        if recovery is None and get_ident() == server.thread:  # as nearly always, so without detours
            encoded = server.parser.encode_event(self.name, args, None, compress)
            encoded.event = args
            self.adapter.broadcast(encoded, options)
            return
        encoded = self.encode(args, None, compress)
        carrier: Any = recovery.backend if recovery is not None and not options.volatile else self.adapter
        if self.server.in_other_thread():
            self.server.call_in_loop(carrier.broadcast, encoded, options)
        else:
            carrier.broadcast(encoded, options)

    # what adapters ask

    @property
    def json_default(self) -> Callable[[Any], Any] | None:
        """The server's option of this name."""
        return self.server.options.json_default

    def values_of(self, encoded: Encoded) -> list[Any]:
        """Name and arguments of an event that was encoded, as clients decode them."""
        event = encoded.event
        if event is not None and self.recovery is None and _ALIKE.issuperset(map(type, event)):
            return list(event)
        return event_values(encoded, self.server.parser)

    def is_event(self, encoded: Encoded) -> bool:
        """Whether something encoded is an event."""
        parser = self.server.parser
        if type(parser) is DefaultParser:
            return encoded.text[1:2] in (b"2", b"5")
        return packet_of(encoded, parser).type in (EVENT, BINARY_EVENT)

    def array_of(self, encoded: Encoded) -> bytes | None:
        """Name and arguments of an event that was encoded, as a JSON array; None if that cannot hold them."""
        if encoded.attachments or type(self.server.parser) is not DefaultParser:
            return None
        return encoded.text[len(self._head()) :]

    def encode_array(self, array: bytes, ack_id: int | None = None, compress: bool = True) -> Encoded:
        """Encode an event, given as a JSON array that is known to be good."""
        if type(self.server.parser) is not DefaultParser:
            return self.encode(tuple(loads(array)), ack_id, compress)
        number = b"" if ack_id is None else b"%d" % ack_id
        return Encoded(b"%b%b%b" % (self._head(), number, array), (), compress)

    def _head(self) -> bytes:
        """What the default parser begins an event with that wants no answer."""
        return b"42" if self.name == "/" else b"42%b," % self.name.encode()

    def with_offset(self, encoded: Encoded, offset: str) -> Encoded:
        """An event that was encoded, with one argument of text more."""
        return with_offset(encoded, offset, self.name, self.server.parser)

    def describe(self, sink: Socket[Any]) -> SocketFacts:
        """A socket as other servers are told of it."""
        return SocketFacts(sink.id, handshake_facts(sink.handshake), list(sink.rooms), sink.data)

    def adapter_gap(self, gap: AdapterGap) -> None:
        """Messages between servers were, or may have been, lost."""
        self.server.adapter_gap(gap)

    def socket_left(self, socket: Socket[Any]) -> None:
        """A socket has gone, or was refused; a child without sockets may go as well."""
        self.sockets.pop(socket.id, None)
        self.adapter.remove(socket)
        self.cleanup()

    def cleanup(self) -> None:
        """End it if it is a child that goes with its last socket, and nobody is here or expected."""
        if (
            self.parent is not None
            and self.parent.children.get(self.name) is self  # it may have been removed, and made anew
            and not (self.sockets or self.joining)
            and not (self.recovery is not None and self.recovery.backend.needed)
            and self.server.options.cleanup_empty_child_namespaces
        ):
            self.parent.remove_child(self)

    def _listening_changed(self) -> None:
        for socket in self.sockets.values():
            socket.refresh_dispatch()
