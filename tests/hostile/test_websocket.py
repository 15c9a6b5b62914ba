"""WebSocket frames that break RFC 6455 or a limit."""

from __future__ import annotations

import gc

import pytest

from madang.engine import Engine
from madang.hosting.runtime import runtime_of
from tests.conformance.wire import DEADLINE, before
from tests.hostile.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame, raw, text
from tests.hostile.victim import Victim, attacked
from tests.hosts import Host

LIMIT = 10_000

BROKEN = {
    "RSV1": frame(TEXT, b'42["echo"]', bits=4),
    "RSV2": frame(TEXT, b'42["echo"]', bits=2),
    "RSV3": frame(BINARY, b"x", bits=1),
    "RSV1 on a ping": frame(PING, bits=4),
    "opcode 3": frame(3, b"x"),
    "opcode 7": frame(7),
    "opcode 11": frame(11, b"x"),
    "opcode 15": frame(15),
    "fragmented ping": frame(PING, b"x", fin=False),
    "fragmented close": frame(CLOSE, b"", fin=False),
    "long ping": frame(PING, b"x" * 126),
    "continuation of nothing": frame(CONTINUATION, b'42["echo"]'),
    "text inside a fragmented text": frame(TEXT, b'42["echo",', fin=False) + frame(TEXT, b"1]"),
    "bytes inside a fragmented text": frame(TEXT, b'42["echo",', fin=False) + frame(BINARY, b"x"),
    "unmasked": frame(TEXT, b'42["echo"]', masked=False),
}


@pytest.mark.feature("E12")
async def test_broken_frames(host: Host) -> None:
    """A frame that breaks RFC 6455 closes its connection with code 1002 and does nothing else."""
    survivors: list[str] = []
    async with attacked(host) as victim:
        for name, broken in BROKEN.items():
            async with raw(victim.url) as client:
                await client.join()
                await client.send(broken, text('42["echo"]'))
                try:
                    code = await before(0.5, client.closed(), name)
                except AssertionError:
                    survivors.append(f"{name}: not closed")
                else:
                    if code != 1002:
                        survivors.append(f"{name}: {code}")
        assert not survivors
        assert victim.heard == []


@pytest.mark.feature("E5", "A10")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_oversized_frame(host: Host, opcode: int) -> None:
    """A frame over the limit closes with 1009, and nothing of it reaches the program."""
    async with attacked(host, max_http_buffer_size=LIMIT) as victim, raw(victim.url) as client:
        await client.join()
        head, tail = b'42["echo","', b'"]'
        await client.send(text('451-["echo",{"_placeholder":true,"num":0}]') if opcode == BINARY else b"")
        await client.send(frame(opcode, head + b"x" * LIMIT + tail))
        assert await client.closed() == 1009
        assert await victim.ended() == "transport error"
        assert victim.heard == []
        assert victim.violations == []


@pytest.mark.feature("E5", "A10")
async def test_huge_frame_is_not_read(host: Host) -> None:
    """A frame that announces gigabytes is refused by its head; the client need not answer for the end to come."""
    async with attacked(host, max_http_buffer_size=LIMIT) as victim, raw(victim.url) as client:
        await client.join()
        await client.send(frame(BINARY, size=2**40))
        opcode, payload = await client.receive()
        assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
        sent = 0
        try:
            while sent < 100_000_000:
                client.writer.write(b"x" * 65536)
                await client.writer.drain()
                sent += 65536
        except ConnectionError:
            pass
        assert sent < 100_000_000, "the server still reads what it has refused"
        await victim.ended()


