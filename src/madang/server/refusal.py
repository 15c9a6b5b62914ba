"""What the server's ``connect_error`` handlers are told."""

from __future__ import annotations

from typing import Any

from ..engine.http import Request


class Refusal:
    """A handshake or a client that was refused.

    Attributes:
        request: the HTTP request, or the one of the handshake; None if it was let go to save memory.
        code: the Engine.IO error code, 0 to 5; None when a namespace or its middleware refused.
        message: what the client was told.
        context: more facts, among them ``name``, such as ``"TRANSPORT_MISMATCH"`` or ``"MIDDLEWARE_REFUSAL"``, and for
            namespaces ``namespace`` and ``data``.
    """

    __slots__ = ("code", "context", "message", "request")

    def __init__(self, request: Request | None, code: int | None, message: str, context: dict[str, Any]) -> None:
        self.request = request
        self.code = code
        self.message = message
        self.context = context

    def __repr__(self) -> str:
        return f"<Refusal {self.message!r} code={self.code} context={self.context}>"
