"""What the transports of the native host must survive.

Ends that come from within, clients that do not take their answers, close frames that are none, and handlers that raise
what nobody catches.
"""

from __future__ import annotations

import asyncio
import gc
import socket as sockets
import ssl
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from madang import Server
from madang.compiled import COMPILED
from madang.hosting.runtime import runtime_of
from tests.conformance.wire import DEADLINE, SOCKET, address, before
from tests.hostile.raw import BINARY, CLOSE, PONG, connection, frame, handshake, raw, text
from tests.hostile.victim import attacked, joined_polling
from tests.hosts import listening

FLOOD = 20_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


class Tls:
    """A WebSocket over TLS of which each `send` leaves as one piece."""

    def __init__(self, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._port = port
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)
        self.socket = sockets.socket()
        self.socket.setblocking(False)

    async def _more(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.socket, self._out.read())
        self._in.write(await before(DEADLINE, loop.sock_recv(self.socket, 65536), "more of the TLS stream"))

    async def join(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self._port))
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._more()
        await self.send(handshake("https://127.0.0.1", address(SOCKET, "websocket")))
        await self.until(b'"maxPayload"')
        await self.send(text("40"))
        await self.until(b'40{"sid"')

    async def send(self, *data: bytes) -> None:
        self._tls.write(b"".join(data))
        await asyncio.get_running_loop().sock_sendall(self.socket, self._out.read())

    async def until(self, expected: bytes) -> None:
        got = b""
        while expected not in got:
            try:
                got += self._tls.read(65536)
            except ssl.SSLWantReadError:
                await self._more()


@asynccontextmanager
async def over_tls(io: Server, certificate: tuple[Path, Path]) -> AsyncIterator[Tls]:
    """A client of a server with a certificate."""
    cert, key = certificate
    running = await io.start(port=0, ssl_certfile=str(cert), ssl_keyfile=str(key))
    client = Tls(running.port)
    try:
        await client.join()
        yield client
    finally:
        client.socket.close()
        await running.stop()


async def closing_over_tls_reads_nothing_from_within(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio's TLS reads when it is told to close: no bytes are asked for, or handed over, while others are taken."""
    wire = sys.modules["madang.transports.wire"]
    depth = 0
    nested: list[str] = []

    class Watched(wire.WebSocketTransport):  # type: ignore[name-defined, misc]
        __slots__ = ()

        def get_buffer(self, size: int) -> memoryview:
            if depth:
                nested.append("get_buffer")
            return super().get_buffer(size)  # type: ignore[no-any-return]

        def buffer_updated(self, size: int) -> None:
            nonlocal depth
            depth += 1
            super().buffer_updated(size)
            depth -= 1

    monkeypatch.setattr(wire, "WebSocketTransport", Watched)
    io = Server()
    ended = asyncio.Event()
    here = asyncio.Event()
    io.on("here", lambda socket: here.set())
    io.on("disconnect", lambda socket: ended.set())
    async with over_tls(io, certificate) as client:
        event = text('42["nobody","' + "x" * 100 + '"]')
        await client.send(text('42["here"]'), event[:20])  # what is kept of a frame has little room behind it
        await before(DEADLINE, here.wait(), "the first event")
        await client.send(event[20:], frame(CLOSE, b"\x03\xe8"), frame(PONG, b"z" * 100) * 400)
        await before(DEADLINE, ended.wait(), "the end")
    assert nested == []


if COMPILED:  # picows takes nothing from under itself
    test_closing_over_tls_reads_nothing_from_within = closing_over_tls_reads_nothing_from_within


async def test_nothing_of_a_flood_over_tls_is_lost(certificate: tuple[Path, Path]) -> None:
    """What a client sends over TLS just before it goes is handled, in order, before its socket ends."""
    marks: list[int] = []
    ended = asyncio.Event()
    io = Server()
    io.on("mark", lambda socket, number: marks.append(number))
    io.on("disconnect", lambda socket: ended.set())
    async with over_tls(io, certificate) as client:
        await client.send(*[text(f'42["mark",{number}]') for number in range(FLOOD)])
        client.socket.shutdown(sockets.SHUT_WR)
        await before(DEADLINE, ended.wait(), "the end")
        assert marks == list(range(FLOOD))


@pytest.mark.feature("E12")
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),
        *[(code.to_bytes(2, "big"), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999)],
        (b"\x03\xe8\xff\xfe", 1007),
    ],
    ids=str,
)
async def test_close_frame_that_is_none(payload: bytes, code: int) -> None:
    """A close frame with half a code, a code that may not be sent, or a reason that is not UTF-8 breaks RFC 6455."""
    async with attacked("native") as victim, raw(victim.url) as client:
        await client.join()
        await client.send(frame(CLOSE, payload))
        assert await client.closed() == code
        assert await victim.ended() == "transport error"


