"""Pages that may not reach the server, over HTTP and over WebSocket."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.conformance.wire import DEADLINE, SOCKET, address, before, browser
from tests.hostile.raw import connection, handshake
from tests.hostile.victim import NO_TLS, attacked
from tests.hosts import Host

FOREIGN = ["https://evil.example", "null", "file://", "http://127.0.0.1.evil.example", "http://evil.example@127.0.0.1"]
FOREIGN += [
    "http://localhost:1",
    "http://",
    "://",
    "127.0.0.1",
    "http://127.0.0.1:99999",
    "http://[::1",
    "*",
    "x" * 5000,
]


async def statuses(url: str, *headers: str) -> tuple[int, int]:
    """Status of a polling handshake and of a WebSocket handshake with the same further headers."""
    found: list[int] = []
    plain = f"GET {address(SOCKET, 'polling')} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nConnection: close\r\n"
    requests = (
        (plain + "".join(f"{header}\r\n" for header in headers) + "\r\n").encode("latin-1"),
        handshake(url, address(SOCKET, "websocket"), *headers),
    )
    for request in requests:
        async with connection(url) as client:
            await client.send(request)
            line = await before(DEADLINE, client.reader.readline(), "a response")
            found.append(int(line.split(b" ")[1]))
    return found[0], found[1]


@pytest.mark.feature("C4", "C10")
async def test_foreign(host: Host) -> None:
    """A foreign Origin is refused on HTTP with 403 and on WebSocket alike, however it is written."""
    async with attacked(host) as victim:
        for origin in FOREIGN:
            assert await statuses(victim.url, f"Origin: {origin}") in ((403, 400), (403, 403)), origin
        assert len(victim.io.engine.sessions) == 1


@pytest.mark.feature("C4")
async def test_own(host: Host) -> None:
    """The server's own origin is let in, in any case; so is a request without one."""
    async with attacked(host, connect_timeout=0.3) as victim:
        port = urlsplit(victim.url).port
        for origin in (f"http://127.0.0.1:{port}", f"HTTP://127.0.0.1:{port}", f"https://127.0.0.1:{port}"):
            assert await statuses(victim.url, f"Origin: {origin}") == (200, 101), origin
        assert await statuses(victim.url) == (200, 101)


@pytest.mark.feature("C4")
@pytest.mark.parametrize(
    ("origin", "forwarded"),
    [
        ("https://chat.example", "chat.example"),
        ("https://chat.example:443", "chat.example"),
        ("https://chat.example", "chat.example:443"),
        ("http://CHAT.example", "chat.EXAMPLE:80"),
        ("https://chat.example", "inner, chat.example"),
    ],
)
async def test_behind_a_proxy(host: Host, origin: str, forwarded: str) -> None:
    """Behind a proxy the host it names counts as the server's own, and a default port as none."""
    async with attacked(host, connect_timeout=0.3) as victim:
        headers = (f"Origin: {origin}", f"X-Forwarded-Host: {forwarded}")
        assert await statuses(victim.url, *headers) == (200, 101)


@pytest.mark.feature("C10")
async def test_bad_bytes(host: Host) -> None:
    """An Origin with control characters never gets a session."""
    async with attacked(host) as victim:
        for origin in ("http://a\x01b", "http://a\x7fb", "\x0b"):
            polling, websocket = await statuses(victim.url, f"Origin: {origin}")
            assert polling == websocket == 400
        assert len(victim.io.engine.sessions) == 1


@pytest.mark.feature("C3", "C4")
async def test_answers_never_name_a_foreign_origin(host: Host) -> None:
    """No answer reflects an origin that is not allowed, and none allows credentials to just anyone."""
    async with (
        attacked(host, cors={"origin": "https://good.example", "credentials": True}) as victim,
        browser(victim.url, verify=NO_TLS) as http,
    ):
        for origin in ("https://evil.example", "null", "https://good.example.evil.example", "https://good.example/"):
            for method in ("GET", "OPTIONS"):
                response = await http.request(method, address(SOCKET, "polling"), headers={"origin": origin})
                assert response.status_code == 403
                assert "access-control-allow-origin" not in response.headers
                assert "access-control-allow-credentials" not in response.headers
