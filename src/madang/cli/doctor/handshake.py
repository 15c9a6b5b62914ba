"""What the server says of itself, and to whom it answers."""

from __future__ import annotations

from ..showing import name
from . import advice
from .findings import Findings
from .paths import Found, meaning, opening_in
from .wire import Answer, NoAnswer

_LONGEST_QUIET = 55.0
"""Seconds; below what most proxies wait for."""


def look_at_values(found: Found, findings: Findings) -> None:
    """Whether what the server says fits the ways that proxies have."""
    opening = found.opening
    limit = f"{opening.max_payload:,} bytes" if opening.max_payload is not None else "not said"
    said = f"ping every {opening.ping_interval:g} s, {opening.ping_timeout:g} s for the answer, messages up to {limit}"
    if opening.ping_interval > _LONGEST_QUIET:
        findings.note("handshake", said, "Most proxies cut what is quiet for 60 s: lower ping_interval (pingInterval).")
    else:
        findings.ok("handshake", said)
    if found.polls and "websocket" not in opening.upgrades:
        findings.note(
            "handshake", "the server offers no upgrade to WebSocket", "It is its options transports, upgrades."
        )


async def look_at_origins(found: Found, origin: str | None, findings: Findings) -> bool:
    """Whether pages of an origin are let in, and told so once; whether they are let in.

    Args:
        found: where Socket.IO is.
        origin: the origin of pages, or None for the server's own.
        findings: what has been found.
    """
    site = found.site
    asked = origin or site.origin
    try:
        answer = await site.request(site.target("polling"), headers=[("Origin", asked)])
    except NoAnswer as error:
        findings.failed("cors", f"with the header Origin: {asked} there is no answer: {error}")
        return False
    if opening_in(answer) is None:
        seen = f"pages of {asked} are refused: {meaning(answer, site)[0]}"
        if origin is None:
            findings.note("cors", seen, *advice.HOST)
        else:
            findings.failed("cors", seen, *advice.ORIGIN)
        return False
    if twice := _doubled(answer):
        findings.failed("cors", twice, *advice.DOUBLED)
    elif asked == site.origin:
        findings.ok("cors", f"pages of {asked} are let in, and CORS is answered at most once")
    else:
        _look_at_answer(answer, asked, findings)
    return True


def _doubled(answer: Answer) -> str | None:
    for header in ("access-control-allow-origin", "access-control-allow-credentials"):
        values = answer.all(header)
        if len(values) > 1 or "," in "".join(values):
            return f"the answer has {header} {'twice' if len(values) > 1 else 'with several values'}: " + ", ".join(
                map(name, values)
            )
    return None


def _look_at_answer(answer: Answer, origin: str, findings: Findings) -> None:
    allowed = answer.get("access-control-allow-origin")
    if not allowed:
        findings.failed("cors", f"the answer to a page of {origin} has no Access-Control-Allow-Origin", *advice.ORIGIN)
    elif allowed not in ("*", origin):
        findings.failed("cors", f"a page of {origin} is told that {name(allowed)} is allowed", *advice.ORIGIN)
    else:
        cookies = answer.get("access-control-allow-credentials") == "true"
        with_them = "with cookies" if cookies else "without cookies (withCredentials would be refused)"
        findings.ok("cors", f"pages of {origin} are let in, {with_them}")
