"""Socket.IO packets that nobody may send: each ends its own connection, and only that."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conformance.wire import AT_ONCE, SOCKET, session
from tests.hostile.raw import raw, text
from tests.hostile.victim import WITHIN, attacked, event, joined, joined_polling, serves
from tests.hosts import Host

MALFORMED = {
    "no packet": "4",
    "type 7": "47",
    "type 9": "49[]",
    "type is a letter": "4x",
    "type is a sign": "4-1",
    "type is a wide digit": "4\uff12[]",
    "event without payload": "42",
    "event is an object": "42{}",
    "event is a string": '42"echo"',
    "event is empty": "42[]",
    "event name null": "42[null]",
    "event name true": "42[true]",
    "event name object": "42[{}]",
    "event name array": '42[["echo"]]',
    "event cut short": '42["echo"',
    "event with a tail": '42["echo"]]',
    "event with a tail of text": '42["echo"]x',
    "event with a NUL": '42["echo"]\0',
    "unknown event cut short": '42["nobody",',
    "trailing comma": '42["echo",]',
    "single quotes": "42['echo']",
    "leading zero": '42["echo",01]',
    "NaN": '42["echo",NaN]',
    "Infinity": '42["echo",Infinity]',
    "minus Infinity": '42["echo",-Infinity]',
    "NaN to a typed handler": '42["echo typed",NaN]',
    "raw control character": '42["echo","\x01"]',
    "count on a plain event": '421-["echo"]',
    "sign before the id": '42-1["echo"]',
    "id too long": "42" + "9" * 2000 + '["echo"]',
    "id is no number": '421x["echo"]',
    "ack is an object": "430{}",
    "ack without payload": "430",
    "disconnect with payload": "41{}",
    "connect error from a client": '44{"message":"no"}',
    "connect again": "40",
    "connect elsewhere with a list": "40/other,[]",
    "connect elsewhere with null": "40/other,null",
    "connect elsewhere with a number": "40/other,1.5",
    "connect elsewhere with text": '40/other,"x"',
    "connect elsewhere with bad JSON": "40/other,{",
    "event for a namespace not joined": '42/other,["echo"]',
    "event for an unknown namespace": '42/nowhere,["echo"]',
    "disconnect from a namespace not joined": "41/other,",
    "ack for a namespace not joined": "43/other,0[]",
}


@pytest.mark.feature("G11", "R6", "G7", "G9", "G10")
class TestMalformed:
    async def test_over_websocket(self, host: Host) -> None:
        """A malformed packet closes its connection, and the sockets on it hear why."""
        survivors: list[str] = []
        async with attacked(host) as victim:
            for name, packet in MALFORMED.items():
                async with joined(victim.url) as ws:
                    await ws.send(packet)
                    try:
                        assert await ws.closed(AT_ONCE) == 1002
                    except AssertionError:
                        survivors.append(name)
                        continue
                    assert await victim.ended() == "forced close"
                    assert victim.violations.pop()
            assert not survivors
            assert victim.violations == victim.heard == []

    async def test_over_polling(self, host: Host) -> None:
        """A malformed packet in a POST is answered 400 and ends the session."""
        async with attacked(host) as victim:
            for packet in MALFORMED.values():
                async with joined_polling(victim.url) as client:
                    response = await client.post(packet)
                    assert response.status_code == 400, packet
                    assert await victim.ended() == "forced close"
                    assert client.sid not in victim.io.engine.sessions

    async def test_nothing_behind_a_violation_is_handled(self, host: Host) -> None:
        """What stands behind a malformed packet in the same POST is not looked at."""
        async with attacked(host) as victim, joined_polling(victim.url) as client:
            await client.post("\x1e".join([event("echo"), "42{}", event("echo")]))
            assert await victim.ended() == "forced close"
            assert victim.heard == ["echo"]


@pytest.mark.feature("G10", "R7")
async def test_before_connect(host: Host) -> None:
    """A packet or bytes that come before CONNECT close the connection."""
    binary = '451-["a",{"_placeholder":true,"num":0}]'
    async with attacked(host) as victim:
        for message in ('42["echo"]', "430[]", "41", binary, "4", b"\x01\x02"):
            async with session(victim.url, SOCKET) as ws:
                await ws.send(message)
                assert await ws.closed(WITHIN) == 1002


@pytest.mark.feature("M12")
async def test_answers_to_nothing(host: Host) -> None:
    """An ack that nobody waits for, with whatever number, is ignored."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        for packet in ("430[]", "43[]", "4399999999999999999999[1]", "43" + "9" * 900 + "[]"):
            await ws.send(packet)
        await serves(ws)


