"""Compression of WebSocket messages: agreed on, from a threshold on, and bounded when it is undone."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import madang
from tests.client.tools import QUICK, SOON, WEBSOCKET, Heard, gated, joined

pytestmark = pytest.mark.feature("V27")

HANDSHAKE = '0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


class Peer:
    """A WebSocket server that lets anyone in, echoes events, and notes how large each frame was."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.frames: list[tuple[int, bool]] = []
        self.extensions: list[str] = []
        self.connection: Any = None
        self.url = ""

    async def talk(self, connection: ServerConnection) -> None:
        self.connection = connection
        assert connection.response is not None
        self.extensions.append(connection.response.headers.get("Sec-WebSocket-Extensions", ""))
        decode = {id(one): one.decode for one in connection.protocol.extensions}
        for one in connection.protocol.extensions:

            def noted(frame: Any, *, max_size: int | None = None, one: Any = one) -> Any:
                self.frames.append((len(frame.data), frame.rsv1))
                return decode[id(one)](frame, max_size=max_size)

            one.decode = noted  # type: ignore[method-assign]
        await connection.send(HANDSHAKE)
        async for message in connection:
            self.heard.append(message)
            if message == "40":
                await connection.send('40{"sid":"me"}')
            elif isinstance(message, str) and message.startswith("42"):
                await connection.send(message)

    def write(self, opcode: int, payload: bytes, *, compressed: bool = True, fin: bool = True) -> None:
        """A frame of any kind."""
        first = opcode | (0x40 if compressed else 0) | (0x80 if fin else 0)
        size = len(payload)
        if size < 126:
            head = bytes((first, size))
        elif size < 65536:
            head = struct.pack(">BBH", first, 126, size)
        else:
            head = struct.pack(">BBQ", first, 127, size)
        self.connection.transport.write(head + payload)


@asynccontextmanager
async def peer(compression: str | None = "deflate") -> AsyncIterator[Peer]:
    it = Peer()
    async with serve(it.talk, "127.0.0.1", 0, compression=compression, close_timeout=0.5) as server:
        it.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield it


@pytest.fixture
async def deflating() -> AsyncIterator[tuple[Peer, madang.Client]]:
    """A server that compresses, and a client whose messages have at most 100 000 bytes."""
    async with (
        peer() as it,
        joined(it.url, transports=WEBSOCKET, per_message_deflate=True, max_http_buffer_size=100_000) as client,
    ):
        yield it, client


