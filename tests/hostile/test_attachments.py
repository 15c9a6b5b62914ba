"""Binary packets that lie: wrong counts, wrong placeholders, and attachments that never come."""

from __future__ import annotations

import gc
import json

import pytest

from madang.protocol.binary import Reconstruction
from tests.conformance.wire import AT_ONCE
from tests.engine.clocks import ManualClock
from tests.hostile.raw import BINARY, frame, raw, text
from tests.hostile.victim import WITHIN, attacked, joined, joined_polling, serves
from tests.hosts import Host

PART = '{"_placeholder":true,"num":0}'

COUNTS = ["50-", "5-", "5", "5-1-", "501-", "5001-", "511-", "59999999999-", "5" + "9" * 5000 + "-"]
COUNTS += ["5+1-", "5 1-", "51.0-", "51e0-", "5\uff11-", "50x1-", "60-", "6-", "611-", "21-", "31-"]


def placeholders(*numbers: object) -> str:
    return json.dumps(["echo", *({"_placeholder": True, "num": number} for number in numbers)])


WRONG = {
    "announced, none there": '451-["echo"]',
    "one of two there": f"452-{placeholders(0)}",
    "two of one there": f"451-{placeholders(0, 1)}",
    "the same twice": f"452-{placeholders(0, 0)}",
    "one more and the same": f"451-{placeholders(0, 0)}",
    "beyond the last": f"451-{placeholders(1)}",
    "negative": f"451-{placeholders(-1)}",
    "true": f"452-{placeholders(0, True)}",
    "false": f"451-{placeholders(False)}",
    "float": f"451-{placeholders(0.0)}",
    "text": f"451-{placeholders('0')}",
    "null": f"451-{placeholders(None)}",
    "list": f"451-{placeholders([0])}",
    "huge": f"451-{placeholders(10**30)}",
    "no number": '451-["echo",{"_placeholder":true}]',
    "not quite a placeholder": '451-["echo",{"_placeholder":1,"num":0}]',
    "in place of the name": f"451-[{PART}]",
    "in place of all": f"451-{PART}",
    "reserved name": f'451-["disconnect",{PART}]',
    "ack beyond the last": '461-0[{"_placeholder":true,"num":7}]',
    "in a namespace not joined": f'451-/other,["echo",{PART}]',
}


@pytest.mark.feature("R4", "R5", "R8", "G11")
async def test_refused_at_once(host: Host) -> None:
    """A wrong count or placeholder closes the connection before any attachment is waited for."""
    packets = [f'4{count}["echo",{PART}]' for count in COUNTS] + list(WRONG.values())
    survivors: list[str] = []
    async with attacked(host) as victim:
        for packet in packets:
            async with joined(victim.url) as ws:
                await ws.send(packet)
                try:
                    assert await ws.closed(AT_ONCE) == 1002
                except AssertionError:
                    survivors.append(packet)
        assert not survivors
        assert victim.heard == []
        assert len(victim.io.attachments) == 0


@pytest.mark.feature("R4")
async def test_largest_count(host: Host) -> None:
    """As many attachments as the option allows are taken, in whatever order they are placed."""
    async with attacked(host, max_attachments=3) as victim, joined(victim.url) as ws:
        await ws.send(f"453-{placeholders(2, 0, 1)}", b"a", b"b", b"c")
        await serves(ws)
        assert victim.heard == ["echo", "echo"]
        await ws.send(f"454-{placeholders(0, 1, 2, 3)}")
        assert await ws.closed(WITHIN) == 1002


@pytest.mark.feature("R7", "G11")
async def test_text_in_place_of_an_attachment(host: Host) -> None:
    """Text that comes where bytes are due is a violation, whatever text it is."""
    async with attacked(host) as victim:
        for packet in ('42["echo"]', f'451-["echo",{PART}]', "41", "430[]", "4"):
            async with joined(victim.url) as ws:
                await ws.send(f'451-["echo",{PART}]', packet)
                assert await ws.closed(WITHIN) == 1002
        assert victim.heard == []


@pytest.mark.feature("R7", "G11")
async def test_bytes_that_nobody_announced(host: Host) -> None:
    """Bytes beyond the announced ones are a violation, over both transports."""
    async with attacked(host) as victim:
        async with joined(victim.url) as ws:
            await ws.send(f'451-["echo",{PART}]', b"1", b"2")
            assert await ws.closed(WITHIN) == 1002
        async with joined_polling(victim.url) as client:
            assert (await client.post(f'451-["echo",{PART}]\x1ebMQ==\x1ebMg==')).status_code == 400
        assert victim.heard == ["echo", "echo"]


@pytest.mark.feature("G12", "D14")
async def test_bad_base64(host: Host) -> None:
    """An attachment over polling that is not base64 is answered 400 and ends the session."""
    async with attacked(host) as victim:
        for part in ("b!", "bA", "bAA=", "b====", "bMQ==x", "b\u00e9", "bM Q="):
            async with joined_polling(victim.url) as client:
                response = await client.post(f'451-["echo",{PART}]\x1e{part}')
                assert response.status_code == 400, part
        assert victim.heard == []


@pytest.mark.feature("G15")
async def test_half_a_packet_goes_with_its_connection(host: Host) -> None:
    """What was received of a packet is freed when its client disconnects, however many do so."""
    async with attacked(host) as victim:
        for _ in range(50):
            async with joined(victim.url) as ws:
                await ws.send(f'452-["echo",{PART},{PART.replace("0", "1")}]', b"x" * 10_000)
                await ws.send("3")
        assert victim.heard == []
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Reconstruction)]


@pytest.mark.feature("G15", "G11")
async def test_attachments_that_never_come(host: Host) -> None:
    """A packet that stays incomplete for a heartbeat's length is given up, though its client answers every ping."""
    async with attacked(host) as victim:
        clock = ManualClock()
        victim.io.engine.bind(clock)
        async with raw(victim.url) as client:
            await client.join()
            await client.send(text(f'452-["echo",{PART},{PART.replace("0", "1")}]'), frame(BINARY, b"first"))
            await client.send(frame(9))
            assert (await client.receive())[0] == 10  # all that was sent has been handled
            clock.advance(25)
            assert await client.receive() == (1, b"2")
            await client.send(text("3"), frame(9))
            assert (await client.receive())[0] == 10
            clock.advance(19.9)
            assert len(victim.io.attachments) == 1
            clock.advance(0.2)
            assert await client.closed() == 1002
            assert await victim.ended() == "forced close"
            assert victim.violations == ["announced attachments did not come in time"]


@pytest.mark.feature("R4", "G15")
async def test_large_attachments_have_no_count_of_their_own(host: Host) -> None:
    """What one incomplete packet may hold is bounded by the limits of count and message size."""
    async with attacked(host, max_attachments=2, max_http_buffer_size=10_000) as victim, joined(victim.url) as ws:
        await ws.send(f'452-["echo",{PART},{PART.replace("0", "1")}]', b"x" * 10_000, b"x" * 10_001)
        assert await ws.closed(WITHIN) == 1009
        assert victim.heard == []
