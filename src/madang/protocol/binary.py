"""Attachments: finding their placeholders in a decoded packet, and putting the bytes in their place."""

from __future__ import annotations

from typing import Any, cast

from ..errors import PacketError


class Reconstruction:
    """A packet whose attachments are still coming; it belongs to the connection that received its text.

    Args:
        args: the decoded payload, a list; its placeholders are replaced in place.
        count: the number of attachments that the packet announced.

    Raises:
        PacketError: placeholders and announced attachments do not match one to one.
    """

    __slots__ = ("_places", "args", "missing", "size")

    def __init__(self, args: list[Any], count: int) -> None:
        self.args = args
        self._places = _find_placeholders(args, count)
        self.missing = count
        self.size = 0

    def add(self, data: bytes) -> bool:
        """Take the next attachment; True when it was the last one and `args` is complete."""
        container, key = self._places[len(self._places) - self.missing]
        container[key] = data
        self.size += len(data)
        self.missing -= 1
        return self.missing == 0


def _items(container: Any) -> Any:
    return container.items() if isinstance(container, dict) else enumerate(container)  # pyright: ignore


def _find_placeholders(args: list[Any], count: int) -> list[tuple[Any, Any]]:
    """Where attachment 0, 1, … goes, as container and key."""
    places: list[tuple[Any, Any] | None] = [None] * count
    found = 0
    stack: list[Any] = [args]
    while stack:
        container = stack.pop()
        for key, value in _items(container):
            if isinstance(value, dict) and value.get("_placeholder") is True:  # pyright: ignore[reportUnknownMemberType]
                number: object = cast("dict[str, Any]", value).get("num")
                if type(number) is not int or not 0 <= number < count or places[number] is not None:
                    raise PacketError("illegal attachments: a placeholder's number is out of range or used twice")
                places[number] = (container, key)
                found += 1
            elif isinstance(value, dict | list):
                stack.append(value)
    if found != count:
        raise PacketError(f"illegal attachments: {count} announced, {found} placeholders")
    return cast("list[tuple[Any, Any]]", places)
