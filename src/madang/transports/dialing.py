"""What the transports of one client share: where the server is, HTTP, cookies, TLS, and what is still open."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from time import time
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..engine.client_options import RESERVED_QUERY, ClientEngineOptions
from ..engine.client_session import ClientTransport, TransportReceiver
from ..errors import OptionError
from ..tasks import Tasks
from ..types import TransportName
from .client_polling import PollingClient
from .client_websocket import WebSocketClient
from .http_client import HttpClient

logger = logging.getLogger("madang.client")

_stamps: Final = count(int(time() * 1000) % 36**4)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        secure: whether it speaks TLS.
        host: its name or address; an IPv6 address without brackets.
        port: its port.
    """

    secure: bool
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Host and port as they stand in a URL and in the header `Host`; the usual port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class Dialer:
    """Makes the transports of one client.

    Args:
        address: where the server is.
        options: how to reach it.
        query: parameters of the URL, for when the options give none.
        timeout: seconds that a WebSocket's handshake may take, or None.

    Raises:
        OptionError: an option needs a package that is not installed.
    """

    def __init__(
        self, address: Address, options: ClientEngineOptions, query: Mapping[str, str], timeout: float | None
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.tasks = Tasks()
        self.http: HttpClient | None = None
        self.live: set[ClientTransport] = set()
        self._emptied: asyncio.Event | None = None
        self._options: dict[str, ClientEngineOptions] = {}
        self._query: dict[str, dict[str, str]] = {}
        for name in ("polling", "websocket"):
            own = self._options[name] = options.of(name)
            chosen = query if own.query is None else own.query
            # those of the options have been checked; a URL may hold anything
            self._query[name] = {key: str(value) for key, value in chosen.items() if key not in RESERVED_QUERY}
        self._common = options
        need = [what for what, needed in _needs(options).items() if needed]
        if need and not has_http_client():
            raise OptionError(
                f"an HTTP client is needed for {' and '.join(need)}: pip install 'madang[client]'; "
                "over WebSocket alone nothing is needed: transports=['websocket']"
            )
        if need:
            import_module("aiohttp")  # now, and not in the middle of a first request: it takes a while

    def __call__(self, name: TransportName, session_id: str | None, receiver: TransportReceiver) -> ClientTransport:
        """A new transport; see `madang.engine.client_session.Dial`."""
        ours: Any = WebSocketClient if name == "websocket" else PollingClient
        make: Any = self._common.transport_classes.get(name, ours)
        transport: ClientTransport = make(self, self._options[name], session_id, receiver)
        self.live.add(transport)
        return transport

    def target(self, name: TransportName, session_id: str | None) -> str:
        """Path and query of a request (protocol v4, "HTTP long-polling" and "WebSocket")."""
        options = self._options[name]
        query = dict(self._query[name])
        query |= {"EIO": "4", "transport": name}
        if session_id is not None:
            query["sid"] = session_id
        stamped = options.timestamp_requests
        if stamped or (stamped is None and name == "polling"):
            query[options.timestamp_param] = stamp()
        if options.force_base64:
            query["b64"] = "1"
        return f"{quote(options.path, safe=_PATH)}?{urlencode(query)}"

    @property
    def origin(self) -> str:
        """The server's URL for HTTP, without a path."""
        return f"{'https' if self.address.secure else 'http'}://{self.address.netloc}"

    @property
    def _endpoint(self) -> str:
        """The server's URL with the path, which is what cookies belong to."""
        return self.origin + quote(self._options["websocket"].path, safe=_PATH)

    def http_client(self) -> HttpClient:
        """The HTTP client, kept from request to request; made in the loop it is used in."""
        if self.http is None:
            common = self._common
            self.http = HttpClient(self.tls, self._options["polling"].proxy, cookies=common.with_credentials)
        return self.http

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to speak TLS, or None for a server that does not."""
        if not self.address.secure:
            return None
        given: ssl.SSLContext | None = self._common.ssl_context
        return given or _context(self._common.ssl_verify)

    def cookies(self) -> str:
        """The cookies that a WebSocket's handshake carries, as a header's value."""
        return self.http_client().cookie_header(self._endpoint) if self._common.with_credentials else ""

    def learn_cookies(self, headers: list[str]) -> None:
        """Keep what a WebSocket's handshake has set."""
        if headers and self._common.with_credentials:
            self.http_client().learn_cookies(headers, self._endpoint)

    def warn_of_trust(self) -> None:
        """Say loudly that nobody knows who the server is."""
        if self.address.secure and not self._common.ssl_verify:
            logger.warning("the certificate of %s is not verified (ssl_verify=False)", self.address.netloc)

    def forget(self, transport: ClientTransport) -> None:
        """A transport has ended."""
        self.live.discard(transport)
        if not self.live and self._emptied is not None:
            self._emptied.set()

    async def close(self, timeout: float) -> None:
        """Wait for transports that say goodbye, for `timeout` seconds, then drop them; and close the HTTP client."""
        http: HttpClient | None = None
        try:
            await self._all_gone(timeout)
            for transport in tuple(self.live):
                transport.abort()
            await self.tasks.finish(0.0)
            http, self.http = self.http, None
        finally:
            if http is not None:
                await http.close()
            await asyncio.sleep(0)  # what was dropped is told so in the next turn

    async def _all_gone(self, timeout: float) -> None:
        if self.live:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # asyncio.wait_for would lose a cancellation that comes with it
                    await self._emptied.wait()


def has_http_client() -> bool:
    """Whether the packages of the extra `client` are installed."""
    return find_spec("aiohttp") is not None and find_spec("aiohttp_socks") is not None


def _needs(options: ClientEngineOptions) -> dict[str, bool]:
    """What of the options is done with the help of a package."""
    proxies = [options.proxy, *(own.get("proxy") for own in options.transport_options.values())]
    return {
        "polling": "polling" in options.transports and "polling" not in options.transport_classes,
        "with_credentials": options.with_credentials,
        "proxy": any(proxies),
    }


@lru_cache(maxsize=2)
def _context(verify: bool) -> ssl.SSLContext:
    """The context for those who bring none; loading the system's certificates takes a while, so it is kept."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def stamp() -> str:
    """A parameter's value that no cache has seen: the time and a counter, in base 36."""
    return _base36(int(time() * 1000)) + _base36(next(_stamps) % 36**4)


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


_PATH: Final = "/:@!$&'()*+,;=-._~%"
