"""The native host: uvicorn, with a door of our own (see `door`), which stops in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from uvicorn.importer import ImportFromStringError, import_from_string

from ..adapters.local import LocalCluster
from ..engine.host import Hosted
from ..errors import OptionError
from .asgi import ASGIApp
from .door import Door, HandedOver
from .handover import Handover, mark_of
from .reloading import changes
from .runtime import Runtime, started
from .site import State
from .sockets import Place, url_of
from .static import StaticFiles
from .supervisor import address_of, supervise
from .worker import Assignment, Line, assignment

logger = logging.getLogger("madang.hosting")

GRACE: Final = 10
"""Seconds that requests may take to end when the server stops."""

_CLOSE_HANDSHAKES: Final = 2.5

_FIRST_WORDS: Final = 50
"""Hundredths of a second in which a worker that ends waits for the first bytes of connections."""


class _Server(uvicorn.Server):
    """uvicorn's server; closes the clients first when it stops, and leaves signals alone if told so."""

    def __init__(
        self,
        config: uvicorn.Config,
        hosted: Hosted,
        *,
        signals: bool,
        assignment: Assignment | None = None,
        drain: float = 0.0,
    ) -> None:
        super().__init__(config)
        self.server_state: State = State()
        self._assignment = assignment
        self._drain = drain
        self._line: Line | None = None
        self._hosted = hosted
        self._signals = signals
        self.ready = asyncio.Event()
        self._exit = asyncio.Event()
        self._hurry = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.runtime: Runtime | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if not self._signals:
            yield
            return
        with super().capture_signals():
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # a second Ctrl-C does not wait; the signal is not raised again afterwards, since the server has ended cleanly
        # a worker may be told twice, by its supervisor and by whoever tells all processes of a service at once
        self.force_exit = self.should_exit and self._assignment is None
        self.stop()
        self._loop.call_soon_threadsafe(self._exit.set)  # wakes the loop
        if self.force_exit:
            self._loop.call_soon_threadsafe(self._hurry.set)

    def stop(self) -> None:
        """End `main_loop`."""
        self.should_exit = True
        self._exit.set()

    async def main_loop(self) -> None:
        # uvicorn looks ten times a second whether to stop; here it is told, and only the date header needs a tick
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), 1.0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        engine = self._hosted.engine
        self.runtime = started(engine)
        assignment = self._assignment
        if assignment is not None:
            engine.id_mark = mark_of(assignment.number)
            handover = self.server_state.handover = Handover(assignment.place, assignment.number)
            handover.listen()
            lines = LocalCluster(assignment.place, assignment.number)
            if self._hosted.spread_with(lines):
                await lines.opened()
        await super().startup(sockets)
        if assignment is not None and self.server_state.handover is not None:
            self.server_state.handover.take(self._accept)
            self._line = Line(assignment.control, self.stop)
            self._line.ready()
        self.ready.set()

    def _accept(
        self, connection: socket.socket, data: bytes, remote: tuple[str, int] | None
    ) -> asyncio.Task[tuple[asyncio.Transport, asyncio.BaseProtocol]]:
        """Take a connection that another worker hands over."""
        door = HandedOver(self.config, self.server_state, self.lifespan.state).give(data, remote)
        loop = asyncio.get_running_loop()
        return loop.create_task(loop.connect_accepted_socket(lambda: door, connection))

    async def _hear_out(self) -> None:
        """Wait a moment for those that have been accepted and said nothing: their handshakes go to other workers."""
        connections: Any = self.server_state.connections
        for _ in range(_FIRST_WORDS):
            await asyncio.sleep(0.01)  # at least once: what was accepted in this turn is a connection in the next ones
            if not any(isinstance(one, Door) for one in connections):
                return

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        handover = self.server_state.handover
        if handover is not None:
            handover.leave()
            await self._hear_out()
        if self._drain and not self.force_exit:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._hosted.engine.send_away(self._drain))
        self.server_state.stopping = True
        await self._hosted.close()
        if handover is not None:
            await handover.close()
        if self._line is not None:
            self._line.close()
            if self._line.alone and self._assignment is not None:  # nobody else clears up; the last one succeeds
                with suppress(OSError):
                    self._assignment.place.rmdir()
        if self.runtime is not None and not self.force_exit:
            await self.runtime.connections_closed(_CLOSE_HANDSHAKES)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for _ in range(2):
            await asyncio.sleep(0)  # a transport that was told to close does so in the loop's next turns


class _Running:
    """A server in the background; see `madang.engine.host.Running`."""

    def __init__(self, server: _Server, task: asyncio.Task[None], listener: socket.socket) -> None:
        self._server = server
        self.scheme = "https" if server.config.is_ssl else "http"
        self._task = task
        self.host, self.port = address_of(listener)
        self.url = url_of(self.scheme, listener)

    async def stop(self) -> None:
        """Close all clients, then the server."""
        self._server.stop()
        await self._task


