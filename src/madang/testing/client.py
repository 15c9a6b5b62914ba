"""The client in memory."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from asyncio import Future
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol, Unpack, cast

from ..client.client import Client
from ..client.connected import Connected
from ..client.options import Auth, ClientKeywords
from ..client.reconnect import GOODBYE
from ..client.socket import ClientSocket
from ..engine.client_options import check_headers
from ..errors import HandlerFailed, OptionError, SocketClosed, UsageError, WaitTimeout
from ..events.acks import Ack, result_of
from ..events.asking import calls_server
from ..protocol.event import EventName, TypedEvent, event_name
from ..server.server import Server
from .network import HOST, Application, Network
from .stage import Failure, Stage, name_of, stage_of

Failures = Literal["raise", "collect"]

_SOON: Final = {"reconnection_delay": 0.001, "reconnection_delay_max": 0.05, "randomization_factor": 0.0}
"""How fast a client comes back: a test does not wait."""


class ReceivedEvent(NamedTuple):
    """An event that has come.

    Attributes:
        name: its name.
        args: its arguments.
    """

    name: str | int
    args: list[Any]


class MemoryClient(Client):
    """A client of a server in the same process; made by `madang.testing.connect`.

    Attributes:
        received: all events that have come, in order.
    """

    def __init__(
        self,
        io: Server,
        url: str,
        network: Network,
        failures: Failures,
        auth: Auth | None,
        options: ClientKeywords,
    ) -> None:
        self._stage: Stage = stage_of(io)
        self._entered = False
        self._raises = failures == "raise"
        self._network = network
        network.watcher = self._stage
        self._waiting_for: list[tuple[str | int | None, Future[ReceivedEvent]]] = []
        self._untaken: list[ReceivedEvent] = []
        self.received: list[ReceivedEvent] = []
        given: dict[str, Any] = {
            "path": io.engine.options.path,
            **_SOON,
            **options,
            "auto_connect": False,
            "force_new": True,
            "transports": ("websocket",),
            "transport_classes": {"websocket": self._network.dial},
        }
        super().__init__(url, auth=auth, **cast("ClientKeywords", given))
        self.on_any(self._note)
        self.on_error(self._stage.failed)

    # connecting

    def connect(self) -> Connected:
        """Join the namespace; see `ClientSocket.connect`."""
        self.manager.prepare()
        self.manager.clock = asyncio.get_running_loop()  # whose time may be that of a test's clock
        return super().connect()

    open = connect

    def of(self, namespace: str, *, auth: Auth | None = None) -> ClientSocket:
        """Another namespace on the same connection; the first call joins it. See `Client.of`.

        Args:
            namespace: its name, such as ``"/chat"``.
            auth: what to present there.
        """
        known = set(self.manager.sockets)
        socket = super().of(namespace, auth=auth)
        if socket.nsp not in known:
            socket.connect()
        return socket

    async def _opened(self) -> None:
        self._stage.enter()
        self._entered = True
        manager = self.manager
        wanted, manager.reconnection = manager.reconnection, False  # a test wants to see the first failure
        try:
            await super()._opened()
        except BaseException as error:
            self._add_failures(error)
            raise
        finally:
            manager.reconnection = wanted

    async def close(self, timeout: float = GOODBYE) -> None:
        """Leave all namespaces, and the server; see `Client.close`. Its handlers of ``disconnect`` have run then.

        Args:
            timeout: seconds that handlers of this client which still run are given; then they are cancelled.
        """
        stage = self._stage
        stage.client_leaves()
        try:
            await super().close(timeout)
            await self._network.close()
            await stage.calm()
            if self._entered:
                self._entered = False
                await stage.leave()
        finally:
            stage.client_has_left()
        waiting, self._waiting_for = self._waiting_for, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(SocketClosed("io client disconnect"))

    async def __aenter__(self) -> MemoryClient:
        await self._opened()
        return self

    def __await__(self) -> Generator[Any, Any, MemoryClient]:
        return self.__aenter__().__await__()

    async def __aexit__(self, *exc: object) -> None:
        if exc[1] is None:
            await self._stage.calm()
        await self.close()
        if isinstance(exc[1], BaseException):
            self._add_failures(exc[1])
        elif self._raises and self.failures:
            failed = self._handlers_failed()
            raise failed from failed.errors[0]

    # receiving

    def _note(self, name: str | int, *args: Any) -> None:
        kept = [arg for arg in args if not isinstance(arg, Ack)]
        event = ReceivedEvent(name, kept)
        self.received.append(event)
        for waits in self._waiting_for:
            wanted, future = waits
            if not future.done() and wanted in (None, name):
                self._waiting_for.remove(waits)
                future.set_result(event)
                return
        self._untaken.append(event)

    async def receive(
        self, event: EventName | TypedEvent[..., Any] | None = None, *, timeout: float | None = 30.0
    ) -> Any:
        """The next event that has come and that this has not given yet; waits for one if there is none.

        Args:
            event: its name. Default: any.
            timeout: seconds to wait; None waits for as long as it takes.

        Returns:
            Its argument; None if it has none, a tuple if it has several.

        Raises:
            WaitTimeout: it did not come in time.
            SocketClosed: the client was closed meanwhile.
        """
        name = None if event is None else event_name(event)
        for untaken in self._untaken:
            if name in (None, untaken.name):
                self._untaken.remove(untaken)
                return result_of(untaken.args)
        future: Future[ReceivedEvent] = asyncio.get_running_loop().create_future()
        waits = (name, future)
        self._waiting_for.append(waits)
        try:
            async with asyncio.timeout(timeout):
                return result_of((await future).args)
        except TimeoutError:
            what = "no event" if name is None else f"no event {name!r}"
            raise WaitTimeout(f"{what} came within {timeout} seconds; what came: {self.received[-10:]}") from None
        finally:
            if waits in self._waiting_for:
                self._waiting_for.remove(waits)

    @property
    def untaken(self) -> list[ReceivedEvent]:
        """What has come and was not given by `receive`, in a list of its own."""
        return list(self._untaken)

    @calls_server
    async def call(self, event: Any, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and wait for the server's answer; see `emit_with_ack`.

        Args:
            event: the name.
            *args: the arguments.
            timeout: seconds to wait. Default: the option `ack_timeout`.

        Raises:
            AckTimeout: the answer did not come in time.
            SocketClosed: the connection was lost.
        """
        return await self.emit_with_ack(event, *args, timeout=timeout)

    async def settled(self, *, timeout: float = 5.0) -> None:
        """Wait until all that was sent has arrived, in both directions, and all handlers have ended.

        Args:
            timeout: seconds that handlers may take.

        Raises:
            WaitTimeout: handlers still run.
        """
        owners = (self._stage.io.tasks, self.manager.tasks)
        try:
            async with asyncio.timeout(timeout):
                while not await self._stage.calm() or any(len(tasks) for tasks in owners):
                    for tasks in owners:
                        await tasks.ended()
        except TimeoutError:
            running = [name_of(coroutine) for tasks in owners for coroutine in tasks.running()]
            what = f"handlers still run: {', '.join(running)}" if running else "messages still come and go"
            raise WaitTimeout(f"not settled after {timeout} seconds: {what}") from None

    # failures of handlers

    @property
    def failures(self) -> list[Failure]:
        """What handlers of the server, or of its clients in memory, have raised; what is taken out is dealt with."""
        return self._stage.failures

    def _handlers_failed(self) -> HandlerFailed:
        told = [f"the handler of {failure.event!r} has raised {failure.error!r}" for failure in self.failures]
        errors = [failure.error for failure in self.failures]
        self.failures.clear()
        return HandlerFailed("; ".join(told), errors)

    def _add_failures(self, error: BaseException) -> None:
        """Say on what the test has failed with what handlers have raised."""
        if self._raises:
            for failure in self.failures:
                told = "".join(traceback.format_exception(failure.error))
                error.add_note(f"Before, the handler of {failure.event!r} has raised:\n{told}")
            self.failures.clear()

    # the network

    def drop(self, *, silently: bool = False) -> None:
        """Cut the connection, as a reset does; the client comes back by itself.

        Args:
            silently: let nothing through any more and tell neither end, as a cable that was pulled: both learn of it
                from their heartbeat.
        """
        self._network.cut(silently=silently)

    @contextlib.contextmanager
    def offline(self) -> Generator[None]:
        """Cut the connection, and let every attempt to connect fail within the block."""
        self._network.up = False
        self.drop()
        try:
            yield
        finally:
            self._network.up = True


