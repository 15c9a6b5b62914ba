"""Certificates: verified unless told otherwise, over both transports, with an authority or a client's own."""

from __future__ import annotations

import logging
import ssl

import pytest

import madang
from tests.client.tools import QUICK, SOON, WAYS, Papers, echo_server, joined, over_tls
from tests.hosts import listening

pytestmark = [pytest.mark.feature("V22"), pytest.mark.parametrize("way", WAYS)]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates."""
    return Papers(tmp_path_factory.mktemp("papers"))


async def refused(url: str, way: str, **options: object) -> madang.ConnectionFailed:
    client = madang.Client(url, transports=WAYS[way], reconnection=False, **QUICK, **options)  # type: ignore[arg-type]
    try:
        with pytest.raises(madang.ConnectionFailed) as caught:
            await client.connected
    finally:
        await client.close()
    return caught.value


async def test_verified_by_default(way: str, papers: Papers):
    """A certificate that no known authority has signed is refused, and the error names the certificate."""
    async with listening(echo_server()) as plain, over_tls(plain, papers.serving()) as url:
        error = await refused(url, way)
        assert "certificate verify failed" in str(error).lower()
        assert error.transport == WAYS[way][0]


async def test_the_name_is_verified(way: str, papers: Papers):
    """A certificate for another name is refused although its authority is known."""
    stranger = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    stranger.load_cert_chain(*papers.client)
    async with listening(echo_server()) as plain, over_tls(plain, stranger) as url:
        error = await refused(url, way, ssl_context=papers.trusting())
        assert "certificate" in str(error).lower()


async def test_an_authority_of_your_own(way: str, papers: Papers):
    """With an `ssl_context` that knows the authority both transports and the upgrade work, by name and by address."""
    async with listening(echo_server()) as plain, over_tls(plain, papers.serving()) as url:
        for where in (url, url.replace("127.0.0.1", "localhost").replace("https", "wss")):
            async with joined(where, transports=WAYS[way], ssl_context=papers.trusting()) as client:
                assert await client.emit_with_ack("ask", b"x" * 100_000, timeout=SOON) == b"x" * 100_000


async def test_unverified(way: str, papers: Papers, caplog: pytest.LogCaptureFixture):
    """With `ssl_verify=False` any certificate will do, and the log says so."""
    async with listening(echo_server()) as plain, over_tls(plain, papers.serving()) as url:
        with caplog.at_level(logging.WARNING, "madang.client"):
            async with joined(url, transports=WAYS[way], ssl_verify=False) as client:
                assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        assert "not verified (ssl_verify=False)" in caplog.text


async def test_a_certificate_of_the_client(way: str, papers: Papers):
    """A server that asks for the client's certificate gets that of its `ssl_context`; without one it refuses."""
    async with listening(echo_server()) as plain, over_tls(plain, papers.serving(ask_client=True)) as url:
        async with joined(url, transports=WAYS[way], ssl_context=papers.trusting(with_client=True)) as client:
            assert await client.emit_with_ack("ask", 1, timeout=SOON) == 1
        assert str(await refused(url, way, ssl_context=papers.trusting()))


async def test_no_tls_where_tls_was_expected(way: str):
    """A server that does not speak TLS is an error that says so, not a hang."""
    async with listening(echo_server()) as plain:
        assert "ssl" in str(await refused(plain.replace("http", "https"), way)).lower()