@pytest.mark.feature("E12", "A27")
async def test_a_client_that_closes_and_reads_nothing() -> None:
    """A client that sends a close frame and takes nothing of what waits for it is dropped in a few seconds."""
    io = Server()
    ended = asyncio.Event()

    @io.on("flood")
    def flood(socket: Any) -> None:
        for _ in range(100):
            socket.emit("news", "x" * 100_000)

    io.on("disconnect", lambda socket: ended.set())
    async with listening(io) as url, raw(url, receive_buffer=4096) as client:
        await client.join()
        await client.send(text('42["flood"]'), frame(CLOSE, b"\x03\xe8"))
        await before(DEADLINE, ended.wait(), "the end of the socket")
        await before(DEADLINE, runtime_of(io.engine).frames.all_closed(), "the end of the connection")


async def test_what_no_handler_may_raise() -> None:
    """An exception that is no Exception ends the connection of its event, and keeps nobody else waiting."""

    class Fatal(BaseException):
        pass

    io = Server()
    ended = asyncio.Event()
    count = 0

    @io.on("bad")
    def bad(socket: Any) -> None:
        nonlocal count
        count += 1
        if count == 100:
            raise Fatal

    io.on("disconnect", lambda socket: ended.set())
    io.on("echo", lambda socket, value: value)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    running = await io.start(port=0)
    url = f"http://127.0.0.1:{running.port}"
    try:
        async with raw(url) as first, raw(url) as second, raw(url) as third:
            for client in (first, second, third):
                await client.join()
            second.writer.write(text('42["bad"]') * 500)
            for client in (first, third):
                client.writer.write(text('42["echo",0]') * 500)
            await before(DEADLINE, ended.wait(), "the end of the one")
            for client in (first, third):
                await client.served()
        assert count == 100
    finally:
        await running.stop()


@pytest.mark.feature("L16")
async def test_a_flood_after_a_flood() -> None:
    """However much a client has sent before, what is read of it at once stays bounded."""
    marks: list[str] = []
    io = Server()
    io.on("mark", lambda socket, who: marks.append(who))
    io.on("echo", lambda socket, value: value)
    async with listening(io) as url, raw(url) as flooder, raw(url) as other:
        await flooder.join()
        await other.join()
        event = text('42["mark","flooder"]')
        await flooder.send(event * 50_000)
        await flooder.served()
        marks.clear()
        flooder.writer.write(event * 50_000)
        other.writer.write(text('42["mark","other"]'))  # no turn of the loop lies between
        await other.served()
        assert marks.index("other") <= 2 * 64 + 2 * 16384 // len(event)
        await flooder.served()
        assert len(marks) == 50_001


@pytest.mark.feature("R1")
async def test_names_with_backslashes() -> None:
    """A binary event's name is compared as a name, not as the JSON text of another one."""
    async with attacked("native") as victim, raw(victim.url) as client:
        victim.io.on("new\nline", lambda socket, data: victim.heard.append("new line"))
        victim.io.on("back\\slash", lambda socket, data: victim.heard.append("backslash"))
        await client.join()
        for name in (r"new\\nline", r"back\\\\slash", r"new\nline", r"back\\slash"):
            await client.send(text(f'451-["{name}",{{"_placeholder":true,"num":0}}]'), frame(BINARY, b"x"))
        await client.served()
        assert victim.heard == ["new line", "backslash", "echo"]


