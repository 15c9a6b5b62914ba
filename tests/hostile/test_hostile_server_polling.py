"""A server that answers a client's polling with what is no HTTP, too much of it, or nothing for ever."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest

import madang
from tests.client.tools import SOON
from tests.hostile.liar import JOINED, OPEN, Answers, Lie, Victim, endure_polling, polled, response

LIMIT = 100_000

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

#: answers to a poll that end the session, or the attempt to begin one, with "transport error"
BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "noise": bytes(range(128, 256)) + b"\r\n\r\n",
    "a status line alone": b"HTTP/1.1 200 OK\r\n",
    "a status that is none": b"HTTP/1.1 20x OK\r\n\r\n",
    "another protocol": b"SIP/2.0 200 OK\r\n\r\n",
    "a switch to WebSocket": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n42",
    "a huge header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "very many headers": b"HTTP/1.1 200 OK\r\n" + b"X-Again: x\r\n" * 100_000,
    "a header without a colon": b"HTTP/1.1 200 OK\r\nwhat\r\n\r\n",
    "a control character in a header": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n42",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n42",
    "a length of text": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n42",
    "fewer bytes than announced": response(OPEN.encode(), length=5000),
    "more bytes than the limit": response(b"4" * (LIMIT + 1)),
    "announced as endless": response(b"4" * LIMIT * 2, length=1 << 62),
    "chunks without end": CHUNKED + b"1000\r\n%b\r\n" % (b"4" * 4096) * 100,
    "a chunk of a negative size": CHUNKED + b"-5\r\n4",
    "a chunk of a size that is none": CHUNKED + b"zz\r\n4",
    "a chunk of a huge size": CHUNKED + b"f" * 40 + b"\r\n4",
    "a chunk with a long extension": CHUNKED + b"1;" + b"x" * 1_000_000,
    "chunks cut short": CHUNKED + b"5\r\n40",
    "gzip that is none": response(b"what", "Content-Encoding: gzip"),
    "a bomb": response(gzip.compress(b"4" * 20_000_000), "Content-Encoding: gzip"),
    "a bomb of deflate": response(zlib.compress(b"4" * 20_000_000), "Content-Encoding: deflate"),
    "a bomb in chunks": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(gzip.compress(b"4" * 20_000_000)), gzip.compress(b"4" * 20_000_000)),
    "a redirect": response(b"", "Location: http://127.0.0.1:1/", status="307 Again"),
    "no content": response(b"", status="204 No Content"),
    "an error": response(b"x" * 100_000, status="500 Oh"),
    "an error without end": response(b"x" * 100_000, status="503 Oh", length=1 << 50),
    "an error in JSON": response(b'{"code":{},"message":[[]]}', status="400 Oh"),
    "an error, compressed badly": response(b"what", "Content-Encoding: gzip", status="500 Oh"),
    "an unknown status": response(b"", status="999 What"),
}


@pytest.mark.feature("W18", "W19", "V24")
class TestAnswers:
    async def test_to_the_first_poll(self) -> None:
        """An answer that is no handshake, or no HTTP, is a failed attempt, told of in few words."""
        told = await endure_polling(*map(Answers, BROKEN.values()), max_http_buffer_size=LIMIT, timeout=5)
        reasons = {name: one.reasons for name, one in zip(BROKEN, told, strict=True)}
        assert reasons == {name: ["failed"] for name in BROKEN}
        assert max(len(one.descriptions[0]) for one in told) < 1000
        assert not any("timeout" in one.descriptions[0] for one in told)

    async def test_to_a_later_poll(self) -> None:
        """The same in the middle of a session ends it as a transport error."""
        joined = (response(OPEN.encode()), response(JOINED.encode()))
        told = await endure_polling(*(Answers(*joined, data) for data in BROKEN.values()), max_http_buffer_size=LIMIT)
        reasons = {name: one.reason for name, one in zip(BROKEN, told, strict=True)}
        assert reasons == dict.fromkeys(BROKEN, "transport error")

    async def test_to_a_post(self) -> None:
        """The same as the answer to what the client sends."""
        told = await endure_polling(
            *(Answers(response(OPEN.encode()), posts=data) for data in BROKEN.values()), max_http_buffer_size=LIMIT
        )
        reasons = {name: one.reason for name, one in zip(BROKEN, told, strict=True)}
        assert reasons == dict.fromkeys(BROKEN, "transport error")

    async def test_payloads(self) -> None:
        """A body that is no payload ends the session as a parse error, or the attempt."""
        wrong = ["", "\x1e", "\x1e\x1e", "<html>", "ok", "b", "bA", "b====", "b\x1e", "\xff", "42\x1e", '42["age"]\x1e']
        told = await endure_polling(*map(polled, wrong))
        assert {one.reasons[0] for one in told} == {"parse error"}
        told = await endure_polling(*(Answers(response(body.encode())) for body in wrong))
        assert [one.reasons for one in told] == [["failed"]] * len(wrong)

    async def test_a_bomb_takes_no_memory(self) -> None:
        """Of a compressed answer no more is inflated than `max_http_buffer_size`, and a little."""
        bomb = Answers(response(gzip.compress(b"4" * 60_000_000), "Content-Encoding: gzip"))
        tracemalloc.start()
        try:
            told = await endure_polling(bomb, max_http_buffer_size=LIMIT)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert told[0].reasons == ["failed"]
        assert peak < 12_000_000


@pytest.mark.feature("V32", "V41")
class TestSlowly:
    async def test_the_first_answer_drips(self) -> None:
        """A handshake that drips in may take as long as one attempt may."""

        async def lie(victim: Victim) -> None:
            await victim.say(response(b"", length=10**6))
            await drip(victim, b"0")

        (told,) = await endure_polling(lie, timeout=0.3)
        assert (told.reasons, "timeout" in told.descriptions[0]) == (["failed"], True)

    @pytest.mark.parametrize("start", [response(b"", length=10**6), CHUNKED, b"HTTP/1.1 200 OK\r\nX: "])
    async def test_a_later_answer_drips(self, start: bytes) -> None:
        """A poll that is answered byte by byte is no sign of life: the heartbeat ends it."""
        opening = OPEN.replace("25000", "150").replace("20000", "100")
        good = Answers(response(opening.encode()), response(JOINED.encode()))

        async def lie(victim: Victim) -> None:
            if victim.head.startswith(b"POST") or good.answers:
                await good(victim)
            else:
                await victim.say(start)
                await drip(victim, b"1\r\n4\r\n" if start == CHUNKED else b"X")

        (told,) = await endure_polling(lie)
        assert told.reasons == ["ping timeout"]


async def drip(victim: Victim, part: bytes) -> None:
    """Send a little again and again, until the client has gone."""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(SOON):
            while not victim.writer.transport.is_closing():
                await victim.say(part)
                await asyncio.sleep(0.01)


@pytest.mark.feature("H5")
class TestFloods:
    async def test_heads_without_end(self) -> None:
        """Provisional answers without end are no answer: the attempt ends in time, and so does a session."""

        async def flood(victim: Victim) -> None:
            with suppress(ConnectionError):
                while not victim.writer.transport.is_closing():
                    await victim.say(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
                    await asyncio.sleep(0)

        opening = OPEN.replace("25000", "150").replace("20000", "100")
        good = Answers(response(opening.encode()), response(JOINED.encode()))

        async def later(victim: Victim) -> None:
            await (good(victim) if victim.head.startswith(b"POST") or good.answers else flood(victim))

        told = await endure_polling(flood, later, timeout=0.4)
        assert [one.reasons for one in told] == [["failed"], ["ping timeout"]]

    async def test_polls_with_nothing(self) -> None:
        """A server that answers every poll at once with noops or pings is asked less often; pongs do not pile up."""
        for noise in ("6", "6\x1e6", "2\x1e" * 3000 + "2"):
            asked = 0
            joined = Answers(response(OPEN.encode()), response(JOINED.encode()))
            began = time.monotonic()

            async def lie(victim: Victim, noise: str = noise, joined: Answers = joined, began: float = began) -> None:
                nonlocal asked
                if victim.head.startswith(b"POST") or joined.answers:
                    await joined(victim)
                    return
                asked += 1
                over = time.monotonic() - began > 0.5
                await victim.say(response(b"1" if over else noise.encode()))

            (told,) = await endure_polling(lie)
            assert told.reasons == ["transport close"]
            assert asked < 30
            assert sum(map(len, joined.posted)) < 200

    async def test_answers_that_are_never_taken(self) -> None:
        """Pings by the thousand, while the client's own request is never answered, leave one pong to be sent."""
        held: list[int] = []
        noted: list[madang.Client] = []
        answers = [OPEN, JOINED, *["2\x1e" * 20_000 + "2"] * 4, "1"]

        async def lie(victim: Victim) -> None:
            if victim.head.startswith(b"POST") and len(answers) < 6:
                await victim.reader.read()  # never answered
                await asyncio.sleep(SOON)
            elif victim.head.startswith(b"POST"):
                await victim.say(response(b"ok"))
            else:
                held.append(noted[0].buffered)
                await victim.say(response(answers.pop(0).encode()))

        (told,) = await endure_polling(lie, setup=noted.append)
        assert told.reasons == ["transport close"]
        assert max(held) < 100

    async def test_events_that_handlers_cannot_follow(self) -> None:
        """Of an answer with very many events as many are taken as may wait for a slow handler, then the others."""
        number = 50_000
        waiting: list[int] = []
        taken = 0

        def watch(client: madang.Client) -> None:
            @client.on("many")
            async def many() -> None:
                nonlocal taken
                taken += 1
                if taken % 1000 == 0:
                    await asyncio.sleep(0)
                    waiting.append(len(client._queue))

        (told,) = await endure_polling(polled('42["many"]\x1e' * number + '42["many"]', "1"), setup=watch)
        assert told.reasons == ["transport close"]
        assert taken == number + 1
        assert max(waiting) < 200

    async def test_others_have_their_turn(self) -> None:
        """While an answer with very many events is handled, the loop goes on turning."""
        turns: list[float] = []

        def watch(client: madang.Client) -> None:
            client.on("many", lambda: None)

            async def turn() -> None:
                while True:
                    turns.append(time.monotonic())
                    await asyncio.sleep(0)

            client.spawn(turn())

        await endure_polling(polled('42["many"]\x1e' * 300_000 + "1"), setup=watch)
        assert max(later - earlier for earlier, later in pairwise(turns)) < 0.25


