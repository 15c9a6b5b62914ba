"""HTTP requests that are too large, too many, or not what they say."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.conformance.wire import AT_ONCE, DEADLINE, SOCKET, Polling, before, browser, refusal, tcp
from tests.hostile.victim import NO_TLS, attacked, event, joined_polling
from tests.hosts import Host

LIMIT = 10_000


def head(client: Polling, *headers: str, method: str = "POST") -> list[str]:
    """The head of a request of a session."""
    return [f"{method} {client.url()} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: text/plain", *headers]


class TestTooLarge:
    @pytest.mark.feature("D7", "A10")
    async def test_by_its_announced_length(self, host: Host) -> None:
        """A body whose length is over the limit is 413 before a byte of it was sent, and the session lives on."""
        async with attacked(host, max_http_buffer_size=LIMIT) as victim, joined_polling(victim.url) as client:
            for length in (LIMIT + 1, 10**9, 10**18, "9" * 30):
                async with tcp(victim.url) as connection:
                    await connection.write(*head(client, f"Content-Length: {length}"))
                    status, _, body = await connection.answer()
                    assert (status, body) in ((413, b""), (400, b"Invalid HTTP request received."))
            await client.send(event("echo", 1, ack=1))
            assert await client.packets() == ["431[1]"]

    @pytest.mark.feature("D7", "D17", "B12")
    async def test_endless_chunks(self, host: Host) -> None:
        """A body without end is 413 when it has passed the limit, and is not read any further."""
        async with attacked(host, max_http_buffer_size=LIMIT) as victim, joined_polling(victim.url) as client:
            async with tcp(victim.url) as connection:
                await connection.write(*head(client, "Transfer-Encoding: chunked"))
                sent = 0
                with suppress(ConnectionError):
                    while sent < 50_000_000 and not connection.reader.at_eof():
                        await connection.more(b"1000\r\n" + b"4" * 0x1000 + b"\r\n")
                        sent += 0x1000
                        if sent > LIMIT and connection.reader._buffer:  # type: ignore[attr-defined]
                            break
                        await asyncio.sleep(0)
                status, _, _ = await connection.answer()
                assert status == 413
                assert sent < 5_000_000
            await client.send(event("echo", 1, ack=1))
            assert await client.packets() == ["431[1]"]

    @pytest.mark.feature("B12", "D13")
    async def test_chunks_of_one_byte(self, host: Host) -> None:
        """A body of the limit's size in chunks of one byte is read like any other."""
        packet = event("echo", "x" * 500, ack=1).encode()
        async with attacked(host, max_http_buffer_size=len(packet)) as victim, joined_polling(victim.url) as client:
            async with tcp(victim.url) as connection:
                chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in packet)
                await connection.write(*head(client, "Transfer-Encoding: chunked"), body=chunks + b"0\r\n\r\n")
                assert (await connection.answer())[0] == 200
            assert (await client.packets())[0].startswith('431["xxx')


class TestOverlap:
    @pytest.mark.feature("D4")
    async def test_many_polls(self, host: Host) -> None:
        """Of many polls at once the first ends with the session and all others are refused."""
        async with attacked(host) as victim, joined_polling(victim.url) as client:
            first = await client.hold()
            others = await asyncio.gather(*(client.poll() for _ in range(20)))
            assert {other.status_code for other in others} == {400}
            assert (await before(DEADLINE, first, "the end of the first poll")).text == "1"
            assert await victim.ended() == "transport error"

    @pytest.mark.feature("D5")
    async def test_second_post(self, host: Host) -> None:
        """A POST beside one that is still being sent is refused and ends the session; both get their answer."""
        async with attacked(host) as victim, joined_polling(victim.url) as client, tcp(victim.url) as connection:
            await connection.write(*head(client, "Content-Length: 100"), body=b"42")
            await client.settle()
            assert (await client.post("42[]")).status_code == 400
            assert await victim.ended() == "transport error"
            await connection.more(b"x" * 98)
            assert (await connection.answer())[0] == 400


@pytest.mark.feature("D14", "G12")
async def test_bodies_that_are_no_payload(host: Host) -> None:
    """A body that holds a packet of no known type is answered 400 and ends the session."""
    async with attacked(host) as victim:
        for body in (b"", b"\x1e", b"\x1e\x1e", b"4\x1e", b"7", b"hello", b"\xff\xfe", b"d=42", b"{}", b"9:42[]"):
            async with joined_polling(victim.url) as client:
                assert (await client.post(body)).status_code == 400, body
                assert await victim.ended() in ("parse error", "forced close")
        assert victim.heard == []


