"""HTTP for the client's polling: aiohttp, with one connection pool per client, and a bound on answers."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import ConnectionFailed
from .refusals import in_few_words

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_EXPIRES: Final = re.compile(r";\s*expires\s*=([^;]*)", re.IGNORECASE)

_ERROR_BODY = 1024
"""Bytes that are read of an answer that is an error."""


class Answer(NamedTuple):
    """What a server answered: the status, the body as far as it was read, and where a redirect points."""

    status: int
    body: bytes
    location: str | None = None


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
                return Answer(response.status, await _read(response, limit), response.headers.get("location"))
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

    class Jar(aiohttp.CookieJar):
        def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
            super().update_cookies_from_headers([_aged(header) for header in headers], response_url)

    return Jar(unsafe=True)


def _aged(header: str) -> str:
    """A `Set-Cookie` header whose date lies before 1970 says so by an age as well."""
    date = _EXPIRES.search(header)
    if date is None or "max-age" in header.lower():
        return header
    try:
        over = parsedate_to_datetime(date.group(1).strip()).timestamp() <= 0
    except (TypeError, ValueError, OverflowError):
        return header
    return f"{header}; Max-Age=0" if over else header


def _failed(description: str) -> ConnectionFailed:
    return ConnectionFailed("polling error", description, transport="polling")
