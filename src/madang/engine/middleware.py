"""Whom the engine asks about requests before it looks at them itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..errors import ConnectError, HandshakeError
from .http import Request

logger = logging.getLogger("madang.engine")

Middleware: TypeAlias = "Callable[[Request], Awaitable[None] | None]"


class Middlewares:
    """Middlewares in the order in which they are asked."""

    __slots__ = ("_middlewares",)

    def __init__(self) -> None:
        self._middlewares: list[Middleware] = []

    def __len__(self) -> int:
        return len(self._middlewares)

    def add(self, middleware: Middleware) -> None:
        """Ask one more, after the others."""
        self._middlewares.append(middleware)

    async def run(self, request: Request) -> None:
        """Ask all of them.

        Raises:
            HandshakeError: one has raised, or answered by itself.
        """
        for middleware in self._middlewares:
            try:
                waiting = middleware(request)
                if waiting is not None:
                    await waiting
            except Exception as error:
                if not isinstance(error, ConnectError | HandshakeError):
                    logger.exception("an engine middleware failed; the request is refused")
                context = {"name": "MIDDLEWARE_FAILURE", "error": error}
                answer = error.context.get("response") if isinstance(error, HandshakeError) else None
                if answer is None:
                    raise HandshakeError(3, context=context) from error
                raise HandshakeError(3, context=context | {"response": answer}, status=answer.status) from error
