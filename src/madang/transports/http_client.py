"""HTTP for the client's polling: aiohttp, with one connection pool per client, and a bound on answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookies import Morsel
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConnectionFailed
from .refusals import in_few_words

if TYPE_CHECKING:
    import aiohttp

_ERROR_BODY = 1024
"""Bytes that are read of an answer that is an error."""


class Answer(NamedTuple):
    """What a server answered: the status, and the body as far as it was read."""

    status: int
    body: bytes


class HttpClient:
    """A kept HTTP client; must be made in a running loop.

    Args:
        tls: for https.
        proxy: the URL of a proxy.
        cookies: whether cookies are kept and sent again.
    """

    __slots__ = ("_session",)

    def __init__(self, tls: ssl.SSLContext | None, proxy: str | None, *, cookies: bool) -> None:
        import aiohttp

        settings: dict[str, Any] = {"limit": 0, "ssl": tls if tls is not None else True}
        if proxy is None:
            connector: Any = aiohttp.TCPConnector(**settings)
        else:
            from aiohttp_socks import ProxyConnector

            connector = ProxyConnector.from_url(proxy, **settings)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_jar() if cookies else aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trust_env=False,
        )
        # aiohttp asks again if a connection breaks before the answer; but what a poll was to bring may be lost with it
        self._session._retry_connection = False  # pyright: ignore[reportPrivateUsage]

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str],
        timeout: float | None,
        limit: int,
    ) -> Answer:
        """Send one request; no redirect is followed.

        Args:
            method: such as GET.
            url: the whole URL, quoted.
            body: what to send.
            headers: beyond the usual ones.
            timeout: seconds for all of it, or None.
            limit: bytes that the answer's body may have.

        Raises:
            ConnectionFailed: there is no answer, or too large a one.
        """
        from yarl import URL

        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    limit = _ERROR_BODY
                return Answer(response.status, await _read(response, limit))
        except ConnectionFailed:
            raise
        except TimeoutError as error:  # without one of ours it is the system's, whose patience has an end
            raise _failed(f"no answer within {timeout} seconds" if timeout else in_few_words(error)) from error
        except Exception as error:  # aiohttp's, those of the proxy's packages, the system's, TLS's
            raise _failed(in_few_words(error)) from error

    def cookie_header(self, url: str) -> str:
        """The cookies for a URL, as the value of the header `Cookie`."""
        from yarl import URL

        cookies = self._session.cookie_jar.filter_cookies(URL(url))
        return "; ".join(f"{name}={morsel.coded_value}" for name, morsel in cookies.items())

    def learn_cookies(self, headers: list[str], url: str) -> None:
        """Keep the cookies of `Set-Cookie` headers."""
        from yarl import URL

        self._session.cookie_jar.update_cookies_from_headers(headers, URL(url))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; of an error only its beginning."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(64 * 1024):
        size += len(part)
        parts.append(part)
        if size > limit:
            if response.status != 200:
                break
            response.close()
            raise _failed(f"an answer of more than {limit} bytes; raise max_http_buffer_size if that is right")
    return b"".join(parts)[:limit]


def _jar() -> aiohttp.CookieJar:
    """aiohttp's jar, which keeps the cookies of addresses as well, and takes the dates up to 1970 for none."""
    import aiohttp
    from yarl import URL

    class Jar(aiohttp.CookieJar):
        def update_cookies(self, cookies: Any, response_url: Any = URL()) -> None:
            for _, morsel in cookies.items() if isinstance(cookies, Mapping) else cookies:  # pyright: ignore
                if isinstance(morsel, Morsel) and not morsel["max-age"] and _is_long_over(morsel["expires"]):
                    morsel["max-age"] = "0"
            super().update_cookies(cookies, response_url)

    return Jar(unsafe=True)


def _is_long_over(date: str) -> bool:
    try:
        return parsedate_to_datetime(date).timestamp() <= 0
    except (TypeError, ValueError, OverflowError):
        return False


def _failed(description: str) -> ConnectionFailed:
    return ConnectionFailed("polling error", description, transport="polling")
