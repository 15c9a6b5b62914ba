"""Put an app on a real listening port, on each of the hosts it has to behave the same on.

* ``native``: the app's own host (``await app.start(port=0)``);
* ``uvicorn``: a plain ``uvicorn.Server`` with its default WebSocket implementation;
* ``hypercorn``: a plain hypercorn worker;
* ``granian``: granian's embedded server, whose network runs in threads of its own;
* ``daphne``: what daphne puts together, on Twisted in the running loop. It knows no lifespan.

``listening`` does it in the running loop, for tests that look at both sides of the wire. ``ServerProcess`` does it in a
process of its own, for tests that only know the wire; the programs it starts end with ``main(app)`` of this module.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import hypercorn
import uvicorn
from hypercorn.asyncio import serve as hypercorn_serve

Host = Literal["native", "uvicorn", "hypercorn", "granian", "daphne"]
HOSTS: Final[tuple[Host, ...]] = ("native", "uvicorn", "hypercorn")
ALL_HOSTS: Final[tuple[Host, ...]] = (*HOSTS, "granian", "daphne")

ROOT: Final = Path(__file__).resolve().parent.parent
ADDRESS: Final = "127.0.0.1"

#: how long a host may wait for requests and connections that are still open when it is asked to stop
GRACE: Final = 2.0


# ---------------------------------------------------------------------------------------------- in the running loop


@asynccontextmanager
async def listening(app: Any, host: Host = "native", *, port: int = 0) -> AsyncIterator[str]:
    """The app, reachable at the URL this yields (``http://127.0.0.1:PORT``) until the block is left.

    What the host or the loop logs as an error meanwhile fails the block: an exception that got as far as that is a bug,
    whatever the client has seen.
    """
    hosts = {"uvicorn": _uvicorn, "hypercorn": _hypercorn, "granian": _granian, "daphne": _daphne}
    hosted = hosts.get(host, _native)
    errors = _Errors()
    try:
        async with hosted(app, port) as bound:
            errors.watch()
            yield f"http://{ADDRESS}:{bound}"
            if host != "native":
                await _close(app)
    finally:
        errors.unwatch()
    assert not errors.texts, "\n".join(errors.texts)


class _Errors(logging.Handler):
    """Collects what is logged as an error by those who call the app."""

    LOGGERS: Final = ("asyncio", "uvicorn.error", "hypercorn.error", "_granian", "daphne")
    #: what uvicorn says of each WebSocket that an app refuses with an answer of its own
    HARMLESS: Final = "ASGI callable returned without completing handshake."

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() != self.HARMLESS:
            self.texts.append(self.format(record))

    def watch(self) -> None:
        for name in self.LOGGERS:
            logging.getLogger(name).addHandler(self)

    def unwatch(self) -> None:
        for name in self.LOGGERS:
            logging.getLogger(name).removeHandler(self)


async def _close(app: Any) -> None:
    """Let go of the clients, where the app can: other hosts wait for them before they tell the app of the end."""
    close = getattr(app, "close", None)
    if callable(close):
        answer = close()
        if asyncio.iscoroutine(answer):
            await answer


@asynccontextmanager
async def _native(app: Any, port: int) -> AsyncIterator[int]:
    if not hasattr(app, "start"):
        raise TypeError(f"{type(app).__name__} has no host of its own: use 'uvicorn' or 'hypercorn'")
    running = await app.start(port=port, host=ADDRESS)
    try:
        yield running.port
    finally:
        await running.stop()


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, told to stop by an event instead of by polling, and without hands on the signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn stumbles over a WebSocket whose close handshake is under way, so let those end
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await asyncio.sleep(0.01)
                while any(getattr(connection, "close_sent", False) for connection in self.server_state.connections):
                    await asyncio.sleep(0.01)
        await super().shutdown(sockets=sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)  # fills the default headers
        await self.stopping.wait()


@asynccontextmanager
async def _uvicorn(app: Any, port: int) -> AsyncIterator[int]:
    with _bound(port) as listener:
        config = uvicorn.Config(app, log_config=None, log_level="warning", timeout_graceful_shutdown=int(GRACE))
        server = _Uvicorn(config)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
        await _first(server.ready.wait(), task)
        try:
            yield listener.getsockname()[1]
        finally:
            server.stopping.set()
            await task


@asynccontextmanager
async def _hypercorn(app: Any, port: int) -> AsyncIterator[int]:
    with _bound(port) as listener:
        bound = listener.getsockname()[1]
        config = hypercorn.Config()
        config.bind = [f"fd://{listener.detach()}"]  # hypercorn owns the socket from here on
        config.graceful_timeout = GRACE
        config.loglevel = "WARNING"
        ready, stopping = asyncio.Event(), asyncio.Event()

        async def asked_to_stop() -> None:
            ready.set()  # hypercorn begins to wait for this when it listens
            await stopping.wait()

        serve = cast("Callable[..., Awaitable[None]]", hypercorn_serve)
        task = asyncio.ensure_future(serve(app, config, shutdown_trigger=asked_to_stop))
        await _first(ready.wait(), task)
        try:
            yield bound
        finally:
            stopping.set()
            await task


@asynccontextmanager
async def _granian(app: Any, port: int) -> AsyncIterator[int]:
    from granian.server.embed import Server

    port = port or free_port()
    server = Server(app, address=ADDRESS, port=port, interface="asgi", log_enabled=False)  # type: ignore[arg-type]
    task = asyncio.create_task(server.serve(), name="granian")
    try:
        await _first(_answers(port), task)
        yield port
    finally:
        server.stop()
        await task


_PORTS: Final = 3_000
"""Of each process that runs tests, so that none takes a port that another has found and not bound yet."""

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on; below those that outgoing connections get, so that none takes it meanwhile."""
    begin = 20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4 * _PORTS
    if len(_given) > _PORTS // 2:
        _given.clear()
    while True:
        port = begin + secrets.randbelow(_PORTS)
        if port not in _given:
            with socket.socket() as probe, suppress(OSError):
                probe.bind((ADDRESS, port))
                _given.add(port)
                return port


async def _answers(port: int) -> None:
    """Wait until somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection(ADDRESS, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


@asynccontextmanager
async def _daphne(app: Any, port: int) -> AsyncIterator[int]:
    daphne, reactor = _twisted(asyncio.get_running_loop())
    server = daphne.Server(app, endpoints=["listened to below"])
    server.connections = {}
    factory = server.http_factory = daphne.HTTPFactory(server)
    server.ws_factory = daphne.WebSocketFactory(server, server="daphne")
    server.ws_factory.setProtocolOptions(
        autoPingTimeout=server.ping_timeout,
        allowNullOrigin=True,
        openHandshakeTimeout=server.websocket_handshake_timeout,
        maxMessagePayloadSize=server.websocket_max_message_size,
        maxFramePayloadSize=server.websocket_max_frame_size,
    )
    server.application_checker()
    listener = reactor.listenTCP(port, factory, interface=ADDRESS)
    try:
        yield listener.getHost().port
    finally:
        await _future(listener.stopListening())
        for protocol, details in list(server.connections.items()):
            if (running := details.get("application_instance")) is not None:
                running.cancel()
            if protocol.transport is not None:
                protocol.transport.abortConnection()
        for _ in range(10):  # turns of the loop: the reactor closes what was aborted in a later one
            await asyncio.sleep(0)
        for call in reactor.getDelayedCalls():
            call.cancel()


def _twisted(loop: asyncio.AbstractEventLoop) -> tuple[Any, Any]:
    """Daphne's server and the one reactor of this process, which goes on in this loop."""
    import daphne.server as daphne
    from twisted.internet import reactor

    running: Any = reactor
    daphne.twisted_loop.close()  # type: ignore[attr-defined]
    running._asyncioEventloop, running._scheduledAt = loop, None
    if not running.running:
        running.startRunning(installSignalHandlers=False)
    return daphne, running


def _future(deferred: Any) -> asyncio.Future[Any]:
    return cast("asyncio.Future[Any]", deferred.asFuture(asyncio.get_running_loop()))


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ADDRESS, port))
    return listener


