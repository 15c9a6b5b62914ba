"""What a server's refusal of a handshake means to a client."""

from __future__ import annotations

import orjson

from ..errors import ConnectionFailed
from ..types import TransportName

_TERMINAL_STATUS = (401, 403)
_TERMINAL_CODES = (4, 5)
_TERMINAL_TEXTS = ("Forbidden", "Unsupported protocol version")


_LONGEST = 300
"""Characters of what goes wrong that are told; a server may have written them."""


def in_few_words(error: BaseException) -> str:
    """What an error says, if it is not too long."""
    text = str(error) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def refusal(transport: TransportName, status: int, body: bytes, location: str | None = None) -> ConnectionFailed:
    """The error for an answer that is no handshake.

    An engine answers a poll with ``{"code", "message"}`` and a WebSocket's handshake with the message alone (protocol
    v4, "Handshake"). Codes 4 and 5, and the status 401 and 403, say that this client is not wanted: trying again with
    the same credentials is of no use.
    """
    text = body.decode("utf-8", "replace").strip()
    code: object = None
    try:
        answer = orjson.loads(body)
        if isinstance(answer, dict):
            code, text = answer.get("code"), str(answer.get("message", text))  # pyright: ignore
    except orjson.JSONDecodeError:
        pass
    refused = status in _TERMINAL_STATUS or code in _TERMINAL_CODES or text in _TERMINAL_TEXTS
    description = f"the server answered {status}"
    if location is not None and 300 <= status < 400:
        description += f", a redirect to {location[:200]}, which is not followed"
    if text:
        description += f": {text[:200]}"
    return ConnectionFailed(
        f"{transport} error", description, transport=transport, status=status, retryable=not refused
    )