def _config(hosted: Hosted, place: Place, other: Any, options: dict[str, Any]) -> uvicorn.Config:
    for name in ("workers", "reload"):
        if options.get(name) not in (None, False, 1):
            raise OptionError(f"{name} is for io.run() and the command, which have the process to themselves")
    if options.get("fd") is not None:
        raise OptionError("fd: the native host opens its socket itself; it takes host and port, or uds")
    settings: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "timeout_graceful_shutdown": GRACE,
        "ws_max_size": hosted.engine.options.max_http_buffer_size,
        "lifespan": "auto" if other is not None else "off",
        **options,
    }
    trusted = hosted.engine.options.trusted_proxies
    if trusted is not None:  # the other application sees the clients where the server sees them
        settings.setdefault("forwarded_allow_ips", trusted if isinstance(trusted, str) else list(trusted))
    static_files = settings.pop("static_files", None)
    if static_files is not None:
        other = StaticFiles(static_files, other)
    try:
        config = uvicorn.Config(ASGIApp(hosted, other), place.host, place.port, http=cast("Any", Door), **settings)
    except TypeError as error:
        raise OptionError(f"{error}; options of the native host are those of uvicorn.Config") from None
    if config.is_ssl:
        try:
            config.load()
        except OSError as error:  # of which the errors of TLS are a kind
            files = f"ssl_certfile={config.ssl_certfile!r}, ssl_keyfile={config.ssl_keyfile!r}"
            raise OptionError(f"the certificate or its key cannot be used ({files}): {error}") from None
    return config


def load(target: str) -> Any:
    """What ``module:name`` names.

    Raises:
        OptionError: there is no such module or name.
    """
    try:
        return import_from_string(target)
    except ImportFromStringError as error:
        raise OptionError(str(error)) from None


def run(hosted: Hosted, /, *, host: str = "127.0.0.1", port: int = 3000, **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM, with the process to ourselves.

    Args:
        hosted: a server or engine.
        host: the address to listen on.
        port: the port; 0 for any free one.
        **options: `uds`, the path of a Unix socket in place of host and port; `app`, another ASGI app for all other
            paths; `static_files`, see `StaticFiles`; `on_start`, called with a `Running`; and what `uvicorn.Config`
            takes, such as `ssl_certfile` and `ssl_keyfile`. `workers`: how many processes serve, each this program run
            again; `reload`: whether to begin anew whenever a source file changes; `drain`: seconds in which a server
            that stops sends its clients away, a few at a time.
    """
    workers, reload = options.pop("workers", None), options.pop("reload", False)
    told = assignment()
    if told is not None:
        options.pop("on_start", None)
        options["assignment"] = told
    elif workers is not None or reload:
        supervise_native(hosted, host, port, 1 if workers is None else workers, reload, options)
        return
    factory = _config(hosted, Place(host, port), None, {}).get_loop_factory()
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(hosted, host, port, options, own_process=True))


async def serve(hosted: Hosted, /, *, host: str = "127.0.0.1", port: int = 3000, **options: Any) -> None:
    """Serve in the running loop until cancelled, Ctrl-C or SIGTERM; see `run`."""
    await _serve(hosted, host, port, options, own_process=False)


async def start(hosted: Hosted, /, *, host: str = "127.0.0.1", port: int = 3000, **options: Any) -> _Running:
    """Serve in the running loop, in the background; see `run`."""
    running, _ = await _launch(hosted, host, port, options, signals=False)
    return running


async def _serve(hosted: Hosted, host: str, port: int, options: dict[str, Any], *, own_process: bool) -> None:
    on_start = options.pop("on_start", None)
    running, task = await _launch(hosted, host, port, options, signals=True)
    logger.info("madang listens on %s", running.url)
    if on_start is not None:
        on_start(running)
    if own_process:
        _tame_collector()
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await running.stop()
        raise


async def _launch(
    hosted: Hosted, host: str, port: int, options: dict[str, Any], *, signals: bool
) -> tuple[_Running, asyncio.Task[None]]:
    settings = dict(options)
    told: Assignment | None = settings.pop("assignment", None)
    drain = _seconds("drain", settings.pop("drain", 0.0))
    place = Place.of(host, port, settings.pop("uds", None))
    config = _config(hosted, place, settings.pop("app", None), settings)
    listener = socket.socket(fileno=told.listener) if told is not None else place.listen()
    server = _Server(config, hosted, signals=signals, assignment=told, drain=drain)
    task = asyncio.create_task(server.serve([listener]))
    if told is None:
        task.add_done_callback(lambda _: place.clear())
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
    if task.done():
        listener.close()
        task.result()
        raise RuntimeError("the server did not start; the application's start-up has failed")
    return _Running(server, task, listener), task


def supervise_native(hosted: Hosted, host: str, port: int, workers: int, reload: bool, options: dict[str, Any]) -> None:
    """Be the supervisor of several workers that serve with these options."""
    settings = dict(options)
    on_start = settings.pop("on_start", None)
    drain = _seconds("drain", settings.pop("drain", 0.0))
    place = Place.of(host, port, settings.pop("uds", None))
    config = _config(hosted, place, settings.pop("app", None), settings)
    scheme = "https" if config.is_ssl else "http"
    place.require_free()
    try:
        supervise(
            lambda known: place.listen(known, shared=True),
            lambda listener: url_of(scheme, listener),
            workers,
            drain=drain,
            watch=changes() if reload else None,
            on_start=on_start,
        )
    finally:
        place.clear()


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise OptionError(f"{name} must be a number of seconds, 0 or above, not {value!r}")
    return float(value)


def _tame_collector() -> None:
    """Connections make no reference cycles, so the cyclic collector has little to find; let it look seldom.

    It was a third of the cost of a connection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