async def _first(event: Awaitable[Any], server: asyncio.Future[None]) -> None:
    """Wait until the server says it is up; if it ends instead, pass its error on."""
    up = asyncio.ensure_future(event)
    await asyncio.wait({up, server}, return_when=asyncio.FIRST_COMPLETED)
    if not up.done():
        up.cancel()
        with suppress(asyncio.CancelledError):
            await up
        await server
        raise RuntimeError("the host ended before it listened")


# ------------------------------------------------------------------------------------------- in a process of its own


def main(app: Any, arguments: argparse.Namespace) -> None:
    """Serve the app until SIGTERM or SIGINT, and print the port as one line as soon as it listens."""
    if arguments.host == "native":
        app.run(host=ADDRESS, port=arguments.port, on_start=lambda running: print(running.port, flush=True))
        return
    # what `uvicorn module:app` runs on is what is installed: uvloop, where there is one
    factory = uvicorn.Config(app).get_loop_factory() if arguments.host == "uvicorn" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_until_signalled(app, arguments.host, arguments.port))


async def _until_signalled(app: Any, host: Host, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with listening(app, host, port=port) as url:
        print(url.rpartition(":")[2], flush=True)
        await stop.wait()


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every program started by ``ServerProcess`` has; it may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", choices=ALL_HOSTS, default="native", help="what to be hosted by")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on; 0 takes a free one")
    return parser


class ServerProcess:
    """A server in a process of its own: ``with ServerProcess("engine_echo", "uvicorn") as server: server.url``."""

    START_WITHIN: Final = 20.0
    STOP_WITHIN: Final = 5.0

    def __init__(self, app: str, host: Host = "native", *options: str) -> None:
        self.command: Sequence[str] = (
            *(sys.executable, "-m", f"tests.conformance.apps.{app}"),
            *("--host", host, "--port", "0", *options),
        )
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self._stderr = tempfile.TemporaryFile(mode="a+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and return when it listens."""
        self._process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        port = self._first_line(self._process)
        if not port.isdecimal():
            self._end(self._process)
            raise RuntimeError(f"the server did not start: {' '.join(self.command)}\n{self.stderr}")
        self.url = f"http://{ADDRESS}:{port}"

    def stop(self) -> tuple[int, str]:
        """Ask it to end, insist after a while, and return its exit status and all it wrote to stderr."""
        assert self._process is not None
        self._process.terminate()
        status, errors = self._end(self._process), self.stderr
        self._stderr.close()
        return status, errors

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read()

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        stdout, lines = process.stdout, list[str]()
        reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
        reader.start()
        reader.join(self.START_WITHIN)
        return lines[0].strip() if lines else ""

    def _end(self, process: subprocess.Popen[str]) -> int:
        try:
            status = process.wait(self.STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return status
