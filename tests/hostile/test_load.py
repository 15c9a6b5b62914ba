"""Input that is legal, or nearly, and meant to be expensive: time and memory stay in proportion to its bytes.

Limits are stated for a slow machine with other work to do; they are some ten times what is used.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from madang.errors import PacketError
from madang.protocol.socketio import DefaultParser
from tests.conformance.wire import Polling, before
from tests.hostile.victim import attacked, joined, joined_polling, serves
from tests.hosts import Host

MILLION = 1_000_000
RS = "\x1e"


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """See that the block takes at most so much time of the processor."""
    begun = time.process_time()
    yield
    used = time.process_time() - begun
    assert used < seconds, f"{used:.1f} s of the processor"


async def post_all(client: Polling, packet: str) -> int:
    """Post a body of a million bytes that repeats one packet; the status of the answer."""
    body = RS.join([packet] * (MILLION // (len(packet) + 1)))
    response = await before(20, client.http.post(client.url(), content=body, timeout=20), "the answer to a POST")
    return response.status_code


@pytest.mark.feature("D13", "A10")
@pytest.mark.parametrize("packet", ["3", "6", '42["echo"]', '42["nobody"]', "4399[]"])
async def test_many_tiny_packets(host: Host, packet: str) -> None:
    """A million bytes of tiny packets in one POST are handled in bounded time."""
    async with attacked(host) as victim, joined_polling(victim.url) as client:
        with at_most(6):
            assert await post_all(client, packet) == 200
        assert len(victim.heard) in (0, MILLION // len(packet + RS))


@pytest.mark.feature("D14")
async def test_many_bad_packets(host: Host) -> None:
    """The first bad packet of a million ends the work."""
    async with attacked(host) as victim, joined_polling(victim.url) as client:
        with at_most(1):
            assert await post_all(client, "7") == 400


@pytest.mark.feature("J3", "D13")
async def test_connects_to_many_unknown_namespaces(host: Host) -> None:
    """Thousands of CONNECTs to namespaces that do not exist are refused one by one and leave none behind."""
    async with attacked(host) as victim, joined_polling(victim.url) as client:
        body = RS.join(f"40/{number}," for number in range(20_000))
        with at_most(6):
            assert (await client.post(body)).status_code == 200
            refused = await client.packets()
        assert len(refused) == 20_000
        assert set(victim.io.namespaces) == {"/", "/other"}


@pytest.mark.feature("J9", "A20")
async def test_joining_many_dynamic_namespaces(host: Host) -> None:
    """Thousands of dynamic namespaces are freed with their client, when the server is told to."""
    async with attacked(host, cleanup_empty_child_namespaces=True) as victim, joined_polling(victim.url) as client:
        victim.io.of(re.compile(r"^/dyn-\d+$"))
        body = RS.join(f"40/dyn-{number}," for number in range(5_000))
        with at_most(6):
            assert (await client.post(body)).status_code == 200
        assert len(victim.io.namespaces) == 5_002
        await client.send("1")
        assert set(victim.io.namespaces) == {"/", "/other"}


@pytest.mark.feature("R6")
@pytest.mark.parametrize("number", ["1" * 900_000, "-" + "1" * 900_000, "0." + "1" * 900_000, "1e" + "1" * 900_000])
async def test_giant_number(host: Host, number: str) -> None:
    """A number of nearly a million digits takes no longer than other text of that size."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        with at_most(1):
            for name in ("echo", "echo typed"):
                await ws.send(f'42["{name}",{number}]')
            if number.strip("-1"):  # a fraction or an exponent: a number as any other
                await serves(ws)
            else:
                assert await ws.closed(5) == 1002
        assert not victim.failures


@pytest.mark.feature("R1")
@pytest.mark.parametrize(
    "text",
    [
        b"45" + b"1" * MILLION + b"-[]",
        b"42" + b"1" * MILLION + b"[]",
        b"42/" + b"a" * MILLION,
        b"42/" + b"/" * MILLION + b",[]",
        b"42[" + b"," * MILLION,
        b'42["' + b"\\" * MILLION,
        b'42["' + b"\\u0000" * (MILLION // 6) + b'"]',
        b"42[" + b'"a",' * (MILLION // 4) + b"1]",
        b"42" + b" " * MILLION + b"[]",
        b"42[1," + b"{}," * (MILLION // 3) + b"{}]",
        b"459-[" + b'{"_placeholder":true,"num":0},' * (MILLION // 30) + b"0]",
    ],
    ids=lambda text: text[:12].decode(),
)
def test_decoding_is_linear(text: bytes) -> None:
    """Whatever a million bytes hold, decoding them takes a bounded time."""
    parser = DefaultParser()
    with at_most(1), suppress(PacketError):
        parser.decode_args(parser.decode(text))
