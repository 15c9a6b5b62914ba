"""Options that are wrong are told of where they are given, by name."""

from __future__ import annotations

from typing import Any

import pytest

from madang import OptionError, Server
from madang.engine import Engine, Request
from madang.engine.cors import Cors, is_same_origin
from madang.errors import HandshakeError


@pytest.mark.feature("A7", "A8", "A9", "A10")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ping_interva": 1}, "did you mean 'ping_interval'"),
        ({"pingTimeout": 1}, "did you mean 'ping_timeout'"),
        ({"max_http_bufer_size": 1}, "did you mean 'max_http_buffer_size'"),
        ({"zzz": 1}, "there are"),
        ({"pingInterval": 1}, "did you mean 'ping_interval'"),
        ({"maxHttpBufferSize": 1}, "did you mean 'max_http_buffer_size'"),
        ({"cors_allowed_origins": "*"}, "cors={'origin'"),
        ({"async_mode": "asgi"}, "asyncio"),
        ({"logger": True}, "logger 'madang'"),
        ({"engineio_logger": True}, "logger 'madang.engine'"),
        ({"ping_interval": float("inf")}, "ping_interval"),
        ({"max_http_buffer_size": 0.5}, "max_http_buffer_size must be a whole number"),
        ({"path": None}, "path must begin with a slash"),
        ({"transports": None}, "transports must be a list"),
        ({"transports": [None]}, "None is unknown"),
        ({"allow_upgrades": "no"}, "allow_upgrades must be True or False"),
        ({"allow_request": 1}, "allow_request must be callable"),
        ({"generate_id": "x"}, "generate_id must be callable"),
        ({"cookie": "io"}, "cookie must be True or a dict"),
        ({"cookie": {"sameSite": "Lax"}}, "did you mean 'same_site'"),
        ({"cookie": {"max_age": True}}, "max_age cannot be True"),
        ({"cookie": {"name": "a; Domain=evil"}}, "name cannot be"),
        ({"ping_interval": 0}, "ping_interval must be a number above 0"),
        ({"ping_timeout": -1}, "ping_timeout"),
        ({"ping_timeout": True}, "ping_timeout"),
        ({"ping_timeout": "20"}, "ping_timeout"),
        ({"ping_timeout": float("nan")}, "ping_timeout"),
        ({"upgrade_timeout": None}, "upgrade_timeout"),
        ({"max_http_buffer_size": 0}, "max_http_buffer_size"),
        ({"outbound_limit": -5}, "outbound_limit"),
        ({"slow_client": "wait"}, "slow_client"),
        (
            {"per_message_deflate": 1024},
            "per_message_deflate must be True, False or a dict of threshold, server_no_con",
        ),
        ({"per_message_deflate": ["threshold"]}, "per_message_deflate must be True, False or a dict"),
        ({"per_message_deflate": {"serverNoContextTakeover": 1}}, "did you mean 'server_no_context_takeover'"),
        ({"per_message_deflate": {"zlibDeflateOptions": {}}}, "unknown key 'zlibDeflateOptions'; there are threshold,"),
        ({"per_message_deflate": {1: 2}}, "unknown key 1"),
        ({"per_message_deflate": {"threshold": -1}}, "threshold must be a number of bytes, not -1"),
        ({"per_message_deflate": {"threshold": True}}, "threshold must be a number of bytes, not True"),
        ({"per_message_deflate": {"threshold": 1.5}}, "threshold must be a number of bytes, not 1.5"),
        ({"per_message_deflate": {"server_max_window_bits": 8}}, "server_max_window_bits must be 9 to 15, not 8"),
        ({"per_message_deflate": {"client_max_window_bits": 16}}, "client_max_window_bits must be 9 to 15, not 16"),
        ({"per_message_deflate": {"level": 0}}, "level must be 1 to 9, not 0"),
        ({"per_message_deflate": {"mem_level": "8"}}, "mem_level must be 1 to 9, not '8'"),
        (
            {"per_message_deflate": {"client_no_context_takeover": 0}},
            "client_no_context_takeover must be True or False",
        ),
        ({"transports": []}, "transports"),
        ({"transports": "polling"}, "transports"),
        ({"transports": ["polling", "webtransport"]}, "webtransport"),
        ({"path": "socket.io"}, "path must begin with a slash"),
        ({"cookie": {"nam": "x"}}, "'nam'"),
        ({"cors": "http://localhost"}, "cors must be a dict"),
        ({"cors": {"orgin": "x"}}, "'orgin'"),
        ({"cors": {"origin": "localhost:3000"}}, "https://localhost:3000"),
        ({"cors": {"origin": "*", "credentials": True}}, "never goes with credentials"),
        ({"cors": {"origin": True, "credentials": True}}, "never goes with credentials"),
        ({"cors": {"origin": ["http://a", "*"], "credentials": True}}, "never goes with credentials"),
    ],
)
def test_wrong_options(options: dict[str, Any], told: str) -> None:
    """A wrong name or value is an `OptionError` that says which, for an engine and for a server."""
    for kind in (Engine, Server):
        with pytest.raises(OptionError) as caught:
            kind(**options)
        assert told in str(caught.value)


