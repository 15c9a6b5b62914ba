"""A namespace: its sockets, its middlewares, its handlers and its adapter."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from ..adapters.adapter import EVERYONE, Adapter, BroadcastOptions
from ..adapters.memory import MemoryAdapter
from ..errors import HandlerError
from ..events.handlers import Handler, HandlerTable
from ..protocol.encoded import Encoded
from ..types import Room
from .broadcast import BroadcastOperator, NamespaceOperators, check_event

if TYPE_CHECKING:
    from .dynamic import ParentNamespace
    from .server import Server
    from .socket import Socket

F = TypeVar("F", bound=Callable[..., Any])
Middleware = Callable[["Socket"], "Awaitable[None] | None"]
M = TypeVar("M", bound=Middleware)

LIFE: Final = {"connection": 1, "disconnecting": 3, "disconnect": 3, "new_namespace": 1}
"""The events of a namespace's own life, and how many arguments their handlers may take."""

_ALIASES: Final = {"connect": "connection"}


class HandlerRegistry:
    """The decorators that register handlers for all sockets of a namespace; a mixin."""

    __slots__ = ()

    server: Server
    handlers: HandlerTable
    life: dict[str, list[Handler]]

    @overload
    def on(self, event: str | int, *, concurrent: bool | None = None, thread: bool = False) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str | int, handler: F, *, concurrent: bool | None = None, thread: bool = False) -> F: ...
    def on(self, event: str | int, handler: Any = None, *, concurrent: bool | None = None, thread: bool = False) -> Any:
        """Handle an event for all sockets; the socket is the handler's first argument. Also a decorator.

        Args:
            event: a client's event, or one of the namespace's own life: ``connection`` (also ``connect``),
                ``disconnecting``, ``disconnect``, ``new_namespace``; on the server also ``connect_error``.
            handler: a function or coroutine function. Its annotations are checked against what clients send; what it
                returns is the acknowledgement, a tuple being several values.
            concurrent: whether it may overlap with other handlers of its socket. Default: the server's option.
            thread: run a plain function in a thread.

        Raises:
            HandlerError: the function cannot be called that way.
            ReservedEventName: the name belongs to the protocol.
        """
        if handler is None:
            return partial(self.on, event, concurrent=concurrent, thread=thread)
        self._register(event, handler, concurrent=concurrent, thread=thread)
        return handler

    @overload
    def once(self, event: str | int) -> Callable[[F], F]: ...
    @overload
    def once(self, event: str | int, handler: F) -> F: ...
    def once(self, event: str | int, handler: Any = None) -> Any:
        """Like `on`, for the first such event of any socket."""
        if handler is None:
            return partial(self.once, event)
        self._register(event, handler, once=True)
        return handler

    def off(self, event: str | int, handler: Callable[..., Any] | None = None) -> None:
        """Remove a handler of an event, or all of them."""
        name = _ALIASES.get(str(event), event)
        if name in self.life:
            kept = [] if handler is None else [h for h in self.life[str(name)] if h.original is not handler]
            self.life[str(name)][:] = kept
        else:
            self.handlers.remove(event, handler)

    def on_any(self, listener: F) -> F:
        """Call `listener(socket, event, *args)` for every event before its handlers. Also a decorator.

        If the client asked for an acknowledgement, an `Ack` is the last argument.
        """
        self.handlers.any.append(Handler("*", listener, takes_socket=True, from_client=False))
        self._listening_changed()
        return listener

    def off_any(self, listener: Any = None) -> None:
        """Undo `on_any`, for one listener or for all."""
        kept = [] if listener is None else [h for h in self.handlers.any if h.original is not listener]
        self.handlers.any[:] = kept
        self._listening_changed()

    def _listening_changed(self) -> None:
        """Catch-all listeners came or went."""

    def _register(self, event: str | int, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        name = _ALIASES.get(str(event), event)
        overlap = self.server.options.concurrent if concurrent is None else concurrent
        if name in self.life:
            self.life[str(name)].append(Handler(event, handler, takes_socket=True, from_client=False, **how))
            return
        check_event(event)
        self.handlers.add(Handler(event, handler, takes_socket=True, concurrent=overlap, **how))


class Namespace(NamespaceOperators, HandlerRegistry):
    """One namespace of a server; made by `Server.of`.

    Attributes:
        name: such as ``"/chat"``.
        server: the server it belongs to.
        sockets: the sockets that have joined, by id.
        joining: how many clients its middlewares are looking at.
        adapter: holds its rooms.
        parent: the dynamic namespace it is a child of, or None.
    """

    __slots__ = ("_ids", "adapter", "handlers", "joining", "life", "middlewares", "name", "parent", "server", "sockets")

    def __init__(self, server: Server, name: str, parent: ParentNamespace | None = None) -> None:
        self.server = server
        self.name = name
        self.parent = parent
        self.sockets: dict[str, Socket] = {}
        self.joining = 0
        self._ids = itertools.count()
        make = server.options.adapter
        self.adapter: Adapter = make() if make is not None else MemoryAdapter()
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
        if not callable(middleware):
            raise HandlerError(f"a middleware must be callable, not {middleware!r}")
        self.middlewares.append(middleware)
        return middleware

    def next_ack_id(self) -> int:
        """A new id for an acknowledgement; one counter serves all sockets, so that a broadcast needs only one."""
        return next(self._ids)

    def encode(self, args: tuple[Any, ...], ack_id: int | None = None, compress: bool = True) -> Encoded:
        """Encode an event once, for whoever it goes to."""
        encoded = self.server.parser.encode_event(self.name, args, ack_id, compress)
        encoded.event = args
        return encoded

    def broadcast(self, args: tuple[Any, ...], options: BroadcastOptions, compress: bool = True) -> None:
        """Send an event to all that `options` names; from another thread, in the server's loop."""
        if self.server.in_other_thread():
            self.server.call_in_loop(self.broadcast, args, options, compress)
            return
        self.adapter.broadcast(self.encode(args, None, compress), options)

    def server_side_emit(self, event: str, *args: Any) -> None:
        """Tell the other servers of the cluster, where `on_server_side` hears of it."""
        self.adapter.server_side_emit((event, *args))

    def socket_left(self, socket: Socket) -> None:
        """A socket has gone, or was refused; a child without sockets may go as well."""
        self.sockets.pop(socket.id, None)
        self.adapter.remove(socket)
        if (
            self.parent is not None
            and not (self.sockets or self.joining)
            and self.server.options.cleanup_empty_child_namespaces
        ):
            self.parent.remove_child(self)

    def rooms(self) -> list[Room]:
        """The rooms of this node that have members, other than the sockets' own."""
        return list(getattr(self.adapter, "rooms", ()))

    def _listening_changed(self) -> None:
        for socket in self.sockets.values():
            socket.refresh_dispatch()
