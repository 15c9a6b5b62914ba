"""A server that breaks the rules of WebSocket towards a client, or answers its handshake with something else."""

from __future__ import annotations

import asyncio
import os
import socket
import zlib
from contextlib import suppress
from typing import Any

import pytest

import madang
from tests.client.tools import BOTH, SOON
from tests.hostile.liar import JOINED, OPEN, Answers, Lie, Victim, endure, in_frame, response
from tests.hostile.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

LIMIT = 50_000
FLOOD = 2000


def framed(opcode: int, data: bytes = b"", **how: Any) -> bytes:
    """A frame of a server, which does not mask."""
    return frame(opcode, data, **({"masked": False} | how))


#: frames that end the connection with "transport error", and the code that the client may say in its close frame
BROKEN: dict[str, tuple[bytes, set[int]]] = {
    "masked": (framed(TEXT, b'42["age"]', masked=True), {1002}),
    "reserved bit 1": (framed(TEXT, b'42["age"]', bits=4), {1002}),
    "reserved bit 2": (framed(TEXT, b'42["age"]', bits=2), {1002}),
    "reserved bit 3": (framed(BINARY, b"x", bits=1), {1002}),
    "reserved bit on a ping": (framed(PING, b"x", bits=4), {1002}),
    "unknown opcode": (framed(3, b"x"), {1002}),
    "unknown control opcode": (framed(11, b"x"), {1002}),
    "fragmented ping": (framed(PING, b"x", fin=False), {1002}),
    "long ping": (framed(PING, b"x" * 126), {1002}),
    "a continuation of nothing": (framed(CONTINUATION, b"x"), {1002}),
    "a message within fragments": (framed(TEXT, b"4", fin=False) + framed(TEXT, b'42["age"]'), {1002}),
    "too large": (framed(TEXT, b"4" + b"x" * LIMIT), {1009}),
    "too large, announced": (framed(TEXT, b"4", size=1 << 40), {1009}),
    "largest length": (framed(TEXT, b"4", size=(1 << 63) - 1), {1009}),
    "length with the highest bit": (framed(BINARY, b"", size=1 << 63), {1002}),
    "too large in fragments": (
        framed(TEXT, b"4" * LIMIT, fin=False) + framed(CONTINUATION, b"x" * 100, fin=False),
        {1009},
    ),
    "length in more bytes than it needs": (bytes((0x81, 126, 0, 1)) + b"4", {1002}),
    "close with one byte": (framed(CLOSE, b"\x03"), {1002}),
    "close with code 0": (framed(CLOSE, b"\0\0"), {1002}),
    "close with code 999": (framed(CLOSE, (999).to_bytes(2, "big")), {1002}),
    "close with code 1005": (framed(CLOSE, (1005).to_bytes(2, "big")), {1002}),
    "close with code 2000": (framed(CLOSE, (2000).to_bytes(2, "big")), {1002}),
    "close with code 5000": (framed(CLOSE, (5000).to_bytes(2, "big")), {1002}),
    "close with bad text": (framed(CLOSE, b"\x03\xe8\xff"), {1002, 1007}),
}

CLOSES: dict[str, bytes] = {
    "without a code": framed(CLOSE),
    "normal": framed(CLOSE, b"\x03\xe8bye"),
    "an application's": framed(CLOSE, (4000).to_bytes(2, "big")),
    "and more behind it": framed(CLOSE, b"\x03\xe8") + framed(TEXT, b'42["age"]') * 10 + framed(CLOSE, b"\x03\xe8") * 3,
}


def framed_lie(data: bytes) -> Lie:
    """Join, send bytes, and wait for the client to close."""

    async def tell(victim: Victim) -> None:
        await victim.join()
        await victim.say(data)
        await victim.gone()

    return tell


