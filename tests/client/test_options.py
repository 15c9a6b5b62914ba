"""Options: which are known, what they may be, and what needs a package."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import madang
from madang.client.options import ClientOptions
from madang.engine.client_options import ClientEngineOptions
from tests.client.tools import SOON, echo_server, gated, joined
from tests.hosts import listening


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"transport": ["polling"]}, "did you mean 'transports'"),
        ({"reconnectionDelay": 1}, "did you mean 'reconnection_delay'"),
        ({"reconnectionAttempts": 1}, "did you mean 'reconnection_attempts'"),
        ({"extraHeaders": {}}, "did you mean 'extra_headers'"),
        ({"forceNew": True}, "did you mean 'force_new'"),
        ({"zzz": 1}, "there are"),
        ({"transports": []}, "transports must be a list"),
        ({"transports": "websocket"}, "transports must be a list"),
        ({"transports": ["webtransport"]}, "'webtransport' is unknown"),
        ({"path": "socket.io"}, "path must begin with a slash"),
        ({"path": "/a?b"}, "path must begin with a slash, and hold no query"),
        ({"query": {"EIO": "4"}}, "'EIO'"),
        ({"query": {"sid": "x"}}, "'sid'"),
        ({"query": "a=b"}, "query must be a dict"),
        ({"extra_headers": {"X-A": "b\r\nX-C: d"}}, "one line of ASCII"),
        ({"extra_headers": {"X A": "b"}}, "'X A' is no name"),
        ({"extra_headers": {"X-A": 1}}, "'X-A'"),
        ({"extra_headers": [("X-A", "b")]}, "extra_headers must be a dict"),
        ({"timestamp_param": "transport"}, "timestamp_param"),
        ({"protocols": "chat"}, "protocols must be a list"),
        ({"protocols": ["a b"]}, "protocols must be a list"),
        ({"proxy": "localhost:1080"}, "proxy must be a URL"),
        ({"proxy": "ftp://localhost"}, "http, socks4, socks5"),
        ({"ssl_context": object(), "ssl_verify": False}, "ssl_verify"),
        ({"request_timeout": -1}, "request_timeout"),
        ({"max_http_buffer_size": 0}, "max_http_buffer_size"),
        ({"outbound_limit": "1"}, "outbound_limit"),
        (
            {"per_message_deflate": 1024},
            "per_message_deflate must be True, False or a dict of threshold, level",
        ),
        ({"per_message_deflate": {"treshold": 1}}, "unknown key 'treshold'; did you mean 'threshold'?"),
        ({"per_message_deflate": {"client_max_window_bits": 9}}, "there are threshold, level, mem_level"),
        ({"per_message_deflate": {"threshold": -1}}, "threshold must be a number of bytes, not -1"),
        ({"transport_options": {"websocket": {"per_message_deflate": {"level": 10}}}}, "level must be 1 to 9, not 10"),
        ({"transport_options": {"webtransport": {}}}, "'webtransport' is unknown"),
        ({"transport_options": {"polling": {"transports": []}}}, "'transports' is not an option of one transport"),
        ({"transport_options": {"polling": {"path": "x"}}}, "path must begin with a slash"),
        ({"timeout": 0}, "timeout must be a number above 0"),
        ({"ack_timeout": -1}, "ack_timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"reconnection_attempts": -1}, "reconnection_attempts"),
        ({"reconnection_attempts": float("nan")}, "reconnection_attempts"),
        ({"reconnection_delay": 0}, "reconnection_delay"),
        ({"reconnection_delay_max": "5"}, "reconnection_delay_max"),
        ({"randomization_factor": 1.5}, "between 0 and 1"),
        ({"json_default": 1}, "json_default must be callable"),
        ({"auth": "token"}, "auth must be a dict"),
    ],
)
def test_wrong_options(options: dict[str, Any], told: str):
    """A wrong name or value is an `OptionError` that says which, for both clients."""
    for kind in (madang.Client, madang.SyncClient):
        with pytest.raises(madang.OptionError) as caught:
            kind("http://localhost:3000", **options)
        assert told in str(caught.value)


@pytest.mark.feature("V9", "V10", "V12", "V13", "V14", "V15", "V16", "V18", "V24", "V31", "V32", "V33", "V34", "V35")
def test_defaults():
    """The defaults are those of the JavaScript client, in seconds; but an answer is not waited for for ever."""
    engine, client = ClientEngineOptions(), ClientOptions()
    assert (engine.path, engine.transports, engine.timestamp_param) == ("/socket.io/", ("polling", "websocket"), "t")
    assert (engine.upgrade, engine.try_all_transports, engine.remember_upgrade) == (True, False, False)
    assert (engine.timestamp_requests, engine.force_base64, engine.with_credentials) == (None, False, False)
    assert (engine.request_timeout, engine.ssl_verify, engine.per_message_deflate) == (None, True, False)
    assert (client.auto_connect, client.multiplex, client.force_new, client.timeout) == (True, True, False, 20)
    assert (client.reconnection, client.reconnection_attempts) == (True, float("inf"))
    assert (client.reconnection_delay, client.reconnection_delay_max, client.randomization_factor) == (1, 5, 0.5)
    assert (client.ack_timeout, client.retries) == (60, 0)


@pytest.mark.feature("V24", "V32")
def test_no_timeout():
    """As in JavaScript, False means no timeout of an attempt, and a `request_timeout` of 0 none of a request."""
    client = madang.Client("http://localhost", timeout=False, request_timeout=0)  # type: ignore[arg-type]
    assert client.manager.timeout is None


def test_lists_of_the_caller_stay_as_they_are():
    """The caller's list of transports is not changed."""
    mine = ["polling", "websocket"]
    madang.Client("http://localhost", transports=mine, remember_upgrade=True)  # type: ignore[arg-type]
    assert mine == ["polling", "websocket"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"transports": ["polling", "websocket"]}, "polling"),
        ({"transports": ["websocket"], "with_credentials": True}, "with_credentials"),
        ({"transports": ["websocket"], "proxy": "http://localhost:1"}, "proxy"),
        (
            {"transports": ["websocket"], "transport_options": {"websocket": {"proxy": "socks5://localhost:1"}}},
            "proxy",
        ),
    ],
)
@pytest.mark.parametrize("missing", ["aiohttp", "aiohttp_socks"])
def test_a_package_is_missing(options: dict[str, Any], what: str, missing: str, monkeypatch: pytest.MonkeyPatch):
    """What needs an HTTP client says so where it is made, if there is none, and how to get it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "madang.transports.dialing.find_spec", lambda name, *more: None if name == missing else found(name, *more)
    )
    with pytest.raises(madang.OptionError) as caught:
        madang.Client("http://localhost", **options)
    assert what in str(caught.value)
    assert "madang[client]" in str(caught.value)


async def test_websocket_alone_needs_no_package(monkeypatch: pytest.MonkeyPatch):
    """Over WebSocket alone the client works without an HTTP client."""
    monkeypatch.setattr("madang.transports.dialing.find_spec", lambda name, *more: None)
    async with listening(echo_server()) as url, joined(url, transports=["websocket"]) as client:
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1


@pytest.mark.feature("V15")
@pytest.mark.parametrize(
    ("asked", "polling", "websocket"), [(None, True, False), (True, True, True), (False, False, False)]
)
async def test_timestamps(asked: bool | None, polling: bool, websocket: bool):
    """A parameter that differs from request to request is added for polling, for both or for none, as asked."""
    async with gated() as gate:
        async with joined(gate.url, timestamp_requests=asked, timestamp_param="stamp") as client:
            assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        for transport, wanted in (("polling", polling), ("websocket", websocket)):
            stamps = [one.query.get("stamp") for one in gate.of(transport)]
            assert stamps
            assert all((stamp is not None) is wanted for stamp in stamps)
            assert not wanted or len(set(stamps)) == len(stamps)
        assert not any("t" in one.query for one in gate.asked)


@pytest.mark.feature("V16")
@pytest.mark.parametrize("way", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_force_base64(way: list[str]):
    """With `force_base64` binary data travels as base64 over both transports, and the server is told by `b64=1`."""
    io = echo_server()
    packets: list[Any] = []
    io.engine.on("connection", lambda session: session.on("packet", packets.append))
    async with gated(io) as gate, joined(gate.url, transports=way, force_base64=True) as client:
        assert await client.emit_with_ack("ask", b"\x00\xff", timeout=SOON) == b"\x00\xff"
        assert {one.query.get("b64") for one in gate.asked} == {"1"}
        assert b"bAP8=" in packets


@pytest.mark.feature("V17", "V20")
@pytest.mark.parametrize("way", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_headers_and_options_of_one_transport(way: list[str]):
    """`extra_headers` go with each request; `transport_options` replace common options for one transport alone."""
    own = {"polling": {"extra_headers": {"X-Own": "p"}}, "websocket": {"query": {"q": "w"}, "timestamp_requests": True}}
    options: dict[str, Any] = {"extra_headers": {"X-Own": "both", "User-Agent": "yard"}, "query": {"q": "both"}}
    async with gated() as gate:
        async with joined(gate.url, transports=way, **options) as client:
            await client.emit_with_ack("ask", 1, timeout=SOON)
        assert {(one.headers["x-own"], one.headers["user-agent"]) for one in gate.asked} == {("both", "yard")}
        assert {one.query["q"] for one in gate.asked} == {"both"}
        del gate.asked[:]
        async with joined(gate.url, transports=way, transport_options=own, **options) as client:
            await client.emit_with_ack("ask", 1, timeout=SOON)
        for one in gate.of("polling"):
            assert (one.headers["x-own"], one.query["q"]) == ("p", "both")
        for one in gate.of("websocket"):
            assert (one.headers["x-own"], one.query["q"], "t" in one.query) == ("both", "w", True)


@pytest.mark.feature("V21")
async def test_sub_protocols():
    """`protocols` are offered in a WebSocket's handshake, and only there."""
    async with gated() as gate:
        async with joined(gate.url, protocols=["chat.v1", "chat.v2"]) as client:
            await client.emit_with_ack("ask", 1, timeout=SOON)
        assert {one.headers["sec-websocket-protocol"] for one in gate.of("websocket")} == {"chat.v1, chat.v2"}
        assert not any("sec-websocket-protocol" in one.headers for one in gate.of("polling"))


@pytest.mark.feature("V31")
async def test_auto_connect():
    """A client begins to connect when it is made, unless `auto_connect` is off; its namespaces do as it does."""
    io = echo_server()
    io.of("/chat")
    async with listening(io) as url:
        client = madang.Client(url, force_new=True)
        assert client.active
        await client.connected
        await client.close()
        client = madang.Client(url, force_new=True, auto_connect=False)
        chat = client.of("/chat")
        assert (client.active, chat.active, client.manager.state) == (False, False, "closed")
        await client.connect()
        assert not chat.connected
        await chat.connect()
        await client.close()
