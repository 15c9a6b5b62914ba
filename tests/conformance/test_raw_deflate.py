"""Compression of WebSocket messages: what is agreed on (RFC 7692, section 7.1), and which frames are compressed."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest

import madang
from tests.conformance.told import engine
from tests.conformance.wire import ENGINE, Polling, address, browser, session
from tests.hostile.deflated import RSV1, TAIL, Deflated, deflated, extensions, packed
from tests.hostile.raw import BINARY, CONTINUATION, PING, PONG, TEXT, connection, frame, handshake, raw, text
from tests.hosts import Host, listening

pytestmark = pytest.mark.feature("A12")

P = "permessage-deflate"
NOTHING_KEPT = f"{P}; server_no_context_takeover; client_no_context_takeover"

OFFERS: dict[str, dict[str, str]] = {
    "defaults": {
        P: NOTHING_KEPT,
        f"{P}; client_max_window_bits": NOTHING_KEPT,
        f"{P}; client_max_window_bits=15": NOTHING_KEPT,
        f"{P}; client_max_window_bits=10": f"{NOTHING_KEPT}; client_max_window_bits=10",
        f"{P}; client_max_window_bits=8": f"{NOTHING_KEPT}; client_max_window_bits=8",
        f"{P}; server_max_window_bits=10": f"{NOTHING_KEPT}; server_max_window_bits=10",
        f"{P}; server_max_window_bits=15": f"{NOTHING_KEPT}; server_max_window_bits=15",
        f'{P} ;\tserver_max_window_bits = "1\\0"': f"{NOTHING_KEPT}; server_max_window_bits=10",
        f"{P}; server_no_context_takeover; client_no_context_takeover": NOTHING_KEPT,
        f"x-webkit-deflate-frame, {P}": NOTHING_KEPT,
        f", ,{P},": NOTHING_KEPT,
        # zlib cannot write raw deflate with the smallest window
        f"{P}; server_max_window_bits=8": "",
        f"{P}; server_max_window_bits=8, {P}; server_max_window_bits=9, {P}": (
            f"{NOTHING_KEPT}; server_max_window_bits=9"
        ),
        # an offer that cannot be is declined, and the next one looked at
        f"{P}; server_max_window_bits": "",
        f"{P}; server_max_window_bits=16": "",
        f"{P}; server_max_window_bits=7": "",
        f"{P}; server_max_window_bits=09": "",
        f"{P}; server_max_window_bits=1e1": "",
        f"{P}; client_max_window_bits=16": "",
        f"{P}; server_no_context_takeover=1": "",
        f"{P}; client_no_context_takeover=true": "",
        f"{P}; client_max_window_bits; client_max_window_bits": "",
        f"{P}; server_no_context_takeover; server_no_context_takeover": "",
        f"{P}; mystery": "",
        f"{P}; mystery, {P}; mystery=1, {P}; client_max_window_bits=9": f"{NOTHING_KEPT}; client_max_window_bits=9",
        f"{P}-2": "",
        P.upper(): "",
        "": "",
    },
    "contexts are kept": {
        P: P,
        f"{P}; server_no_context_takeover": f"{P}; server_no_context_takeover",
        f"{P}; client_no_context_takeover; client_max_window_bits": f"{P}; client_no_context_takeover",
    },
    "small windows": {
        P: "",
        f"{P}; client_max_window_bits": f"{NOTHING_KEPT}; server_max_window_bits=11; client_max_window_bits=12",
        f"{P}; client_max_window_bits=10; server_max_window_bits=9": (
            f"{NOTHING_KEPT}; server_max_window_bits=9; client_max_window_bits=10"
        ),
        f"{P}; server_max_window_bits=15; client_max_window_bits=15": (
            f"{NOTHING_KEPT}; server_max_window_bits=11; client_max_window_bits=12"
        ),
    },
}
SETTINGS: dict[str, Any] = {
    "defaults": True,
    "contexts are kept": {"server_no_context_takeover": False, "client_no_context_takeover": False},
    "small windows": {"server_max_window_bits": 11, "client_max_window_bits": 12},
}


@pytest.mark.parametrize("kind", OFFERS)
async def test_offers(kind: str) -> None:
    """The first offer that can be is accepted, with what both ends want; the others are as if they were not there."""
    answers: dict[str, str] = {}
    async with engine("native", per_message_deflate=SETTINGS[kind]) as server:
        for offer in OFFERS[kind]:
            async with deflated(server.url, offer=offer, join=False, path=ENGINE) as client:
                answers[offer] = client.agreed
    assert answers == OFFERS[kind]


async def test_offers_in_two_headers() -> None:
    """A header that is there twice is one list."""
    async with engine("native", per_message_deflate=True) as server:
        second = f"Sec-WebSocket-Extensions: {P}; client_max_window_bits=9"
        async with deflated(server.url, second, offer=f"{P}; mystery", join=False, path=ENGINE) as client:
            assert client.agreed == f"{NOTHING_KEPT}; client_max_window_bits=9"


@pytest.mark.parametrize(
    "header",
    [f"{P};", f"{P};; x", f"{P}; =3", f"{P}; x=", f'{P}; x="', f'{P}; x="a b"', "a b", f"; {P}", f"{P}; x=1=2", "\xff"],
)
async def test_offers_that_cannot_be_read(header: str) -> None:
    """A header that cannot be read refuses the handshake, and says why; without the option nobody looks at it."""
    async with engine("native", per_message_deflate=True) as server, connection(server.url) as client:
        offer = f"Sec-WebSocket-Extensions: {header}"
        await client.send(handshake(server.url, address(ENGINE, "websocket"), offer))
        answer = await client.reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"the header Sec-WebSocket-Extensions cannot be read")
    async with engine("native") as server, raw(server.url, ENGINE, offer) as plain:
        assert extensions(plain.head) == ""


async def test_off_by_default() -> None:
    """Without the option nothing is agreed on, and a frame that says that it is compressed is a violation."""
    async with engine("native") as server, deflated(server.url, join=False, path=ENGINE) as client:
        assert client.agreed == ""
        await client.say("4hello")
        assert await client.raw.closed() == 1002


@pytest.mark.node("namespaces.21", "namespaces.22", "socket.43", "socket.44")
async def test_thresholds() -> None:
    """Messages from the threshold on are compressed, be it text or bytes, unless they ask not to be."""
    for option, threshold in ((True, 1024), ({"threshold": 100}, 100)):
        async with (
            engine("native", per_message_deflate=option) as server,
            deflated(server.url, join=False, path=ENGINE) as client,
        ):
            for size in (threshold - 1, threshold):
                await client.raw.send(text("4" + "x" * (size - 1)))
                message, compressed = await client.hear()
                assert message == b"4" + b"x" * (size - 1)
                assert bool(compressed) is (size == threshold)
                await client.say(b"\x00" * size, BINARY)
                message, compressed = await client.hear()
                assert message == b"\x00" * size
                assert bool(compressed) is (size == threshold)
            await client.raw.send(text("4!plain 5000"))
            assert await client.hear() == (b"4" + b"x" * 5000, 0)
            await client.raw.send(text("4!fill 5000"))
            message, compressed = await client.hear()
            assert message == b"4" + b"x" * 5000
            assert 0 < compressed < 100


async def test_everything_from_a_threshold_of_zero() -> None:
    """With a threshold of 0 the smallest message is compressed; one of no bytes has no shorter form, and arrives."""
    async with (
        engine("native", per_message_deflate={"threshold": 0}) as server,
        deflated(server.url, join=False, path=ENGINE) as client,
    ):
        await client.say("4")
        assert await client.hear() == (b"4", 3)
        await client.say(b"", BINARY)
        assert await client.hear() == (b"", 0)
        await client.raw.send(text("4!pair"))
        assert [(await client.hear())[0], (await client.hear())[0]] == [b"4first", b"\x01\x02"]


async def test_compressed_fragments() -> None:
    """The first fragment alone says that a message is compressed; control frames may stand between them."""
    async with (
        engine("native", per_message_deflate=True) as server,
        deflated(server.url, join=False, path=ENGINE) as client,
    ):
        payload = packed(b"4" + b"hello " * 100)
        await client.raw.send(frame(TEXT, payload[:5], fin=False, bits=RSV1), frame(PING, b"there?"))
        assert await client.raw.receive() == (PONG, b"there?")
        await client.raw.send(frame(CONTINUATION, payload[5:8], fin=False), frame(CONTINUATION, payload[8:]))
        assert (await client.hear())[0] == b"4" + b"hello " * 100
        await client.raw.send(frame(TEXT, b"4pl", fin=False), frame(CONTINUATION, b"ain"))
        assert await client.hear() == (b"4plain", 0)


async def test_one_message_in_all_forms() -> None:
    """Stored, fixed and dynamic blocks, several of them, and last blocks in the middle: all is the same message."""
    message = b"4" + bytes(range(32, 127)) * 20
    half = len(message) // 2
    last = zlib.compressobj(wbits=-15)
    ended = last.compress(message[:half]) + last.flush()
    fixed = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_FIXED)
    forms = {
        "stored": packed(message, level=0),
        "fixed": (fixed.compress(message) + fixed.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL),
        "dynamic": packed(message, level=9),
        "two flushes": packed(message[:half]) + TAIL + packed(message[half:]),
        "a last block, and no more": packed(message[:half]) + TAIL + zlib_ended(message[half:]),
        "a last block, and what RFC 7692 puts behind it": zlib_ended(message) + b"\x00",
        "a last block in the middle": ended + packed(message[half:]),
        "a last block that the tail completes": packed(message) + TAIL + b"\x01",
    }
    async with (
        engine("native", per_message_deflate=True) as server,
        deflated(server.url, join=False, path=ENGINE) as client,
    ):
        for name, payload in forms.items():
            await client.raw.send(frame(TEXT, payload, bits=RSV1))
            assert (await client.hear())[0] == message, name


def zlib_ended(data: bytes) -> bytes:
    """Compressed, with a last block."""
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


@pytest.mark.parametrize(("server_keeps", "client_keeps"), [(True, True), (True, False), (False, True)])
async def test_context_takeover(server_keeps: bool, client_keeps: bool) -> None:
    """Where contexts are kept, a message may refer to those before it; an uncompressed one between them is none."""
    option = {
        "threshold": 100,
        "server_no_context_takeover": not server_keeps,
        "client_no_context_takeover": not client_keeps,
    }
    async with (
        engine("native", per_message_deflate=option) as server,
        deflated(server.url, offer=P, join=False, path=ENGINE) as client,
    ):
        assert (client.server_keeps, client.client_keeps) == (server_keeps, client_keeps)
        message = b"4" + random.Random(1).randbytes(500).hex().encode()
        sizes = []
        for _ in range(50):  # more than a window of 32 KiB
            said = await client.say(message)
            echoed, heard = await client.hear()
            assert echoed == message
            sizes.append((heard, said))
            await client.raw.send(text("4between"))
            assert await client.hear() == (b"4between", 0)
        assert (sizes[-1][0] < sizes[0][0] / 10) is server_keeps
        assert (sizes[-1][1] < sizes[0][1] / 10) is client_keeps


async def test_windows() -> None:
    """What was agreed on about windows holds: nothing refers further back."""
    block = random.Random(2).randbytes(700)
    async with engine("native", per_message_deflate={"threshold": 0}) as server:
        for bits, found in ((9, False), (15, True)):
            offer = f"{P}; server_max_window_bits={bits}"
            async with deflated(server.url, offer=offer, join=False, path=ENGINE) as client:
                await client.raw.send(frame(BINARY, block * 2))
                echoed, size = await client.hear()
                assert echoed == block * 2
                assert (size < 1000) is found


async def test_an_upgrade() -> None:
    """A session that began with polling is compressed from its upgrade on."""
    async with engine("native", per_message_deflate=True) as server, browser(server.url) as http:
        polling = await Polling.open(http)
        async with deflated(server.url, join=False, path=ENGINE, sid=polling.sid) as client:
            assert client.agreed == NOTHING_KEPT
            await client.raw.send(text("5"), text("4!fill 3000"))
            while (heard := await client.hear())[0] == b"6":
                pass
            assert heard[0] == b"4" + b"x" * 3000
            assert heard[1]


@pytest.mark.node("namespaces.21", "namespaces.22", "socket.43", "socket.44")
async def test_one_with_and_one_without() -> None:
    """In one room some are sent the compressed form and some the plain one, and all hear the same."""
    io = madang.Server(per_message_deflate=True)
    async with (
        listening(io) as url,
        deflated(url) as first,
        deflated(url, offer=f"{P}; server_max_window_bits=9") as second,
        raw(url) as plain,
    ):
        await plain.join()
        io.emit("news", "x" * 3000)
        io.compress(False).emit("news", "y" * 3000)
        io.emit("news", b"\x00" * 3000, b"short")
        for client in (first, second, Deflated(plain)):
            compressed = client is not None and bool(client.agreed)
            heard = [await client.hear() for _ in range(5)]
            assert [message for message, _ in heard] == [
                b'42["news","' + b"x" * 3000 + b'"]',
                b'42["news","' + b"y" * 3000 + b'"]',
                b'452-["news",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
                b"\x00" * 3000,
                b"short",
            ]
            assert [bool(size) for _, size in heard] == [compressed, False, False, compressed, False]


@pytest.mark.parametrize("host", ["uvicorn", "hypercorn"])
async def test_on_other_hosts(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Elsewhere the ASGI server decides; that the option has no effect is said once, and only if it is used."""
    for option, told in ((True, 1), (False, 0)):
        caplog.clear()
        async with engine(host, per_message_deflate=option) as server:
            for _ in range(2):
                async with session(server.url) as ws:
                    await ws.send("4hello")
                    assert await ws.text() == "4hello"
        assert caplog.text.count("per_message_deflate has no effect on this host") == told