@pytest.mark.feature("E5", "E12", "W19")
class TestFrames:
    async def test_broken(self) -> None:
        """A frame that RFC 6455 forbids, or too large a message, ends the connection as a transport error."""
        told = await endure(*(framed_lie(data) for data, _ in BROKEN.values()), max_http_buffer_size=LIMIT)
        reasons = {name: one.reason for name, one in zip(BROKEN, told, strict=True)}
        assert reasons == dict.fromkeys(BROKEN, "transport error")
        codes = {name: one.code for name, one in zip(BROKEN, told, strict=True)}
        assert {name: code for name, code in codes.items() if code not in BROKEN[name][1]} == {}

    async def test_closes(self) -> None:
        """A close frame in order ends the connection as a close, whatever stands behind it."""
        heard: list[Any] = []
        told = await endure(*map(framed_lie, CLOSES.values()), setup=lambda client: client.on_any(heard.append))
        assert [one.reason for one in told] == ["transport close"] * len(CLOSES)
        assert heard == []

    async def test_fragments_without_end(self) -> None:
        """Empty fragments, any number of them, take no memory, and a message of many pieces is one."""

        async def lie(victim: Victim) -> None:
            await victim.join()
            pieces = [framed(CONTINUATION, bytes((byte,)), fin=False) for byte in b'277["age"]']
            empty = framed(CONTINUATION, b"", fin=False) * FLOOD
            await victim.say(
                framed(TEXT, b"4", fin=False), empty, framed(PING, b"x"), *pieces, empty, framed(CONTINUATION)
            )
            assert await victim.text() == b"4377[7]"

        assert [one.reason for one in await endure(lie)] == ["transport close"]

    async def test_bombs(self) -> None:
        """A compressed message is inflated up to the bound, and no further."""

        def bomb(data: bytes, opcode: int = TEXT) -> bytes:
            deflate = zlib.compressobj(9, wbits=-15)
            packed = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
            return framed(opcode, packed.removesuffix(b"\0\0\xff\xff"), bits=4)

        def lie(data: bytes) -> Lie:
            async def tell(victim: Victim) -> None:
                await victim.accept("Sec-WebSocket-Extensions: permessage-deflate")
                await victim.send(OPEN, JOINED)
                await victim.say(data)
                await victim.gone()

            return tell

        bombs = [bomb(b"4" + bytes(20_000_000)), bomb(bytes(20_000_000), BINARY), framed(TEXT, b"\xff" * 100, bits=4)]
        told = await endure(*map(lie, bombs), max_http_buffer_size=LIMIT, per_message_deflate=True)
        assert [one.reason for one in told] == ["transport error"] * 3
        assert [one.code for one in told] == [1009, 1009, 1007]


@pytest.mark.feature("H5", "E12")
class TestFloods:
    async def test_pings_that_nobody_reads_the_answers_of(self) -> None:
        """Who floods pings, of WebSocket or Engine.IO, and reads no pong, is owed a bounded number of them."""
        held: list[int] = []
        noted: list[madang.Client] = []

        def flood(part: bytes, times: int) -> Lie:
            async def lie(victim: Victim) -> None:
                await victim.join()
                victim.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                victim.writer.transport.pause_reading()  # type: ignore[attr-defined]
                seen = asyncio.Event()
                noted[0].once("seen", seen.set)
                for _ in range(times):
                    await victim.say(part)
                    held.append(noted[0].buffered)
                await victim.send('42["seen"]')
                async with asyncio.timeout(SOON):
                    await seen.wait()
                held.append(noted[0].buffered)

            return lie

        told = await endure(
            flood(in_frame("2") * 20_000, 8), flood(framed(PING, b"x" * 125) * 500, 30), setup=noted.append
        )
        assert [one.reason for one in told] == ["transport close"] * 2
        assert max(held) < 400_000

    async def test_pings_that_are_answered(self) -> None:
        """Pings of WebSocket are answered with what they hold, pongs that nobody asked for with nothing."""

        async def lie(victim: Victim) -> None:
            await victim.join()
            await victim.say(framed(PONG, b"unasked") * 100 + framed(PING, b"one") + framed(PING))
            assert await victim.receive() == (PONG, b"one")
            assert await victim.receive() == (PONG, b"")
            await victim.goes_on()

        assert [one.reason for one in await endure(lie)] == ["transport close"]


def answered(*data: bytes) -> Lie:
    """Answer the handshake with bytes."""

    async def tell(victim: Victim) -> None:
        await victim.say(*data)

    return tell


def accepted(*headers: str, key: bytes | None = None) -> Lie:
    """Answer the handshake with 101 and these headers, for a key."""

    async def tell(victim: Victim) -> None:
        await victim.accept(*headers, key=key)
        await victim.send(OPEN, JOINED)
        await victim.gone()

    return tell


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"