@pytest.mark.feature("V18")
class TestCookies:
    async def test_evil(self) -> None:
        """What is no cookie is not kept; nothing that a server sets gets out of its header, or to another server."""
        evil = [
            "=",
            "a",
            ";;;",
            'a="\\015\\012X-Evil: 1"',
            "\xff=\xff",
            "a=b; Domain=example.com",
            "c=1; Expires=never",
        ]
        evil += ["d=1; Max-Age=1e999", "e=1; Max-Age=x", 'f="x', "g=" + "x" * 3000, "__proto__=1", "h=1; Path=/\x0b"]
        cookies = [f"Set-Cookie: {cookie}" for cookie in evil]
        heads: list[bytes] = []
        good = [
            Answers(response(OPEN.encode(), *cookies), response(JOINED.encode(), *cookies), response(b"1"))
            for _ in "123"
        ]

        def lie(answers: Answers) -> Lie:
            async def tell(victim: Victim) -> None:
                heads.append(victim.head)
                await answers(victim)

            return tell

        told = await endure_polling(*map(lie, good), with_credentials=True)
        assert {one.reasons[0] for one in told} <= {"transport close", "failed"}
        assert not any(line.lower().startswith(b"x-evil") for head in heads for line in head.split(b"\r\n"))

    async def test_very_many(self) -> None:
        """A server that sets ever more cookies does not make requests ever larger, nor the client ever fatter."""
        largest = 0
        number = 0
        joined = Answers(response(OPEN.encode()), response(JOINED.encode()))

        async def lie(victim: Victim) -> None:
            nonlocal largest, number
            largest = max(largest, len(victim.head))
            if victim.head.startswith(b"POST") or joined.answers:
                await joined(victim)
                return
            number += 1
            cookies = [f"Set-Cookie: n{number}-{cookie}={'x' * 1000}" for cookie in range(50)]
            await victim.say(response(b"1" if number == 30 else b'42["nobody"]', *cookies))

        (told,) = await endure_polling(lie, with_credentials=True)
        assert told.reasons == ["transport close"]
        assert number == 30
        assert 5000 < largest < 40_000


async def test_a_session_for_nobody() -> None:
    """A server that lets the client in and ends the session at once, again and again, is not asked without a pause."""
    lies = [polled("1") for _ in range(10)]
    began = time.monotonic()
    told = await endure_polling(*lies, reconnection_delay=0.05, reconnection_delay_max=0.05)
    assert [one.reasons for one in told] == [["transport close"]] * 10
    assert time.monotonic() - began > 10 * 0.05 * 0.9
