"""Sessions of a lying server that nobody has thought of: packets and frames drawn at random.

Whatever comes, the client ends the session with a reason or goes on, and reaches the good server behind it; nothing
gets as far as the loop's exception handler, and nothing of the sessions is left.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import madang
from madang.client.connection import Connection
from madang.engine.client_session import ClientSession
from madang.transports.client_polling import PollingClient
from madang.transports.client_websocket import WebSocketClient
from tests.client.tools import BOTH, POLLING, WEBSOCKET
from tests.hostile.liar import Answers, Lie, Victim, endure, response
from tests.hostile.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

OPENING: Final = b'0{"sid":"s","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":100}'

PARTS: Final = [
    OPENING,
    b"0{}",
    b'40{"sid":"b"}',
    b'40{"sid":"b","pid":"p"}',
    b"41",
    b'42["age"]',
    b'421["age",{"a":[null,1.5,"\\u0000"]}]',
    b"430[]",
    b'44{"message":"no"}',
    b'40/chat,{"sid":"c"}',
    b'42/chat,["age"]',
    b"41/chat,",
    b'451-["age",{"_placeholder":true,"num":0}]',
    b'452-["age",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
    b'461-0[{"_placeholder":true,"num":0}]',
    b"2",
    b"3probe",
    b"6",
    b"1",
    b"bAAAA",
    b'42["age","AAAAAAA"]',
]

BITS: Final = [
    b"[",
    b"{",
    b'"',
    b",",
    b"/",
    b"-",
    b"9" * 40,
    b"1e999",
    b"\xff",
    b"\xed\xa0\x80",
    b"\x1e",
    b"\0",
    b"null",
]


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet, perhaps with something put in, taken out or changed."""
    packet = bytearray(draw(st.sampled_from(PARTS)))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        place = draw(st.integers(0, len(packet)))
        match draw(st.sampled_from(("in", "out", "noise"))):
            case "in":
                packet[place:place] = draw(st.sampled_from(BITS + PARTS))
            case "out":
                del packet[place : place + 3]
            case _:
                packet[place : place + 1] = draw(st.binary(max_size=2))
    return bytes(packet)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame with a packet; seldom one that may not be."""
    packet = draw(packets())
    opcode = draw(st.sampled_from([TEXT] * 9 + [BINARY] * 3 + [PING, PONG, CLOSE, CONTINUATION, 3]))
    odd = draw(st.integers(0, 19))
    return frame(
        opcode, packet if opcode < 8 else packet[:125], fin=odd != 1, bits=4 if odd == 2 else 0, masked=odd == 3
    )


def speaks(parts: list[bytes]) -> Lie:
    """A session over WebSocket: all at once, behind the handshake and the answer to CONNECT; then it ends."""

    async def tell(victim: Victim) -> None:
        await victim.accept()
        start = [frame(TEXT, packet, masked=False) for packet in (OPENING, b'40{"sid":"a"}')]
        await victim.say(b"".join(start + parts))

    return tell


def polls(payloads: list[list[bytes]]) -> Answers:
    """A session over polling; in the end the server closes it."""
    return Answers(*(response(b"\x1e".join(payload)) for payload in [[OPENING], *payloads]), *[response(b"1")] * 20)


def furnished(client: madang.Client) -> None:
    """A client that handles, answers, asks, and has a second namespace."""

    async def age(*args: Any) -> int:
        await asyncio.sleep(0)
        return len(args)

    def joined() -> None:
        client.volatile.emit("hello", b"bytes")
        client.emit_with_ack("how are you?", timeout=0.05).add_done_callback(lambda answer: answer.exception())

    client.on("age", age)
    client.on("connect", joined)
    client.of("/chat").on("age", lambda *args: args)


def hears(lies: list[Lie], transports: list[str]) -> None:
    """See that a client survives the lies."""
    told = asyncio.run(
        endure(*lies, setup=furnished, transports=transports, max_http_buffer_size=20_000, with_credentials=True)
    )
    for one in told:
        assert one.code != 1011, "an exception was raised in a callback of the WebSocket"
        assert one.reasons


few = settings(
    max_examples=10,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.mark.feature("G11", "W19", "W20")
class TestGenerated:
    @few
    @given(st.lists(st.lists(frames(), max_size=12), min_size=10, max_size=15))
    def test_over_websocket(self, sessions: list[list[bytes]]) -> None:
        """Frames of any kind, in any order."""
        hears([speaks(parts) for parts in sessions], WEBSOCKET)

    @few
    @given(st.lists(st.lists(st.lists(packets(), max_size=6), max_size=4), min_size=8, max_size=12))
    def test_over_polling(self, sessions: list[list[list[bytes]]]) -> None:
        """Payloads of any packets, in any order."""
        hears([polls(payloads) for payloads in sessions], POLLING)


@pytest.mark.parametrize("transports", [WEBSOCKET, POLLING, BOTH], ids="-".join)
def test_nothing_is_left(transports: list[str]) -> None:
    """Of a hundred sessions that ended badly nothing is left."""
    kinds = (ClientSession, Connection, WebSocketClient, PollingClient)
    wrong = [b"4", b"421", b"7", b'42["age"]', b'40{"sid":"a"}', b'451-["age",{"_placeholder":true,"num":0}]']
    lies: list[Lie] = []
    for number in range(100):
        packet = wrong[number % len(wrong)]
        lies.append(
            speaks([frame(TEXT, packet, masked=False)])
            if transports == WEBSOCKET
            else polls([[b'40{"sid":"a"}'], [packet]])
        )
    hears(lies, transports)
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, kinds)] == []
