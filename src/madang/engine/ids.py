"""The ids of sessions, which are secrets: made here, or by the program."""

from __future__ import annotations

import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Container, Iterable
from os import urandom

from ..errors import HandshakeError

logger = logging.getLogger("madang.engine")

_SAFE = re.compile(r"[A-Za-z0-9._~-]{1,256}").fullmatch


def new_id(number: int) -> str:
    """20 URL-safe characters: 12 random bytes and a counter that keeps them distinct."""
    return urlsafe_b64encode(urandom(12) + (number & 0xFFFFFF).to_bytes(3, "big")).decode()


def checked_id(chosen: object, mark: str, taken: Iterable[Container[str]]) -> str:
    """The id that the program chose, behind the mark of its worker.

    Raises:
        HandshakeError: a session has it, or an address cannot carry it.
    """
    if not isinstance(chosen, str) or _SAFE(chosen) is None:
        problem = f"generate_id must give text of letters, digits and any of . _ ~ -, not {chosen!r}"
    elif any(mark + chosen in ids for ids in taken):
        problem = "generate_id gave an id that another session has"  # the id is that session's secret
    else:
        return mark + chosen
    logger.error(problem)
    raise HandshakeError(3, context={"name": "ID_GENERATION_ERROR", "error": ValueError(problem)})
