"""What the tests of the client's transports share: a gate before a server, tunnels, proxies, certificates, wires."""

from __future__ import annotations

import asyncio
import base64
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import madang
from madang.engine.client_options import ClientEngineOptions
from madang.engine.client_session import ClientSession
from madang.protocol.encoded import Encoded
from madang.types import TransportName
from tests.engine.clocks import ManualClock
from tests.hosts import listening
from tests.interop.ways import SOON, Heard, until

__all__ = ["SOON", "Heard", "until"]

#: how quickly clients come back
QUICK: Final[dict[str, Any]] = {
    "force_new": True,
    "reconnection_delay": 0.01,
    "reconnection_delay_max": 0.02,
    "randomization_factor": 0,
}

WEBSOCKET: Final = ["websocket"]
POLLING: Final = ["polling"]
BOTH: Final = ["polling", "websocket"]
WAYS: Final = {"websocket": WEBSOCKET, "polling": POLLING, "upgrade": BOTH}


def echo_server(**options: Any) -> madang.Server:
    """A server that answers `ask` with what it was asked, and sends `said` for `say`."""
    io = madang.Server(**options)
    io.on("ask", lambda socket, *args: args)
    io.on("say", lambda socket, *args: socket.emit("said", *args))
    return io


@asynccontextmanager
async def joined(url: str, **options: Any) -> AsyncIterator[madang.Client]:
    """A client that has joined, and upgraded if it polls and may."""
    wanted = options.get("transports", BOTH)
    async with asyncio.timeout(SOON), madang.connect(url, **(QUICK | options)) as client:
        if list(wanted) == BOTH and options.get("upgrade", True):
            await upgraded(client)
        yield client


async def upgraded(client: madang.Client) -> None:
    """Wait until the client's session uses WebSocket."""
    await until(lambda: transport_of(client) == "websocket")


def transport_of(client: madang.Client) -> str | None:
    engine = client.manager.engine
    return engine.transport.name if engine is not None else None


# ---------------------------------------------------------------------------------------------------- before a server


class Asked:
    """A request as a server gets it."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.kind: str = scope["type"]
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.raw_query: str = scope["query_string"].decode()
        self.query = {name: values[0] for name, values in parse_qs(self.raw_query, keep_blank_values=True).items()}
        self.headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.body = b""

    @property
    def transport(self) -> str | None:
        return self.query.get("transport")

    @property
    def cookies(self) -> dict[str, str]:
        return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}


Answer = tuple[int, list[tuple[str, str]], bytes]


def page(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
    return status, list(headers), body


#: for `Gate.decide`: never answer
HANG: Final[Answer] = (0, [], b"")


class Gate:
    """An ASGI app before a server: notes each request, may answer itself, and may add headers to answers.

    `decide` gives an answer for a request, or None for the server's own.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.asked: list[Asked] = []
        self.decide: Callable[[Asked], Answer | Awaitable[Answer | None] | None] = lambda asked: None
        self.headers: list[tuple[str, str]] = []
        self.url = ""

    def of(self, transport: str, method: str | None = None) -> list[Asked]:
        return [one for one in self.asked if one.transport == transport and method in (None, one.method)]

    async def close(self) -> None:
        await self.app.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        asked = Asked(scope)
        self.asked.append(asked)
        answer: Any = self.decide(asked)
        if asyncio.iscoroutine(answer):
            answer = await answer

        async def listen() -> Any:
            event = await receive()
            asked.body += event.get("body", b"")
            return event

        async def answered(event: Any) -> None:
            if event["type"] in ("http.response.start", "websocket.accept"):
                more = [(name.encode(), value.encode()) for name, value in self.headers]
                event = {**event, "headers": [*event.get("headers", ()), *more]}
            await send(event)

        if answer is None:
            await self.app(scope, listen, answered)
            return
        if answer is HANG:
            while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
                pass
            return
        status, headers, body = answer
        prefix = "http" if asked.kind == "http" else "websocket.http"
        raw = [(name.encode(), value.encode()) for name, value in (*headers, ("content-length", str(len(body))))]
        if asked.kind == "websocket":
            await receive()
        await send({"type": f"{prefix}.response.start", "status": status, "headers": raw})
        await send({"type": f"{prefix}.response.body", "body": body})


@asynccontextmanager
async def gated(io: Any = None) -> AsyncIterator[Gate]:
    """A server behind a gate."""
    gate = Gate(io if io is not None else echo_server())
    async with listening(gate, "uvicorn") as gate.url:
        yield gate


# -------------------------------------------------------------------------------------------------------- TCP servers

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP server on a free port, which it yields; what still talks at the end is cancelled."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tuple(tasks), timeout=SOON)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Carry bytes both ways until one end closes."""
    to_reader, to_writer = await asyncio.open_connection(host, port)

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    try:
        await asyncio.gather(carry(reader, to_writer), carry(to_reader, writer))
    finally:
        to_writer.transport.abort()


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


# ------------------------------------------------------------------------------------------------------------ proxies


