"""What a URL says, and which clients share a connection because of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import madang
from madang.client.url import parse
from tests.client.tools import POLLING, QUICK, SOON, WAYS, WEBSOCKET, echo_server, gated, joined, port_of
from tests.hosts import listening


@pytest.mark.feature("V4")
@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "namespace"),
    [
        ("http://localhost", False, "localhost", 80, "/"),
        ("https://localhost", True, "localhost", 443, "/"),
        ("http://localhost:3000/", False, "localhost", 3000, "/"),
        ("http://localhost:3000/chat", False, "localhost", 3000, "/chat"),
        ("http://localhost:3000/chat/room?a=b", False, "localhost", 3000, "/chat/room"),
        ("ws://localhost", False, "localhost", 80, "/"),
        ("wss://localhost", True, "localhost", 443, "/"),
        ("localhost", True, "localhost", 443, "/"),
        ("localhost:3000", True, "localhost", 3000, "/"),
        ("example.com/chat", True, "example.com", 443, "/chat"),
        ("//example.com/chat", True, "example.com", 443, "/chat"),
        ("http://[::1]", False, "::1", 80, "/"),
        ("http://[::1]:3000/chat", False, "::1", 3000, "/chat"),
        ("HTTP://LOCALHOST:80", False, "localhost", 80, "/"),
        ("https://localhost:80", True, "localhost", 80, "/"),
    ],
)
def test_parts(url: str, secure: bool, host: str, port: int, namespace: str):
    """The path names the namespace, a missing scheme means https, and a missing port is the scheme's own."""
    target = parse(url)
    address = target.address
    assert (address.secure, address.host, address.port, target.namespace) == (secure, host, port, namespace)


@pytest.mark.feature("V4")
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost", "localhost"),
        ("http://localhost:443", "localhost:443"),
        ("https://localhost:443", "localhost"),
        ("http://[::1]:80", "[::1]"),
        ("http://[::1]:3000", "[::1]:3000"),
    ],
)
def test_netloc(url: str, host: str):
    """The usual port is left out of the requests, and an IPv6 address has brackets there."""
    assert parse(url).address.netloc == host


@pytest.mark.feature("V4")
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "named by a URL such as"),
        (None, "named by a URL such as"),
        (3000, "3000"),
        ("ftp://localhost", "scheme must be http, https, ws or wss"),
        ("http://", "names no host"),
        ("http://localhost:99999", "not the URL of a server"),
        ("http://localhost:abc", "not the URL of a server"),
        ("http://[::1", "not the URL of a server"),
        ("http://user:secret@localhost", "extra_headers"),
    ],
)
def test_wrong_urls(url: Any, told: str):
    """What is no URL of a server is an `OptionError` that says why, and keeps a password to itself."""
    with pytest.raises(madang.OptionError) as caught:
        madang.Client(url)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.feature("V4")
@pytest.mark.parametrize("way", WAYS)
async def test_the_path_is_the_namespace(way: str):
    """A client joins the namespace that its URL names, over the server's own path."""
    io = echo_server()
    io.of("/chat").on("ask", lambda socket, *args: f"chat {socket.nsp}")
    async with listening(io) as url, joined(f"{url}/chat?unused", transports=WAYS[way]) as client:
        assert client.nsp == "/chat"
        assert await client.emit_with_ack("ask", timeout=SOON) == "chat /chat"


@pytest.mark.feature("V5", "V19")
@pytest.mark.parametrize("way", WAYS)
async def test_query(way: str):
    """The URL's query is part of each request unless `query` is given, and never replaces the protocol's own."""
    async with gated() as gate:
        url = f"{gate.url}/?foo=bar&x=%ED%95%9C+%26&EIO=3&transport=other"
        async with joined(url, transports=WAYS[way]):
            pass
        assert {(one.query["foo"], one.query["x"], one.query["EIO"]) for one in gate.asked} == {("bar", "한 &", "4")}
        assert {one.transport for one in gate.asked} == set(WAYS[way])
        del gate.asked[:]
        async with joined(url, transports=WAYS[way], query={"own": "1 2&", "number": 7}):
            pass
        assert {(one.query["own"], one.query["number"]) for one in gate.asked} == {("1 2&", "7")}
        assert not any("foo" in one.query for one in gate.asked)


