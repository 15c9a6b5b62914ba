"""Who a client is behind proxies: what their headers tell counts as far as the proxies are trusted, and no further."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias, cast

from ..errors import OptionError
from .http import RawHeaders

Remote: TypeAlias = "tuple[str, int] | None"

LOOPBACK: Final = ("127.0.0.0/8", "::1")
"""The proxies that are trusted unless told otherwise: those on this machine."""

_TELLING: Final = (b"x-forwarded-", b"forwarded")
_PAIR: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s";,]*))\s*')
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Proxies:
    """Proxies that are trusted.

    Args:
        trusted: addresses and networks, such as ``"10.0.0.0/8"``; ``"unix"`` for whoever comes by a Unix socket;
            ``"*"`` for everybody. Several in one text are parted by commas.

    Raises:
        OptionError: something that is none of these.
    """

    __slots__ = ("_all", "_networks", "_unix")

    def __init__(self, trusted: object) -> None:
        names = trusted.split(",") if isinstance(trusted, str) else trusted
        if not isinstance(names, list | tuple | set | frozenset):
            raise OptionError(f"trusted_proxies must be a list of addresses and networks, not {trusted!r}")
        self._networks: list[IPv4Network | IPv6Network] = []
        self._all = self._unix = False
        for name in cast("Collection[Any]", names):
            self._trust(name.strip() if isinstance(name, str) else name)

    def _trust(self, name: Any) -> None:
        if name == "*":
            self._all = True
        elif name == "unix":
            self._unix = True
        elif name != "":
            try:
                self._networks.append(ip_network(name if isinstance(name, str) else str(name)))
            except ValueError as error:
                raise OptionError(
                    f"trusted_proxies: {error}; there are addresses, networks such as '10.0.0.0/8', 'unix' and '*'"
                ) from None

    def client(self, remote: Remote, scheme: str, headers: RawHeaders) -> tuple[Remote, str]:
        """The address and scheme of a client.

        What is told is read from its end, where the nearest proxy has added what it saw, up to the first address that
        no trusted proxy has. What cannot be understood ends it as well: the last address that could be is the client's.

        Args:
            remote: who has opened the connection; None if that has no address.
            scheme: how.
            headers: those of its request.
        """
        for name, _ in headers:
            if name.startswith(_TELLING):
                break
        else:
            return remote, scheme
        if not self._trusts(None if remote is None else _address(remote[0])):
            return remote, scheme
        hops, schemes = _told(headers)
        count = 0
        for address, port in _readable(hops):
            count += 1
            remote = (str(address), port)
            if not self._trusts(address):
                break
        if schemes:  # the one that was added where the client was seen
            scheme = _SCHEMES.get(schemes[-count or -1 if len(schemes) >= count else 0].lower(), scheme)
        return remote, scheme

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        if self._all:
            return True
        if address is None:
            return self._unix
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)


def _told(headers: RawHeaders) -> tuple[list[str], list[str]]:
    """The addresses and the schemes that are told; each was added behind those before it."""
    lists: dict[bytes, list[str]] = {b"x-forwarded-for": [], b"x-forwarded-proto": [], b"forwarded": []}
    for name, value in headers:
        if name in lists:
            lists[name] += [part.strip() for part in value.decode("latin-1").split(",")]
    hops, schemes, elements = lists.values()
    if (
        not hops and elements
    ):  # RFC 7239; the older headers come first, since proxies that know only them leave it as is
        pairs = [{m[1].lower(): m[2] or m[3] for m in map(_PAIR.fullmatch, one.split(";")) if m} for one in elements]
        return [pair.get("for", "") for pair in pairs], [pair.get("proto", "") for pair in pairs]
    return hops, schemes


def _readable(hops: list[str]) -> Iterator[tuple[IPv4Address | IPv6Address, int]]:
    """Address and port of each, from the last on, as far as they can be understood."""
    for hop in reversed(hops):
        host, port = hop, "0"
        if hop.startswith("["):
            host, _, port = hop[1:].partition("]")
            port = port.removeprefix(":") or "0"
        elif hop.count(":") == 1:
            host, _, port = hop.partition(":")
        address = _address(host)
        if address is None:
            return
        yield address, int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
