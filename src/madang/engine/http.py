"""HTTP as the engine sees it: neutral requests and responses, filled and written by the hosts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

logger = logging.getLogger("madang.engine")

_LINE_BREAK: Final = re.compile(r"[\r\n\0]").search

RawHeaders = Sequence[tuple[bytes, bytes]]


def writable(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers as they can be written: none with a line break, `?` for what is not Latin-1 (RFC 9110, section 5.5)."""
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        if _LINE_BREAK(name) or _LINE_BREAK(str(value)):
            logger.error("the response header %r has a line break, and is left out", name)
        else:
            kept.append((name, str(value).encode("latin-1", "replace").decode("latin-1")))
    return kept


class Request:
    """One HTTP request, or the request of a WebSocket handshake.

    Attributes:
        method: such as ``"GET"``.
        path: the decoded path.
        query_string: what follows the ``?``, undecoded.
        raw_headers: the headers as received, names in lower case.
        remote: the client's address and port, or None where the host does not know.
        scheme: ``"http"`` or ``"https"`` (for WebSocket handshakes as well).
        received_at: seconds since 1970 when the request came.
        scope: the ASGI scope if there is one, else None.
        response_headers: what middlewares add to the answer to a handshake.
    """

    __slots__ = (
        "_headers",
        "_query",
        "method",
        "path",
        "query_string",
        "raw_headers",
        "received_at",
        "remote",
        "response_headers",
        "scheme",
        "scope",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query_string: str,
        raw_headers: RawHeaders,
        *,
        received_at: float,
        remote: tuple[str, int] | None = None,
        scheme: str = "http",
        scope: Any = None,
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.raw_headers = raw_headers
        self.remote = remote
        self.scheme = scheme
        self.received_at = received_at
        self.scope = scope
        self.response_headers: Sequence[tuple[str, str]] = ()
        self._headers: dict[str, str] | None = None
        self._query: dict[str, str] | None = None

    @property
    def url(self) -> str:
        """Path and query, as in the request line."""
        return f"{self.path}?{self.query_string}" if self.query_string else self.path

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name in lower case; repeated ones are joined by a comma, as HTTP allows."""
        if self._headers is None:
            headers: dict[str, str] = {}
            for raw_name, raw_value in self.raw_headers:
                name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            self._headers = headers
        return self._headers

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; of a repeated one the last."""
        if self._query is None:
            text = self.query_string
            if "%" in text or "+" in text:
                self._query = dict(parse_qsl(text, keep_blank_values=True, errors="replace"))
            else:  # nothing is encoded, which is the rule
                self._query = {}
                for part in text.split("&"):
                    if part:
                        name, _, value = part.partition("=")
                        self._query[name] = value
        return self._query


class Response:
    """An answer that the engine gives and a host writes.

    Args:
        status: the HTTP status.
        body: the whole body; the host adds Content-Length.
        content_type: the value of that header, or None for no body.
        headers: further headers.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.headers: list[tuple[str, str]] = list(headers)
        if content_type is not None:
            self.headers.append(("content-type", content_type))


class Exchange:
    """One HTTP request that is being answered, perhaps later; the bridge between a host and the engine.

    The host makes it, gives it to `Engine.handle`, feeds the body if `on_body` was set, and writes the response when
    `answered` is called. It calls `abort` if the client goes away before.

    Args:
        request: what was asked.
        answered: called once, with the response.
    """

    __slots__ = ("_answered", "body_limit", "on_abort", "on_body", "on_too_large", "request", "response")

    def __init__(self, request: Request, answered: Callable[[Response], object]) -> None:
        self.request = request
        self._answered: Callable[[Response], object] | None = answered
        self.response: Response | None = None
        self.on_body: Callable[[bytes], object] | None = None
        self.on_abort: Callable[[], object] | None = None
        self.on_too_large: Callable[[Exchange], object] | None = None
        self.body_limit = 0

    @property
    def open(self) -> bool:
        """Whether the answer is still to be given."""
        return self._answered is not None

    def respond(self, response: Response) -> None:
        """Give the answer; a second one is dropped."""
        answered = self._answered
        if answered is not None:
            self._release()
            self.response = response
            answered(response)

    def body_complete(self, body: bytes) -> None:
        """The host has read the whole body, which is no larger than `body_limit`."""
        on_body, self.on_body = self.on_body, None
        if on_body is not None:
            on_body(body)

    def body_too_large(self) -> None:
        """The host has read more than `body_limit` bytes and stopped; the session stays usable."""
        if self.on_too_large is not None:
            self.on_too_large(self)

    def abort(self) -> None:
        """The client went away before it was answered."""
        on_abort = self.on_abort
        if self._answered is not None:
            self._release()
            if on_abort is not None:
                on_abort()

    def _release(self) -> None:
        self._answered = None
        self.on_abort = None
        self.on_body = None
        self.on_too_large = None
