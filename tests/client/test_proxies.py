"""Proxies: HTTP CONNECT and SOCKS5, for both transports and the upgrade, with and without a password."""

from __future__ import annotations

from pathlib import Path

import pytest

import madang
from tests.client.tools import QUICK, SOON, WAYS, Papers, ProxyLog, echo_server, joined, over_tls, port_of, tcp
from tests.hosts import listening

pytestmark = [
    pytest.mark.feature("V23"),
    pytest.mark.parametrize("way", WAYS),
    pytest.mark.parametrize("kind", ["http", "socks5"]),
]


@pytest.mark.parametrize("user", [None, "yard"])
async def test_through_a_proxy(kind: str, way: str, user: str | None):
    """Everything goes through the proxy: the requests, the WebSocket and the upgrade."""
    log = ProxyLog(user, "pass word/1")
    async with listening(echo_server()) as url, tcp(log.connect if kind == "http" else log.socks5) as port:
        login = f"{user}:pass%20word%2F1@" if user else ""
        async with joined(url, transports=WAYS[way], proxy=f"{kind}://{login}127.0.0.1:{port}") as client:
            assert await client.emit_with_ack("ask", b"x" * 10_000, timeout=SOON) == b"x" * 10_000
        assert set(log.led) == {("127.0.0.1", port_of(url))}
        assert len(log.led) >= len(WAYS[way])
        assert log.refused == 0


async def test_a_wrong_password(kind: str, way: str):
    """A proxy that does not take the password is an error that speaks of it, and does not show it."""
    log = ProxyLog("yard", "right")
    async with listening(echo_server()) as url, tcp(log.connect if kind == "http" else log.socks5) as port:
        proxy = f"{kind}://yard:secret@127.0.0.1:{port}"
        client = madang.Client(url, transports=WAYS[way], proxy=proxy, reconnection=False, timeout=2, **QUICK)
        try:
            with pytest.raises(madang.ConnectionFailed) as caught:
                await client.connected
        finally:
            await client.close()
        assert "407" in str(caught.value) or "authentication" in str(caught.value).lower()
        assert "secret" not in str(caught.value)
        assert (log.refused, log.led) == (1, [])


async def test_no_proxy_there(kind: str, way: str, free_port: int):
    """A proxy that is not there is an error, and tried again like any other."""
    proxy = f"{kind}://127.0.0.1:{free_port}"
    client = madang.Client(
        "http://127.0.0.1:9", transports=WAYS[way], proxy=proxy, reconnection=False, timeout=2, **QUICK
    )
    try:
        with pytest.raises(madang.ConnectionFailed) as caught:
            await client.connected
    finally:
        await client.close()
    assert caught.value.retryable
    assert str(free_port) in str(caught.value)


async def test_tls_through_a_proxy(kind: str, way: str, tmp_path: Path):
    """Through the proxy goes TLS with the server itself, whose certificate is verified by its name."""
    papers, log = Papers(tmp_path), ProxyLog()
    talk = log.connect if kind == "http" else log.socks5
    async with (
        listening(echo_server()) as plain,
        over_tls(plain, papers.serving()) as url,
        tcp(talk) as port,
        joined(url, transports=WAYS[way], ssl_context=papers.trusting(), proxy=f"{kind}://127.0.0.1:{port}") as client,
    ):
        assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        assert log.led