@pytest.mark.feature("M15")
async def test_huge_ack_id(host: Host) -> None:
    """An ack id of hundreds of digits comes back as it was sent."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        number = "9" * 900
        await ws.send(f'42{number}["echo",1]')
        assert await ws.text() == f"43{number}[1]"


class TestNesting:
    @pytest.mark.feature("G11", "R6")
    async def test_too_deep(self, host: Host) -> None:
        """A hundred thousand nested containers are a malformed packet like any other."""
        arrays = "[" * 100_000 + "]" * 100_000
        objects = '{"a":' * 100_000 + "1" + "}" * 100_000
        part = "[" * 100_000 + '{"_placeholder":true,"num":0}' + "]" * 100_000
        packets = [f'42["{name}",{deep}]' for name in ("echo", "echo typed", "nobody") for deep in (arrays, objects)]
        packets += [f'451-["echo",{part}]', f"461-0[{part}]", f'40/other,{{"a":{arrays}}}', f"430[{objects}]"]
        async with attacked(host) as victim:
            for packet in packets:
                async with joined(victim.url) as ws:
                    await ws.send(packet)
                    assert await ws.closed(WITHIN) == 1002
            assert victim.heard == []

    @pytest.mark.feature("L10")
    @pytest.mark.parametrize("depth", [100, 300, 900])
    async def test_unusual_depth(self, host: Host, depth: int) -> None:
        """Some hundred levels are either echoed or refused as malformed; no handler fails over them."""
        payload = "[" * depth + "]" * depth
        async with attacked(host) as victim, joined(victim.url) as ws:
            await ws.send(f'421["echo",{payload}]')
            try:
                answer = await ws.text()
            except ConnectionClosed:
                assert ws.connection.close_code == 1002
            else:
                assert answer == f"431[{payload}]"


class TestNotUtf8:
    @pytest.mark.feature("G11")
    async def test_in_a_text_frame(self) -> None:
        """A text frame that is not UTF-8 closes its connection (plain uvicorn looks at that itself)."""
        packets = [b'42["echo","\xff"]', b'42["\xff"]', b"40/\xff,", b'42/\xc3\x28,["echo"]']
        packets += [b'42["echo typed",1,"\xed\xa0\x80"]', b"\xff", b"4\xff"]
        async with attacked("native") as victim:
            for packet in packets:
                async with raw(victim.url) as client:
                    await client.join()
                    await client.send(text(packet))
                    assert await client.closed() in (1002, 1007)
                    assert await victim.ended() in ("forced close", "parse error")
            assert victim.heard == []

    @pytest.mark.feature("G11", "D14")
    async def test_in_a_post(self, host: Host) -> None:
        """A POST that is not UTF-8 is answered 400 and ends the session."""
        async with attacked(host) as victim:
            for packet in (b'42["echo","\xff"]', b"40/\xff,", b"\xff", b"4\xff", b"b\xff"):
                async with joined_polling(victim.url) as client:
                    assert (await client.post(packet)).status_code == 400
                    assert await victim.ended() in ("forced close", "parse error")
            assert victim.heard == []


@pytest.mark.feature("L10")
async def test_lone_surrogates(host: Host) -> None:
    """Escaped lone surrogates, which JSON.stringify may write, come in and go out again."""
    async with attacked(host) as victim, joined(victim.url) as ws:
        await ws.send('421["echo","\\ud800"]')
        answer = await ws.text()
        assert json.loads(answer.removeprefix("431")) == ["\ud800"]