HANDSHAKES: dict[str, Lie] = {
    "nothing": answered(),
    "noise": answered(os.urandom(300) + b"\r\n\r\n"),
    "zeros": answered(bytes(30_000)),
    "a status line that is none": answered(b"HTTP/1.1\r\n\r\n"),
    "a status that is none": answered(b"HTTP/1.1 x y\r\n\r\n"),
    "a status of digits without end": answered(b"HTTP/1.1 " + b"1" * 5000 + b" OK\r\n\r\n"),
    "an unknown status": answered(b"HTTP/1.1 799 What\r\n\r\n"),
    "another protocol": answered(b"SIP/2.0 101 Switching\r\n" + UPGRADE + b"\r\n"),
    "no accept": answered(SWITCH + UPGRADE + b"\r\n"),
    "the accept of another key": accepted(key=b"dGhlIHNhbXBsZSBub25jZQ=="),
    "no upgrade": answered(SWITCH + b"Connection: Upgrade\r\n\r\n"),
    "another upgrade": answered(SWITCH + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    "a header without a colon": answered(SWITCH + b"what\r\n" + UPGRADE + b"\r\n"),
    "headers that are not ASCII": answered(SWITCH + b"X-\xff: \xfe\xff\r\n" + UPGRADE + b"\r\n"),
    "an extension not offered": accepted("Sec-WebSocket-Extensions: permessage-deflate"),
    "a sub-protocol not offered": accepted("Sec-WebSocket-Protocol: evil"),
    "a huge header": answered(SWITCH + b"X-Long: " + b"x" * 100_000 + b"\r\n" + UPGRADE + b"\r\n"),
    "headers without end": answered(SWITCH, *[b"X-Again: x\r\n" * 1000] * 30),
    "a head cut short": answered(SWITCH + UPGRADE),
    "another body than announced": answered(response(b"short", status="400 Bad Request", length=10**12)),
    "a huge refusal": answered(response(b"x" * 300_000, status="503 Unavailable")),
    "a page": answered(response(b"<html>hello</html>", "Content-Type: text/html")),
    "a redirect": answered(response(b"", "Location: http://127.0.0.1:1/", status="302 Found")),
    "refusals in JSON": answered(response(b'{"code":[],"message":{"a":[1]}}', status="400 Bad Request")),
    "a refusal, nested": answered(response(b'{"message":' + b"[" * 400 + b"]" * 400 + b"}", status="400 Bad Request")),
    "a refusal that is not UTF-8": answered(response(b"\xff\xfe", status="400 Bad Request")),
}


@pytest.mark.feature("W18", "V32")
async def test_handshakes() -> None:
    """Whatever else answers a WebSocket's handshake is a failed attempt, and the client tries again."""
    told = await endure(*HANDSHAKES.values(), timeout=3)
    reasons = {name: one.reasons for name, one in zip(HANDSHAKES, told, strict=True)}
    assert reasons == {name: ["failed"] for name in HANDSHAKES}
    assert not any("timeout" in one.descriptions[0] for one in told)
    assert max(len(one.descriptions[0]) for one in told) < 1000


@pytest.mark.feature("V32", "V18")
class TestSlowly:
    async def test_a_handshake_byte_by_byte(self) -> None:
        """A handshake that drips in may take as long as one attempt may, and no longer."""

        async def lie(victim: Victim) -> None:
            with suppress(ConnectionError):
                async with asyncio.timeout(SOON):
                    while not victim.writer.transport.is_closing():
                        await victim.say(b"H")
                        await asyncio.sleep(0.01)

        (told,) = await endure(lie, timeout=0.2)
        assert told.reasons == ["failed"]
        assert "timeout" in told.descriptions[0]

    async def test_evil_cookies(self) -> None:
        """Cookies of a WebSocket's handshake that are no cookies are not kept, and do not disturb it."""
        evil = [
            "=",
            "a",
            ";;;",
            'a="\\015\\012X-Evil: 1"',
            "\xff=\xff",
            "a=b; Domain=example.com",
            "a=" + "x" * 3000,
            'b="x',
        ]

        async def lie(victim: Victim) -> None:
            assert b"Evil" not in victim.head.split(b"Cookie")[0]
            await victim.accept(*[f"Set-Cookie: {cookie}" for cookie in evil])
            await victim.send(OPEN)
            assert await victim.text() == b"40"
            await victim.send(JOINED)
            await victim.goes_on()

        told = await endure(lie, lie, lie, with_credentials=True)
        assert [one.reason for one in told] == ["transport close"] * 3


@pytest.mark.feature("I5", "I6", "V12")
async def test_upgrades_that_lead_nowhere() -> None:
    """Whatever answers the probe of an upgrade but a pong costs only the new connection; polling goes on."""
    opening = OPEN.replace('"upgrades":[]', '"upgrades":["websocket"]')
    probes: list[Lie] = [answered(b"\r\n\r\n"), answered(response(b"no", status="400 Bad Request")), accepted()]
    for packet in ("3", "3prob", "3probe2", "2probe", OPEN, "1", '42["age"]', b"3probe", "6", ""):

        async def probe(victim: Victim, packet: str | bytes = packet) -> None:
            await victim.accept()
            assert await victim.text() == b"2probe"
            await victim.send(packet)
            await victim.gone()

        probes.append(probe)

    def lie(probe: Lie) -> Lie:
        over = asyncio.Event()
        joined = [response(opening.encode()), response(JOINED.encode())]
        answers = Answers(*joined)

        async def tell(victim: Victim) -> None:
            if b"transport=websocket" in victim.head:
                await probe(victim)
                over.set()
            elif victim.head.startswith(b"GET") and not answers.answers:
                await over.wait()
                if not any(b"4377[7]" in body for body in answers.posted):
                    answers.answers.append(response(b'4277["age"]'))
                else:
                    answers.answers.append(response(b"1"))
                await answers(victim)
            else:
                await answers(victim)

        return tell

    told = await endure(*map(lie, probes), transports=BOTH)
    assert [one.reason for one in told] == ["transport close"] * len(probes)