@pytest.mark.feature("A11", "A28")
@pytest.mark.parametrize("name", ["connect_timeout", "ack_timeout", "shutdown_timeout", "max_attachments"])
def test_wrong_options_of_the_server(name: str) -> None:
    """The server's own options are checked too."""
    with pytest.raises(OptionError, match=name):
        Server(**{name: 0})


def test_names_of_node_for_the_server() -> None:
    """Node's name of an option of the server is told what it is called here."""
    with pytest.raises(OptionError, match="did you mean 'connection_state_recovery'"):
        Server(connectionStateRecovery={})  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="cleanup_empty_child_namespaces must be True or False"):
        Server(cleanup_empty_child_namespaces=1)  # type: ignore[arg-type]


@pytest.mark.feature("A3", "A4")
@pytest.mark.parametrize(
    ("path", "slash", "wanted"),
    [("/chat", True, "/chat/"), ("/chat/", True, "/chat/"), ("/chat", False, "/chat"), ("/chat/", False, "/chat")],
)
def test_path(path: str, slash: bool, wanted: str) -> None:
    """The path ends with one slash, or with none where that was asked for."""
    assert Engine(path=path, add_trailing_slash=slash).options.path == wanted


def asked(origin: str | None, host: str = "server.example", **headers: str) -> Request:
    raw = [(b"host", host.encode())] if host else []
    if origin is not None:
        raw.append((b"origin", origin.encode("latin-1")))
    raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request("GET", "/", "", raw, received_at=0.0)


@pytest.mark.feature("C4")
@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://server.example", "server.example", True),
        ("https://server.example", "server.example", True),
        ("http://SERVER.example", "server.EXAMPLE", True),
        ("http://server.example:80", "server.example", True),
        ("https://server.example", "server.example:443", True),
        ("http://server.example:3000", "server.example:3000", True),
        ("http://[::1]:3000", "[::1]:3000", True),
        ("http://server.example:3000", "server.example", False),
        ("http://server.example", "server.example:3000", False),
        ("http://server.example.evil", "server.example", False),
        ("http://evil-server.example", "server.example", False),
        ("null", "server.example", False),
        ("null", "null", False),
        ("", "server.example", False),
        ("server.example", "server.example", False),
        ("http://server.example:x", "server.example", False),
        ("http://[bad", "[bad", False),
        ("http://server.example", "", False),
    ],
)
def test_same_origin(origin: str, host: str, same: bool) -> None:
    """An origin is the server's own if host and port are the same, a scheme's default port counting as none."""
    assert is_same_origin(origin, asked(origin, host)) is same


@pytest.mark.feature("C1", "C4")
@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        ("https://a.example", "https://a.example", True),
        ("https://a.example/", "https://a.example", True),
        ("https://A.example", "https://a.EXAMPLE", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        (["https://a.example", "https://b.example"], "https://b.example", True),
        ([], "https://b.example", False),
        ("*", "https://any.example", True),
        (True, "https://any.example", True),
        (False, "https://any.example", False),
        (None, "https://any.example", False),
        ("null", "null", True),
        (lambda origin: origin.endswith(".example"), "https://b.example", True),
        (lambda origin: None, "https://b.example", False),
    ],
)
def test_cors_origins(setting: Any, origin: str, allowed: bool) -> None:
    """Each form of the `origin` setting lets in just the origins that it names."""
    cors = Cors({"origin": setting})
    if allowed:
        cors.check(asked(origin))
    else:
        with pytest.raises(HandshakeError) as caught:
            cors.check(asked(origin))
        assert (caught.value.code, caught.value.status) == (4, 403)


@pytest.mark.feature("C10")
@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_bytes_of_an_origin(byte: int) -> None:
    """Control characters in Origin are refused with code 3 before anything else is looked at."""
    with pytest.raises(HandshakeError) as caught:
        Cors({"origin": "*"}).check(asked(f"http://a{chr(byte)}b"))
    assert caught.value.code == 3


@pytest.mark.feature("C2", "C3")
def test_preflight_headers() -> None:
    """A preflight answer names what is allowed and never `*` with credentials."""
    cors = Cors({"origin": ["https://a.example"], "credentials": True, "methods": ["GET"], "max_age": 60})
    preflight = cors.preflight(asked("https://a.example", access_control_request_headers="x-a, x-b"))
    assert preflight is not None
    status, headers = preflight
    named = dict(headers)
    assert status == 204
    assert named["access-control-allow-origin"] == "https://a.example"
    assert named["access-control-allow-credentials"] == "true"
    assert named["access-control-allow-headers"] == "x-a, x-b"
    assert named["access-control-allow-methods"] == "GET"
    assert named["access-control-max-age"] == "60"
    assert Cors(None).preflight(asked("https://a.example")) is None
