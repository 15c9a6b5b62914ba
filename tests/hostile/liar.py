"""A lying server: raw TCP, on which each session of a client is told one lie, until the server becomes honest.

A lie speaks with one connection (over WebSocket) or answers the requests of one session (over polling). When all lies
have been told, what comes to the same port is led to a good server, which the client must reach by itself.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import madang
from tests.client.tools import POLLING, QUICK, SOON, WEBSOCKET, echo_server, pipe, port_of, tcp
from tests.hostile.raw import BINARY, CLOSE, TEXT, frame
from tests.hosts import listening

OPEN: Final = '0{"sid":"liar","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
JOINED: Final = '40{"sid":"of the liar"}'
INTERNAL_ERROR: Final = 1011
"""What a client sends if an exception of its own has got as far as the WebSocket."""


class Victim:
    """One connection of a client, on which a lie is told."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.reader = reader
        self.writer = writer
        self.code: int | None = None

    @property
    def key(self) -> bytes:
        """The client's Sec-WebSocket-Key."""
        return self.head.lower().partition(b"sec-websocket-key: ")[2] and next(
            line.partition(b": ")[2]
            for line in self.head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )

    async def say(self, *data: bytes) -> None:
        """Send bytes as they are; a client that has gone is no error."""
        with suppress(ConnectionError):
            for part in data:
                self.writer.write(part)
                await self.writer.drain()

    async def accept(self, *headers: str, key: bytes | None = None) -> None:
        """Answer the WebSocket's handshake, for the given key."""
        digest = hashlib.sha1((key or self.key) + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", *headers]
        lines.append(f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}")
        await self.say("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send(self, *packets: str | bytes) -> None:
        """Send packets, each in a frame: text as text, bytes as bytes."""
        await self.say(b"".join(in_frame(packet) for packet in packets))

    async def join(self, opening: str = OPEN, joined: str = JOINED) -> None:
        """Behave up to the joined namespace."""
        await self.accept()
        await self.send(opening)
        assert await self.text() == b"40"
        await self.send(joined)

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the client's next frame."""
        async with asyncio.timeout(SOON):
            first, size = await self.reader.readexactly(2)
            size &= 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            mask = await self.reader.readexactly(4)
            payload = await self.reader.readexactly(size)
        plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        if first & 0x0F == CLOSE:
            self.code = int.from_bytes(plain[:2], "big") if plain else 1005
        return first & 0x0F, plain

    async def text(self) -> bytes:
        """The client's next packet of text that is no pong."""
        while True:
            opcode, payload = await self.receive()
            if opcode == CLOSE:
                raise ConnectionError("the client has closed")
            if opcode == TEXT and payload != b"3":
                return payload

    async def goes_on(self) -> None:
        """See that the client still answers."""
        await self.send('4277["age"]')
        assert await self.text() == b"4377[7]"

    async def gone(self) -> None:
        """Read until the client closes, and answer its close frame."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    await self.say(frame(CLOSE, payload[:2], masked=False))


def in_frame(packet: str | bytes) -> bytes:
    """A packet as a server frames it."""
    if isinstance(packet, str):
        return frame(TEXT, packet.encode("utf-8", "surrogatepass"), masked=False)
    return frame(BINARY, packet, masked=False)


Lie = Callable[[Victim], Awaitable[object]]


def packets_that(end: bool, *packets: str | bytes) -> Lie:
    """A lie: join, send packets, and see that the client ends the session, or that it goes on."""

    async def lie(victim: Victim) -> None:
        await victim.join()
        await victim.send(*packets)
        await (victim.gone() if end else victim.goes_on())

    return lie


class Answers:
    """A lie over polling: what each poll of a session is answered with, as whole responses, and each POST."""

    def __init__(self, *answers: bytes, posts: bytes | None = None) -> None:
        self.answers = list(answers)
        self.posts = posts if posts is not None else response(b"ok")
        self.posted: list[bytes] = []

    async def __call__(self, victim: Victim) -> None:
        method, _, rest = victim.head.partition(b" ")
        if method == b"POST":
            size = int(next(line for line in rest.lower().split(b"\r\n") if line.startswith(b"content-length"))[15:])
            self.posted.append(await victim.reader.readexactly(size))
            await victim.say(self.posts)
            return
        if not self.answers:
            await victim.reader.read()  # a poll that nothing comes to
            return
        await victim.say(self.answers.pop(0))


def response(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole response, after which the connection is closed."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def polled(*payloads: str | bytes, opening: str = OPEN, joined: str = JOINED) -> Answers:
    """A lie over polling: behave up to the joined namespace, then answer polls with the payloads."""
    bodies = [payload.encode() if isinstance(payload, str) else payload for payload in (opening, joined, *payloads)]
    return Answers(*map(response, bodies))


class Told:
    """What became of a lie.

    Attributes:
        reasons: what the manager told of: ``close`` reasons, and the errors of attempts.
        descriptions: what was said beside.
        code: the client's close code over WebSocket.
        failure: what the lie has raised; it did not go as the test thought.
    """

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.descriptions: list[str] = []
        self.code: int | None = None
        self.failure: BaseException | None = None

    @property
    def reason(self) -> str:
        """The one reason; an attempt that has failed is ``failed``."""
        assert self.failure is None, repr(self.failure)
        assert self.code != INTERNAL_ERROR, "an exception was raised in a callback of the WebSocket"
        assert self.reasons, "the session did not end"
        return self.reasons[-1]


class Liar:
    """The server; see the module."""

    def __init__(self, lies: Iterable[Lie], good: int) -> None:
        self.lies = list(lies)
        self.good = good
        self.told: list[Told] = []
        self.answering: Lie | None = None
        self.honest = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        if b"&sid=" not in head.partition(b"\r\n")[0]:
            self.answering = self.lies.pop(0) if self.lies else None
            if self.answering is not None:
                self.told.append(Told())
            else:
                self.honest.set()
        if self.answering is None:
            await pipe(_Again(head, reader), writer, "127.0.0.1", self.good)  # type: ignore[arg-type]
            return
        told, victim = self.told[-1], Victim(head, reader, writer)
        try:
            await self.answering(victim)
        except BaseException as error:
            told.failure = error if not isinstance(error, asyncio.CancelledError) else told.failure
            raise
        finally:
            told.code = victim.code

    def watch(self, client: madang.Client) -> None:
        """Note what the client tells of its connection."""

        def failed(error: madang.ConnectionFailed) -> None:
            if not self.honest.is_set():
                self.told[-1].reasons.append("failed")
                self.told[-1].descriptions.append(str(error))

        def closed(reason: str, description: object) -> None:
            if not self.honest.is_set():
                self.told[-1].reasons.append(reason)
                self.told[-1].descriptions.append(str(description))

        client.manager.on("error", failed)
        client.manager.on("close", closed)


class _Again:
    """A reader that gives a head again, before what follows."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self.head = head
        self.reader = reader

    async def read(self, size: int) -> bytes:
        head, self.head = self.head, b""
        return head or await self.reader.read(size)


async def endure(*lies: Lie, seconds: float = 20.0, setup: Any = None, **options: Any) -> list[Told]:
    """Let a client hear all lies, one after the other, and then reach a good server; what became of each lie.

    Nothing may reach the loop's exception handler meanwhile, and no task be left behind.
    """
    before = asyncio.all_tasks()
    async with listening(echo_server()) as good:
        liar = Liar(lies, port_of(good))
        async with tcp(liar.talk) as port, asyncio.timeout(seconds):
            client = madang.Client(f"http://127.0.0.1:{port}", **(QUICK | {"transports": WEBSOCKET} | options))
            client.on("age", lambda: 7)

            def come_back(*_: object) -> None:
                if not client.active:
                    client.connect()

            client.on("disconnect", come_back)
            client.on("connect_error", come_back)
            liar.watch(client)
            if setup is not None:
                setup(client)
            try:
                await liar.honest.wait()
                async with asyncio.timeout(SOON):
                    while not client.is_connected:
                        await asyncio.sleep(0.005)
                    assert await client.emit_with_ack("ask", "are you good?") == "are you good?"
            finally:
                client.off("disconnect", come_back)
                await client.close()
    left = {task for task in asyncio.all_tasks() - before if "madang" in repr(task)}
    assert not left, left
    return liar.told


async def endure_polling(*lies: Lie, **options: Any) -> list[Told]:
    """The same over polling."""
    return await endure(*lies, **({"transports": POLLING} | options))
