"""Events that carry an offset: one more argument of text at their end, put into what was encoded without it."""

from __future__ import annotations

from typing import Any, Final

from .encoded import Encoded
from .parser import Parser
from .plain import decoded
from .socketio import DefaultParser

UNREAD: Final[tuple[Any, ...]] = ()
"""What `Encoded.event` is of an event with an offset whose values nobody has looked at yet; no event is empty."""


def with_offset(encoded: Encoded, offset: str, namespace: str, parser: Parser) -> Encoded:
    """An event with an offset; `encoded` stays as it is.

    Args:
        encoded: the event.
        offset: the offset, of characters that JSON writes as they are.
        namespace: whose event it is.
        parser: what has encoded it.
    """
    if type(parser) is DefaultParser:  # an array is its end, and its attachments are where they were
        text = b'%b,"%b"]' % (encoded.text[:-1], offset.encode())
        return Encoded(text, encoded.attachments, encoded.compress, encoded.event or UNREAD)
    args = encoded.event or tuple(decoded(encoded, parser))
    again = parser.encode_event(namespace, (*args, offset), None, encoded.compress)
    again.event = args
    return again


def without_offset(args: list[Any]) -> tuple[Any, ...]:
    """Name and arguments of an event that has one."""
    return tuple(args[:-1])
