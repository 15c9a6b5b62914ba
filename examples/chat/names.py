"""How names of people and rooms are tidied and compared."""

from __future__ import annotations

import unicodedata

from .events import NAME_LENGTH


class BadName(ValueError):
    """A name nobody can go by; `code` is for the page, the message for people."""

    def __init__(self, message: str, code: str) -> None:
        """Keep the machine-readable code beside the message."""
        super().__init__(message)
        self.code = code


def tidy(name: str) -> str:
    """Return the name with composed Hangul, no space around it and single spaces inside, or raise BadName."""
    tidied = " ".join(unicodedata.normalize("NFC", name).split())
    if not tidied:
        raise BadName("The name is empty.", code="name_empty")
    if len(tidied) > NAME_LENGTH:
        raise BadName(f"The name is longer than {NAME_LENGTH} characters.", code="name_too_long")
    if not tidied.isprintable():
        raise BadName("The name has characters that cannot be shown.", code="name_unprintable")
    return tidied


def key(name: str) -> str:
    """Return what two names have in common when people would call them the same."""
    return unicodedata.normalize("NFKC", name).casefold()