async def test_what_waits_for_a_poll_does_not_outlive_its_session() -> None:
    """An argument that refers to its socket, and waits for a poll that does not come, leaves nothing behind."""

    class Thing:
        def __init__(self, socket: Any) -> None:
            self.socket = socket

        def __json__(self) -> int:
            return 1

    io = Server(ping_interval=0.05, ping_timeout=0.05)
    ended = asyncio.Event()
    gone: list[weakref.ref[Any]] = []

    @io.on("thing")
    def thing(socket: Any) -> None:
        gone.append(weakref.ref(socket))
        socket.emit("thing", Thing(socket))

    io.on("disconnect", lambda socket: ended.set())
    async with listening(io) as url, joined_polling(url) as client:
        await client.send('42["thing"]')
        await before(DEADLINE, ended.wait(), "the end")
        io.engine.close_sessions()
        gc.collect()
        assert gone[0]() is None


def test_a_parser_that_forgets_to_return() -> None:
    """A custom parser's mistake is an error of the server, not the end of the process."""
    program = """
import asyncio, sys
sys.path.insert(0, ".")
from madang import Server
from madang.protocol.socketio import DefaultParser
from tests.hostile.raw import raw, text

class Forgetful(DefaultParser):
    def encode_ack(self, namespace, args, ack_id): ...

async def main():
    io = Server(parser=Forgetful())
    io.on("echo", lambda socket, value: value)
    running = await io.start(port=0)
    async with raw(f"http://127.0.0.1:{running.port}") as client:
        await client.join()
        await client.send(text('421["echo",1]'))
        assert await client.closed() == 1011
    await running.stop()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr


LAX = {
    "HTTP/1.0": ("GET {} HTTP/1.0", ()),
    "no version": ("GET {}", ()),
    "another protocol": ("GET {} HTTX", ()),
    "three words": ("GET {} x HTTP/1.1", ()),
    "no colon": ("GET {} HTTP/1.1", ("garbage",)),
    "no name": ("GET {} HTTP/1.1", (": x",)),
    "a name with a space": ("GET {} HTTP/1.1", ("a b: x",)),
    "a folded line": ("GET {} HTTP/1.1", ("X: a", "\tb")),
    "a NUL": ("GET {} HTTP/1.1", ("X: a\0b",)),
    "a bare LF": ("GET {} HTTP/1.1", ("X: a\nTransfer-Encoding: chunked",)),
    "a bare CR": ("GET {} HTTP/1.1", ("X: a\rb",)),
    "a bare LF that would be answered": ("GET {} HTTP/1.1", ("Sec-WebSocket-Protocol: a\nSet-Cookie: x=y",)),
}


@pytest.mark.feature("E12")
@pytest.mark.parametrize("pieces", [1, 2])
async def test_handshakes_that_parsers_disagree_on(pieces: int) -> None:
    """A head that is not HTTP/1.1 to the letter is refused, whether it comes in one piece or in two."""
    survivors: list[str] = []
    async with listening(Server()) as url:
        for name, (first, lines) in LAX.items():
            head = handshake(url, address(SOCKET, "websocket"), *lines)
            head = first.format(address(SOCKET, "websocket")).encode() + head[head.index(b"\r\n") :]
            async with connection(url) as client:
                await client.send(head[: len(head) // pieces])
                if pieces == 2:
                    await asyncio.sleep(0.01)
                    await client.send(head[len(head) // 2 :])
                answer = await before(DEADLINE, client.reader.readuntil(b"\r\n"), name)
                if b" 101 " in answer:
                    survivors.append(name)
    assert survivors == []


@pytest.mark.feature("A5")
@pytest.mark.parametrize("hooks", [False, True])
async def test_headers_that_are_none(hooks: bool) -> None:
    """A header of the program's own that cannot be written leaves no connection hanging and smuggles in no other."""

    async def allow(request: Any) -> bool:
        await asyncio.sleep(0)
        return True

    io = Server(**({"allow_request": allow} if hooks else {}))
    value = ""
    io.engine.on("headers", lambda headers, request: headers.append(("X-Mine", value)))
    async with listening(io) as url:
        for value in ("한", "a\r\nSet-Cookie: x=y"):
            async with connection(url) as client:
                await client.send(handshake(url, address(SOCKET, "websocket")))
                head = await before(DEADLINE, client.reader.readuntil(b"\r\n\r\n"), f"an answer to {value!r}")
                assert b"101" in head[:12]
                assert b"Set-Cookie" not in head
