"""The Socket.IO server."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from os import urandom
from typing import Any, TypeVar, Unpack, cast, overload

from ..adapters.messages import AdapterGap, AdapterHealth
from ..adapters.sources import AdapterSource, Factory, source_of
from ..engine.engine import Engine
from ..engine.host import Hosted
from ..engine.http import Exchange, Request
from ..engine.options import EngineOptions, refuse_unknown
from ..engine.session import Session
from ..engine.timetable import Lane
from ..errors import HandshakeError, OptionError
from ..events.handlers import Handler, called
from ..events.owner import EventOwner
from ..events.threads import Crossing, check_crossing
from ..protocol.socketio import DefaultParser
from ..types import Room
from .broadcast import BroadcastOperator, NamespaceOperators
from .bundle import Bundle
from .connection import Connection
from .data import Data
from .dynamic import Decide, ParentNamespace, template
from .namespace import M, Namespace
from .options import FIELDS, LATE, ServerKeywords, ServerOptions
from .presence import Presence, PresenceDiff, PresenceOptions
from .presence_cluster import PresenceCluster, answer_for_nobody
from .recovery import RecoveryOptions
from .refusal import Refusal
from .registry import HandlerRegistry
from .server_side import ServerSide
from .socket import END_GRACE, Socket
from .watchdog import Watchdog, handlers_by_code

F = TypeVar("F", bound=Callable[..., Any])


class Server(NamespaceOperators[Data], HandlerRegistry[Data], ServerSide, EventOwner, Hosted):
    """A Socket.IO server. Its own `on`, `use`, `emit`, `to` … mean the main namespace, ``/``.

    ::

        io = madang.Server(cors={"origin": "http://localhost:3000"})


        @io.on("chat message")
        async def chat_message(socket, text: str):
            io.emit("chat message", text)


        io.run(port=3000)

    Args:
        **options: see `ServerOptions` and `madang.engine.EngineOptions`; `path` is ``"/socket.io/"`` here.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """

    logger = logging.getLogger("madang.server")

    def __init__(self, **options: Unpack[ServerKeywords]) -> None:
        refuse_unknown(options, EngineOptions, ServerOptions)
        given = cast("dict[str, Any]", options)
        self.options = ServerOptions(**{name: value for name, value in given.items() if name in FIELDS})
        for_engine = {name: value for name, value in given.items() if name not in FIELDS}
        self._engine = _engine_of(self.options.engine, for_engine)
        super().__init__(self.options.parser or DefaultParser(self.options.max_attachments, self.options.json_default))
        self.connections: set[Connection] = set()
        self.namespaces: dict[str, Namespace[Data]] = {}
        self._parents: list[ParentNamespace[Data]] = []
        self._refusal_handlers: list[Handler] = []
        self._gap_handlers: list[Handler] = []
        self._counter = itertools.count()
        timetable = self._engine.timetable
        patience = self._patience
        self.connects = timetable.lane(self.options.connect_timeout, Connection.connect_timed_out)
        self.attachments = timetable.lane(patience, Connection.attachments_timed_out)
        self.endings: Lane[Socket[Any]] = timetable.lane(END_GRACE, Socket[Any].end_overdue)
        self.adapters: AdapterSource = source_of(self.options.adapter)
        self.recovering = RecoveryOptions.of(self.options.connection_state_recovery)
        self.recovery_limits = self.recovering.limits(timetable, patience, self.options) if self.recovering else None
        self.outbound_limit = self._engine.options.outbound_limit
        self.presence_options = PresenceOptions.of(self.options.presence)
        self.presences: PresenceCluster | None = None
        self._serving = False
        self._adapters_closed = False
        self._watchdog: Watchdog | None = None
        self._engine.on_bound = self._bound
        self._engine.files = self._files_of(self.options)
        self.main: Namespace[Data] = Namespace(self, "/")
        self.namespaces["/"] = self.main
        self.handlers = self.main.handlers
        self.life = self.main.life
        self._engine.on("connection", self._connected)
        self._engine.on("connection_error", self._handshake_refused)

    def configure(self, **options: Unpack[ServerKeywords]) -> None:
        """Change options before the server is served: those that its constructor took, but for a few.

        Node's ``io.path(...)``, ``io.adapter(...)``, ``io.connectTimeout(...)`` and the options of ``io.attach(...)``.

        Args:
            **options: see `Server`. What handlers and namespaces are made with cannot change: `parser`, `json_default`,
                `max_attachments`, `concurrent`, `connection_state_recovery`, `presence`.

        Raises:
            OptionError: an unknown option, a value out of range, or one that cannot change; nothing has changed then.
            UsageError: the server is served already.
        """
        refuse_unknown(options, EngineOptions, ServerOptions)
        own = {name: value for name, value in options.items() if name in FIELDS}
        if fixed := sorted(own.keys() - LATE):
            raise OptionError(
                f"{', '.join(fixed)}: only madang.Server(...) takes that, since namespaces are made with it"
            )
        self._engine.require_not_served()
        changed = replace(self.options, **cast("Any", own))
        files = self._files_of(changed) if "serve_client" in own else self._engine.files
        adapters = source_of(changed.adapter) if "adapter" in own else self.adapters
        self._engine.configure(**cast("Any", {name: value for name, value in options.items() if name not in own}))
        self.options, self._engine.files = changed, files
        self.connects.delay = changed.connect_timeout
        self.attachments.delay = self._patience
        self.outbound_limit = self._engine.options.outbound_limit
        if self.recovering:
            self.recovery_limits = self.recovering.limits(self._engine.timetable, self._patience, changed)
        if adapters is not self.adapters:
            self.adapters = adapters
            for namespace in self.namespaces.values():
                namespace.move_to(adapters.make(namespace))

    @property
    def _patience(self) -> float:
        """Seconds for which a connection may be dead before that is known."""
        return self._engine.options.ping_interval + self._engine.options.ping_timeout

    def _files_of(self, options: ServerOptions) -> Callable[[Exchange, str], bool] | None:
        if options.serve_client is False:
            return None
        bundle = Bundle(options.serve_client)
        return lambda exchange, path: bundle.answer(exchange, path, self._engine.cors)

    @property
    def server(self) -> Server[Data]:  # type: ignore[override]
        """Itself; see `HandlerRegistry`."""
        return self

    @property
    def engine(self) -> Engine:
        """The Engine.IO server below."""
        return self._engine

    @property
    def sockets(self) -> dict[str, Socket[Data]]:
        """The sockets of the main namespace, by id."""
        return self.main.sockets

    @property
    def adapter(self) -> Any:  # type: ignore[override]
        """The adapter of the main namespace."""
        return self.main.adapter

    @property
    def server_side(self) -> dict[str, list[Handler]]:  # type: ignore[override]
        """Who hears what other servers send to the main namespace."""
        return self.main.server_side

    @property
    def adapter_health(self) -> AdapterHealth:
        """How the link to the other servers is, and what went over it till now."""
        return self.adapters.health

    def _operator(self) -> BroadcastOperator[Data]:
        return self.main.everyone

    # namespaces

    @overload
    def of(self, name: str, handler: Callable[..., Any] | None = None) -> Namespace[Data]: ...
    @overload
    def of(
        self, name: re.Pattern[str] | Decide, handler: Callable[..., Any] | None = None
    ) -> ParentNamespace[Data]: ...
    def of(self, name: Any, handler: Callable[..., Any] | None = None) -> Any:
        """The namespace with a name; made at the first call.

        Args:
            name: the name, to which a missing slash is added. A name with parts in braces (``/room/{id}``), a compiled
                pattern, or a function of (name, auth) that may be a coroutine function, makes a dynamic namespace.
            handler: registered as its ``connection`` handler.
        """
        if isinstance(name, str) and not name.startswith("/"):
            name = f"/{name}"
        if isinstance(name, str):
            name = template(name) or name
        if isinstance(name, str):
            namespace: Any = self._namespace(name)
        elif isinstance(name, re.Pattern) or callable(name):
            namespace = ParentNamespace(self, cast("Any", name))
            self._parents.append(namespace)
        else:
            raise OptionError(f"of() takes a name, a compiled pattern or a function, not {name!r}")
        if handler is not None:
            namespace.on("connection", handler)
        return namespace

    def _namespace(self, name: str) -> Namespace[Data]:
        namespace = self.namespaces.get(name)
        if namespace is None:
            parent = next((parent for parent in self._parents if parent.matches(name)), None)
            namespace = parent.make_child(name) if parent is not None else Namespace(self, name)
            self._announce(namespace)
        return namespace

    def remove(self, name: str) -> None:
        """Delete a namespace: its sockets are disconnected, and clients can no longer join it. Silent if there is none.

        Raises:
            OptionError: the main namespace cannot be deleted.
        """
        if name == "/":
            raise OptionError("the main namespace cannot be deleted")
        namespace = self.namespaces.pop(name, None)
        if namespace is None:
            return
        for socket in list(namespace.sockets.values()):
            socket.disconnect()
        if namespace.parent is not None:
            namespace.parent.children.pop(name, None)
        namespace.end()

    async def find_namespace(self, name: str, auth: Any) -> Namespace[Data] | None:
        """The namespace that a client asks for; dynamic ones are asked in the order of their declaration.

        A function that decides is asked about every client, not only about the first.
        """
        known = self.namespaces.get(name)
        if known is not None and (known.parent is None or await known.parent.accepts(name, auth)):
            return self.namespaces.get(name)
        return None if known is not None else await self._make_dynamic(name, auth)

    async def _make_dynamic(self, name: str, auth: Any) -> Namespace[Data] | None:
        for parent in self._parents:
            if await parent.accepts(name, auth):
                namespace = self.namespaces.get(name)  # another client may have been faster
                if namespace is None:
                    namespace = parent.make_child(name)
                    self._announce(namespace)
                return namespace
        return None

    def _announce(self, namespace: Namespace[Data]) -> None:
        self.namespaces[namespace.name] = namespace
        for handler in called(self.main.life["new_namespace"]):
            self._call(handler, (namespace,), "new_namespace")

    # handlers and hooks

    def use(self, middleware: M) -> M:
        """Ask `middleware(socket)` about each client of the main namespace; see `Namespace.use`."""
        return self.main.use(middleware)

    def add_middleware(self, middleware: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Ask an ASGI middleware about each handshake; see `Engine.add_middleware`."""
        self._engine.add_middleware(middleware, *args, **options)

    def _register(self, event: Any, handler: Any, *, concurrent: bool | None = None, **how: Any) -> None:
        if event in ("connect_error", "adapter_gap"):
            own = self._refusal_handlers if event == "connect_error" else self._gap_handlers
            own.append(Handler(event, handler, takes_socket=False, from_client=False))
        else:
            super()._register(event, handler, concurrent=concurrent, **how)

    def _listening_changed(self) -> None:
        for socket in self.main.sockets.values():
            socket.refresh_dispatch()

    def refused(self, refusal: Refusal) -> None:
        """Tell the ``connect_error`` handlers."""
        for handler in self._refusal_handlers:
            self._call(handler, (refusal,), "connect_error")

    def adapter_gap(self, gap: AdapterGap) -> None:
        """Tell the ``adapter_gap`` handlers."""
        for handler in self._gap_handlers:
            self._call(handler, (gap,), "adapter_gap")
        if self.presences is not None and gap.direction == "in" and gap.namespace == "/":
            self.presences.lost()

    # presence

    def presence(self, room: Room) -> Presence:
        """Who is present in a room of the main namespace; see `Namespace.presence`."""
        return self.main.presence(room)

    def on_presence(self, handler: F) -> F:
        """Tell `handler(diff)` of each `PresenceDiff` in the main namespace; see `Namespace.on_presence`."""
        return self.main.on_presence(handler)

    def use_presence(self) -> PresenceCluster:
        """What knows of presences, which begins with the first that is asked of it."""
        if self.presences is None:
            self.presences = PresenceCluster(self)
            if self._serving:
                self.in_loop(self.presences.start)
        return self.presences

    def presence_received(self, text: Any) -> None:
        """Another server has said something of presence."""
        if self.presences is not None:
            self.presences.receive(text)
        else:
            answer_for_nobody(self.main.adapter, text)

    def presence_changed(self, handlers: list[Handler], diff: PresenceDiff) -> None:
        """Tell the handlers of `on_presence`."""
        for handler in tuple(handlers):
            self._call(handler, (diff,), "presence")

    def _handshake_refused(self, error: HandshakeError, request: Request) -> None:
        self._remember_loop()
        self.refused(Refusal(request, error.code, error.message, error.context))

    def spread_with(self, cluster: AdapterSource) -> bool:
        """For hosts: be one of several workers, whose adapters `cluster` makes if the option `adapter` does not."""
        if self.options.adapter is not None:
            return False
        self.adapters = cluster
        for namespace in self.namespaces.values():
            namespace.move_to(cluster.make(namespace))
        return True

    # connections

    @property
    def serving(self) -> bool:
        """Whether a host serves it in the running loop."""
        return self._serving and self._loop is asyncio.get_running_loop()

    def _bound(self) -> None:
        """A host has begun to serve."""
        self._remember_loop()
        if self._adapters_closed:
            self._adapters_closed = False
            for namespace in self.namespaces.values():
                namespace.move_to(self.adapters.make(namespace))
        self.adapters.start()
        self._serving = True
        if self.options.slow_handler is not None:
            self._watch_loop(self.options.slow_handler)
        if self.presences is not None:
            self.presences.start()
        for namespace in self.namespaces.values():
            if namespace.recovery is not None:
                namespace.recovery.backend.resume()

    def _connected(self, session: Session) -> None:
        self._remember_loop()
        connection = Connection(self, session)
        self.connections.add(connection)
        self.connects.add(connection)
        session.receive_with(connection)

    def connection_ended(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self.connects.discard(connection)
        self.attachments.discard(connection)

    def generate_socket_id(self) -> str:
        """20 URL-safe characters, unlike the session's id, which stays a secret."""
        return urlsafe_b64encode(urandom(12) + (next(self._counter) & 0xFFFFFF).to_bytes(3, "big")).decode()

    def from_thread(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """Call `function(*args)` in the loop, from another thread, and wait here for what it gives.

        ::

            votes = io.from_thread(io.to("room").timeout(3).emit_with_ack, "vote")

        What was asked for from this thread before, such as an `emit`, is done before.

        Args:
            function: what to call; an awaitable that it gives is awaited, in the loop.
            *args: its arguments.
            timeout: seconds to wait; then the call is cancelled. Default None: without end.

        Returns:
            What it gives, or what the awaitable gives.

        Raises:
            UsageError: this is the loop's own thread, where it would wait for ever, or the server does not run yet.
            WaitTimeout: it took too long.
            ServerClosed: the server was closed meanwhile, or its loop has ended.
        """
        loop = check_crossing(self._loop, own_thread=not self.in_other_thread())
        return Crossing(loop, self._background, function, args).wait(timeout)

    async def drain(self, over: float = 30.0) -> None:
        """Send all clients away, each at a random moment, so that they do not come to other servers all at once.

        New ones may still come; a server that is about to stop gets none if it listens no more.

        Args:
            over: seconds that this may take.
        """
        await asyncio.sleep(self._engine.send_away(over))

    def _watch_loop(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._watchdog is None or self._watchdog.loop is not loop:
            self._watchdog = Watchdog(loop, seconds, lambda: handlers_by_code(self.namespaces.values()))
        self._watchdog.start()

    async def close(self) -> None:
        """Close all clients; handlers that run have `shutdown_timeout` seconds to end.

        Clients see their transport close and come back by themselves when a server answers again.
        """
        self._engine.close_sessions()
        self._serving = False
        if self.presences is not None:
            self.presences.close()
        await self._background.finish(0)
        await self.tasks.finish(self.options.shutdown_timeout)
        await self.adapters.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        if isinstance(self.adapters, Factory) and not self._adapters_closed:
            self._adapters_closed = True
            for namespace in self.namespaces.values():
                namespace.adapter.close()


def _engine_of(given: Engine | None, options: dict[str, Any]) -> Engine:
    """The engine that a server stands on: one that the program has made, or one of its own."""
    if given is None:
        return Engine(**cast("Any", {"path": "/socket.io/", **options}))
    if options:
        raise OptionError(f"{', '.join(sorted(options))}: with engine=... these are options of that madang.Engine(...)")
    if given.on_bound is not None or given.sessions:
        raise OptionError("engine: it has another server, or sessions; an engine belongs to one server, from the start")
    return given
