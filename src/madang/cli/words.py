"""Words and values: what a line or a command's arguments say, and the values that are sent for it."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from ..errors import UsageError

LARGEST_FILE: Final = 64 * 1024 * 1024
"""Bytes that are read of a file at most; far more than a server takes in one message."""

BYTES: Final = "$bytes"
"""The key under which bytes stand in JSON, as base64."""

FILE: Final = "$file"
"""The key under which JSON names a file whose bytes are meant."""


class WordError(UsageError):
    """A line or an argument cannot be read; nothing was sent."""


class Word(NamedTuple):
    """One word of a line.

    Attributes:
        text: what it says, without quotes around it.
        literal: whether it stands for a value by its form: a JSON string, list or object.
        value: that value.
    """

    text: str
    literal: bool = False
    value: Any = None


# ------------------------------------------------------------------------------------------------------------- a line


def split(line: str) -> list[Word]:
    """The words of a line.

    JSON lists, objects and strings are one word each, with whatever spaces are in them. ``'…'`` is what stands in it,
    as in a shell. Anything else goes on to the next space.

    Raises:
        WordError: something is not finished, or begins like JSON and is not.
    """
    words: list[Word] = []
    at = _skip_spaces(line, 0)
    while at < len(line):
        word, at = _take(line, at)
        words.append(word)
        at = _skip_spaces(line, at)
    return words


def _take(line: str, at: int) -> tuple[Word, int]:
    """The word that begins at `at`, and where it ends."""
    if line[at] in '[{"':
        return _take_json(line, at)
    if line[at] == "'":
        return _take_quoted(line, at)
    end = at
    while end < len(line) and not line[end].isspace():
        end += 1
    return Word(line[at:end]), end


def _take_json(line: str, at: int) -> tuple[Word, int]:
    try:
        value, end = _DECODER.raw_decode(line, at)
    except ValueError as error:
        where = (
            f"{error.msg}, column {error.pos + 1}"
            if isinstance(error, json.JSONDecodeError)
            else f"{error} is no number"
        )
        raise WordError(
            f"{_excerpt(line[at:])} begins like JSON but is not ({where}); "
            "to send it as text, put it between single quotes"
        ) from None
    except RecursionError:
        raise WordError("this JSON is nested too deeply") from None
    if end < len(line) and not line[end].isspace():
        raise WordError(f"a space is missing after {_excerpt(line[at:end])}, column {end + 1}")
    text = value if isinstance(value, str) else line[at:end]
    return Word(text, True, value), end


def _take_quoted(line: str, at: int) -> tuple[Word, int]:
    """A word between single quotes; one within it that no space follows belongs to it, as in ``'it's'``."""
    end = at
    while (end := line.find("'", end + 1)) >= 0:
        if end + 1 == len(line) or line[end + 1].isspace():
            return Word(line[at + 1 : end]), end + 1
    raise WordError(f"the quote before {_excerpt(line[at + 1 :])} is not closed")


def _skip_spaces(line: str, at: int) -> int:
    while at < len(line) and line[at].isspace():
        at += 1
    return at


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


# -------------------------------------------------------------------------------------------------------------- values


def values_of(words: Sequence[Word]) -> list[Any]:
    """What words stand for. See `value_of`.

    Raises:
        WordError: a file cannot be read, or what should be base64 is not.
    """
    return [_filled(word.value) if word.literal else value_of(word.text) for word in words]


def value_of(text: str) -> Any:
    """What a word stands for: JSON if it is JSON, the bytes of a file for ``@file``, ``@x`` for ``@@x``, or text.

    In JSON ``{"$bytes": "<base64>"}`` stands for bytes, and ``{"$file": "<path>"}`` for those of a file.

    Raises:
        WordError: a file cannot be read, or what should be base64 is not.
    """
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@") and len(text) > 1:
        return read_file(text[1:])
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return _filled(value)


def read_file(path: str) -> bytes:
    """The bytes of a file.

    Raises:
        WordError: it cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WordError(f"the file {path!r} cannot be read: {reason} (@@… sends text that begins with @)") from None
    if len(data) > LARGEST_FILE:
        raise WordError(f"the file {path!r} is larger than {LARGEST_FILE} bytes; send it in parts")
    return data


def _filled(value: Any) -> Any:
    """A JSON value with bytes in place of what stands for them; `value` is changed."""
    root = [value]
    todo: list[Any] = [root]
    while todo:
        container = todo.pop()
        for key, part in _parts(container):
            if isinstance(part, dict):
                container[key] = part = _special(cast("dict[str, Any]", part))
            if isinstance(part, list | dict):
                todo.append(part)
    return root[0]


def _parts(container: list[Any] | dict[Any, Any]) -> list[tuple[Any, Any]]:
    """The parts of a list or an object, by their place in it."""
    return list(container.items() if isinstance(container, dict) else enumerate(container))


def _special(value: dict[str, Any]) -> Any:
    """The bytes that an object stands for, or the object."""
    if len(value) != 1:
        return value
    ((key, said),) = value.items()
    if not isinstance(said, str) or key not in (BYTES, FILE):
        return value
    if key == FILE:
        return read_file(said)
    try:
        return b64decode(said, validate=True)
    except (Base64Error, ValueError) as error:
        raise WordError(f'{{"{BYTES}": {_excerpt(said)}}} is not base64: {error}') from None


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _finite(digits: str) -> float:
    """A number; one that is too large to be sent stays text."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