def packed(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


@pytest.mark.parametrize(("option", "threshold"), [(True, 1024), ({"threshold": 100}, 100), ({"threshold": 0}, 0)])
async def test_the_threshold(option: Any, threshold: int):
    """Messages from the threshold on are compressed, smaller ones and those with `compress(False)` are not."""
    async with peer() as it, joined(it.url, transports=WEBSOCKET, per_message_deflate=option) as client:
        assert it.extensions[0].startswith("permessage-deflate")
        events = client.events("e")
        sizes = [threshold, max(threshold - 1, 10)]
        for size in sizes:
            text = "x" * max(size - len('42["e",""]'), 0)
            client.emit("e", text)
            assert (await events.receive(SOON)).args == (text,)
        client.compress(False).emit("e", "x" * 3000)
        assert (await events.receive(SOON)).args == ("x" * 3000,)
        small = [compressed for _, compressed in it.frames[1:]]
        assert small == [True, threshold == 0, False]


async def test_bytes():
    """Attachments are compressed as text is."""
    async with peer() as it, joined(it.url, transports=WEBSOCKET, per_message_deflate=True) as client:
        client.emit("e", b"\x00" * 5000, b"\x01" * 10)
        async with asyncio.timeout(SOON):
            while len(it.heard) < 4:
                await asyncio.sleep(0.005)
        assert it.heard[2:] == [b"\x00" * 5000, b"\x01" * 10]
        assert [compressed for _, compressed in it.frames] == [False, False, True, False]
        assert it.frames[2][0] < 100


@pytest.mark.parametrize("option", [True, False])
async def test_only_if_both_want_it(option: bool):
    """Without the option it is not offered; a server that does not want it is spoken to as usual."""
    async with peer("deflate" if not option else None) as it:
        async with joined(it.url, transports=WEBSOCKET, per_message_deflate=option) as client:
            events = client.events("e")
            client.emit("e", "x" * 5000)
            assert (await events.receive(SOON)).args == ("x" * 5000,)
        assert it.extensions == [""]


async def test_with_another_server():
    """Compressed messages of another implementation are understood, and it understands ours."""
    async with gated() as gate, joined(gate.url, transports=WEBSOCKET, per_message_deflate=True) as client:
        offered = gate.asked[0].headers["sec-websocket-extensions"]
        assert "client_no_context_takeover" in offered
        assert "server_no_context_takeover" in offered
        for size in (10, 2000, 500_000):
            text, data = "한" * (size // 3), bytes(range(256)) * (size // 256)
            assert await client.emit_with_ack("ask", text, data, timeout=SOON) == (text, data)


def by_hand(answer: str) -> Any:
    """A `process_response` of websockets that answers about extensions what a test says."""

    def process(connection: ServerConnection, request: Any, response: Any) -> Any:
        response.headers["Sec-WebSocket-Extensions"] = answer
        return response

    return process


@asynccontextmanager
async def answering(answer: str) -> AsyncIterator[Peer]:
    """A server that answers any offer like that, and leaves the frames to the test."""
    it = Peer()
    async with serve(
        it.talk, "127.0.0.1", 0, compression=None, process_response=by_hand(answer), close_timeout=0.5
    ) as server:
        it.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield it


async def refused_by(answer: str) -> str:
    """What a client says of a server that answers its offer like that; empty if it connects."""
    async with answering(answer) as it:
        client = madang.Client(it.url, transports=WEBSOCKET, per_message_deflate=True, reconnection=False)
        errors = Heard()
        client.on("connect_error", lambda error: errors(str(error)))
        client.on("connect", lambda: errors(""))
        try:
            return str((await errors.count(1))[0][0])
        finally:
            await client.close()


NAME = "permessage-deflate"


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (f"{NAME}; client_max_window_bits=15", "a parameter of permessage-deflate that was not offered"),
        (f"{NAME}; client_max_window_bits", "a parameter of permessage-deflate that was not offered"),
        (f"{NAME}; mystery", "unknown, invalid or repeated"),
        (f"{NAME}; server_no_context_takeover=1", "unknown, invalid or repeated"),
        (f"{NAME}; server_max_window_bits", "unknown, invalid or repeated"),
        (f"{NAME}; server_max_window_bits=7", "unknown, invalid or repeated"),
        (f"{NAME}; server_max_window_bits=16", "unknown, invalid or repeated"),
        (f"{NAME}; server_no_context_takeover; server_no_context_takeover", "unknown, invalid or repeated"),
        (f"{NAME}, {NAME}", "an extension that was not offered"),
        (f"{NAME}-2", "an extension that was not offered"),
        (f"{NAME}, x-more", "an extension that was not offered"),
        (f"{NAME};;", "cannot be read"),
    ],
)
async def test_answers_that_cannot_be(answer: str, wrong: str):
    """A server that agrees on something else than was offered is refused, in words that say what it has answered."""
    told = await refused_by(answer)
    assert wrong in told
    assert answer in told


@pytest.mark.parametrize(
    "answer",
    [
        NAME,
        f"{NAME}; server_no_context_takeover",
        f"{NAME}; client_no_context_takeover; server_no_context_takeover",
        f'{NAME}; server_no_context_takeover; server_max_window_bits="8"',
    ],
)
async def test_answers_that_can_be(answer: str):
    """What a server may answer to the offer is accepted."""
    assert await refused_by(answer) == ""


