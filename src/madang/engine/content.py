"""Forms of whole HTTP responses: which coding a client likes best, and whether it has the content already."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from .http import Request, Response

_QUALITY: Final = re.compile(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*").fullmatch
_WBITS: Final = {"gzip": 31, "deflate": 15}

Compress = Callable[[bytes], bytes]


def _by_zlib(wbits: int) -> Compress:
    def compress(body: bytes) -> bytes:
        compressor = zlib.compressobj(6, zlib.DEFLATED, wbits)
        return compressor.compress(body) + compressor.flush()

    return compress


COMPRESSIONS: Final[Mapping[str, Compress]] = {name: _by_zlib(wbits) for name, wbits in _WBITS.items()}
"""The content codings that there always are, by name."""


def wanted_encoding(request: Request, offered: Mapping[str, Compress]) -> str | None:
    """What the client likes best of what is offered; of equals, what it names first (RFC 9110, section 12.5.3)."""
    weights: dict[str, float] = {}
    for entry in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, parameters = entry.partition(";")
        match = _QUALITY(parameters)
        weights.setdefault(name.strip(), float(match.group(1)) if match is not None else 1.0)
    if "*" in weights:
        weights.setdefault("gzip", weights["*"])
    wanted = [name for name, weight in weights.items() if name in offered and weight > 0]
    return max(wanted, key=weights.__getitem__) if wanted else None


def compress_body(request: Request, response: Response) -> None:
    """Compress the body if the client can read that."""
    best = wanted_encoding(request, COMPRESSIONS)
    if best is not None:
        response.body = COMPRESSIONS[best](response.body)
        response.headers.append(("content-encoding", best))


def matches_etag(wanted: str, etag: str) -> bool:
    """Whether an If-None-Match header names an entity tag, in its strong or weak form (RFC 9110, section 13.1.2)."""
    return bool(wanted) and any(one.strip().removeprefix("W/") in (etag, "*") for one in wanted.split(","))
