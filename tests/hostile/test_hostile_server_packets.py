"""A server that sends a client what no server may send: the client ends the session, says why, and comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import madang
from tests.hostile.liar import JOINED, OPEN, Answers, Victim, endure, endure_polling, packets_that, polled, response

DEEP = "[" * 100_000 + "]" * 100_000
HALF_DEEP = "[" * 900 + "]" * 900

#: Socket.IO packets that end the session with "parse error"
MALFORMED = {
    "no packet": "4",
    "type 7": "47",
    "type 9": "49[]",
    "type is a letter": "4x",
    "type is a sign": "4-1",
    "type is a wide digit": "4\uff12[]",
    "event without payload": "42",
    "event is an object": "42{}",
    "event is a string": '42"age"',
    "event is empty": "42[]",
    "event name null": "42[null]",
    "event name true": "42[true]",
    "event name object": "42[{}]",
    "event name array": '42[["age"]]',
    "reserved name": '42["connect"]',
    "event cut short": '42["age"',
    "event with a tail": '42["age"]]',
    "event with a NUL": '42["age"]\0',
    "unknown event cut short": '42["nobody",',
    "trailing comma": '42["age",]',
    "single quotes": "42['age']",
    "leading zero": '42["age",01]',
    "a number of 5000 digits": f'42["age",{"1" * 5000}]',
    "NaN": '42["age",NaN]',
    "Infinity": '42["age",Infinity]',
    "raw control character": '42["age","\x01"]',
    "count on a plain event": '421-["age"]',
    "sign before the id": '42-1["age"]',
    "id too long": "42" + "9" * 2000 + '["age"]',
    "id is no number": '421x["age"]',
    "ack is an object": "430{}",
    "ack without payload": "430",
    "ack of text": '430"x"',
    "disconnect with payload": "41{}",
    "connect error after connect": '44{"message":"no"}',
    "connect error with a list": "44/other,[]",
    "connect error with a number": "44/other,1",
    "connect again": JOINED,
    "connect again without a payload": "40",
    "connect elsewhere with a list": "40/other,[]",
    "connect elsewhere with bad JSON": "40/other,{",
    "too deep": f'42["age",{DEEP}]',
    "too deep in an unknown event": f'42["nobody",{DEEP}]',
    "too deep in an ack": f"430[{DEEP}]",
    "a second handshake": OPEN,
    "an unknown packet": "7",
    "an empty packet": "",
    "base64 that is none": "b!",
    "bytes out of turn": b"\x00",
    "base64 out of turn": "bAAAA",
    "binary without a count": '45-["age",{"_placeholder":true,"num":0}]',
    "binary with the count 0": '450-["age"]',
    "binary with a leading zero": '4501-["age",{"_placeholder":true,"num":0}]',
    "binary with too many": '4511-["age"]',
    "binary with a huge count": "45" + "9" * 30 + '-["age"]',
    "binary with more than announced": '451-["age",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    "binary with fewer than announced": '452-["age",{"_placeholder":true,"num":0}]',
    "placeholder out of range": '451-["age",{"_placeholder":true,"num":1}]',
    "placeholder below range": '451-["age",{"_placeholder":true,"num":-1}]',
    "placeholder used twice": '452-["age",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]',
    "placeholder without a number": '451-["age",{"_placeholder":true}]',
    "placeholder of text": '451-["age",{"_placeholder":true,"num":"0"}]',
    "placeholder of a fraction": '451-["age",{"_placeholder":true,"num":0.5}]',
    "placeholder of a bool": '451-["age",{"_placeholder":true,"num":false}]',
    "placeholder as the name": '451-[{"_placeholder":true,"num":0}]',
    "ack with a bad placeholder": '461-0[{"_placeholder":true,"num":7}]',
}

#: what a client need not like, and lives with
HARMLESS = {
    "an answer to nothing": ["430[]", "43[]", "4399999999999999999999[1]", "43" + "9" * 900 + "[]"],
    "a binary answer to nothing": ['461-5[{"_placeholder":true,"num":0}]', b"x"],
    "many answers to nothing": [f"43{number}[]" for number in range(3000)],
    "a namespace never asked for": [
        '40/other,{"sid":"x"}',
        '42/other,["age"]',
        '44/other,"no"',
        "41/other,",
        "43/other,0[]",
    ],
    "bytes for a namespace never asked for": ['451-/other,["a",{"_placeholder":true,"num":0}]', b"x"],
    "an unknown event": ['42["nobody",1]', '42["__proto__",{"__proto__":{"a":1},"constructor":{"prototype":{}}}]'],
    "an event with a number for a name": ["42[5,6]", "42[1e400]", "42[-0]"],
    "huge numbers": ['42["nobody",1e400,-1e400,' + "9" * 400 + "]"],
    "lone surrogates": ['42["nobody","\\ud800"]', '42["\\udfff"]'],
    "unusual depth": [f'42["nobody",{"[" * 300 + "]" * 300}]'],
    "noops": ["6"] * 2000,
    "pongs": ["3"] * 2000,
    "an upgrade of nothing": ["5", "5"],
    "pings": ["2", "2probe", "2" + "x" * 1000] * 200,
}


@pytest.mark.feature("G11", "R6", "W19", "W20")
class TestMalformed:
    async def test_over_websocket(self) -> None:
        """A malformed packet ends the session as a parse error, and the client comes back."""
        told = await endure(*(packets_that(True, packet) for packet in MALFORMED.values()))
        reasons = {name: one.reason for name, one in zip(MALFORMED, told, strict=True)}
        assert reasons == dict.fromkeys(MALFORMED, "parse error")
        assert {one.code for one in told} == {1002}

    async def test_over_polling(self) -> None:
        """A malformed packet in an answer does the same, and nothing behind it is handled."""
        heard: list[Any] = []
        after = '\x1e42["behind"]'
        packets = {name: packet for name, packet in MALFORMED.items() if isinstance(packet, str)}
        told = await endure_polling(
            *(polled(packet + after) for packet in packets.values()),
            setup=lambda client: client.on("behind", lambda: heard.append(1)),
        )
        reasons = {name: one.reason for name, one in zip(packets, told, strict=True)}
        assert reasons == dict.fromkeys(packets, "parse error")
        assert heard == []

    async def test_not_utf8(self) -> None:
        """Text that is not UTF-8 ends the session."""
        wrong = [
            b'42["age","\xff"]',
            b'42["\xff"]',
            b"40/\xff,",
            b'42/\xc3\x28,["age"]',
            b'42["\xed\xa0\x80"]',
            b"\xff",
        ]

        def lie(packet: bytes) -> Any:
            async def tell(victim: Victim) -> None:
                await victim.join()
                await victim.say(bytes((0x81, len(packet))) + packet)
                await victim.gone()

            return tell

        told = await endure(*map(lie, wrong))
        assert [one.reason for one in told] == ["parse error"] * len(wrong)
        told = await endure_polling(*map(polled, wrong))
        assert [one.reason for one in told] == ["parse error"] * len(wrong)


@pytest.mark.feature("G11", "M12", "L10")
async def test_harmless() -> None:
    """What is merely senseless, or for somebody else, is ignored: the client answers as before."""
    told = await endure(*(packets_that(False, *packets) for packets in HARMLESS.values()))
    assert [one.reason for one in told] == ["transport close"] * len(HARMLESS)


@pytest.mark.feature("W13", "G10")
class TestBeforeConnect:
    async def test_too_many_events(self) -> None:
        """Events that come before CONNECT wait for it, up to a bound; beyond that the server is not to be trusted."""

        async def lie(victim: Victim) -> None:
            await victim.accept()
            await victim.send(OPEN, *[f'42["early","{"x" * 10_000}"]' for _ in range(200)])
            await victim.gone()

        assert [one.reason for one in await endure(lie)] == ["parse error"]

    async def test_before_the_handshake(self) -> None:
        """Whatever comes before the open packet is no handshake; the attempt fails."""
        early = ['42["age"]', JOINED, b"\x00", "bAAAA", "7", "", "x", "4"]

        def lie(packet: str | bytes) -> Any:
            async def tell(victim: Victim) -> None:
                await victim.accept()
                await victim.send(packet)
                await victim.gone()

            return tell

        told = await endure(*map(lie, early))
        assert [one.reason for one in told] == ["failed"] * len(early)
        told = await endure_polling(*(Answers(response(p.encode())) for p in early if isinstance(p, str)))
        assert {one.reason for one in told} == {"failed"}

    async def test_pings_before_the_handshake(self) -> None:
        """A ping before the open packet is no handshake either, and is answered by nothing."""

        async def lie(victim: Victim) -> None:
            await victim.accept()
            await victim.send("2")
            await victim.gone()

        polling = Answers(response(b"2"))
        assert [one.reason for one in await endure(lie)] == ["failed"]
        assert [one.reason for one in await endure_polling(polling)] == ["failed"]
        assert polling.posted == []


HANDSHAKES: dict[str, tuple[Any, bool]] = {
    "no object": ([], False),
    "text": ("x", False),
    "null": (None, False),
    "nothing": ({}, False),
    "no sid": ({"sid": None}, False),
    "empty sid": ({"sid": ""}, False),
    "sid is a number": ({"sid": 7}, False),
    "giant sid": ({"sid": "x" * 100_000}, False),
    "no interval": ({"pingInterval": None}, False),
    "interval 0": ({"pingInterval": 0}, False),
    "negative interval": ({"pingInterval": -1}, False),
    "interval of text": ({"pingInterval": "25000"}, False),
    "interval true": ({"pingInterval": True}, False),
    "timeout 0": ({"pingTimeout": 0}, False),
    "timeout a list": ({"pingTimeout": [1]}, False),
    "maxPayload 0": ({"maxPayload": 0}, False),
    "negative maxPayload": ({"maxPayload": -1}, False),
    "maxPayload of text": ({"maxPayload": "x"}, False),
    "maxPayload true": ({"maxPayload": True}, False),
    "upgrades of text": ({"upgrades": "websocket"}, False),
    "upgrades an object": ({"upgrades": {}}, False),
    "interval 1e300": ({"pingInterval": 1e300, "pingTimeout": 1e308}, True),
    "interval with 400 digits": ({"pingInterval": 10**400}, True),
    "maxPayload 1": ({"maxPayload": 1}, True),
    "maxPayload 1.5": ({"maxPayload": 1.5}, True),
    "maxPayload 0.5": ({"maxPayload": 0.5}, False),
    "maxPayload 1e308": ({"maxPayload": 1e308}, True),
    "maxPayload with 400 digits": ({"maxPayload": 10**400}, True),
    "upgrades of all sorts": ({"upgrades": [1, None, "webtransport", {}, "x" * 1000]}, True),
    "sid for another header": ({"sid": "a\r\nX-Evil: 1\r\n\r\n"}, True),
    "sid for another parameter": ({"sid": "a&transport=websocket&sid=b#?"}, True),
    "sid of surrogates": ({"sid": "\ud800"}, False),
    "sid beyond ASCII": ({"sid": "마당 \u0000"}, True),
}


def opening(said: Any) -> str:
    """An open packet."""
    plain = {"sid": "s", "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000}
    return "0" + json.dumps(plain | said if isinstance(said, dict) and said else said)


@pytest.mark.feature("G2")
class TestHandshakes:
    async def test_over_websocket(self) -> None:
        """A handshake that cannot be is a failed attempt; one that is merely absurd is kept within bounds."""

        def lie(said: Any, lives: bool) -> Any:
            async def tell(victim: Victim) -> None:
                if lives:
                    await victim.join(opening(said))
                    await victim.send('4277["age"]')
                    assert (await victim.text()).startswith(b"4377[")  # an error, where the answer itself is too large
                else:
                    await victim.accept()
                    await victim.send(opening(said))
                    await victim.gone()

            return tell

        told = await endure(*(lie(said, lives) for said, lives in HANDSHAKES.values()))
        reasons = {name: one.reason for name, one in zip(HANDSHAKES, told, strict=True)}
        assert reasons == {name: "transport close" if lives else "failed" for name, (_, lives) in HANDSHAKES.items()}

    async def test_over_polling(self) -> None:
        """The same over polling, where the session id becomes part of each further URL."""
        lies = [polled("1", opening=opening(said)) for said, _ in HANDSHAKES.values()]
        told = await endure_polling(*lies)
        reasons = {name: one.reasons[0] for name, one in zip(HANDSHAKES, told, strict=True)}
        assert reasons == {name: "transport close" if lives else "failed" for name, (_, lives) in HANDSHAKES.items()}
        assert {
            b"".join(lie.posted)[:2] for lie, (_, lives) in zip(lies, HANDSHAKES.values(), strict=True) if lives
        } == {b"40"}


@pytest.mark.feature("W18", "W27")
async def test_strange_answers_to_connect() -> None:
    """An answer to CONNECT that is no answer ends the session, or is a refusal in as few words as it gives."""
    broken = [
        '40{"sid":5}',
        '40{"sid":{}}',
        '40{"sid":"%s"}' % ("x" * 5000),
        '40{"sid":"x","pid":5}',
        "40[]",
        "44",
        "44[]",
    ]
    refused = ["40", "40{}", '44""', "44{}", '44{"message":5}', '44{"message":{"a":[]},"data":{}}']
    refused += [f'44{{"message":{HALF_DEEP}}}', f'44{{"message":"{"x" * 100_000}"}}']

    def lie(answer: str, end: bool) -> Any:
        async def tell(victim: Victim) -> None:
            await victim.accept()
            await victim.send(OPEN)
            assert await victim.text() == b"40"
            await victim.send(answer)
            if end:
                await victim.gone()
            else:
                assert await victim.text() == b"40"  # the next try, as the client's handler wants it

        return tell

    told = await endure(*(lie(answer, True) for answer in broken))
    assert [one.reason for one in told] == ["parse error"] * len(broken)
    told = await endure(*(lie(answer, False) for answer in refused))
    assert [one.reason for one in told] == ["transport close"] * len(refused)


@pytest.mark.feature("W20", "O11")
async def test_disconnects_without_end() -> None:
    """Each DISCONNECT ends the namespace or an attempt to join it; each is told of, and none is too many."""
    heard: list[str] = []

    def watch(client: madang.Client) -> None:
        client.on("disconnect", lambda reason: heard.append(f"disconnect: {reason}"))
        client.on("connect_error", lambda error: heard.append(f"connect_error: {error}"))

    async def lie(victim: Victim) -> None:
        await victim.join()
        await victim.send(*["41"] * 1000, JOINED, '4277["age"]')
        while await victim.text() != b"4377[7]":
            pass

    told = await endure(lie, setup=watch)
    assert [one.reason for one in told] == ["transport close"]
    assert heard[:1000] == ["disconnect: io server disconnect"] + ["connect_error: io server disconnect"] * 999


@pytest.mark.feature("R4", "R7")
class TestAttachments:
    async def test_interleaved(self) -> None:
        """Text, or a ping of Engine.IO, between a packet and its attachments: the former ends the session."""
        head = '451-["age",{"_placeholder":true,"num":0}]'
        told = await endure(
            packets_that(True, head, '42["age"]'),
            packets_that(True, head, "430[]"),
            packets_that(True, head, head),
            packets_that(True, head, "41"),
            packets_that(False, head, "2", "6", b"late"),
        )
        assert [one.reason for one in told] == ["parse error"] * 4 + ["transport close"]

    async def test_that_never_come(self) -> None:
        """Attachments that were announced and do not come end the session after a while."""

        def hurry(client: madang.Client) -> None:
            client.manager.attachments.delay = 0.05

        head = '451-["age",{"_placeholder":true,"num":0}]'
        told = await endure(packets_that(True, head), setup=hurry)
        assert [one.reason for one in told] == ["parse error"]
        assert "did not come in time" in told[0].descriptions[0]

    async def test_too_many(self) -> None:
        """More bytes than were announced end the session."""
        head = '451-["nobody",{"_placeholder":true,"num":0}]'
        assert [one.reason for one in await endure(packets_that(True, head, b"1", b"2"))] == ["parse error"]


async def test_questions_without_end() -> None:
    """A server that asks without reading the answers is read no further, or cut off; memory stays bounded."""
    held: list[int] = []

    def watch(client: madang.Client) -> None:
        client.on("tell", lambda: "x" * 100_000)

        async def look() -> None:
            while True:
                held.append(client.buffered)
                await asyncio.sleep(0.01)

        client.spawn(look())

    async def lie(victim: Victim) -> None:
        await victim.join()
        victim.writer.transport.set_write_buffer_limits(high=0)
        async with asyncio.timeout(1.0):
            for number in range(3000):
                await victim.send(f'42{number}["tell"]')

    told = await endure(lie, setup=watch, outbound_limit=2_000_000)
    assert told[0].reasons
    assert max(held) < 4_000_000