@pytest.mark.feature("E5", "A10")
async def test_oversized_message_in_fragments() -> None:
    """Fragments that together exceed the limit close with 1009 as soon as they do, not at the message's end."""
    async with attacked("native", max_http_buffer_size=LIMIT) as victim, raw(victim.url) as client:
        await client.join()
        await client.send(frame(TEXT, b'42["echo","', fin=False))
        for _ in range(LIMIT // 500 + 1):
            await client.send(frame(CONTINUATION, b"x" * 500, fin=False))
        assert await client.closed() == 1009
        assert await victim.ended() == "transport error"
        assert victim.heard == []


@pytest.mark.feature("E12")
async def test_endless_tiny_fragments() -> None:
    """A message in fragments of a byte or none is held as its bytes alone, not as an object a fragment."""
    async with attacked("native") as victim, raw(victim.url) as client:
        await client.join()
        await client.send(frame(TEXT, b"4", fin=False))
        await _settled(client)
        gc.collect()
        objects = len(gc.get_objects())
        await client.send(*[frame(CONTINUATION, b"", fin=False)] * 50_000)
        await client.send(*[frame(CONTINUATION, b" ", fin=False)] * 50_000)
        await _settled(client)
        gc.collect()
        assert len(gc.get_objects()) - objects < 1_000
        await client.send(frame(CONTINUATION, b"", fin=True))
        assert await client.closed() == 1002
        assert victim.heard == []


@pytest.mark.feature("E12")
async def test_control_frames_between_fragments(host: Host) -> None:
    """Pings between the fragments of a message are answered, and the message arrives whole."""
    async with attacked(host) as victim, raw(victim.url) as client:
        await client.join()
        packet = b'421["echo","whole"]'
        await client.send(frame(TEXT, packet[:5], fin=False), frame(PING, b"between"))
        await client.send(frame(PONG), frame(CONTINUATION, packet[5:]))
        assert await client.receive() == (PONG, b"between")
        assert await client.receive() == (TEXT, b'431["whole"]')
        assert victim.heard == ["echo"]


@pytest.mark.feature("E12", "H1")
async def test_flood_of_pongs(host: Host) -> None:
    """A hundred thousand pongs that nobody asked for change neither deadlines nor tasks."""
    async with attacked(host) as victim, raw(victim.url) as client:
        await client.join()
        before_flood = _deadlines(victim)
        tasks = len(runtime_of(victim.io.engine).tasks)
        for _ in range(100):
            await client.send(text("3") * 1000)
        await client.send(*[frame(PONG, b"x")] * 1000)
        await client.served()
        assert _deadlines(victim) == before_flood
        assert len(runtime_of(victim.io.engine).tasks) == tasks


def _deadlines(victim: Victim) -> list[list[float]]:
    engine: Engine = victim.io.engine
    return [list(lane._due.values()) for lane in (engine.pings, engine.pongs)]


@pytest.mark.feature("E12", "A27")
async def test_flood_of_pings_that_reads_nothing() -> None:
    """A client that sends pings without end and reads no answer costs a bounded buffer."""
    async with attacked("native") as victim, raw(victim.url, receive_buffer=4096) as client:
        await client.join()
        (session,) = [
            session for session in victim.io.engine.sessions.values() if session.request and _is(session, client)
        ]
        largest = 0
        for _ in range(300):
            client.writer.write(frame(PING, b"x" * 125) * 1000)
            await before(DEADLINE, client.writer.drain(), "room for more pings")
            largest = max(largest, session.buffered)
        assert largest < 1_000_000
        assert session.open


def _is(session: object, client: Raw) -> bool:
    remote = session.request.remote  # type: ignore[attr-defined]
    return bool(remote and remote[1] == client.writer.get_extra_info("sockname")[1])


@pytest.mark.feature("H5")
async def test_engine_pings_from_a_client(host: Host) -> None:
    """An Engine.IO ping from a client ends its session, alone or among many."""
    async with attacked(host) as victim, raw(victim.url) as client:
        await client.join()
        await client.send(text("2") * 10_000)
        assert await client.closed() == 1002
        assert await victim.ended() == "transport error"


@pytest.mark.feature("G12")
async def test_engine_packets(host: Host) -> None:
    """A text message that is no Engine.IO packet ends the session with `parse error`."""
    async with attacked(host) as victim:
        for packet in (b"", b"7", b"9x", b"x", b" 42", b"\0", b"-1", b"b!", b"bQUJ"):
            async with raw(victim.url) as client:
                await client.join()
                await client.send(text(packet))
                assert await client.closed() == 1002
                assert await victim.ended() == "parse error"


async def _settled(client: Raw) -> None:
    """Wait until the server has seen all frames that were sent."""
    await client.send(frame(PING, b"seen?"))
    while (await client.receive())[0] != PONG:
        pass
