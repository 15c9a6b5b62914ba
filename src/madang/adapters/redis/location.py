"""Where a Redis is, as a URL says it: alone, a Redis Cluster, or behind sentinels."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ...errors import OptionError

SCHEMES: Final = ("redis", "rediss", "unix")
WAYS: Final = ("sharded", "streams")
"""Words of a scheme that say how the Redis is used, and not where it is."""

PORT, SENTINEL_PORT = 6379, 26379

Address = tuple[str, int]
Kind = Literal["alone", "cluster", "sentinel"]


class Location(NamedTuple):
    """Where it is.

    Attributes:
        kind: see the module.
        addresses: the nodes of a Redis Cluster that are known, or the sentinels.
        service: the name that the sentinels know the master by.
        url: the same as redis-py understands it, with the first of the addresses.
        sentinel: user name and password of the sentinels, if they want them.
    """

    kind: Kind
    addresses: tuple[Address, ...]
    service: str
    url: str
    sentinel: dict[str, str]


def split_url(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its query, and without the words of its scheme that say how it is used; and the query.

    Raises:
        OptionError: it is no URL of a Redis.
    """
    parts = urlsplit(url)
    base, *words = parts.scheme.split("+")
    where = [word for word in words if word not in WAYS]
    if base not in SCHEMES or where not in ([], ["cluster"], ["sentinel"]) or (where and base == "unix"):
        raise OptionError(
            "a Redis is named by a URL such as redis://localhost:6379/0, redis+cluster://host:7000,host:7001 or "
            f"redis+sentinel://host:26379,host:26379/name, not by {url!r}"
        )
    query = dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(scheme="+".join([base, *where]), query="")), query


def location_of(url: str) -> Location:
    """What a URL says.

    Raises:
        OptionError: it cannot be understood.
    """
    plain, query = split_url(url)
    base, _, kind = urlsplit(plain).scheme.partition("+")
    if kind == "":
        return Location("alone", (), "", _joined(plain, query), {})
    parts = urlsplit(plain)
    login, at, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_address(url, host, PORT if kind == "cluster" else SENTINEL_PORT) for host in hosts.split(","))
    path, service, sentinel = parts.path, "", dict[str, str]()
    if kind == "sentinel":
        service, _, database = path.strip("/").partition("/")
        path = f"/{database}"
        if not service:
            raise OptionError(f"{url!r} does not name the master: redis+sentinel://host:26379,host:26379/NAME/0")
        sentinel = {
            name: query.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in query
        }
    elif path.strip("/") not in ("", "0"):
        raise OptionError(f"a Redis Cluster has no databases but 0, and {url!r} names another one")
    host, port = addresses[0]
    one = f"{login}{at}[{host}]:{port}" if ":" in host else f"{login}{at}{host}:{port}"
    plain = urlunsplit(parts._replace(scheme=base, netloc=one, path=path))
    whole = Location("cluster" if kind == "cluster" else "sentinel", addresses, unquote(service), "", sentinel)
    return whole._replace(url=_joined(plain, query))


def _joined(plain: str, query: dict[str, str]) -> str:
    return f"{plain}?{urlencode(query)}" if query else plain


def _address(url: str, text: str, port: int) -> Address:
    """A host, perhaps with a port; one of IPv6 stands in brackets."""
    try:
        parts = urlsplit(f"//{text}")
        if not parts.hostname:
            raise ValueError("a host is missing")
        return parts.hostname, parts.port or port
    except ValueError as error:
        raise OptionError(f"{url!r} cannot be understood: {error}") from None
