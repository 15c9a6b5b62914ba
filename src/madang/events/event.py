"""Event names as constants, with the types of what they carry."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ..errors import ReservedEventName, UsageError
from ..protocol.parser import RESERVED_EVENTS


def event_name(event: Any) -> str | int:
    """The name itself: the value of an Enum member, else what was given.

    Raises:
        UsageError: it is neither text nor a whole number.
    """
    if isinstance(event, Enum):
        event = event.value
    if isinstance(event, str) or (isinstance(event, int) and not isinstance(event, bool)):
        return event
    raise UsageError(f"an event is named by text (or a whole number), not by {event!r}")


def check_event(event: Any) -> str | int:
    """The name of an event, if it may be emitted.

    Raises:
        ReservedEventName: it belongs to the protocol.
        UsageError: it is no name.
    """
    name: str | int = event if type(event) is str else event_name(event)
    if name in RESERVED_EVENTS:
        raise ReservedEventName(str(name))
    return name


class Event(str):
    """An event's name together with the types of its arguments; usable wherever a name is.

    ::

        message = madang.Event("chat message", Message)


        @io.on(message)
        async def on_message(socket, body): ...  # body is a Message: the event's types validate

    Args:
        name: the name on the wire.
        *types: the types of the arguments, in order. A handler's own annotation goes before them.
    """

    types: tuple[Any, ...]

    def __new__(cls, name: str, *types: Any) -> Event:
        """Make the constant."""
        event = super().__new__(cls, name)
        event.types = types
        return event

    def __repr__(self) -> str:
        return f"Event({str.__repr__(self)}{''.join(f', {kind!r}' for kind in self.types)})"
