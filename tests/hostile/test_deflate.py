"""Compressed WebSocket messages that break RFC 7692, or would be more than a message may be."""

from __future__ import annotations

import asyncio
import gc
import random
import socket as sockets
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import madang
from madang.engine.deflate_options import DeflateSettings
from madang.hosting.runtime import runtime_of
from madang.transports import deflating
from madang.transports.deflate import Deflater, Inflater
from tests.client.tools import Papers
from tests.conformance.wire import SOCKET, address, before
from tests.hostile.deflated import RSV1, TAIL, Deflated, deflated, extensions, packed
from tests.hostile.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Raw,
    connection,
    frame,
    handshake,
    raw,
    text,
)
from tests.hostile.test_leaks import in_thread, objects_of_madang
from tests.hostile.victim import attacked, make, until_nothing_is_held
from tests.hosts import listening

pytestmark = pytest.mark.feature("A12")

LIMIT = 100_000

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

EVENT = packed(b'42["echo",1]')

VIOLATIONS: dict[str, tuple[bytes, int]] = {
    "RSV1 on a ping": (frame(PING, EVENT, bits=RSV1), 1002),
    "RSV1 on a pong": (frame(PONG, bits=RSV1), 1002),
    "RSV1 on a close": (frame(CLOSE, b"\x03\xe8", bits=RSV1), 1002),
    "RSV1 on a continuation": (
        frame(TEXT, EVENT[:3], fin=False, bits=RSV1) + frame(CONTINUATION, EVENT[3:], bits=RSV1),
        1002,
    ),
    "RSV1 on the continuation of a plain message": (
        frame(TEXT, b"42[", fin=False) + frame(CONTINUATION, EVENT, bits=RSV1),
        1002,
    ),
    "a compressed message inside a fragmented one": (frame(TEXT, b"42[", fin=False) + frame(TEXT, EVENT, bits=4), 1002),
    "RSV1 and RSV2": (frame(TEXT, EVENT, bits=RSV1 | 2), 1002),
    "RSV1 and RSV3": (frame(TEXT, EVENT, bits=RSV1 | 1), 1002),
    "RSV2": (frame(TEXT, b'42["echo",1]', bits=2), 1002),
    "RSV1 on opcode 3": (frame(3, EVENT, bits=RSV1), 1002),
    "garbage": (frame(TEXT, b"\xff\xfe garbage", bits=RSV1), 1007),
    "plain text as compressed": (frame(TEXT, b'42["echo",1]', bits=RSV1), 1007),
    "no byte at all": (frame(TEXT, b"", bits=RSV1), 1007),
    "cut short": (frame(TEXT, EVENT[: len(EVENT) // 2], bits=RSV1), 1007),
    "but for its last byte": (frame(TEXT, packed(b'42["echo",1]' * 9, level=0)[:-3], bits=RSV1), 1007),
    "garbage behind a last block": (frame(TEXT, b"\x03\x00garbage", bits=RSV1), 1007),
    "a reference to what was not sent": (
        frame(TEXT, zlib.compressobj(wbits=-15, zdict=b"42" * 99).compress(b"") + b"\x02\x23\x00", bits=RSV1),
        1007,
    ),
    "fifty thousand last blocks": (frame(BINARY, b"\x03\x00" * 49_000, bits=RSV1), 1007),
    "text that is no UTF-8, compressed": (frame(TEXT, packed(b'42["echo","\xff"]'), bits=RSV1), 1002),
    "text that is no UTF-8, plain": (frame(TEXT, b'42["echo","\xff"]'), 1002),
    "a bomb": (frame(TEXT, packed(b"4" + b"2" * 50_000_000), bits=RSV1), 1009),
    "a bomb of bytes": (frame(BINARY, packed(bytes(50_000_000)), bits=RSV1), 1009),
    "a bomb in fragments": (
        frame(TEXT, packed(bytes(9_000_000))[:4000], fin=False, bits=RSV1)
        + frame(CONTINUATION, packed(bytes(9_000_000))[4000:]),
        1009,
    ),
    "one byte too much": (frame(TEXT, packed(b"4" * (LIMIT + 1)), bits=RSV1), 1009),
    "compressed bytes beyond the limit": (frame(TEXT, size=LIMIT + 1, bits=RSV1), 1009),
    "fragments of compressed bytes beyond the limit": (
        frame(TEXT, random.Random(1).randbytes(LIMIT - 10), fin=False, bits=RSV1) + frame(CONTINUATION, bytes(11)),
        1009,
    ),
}


@pytest.mark.parametrize("keeps", [False, True], ids=["no context", "context"])
async def test_violations(keeps: bool) -> None:
    """What breaks the rules ends its connection with the code for it, does nothing else, and disturbs nobody."""
    option = {"client_no_context_takeover": not keeps}
    codes: dict[str, int] = {}
    async with attacked("native", max_http_buffer_size=LIMIT, per_message_deflate=option) as victim:
        for name, (broken, _) in VIOLATIONS.items():
            async with deflated(victim.url) as client:
                await client.raw.send(broken, text('42["echo"]'))
                codes[name] = await before(2, client.raw.closed(), name)
        assert codes == {name: code for name, (_, code) in VIOLATIONS.items()}
        assert victim.heard == []


async def test_the_largest_message() -> None:
    """A message of just as many bytes as it may have is taken, in one frame and in fragments."""
    body = b'427["echo","%s"]'
    data = body % (b"x" * (LIMIT - len(body) + 2))
    assert len(data) == LIMIT
    async with (
        attacked("native", max_http_buffer_size=LIMIT, per_message_deflate=True) as victim,
        deflated(victim.url) as client,
    ):
        payload = packed(data)
        await client.raw.send(frame(TEXT, payload, bits=RSV1))
        await client.raw.send(frame(TEXT, payload[:9], fin=False, bits=RSV1), frame(CONTINUATION, payload[9:]))
        for _ in range(2):
            answer, compressed = await client.hear()
            assert answer == b"437" + data[len(b'427["echo",') - 1 :].replace(b',"', b'["', 1)
            assert compressed


@pytest.mark.parametrize("takeover", [False, True])
def test_no_more_memory_than_the_limit(takeover: bool) -> None:
    """A bomb takes memory for as much as a message may have, however large it would be."""
    bomb = packed(b"4" + b"2" * 500_000_000, level=1)
    inflater = Inflater(15, takeover)
    tracemalloc.start()
    try:
        assert inflater.inflate(bomb, LIMIT) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(bomb) + 4 * LIMIT


def test_last_blocks_are_counted() -> None:
    """Each last block costs a new start, so a message may have some, and not thousands."""
    inflater = Inflater()
    some = b"\x03\x00" * 60
    assert inflater.inflate(some + b"\x00", LIMIT) == b""
    with pytest.raises(zlib.error, match="too many last blocks"):
        inflater.inflate(some + some, LIMIT)


async def test_a_context_survives_a_slow_reader() -> None:
    """Messages that are dropped for a slow client are not part of its context: what it gets later, it can read."""
    io = madang.Server(
        per_message_deflate={"threshold": 100, "server_no_context_takeover": False},
        outbound_limit=1_000_000,
        slow_client="drop",
    )
    same = random.Random(1).randbytes(20_000).hex()
    async with listening(io) as url, raw(url, SOCKET, OFFER, receive_buffer=4096) as slow:
        client = Deflated(slow)
        await slow.join()
        assert client.server_keeps
        (session,) = io.engine.sessions.values()
        for number in range(1000):
            io.emit("news", number, random.Random(number).randbytes(20_000).hex(), same)
            if session.dropped > 50:
                break
            await asyncio.sleep(0)
        assert session.dropped > 50
        assert session.buffered < 2_000_000
        heard: list[bytes] = []
        while True:
            message, _ = await client.hear()
            heard.append(message)
            if len(heard) > 5 and session.buffered == 0:
                break
        io.emit("news", "after", same)
        while b'"after"' not in message:
            message, compressed = await client.hear()
        assert compressed
        assert message == f'42["news","after","{same}"]'.encode()


class TestLarge:
    """Large messages are compressed in a thread."""

    async def test_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is sent behind a large message arrives behind it, compressed or not; a broadcast is compressed once."""
        threads: list[threading.Thread] = []
        plain_frame = deflating.deflated_frame

        def noted(encoded: Any, deflater: Deflater) -> bytes:
            threads.append(threading.current_thread())
            return plain_frame(encoded, deflater)

        monkeypatch.setattr(deflating, "deflated_frame", noted)
        io = madang.Server(per_message_deflate=True)
        async with listening(io) as url, deflated(url) as first, deflated(url) as second:
            sockets = list(io.sockets.values())
            io.emit("large", "x" * 300_000)
            assert [socket.conn.buffered > 300_000 for socket in sockets] == [True, True]
            assert [socket.conn.transport.writable for socket in sockets] == [False, False]
            io.volatile.emit("lost")
            io.emit("small")
            io.compress(False).emit("plain", "y" * 3000)
            io.emit("medium", "z" * 3000)
            io.emit("bytes", bytes(200_000))
            for client in (first, second):
                heard = [await client.hear() for _ in range(6)]
                assert [len(message) for message, _ in heard] == [300_014, 11, 3014, 3015, 43, 200_000]
                assert [bool(size) for _, size in heard] == [True, False, False, True, False, True]
            assert [thread is threading.main_thread() for thread in threads] == [False, True, False]
            await before(5, _calm(io), "that nothing waits")

    async def test_close_behind_it(self) -> None:
        """A server that disconnects a client right behind a large message sends that first, in whatever form."""
        io = madang.Server(per_message_deflate=True)
        async with listening(io) as url, deflated(url) as client:
            io.emit("large", "x" * 300_000)
            io.emit("small")
            io.disconnect_sockets(close=True)
            assert len((await client.hear())[0]) == 300_014
            assert (await client.hear())[0] == b'42["small"]'
            assert await client.raw.closed() in (1000, 1005)

    async def test_a_client_that_goes(self) -> None:
        """A client that goes while something is compressed for it leaves nothing, and the others get theirs."""
        async with attacked("native", per_message_deflate=True) as victim, deflated(victim.url) as stays:
            for _ in range(3):
                async with deflated(victim.url) as goes:
                    victim.io.emit("large", "x" * 300_000)
                    goes.raw.reset()
                    await victim.ended()
                assert len((await stays.hear())[0]) == 300_014
            await stays.served()

    async def test_what_cannot_be_compressed(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If compressing fails, the connection ends, so that nothing is missing in between; the server goes on."""

        def failing(*_: Any) -> bytes:
            raise MemoryError("no memory for the compressor")

        io = madang.Server(per_message_deflate=True)
        reasons: asyncio.Queue[str] = asyncio.Queue()

        @io.on("disconnect")
        def gone(socket: Any, reason: str) -> None:
            reasons.put_nowait(reason)

        running = await io.start(port=0)
        try:
            async with deflated(running.url) as client:
                with monkeypatch.context() as patch:
                    patch.setattr(deflating, "deflated_frame", failing)
                    io.emit("large", "x" * 300_000)
                    assert await before(5, reasons.get(), "the end") == "transport close"
                assert await client.raw.closed() == 1006
            assert "no memory for the compressor" in caplog.text
            async with deflated(running.url) as client:
                io.emit("large", "x" * 300_000)
                assert len((await client.hear())[0]) == 300_014
        finally:
            await running.stop()

    async def test_the_bound_on_what_waits(self) -> None:
        """What waits to be compressed counts against `outbound_limit`."""
        io = madang.Server(per_message_deflate=True, outbound_limit=1_000_000, slow_client="drop")
        async with listening(io) as url, deflated(url) as client:
            (session,) = io.engine.sessions.values()
            for number in range(10):
                io.emit("large", number, "x" * 300_000)
            assert session.dropped == 6
            assert session.buffered < 1_400_000
            assert [(await client.hear())[0][:11] for _ in range(4)] == [b'42["large",' for _ in range(4)]
            await before(5, _calm(io), "that nothing waits")

    async def test_threads_end(self) -> None:
        """With the last compressed connection the threads end."""
        io = madang.Server(per_message_deflate=True)
        async with listening(io) as url:
            async with deflated(url) as client:
                io.emit("large", "x" * 300_000)
                await client.hear()
                assert _threads()
            await before(5, _until(lambda: not _threads()), "the end of the threads")


LARGE = frame(TEXT, packed(b'42["large","' + b"x" * 900_000 + b'"]', level=9), bits=RSV1)

ATTACKS: tuple[tuple[bytes, ...], ...] = (
    (),
    (text("40"), frame(TEXT, packed(b'42["echo",1]'), bits=RSV1)),
    (text("40"), *[LARGE] * 3),
    (text("40"), *[LARGE] * 3, frame(CLOSE, b"\x03\xe8")),
    (text("40"), frame(TEXT, packed(b'42["echo",1]')[:5], fin=False, bits=RSV1)),
    (text("40"), frame(TEXT, b"garbage", bits=RSV1)),
    (text("40"), *[LARGE] * 3, text("41"), *[LARGE] * 3),
)


async def test_nothing_is_left() -> None:
    """Hundreds of clients that misbehave, and go while much waits for them or of them, leave no object behind."""
    async with attacked("native", per_message_deflate=True, max_http_buffer_size=1_000_000) as victim:
        request = handshake(victim.url, address(SOCKET, "websocket"), OFFER)

        async def attack(number: int) -> None:
            async with connection(victim.url) as client:
                await client.send(request, *ATTACKS[number % len(ATTACKS)])
                await client.reader.readuntil(b"\r\n\r\n")
                if number % 3 == 0:
                    victim.io.emit("large", "x" * 100_000)
                client.reset()

        async def wave(count: int) -> None:
            for begin in range(0, count, 20):
                await asyncio.gather(*map(attack, range(begin, begin + 20)))
            await before(20, _until(lambda: len(victim.io.engine.sessions) == 1), "the end of all")

        await wave(40)
        await asyncio.sleep(0.05)
        gc.collect()
        held, tasks = objects_of_madang(), len(asyncio.all_tasks())
        await wave(300)
        await before(20, _until(lambda: not _threads()), "the end of the threads")
        gc.collect()
        grown = {kind: count for kind, count in (objects_of_madang() - held).items() if count > 2}
        assert not grown
        assert len(asyncio.all_tasks()) <= tasks + 1


def talk(url: str) -> None:
    """A client in a thread: connect, send something large, read until the server has answered, and go."""
    where = urlsplit(url)
    with sockets.create_connection((where.hostname, where.port), timeout=5) as plain:
        plain.sendall(handshake(url, address(SOCKET, "websocket"), OFFER) + text("40") + LARGE + text('427["echo",1]'))
        answer = b""
        while b"437[1]" not in answer:
            answer += plain.recv(65536)


async def test_no_cycles() -> None:
    """A compressed connection that came, was answered and went is freed at once, without the collector."""
    victim = make("native", per_message_deflate={"server_no_context_takeover": False})
    async with listening(victim.io) as url:
        await in_thread(talk, url)
        await until_nothing_is_held(victim.io)
        victim.ends.get_nowait()
        gc.collect()
        gc.disable()
        try:
            held = objects_of_madang()
            for _ in range(10):
                await in_thread(talk, url)
                await until_nothing_is_held(victim.io)
            await asyncio.sleep(0.02)
            left = {kind: count for kind, count in (objects_of_madang() - held).items() if count > 1}
        finally:
            gc.enable()
        assert not left


class TestTurns:
    """A few bytes that become many do not hold up others, and nothing of them is lost."""

    @pytest.fixture(params=["tcp", "tls"])
    async def flooded(
        self, request: pytest.FixtureRequest, papers: Papers
    ) -> AsyncIterator[tuple[Noting, Raw, asyncio.StreamWriter]]:
        """A server that notes the turns in which large messages come, and a client that has agreed on compression."""
        noting = Noting()
        secure = request.param == "tls"
        cert, key = papers.server if secure else (None, None)
        running = await noting.io.start(port=0, ssl_certfile=cert, ssl_keyfile=key)
        trust = papers.trusting() if secure else None
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=trust)
        client = Raw(reader, writer)
        await client.send(handshake(running.url, address(SOCKET, "websocket"), OFFER))
        client.head = await before(5, reader.readuntil(b"\r\n\r\n"), "the response 101")
        assert extensions(client.head)
        await client.receive()
        await client.join()
        try:
            yield noting, client, writer
        finally:
            writer.close()
            await running.stop()

    async def test_one_large_message_a_turn(self, flooded: tuple[Noting, Raw, Any]) -> None:
        """Of messages that are large once they are undone, each is handled in a turn of its own, in order."""
        noting, client, _ = flooded
        await client.send(*[LARGE, text('42["small"]')] * 100)
        await before(20, noting.count(200), "all messages")
        assert [size for size, _ in noting.heard] == [900_000, 0] * 100
        turns = [turn for size, turn in noting.heard if size]
        assert len(set(turns)) == 100

    async def test_an_end_behind_them(self, flooded: tuple[Noting, Raw, asyncio.StreamWriter]) -> None:
        """Of a client that goes right behind them, all is handled before its end is told."""
        noting, client, writer = flooded
        await client.send(*[LARGE] * 30)
        writer.close()
        assert await before(20, noting.ends.get(), "the end") == ("transport close", 30)

    async def test_a_close_behind_them(self, flooded: tuple[Noting, Raw, Any]) -> None:
        """A close frame behind them waits for its turn too, and is answered."""
        noting, client, _ = flooded
        await client.send(*[LARGE] * 30, frame(CLOSE, b"\x03\xe8"), text('42["small"]'))
        assert await client.closed() == 1000
        assert await before(20, noting.ends.get(), "the end") == ("transport close", 30)

    async def test_the_server_closes_among_them(self, flooded: tuple[Noting, Raw, Any]) -> None:
        """If the server ends the connection at one of them, those behind it are not handled."""
        noting, client, _ = flooded
        noting.close_at = 5
        await client.send(*[LARGE] * 30, frame(CLOSE, b"\x03\xe8"))
        assert await client.closed() in (1000, 1005)
        assert await before(20, noting.ends.get(), "the end") == ("server namespace disconnect", 5)

    async def test_the_server_closes_one_that_has_gone(
        self, flooded: tuple[Noting, Raw, asyncio.StreamWriter], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same of a client that has gone already, and whose messages still wait for their turn."""
        noting, client, writer = flooded
        noting.close_at = 20
        await client.send(*[LARGE] * 60)
        writer.close()
        assert await before(20, noting.ends.get(), "the end") == ("server namespace disconnect", 20)
        await before(5, _until(lambda: not noting.io.engine.sessions), "the end of the session")
        assert not caplog.records

    async def test_a_violation_among_them(self, flooded: tuple[Noting, Raw, Any]) -> None:
        """A violation ends the connection when its turn has come, and nothing behind it is handled."""
        noting, client, _ = flooded
        await client.send(*[LARGE] * 5, frame(TEXT, b"garbage", bits=RSV1), *[LARGE] * 5)
        assert await client.closed() == 1007
        assert await before(20, noting.ends.get(), "the end") == ("transport error", 5)

    async def test_while_reading_is_paused(self, flooded: tuple[Noting, Raw, Any]) -> None:
        """While nothing is to be read, what has been read already waits, and goes on in order afterwards."""
        noting, client, _ = flooded
        (session,) = noting.io.engine.sessions.values()
        noting.pause_at = 3
        await client.send(*[LARGE] * 10, text('42["small"]'))
        await before(20, noting.count(3), "three messages")
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(noting.heard) == 3
        session.resume_reading()
        await before(20, noting.count(11), "the others")
        assert [size for size, _ in noting.heard] == [900_000] * 10 + [0]


class Noting:
    """A server that notes the size of each message and the turn of the loop in which it came, and the ends."""

    def __init__(self) -> None:
        self.io = madang.Server(per_message_deflate=True)
        self.heard: list[tuple[int, int]] = []
        self.ends: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.close_at = self.pause_at = -1
        self._more = asyncio.Event()
        self.io.on("large", self._heard)
        self.io.on("small", self._heard)
        self.io.on("disconnect", lambda socket, reason: self.ends.put_nowait((reason, len(self.heard))))

    def _heard(self, socket: Any, data: str = "") -> None:
        outbox = runtime_of(self.io.engine)._deflating
        assert outbox is not None
        self.heard.append((len(data), outbox.turn))
        self._more.set()
        if len(self.heard) == self.close_at:
            socket.emit("bye", data)  # which has nowhere to go if the client has gone
            socket.disconnect(close=True)
        if len(self.heard) == self.pause_at:
            socket.conn.pause_reading()

    async def count(self, number: int) -> None:
        """Wait for so many messages."""
        while len(self.heard) < number:
            self._more.clear()
            await self._more.wait()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates."""
    return Papers(tmp_path_factory.mktemp("papers"))


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("madang-deflate")]


async def _until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0.01)


async def _calm(io: madang.Server) -> None:
    await _until(lambda: not any(session.buffered for session in io.engine.sessions.values()))


def test_the_same_window_shares_a_compressor() -> None:
    """Two connections with no context and the same window have one compressor; it can be used from several threads."""
    loop = asyncio.new_event_loop()
    try:
        outbox = deflating.DeflatingOutbox(loop, DeflateSettings())
        assert outbox.deflater(15, False) is outbox.deflater(15, False)
        assert outbox.deflater(15, False) is not outbox.deflater(14, False)
        assert outbox.deflater(15, True) is not outbox.deflater(15, True)
        deflater = outbox.deflater(15, False)
        assert {deflater.deflate(b"x" * 99) for _ in range(3)} == {packed(b"x" * 99)}
        assert zlib.decompressobj(-15).decompress(deflater.deflate(b"y" * 99) + TAIL) == b"y" * 99
    finally:
        loop.close()
