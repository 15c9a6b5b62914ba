"""What a client presented when it joined a namespace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..engine.http import Request


class Handshake:
    """What a client presented when it joined a namespace.

    Attributes:
        auth: the `auth` object that came with CONNECT; empty if there was none.
        issued: seconds since 1970 when the connection was made.
    """

    __slots__ = ("_request", "auth", "issued")

    def __init__(self, request: Request | None, auth: Any) -> None:
        self._request = request
        self.auth: dict[str, Any] = auth if auth is not None else {}
        self.issued = request.received_at if request is not None else 0.0

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the first request, names in lower case."""
        return self._request.headers if self._request is not None else {}

    @property
    def query(self) -> dict[str, str]:
        """The query of the first request."""
        return self._request.query if self._request is not None else {}

    @property
    def url(self) -> str:
        """Path and query of the first request."""
        return self._request.url if self._request is not None else ""

    @property
    def address(self) -> str | None:
        """The client's address; behind a trusted proxy the one that it tells."""
        remote = self._request.remote if self._request is not None else None
        return remote[0] if remote is not None else None

    @property
    def scope(self) -> dict[str, Any]:
        """The ASGI scope of the first request, with what middlewares have put into it; empty if there is none."""
        return (self._request.scope if self._request is not None else None) or {}

    @property
    def session(self) -> Any:
        """What a session middleware has read; None without one."""
        return self.scope.get("session")

    @property
    def user(self) -> Any:
        """Who the client is to an authentication middleware; None without one."""
        return self.scope.get("user")

    @property
    def time(self) -> datetime:
        """When the connection was made, in UTC."""
        return datetime.fromtimestamp(self.issued, UTC)

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted; True as well if there was no request."""
        return self._request is None or self._request.scheme == "https"

    @property
    def xdomain(self) -> bool:
        """Whether a browser came from a page of another origin, or said which at all."""
        return "origin" in self.headers
