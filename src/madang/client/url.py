"""What a URL means to a client: where the server is, and which namespace is to be joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import OptionError
from ..transports.dialing import Address

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL says.

    Attributes:
        address: where the server is.
        namespace: the URL's path.
        query: the URL's query, for when the option `query` is not given.
    """

    address: Address
    namespace: str
    query: dict[str, str]


def parse(url: Any) -> Target:
    """Read a URL as the JavaScript client does: the path names the namespace, and a missing scheme means https.

    Raises:
        OptionError: it is no URL of a server.
    """
    if not isinstance(url, str) or not url.strip():
        raise OptionError(f"a server is named by a URL such as 'http://localhost:3000', not by {url!r}")
    whole = url if "://" in url else f"https:{url}" if url.startswith("//") else f"https://{url}"
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError as error:
        raise OptionError(f"{url!r} is not the URL of a server: {error}") from None
    if parts.scheme not in _SECURE:
        raise OptionError(f"{url!r}: the scheme must be http, https, ws or wss")
    if not parts.hostname:
        raise OptionError(f"{url!r} names no host")
    if parts.username is not None or parts.password is not None:
        raise OptionError("a name and a password in the URL are not sent; use auth= or extra_headers=")
    secure = _SECURE[parts.scheme]
    address = Address(secure, parts.hostname, port or (443 if secure else 80))
    return Target(address, parts.path or "/", dict(parse_qsl(parts.query, keep_blank_values=True)))