class ProxyLog:
    """A proxy: where it led, whom it refused."""

    def __init__(self, user: str | None = None, password: str | None = None) -> None:
        self.user = user
        self.password = password
        self.led: list[tuple[str, int]] = []
        self.refused = 0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """HTTP CONNECT (RFC 9110, section 9.3.6), with basic authentication if there is a user."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, where, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user is not None and headers.get("proxy-authorization") != f"Basic {wanted}":
            self.refused += 1
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        assert method == "CONNECT"
        host, _, port = where.rpartition(":")
        self.led.append((host, int(port)))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await pipe(reader, writer, "127.0.0.1", int(port))

    async def socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS5 (RFC 1928), with user and password (RFC 1929) if there is a user."""
        _, methods = await reader.readexactly(2)
        offered = await reader.readexactly(methods)
        method = 0 if self.user is None else 2
        if method not in offered:
            self.refused += 1
            writer.write(b"\x05\xff")
            await writer.drain()
            return
        writer.write(bytes((5, method)))
        if method == 2:
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            if (user.decode(), password.decode()) != (self.user, self.password):
                self.refused += 1
                writer.write(b"\x01\x01")
                await writer.drain()
                return
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = ".".join(map(str, await reader.readexactly(4)))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        self.led.append((host, port))
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await pipe(reader, writer, "127.0.0.1", port)


# ------------------------------------------------------------------------------------------------------- certificates


class Papers:
    """A certificate authority, and two certificates that it has signed: the server's and a client's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # which Python 3.13 insists on
        name = ["-days", "1", "-subj", "/CN=test authority"]
        self._run("req", "-x509", *self._key("ca"), "-out", str(self.ca), *name, *usage)
        self.server = self._sign("server", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.client = self._sign("client", "extendedKeyUsage=clientAuth")

    @staticmethod
    def _run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)

    def _key(self, name: str) -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        return [*curve, "-nodes", "-keyout", self._file(name, "key")]

    def _file(self, name: str, kind: str) -> str:
        return str(self.folder / f"{name}.{kind}")

    def _sign(self, name: str, extension: str) -> tuple[str, str]:
        request, signed = self._file(name, "csr"), self._file(name, "pem")
        self._run("req", *self._key(name), "-out", request, "-subj", f"/CN={name}")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"{extension}\nauthorityKeyIdentifier=keyid\n")
        issuer = ["-CA", str(self.ca), "-CAkey", self._file("ca", "key"), "-CAcreateserial"]
        self._run("x509", "-req", "-in", request, *issuer, "-out", signed, "-days", "1", "-extfile", str(extensions))
        return signed, self._file(name, "key")

    def serving(self, *, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.server)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def trusting(self, *, with_client: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_client:
            context.load_cert_chain(*self.client)
        return context


@asynccontextmanager
async def over_tls(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The server at `url`, reachable over TLS."""
    inner = port_of(url)
    async with tcp(lambda reader, writer: pipe(reader, writer, "127.0.0.1", inner), context) as port:
        yield f"https://127.0.0.1:{port}"


# ------------------------------------------------------------------------------------------- a session without a wire


class Wire:
    """A client's transport that keeps what is sent."""

    writable = True
    buffered = 0

    def __init__(self, name: TransportName, session_id: str | None, session: Any) -> None:
        self.name = name
        self.session_id = session_id
        self.session = session
        self.sent: list[bytes] = []
        self.did: list[str] = []
        self.limit: int | None = None
        self.paused: Callable[[], object] | None = None

    def open(self) -> None:
        self.did.append("open")

    def identify(self, session_id: str, max_payload: int | None) -> None:
        self.session_id, self.limit = session_id, max_payload

    def send(self, encoded: Encoded) -> None:
        self.sent += [encoded.text] if encoded.text else []
        self.sent += encoded.attachments

    def send_control(self, packet: bytes) -> None:
        self.sent.append(packet)

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        self.did.append("close")
        self.session = None

    def abort(self) -> None:
        self.did.append("abort")
        self.session = None

    def pause(self, done: Callable[[], object]) -> None:
        self.did.append("pause")
        self.paused = done

    def unpause(self) -> None:
        self.did.append("unpause")

    def leave(self) -> None:
        self.did.append("leave")
        self.session = None

    def pause_reading(self) -> None:
        self.did.append("pause_reading")

    def resume_reading(self) -> None:
        self.did.append("resume_reading")

    def receive(self, packet: str | bytes) -> None:
        """The server sends a packet."""
        session = self.session
        if session is None:
            return
        if isinstance(packet, bytes):
            session.on_binary(packet)
        elif packet.startswith("4"):
            session.on_text(packet.encode())
        else:
            session.on_control(packet.encode())

    def lose(self, description: object = None) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, "transport error", description)


class Seat:
    """A client's session on a clock and wires that a test holds in its hands."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.wires: list[Wire] = []
        self.told: list[Any] = []
        self.heard: list[bytes] = []
        self.session = ClientSession(ClientEngineOptions(**options), self.clock, self._dial, self)  # type: ignore
        self.session.open()

    def _dial(self, name: TransportName, session_id: str | None, receiver: Any) -> Any:
        self.wires.append(Wire(name, session_id, receiver))
        return self.wires[-1]

    @property
    def wire(self) -> Wire:
        return self.wires[-1]

    def shake(self, wire: Wire | None = None, **more: Any) -> None:
        """The server's handshake, with a heartbeat of 25 and 20 seconds."""
        import json

        said = {"sid": "s1", "upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 100}
        (wire or self.wires[0]).receive("0" + json.dumps(said | more))

    def on_text(self, packet: bytes) -> None:
        self.heard.append(packet)

    def on_binary(self, data: bytes) -> None:
        self.heard.append(data)

    def on_open(self) -> None:
        self.told.append("open")

    def on_close(self, reason: str, description: object) -> None:
        self.told.append(("close", reason, description))

    def on_write_changed(self) -> None: ...

    def on_ping(self) -> None:
        self.told.append("ping")

    def on_drained(self) -> None:
        self.told.append("drained")

    @property
    def ends(self) -> list[str]:
        return [one[1] for one in self.told if isinstance(one, tuple)]
