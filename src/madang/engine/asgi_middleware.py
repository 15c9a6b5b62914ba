"""Any ASGI middleware, asked about handshakes: sessions, authentication and the like, as web frameworks have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ..errors import HandshakeError
from .http import Request, Response

Scope: TypeAlias = "dict[str, Any]"
App: TypeAlias = "Callable[[Scope, Any, Any], Awaitable[None]]"


class AsgiMiddleware:
    """An ASGI middleware as a middleware of the engine.

    It sees the handshake as a GET request, whatever the transport, and an application behind it that answers 200. What
    it puts into the scope stays with the request, for `Handshake`; headers that it adds to the answer go to the client.
    If it answers by itself the handshake is refused with that answer.

    Args:
        make: from the application behind it to the middleware.
    """

    def __init__(self, make: Callable[[App], App]) -> None:
        self._app = make(_Behind())

    def __call__(self, request: Request) -> Awaitable[None] | None:
        """Ask about a request; those of a session that has been let in are not asked about."""
        if "sid" in request.query or request.method == "OPTIONS":
            return None
        return self._ask(request)

    async def _ask(self, request: Request) -> None:
        call = _Call()
        scope = _scope_of(request) | {_CALL: call}
        await self._app(scope, call.receive, call.send)
        if call.passed is None:
            raise HandshakeError(3, "refused by a middleware", {"response": call.response()}, status=call.status)
        call.passed.pop(_CALL, None)
        request.scope = call.passed
        request.response_headers = [*request.response_headers, *call.headers]


_CALL = "madang.call"


class _Call:
    """One request on its way through a middleware.

    Attributes:
        passed: the scope as the application behind it has got it; None as long as it has not.
        status: of the answer.
        headers: of the answer.
    """

    def __init__(self) -> None:
        self.passed: Scope | None = None
        self.status = 403
        self.headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._received = False

    async def receive(self) -> Any:
        """The request has no body, and its client stays."""
        if self._received:
            return {"type": "http.disconnect"}
        self._received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        """Part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [
                (bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1"))
                for name, value in message.get("headers", ())
            ]
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))

    def response(self) -> Response:
        """The answer of a middleware that has let nobody pass."""
        headers = [header for header in self.headers if header[0] != "content-length"]
        return Response(self.status, b"".join(self._body), headers=headers)


class _Behind:
    """The application behind all middlewares: whoever comes here has passed."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        scope[_CALL].passed = scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def _scope_of(request: Request) -> Scope:
    """The request as ASGI has it, with what is known already in its scope."""
    scope: Scope = {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "root_path": "",
        "server": None,
        "state": {},
        **(request.scope or {}),
    }
    return scope | {
        "type": "http",
        "method": "GET",
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode("latin-1", "replace"),
        "query_string": request.query_string.encode("latin-1", "replace"),
        "headers": list(request.raw_headers),
        "client": request.remote,
        "extensions": {},
    }