def connect(
    io: Server,
    namespace: str = "/",
    *,
    auth: Auth | None = None,
    headers: Mapping[str, str] | None = None,
    address: tuple[str, int] = ("127.0.0.1", 50000),
    app: Application | None = None,
    failures: Failures = "raise",
    **options: Unpack[ClientKeywords],
) -> MemoryClient:
    """A client of `io` in memory, for ``async with``, which waits until it is connected. Call it in a running loop.

    ::

        async with madang.testing.connect(io, auth={"token": "…"}) as client:
            assert await client.call("add", 1, 2) == 3

    Args:
        io: the server.
        namespace: the namespace to join.
        auth: what to present, as in `madang.Client`.
        headers: headers of the handshake, also ``cookie`` and ``origin``.
        address: where the server sees the client come from.
        app: an ASGI application that `io` is mounted in; give `path` as well unless it is the server's own.
        failures: ``"raise"`` lets the block raise `HandlerFailed` at its end if handlers have failed; ``"collect"``
            leaves them in `MemoryClient.failures`.
        **options: see `ClientOptions` and `ClientEngineOptions`; `transports` and `transport_classes` are taken.

    Raises:
        OptionError: an unknown option, or a value out of range.
        UsageError: no event loop is running.
    """
    given: Any = io
    if not isinstance(given, Server):
        raise OptionError(
            f"connect() takes a madang.Server, not {given!r}; for an ASGI application: connect(io, app=…)"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError("a client in memory is made in a running event loop: in an async def") from None
    for taken in ("transports", "transport_classes", "force_new", "auto_connect", "proxy"):
        if taken in options:
            raise OptionError(f"{taken} cannot be chosen in memory; start the server on a port to test it")
    if failures not in ("raise", "collect"):
        raise OptionError(f'failures must be "raise" or "collect", not {failures!r}')
    if headers is not None:
        check_headers(headers)
        options["extra_headers"] = {**options.get("extra_headers", {}), **headers}
    name = namespace if namespace.startswith("/") else f"/{namespace}"
    network = Network(app or io, address)
    return MemoryClient(io, f"http://{HOST}{name}", network, failures, auth, options)


class ClientFactory(Protocol):
    """What the fixture `madang_client` gives: `connect`, awaited until it is connected, and closed after the test."""

    async def __call__(
        self,
        io: Server,
        namespace: str = "/",
        *,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        address: tuple[str, int] = ("127.0.0.1", 50000),
        app: Callable[[Any, Any, Any], Any] | None = None,
        failures: Failures = "raise",
        **options: Unpack[ClientKeywords],
    ) -> MemoryClient:
        """Connect a client; see `connect`."""
        ...
