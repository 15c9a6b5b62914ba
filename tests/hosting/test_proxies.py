"""The client's address and scheme behind proxies."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

import madang
from madang.engine.proxies import LOOPBACK, Proxies
from tests.hosts import ALL_HOSTS, Host, listening

pytestmark = pytest.mark.feature("B11")

PEER = ("10.0.0.7", 5000)


def _client(trusted: Any, headers: list[tuple[str, str]], remote: Any = PEER) -> tuple[Any, str]:
    return Proxies(trusted).client(
        remote, "http", [(name.encode(), value.encode("latin-1")) for name, value in headers]
    )


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 10.0.0.8, 10.1.1.1", "203.0.113.9"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("unknown", "10.0.0.7"),
        ("203.0.113.9, unknown, 10.0.0.8", "10.0.0.8"),
        ("203.0.113.9, , 10.0.0.8", "10.0.0.8"),
        ("", "10.0.0.7"),
        ("203.0.113.9:99999999", "203.0.113.9"),
        ("203.0.113.9:²", "203.0.113.9"),
        ("<script>, \xff", "10.0.0.7"),
        (", ".join(["10.0.0.8"] * 5000), "10.0.0.8"),
    ],
)
def test_addresses(told: str, address: str):
    """The client is the last address that no trusted proxy has, and nothing that cannot be read is taken for one."""
    assert _client("10.0.0.0/8", [("x-forwarded-for", told)])[0][0] == address


@pytest.mark.parametrize(
    ("hops", "schemes", "scheme"),
    [
        ("203.0.113.9", "https", "https"),
        ("203.0.113.9", "HTTPS", "https"),
        ("203.0.113.9", "wss", "https"),
        ("203.0.113.9", "http, https", "https"),
        ("203.0.113.9, 10.0.0.8", "https, http", "https"),
        ("1.1.1.1, 203.0.113.9, 10.0.0.8", "ftp, https, http", "https"),
        ("203.0.113.9, 10.0.0.8", "https", "https"),
        ("", "https", "https"),
        ("203.0.113.9", "ftp", "http"),
        ("203.0.113.9", "", "http"),
    ],
)
def test_schemes(hops: str, schemes: str, scheme: str):
    """The scheme is the one that was told where the client was seen."""
    headers = [("x-forwarded-for", hops), ("x-forwarded-proto", schemes)]
    assert _client("10.0.0.0/8", headers)[1] == scheme


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("for=203.0.113.9;proto=https", (("203.0.113.9", 0), "https")),
        ('For="[2001:db8::1]:4711"; Proto=https;by=10.0.0.7', (("2001:db8::1", 4711), "https")),
        ("for=1.1.1.1, for=203.0.113.9;proto=https, for=10.0.0.8;proto=http", (("203.0.113.9", 0), "https")),
        ("for=_hidden;proto=https", (PEER, "https")),
        ("for", (PEER, "http")),
        (";;==,,", (PEER, "http")),
    ],
)
def test_forwarded(told: str, expected: Any):
    """The header of RFC 7239 is read where the older one is absent, which otherwise counts."""
    assert _client("10.0.0.0/8", [("forwarded", told)]) == expected
    both = [("forwarded", told), ("x-forwarded-for", "198.51.100.1")]
    assert _client("10.0.0.0/8", both)[0] == ("198.51.100.1", 0)


def test_whom_to_trust():
    """Only those who are named are believed; a Unix socket and everybody have names of their own."""
    told = [("x-forwarded-for", "1.1.1.1, 203.0.113.9"), ("x-forwarded-proto", "https")]
    believed, everybody = (("203.0.113.9", 0), "https"), (("1.1.1.1", 0), "https")
    assert _client(LOOPBACK, told) == (PEER, "http")
    assert _client([], told) == (PEER, "http")
    assert _client(" 192.0.2.1 , 10.0.0.7,", told) == believed
    assert _client("*", told) == everybody
    assert _client("unix", told) == (PEER, "http")
    assert _client("10.0.0.7", told, None) == (None, "http")
    assert _client(["unix"], told, None) == believed
    assert _client(LOOPBACK, told, ("::1", 1)) == believed
    assert _client(LOOPBACK, told, ("::ffff:127.0.0.1", 1)) == believed
    assert _client(LOOPBACK, told, ("a name", 1)) == (("a name", 1), "http")


@pytest.mark.parametrize("given", ["10.0.0.300", ["proxy.example"], "10.0.0.7/8", 3, b"*", [None]])
def test_bad_options(given: Any):
    """What names no address or network is refused when the server is made."""
    with pytest.raises(madang.OptionError, match="trusted_proxies"):
        madang.Server(trusted_proxies=given)


@pytest.mark.parametrize("host", ALL_HOSTS)
@pytest.mark.parametrize("trusted", [None, "127.0.0.1", "192.0.2.1"])
async def test_on_every_host(host: Host, trusted: str | None):
    """The option means the same on every host; on this machine a proxy is trusted unless the option says otherwise."""
    io = madang.Server(trusted_proxies=trusted) if trusted else madang.Server()
    io.on("who", lambda socket: [socket.handshake.address, socket.handshake.secure])
    headers = {"x-forwarded-for": "1.1.1.1, 203.0.113.9", "x-forwarded-proto": "https"}
    async with listening(io, host) as url, httpx.AsyncClient(headers=headers) as http:
        address = f"{url}/socket.io/?EIO=4&transport=polling"
        sid = json.loads((await http.get(address)).text[1:])["sid"]
        await http.post(f"{address}&sid={sid}", content="40")
        await http.get(f"{address}&sid={sid}")
        await http.post(f"{address}&sid={sid}", content='420["who"]')
        answer = json.loads((await http.get(f"{address}&sid={sid}")).text.removeprefix("430"))
    # uvicorn by itself believes a proxy on this machine, and says no more who it was
    believed = trusted != "192.0.2.1" or host == "uvicorn"
    assert answer == [["203.0.113.9", True] if believed else ["127.0.0.1", False]]
