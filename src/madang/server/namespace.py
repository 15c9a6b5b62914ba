"""A namespace: its sockets, its middlewares, its handlers and its adapter."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ..adapters.adapter import EVERYONE, Adapter, BroadcastOptions
from ..adapters.messages import AdapterGap, SocketFacts
from ..engine.listeners import Listeners
from ..errors import HandlerError
from ..events.handlers import Handler, HandlerTable
from ..protocol.encoded import Encoded
from ..protocol.plain import event_values
from .broadcast import BroadcastOperator, NamespaceOperators
from .recovery import Recovery
from .registry import LIFE, HandlerRegistry
from .remote import handshake_facts
from .server_side import ServerSide

if TYPE_CHECKING:
    from .dynamic import ParentNamespace
    from .server import Server
    from .socket import Socket

Middleware = Callable[["Socket"], "Awaitable[None] | None"]
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
        inspect.signature(middleware).bind(None)
    except TypeError:
        raise HandlerError(
            "a middleware takes the socket and nothing else; it returns to accept the client, and raises "
            "madang.ConnectError to refuse it"
        ) from None
    except ValueError:  # a function written in C that does not tell
        pass
    return middleware


class Namespace(NamespaceOperators, HandlerRegistry, ServerSide):
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
        recovery: what it keeps for clients that come back, or None.
    """

    __slots__ = (
        "_ids",
        "adapter",
        "handlers",
        "joining",
        "life",
        "middlewares",
        "name",
        "params",
        "parent",
        "recovery",
        "server",
        "server_side",
        "sockets",
    )

    def __init__(self, server: Server, name: str, parent: ParentNamespace | None = None) -> None:
        self.server = server
        self.name = name
        self.parent = parent
        self.sockets: dict[str, Socket] = {}
        self.joining = 0
        self.params: dict[str, str] = parent.params(name) if parent is not None else {}
        self._ids = itertools.count()
        self.recovery = Recovery(server.recovering, self._cleanup) if server.recovering is not None else None
        self.adapter: Adapter = server.adapters.make(self)
        self.server_side: dict[str, list[Handler]] = {}
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
    def targets(self) -> Iterable[Namespace]:
        """Itself; see `Target`."""
        return (self,)

    def _operator(self) -> BroadcastOperator:
        return BroadcastOperator(self, EVERYONE)

    def use(self, middleware: M) -> M:
        """Ask `middleware(socket)` about each client that wants to join, in the order of registration.

        Raising `ConnectError` refuses it. May be a coroutine function; also a decorator.

        Raises:
            HandlerError: it is not callable.
        """
        self.middlewares.append(check_middleware(middleware))
        return middleware

    def middlewares_for(self, socket: Socket) -> tuple[Middleware, ...]:
        """Whom to ask about a client: nobody about one that has come back, unless that is wanted."""
        skipped = socket.recovered and self.recovery is not None and self.recovery.options.skip_middlewares
        return () if skipped else tuple(self.middlewares)

    def move_to(self, adapter: Adapter) -> None:
        """Use another adapter, while nobody is here yet; who listens to the one before listens to it."""
        before = self.adapter
        if isinstance(before, Listeners) and isinstance(adapter, Listeners):
            adapter.inherit(before)
        self.adapter = adapter

    def next_ack_id(self) -> int:
        """A new id for an acknowledgement; one counter serves all sockets, so that a broadcast needs only one."""
        return next(self._ids)

    def encode(self, args: tuple[Any, ...], ack_id: int | None = None, compress: bool = True) -> Encoded:
        """Encode an event once, for whoever it goes to."""
        encoded = self.server.parser_here().encode_event(self.name, args, ack_id, compress)
        encoded.event = args
        return encoded

    def broadcast(self, args: tuple[Any, ...], options: BroadcastOptions, compress: bool = True) -> None:
        """Send an event to all that `options` names; may be called from any thread."""
        recovery = self.recovery
        if recovery is not None and not options.volatile and recovery.needed and not self.server.in_other_thread():
            self.adapter.broadcast(self.recoverable(args, options, compress), options)
            return
        encoded = self.encode(args, None, compress)
        if self.server.in_other_thread():
            if recovery is not None:  # its offset says when it was sent to the others
                self.server.call_in_loop(self.broadcast, args, options, compress)
            else:
                self.server.call_in_loop(self.adapter.broadcast, encoded, options)
        else:
            self.adapter.broadcast(encoded, options)

    def recoverable(self, args: tuple[Any, ...], options: BroadcastOptions, compress: bool) -> Encoded:
        """Encode an event with an offset, and keep it for those who miss it."""
        assert self.recovery is not None
        offset = self.recovery.next_offset()
        encoded = self.encode((*args, offset), None, compress)
        encoded.event = args
        self.recovery.keep(encoded, options, offset)
        return encoded

    # what adapters ask

    @property
    def json_default(self) -> Callable[[Any], Any] | None:
        """The server's option of this name."""
        return self.server.options.json_default

    def values_of(self, encoded: Encoded) -> list[Any]:
        """Name and arguments of an event that was encoded, as clients decode them."""
        return event_values(encoded, self.server.parser)

    def describe(self, sink: Socket) -> SocketFacts:
        """A socket as other servers are told of it."""
        return SocketFacts(sink.id, handshake_facts(sink.handshake), list(sink.rooms), sink.data)

    def adapter_gap(self, gap: AdapterGap) -> None:
        """Messages between servers were, or may have been, lost."""
        self.server.adapter_gap(gap)

    def socket_left(self, socket: Socket) -> None:
        """A socket has gone, or was refused; a child without sockets may go as well."""
        self.sockets.pop(socket.id, None)
        self.adapter.remove(socket)
        self._cleanup()

    def _cleanup(self) -> None:
        if (
            self.parent is not None
            and self.parent.children.get(self.name) is self  # it may have been removed, and made anew
            and not (self.sockets or self.joining)
            and not (self.recovery is not None and self.recovery.needed)
            and self.server.options.cleanup_empty_child_namespaces
        ):
            self.parent.remove_child(self)

    def _listening_changed(self) -> None:
        for socket in self.sockets.values():
            socket.refresh_dispatch()
