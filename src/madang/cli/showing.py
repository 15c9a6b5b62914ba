"""What values and events look like: JSON for programs, and for people; nothing of it can command a terminal."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from .words import BYTES

_UNSEEN: Final = re.compile(
    # control characters of both sets; those that turn the direction of writing or end a line; halves of characters
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

LONGEST: Final = 4000
"""Characters of one message that are displayed; the rest on request."""

LONGEST_BYTES: Final = 36
"""Bytes that are displayed of longer ones."""

LONGEST_NAME: Final = 200
"""Characters of a name that are displayed."""


def visible(text: str) -> str:
    """Text without characters that a terminal would obey; they become what JSON writes for them, so JSON stays JSON."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def name(text: object) -> str:
    """A name that came from outside, as it may be displayed."""
    whole = visible(str(text))
    return whole if len(whole) <= LONGEST_NAME else f"{whole[:LONGEST_NAME]}…"


def now() -> str:
    """The time as JavaScript writes it: UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


# ---------------------------------------------------------------------------------------------------------------- JSON


def line_of(value: Any) -> str:
    """A value as one line of JSON; bytes become ``{"$bytes": "<base64>"}``. A hostile value is still a line."""
    return visible(_dumps(value, _whole_bytes, None))


def _dumps(value: Any, default: Callable[[Any], Any], indent: int | None) -> str:
    try:
        try:
            return json.dumps(value, ensure_ascii=False, default=default, allow_nan=False, indent=indent)
        except ValueError:  # a number that is too large for a double came, and reads as infinite
            return json.dumps(_finite(value), ensure_ascii=False, default=default, indent=indent)
    except RecursionError:
        return '"(nested too deeply to be shown)"'


def _indented(value: Any, default: Callable[[Any], Any]) -> str:
    """A value as indented JSON, with what stands for bytes on one line; no string holds a line's end."""
    return _BYTES_APART.sub(
        lambda found: "{" + ", ".join(filter(None, found.groups())) + "}", _dumps(value, default, 2)
    )


_BYTES_APART: Final = re.compile(r'\{\n *("\$bytes": "[^"]*")(?:,\n *("size": \d+))?\n *\}')


def _finite(value: Any) -> Any:
    """A value with null for infinite numbers, as `JSON.stringify` has it."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _whole_bytes(value: Any) -> Any:
    return {BYTES: b64encode(value).decode()} if isinstance(value, bytes) else str(value)


def _short_bytes(value: Any) -> Any:
    if not isinstance(value, bytes) or len(value) <= LONGEST_BYTES:
        return _whole_bytes(value)
    return {BYTES: b64encode(value[:LONGEST_BYTES]).decode() + "…", "size": len(value)}


def bytes_in(value: Any) -> list[bytes]:
    """All bytes that a received value holds, in order."""
    found: list[bytes] = []
    todo = [value]
    while todo:
        part = todo.pop()
        if isinstance(part, bytes):
            found.append(part)
        elif isinstance(part, dict):
            todo.extend(reversed(list(cast("dict[str, Any]", part).values())))
        elif isinstance(part, list | tuple):
            todo.extend(reversed(cast("Sequence[Any]", part)))
    return found


# --------------------------------------------------------------------------------------------------------- for people


class Look:
    """How things are displayed.

    Args:
        colour: whether in colours.
        width: gives the columns that there are.
    """

    def __init__(self, colour: bool, width: Callable[[], int]) -> None:
        self._colour = colour
        self._width = width

    def paint(self, text: str, style: str) -> str:
        """Text in a style, if there are colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text

    def head(self, mark: str, namespace: str) -> str:
        """How a line of the display begins: the time, what happens, and in which namespace."""
        clock = datetime.now().strftime("%H:%M:%S")
        return f"{self.paint(clock, 'dim')} {self.paint(name(namespace), 'namespace')} {mark}"

    def message(self, head: str, values: Sequence[Any], tail: str = "", *, whole: bool = False) -> tuple[str, bool]:
        """A message: on one line if there is room, else indented JSON below it.

        Args:
            head: what it begins with; safe to display.
            values: its arguments.
            tail: what the first line ends with; safe to display.
            whole: whether to show it to its end, however long.

        Returns:
            The text, and whether something was left out.
        """
        first = f"{head}{tail}"
        default = _whole_bytes if whole else _short_bytes
        inline = " ".join(visible(_dumps(value, default, None)) for value in values)
        if len(inline) <= self._width() - len(_COLOURS.sub("", first)) - 1:
            return (f"{head} {self._json(inline)}{tail}" if values else first), False
        lines = [line for value in values for line in _indented(value, default).split("\n")]
        text = "\n".join(f"    {visible(line)}" for line in lines)
        if whole or len(text) <= LONGEST:
            return f"{first}\n{self._json(text)}", False
        note = self.paint(f"… and {len(text) - LONGEST:,} characters more; .whole shows all of it", "dim")
        return f"{first}\n{self._json(text[:LONGEST])}\n    {note}", True

    def _json(self, text: str) -> str:
        """JSON in colours: it is cut into strings and the rest first, so that no string is taken for anything else."""
        if not self._colour:
            return text
        return _TOKENS.sub(lambda found: self.paint(found.group(), _style_of(found)), text)


def _style_of(found: re.Match[str]) -> str:
    return found.lastgroup or "text"


_STYLES: Final = {
    "dim": "2",
    "namespace": "36",
    "event": "1",
    "good": "32",
    "bad": "31",
    "ask": "33",
    "key": "34",
    "text": "32",
    "number": "35",
    "word": "33",
}

_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")

_TOKENS: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=:))|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\b\d[\d.eE+-]*)|(?P<word>\b(?:true|false|null)\b)"
)