@pytest.mark.feature("D8", "D15", "C11")
async def test_every_request_is_answered(host: Host) -> None:
    """Whatever method, type, length or encoding a request names, it gets an answer, and no request stays open."""
    types = ["application/octet-stream", "application/x-www-form-urlencoded", "\xff"]
    async with attacked(host) as victim, browser(victim.url, verify=NO_TLS) as http:
        for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"):
            for kind in types:
                client = await Polling.open(http, SOCKET)
                sent = http.request(
                    method, client.url(), headers={b"content-type": kind.encode("latin-1")}, content=b"4"
                )
                assert 200 <= (await before(DEADLINE, sent, f"the answer to {method} {kind}")).status_code < 600
                await client.post("1")
        for encoding in ("gzip", "deflate", "br", "identity", "x"):
            client = await Polling.open(http, SOCKET)
            response = await client.post(b"\x1f\x8b\x08\x00", headers={"content-encoding": encoding})
            assert response.status_code == 400


@pytest.mark.feature("D15", "C11")
async def test_requests_without_a_session(host: Host) -> None:
    """Only a GET may begin a session; everything else is code 2, with or without a body."""
    async with attacked(host) as victim, browser(victim.url, verify=NO_TLS) as http:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            response = await http.request(method, f"{SOCKET}?EIO=4&transport=polling", content=b"x" * 5000)
            assert refusal(response) == (400, 2)


HOSTILE_SIDS = [
    "",
    "nobody",
    "../../etc/passwd",
    "__proto__",
    "__class__",
    "constructor",
    "null",
    "0",
    "[]",
    "{}",
    "true",
]
HOSTILE_SIDS += ["%00", "\u0000", "\ud55c\uae00", "a" * 5000, "-1", "*", "' OR 1=1 --", "<script>", "\r\nX: y"]


@pytest.mark.feature("G5", "C11")
async def test_hostile_session_ids(host: Host) -> None:
    """An id that the server has not given is unknown, whatever it is, for every method."""
    async with attacked(host) as victim, browser(victim.url, verify=NO_TLS) as http:
        for sid in HOSTILE_SIDS:
            for method in ("GET", "POST"):
                query = {"EIO": "4", "transport": "polling", "sid": sid}
                response = await before(AT_ONCE * 5, http.request(method, SOCKET, params=query), sid)
                assert refusal(response) == (400, 1), sid


@pytest.mark.feature("A5", "C11", "A21")
async def test_hostile_queries(host: Host) -> None:
    """A query that cannot be right is refused with its code."""
    async with attacked(host) as victim, browser(victim.url, verify=NO_TLS) as http:
        for query, code in {
            "": 0,
            "EIO=4": 0,
            "transport=polling": 5,
            "EIO=4&transport=__proto__": 0,
            "EIO=4&transport=polling%00": 0,
            "EIO=4&transport=%ff": 0,
            "EIO=4&transport": 0,
            "EIO=&transport=polling": 5,
            "EIO=4.0&transport=polling": 5,
            "EIO=%2B4&transport=polling": 5,
            "EIO=" + "4" * 5000 + "&transport=polling": 5,
            "EIO=4&transport=polling&transport=x": 0,
            "&" * 5000 + "EIO=3&transport=polling": 5,
        }.items():
            response = await http.get(f"{SOCKET}?{query}")
            assert refusal(response) == (400, code), query


class TestBrokenOff:
    @pytest.mark.feature("D6")
    async def test_half_a_head(self, host: Host) -> None:
        """A request whose head never ends costs nothing once its connection is gone."""
        async with attacked(host) as victim:
            for part in (
                b"G",
                b"GET ",
                b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n",
                b"\x16\x03\x01",
            ):
                async with tcp(victim.url) as connection:
                    await connection.more(part)

    @pytest.mark.feature("D6")
    async def test_half_a_body(self, host: Host) -> None:
        """A POST that breaks off ends its session at once, and nothing of it is handled."""
        async with attacked(host) as victim:
            for more in (["Content-Length: 100"], ["Transfer-Encoding: chunked"]):
                async with joined_polling(victim.url) as client:
                    async with tcp(victim.url) as connection:
                        part = b"42" if "Content" in more[0] else b"2\r\n42\r\n"
                        await connection.write(*head(client, *more), body=part)
                        await client.settle()
                    assert await victim.ended() == "transport error"
            assert victim.heard == []

    @pytest.mark.feature("D6")
    async def test_poll_broken_off(self, host: Host) -> None:
        """A poll that breaks off ends its session."""
        async with attacked(host) as victim, joined_polling(victim.url) as client:
            async with tcp(victim.url) as connection:
                await connection.write(*head(client, method="GET"))
                await client.settle()
            assert await victim.ended() == "transport error"