@pytest.mark.feature("V19")
@pytest.mark.parametrize("way", [WEBSOCKET, POLLING])
async def test_no_session_of_another(way: list[str]):
    """A `sid` in the URL's query does not get into the handshake."""
    async with gated() as gate:
        async with joined(f"{gate.url}/?sid=stolen", transports=way, reconnection=False):
            pass
        assert "sid" not in gate.asked[0].query


@pytest.mark.feature("V6", "V7")
async def test_clients_share_a_connection():
    """Namespaces of a server share a connection; one in use, `force_new` and `multiplex=False` get a new one."""
    io = echo_server()
    for name in ("/a", "/b"):
        io.of(name)
    async with listening(io) as url, asyncio.timeout(SOON):
        options: dict[str, Any] = {"transports": POLLING}
        main = madang.Client(url, **options)
        a = madang.Client(f"{url}/a", **options)
        again = madang.Client(f"{url}/a", **options)
        forced = madang.Client(f"{url}/b", force_new=True, **options)
        alone = madang.Client(f"{url}/b", multiplex=False, **options)
        other_path = madang.Client(f"{url}/b", path="/elsewhere", auto_connect=False, **options)
        clients = [main, a, again, forced, alone]
        for client in clients:
            await client.connected
        assert a.manager is main.manager
        assert len({client.manager for client in (*clients, other_path)}) == 5
        assert len({socket.conn.id for name in ("/", "/a", "/b") for socket in io.of(name).sockets.values()}) == 4
        await main.close()
        assert (main.is_connected, a.is_connected) == (False, True)
        assert a.manager.state == "open"
        await a.close()
        assert a.manager.state == "closed"
        for client in clients:
            await client.close()


@pytest.mark.feature("V6")
async def test_what_makes_two_servers_of_one():
    """Another scheme, host, port, query or option means another connection; a namespace and an `auth` do not."""
    first = madang.Client("http://localhost:3000/", auto_connect=False)
    same = madang.Client("ws://localhost:3000/chat", auth={"a": 1}, auto_connect=False)
    assert same.manager is first.manager
    for url in (
        "https://localhost:3000/b",
        "http://127.0.0.1:3000/b",
        "http://localhost:3001/b",
        "http://localhost:3000/b?x",
    ):
        assert madang.Client(url, auto_connect=False).manager is not first.manager
    for options in ({"path": "/p"}, {"extra_headers": {"X-A": "b"}}, {"query": {"a": "b"}}, {"timeout": 3}):
        assert madang.Client("http://localhost:3000/b", auto_connect=False, **options).manager is not first.manager


@pytest.mark.feature("V8", "V9")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "/socket.io/"),
        ({"path": "/own"}, "/own/"),
        ({"path": "/own/", "add_trailing_slash": False}, "/own"),
        ({"path": "/a b/한"}, "/a b/한/"),
    ],
)
async def test_path(way: str, options: dict[str, Any], path: str):
    """`path` is where the server answers, with a slash at its end unless `add_trailing_slash` is off."""
    async with gated(echo_server(**options)) as gate, joined(gate.url, transports=WAYS[way], **options) as client:
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        assert {one.path for one in gate.asked} == {path}


@pytest.mark.feature("V6", "V31")
async def test_after_a_close_a_client_may_come_back(free_port: int):
    """A client that was closed connects again, on the same connection object, wherever its server is now."""
    async with listening(echo_server(), port=free_port) as url, asyncio.timeout(SOON):
        client = madang.Client(url, auto_connect=False, **QUICK)
        assert client.manager.state == "closed"
        for _ in range(2):
            await client.connect()
            assert await client.emit_with_ack("ask", "again", timeout=SOON) == "again"
            await client.close()
        assert port_of(url) == port_of(client.manager.uri)
