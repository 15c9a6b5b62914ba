"""The Engine.IO server: who may connect, which session a request belongs to, and all deadlines.

Hosts call `handle` for each HTTP request below the path and `admit` / `opened` for each WebSocket; what a session
receives goes to its receiver, which the ``connection`` event sets. Nothing here waits except for the user's own
coroutines, so a host may run all of it without a task.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from inspect import isawaitable
from random import random
from typing import Any, ClassVar, TypeVar, Unpack, cast

import orjson

from ..errors import ConnectError, HandshakeError, UsageError
from ..types import Clock
from .asgi_middleware import AsgiMiddleware
from .cookie import cookie_header
from .cors import Cors
from .host import Hosted
from .http import Exchange, Request, Response
from .ids import checked_id, new_id
from .listeners import Listeners
from .middleware import Middleware, Middlewares
from .options import EngineKeywords, EngineOptions, refuse_unknown
from .polling import PollingTransport
from .proxies import LOOPBACK, Proxies
from .session import Session
from .timetable import Timetable
from .transport import SERVER_SHUTTING_DOWN, TRANSPORT_ERROR, Transport
from .upgrade import PROBE_INTERVAL, Upgrade

LINGER: float = 30.0
"""Seconds for which a closed polling session waits for the poll that learns of it."""

M = TypeVar("M", bound=Middleware)

logger = logging.getLogger("madang.engine")


class Engine(Listeners, Hosted):
    """An Engine.IO server, which also stands on its own.

    Events: ``connection`` (session), ``connection_error`` (`HandshakeError`, request), ``initial_headers`` and
    ``headers`` (a list of name and value that may be changed, request), ``flush`` and ``drain`` (session: a message was
    given to its transport, and its transport holds nothing any more).

    Args:
        **options: see `EngineOptions`.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        ("connection", "connection_error", "initial_headers", "headers", "flush", "drain")
    )

    def __init__(self, **options: Unpack[EngineKeywords]) -> None:
        super().__init__()
        refuse_unknown(options, EngineOptions)
        self.sessions: dict[str, Session] = {}
        self.timetable = Timetable()
        self.pings = self.timetable.lane(0, self._send_ping)
        self.pongs = self.timetable.lane(0, Session.pong_missing)
        self.upgrades = self.timetable.lane(0, Upgrade.timed_out)
        self.probes = self.timetable.lane(PROBE_INTERVAL, Upgrade.release_poll)
        self._farewells = self.timetable.lane(LINGER, self._forget_lingering)
        self._lingering: dict[str, PollingTransport] = {}
        self._middlewares = Middlewares()
        self._clock: Clock | None = None
        self.on_bound: Callable[[], None] | None = None
        self.files: Callable[[Exchange, str], bool] | None = None
        """Asked with a request below the path, and the path: whether it was for a file, and has been answered."""
        self._counter = itertools.count()
        self._use_options(EngineOptions(**cast("Any", options)))
        self.closing = False
        self.dropped = 0
        """Messages that were dropped because clients were too slow, of all sessions that there have been."""
        self.taps = False
        """Whether somebody listens to what single sessions send."""
        self.id_mark = ""
        """What the id of each session begins with: the mark of the worker that it belongs to."""

    @property
    def engine(self) -> Engine:
        """Itself; see `Hosted`."""
        return self

    def configure(self, **options: Unpack[EngineKeywords]) -> None:
        """Change options before anything serves the engine.

        Args:
            **options: see `EngineOptions`; those that are not given stay as they are.

        Raises:
            OptionError: an unknown option, or a value out of range; nothing has changed then.
            UsageError: the engine is served already.
        """
        refuse_unknown(options, EngineOptions)
        self.require_not_served()
        self._use_options(replace(self.options, **cast("Any", options)))

    def require_not_served(self) -> None:
        """Raise `UsageError` if a host serves it."""
        if self._clock is not None and not self.closing:
            raise UsageError("options can be changed until the server is served, not while it is: clients know them")

    def _use_options(self, options: EngineOptions) -> None:
        cors = Cors(options.cors)
        proxies = Proxies(LOOPBACK if options.trusted_proxies is None else options.trusted_proxies)
        self.options, self.cors, self.proxies = options, cors, proxies
        self.pings.delay = options.ping_interval
        self.pongs.delay = options.ping_timeout
        self.upgrades.delay = options.upgrade_timeout
        self._cookie = cookie_header(options.cookie)
        facts = {
            "pingInterval": int(options.ping_interval * 1000),
            "pingTimeout": int(options.ping_timeout * 1000),
            "maxPayload": options.max_http_buffer_size,
        }
        self._open_facts = b"," + orjson.dumps(facts)[1:]

    def listener_added(self, event: str) -> None:
        """See `Listeners.listener_added`."""
        if event in ("flush", "drain"):
            self._refresh_taps()

    def listener_removed(self, event: str) -> None:
        """See `Listeners.listener_removed`."""
        if event in ("flush", "drain"):
            self._refresh_taps()

    def _refresh_taps(self) -> None:
        listeners = self._listeners or {}
        self.taps = bool(listeners.get("flush") or listeners.get("drain"))
        for session in self.sessions.values():
            session.refresh_taps()

    @property
    def clients_count(self) -> int:
        """The number of open sessions."""
        return len(self.sessions)

    @property
    def buffered(self) -> int:
        """Bytes that wait for clients, of all open sessions."""
        return sum(session.buffered for session in self.sessions.values())

    def use(self, middleware: M) -> M:
        """Run `middleware` with the request of each HTTP request and WebSocket handshake; raising refuses it.

        A handshake is told by the absent ``sid`` in its query. May be a coroutine function.
        """
        self._middlewares.add(middleware)
        return middleware

    def add_middleware(self, middleware: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Ask an ASGI middleware about each handshake, such as Starlette's ``SessionMiddleware``.

        It is asked once for each client, over either transport, in the order in which middlewares were added, before
        `allow_request`. What it puts into the scope is in `socket.handshake.scope`, `session` and `user`. One that
        answers by itself, or raises, refuses the client.

        Args:
            middleware: called with the application behind it, `args` and `options`; gives an ASGI application.
            *args: see `middleware`.
            **options: see `middleware`.
        """
        self._middlewares.add(AsgiMiddleware(lambda app: middleware(app, *args, **options)))

    def bind(self, clock: Clock) -> None:
        """For hosts: use `clock`, such as the running loop, from now on."""
        if clock is not self._clock:
            self._clock = clock
            self.timetable.start(clock)
        self.closing = False
        if self.on_bound is not None:
            self.on_bound()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call `callback(*args)` in the next turn of the clock's loop."""
        assert self._clock is not None
        self._clock.call_soon(callback, *args)

    def matches(self, path: str) -> bool:
        """Whether a request for `path` is for this engine: a raw prefix, so anything may follow."""
        return path.startswith(self.options.path)

    @property
    def asks(self) -> bool:
        """Whether hooks of the user's are asked about requests, which may have to be waited for."""
        options = self.options
        return bool(self._middlewares) or options.allow_request is not None or options.generate_id is not None

    # HTTP

    async def handle(self, exchange: Exchange) -> None:
        """Answer one HTTP request, now or later."""
        request = exchange.request
        if len(request.path) > len(self.options.path) and self._is_file(exchange):
            return
        try:
            await self._middlewares.run(request)
            if not self._handle_known(exchange):
                self._handshake(exchange, await self._approve(request))
        except HandshakeError as error:
            self._refuse(exchange, error)

    def handle_at_once(self, exchange: Exchange) -> None:
        """The same, for hosts that see that nobody `asks`."""
        if len(exchange.request.path) > len(self.options.path) and self._is_file(exchange):
            return
        try:
            if not self._handle_known(exchange):
                self._handshake(exchange, self._new_id(exchange.request))
        except HandshakeError as error:
            self._refuse(exchange, error)

    def _is_file(self, exchange: Exchange) -> bool:
        return self.files is not None and self.files(exchange, self.options.path)

    def _handle_known(self, exchange: Exchange) -> bool:
        """Answer all but the handshake of a new session; False if it is one."""
        request = exchange.request
        if request.method == "OPTIONS" and (preflight := self.cors.preflight(request)) is not None:
            self.cors.check(request)
            status, headers = preflight
            exchange.respond(Response(status, headers=headers))
            return True
        session = self._verify(request, is_upgrade=False)
        if session is None:
            return False
        if isinstance(session.transport, PollingTransport):
            self._route(session.transport, exchange)
        return True

    def decorated(self, response: Response, request: Request, *, initial: bool = False) -> Response:
        """Add the headers that every response of a session has."""
        response.headers.append(("cache-control", "no-store"))
        agent = request.headers.get("user-agent", "")
        if ";MSIE" in agent or "Trident/" in agent:  # keeps old Internet Explorers from rewriting the answer
            response.headers.append(("x-xss-protection", "0"))
        response.headers += self.cors.headers(request)
        if initial:
            response.headers += request.response_headers
        if self._listeners is not None:
            if initial:
                self.tell("initial_headers", response.headers, request)
            self.tell("headers", response.headers, request)
        return response

    def _route(self, transport: PollingTransport, exchange: Exchange) -> None:
        method = exchange.request.method
        if method == "GET":
            transport.poll(exchange)
        elif method == "POST":
            transport.post(exchange)
        else:
            exchange.respond(Response(405, headers=[("allow", "GET, POST, OPTIONS")]))

    def _handshake(self, exchange: Exchange, session_id: str) -> None:
        request = exchange.request
        transport = PollingTransport(self)
        session = self._open(session_id, transport, request)
        transport.session = session
        body = self._open_packet(session, self.options.upgrades)
        response = transport.response(request, body, compress=False, initial=True)
        if self._cookie is not None:
            response.headers.append(("set-cookie", self._cookie(session.id)))
        exchange.respond(response)
        self.tell("connection", session)

    def _answer_lingering(self, exchange: Exchange) -> bool:
        """A poll of a session that has been closed meanwhile: tell it, once."""
        request = exchange.request
        session_id = request.query.get("sid", "")
        transport = self._lingering.get(session_id)
        if transport is None or request.method != "GET" or request.query.get("transport") != "polling":
            return False
        if not transport.buffered:
            self._farewells.discard(session_id)
            del self._lingering[session_id]
        transport.poll(exchange)
        return True

    def _refuse(self, exchange: Exchange, error: HandshakeError) -> None:
        if error.code == 1 and self._answer_lingering(exchange):
            return
        self.refused(error, exchange.request)
        response: Response | None = error.context.get("response")
        if response is None:
            body = orjson.dumps({"code": error.code, "message": error.message})
            response = Response(error.status, body, "application/json")
        if error.context.get("name") not in ("INVALID_ORIGIN", "ORIGIN_REFUSED"):
            response.headers += self.cors.headers(exchange.request)
        exchange.respond(response)

    def refused(self, error: HandshakeError, request: Request) -> None:
        """Tell listeners and the log of a refused request."""
        logger.debug("refused %s %s: %s %s", request.method, request.path, error.message, error.context)
        self.tell("connection_error", error, request)

    # WebSocket

    async def admit(self, request: Request) -> tuple[Session | None, str]:
        """Check a WebSocket handshake.

        Returns:
            The session that is to be upgraded and an empty id, or None and the id for a new session.

        Raises:
            HandshakeError: it is refused; `refused` has been told.
        """
        try:
            await self._middlewares.run(request)
            session = self._verify(request, is_upgrade=True)
            if session is not None:
                return session, ""
            return None, await self._approve(request)
        except HandshakeError as error:
            self.refused(error, request)
            raise

    def admit_at_once(self, request: Request) -> tuple[Session | None, str]:
        """The same, for hosts that see that nobody `asks`."""
        try:
            session = self._verify(request, is_upgrade=True)
            return (session, "") if session is not None else (None, self._new_id(request))
        except HandshakeError as error:
            self.refused(error, request)
            raise

    def handshake_headers(self, request: Request) -> list[tuple[str, str]]:
        """Headers that listeners want in the response 101."""
        headers = list(request.response_headers)
        if self._listeners is not None:
            if "sid" not in request.query:
                self.tell("initial_headers", headers, request)
            self.tell("headers", headers, request)
        return headers

    def opened(self, admission: tuple[Session | None, str], transport: Any, request: Request) -> None:
        """A WebSocket is open: a new session begins on it, or an upgrade.

        `transport` is a `Transport` with a settable `session`.
        """
        session, session_id = admission
        if self.closing:
            transport.close(1001)
            return
        if session is None and session_id in self.sessions:  # taken since it was admitted
            transport.close(1008)
            return
        if session is None:
            session = self._open(session_id, transport, request)
            transport.session = session
            transport.send_control(self._open_packet(session, []))
            self.tell("connection", session)
            return
        polling = session.transport
        if not session.open or session.upgrade is not None or not isinstance(polling, PollingTransport):
            transport.close()  # a second WebSocket for one session: the first is not disturbed
            return
        upgrade = Upgrade(self, session, polling, transport)
        session.upgrade = upgrade
        transport.session = upgrade
        self.upgrades.add(upgrade)

    def adopt(self, transport: Any, session: Session) -> None:
        """An upgrade has succeeded: what `transport` receives is now the session's."""
        transport.session = session

    # sessions

    def pong_received(self, session: Session) -> None:
        """A pong came; one that nobody waits for changes nothing."""
        if session in self.pongs:
            self.pongs.discard(session)
            self.pings.add(session)
            session.pong_seen()

    def traffic_while_waiting(self, session: Session) -> None:
        """A packet came while a pong was awaited: the client lives, so the wait begins anew, once."""
        if session in self.pongs:
            self.pongs.add(session)

    def reading_paused(self, session: Session) -> None:
        """A session's client is not read from: it cannot be held to a pong."""
        self.pongs.discard(session)

    def reading_resumed(self, session: Session, *, awaits_pong: bool) -> None:
        """A session's client is read from again: it has all of `ping_timeout` for a pong that is due."""
        if awaits_pong:
            self.pongs.add(session)

    def session_ended(self, session: Session) -> None:
        """Forget a session."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("a session has ended, from %s: %s", session.remote_address, session.close_reason)
        self.sessions.pop(session.id, None)
        self.pings.discard(session)
        self.pongs.discard(session)

    def linger(self, session_id: str, transport: PollingTransport) -> None:
        """Let the next polls of a closed session learn that it is closed."""
        if not self.closing:
            self._lingering[session_id] = transport
            self._farewells.add(session_id)

    def over_limit(self, session: Session) -> None:
        """More than `outbound_limit` waits for a client, so a message for it was dropped: apply `slow_client`."""
        session.dropped += 1
        self.dropped += 1
        if self.options.slow_client == "drop":
            return
        if session.open:
            logger.warning("closing a session that does not read: %d bytes wait for it", session.buffered)
            # not at once: the caller may be walking through the members of a room
            self.call_soon(self._close_slow, session)
        session.cut()

    def _close_slow(self, session: Session) -> None:
        if session.open:
            transport = session.transport
            session.transport_closed(transport, TRANSPORT_ERROR, "the client reads too slowly")
            transport.abort()

    async def close(self) -> None:
        """Close all sessions."""
        self.close_sessions()

    def send_away(self, over: float) -> float:
        """Close all sessions that there are, each at a random moment, so that not all clients come back at once.

        Args:
            over: seconds that this may take.

        Returns:
            Seconds until the last one is closed.
        """
        assert self._clock is not None
        last = 0.0
        for session in self.sessions.values():
            delay = over * random()
            last = max(last, delay)
            self._clock.call_later(delay, _send_away, session)
        return last

    def close_sessions(self) -> None:
        """Close all sessions; a host does so when it stops."""
        self.closing = True
        for session in list(self.sessions.values()):
            session.close(SERVER_SHUTTING_DOWN)
        for transport in self._lingering.values():
            transport.forget()
        self._lingering.clear()
        self.timetable.stop()

    def _open(self, session_id: str, transport: Transport, request: Request) -> Session:
        session = Session(self, session_id, transport, request)
        self.sessions[session_id] = session
        if self.taps:
            session.refresh_taps()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("a session has begun over %s, from %s", transport.name, session.remote_address)
        self.pings.add(session)
        return session

    def _open_packet(self, session: Session, upgrades: list[str]) -> bytes:
        return b'0{"sid":%b,"upgrades":%b%b' % (orjson.dumps(session.id), orjson.dumps(upgrades), self._open_facts)

    def _send_ping(self, session: Session) -> None:
        if session.paused:
            self.pings.add(session)
        else:
            self.pongs.add(session)
            session.ping()

    def _forget_lingering(self, session_id: str) -> None:
        transport = self._lingering.pop(session_id, None)
        if transport is not None:
            transport.forget()

    # who may connect

    def _verify(self, request: Request, *, is_upgrade: bool) -> Session | None:
        """Check what can be checked without waiting (protocol v4; the order is Node's)."""
        query = request.query
        name = query.get("transport")
        if name is None or name not in self.options.transports:
            raise HandshakeError(0, context={"transport": name})
        self.cors.check(request)
        if "sid" in query:
            return self._verify_session(request, name, is_upgrade=is_upgrade)
        if request.method != "GET":
            raise HandshakeError(2, context={"method": request.method})
        if (name == "websocket") is not is_upgrade:
            raise HandshakeError(3, context={"name": "TRANSPORT_HANDSHAKE_ERROR"})
        return None

    def _verify_session(self, request: Request, name: str, *, is_upgrade: bool) -> Session:
        query = request.query
        session = self.sessions.get(query["sid"])
        if session is None:
            raise HandshakeError(1, context={"sid": query["sid"]})
        mismatch = (name == "websocket") is not is_upgrade if is_upgrade else name != session.transport_name
        if mismatch or (not is_upgrade and name == "websocket"):
            context = {"name": "TRANSPORT_MISMATCH", "transport": name, "previous": session.transport_name}
            raise HandshakeError(3, context=context)
        if query.get("EIO") != str(session.protocol):
            raise HandshakeError(3, context={"name": "PROTOCOL_MISMATCH", "protocol": query.get("EIO")})
        return session

    async def _approve(self, request: Request) -> str:
        """Ask the user's own hooks about a handshake; the id of the new session."""
        self._refuse_if_closing()
        if self.options.allow_request is not None:
            await self._ask(self.options.allow_request, request)
        if self.options.generate_id is None:
            return self._new_id(request)
        self._require_protocol(request)
        try:
            session_id = self.options.generate_id(request)
            chosen = await session_id if isawaitable(session_id) else session_id
        except Exception as error:
            logger.exception("generate_id failed")
            raise HandshakeError(3, context={"name": "ID_GENERATION_ERROR", "error": error}) from error
        self._refuse_if_closing()
        return checked_id(chosen, self.id_mark, (self.sessions, self._lingering))

    def _new_id(self, request: Request) -> str:
        """The id of a session that the user's hooks, if there are any, let in."""
        self._refuse_if_closing()
        self._require_protocol(request)
        return self.id_mark + new_id(next(self._counter))

    def _require_protocol(self, request: Request) -> None:
        if request.query.get("EIO") != "4":
            raise HandshakeError(5, context={"protocol": request.query.get("EIO")})

    def _refuse_if_closing(self) -> None:
        if self.closing:
            raise HandshakeError(3, "the server is shutting down", {"name": "SHUTTING_DOWN"}, status=503)

    async def _ask(self, allow_request: Callable[[Request], Any], request: Request) -> None:
        try:
            allowed = allow_request(request)
            if isawaitable(allowed):
                allowed = await allowed
        except (ConnectError, HandshakeError) as error:
            raise HandshakeError(4, error.message, {"error": error}) from None
        except Exception as error:
            logger.exception("allow_request failed; the request is refused")
            raise HandshakeError(4, context={"error": error}) from error
        if not allowed:
            raise HandshakeError(4)


def _send_away(session: Session) -> None:
    if session.open:
        session.close(SERVER_SHUTTING_DOWN)
