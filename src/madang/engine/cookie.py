"""The cookie that names a session, for load balancers that route by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def cookie_header(cookie: Any) -> Callable[[str], str] | None:
    """A function from session id to the value of Set-Cookie."""
    if not cookie:
        return None
    options: dict[str, Any] = {} if cookie is True else dict(cookie)
    attributes: list[str] = []
    if (path := options.get("path", "/")) is not None:
        attributes.append(f"Path={path}")
    if "domain" in options:
        attributes.append(f"Domain={options['domain']}")
    if "max_age" in options:
        attributes.append(f"Max-Age={options['max_age']}")
    if options.get("http_only", True):
        attributes.append("HttpOnly")
    if options.get("secure"):
        attributes.append("Secure")
    if (same_site := options.get("same_site", "Lax")) is not None:
        attributes.append(f"SameSite={same_site}")
    name = options.get("name", "io")
    return lambda session_id: "; ".join([f"{name}={session_id}", *attributes])