async def test_a_server_that_keeps_its_context():
    """A server that does not promise to forget is understood all the same when it refers to earlier messages."""
    async with answering(NAME) as it, joined(it.url, transports=WEBSOCKET, per_message_deflate=True) as client:
        events = client.events("e")
        text = bytes(range(35, 91)).decode()
        deflate = zlib.compressobj(wbits=-15)
        sizes: list[int] = []
        for _ in range(3):
            data = deflate.compress(f'42["e","{text}"]'.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
            sizes.append(len(data))
            it.write(1, data.removesuffix(b"\x00\x00\xff\xff"))
            assert (await events.receive(SOON)).args == (text,)
        assert sizes[2] < sizes[0] / 2


async def test_data_behind_a_last_block(deflating: tuple[Peer, madang.Client]):
    """A message may go on behind a last block, and nothing of it is lost; what is no deflate ends the connection."""
    it, client = deflating
    events = client.events("e")
    last = zlib.compressobj(wbits=-15)
    first = last.compress(b'42["e","one') + last.flush()
    it.write(1, first + packed(b' two"]'))
    assert (await events.receive(SOON)).args == ("one two",)
    it.write(1, first + b"\xff\xff no deflate")
    reason, description = await ended(client)
    assert reason == "transport error"
    assert "cannot be decompressed" in description


async def test_a_message_cut_short(deflating: tuple[Peer, madang.Client]):
    """A compressed message without its end is no message."""
    it, client = deflating
    it.write(1, packed(b'42["e","%s"]' % b"abcdefgh" * 9)[:-4])
    assert "cannot be decompressed: " in (await ended(client))[1]


async def ended(client: madang.Client) -> tuple[str, str]:
    ends = Heard()
    client.on("disconnect", lambda reason, description: ends(reason, str(description)))
    client.manager.reconnection = False
    return (await ends.count(1))[0]  # type: ignore[return-value]


async def test_a_bomb(deflating: tuple[Peer, madang.Client]):
    """A few bytes that would become many megabytes end the connection before they do."""
    it, client = deflating
    bomb = packed(b"4" + b"2" * 50_000_000)
    assert len(bomb) < 100_000
    it.write(1, bomb)
    reason, description = await ended(client)
    assert reason == "transport error"
    assert "larger than max_http_buffer_size" in description


async def test_just_within_the_bound(deflating: tuple[Peer, madang.Client]):
    """A message that has just as many bytes as it may is taken; one more ends the connection."""
    it, client = deflating
    events = client.events("e")
    body = b'42["e","%s"]'
    it.write(1, packed(body % (b"x" * (100_000 - len(body) + 2))))
    (text,) = (await events.receive(SOON)).args
    assert len(text) == 100_000 - len(body) + 2
    it.write(1, packed(body % (b"x" * (100_000 - len(body) + 3))))
    assert (await ended(client))[0] == "transport error"


@pytest.mark.parametrize(
    ("opcode", "payload", "fin"),
    [(1, b"\xff\xff\xff no deflate", True), (9, b"ping", True)],
    ids=["garbage", "a compressed ping"],
)
async def test_what_cannot_be(opcode: int, payload: bytes, fin: bool, deflating: tuple[Peer, madang.Client]):
    """What cannot be decompressed, or may not be compressed, ends the connection."""
    it, client = deflating
    it.write(opcode, payload, fin=fin)
    assert (await ended(client))[0] == "transport error"


async def test_fragments(deflating: tuple[Peer, madang.Client]):
    """A compressed message may come in fragments: only the first says that it is compressed."""
    it, client = deflating
    events = client.events("e")
    data = packed(b'42["e","%s"]' % (b"x" * 5000))
    it.write(1, data[:10], fin=False)
    it.write(0, data[10:], compressed=False)
    assert (await events.receive(SOON)).args == ("x" * 5000,)


async def test_compressed_without_agreement():
    """A compressed message where none was agreed on ends the connection."""
    async with peer(None) as it, joined(it.url, transports=WEBSOCKET, **QUICK) as client:
        it.write(1, packed(b'42["e"]'))
        assert (await ended(client))[0] == "transport error"
